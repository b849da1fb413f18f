"""bs.scan, bs.fori_loop and bs.while_loop: against closed forms and adjoints written by hand in NumPy."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg

import backsweep as bs
from backsweep.nesting import gradient, hessian, jacobian, jvp
from backsweep.trace import trace
from backsweep.wire.graphs import decode_graph, encode_graph
from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.run import one, run

RNG = np.random.default_rng(5)
A = np.array([[-0.3, 1.0, 0.0], [-1.0, -0.2, 0.4], [0.1, 0.0, -0.5]])
X0 = np.array([1.0, -0.5, 0.25])
STEPS, H = 40, 0.05


# Judges that know nothing of our engine.


def rk4(A: Any, x: Any) -> Any:
    """The linear equation x' = A x by fixed steps; only operators, so it runs on anything."""

    def step(x: Any, _: Any) -> Any:
        k1 = A @ x
        k2 = A @ (x + H / 2 * k1)
        k3 = A @ (x + H / 2 * k2)
        k4 = A @ (x + H * k3)
        return x + H / 6 * (k1 + 2 * k2 + 2 * k3 + k4), None

    return bs.scan(step, x, length=STEPS)[0]


def rk4_propagator(A: Any) -> Any:
    """One step of RK4 on a linear equation is the exponential series to the fourth power."""
    B = H * A
    return np.eye(3) + B + B @ B / 2 + B @ B @ B / 6 + B @ B @ B @ B / 24


def rk4_adjoint(A: Any, x: Any, c: Any) -> tuple[Any, Any]:
    """Of c . rk4(A, x): the discrete adjoint, stage by stage, as one would write it by hand."""
    states = [x]
    for _ in range(STEPS):
        states.append(rk4_propagator(A) @ states[-1])
    dA, lam = np.zeros((3, 3)), c.copy()
    for x in states[-2::-1]:
        k1 = A @ x
        k2 = A @ (x + H / 2 * k1)
        k3 = A @ (x + H / 2 * k2)
        d4 = H / 6 * lam
        d3 = H / 3 * lam + H * A.T @ d4
        d2 = H / 3 * lam + H / 2 * A.T @ d3
        d1 = H / 6 * lam + H / 2 * A.T @ d2
        for d, at in ((d1, x), (d2, x + H / 2 * k1), (d3, x + H / 2 * k2), (d4, x + H * k3)):
            dA += np.outer(d, at)
        lam = lam + A.T @ (d1 + d2 + d3 + d4)
    return dA, lam


