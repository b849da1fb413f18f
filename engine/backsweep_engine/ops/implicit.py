"""Linear algebra whose derivative is stated implicitly: inverse, determinant, pseudo-inverse, exponential.

Rules: x[0] is the matrix A, t[i] the tangents. Sources: Giles 2008, "An extended collection of
matrix derivative results for forward and reverse mode algorithmic differentiation" [G]; others
where they stand. Singular matrices give NaN, never an exception (stacked.py). Solves are in
solves.py, factorisations and eigenvalues in decompositions.py; what is spelled in all of these,
and NumPy's names, in matrices.py.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import Type
from .build import broadcast, call, call_in, call_several, constant
from .op import REALS, Example, Kind, Op, Tangent, Transposes, register, require, require_same
from .pieces import cut
from .shape import matrix_transpose as T
from .shape import reshape
from .stacked import (
    FULL_RANK,
    NONSINGULAR,
    SQUARE,
    SQUARES,
    column,
    continued,
    dense_cost,
    diagonal,
    filled,
    inner,
    on_diagonal,
    require_matrix,
    square_infer,
    stacked,
    sum_of,
    triangle,
    whole,
)
from .term import Term

Array = Any
Types = tuple[Type, ...]


register(
    Op(
        name="inv",
        infer=square_infer,
        apply=filled(square_infer, stacked(np.linalg.inv)),
        derivative=Tangent(lambda y, x, t: -(y @ t[0] @ y)),  # [G 2.2.3]
        continuation=continued(np.linalg.inv),
        batch=whole("inv"),
        cost=dense_cost(2),
        examples=(Example((SQUARE,)),),
        domain=(NONSINGULAR,),
        summary="the inverse; NaN where the matrix is singular",
    )
)


def _det_infer(types: Types) -> Types:
    require_matrix(types[0])
    return (types[0].with_shape(types[0].shape[:-2]),)


register(
    Op(
        name="det",
        infer=_det_infer,
        apply=filled(_det_infer, stacked(np.linalg.det)),
        # Jacobi's formula with cofactors, which exist where the inverse does not. [G 2.2.4]
        derivative=Tangent(lambda y, x, t: inner(call("cofactors", x[0]), t[0])),
        continuation=np.linalg.det,
        batch=whole("det"),
        cost=dense_cost(2 / 3),
        examples=(Example((SQUARE,)), Example((SQUARE.with_shape((2, 1, 1)),))),
        domain=(SQUARES,),
        summary="the determinant; its derivatives are right at singular matrices too",
    )
)


def _cofactors(a: Array) -> Array:
    """det(A) A^-T, from A = U S V': det(UV) U diag(product of the other singular values) V'. No division."""
    if not a.size:
        return a
    u, s, vh = np.linalg.svd(a, full_matrices=False)
    others = np.where(np.eye(s.shape[-1], dtype=bool), 1, s[..., None, :]).prod(-1)
    turn = np.linalg.slogdet(u)[0] * np.linalg.slogdet(vh)[0]
    return (u * (turn[..., None] * others)[..., None, :]) @ vh


def _cofactors_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term, ...]) -> Term:
    # Polynomial in A: in the frame of the singular vectors, M = U' dA V, the change of the cofactors of S + M is
    # sum_j P_ij M_jj in the diagonal and -P_ij M_ji off it, P_ij the product of the singular values but i and j.
    if y.shape[-1] < 2:
        return constant(y.builder, 0, y.shape, y.dtype)
    u, s, vh = call_several(y.builder, "svd", x[0])
    but_two = _products_but_two(s)
    m = T(u) @ t[0] @ T(vh)
    turned = on_diagonal(reshape(but_two @ column(diagonal(m)), s.shape)) - but_two * T(m)
    sign = call_several(y.builder, "slogdet", u)[0] * call_several(y.builder, "slogdet", vh)[0]
    return broadcast(column(column(sign)), y.shape) * (u @ turned @ vh)


def _products_but_two(s: Term) -> Term:
    """[..., i, j]: the product of all entries of s but i and j; 0 for i = j."""
    n = s.shape[-1]
    k = call_in(s.builder, "iota", size=n)
    i, j, each = (broadcast(reshape(k, shape), (n, n, n)) for shape in ((n, 1, 1), (1, n, 1), (1, 1, n)))
    left_out = call("logical_or", call("equal", each, i), call("equal", each, j))
    cube = (*s.shape, n, n)
    factors = broadcast(reshape(s, (*s.shape[:-1], 1, 1, n)), cube)
    product = call("prod", call("where", broadcast(left_out, cube), constant(s.builder, 1, cube, s.dtype), factors), axes=(s.ndim + 1,))
    return triangle(product, True, diagonal=False) + triangle(product, False, diagonal=False)


register(
    Op(
        name="cofactors",
        infer=square_infer,
        apply=filled(square_infer, stacked(_cofactors)),
        derivative=Tangent(_cofactors_tangent),
        continuation=continued(lambda a: np.linalg.det(a) * np.linalg.inv(a).T),
        batch=whole("cofactors"),
        cost=dense_cost(22, work=5.0),
        examples=(Example((SQUARE,)), Example((SQUARE.with_shape((1, 1)),))),
        domain=(SQUARES,),
        summary="the matrix of cofactors: determinant times the inverse transposed, defined for singular matrices too; what the derivative of det is made of",
    )
)


def _slogdet_infer(types: Types) -> Types:
    return _det_infer(types) * 2


def _log_determinant(a: Any) -> Any:
    """Its sign, a constant, and log(det) of a matrix whose real part has that sign (the argument is small)."""
    unit, size = np.linalg.slogdet(a)
    sign = np.sign(unit.real)
    return sign, size + 1j * np.angle(unit * sign)


register(
    Op(
        name="slogdet",
        infer=_slogdet_infer,
        apply=filled(_slogdet_infer, stacked(lambda a: tuple(np.linalg.slogdet(a)))),
        derivative=Tangent(lambda y, x, t: (None, inner(T(call("inv", x[0])), t[0]))),  # [G 2.2.4]
        continuation=_log_determinant,
        batch=whole("slogdet"),
        cost=dense_cost(2 / 3),
        examples=(Example((SQUARE,)),),
        domain=(NONSINGULAR,),
        summary="sign and logarithm of the absolute value of the determinant: 0 and -inf where the matrix is singular, its derivative NaN",
    )
)


# pinv


def _pinv_infer(types: Types, rtol: float) -> Types:
    require_matrix(types[0], square=False)
    require(0 <= rtol < 1, "rtol is out of range", reason="ATTRIBUTE", got=rtol, allowed="[0, 1)")
    *lead, m, n = types[0].shape
    return (types[0].with_shape((*lead, n, m)),)


def _pinv_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term, ...], rtol: float) -> Term:
    """At constant rank (Golub & Pereyra 1973, theorem 4.3)."""
    (a,), (d,) = x, t
    return (y @ T(y)) @ (T(d) - (T(d) @ a) @ y) + (T(d) - y @ (a @ T(d))) @ (T(y) @ y) - y @ d @ y


register(
    Op(
        name="pinv",
        infer=_pinv_infer,
        apply=filled(_pinv_infer, stacked(lambda a, *, rtol: np.linalg.pinv(a, rcond=rtol))),
        derivative=Tangent(_pinv_tangent),
        batch=whole("pinv"),
        cost=dense_cost(30, work=4.0),
        examples=tuple(Example((SQUARE.with_shape(s),), {"rtol": 1e-15}) for s in ((4, 3), (2, 3), (3, 3))),
        attributes={"rtol": Kind.FLOAT},
        domain=(FULL_RANK,),
        summary="the pseudo-inverse, singular values up to rtol times the largest taken as 0; the derivative takes the rank as constant",
    )
)


# expm. Its derivative L(A, E) is linear in E and, being a block of expm([[A, E], [0, A]]), has derivatives of its own kind.


_PADE = (64764752532480000, 32382376266240000, 7771770303897600, 1187353796428800, 129060195264000, 10559470521600, 670442572800,
         33522128640, 1323241920, 40840800, 960960, 16380, 182, 1)  # fmt: skip


def _norm(a: Array) -> Array:
    return np.abs(a).sum(-2, keepdims=True).max(-1, keepdims=True, initial=0)


@np.errstate(all="ignore")
def _squarings(a: Array) -> Array:
    """By norms of powers rather than the norm, so that what is large but nearly nilpotent is not squared to rounding

    (Al-Mohy & Higham 2009, "A new scaling and squaring algorithm for the matrix exponential", algorithm 5.1 with m = 13).
    """
    a2 = a @ a
    a4 = a2 @ a2
    d6, d8, d10 = (_norm(p) ** (1 / k) for p, k in ((a4 @ a2, 6), (a4 @ a4, 8), (a4 @ (a4 @ a2), 10)))
    eta = np.minimum(np.maximum(d6, d8), np.maximum(d8, d10))
    count = np.clip(np.ceil(np.log2(eta / 4.25)), 0, 2000)
    size = np.abs(a) * 2.0**-count
    power = np.ones((*a.shape[:-2], 1, a.shape[-1]))
    for _ in range(27):
        power = power @ size
    error = power.max(-1, keepdims=True, initial=0) / _norm(size) / 113250775606021113483283660800000000
    count = count + np.clip(np.ceil(np.log2(error / 2.0**-53) / 26), 0, 2000)
    enough = np.maximum(np.frexp(_norm(a) / 5.371920351148152)[1], 0)
    return np.where(np.isfinite(count), np.minimum(count, enough), enough).astype(np.int64)


def _expm(a: Array) -> Array:
    """By scaling and squaring with the Pade approximant of degree 13 (Higham 2005, table 2.3), in float64.

    SciPy's (1.17) is not used: on small matrices of norm 2 to 5 mpmath showed it off by some 1000 units in the last place.
    """
    finite = np.isfinite(a).all((-2, -1))[..., None, None]
    a = np.where(finite, a, 0).astype(np.complex128 if np.iscomplexobj(a) else np.float64)
    squarings = _squarings(a)
    a = a * np.ldexp(1.0, -squarings)
    a2 = a @ a
    a4 = a2 @ a2
    a6 = a4 @ a2
    b, eye = [float(c) for c in _PADE], np.eye(a.shape[-1])
    odd = a @ (a6 @ (b[13] * a6 + b[11] * a4 + b[9] * a2) + b[7] * a6 + b[5] * a4 + b[3] * a2 + b[1] * eye)
    even = a6 @ (b[12] * a6 + b[10] * a4 + b[8] * a2) + b[6] * a6 + b[4] * a4 + b[2] * a2 + b[0] * eye
    y = np.linalg.solve(even - odd, even + odd)
    for k in range(squarings.max(initial=0)):
        y = np.where(squarings > k, y @ y, y)
    return np.where(finite, y, np.nan)


def _expm_frechet(a: Array, e: Array) -> Array:
    """E is first scaled to the size of 1 by a power of 2: exactly, and so that it does not drive expm's own scaling."""
    n = a.shape[-1]
    if not a.size:
        return a
    size = np.abs(e).max((-2, -1), keepdims=True)
    power = np.frexp(np.where(np.isfinite(size), size, 1))[1]
    block = np.zeros((*a.shape[:-2], 2 * n, 2 * n))
    block[..., :n, :n] = block[..., n:, n:] = a
    block[..., :n, n:] = np.ldexp(e, -power)
    return np.ldexp(_expm(block)[..., :n, n:], power)


