"""Writing into an array where NumPy would assign: new arrays, never the old one changed.

Three records (update, scatter_set, scatter_max with scatter_min) and put_add of indexing.py carry every
form of index; places.py says what an index names. Where an index array names an element twice, the last
value in C order stays, as NumPy assigns. An index out of range writes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, call_in, cast, common_builder, constant, lift, zeros
from .choice import where
from .indexing import in_range, masks, rowwise, take_or_zero
from .op import (
    ANY,
    BOOL,
    BY_PARTS,
    HINTS,
    INTEGERS,
    NUMBERS,
    REALS,
    Cost,
    Domain,
    Example,
    Kind,
    Op,
    Tangent,
    Transposes,
    elementwise_cost,
    face,
    register,
    require,
    require_dtype,
)
from .pieces import cut
from .places import Place, along, place
from .pointwise import lifted
from .shape import moveaxis, normal_axes, permute, reshape
from .term import Term

Array = Any
Ints = tuple[int, ...]
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]


# update: a slice of an array replaced.


def _update_infer(types: tuple[Type, ...], start: Ints, step: Ints) -> tuple[Type, ...]:
    x, v = types
    require(x.dtype == v.dtype, "operands must have one dtype", reason="DTYPE", got=v, allowed=x.dtype.name)
    require(x.rank == v.rank, "what is written has another rank", got=v, allowed=x)
    require(len(start) == len(step) == x.rank, "an update needs one entry per axis", reason="ATTRIBUTE", got=(start, step), allowed=x.shape)
    require(all(a >= 0 for a in start) and all(s >= 1 for s in step), "start or step out of range", reason="ATTRIBUTE", got=(start, step), allowed=">= 0, >= 1")
    within = all(n == 0 or a + (n - 1) * s < d for a, n, s, d in zip(start, v.shape, step, x.shape, strict=True))
    require(within, "what is written reaches outside the array", got=v, allowed=f"from {start} by {step} within {x}")
    return (x,)


def _ends(start: Ints, counts: Ints, step: Ints) -> Ints:
    return tuple(a + (n - 1) * s + 1 if n else a for a, n, s in zip(start, counts, step, strict=True))


def _update(x: Array, v: Array, out: Array = None, *, start: Ints, step: Ints) -> Array:
    out = np.empty(x.shape, x.dtype) if out is None else out
    np.copyto(out, x)
    out[(*map(slice, start, _ends(start, v.shape, step), step), ...)] = v
    return out


def _updated(i: int, c: Term, x: Any, v: Any, start: Ints, step: Ints) -> Term:
    nothing = zeros(c.builder, Type(c.dtype, v.shape))
    return _part(c, start, v.shape, step) if i else call("update", c, nothing, start=start, step=step)


def _part(c: Term, start: Ints, counts: Ints, step: Ints) -> Term:
    # A start may lie beyond the end where nothing is written.
    start = tuple(min(a, d) for a, d in zip(start, c.shape, strict=True))
    return cut(c, start, _ends(start, counts, step), step)


register(
    Op(
        name="update",
        infer=_update_infer,
        apply=_update,
        derivative=Transposes(_updated),
        continuation=BY_PARTS,
        batch=lifted(lambda x, v, start, step: call("update", x, v, start=(0, *start), step=(1, *step))),
        cost=elementwise_cost(0),
        examples=(Example((Type(FLOAT64, (5, 4)), Type(FLOAT64, (2, 3))), {"start": (1, 0), "step": (2, 1)}),),
        arity=2,
        attributes={"start": Kind.INTS, "step": Kind.INTS},
        domain=(REALS, REALS),
        summary="x with the elements start, start + step, ... of every axis replaced by v",
        operand_dtypes=ANY,
    )
)


# scatter_set, scatter_max, scatter_min: elements named by an index array replaced, or raised or lowered.


def _scatter_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    x, index, v = types
    require_dtype(index, INTEGERS)
    require(x.dtype == v.dtype, "operands must have one dtype", reason="DTYPE", got=v, allowed=x.dtype.name)
    require(0 <= axis < x.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {x.rank - 1}")
    wanted = (*x.shape[:axis], *index.shape, *x.shape[axis + 1 :])
    require(v.shape == wanted, "values do not fit the indices", got=v, allowed=wanted)
    return (x,)


def _scattered(write: Callable[[Array, Any, Array], None]) -> Callable[..., Array]:
    """The kernel: x copied, then `write(out, spot, values)` with the indices as one line in C order, those out of range left out."""

    def apply(x: Array, index: Array, v: Array, out: Array = None, *, axis: int) -> Array:
        out = np.empty(x.shape, x.dtype) if out is None else out
        np.copyto(out, x)
        lead = (slice(None),) * axis
        v = v.reshape((*x.shape[:axis], index.size, *x.shape[axis + 1 :]))
        index = index.reshape(-1)
        good = in_range(index, x.shape[axis])
        if good is not None:
            v, index = v[(*lead, good)], index[good]
        write(out, (*lead, index), v)
        return out

    return apply


def _assign(out: Array, spot: Any, values: Array) -> None:
    out[spot] = values


def _scatter_batch(name: str) -> Callable[..., Term]:
    def batch(mask: tuple[bool, ...], x: Term, index: Term, v: Term, axis: int) -> Term:
        size = next(t.shape[0] for t, m in zip((x, index, v), mask, strict=True) if m)
        x, v = (t if m else broadcast(t, (size, *t.shape)) for t, m in ((x, mask[0]), (v, mask[2])))
        if not mask[1]:
            return call(name, x, index, v, axis=axis + 1)
        k, n = index.ndim - 1, x.shape[axis + 1]
        front = moveaxis(x, axis + 1, 1)
        values = permute(v, (0, *range(axis + 1, axis + 1 + k), *range(1, axis + 1), *range(axis + 1 + k, v.ndim)))
        laid = reshape(front, (size * n, *front.shape[2:]))
        return moveaxis(reshape(call(name, laid, rowwise(index, n), values, axis=0), front.shape), 1, axis + 1)

    return batch


def _scatter_cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    # Where an index is out of range the values in range are copied; values or indices that do not lie in C order are, too.
    x, index, v = types
    return Cost(v.size, x.nbytes * 2 + v.nbytes + index.nbytes, v.nbytes + masks(index) + index.nbytes, v.nbytes + index.nbytes)


def _last_written(c: Term, index: Term, axis: int) -> Term:
    """The cotangent of the values: read where each was written, 0 for one overwritten by a later one."""
    turn = reshape(call_in(c.builder, "iota", size=index.size), index.shape)
    last = call("scatter_set", constant(c.builder, 0, (c.shape[axis],), INT64), index, turn, axis=0)
    stays = call("take", last, index, axis=0) == turn
    read = take_or_zero(c, index, axis)
    keep = reshape(stays, (1,) * axis + index.shape + (1,) * (read.ndim - axis - index.ndim))
    return call("where", broadcast(keep, read.shape), read, zeros(c.builder, read.type))


def _unscatter(i: int, c: Term, x: Any, index: Term, v: Any, axis: int) -> Term:
    return _last_written(c, index, axis) if i else call("scatter_set", c, index, zeros(c.builder, Type(c.dtype, v.shape)), axis=axis)


def _extreme_tangent(y: Term, x: tuple[Any, ...], t: tuple[Any, ...], axis: int) -> Term:
    """The mean of the tangents of all that attain the value: the old element and the values written there."""
    a, index, v = x
    add = partial(call, "put_add", axis=axis, size=a.shape[axis])
    stays, wins = cast(a == y, a.dtype), cast(v == call("take", y, index, axis=axis), a.dtype)
    moved = [p for p in (None if t[0] is None else stays * t[0], None if t[2] is None else add(wins * t[2], index)) if p is not None]
    return (1 / (stays + add(wins, index))) * sum(moved[1:], start=moved[0])


_INDEXED: tuple[Type, ...] = (Type(FLOAT64, (3, 5)), Type(INT64, (4,)), Type(FLOAT64, (3, 4)))
for _name, _write, _what in (
    ("scatter_set", _assign, "replaced by v, the last of several staying"),
    ("scatter_max", np.maximum.at, "raised to v where it is larger"),
    ("scatter_min", np.minimum.at, "lowered to v where it is smaller"),
):
    register(
        Op(
            name=_name,
            infer=_scatter_infer,
            apply=_scattered(_write),
            derivative=Transposes(_unscatter, operands=(0, 2)) if _name == "scatter_set" else Tangent(_extreme_tangent),
            continuation=BY_PARTS if _name == "scatter_set" else None,
            batch=_scatter_batch(_name),
            cost=_scatter_cost,
            examples=(Example(_INDEXED, {"axis": 1}),),
            arity=3,
            attributes={"axis": Kind.INT},
            domain=(REALS, Domain(-1, 3), REALS),
            kinks="" if _name == "scatter_set" else "where several attain the value they share the derivative evenly",
            summary=f"x with the elements along an axis that integer indices name {_what}",
            operand_dtypes=ANY,
        )
    )


# What users write.


def _written(x: Any, index: Any, value: Any, change: Callable[[Place, Term, Term], Term]) -> Term:
    """x with change(place, region, values) at x[index]; `value` is cast to x's dtype and broadcast, as NumPy assigns."""
    first = index if isinstance(index, tuple) else (index,)
    builder = common_builder((x, value, *first))
    x = lift(x, builder)
    mask = first[0] if len(first) == 1 and isinstance(first[0], Term) and first[0].dtype == BOOL else None
    # Under a mask that is not known when tracing everything is written, and taken where it holds.
    spot = place(x.shape, Ellipsis if mask is not None else index)
    if not isinstance(value, Term):
        value = np.asarray(value)
    holds = np.can_cast(value.dtype, x.dtype, "same_kind")
    require(holds, "the array cannot hold the values", reason="DTYPE", got=value.dtype, allowed=x.dtype.name, hint="cast the array first (x.astype)")
    v = cast(lift(value if isinstance(value, Term) else value.astype(x.dtype), builder), x.dtype)
    if mask is not None:
        require(mask.shape == x.shape[: mask.ndim], "mask does not fit the array", got=mask.shape, allowed=f"the first axes of {x.shape}")
        many = v.ndim > x.ndim - mask.ndim and v.size > 1
        require(not many, "how many values a traced mask takes is not known", reason="NOT_TRACEABLE", got=v.shape, hint="np.where(mask, values, x)")
        v = reshape(v, v.shape[max(0, v.ndim - x.ndim + mask.ndim) :])
    surplus = v.ndim - len(spot.result)
    if surplus > 0 and v.shape[:surplus] == (1,) * surplus:
        v = reshape(v, v.shape[surplus:])
    fits = v.ndim <= len(spot.result) and all(a in (1, b) for a, b in zip(v.shape[::-1], spot.result[::-1], strict=False))
    require(fits, "values do not fit the place they are written to", got=v.shape, allowed=f"what broadcasts to {spot.result}")
    v = spot.values(broadcast(v, spot.result))
    if mask is not None:
        return where(reshape(mask, (*mask.shape, *(1,) * (x.ndim - mask.ndim))), change(spot, x, v), x)
    return spot.write(x, lambda region: change(spot, region, v))


