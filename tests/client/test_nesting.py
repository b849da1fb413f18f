"""Derivatives of functions: inside a trace, on plain arrays, and one in another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep import dtypes as bs
from backsweep.control import cond
from backsweep.nesting import gradient, hessian, hvp, jacobian, jvp, value_and_gradient, vjp
from backsweep.trace import trace
from backsweep_engine.errors import GraphError
from support.differences import along
from support.run import one, run

rng = np.random.default_rng(1)
A = rng.normal(size=(4, 3))
BIG = rng.normal(size=(60, 3))  # above 1 KiB: bound
w = rng.normal(size=3)
v = rng.normal(size=3)


def traced(f: Callable[..., Any], *points: Any) -> list[Any]:
    """f traced at the points' types, then run on them: what a service does."""
    names = list(inspect.signature(f).parameters)
    graph = trace(f, {n: bs.float64[np.shape(p)] for n, p in zip(names, points, strict=True)})
    return run(graph.graph, *points, *graph.bound.values())


# Perturbation confusion: each row is f, a point, and f's value by hand.

NESTED: dict[str, tuple[Callable[..., Any], float, float]] = {
    "the classic: d/dx x (d/dy (x + y))": (lambda x: gradient(lambda x: x * gradient(lambda y: x + y)(1.0))(x), 3.0, 1.0),
    "d/dx x (d/dy x y) = 2x": (lambda x: gradient(lambda x: x * gradient(lambda y: x * y)(2.0))(x), 3.0, 6.0),
    "the inner point is the outer variable": (lambda x: gradient(lambda x: gradient(lambda y: x * y * y)(x))(x), 3.0, 12.0),
    "three deep": (lambda x: gradient(lambda x: x * gradient(lambda y: x * y * gradient(lambda z: x * y * z)(x))(x))(x), 2.0, 8 * 2.0**3),
    "the derivative of the derivative": (lambda x: gradient(gradient(gradient(np.sin)))(x), 0.5, -np.cos(0.5)),
    "by one of two": (lambda x: gradient(lambda a, b: a * b * b, wrt=1)(x, x), 3.0, 18.0),
    "by name": (lambda x: gradient(lambda a, b: a * b * b, wrt="b")(x, b=x), 3.0, 18.0),
    "not by what is captured": (lambda x: gradient(lambda y: np.exp(x))(x), 3.0, 0.0),
    "through a branch": (lambda x: gradient(lambda x: cond(x > 1, lambda: gradient(lambda y: x * y**3)(x), lambda: x))(x), 2.0, 9 * 4.0),
}


@pytest.mark.parametrize("name", NESTED)
def test_nested_derivatives_are_never_confused(name: str) -> None:
    f, x, expected = NESTED[name]
    assert np.isclose(f(x), expected, rtol=1e-13)  # here and now
    (out,) = traced(f, np.float64(x))  # as a graph
    assert np.isclose(out, expected, rtol=1e-13)
    (slope,) = traced(gradient(f), np.float64(x))  # and derived once more
    (reference,) = along(lambda x: traced(f, x), [np.asarray(x)], [np.asarray(1.0)])
    assert np.isclose(slope, reference, rtol=1e-9, atol=1e-9)


# Every verb, judged by matrices: f(w) = sin(A w) has J = cos(A w) A; q(w) = sum(sin(A w)) has H = -A' diag(sin(A w)) A.


def wave(w: Any) -> Any:
    return np.sin(A @ w)


def total(w: Any) -> Any:
    return np.sum(np.sin(A @ w))


J = np.cos(A @ w)[:, None] * A
H = -(A.T * np.sin(A @ w)) @ A
u = rng.normal(size=4)

VERBS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "gradient": (lambda w: gradient(total)(w), J.sum(0)),
    "value_and_gradient": (lambda w: value_and_gradient(total)(w)[1], J.sum(0)),
    "the value with the gradient": (lambda w: value_and_gradient(total)(w)[0], total(w)),
    "jvp": (lambda w: jvp(wave)(w, tangent=v), J @ v),
    "jvp along a traced tangent": (lambda w: jvp(wave)(w, tangent=w), J @ w),
    "vjp": (lambda w: vjp(wave)(w, cotangent=u), u @ J),
    "hvp": (lambda w: hvp(total)(w, tangent=v), H @ v),
    "jacobian, forward": (lambda w: jacobian(wave)(w), J),
    "jacobian, reverse": (lambda w: jacobian(lambda w: np.sin(A[:2] @ w))(w), J[:2]),
    "jacobian of a scalar": (lambda w: jacobian(total)(w), J.sum(0)),
    "hessian": (lambda w: hessian(total)(w), H),
    "hessian by the gradient's jacobian": (lambda w: jacobian(gradient(total))(w), H),
    "jvp of the gradient": (lambda w: jvp(gradient(total))(w, tangent=v), H @ v),
}


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_gives_the_matrix_products_of_its_name(name: str) -> None:
    f, expected = VERBS[name]
    here = f(w)
    assert type(here) in (np.ndarray, np.float64)
    assert np.allclose(here, expected, rtol=1e-13, atol=1e-13)
    (out,) = traced(f, w)
    assert np.allclose(out, expected, rtol=1e-13, atol=1e-13)


