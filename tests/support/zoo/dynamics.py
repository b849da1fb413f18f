"""Dynamics: Runge-Kutta through Lorenz's equations, the Brusselator's right-hand side, an implicit layer."""

from __future__ import annotations

from typing import Any

import numpy as np

import backsweep as bs

from .problem import Arrays, Problem


def _lorenz(x: Any, theta: Any, target: Any, h: float) -> Any:
    """Half the squared distance of the path from the target, a row a step (Lorenz 1963, classical RK4)."""

    loss = 0.0
    for seen in target:
        x = _runge_kutta(x, theta, h)
        loss = loss + np.sum((x - seen) ** 2) / 2
    return loss


def _runge_kutta(x: Any, theta: Any, h: float) -> Any:
    def slope(x: Any) -> Any:
        return np.stack([theta[0] * (x[1] - x[0]), x[0] * (theta[1] - x[2]) - x[1], x[0] * x[1] - theta[2] * x[2]])

    k1 = slope(x)
    k2 = slope(x + h / 2 * k1)
    k3 = slope(x + h / 2 * k2)
    k4 = slope(x + h * k3)
    return x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


def _lorenz_loop(x: Any, theta: Any, target: Any, h: float) -> Any:
    def step(x: Any, seen: Any) -> Any:
        x = _runge_kutta(x, theta, h)
        return x, np.sum((x - seen) ** 2)

    return np.sum(bs.scan(step, x, target, checkpoint=3)[1]) / 2


