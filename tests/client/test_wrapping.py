"""bs.vmap, bs.checkpoint, bs.custom_gradient, against loops over rows, plain functions and derivatives by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.nesting import gradient, hessian, hvp, jacobian, jvp, vjp
from backsweep.trace import trace
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.run import one, run

RNG = np.random.default_rng(3)
X = RNG.normal(size=(4, 3))
BIG = RNG.normal(size=(3, 60))


# vmap


def test_a_vmap_is_the_stack_over_its_rows_with_all_its_derivatives() -> None:
    def row(r: Any, w: Any) -> Any:
        return np.tanh(r * w) @ BIG @ np.ones(60), {"max": np.max(r), "n": r > 0}

    def total(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, w: (lambda y, more: np.sum(y**2) + np.sum(more["max"] * np.where(more["n"][:, 0], 1.0, 2.0)))(*f(x, w))

    def loop(x: Any, w: Any) -> Any:
        rows = [row(x[k], w) for k in range(4)]
        return np.stack([y for y, _ in rows]), {key: np.stack([m[key] for _, m in rows]) for key in ("max", "n")}

    mapped, plain = total(bs.vmap(row, (0, None))), total(loop)
    w = np.array([0.5, -1.0, 2.0])
    assert mapped(X, w) == pytest.approx(plain(X, w), rel=1e-13)
    for a, b in zip(gradient(mapped, (0, 1))(X, w), gradient(plain, (0, 1))(X, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(hessian(mapped, 1)(X, w), hessian(plain, 1)(X, w), rtol=1e-11, atol=1e-12)
    graph = trace(mapped, {"x": bs.float64[4, 3], "w": bs.float64[3]})
    assert one(graph.graph, X, w, *graph.bound.values()) == pytest.approx(plain(X, w), rel=1e-13)


def test_axes_captured_values_and_vmaps_in_vmaps() -> None:
    outer = bs.vmap(lambda r: bs.vmap(lambda c: np.sin(c) * r)(r), in_axes=1)
    graph = trace(lambda x: outer(x), {"x": bs.float64[4, 3]}).graph
    np.testing.assert_allclose(one(graph, X), np.stack([np.outer(np.sin(X[:, k]), X[:, k]) for k in range(3)]), rtol=1e-14)
    np.testing.assert_allclose(outer(X), np.stack([np.outer(np.sin(X[:, k]), X[:, k]) for k in range(3)]), rtol=1e-14)


def test_derivatives_of_rows_are_mapped() -> None:
    """A gradient for every row: the vmap of a gradient."""
    graph = trace(bs.vmap(gradient(lambda r: np.sum(r**3))), {"r": bs.float64[4, 3]}).graph
    np.testing.assert_allclose(one(graph, X), 3 * X**2, rtol=1e-14)


def test_loops_of_different_lengths_are_mapped() -> None:
    def f(n: Any, x: Any) -> Any:
        return bs.fori_loop(0, n, lambda i, c: c * x + i, 1.0, max_trips=6)

    n, x = np.array([0, 3, 6]), np.array([0.5, 1.5, -1.0])
    graph = trace(lambda x: np.sum(bs.vmap(f)(n, x) * np.array([1.0, 2, 3])), {"x": bs.float64[3]}).graph
    assert one(graph, x) == pytest.approx(sum(k * f(a, b) for k, a, b in zip([1, 2, 3], n.tolist(), x, strict=True)), rel=1e-14)
    # 1, x**3 + x + 2 and x**6 + x**4 + 2 x**3 + 3 x**2 + 4 x + 5, weighted
    slopes = [0, 2 * (3 * 1.5**2 + 1), 3 * (-6 - 4 + 6 - 6 + 4)]
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), x), slopes, rtol=1e-13)


# checkpoint


def test_a_checkpoint_changes_no_derivative_and_keeps_nothing_of_the_inside() -> None:
    def layer(x: Any, w: Any) -> Any:
        for _ in range(6):
            x = np.tanh(x * w) + np.sin(x)
        return x

    def deep(wrap: Callable[..., Any]) -> Callable[..., Any]:
        def f(x: Any, w: Any) -> Any:
            for _ in range(6):
                x = wrap(layer)(x, w)
            return np.sum(x)

        return f

    x, w = RNG.normal(size=5000), np.array(0.7)
    plain, again = (trace(deep(wrap), {"x": bs.float64[5000], "w": bs.float64}).graph for wrap in (lambda f: f, bs.checkpoint))  # type: ignore[no-untyped-call]
    for derived in (lambda g: derive.gradient(g, [0, 1]), lambda g: derive.jvp(derive.gradient(g, [1]), [1])):
        seeds = [1.0] if derived(plain).arity == 3 else []  # type: ignore[no-untyped-call]
        for a, b in zip(run(derived(again), x, w, *seeds), run(derived(plain), x, w, *seeds), strict=True):  # type: ignore[no-untyped-call]
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-12)
    bytes_of = [layout(expand(derive.gradient(g, [0, 1]))).peak_bytes for g in (plain, again)]
    assert bytes_of[1] < 0.6 * bytes_of[0]
    assert bs.checkpoint(layer)(X, 2.0).shape == X.shape  # plain arrays: the function itself


# custom_gradient

sin = bs.custom_gradient(np.sin, lambda x, y, c: np.cos(x) * c)
tripled = bs.custom_gradient(lambda x: x * x, lambda x, y, c: 3 * x * c)
clipped = bs.custom_gradient(lambda x: x * x, lambda x, y, c: np.minimum(2 * x * c, 1.0))
root = bs.custom_gradient(np.sqrt, lambda x, y, c: np.clip(0.5 * c / y, -2.0, 2.0))


def test_a_linear_vjp_gives_every_derivative() -> None:
    x = np.array([0.3, -1.0, 2.0])
    f = lambda x: np.sum(sin(x) ** 2)
    np.testing.assert_allclose(gradient(f)(x), np.sin(2 * x), rtol=1e-14)
    np.testing.assert_allclose(hessian(f)(x), np.diag(2 * np.cos(2 * x)), rtol=1e-13, atol=1e-15)
    assert gradient(tripled)(2.0) == jvp(tripled)(2.0, tangent=1.0) == 6
    assert gradient(gradient(tripled))(2.0) == 3  # the stated vjp is what is differentiated again
    assert tripled(3.0) == 9


def test_a_vjp_that_is_not_linear_is_for_reverse_mode_only() -> None:
    assert gradient(clipped)(2.0) == 1 and gradient(clipped)(0.25) == 0.5
    assert vjp(clipped)(2.0, cotangent=0.1) == pytest.approx(0.4)
    assert jacobian(lambda x: np.stack([clipped(x), x]))(0.25).tolist() == [0.5, 1]
    assert hvp(clipped)(0.25, tangent=1.0) == 2  # its vjp does not use the result: the gradient is an ordinary function
    for ask in (lambda: jvp(clipped)(2.0, tangent=1.0), lambda: hvp(root)(2.0, tangent=1.0), lambda: derive.jvp(joint(CURVED["clipping"]), [0])):
        with pytest.raises(GraphError) as caught:
            ask()
        assert (caught.value.reason, caught.value.op) == ("NOT_DIFFERENTIABLE", "custom")


def test_a_service_refuses_forward_mode_before_work_and_takes_reverse_where_it_may_choose() -> None:
    with bs.local() as service:
        f = service.submit(lambda x: clipped(x), x=bs.float64[3])
        x = np.array([0.1, 0.2, 5.0])
        np.testing.assert_allclose(f.jacobian(x), np.diag([0.2, 0.4, 1.0]))
        for ask in (lambda: f.jvp(x, tangent=x), lambda: f.jacobian(x, mode="forward")):
            with pytest.raises(GraphError) as caught:
                ask()
            assert (caught.value.reason, caught.value.node, caught.value.got) == ("NOT_DIFFERENTIABLE", 1, "minimum of the cotangent")
            assert "test_wrapping.py" in caught.value.source
        assert service.submit(lambda x: sin(x), x=bs.float64[3]).check(x).right
        wrong = service.submit(lambda x: tripled(x), x=bs.float64[3]).check(x)
        assert not wrong.right
        assert service.submit(lambda x: np.sum(clipped(x)), x=bs.float64[3]).check(x[:3] * 0.01).right
        assert not f.check(x).right  # forward mode is not asked


LINEAR: dict[str, Callable[..., Any]] = {
    "a product": lambda x, y, c: c * np.cos(x) * 2 - c / (1 + x * x),
    "a product of matrices": lambda x, y, c: np.outer(x, x) @ c + np.flip(c),
    "pieces": lambda x, y, c: np.concatenate([c[:1] * 2, np.zeros(2)]) + np.where(x > 0, c, 0.0),
    "nothing": lambda x, y, c: np.zeros(3),
    "quotients": lambda x, y, c: bs.scan(lambda a, u: (a / y + c / (x * 7), None), c / 3, x)[0],
    "a branch": lambda x, y, c: bs.cond(np.sum(x) > 0, lambda: c * 2, lambda: np.zeros(3)),
    "a loop": lambda x, y, c: bs.scan(lambda a, u: (a * u + c, None), np.zeros(3), x)[0],
    "a loop with an index": lambda x, y, c: bs.fori_loop(0, 3, lambda i, a: a * x[i] + c, c),
    "a checkpoint": lambda x, y, c: bs.checkpoint(lambda v: v * x)(c),
    "a reduction": lambda x, y, c: x * np.sum(c * y),
}
CURVED: dict[str, Callable[..., Any]] = {
    "a function of c": lambda x, y, c: np.tanh(c),
    "clipping": lambda x, y, c: np.clip(c, -1.0, 1.0),
    "a square": lambda x, y, c: c * c,
    "a quotient": lambda x, y, c: x / c,
    "something added": lambda x, y, c: c + 1e-3,
    "a constant": lambda x, y, c: np.ones(3),
    "a value of x": lambda x, y, c: x,
    "a choice by c": lambda x, y, c: np.where(c > 0, c, 0.0),
    "a branch by c": lambda x, y, c: bs.cond(np.sum(c) > 0, lambda: c, lambda: c),
    "a branch that adds": lambda x, y, c: bs.cond(np.sum(x) > 0, lambda: c, lambda: c + x),
    "a loop that starts elsewhere": lambda x, y, c: bs.scan(lambda a, u: (a * u + c, None), np.ones(3), x)[0],
    "a loop that squares": lambda x, y, c: bs.scan(lambda a, u: (a * c, None), c, x)[0],
    "an integer": lambda x, y, c: c.astype(np.int64).astype(np.float64),
    "a loop that ends by c": lambda x, y, c: bs.while_loop(lambda a: np.sum(a) > 1, lambda a: a * 0.5, c, max_trips=60),
}


def joint(backwards: Callable[..., Any]) -> Graph:
    own = bs.custom_gradient(np.exp, backwards)
    return derive.jvp(trace(lambda x: own(x), {"x": bs.float64[3]}).graph, [0])


@pytest.mark.parametrize("name", LINEAR)
def test_a_vjp_linear_by_its_structure_is_recognised_and_transposed(name: str) -> None:
    graph = joint(LINEAR[name])
    x, t, c = RNG.normal(size=(3, 3))
    own = bs.custom_gradient(np.exp, LINEAR[name])
    left = one(graph, x, t) @ c
    right = vjp(lambda x: own(x))(x, cotangent=c) @ t
    assert left == pytest.approx(right, rel=1e-12, abs=1e-14)


@pytest.mark.parametrize("name", CURVED)
def test_any_other_vjp_is_never_taken_for_linear(name: str) -> None:
    assert [node.op for node in joint(CURVED[name]).nodes][-1] == "reverse_only"
    c = np.array([0.5, 2.0, -3.0])
    x = np.array([0.2, -0.4, 0.9])
    own = bs.custom_gradient(np.exp, CURVED[name])
    np.testing.assert_allclose(vjp(lambda x: own(x))(x, cotangent=c), CURVED[name](x, np.exp(x), c), rtol=1e-14)


def test_several_arguments_and_results_integers_and_bound_arrays() -> None:
    def f(x: Any, k: Any, p: Any) -> Any:
        return x[k] * p["a"], np.sum(x @ BIG)

    def backwards(x: Any, k: Any, p: Any, y: Any, c: Any) -> Any:
        return c[1] * (BIG @ np.ones(60)) + np.where(np.arange(3) == k, c[0] * p["a"], 0.0), k, {"a": c[0] * x[k]}

    def use(own: Callable[..., Any]) -> Callable[..., Any]:
        return lambda x, k, p: (lambda y: y[0] ** 2 * y[1])(own(x, k, p))

    types = {"x": bs.float64[3], "k": bs.int64, "p": {"a": bs.float64}}
    given, plain = trace(use(bs.custom_gradient(f, backwards)), types), trace(use(f), types)
    point, seeds = [np.array([1.0, 2, 3]), 1, 2.0], [np.array([1.0, 0.5, -1]), 0.3]
    for derived, more in ((lambda g: derive.gradient(g, [0, 2]), []), (lambda g: derive.jvp(g, [0, 2]), seeds), (lambda g: derive.hvp(g, [0, 2]), seeds)):
        # Bound arrays are inputs like others; seeds come after all of them.
        got = run(derived(given.graph), *point, *given.bound.values(), *more)  # type: ignore[no-untyped-call]
        for a, b in zip(got, run(derived(plain.graph), *point, *plain.bound.values(), *more), strict=True):  # type: ignore[no-untyped-call]
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_custom_gradient_is_mapped_over_rows() -> None:
    w = np.array(0.7)
    own = bs.custom_gradient(lambda r, w: np.sum(np.sin(r * w)), lambda r, w, y, c: (c * w * np.cos(r * w), c * np.sum(r * np.cos(r * w))))

    def f(x: Any, w: Any) -> Any:
        return np.sum(bs.vmap(own, (0, None))(x, w) ** 2)

    def g(x: Any, w: Any) -> Any:
        return np.sum(np.sum(np.sin(x * w), axis=1) ** 2)

    for a, b in zip(gradient(f, (0, 1))(X, w), gradient(g, (0, 1))(X, w), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(hessian(f, 1)(X, w), hessian(g, 1)(X, w), rtol=1e-12)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a captured traced value": (lambda x: bs.custom_gradient(lambda v: v * x[0], lambda v, y, c: c)(x), "not among its arguments"),
    "a cotangent of another shape": (lambda x: bs.custom_gradient(np.exp, lambda v, y, c: np.sum(c))(x), "of another shape"),
    "too few cotangents": (lambda x: bs.custom_gradient(lambda a, b: a * b, lambda a, b, y, c: c * b)(x, x), "for each argument"),
    "nothing mapped": (lambda x: bs.vmap(np.sin, None)(x), "no argument is mapped"),
    "axes of two lengths": (lambda x: bs.vmap(lambda a, b: a)(x, np.ones(2)), "differ in length"),
    "too many axes": (lambda x: bs.vmap(np.sin, (0, 0))(x), "one entry for each argument"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_is_refused_with_the_users_line(name: str) -> None:
    f, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64[3]})
    assert said in str(caught.value)
    assert caught.value.source == f"test_wrapping.py:{f.__code__.co_firstlineno}"
