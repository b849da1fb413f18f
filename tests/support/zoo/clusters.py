"""Clusters: the log posterior of a Gaussian mixture with a Wishart prior, and k-means.

Both as in ADBench (Srajer, Kukelova and Fitzgibbon, A benchmark of selected algorithmic
differentiation tools, Optimization Methods and Software 33, 2018).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .problem import Array, Arrays, Problem, logsumexp, softmax


def _lower(d: int) -> Array:
    """Where the entries of a strictly lower triangle stand, column by column, in (0, entries...); 0 elsewhere."""
    place = np.zeros((d, d), int)
    below = [(i, j) for j in range(d) for i in range(j + 1, d)]
    for k, (i, j) in enumerate(below, 1):
        place[i, j] = k
    return place


def _constants(d: int, n: int, clusters: int, gamma: float, m: int) -> float:
    """The part of the log posterior that no parameter enters."""
    degrees = d + m + 1
    log_gamma = d * (d - 1) / 4 * math.log(math.pi) + sum(math.lgamma(degrees / 2 - j / 2) for j in range(d))
    prior = degrees * d * (math.log(gamma) - math.log(2) / 2) - log_gamma
    return -n * d / 2 * math.log(2 * math.pi) - clusters * prior


def _mixture(alphas: Any, means: Any, icf: Any, x: Any, gamma: float, m: int) -> Any:
    """icf: logs of the diagonal, then the strict lower triangle, of each inverse covariance's factor Q."""
    clusters, d = means.shape
    logs, rest = icf[:, :d], icf[:, d:]
    lower = np.take(np.concatenate([np.zeros((clusters, 1)), rest], axis=1), _lower(d), axis=1)
    away = x[:, None, :] - means  # (n, clusters, d)
    white = np.exp(logs) * away + (lower @ away[..., None])[..., 0]
    volume = np.sum(logs, axis=1)
    inside = alphas + volume - np.sum(white**2, axis=2) / 2
    top = np.max(inside, axis=1, keepdims=True)
    fit = np.sum(top[:, 0] + np.log(np.sum(np.exp(inside - top), axis=1)))
    weight = np.max(alphas) + np.log(np.sum(np.exp(alphas - np.max(alphas))))
    prior = gamma**2 / 2 * (np.sum(np.exp(2 * logs)) + np.sum(rest**2)) - m * np.sum(volume)
    return _constants(d, len(x), clusters, gamma, m) + fit - len(x) * weight + prior


def _mixture_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng([size, seed])
    d, clusters = size, size + 1
    point = {
        "alphas": random.standard_normal(clusters),
        "means": random.standard_normal((clusters, d)),
        "icf": 0.5 * random.standard_normal((clusters, d * (d + 1) // 2)),
    }
    return point, {"x": random.standard_normal((10 * size, d)), "gamma": 0.9, "m": 1}


def _mixture_exact(alphas: Any, means: Any, icf: Any, x: Any, gamma: float, m: int) -> tuple[Any, Arrays]:
    """By hand: with responsibilities r, the gradient of each -|Q (x - mu)|^2 / 2 + log det Q + alpha, weighed by r.

    By mu it is Q'Q (x - mu), by an entry (i, j) of Q minus (Q (x - mu))_i (x - mu)_j.
    """
    clusters, d = means.shape
    n = len(x)
    below = [(i, j) for j in range(d) for i in range(j + 1, d)]
    factors = np.zeros((clusters, d, d), icf.dtype)
    for k in range(clusters):
        factors[k] = np.diag(np.exp(icf[k, :d]))
        for e, (i, j) in enumerate(below):
            factors[k, i, j] = icf[k, d + e]
    away = x[:, None, :] - means
    white = np.einsum("kij,nkj->nki", factors, away)
    inside = alphas + icf[:, :d].sum(1) - (white * white).sum(2) / 2
    r = softmax(inside)
    by_factor = -np.einsum("nk,nki,nkj->kij", r, white, away) + gamma**2 * factors
    by_icf = np.zeros_like(icf)
    diagonal = np.arange(d)
    by_icf[:, :d] = by_factor[:, diagonal, diagonal] * factors[:, diagonal, diagonal] + r.sum(0)[:, None] - m
    for e, (i, j) in enumerate(below):
        by_icf[:, d + e] = by_factor[:, i, j]
    value = _constants(d, n, clusters, gamma, m) + logsumexp(inside).sum() - n * logsumexp(alphas)[0]
    value += gamma**2 / 2 * np.sum(factors**2) - m * icf[:, :d].sum()
    return value, {
        "alphas": r.sum(0) - n * softmax(alphas),
        "means": np.einsum("nk,kij,nki->kj", r, factors, white),
        "icf": by_icf,
    }


def _kmeans(centers: Any, points: Any) -> Any:
    away = points[:, None, :] - centers
    return np.sum(np.min(np.sum(away * away, axis=2), axis=1))


def _kmeans_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """Points in clouds: none is about as far from two centres, where there is a kink."""
    random = np.random.default_rng([size, seed])
    centers = 4.0 * np.stack([np.arange(size), np.arange(size) % 2], axis=1)
    points = np.repeat(centers, 7, axis=0) + 0.4 * random.standard_normal((7 * size, 2))
    return {"centers": centers + 0.3 * random.standard_normal(centers.shape)}, {"points": points}


def _nearest(centers: Any, points: Any) -> Array:
    """(points, centers): 1 for the nearest one."""
    away = np.linalg.norm(points[:, None, :] - centers, axis=2)
    nearest: Array = np.eye(len(centers))[np.argmin(away, axis=1)]
    return nearest


def _kmeans_exact(centers: Any, points: Any) -> tuple[Any, Arrays]:
    """2 (count c - the sum of the points that are nearest to c): Bottou and Bengio 1994, with twice their loss."""
    mine = _nearest(centers, points)
    away = points - mine @ centers
    return np.sum(away * away), {"centers": 2 * (mine.sum(0)[:, None] * centers - mine.T @ points)}


def _kmeans_hvp(tangent: Arrays, centers: Any, points: Any) -> Arrays:
    """The Hessian is diagonal: twice the counts."""
    return {"centers": 2 * _nearest(centers, points).sum(0)[:, None] * tangent["centers"]}


PROBLEMS = (
    Problem("gaussian mixture", _mixture, _mixture_make, _mixture_exact, (2, 4), single=2e-5),
    Problem("k-means", _kmeans, _kmeans_make, _kmeans_exact, (2, 6), _kmeans_hvp, single=1e-5),
)
