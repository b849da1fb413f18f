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
    """Q (x - mu) as one product for all clusters, Q x less Q mu."""
    (n, d), clusters = x.shape, len(alphas)
    logs, rest = icf[:, :d], icf[:, d:]
    scales, volume = xp.exp(logs), xp.sum(logs, 1)
    Q = xp.concatenate([none, rest], 1)[:, place] + eye * scales[:, None, :]
    moved = xp.reshape(Q @ means[:, :, None], (clusters * d,))
    white = xp.reshape(x @ xp.reshape(Q, (clusters * d, d)).T - moved, (n, clusters, d))
    inside = alphas + volume - xp.sum(white * white, 2) / 2
    fit = xp.sum(xp.logsumexp(inside, 1)) - n * xp.logsumexp(alphas, 0)
    return fit + GAMMA**2 / 2 * (xp.sum(scales * scales) + xp.sum(rest * rest)) - M * xp.sum(volume)


def gradient(alphas: Array, means: Array, icf: Array, x: Array, place: Array, eye: Array, none: Array) -> tuple[Array, Array, Array]:
    """With responsibilities r: by Q, -sum_n r white (x - mu)' ; by a mean, Q' sum_n r white."""
    (n, d), k = x.shape, len(alphas)
    logs, rest = icf[:, :d], icf[:, d:]
    Q = np.concatenate([none, rest], 1)[:, place] + eye * np.exp(logs)[:, None, :]
    white = x @ Q.reshape(k * d, d).T
    white -= np.einsum("kij,kj->ki", Q, means).ravel()
    cubes = white.reshape(n, k, d)
    r = alphas + logs.sum(1) - np.einsum("nkd,nkd->nk", cubes, cubes) / 2
    r -= r.max(1, keepdims=True)
    np.exp(r, out=r)
    r /= r.sum(1, keepdims=True)
    cubes *= r[:, :, None]
    total = cubes.sum(0)
    by_Q = GAMMA**2 * Q + total[:, :, None] * means[:, None, :] - (white.T @ x).reshape(k, d, d)
    by_icf = np.empty_like(icf)
    by_icf[:, :d] = np.einsum("kii,kii->ki", by_Q, Q) + r.sum(0)[:, None] - M
    low = np.tril_indices(d, -1)
    by_icf[:, d:] = by_Q[:, low[0], low[1]]
    p = np.exp(alphas - alphas.max())
    return r.sum(0) - n * p / p.sum(), np.einsum("kij,ki->kj", Q, total), by_icf


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