def test_rk4_of_a_linear_equation_has_the_adjoint_written_by_hand() -> None:
    c = np.array([0.3, -1.0, 2.0])
    P = np.linalg.matrix_power(rk4_propagator(A), STEPS)
    np.testing.assert_allclose(rk4(A, X0), P @ X0, rtol=1e-13)
    np.testing.assert_allclose(rk4(A, X0), scipy.linalg.expm(A * H * STEPS) @ X0, rtol=1e-5)
    np.testing.assert_allclose(jacobian(rk4, 1)(A, X0), P, rtol=1e-12)
    got = gradient(lambda A, x: c @ rk4(A, x), (0, 1))(A, X0)
    for a, b in zip(got, rk4_adjoint(A, X0, c), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    # Linear in x: the Hessian by x is 0, and by A what differences of the adjoint say.
    assert np.abs(hessian(lambda x: c @ rk4(A, x))(X0)).max() == 0
    E = RNG.normal(size=(3, 3))
    turned = jvp(gradient(lambda A: c @ rk4(A, X0)))(A, tangent=E)
    h = 1e-4
    np.testing.assert_allclose(turned, (rk4_adjoint(A + h * E, X0, c)[0] - rk4_adjoint(A - h * E, X0, c)[0]) / (2 * h), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("reverse", [False, True])
def test_a_cumulative_product_has_the_derivatives_of_its_closed_form(reverse: bool) -> None:
    """y_i = prod of u_0..u_i (from the other end if reverse): dy_i/du_j = y_i / u_j where j is among them."""
    u = np.array([1.5, -2.0, 0.5, 3.0])

    def products(u: Any) -> Any:
        return bs.scan(lambda c, v: (c * v, c * v), 1.0, u, reverse=reverse)[1]

    expected = np.cumprod(u[::-1])[::-1] if reverse else np.cumprod(u)
    np.testing.assert_allclose(one(trace(products, {"u": bs.float64[4]}).graph, u), expected, rtol=1e-15)
    among = np.triu(np.ones((4, 4))) if reverse else np.tril(np.ones((4, 4)))
    np.testing.assert_allclose(jacobian(products)(u), among * expected[:, None] / u, rtol=1e-14)
    second = hessian(lambda u: products(u)[0 if reverse else -1])(u)
    np.testing.assert_allclose(second, np.prod(u) / np.outer(u, u) * (1 - np.eye(4)), rtol=1e-13)


def test_the_logistic_map_is_differentiated_by_parameter_and_start_through_second_order() -> None:
    """c' = r c (1 - c): first and second derivatives carried along by hand."""

    def f(r: Any, c: Any) -> Any:
        return bs.fori_loop(0, 12, lambda i, c: r * c * (1 - c), c)

    r, c = 2.9, 0.3
    cr = cc = crr = ccc = 0.0
    x, cc = c, 1.0
    for _ in range(12):
        x, cr, crr, cc, ccc = (
            r * x * (1 - x),
            x * (1 - x) + r * (1 - 2 * x) * cr,
            2 * (1 - 2 * x) * cr - 2 * r * cr**2 + r * (1 - 2 * x) * crr,
            r * (1 - 2 * x) * cc,
            -2 * r * cc**2 + r * (1 - 2 * x) * ccc,
        )
    assert f(r, c) == pytest.approx(x, rel=1e-14)
    np.testing.assert_allclose(gradient(f, (0, 1))(r, c), (cr, cc), rtol=1e-12)
    np.testing.assert_allclose([hessian(f, 0)(r, c), hessian(f, 1)(r, c)], [crr, ccc], rtol=1e-11)


def filtered(q: Any, y: Any) -> Any:
    """Minus the log likelihood of a random walk seen with noise of variance 1 (a Kalman filter of one state)."""

    def step(carry: Any, seen: Any) -> Any:
        m, p, total = carry
        p = p + q
        s = p + 1.0
        v = seen - m
        return (m + p / s * v, p / s, total + 0.5 * (np.log(2 * np.pi * s) + v * v / s)), s

    (_, _, total), _ = bs.scan(step, (0.0, 0.0, 0.0), y)
    return total


def test_a_kalman_likelihood_is_that_of_the_joint_normal() -> None:
    """y ~ N(0, q min(i, j) + I): its density and derivative by q, from linear algebra that has no recursion."""
    y, q = RNG.normal(size=15).cumsum(), 0.7
    K = np.minimum.outer(np.arange(1, 16), np.arange(1, 16)).astype(float)
    S = q * K + np.eye(15)
    solved = np.linalg.solve(S, y)
    value = 0.5 * (15 * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + y @ solved)
    SK = np.linalg.solve(S, K)
    slope = 0.5 * (np.trace(SK) - solved @ K @ solved)
    curvature = -0.5 * np.trace(SK @ SK) + solved @ K @ np.linalg.solve(S, K @ solved)
    graph = trace(filtered, {"q": bs.float64, "y": bs.float64[15]}).graph
    assert one(graph, q, y) == pytest.approx(value, rel=1e-12)
    dq, dy = gradient(filtered, (0, 1))(q, y)
    assert dq == pytest.approx(slope, rel=1e-11)
    np.testing.assert_allclose(dy, solved, rtol=1e-10)
    assert hessian(filtered)(q, y) == pytest.approx(curvature, rel=1e-10)


# Memory.


def recurrence(steps: int, checkpoint: Any) -> Graph:
    def f(x: Any) -> Any:
        return np.sum(bs.fori_loop(0, steps, lambda i, c: np.sin(c) * 1.01 + 1e-3 * i, x, checkpoint=checkpoint))

    return derive.gradient(trace(f, {"x": bs.float64[2000]}).graph, [0])


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 5])
def test_the_promised_bytes_grow_as_they_should_and_are_kept(checkpoint: Any) -> None:
    """x has 16,000 bytes. All carries of 1600 trips are 25 MB; by square roots 2 * 40 of them 1.3 MB."""
    few, many = (layout(expand(recurrence(steps, checkpoint))).peak_bytes for steps in (100, 1600))
    ratio = {None: 16, "sqrt": 4, 5: 16}[checkpoint]
    assert 0.4 * ratio < many / few < 1.1 * ratio
    if checkpoint == "sqrt":
        assert many < 2 * 40 * 16_000 * 1.8
    graph = recurrence(400, checkpoint)
    x = RNG.normal(size=2000)
    tracemalloc.start()
    (got,) = Program(graph).run([x])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= layout(expand(graph)).peak_bytes + 300_000
    slope = np.ones(2000)
    for i in range(400):
        slope, x = slope * np.cos(x) * 1.01, np.sin(x) * 1.01 + 1e-3 * i
    np.testing.assert_allclose(got, slope, rtol=1e-11)


