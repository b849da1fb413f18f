"""1000 steps of classical Runge-Kutta through Lotka and Volterra's equations: the gradient by two initial values and four rates.

Two rows: the mode the plan chooses against each peer's best mode, and reverse mode against reverse mode.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload

H = 0.01


def make(size: int) -> Inputs:
    return Inputs({"u": np.array([1.0, 0.7, 1.1, 0.6, 0.9, 0.5])}, static={"steps": size})


def step(x: Any, y: Any, a: Any, b: Any, c: Any, d: Any) -> tuple[Any, Any]:
    def slope(x: Any, y: Any) -> tuple[Any, Any]:
        return x * (a - b * y), y * (d * x - c)

    k1, l1 = slope(x, y)
    k2, l2 = slope(x + H / 2 * k1, y + H / 2 * l1)
    k3, l3 = slope(x + H / 2 * k2, y + H / 2 * l2)
    k4, l4 = slope(x + H * k3, y + H * l3)
    return x + H / 6 * (k1 + 2 * (k2 + k3) + k4), y + H / 6 * (l1 + 2 * (l2 + l3) + l4)


def eager(xp: Any, u: Any, steps: int) -> Any:
    x, y, *rates = [u[k] for k in range(6)]
    for _ in range(steps):
        x, y = step(x, y, *rates)
    return x * x + y * y


def by_backsweep_loop(xp: Any, u: Any, steps: int) -> Any:
    import backsweep as bs

    rates = [u[k] for k in range(2, 6)]
    x, y = bs.fori_loop(0, steps, lambda _, carry: step(*carry, *rates), (u[0], u[1]))
    return x * x + y * y


def by_jax_loop(xp: Any, u: Any, steps: int) -> Any:
    import jax

    rates = [u[k] for k in range(2, 6)]
    x, y = jax.lax.fori_loop(0, steps, lambda _, carry: step(*carry, *rates), (u[0], u[1]))
    return x * x + y * y


def by_casadi_fold(ca: Any, u: Any, steps: int) -> Any:
    """The rates travel with the state: a fold has no other inputs that stay."""
    w = ca.SX.sym("w", 6)
    x, y = step(w[0], w[1], w[2], w[3], w[4], w[5])
    last = ca.Function("step", [w], [ca.vertcat(x, y, w[2:])]).fold(steps)(u)
    return last[0] ** 2 + last[1] ** 2


def gradient(u: Array, steps: int) -> Array:
    """The discrete adjoint on Python's floats: the stages in reverse, each through the Jacobian where it was taken."""
    x, y, a, b, c, d = u.tolist()
    kept = []
    for _ in range(steps):
        x1, y1 = x, y
        k1, l1 = x1 * (a - b * y1), y1 * (d * x1 - c)
        x2, y2 = x + H / 2 * k1, y + H / 2 * l1
        k2, l2 = x2 * (a - b * y2), y2 * (d * x2 - c)
        x3, y3 = x + H / 2 * k2, y + H / 2 * l2
        k3, l3 = x3 * (a - b * y3), y3 * (d * x3 - c)
        x4, y4 = x + H * k3, y + H * l3
        k4, l4 = x4 * (a - b * y4), y4 * (d * x4 - c)
        x, y = x + H / 6 * (k1 + 2 * (k2 + k3) + k4), y + H / 6 * (l1 + 2 * (l2 + l3) + l4)
        kept.append((x1, y1, x2, y2, x3, y3, x4, y4))
    p, q = 2 * x, 2 * y
    by_a = by_b = by_c = by_d = 0.0
    for x1, y1, x2, y2, x3, y3, x4, y4 in reversed(kept):
        r, s = p, q
        m = n = 0.0
        for xs, ys, weight, reach in ((x4, y4, H / 6, H), (x3, y3, H / 3, H / 2), (x2, y2, H / 3, H / 2), (x1, y1, H / 6, 0.0)):
            # Of the stage's slope: its weight in the step, and through the stage after it. `reach` is how the next earlier stage enters here.
            k, l = weight * p + m, weight * q + n
            by_a += k * xs
            by_b -= k * xs * ys
            by_c -= l * ys
            by_d += l * xs * ys
            bx, by = k * (a - b * ys) + l * d * ys, l * (d * xs - c) - k * b * xs
            r, s = r + bx, s + by
            m, n = reach * bx, reach * by
        p, q = r, s
    return np.array([p, q, by_a, by_b, by_c, by_d])


WORKLOADS = (
    Workload(
        "1000-step RK4 gradient",
        make,
        (1000, 4),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(by_backsweep_loop),
            "jax": by_jax.forward_gradient(by_jax_loop),
            "torch": by_torch.gradient(eager),
            "autograd": by_autograd.gradient(eager),
            "casadi": by_casadi.gradient(by_casadi_fold),
        },
    ),
    Workload(
        "1000-step RK4 gradient, reverse",
        make,
        (1000, 4),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.reverse_gradient(by_backsweep_loop),
            "jax": by_jax.gradient(by_jax_loop),
            "torch": by_torch.gradient(eager),
            "autograd": by_autograd.gradient(eager),
            "casadi": by_casadi.gradient(by_casadi_fold),
        },
        scalar=False,
    ),
)
