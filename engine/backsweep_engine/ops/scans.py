"""Scans: every result along an axis depends on the entries up to it. cumsum, cumprod, cummax, cummin, and what carries their derivatives.

A derivative of a scan is a scan: the tangents follow `linear_recurrence`, O(n) in time and memory,
with no quotient in it, so that zeros of a product cost nothing. Its transpose is itself, run backwards.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import aligned, call, cast, constant, or_zeros, promoted
from .contract import summable
from .op import (
    ANY,
    AS_APPLIED,
    NUMBERS,
    REALS,
    SPELLINGS,
    Cost,
    Example,
    Kind,
    Op,
    Tangent,
    Transposes,
    face,
    register,
    require,
    require_dtype,
    require_same,
    spells,
)
from .pieces import cut
from .pointwise import lifted
from .shape import listed_axes, ravel
from .term import Term

Array = Any
_MATRIX = Type(DTYPES["float64"], (3, 4))


def require_axis(axis: int, type: Type) -> None:
    require(0 <= axis < type.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {type.rank - 1}" if type.rank else "no scalar")


def one_axis(x: Term, axis: Any) -> tuple[Term, int]:
    """NumPy's axis of a scan or an arg-reduction: None means the raveled array."""
    if axis is None:
        return ravel(x), 0
    (normal,) = listed_axes(axis, x.ndim)
    return x, normal


def _cost(flops: int) -> Callable[..., Cost]:
    def cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
        return Cost(flops * results[0].size, sum(t.nbytes for t in types) + results[0].nbytes)

    return cost


def _before(y: Term, axis: int, first: int) -> Term:
    """Each entry's predecessor along the axis, `first` in front."""
    n = y.shape[axis]
    start = constant(y.builder, first, tuple(min(1, d) if a == axis else d for a, d in enumerate(y.shape)), y.dtype)
    return call("concat", start, cut(y, (0,) * y.ndim, tuple(max(n - 1, 0) if a == axis else d for a, d in enumerate(y.shape))), axis=axis)


def _turned(y: Term, axis: int) -> Term:
    return call("flip", y, axes=(axis,))


def _after(y: Term, axis: int) -> Term:
    """Each entry's successor along the axis, 0 behind the last."""
    return _turned(_before(_turned(y, axis), axis, 0), axis)


# linear_recurrence: b[k] = a[k] b[k-1] + c[k], b[-1] = 0.

_LANES = 8
"""From this many recurrences on, all of them advance together, a NumPy call a step; fewer run one by one on Python floats."""

_CHUNK = 512
"""Entries that are Python floats at a time."""


def _recurrence(a: Array, c: Array, out: Array = None, *, axis: int) -> Array:
    out = np.empty(c.shape, c.dtype) if out is None else out
    if out.size == 0:
        return out
    a, c, b = (np.moveaxis(x, axis, 0) for x in (a, c, out))
    if b[0].size >= _LANES:
        np.copyto(b[0], c[0])
        for k in range(1, len(b)):
            np.multiply(a[k], b[k - 1], out=b[k])
            np.add(b[k], c[k], out=b[k])
        return out
    for lane in np.ndindex(b.shape[1:]):
        last = 0.0
        for start in range(0, len(b), _CHUNK):
            here = (slice(start, start + _CHUNK), *lane)
            steps = zip(a[here].tolist() if start else [0.0, *a[here].tolist()[1:]], c[here].tolist(), strict=True)
            values = list(accumulate(steps, lambda y, step: step[0] * y + step[1], initial=last))
            b[here] = values[1:]
            last = values[-1]
    return out


def _recurrence_continued(a: Array, c: Array, *, axis: int) -> Array:
    a, c = (np.moveaxis(np.asarray(x, np.complex128), axis, 0) for x in (a, c))
    b = c.copy()
    for k in range(1, len(b)):
        b[k] += a[k] * b[k - 1]
    return np.moveaxis(b, 0, axis)


