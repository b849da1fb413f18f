"""The likelihood of a Kalman filter: 4 states, 2 of them seen at each of 200 steps; by the dynamics and the noises.

The covariance of what is seen is 2 x 2: the closed forms of its inverse and determinant stand in every program.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Inputs, Workload

STATES, SEEN = 4, 2


def make(steps: int) -> Inputs:
    random = np.random.default_rng(0)
    A = 0.8 * np.eye(STATES) + 0.1 * random.standard_normal((STATES, STATES))
    point = {"A": A, "log_q": 0.3 * random.standard_normal(STATES) - 1, "log_r": np.array(0.1)}
    return Inputs(point, {"c": random.standard_normal((SEEN, STATES)), "y": random.standard_normal((steps, SEEN))})


def step(xp: Any, m: Any, P: Any, seen: Any, A: Any, Q: Any, R: Any, c: Any) -> tuple[Any, Any, Any]:
    """The next mean and covariance, and what the observation adds to -2 log p, less its constant."""
    S = c @ P @ c.T + R
    e = seen - c @ m
    det = S[0, 0] * S[1, 1] - S[0, 1] * S[1, 0]
    w0, w1 = (S[1, 1] * e[0] - S[0, 1] * e[1]) / det, (S[0, 0] * e[1] - S[1, 0] * e[0]) / det
    gain = P @ c.T @ xp.stack([xp.stack([S[1, 1], -S[0, 1]]), xp.stack([-S[1, 0], S[0, 0]])]) / det
    return A @ (m + gain @ e), A @ (P - gain @ c @ P) @ A.T + Q, xp.log(det) + e[0] * w0 + e[1] * w1


def eager(xp: Any, A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    Q, R = xp.diag(xp.exp(log_q)), xp.exp(log_r) * xp.eye(SEEN)
    m, P, total = 0 * log_q, xp.eye(STATES), 0.0
    for t in range(len(y)):
        m, P, more = step(xp, m, P, y[t], A, Q, R, c)
        total = total + more
    return -total / 2


def by_torch_eager(xp: Any, A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    Q, R = xp.diag(xp.exp(log_q)), xp.exp(log_r) * xp.eye(SEEN, dtype=y.dtype)
    m, P, total = 0 * log_q, xp.eye(STATES, dtype=y.dtype), 0.0
    for t in range(len(y)):
        m, P, more = step(xp, m, P, y[t], A, Q, R, c)
        total = total + more
    return -total / 2


def by_backsweep_scan(xp: Any, A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    import backsweep as bs

    Q, R = np.diag(np.exp(log_q)), np.exp(log_r) * np.eye(SEEN)

    def one(carry: Any, seen: Any) -> Any:
        m, P, total = carry
        m, P, more = step(xp, m, P, seen, A, Q, R, c)
        return (m, P, total + more), None

    return -bs.scan(one, (np.zeros(STATES), np.eye(STATES), 0.0), y)[0][2] / 2


def by_jax_scan(xp: Any, A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    import jax

    Q, R = xp.diag(xp.exp(log_q)), xp.exp(log_r) * xp.eye(SEEN)

    def one(carry: Any, seen: Any) -> Any:
        m, P, more = step(xp, *carry, seen, A, Q, R, c)
        return (m, P), more

    _, more = jax.lax.scan(one, (xp.zeros(STATES), xp.eye(STATES)), y)
    return -xp.sum(more) / 2


def by_casadi_fold(ca: Any, A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    """The parameters travel with the state: a fold has no other inputs that stay."""
    names = {"A": (STATES, STATES), "q": (STATES, 1), "r": (1, 1), "m": (STATES, 1), "P": (STATES, STATES), "total": (1, 1)}
    a, q, r, m, P, total = (ca.SX.sym(name, *shape) for name, shape in names.items())
    seen = ca.SX.sym("seen", SEEN)
    S = c @ P @ c.T + ca.exp(r) * ca.SX.eye(SEEN)
    e, inverse = seen - c @ m, ca.inv(S)
    gain = P @ c.T @ inverse
    carried = [a @ (m + gain @ e), a @ (P - gain @ c @ P) @ a.T + ca.diag(ca.exp(q)), total + ca.log(ca.det(S)) + e.T @ inverse @ e]
    pack = lambda *parts: ca.vertcat(*[ca.vec(part) for part in parts])
    one = ca.Function("step", [pack(a, q, r, m, P, total), seen], [pack(a, q, r, *carried)])
    last = one.fold(y.shape[0])(pack(A, log_q, log_r, ca.DM.zeros(STATES), ca.DM.eye(STATES), 0), y.T)
    return -last[-1] / 2


WORKLOADS = (
    Workload(
        "Kalman filter gradient, 200 steps",
        make,
        (200, 4),
        {
            "hand": by_hand.of_zoo("kalman filter by fori_loop"),
            "backsweep": by_backsweep.gradient(by_backsweep_scan),
            "jax": by_jax.gradient(by_jax_scan),
            "torch": by_torch.gradient(by_torch_eager),
            "autograd": by_autograd.gradient(eager),
            "casadi": by_casadi.gradient(by_casadi_fold),
        },
    ),
)