@pytest.mark.parametrize("length", [1, 2, 7, 16, 17])
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("checkpoint", ["sqrt", 1, 3, 100])
def test_a_checkpointed_scan_gives_what_the_scan_gives(checkpoint: Any, reverse: bool, length: int) -> None:
    u = RNG.normal(size=(length, 2))

    def f(w: Any, u: Any, kept: Any) -> Any:
        carry, ys = bs.scan(lambda c, v: ({"a": np.sin(c["a"] * w + v)}, (c["a"] * v, c["a"][0])), {"a": w * 2}, u, reverse=reverse, checkpoint=kept)
        return np.sum(carry["a"] ** 2) + np.sum(ys[0] * u) + np.sum(ys[1] * u[:, 0])

    w = np.array([0.3, -0.8])
    for a, b in zip(gradient(f, (0, 1))(w, u, checkpoint), gradient(f, (0, 1))(w, u, None), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)
    if length == 7:
        np.testing.assert_allclose(hessian(f)(w, u, checkpoint), hessian(f)(w, u, None), rtol=1e-11)


# What a body may use and be.

BIG = RNG.normal(size=300)


def test_captured_values_trees_nested_loops_and_branches() -> None:
    def f(p: Any, k: Any) -> Any:
        scale = np.exp(p["b"])

        def body(carry: Any, x: Any) -> Any:
            h, (n, total) = carry["h"], carry["rest"]
            h = bs.cond(total > 0, lambda: np.sin(h) * scale, lambda: h + x["u"] * BIG[:2])
            more = bs.fori_loop(0, n, lambda i, s: s + np.sum(h) * i, 0.0, max_trips=5)
            return {"h": h, "rest": (n + 1, total + x["v"] + more)}, {"seen": h * p["a"]}

        carry, ys = bs.scan(body, {"h": p["a"], "rest": (k, 0.0)}, {"u": np.array([1.0, 2.0, 3.0]), "v": p["c"]})
        return np.sum(carry["h"]) + carry["rest"][1] + np.sum(ys["seen"])

    def by_hand(a: Any, b: Any, c: Any, k: int) -> Any:
        h, total, out = a, 0.0, 0.0
        for u, v in zip([1.0, 2.0, 3.0], c, strict=True):
            h = np.sin(h) * np.exp(b) if total > 0 else h + u * BIG[:2]
            total, k = total + v + sum(h.sum() * i for i in range(k)), k + 1
            out += np.sum(h * a)
        return h.sum() + total + out

    p = {"a": np.array([0.2, 0.7]), "b": np.array(0.1), "c": np.array([1.0, 0.5, 0.25])}
    traced = trace(f, {"p": {"a": bs.float64[2], "b": bs.float64, "c": bs.float64[3]}, "k": bs.int64})
    point = [p["a"], p["b"], p["c"], 1, *traced.bound.values()]
    assert one(traced.graph, *point) == pytest.approx(by_hand(p["a"], 0.1, p["c"], 1), rel=1e-13)
    assert f(p, 1) == pytest.approx(by_hand(p["a"], 0.1, p["c"], 1), rel=1e-13)
    got = run(derive.gradient(traced.graph, [0, 1, 2]), *point)
    h = 1e-5
    for k, (slope, name) in enumerate(zip(got, "abc", strict=True)):
        for at in np.ndindex(slope.shape):
            ends = []
            for sign in (1, -1):
                moved = [np.array(p[n]) for n in "abc"]
                moved[k][at] += sign * h
                ends.append(by_hand(*moved, 1))
            assert slope[at] == pytest.approx((ends[0] - ends[1]) / (2 * h), rel=1e-7), name


def test_a_python_number_to_start_with_takes_the_type_the_body_makes() -> None:
    assert one(trace(lambda x: bs.fori_loop(0, 3, lambda i, c: c + x, 0), {"x": bs.float32[2]}).graph, np.ones(2, np.float32)).dtype == np.float32
    assert one(trace(lambda x: bs.scan(lambda c, v: (c + v, None), 0, x)[0], {"x": bs.float64[2]}).graph, np.ones(2)) == 2.0


