"""Logistic regression: the gradient over 10,000 x 100, the Hessian in 200 dimensions over 2,000 rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(rows: int, columns: int) -> Inputs:
    random = np.random.default_rng(0)
    X = random.standard_normal((rows, columns))
    w = random.standard_normal(columns) / np.sqrt(columns)
    return Inputs({"w": w}, {"X": X, "y": (random.random(rows) < 0.5).astype(float)})


def loss(xp: Any, w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return xp.mean(xp.softplus(z) - y * z)


def by_torch_loss(xp: Any, w: Any, X: Any, y: Any) -> Any:
    return xp.nn.functional.binary_cross_entropy_with_logits(X @ w, y)


def by_casadi_loss(ca: Any, w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return ca.sum1(ca.log1p(ca.exp(z)) - y * z) / X.shape[0]


def gradient(w: Array, X: Array, y: Array) -> Array:
    """X' (p - y) / n."""
    return X.T @ (1 / (1 + np.exp(-(X @ w))) - y) / len(X)


def hessian(w: Array, X: Array, y: Array) -> Array:
    """X' diag(p (1 - p)) X / n."""
    p = 1 / (1 + np.exp(-(X @ w)))
    return (X.T * (p * (1 - p) / len(X))) @ X


WORKLOADS = (
    Workload(
        "logistic regression gradient",
        lambda size: make(10_000 * size // 100, size),
        (100, 3),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(by_torch_loss),
            "autograd": by_autograd.gradient(loss),
            "casadi": by_casadi.gradient(by_casadi_loss),
        },
    ),
    Workload(
        "logistic regression Hessian, 200",
        lambda size: make(10 * size, size),
        (200, 4),
        {
            "hand": by_hand.derivative(hessian),
            "backsweep": by_backsweep.hessian(loss),
            "jax": by_jax.hessian(loss),
            "torch": by_torch.hessian(by_torch_loss),
            "autograd": by_autograd.hessian(loss),
            "casadi": by_casadi.hessian(by_casadi_loss),
        },
        scalar=False,
    ),
)
