"""Ports of programs that step through time or solve for a field: springs, a cart and its pole, an integro-differential equation."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

import backsweep as bs

from .port import Array, Arrays, Port, complex_step

# Two masses on springs, with friction


def _springs_rates(w: Any, t: Any, p: Any) -> Any:
    x1, y1, x2, y2 = w
    m1, m2, k1, k2, L1, L2, b1, b2 = p
    return [
        y1,
        (-b1 * y1 - k1 * (x1 - L1) + k2 * (x2 - x1 - L2)) / m1,
        y2,
        (-b2 * y2 - k2 * (x2 - x1 - L2)) / m2,
    ]


def _springs_published(p: Any, w0: Any, t: Any) -> Any:
    from scipy.integrate import odeint

    solution = odeint(_springs_rates, w0, t, args=(p,), atol=1e-12, rtol=1e-11)
    return np.sum(solution[-1] ** 2)


def _springs_ported(p: Any, w0: Any, t: Any) -> Any:
    def rates(w: Any) -> Any:
        return np.stack(_springs_rates(w, 0.0, p))

    w, h = w0, t[1] - t[0]
    for _ in range(len(t) - 1):
        a = rates(w)
        b = rates(w + h / 2 * a)
        c = rates(w + h / 2 * b)
        d = rates(w + h * c)
        w = w + h / 6 * (a + 2 * b + 2 * c + d)
    return np.sum(w**2)


def _springs_make() -> tuple[Arrays, Arrays]:
    p = np.array([1.0, 1.5, 8.0, 40.0, 0.5, 1.0, 0.8, 0.5])
    return {"p": p}, {"w0": np.array([0.5, 0.0, 2.25, 0.0]), "t": np.linspace(0.0, 0.3, 16)}


# A pole on a cart under linear feedback


def _cart_published(gains: Any, start: Any) -> Any:
    gravity, masscart, masspole, length, tau = 9.8, 1.0, 0.1, 0.5, 0.02
    total_mass, polemass_length = masscart + masspole, masspole * length
    state, cost = start, 0.0
    for _ in range(15):
        x, x_dot, theta, theta_dot = state
        force = -np.dot(gains, state)
        costheta, sintheta = math.cos(theta), math.sin(theta)
        temp = (force + polemass_length * theta_dot**2 * sintheta) / total_mass
        thetaacc = (gravity * sintheta - costheta * temp) / (length * (4.0 / 3.0 - masspole * costheta**2 / total_mass))
        xacc = temp - polemass_length * thetaacc * costheta / total_mass
        state = np.array([x + tau * x_dot, x_dot + tau * xacc, theta + tau * theta_dot, theta_dot + tau * thetaacc])
        cost = cost + theta**2 + 0.1 * x**2 + 0.001 * force**2
    return cost


def _cart_ported(gains: Any, start: Any) -> Any:
    gravity, masscart, masspole, length, tau = 9.8, 1.0, 0.1, 0.5, 0.02
    total_mass, polemass_length = masscart + masspole, masspole * length
    state, cost = start, 0.0
    for _ in range(15):
        x, x_dot, theta, theta_dot = state
        force = -np.dot(gains, state)
        costheta, sintheta = np.cos(theta), np.sin(theta)
        temp = (force + polemass_length * theta_dot**2 * sintheta) / total_mass
        thetaacc = (gravity * sintheta - costheta * temp) / (length * (4.0 / 3.0 - masspole * costheta**2 / total_mass))
        xacc = temp - polemass_length * thetaacc * costheta / total_mass
        state = np.stack([x + tau * x_dot, x_dot + tau * xacc, theta + tau * theta_dot, theta_dot + tau * thetaacc])
        cost = cost + theta**2 + 0.1 * x**2 + 0.001 * force**2
    return cost


# An integro-differential equation on a square


def _field_published(P: Any, top: Any) -> Any:
    nx, ny = P.shape
    hx, hy = 1.0 / (nx - 1), 1.0 / (ny - 1)
    d2x = np.zeros_like(P)
    d2y = np.zeros_like(P)
    d2x[1:-1] = (P[2:] - 2 * P[1:-1] + P[:-2]) / hx / hx
    d2x[0] = (P[1] - 2 * P[0]) / hx / hx
    d2x[-1] = (-2 * P[-1] + P[-2]) / hx / hx
    d2y[:, 1:-1] = (P[:, 2:] - 2 * P[:, 1:-1] + P[:, :-2]) / hy / hy
    d2y[:, 0] = (P[:, 1] - 2 * P[:, 0]) / hy / hy
    d2y[:, -1] = (top - 2 * P[:, -1] + P[:, -2]) / hy / hy
    return d2x + d2y - 10 * np.cosh(P).mean() ** 2


def _field_ported(P: Any, top: Any) -> Any:
    nx, ny = P.shape
    hx, hy = 1.0 / (nx - 1), 1.0 / (ny - 1)
    d2x = np.zeros_like(P)
    d2y = np.zeros_like(P)
    d2x = bs.set(d2x, np.s_[1:-1], (P[2:] - 2 * P[1:-1] + P[:-2]) / hx / hx)
    d2x = bs.set(d2x, 0, (P[1] - 2 * P[0]) / hx / hx)
    d2x = bs.set(d2x, -1, (-2 * P[-1] + P[-2]) / hx / hx)
    d2y = bs.set(d2y, np.s_[:, 1:-1], (P[:, 2:] - 2 * P[:, 1:-1] + P[:, :-2]) / hy / hy)
    d2y = bs.set(d2y, np.s_[:, 0], (P[:, 1] - 2 * P[:, 0]) / hy / hy)
    d2y = bs.set(d2y, np.s_[:, -1], (top - 2 * P[:, -1] + P[:, -2]) / hy / hy)
    return d2x + d2y - 10 * np.cosh(P).mean() ** 2


def _field_slope(P: Array, top: Array) -> Arrays:
    """The Laplacian is linear, a matrix on each axis; the mean adds -20 mean(cosh P) sinh(P_j) / n to every row."""
    nx, ny = P.shape

    def second(n: int) -> Array:
        return (n - 1) ** 2 * (np.eye(n, k=1) + np.eye(n, k=-1) - 2 * np.eye(n))

    laplacian = np.kron(second(nx), np.eye(ny)) + np.kron(np.eye(nx), second(ny))
    mean = -20 * np.cosh(P).mean() * np.sinh(P).ravel() / P.size
    return {"P": (laplacian + mean).reshape(nx, ny, nx, ny)}


PORTS = (
    Port(
        "coupled springs",
        "SciPy Cookbook, CoupledSpringMassSystem (Warren Weckesser)",
        _springs_published,
        "bs.odeint, or its steps as bs.scan",
        "odeint replaced by steps of RK4 over the same times; the list of rates by np.stack",
        _springs_ported,
        _springs_make,
        complex_step(_springs_ported),  # of NumPy's values; odeint itself takes no complex ones
        close=1e-4,
    ),
    Port(
        "cart and pole",
        "Gym's CartPole environment, after Barto, Sutton and Anderson (1983), Neuronlike adaptive elements, eqs. on p. 845",
        _cart_published,
        "np.sin(x) for math.sin(x)",
        "math.cos and math.sin by np.cos and np.sin; np.array([...]) of the new state by np.stack",
        _cart_ported,
        lambda: ({"gains": np.array([-0.5, -1.0, -18.0, -3.0])}, {"start": np.array([0.1, 0.0, 0.15, -0.1])}),
        complex_step(_cart_ported),  # of NumPy's values; math.cos itself takes no complex ones
        tolerance=1e-11,  # the pole falls: rounding grows with it
    ),
    Port(
        "integro-differential equation",
        "SciPy tutorial, scipy.optimize, Root finding for large problems",
        _field_published,
        "bs.set(h, index, value)",
        "each d[index] = value by d = bs.set(d, index, value)",
        _field_ported,
        lambda: ({"P": np.random.default_rng(5).normal(size=(6, 5)) / 3}, {"top": np.linspace(0.5, 1.0, 6)}),
        _field_slope,
    ),
)