def _scatter(name: str, spot: Place, region: Term, v: Term) -> Term:
    return call(name, region, spot.flat(region.builder), v, axis=spot.axis)


@face("set", static=(1,))
def set_(x: Any, index: Any, value: Any) -> Term:
    """A copy of x with copy[index] = value, for every index NumPy takes; one value for all that a traced mask holds for."""
    return _written(x, index, value, lambda spot, region, v: _scatter("scatter_set", spot, region, v) if spot.indexed else v)


@face("add_at", static=(1,))
def add_at(x: Any, index: Any, value: Any) -> Term:
    """A copy of x after np.add.at(copy, index, value): an element named twice gets both."""

    def change(spot: Place, region: Term, v: Term) -> Term:
        return region + (call("put_add", v, spot.flat(region.builder), axis=spot.axis, size=region.shape[spot.axis]) if spot.indexed else v)

    return _written(x, index, value, change)


@face("max_at", static=(1,))
def max_at(x: Any, index: Any, value: Any) -> Term:
    """A copy of x after np.maximum.at(copy, index, value)."""
    return _written(x, index, value, lambda spot, region, v: _scatter("scatter_max", spot, region, v) if spot.indexed else call("maximum", region, v))


@face("min_at", static=(1,))
def min_at(x: Any, index: Any, value: Any) -> Term:
    """A copy of x after np.minimum.at(copy, index, value)."""
    return _written(x, index, value, lambda spot, region, v: _scatter("scatter_min", spot, region, v) if spot.indexed else call("minimum", region, v))


