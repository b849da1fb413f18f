"""Ops that read and add by index arrays. What x[...] means on a traced value is said in places.py.

An index is in range if -n <= i < n, negative ones counting from the end. Outside, `take` yields NaN
(0 for integers and bools) and `put_add` drops the element: no exception, and nothing read astray.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import aligned, broadcast, call, call_in, common_builder, constant, lift, promoted
from .op import (
    ANY,
    AS_APPLIED,
    INTEGERS,
    NUMBERS,
    REALS,
    Cost,
    Domain,
    Example,
    Kind,
    Op,
    Transposes,
    Zero,
    elementwise_cost,
    register,
    require,
    require_dtype,
    require_same,
    spells,
)
from .pointwise import lifted
from .shape import moveaxis, normal_axes, permute, reshape
from .term import Term

Array = Any
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]

ADD_AT = 4096
"""Up to so many elements put_add is np.add.at on them one by one."""

FEW = 4096
"""Up to so many indices NumPy's own check of them is soonest, for which it makes copies."""


def _take_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    x, index = types
    require_dtype(index, INTEGERS)
    require(0 <= axis < x.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {x.rank - 1}")
    return (x.with_shape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])),)


def in_range(index: Array, n: int) -> Array | None:
    """None if every index is in range (the usual case), else the mask of those that are."""
    if index.size == 0 or (index.min() >= -n and index.max() < n):
        return None
    return (index >= -n) & (index < n)


