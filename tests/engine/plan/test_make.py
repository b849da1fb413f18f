"""Plans: what runs once and what is swept, mode and width from graph, query and budget alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError, OverBudget
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph, Type
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan, plan_rows, require_within
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_engine.query import Gradient, Hessian, HessianDiagonal, Hvp, Jacobian, Jvp, Query, Value, Vjp
from support.graphs import F32, F64, I64, build, named

PLENTY = Budget(1 << 30)


def plan(graph: Graph, *queries: Query, budget: Budget = PLENTY, **seeds: Any) -> Plan:
    return make_plan(graph, [Ask(q, seeds) for q in queries], budget)


def matrix(planned: Plan, values: dict[str, Any]) -> Any:
    """The matrix of a plan that answers one query, put together from its blocks."""
    blocks = sorted(Local().blocks(planned, values, never), key=lambda b: b.start)
    if not planned.sweeps:
        (block,) = blocks
        return block.array
    whole = np.concatenate([b.array for b in blocks])
    return whole.T if planned.sweeps[0].axis is Axis.COLUMN else whole


def yielded(planned: Plan) -> list[Type]:
    """The types of what a plan's parts and sweeps give."""
    return [*[part.type for part in planned.parts], *[sweep.row_type for sweep in planned.sweeps]]


TALL = build(lambda x, A: np.tanh(A @ x), x=F64[3], A=F64[50, 3])
WIDE = build(lambda x, A: np.tanh(A @ x), x=F64[50], A=F64[3, 50])


@pytest.mark.parametrize(("graph", "axis"), [(TALL, Axis.COLUMN), (WIDE, Axis.ROW)])
def test_a_jacobian_is_swept_along_its_short_side(graph: Graph, axis: Axis) -> None:
    assert plan(graph, Jacobian(("x",), block=50)).sweeps[0].axis is axis


@pytest.mark.parametrize(("mode", "axis", "rows"), [("forward", Axis.COLUMN, 3), ("reverse", Axis.ROW, 50)])
def test_the_mode_asked_for_is_the_mode_planned(mode: Any, axis: Axis, rows: int) -> None:
    sweep = plan(TALL, Jacobian(("x",), mode, 50)).sweeps[0]
    assert (sweep.axis, sweep.rows) == (axis, rows)


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("block", [0, 1, 2, 3, 100])
def test_every_mode_and_width_gives_the_jacobian_of_the_closed_form(mode: Any, block: int) -> None:
    random = np.random.default_rng(1)
    x, A = random.normal(size=3), random.normal(size=(50, 3))
    got = matrix(plan(TALL, Jacobian(("x",), mode, block)), {"x": x, "A": A})
    np.testing.assert_allclose(got, (1 - np.tanh(A @ x) ** 2)[:, None] * A, rtol=0, atol=1e-14)  # some rounding of entries of size 1


def test_the_primal_is_in_once_and_the_sweep_holds_only_what_depends_on_the_seed() -> None:
    planned = plan(TALL, Jacobian(("x",), block=2))
    assert "tanh" in {n.op for n in planned.once.nodes}
    assert "tanh" not in {n.op for n in planned.sweeps[0].each.nodes}


def test_queries_at_one_point_share_one_forward_pass() -> None:
    graph = named("logistic")
    wrt = ("w",)
    alone = plan(graph, Gradient(wrt)).once
    together = plan(graph, Value(), Gradient(wrt), Gradient(wrt), Hvp(wrt), w=F64[4]).once
    assert sum(n.op == "matmul" and n.operands[0].node == 1 for n in together.nodes) == 2  # X w for the point, X v for the hvp
    assert len(together.nodes) < 4 * len(alone.nodes)


@pytest.mark.parametrize("block", [1, 4, 7, 31, 1000])
def test_block_is_the_width_up_to_the_number_of_rows(block: int) -> None:
    sweep = plan(build(lambda x: x**3, x=F64[31]), Jacobian(("x",), "forward", block)).sweeps[0]
    assert sweep.width == min(block, 31)
    covered = [k for start, stop in sweep.ranges() for k in range(start, stop)]
    assert covered == list(range(31))


def test_equal_requests_have_equal_keys_and_other_widths_other_keys() -> None:
    keys = [plan(TALL, Jacobian(("x",), "auto", b)).key for b in (1, 1, 2)]
    assert keys[0] == keys[1] != keys[2]


def test_a_smaller_budget_gives_narrower_blocks_before_it_refuses() -> None:
    graph = build(lambda x, A: np.tanh(A @ x), x=F64[400], A=F64[30_000, 400])
    wide = plan(graph, Jacobian(("x",)))
    budget = Budget(wide.promise.peak_bytes - (1 << 17))
    tight = plan(graph, Jacobian(("x",)), budget=budget)
    assert tight.sweeps[0].width < wide.sweeps[0].width
    assert tight.promise.peak_bytes <= budget.memory_bytes
    refused = plan(graph, Jacobian(("x",)), budget=Budget(1 << 20))
    with pytest.raises(OverBudget) as caught:
        require_within(refused.promise, Budget(1 << 20))
    assert caught.value.reason == "OVER_BUDGET"
    assert str(1 << 20) in caught.value.allowed and str(refused.promise.peak_bytes) in caught.value.got


def test_planning_allocates_nothing_of_the_size_of_what_it_plans() -> None:
    graph = build(lambda x: np.sum(np.outer(x, x)), x=F64[10**7])
    planned = plan(graph, Value(), Gradient(("x",)))
    assert planned.promise.peak_bytes > 8 * 10**14


