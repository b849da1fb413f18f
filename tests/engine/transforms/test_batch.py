"""batch: the loop over rows as one graph, in which what all rows share has no axis for them."""

import numpy as np
import pytest

from backsweep_engine.ops.op import REALS
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from support.draw import draw
from support.graphs import F64, SCALAR, build, named
from support.run import one, run

ROUNDING = 1e-13
"""Sums of a few dozen terms near 1 in another order."""


@pytest.mark.parametrize("name", SCALAR)
def test_batched_values_gradients_and_hvps_are_those_of_the_rows(name: str) -> None:
    graph = named(name)
    for derived in (graph, derive.gradient(graph, [0]), derive.hvp(graph, [0])):
        mask = [i in (0, graph.arity) for i in range(derived.arity)]
        wide = batch(derived, mask, 3)
        x = draw(wide.input_types, (REALS,), 2)
        rows = [run(derived, *[a[k] if m else a for a, m in zip(x, mask, strict=True)])[0] for k in range(3)]
        np.testing.assert_allclose(run(wide, *x)[0], np.stack(rows), rtol=ROUNDING, atol=ROUNDING)


def test_a_shared_value_keeps_its_type_and_is_computed_once() -> None:
    graph = build(lambda a, x: np.exp(a @ a) @ x, a=F64[5, 5], x=F64[5])
    wide = batch(graph, [False, True], 50)
    shared = [n for n in wide.nodes if n.op in ("exp", "matmul") and n.types[0].shape == (5, 5)]
    assert len(shared) == 2
    assert wide.output_types == (F64[50, 5],)


def test_one_matrix_against_many_vectors_is_one_product() -> None:
    graph = build(lambda a, x: a @ x, a=F64[4, 5], x=F64[5])
    (product,) = [n for n in batch(graph, [False, True], 50).nodes if n.op == "matmul"]
    assert product.types[0].rank == 2


def test_outputs_that_no_row_changes_have_the_axis_all_the_same() -> None:
    graph = build(lambda a, x: (np.sin(a), a, np.ones(2), x), a=F64[2], x=F64[()])
    wide = batch(graph, [False, True], 3)
    assert wide.output_types == (F64[3, 2], F64[3, 2], F64[3, 2], F64[3])
    a = np.array([1.0, 2])
    assert run(wide, a, np.arange(3.0))[1].tolist() == [[1, 2]] * 3


@pytest.mark.parametrize("rows", [0, 1, 7])
def test_any_number_of_rows(rows: int) -> None:
    graph = derive.gradient(named("network"), [0])
    wide = batch(graph, [True, False, False, False], rows)
    x = draw(wide.input_types, (REALS,), 3)
    got = one(wide, *x)
    assert got.shape == (rows, 5, 3)
    for k in range(rows):
        np.testing.assert_allclose(got[k], one(graph, x[0][k], *x[1:]), rtol=ROUNDING, atol=ROUNDING)


def test_a_batch_of_batches_is_a_grid() -> None:
    graph = build(lambda x, y: np.sum(np.sin(x[:, None]) * y[None, :] ** 2), x=F64[2], y=F64[3])
    grid = batch(batch(graph, [True, False], 4), [False, True], 5)
    x, y = draw([F64[4, 2], F64[5, 3]], (REALS,), 4)
    wanted = np.sum(np.sin(x)[None, :, :, None] * (y**2)[:, None, None, :], axis=(2, 3))
    np.testing.assert_allclose(one(grid, x, y), wanted, rtol=ROUNDING, atol=ROUNDING)


def test_names_and_origins_stay() -> None:
    graph = named("logistic")
    wide = batch(graph, [True, False, False], 3)
    assert wide.input_names == graph.input_names and wide.output_names == graph.output_names
    assert {n.origin for n in wide.nodes} <= {n.origin for n in graph.nodes}