def _take(x: Array, index: Array, out: Array = None, *, axis: int) -> Array:
    good = in_range(index, x.shape[axis])
    if good is None:
        # mode="wrap" counts negative indices from the end and, unlike "raise", needs no buffer for out=.
        return np.take(x, index, axis, out=out, mode="wrap") if x.shape[axis] else np.empty((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)
    result = np.zeros((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype) if out is None else out
    result.fill(np.nan if x.dtype.kind == "f" else 0)
    spot = (slice(None),) * axis + (good,)
    result[spot] = np.take(x, index[good], axis)
    return result


def masks(index: Type) -> int:
    """Bytes of what a kernel makes of its indices: int64 ones in range, and three masks."""
    return index.size * 11


def rowwise(index: Term, n: int) -> Term:
    """Indices (rows, ...) into axes of length n laid end to end: each row's shifted to its own part."""
    rows = index.shape[0]
    row = reshape(call_in(index.builder, "iota", size=rows), (rows,) + (1,) * (index.ndim - 1))
    return call("ravel_index", broadcast(row, index.shape), index.astype(INT64), dims=(rows, n))


def logical_and(x: Term, y: Term) -> Term:
    return call("logical_and", x, y)


def _take_batch(mask: tuple[bool, ...], x: Term, index: Term, axis: int) -> Term:
    if not mask[1]:
        return call("take", x, index, axis=axis + 1)
    if not mask[0]:
        result = call("take", x, index, axis=axis)
        k = index.ndim - 1
        return permute(result, (axis, *range(axis), *range(axis + 1, axis + 1 + k), *range(axis + 1 + k, result.ndim)))
    rows, n = x.shape[0], x.shape[axis + 1]
    front = moveaxis(x, axis + 1, 1)
    picked: Term = call("take", reshape(front, (rows * n, *front.shape[2:])), rowwise(index, n), axis=0)
    k = index.ndim  # picked is (rows, *index, *axes before, *axes after): the axes before go first again
    return permute(picked, (0, *range(k, k + axis), *range(1, k), *range(k + axis, picked.ndim)))


register(
    Op(
        name="take",
        infer=_take_infer,
        apply=_take,
        derivative=Transposes(lambda i, c, x, index, axis: call("put_add", c, index, axis=axis, size=x.shape[axis]), operands=(0,)),
        continuation=AS_APPLIED,
        batch=_take_batch,
        cost=lambda types, results, **_: Cost(0, results[0].nbytes * 2 + types[1].nbytes, results[0].nbytes + masks(types[1]), types[0].nbytes),
        examples=(Example((Type(FLOAT64, (3, 5)), Type(INT64, (4,))), {"axis": 1}),),
        arity=2,
        attributes={"axis": Kind.INT},
        domain=(REALS, Domain(-1, 3)),
        summary="slices of x along an axis, by integer indices of any shape",
        operand_dtypes=ANY,
    )
)


def take_or_zero(c: Term, index: Term, axis: int) -> Term:
    """take, but 0 where the index is out of range: the transpose of dropping the element."""
    n = c.shape[axis]
    inside = logical_and(index >= -n, index < n)
    picked: Term = call("take", c, index * inside.astype(index.dtype), axis=axis)
    keep = reshape(inside, (1,) * axis + index.shape + (1,) * (picked.ndim - axis - index.ndim))
    return call("where", broadcast(keep, picked.shape), picked, constant(c.builder, 0, picked.shape, c.dtype))


def _put_add_infer(types: tuple[Type, ...], axis: int, size: int) -> tuple[Type, ...]:
    x, index = types
    require_dtype(x, NUMBERS)
    require_dtype(index, INTEGERS)
    require(size >= 0 and 0 <= axis <= x.rank - index.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {x.rank - index.rank}")
    stop = axis + index.rank
    require(x.shape[axis:stop] == index.shape, "values do not fit the indices", got=x, allowed=f"{index.shape} at axis {axis}")
    return (x.with_shape((*x.shape[:axis], size, *x.shape[stop:])),)


def _put_add(x: Array, index: Array, out: Array = None, *, axis: int, size: int) -> Array:
    if out is None:
        out = np.empty((*x.shape[:axis], size, *x.shape[axis + index.ndim :]), x.dtype)
    out.fill(0)
    lead, tail = math.prod(x.shape[:axis]), math.prod(x.shape[axis + index.ndim :])
    few = x.size < ADD_AT
    if few and lead == tail == 1:
        try:
            np.add.at(out.reshape(size), index, x.reshape(index.shape))
            return out
        except IndexError:  # some are out of range, and dropped below
            out.fill(0)
    good = in_range(index, size)
    if good is not None:
        x, index = x[(*(slice(None),) * axis, good)], index[good]
    if not x.size:
        return out
    index = index.reshape(-1).astype(INT64, copy=False)
    if index.min() < 0:
        index = np.where(index < 0, index + size, index)  # SciPy trusts its indices: none may be negative or too large here
    if lead > 1:
        index = (np.arange(lead)[:, None] * size + index).reshape(-1)
    if few:
        # One element by one: np.add.at takes twice as long for a slice at each index (measured).
        index = (index[:, None] * tail + np.arange(tail)).reshape(-1) if tail > 1 else index
        np.add.at(out.reshape(-1), index, x.reshape(-1))
        return out
    # Of many np.add.at takes 5 to 17 times what a product with the sparse matrix of the indices takes; both add in one order.
    rows, flat = x.reshape(index.size, -1), out.reshape(lead * size, -1)
    if rows.shape[1] == 1:
        np.add.at(flat[:, 0], index, rows[:, 0])
        return out
    from scipy.sparse import csc_array

    flat[...] = csc_array((np.ones(index.size, x.dtype), index, np.arange(index.size + 1)), shape=(flat.shape[0], index.size)) @ rows
    return out


def _put_add_cost(types: tuple[Type, ...], results: tuple[Type, ...], axis: int, size: int) -> Cost:
    x, index = types
    lead, tail = math.prod(x.shape[:axis]), math.prod(x.shape[axis + index.rank :])
    entries = lead * index.size
    if x.size < ADD_AT:
        own = x.size * 24 * (lead * tail > 1)
    else:
        own = entries * (x.dtype.itemsize + 40) + results[0].nbytes if tail > 1 else entries * 16
    return Cost(x.size, x.nbytes + results[0].nbytes, x.nbytes + masks(index) + own, x.nbytes + index.nbytes)


def _put_add_batch(mask: tuple[bool, ...], x: Term, index: Term, axis: int, size: int) -> Term:
    if not mask[1]:
        return call("put_add", x, index, axis=axis + 1, size=size)
    rows = index.shape[0]
    x = x if mask[0] else broadcast(x, (rows, *x.shape))
    k = index.ndim - 1
    front = permute(x, (0, *range(axis + 1, axis + 1 + k), *range(1, axis + 1), *range(axis + 1 + k, x.ndim)))
    flat: Term = call("put_add", front, rowwise(index, size), axis=0, size=rows * size)
    return moveaxis(reshape(flat, (rows, size, *flat.shape[1:])), 1, axis + 1)


register(
    Op(
        name="put_add",
        infer=_put_add_infer,
        apply=_put_add,
        derivative=Transposes(lambda i, c, x, index, axis, size: take_or_zero(c, index, axis), operands=(0,)),
        continuation=AS_APPLIED,
        batch=_put_add_batch,
        cost=_put_add_cost,
        examples=(Example((Type(FLOAT64, (3, 4)), Type(INT64, (4,))), {"axis": 1, "size": 5}),),
        arity=2,
        attributes={"axis": Kind.INT, "size": Kind.INT},
        domain=(REALS, Domain(-1, 3)),
        summary="zeros of the given size along an axis, with the values added at the indices",
        operand_dtypes=NUMBERS,
    )
)

register(
    Op(
        name="iota",
        infer=lambda types, size: (Type(INT64, (size,)),),
        apply=lambda out=None, *, size: np.copyto(out, np.arange(size)) if out is not None else np.arange(size),
        derivative=Zero(),
        batch=lambda mask, **attributes: None,  # it has no operand that could be batched
        cost=elementwise_cost(1),
        examples=(Example((), {"size": 4}),),
        arity=0,
        attributes={"size": Kind.INT},
        summary="the integers 0 to size - 1",
    )
)


def _ravel_index_infer(types: tuple[Type, ...], dims: tuple[int, ...]) -> tuple[Type, ...]:
    require(len(types) >= 1, "no indices", reason="ARITY", got=0, allowed="1 or more")
    require(len(types) == len(dims), "one index is needed for each axis", reason="ATTRIBUTE", got=dims, allowed=f"{len(types)} lengths")
    require_same(types)
    require_dtype(types[0], INTEGERS)
    require(all(0 <= d < 2**62 for d in dims) and math.prod(dims) < 2**62, "lengths out of range", reason="ATTRIBUTE", got=dims, allowed="below 2**62 in all")
    return (Type(INT64, types[0].shape),)


def _ravel_index(*index: Array, out: Array = None, dims: tuple[int, ...]) -> Array:
    out = np.empty(index[0].shape, INT64) if out is None else out
    if out.size < FEW:
        try:
            np.copyto(out, np.ravel_multi_index(index, dims))
            return out
        except ValueError:  # some are out of range, or count from the end
            pass
    out.fill(0)
    outside = np.zeros(out.shape, bool)
    for i, n in zip(index, dims, strict=True):
        np.multiply(out, n, out=out)
        np.add(out, i, out=out)
        np.add(out, n, out=out, where=i < 0)
        outside |= (i < -n) | (i >= n)
    np.copyto(out, math.prod(dims), where=outside)
    return out


register(
    Op(
        name="ravel_index",
        infer=_ravel_index_infer,
        apply=_ravel_index,
        derivative=Zero(),
        batch=lifted(lambda *index, dims: call("ravel_index", *index, dims=dims)),
        cost=elementwise_cost(6, masks=8),
        examples=(Example((Type(INT64, (4,)), Type(INT64, (4,))), {"dims": (3, 5)}),),
        arity=None,
        attributes={"dims": Kind.INTS},
        domain=(Domain(-5, 4), Domain(-7, 6)),
        summary="the place of an element in C order from its index on every axis; the number of elements where one is out of range",
        operand_dtypes=INTEGERS,
    )
)


@spells(np.ravel_multi_index)
def ravel_multi_index(multi_index: Sequence[Any], dims: Any, mode: str = "raise", order: str = "C") -> Term:
    """The flat index of several; negative ones count from the end."""
    require((mode, order) == ("raise", "C"), "only this mode and order are traced", reason="NOT_TRACEABLE", got=f"{mode}, {order}", allowed="raise, C")
    indices = [t.astype(INT64) for t in aligned(promoted(list(multi_index)))]
    return call("ravel_index", *indices, dims=(dims,) if isinstance(dims, int) else tuple(int(d) for d in dims))


@spells(np.take)
def take(x: Any, index: Any, axis: int | None = None, *, mode: str = "raise") -> Term:
    """As np.take; an index out of range gives NaN unless mode is wrap or clip."""
    require(mode in ("raise", "wrap", "clip"), "unknown mode", reason="ATTRIBUTE", got=mode, allowed="raise, wrap, clip")
    builder = common_builder((x, index))
    x, index = lift(x, builder), lift(index, builder)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    (axis,) = normal_axes(axis, x.ndim)
    if mode == "clip":
        index = np.maximum(0, np.minimum(index, x.shape[axis] - 1))
    elif mode == "wrap":
        index = np.remainder(index, x.shape[axis])
    return call("take", x, index, axis=axis)
