"""Rosenbrock's function in d dimensions: 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2, summed; its gradient, and with it an HVP."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(size: int) -> Inputs:
    return Inputs({"x": np.random.default_rng(0).standard_normal(size)})


def make_seeded(size: int) -> Inputs:
    random = np.random.default_rng(0)
    return Inputs({"x": random.standard_normal(size)}, seeds=(random.standard_normal(size),))


def loss(xp: Any, x: Any) -> Any:
    return xp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def by_sumsqr(ca: Any, x: Any) -> Any:
    return 100 * ca.sumsqr(x[1:] - x[:-1] ** 2) + ca.sumsqr(1 - x[:-1])


def gradient(x: Array) -> Array:
    a = x[:-1]
    t = x[1:] - a * a
    g = np.empty_like(x)
    g[:-1] = -400 * a * t - 2 * (1 - a)
    g[-1] = 0
    g[1:] += 200 * t
    return g


def gradient_and_hvp(x: Array, v: Array) -> tuple[Array, Array]:
    """The Hessian is tridiagonal."""
    a = x[:-1]
    h = np.empty_like(x)
    h[:-1] = (1200 * a * a - 400 * x[1:] + 2) * v[:-1] - 400 * a * v[1:]
    h[-1] = 0
    h[1:] += 200 * v[1:] - 400 * a * v[:-1]
    return gradient(x), h


def _gradient(name: str, size: int, kind: str) -> Workload:
    return Workload(
        f"rosenbrock gradient, d={name}",
        make,
        (size, 5),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
            "casadi": by_casadi.gradient(by_sumsqr, kind),
        },
    )


def _second(name: str, size: int, kind: str) -> Workload:
    return Workload(
        f"rosenbrock gradient + HVP, d={name}",
        make_seeded,
        (size, 5),
        {
            "hand": by_hand.derivative(gradient_and_hvp),
            "backsweep": by_backsweep.gradient_and_hvp(loss),
            "jax": by_jax.gradient_and_hvp(loss),
            "torch": by_torch.gradient_and_hvp(loss),
            "autograd": by_autograd.gradient_and_hvp(loss),
            "casadi": by_casadi.gradient_and_hvp(by_sumsqr, kind),
        },
        scalar=False,
    )


SIZES = (("10", 10, "SX"), ("1000", 1000, "SX"), ("1e6", 1_000_000, "MX"))

WORKLOADS = (*[_gradient(*size) for size in SIZES], *[_second(*size) for size in SIZES])
