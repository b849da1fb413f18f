"""NumPy's functions that take functions: piecewise, apply_along_axis, apply_over_axes.

The function given is called while tracing, on traced parts. A call for each row is a part of the graph
for each row: so many are allowed, beyond that bs.vmap traces the function once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .build import aligned, broadcast, cast, common_builder, lift
from .choice import where
from .op import require, spells
from .pieces import stack
from .shape import expand_dims, listed_axes, moveaxis, reshape
from .term import Term

MOST_CALLS = 1000


@spells(np.piecewise)
def piecewise(x: Any, condlist: Any, funclist: Sequence[Any], *args: Any, **kw: Any) -> Term:
    """As np.piecewise, but each function is given all of x: the values it gives elsewhere are not taken, nor their slopes."""
    builder = common_builder((x, condlist, *condlist) if isinstance(condlist, (list, tuple)) else (x, condlist))
    x = lift(x, builder)
    # As NumPy: an array of two axes or more, or a list of arrays, holds the conditions one after the other.
    several = isinstance(condlist, (list, tuple)) and np.ndim(condlist[0]) > 0
    conditions = [lift(c, builder) for c in condlist] if several else [lift(condlist, builder)]
    if not several and conditions[0].ndim and (conditions[0].ndim > 1 or not x.ndim):
        conditions = list(conditions[0])
    surplus = len(funclist) - len(conditions)
    require(surplus in (0, 1), "functions and conditions do not match", got=len(funclist), allowed=f"{len(conditions)} or {len(conditions) + 1}")
    y = _piece(funclist[-1] if surplus else 0, x, args, kw)
    for condition, function in zip(conditions, funclist, strict=False):
        y = where(condition, _piece(function, x, args, kw), y)
    return y


def _piece(function: Any, x: Term, args: Any, kw: Any) -> Term:
    value = lift(function(x, *args, **kw) if callable(function) else function, x.builder)
    return broadcast(cast(value, x.dtype), x.shape)  # as NumPy: in the dtype of x


@spells(np.apply_along_axis)
def apply_along_axis(func1d: Callable[..., Any], axis: int, arr: Term, *args: Any, **kwargs: Any) -> Term:
    """As np.apply_along_axis: func1d of each row along the axis; the axes of what it returns stand in the axis' place."""
    (axis,) = listed_axes(axis, arr.ndim)
    lead = moveaxis(arr, axis, -1)
    outer, count = lead.shape[:-1], math.prod(lead.shape[:-1])
    require(1 <= count <= MOST_CALLS, "too few or too many calls to trace", got=count, allowed=f"1 to {MOST_CALLS}", hint="bs.vmap(f)(x) traces f once")
    rows = reshape(lead, (count, lead.shape[-1]))
    found = aligned([lift(func1d(rows[k], *args, **kwargs), arr.builder) for k in range(count)])
    y = stack(found)
    inner = y.shape[1:]
    y = reshape(y, (*outer, *inner))
    return moveaxis(y, range(len(outer), y.ndim), range(axis, axis + len(inner))) if inner else y


@spells(np.apply_over_axes)
def apply_over_axes(func: Callable[..., Any], a: Term, axes: Any) -> Term:
    """As np.apply_over_axes: func(a, axis) one axis after the other, each kept with length 1."""
    rank = a.ndim
    for axis in listed_axes(axes, rank):
        result = lift(func(a, axis), a.builder)
        a = expand_dims(result, axis) if result.ndim < rank else result
        require(a.ndim == rank, "the function does not return an array of as many axes, or one fewer", got=result.shape, allowed=f"{rank} or {rank - 1} axes")
    return a
