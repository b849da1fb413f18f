"""Linear algebra by other means than the engine's kernels: textbook definitions, and SciPy one matrix at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import scipy.linalg as sl

from backsweep_engine.graph import Type
from backsweep_engine.ops.op import Example

from .graphs import F64, I64

Array = Any


def close(got: Any, wanted: Any, tolerance: float = 1e-12) -> None:
    """Absolutely and relatively: a few hundred roundings times a condition below 100 in the cases at hand, unless a row says otherwise."""
    assert got.shape == np.shape(wanted)
    np.testing.assert_allclose(got, wanted, rtol=tolerance, atol=tolerance)


def typed(x: Any) -> Type:
    array = np.asarray(x)
    return Type(array.dtype, array.shape)


def each(f: Callable[..., Any], *ranks: int) -> Callable[..., Any]:
    """f on operands of these ranks, over the axes before them; attributes go through."""

    def over(*x: Array, **attributes: Any) -> Any:
        lead = x[0].shape[: x[0].ndim - ranks[0]]
        results = [f(*[a[i] for a in x], **attributes) for i in np.ndindex(*lead)]
        if isinstance(results[0], tuple):
            return tuple(np.array(r).reshape(lead + np.shape(r[0])).astype(r[0].dtype) for r in zip(*results, strict=True))
        return np.array(results).reshape(lead + np.shape(results[0]))

    return over


def determinant(a: Array) -> Any:
    """By Leibniz' formula, in float64."""
    n = len(a)
    total = 0.0
    for p in itertools.permutations(range(n)):
        sign = (-1) ** sum(p[i] > p[j] for i in range(n) for j in range(i + 1, n))
        total += sign * math.prod(float(a[i, p[i]]) for i in range(n))
    return total


def cofactors(a: Array) -> Array:
    n = len(a)
    return np.array([[(-1) ** (i + j) * determinant(np.delete(np.delete(a, i, 0), j, 1)) for j in range(n)] for i in range(n)]).reshape(n, n)


def exponential(a: Array) -> Array:
    """Taylor's series with 50 digits."""
    with mpmath.workdps(50):
        return np.array(mpmath.expm(mpmath.matrix(a.tolist()), method="taylor").tolist(), np.float64).reshape(a.shape) if a.size else a


def tridiagonal(low: Array, d: Array, up: Array) -> Array:
    return np.diag(d) + np.diag(low, -1) + np.diag(up, 1)


def unpacked(packed: Array) -> tuple[Array, Array]:
    """L and U."""
    return np.tril(packed, -1) + np.eye(len(packed)), np.triu(packed)


def _lu(a: Array) -> tuple[Array, Array]:
    if not a.size:
        return a, np.zeros(0, np.int64)
    p, low, up = sl.lu(a)
    return np.tril(low, -1) + up, np.argmax(p, axis=0)


def _from_lower(a: Array) -> Array:
    return np.tril(a) + np.tril(a, -1).T


def _lstsq(a: Array, b: Array) -> Array:
    # The normal equations, of the first or of the second kind.
    return sl.solve(a.T @ a, a.T @ b) if len(a) >= len(a.T) else a.T @ sl.solve(a @ a.T, b)


_STACK, _NONE = F64[2, 2, 2], F64[0, 0]
_SIDES = [{"lower": a, "transposed": b, "unit_diagonal": c} for a in (True, False) for b in (True, False) for c in (True, False)]

