"""Twins of the ops on matrices.

An op that reads one triangle of a symmetric matrix is given the mirrored triangle, so that JAX differentiates the same function.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import linalg

from .arrays import rows

TWINS: dict[str, Callable[..., Any]] = {}


def mirrored(a: Any) -> Any:
    return jnp.tril(a) + jnp.swapaxes(jnp.tril(a, -1), -1, -2)


def _cofactors(a: Any) -> Any:
    """By minors; one matrix."""
    n = a.shape[-1]

    def minor(i: int, j: int) -> Any:
        return (-1) ** (i + j) * jnp.linalg.det(jnp.delete(jnp.delete(a, i, 0), j, 1)) if n > 1 else jnp.ones((), a.dtype)

    return jnp.stack([jnp.stack([minor(i, j) for j in range(n)]) for i in range(n)]) if n else a


def _einsum(*x: Any, labels: tuple[int, ...], output: tuple[int, ...]) -> Any:
    each = iter(labels)
    return jnp.einsum(*[part for a in x for part in (a, [next(each) for _ in range(a.ndim)])], list(output), precision="highest")


def _eigh(a: Any) -> tuple[Any, Any]:
    v, w = lax.linalg.eigh(mirrored(a), symmetrize_input=False)
    return w, v


def _lu(a: Any) -> tuple[Any, Any]:
    packed, _, order = lax.linalg.lu(a)
    return packed, order


def _lu_solve(packed: Any, order: Any, b: Any) -> Any:
    b = jnp.take_along_axis(b, order[..., None].astype(jnp.int64), -2)
    y = lax.linalg.triangular_solve(packed, b, left_side=True, lower=True, unit_diagonal=True)
    return lax.linalg.triangular_solve(packed, y, left_side=True, lower=False)


def _tridiagonal(low: Any, d: Any, up: Any, b: Any) -> Any:
    def dense(low: Any, d: Any, up: Any) -> Any:
        return jnp.diag(low, -1) + jnp.diag(d) + jnp.diag(up, 1)

    return jnp.linalg.solve(rows(dense)(low, d, up), b)


def _triangular_solve(a: Any, b: Any, lower: bool, transposed: bool, unit_diagonal: bool) -> Any:
    return lax.linalg.triangular_solve(a, b, left_side=True, lower=lower, transpose_a=transposed, unit_diagonal=unit_diagonal)


def _by_matrix(f: Callable[..., Any]) -> Callable[..., Any]:
    """f on matrices, over the axes before the last two of every operand."""

    def mapped(*x: Any) -> Any:
        return jax.vmap(mapped)(*x) if x[0].ndim > 2 else f(*x)

    return mapped


TWINS |= {
    "block_diag": _by_matrix(linalg.block_diag),
    "cho_solve": lambda c, b, lower: _by_matrix(lambda c, b: linalg.cho_solve((c, lower), b))(c, b),
    "cholesky": lambda a: jnp.linalg.cholesky(mirrored(a), symmetrize_input=False),
    "cofactors": _by_matrix(_cofactors),
    "convolve": lambda a, v, valid: rows(partial(jnp.convolve, mode="valid" if valid else "full", precision="highest"))(a, v),
    "cross": lambda a, b: jnp.cross(a, b),
    "det": lambda a: jnp.linalg.det(a) if a.size else jnp.ones(a.shape[:-2], a.dtype),
    "diagonal": lambda a, offset: jnp.diagonal(a, offset, -2, -1),
    "eigh": _eigh,
    "eigvalsh": lambda a: _eigh(a)[0],
    "einsum": _einsum,
    "expm": _by_matrix(linalg.expm),
    "expm_frechet": _by_matrix(partial(linalg.expm_frechet, compute_expm=False)),
    "inv": jnp.linalg.inv,
    "kron": _by_matrix(jnp.kron),
    "lstsq": _by_matrix(lambda a, b: jnp.linalg.lstsq(a, b)[0]),
    "lu": _lu,
    "lu_solve": _lu_solve,
    "matmul": partial(jnp.matmul, precision="highest"),
    "matrix_power": lambda a, power: jnp.linalg.matrix_power(a, power),
    "pinv": lambda a, rtol: jnp.linalg.pinv(a, rtol=rtol),
    "qr": lambda a: tuple(jnp.linalg.qr(a)),
    "slogdet": lambda a: tuple(jnp.linalg.slogdet(a)),
    "solve": jnp.linalg.solve,
    "svd": lambda a: tuple(jnp.linalg.svd(a, full_matrices=False)),
    "svdvals": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "trace": lambda a, offset: jnp.trace(a, offset, -2, -1),
    "triangular_solve": _triangular_solve,
    "tridiagonal_solve": _tridiagonal,
}
