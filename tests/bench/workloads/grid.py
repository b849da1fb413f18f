"""Half the square of the residual of a heat equation on a grid of 300 x 300: the gradient by the temperatures."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(size: int) -> Inputs:
    return Inputs({"u": np.random.default_rng(0).standard_normal((size, size))})


def residual(u: Any) -> Any:
    return 4 * u[1:-1, 1:-1] - u[2:, 1:-1] - u[:-2, 1:-1] - u[1:-1, 2:] - u[1:-1, :-2]


def loss(xp: Any, u: Any) -> Any:
    r = residual(u)
    return xp.sum(r * r) / 2


def gradient(u: Array) -> Array:
    r, c = residual(u), np.zeros_like(u)
    c[1:-1, 1:-1] = 4 * r
    c[2:, 1:-1] -= r
    c[:-2, 1:-1] -= r
    c[1:-1, 2:] -= r
    c[1:-1, :-2] -= r
    return c


WORKLOADS = (
    Workload(
        "heat equation gradient, 300 x 300",
        make,
        (300, 5),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
        },
    ),
)
