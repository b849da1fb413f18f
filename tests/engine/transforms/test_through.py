"""Through what a Gauss-Newton product goes: values by name, judged by closed forms, and what is no such cut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.ops.build import call
from backsweep_engine.transforms.curvature import gauss_newton
from support.graphs import F64, build, cond
from support.run import Array, one

RANDOM = np.random.default_rng(11)
N, D = 9, 4
X, Y = RANDOM.normal(size=(N, D)), (RANDOM.random(N) < 0.5).astype(float)
W, V = RANDOM.normal(size=D), RANDOM.normal(size=D)


def close(got: Array, wanted: Any) -> None:
    """Relative to the largest entry: sums of some tens of products of numbers near 1."""
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-13 * float(np.abs(wanted).max(initial=0)))


def name(label: str, x: Any) -> Any:
    return call("name", x, label=label)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def penalised(w: Any, X: Any, y: Any) -> Any:
    z, p = name("logits", X @ w), name("penalised", w)
    return np.sum(np.logaddexp(0, z) - y * z) + 0.35 * np.sum(p * p)


def test_a_penalty_counts_if_what_it_reads_is_named_too() -> None:
    graph = build(penalised, w=F64[D], X=F64[N, D], y=F64[N])
    wanted = X.T @ (sigmoid(X @ W) * sigmoid(-X @ W) * (X @ V)) + 0.7 * V
    close(one(gauss_newton(graph, [0], ["logits", "penalised"]), W, X, Y, V), wanted)
    close(one(gauss_newton(graph, [0], ["penalised", "logits"]), W, X, Y, V), wanted)


def test_outputs_beside_the_scalar_can_be_gone_through() -> None:
    graph = build(lambda w, X, y: ((z := X @ w), np.sum(np.exp(z) - y * z)), w=F64[D], X=F64[N, D], y=F64[N])
    close(one(gauss_newton(graph, [0], ["0"]), W, X, Y, V), X.T @ (np.exp(X @ W) * (X @ V)))


def test_a_value_and_what_is_computed_from_it_can_both_be_gone_through() -> None:
    """l(a, b) = a b with a = x^2 and b = a^3 reads both: H = [[0, 1], [1, 0]], J = (2 x, 6 x^5)."""
    graph = build(lambda x: (a := name("a", x * x)) * name("b", a**3), x=F64[()])
    close(one(gauss_newton(graph, [0], ["a", "b"]), 1.5, 1.0), 2 * (2 * 1.5) * (6 * 1.5**5))


def test_an_input_itself_can_be_named_then_the_product_is_the_hessian_s() -> None:
    graph = build(lambda x: np.sum(np.exp(name("x", x))), x=F64[D])
    close(one(gauss_newton(graph, [0], ["x"]), W, V), np.exp(W) * V)


def test_what_passes_no_derivative_may_go_past() -> None:
    """A weight that is a constant of the derivative, a comparison, an index, a truncated number."""

    def f(w: Any, X: Any) -> Any:
        z = name("z", X @ w)
        weight = call("stop_gradient", np.exp(w[0])) * np.where(w[1] > 0, 2.0, 3.0) + np.argmax(w) + w[2].astype(np.int64)
        return weight * np.sum(np.exp(z))

    weight = np.exp(W[0]) * (2.0 if W[1] > 0 else 3.0) + np.argmax(W) + int(W[2])
    close(one(gauss_newton(build(f, w=F64[D], X=F64[N, D]), [0], ["z"]), W, X, V), weight * X.T @ (np.exp(X @ W) * (X @ V)))


def test_an_input_the_output_reads_past_z_is_no_matter_if_it_is_not_in_wrt() -> None:
    graph = build(lambda w, s, X: np.exp(s) * np.sum(np.exp(name("z", X @ w))), w=F64[D], s=F64[()], X=F64[N, D])
    close(one(gauss_newton(graph, [0], ["z"]), W, 0.5, X, V), np.exp(0.5) * X.T @ (np.exp(X @ W) * (X @ V)))
    with pytest.raises(GraphError, match="'s'"):
        gauss_newton(graph, [0, 1], ["z"])


def past(w: Any, X: Any) -> Any:
    z = name("z", X @ w)
    return np.sum(np.exp(z)) + np.sum(np.tanh(w))


def two_called_z(w: Any, X: Any) -> Any:
    return np.sum(name("z", X @ w) * name("z", 2 * (X @ w)))


NO_GAUSS_NEWTON: dict[str, tuple[Callable[[Any, Any], Any], list[str], str, str]] = {
    "through nothing": (past, [], "NOT_THROUGH", "must name"),
    "through one value twice": (past, ["z", "z"], "NOT_THROUGH", "must name"),
    "through a name no value has": (past, ["logits"], "NOT_THROUGH", "no value is called 'logits'"),
    "through a name two values have": (two_called_z, ["z"], "NOT_THROUGH", "several values are called 'z'"),
    "of an output that goes past": (past, ["z"], "NOT_THROUGH", "depends on 'w' past 'z'"),
    "of an input that goes past as it is": (lambda w, X: (X @ w, w[0]), ["0"], "NOT_THROUGH", "depends on 'w' past '0'"),
    "through a value within a branch": (
        lambda w, X: np.sum(cond(np.sum(w) > 0, lambda w: name("z", np.exp(w)), lambda w: w, w)),
        ["z"],
        "NOT_THROUGH",
        "no value is called 'z'",
    ),
    "through integers": (lambda w, X: np.sum(X @ w) * name("k", np.argmax(w)), ["k"], "NOT_DIFFERENTIABLE", "'k' has no derivative"),
    "of a vector": (lambda w, X: np.exp(name("z", X @ w)), ["z"], "NOT_SCALAR", "one floating scalar"),
    "of two outputs": (lambda w, X: (np.sum(name("z", X @ w)), np.sum(w)), ["z"], "NOT_SCALAR", "one floating scalar"),
    "of what it goes through": (lambda w, X: name("z", np.sum(X @ w)), ["z"], "NOT_SCALAR", "one floating scalar"),
    "of an integer": (lambda w, X: np.argmax(name("z", X @ w)), ["z"], "NOT_SCALAR", "one floating scalar"),
}


@pytest.mark.parametrize("case", NO_GAUSS_NEWTON)
def test_there_is_no_gauss_newton(case: str) -> None:
    f, through, reason, said = NO_GAUSS_NEWTON[case]
    with pytest.raises(GraphError, match=said) as caught:
        gauss_newton(build(f, w=F64[D], X=F64[N, D]), [0], through)
    assert caught.value.reason == reason
    assert caught.value.got and caught.value.allowed


def test_the_first_node_that_goes_past_is_named() -> None:
    graph = build(past, w=F64[D], X=F64[N, D])
    with pytest.raises(GraphError) as caught:
        gauss_newton(graph, [0], ["z"])
    assert caught.value.node is not None and graph.nodes[caught.value.node].op == "tanh"
    assert "bs.name" in caught.value.hint