def test_on_plain_arrays_loops_are_python_s() -> None:
    u = np.arange(4.0)
    carry, ys = bs.scan(lambda c, v: (c + v, {"y": c}), 1.0, u, reverse=True)
    assert carry == 7 and ys["y"].tolist() == [7, 6, 4, 1]
    assert bs.scan(lambda c, v: (c + 1, None), 0, length=3) == (3, None)
    assert bs.fori_loop(2, 5, lambda i, c: c + i, 0) == 9
    assert bs.while_loop(lambda c: c < 10, lambda c: c * 2, 1, max_trips=9) == 16
    with pytest.raises(GraphError, match="did not end"):
        bs.while_loop(lambda c: c < 10, lambda c: c, 1, max_trips=9)


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a body that gives one thing": (lambda x: bs.scan(lambda c, v: c, x[0], x), "does not return two things"),
    "another shape carried on": (lambda x: bs.scan(lambda c, v: (c[:1], None), x, x), "at carry"),
    "another dtype carried on": (lambda x: bs.scan(lambda c, v: ((c > 0).astype(np.int64), None), x[0], x), "int64"),
    "another structure carried on": (lambda x: bs.scan(lambda c, v: ((c, c), None), x[0], x), "another structure"),
    "no length": (lambda x: bs.scan(lambda c, v: (c, None), x), "the number of trips is not known"),
    "slices of two lengths": (lambda x: bs.scan(lambda c, v: (c, None), 0.0, (x, x[:2])), "first axis of length 3"),
    "a scalar to slice": (lambda x: bs.scan(lambda c, v: (c, None), 0.0, x[0]), "cannot be cut into slices"),
    "a traced length": (lambda x: bs.scan(lambda c, v: (c, None), 0.0, length=x.astype(np.int64)[0]), "bs.fori_loop"),
    "a bound of trips that is no number": (lambda x: bs.while_loop(lambda c: c > 0, lambda c: c - 1, x[0], max_trips="many"), "max_trips is not"),
    "a bound of trips below 0": (lambda x: bs.fori_loop(0, x.astype(np.int64)[0], lambda i, c: c, 0.0, max_trips=-1), "max_trips is not"),
    "a checkpoint of text": (lambda x: bs.while_loop(lambda c: c > 0, lambda c: c - 1, x[0], checkpoint="all"), "'sqrt'"),
    "a bound that is a float": (lambda x: bs.fori_loop(0, x[0], lambda i, c: c, 0.0, max_trips=3), "not an integer"),
    "a condition on numbers": (lambda x: bs.while_loop(lambda c: c, lambda c: c, x, max_trips=3), "one truth value"),
    "a checkpoint of nothing": (lambda x: bs.scan(lambda c, v: (c, None), 0.0, x, checkpoint=0), "'sqrt'"),
    "the truth of a value in a body": (lambda x: bs.fori_loop(0, 3, lambda i, c: c if c > 0 else -c, x[0]), "bs.cond"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_loop_that_cannot_be_is_refused_with_the_users_line(name: str) -> None:
    f, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64[3]})
    assert said in str(caught.value)
    assert caught.value.source == f"test_loops.py:{f.__code__.co_firstlineno}"


# The whole way.


def zoo(x: Any, y: Any) -> Any:
    """A scan with a cond and a while_loop in it, a checkpoint, a vmap and a custom gradient."""
    halved = bs.custom_gradient(lambda v: v * 0.5, lambda v, _, c: c * 0.5)

    def body(c: Any, v: Any) -> Any:
        c = bs.cond(c > 0, lambda: np.sin(c) + v, lambda: c * v)
        c = bs.while_loop(lambda a: abs(a) > 1, halved, c, max_trips=20)
        return c, c * v

    c, ys = bs.scan(body, x[0], y, checkpoint="sqrt")
    return c + np.sum(ys) + np.sum(bs.vmap(bs.checkpoint(lambda v, s: np.exp(v * s)), (0, None))(x, c))


def test_what_travels_comes_back_and_its_derivatives_travel_too() -> None:
    graph = trace(zoo, {"x": bs.float64[3], "y": bs.float64[5]}).graph
    for one_graph in (graph, derive.gradient(graph, [0, 1]), derive.hvp(graph, [0, 1])):
        decoded = decode_graph(encode_graph(one_graph))
        assert decoded.fingerprint == one_graph.fingerprint


def test_local_and_remote_answers_are_the_same(server: Any) -> None:
    x, y, v = RNG.normal(size=3), RNG.normal(size=5), RNG.normal(size=3)
    with bs.connect(server.address) as remote, bs.local() as local:
        f, g = (service.submit(zoo, x=bs.float64[3], y=y) for service in (remote, local))
        for ask in (lambda f: f(x), lambda f: f.gradient(x), lambda f: f.hvp(x, tangent=v), lambda f: f.hessian(x), lambda f: f.jvp(x, tangent=v)):
            assert np.asarray(ask(f)).tobytes() == np.asarray(ask(g)).tobytes()  # type: ignore[no-untyped-call]
        assert bool(f.check(x).right) and bool(g.check(x).right)
        bad = remote.submit(lambda x: bs.while_loop(lambda c: c < 100, lambda c: c * x, x, max_trips=4), x=bs.float64)
        with pytest.raises(GraphError) as caught:
            bad(1.1)
        assert (caught.value.reason, caught.value.op) == ("LOOP_CAP", "while_loop")
        assert "test_loops.py" in caught.value.source


def test_a_loop_that_makes_a_nan_is_named_with_its_line() -> None:
    with bs.local() as service:
        f = service.submit(lambda x: np.exp(bs.scan(lambda c, _: (np.sqrt(c - 1), None), x, length=5)[0]), x=bs.float64)
        with pytest.warns(bs.NonFiniteWarning, match="scan"):
            f(2.0)
