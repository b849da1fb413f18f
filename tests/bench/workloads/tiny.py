"""sum(x * x) of three numbers: what a call costs beside its arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Inputs, Workload


def make(size: int) -> Inputs:
    return Inputs({"x": np.random.default_rng(0).standard_normal(size)})


def loss(xp: Any, x: Any) -> Any:
    return xp.sum(x * x)


def by_sumsqr(ca: Any, x: Any) -> Any:
    return ca.sumsqr(x)


WORKLOADS = (
    Workload(
        "tiny gradient, d=3",
        make,
        (3, 3),
        {
            "hand": by_hand.derivative(lambda x: 2 * x),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
            "casadi": by_casadi.gradient(by_sumsqr, "SX"),
        },
    ),
)