def _lorenz_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` steps."""
    random = np.random.default_rng([size, seed])
    point = {"x": np.array([1.0, 2.0, 20.0]) + random.standard_normal(3), "theta": np.array([10.0, 28.0, 8 / 3])}
    return point, {"target": 5 * random.standard_normal((size, 3)), "h": 0.02}


def _lorenz_exact(x: Any, theta: Any, target: Any, h: float) -> tuple[Any, Arrays]:
    """The discrete adjoint of RK4 by hand: the stages in reverse, each times the Jacobian where it was taken.

    Hager, Runge-Kutta methods in optimal control and the transformed adjoint system, Numer. Math. 87 (2000).
    """
    s, r, b = theta

    def slope(x: Any) -> Any:
        return np.array([s * (x[1] - x[0]), x[0] * (r - x[2]) - x[1], x[0] * x[1] - b * x[2]])

    def by_state(x: Any) -> Any:
        return np.array([[-s, s, 0], [r - x[2], -1, -x[0]], [x[1], x[0], -b]])

    def by_theta(x: Any) -> Any:
        zero = 0 * x[0]
        return np.array([[x[1] - x[0], zero, zero], [zero, x[0], zero], [zero, zero, -x[2]]])

    tape, loss = [], 0.0
    for seen in target:
        p1 = x
        k1 = slope(p1)
        p2 = x + h / 2 * k1
        k2 = slope(p2)
        p3 = x + h / 2 * k2
        k3 = slope(p3)
        p4 = x + h * k3
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(p4))
        tape.append(((p1, p2, p3, p4), x - seen))
        loss = loss + np.sum((x - seen) ** 2) / 2
    by_x, by_t = np.zeros_like(x), np.zeros_like(x)
    for (p1, p2, p3, p4), error in reversed(tape):
        by_x = by_x + error
        c4 = h / 6 * by_x
        u4 = by_state(p4).T @ c4
        c3 = h / 3 * by_x + h * u4
        u3 = by_state(p3).T @ c3
        c2 = h / 3 * by_x + h / 2 * u3
        u2 = by_state(p2).T @ c2
        c1 = h / 6 * by_x + h / 2 * u2
        by_t = by_t + sum(by_theta(p).T @ c for p, c in ((p1, c1), (p2, c2), (p3, c3), (p4, c4)))
        by_x = by_x + by_state(p1).T @ c1 + u2 + u3 + u4
    return loss, {"x": by_x, "theta": by_t}


def _brusselator(w: Any, a: float, b: float, diffusion: float) -> Any:
    """du/dt and dv/dt of the reaction on a line, rows of w; the ends are held at u = a, v = b / a.

    Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, II.10.
    """
    u, v = w
    left, right = np.array([[a], [b / a]]), np.array([[a], [b / a]])
    padded = np.concatenate([left, w, right], axis=1)
    spread = diffusion * (padded[:, :-2] - 2 * w + padded[:, 2:])
    return np.stack([a + u**2 * v - (b + 1) * u, b * u - u**2 * v]) + spread


def _brusselator_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng([size, seed])
    return {"w": 1 + random.random((2, size))}, {"a": 1.0, "b": 3.0, "diffusion": 0.02 * (size + 1) ** 2}


def _brusselator_exact(w: Any, a: float, b: float, diffusion: float) -> tuple[Any, Arrays]:
    """By hand: four blocks, two diagonal and two tridiagonal."""
    u, v = w
    n = u.size
    line = np.zeros((n, n)) - 2 * np.eye(n) + np.eye(n, k=1) + np.eye(n, k=-1)
    ends = np.zeros(n)
    ends[0] += 1
    ends[-1] += 1
    value = np.stack([a + u * u * v - (b + 1) * u, b * u - u * u * v]) + diffusion * (w @ line.T + np.outer([a, b / a], ends))
    jacobian = np.zeros((2, n, 2, n))
    jacobian[0, :, 0] = np.diag(2 * u * v - b - 1) + diffusion * line
    jacobian[0, :, 1] = np.diag(u * u)
    jacobian[1, :, 0] = np.diag(b - 2 * u * v)
    jacobian[1, :, 1] = np.diag(-u * u) + diffusion * line
    return value, {"w": jacobian}


def _implicit(W: Any, U: Any, b: Any, x: Any, y: Any, steps: int) -> Any:
    """A layer whose output solves z = tanh(z W + x U + b), by so many iterations that it is solved."""
    z = np.zeros_like(y)
    drive = x @ U + b
    for _ in range(steps):
        z = np.tanh(z @ W + drive)
    return np.sum((z - y) ** 2) / 2


def _implicit_loop(W: Any, U: Any, b: Any, x: Any, y: Any, steps: int) -> Any:
    """The same until nothing moves any more, or the steps are used up (far off, where it does not contract)."""
    drive = x @ U + b

    def moving(carry: Any) -> Any:
        k, z, before = carry
        return (k < 2 * steps) & (np.max(np.abs(z - before)) > 1e-15)

    def step(carry: Any) -> Any:
        k, z, _ = carry
        return k + 1, np.tanh(z @ W + drive), z

    _, z, _ = bs.while_loop(moving, step, (0, np.zeros(y.shape), np.ones(y.shape)), max_trips=2 * steps)
    return np.sum((z - y) ** 2) / 2


def _implicit_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """W has norm 0.3, so that 30 steps leave 0.3^30 = 2e-16 of the error."""
    random = np.random.default_rng([size, seed])
    W = random.standard_normal((size, size))
    point = {"W": 0.3 * W / np.linalg.norm(W, 2), "U": random.standard_normal((2, size)), "b": 0.5 * random.standard_normal(size)}
    return point, {"x": random.standard_normal((4, 2)), "y": random.standard_normal((4, size)), "steps": 30}


def _implicit_exact(W: Any, U: Any, b: Any, x: Any, y: Any, steps: int) -> tuple[Any, Arrays]:
    """The implicit function theorem at the solution: with D = diag(1 - z^2), c = D (z - y + W c) for each row.

    Bai, Kolter and Koltun, Deep equilibrium models, 2019, theorem 1. It knows nothing of the iterations.
    """
    z = np.zeros(y.shape, np.result_type(W, U, b))
    for _ in range(2 * steps):
        z = np.tanh(z @ W + x @ U + b)
    slope = 1 - z * z
    c = np.stack([np.linalg.solve(np.eye(len(W)) - d[:, None] * W, d * e) for d, e in zip(slope, z - y, strict=True)])
    return np.sum((z - y) ** 2) / 2, {"W": z.T @ c, "U": x.T @ c, "b": c.sum(0)}


PROBLEMS = (
    Problem("lorenz by rk4", _lorenz, _lorenz_make, _lorenz_exact, (2, 5), single=1e-5),
    Problem("lorenz by scan", _lorenz_loop, _lorenz_make, _lorenz_exact, (3, 20), single=1e-5),
    Problem("brusselator", _brusselator, _brusselator_make, _brusselator_exact, (4, 30)),
    Problem("implicit layer", _implicit, _implicit_make, _implicit_exact, (2, 5), single=1e-5),
    Problem("implicit layer by while_loop", _implicit_loop, _implicit_make, _implicit_exact, (2, 6)),
)
