"""NumPy's rearrangements, spelled in other ops: repeated, rolled, padded, split and joined arrays.

No records here. What a rearrangement does to positions NumPy itself says, on np.arange; a run of
positions then becomes a slice, anything else a take. Counts, widths and positions are static.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from ..errors import GraphError
from .build import aligned, broadcast, call, cast, common_builder, constant, lift, promoted
from .op import require, spells
from .pieces import concatenate, cut, flip
from .places import getitem
from .shape import listed_axes, moveaxis, reshape, swapaxes
from .term import Term

Array = Any
Ints = tuple[int, ...]


def static(value: Any, what: str) -> Array:
    """A count or position as a NumPy array; a traced one is refused, since a shape would depend on it."""
    if isinstance(value, Term):
        raise GraphError(f"{what} cannot be traced: a shape depends on it", reason="NOT_TRACEABLE", got=str(value.type), hint="pass it as a Python argument")
    array = np.asarray(value)
    return array if array.size else array.astype(np.int64)  # an empty list


def picked(x: Term, positions: Array, axis: int) -> Term:
    """x at the positions along an axis, as a view where they are one element or evenly spaced."""
    steps = set(np.diff(positions).tolist()) if positions.size else {1}
    whole = [slice(None)] * axis
    if steps == {0}:
        one = cut_along(x, axis, int(positions[0]), int(positions[0]) + 1)
        return broadcast(one, (*x.shape[:axis], positions.size, *x.shape[axis + 1 :]))
    if len(steps) <= 1 and positions.size:
        first, last, step = int(positions[0]), int(positions[-1]), next(iter(steps), 1)
        stop: int | None = last + (1 if step > 0 else -1)
        return getitem(x, (*whole, slice(first, None if stop == -1 else stop, step)))
    return call("take", x, lift(positions.astype(np.int64), x.builder), axis=axis)


def cut_along(x: Term, axis: int, start: int, stop: int) -> Term:
    """x[start:stop] along an axis."""
    return cut(x, tuple(start if a == axis else 0 for a in range(x.ndim)), tuple(stop if a == axis else d for a, d in enumerate(x.shape)))


def _axis(axis: Any, rank: int) -> int:
    return listed_axes(axis, rank)[0]


# More of the same.


@spells(np.repeat)
def repeat(x: Term, repeats: Any, axis: int | None = None) -> Term:
    counts = static(repeats, "a repeat count")
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = _axis(axis, x.ndim)
    n = x.shape[axis]
    require(counts.dtype.kind in "iu" and (counts.size == 0 or counts.min() >= 0), "counts must be integers >= 0", reason="ATTRIBUTE", got=repeats)
    if counts.size != 1:
        require(counts.shape == (n,), "one count is needed for each element", got=counts.shape, allowed=(n,))
        return picked(x, np.repeat(np.arange(n), counts), axis)
    k = int(counts.reshape(())[()])
    column = reshape(x, (*x.shape[: axis + 1], 1, *x.shape[axis + 1 :]))
    return reshape(broadcast(column, (*x.shape[: axis + 1], k, *x.shape[axis + 1 :])), (*x.shape[:axis], n * k, *x.shape[axis + 1 :]))


@spells(np.tile)
def tile(x: Term, reps: Any) -> Term:
    times = [int(r) for r in np.atleast_1d(static(reps, "a tile count"))]
    require(min(times, default=0) >= 0, "tile counts must not be negative", reason="ATTRIBUTE", got=reps)
    rank = max(len(times), x.ndim)
    times = [1] * (rank - len(times)) + times
    dims = (1,) * (rank - x.ndim) + x.shape
    apart = reshape(x, tuple(d for n in dims for d in (1, n)))
    return reshape(broadcast(apart, tuple(d for pair in zip(times, dims, strict=True) for d in pair)), tuple(r * n for r, n in zip(times, dims, strict=True)))


@spells(np.resize)
def resize(x: Term, new_shape: Any) -> Term:
    shape = (new_shape,) if isinstance(new_shape, int) else tuple(new_shape)
    positions = np.resize(np.arange(x.size), math.prod(shape))
    return reshape(picked(reshape(x, (x.size,)), positions, 0), shape) if x.size else constant(x.builder, 0, shape, x.dtype)


# Turned round.


@spells(np.roll)
def roll(x: Term, shift: Any, axis: Any = None) -> Term:
    if axis is None:
        return reshape(roll(reshape(x, (x.size,)), int(static(shift, "a shift").sum()), 0), x.shape)
    shifts, axes = np.broadcast_arrays(static(shift, "a shift"), np.asarray(axis))
    for s, a in zip(shifts.ravel(), axes.ravel(), strict=True):
        (a,) = listed_axes(a, x.ndim)
        at = int(-s) % x.shape[a] if x.shape[a] else 0
        if at:
            x = concatenate([cut_along(x, a, at, x.shape[a]), cut_along(x, a, 0, at)], a)
    return x


@spells(np.rot90)
def rot90(x: Term, k: int = 1, axes: Any = (0, 1)) -> Term:
    a, b = listed_axes(axes, x.ndim)
    k %= 4
    if k == 2:
        return flip(x, (a, b))
    y = flip(x, b) if k == 1 else x
    y = swapaxes(y, a, b) if k else y
    return flip(y, b) if k == 3 else y


@spells(np.fliplr)
def fliplr(x: Term) -> Term:
    return flip(x, 1)


@spells(np.flipud)
def flipud(x: Term) -> Term:
    return flip(x, 0)


@spells(np.rollaxis)
def rollaxis(x: Term, axis: int, start: int = 0) -> Term:
    axis, start = _axis(axis, x.ndim), start + x.ndim if start < 0 else start
    require(0 <= start <= x.ndim, "start is outside the array", reason="ATTRIBUTE", got=start, allowed=f"0 to {x.ndim}")
    return moveaxis(x, axis, start - 1 if axis < start else start)


# Padded. Every mode but constant reads each axis at the positions np.pad gives to np.arange.


@spells(np.pad)
def pad(x: Term, pad_width: Any, mode: str = "constant", *, constant_values: Any = 0, reflect_type: str = "even") -> Term:
    allowed = "constant, edge, reflect, symmetric, wrap"
    require(mode in allowed.split(", "), "this mode is not traced", reason="NOT_TRACEABLE", got=mode, allowed=allowed)
    require(reflect_type == "even", "only even reflection is traced", reason="NOT_TRACEABLE", got=reflect_type, allowed="even")
    if isinstance(pad_width, dict):
        given = {_axis(a, x.ndim): w for a, w in pad_width.items()}
        pad_width = [np.broadcast_to(given.get(a, 0), 2) for a in range(x.ndim)]
    widths = _pairs(static(pad_width, "a pad width"), x.ndim, "pad_width")
    require(widths.dtype.kind in "iu" and widths.min(initial=0) >= 0, "pad widths must be integers >= 0", reason="ATTRIBUTE", got=pad_width)
    low, high = (tuple(int(w) for w in widths[:, i]) for i in (0, 1))
    if mode != "constant":
        for a, n in enumerate(x.shape):
            if low[a] or high[a]:
                require(n, "an empty axis has nothing to pad with", got=x.shape, hint='use mode="constant"')
                at = np.pad(np.arange(n), (low[a], high[a]), mode)  # type: ignore[call-overload]  # mode is one of them
                x = concatenate([*_runs(x, at[: low[a]], a), x, *_runs(x, at[low[a] + n :], a)], a)
        return x
    fill = _pairs(static(constant_values, "a pad value"), x.ndim, "constant_values")
    if not fill.any():
        return call("pad", x, low=low, high=high, interior=(0,) * x.ndim) if any(low + high) else x
    for a in range(x.ndim):
        blocks = [constant(x.builder, v, (*x.shape[:a], w, *x.shape[a + 1 :]), x.dtype) for v, w in ((fill[a, 0], low[a]), (fill[a, 1], high[a]))]
        x = concatenate([blocks[0], x, blocks[1]], a)
    return x


def _pairs(value: Array, rank: int, name: str) -> Array:
    try:
        return np.broadcast_to(value, (rank, 2))
    except ValueError:
        require(False, f"{name} does not fit the array", reason="ATTRIBUTE", got=value.shape, allowed=f"what broadcasts to ({rank}, 2)")
        raise


def _runs(x: Term, positions: Array, axis: int) -> list[Term]:
    """x at the positions, as one view for each run of them; one take if the runs are many."""
    if not positions.size:
        return []
    # A run ends where the step changes: 2 1 0 0 1 2 is two.
    ends = [0]
    for i in range(2, len(positions)):
        if i - ends[-1] >= 2 and positions[i] - positions[i - 1] != positions[i - 1] - positions[i - 2]:
            ends.append(i)
    ends.append(len(positions))
    if len(ends) > 5:
        return [picked(x, positions, axis)]
    return [picked(x, positions[a:b], axis) for a, b in pairwise(ends)]


# Taken apart.


@spells(np.array_split)
def array_split(x: Term, indices_or_sections: Any, axis: int = 0) -> list[Term]:
    axis = _axis(axis, x.ndim)
    n = x.shape[axis]
    given = static(indices_or_sections, "where to split")
    if given.ndim == 0:
        require(given >= 1, "there must be one part at least", reason="ATTRIBUTE", got=given)
        parts = int(given)
        bounds = [0, *np.cumsum([n // parts + (i < n % parts) for i in range(parts)]).tolist()]
        return [cut_along(x, axis, a, b) for a, b in pairwise(bounds)]
    at = [0, *given.tolist(), n]
    spans = [slice(a, b).indices(n)[:2] for a, b in pairwise(at)]
    return [cut_along(x, axis, a, max(a, b)) for a, b in spans]


@spells(np.split)
def split(x: Term, indices_or_sections: Any, axis: int = 0) -> list[Term]:
    parts = static(indices_or_sections, "where to split")
    n = x.shape[_axis(axis, x.ndim)]
    require(parts.ndim or (parts >= 1 and n % int(parts) == 0), "parts are not equal", got=f"{n} in {parts}", hint="use np.array_split")
    return array_split(x, indices_or_sections, axis)


@spells(np.hsplit)
def hsplit(x: Term, indices_or_sections: Any) -> list[Term]:
    return split(x, indices_or_sections, 0 if x.ndim == 1 else 1)


@spells(np.vsplit)
def vsplit(x: Term, indices_or_sections: Any) -> list[Term]:
    return split(x, indices_or_sections, 0)


@spells(np.dsplit)
def dsplit(x: Term, indices_or_sections: Any) -> list[Term]:
    return split(x, indices_or_sections, 2)


@spells(np.unstack)
def unstack(x: Term, /, *, axis: int = 0) -> tuple[Term, ...]:
    return tuple(moveaxis(x, axis, 0))


@spells(np.delete)
def delete(x: Term, obj: Any, axis: int | None = None) -> Term:
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = _axis(axis, x.ndim)
    obj = obj if isinstance(obj, slice) else static(obj, "what to delete")
    try:
        left = np.delete(np.arange(x.shape[axis]), obj)
    except (IndexError, ValueError) as error:
        raise GraphError("what to delete is outside the array", reason="SHAPE", got=str(error)) from None
    parts = _runs(x, left, axis)
    return concatenate(parts, axis) if parts else cut_along(x, axis, 0, 0)


@spells(np.insert)
def insert(x: Any, obj: Any, values: Any, axis: int | None = None) -> Term:
    builder = common_builder((x, values))
    x = lift(x, builder)
    values = cast(lift(values, builder), x.dtype)
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    axis = _axis(axis, x.ndim)
    n = x.shape[axis]
    at = obj if isinstance(obj, slice) else static(obj, "where to insert")
    values = reshape(values, (1,) * (x.ndim - values.ndim) + values.shape)
    if not isinstance(at, slice) and at.ndim == 0:
        values = moveaxis(values, 0, axis)  # as NumPy: x[:, 0] = ... rather than x[:, [0]] = ...
    try:
        count = values.shape[axis] if not isinstance(at, slice) and at.size == 1 and at.dtype != bool else np.insert(np.arange(n), at, 0).size - n
        order = np.insert(np.arange(n), at, n + np.arange(count))
    except (IndexError, ValueError) as error:
        raise GraphError("where to insert is outside the array", reason="SHAPE", got=str(error)) from None
    wanted = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    require(all(a in (1, b) for a, b in zip(values.shape, wanted, strict=True)), "values do not fit", got=values.shape, allowed=f"what broadcasts to {wanted}")
    return picked(concatenate([x, broadcast(values, wanted)], axis), order, axis)


# Put together.


@spells(np.append)
def append(x: Any, values: Any, axis: int | None = None) -> Term:
    return concatenate([x, values], axis)


@spells(np.column_stack)
def column_stack(tup: Sequence[Any]) -> Term:
    return concatenate([t if t.ndim >= 2 else reshape(t, (t.size, 1)) for t in promoted(list(tup))], 1)


@spells(np.dstack)
def dstack(tup: Sequence[Any]) -> Term:
    return concatenate([_deep(t) for t in promoted(list(tup))], 2)


@spells(np.block)
def block(arrays: Any) -> Term:
    """As np.block: nested lists, the innermost joined along the last axis."""
    leaves: list[Any] = []
    depth, level = 0, [arrays]
    while any(isinstance(a, list) for a in level):
        require(all(isinstance(a, list) and a for a in level), "the lists of a block are not nested evenly", got=f"depth {depth}")
        depth, level = depth + 1, [inner for a in level for inner in a]
    leaves = promoted(level)
    rank = max(depth, *[t.ndim for t in leaves])
    parts = iter([reshape(t, (1,) * (rank - t.ndim) + t.shape) for t in leaves])

    def joined(nested: Any, below: int) -> Term:
        return concatenate([joined(a, below - 1) for a in nested], rank - below) if below else next(parts)

    return joined(arrays, depth)


def _deep(x: Term) -> Term:
    return reshape(x, {0: (1, 1, 1), 1: (1, *x.shape, 1), 2: (*x.shape, 1)}.get(x.ndim, x.shape))


def _each(arrays: tuple[Any, ...], change: Any) -> Any:
    builder = common_builder(arrays)
    results = tuple(change(lift(a, builder)) for a in arrays)
    return results[0] if len(results) == 1 else results


@spells(np.atleast_1d)
def atleast_1d(*arys: Any) -> Any:
    return _each(arys, lambda x: x if x.ndim else reshape(x, (1,)))


@spells(np.atleast_2d)
def atleast_2d(*arys: Any) -> Any:
    return _each(arys, lambda x: reshape(x, (1,) * (2 - x.ndim) + x.shape))


@spells(np.atleast_3d)
def atleast_3d(*arys: Any) -> Any:
    return _each(arys, _deep)


@spells(np.meshgrid)
def meshgrid(*xi: Any, indexing: str = "xy", sparse: bool = False, copy: bool = True) -> tuple[Term, ...]:
    require(indexing in ("xy", "ij"), "unknown indexing", reason="ATTRIBUTE", got=indexing, allowed="xy, ij")
    builder = common_builder(xi)
    lines = [lift(x, builder) for x in xi]
    rank = len(lines)
    grids = [reshape(x, tuple(x.size if a == i else 1 for a in range(rank))) for i, x in enumerate(lines)]
    if indexing == "xy" and rank > 1:
        grids = [swapaxes(g, 0, 1) for g in grids]
    return tuple(grids if sparse else aligned(grids))


# Like another array: NumPy's own arrays, since they do not depend on the traced value.


@spells(np.full_like)
def full_like(a: Any, fill_value: Any, dtype: Any = None, *, shape: Any = None) -> Any:
    shape = tuple(a.shape) if shape is None else (shape,) if isinstance(shape, int) else tuple(shape)
    dtype = np.dtype(a.dtype if dtype is None else dtype)
    if isinstance(fill_value, Term):
        return broadcast(cast(fill_value, dtype), shape)
    return np.full(shape, fill_value, dtype)


@spells(np.zeros_like, np.empty_like)
def zeros_like(a: Term, dtype: Any = None, *, shape: Any = None) -> Any:
    return full_like(a, 0, dtype, shape=shape)


@spells(np.ones_like)
def ones_like(a: Term, dtype: Any = None, *, shape: Any = None) -> Any:
    return full_like(a, 1, dtype, shape=shape)


@spells(np.result_type)
def result_type(*arrays_and_dtypes: Any) -> np.dtype[Any]:
    return np.result_type(*[a.dtype if isinstance(a, Term) else a for a in arrays_and_dtypes])