def _recurrence_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    require_same(types)
    require_dtype(types[0], FLOATS)
    require_axis(axis, types[0])
    return (types[0],)


def _recurrence_cost(types: tuple[Type, ...], results: tuple[Type, ...], axis: int) -> Cost:
    # A step on Python floats takes as long as some hundred flops of NumPy's, one of all lanes as long as a thousand more.
    y, n = results[0], results[0].shape[axis]
    flops = 2 * y.size + 1000 * n if y.size >= _LANES * n else 100 * y.size
    return Cost(flops, 3 * y.nbytes)


def _recurrence_tangent(b: Term, x: tuple[Term, ...], t: tuple[Term | None, ...], axis: int) -> Term:
    """db[k] = a[k] db[k-1] + (da[k] b[k-1] + dc[k])."""
    drive = or_zeros(t[1], b.builder, b.type) if t[0] is None else t[0] * _before(b, axis, 0)
    return call("linear_recurrence", x[0], drive if t[0] is None or t[1] is None else drive + t[1], axis=axis)


def _recurrence_transpose(i: int, g: Term, a: Term, c: Type, axis: int) -> Term:
    """The same from behind: c'[k] = g[k] + a[k+1] c'[k+1]."""
    from_behind: Term = call("linear_recurrence", _turned(_after(a, axis), axis), _turned(g, axis), axis=axis)
    return _turned(from_behind, axis)


register(
    Op(
        name="linear_recurrence",
        infer=_recurrence_infer,
        apply=_recurrence,
        continuation=_recurrence_continued,
        derivative=Tangent(_recurrence_tangent, linear=Transposes(_recurrence_transpose, operands=(1,))),
        batch=lifted(lambda a, c, axis: call("linear_recurrence", a, c, axis=axis + 1)),
        cost=_recurrence_cost,
        examples=(Example((_MATRIX, _MATRIX), {"axis": 1}),),
        arity=2,
        attributes={"axis": Kind.INT},
        domain=(REALS, REALS),
        summary="b[k] = a[k] * b[k-1] + c[k] along an axis, b[0] = c[0]",
    )
)


@face("linear_recurrence")
def linear_recurrence(a: Any, c: Any, axis: int = 0) -> Term:
    """b[k] = a[k] * b[k-1] + c[k] along an axis, from b[0] = c[0] (a[0] is not used)."""
    a, c = aligned(promoted([a, c], FLOATS))
    (axis,) = listed_axes(axis, c.ndim)
    return call("linear_recurrence", a, c, axis=axis)


# cumsum, cumprod


def _scan_infer(dtypes: tuple[np.dtype[Any], ...]) -> Callable[..., tuple[Type, ...]]:
    def infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
        require_dtype(types[0], dtypes)
        require_axis(axis, types[0])
        return types

    return infer


def _uncumsum(i: int, c: Term, x: Type, axis: int) -> Term:
    """Every entry goes into the sums from its own on: a cumulative sum from behind."""
    return _turned(call("cumsum", _turned(c, axis), axis=axis), axis)


register(
    Op(
        name="cumsum",
        infer=_scan_infer(NUMBERS),
        apply=lambda x, out=None, *, axis: np.cumsum(x, axis, dtype=x.dtype, out=out),
        derivative=Transposes(_uncumsum),
        continuation=AS_APPLIED,
        batch=lambda mask, x, axis: call("cumsum", x, axis=axis + 1),
        cost=_cost(1),
        examples=(Example((_MATRIX,), {"axis": 1}),),
        attributes={"axis": Kind.INT},
        domain=(REALS,),
        summary="sums of the entries up to each along an axis, in the operand's dtype",
        operand_dtypes=NUMBERS,
    )
)