@face("put", static=(1,))
def put(x: Any, index: Any, value: Any) -> Term:
    """A copy of x after np.put(copy, index, value): flat indices, the values repeated as needed."""
    x = lift(x, common_builder((x, index, value)))
    index = index if isinstance(index, Term) else np.asarray(index)
    value = value if isinstance(value, Term) else np.asarray(value)
    count = math.prod(index.shape)
    require(value.size or not count, "no values to put", got=value.shape)
    again = np.resize(np.arange(value.size), index.shape) if value.size else np.zeros(0, int)
    laid = value.reshape(-1)[again] if value.size != 1 else value.reshape(())
    return reshape(set_(reshape(x, (x.size,)), index, laid), x.shape)


@face("put_along_axis", static=(1,))
def put_along_axis(x: Any, indices: Any, values: Any, axis: int | None) -> Term:
    """A copy of x after np.put_along_axis(copy, indices, values, axis)."""
    x = lift(x, common_builder((x, indices, values)))
    shape = x.shape
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    (axis,) = normal_axes(axis, x.ndim)
    indices = indices if isinstance(indices, Term) else np.asarray(indices)
    return reshape(set_(x, along(indices, x.shape, axis), values), shape)


@face("segment_sum")
def segment_sum(x: Any, segments: Any, count: int) -> Term:
    """Entry k of the result is the sum of x[i] where segments[i] == k, for k below `count`; others are left out."""
    x, segments = _segments(x, segments)
    require_dtype(x.type, NUMBERS)
    return call("put_add", x, segments, axis=0, size=count)


