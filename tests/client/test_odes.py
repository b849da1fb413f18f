"""bs.odeint, against matrix exponentials, SciPy's solvers on the variational equations, and the steps taken replayed by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.linalg

import backsweep as bs
from backsweep.loops import while_loop
from backsweep.nesting import gradient, hessian, hvp, jacobian, jvp, vjp
from backsweep.trace import trace
from backsweep.wire.graphs import decode_graph, encode_graph
from backsweep_engine.errors import GraphError
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.run import one

RNG = np.random.default_rng(11)
A = np.array([[-0.3, 1.0, 0.0], [-1.0, -0.2, 0.4], [0.1, 0.0, -0.5]])
X0 = np.array([1.0, -0.5, 0.25])
METHODS: dict[str, dict[str, Any]] = {"rk4": {"method": "rk4", "steps": 60}, "dopri5": {"method": "dopri5", "rtol": 1e-11, "atol": 1e-11}}
"""Both to about 1e-10 on what is solved here."""


def linear(y: Any, t: Any, A: Any) -> Any:
    return A @ y


# Linear equations: closed forms.

TIMES = {"forwards": np.array([0.0, 0.4, 1.1, 1.5]), "backwards": np.array([1.5, 1.0, 0.2, -0.3]), "with equal times": np.array([0.0, 0.5, 0.5, 1.0])}


@pytest.mark.parametrize("times", TIMES)
@pytest.mark.parametrize("method", METHODS)
def test_a_linear_equation_is_solved_and_differentiated_as_the_matrix_exponential_says(method: str, times: str) -> None:
    """y(t) = exp(A (t - t0)) y0. Its derivatives by y0, t, and A (Frechet derivatives, SciPy's expm_frechet)."""
    t = TIMES[times]
    kw = METHODS[method]

    def f(y: Any, t: Any, A: Any) -> Any:
        return bs.odeint(linear, y, t, A, **kw)

    P = [scipy.linalg.expm(A * (s - t[0])) for s in t]
    ys = np.array([p @ X0 for p in P])
    graph = trace(f, {"y": bs.float64[3], "t": bs.float64[4], "A": bs.float64[3, 3]}).graph
    np.testing.assert_allclose(one(graph, X0, t, A), ys, rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(f(X0, t, A), ys, rtol=1e-9, atol=1e-10)  # on plain arrays too

    np.testing.assert_allclose(jacobian(f)(X0, t, A), P, rtol=1e-8, atol=1e-9)
    by_times = np.zeros((4, 3, 4))
    for i in range(4):
        by_times[i, :, i] += A @ ys[i]
        by_times[i, :, 0] -= A @ ys[i]
    np.testing.assert_allclose(jacobian(f, 1)(X0, t, A), by_times, rtol=1e-8, atol=1e-8)
    E, c = RNG.normal(size=(3, 3)), RNG.normal(size=(4, 3))
    turned = np.array([scipy.linalg.expm_frechet(A * (s - t[0]), E * (s - t[0]))[1] @ X0 for s in t])
    np.testing.assert_allclose(jvp(f, 2)(X0, t, A, tangent=E), turned, rtol=1e-8, atol=1e-9)
    got = vjp(f, (0, 1, 2))(X0, t, A, cotangent=c)
    np.testing.assert_allclose(got[0], np.einsum("ij,ijk->k", c, np.array(P)), rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(got[1], np.einsum("ij,ijk->k", c, by_times), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(np.sum(got[2] * E), np.sum(c * turned), rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_the_harmonic_oscillator_has_its_second_derivatives_by_frequency_and_time(method: str) -> None:
    """x'' = -w w x from (1, 0): x = cos(w t), and all derivatives of a cosine."""

    def f(p: Any) -> Any:
        return bs.odeint(lambda s, t, w: {"x": s["v"], "v": -w * w * s["x"]}, {"x": 1.0, "v": 0.0}, np.stack([0 * p[1], p[1]]), p[0], **METHODS[method])["x"][
            -1
        ]

    w, t = 1.3, 0.8
    p = np.array([w, t])
    cos, sin = np.cos(w * t), np.sin(w * t)
    assert f(p) == pytest.approx(cos, abs=1e-8)
    np.testing.assert_allclose(gradient(f)(p), [-t * sin, -w * sin], rtol=1e-7)
    mixed = -sin - w * t * cos
    np.testing.assert_allclose(hessian(f)(p), [[-t * t * cos, mixed], [mixed, -w * w * cos]], rtol=1e-6)


# Nonlinear equations: SciPy on the variational equations.


def prey(y: Any, t: Any, p: Any) -> Any:
    """Lotka and Volterra's, as one writes it for SciPy: a list."""
    return [p[0] * y[0] - p[1] * y[0] * y[1], -p[2] * y[1] + p[3] * y[0] * y[1]]


def pol(y: Any, t: Any, p: Any) -> Any:
    """Van der Pol's, driven: the time is used, too."""
    return [y[1], p[0] * (1 - y[0] ** 2) * y[1] - y[0] + p[1] * np.cos(p[2] * t) * p[3]]


def slopes_prey(y: Any, t: float, p: Any) -> tuple[Any, Any]:
    return np.array([[p[0] - p[1] * y[1], -p[1] * y[0]], [p[3] * y[1], -p[2] + p[3] * y[0]]]), np.array(
        [[y[0], -y[0] * y[1], 0, 0], [0, 0, -y[1], y[0] * y[1]]]
    )


def slopes_pol(y: Any, t: float, p: Any) -> tuple[Any, Any]:
    c, s = np.cos(p[2] * t), np.sin(p[2] * t)
    return np.array([[0, 1], [-2 * p[0] * y[0] * y[1] - 1, p[0] * (1 - y[0] ** 2)]]), np.array(
        [[0, 0, 0, 0], [(1 - y[0] ** 2) * y[1], c * p[3], -p[1] * p[3] * s * t, p[1] * c]]
    )


EQUATIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Any, Any, Any]] = {
    "Lotka and Volterra": (prey, slopes_prey, np.array([1.0, 1.2]), np.array([1.1, 0.4, 0.4, 0.1]), np.linspace(0.0, 6.0, 4)),
    "van der Pol": (pol, slopes_pol, np.array([1.5, -0.3]), np.array([1.5, 0.5, 1.2, 0.8]), np.array([0.0, 1.0, 4.0])),
    "van der Pol backwards": (pol, slopes_pol, np.array([0.4, -0.3]), np.array([0.7, 0.5, 1.2, 0.8]), np.array([1.0, 0.4, -0.5])),
}


def sensitivities(name: str, y0: Any, p: Any) -> tuple[Any, Any, Any]:
    """The solution and its derivatives by y0 and p: the variational equations S' = f_y S, Q' = f_y Q + f_p, by DOP853."""
    f, slopes, _, _, t = EQUATIONS[name]

    def all_of(t: float, z: Any) -> Any:
        y, S, Q = z[:2], z[2:6].reshape(2, 2), z[6:].reshape(2, 4)
        by_y, by_p = slopes(y, t, p)
        return np.concatenate([f(y, t, p), (by_y @ S).ravel(), (by_y @ Q + by_p).ravel()])

    start = np.concatenate([y0, np.eye(2).ravel(), np.zeros(8)])
    z = scipy.integrate.solve_ivp(all_of, (t[0], t[-1]), start, method="DOP853", t_eval=t, rtol=1e-13, atol=1e-13).y.T
    return z[:, :2], z[:, 2:6].reshape(-1, 2, 2), z[:, 6:].reshape(-1, 2, 4)


@pytest.mark.parametrize("name", EQUATIONS)
def test_nonlinear_equations_have_the_solutions_and_sensitivities_of_scipy(name: str) -> None:
    f, _, y0, p, t = EQUATIONS[name]
    ys, by_y, by_p = sensitivities(name, y0, p)

    def solved(y: Any, p: Any) -> Any:
        return bs.odeint(f, y, t, p, rtol=1e-11, atol=1e-11)

    graph = trace(solved, {"y": bs.float64[2], "p": bs.float64[4]}).graph
    np.testing.assert_allclose(one(graph, y0, p), ys, rtol=1e-9, atol=1e-9)
    got = jacobian(solved, (0, 1))(y0, p)
    np.testing.assert_allclose(got[0], by_y, rtol=1e-7, atol=1e-8)
    np.testing.assert_allclose(got[1], by_p, rtol=1e-7, atol=1e-8)

    # Second order: fourth-order differences of SciPy's first derivatives.
    rng = np.random.default_rng(5)
    c, v = rng.normal(size=ys.shape), rng.normal(size=4)
    turned = hvp(lambda p: np.sum(c * solved(y0, p)))(p, tangent=v)
    h = 5e-4
    at = {k: np.einsum("ij,ijk->k", c, sensitivities(name, y0, p + k * h * v)[2]) for k in (-2, -1, 1, 2)}
    wanted = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * h)
    np.testing.assert_allclose(turned, wanted, rtol=1e-6, atol=1e-6 * np.abs(wanted).max())


# What the derivative is of: the steps taken.


def replayed(f: Callable[..., Any], y: Any, t: Any, sizes: list[float], p: Any) -> Any:
    """The solution by steps of these sizes, with SciPy's tableau."""
    method = scipy.integrate.RK45
    for h in sizes:
        k: list[Any] = []
        for a, c in zip(method.A, method.C, strict=True):
            k.append(np.array(f(y + h * sum((w * s for w, s in zip(a, k, strict=False)), 0 * y), t + c * h, p)))
        y, t = y + h * sum(w * s for w, s in zip(method.B, k, strict=True)), t + h
    return y


def sizes_taken(f: Callable[..., Any], y0: Any, t: Any, p: Any, **options: Any) -> tuple[list[float], int]:
    """The accepted steps on plain arrays, told from the times f was asked at; and how many were rejected."""
    asked: list[float] = []

    def spied(y: Any, t: Any, p: Any) -> Any:
        asked.append(float(t))
        return f(y, t, p)

    bs.odeint(spied, y0, t, p, **options)
    tries = np.array(asked[2:]).reshape(-1, 6)  # the first two find the first size
    sizes = (tries[:, 5] - tries[:, 0]) / 0.8
    begins = tries[:, 5] - sizes
    accepted = [k + 1 == len(tries) or begins[k + 1] > begins[k] + 0.5 * sizes[k] for k in range(len(tries))]
    return [float(h) for h, a in zip(sizes, accepted, strict=True) if a], len(tries) - sum(accepted)


def test_the_derivative_is_that_of_the_steps_accepted_with_their_sizes_fixed() -> None:
    """Replayed with complex steps (Squire and Trapp 1998), which differentiate to rounding. Coarse, so that it is far from the equation's own."""
    y0, p, t = np.array([2.0, 0.0]), np.array([5.0, 0.5, 1.2, 0.8]), np.array([0.0, 9.0])
    options = {"rtol": 1e-3, "atol": 1e-3}
    sizes, rejected = sizes_taken(pol, y0, t, p, **options)
    assert rejected > 3 and len(sizes) > 15
    got = jacobian(lambda y, p: bs.odeint(pol, y, t, p, **options)[-1], (0, 1))(y0, p)
    step = 1e-200
    for k, slope in enumerate(got):
        for i in range(slope.shape[1]):
            moved = [y0.astype(complex), p.astype(complex)]
            moved[k][i] += 1j * step
            wanted = replayed(pol, moved[0], 0.0, sizes, moved[1]).imag / step
            np.testing.assert_allclose(slope[:, i], wanted, rtol=1e-9, atol=1e-9 * np.abs(slope).max())


@pytest.mark.parametrize("method", ["rk4", "dopri5"])
def test_one_step_between_two_times_is_the_method_s_polynomial_by_all_it_depends_on(method: str) -> None:
    """On y' = a y a step multiplies by R(a h), so derivatives by a and t are those of R: to rounding, though the steps are coarse."""
    R = np.polynomial.Polynomial([1, 1, 1 / 2, 1 / 6, 1 / 24] + ([] if method == "rk4" else [1 / 120, 1 / 600]))
    t = np.array([0.0, 0.05, 0.11, 0.18, 0.24])
    options = {"method": method, **({} if method == "rk4" else {"rtol": 1.0, "atol": 1.0})}

    def f(a: Any, t: Any) -> Any:
        return bs.odeint(lambda y, t: a * y, 1.0, t, **options)[-1]

    a, h = -1.7, np.diff(t)
    y = np.prod(R(a * h))
    ratio = R.deriv()(a * h) / R(a * h)
    by_a, by_h = y * np.sum(h * ratio), y * a * ratio
    got = gradient(f, (0, 1))(a, t)
    assert f(a, t) == pytest.approx(y, rel=1e-14)
    assert got[0] == pytest.approx(by_a, rel=1e-12)
    np.testing.assert_allclose(got[1], np.concatenate([[-by_h[0]], by_h[:-1] - by_h[1:], [by_h[-1]]]), rtol=1e-11, atol=1e-15)
    second = R.deriv(2)(a * h) / R(a * h) - ratio**2
    assert hessian(f)(a, t) == pytest.approx(y * (np.sum(h * ratio) ** 2 + np.sum(h * h * second)), rel=1e-11)


# What it does besides.


def test_rows_of_a_vmap_take_steps_of_their_own() -> None:
    f, _, y0, p, t = EQUATIONS["van der Pol"]
    many = np.stack([p, p * 0.2, p * [4, 1, 1, 1]])

    def solved(p: Any) -> Any:
        return bs.odeint(f, y0, t, p, rtol=1e-6, atol=1e-6)

    def total(p: Any) -> Any:
        return np.sum(bs.vmap(solved)(p) ** 2)

    np.testing.assert_allclose(one(trace(total, {"p": bs.float64[3, 4]}).graph, many), sum(np.sum(solved(q) ** 2) for q in many), rtol=1e-12)
    rows = [gradient(lambda q: np.sum(solved(q) ** 2))(q) for q in many]
    np.testing.assert_allclose(gradient(total)(many), rows, rtol=1e-9, atol=1e-11)
    with bs.local() as service:  # and as a batch of points
        g = service.submit(lambda p: np.sum(solved(p) ** 2), p=bs.float64[4])
        np.testing.assert_allclose(g.jvp(many[0], tangent=np.eye(4)), rows[0], rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_checkpoint_changes_what_is_kept_and_nothing_else(method: str) -> None:
    n = 500
    options = {"method": method, **({"steps": 400} if method == "rk4" else {"max_steps": 400})}
    t = np.array([0.0, 0.5, 2.0])

    def loss(y: Any, k: Any, checkpoint: Any) -> Any:
        return np.sum(bs.odeint(lambda y, t: np.sin(k * y) - y, y, t, checkpoint=checkpoint, **options) ** 2)

    y, k = RNG.normal(size=n), RNG.normal(size=n)
    plain, less = (derive.gradient(trace(lambda y, k, c=c: loss(y, k, c), {"y": bs.float64[n], "k": bs.float64[n]}).graph, [0, 1]) for c in (None, "sqrt"))
    assert layout(expand(less)).peak_bytes < 0.3 * layout(expand(plain)).peak_bytes
    for a, b in zip(gradient(loss, (0, 1))(y, k, "sqrt"), gradient(loss, (0, 1))(y, k, None), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_single_precision_scalars_one_time_and_whole_numbers() -> None:
    y = bs.odeint(lambda y, t: -y, np.float32(1.0), [0, 1], rtol=1e-5, atol=1e-6)
    assert y.dtype == np.float32 and y[1] == pytest.approx(np.exp(-1), rel=1e-4)
    graph = trace(lambda y: bs.odeint(lambda y, t: (y[1], -y[0]), (y, 0), [0, 1]), {"y": bs.float32}).graph
    assert [str(t) for t in graph.output_types] == ["float32[2]", "float64[2]"]
    assert bs.odeint(linear, X0, [2.0], A).tolist() == [X0.tolist()]
    assert one(trace(lambda y: bs.odeint(linear, y, [2.0], A), {"y": bs.float64[3]}).graph, X0).tolist() == [X0.tolist()]
    assert np.shape(bs.odeint(lambda y, t: y, np.zeros((2, 0)), [0.0, 1.0])) == (2, 2, 0)


# What does not end well.


def test_a_pole_or_a_stiff_equation_is_refused_by_the_number_of_steps_with_the_line_named() -> None:
    """y' = y y from 1 has a pole at t = 1; y' = -1e6 (y - cos t) wants steps of 3e-6."""
    with bs.local() as service:
        for f, t in ((lambda y, t: y * y, [0.0, 2.0]), (lambda y, t: -1e6 * (y - np.cos(t)), [0.0, 1.0])):
            g = service.submit(lambda y, f=f, t=t: bs.odeint(f, y, t, max_steps=300)[-1], y=bs.float64)
            for ask in (g, g.gradient):
                with pytest.raises(GraphError) as caught:
                    ask(1.0)
                error = caught.value
                assert error.reason == "LOOP_CAP" and "at most 300" in error.allowed and "max_steps=" in error.hint
                assert error.node is not None and error.op in ("scan", "while_loop") and "test_odes.py" in error.source
    with pytest.raises(GraphError, match="did not end"):
        bs.odeint(lambda y, t: y * y, 1.0, [0.0, 2.0], max_steps=300)


def test_a_slope_that_is_not_finite_gives_nan_from_there_on_and_an_overshoot_does_not() -> None:
    with bs.local() as service:
        f = service.submit(lambda y: bs.odeint(lambda y, t: (np.sqrt(y[0]), -y[1]), (y, 1.0), [0.0, 1.0, 2.0]), y=bs.float64)
        with pytest.warns(bs.NonFiniteWarning, match="test_odes"):
            a, b = f(-1.0)
        assert np.isnan(a[1:]).all() and np.isnan(b[1:]).all() and a[0] == -1.0 and b[0] == 1.0
        # Torricelli's vessel: the root of what is left. A first try of a step may pass the end; what is tried is not where it is.
        g = service.submit(lambda y: bs.odeint(lambda y, t: -np.sqrt(y), y, [0.0, 1.9])[-1], y=bs.float64)
        assert g(1.0) == pytest.approx((1 - 0.95) ** 2, rel=1e-5)
        h = service.submit(lambda y, t: bs.odeint(lambda y, t: -y, y, t), y=bs.float64, t=bs.float64[3])
        with pytest.warns(bs.NonFiniteWarning):
            assert np.isnan(h(1.0, np.array([0.0, np.nan, 1.0]))[1])


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "another method": (lambda y: bs.odeint(linear, y, [0.0, 1.0], A, method="euler"), "no such method"),
    "an option of the other method": (lambda y: bs.odeint(linear, y, [0.0, 1.0], A, method="rk4", rtol=1e-3), "no option of method"),
    "steps of the adaptive one": (lambda y: bs.odeint(linear, y, [0.0, 1.0], A, steps=3), "no option of method"),
    "no steps": (lambda y: bs.odeint(linear, y, [0.0, 1.0], A, method="rk4", steps=0), "steps is out of range"),
    "a tolerance of 0": (lambda y: bs.odeint(linear, y, [0.0, 1.0], A, atol=0.0), "atol is out of range"),
    "a matrix of times": (lambda y: bs.odeint(linear, y, [[0.0, 1.0]], A), "vector of times"),
    "no time": (lambda y: bs.odeint(linear, y, [], A), "vector of times"),
    "a slope of another shape": (lambda y: bs.odeint(lambda y, t: y[:2], y, [0.0, 1.0]), "is not like y"),
    "a slope of another structure": (lambda y: bs.odeint(lambda y, t: (y, y), {"a": y}, [0.0, 1.0]), "another structure"),
    "a complex start": (lambda y: bs.odeint(lambda y, t: y, np.array(1j), [0.0, 1.0]), "real numbers"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_solved_is_refused_with_the_users_line(name: str) -> None:
    f, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        trace(f, {"y": bs.float64[3]})
    assert said in str(caught.value)
    assert caught.value.source == f"test_odes.py:{f.__code__.co_firstlineno}"


# The whole way.


def test_local_and_remote_answers_are_the_same_bits(server: Any) -> None:
    f, _, y0, p, t = EQUATIONS["Lotka and Volterra"]

    def loss(p: Any, y: Any) -> Any:
        until = while_loop(lambda c: c[0] > 0.01, lambda c: (c[0] * 0.5, c[1] + c[0] * p[0]), (p[1], 0.0))[1]
        return np.sum(bs.odeint(f, y, t, p, rtol=1e-6, atol=1e-6) ** 2) + until

    graph = trace(loss, {"p": bs.float64[4], "y": bs.float64[2]}).graph
    for one_graph in (graph, derive.gradient(graph, [0]), derive.hvp(graph, [0])):
        assert decode_graph(encode_graph(one_graph)).fingerprint == one_graph.fingerprint
    v = RNG.normal(size=4)
    with bs.connect(server.address) as remote, bs.local() as local:
        a, b = (service.submit(loss, p=bs.float64[4], y=y0) for service in (remote, local))
        for ask in (lambda f: f(p), lambda f: f.gradient(p), lambda f: f.hvp(p, tangent=v)):
            assert np.asarray(ask(a)).tobytes() == np.asarray(ask(b)).tobytes()  # type: ignore[no-untyped-call]
