"""Matrices: the determinant by minors, and the marginal likelihood of a Gaussian process."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from .problem import Arrays, Problem


def _determinant(A: Any) -> Any:
    """Laplace's expansion along the first row that is left; equal minors are computed once."""

    @cache
    def minor(row: int, columns: tuple[int, ...]) -> Any:
        if row == len(A):
            return 1.0
        signs = [1, -1] * len(columns)
        return sum(s * A[row, c] * minor(row + 1, tuple(k for k in columns if k != c)) for s, c in zip(signs, columns, strict=False))

    return minor(0, tuple(range(len(A))))


def _determinant_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    return {"A": np.eye(size) + 0.5 * np.random.default_rng([size, seed]).standard_normal((size, size))}, {}


def _determinant_exact(A: Any) -> tuple[Any, Arrays]:
    """Jacobi: the gradient is the matrix of cofactors, det(A) inv(A)'."""
    return np.linalg.det(A), {"A": np.linalg.det(A) * np.linalg.inv(A).T}


def _determinant_hvp(tangent: Arrays, A: Any) -> Arrays:
    """d (det A inv(A)') = det A (tr(inv(A) T) inv(A) - inv(A) T inv(A))'."""
    B, T = np.linalg.inv(A), tangent["A"]
    return {"A": np.linalg.det(A) * (np.trace(B @ T) * B - B @ T @ B).T}


def _process(logs: Any, x: Any, y: Any) -> Any:
    """-log p(y) under a squared-exponential kernel; logs of its length, its height and the noise."""
    length, height, noise = np.exp(logs[0]), np.exp(logs[1]), np.exp(logs[2])
    apart = np.sum((x[:, None, :] - x) ** 2, axis=2)
    K = height**2 * np.exp(-apart / (2 * length**2)) + noise**2 * np.eye(len(y))
    L = np.linalg.cholesky(K)
    z = np.linalg.solve(L, y)
    return z @ z / 2 + np.sum(np.log(np.diagonal(L))) + len(y) / 2 * np.log(2 * np.pi)


def _process_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` observations in the plane."""
    random = np.random.default_rng([size, seed])
    logs = np.log([1.0, 1.2, 0.5]) + 0.1 * random.standard_normal(3)
    return {"logs": logs}, {"x": 2 * random.standard_normal((size, 2)), "y": random.standard_normal(size)}


def _process_exact(logs: Any, x: Any, y: Any) -> tuple[Any, Arrays]:
    """tr((inv(K) - a a') dK) / 2, a = inv(K) y: Rasmussen and Williams, Gaussian Processes, 2006, (5.9)."""
    length, height, noise = np.exp(logs)
    apart = ((x[:, None, :] - x) ** 2).sum(2)
    smooth = height**2 * np.exp(-apart / (2 * length**2))
    K = smooth + noise**2 * np.eye(len(y))
    inverse = np.linalg.inv(K)
    a = inverse @ y
    moves = (smooth * apart / length**2, 2 * smooth, 2 * noise**2 * np.eye(len(y)))
    value = y @ a / 2 + np.linalg.slogdet(K)[1] / 2 + len(y) / 2 * np.log(2 * np.pi)
    return value, {"logs": np.array([np.sum((inverse - np.outer(a, a)) * dK) / 2 for dK in moves])}


PROBLEMS = (
    Problem("determinant by minors", _determinant, _determinant_make, _determinant_exact, (3, 5), _determinant_hvp, single=2e-5),
    # The condition of K is at most height^2 size / noise^2, some 100.
    Problem("gaussian process", _process, _process_make, _process_exact, (5, 20), single=1e-4),
)