@face("segment_max")
def segment_max(x: Any, segments: Any, count: int) -> Term:
    """Entry k of the result is the largest x[i] where segments[i] == k, -inf if there is none."""
    return _segment_extreme("scatter_max", -math.inf, x, segments, count)


@face("segment_min")
def segment_min(x: Any, segments: Any, count: int) -> Term:
    """Entry k of the result is the smallest x[i] where segments[i] == k, inf if there is none."""
    return _segment_extreme("scatter_min", math.inf, x, segments, count)


def _segment_extreme(name: str, empty: float, x: Any, segments: Any, count: int) -> Term:
    x, segments = _segments(x, segments)
    require_dtype(x.type, FLOATS)
    return call(name, constant(x.builder, empty, (count, *x.shape[segments.ndim :]), x.dtype), segments, x, axis=0)


def _segments(x: Any, segments: Any) -> tuple[Term, Term]:
    builder = common_builder((x, segments))
    x, segments = lift(x, builder), lift(segments, builder)
    require(x.shape[: segments.ndim] == segments.shape, "segments do not fit the array", got=segments.shape, allowed=f"the first axes of {x.shape}")
    return x, segments


HINTS |= {
    np.put: "it changes its argument: bs.put(x, index, value) returns the new array",
    np.put_along_axis: "it changes its argument: bs.put_along_axis(x, indices, values, axis) returns the new array",
    np.add.at: "it changes its argument: bs.add_at(x, index, value) returns the new array",
    np.maximum.at: "it changes its argument: bs.max_at(x, index, value) returns the new array",
    np.minimum.at: "it changes its argument: bs.min_at(x, index, value) returns the new array",
    np.place: "it changes its argument: use np.where(mask, value, x)",
    np.putmask: "it changes its argument: use np.where(mask, value, x)",
    np.copyto: "it changes its argument: use np.where(mask, value, x), or np.broadcast_to(value, shape), which np.full and np.full_like are",
    np.fill_diagonal: "it changes its argument: use bs.set(x, (np.arange(n), np.arange(n)), value)",
}