MORE_MATRICES: dict[str, tuple[Example, ...]] = {
    **{name: (Example((_STACK,)), Example((F64[1, 1],)), Example((_NONE,))) for name in ("cholesky", "cofactors", "det", "eigh", "eigvalsh", "expm", "inv")},
    **{name: (Example((_STACK,)), Example((F64[1, 1],)), Example((_NONE,))) for name in ("lu", "qr", "slogdet", "svd", "svdvals")},
    "block_diag": (Example((F64[2, 1, 2], F64[2, 2, 2], F64[2, 0, 1])), Example((F64[2, 2],))),
    "diagonal": tuple(Example((F64[2, 2, 3],), {"offset": k}) for k in (-3, -1, 2, 5)),
    "expm_frechet": (Example((_STACK, _STACK)), Example((_NONE, _NONE))),
    "kron": (Example((F64[2, 2, 1], F64[2, 1, 3])),),
    "lstsq": (Example((F64[2, 3, 2], F64[2, 3, 1])), Example((F64[3, 3], F64[3, 0]))),
    "lu_solve": (Example((F64[2, 3, 3], I64[2, 3], F64[2, 3, 1])),),
    "matrix_power": tuple(Example((_STACK,), {"power": n}) for n in (-1, 0, 1, 2, 5)),
    "pinv": (Example((F64[2, 3, 2],), {"rtol": 1e-15}), Example((F64[0, 2],), {"rtol": 1e-15})),
    "solve": (Example((_NONE, F64[0, 2])), Example((F64[2, 2], F64[2, 0]))),
    "trace": (Example((F64[2, 2, 3],), {"offset": 1}), Example((F64[0, 0],), {"offset": 0})),
    "triangular_solve": tuple(Example((F64[3, 3], F64[3, 2]), a) for a in _SIDES[1:]) + (Example((_STACK, F64[2, 2, 1]), _SIDES[0]),),
    "tridiagonal_solve": (
        Example((F64[2, 1], F64[2, 2], F64[2, 1], F64[2, 2, 1])),
        Example((F64[0], F64[1], F64[0], F64[1, 2])),
        Example((F64[0], F64[0], F64[0], F64[0, 2])),
    ),
}
"""Stacks, matrices of one element and of none, every attribute."""

LINEAR_ALGEBRA: dict[str, Callable[..., Any]] = {
    "block_diag": lambda *x: each(sl.block_diag, *[2 for _ in x])(*x),
    "cho_solve": each(lambda c, b, lower: sl.cho_solve((c, lower), b), 2, 2),
    "cholesky": each(lambda a: sl.cholesky(_from_lower(a), lower=True), 2),
    "cofactors": each(lambda a: cofactors(a), 2),
    "det": each(lambda a: determinant(a), 2),
    "diagonal": lambda x, offset: np.diagonal(x, offset, -2, -1),
    "eigh": each(lambda a: sl.eigh(_from_lower(a), driver="evd"), 2),
    "eigvalsh": each(lambda a: np.sort(sl.eigvals(_from_lower(a)).real), 2),
    "expm": each(lambda a: exponential(a), 2),
    "expm_frechet": each(lambda a, e: sl.expm_frechet(a.astype(np.float64), e.astype(np.float64), compute_expm=False), 2, 2),
    "inv": each(lambda a: cofactors(a).T / determinant(a), 2),
    "kron": lambda a, b: each(np.kron, 2, 2)(a, b),
    "lstsq": each(_lstsq, 2, 2),
    "lu": each(_lu, 2),
    "lu_solve": each(lambda a, p, b: sl.inv(unpacked(a)[1]) @ sl.inv(unpacked(a)[0]) @ b[p], 2, 1, 2),
    "matrix_power": each(lambda a, power: np.linalg.matrix_power(a, power), 2),
    "pinv": each(lambda a, rtol: _lstsq(a, np.eye(len(a))), 2),
    "qr": each(lambda a: sl.qr(a, mode="economic"), 2),
    "slogdet": each(lambda a: (np.sign(determinant(a)), np.log(abs(determinant(a)))), 2),
    "solve": each(lambda a, b: cofactors(a).T @ b / determinant(a), 2, 2),
    "svd": each(lambda a: sl.svd(a, full_matrices=False), 2),
    "svdvals": each(lambda a: np.sqrt(np.sort(sl.eigvals(a.T @ a if len(a) >= len(a.T) else a @ a.T).real)[::-1]), 2),
    "trace": lambda x, offset: np.trace(x, offset, -2, -1, dtype=x.dtype),
    "triangular_solve": each(
        lambda a, b, lower, transposed, unit_diagonal: sl.solve_triangular(a, b, trans=int(transposed), lower=lower, unit_diagonal=unit_diagonal), 2, 2
    ),
    "tridiagonal_solve": each(lambda low, d, up, b: sl.solve(tridiagonal(low, d, up), b), 1, 1, 1, 2),
}
