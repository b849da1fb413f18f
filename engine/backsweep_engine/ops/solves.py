"""Solves: A X = B for a matrix, a triangle of one, and one of three diagonals.

With Y = A^-1 B the tangent solves with the same A: A dY = dB - dA Y (Giles 2008, "An extended
collection of matrix derivative results for forward and reverse mode algorithmic differentiation",
2.3.1), and each solve is linear in B, which is how it is transposed. A singular A gives NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import call, constant
from .op import REALS, Cost, Domain, Example, Kind, Op, Tangent, Transposes, register, require, require_dtype
from .pieces import cut
from .shape import matrix_transpose as T
from .shape import moveaxis, reshape
from .stacked import (
    NONSINGULAR,
    SQUARE,
    columns,
    continued,
    dense_cost,
    filled,
    one_by_one,
    require_matrix,
    require_one_dtype,
    require_right_side,
    stacked,
    sum_of,
    triangle,
    whole,
)
from .term import Term

Array = Any
Types = tuple[Type, ...]
FLOAT64 = DTYPES["float64"]
COLUMNS = Type(FLOAT64, (3, 2))


def solved_infer(types: Types, **_: Any) -> Types:
    a, b = types
    require_matrix(a)
    require_right_side(a, b)
    return (b,)


def solve_batch(name: str, matrices: int) -> Callable[..., Any]:
    """With one matrix for all rows, the rows' right-hand sides stand beside each other: it is factorised once."""

    def batch(mask: tuple[bool, ...], *x: Term, **attributes: Any) -> Any:
        b = x[matrices]
        if any(mask[:matrices]):
            return whole(name)(mask, *x, **attributes)
        many, *lead, n, k = b.shape
        wide = reshape(moveaxis(b, 0, -2), (*lead, n, many * k))
        y = call(name, *x[:matrices], wide, **attributes)
        return moveaxis(reshape(y, (*lead, n, many, k)), -2, 0)

    return batch


def _residual(name: str, product: Callable[..., Term], matrices: int) -> Callable[..., Term]:
    """The tangent of a solve; product(tangents of the matrix, y, attributes) is dA y."""

    def rule(y: Term, x: tuple[Term, ...], t: tuple[Term | None, ...], **attributes: Any) -> Term:
        moving = any(d is not None for d in t[:matrices])
        right = sum_of(t[matrices], -product(t[:matrices], y, **attributes) if moving else None)
        return call(name, *x[:matrices], right, **attributes)

    return rule


register(
    Op(
        name="solve",
        infer=solved_infer,
        apply=filled(solved_infer, stacked(np.linalg.solve)),
        derivative=Tangent(
            _residual("solve", lambda t, y: t[0] @ y, 1),
            Transposes(lambda i, c, a, b: call("solve", T(a), c), operands=(1,)),
        ),
        continuation=continued(np.linalg.solve),
        batch=solve_batch("solve", 1),
        cost=dense_cost(2 / 3),
        examples=(Example((SQUARE, COLUMNS)), Example((SQUARE.with_shape((2, 3, 3)), COLUMNS.with_shape((2, 3, 1))))),
        arity=2,
        domain=(NONSINGULAR, REALS),
        summary="X of A X = B; NaN where A is singular",
    )
)


def _trsm(outs: tuple[Array, ...], a: Array, b: Array, *, lower: bool, transposed: bool, unit_diagonal: bool) -> None:
    """In place: op(A) X = B is X' op(A)' = B' of the transposes, which are in Fortran's order, as BLAS wants them."""
    from scipy.linalg.blas import dtrsm, strsm

    (out,) = outs
    if not unit_diagonal and (np.diagonal(a) == 0).any():
        out[...] = np.nan
        return
    out[...] = b
    if out.size:
        trsm = dtrsm if out.dtype == np.float64 else strsm
        x = trsm(1.0, a.T, out.T, side=1, lower=not lower, trans_a=transposed, diag=unit_diagonal, overwrite_b=1)
        if not np.may_share_memory(x, out):
            out[...] = x.T


def _triangular_continued(a: Array, b: Array, *, lower: bool, transposed: bool, unit_diagonal: bool) -> Array:
    part = np.tril(a) if lower else np.triu(a)
    if unit_diagonal:
        part = part + np.diag(1 - np.diagonal(part))
    return np.linalg.solve(part.T if transposed else part, b)


def _dtriangle(t: tuple[Term, ...], y: Term, lower: bool, transposed: bool, unit_diagonal: bool) -> Term:
    part = triangle(t[0], lower, diagonal=not unit_diagonal)
    return (T(part) if transposed else part) @ y