register(
    Op(
        name="cumprod",
        infer=_scan_infer(NUMBERS),
        apply=lambda x, out=None, *, axis: np.cumprod(x, axis, dtype=x.dtype, out=out),
        # dy[k] = x[k] dy[k-1] + y[k-1] dx[k]: no division, so zeros are like any other entry.
        derivative=Tangent(lambda y, x, t, axis: call("linear_recurrence", x[0], _before(y, axis, 1) * t[0], axis=axis)),
        continuation=AS_APPLIED,
        batch=lambda mask, x, axis: call("cumprod", x, axis=axis + 1),
        cost=_cost(1),
        examples=(Example((_MATRIX,), {"axis": 1}),),
        attributes={"axis": Kind.INT},
        domain=(REALS,),
        summary="products of the entries up to each along an axis, in the operand's dtype",
        operand_dtypes=NUMBERS,
    )
)


@spells(np.cumsum)
def cumsum(x: Any, axis: Any = None, dtype: Any = None) -> Term:
    x, axis = one_axis(summable(x, dtype), axis)
    return call("cumsum", x, axis=axis)


@spells(np.cumprod)
def cumprod(x: Any, axis: Any = None, dtype: Any = None) -> Term:
    x, axis = one_axis(summable(x, dtype), axis)
    return call("cumprod", x, axis=axis)


def _cumulative(name: str, first: int) -> Callable[..., Term]:
    def cumulative(x: Any, /, *, axis: Any = None, dtype: Any = None, include_initial: bool = False) -> Term:
        require(axis is not None or x.ndim == 1, f"np.cumulative_{name[3:]} needs an axis here", reason="ATTRIBUTE", got=x.shape, allowed="axis=")
        x, axis = one_axis(summable(x, dtype), axis)
        y: Term = call(name, x, axis=axis)
        if not include_initial:
            return y
        return call("concat", constant(y.builder, first, tuple(1 if a == axis else d for a, d in enumerate(y.shape)), y.dtype), y, axis=axis)

    return cumulative


SPELLINGS[np.cumulative_sum] = _cumulative("cumsum", 0)
SPELLINGS[np.cumulative_prod] = _cumulative("cumprod", 1)
SPELLINGS[np.add.accumulate] = lambda x, axis=0, dtype=None: cumsum(x, axis, dtype)
SPELLINGS[np.multiply.accumulate] = lambda x, axis=0, dtype=None: cumprod(x, axis, dtype)


# cummax, cummin


def _running_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term, ...], axis: int) -> Term:
    """The mean of the tangents of the entries so far that attain the value: sums that start anew where y changes."""
    same = cast(y == _before(y, axis, 0), y.dtype)
    hit = cast(x[0] == y, y.dtype)
    total: Term = call("linear_recurrence", same, hit * t[0], axis=axis)
    return 1 / call("linear_recurrence", same, hit, axis=axis) * total


for _name, _ufunc in {"cummax": np.maximum, "cummin": np.minimum}.items():
    register(
        Op(
            name=_name,
            infer=_scan_infer(ANY),
            apply=lambda x, out=None, *, axis, f=_ufunc: f.accumulate(x, axis, out=out),
            derivative=Tangent(_running_tangent),
            batch=lambda mask, x, axis, name=_name: call(name, x, axis=axis + 1),
            cost=_cost(1),
            examples=(Example((_MATRIX,), {"axis": 1}),),
            attributes={"axis": Kind.INT},
            domain=(REALS,),
            kinks="where several entries so far attain the value they share the derivative evenly",
            summary=f"the {'largest' if _name == 'cummax' else 'smallest'} of the entries up to each along an axis",
            operand_dtypes=ANY,
        )
    )


@spells(np.maximum.accumulate)
@face("cummax")
def cummax(x: Any, axis: int = 0) -> Term:
    """The largest of the entries up to each along an axis (np.maximum.accumulate)."""
    x, axis = one_axis(promoted([x])[0], axis)
    return call("cummax", x, axis=axis)


@spells(np.minimum.accumulate)
@face("cummin")
def cummin(x: Any, axis: int = 0) -> Term:
    """The smallest of the entries up to each along an axis (np.minimum.accumulate)."""
    x, axis = one_axis(promoted([x])[0], axis)
    return call("cummin", x, axis=axis)
