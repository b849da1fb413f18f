"""Colourings: every entry can be recovered, the counts are those of the table, and equal patterns give equal colours."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from backsweep_engine.plan import color
from backsweep_engine.plan.color import Colouring
from backsweep_engine.plan.lattice import lattice
from backsweep_engine.plan.orders import incidence_degree, largest_first, natural, smallest_last
from backsweep_engine.plan.recovery import both_ways, by_columns, by_rows, by_stars, symmetric
from backsweep_engine.transforms.sparsity import Pattern
from support.stencils import TABLE, band, box_stencil, coloured, pattern_of, star_stencil

Array = np.ndarray[Any, Any]


def random_pattern(seed: int, square: bool = False) -> tuple[Array, Array]:
    """Where a random matrix is not zero, and its numbers."""
    random = np.random.default_rng(seed)
    rows = int(random.integers(1, 12))
    columns = rows if square else int(random.integers(1, 12))
    mask = random.random((rows, columns)) < random.random() * 0.6
    values = random.normal(size=(rows, columns))
    if square:
        mask, values = np.triu(mask) | np.triu(mask).T, values + values.T
    return mask, values * mask


def seeds(colouring: Colouring) -> Array:
    return (colouring.of == np.arange(max(colouring.count, 0))[:, None]).astype(float)


def scattered(pattern: Pattern, values: Array) -> Array:
    matrix = np.zeros((pattern.rows, pattern.columns))
    matrix[pattern.row_of(), pattern.indices] = values
    return matrix


@pytest.mark.parametrize("seed", range(60))
def test_columns_and_rows_of_one_colour_do_not_meet(seed: int) -> None:
    mask, values = random_pattern(seed)
    pattern = pattern_of(mask)
    columns, rows = color.columns(pattern), color.columns(pattern.transposed()[0])
    assert columns is not None and rows is not None
    np.testing.assert_array_equal(scattered(pattern, (seeds(columns) @ values.T).reshape(-1)[by_columns(pattern, columns)]), values)
    np.testing.assert_array_equal(scattered(pattern, (seeds(rows) @ values).reshape(-1)[by_rows(pattern, rows)]), values)
    assert columns.bound <= columns.count <= pattern.columns


@pytest.mark.parametrize("seed", range(60))
def test_a_matrix_is_recovered_from_both_ways(seed: int) -> None:
    mask, values = random_pattern(seed)
    pattern = pattern_of(mask)
    split = color.split(pattern, 1, 1, 10**9)
    if split is None:
        assert pattern.rows == 1
        return
    compressed = np.concatenate([(seeds(split.columns) @ values.T).reshape(-1), (seeds(split.rows) @ values).reshape(-1)])
    np.testing.assert_array_equal(scattered(pattern, compressed[both_ways(pattern, split)]), values)


@pytest.mark.parametrize("seed", range(120))
def test_a_symmetric_matrix_is_recovered_from_stars_and_its_mirror_halves_are_one(seed: int) -> None:
    mask, values = random_pattern(seed, square=True)
    pattern = pattern_of(mask)
    stars = color.star(pattern)
    assert stars is not None
    source = by_stars(pattern, stars)
    got = scattered(pattern, (seeds(stars) @ values).reshape(-1)[source])
    # Sums of one entry and zeros: exact.
    np.testing.assert_array_equal(got, values)
    there = scattered(pattern, source + 1.0)
    np.testing.assert_array_equal(there, there.T)


@pytest.mark.parametrize("seed", range(40))
def test_stars_take_no_more_than_one_colour_above_the_fewest_on_small_graphs(seed: int) -> None:
    """The fewest are found by trying all."""
    mask, _ = random_pattern(seed, square=True)
    if mask.shape[0] > 7:
        mask = mask[:7, :7]
    pattern = pattern_of(mask | np.eye(mask.shape[0], dtype=bool))
    stars = color.star(pattern)
    assert stars is not None
    fewest = next(k for k in range(1, 8) if any(_is_star(mask, of) for of in itertools.product(range(k), repeat=mask.shape[0])))
    assert stars.bound <= fewest <= stars.count <= fewest + 1


def _is_star(mask: Array, of: tuple[int, ...]) -> bool:
    n = mask.shape[0]
    edges = [(a, b) for a in range(n) for b in range(n) if a != b and mask[a, b]]
    if any(of[a] == of[b] for a, b in edges):
        return False
    near = {a: [b for x, b in edges if x == a] for a in range(n)}
    paths = ((a, b, c, d) for b, c in edges for a in near[b] for d in near[c] if len({a, b, c, d}) == 4)
    return all(len({of[v] for v in path}) > 2 for path in paths)


@pytest.mark.parametrize("seed", range(30))
def test_neighbours_differ_in_a_colouring_for_the_diagonal(seed: int) -> None:
    mask, _ = random_pattern(seed, square=True)
    one_sided = pattern_of(np.triu(mask))
    found = color.proper(one_sided)
    assert found is not None
    for a, b in zip(*np.nonzero(mask & ~np.eye(mask.shape[0], dtype=bool)), strict=True):
        assert found.of[a] != found.of[b]


@pytest.mark.parametrize("name", TABLE)
def test_the_number_of_colours_is_that_of_the_table(name: str) -> None:
    known = TABLE[name]
    assert coloured(known) == known.colours >= known.needed


def test_variables_without_entries_take_no_colour() -> None:
    mask = np.diag([1.0, 0.0, 1.0])
    for found in (color.columns(pattern_of(mask)), color.star(pattern_of(mask)), color.proper(pattern_of(mask))):
        assert found is not None and found.of.tolist() == [0, -1, 0] and found.count == 1
    nothing = color.columns(pattern_of(np.zeros((3, 4))))
    assert nothing is not None and nothing.count == 0


def test_equal_patterns_have_equal_colours() -> None:
    random = np.random.default_rng(5)
    mask = random.random((40, 40)) < 0.1
    one, two = (color.columns(pattern_of(mask)) for _ in range(2))
    assert one is not None and two is not None
    assert one.of.tobytes() == two.of.tobytes() and one.order == two.order


def test_more_colours_than_are_worth_it_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(color, "MAX_COLOURS", 4)
    assert color.columns(pattern_of(np.ones((2, 5)))) is None
    assert color.star(pattern_of(np.ones((6, 6)))) is None


@pytest.mark.parametrize("order", [natural, largest_first, smallest_last, incidence_degree])
def test_an_order_names_every_vertex_once(order: Any) -> None:
    mask, _ = random_pattern(11, square=True)
    graph = pattern_of(mask & ~np.eye(mask.shape[0], dtype=bool))
    assert sorted(order(graph)) == list(range(graph.columns))


def test_smallest_last_leaves_few_neighbours_before_any_vertex() -> None:
    """In that order each vertex has at most as many earlier neighbours as the densest part of the graph needs: 1 in a tree, 2 in a cycle."""
    n = 30
    parents = [(i, (i * 7 + 3) % i) for i in range(1, n)]
    tree = np.zeros((n, n))
    for a, b in parents:
        tree[a, b] = tree[b, a] = 1
    cycle = np.roll(np.eye(n), 1, axis=0) + np.roll(np.eye(n), -1, axis=0)
    for matrix, most in ((tree, 1), (cycle, 2)):
        order = list(smallest_last(pattern_of(matrix)))
        place = {v: k for k, v in enumerate(order)}
        assert max(sum(place[w] < place[v] for w in np.flatnonzero(matrix[v])) for v in range(n)) == most


def test_incidence_degree_goes_on_beside_what_was_chosen() -> None:
    path = pattern_of(band(6, 1).toarray() - np.eye(6))
    assert list(incidence_degree(path)) == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(("matrix", "shape", "count"), [(star_stencil(7, 9), (7, 9), 5), (box_stencil(5, 8), (5, 8), 9), (star_stencil(4, 5, 6), (4, 5, 6), 7)])
def test_a_stencil_is_tiled_by_place(matrix: Any, shape: tuple[int, ...], count: int) -> None:
    shared = pattern_of((abs(matrix.T) @ abs(matrix)).toarray() * (1 - np.eye(matrix.shape[0])))
    found = lattice(shared, shape, count, count)
    assert found is not None and found.max() == count - 1
    assert all(len({*found[np.flatnonzero(row)]}) == np.count_nonzero(row) for row in matrix.toarray())


def test_what_is_no_stencil_is_not_tiled() -> None:
    random = np.random.default_rng(0)
    mask = random.random((400, 400)) < 0.5
    assert lattice(pattern_of(mask), (400,), 2, 3) is None


def test_a_pattern_and_its_mirror() -> None:
    mask = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 1]])
    whole = symmetric(pattern_of(mask))
    assert scattered(whole, np.ones(whole.positions)).tolist() == [[1, 1, 1], [1, 0, 0], [1, 0, 1]]
    assert symmetric(whole) is whole
