"""Parts that the records of linear algebra are put together from: stacks of matrices, triangles, diagonals.

Every op of linear algebra takes stacks: its matrices stand in the last two axes, the axes before
them are equal. A kernel never raises: where LAPACK gives up on a matrix (singular, no convergence)
that matrix's results are NaN and the rest of the stack is right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, call_in, call_several, constant
from .op import Cost, Domain, require, require_dtype
from .pieces import cut
from .pointwise import lifted
from .shape import matrix_transpose, reshape
from .term import Term

Array = Any
Types = tuple[Type, ...]

SQUARE = Type(DTYPES["float64"], (3, 3))
NONSINGULAR = Domain(matrix="nonsingular matrices")
SQUARES = Domain(matrix="square matrices")
FULL_RANK = Domain(matrix="matrices of constant rank")
DEFINITE = Domain(matrix="symmetric positive definite matrices, by their lower triangle")
SYMMETRIC = Domain(matrix="symmetric matrices with distinct eigenvalues, by their lower triangle")
DISTINCT = Domain(matrix="matrices with distinct singular values")


def require_matrix(t: Type, square: bool = True) -> None:
    require_dtype(t, FLOATS)
    fits = t.rank >= 2 and (not square or t.shape[-1] == t.shape[-2])
    require(fits, "operand must be a square matrix" if square else "operand must be a matrix", got=t, allowed="[..., n, n]" if square else "[..., m, n]")


def require_one_dtype(types: Types) -> None:
    same = all(t.dtype == types[0].dtype for t in types)
    require(same, "operands must have one dtype", reason="DTYPE", got=" and ".join(map(str, types)), allowed="equal dtypes")


def require_right_side(a: Type, b: Type) -> None:
    require_one_dtype((a, b))
    fits = b.rank == a.rank and b.shape[:-1] == a.shape[:-1]
    require(fits, "right-hand sides do not fit the matrix", got=f"{a} and {b}", allowed="[..., m, n] and [..., m, k]")


def square_infer(types: Types, **_: Any) -> Types:
    require_matrix(types[0])
    return types


def filled(infer: Callable[..., Types], fill: Callable[..., None]) -> Callable[..., Any]:
    """An apply from fill(outs, *x, **attributes), which writes all results into the arrays `outs`."""

    def apply(*x: Array, out: Any = None, **attributes: Any) -> Any:
        if out is None:
            results = infer(tuple([Type(a.dtype, a.shape) for a in x]), **attributes)
            out = tuple([np.empty(t.shape, t.dtype) for t in results])
            out = out if len(out) > 1 else out[0]
        fill(out if isinstance(out, tuple) else (out,), *x, **attributes)
        return out

    return apply


def stacked(function: Callable[..., Any], reads: Callable[[Array], Array] = lambda a: a) -> Callable[..., None]:
    """A fill from a NumPy function of stacks: where it raises LinAlgError, or the matrix is not finite, results are NaN.

    LAPACK never sees a matrix that is not finite: its SVD may not return from one, and its eigenvalues of
    one may be finite. `reads`: the part of a matrix that counts.
    """

    def fill(outs: tuple[Array, ...], a: Array, *others: Array, **attributes: Any) -> None:
        finite = np.isfinite(reads(a)).all((-2, -1))
        if not finite.all():
            a = np.where(finite[..., None, None], a, np.eye(*a.shape[-2:], dtype=a.dtype))
        try:
            results = function(a, *others, **attributes)
        except np.linalg.LinAlgError:
            if a.ndim == 2:
                results = tuple([np.nan] * len(outs))
            else:
                for index in np.ndindex(*a.shape[:-2]):
                    fill(tuple([out[(*index, ...)] for out in outs]), *[x[index] for x in (a, *others)], **attributes)
                results = outs
        for out, result in zip(outs, results if isinstance(results, tuple) else (results,), strict=True):
            np.copyto(out, result, casting="same_kind")
            out[~finite] = np.nan

    return fill


def continued(function: Callable[..., Array]) -> Callable[..., Array]:
    """A continuation from function(a, *others, **attributes) of single matrices, NaN where it raises LinAlgError."""

    def continuation(a: Array, *others: Array, **attributes: Any) -> Array:
        x = (a, *others)
        results = [_or_nan(function, [v[index] for v in x], attributes) for index in np.ndindex(*a.shape[:-2])]
        # Every such function yields matrices of the last operand's shape.
        return np.array(results, np.complex128).reshape(x[-1].shape)

    return continuation


def _or_nan(function: Callable[..., Array], x: list[Array], attributes: Any) -> Array:
    try:
        return function(*x, **attributes)
    except np.linalg.LinAlgError:
        return np.full(x[-1].shape, np.nan)


def one_by_one(function: Callable[..., None], ranks: tuple[int, ...]) -> Callable[..., None]:
    """A fill from function(outs, *x, **attributes) on single operands, of these ranks."""

    def fill(outs: tuple[Array, ...], *x: Array, **attributes: Any) -> None:
        lead = x[0].shape[: x[0].ndim - ranks[0]]
        for index in np.ndindex(*lead):
            function(tuple([out[(*index, ...)] for out in outs]), *[a[index] for a in x], **attributes)

    return fill


def dense_cost(cubic: float, work: float = 2.0) -> Callable[..., Cost]:
    """`cubic` * m * n * min(m, n) flops for each matrix and 2 n^2 for each further column.

    Temporaries: `work` times operands and results as float64 (NumPy's linalg computes in it), and LAPACK's small ones.
    """

    def cost(types: Types, results: Types, **_: Any) -> Cost:
        a = types[0]
        flops = int(cubic * a.size * min(a.shape[-2:], default=0)) + 2 * a.shape[-1] * sum(t.size for t in types[1:])
        size = sum(t.size for t in types) + sum(t.size for t in results)
        moved = sum(t.nbytes for t in types) + sum(t.nbytes for t in results)
        return Cost(flops, moved, int(work * 8 * size) + 520 * sum(a.shape[-2:]), sum(t.nbytes for t in types))

    return cost


def whole(name: str) -> Callable[..., Any]:
    """The batch rule of an op of stacks: a longer stack."""

    def rule(*x: Term, **attributes: Any) -> Any:
        results = call_several(x[0].builder, name, *x, **attributes)
        return results if len(results) > 1 else results[0]

    return lifted(rule)


def triangle(x: Term, below: bool, diagonal: bool = True) -> Term:
    """The part of matrices on one side of the diagonal, with it or without; 0 elsewhere."""
    n, m = x.shape[-2:]
    i = broadcast(reshape(call_in(x.builder, "iota", size=n), (n, 1)), (n, m))
    j = broadcast(reshape(call_in(x.builder, "iota", size=m), (1, m)), (n, m))
    low, high = (j, i) if below else (i, j)
    keep = call("less_equal" if diagonal else "less", low, high)
    return call("where", broadcast(keep, x.shape), x, constant(x.builder, 0, x.shape, x.dtype))


def mirrored(x: Term) -> Term:
    """The symmetric matrix whose lower triangle is that of x."""
    return triangle(x, True) + matrix_transpose(triangle(x, True, diagonal=False))


def on_diagonal(d: Term) -> Term:
    """Matrices with d in the diagonal, 0 elsewhere."""
    *lead, n = d.shape
    zero = (0,) * len(lead)
    flat = call("pad", d, low=(*zero, 0), high=(*zero, 0), interior=(*zero, n))
    return reshape(flat, (*lead, n, n))


def diagonal(x: Term) -> Term:
    """The main diagonal of matrices, by a slice of every row after the other."""
    *lead, n, m = x.shape
    count = min(n, m)
    flat = reshape(x, (*lead, n * m))
    zero, one = (0,) * len(lead), (1,) * len(lead)
    return cut(flat, (*zero, 0), (*lead, (count - 1) * (m + 1) + 1 if count else 0), (*one, m + 1))


def column(v: Term) -> Term:
    return reshape(v, (*v.shape, 1))


def row(v: Term) -> Term:
    return reshape(v, (*v.shape[:-1], 1, v.shape[-1]))


def columns(v: Term, width: int) -> Term:
    """A vector as each of `width` columns."""
    return broadcast(column(v), (*v.shape, width))


def rows(v: Term, height: int) -> Term:
    """A vector as each of `height` rows."""
    return broadcast(row(v), (*v.shape[:-1], height, v.shape[-1]))


def inner(x: Term, y: Term) -> Term:
    """The sum of the products of the entries, of each matrix of a stack."""
    return call("sum", x * y, axes=(x.ndim - 2, x.ndim - 1))


def sum_of(*parts: Term | None) -> Term:
    """Of those that are there."""
    there = [p for p in parts if p is not None]
    total = there[0]
    for part in there[1:]:
        total = total + part
    return total
