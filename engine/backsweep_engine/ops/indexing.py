"""Ops that read and write by index arrays, and what x[...] means on a traced value.

An index is in range if -n <= i < n, negative ones counting from the end. Outside, `take` yields NaN
(0 for integers and bools) and `put_add` drops the element: no exception, and nothing read astray.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import broadcast, call, call_in, common_builder, constant, lift
from .op import (
    ANY,
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
    spells,
)
from .pieces import cut
from .shape import moveaxis, normal_axes, permute, reshape
from .term import Term

Array = Any
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]


def _take_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    x, index = types
    require_dtype(index, INTEGERS)
    require(0 <= axis < x.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {x.rank - 1}")
    return (x.with_shape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])),)


def _in_range(index: Array, n: int) -> Array | None:
    """None if every index is in range (the usual case), else the mask of those that are."""
    if index.size == 0 or (index.min() >= -n and index.max() < n):
        return None
    return (index >= -n) & (index < n)


def _take(x: Array, index: Array, out: Array = None, *, axis: int) -> Array:
    good = _in_range(index, x.shape[axis])
    if good is None:
        # mode="wrap" counts negative indices from the end and, unlike "raise", needs no buffer for out=.
        return np.take(x, index, axis, out=out, mode="wrap") if x.shape[axis] else np.empty((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype)
    result = np.zeros((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]), x.dtype) if out is None else out
    result.fill(np.nan if x.dtype.kind == "f" else 0)
    spot = (slice(None),) * axis + (good,)
    result[spot] = np.take(x, index[good], axis)
    return result


def _masks(index: Type) -> int:
    """Bytes of what a kernel makes of its indices: int64 ones in range, and three masks."""
    return index.size * 11


def _rowwise(index: Term, n: int) -> Term:
    """Indices (rows, ...) into axes of length n laid end to end: each row's shifted to its own part.

    An index out of range must stay so after the shift, whichever row it is in.
    """
    rows = index.shape[0]
    index = index.astype(INT64)
    first = reshape(call_in(index.builder, "iota", size=rows) * n, (rows,) + (1,) * (index.ndim - 1))
    shifted = call("where", index < 0, index + n, index) + first
    outside = constant(index.builder, rows * n, index.shape, INT64)
    return call("where", logical_and(index >= -n, index < n), shifted, outside)


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
    picked: Term = call("take", reshape(front, (rows * n, *front.shape[2:])), _rowwise(index, n), axis=0)
    k = index.ndim  # picked is (rows, *index, *axes before, *axes after): the axes before go first again
    return permute(picked, (0, *range(k, k + axis), *range(1, k), *range(k + axis, picked.ndim)))


register(
    Op(
        name="take",
        infer=_take_infer,
        apply=_take,
        derivative=Transposes(lambda i, c, x, index, axis: call("put_add", c, index, axis=axis, size=x.shape[axis]), operands=(0,)),
        batch=_take_batch,
        cost=lambda types, results, **_: Cost(0, results[0].nbytes * 2 + types[1].nbytes, results[0].nbytes + _masks(types[1]), types[0].nbytes),
        examples=(Example((Type(FLOAT64, (3, 5)), Type(INT64, (4,))), {"axis": 1}),),
        arity=2,
        attributes={"axis": Kind.INT},
        domain=(REALS, Domain(-1, 3)),
        summary="slices of x along an axis, by integer indices of any shape",
        operand_dtypes=ANY,
    )
)


def _take_or_zero(c: Term, index: Term, axis: int) -> Term:
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
    lead = (slice(None),) * axis
    good = _in_range(index, size)
    if good is not None:
        x, index = x[(*lead, good)], index[good]
    np.add.at(out, (*lead, index), x)
    return out


def _put_add_batch(mask: tuple[bool, ...], x: Term, index: Term, axis: int, size: int) -> Term:
    if not mask[1]:
        return call("put_add", x, index, axis=axis + 1, size=size)
    rows = index.shape[0]
    x = x if mask[0] else broadcast(x, (rows, *x.shape))
    k = index.ndim - 1
    front = permute(x, (0, *range(axis + 1, axis + 1 + k), *range(1, axis + 1), *range(axis + 1 + k, x.ndim)))
    flat: Term = call("put_add", front, _rowwise(index, size), axis=0, size=rows * size)
    return moveaxis(reshape(flat, (rows, size, *flat.shape[1:])), 1, axis + 1)


register(
    Op(
        name="put_add",
        infer=_put_add_infer,
        apply=_put_add,
        derivative=Transposes(lambda i, c, x, index, axis, size: _take_or_zero(c, index, axis), operands=(0,)),
        batch=_put_add_batch,
        cost=lambda types, results, **_: Cost(types[0].size, types[0].nbytes + results[0].nbytes, types[0].nbytes + _masks(types[1])),
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


# What x[index] means.


@spells(np.take)
def take(x: Any, index: Any, axis: int | None = None) -> Term:
    builder = common_builder((x, index))
    x, index = lift(x, builder), lift(index, builder)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    (axis,) = normal_axes(axis, x.ndim)
    return call("take", x, index, axis=axis)


@spells(Term.__getitem__)
def getitem(x: Term, index: Any) -> Term:
    """Basic indexing (ints, slices, None, ...) and at most one integer or mask array."""
    entries = list(index) if isinstance(index, tuple) else [index]
    entries = [np.asarray(e) if isinstance(e, list) else e for e in entries]
    entries = [int(e) if isinstance(e, np.ndarray) and e.ndim == 0 and e.dtype.kind in "iu" else e for e in entries]
    used = sum(e is not None and e is not Ellipsis for e in entries)
    require(used <= x.ndim, "too many indices", reason="NOT_TRACEABLE", got=f"{used}", allowed=f"{x.ndim}")
    if not any(e is Ellipsis for e in entries):
        entries.append(Ellipsis)
    at = next(i for i, e in enumerate(entries) if e is Ellipsis)
    entries[at : at + 1] = [slice(None)] * (x.ndim - used)
    start, stop, step, flips, shape = [], [], [], [], []
    advanced: tuple[int, Any] | None = None
    axis = 0
    for entry in entries:
        if entry is None:
            shape.append(1)
            continue
        n = x.shape[axis]
        first, last, stride = 0, n, 1
        if isinstance(entry, slice):
            first, last, stride = entry.indices(n)
            if stride < 0:
                flips.append(axis)
                first, last, stride = n - 1 - first, n - 1 - last, -stride
            last = max(first, last)
            shape.append(-(-(last - first) // stride))
        elif isinstance(entry, (int, np.integer)) and not isinstance(entry, bool):
            require(-n <= entry < n, "index is out of range", got=entry, allowed=f"{-n} to {n - 1}")
            first = int(entry) % n
            last = first + 1
        else:
            if advanced is not None:
                _refuse_advanced(x)
            advanced = (len(shape), _positions(entry, n))
            shape.append(n)
        start.append(first)
        stop.append(last)
        step.append(stride)
        axis += 1
    y = call("flip", x, axes=tuple(flips)) if flips else x
    y = reshape(cut(y, tuple(start), tuple(stop), tuple(step)), tuple(shape))
    return y if advanced is None else _picked(y, advanced, entries)


def _picked(y: Term, advanced: tuple[int, Any], entries: Sequence[Any]) -> Term:
    """take; if slices part the array from other indices its axes come first, as NumPy has it (x[0, :, [1, 2]])."""
    axis, index = advanced
    result = take(y, index, axis)
    places = [i for i, e in enumerate(entries) if not (e is None or isinstance(e, slice))]
    if places[-1] - places[0] == len(places) - 1:
        return result
    k = result.ndim - y.ndim + 1
    return moveaxis(result, range(axis, axis + k), range(k))


def _positions(entry: Any, n: int) -> Any:
    """An index array as integers: a mask known now becomes the positions where it holds."""
    if isinstance(entry, Term):
        require(entry.dtype.kind == "i", "a traced mask has no static shape", reason="NOT_TRACEABLE", got=entry.type, hint="use np.where(mask, x, 0)")
        return entry
    array = np.asarray(entry)
    if array.dtype == bool:
        require(array.shape == (n,), "mask does not fit the axis", got=array.shape, allowed=(n,))
        return np.flatnonzero(array)
    require(array.dtype.kind in "iu" or array.size == 0, "an index must be integer", reason="NOT_TRACEABLE", got=array.dtype, allowed="integers, slices, masks")
    array = array.astype(np.int64)
    require(_in_range(array, n) is None, "index is out of range", got=f"{array.min()} to {array.max()}" if array.size else "", allowed=f"{-n} to {n - 1}")
    return array


def _refuse_advanced(x: Term) -> None:
    require(False, "several index arrays in one x[...]", reason="NOT_TRACEABLE", hint="ravel x and compute the flat index, or index one axis after the other")
