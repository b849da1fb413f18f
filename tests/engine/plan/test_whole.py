"""What a plan works out at once: matrices with symbolic seeds, and gradients in forward mode, by static price."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops.op import REALS
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_engine.plan.price import price
from backsweep_engine.query import Gradient, Hessian, HessianDiagonal, Jacobian, Query, ValueAndGradient
from backsweep_engine.transforms import derive
from support.differences import along
from support.draw import draw
from support.graphs import F32, F64, I64, SCALAR, build, cond, named, scan, while_loop
from support.run import Array, function

PLENTY = Budget(1 << 30)


def plan(graph: Graph, *queries: Query, budget: Budget = PLENTY) -> Plan:
    return make_plan(graph, [Ask(query, {}) for query in queries], budget)


def answers(planned: Plan, values: dict[str, Any]) -> list[Array]:
    """The arrays of a plan without sweeps, in order."""
    assert planned.sweeps == ()
    blocks = sorted(Local().blocks(planned, values, never), key=lambda b: (b.query, b.part))
    assert {block.axis for block in blocks} == {Axis.WHOLE}
    return [block.array for block in blocks]


def ops(planned: Plan) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in planned.once.nodes:
        counts[node.op] = counts.get(node.op, 0) + 1
    return counts


RANDOM = np.random.default_rng(3)
A, X, x, w = RANDOM.normal(size=(30, 40)), RANDOM.normal(size=(50, 20)), RANDOM.normal(size=40), RANDOM.normal(size=20)
LAYER = build(lambda x, A: np.tanh(A @ x), x=F64[40], A=F64[30, 40])
LOSS = build(lambda w, X: np.mean(np.logaddexp(0, X @ w)) + 0.5e-3 * np.sum(w * w), w=F64[20], X=F64[50, 20])


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
def test_the_jacobian_of_a_layer_is_its_matrix_with_scaled_rows_and_no_seed_is_left(mode: Any) -> None:
    planned = plan(LAYER, Jacobian(("x",), mode))
    (got,) = answers(planned, {"x": x, "A": A})
    np.testing.assert_allclose(got, A / np.cosh(A @ x)[:, None] ** 2, rtol=0, atol=2e-15)  # roundings of entries up to 3
    assert ops(planned)["matmul"] == 1 and "pad" not in ops(planned)  # A x alone
    assert planned.promise.flops < 10 * A.size


def test_the_hessian_of_a_logistic_regression_is_one_product_beside_the_scores() -> None:
    planned = plan(LOSS, Hessian(("w",)))
    (got,) = answers(planned, {"w": w, "X": X})
    s = 1 / (1 + np.exp(-X @ w))
    np.testing.assert_allclose(got, X.T @ ((s * (1 - s) / 50)[:, None] * X) + 1e-3 * np.eye(20), rtol=0, atol=1e-15)
    assert ops(planned)["matmul"] == 2


def test_the_hessian_of_a_separable_function_is_its_diagonal_and_costs_as_little() -> None:
    graph = build(lambda x: np.sum(np.sin(x) * x**3), x=F64[40])
    for query, wanted in ((Hessian(("x",)), np.diag), (HessianDiagonal(("x",)), np.array)):
        planned = plan(graph, query)
        (got,) = answers(planned, {"x": x})
        exact = -np.sin(x) * x**3 + 6 * x**2 * np.cos(x) + 6 * x * np.sin(x)
        np.testing.assert_allclose(got, wanted(exact), rtol=0, atol=1e-12)  # terms up to 30
        assert planned.promise.flops < 100 * 40


@pytest.mark.parametrize("name", SCALAR)
def test_matrices_at_once_are_those_of_differences(name: str) -> None:
    graph = named(name)
    first = graph.input_names[0]
    values = dict(zip(graph.input_names, draw(graph.input_types, (REALS,), 7), strict=True))
    n = graph.input_types[0].size
    slope = function(derive.gradient(graph, [0]))
    units = [[row.reshape(graph.input_types[0].shape), *[None] * (graph.arity - 1)] for row in np.eye(n)]
    wanted = np.stack([along(slope, list(values.values()), unit)[0].ravel() for unit in units])
    planned = [plan(graph, query) for query in (Hessian((first,)), HessianDiagonal((first,)), Jacobian((first,)))]
    scale = max(1.0, float(np.abs(wanted).max()))
    for one, right in zip(planned, (wanted, np.diag(wanted), slope(*values.values())[0].ravel()), strict=True):
        if not one.sweeps:
            np.testing.assert_allclose(answers(one, values)[0].ravel(), right.ravel(), rtol=0, atol=1e-9 * scale)  # of differences
    assert any(not one.sweeps for one in planned)


def test_several_inputs_and_outputs_of_two_dtypes_are_joined_in_order() -> None:
    types: dict[str, Type] = {"a": F64[2, 2], "b": F32[3], "n": I64[2]}
    graph = build(lambda a, b, n: (np.sin(a), n * 2, np.sum(a, axis=0) * np.sum(b.astype("float64"))), **types)
    a, b = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([1, 2, 3], np.float32)
    values = {"a": a, "b": b, "n": np.array([1, 2])}
    wanted = np.zeros((8, 7))
    wanted[:4, :4] = np.diag(np.cos(a.ravel()))
    wanted[6:, :4] = 6 * np.hstack([np.eye(2), np.eye(2)])
    wanted[6:, 4:] = a.sum(axis=0)[:, None]
    for mode in ("forward", "reverse"):
        (got,) = answers(plan(graph, Jacobian(("a", "b"), mode)), values)  # type: ignore[arg-type]
        assert got.dtype == np.float64
        # In reverse a cotangent of a float32 input is float32.
        np.testing.assert_allclose(got, wanted, rtol=1e-15 if mode == "forward" else 1e-7)
    (turned,) = answers(plan(graph, Jacobian(("b", "a"))), values)
    np.testing.assert_allclose(turned, np.hstack([wanted[:, 4:], wanted[:, :4]]), rtol=1e-7)


def test_a_matrix_is_swept_where_blocks_were_asked_for_or_it_is_too_large_or_does_not_fit() -> None:
    assert plan(LAYER, Jacobian(("x",), block=10)).sweeps[0].width == 10
    large = build(lambda x, A: np.tanh(A @ x), x=F64[3000], A=F64[3000, 3000])
    assert plan(large, Jacobian(("x",)), budget=Budget(1 << 32)).sweeps
    tight = Budget(plan(LAYER, Jacobian(("x",))).promise.peak_bytes - 1)
    assert plan(LAYER, Jacobian(("x",)), budget=tight).sweeps


def test_the_hessian_is_swept_where_symbolic_seeds_would_cost_more() -> None:
    # Of a chain of small dense products nothing can be taken away, but the matrix at once is one block as well.
    graph = build(lambda x, A: np.sum(np.tanh(A @ np.tanh(A.T @ np.tanh(A @ x)))), x=F64[40], A=F64[30, 40])
    planned = plan(graph, Hessian(("x",)))
    slope = function(derive.gradient(graph, [0]))
    wanted = np.stack([along(slope, [x, A], [unit, None])[0] for unit in np.eye(40)])
    np.testing.assert_allclose(answers(planned, {"x": x, "A": A})[0], wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())


# Gradients.


def _orbit(p: Any) -> Any:
    """1000 trips of a recurrence of 60 numbers with two parameters, written as p[0] and p[1]."""
    a, b, start = p[0], p[1], p[2] + np.linspace(0.0, 0.1, 60)
    (last,) = scan(lambda y, a, b: y + 0.001 * (a * np.sin(y) + b), [start], stays=[a, b], length=1000)
    return np.mean(last**2)


@pytest.mark.parametrize("query", [Gradient(("p",)), ValueAndGradient(("p",))])
def test_the_gradient_of_few_inputs_through_a_long_loop_is_taken_forward_and_keeps_nothing_of_it(query: Query) -> None:
    graph = build(_orbit, p=F64[3])
    planned = plan(graph, query)
    assert [node.op for node in planned.once.nodes].count("scan") == 1
    assert "in forward mode: reverse costs" in describe(planned)
    assert planned.promise.peak_bytes < 20_000, "all that is carried would be 480,000 bytes"
    p = np.array([1.5, 0.3, 0.8])
    *value, gradient = answers(planned, {"p": p})
    wanted = [along(function(graph), [p], [unit])[0] for unit in np.eye(3)]
    np.testing.assert_allclose(gradient, wanted, rtol=0, atol=1e-10)
    assert all(v == function(graph)(p)[0] for v in value)


def test_on_pythons_numbers_reverse_mode_is_the_cheaper_for_three_inputs() -> None:
    """A trip is then as dear as its operations: 2 + 5 of them in reverse, 4 times 2 or more forward."""

    def orbit(p: Any) -> Any:
        return scan(lambda y, a, b: y + 0.001 * (a * np.sin(y) + b), [p[2]], stays=[p[0], p[1]], length=1000)[0] ** 2

    assert "in reverse mode: forward costs" in describe(plan(build(orbit, p=F64[3]), Gradient(("p",))))


def test_the_gradient_of_many_inputs_through_a_loop_is_taken_in_reverse_and_a_plan_says_so() -> None:
    def f(p: Any) -> Any:
        (last,) = scan(lambda y, p: np.tanh(y * np.sum(np.sin(p)) / 16 + y), [p[0]], stays=[p], length=50)
        return last

    assert "forward" not in describe(plan(build(f, p=F64[17]), Gradient(("p",))))
    few = plan(build(f, p=F64[16]), Gradient(("p",)))
    assert " mode: " in describe(few)


def test_without_a_loop_there_is_no_choice_to_make() -> None:
    graph = build(lambda x: cond(np.sum(x) > 0, lambda v: np.sum(np.sin(v)), lambda v: np.sum(v), x), x=F64[3])
    assert " mode" not in describe(plan(graph, Gradient(("x",))))


def test_a_while_loop_too_is_weighed_and_its_gradient_is_that_of_the_trips_made() -> None:
    def f(x: Any) -> Any:
        _, y = while_loop(lambda y, c: y < 100.0, lambda y, c: y * c, [x[0]], [x[1]], max_trips=60)
        return y

    graph = build(f, x=F64[2])
    point = np.array([1.5, 1.25])
    trips = int(np.ceil(np.log(100 / 1.5) / np.log(1.25)))
    (gradient,) = answers(plan(graph, Gradient(("x",))), {"x": point})
    np.testing.assert_allclose(gradient, [1.25**trips, trips * 1.5 * 1.25 ** (trips - 1)], rtol=1e-14)


def test_the_price_of_a_loop_is_that_of_its_trips() -> None:
    def looped(length: int) -> int:
        return price(build(lambda x: scan(lambda y: np.sin(y) * 2, [x], length=length)[0], x=F64[3]))

    ten, twenty, forty = map(looped, (10, 20, 40))
    assert forty - twenty == 2 * (twenty - ten) > 0