def test_many_seeds_are_rows_of_one_sweep() -> None:
    random = np.random.default_rng(2)
    values = {"x": random.normal(size=3), "A": random.normal(size=(50, 3)), "seed.0.x": random.normal(size=(5, 3))}
    got = matrix(make_plan(TALL, [Ask(Jvp(("x",), True), {"x": F64[5, 3]})], PLENTY), values)
    jacobian = (1 - np.tanh(values["A"] @ values["x"]) ** 2)[:, None] * values["A"]
    np.testing.assert_allclose(got, values["seed.0.x"] @ jacobian.T, rtol=0, atol=1e-13)  # sums of three entries of size 1


def test_a_hessian_diagonal_is_swept_to_one_number_a_row() -> None:
    x = np.linspace(0.5, 2, 6)
    got = matrix(plan(build(lambda x: np.sum(x**4), x=F64[6]), HessianDiagonal(("x",), 6)), {"x": x})
    np.testing.assert_allclose(got[:, 0], 12 * x**2, rtol=1e-15)


def test_a_matrix_of_mixed_dtypes_is_float64_and_of_float32_alone_float32() -> None:
    mixed = build(lambda x, y: np.concatenate([x * 2, (y * 3).astype("float64")]), x=F64[2], y=F32[3])
    alone = build(lambda y: y * 3, y=F32[3])
    for block in (0, 2):
        assert {type.dtype.name for type in yielded(plan(mixed, Jacobian(("x", "y"), block=block)))} == {"float64"}
        assert {type.dtype.name for type in yielded(plan(alone, Jacobian(("y",), block=block)))} == {"float32"}


def test_integer_outputs_have_zero_rows_in_a_jacobian() -> None:
    graph = build(lambda x, n: (n * 2, x * 3), x=F64[2], n=I64[3])
    values = {"x": np.ones(2), "n": np.arange(3)}
    for mode, block in (("forward", 0), ("reverse", 0), ("forward", 2), ("reverse", 5)):
        got = matrix(plan(graph, Jacobian(("x",), mode, block)), values)  # type: ignore[arg-type]
        np.testing.assert_array_equal(got, np.vstack([np.zeros((3, 2)), 3 * np.eye(2)]))


@pytest.mark.parametrize("query", [Gradient(("x",)), Hvp(("x",)), Hessian(("x",)), HessianDiagonal(("x",))])
def test_a_gradient_of_something_that_is_not_scalar_is_refused(query: Query) -> None:
    with pytest.raises(GraphError) as caught:
        plan(build(lambda x: x * x, x=F64[3]), query, x=F64[3])
    assert caught.value.reason == "NOT_SCALAR"


def test_points_along_a_leading_axis_are_rows() -> None:
    graph = build(lambda x, a: np.sum(a * x**2), x=F64[3], a=F64[3])
    planned = make_plan(graph, [Ask(Gradient(("x",)), {})], PLENTY, frozenset({"x"}), 7)
    points, a = np.random.default_rng(3).normal(size=(7, 3)), np.arange(3.0)
    np.testing.assert_allclose(matrix(planned, {"x": points, "a": a}), 2 * a * points, rtol=1e-15)


def test_a_graph_is_run_over_given_rows() -> None:
    graph = build(lambda x, a: np.sum(a * x), x=F64[3], a=F64[()])
    planned = plan_rows(graph, ["a"], 4, PLENTY, block=3)
    got = matrix(planned, {"x": np.arange(3.0), "a": np.arange(4.0)})
    np.testing.assert_array_equal(got, 3 * np.arange(4.0)[:, None])
    assert planned.sweeps[0].blocks == 2


def test_no_rows_are_no_blocks() -> None:
    planned = plan(build(lambda x: x * 2, x=F64[0]), Jacobian(("x",)))
    assert list(Local().blocks(planned, {"x": np.ones(0)}, never)) == []


def test_a_plan_prints_its_promise_and_its_sweeps() -> None:
    shown = describe(plan(TALL, Jacobian(("x",), "auto", 2)))
    assert "3 columns in 2 blocks of 2" in shown and "promise:" in shown and "keeps 1 residual, 400 B" in shown


def test_a_vjp_that_ignores_an_output_gives_zero() -> None:
    graph = build(lambda x, y: (np.sum(x), y * 2), x=F64[3], y=F64[2])
    planned = make_plan(graph, [Ask(Vjp(("y",)), {"0": F64[()], "1": F64[2]})], PLENTY)
    values = {"x": np.ones(3), "y": np.ones(2), "seed.0.0": np.array(5.0), "seed.0.1": np.array([1.0, 10.0])}
    (block,) = Local().blocks(planned, values, never)
    np.testing.assert_array_equal(block.array, [2.0, 20.0])


def test_an_input_called_like_a_residual_is_not_taken_for_one() -> None:
    types = {"residual.0": F64[3], "residual.1": F64[3]}
    graph = build(lambda x, y: np.tanh(x) * np.sin(y), **types)
    x, y = np.array([0.1, 0.2, 0.3]), np.array([1.0, 2.0, 3.0])
    got = matrix(plan(graph, Jacobian(("residual.0",), "forward", 3)), {"residual.0": x, "residual.1": y})
    np.testing.assert_allclose(got, np.diag((1 - np.tanh(x) ** 2) * np.sin(y)), rtol=1e-14)  # a few roundings


def test_more_blocks_than_anybody_can_queue_are_refused() -> None:
    graph = build(lambda x: x * np.sum(x), x=F64[10**6])  # dense: there is nothing to colour
    assert plan(graph, Jacobian(("x",), "forward", 10), budget=Budget(1 << 40)).sweeps[0].blocks == 10**5
    with pytest.raises(OverBudget, match="too many blocks"):
        plan(graph, Jacobian(("x",), "forward", 9), budget=Budget(1 << 40))