def test_a_jacobian_leaf_has_the_shape_of_the_result_then_the_argument() -> None:
    x = rng.normal(size=(2, 3))
    block = jacobian(lambda x: np.outer(x[0], x[1])[:, :2])(x)
    assert block.shape == (3, 2, 2, 3)
    expected = np.zeros((3, 2, 2, 3))
    for i in range(3):
        for j in range(2):
            expected[i, j, 0, i] += x[1, j]
            expected[i, j, 1, j] += x[0, i]
    assert np.allclose(block, expected)
    (out,) = traced(jacobian(lambda x: np.outer(x[0], x[1])[:, :2]), x)
    assert np.array_equal(out, block)


# Trees.


def model(p: Any, x: Any) -> Any:
    return np.sum(np.tanh(p["W"] @ x + p["b"]) ** 2)


def test_gradients_of_trees_are_trees() -> None:
    p = {"W": rng.normal(size=(2, 3)), "b": rng.normal(size=2)}
    y = np.tanh(p["W"] @ w + p["b"])
    d = 2 * y * (1 - y * y)
    slopes = gradient(model)(p, w)
    assert np.allclose(slopes["W"], np.outer(d, w))
    assert np.allclose(slopes["b"], d)
    by_both = gradient(model, wrt=(0, "x"))(p, w)
    assert np.allclose(by_both[0]["b"], d)
    assert np.allclose(by_both[1], d @ p["W"])
    moved = jvp(lambda p, x: {"y": np.tanh(p["W"] @ x + p["b"])})(p, w, tangent={"W": np.zeros((2, 3)), "b": [1.0, 0.0]})
    assert np.allclose(moved["y"], [(1 - y * y)[0], 0])


def test_a_jacobian_of_trees_nests_result_over_argument() -> None:
    blocks = jacobian(lambda a, b: {"sum": a + b, "product": a * b}, wrt=(0, 1))(2.0, 5.0)
    assert blocks == {"sum": (1, 1), "product": (5, 2)}
    curvature = hessian(lambda a, b: a * a * b, wrt=("a", "b"))(2.0, 5.0)
    assert curvature == ((10, 4), (4, 0))


# What f takes from outside.


def test_captured_values_of_every_size_become_inputs() -> None:
    def f(w: Any, X: Any, s: Any) -> Any:
        inner = gradient(lambda u: np.sum(np.exp(X @ u)) * s + np.sum(BIG @ u))(w)
        return inner @ w

    X = rng.normal(size=(5, 3))
    expected = (np.exp(X @ w) @ X * 1.5 + BIG.sum(0)) @ w
    graph = trace(f, {"w": bs.float64[3], "X": X, "s": bs.float64})
    assert graph.graph.input_names == ("w", "X", "s", "bound.0")
    assert np.allclose(one(graph.graph, w, X, 1.5, BIG), expected)
    assert np.allclose(f(w, X, 1.5), expected)


def test_the_same_gradient_twice_is_computed_once() -> None:
    once = trace(lambda w: gradient(total)(w), {"w": bs.float64[3]}).graph
    twice = trace(lambda w: gradient(total)(w) + gradient(total)(w), {"w": bs.float64[3]}).graph
    assert twice.size == once.size + 1


def test_inside_a_trace_the_result_is_traced_even_of_plain_arrays() -> None:
    graph = trace(lambda x: x + gradient(np.sin)(0.5), {"x": bs.float64}).graph
    assert np.isclose(one(graph, 1.0), 1 + np.cos(0.5))


def test_float32_stays_float32() -> None:
    assert gradient(lambda x: np.sum(x * x))(w.astype(np.float32)).dtype == np.float32
    assert gradient(total)(w.astype(np.float32)).dtype == np.float32  # the sum is float64, since A is; its gradient is a change of w


def test_a_derivative_has_the_signature_of_its_function() -> None:
    def f(a: Any, b: Any = 1.0, *, c: Any = 2.0) -> Any:
        return a * b * c

    assert str(inspect.signature(gradient(f))) == "(a: 'Any', b: 'Any' = 1.0, *, c: 'Any' = 2.0)"
    assert list(inspect.signature(hvp(f)).parameters) == ["a", "b", "c", "tangent"]
    assert gradient(f).__name__ == "f"
    graph = trace(hvp(lambda a: a**3), {"a": bs.float64, "tangent": bs.float64}).graph
    assert one(graph, 2.0, 5.0) == 60


