"""Linear algebra spelled in other ops: diagonals, Kronecker products, powers, solves with factors, least squares.

Each is one node in a graph and has no rules of its own. What NumPy's and SciPy's names mean that
stand for one op with a kernel is in linalg.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, call_several, ones, promoted
from .contract import matmul
from .decompositions import permuted
from .op import (
    ANY,
    NUMBERS,
    REALS,
    SPELLINGS,
    Cost,
    Domain,
    Example,
    Expansion,
    Kind,
    Op,
    elementwise_cost,
    face,
    register,
    require,
    require_dtype,
    spells,
)
from .pieces import cut
from .shape import listed_axes, matrix_transpose, moveaxis, reshape
from .solves import COLUMNS, solve_batch, solved_infer
from .stacked import FULL_RANK, NONSINGULAR, SQUARE, dense_cost, on_diagonal, require_matrix, require_one_dtype, require_right_side, whole
from .stacked import diagonal as main_diagonal
from .term import Term

Types = tuple[Type, ...]
Ints = tuple[int, ...]
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]
T = matrix_transpose


def _compound(name: str, infer: Callable[..., Types], rule: Callable[..., Any], cost: Callable[..., Cost], examples: Sequence[Example],
              domain: Sequence[Domain], summary: str, batch: Callable[..., Any] | None = None, arity: int | None = 1,
              attributes: dict[str, Kind] | None = None, dtypes: tuple[np.dtype[Any], ...] = FLOATS) -> None:  # fmt: skip
    register(
        Op(
            name=name,
            infer=infer,
            apply=None,
            derivative=Expansion(rule),
            batch=batch or whole(name),
            cost=cost,
            examples=tuple(examples),
            arity=arity,
            attributes=attributes or {},
            domain=tuple(domain),
            summary=summary,
            operand_dtypes=dtypes,
        )
    )


def together(terms: Sequence[Term]) -> list[Term]:
    """Stacks of matrices with the axes before the matrices broadcast."""
    try:
        lead = np.broadcast_shapes(*[t.shape[:-2] for t in terms])
    except ValueError:
        raise GraphError("stacks of matrices cannot be broadcast together", reason="SHAPE", got=" and ".join(str(t.shape) for t in terms)) from None
    return [broadcast(t, (*lead, *t.shape[-2:])) for t in terms]


# diagonal and trace


def _diagonal_infer(types: Types, offset: int) -> Types:
    require_dtype(types[0], ANY)
    require(types[0].rank >= 2, "operand must be a matrix", got=types[0], allowed="[..., m, n]")
    *lead, m, n = types[0].shape
    return (types[0].with_shape((*lead, max(0, min(m + min(offset, 0), n - max(offset, 0))))),)


def _diagonal(x: Term, offset: int) -> Term:
    *lead, m, n = x.shape
    zero = (0,) * len(lead)
    below, right = min(max(-offset, 0), m), min(max(offset, 0), n)
    return main_diagonal(cut(x, (*zero, below, right), x.shape))


def _trace_infer(types: Types, offset: int) -> Types:
    require_dtype(types[0], NUMBERS)
    (d,) = _diagonal_infer(types, offset)
    return (d.with_shape(d.shape[:-1]),)


_MATRIX = Type(FLOAT64, (3, 4))
_OFFSETS = {"offset": Kind.INT}
_compound("diagonal", _diagonal_infer, _diagonal, elementwise_cost(0), [Example((_MATRIX,), {"offset": k}) for k in (0, 1, -2)], [REALS],
          "the entries right of the diagonal by `offset` (left of it where negative)", attributes=_OFFSETS, dtypes=ANY)  # fmt: skip
_compound("trace", _trace_infer, lambda x, offset: call("sum", call("diagonal", x, offset=offset), axes=(x.ndim - 2,)), elementwise_cost(1),
          [Example((_MATRIX,), {"offset": 0})], [REALS], "the sum of a diagonal", attributes=_OFFSETS, dtypes=NUMBERS)  # fmt: skip


@spells(np.diagonal)
def diagonal(a: Term, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
    require(a.ndim >= 2, "a diagonal needs two axes", got=a.shape)
    axes = listed_axes((axis1, axis2), a.ndim)
    return call("diagonal", moveaxis(a, axes, (-2, -1)), offset=offset)


@spells(np.trace)
def trace(a: Term, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
    require(a.ndim >= 2, "a trace needs two axes", got=a.shape)
    axes = listed_axes((axis1, axis2), a.ndim)
    a = a.astype(INT64) if a.dtype.kind in "ib" else a  # as np.sum
    return call("trace", moveaxis(a, axes, (-2, -1)), offset=offset)


@spells(np.linalg.diagonal)
def _last_diagonal(x: Term, /, *, offset: int = 0) -> Term:
    return diagonal(x, offset, -2, -1)


@spells(np.linalg.trace)
def _last_trace(x: Term, /, *, offset: int = 0) -> Term:
    return trace(x, offset, -2, -1)


SPELLINGS[np.linalg.matrix_transpose] = matrix_transpose
SPELLINGS[np.linalg.matmul] = matmul


# kron, block_diag


def _pair(types: Types, dtypes: tuple[np.dtype[Any], ...]) -> None:
    require_one_dtype(types)
    for t in types:
        require_dtype(t, dtypes)
        fits = t.rank >= 2 and t.shape[:-2] == types[0].shape[:-2]
        require(fits, "operands must be matrices with equal axes before", got=" and ".join(map(str, types)), allowed="[..., m, n]")


def _kron_infer(types: Types) -> Types:
    _pair(types, NUMBERS)
    (*lead, m, n), (p, q) = types[0].shape, types[1].shape[-2:]
    return (types[0].with_shape((*lead, m * p, n * q)),)


def _kron(a: Term, b: Term) -> Term:
    (*lead, m, n), (p, q) = a.shape, b.shape[-2:]
    wide = (*lead, m, p, n, q)
    product = broadcast(reshape(a, (*lead, m, 1, n, 1)), wide) * broadcast(reshape(b, (*lead, 1, p, 1, q)), wide)
    return reshape(product, (*lead, m * p, n * q))


_compound("kron", _kron_infer, _kron, elementwise_cost(1), [Example((Type(FLOAT64, (2, 3)), Type(FLOAT64, (3, 2))))], [REALS, REALS],
          "the Kronecker product of two matrices", arity=2, dtypes=NUMBERS)  # fmt: skip


@spells(np.kron)
def kron(a: Any, b: Any) -> Term:
    a, b = promoted([a, b])
    rank = max(a.ndim, b.ndim)
    a, b = (reshape(t, (1,) * (rank - t.ndim) + t.shape) for t in (a, b))
    if rank == 2:
        return call("kron", a, b)
    left = reshape(a, tuple(d for n in a.shape for d in (n, 1)))
    right = reshape(b, tuple(d for n in b.shape for d in (1, n)))
    return reshape(left * right, tuple(m * n for m, n in zip(a.shape, b.shape, strict=True)))


def _block_infer(types: Types) -> Types:
    require(len(types) >= 1, "block_diag of nothing", reason="ARITY", got=0, allowed="1 or more")
    _pair(types, ANY)
    return (types[0].with_shape((*types[0].shape[:-2], sum(t.shape[-2] for t in types), sum(t.shape[-1] for t in types))),)


def _block_diag(*x: Term) -> Term:
    width, before, bands = sum(t.shape[-1] for t in x), 0, []
    for t in x:
        zero, n = (0,) * (t.ndim - 1), t.shape[-1]
        bands.append(call("pad", t, low=(*zero, before), high=(*zero, width - before - n), interior=(*zero, 0)))
        before += n
    return bands[0] if len(bands) == 1 else call("concat", *bands, axis=x[0].ndim - 2)


_compound("block_diag", _block_infer, _block_diag, elementwise_cost(0), [Example((Type(FLOAT64, (2, 3)), Type(FLOAT64, (1, 2))))], [REALS, REALS],
          "the matrices along the diagonal, zeros elsewhere", arity=None, dtypes=ANY)  # fmt: skip


@face("block_diag")
def block_diag(*arrays: Any) -> Term:
    """The matrices along the diagonal of one, zeros elsewhere; a vector counts as one row, as in SciPy."""
    terms = [reshape(t, (1,) * (2 - t.ndim) + t.shape) if t.ndim < 2 else t for t in promoted(list(arrays))]
    return call("block_diag", *together(terms))


# matrix_power, multi_dot


def _power_infer(types: Types, power: int) -> Types:
    require_matrix(types[0])
    require(abs(power) <= 2**24, "exponent is out of range", reason="ATTRIBUTE", got=power, allowed="-2**24 to 2**24")
    return types


def _matrix_power(a: Term, power: int) -> Term:
    """By squaring: at most 2 log2(n) products."""
    if power == 0:
        return on_diagonal(ones(a.builder, a.type.with_shape(a.shape[:-1])))
    square, rest, result = a if power > 0 else call("inv", a), abs(power), None
    while rest:
        if rest % 2:
            result = square if result is None else call("matmul", result, square)
        rest //= 2
        square = call("matmul", square, square) if rest else square
    assert result is not None
    return result


_compound("matrix_power", _power_infer, _matrix_power, dense_cost(48), [Example((SQUARE,), {"power": n}) for n in (0, 3, -2)], [NONSINGULAR],
          "a matrix to a fixed integer power, of its inverse where negative", attributes={"power": Kind.INT})  # fmt: skip


@spells(np.linalg.matrix_power)
def matrix_power(a: Term, n: int) -> Term:
    require(type(n) is int or isinstance(n, np.integer), "the exponent must be an integer", reason="NOT_TRACEABLE", got=type(n).__name__, hint="use bs.expm")
    return call("matrix_power", *promoted([a], FLOATS), power=int(n))


@spells(np.linalg.multi_dot)
def multi_dot(arrays: Sequence[Any]) -> Term:
    """In the order that takes fewest multiplications."""
    terms = promoted(list(arrays))
    require(len(terms) >= 2, "multi_dot of fewer than two arrays", reason="NOT_TRACEABLE", got=len(terms))
    inside = all(t.ndim == 2 for t in terms[1:-1]) and terms[0].ndim in (1, 2) and terms[-1].ndim in (1, 2)
    require(inside, "multi_dot takes matrices, and a vector at either end", got=", ".join(str(t.shape) for t in terms))
    sizes = [terms[0].shape[0] if terms[0].ndim == 2 else 1, *[t.shape[0] for t in terms[1:]], terms[-1].shape[1] if terms[-1].ndim == 2 else 1]
    n = len(terms)
    best: dict[tuple[int, int], tuple[int, int]] = {(i, i): (0, i) for i in range(n)}
    for length in range(1, n):
        for i in range(n - length):
            j = i + length
            best[i, j] = min((best[i, k][0] + best[k + 1, j][0] + sizes[i] * sizes[k + 1] * sizes[j + 1], k) for k in range(i, j))

    def product(i: int, j: int) -> Term:  # as deep as there are arguments
        k = best[i, j][1]
        return terms[i] if i == j else matmul(product(i, k), product(k + 1, j))

    return product(0, n - 1)


# Solves with factors, least squares.


def _with_factor(c: Term, b: Term, lower: bool) -> Term:
    first = call("triangular_solve", c, b, lower=lower, transposed=not lower, unit_diagonal=False)
    return call("triangular_solve", c, first, lower=lower, transposed=lower, unit_diagonal=False)


_compound("cho_solve", solved_infer, _with_factor, dense_cost(0), [Example((SQUARE, COLUMNS), {"lower": k}) for k in (True, False)], [NONSINGULAR, REALS],
          "X of A X = B, given the Cholesky factor of A", batch=solve_batch("cho_solve", 1), arity=2, attributes={"lower": Kind.BOOL})  # fmt: skip


def _lu_solve_infer(types: Types) -> Types:
    a, p, b = types
    require_dtype(p, (INT64,))
    require(p.shape == a.shape[:-1], "the order of the rows does not fit the matrix", got=p, allowed=f"int64{list(a.shape[:-1])}")
    return solved_infer((a, b))


def _lu_solve(a: Term, p: Term, b: Term) -> Term:
    y = call("triangular_solve", a, permuted(b, p), lower=True, transposed=False, unit_diagonal=True)
    return call("triangular_solve", a, y, lower=False, transposed=False, unit_diagonal=False)


_compound("lu_solve", _lu_solve_infer, _lu_solve, dense_cost(0), [Example((SQUARE, Type(INT64, (3,)), COLUMNS))], [NONSINGULAR, Domain(-1, 3), REALS],
          "X of A X = B, given the results of lu for A", batch=solve_batch("lu_solve", 2), arity=3)  # fmt: skip


def _lstsq_infer(types: Types) -> Types:
    a, b = types
    require_matrix(a, square=False)
    require_right_side(a, b)
    return (b.with_shape((*a.shape[:-2], a.shape[-1], b.shape[-1])),)


def _lstsq(a: Term, b: Term) -> Term:
    tall = a.shape[-2] >= a.shape[-1]
    q, r = call_several(a.builder, "qr", a if tall else T(a))
    y = call("triangular_solve", r, call("matmul", T(q), b) if tall else b, lower=False, transposed=not tall, unit_diagonal=False)
    return y if tall else call("matmul", q, y)


_compound("lstsq", _lstsq_infer, _lstsq, dense_cost(4), [Example((Type(FLOAT64, s), COLUMNS.with_shape((s[0], 2)))) for s in ((4, 3), (2, 3))],
          [FULL_RANK, REALS], "the least-squares solution (of least norm) of A X = B by QR, A of full rank", arity=2)  # fmt: skip