def _triangular_transpose(i: int, c: Term, a: Term, b: Type, lower: bool, transposed: bool, unit_diagonal: bool) -> Term:
    return call("triangular_solve", a, c, lower=lower, transposed=not transposed, unit_diagonal=unit_diagonal)


register(
    Op(
        name="triangular_solve",
        infer=solved_infer,
        apply=filled(solved_infer, one_by_one(_trsm, (2, 2))),
        derivative=Tangent(_residual("triangular_solve", _dtriangle, 1), Transposes(_triangular_transpose, operands=(1,))),
        continuation=continued(_triangular_continued),
        batch=solve_batch("triangular_solve", 1),
        cost=dense_cost(0, work=0.0),
        examples=(Example((SQUARE, COLUMNS), {"lower": True, "transposed": False, "unit_diagonal": False}),),
        arity=2,
        attributes={"lower": Kind.BOOL, "transposed": Kind.BOOL, "unit_diagonal": Kind.BOOL},
        domain=(NONSINGULAR, REALS),
        summary="X of T X = B (T' X = B if transposed), T the lower or upper triangle of A, its diagonal 1 if unit_diagonal; NaN where T is singular",
    )
)


def _tridiagonal_infer(types: Types) -> Types:
    low, d, up, b = types
    require_dtype(d, FLOATS)
    require_one_dtype(types)
    fits = d.rank >= 1 and low.shape == up.shape == (*d.shape[:-1], max(d.shape[-1] - 1, 0)) and b.rank == d.rank + 1 and b.shape[:-1] == d.shape
    got = ", ".join(map(str, types))
    require(fits, "diagonals and right-hand sides do not fit", got=got, allowed="[..., n-1], [..., n], [..., n-1] and [..., n, k]")
    return (b,)


def _gtsv(outs: tuple[Array, ...], low: Array, d: Array, up: Array, b: Array) -> None:
    from scipy.linalg.lapack import dgtsv, sgtsv

    (out,) = outs
    if not out.size:
        return
    if d.size == 1:  # LAPACK's wrapper wants diagonals that are not empty
        out[...] = b / d if d[0] != 0 else np.nan
        return
    *_, x, info = (dgtsv if out.dtype == np.float64 else sgtsv)(low, d, up, b)
    out[...] = np.nan if info else x


def _tridiagonal_continued(low: Array, d: Array, up: Array, b: Array) -> Array:
    """As one dense solve each: a judge has the time, and pivots as it should."""
    n = d.shape[-1]
    wide = np.zeros((*d.shape, n), np.complex128)
    i = np.arange(n)
    wide[..., i, i], wide[..., i[1:], i[:-1]], wide[..., i[:-1], i[1:]] = d, low, up
    return continued(np.linalg.solve)(wide, b)


def tridiagonal_product(low: Term | None, d: Term | None, up: Term | None, y: Term) -> Term:
    """The matrix of these diagonals (None: zeros) times y."""
    *lead, n, k = y.shape
    zero = (0,) * (y.ndim - 2)
    if n < 2:
        return constant(y.builder, 0, y.shape, y.dtype) if d is None else columns(d, k) * y
    first, last = cut(y, (*zero, 0, 0), (*lead, n - 1, k)), cut(y, (*zero, 1, 0), (*lead, n, k))

    def padded(v: Term, below: int) -> Term:
        return call("pad", v, low=(*zero, below, 0), high=(*zero, 1 - below, 0), interior=(*zero, 0, 0))

    return sum_of(
        None if d is None else columns(d, k) * y,
        None if low is None else padded(columns(low, k) * first, 1),
        None if up is None else padded(columns(up, k) * last, 0),
    )


_VECTOR = Type(FLOAT64, (4,))

register(
    Op(
        name="tridiagonal_solve",
        infer=_tridiagonal_infer,
        apply=filled(_tridiagonal_infer, one_by_one(_gtsv, (1, 1, 1, 2))),
        derivative=Tangent(
            _residual("tridiagonal_solve", lambda t, y: tridiagonal_product(t[0], t[1], t[2], y), 3),
            Transposes(lambda i, c, low, d, up, b: call("tridiagonal_solve", up, d, low, c), operands=(3,)),
        ),
        continuation=_tridiagonal_continued,
        batch=solve_batch("tridiagonal_solve", 3),
        cost=lambda types, results: Cost(8 * results[0].size, sum(t.nbytes for t in types) + results[0].nbytes, 2 * sum(t.nbytes for t in types)),
        examples=(Example((Type(FLOAT64, (3,)), _VECTOR, Type(FLOAT64, (3,)), Type(FLOAT64, (4, 2)))),),
        arity=4,
        domain=(REALS, Domain(1.0), REALS, REALS),
        summary="X of A X = B, A given by the diagonals below, at and above its main one; NaN where A is singular",
    )
)
