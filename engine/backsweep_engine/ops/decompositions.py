"""Factorisations and eigenvalues. Where a factorisation does not exist its results are NaN, never an exception.

cholesky, eigh and eigvalsh read the lower triangle only, as NumPy does, so their derivative by what
stands above the diagonal is 0. Where two eigenvalues (or singular values) are equal to rounding,
which LAPACK cannot tell apart, the derivative of the vectors is NaN; that of the values does not need
it, so the first derivative of a symmetric function of the values is finite and right, the second NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import broadcast, call, call_in, call_several, constant
from .op import Example, Op, Tangent, register, require
from .shape import matrix_transpose as T
from .shape import reshape
from .stacked import (
    DEFINITE,
    DISTINCT,
    NONSINGULAR,
    SQUARE,
    SYMMETRIC,
    column,
    columns,
    dense_cost,
    diagonal,
    filled,
    mirrored,
    on_diagonal,
    one_by_one,
    require_matrix,
    rows,
    square_infer,
    stacked,
    triangle,
    whole,
)
from .term import Term

Array = Any
Types = tuple[Type, ...]
Terms = tuple[Term, ...]
TALL, WIDE = SQUARE.with_shape((4, 3)), SQUARE.with_shape((3, 4))


# cholesky: A = L L'. dL = L Phi(L^-1 dA L^-T), Phi the lower triangle with half the diagonal.
# (Murray 2016, "Differentiation of the Cholesky decomposition", equation 8.)


def _lower_solve(a: Term, b: Term, transposed: bool = False, unit_diagonal: bool = False) -> Term:
    return call("triangular_solve", a, b, lower=True, transposed=transposed, unit_diagonal=unit_diagonal)


def _upper_solve(a: Term, b: Term, transposed: bool = False) -> Term:
    return call("triangular_solve", a, b, lower=False, transposed=transposed, unit_diagonal=False)


def _cholesky_tangent(y: Term, x: Terms, t: Terms) -> Term:
    inner = _lower_solve(y, T(_lower_solve(y, mirrored(t[0]))))
    return y @ (triangle(inner, True) - on_diagonal(0.5 * diagonal(inner)))


register(
    Op(
        name="cholesky",
        infer=square_infer,
        apply=filled(square_infer, stacked(np.linalg.cholesky, np.tril)),
        derivative=Tangent(_cholesky_tangent),
        batch=whole("cholesky"),
        cost=dense_cost(1 / 3),
        examples=(Example((SQUARE,)),),
        domain=(DEFINITE,),
        summary="L of A = L L', A symmetric, read from its lower triangle; NaN where A is not positive definite",
    )
)


# lu: A[p] = L U. With F = L^-1 dA[p] U^-1: dL = L tril(F, -1), dU = triu(F) U.
# (de Hoog, Anderssen & Lukas 2011, "Differentiation of matrix functionals using triangular factorization".)


def _lu_infer(types: Types) -> Types:
    require_matrix(types[0])
    return types[0], Type(DTYPES["int64"], types[0].shape[:-1])


def _getrf(outs: tuple[Array, ...], a: Array) -> None:
    from scipy.linalg.lapack import dgetrf, sgetrf

    packed, p = outs
    n = p.size
    p[...] = np.arange(n)
    if n:
        packed[...], pivots, _ = (dgetrf if a.dtype == np.float64 else sgetrf)(a)
        for i, j in enumerate(pivots.tolist()):
            p[[i, j]] = p[[j, i]]


def permuted(x: Term, p: Term) -> Term:
    """The rows of each matrix in the order p; NaN for an index out of range, nothing read astray."""
    *lead, n, k = x.shape
    count = p.size // n if n else 0
    first = broadcast(column(call_in(x.builder, "iota", size=count) * n), (count, n))
    at = reshape(p, (count, n))
    inside = call("logical_and", at >= 0, at < n)
    flat = call("where", inside, at + first, constant(x.builder, count * n, at.shape, at.dtype))
    picked = call("take", reshape(x, (count * n, k)), reshape(flat, (count * n,)), axis=0)
    return reshape(picked, (*lead, n, k))


def _lu_tangent(y: Terms, x: Terms, t: Terms) -> tuple[Term | None, ...]:
    packed, p = y
    left = _lower_solve(packed, permuted(t[0], p), unit_diagonal=True)
    f = T(_upper_solve(packed, T(left), transposed=True))
    below = triangle(f, True, diagonal=False)
    return below + triangle(packed, True, diagonal=False) @ below + triangle(f, False) @ triangle(packed, False), None


register(
    Op(
        name="lu",
        infer=_lu_infer,
        apply=filled(_lu_infer, one_by_one(_getrf, (2,))),
        derivative=Tangent(_lu_tangent),
        batch=whole("lu"),
        cost=dense_cost(2 / 3),
        examples=(Example((SQUARE,)),),
        domain=(NONSINGULAR,),
        kinks="where the order of the pivots changes; there p is taken as constant",
        summary="L and U of A[p] = L U in one matrix (the diagonal of L is 1 and not stored), and the order p of the rows",
    )
)


# qr: A = Q R, R upper triangular. With X = dA R^-1, M = Q' X and K the strictly lower triangle of M:
# dR = (M - K + K') R, dQ = X - Q (M - K + K'). (Walter & Lehmann 2018, "Algorithmic differentiation of linear algebra
# functions", section on QR, where K - K' = Q' dQ.)


def _qr_infer(types: Types) -> Types:
    require_matrix(types[0], square=False)
    *lead, m, n = types[0].shape
    require(m >= n, "qr of a matrix with more columns than rows", got=types[0], allowed="m >= n", hint="np.linalg.qr spells it by the first m columns")
    return types[0], types[0].with_shape((*lead, n, n))


def _qr_tangent(y: Terms, x: Terms, t: Terms) -> Terms:
    q, r = y
    d = T(_upper_solve(r, T(t[0]), transposed=True))
    m = T(q) @ d
    upper = triangle(m, False) + T(triangle(m, True, diagonal=False))
    return d - q @ upper, upper @ r


register(
    Op(
        name="qr",
        infer=_qr_infer,
        apply=filled(_qr_infer, stacked(lambda a: tuple(np.linalg.qr(a)))),
        derivative=Tangent(_qr_tangent),
        batch=whole("qr"),
        cost=dense_cost(4, work=3.0),
        examples=(Example((TALL,)), Example((SQUARE,))),
        domain=(NONSINGULAR,),
        summary="Q with orthonormal columns and upper triangular R of A = Q R, A with at least as many rows as columns; derivative NaN at less than full rank",
    )
)


# Differences of values that may be equal.


def _inverse_gaps(w: Term) -> Term:
    """[..., i, j]: 1 / (w_j - w_i); 0 in the diagonal, NaN where the two are equal to the rounding of their computation."""
    n = w.shape[-1]
    shape = (*w.shape, n)
    if not n:
        return constant(w.builder, 0, shape, w.dtype)
    gap = rows(w, n) - columns(w, n)
    unit = n * float(np.finfo(w.dtype).eps) * call("max", abs(w), axes=(w.ndim - 1,))
    tied = abs(gap) <= broadcast(column(column(unit)), shape)
    i = call_in(w.builder, "iota", size=n)
    same = broadcast(columns(i, n) == rows(i, n), shape)
    one, tie = constant(w.builder, 1, shape, w.dtype), constant(w.builder, np.nan, shape, w.dtype)
    apart = call("where", tied, tie, 1 / call("where", tied, one, gap))
    return call("where", same, constant(w.builder, 0, shape, w.dtype), apart)


# eigh: A = V diag(w) V'. With M = V' dA V: dw = diag M, dV = V (M_ij / (w_j - w_i)). (Giles 2008, 3.1.)


def _eigh_infer(types: Types) -> Types:
    require_matrix(types[0])
    return types[0].with_shape(types[0].shape[:-1]), types[0]


def _eigh_tangent(y: Terms, x: Terms, t: Terms) -> Terms:
    w, v = y
    m = T(v) @ mirrored(t[0]) @ v
    return diagonal(m), v @ call("scale", _inverse_gaps(w), m)


register(
    Op(
        name="eigh",
        infer=_eigh_infer,
        apply=filled(_eigh_infer, stacked(lambda a: tuple(np.linalg.eigh(a)), np.tril)),
        derivative=Tangent(_eigh_tangent),
        batch=whole("eigh"),
        cost=dense_cost(9, work=4.0),
        examples=(Example((SQUARE.with_shape((4, 4)),)),),
        domain=(SYMMETRIC,),
        kinks="at equal eigenvalues the derivative of their eigenvectors is NaN, except in directions that do not turn them",
        summary="eigenvalues in rising order and eigenvectors (columns) of a symmetric matrix, read from its lower triangle",
    )
)

register(
    Op(
        name="eigvalsh",
        infer=lambda types: _eigh_infer(types)[:1],
        apply=filled(lambda types: _eigh_infer(types)[:1], stacked(np.linalg.eigvalsh, np.tril)),
        derivative=Tangent(lambda y, x, t: _paired((v := call_several(y.builder, "eigh", x[0])[1]), mirrored(t[0]) @ v)),
        batch=whole("eigvalsh"),
        cost=dense_cost(4 / 3, work=3.0),
        examples=(Example((SQUARE,)),),
        domain=(SYMMETRIC,),
        kinks="at equal eigenvalues the derivative is right for symmetric functions of them, the second derivative NaN",
        summary="eigenvalues in rising order of a symmetric matrix, read from its lower triangle",
    )
)


def _paired(u: Term, w: Term) -> Term:
    """The inner products of the columns: diag(u' w)."""
    return call("sum", u * w, axes=(u.ndim - 2,))


# svd: A = U diag(s) V'. With P = U' dA V, F_ij = 1 / (s_j^2 - s_i^2):
# ds = diag P, dU = U (F * (P S + S P')) + (1 - U U') dA V / s, dV likewise with S P + P' S and dA'.
# (Townsend 2016, "Differentiating the singular value decomposition", equations 15 to 17.)


def _svd_infer(types: Types) -> Types:
    require_matrix(types[0], square=False)
    *lead, m, n = types[0].shape
    k = min(m, n)
    return types[0].with_shape((*lead, m, k)), types[0].with_shape((*lead, k)), types[0].with_shape((*lead, k, n))


def _svd_tangent(y: Terms, x: Terms, t: Terms) -> Terms:
    u, s, vh = y
    (d,) = t
    m, n, k = u.shape[-2], vh.shape[-1], s.shape[-1]
    left, right = d @ T(vh), T(d) @ u
    p = T(u) @ left
    # F = 1 / ((s_j - s_i) (s_j + s_i)); where both are 0 they are tied already.
    f, plus = _inverse_gaps(s), rows(s, k) + columns(s, k)
    f = call("where", plus == 0, f, f / call("where", plus == 0, constant(s.builder, 1, plus.shape, s.dtype), plus))
    p_s, s_p = p * rows(s, k), p * columns(s, k)
    du = u @ call("scale", f, p_s + T(p_s))
    dv = T(vh) @ call("scale", f, s_p + T(s_p))
    if m > k:
        du = du + call("scale", rows(1 / s, m), left - u @ p)
    if n > k:
        dv = dv + call("scale", rows(1 / s, n), right - T(vh) @ T(p))
    return du, diagonal(p), T(dv)


register(
    Op(
        name="svd",
        infer=_svd_infer,
        apply=filled(_svd_infer, stacked(lambda a: tuple(np.linalg.svd(a, full_matrices=False)))),
        derivative=Tangent(_svd_tangent),
        batch=whole("svd"),
        cost=dense_cost(22, work=4.0),
        examples=(Example((TALL,)), Example((SQUARE,)), Example((WIDE,))),
        domain=(DISTINCT,),
        kinks="at equal singular values the derivative of their vectors is NaN, except in directions that do not turn them",
        summary="U, s and V' of A = U diag(s) V', reduced, s falling",
    )
)

register(
    Op(
        name="svdvals",
        infer=lambda types: _svd_infer(types)[1:2],
        apply=filled(lambda types: _svd_infer(types)[1:2], stacked(lambda a: np.linalg.svd(a, compute_uv=False))),
        derivative=Tangent(lambda y, x, t: _svdvals_tangent(call_several(y.builder, "svd", x[0]), t[0])),
        batch=whole("svdvals"),
        cost=dense_cost(8 / 3, work=3.0),
        examples=(Example((TALL,)), Example((WIDE,))),
        domain=(DISTINCT,),
        kinks="at equal singular values the derivative is right for symmetric functions of them, the second derivative NaN; at 0 it is one-sided",
        summary="singular values, falling",
    )
)


def _svdvals_tangent(y: Terms, d: Term) -> Term:
    u, _, vh = y
    return _paired(u, d @ T(vh))
