"""Compressed plans: what is coloured and what is not, which way, and that the entries are those of the dense matrix's closed form."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.answer import Collected, deliver
from backsweep_engine.errors import OverBudget
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph
from backsweep_engine.plan import structure as structures
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_engine.plan.recovery import Form
from backsweep_engine.plan.seeds import Coloured, Signs, made
from backsweep_engine.plan.structure import Bound, structure_of
from backsweep_engine.query import Hessian, HessianDiagonal, Jacobian, Query
from backsweep_engine.request import Request
from backsweep_engine.work import Work, prepare
from support.graphs import BOUND, F64, I64, build

PLENTY = Budget(1 << 30)
N = 2000


def broyden(x: Any) -> Any:
    zero = np.zeros(1)
    return (3 - 2 * x) * x - np.concatenate([zero, x[:-1]]) - 2 * np.concatenate([x[1:], zero]) + 1


def arrow(x: Any) -> Any:
    return x**2 + np.concatenate([np.sum(np.sin(x), keepdims=True), np.broadcast_to(x[0], (x.size - 1,))])


def scalar(x: Any) -> Any:
    return np.sum(x[1:] * x[:-1] ** 2) + np.sum(np.exp(x))


BROYDEN, ARROW, SCALAR = build(broyden, x=F64[N]), build(arrow, x=F64[N]), build(scalar, x=F64[N])
FULL = build(lambda x: np.sin(x) * np.sum(x), x=F64[N])
TALL = build(lambda x: np.repeat(np.sin(x), 50) * np.arange(50.0 * 60), x=F64[60])
WIDE = build(lambda x: np.sum(np.sin(x).reshape(60, 50), axis=1), x=F64[3000])


def plan(graph: Graph, query: Query, budget: Budget = PLENTY, **bound: Any) -> Plan:
    return make_plan(graph, [Ask(query, {})], budget, bound=Bound({**BOUND[graph], **bound}))


def work_of(graph: Graph, query: Query, **bound: Any) -> Work:
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    return prepare(Request(graph, types, (Ask(query, {}),)), PLENTY, {**BOUND[graph], **bound})


def answer(graph: Graph, query: Query, **values: Any) -> Any:
    """The matrix as an array, or the parts."""
    work = work_of(graph, query)
    collected = Collected(work)
    for event in deliver(work, {**BOUND[graph], **values}, Local(), never):
        collected.add(event)
    (got,) = collected.answers()
    if got.pattern is None:
        return got.arrays[0] if len(got.arrays) == 1 else got.arrays
    matrix = np.zeros((got.pattern.rows, got.pattern.columns))
    matrix[got.pattern.row_of(), got.pattern.indices] = got.arrays[0]
    return matrix


def broyden_matrix(x: Any) -> Any:
    return np.diag(3 - 4 * x) - np.eye(N, k=-1) - 2 * np.eye(N, k=1)


def arrow_matrix(x: Any) -> Any:
    matrix = np.diag(2 * x)
    matrix[0] += np.cos(x)
    matrix[1:, 0] += 1
    return matrix


# The choice.


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_a_band_takes_as_many_seeds_as_it_is_wide(layout: Any) -> None:
    planned = plan(BROYDEN, Jacobian(("x",), block=3, layout=layout))  # blocks are swept; else a band is computed at once
    (sweep,) = planned.sweeps
    assert sweep.rows == 3 and isinstance(sweep.seeds, Coloured)
    (recovery,) = planned.recoveries
    assert recovery.form is (Form.SPARSE if layout == "sparse" else Form.DENSE)
    assert recovery.pattern.positions == 3 * N - 2


@pytest.mark.parametrize(("graph", "axis", "rows"), [(TALL, Axis.COLUMN, 1), (WIDE, Axis.ROW, 1)])
def test_the_mode_with_fewer_colours_is_taken(graph: Graph, axis: Axis, rows: int) -> None:
    (sweep,) = plan(graph, Jacobian(("x",), block=1, layout="sparse")).sweeps
    assert (sweep.axis, sweep.rows) == (axis, rows)


@pytest.mark.parametrize("layout", ["dense", "sparse"])
def test_a_matrix_of_bands_is_computed_without_seeds(layout: Any) -> None:
    planned = plan(BROYDEN, Jacobian(("x",), layout=layout))
    assert planned.sweeps == () and len(planned.recoveries) == 1
    assert "at once: the Jacobian by its bands" in describe(planned)
    assert plan(TALL, Jacobian(("x",), layout="sparse")).sweeps == ()
    assert plan(WIDE, Jacobian(("x",), layout="sparse")).sweeps != ()  # a sum is no band


def test_an_arrow_is_swept_both_ways() -> None:
    planned = plan(ARROW, Jacobian(("x",)))
    assert [(s.axis, s.rows) for s in planned.sweeps] == [(Axis.COLUMN, 2), (Axis.ROW, 1)]


@pytest.mark.parametrize(("mode", "axis"), [("forward", Axis.COLUMN), ("reverse", Axis.ROW)])
def test_the_mode_asked_for_is_the_only_one(mode: Any, axis: Axis) -> None:
    assert {s.axis for s in plan(BROYDEN, Jacobian(("x",), mode, layout="sparse")).sweeps} == {axis}
    assert {s.axis for s in plan(ARROW, Jacobian(("x",), mode, layout="sparse")).sweeps} == {axis}


def test_a_full_matrix_is_swept_as_it_is_and_the_plan_says_why() -> None:
    planned = plan(FULL, Jacobian(("x",), block=500))  # blocks are swept; else it is worked out at once
    assert not planned.recoveries and planned.sweeps[0].rows == N
    assert "its pattern has 4000000 of 4000000 positions" in describe(planned)


def test_a_small_matrix_is_swept_without_a_look_at_its_pattern(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backsweep_engine.plan.compressed.structure_of", lambda *_: pytest.fail("it looked"))
    plan(build(scalar, x=F64[20]), Hessian(("x",)))
    plan(build(broyden, x=F64[20]), Jacobian(("x",)))


def test_a_full_matrix_may_be_had_sparse() -> None:
    x = np.linspace(0, 1, 30)
    graph = build(lambda x: np.sin(x) * np.sum(x), x=F64[30])
    got = answer(graph, Jacobian(("x",), layout="sparse"), x=x)
    np.testing.assert_allclose(got, np.diag(np.cos(x)) * x.sum() + np.sin(x)[:, None], rtol=1e-14)


# The entries.

MATRICES: dict[str, tuple[Graph, Query, Callable[[Any], Any]]] = {
    "a band, by columns": (BROYDEN, Jacobian(("x",), "forward", layout="sparse"), broyden_matrix),
    "a band, by rows": (BROYDEN, Jacobian(("x",), "reverse", layout="sparse"), broyden_matrix),
    "a band, at once": (BROYDEN, Jacobian(("x",), layout="sparse"), broyden_matrix),
    "a band, delivered dense": (BROYDEN, Jacobian(("x",)), broyden_matrix),
    "a band, a colour a block": (BROYDEN, Jacobian(("x",), block=1, layout="sparse"), broyden_matrix),
    "an arrow, both ways": (ARROW, Jacobian(("x",), layout="sparse"), arrow_matrix),
    "an arrow, both ways, delivered dense": (ARROW, Jacobian(("x",)), arrow_matrix),
    "a Hessian, by stars": (
        SCALAR,
        Hessian(("x",), layout="sparse"),
        lambda x: np.diag(np.exp(x) + 2 * np.append(x[1:], 0)) + np.diag(2 * x[:-1], 1) + np.diag(2 * x[:-1], -1),
    ),
}


@pytest.mark.parametrize("name", MATRICES)
def test_entries_are_those_of_the_closed_form(name: str) -> None:
    graph, query, wanted = MATRICES[name]
    x = np.random.default_rng(1).normal(size=N)
    np.testing.assert_allclose(answer(graph, query, x=x), wanted(x), rtol=1e-14, atol=1e-14)  # a few roundings of entries up to 10


def test_a_diagonal_by_colours_and_by_products_is_one() -> None:
    x = np.random.default_rng(2).normal(size=N)
    planned = plan(SCALAR, HessianDiagonal(("x",)))
    assert planned.sweeps[0].rows == 2 and planned.recoveries[0].form is Form.DIAGONAL
    wanted = np.exp(x) + 2 * np.append(x[1:], 0)
    for method in ("exact", "hvps"):
        np.testing.assert_allclose(answer(SCALAR, HessianDiagonal(("x",), 0, method), x=x), wanted, rtol=1e-14, atol=1e-14)  # type: ignore[arg-type]
    assert plan(SCALAR, HessianDiagonal(("x",), 0, "hvps")).sweeps[0].rows == N


def test_a_diagonal_without_entries_is_zero() -> None:
    n = 1000
    graph = build(lambda x: np.sum(x[1:] * x[:-1]) + x[0] ** 2, x=F64[n])
    assert plan(graph, HessianDiagonal(("x",))).recoveries
    np.testing.assert_array_equal(answer(graph, HessianDiagonal(("x",)), x=np.ones(n)), np.append(2.0, np.zeros(n - 1)))


# Promises, keys, budgets.


def test_blocks_are_ranges_of_colours_and_widths_are_in_the_key() -> None:
    one, two = (plan(BROYDEN, Jacobian(("x",), block=b, layout="sparse")) for b in (1, 2))
    assert [one.sweeps[0].blocks, two.sweeps[0].blocks] == [3, 2]
    assert one.key != two.key == plan(BROYDEN, Jacobian(("x",), block=2, layout="sparse")).key


def test_other_indices_have_another_key_and_the_plan_names_what_it_read() -> None:
    graph = build(lambda x, i: x[i] ** 2, x=F64[9], i=I64[4])
    keys = set()
    for index in ([0, 1, 2, 3], [3, 1, 2, 0]):
        planned = plan(graph, Jacobian(("x",), layout="sparse"), i=np.array(index))
        assert planned.read == {"i"} and "holds for the values of i only" in describe(planned)
        keys.add(planned.key)
    assert len(keys) == 2
    assert plan(graph, Jacobian(("x",), layout="sparse")).read == set()


def test_results_are_promised_as_they_are_delivered() -> None:
    sparse, dense = (plan(BROYDEN, Jacobian(("x",), layout=layout)).promise for layout in ("sparse", "dense"))  # type: ignore[arg-type]
    assert sparse.result_bytes == 8 * (N + 1) + 16 * (3 * N - 2)
    assert dense.result_bytes == 8 * N * N
    # What is held until it is recovered: three rows, the pattern and a source for each position.
    assert dense.peak_bytes >= 3 * 8 * N + 24 * (3 * N - 2)


def test_a_pattern_over_the_budget_is_refused_for_a_sparse_matrix_and_not_listed_for_a_dense_one() -> None:
    small = Budget(1 << 20)
    with pytest.raises(OverBudget) as caught:
        plan(FULL, Jacobian(("x",), layout="sparse"), small)
    assert caught.value.name == "layout" and f"{N * N} positions" in caught.value.got
    assert not plan(FULL, Jacobian(("x",)), small).recoveries


# What is kept.


def test_a_structure_is_made_once_for_equal_graphs_and_equal_values(monkeypatch: pytest.MonkeyPatch) -> None:
    made_for = []
    found = structures.find

    def counted(graph: Graph, at: int, bound: Any) -> Any:
        made_for.append(bound["i"].tolist())
        return found(graph, at, bound)

    monkeypatch.setattr(structures, "find", counted)
    vector = build(lambda i, x: x[i] * 2.0, i=I64[2], x=F64[17])
    for index in ([3, 1], [3, 1], [0, 1], [3, 1], [0, 1]):
        structure = structure_of(vector, Bound({"i": np.array(index)}))
        assert structure.pattern.indices.tolist() == index
    assert made_for == [[3, 1], [0, 1]]


def test_values_nobody_read_do_not_matter_to_what_is_kept() -> None:
    vector = build(lambda a, x: x * a[0], a=F64[2], x=F64[19])
    one, two = (structure_of(vector, Bound({"a": np.array(a)})) for a in ([1.0, 2.0], [1.0, 3.0]))
    assert one.read == {"a"} and one is not two
    vector = build(lambda a, x: np.sin(x) + a[0], a=F64[2], x=F64[19])
    assert structure_of(vector, Bound({"a": np.ones(2)})) is structure_of(vector, Bound({"a": np.zeros(2)}))


# Seeds.


def test_coloured_seeds_are_the_indicators_of_their_colours() -> None:
    seeds = Coloured(np.array([1, -1, 0, 1], np.int32))
    np.testing.assert_array_equal(made(seeds, 0, 2, 4, np.dtype("float32")), [[0, 0, 1, 0], [1, 0, 0, 1]])
    np.testing.assert_array_equal(made(seeds, 1, 2, 4, np.dtype("float64")), [[1, 0, 0, 1]])


def test_signs_are_the_same_however_their_rows_are_cut_and_balanced() -> None:
    whole = made(Signs(7), 0, 40, 1000, np.dtype("float64"))
    parts = np.concatenate([made(Signs(7), a, a + 10, 1000, np.dtype("float64")) for a in range(0, 40, 10)])
    assert whole.tobytes() == parts.tobytes()
    assert set(np.unique(whole)) == {-1.0, 1.0}
    # 40,000 fair signs: the mean has a standard deviation of 1/200, products of different rows one of 1/sqrt(1000).
    assert abs(whole.mean()) < 0.025
    assert np.abs(np.corrcoef(whole) - np.eye(40)).max() < 0.17
    assert made(Signs(8), 0, 1, 1000, np.dtype("float64")).tobytes() != whole[:1].tobytes()