def test_inlined_nodes_bear_the_lines_of_the_inner_function() -> None:
    from backsweep.lines import text

    def inner(y: Any) -> Any:
        return np.sin(y)  # INNER

    graph = trace(lambda x: gradient(inner)(x) * 2.0, {"x": bs.float64})
    lines = {node.op: text(s) for node, s in zip(graph.graph.nodes, graph.sources, strict=True)}
    assert lines["cos"].endswith("# INNER")
    assert not lines["multiply"].endswith("# INNER")
    assert all(node.origin == i for i, node in enumerate(graph.graph.nodes))


def test_positional_stars_are_fine_in_a_nested_function() -> None:
    assert gradient(lambda *xs: xs[0] * xs[1], wrt=1)(3.0, 4.0) == 3


# Refusals.


def _leaking(box: list[Any]) -> Callable[..., Any]:
    def f(y: Any) -> Any:
        box.append(y)
        return y * y

    return f


def _use_leaked(x: Any) -> Any:
    box: list[Any] = []
    gradient(_leaking(box))(x)
    return x + box[0]  # HERE


REFUSED: dict[str, tuple[Callable[[Any], Any], str, str]] = {
    "no scalar": (lambda x: gradient(lambda y: y * np.ones(3))(x), "NOT_SCALAR", "one floating scalar output"),
    "two results": (lambda x: gradient(lambda y: (y, y))(x), "NOT_SCALAR", "one floating scalar output"),
    "an integer result": (lambda x: jvp(lambda y: y > 0)(x, tangent=1.0), "NOT_DIFFERENTIABLE", "a result of the function"),
    "by an integer": (lambda x: gradient(lambda y: y * x)(2), "NOT_DIFFERENTIABLE", "write a float (2.0"),
    "by a text": (lambda x: gradient(lambda y: x)("a"), "NOT_DIFFERENTIABLE", "no derivative by y"),
    "an argument that is not there": (lambda x: gradient(lambda y: y, wrt=1)(x), "MISSING_INPUT", "no argument number 1"),
    "a name that is not there": (lambda x: gradient(lambda y: y, wrt="z")(x), "MISSING_INPUT", "no argument z"),
    "an argument left at its default": (lambda x: gradient(lambda y, z=1.0: y * z, wrt="z")(x), "MISSING_INPUT", "no argument z"),
    "one twice": (lambda x: gradient(lambda y: y, wrt=(0, "y"))(x), "SURPLUS_INPUT", "stands twice"),
    "none": (lambda x: gradient(lambda y: y, wrt=())(x), "MISSING_INPUT", "names no argument"),
    "no tangent": (lambda x: jvp(np.sin)(x), "MISSING_INPUT", "tangent= is missing"),
    "a tangent of another shape": (lambda x: jvp(np.sin)(x, tangent=np.ones(3)), "SHAPE", "float64[3]"),
    "a tangent of another structure": (lambda x: jvp(lambda p: p["a"])({"a": x}, tangent=1.0), "SHAPE", "another structure"),
    "None as a result": (lambda x: gradient(lambda y: None)(x), "NOT_TRACEABLE", "without `return`"),
    "the truth of a value": (lambda x: gradient(lambda y: y if y > 0 else -y)(x), "NOT_TRACEABLE", "bs.cond"),
    "an inner value used outside": (_use_leaked, "NOT_TRACEABLE", "trace had ended"),
}


@pytest.mark.parametrize("where", ["in a trace", "on plain arrays"])
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_derivative_is_refused_with_the_users_line(name: str, where: str) -> None:
    f, reason, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64}) if where == "in a trace" else f(2.0)
    error = caught.value
    assert error.reason == reason
    assert said in str(error)
    assert error.source.startswith("test_nesting.py:")
    assert error.node is None


def test_the_line_of_a_non_scalar_is_the_inner_functions() -> None:
    def f(y: Any) -> Any:
        return y * np.ones(3)  # HERE

    with pytest.raises(GraphError, match="# HERE"):
        gradient(f)(1.0)


def test_a_jvp_of_a_jvp_would_have_two_tangents_and_says_what_to_write() -> None:
    with pytest.raises(GraphError, match="argument tangent of its own"):
        jvp(jvp(lambda x: x * x))
    inner = jvp(lambda x: x**3)
    assert jvp(lambda x: inner(x, tangent=1.0))(2.0, tangent=1.0) == 12.0
