"""Twenty elementwise ops in a row on a long vector: memory and trigonometry."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload

ROUNDS = 5


def make(size: int) -> Inputs:
    return Inputs({"x": np.random.default_rng(0).standard_normal(size)})


def loss(xp: Any, x: Any) -> Any:
    y = x
    for _ in range(ROUNDS):
        y = xp.sin(y)
        y = y * y
        y = y + x
        y = y * 0.5
    return xp.sum(y)


def by_sum1(ca: Any, x: Any) -> Any:
    y = x
    for _ in range(ROUNDS):
        y = 0.5 * (ca.sin(y) ** 2 + x)
    return ca.sum1(y)


def gradient(x: Array) -> Array:
    y, kept = x, []
    for _ in range(ROUNDS):
        s = np.sin(y)
        kept.append((s, np.cos(y)))
        y = 0.5 * (s * s + x)
    by_y, by_x = np.ones_like(x), np.zeros_like(x)
    for s, c in reversed(kept):
        by_y *= 0.5
        by_x += by_y
        by_y *= 2 * s * c
    return by_x + by_y


WORKLOADS = (
    Workload(
        "20-op chain, 1e6",
        make,
        (1_000_000, 7),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
            "casadi": by_casadi.gradient(by_sum1),
        },
    ),
)
