"""Gauss-Newton, Fisher and empirical Fisher products, judged by closed forms, by Jacobians written out by hand, and by mpmath where digits cancel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import Expansion
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.curvature import INFORMATION, empirical_fisher, fisher, gauss_newton
from support.differences import along
from support.graphs import F32, F64, I64, build
from support.run import Array, function, one, run

RANDOM = np.random.default_rng(11)
N, D, K = 9, 4, 3
X, Y = RANDOM.normal(size=(N, D)), (RANDOM.random(N) < 0.5).astype(float)
LABELS = np.eye(K)[RANDOM.integers(0, K, N)]
W, V = RANDOM.normal(size=D), RANDOM.normal(size=D)
WK, VK = RANDOM.normal(size=(D, K)), RANDOM.normal(size=(D, K))
ROUNDING = 1e-13
"""Relative to the largest entry: sums of some tens of products of numbers near 1."""


def close(got: Array, wanted: Any, rounding: float = ROUNDING) -> None:
    np.testing.assert_allclose(got, wanted, rtol=0, atol=rounding * max(1e-300, float(np.abs(wanted).max(initial=0))))


def name(label: str, x: Any) -> Any:
    return call("name", x, label=label)


def sigmoid(z: Any) -> Any:
    return 1 / (1 + np.exp(-z))


def softmax(z: Array) -> Array:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def categorical(z: Array, u: Array) -> Array:
    """(diag(p) - p p') u, row by row."""
    return np.stack([(np.diag(p) - np.outer(p, p)) @ t for p, t in zip(softmax(z), u, strict=True)])


# Linear models: the closed forms of the textbooks.

LINEAR: dict[str, tuple[Callable[[Any, Any], Any], Array, Callable[[Array, Array], Array]]] = {
    "normal": (lambda w, X: X @ w, W, lambda z, u: u),
    "bernoulli": (lambda w, X: X @ w, W, lambda z, u: sigmoid(z) * sigmoid(-z) * u),
    "categorical": (lambda w, X: X @ w, WK, categorical),
    "poisson": (lambda w, X: X @ w, W, lambda z, u: np.exp(z) * u),
}
LOSSES: dict[str, Callable[[Any, Any], Any]] = {
    "normal": lambda z, y: 0.5 * np.sum((z - y) ** 2),
    "bernoulli": lambda z, y: np.sum(np.logaddexp(0, z) - y * z),
    "categorical": lambda z, y: -np.sum(y * call("log_softmax", z, axes=(1,))),
    "poisson": lambda z, y: np.sum(np.exp(z) - y * z),
}
"""Minus the log-likelihood, up to what does not depend on z."""


def linear(family: str, dtype: Any = F64) -> tuple[Graph, Graph, Array, Array]:
    """The graph of z; the graph of the loss, z called so; w and a tangent."""
    w = LINEAR[family][1]
    y = LABELS if family == "categorical" else Y
    f, loss = LINEAR[family][0], LOSSES[family]
    predict = build(f, w=dtype[w.shape], X=dtype[N, D])
    scored = build(lambda w, X, y: loss(name("z", f(w, X)), y), w=dtype[w.shape], X=dtype[N, D], y=dtype[y.shape])
    return predict, scored, w, VK if family == "categorical" else V


@pytest.mark.parametrize("family", LINEAR)
def test_the_fisher_of_a_linear_model_is_its_closed_form(family: Any) -> None:
    predict, _, w, v = linear(family)
    close(one(fisher(predict, [0], family), w, X, v), X.T @ LINEAR[family][2](X @ w, X @ v))


@pytest.mark.parametrize("family", LINEAR)
def test_the_gauss_newton_of_a_linear_model_with_canonical_link_is_its_hessian_and_its_fisher(family: Any) -> None:
    """The loss is the log-likelihood at the natural parameter, of which z is linear in w: all three are one."""
    predict, scored, w, v = linear(family)
    y = LABELS if family == "categorical" else Y
    got = one(gauss_newton(scored, [0], ["z"]), w, X, y, v)
    close(got, X.T @ LINEAR[family][2](X @ w, X @ v))
    close(got, one(derive.hvp(scored, [0]), w, X, y, v))
    close(got, one(fisher(predict, [0], family), w, X, v))


@pytest.mark.parametrize("family", LINEAR)
def test_a_float32_product_is_float32_and_the_float64_one_rounded(family: Any) -> None:
    single, _, w, v = linear(family, F32)
    w, v, x = (a.astype(np.float32) for a in (w, v, X))
    derived = fisher(single, [0], family)
    assert "float64" not in {n.types[0].dtype.name for n in derived.nodes}
    close(one(derived, w, x, v), one(fisher(linear(family)[0], [0], family), w, x, v), 1e-5)


def test_a_normal_with_a_scale_has_no_information_between_mean_and_log_scale() -> None:
    a, b, u, v = W, RANDOM.normal(size=2), V, RANDOM.normal(size=2)
    Z = RANDOM.normal(size=(N, 2))
    graph = build(lambda a, b, X, Z: (X @ a, Z @ b), a=F64[D], b=F64[2], X=F64[N, D], Z=F64[N, 2])
    by_a, by_b = run(fisher(graph, [0, 1], "normal"), a, b, X, Z, u, v)
    close(by_a, X.T @ (np.exp(-2 * (Z @ b)) * (X @ u)))
    close(by_b, 2 * Z.T @ (Z @ v))


def test_one_log_scale_for_all_observations_has_the_information_of_them_all() -> None:
    graph = build(lambda a, s, X: (X @ a, s), a=F64[D], s=F64[()], X=F64[N, D])
    by_a, by_s = run(fisher(graph, [0, 1], "normal"), W, 0.3, X, V, 2.0)
    close(by_a, X.T @ X @ V * np.exp(-0.6))
    close(by_s, 2 * N * 2.0)


def pair(f: Callable[..., Any], *names: str) -> Graph:
    """The graph of f of a vector, its outputs called so."""
    graph = build(f, x=F64[3])
    return Graph(graph.nodes, graph.arity, graph.outputs, names)


@pytest.mark.parametrize("names", [(".log_scale", ".mean"), ("p.log_scale", "p.mean")])
def test_mean_and_log_scale_are_taken_by_name_where_they_have_names(names: tuple[str, str]) -> None:
    """Entries of a dict come sorted: log_scale first."""
    x, v = np.array([0.1, 0.2, 0.3]), np.array([1.0, -1.0, 2.0])
    wanted = 9 * np.exp(-2 * x) * v + 2 * v
    close(one(fisher(pair(lambda x: (x, 3 * x), *names), [0], "normal"), x, v), wanted)
    close(one(fisher(pair(lambda x: (3 * x, x), "[0]", "[1]"), [0], "normal"), x, v), wanted)


# Networks: Jacobians written out.

A, B = RANDOM.normal(size=(D, 5)), RANDOM.normal(size=(5, K))
VA, VB = RANDOM.normal(size=A.shape), RANDOM.normal(size=B.shape)


def network_jacobians() -> tuple[Array, Array, Array]:
    """z, dz/dA [n, k, *A], dz/dB [n, k, *B] of z = tanh(X A) B."""
    h = np.tanh(X @ A)
    by_a = np.einsum("np,nq,qk->nkpq", X, 1 - h * h, B)
    by_b = np.einsum("nq,kl->nkql", h, np.eye(K))
    return h @ B, by_a, by_b


def network(a: Any, b: Any, X: Any) -> Any:
    return np.tanh(X @ a) @ b


NETWORK = {"a": F64[A.shape], "b": F64[B.shape], "X": F64[N, D]}


@pytest.mark.parametrize("family", ["normal", "bernoulli", "categorical", "poisson"])
def test_the_gauss_newton_and_fisher_of_a_network_are_j_h_j_with_jacobians_written_by_hand(family: Any) -> None:
    z, by_a, by_b = network_jacobians()
    u = np.einsum("nkpq,pq->nk", by_a, VA) + np.einsum("nkpq,pq->nk", by_b, VB)
    weighed = LINEAR[family][2](z, u)
    wanted = [np.einsum("nkpq,nk->pq", j, weighed) for j in (by_a, by_b)]
    scored = build(lambda a, b, X, y: LOSSES[family](name("z", network(a, b, X)), y), **NETWORK, y=F64[N, K])
    for got, right in zip(run(gauss_newton(scored, [0, 1], ["z"]), A, B, X, LABELS, VA, VB), wanted, strict=True):
        close(got, right)
    for got, right in zip(run(fisher(build(network, **NETWORK), [0, 1], family), A, B, X, VA, VB), wanted, strict=True):
        close(got, right)
    # It is not the Hessian, which has a term of the second derivatives of z.
    hessian = run(derive.hvp(scored, [0, 1]), A, B, X, LABELS, VA, VB)
    assert np.abs(hessian[0] - wanted[0]).max() > 0.1


def test_wrt_says_by_what_and_in_which_order() -> None:
    z, _, by_b = network_jacobians()
    graph = build(network, **NETWORK)
    (by,) = run(fisher(graph, [1], "poisson"), A, B, X, VB)
    close(by, np.einsum("nkpq,nk->pq", by_b, np.exp(z) * np.einsum("nkpq,pq->nk", by_b, VB)))
    swapped = fisher(graph, [1, 0], "poisson")
    assert swapped.output_names == ("b", "a")
    for got, right in zip(run(swapped, A, B, X, VB, VA)[::-1], run(fisher(graph, [0, 1], "poisson"), A, B, X, VA, VB), strict=True):
        close(got, right)


def test_the_empirical_fisher_is_the_sum_over_examples_of_g_g() -> None:
    graph = build(lambda w, X, y: y * (X @ w) - np.logaddexp(0, X @ w), w=F64[D], X=F64[N, D], y=F64[N])
    gradients = (Y - sigmoid(X @ W))[:, None] * X
    wanted = sum(np.outer(g, g) for g in gradients) @ V
    close(one(empirical_fisher(graph, [0]), W, X, Y, V), wanted)
    # And not the Fisher: here it misses by more than a tenth.
    expected = X.T @ (sigmoid(X @ W) * sigmoid(-X @ W) * (X @ V))
    assert np.abs(wanted - expected).max() > 0.1 * np.abs(expected).max()


# The Fisher's refusals.

NO_FISHER: dict[str, tuple[Callable[[Any], Any], Any, str, str]] = {
    "of an unknown family": (lambda x: x, "gamma", "MALFORMED", "no such family"),
    "of integers": (lambda x: np.argmax(x), "poisson", "NOT_DIFFERENTIABLE", "floating outputs"),
    "of two logits": (lambda x: (x, x * 2), "bernoulli", "SHAPE", "not the parameters of bernoulli"),
    "of a normal with three parameters": (lambda x: (x, x, x), "normal", "SHAPE", "not the parameters of normal"),
    "of a categorical without classes": (lambda x: x[0], "categorical", "SHAPE", "along the last axis"),
    "of a categorical with 0 classes": (lambda x: x[:0], "categorical", "SHAPE", "along the last axis"),
    "of a scale larger than the mean": (lambda x: (x[0], x), "normal", "SHAPE", "does not broadcast"),
    "of a scale that does not fit the mean": (lambda x: (x, x[:2]), "normal", "SHAPE", "broadcast"),
}


@pytest.mark.parametrize("case", NO_FISHER)
def test_there_is_no_fisher(case: str) -> None:
    f, family, reason, said = NO_FISHER[case]
    with pytest.raises(GraphError, match=said) as caught:
        fisher(build(f, x=F64[3]), [0], family)
    assert caught.value.reason == reason
    assert caught.value.got and caught.value.allowed


def test_a_pair_that_does_not_say_which_is_the_mean_is_refused() -> None:
    for names in ((".loc", ".scale"), (".mean", ".scale"), ("a.mean", "b.mean")):
        with pytest.raises(GraphError, match="which output is the mean"):
            fisher(pair(lambda x: (x, x * 2), *names), [0], "normal")


NO_EXAMPLES = {"a scalar": lambda x: np.sum(x), "a matrix": lambda x: np.outer(x, x), "two": lambda x: (x, x), "integers": lambda x: np.argsort(x)}


@pytest.mark.parametrize("case", NO_EXAMPLES)
def test_there_is_no_empirical_fisher_of_what_is_not_a_number_per_example(case: str) -> None:
    with pytest.raises(GraphError) as caught:
        empirical_fisher(build(NO_EXAMPLES[case], x=F64[3]), [0])
    assert caught.value.reason == ("NOT_DIFFERENTIABLE" if case == "integers" else "SHAPE")


# Digits.


def information(family: Any, z: Any, u: Any) -> Array:
    """I(z) u: the Fisher product of the identity."""
    return one(fisher(build(lambda x: x * 1.0, x=F64[np.shape(z)]), [0], family), z, u)


@pytest.mark.parametrize("z", [0.3, -3.0, 30.0, -40.0, 40.0, 300.0, -700.0])
def test_the_information_of_a_bernoulli_has_all_its_digits_where_p_is_near_0_or_1(z: float) -> None:
    with mpmath.workdps(400):
        p = 1 / (1 + mpmath.exp(-mpmath.mpf(z)))
        wanted = float(p * (1 - p) * mpmath.mpf(0.7))
    np.testing.assert_allclose(information("bernoulli", z, 0.7), wanted, rtol=1e-15 * 4)


LOGITS = {
    "near each other": [0.1, -0.4, 0.3, 0.2],
    "one far above": [40.0, 0.0, -1.0, 2.0],
    "two far above": [50.0, 50.5, 0.0, 9.0],
    "spread": [0.0, -30.0, -60.0, -300.0],
    "large": [1e4, 1e4 - 20, 0.0, -1e4],
    "tied": [1.0, 1.0, 1.0, -35.0],
}


@pytest.mark.parametrize("case", LOGITS)
def test_the_information_of_a_categorical_has_all_its_digits_where_one_class_is_nearly_certain(case: str) -> None:
    z, u = np.array(LOGITS[case]), np.array([0.7, -1.3, 0.2, 2.9])
    with mpmath.workdps(200):
        e = [mpmath.exp(mpmath.mpf(x) - mpmath.mpf(z.max())) for x in z]
        p = [x / mpmath.fsum(e) for x in e]
        mean = mpmath.fsum(a * mpmath.mpf(b) for a, b in zip(p, u, strict=True))
        wanted = np.array([float(a * (mpmath.mpf(b) - mean)) for a, b in zip(p, u, strict=True)])
    np.testing.assert_allclose(information("categorical", z, u), wanted, rtol=1e-14)  # differences of u, near 1, and a softmax


def test_logits_of_two_classes_have_the_information_of_a_bernoulli() -> None:
    for z in (0.5, -20.0, 45.0):
        for u in ([1.0, 0.0], [0.0, 1.0], [2.0, -1.0]):
            got = information("categorical", np.array([0.0, z]), np.array(u))
            np.testing.assert_allclose(got[1], information("bernoulli", z, u[1] - u[0]), rtol=1e-14)
            np.testing.assert_allclose(got[0], -got[1], rtol=1e-14)


def test_an_observation_the_tangent_does_not_move_adds_nothing_even_where_its_rate_overflows() -> None:
    graph = build(lambda w, X: X @ w, w=F64[2], X=F64[2, 2])
    got = one(fisher(graph, [0], "poisson"), [800.0, 1.0], np.eye(2), [0.0, 1.0])
    np.testing.assert_allclose(got, [0.0, np.e], rtol=1e-15)


# Shapes at the edge.


@pytest.mark.parametrize("family", INFORMATION)
def test_no_observations_have_no_information(family: Any) -> None:
    graph = build(lambda w, X: X @ w, w=F64[D, K], X=F64[0, D])
    assert not one(fisher(graph, [0], family), WK, np.zeros((0, D)), VK).any()


def test_no_parameters_have_an_empty_product() -> None:
    graph = build(lambda w, X: X @ w, w=F64[0], X=F64[N, 0])
    for derived in (fisher(graph, [0], "poisson"), empirical_fisher(graph, [0])):
        assert one(derived, np.zeros(0), np.zeros((N, 0)), np.zeros(0)).shape == (0,)


def test_scalars_are_observations() -> None:
    graph = build(lambda w: 3 * w, w=F64[()])
    np.testing.assert_allclose(one(fisher(graph, [0], "poisson"), 0.5, 2.0), 9 * np.exp(1.5) * 2, rtol=1e-15)
    scored = build(lambda w: np.exp(name("z", w * w)), w=F64[()])
    np.testing.assert_allclose(one(gauss_newton(scored, [0], ["z"]), 0.5, 2.0), np.exp(0.25) * 2, rtol=1e-15)


def test_wrt_an_input_nothing_reads_gives_zeros() -> None:
    graph = build(lambda w, b, X: X @ w, w=F64[D], b=F64[2], X=F64[N, D])
    by_w, by_b = run(fisher(graph, [0, 1], "normal"), W, np.ones(2), X, V, np.ones(2))
    close(by_w, X.T @ X @ V)
    assert not by_b.any() and by_b.shape == (2,)


def test_a_product_in_mixed_precision_has_the_types_of_wrt() -> None:
    graph = build(lambda a, b, X: X @ a + b.astype(np.float64), a=F64[D], b=F32[()], X=F64[N, D])
    by_a, by_b = run(fisher(graph, [0, 1], "normal"), W, np.float32(1), X, V, np.float32(2))
    close(by_a, X.T @ (X @ V + 2))
    np.testing.assert_allclose(by_b, np.sum(X @ V + 2), rtol=1e-6)


# Graphs.


def test_a_product_is_a_public_graph_without_names_that_can_be_derived_again() -> None:
    for family in INFORMATION:
        scored = build(lambda a, b, X, y, family=family: LOSSES[family](name("z", network(a, b, X)), y), **NETWORK, y=F64[N, K])
        product = gauss_newton(scored, [0, 1], ["z"])
        for derived in (product, fisher(build(network, **NETWORK), [0, 1], family)):
            assert not any(node.op == "name" or isinstance(TABLE[node.op].derivative, Expansion) for node in derived.nodes[derived.arity :])
        assert product.input_names == ("a", "b", "X", "y", "tangent.a", "tangent.b") and product.output_names == ("a", "b")
        # By a, along VA: against differences of the product itself.
        move = [VA, None, None, None, None, None]
        still = [np.zeros_like(x) if m is None else m for x, m in zip((A, B, X, LABELS, VA, VB), move, strict=True)]
        got = run(derive.jvp(product, [0]), A, B, X, LABELS, VA, VB, VA)
        for g, d in zip(got, along(function(product), [A, B, X, LABELS, VA, VB], still), strict=True):
            close(g, d, 1e-8)  # differences of fourth order or better, of numbers up to 1e3


def test_the_forward_pass_is_shared_between_the_two_halves() -> None:
    scored = build(lambda a, b, X, y: LOSSES["categorical"](name("z", network(a, b, X)), y), **NETWORK, y=F64[N, K])
    for derived in (gauss_newton(scored, [0], ["z"]), fisher(build(network, **NETWORK), [0], "categorical")):
        assert [node.op for node in derived.nodes].count("tanh") == 1


def test_origins_name_nodes_of_the_submitted_graph() -> None:
    scored = build(past_free, w=F64[D], X=F64[N, D])
    for derived in (gauss_newton(scored, [0], ["z"]), fisher(build(lambda w, X: np.tanh(X @ w), w=F64[D], X=F64[N, D]), [0], "categorical")):
        assert all(0 <= node.origin < len(scored.nodes) for node in derived.nodes[derived.arity :])
    ops = {scored.nodes[n.origin].op for n in gauss_newton(scored, [0], ["z"]).nodes if n.op == "exp"}
    assert ops == {"exp"}


def past_free(w: Any, X: Any) -> Any:
    return np.sum(np.exp(name("z", np.tanh(X @ w))))


def test_a_derivative_does_not_repeat_a_name_and_a_custom_vjp_may_use_one() -> None:
    graph = build(past_free, w=F64[D], X=F64[N, D])
    for derived in (derive.gradient(graph, [0]), derive.hvp(graph, [0]), derive.jvp(graph, [0]), derive.vjp(graph, [0])):
        assert "name" not in {node.op for node in derived.nodes}
    primal = build(lambda x: np.sin(x), x0=F64[D])
    vjp = build(lambda x, y, c: name("c", c) * np.cos(x), x0=F64[D], y0=F64[D], c0=F64[D])
    custom = build(lambda x: call("custom", x, primal=primal, vjp=vjp), x=F64[D])
    close(one(derive.jvp(custom, [0]), W, V), np.cos(W) * V)


@pytest.mark.parametrize("label", ["", "2z", "a b", "p.w", "naïve", "z" * 65, "z\n"])
def test_a_name_that_is_no_identifier_is_refused(label: str) -> None:
    with pytest.raises(GraphError, match="cannot be the name") as caught:
        build(lambda x: name(label, x), x=F64[2])
    assert caught.value.reason == "ATTRIBUTE" and caught.value.op == "name"


def test_integers_can_be_named() -> None:
    assert one(build(lambda n: name("n", n), n=I64[2]), [1, 2]).tolist() == [1, 2]
