"""Patterns: a superset for every op of the table, exact where a pattern can be drawn by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Type
from backsweep_engine.ops.build import call, constant
from backsweep_engine.ops.control import runs_forward
from backsweep_engine.ops.op import Transposes
from backsweep_engine.ops.shape import reshape
from backsweep_engine.plan.vectors import seeded
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.rewrite import inline
from backsweep_engine.transforms.sparsity import find
from backsweep_engine.transforms.sparsity.known import MOVES
from backsweep_engine.transforms.sparsity.rows import FULL, Rows, added, joined, union, unit
from support.cases import Case, differentiable
from support.draw import draw
from support.graphs import BOUND, F64, I64, build, cond, scan
from support.patterns import dense, hessian, jacobian, numeric, rows_of

SMALL = [c for c in differentiable() if c.op.name != "stop_gradient"]  # whose derivative is 0 by decree
SEEN = 1e-7
"""Differences of these values are off by 1e-11 at most; a derivative drawn from a grid is never so small without being 0."""


# A superset, for every op.


@pytest.mark.parametrize("case", SMALL, ids=str)
def test_what_is_not_zero_is_in_the_pattern(case: Case) -> None:
    graph, wrt, values = case.graph(), case.floating, case.draw()
    seen = np.abs(numeric(graph, wrt, values)) > SEEN
    if runs_forward(derive.jvp(graph, wrt)):
        assert not (seen & ~jacobian(graph, wrt)).any()
        assert not (seen.T & ~dense(rows_of(graph, wrt, reverse=True).pattern())).any()


@pytest.mark.parametrize("case", [c for c in SMALL if len(c.types) > 1], ids=str)
def test_what_is_not_zero_is_in_the_pattern_where_the_other_operands_are_bound(case: Case) -> None:
    graph, values = case.graph(), case.draw()
    for i in case.floating:
        bound = {f"x{k}": v for k, v in enumerate(values) if k != i}
        # Zeros in what is bound are what a pattern may use.
        for k, v in bound.items():
            if v.dtype.kind == "f" and v.size > 1 and "matrices" not in case.domains[int(k[1:])].matrix and case.op.name in ("multiply", "matmul", "convolve"):
                v.reshape(-1)[::2] = 0
        seen = np.abs(numeric(graph, [i], values)) > SEEN
        assert not (seen & ~jacobian(graph, [i], bound)).any()
        assert not (seen.T & ~dense(rows_of(graph, [i], bound, reverse=True).pattern())).any()


def test_the_ops_that_only_move_elements_are_those_whose_kernels_follow_any_relabelling() -> None:
    random = np.random.default_rng(0)
    for case in differentiable():
        if not isinstance(case.op.derivative, Transposes) or case.op.apply is None:
            continue
        values = draw(case.types, case.domains, 1)
        spots = [i for i in case.floating if not case.op.derivative.operands or i in case.op.derivative.operands]
        count = sum(case.types[i].size for i in spots)
        if count == 0 or all(t.size == 0 for t in case.results):
            continue
        names = np.concatenate(([0], random.permutation(np.arange(1, 10**4))[:count]))

        def labelled(relabel: Callable[[Any], Any], case: Case = case, values: Any = values, spots: Any = spots) -> Any:
            given, at = list(values), 1
            for i in spots:
                size = case.types[i].size
                given[i] = relabel(np.arange(at, at + size).reshape(case.types[i].shape))
                at += size
            assert case.op.apply is not None
            return np.asarray(case.op.apply(*given, **case.attributes))

        try:
            plain, other = labelled(lambda k: k), labelled(names.__getitem__)
            moves = bool(((plain >= 0) & (plain <= count)).all() and (names[np.clip(plain.astype(int), 0, count)] == other).all())
        except (TypeError, ValueError):
            moves = False
        if case.op.name in ("cast",) or case.op.name in ("sum", "cumsum", "put_add") or case.op.name == "add":
            continue  # one element summed, or a type changed: the same on labels, and no copy of the kernel's choosing
        assert moves == (case.op.name in MOVES), case


# The algebra of rows, against sets.


def _sets(rows: Rows) -> list[set[int]]:
    pattern = rows.pattern()
    return [set(pattern.indices[a:b].tolist()) for a, b in zip(pattern.indptr, pattern.indptr[1:], strict=False)]


@pytest.mark.parametrize("seed", range(6))
def test_unions_and_sums_of_rows_are_those_of_sets(seed: int) -> None:
    random = np.random.default_rng(seed)
    columns = int(random.integers(1, 9))
    rows = unit(columns)
    kept = [(rows, _sets(rows))]
    for _ in range(12):
        a, sa = kept[random.integers(len(kept))]
        places = random.integers(0, len(sa) + 1, 7)
        left, sl = a.at(places), [set() if p == 0 else sa[p - 1] for p in places]
        b, sb = kept[random.integers(len(kept))]
        places = random.integers(0, len(sb) + 1, 7)
        right, sr = b.at(places), [set() if p == 0 else sb[p - 1] for p in places]
        both = union(left, right)
        wanted = [p | q for p, q in zip(sl, sr, strict=True)]
        assert _sets(both) == wanted
        target, source = random.integers(0, 4, 9), random.integers(0, 7, 9)
        some = added(both, target, source, 4)
        sums = [set().union(*[wanted[s] for t, s in zip(target, source, strict=True) if t == k]) for k in range(4)]
        assert _sets(some) == sums
        two = joined([both, some])
        assert _sets(two) == wanted + sums
        assert two.positions == sum(map(len, wanted + sums))
        kept.append((two, wanted + sums))


# Named problems, by hand.


def band(n: int, *offsets: int) -> Any:
    k = np.subtract.outer(np.arange(n), np.arange(n))
    return np.isin(-k, offsets)


def broyden(x: Any) -> Any:
    zero = np.zeros(1)
    return (3 - 2 * x) * x - np.concatenate([zero, x[:-1]]) - 2 * np.concatenate([x[1:], zero]) + 1


INDEX = np.array([4, 4, 0, 2, 1])
MASK = np.triu(np.ones((5, 5)), 3) + np.eye(5)
LARGE = np.where(band(30, -1, 0, 1), 0.5, 0.0)
PICK = np.eye(6)[[5, 0, 3]]


def laplace(u: Any) -> Any:
    p = np.pad(u, 1)
    return p[:-2, 1:-1] + p[2:, 1:-1] + p[1:-1, :-2] + p[1:-1, 2:] - 4 * u + u**3


def five_points(n: int) -> Any:
    line, eye = band(n, -1, 1), np.eye(n, dtype=bool)
    return np.kron(line, eye) | np.kron(eye, line) | np.eye(n * n, dtype=bool)


def arrow(n: int) -> Any:
    result = np.eye(n, dtype=bool)
    result[0] = result[:, 0] = True
    return result


JACOBIANS: dict[str, tuple[Callable[..., Any], Type, Any]] = {
    "pointwise": (lambda x: np.sin(x) * np.exp(x), F64[6], np.eye(6)),
    "Broyden's tridiagonal function": (broyden, F64[9], band(9, -1, 0, 1)),
    "neighbours": (lambda x: np.diff(x) ** 2, F64[6], band(6, 0, 1)[:5]),
    "a five-point stencil": (laplace, F64[4, 4], five_points(4)),
    "a convolution with a constant kernel": (lambda x: np.convolve(x, [1.0, 0.0, 2.0], "valid"), F64[6], band(6, 0, 2)[:4]),
    "an arrow": (lambda x: x**2 + np.concatenate([np.sum(x, keepdims=True), np.broadcast_to(x[0], (6,))]), F64[7], arrow(7)),
    "blocks": (lambda x: np.cumsum(x.reshape(3, 2) ** 2, axis=1).reshape(6)[::-1], F64[6], np.kron(np.eye(3), [[1, 0], [1, 1]])[::-1]),
    "sums of rows": (lambda x: np.sum(np.tanh(x), axis=1), F64[2, 3], np.kron(np.eye(2), np.ones(3))),
    "gathered by a constant index": (lambda x: x[INDEX] ** 2, F64[5], np.eye(5)[INDEX]),
    "a product with a constant matrix": (lambda x: np.tanh(MASK @ x), F64[5], MASK),
    "a product with a bound matrix": (lambda x: np.tanh(LARGE @ x), F64[30], LARGE),
    "a product with a constant matrix from the right": (lambda x: x @ PICK, F64[2, 3], np.kron(np.eye(2), PICK.T)),
    "times a constant with zeros": (lambda x: x**2 * np.array([1.0, 0.0, 2.0]), F64[3], np.diag([1, 0, 1])),
    "zeros of a triangle": (lambda x: np.tril(x) @ np.ones(3), F64[3, 3], np.kron(np.eye(3), np.ones(3)) * np.tril(np.ones((3, 3))).reshape(-1)),
    "a diagonal matrix made of the point": (lambda x: np.diag(np.sin(x)) @ np.ones(4), F64[4], np.eye(4)),
    "where, by a constant": (lambda x: np.where(np.array([True, False, True]), x**2, x[::-1]), F64[3], [[1, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "where, by the point": (lambda x: np.where(x > 0, x**2, x[::-1]), F64[3], [[1, 0, 1], [0, 1, 0], [1, 0, 1]]),
    "sorted": (lambda x: np.sort(x), F64[3], np.ones((3, 3))),
    "solved, by columns": (lambda x: np.linalg.solve(np.eye(3) * 2, x), F64[3, 2], np.kron(np.ones((3, 3)), np.eye(2))),
    "an argument without effect": (lambda x: np.sign(x) + np.array([1.0, 2.0]), F64[2], np.zeros((2, 2))),
    "repeated and rolled": (lambda x: np.roll(np.repeat(x, 2), 1), F64[2], [[0, 1], [1, 0], [1, 0], [0, 1]]),
    "a scalar": (lambda x: x**2, F64[()], [[1]]),
    "nothing": (lambda x: x[:0], F64[3], np.zeros((0, 3))),
}

HESSIANS: dict[str, tuple[Callable[..., Any], Type, Any]] = {
    "separable": (lambda x: np.sum(np.exp(x)), F64[5], np.eye(5)),
    "Rosenbrock's chain": (lambda x: np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), F64[8], band(8, -1, 0, 1)),
    "linear": (lambda x: np.sum(x) * 3, F64[4], np.zeros((4, 4))),
    "pairs": (lambda x: np.sum(x[::2] * x[1::2]), F64[6], np.kron(np.eye(3), [[0, 1], [1, 0]])),
    "an arrow": (lambda x: np.sum(x**4) + x[0] * np.sum(x**2), F64[6], arrow(6)),
    "a quadratic form of a bound matrix": (lambda x: x @ (LARGE @ x), F64[30], LARGE),
    "second differences": (lambda x: np.sum(np.diff(x, 2) ** 4), F64[8], band(8, -2, -1, 0, 1, 2)),
    "a square of a sum": (lambda x: np.sum(x) ** 2, F64[4], np.ones((4, 4))),
}


@pytest.mark.parametrize("name", JACOBIANS)
def test_the_pattern_of_a_jacobian_is_the_one_drawn_by_hand(name: str) -> None:
    f, type, wanted = JACOBIANS[name]
    graph = build(f, x=type)
    np.testing.assert_array_equal(jacobian(graph, (0,), BOUND[graph]), np.asarray(wanted, bool))


@pytest.mark.parametrize("name", JACOBIANS)
def test_reverse_mode_finds_the_transposed_pattern(name: str) -> None:
    f, type, wanted = JACOBIANS[name]
    graph = build(f, x=type)
    found = dense(rows_of(graph, (0,), BOUND[graph], reverse=True).pattern())
    assert not (np.asarray(wanted, bool).T & ~found).any()
    if name not in ("zeros of a triangle", "a diagonal matrix made of the point"):
        np.testing.assert_array_equal(found, np.asarray(wanted, bool).T)


@pytest.mark.parametrize("name", HESSIANS)
def test_the_pattern_of_a_hessian_is_the_one_drawn_by_hand(name: str) -> None:
    f, type, wanted = HESSIANS[name]
    graph = build(f, x=type)
    np.testing.assert_array_equal(hessian(graph, (0,), BOUND[graph]), np.asarray(wanted, bool))


# Through graphs that nodes hold.


def _looped(x: Any, trips: int) -> Any:
    """Trip k reads x[k] by an index that is carried, and yields its square."""
    start = constant(x.builder, 0, dtype=np.int64)
    return scan(lambda i, x: [i + 1, call("take", x, i, axis=0) ** 2], [start], [], [x], length=trips)[1]


LOOPS: dict[str, tuple[Callable[..., Any], Type, Any]] = {
    "either branch": (lambda x: cond(np.sum(x) > 0, lambda x: x**2, lambda x: x[::-1] * 1.0, x), F64[3], [[1, 0, 1], [0, 1, 0], [1, 0, 1]]),
    "the branch that is known": (lambda x: cond(constant(x.builder, True), lambda x: x**2, lambda x: x[::-1] * 1.0, x), F64[3], np.eye(3)),
    "a short loop, summed up": (lambda x: scan(lambda c, u: [c + u, c * u], [x[0] * 0.0], [x])[1], F64[4], np.tril(np.ones((4, 4)))),
    "a short loop backwards": (lambda x: scan(lambda c, u: [c + u, c * u], [x[0] * 0.0], [x], reverse=True)[1], F64[4], np.triu(np.ones((4, 4))) > 0),
    "a long loop that carries nothing of the point": (lambda x: scan(lambda c, u: [c, np.sin(u)], [constant(x.builder, 0.0)], [x])[1], F64[3000], np.eye(3000)),
    "a long loop that carries": (lambda x: scan(lambda c, u: [c + u, np.sin(c)], [x[0] * 1.0], [x])[1], F64[2000], np.ones((2000, 2000))),
    "an index that a loop counts": (lambda x: _looped(x, 5), F64[6], np.eye(6)[:5]),
    "an index that a long loop counts": (lambda x: _looped(x, 2500), F64[2500], np.eye(2500)),
}


@pytest.mark.parametrize("name", LOOPS)
def test_patterns_pass_through_branches_and_loops(name: str) -> None:
    f, type, wanted = LOOPS[name]
    graph = build(f, x=type)
    np.testing.assert_array_equal(jacobian(graph, (0,), BOUND[graph]), np.asarray(wanted, bool))


def test_what_a_counted_loop_may_not_reach_stays_in_the_pattern() -> None:
    graph = build(lambda x, n: scan(lambda c, u: [c + u, c * u], [x[0] * 0.0], [x], trips=n)[:2], x=F64[3], n=I64[()])
    for trips in range(4):
        values = [np.array([0.3, 0.5, 0.7]), np.array(trips)]
        assert not ((np.abs(numeric(graph, [0], values)) > SEEN) & ~jacobian(graph)).any()


@pytest.mark.parametrize(
    "f", [lambda x: np.linalg.solve(x, np.ones((3, 3))), lambda x: call("linear_recurrence", x, x, axis=0), lambda x: np.linalg.det(x) * x]
)
def test_an_op_that_is_not_linear_in_what_is_reached_reads_everything(f: Callable[..., Any]) -> None:
    """Such nodes stand in no linear program; were one to, its pattern would still be a superset."""
    graph = build(f, x=F64[3, 3])
    flat = build(lambda v: reshape(inline(v.builder, graph, [reshape(v, (3, 3))])[0], (9,)), v=F64[9])
    assert dense(find(flat, 0, {}).rows.pattern()).all()


# What is read, and what is too much.


def _found(f: Callable[..., Any], bound: dict[str, Any], **types: Type) -> Any:
    graph = build(f, **types)
    vector = seeded(derive.jvp(graph, (0,)), graph.arity, [graph.input_types[0]], np.dtype("float64"))
    return find(vector, vector.arity - 1, bound)


def test_only_arrays_whose_values_decided_are_named_as_read() -> None:
    types = {"x": F64[4], "i": I64[3], "b": F64[3], "a": F64[3, 3]}
    bound = {"i": np.array([0, 1, 3]), "b": np.ones(3), "a": np.eye(3)}
    assert _found(lambda x, i, b, a: a @ (x[i] + b), bound, **types).read == {"i", "a"}
    assert _found(lambda x, i, b, a: np.exp(x) + b[0], bound, **types).read == set()
    # A factor of which b is only a part cannot be known to be 0 anywhere.
    assert _found(lambda x, i, b, a: x[:3] * (x[1:] - b), bound, **types).read == set()


def test_an_index_that_is_not_bound_makes_its_axis_dense() -> None:
    types = {"x": F64[4, 2], "i": I64[3]}
    free = _found(lambda x, i: x[i], {}, **types)
    np.testing.assert_array_equal(dense(free.rows.pattern()), np.kron(np.ones((3, 4)), np.eye(2)).astype(bool))
    assert free.read == set()
    fixed = _found(lambda x, i: x[i], {"i": np.array([3, 0, -1])}, **types)
    np.testing.assert_array_equal(dense(fixed.rows.pattern()), np.kron(np.eye(4)[[3, 0, 3]], np.eye(2)).astype(bool))


def test_an_index_out_of_range_reads_nothing() -> None:
    found = _found(lambda x, i: x[i] * 1.0, {"i": np.array([7, 1])}, x=F64[3], i=I64[2])
    np.testing.assert_array_equal(dense(found.rows.pattern()), [[False] * 3, [False, True, False]])


def test_rows_that_are_full_hold_no_positions_until_they_are_asked_for() -> None:
    n = 100_000
    rows = _found(lambda x: np.sum(x) * np.cos(x), {}, x=F64[n]).rows
    assert (rows.of == FULL).all() and rows.positions == n * n
    assert rows.sets.indices.size < 4 * n


def test_what_would_hold_too_many_positions_counts_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    f = JACOBIANS["a five-point stencil"][0]
    exact = _found(f, {}, x=F64[4, 4]).rows.pattern()
    monkeypatch.setattr("backsweep_engine.transforms.sparsity.rows.MAX_POSITIONS", 40)
    coarse = dense(_found(f, {}, x=F64[4, 4]).rows.pattern())
    assert not (dense(exact) & ~coarse).any() and coarse.all(axis=1).any()


def test_a_graph_that_would_take_too_long_counts_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backsweep_engine.transforms.sparsity.propagate.MAX_EFFORT", 10)
    found = _found(lambda x: np.sin(np.cos(x)), {}, x=F64[20])
    assert (found.rows.of == FULL).all() and found.read == set()


def test_a_value_that_takes_long_to_compute_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    bound = {"i": np.arange(3)}
    assert _found(lambda x, i: x[i + 1 - 1], bound, x=F64[3], i=I64[3]).rows.positions == 3
    monkeypatch.setattr("backsweep_engine.transforms.sparsity.known.MAX_WORK", 0)
    assert _found(lambda x, i: x[i + 1 - 1], bound, x=F64[3], i=I64[3]).rows.positions == 9
