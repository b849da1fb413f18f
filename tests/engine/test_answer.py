"""The whole job: what is asked is checked before anything runs, and what is not finite is traced to its node."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.answer import Answer, Collected, NonFinite, deliver
from backsweep_engine.errors import Cancelled, GraphError, OverBudget
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops.build import call
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, seed_name
from backsweep_engine.query import (
    Check,
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    Gradient,
    Hessian,
    HessianDiagonal,
    Hvp,
    Jacobian,
    Jvp,
    Query,
    Value,
    ValueAndGradient,
    Vjp,
)
from backsweep_engine.request import Request
from backsweep_engine.work import prepare
from support.graphs import F32, F64, I64, build, named

PLENTY = Budget(1 << 30)


def types(graph: Graph) -> dict[str, Type]:
    return dict(zip(graph.input_names, graph.input_types, strict=True))


def answers(graph: Graph, values: dict[str, Any], *queries: Query, seeds: dict[str, Any] | None = None) -> list[Answer]:
    """The answers at one point; `seeds` are given to every query that takes any."""
    arrays = {name: np.asarray(v, t.dtype) for (name, t), v in zip(types(graph).items(), values.values(), strict=True)}
    asks = []
    for k, query in enumerate(queries):
        given = {n: np.asarray(v) for n, v in (seeds or {}).items()} if isinstance(query, (Jvp, Vjp, Hvp)) or getattr(query, "product", False) else {}
        asks.append(Ask(query, {n: Type(a.dtype, a.shape) for n, a in given.items()}))
        arrays |= {seed_name(k, n): a for n, a in given.items()}
    work = prepare(Request(graph, types(graph), tuple(asks)), PLENTY)
    collected = Collected(work)
    for event in deliver(work, arrays, Local(), never):
        collected.add(event)
    return collected.answers()


PAIRS = build(lambda x, a: (x, a), x=F64[3], a=F64[3])
CUBES = build(lambda x, a: np.sum(a * x**3), x=F64[3], a=F64[3])
X, A = np.array([1.0, 2.0, -3.0]), np.array([0.5, 1.0, 2.0])


def test_every_verb_answers_with_the_closed_form() -> None:
    wrt, t = ("x",), np.array([1.0, 0.0, 2.0])
    queries = [Value(), Gradient(wrt), ValueAndGradient(wrt), Jvp(wrt), Hvp(wrt), Jacobian(wrt), Hessian(wrt), HessianDiagonal(wrt)]
    got = answers(CUBES, {"x": X, "a": A}, *queries, seeds={"x": t})
    gradient, diagonal = 3 * A * X**2, 6 * A * X
    wanted = [
        [A @ X**3], [gradient], [A @ X**3, gradient], [gradient @ t], [diagonal * t], [gradient[None]], [np.diag(diagonal)], [diagonal],
    ]  # fmt: skip
    for answer, arrays in zip(got, wanted, strict=True):
        for array, right in zip(answer.arrays, arrays, strict=True):
            np.testing.assert_allclose(array, right, rtol=1e-14)  # a few roundings


EXPS = build(lambda x, a: np.sum(np.exp(call("name", a * x, label="z"))), x=F64[3], a=F64[3])
LINES = build(lambda x, a: a * x, x=F64[3], a=F64[3])
G = np.exp(A * X) * A * A
"""Of EXPS the diagonal of the Hessian, of its Gauss-Newton through z, and of the Fisher of LINES as rates."""

CURVATURES: dict[str, tuple[Graph, Callable[..., Query], Any]] = {
    "gauss_newton": (EXPS, lambda **options: GaussNewton(("x",), ("z",), **options), G),
    "fisher": (LINES, lambda **options: Fisher(("x",), "poisson", **options), G),
    "empirical_fisher": (LINES, lambda **options: EmpiricalFisher(("x",), **options), A * A),
}


@pytest.mark.parametrize("verb", CURVATURES)
def test_a_curvature_is_a_product_many_products_or_a_matrix(verb: str) -> None:
    graph, query, diagonal = CURVATURES[verb]
    t = np.array([1.0, -2.0, 0.5])
    product, matrix, blocks = answers(graph, {"x": X, "a": A}, query(product=True), query(), query(block=2), seeds={"x": t})
    (many,) = answers(graph, {"x": X, "a": A}, query(product=True, many=True, block=2), seeds={"x": np.outer([1, 0, 3, -1, 2], t)})
    for answer, wanted in ((product, diagonal * t), (matrix, np.diag(diagonal)), (blocks, np.diag(diagonal)), (many, np.outer([1, 0, 3, -1, 2], diagonal * t))):
        (array,) = answer.arrays
        assert array.shape == wanted.shape
        np.testing.assert_allclose(array, wanted, rtol=1e-14)  # a few roundings


@pytest.mark.parametrize("verb", CURVATURES)
def test_a_product_at_batched_points_is_one_at_each(verb: str) -> None:
    graph, query, _ = CURVATURES[verb]
    points, t = np.stack([X, 0.5 * X, 0 * X, -X]), np.array([1.0, -2.0, 0.5])
    ask = Ask(query(product=True), {"x": F64[3]})
    work = prepare(Request(graph, {"x": F64[4, 3], "a": F64[3]}, (ask,), frozenset({"x"})), PLENTY)
    collected = Collected(work)
    for event in deliver(work, {"x": points, "a": A, seed_name(0, "x"): t}, Local(), never):
        collected.add(event)
    (array,) = collected.answers()[0].arrays
    weights = np.ones((4, 3)) if verb == "empirical_fisher" else np.exp(A * points)
    np.testing.assert_allclose(array, weights * A * A * t, rtol=1e-14)


def test_a_matrix_is_swept_in_blocks_within_its_promise_and_says_what_it_is() -> None:
    graph = build(lambda w, X: np.tanh(X @ w), w=F64[40], X=F64[100, 40])
    for query, said in ((Fisher(("w",), "normal", block=7), "the Fisher information"), (EmpiricalFisher(("w",), block=7), "the empirical Fisher")):
        work = prepare(Request(graph, types(graph), (Ask(query, {}),)), PLENTY)
        (sweep,) = work.plan.sweeps
        assert (sweep.rows, sweep.blocks) == (40, 6)
        assert said in describe(work.plan) and "40 columns in 6 blocks of 7" in describe(work.plan)
        assert "tanh" not in {node.op for node in sweep.each.nodes}  # the forward pass is made once
        assert [node.op for node in work.plan.once.nodes].count("tanh") == 1


REFUSED: dict[str, tuple[Callable[[], Request], str]] = {
    "a missing input": (lambda: Request(CUBES, {"x": F64[3]}, (Ask(Value(), {}),)), "MISSING_INPUT"),
    "a surplus input": (lambda: Request(CUBES, {**types(CUBES), "b": F64[3]}, (Ask(Value(), {}),)), "SURPLUS_INPUT"),
    "a wrong shape": (lambda: Request(CUBES, {**types(CUBES), "x": F64[4]}, (Ask(Value(), {}),)), "SHAPE"),
    "a wrong dtype": (lambda: Request(CUBES, {**types(CUBES), "x": F32[3]}, (Ask(Value(), {}),)), "DTYPE"),
    "wrt an input that is not there": (lambda: Request(CUBES, types(CUBES), (Ask(Gradient(("y",)), {}),)), "SURPLUS_INPUT"),
    "wrt nothing": (lambda: Request(CUBES, types(CUBES), (Ask(Gradient(()), {}),)), "MISSING_INPUT"),
    "wrt one input twice": (lambda: Request(CUBES, types(CUBES), (Ask(Gradient(("x", "x")), {}),)), "SURPLUS_INPUT"),
    "a tangent that is missing": (lambda: Request(CUBES, types(CUBES), (Ask(Jvp(("x",)), {}),)), "MISSING_INPUT"),
    "a tangent too many": (lambda: Request(CUBES, types(CUBES), (Ask(Jvp(("x",)), {"x": F64[3], "a": F64[3]}),)), "SURPLUS_INPUT"),
    "a tangent of a wrong shape": (lambda: Request(CUBES, types(CUBES), (Ask(Hvp(("x",)), {"x": F64[2]}),)), "SHAPE"),
    "many tangents without an axis": (lambda: Request(CUBES, types(CUBES), (Ask(Hvp(("x",), True), {"x": F64[3]}),)), "SHAPE"),
    "tangents for many points, at one": (lambda: Request(CUBES, types(CUBES), (Ask(Hvp(("x",)), {"x": F64[9, 3]}),), frozenset({"seed.0.x"})), "MALFORMED"),
    "tangents for fewer points than there are": (
        lambda: Request(CUBES, {"x": F64[9, 3], "a": F64[3]}, (Ask(Hvp(("x",)), {"x": F64[8, 3]}),), frozenset({"x", "seed.0.x"})),
        "SHAPE",
    ),
    "a sparse matrix at batched points": (
        lambda: Request(CUBES, {"x": F64[9, 3], "a": F64[3]}, (Ask(Hessian(("x",), layout="sparse"), {}),), frozenset({"x"})),
        "NOT_BUILT_YET",
    ),
    "a Gauss-Newton through nothing": (lambda: Request(EXPS, types(EXPS), (Ask(GaussNewton(("x",), ()), {}),)), "NOT_THROUGH"),
    "a Gauss-Newton past which the output goes": (lambda: Request(EXPS, types(EXPS), (Ask(GaussNewton(("x",), ("y",)), {}),)), "NOT_THROUGH"),
    "a Fisher of two parameters": (lambda: Request(PAIRS, types(PAIRS), (Ask(Fisher(("x",), "poisson"), {}),)), "SHAPE"),
    "an empirical Fisher of a scalar": (lambda: Request(CUBES, types(CUBES), (Ask(EmpiricalFisher(("x",)), {}),)), "SHAPE"),
    "a product without its tangent": (lambda: Request(EXPS, types(EXPS), (Ask(GaussNewton(("x",), ("z",), product=True), {}),)), "MISSING_INPUT"),
    "a matrix with a tangent": (lambda: Request(EXPS, types(EXPS), (Ask(GaussNewton(("x",), ("z",)), {"x": F64[3]}),)), "SURPLUS_INPUT"),
    "many products without tangents": (lambda: Request(EXPS, types(EXPS), (Ask(GaussNewton(("x",), ("z",), many=True), {}),)), "MISSING_INPUT"),
    "a Fisher matrix at batched points": (
        lambda: Request(LINES, {"x": F64[9, 3], "a": F64[3]}, (Ask(Fisher(("x",), "normal"), {}),), frozenset({"x"})),
        "NOT_BUILT_YET",
    ),
    "different numbers of points": (
        lambda: Request(CUBES, {"x": F64[9, 3], "a": F64[8, 3]}, (Ask(Value(), {}),), frozenset({"x", "a"})),
        "SHAPE",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_the_graph_is_refused_before_any_work(case: str) -> None:
    request, reason = REFUSED[case]
    with pytest.raises(GraphError) as caught:
        prepare(request(), PLENTY)
    assert caught.value.reason == reason
    assert caught.value.message and (caught.value.got or caught.value.allowed or caught.value.hint)


def test_a_derivative_by_integers_is_refused_with_the_input_named() -> None:
    graph = build(lambda n, x: np.sum(n * x), n=I64[3], x=F64[3])
    with pytest.raises(GraphError) as caught:
        prepare(Request(graph, types(graph), (Ask(Gradient(("n",)), {}),)), PLENTY)
    assert (caught.value.reason, caught.value.node) == ("NOT_DIFFERENTIABLE", 0)


def test_a_gradient_of_a_vector_names_the_output_and_what_to_ask_instead() -> None:
    graph = build(lambda x: x * 2, x=F64[3])
    with pytest.raises(GraphError) as caught:
        prepare(Request(graph, types(graph), (Ask(Gradient(("x",)), {}),)), PLENTY)
    assert caught.value.reason == "NOT_SCALAR" and caught.value.node == graph.outputs[0].node and "jacobian" in caught.value.hint


def test_work_over_the_budget_is_refused_before_the_executor_is_asked() -> None:
    graph = build(lambda x: np.sum(np.outer(x, x)), x=F64[10**6])
    work = prepare(Request(graph, types(graph), (Ask(Value(), {}),)), Budget(1 << 20))
    with pytest.raises(OverBudget) as caught:
        next(deliver(work, {"x": np.zeros(10**6)}, Local(), never))
    assert caught.value.op and "bytes" in caught.value.got


def test_a_stop_cancels_between_blocks() -> None:
    graph = build(lambda x, A: np.tanh(A @ x), x=F64[300], A=F64[300, 300])
    work = prepare(Request(graph, types(graph), (Ask(Jacobian(("x",), "forward", 10), {}),)), PLENTY)
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled):
        list(deliver(work, {"x": np.ones(300), "A": np.ones((300, 300))}, Local(), stop))


NOT_FINITE: dict[str, tuple[Callable[..., Any], list[float], Query, str, bool]] = {
    "sqrt of a negative value": (lambda x: np.sum(np.sqrt(x)), [1.0, -1.0], Value(), "sqrt", False),
    "the derivative of sqrt at 0": (lambda x: np.sum(np.sqrt(x)), [1.0, 0.0], Gradient(("x",)), "sqrt", True),
    "log of 0 inside a sum": (lambda x: np.sum(2 * np.log(x) + 1), [1.0, 0.0], Value(), "log", False),
    "an exponential overflowing before it is subtracted": (lambda x: np.exp(x[0]) - np.exp(x[1]), [800.0, 900.0], Value(), "exp", False),
    "a second derivative by rows": (lambda x: np.sum(x**1.5), [1.0, 0.0], Hessian(("x",)), "power", True),
    "a nan beside the second derivative of a determinant": (
        lambda x: np.linalg.det(np.stack([x, x[::-1]])) * np.log(x[0]),
        [-1.0, 2.0],
        Hvp(("x",)),
        "log",
        False,
    ),
    "a nan that came in with the point": (lambda x: np.sum(x * 2), [1.0, np.nan], Gradient(("x",)), "", False),
    "a nan that came in and went through": (lambda x: np.sum(x * x), [1.0, np.nan], Value(), "input", False),
}


@pytest.mark.parametrize("case", NOT_FINITE)
def test_the_first_node_that_made_it_not_finite_is_named(case: str) -> None:
    f, x, query, op, in_derivative = NOT_FINITE[case]
    (answer,) = answers(build(f, x=F64[2]), {"x": x}, query, seeds={"x": [1.0, 1.0]})
    if not op:
        assert answer.notes == ()
        return
    (note,) = answer.notes
    assert isinstance(note, NonFinite) and (note.op, note.in_derivative) == (op, in_derivative)
    assert not all(np.isfinite(a).all() for a in answer.arrays)


def test_who_made_it_is_not_looked_for_where_that_takes_more_than_the_budget() -> None:
    graph = build(lambda x, w: np.sum(np.log(np.sum((x @ w).reshape(6000, 20, 12) ** 2, 2)), 0) @ np.ones(20), x=F64[6000, 5], w=F64[5, 240])
    values = {"x": np.random.default_rng(0).normal(size=(6000, 5)), "w": np.random.default_rng(1).normal(size=(5, 240))}
    values["x"][17] = 0
    kinds = []
    for budget in (Budget(6 << 20), PLENTY):
        work = prepare(Request(graph, types(graph), (Ask(Gradient(("w",)), {}),)), budget)
        collected = Collected(work)
        for event in deliver(work, values, Local(), never):
            collected.add(event)
        (answer,) = collected.answers()
        (note,) = answer.notes
        kinds.append((note.node is None, note.op, note.kind))
    assert kinds == [(True, "", "nan"), (False, "log", "nan")]


def test_a_branch_not_taken_by_where_spoils_nothing() -> None:
    graph = build(lambda x: np.sum(np.where(x > 0, np.sqrt(x), 0.0)), x=F64[2])
    value, gradient = answers(graph, {"x": [4.0, 0.0]}, Value(), Gradient(("x",)))
    np.testing.assert_array_equal(gradient.arrays[0], [0.25, 0.0])
    assert value.notes == gradient.notes == ()


def test_points_answer_part_by_part_along_their_axis() -> None:
    graph = named("rosenbrock")
    points = np.random.default_rng(0).normal(size=(9, 6))
    work = prepare(Request(graph, {"x": F64[9, 6]}, (Ask(ValueAndGradient(("x",)), {}),), frozenset({"x"})), PLENTY)
    collected = Collected(work)
    for event in deliver(work, {"x": points}, Local(), never):
        collected.add(event)
    (answer,) = collected.answers()
    a, b = points[:, :-1], points[:, 1:]
    np.testing.assert_allclose(answer.arrays[0], np.sum(100 * (b - a * a) ** 2 + (1 - a) ** 2, axis=1), rtol=1e-13)  # sums of some tens of terms
    assert answer.arrays[1].shape == (9, 6)


def test_answers_alias_neither_each_other_nor_the_values() -> None:
    graph = build(lambda x: (x, x, x.T), x=F64[3])
    x = np.arange(3.0)
    (answer,) = answers(graph, {"x": x}, Value())
    for i, a in enumerate(answer.arrays):
        assert a.flags.owndata and a.flags.writeable and a.flags.c_contiguous
        assert not any(np.shares_memory(a, b) for b in [x, *answer.arrays[:i]])


def test_one_array_bound_twice_gives_the_bits_of_two() -> None:
    """BLAS takes another path where both operands of a product are one buffer."""
    graph = build(lambda x, y: x.T @ y, x=F64[300, 40], y=F64[300, 40])
    x = np.random.default_rng(1).normal(size=(300, 40))
    (same,), (apart,) = answers(graph, {"x": x, "y": x}, Value()), answers(graph, {"x": x, "y": x.copy()}, Value())
    np.testing.assert_array_equal(same.arrays[0], apart.arrays[0])


def test_a_check_is_planned_with_a_promise_of_its_own() -> None:
    work = prepare(Request(CUBES, types(CUBES), (Ask(Check(("x",)), {}),)), PLENTY)
    assert work.promise.flops > 0 and work.outlines == ((),)


def test_a_product_is_a_syrk_where_the_graph_says_so_and_not_where_two_inputs_are_one_array() -> None:
    # BLAS sums otherwise where both operands of X' Y are one buffer (CONTRACT B4).
    matrix = np.random.default_rng(5).normal(size=(97, 41))
    two = build(lambda x, y: (x.T @ y, (x.T @ (2.5 * y)) @ x.T), x=F64[97, 41], y=F64[97, 41])
    (one_array,), (two_arrays,) = (answers(two, {"x": matrix, "y": y}, Value()) for y in (matrix, matrix.copy()))
    for a, b in zip(one_array.arrays, two_arrays.arrays, strict=True):
        assert a.tobytes() == b.tobytes()
    (square,) = answers(build(lambda x: x.T @ x, x=F64[97, 41]), {"x": matrix}, Value())
    np.testing.assert_array_equal(square.arrays[0], square.arrays[0].T)