def _expm_frechet_continued(a: Array, e: Array) -> Array:
    n = a.shape[-1]
    block = np.zeros((*a.shape[:-2], 2 * n, 2 * n), np.complex128)
    block[..., :n, :n] = block[..., n:, n:] = a
    block[..., :n, n:] = e
    return _expm(block)[..., :n, n:]


def _expm_frechet_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term | None, ...]) -> Term:
    (a, e), (da, de), n = x, t, y.shape[-1]
    corner = None
    if da is not None:
        twice = call("expm_frechet", _block(a, e), _block(da, None))
        corner = cut(twice, (*(0,) * (y.ndim - 2), 0, n), (*y.shape[:-2], n, 2 * n))
    return sum_of(corner, None if de is None else call("expm_frechet", a, de))


def _block(a: Term, e: Term | None) -> Term:
    """[[a, e], [0, a]]"""
    nothing = constant(a.builder, 0, a.shape, a.dtype)
    upper = call("concat", a, nothing if e is None else e, axis=a.ndim - 1)
    return call("concat", upper, call("concat", nothing, a, axis=a.ndim - 1), axis=a.ndim - 2)


def _pair_infer(types: Types) -> Types:
    require_same(types)
    return square_infer(types)[:1]


register(
    Op(
        name="expm",
        infer=square_infer,
        apply=filled(square_infer, stacked(_expm)),
        derivative=Tangent(lambda y, x, t: call("expm_frechet", x[0], t[0])),
        continuation=_expm,
        batch=whole("expm"),
        cost=dense_cost(40, work=10.0),
        examples=(Example((SQUARE,)),),
        domain=(SQUARES,),
        summary="the matrix exponential",
    )
)

register(
    Op(
        name="expm_frechet",
        infer=_pair_infer,
        apply=filled(_pair_infer, stacked(_expm_frechet)),
        continuation=_expm_frechet_continued,
        derivative=Tangent(_expm_frechet_tangent, Transposes(lambda i, c, a, e: call("expm_frechet", T(a), c), operands=(1,))),
        batch=whole("expm_frechet"),
        cost=dense_cost(320, work=24.0),
        examples=(Example((SQUARE, SQUARE)),),
        arity=2,
        domain=(SQUARES, REALS),
        summary="the derivative of the matrix exponential at A in direction E (Al-Mohy & Higham 2009, equation 1.6)",
    )
)
