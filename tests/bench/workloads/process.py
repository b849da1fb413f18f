"""The marginal likelihood of a Gaussian process over 400 points, by the logs of its length, its height and the noise."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(size: int) -> Inputs:
    random = np.random.default_rng(0)
    logs = np.log([1.0, 1.2, 0.5])
    return Inputs({"logs": logs}, {"x": 2 * random.standard_normal((size, 2)), "y": random.standard_normal(size), "eye": np.eye(size)})


def loss(xp: Any, logs: Any, x: Any, y: Any, eye: Any) -> Any:
    """-log p(y), less its constant."""
    length, height, noise = xp.exp(logs[0]), xp.exp(logs[1]), xp.exp(logs[2])
    apart = xp.sum((x[:, None, :] - x) ** 2, 2)
    L = xp.linalg.cholesky(height**2 * xp.exp(-apart / (2 * length**2)) + noise**2 * eye)
    z = xp.solve_triangular(L, y, lower=True)
    return z @ z / 2 + xp.sum(xp.log(xp.diagonal(L, 0, -1, -2)))


def gradient(logs: Array, x: Array, y: Array, eye: Array) -> Array:
    """tr((inv(K) - a a') dK) / 2, a = inv(K) y: Rasmussen and Williams, Gaussian Processes, 2006, (5.9)."""
    from scipy.linalg import cho_factor, cho_solve

    length, height, noise = np.exp(logs)
    apart = ((x[:, None, :] - x) ** 2).sum(2)
    smooth = height**2 * np.exp(apart / (-2 * length**2))
    factor = cho_factor(smooth + noise**2 * eye, lower=True)
    a = cho_solve(factor, y)
    by_K = (cho_solve(factor, eye) - np.outer(a, a)) / 2
    by_smooth = by_K * smooth
    return np.array([np.vdot(by_smooth, apart) / length**2, 2 * by_smooth.sum(), 2 * noise**2 * np.trace(by_K)])


WORKLOADS = (
    Workload(
        "GP marginal likelihood, n=400",
        make,
        (400, 5),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
        },
    ),
)
