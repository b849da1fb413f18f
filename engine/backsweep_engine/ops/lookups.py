"""Positions and masks: searchsorted, one_hot, triangles, diagonals, choices, and what has no static shape.

A function whose result's shape depends on values (nonzero, unique, one-armed where) is refused with what to write.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .arrange import static
from .build import aligned, broadcast, call, call_in, cast, common_builder, constant, lift, promoted
from .indexing import take
from .op import (
    ANY,
    BY_PARTS,
    HINTS,
    REALS,
    Cost,
    Domain,
    Example,
    Kind,
    Op,
    Transposes,
    Zero,
    face,
    register,
    require,
    require_dtype,
    spells,
)
from .pieces import stack
from .places import getitem, take_along_axis
from .pointwise import lifted
from .shape import normal_axes, reshape
from .term import Term

Array = Any
FLOAT64, INT64, BOOL = DTYPES["float64"], DTYPES["int64"], DTYPES["bool"]
SORTED = Domain(matrix="sorted along the last axis")


# searchsorted: for each v how many of a come before it, rows of a and v in pairs.


def _searchsorted_infer(types: tuple[Type, ...], right: bool) -> tuple[Type, ...]:
    a, v = types
    require_dtype(a, ANY)
    require(a.dtype == v.dtype, "operands must have one dtype", reason="DTYPE", got=v, allowed=a.dtype.name)
    fits = a.rank >= 1 and a.rank == v.rank and a.shape[:-1] == v.shape[:-1]
    require(fits, "rows do not fit", got=f"{a} and {v}", allowed="[..., n] and [..., m] with equal axes before the last")
    return (Type(INT64, v.shape),)


def _searchsorted(a: Array, v: Array, out: Array = None, *, right: bool) -> Array:
    out = np.empty(v.shape, INT64) if out is None else out
    for row in np.ndindex(a.shape[:-1]):
        out[row] = np.searchsorted(a[row], v[row], "right" if right else "left")
    return out


def _searchsorted_batch(mask: tuple[bool, ...], a: Term, v: Term, right: bool) -> Term:
    if not mask[0] and a.ndim == 1:
        return reshape(call("searchsorted", a, reshape(v, (v.size,)), right=right), v.shape)
    paired: Term = lifted(lambda a, v, right: call("searchsorted", a, v, right=right))(mask, a, v, right=right)
    return paired


def _searchsorted_cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    a, v = types
    row = (math.prod(a.shape[-1:]) + math.prod(v.shape[-1:])) * a.dtype.itemsize
    return Cost(v.size * max(1, a.shape[-1]).bit_length(), a.nbytes + 2 * v.nbytes, 8 * math.prod(v.shape[-1:]), row)


register(
    Op(
        name="searchsorted",
        infer=_searchsorted_infer,
        apply=_searchsorted,
        derivative=Zero(),
        batch=_searchsorted_batch,
        cost=_searchsorted_cost,
        examples=(Example((Type(FLOAT64, (5,)), Type(FLOAT64, (4,))), {"right": False}),),
        arity=2,
        attributes={"right": Kind.BOOL},
        domain=(SORTED, REALS),
        summary="where in the sorted last axis of a each entry of v belongs, before its equals or after them (right)",
        operand_dtypes=ANY,
    )
)


@spells(np.searchsorted)
def searchsorted(a: Any, v: Any, side: str = "left", sorter: Any = None) -> Term:
    require(side in ("left", "right"), "unknown side", reason="ATTRIBUTE", got=side, allowed="left, right")
    a, v = promoted([a, v])
    require(a.ndim == 1, "the sorted array must have one axis", got=a.shape)
    a = a if sorter is None else getitem(a, sorter)
    return reshape(call("searchsorted", a, reshape(v, (v.size,)), right=side == "right"), v.shape)


@spells(np.digitize)
def digitize(x: Any, bins: Any, right: bool = False) -> Term:
    """As np.digitize; traced bins must increase."""
    if isinstance(bins, Term) or np.all(np.diff(bins) >= 0):
        return searchsorted(bins, x, "left" if right else "right")
    edges = np.asarray(bins)[::-1]
    require(np.all(np.diff(edges) >= 0), "bins must increase or decrease throughout", reason="ATTRIBUTE", got="neither")
    return len(edges) - searchsorted(edges, x, "left" if right else "right")


@face("one_hot")
def one_hot(index: Any, size: int, dtype: Any = np.float64) -> Term:
    """1 at the index along a new last axis of length `size`, 0 elsewhere and for an index outside 0 to size - 1."""
    index = lift(index, common_builder((index,)))
    require(index.dtype.kind == "i", "an index must be integer", reason="DTYPE", got=index.type, allowed="int64, int32")
    line = call_in(index.builder, "iota", size=size)
    return (reshape(index, (*index.shape, 1)) == line).astype(dtype)


# tril and triu.


def _triangle_infer(types: tuple[Type, ...], k: int) -> tuple[Type, ...]:
    require(types[0].rank >= 2, "a triangle needs two axes", got=types[0])
    require(abs(k) < 2**31, "diagonal is out of range", reason="ATTRIBUTE", got=k, allowed="below 2**31")
    return types


def _triangle(lower: bool) -> Callable[..., Array]:
    def apply(x: Array, out: Array = None, *, k: int) -> Array:
        if out is None:
            out = np.empty(x.shape, x.dtype)
        below = np.tri(x.shape[-2], x.shape[-1], k if lower else k - 1, bool)
        out.fill(0)
        np.copyto(out, x, where=below if lower else np.logical_not(below, out=below))
        return out

    return apply


for _name, _lower in {"tril": True, "triu": False}.items():
    register(
        Op(
            name=_name,
            infer=_triangle_infer,
            apply=_triangle(_lower),
            derivative=Transposes(lambda i, c, x, k, name=_name: call(name, c, k=k)),
            continuation=BY_PARTS,
            batch=lambda mask, x, k, name=_name: call(name, x, k=k),
            # np.tri compares two lines of numbers as long as the sides.
            cost=lambda types, results, **_: Cost(0, 2 * results[0].nbytes, math.prod(types[0].shape[-2:]) + 16 * sum(types[0].shape[-2:])),
            examples=(Example((Type(FLOAT64, (3, 4)),), {"k": 1}),),
            attributes={"k": Kind.INT},
            domain=(REALS,),
            summary=f"matrices with 0 {'above' if _lower else 'below'} the diagonal k",
            operand_dtypes=ANY,
        )
    )

    @spells(getattr(np, _name))
    def _triangle_as_numpy(m: Term, k: int = 0, name: str = _name) -> Term:
        m = broadcast(m, m.shape * 2) if m.ndim == 1 else m
        return call(name, m, k=int(k))


@spells(np.diag)
def diag(v: Term, k: int = 0) -> Term:
    """The matrix with v on its diagonal, or the diagonal of a matrix."""
    require(v.ndim in (1, 2), "diag takes a vector or a matrix", got=v.shape)
    if v.ndim == 2:
        diagonal: Any = np.diagonal
        result: Term = diagonal(v, k)
        return result
    # In C order the diagonal's elements stand n + 1 apart.
    n = v.size + abs(k)
    first = k if k >= 0 else -k * n
    if not v.size:
        return constant(v.builder, 0, (n, n), v.dtype)
    spread = (v.size - 1) * (n + 1) + 1
    return reshape(call("pad", v, low=(first,), high=(n * n - first - spread,), interior=(n,)), (n, n))


@spells(np.diagflat)
def diagflat(v: Term, k: int = 0) -> Term:
    return diag(reshape(v, (v.size,)), k)


# Choices.


@spells(np.choose)
def choose(a: Any, choices: Sequence[Any], *, mode: str = "raise") -> Term:
    """As np.choose; an index out of range gives NaN unless mode is wrap or clip."""
    require(mode in ("raise", "wrap", "clip"), "unknown mode", reason="ATTRIBUTE", got=mode, allowed="raise, wrap, clip")
    n = len(choices)
    a = np.remainder(a, n) if mode == "wrap" else np.maximum(0, np.minimum(a, n - 1)) if mode == "clip" else a
    builder = common_builder((a, *choices))
    index, *rows = aligned([cast(lift(a, builder), INT64), *promoted([lift(c, builder) for c in choices])])
    return take_along_axis(stack(rows), reshape(index, (1, *index.shape)), 0)[0]


@spells(np.compress)
def compress(condition: Any, a: Any, axis: int | None = None) -> Term:
    """As np.compress, the condition known when tracing."""
    known = static(condition, "a condition").astype(bool)
    a = reshape(a, (a.size,)) if axis is None else a
    (axis,) = normal_axes(axis or 0, a.ndim)
    return take(a, np.flatnonzero(known), axis)


@spells(np.extract)
def extract(condition: Any, arr: Any) -> Term:
    """As np.extract, the condition known when tracing."""
    return compress(np.ravel(static(condition, "a condition")), arr)


@spells(np.unravel_index)
def unravel_index(indices: Term, shape: Any, order: str = "C") -> tuple[Term, ...]:
    require(order == "C", "only C order is traced", reason="NOT_TRACEABLE", got=order, allowed="C")
    dims = (shape,) if isinstance(shape, int) else tuple(shape)
    require(0 not in dims, "no index is within an empty array", got=dims)
    found: list[Term] = []
    for n in dims[::-1]:
        found.append(indices % n)
        indices = indices // n
    return tuple(t.astype(INT64) for t in found[::-1])


@spells(np.isin)
def isin(element: Any, test_elements: Any, *, invert: bool = False) -> Term:
    """Whether each element is among the others; every pair is compared."""
    element, others = promoted([element, test_elements])
    among: Term = call("any", call("equal", *aligned([reshape(element, (*element.shape, 1)), reshape(others, (others.size,))])), axes=(element.ndim,))
    return call("logical_not", among) if invert else among


@spells(np.ix_)
def ix_(*args: Any) -> tuple[Any, ...]:
    """As np.ix_, of traced indices too."""
    lines = [a if isinstance(a, Term) else np.asarray(a) for a in args]
    lines = [np.flatnonzero(a) if isinstance(a, np.ndarray) and a.dtype == bool else a for a in lines]
    require(all(len(a.shape) == 1 for a in lines), "every index must have one axis", got=[a.shape for a in lines])
    return tuple(a.reshape((1,) * i + a.shape + (1,) * (len(lines) - i - 1)) for i, a in enumerate(lines))


# What depends on a shape alone is NumPy's own answer.

for _function in (np.diag_indices_from, np.tril_indices_from, np.triu_indices_from):

    @spells(_function)
    def _indices_from(arr: Term, *args: Any, function: Callable[..., Any] = _function, **options: Any) -> Any:
        return function(np.broadcast_to(False, arr.shape), *args, **options)


@spells(np.copy)
def copy(a: Term) -> Term:
    return a


@spells(np.iscomplexobj)
def iscomplexobj(x: Term) -> bool:
    return False


@spells(np.isrealobj)
def isrealobj(x: Term) -> bool:
    return True


_SETS = "the shape of its result depends on values: np.isin compares with every element"
HINTS |= dict.fromkeys((np.intersect1d, np.setdiff1d, np.setxor1d, np.union1d), _SETS)
HINTS |= {
    np.nonzero: "the shape of its result depends on values: use np.where(mask, x, 0), or compute the mask before tracing",
    np.flatnonzero: "the shape of its result depends on values: use np.where(mask, x, 0), or compute the mask before tracing",
    np.argwhere: "the shape of its result depends on values: use np.where(mask, x, 0), or compute the mask before tracing",
    np.unique: "the shape of its result depends on values: compute it before tracing; bs.segment_sum adds by groups",
    np.trim_zeros: "the shape of its result depends on values: slice with bounds known when tracing",
    np.bincount: "the shape of its result depends on values: use bs.segment_sum(weights, x, count)",
    np.histogram: "use bs.segment_sum(weights, np.searchsorted(edges, x, 'right') - 1, count)",
    np.allclose: "it answers with a Python bool: np.all(np.isclose(a, b)) is the traced truth value",
    np.array_equal: "it answers with a Python bool: np.all(a == b) is the traced truth value",
    np.array_equiv: "it answers with a Python bool: np.all(a == b) is the traced truth value",
}
