"""Sequences: convolve, cross, and what NumPy spells with neighbours: diff, trapezoid, correlate, interp.

convolve and cross are bilinear, and each carries its own transposes: the family of convolutions
{full, valid} is closed under them, and <c, a x b> = <a, b x c> = <b, c x a>.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import aligned, broadcast, call, cast, common_builder, lift, promoted
from .choice import where
from .contract import sum_
from .indexing import take
from .op import AS_APPLIED, BOOL, NUMBERS, REALS, Cost, Example, Kind, Op, Transposes, register, require, require_dtype, require_same, spells
from .pieces import concatenate, cut
from .pointwise import lifted
from .shape import listed_axes, moveaxis, reshape
from .term import Term

Array = Any
FLOAT64 = DTYPES["float64"]


# convolve: y[k] = sum over j of a[k-j] v[j], along the last axis; `valid`: only where they overlap altogether.


def _convolve_infer(types: tuple[Type, ...], valid: bool) -> tuple[Type, ...]:
    a, v = types
    require_dtype(a, NUMBERS)
    require(a.dtype == v.dtype, "operands must have one dtype", reason="DTYPE", got=f"{a} and {v}", allowed="equal dtypes")
    fits = a.rank >= 1 and a.rank == v.rank and a.shape[:-1] == v.shape[:-1] and min(a.shape[-1], v.shape[-1]) >= 1
    require(fits, "sequences do not fit", got=f"{a} * {v}", allowed="[..., n] and [..., m] with equal batch axes, n and m at least 1")
    require(not valid or a.shape[-1] >= v.shape[-1], "the longer sequence comes first", got=f"{a} * {v}", allowed="n >= m")
    n, m = a.shape[-1], v.shape[-1]
    return (a.with_shape((*a.shape[:-1], n - m + 1 if valid else n + m - 1)),)


def _convolve(a: Array, v: Array, out: Array = None, *, valid: bool) -> Array:
    n, m = a.shape[-1], v.shape[-1]
    out = np.empty((*a.shape[:-1], n - m + 1 if valid else n + m - 1), a.dtype) if out is None else out
    for row in np.ndindex(a.shape[:-1]):
        out[row] = np.convolve(a[row], v[row], "valid" if valid else "full")
    return out


def _reversed(x: Term) -> Term:
    return call("flip", x, axes=(x.ndim - 1,))


def _convolve_transpose(i: int, c: Term, a: Any, v: Any, valid: bool) -> Term:
    if not valid:
        return call("convolve", c, _reversed(a if i else v), valid=True)
    return _reversed(call("convolve", a, _reversed(c), valid=True)) if i else call("convolve", c, _reversed(v), valid=False)


def _convolve_cost(types: tuple[Type, ...], results: tuple[Type, ...], valid: bool) -> Cost:
    n, m = types[0].shape[-1], types[1].shape[-1]
    y = results[0]
    # One row of the result, and NumPy's contiguous copies of one row of each operand.
    row = (y.shape[-1] + n + m) * y.dtype.itemsize
    return Cost(2 * min(n, m) * y.size, sum(t.nbytes for t in types) + y.nbytes, row)


register(
    Op(
        name="convolve",
        infer=_convolve_infer,
        apply=_convolve,
        derivative=Transposes(_convolve_transpose, jointly=False),
        continuation=AS_APPLIED,
        batch=lifted(lambda a, v, valid: call("convolve", a, v, valid=valid)),
        cost=_convolve_cost,
        examples=(Example((Type(FLOAT64, (2, 5)), Type(FLOAT64, (2, 3))), {"valid": False}),),
        arity=2,
        attributes={"valid": Kind.BOOL},
        domain=(REALS, REALS),
        summary="sum over j of a[k-j] v[j] along the last axis, all of it or only where the two overlap altogether",
        operand_dtypes=NUMBERS,
    )
)


@spells(np.convolve)
def convolve(a: Any, v: Any, mode: str = "full") -> Term:
    a, v = (reshape(x, (1,)) if not x.ndim else x for x in promoted([a, v]))
    require(a.ndim == v.ndim == 1, "np.convolve is of vectors", got=f"{a.shape}, {v.shape}")
    require(mode in ("full", "same", "valid"), "unknown mode", reason="ATTRIBUTE", got=mode, allowed="full, same, valid")
    a, v = (v, a) if v.size > a.size else (a, v)
    y: Term = call("convolve", a, v, valid=mode == "valid")
    if mode != "same":
        return y
    start = (v.size - 1) // 2
    return cut(y, (start,), (start + a.size,))


@spells(np.correlate)
def correlate(a: Any, v: Any, mode: str = "valid") -> Term:
    """c[k] = sum over n of a[n+k] v[n]: a convolution with v turned round."""
    a, v = (reshape(x, (1,)) if not x.ndim else x for x in promoted([a, v]))
    return _reversed(correlate(v, a, mode)) if v.size > a.size else convolve(a, _reversed(v), mode)


# cross


def _cross_infer(types: tuple[Type, ...]) -> tuple[Type, ...]:
    require_dtype(types[0], NUMBERS)
    require_same(types)
    require(types[0].rank >= 1 and types[0].shape[-1] == 3, "a cross product is of vectors of length 3", got=types[0], allowed="[..., 3]")
    return (types[0],)


def _cross(a: Array, b: Array, out: Array = None) -> Array:
    out = np.empty(a.shape, a.dtype) if out is None else out
    for k, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        np.multiply(a[..., i], b[..., j], out=out[..., k])
        out[..., k] -= a[..., j] * b[..., i]
    return out


register(
    Op(
        name="cross",
        infer=_cross_infer,
        apply=_cross,
        derivative=Transposes(lambda i, c, a, b: call("cross", c, a) if i else call("cross", b, c), jointly=False),
        continuation=AS_APPLIED,
        batch=lifted(lambda a, b: call("cross", a, b)),
        cost=lambda types, results: Cost(3 * results[0].size, 3 * results[0].nbytes, results[0].nbytes // 3),
        examples=(Example((Type(FLOAT64, (2, 3)), Type(FLOAT64, (2, 3)))),),
        arity=2,
        domain=(REALS, REALS),
        summary="cross product of the vectors of length 3 along the last axis",
        operand_dtypes=NUMBERS,
    )
)


@spells(np.cross)
def cross(a: Any, b: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> Term:
    a, b = promoted([a, b])
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = aligned([moveaxis(a, axisa, -1), moveaxis(b, axisb, -1)])
    return moveaxis(call("cross", a, b), -1, axisc)


@spells(np.linalg.cross)
def linalg_cross(a: Any, b: Any, /, *, axis: int = -1) -> Term:
    return cross(a, b, axis=axis)


# Neighbours.


def _ends(x: Term, axis: int) -> tuple[Term, Term]:
    """All but the first entry along the axis, and all but the last."""
    n = x.shape[axis]
    one = tuple(min(1, n) if a == axis else 0 for a in range(x.ndim))
    return cut(x, one, x.shape), cut(x, (0,) * x.ndim, tuple(max(n - 1, 0) if a == axis else d for a, d in enumerate(x.shape)))


@spells(np.diff)
def diff(a: Any, n: int = 1, axis: int = -1, prepend: Any = None, append: Any = None) -> Term:
    given = promoted([x if isinstance(x, Term) else np.asarray(x) for x in (prepend, a, append) if x is not None])
    x = given[0 if prepend is None else 1]
    require(n >= 0, "differences of a negative order", reason="ATTRIBUTE", got=n, allowed="0 or more")
    (axis,) = listed_axes(axis, x.ndim)
    if n == 0:
        return lift(a, x.builder)
    one = tuple(1 if i == axis else d for i, d in enumerate(x.shape))
    x = concatenate([y if y.ndim else broadcast(y, one) for y in given], axis)
    for _ in range(n):
        after, before = _ends(x, axis)
        x = after != before if x.dtype == BOOL else after - before
    return x


@spells(np.trapezoid)
def trapezoid(y: Any, x: Any = None, dx: Any = 1.0, axis: int = -1) -> Term:
    """Sum of the mean of neighbours times their distance: as np.trapezoid."""
    if x is None:
        y, step = lift(y, common_builder((y, dx))), dx
    else:
        builder = common_builder((y, x))
        y, x = lift(y, builder), lift(x, builder)
        step = diff(x, axis=0 if x.ndim == 1 else axis)
    (axis,) = listed_axes(axis, y.ndim)
    if x is not None and x.ndim == 1:
        step = reshape(step, tuple(step.size if a == axis else 1 for a in range(y.ndim)))
    after, before = _ends(y, axis)
    return sum_(step * (after + before) / 2, axis)


@spells(np.interp)
def interp(x: Any, xp: Any, fp: Any, left: Any = None, right: Any = None, period: Any = None) -> Term:
    """As np.interp, with float operands; at a node the slope is that of the piece to its right."""
    require(period is None, "interpolation with a period", reason="NOT_TRACEABLE", hint="append the first node, one period later, and use x % period")
    x, xp, fp = (cast(y, FLOAT64) for y in promoted([x, xp, fp], FLOATS))  # as NumPy, whatever it is given
    require(xp.ndim == fp.ndim == 1 and xp.size == fp.size >= 1, "nodes and values must be vectors of one length", got=f"{xp.shape}, {fp.shape}")
    last = xp.size - 1
    below: Any = np.searchsorted(xp, x, side="right") - 1
    below = where(below < 0, 0, below)
    above = where(below < last, below + 1, last)
    x0, f0 = take(xp, below), take(fp, below)
    width = take(xp, above) - x0
    low, high = x < xp[0], x > xp[last]
    # What lies outside, or has no width, is put on a node first: its slope is not taken.
    inside = f0 + where(low | high | (width == 0), 0.0, x - x0) * (take(fp, above) - f0) / where(width == 0, 1.0, width)
    y = where(low, fp[0] if left is None else left, where(high, fp[last] if right is None else right, inside))
    return where(x == x, y, math.nan)
