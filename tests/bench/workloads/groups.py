"""A hierarchical Poisson regression: 100,000 counts in 500 groups, an intercept for each group and one slope."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(size: int) -> Inputs:
    random = np.random.default_rng(0)
    groups = max(1, size // 200)
    point = {"intercepts": 0.1 * random.standard_normal(groups), "slope": np.array(0.3)}
    data = {"group": random.integers(groups, size=size), "x": random.standard_normal(size), "y": random.poisson(3, size).astype(float)}
    return Inputs(point, data)


def loss(xp: Any, intercepts: Any, slope: Any, group: Any, x: Any, y: Any) -> Any:
    """Less its constant, with a standard normal prior of the intercepts."""
    rate = intercepts[group] + slope * x
    return xp.sum(xp.exp(rate) - y * rate) + xp.sum(intercepts * intercepts) / 2


def gradient(intercepts: Array, slope: Array, group: Array, x: Array, y: Array) -> tuple[Array, Array]:
    c = np.exp(intercepts[group] + slope * x) - y
    return np.bincount(group, c, len(intercepts)) + intercepts, np.asarray(c @ x)


WORKLOADS = (
    Workload(
        "hierarchical Poisson gradient, 1e5",
        make,
        (100_000, 40),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
        },
    ),
)
