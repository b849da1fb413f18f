"""The log posterior of a Gaussian mixture with a Wishart prior, as in ADBench (Srajer, Kukelova and Fitzgibbon 2018), less its constants.

icf: the logs of the diagonal, then the strict lower triangle, of each inverse covariance's factor Q.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload

GAMMA, M = 0.9, 1


def make(d: int, clusters: int, n: int) -> Inputs:
    random = np.random.default_rng(0)
    place = np.zeros((d, d), np.int64)  # in (0, entries of the triangle)
    place[np.tril_indices(d, -1)] = 1 + np.arange(d * (d - 1) // 2)
    point = {
        "alphas": random.standard_normal(clusters),
        "means": random.standard_normal((clusters, d)),
        "icf": 0.3 * random.standard_normal((clusters, d * (d + 1) // 2)),
    }
    return Inputs(point, {"x": random.standard_normal((n, d)), "place": place, "eye": np.eye(d), "none": np.zeros((clusters, 1))})


def loss(xp: Any, alphas: Any, means: Any, icf: Any, x: Any, place: Any, eye: Any, none: Any) -> Any:
    d = x.shape[1]
    logs, rest = icf[:, :d], icf[:, d:]
    scales, volume = xp.exp(logs), xp.sum(logs, 1)
    Q = xp.concatenate([none, rest], 1)[:, place] + eye * scales[:, None, :]
    away = x[None] - means[:, None]  # (clusters, n, d)
    white = away @ xp.swapaxes(Q, 1, 2)
    inside = alphas[:, None] + volume[:, None] - xp.sum(white * white, 2) / 2
    fit = xp.sum(xp.logsumexp(inside, 0)) - x.shape[0] * xp.logsumexp(alphas, 0)
    return fit + GAMMA**2 / 2 * (xp.sum(scales * scales) + xp.sum(rest * rest)) - M * xp.sum(volume)


def gradient(alphas: Array, means: Array, icf: Array, x: Array, place: Array, eye: Array, none: Array) -> tuple[Array, Array, Array]:
    """With responsibilities r: by Q, -sum_n r white away' ; by a mean, Q' sum_n r white."""
    n, d = x.shape
    logs, rest = icf[:, :d], icf[:, d:]
    Q = np.concatenate([none, rest], 1)[:, place] + eye * np.exp(logs)[:, None, :]
    away = x[None] - means[:, None]
    white = away @ Q.swapaxes(1, 2)
    inside = (alphas + logs.sum(1))[:, None] - np.einsum("knd,knd->kn", white, white) / 2
    r = np.exp(inside - inside.max(0))
    r /= r.sum(0)
    white *= r[..., None]
    by_Q = GAMMA**2 * Q - white.swapaxes(1, 2) @ away
    by_icf = np.empty_like(icf)
    by_icf[:, :d] = np.einsum("kii,kii->ki", by_Q, Q) + r.sum(1)[:, None] - M
    low = np.tril_indices(d, -1)
    by_icf[:, d:] = by_Q[:, low[0], low[1]]
    p = np.exp(alphas - alphas.max())
    return r.sum(1) - n * p / p.sum(), np.einsum("kij,ki->kj", Q, white.sum(1)), by_icf


def _size(name: str, d: int, clusters: int, n: int) -> Workload:
    return Workload(
        f"GMM gradient, {name}",
        lambda size: make(d, clusters, n) if size == d else make(size, size + 1, 5 * size),
        (d, 3),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(loss),
            "autograd": by_autograd.gradient(loss),
        },
    )


WORKLOADS = (_size("d=10 k=25", 10, 25, 1000), _size("d=64 k=50", 64, 50, 1000))
