"""Ops that take arrays apart and put them together: flip, slice, pad, concat, and what is spelled in them.

All are linear and their own tangents; flip and slice are views. Attributes are normalised (slices
with start, stop and a positive step), so that equal computations are equal nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import call, promoted
from .op import ANY, AS_APPLIED, BY_PARTS, REALS, Example, Kind, Op, Transposes, elementwise_cost, free, register, require, require_axes, spells
from .pointwise import lifted
from .shape import expand_dims, normal_axes, ravel, reshape
from .term import Term

Array = Any
Ints = tuple[int, ...]
FLOAT64 = DTYPES["float64"]
_MATRIX = Type(FLOAT64, (3, 4))


# flip, slice, pad. A slice has a positive step; NumPy's negative one is a flip and a slice.


def _flip_infer(types: tuple[Type, ...], axes: tuple[int, ...]) -> tuple[Type, ...]:
    require_axes(axes, types[0].rank)
    return types


register(
    Op(
        name="flip",
        infer=_flip_infer,
        apply=lambda x, *, axes: x[(*[slice(None, None, -1 if a in axes else 1) for a in range(x.ndim)], ...)],
        derivative=Transposes(lambda i, c, x, axes: call("flip", c, axes=axes)),
        continuation=AS_APPLIED,
        batch=lambda mask, x, axes: call("flip", x, axes=tuple(a + 1 for a in axes)),
        cost=free,
        examples=(Example((_MATRIX,), {"axes": (1,)}),),
        attributes={"axes": Kind.INTS},
        view=True,
        domain=(REALS,),
        summary="the order of the elements along the axes reversed (a view)",
        operand_dtypes=ANY,
    )
)


@spells(np.flip)
def flip(x: Term, axis: Any = None) -> Term:
    return call("flip", x, axes=normal_axes(axis, x.ndim))


def _slice_infer(types: tuple[Type, ...], start: Ints, stop: Ints, step: Ints) -> tuple[Type, ...]:
    shape = types[0].shape
    require(len(start) == len(stop) == len(step) == len(shape), "a slice needs one entry per axis", reason="ATTRIBUTE", got=(start, stop, step), allowed=shape)
    within = all(0 <= a <= b <= d and s >= 1 for a, b, s, d in zip(start, stop, step, shape, strict=True))
    require(within, "slice is outside the array", reason="ATTRIBUTE", got=(start, stop, step), allowed=f"0 <= start <= stop <= {shape}, step >= 1")
    return (types[0].with_shape(-(-(b - a) // s) for a, b, s in zip(start, stop, step, strict=True)),)


def cut(x: Term, start: Ints, stop: Ints, step: Ints | None = None) -> Term:
    """The op slice, left out where it takes everything."""
    step = step or (1,) * x.ndim
    if all(a == 0 and s == 1 for a, s in zip(start, step, strict=True)) and stop == x.shape:
        return x
    return call("slice", x, start=start, stop=stop, step=step)


def _unslice(i: int, c: Term, x: Type, start: Ints, stop: Ints, step: Ints) -> Term:
    spans = [0 if n == 0 else (n - 1) * s + 1 for n, s in zip(c.shape, step, strict=True)]
    high = tuple(d - a - span for d, a, span in zip(x.shape, start, spans, strict=True))
    return call("pad", c, low=start, high=high, interior=tuple(s - 1 for s in step))


register(
    Op(
        name="slice",
        infer=_slice_infer,
        apply=lambda x, *, start, stop, step: x[(*map(slice, start, stop, step), ...)],  # the ... keeps a scalar an array
        derivative=Transposes(_unslice),
        continuation=AS_APPLIED,
        batch=lambda mask, x, start, stop, step: cut(x, (0, *start), (x.shape[0], *stop), (1, *step)),
        cost=free,
        examples=(Example((Type(FLOAT64, (5, 4)),), {"start": (1, 0), "stop": (5, 3), "step": (2, 1)}),),
        attributes={"start": Kind.INTS, "stop": Kind.INTS, "step": Kind.INTS},
        view=True,
        domain=(REALS,),
        summary="elements start, start + step, ... before stop, on every axis (a view)",
        operand_dtypes=ANY,
    )
)


def _pad_infer(types: tuple[Type, ...], low: Ints, high: Ints, interior: Ints) -> tuple[Type, ...]:
    shape = types[0].shape
    require(len(low) == len(high) == len(interior) == len(shape), "pad needs one entry per axis", reason="ATTRIBUTE", got=(low, high, interior), allowed=shape)
    require(min((*low, *high, *interior), default=0) >= 0, "pad widths must not be negative", reason="ATTRIBUTE", got=(low, high, interior))
    return (types[0].with_shape(a + n + max(n - 1, 0) * k + b for n, a, b, k in zip(shape, low, high, interior, strict=True)),)


def _pad_place(shape: Ints, low: Ints, interior: Ints) -> tuple[Ints, Ints]:
    """Where the operand's elements stand in the padded array, as (stop, step) of a slice from `low`."""
    return tuple(a + (n - 1) * (k + 1) + 1 if n else a for n, a, k in zip(shape, low, interior, strict=True)), tuple(k + 1 for k in interior)


def _pad(x: Array, out: Array = None, *, low: Ints, high: Ints, interior: Ints) -> Array:
    if out is None:
        out = np.empty(_pad_infer((Type(x.dtype, x.shape),), low, high, interior)[0].shape, x.dtype)
    out.fill(0)
    stop, step = _pad_place(x.shape, low, interior)
    out[tuple(map(slice, low, stop, step))] = x
    return out


def _unpad(i: int, c: Term, x: Type, low: Ints, high: Ints, interior: Ints) -> Term:
    stop, step = _pad_place(x.shape, low, interior)
    return cut(c, low, stop, step)


register(
    Op(
        name="pad",
        infer=_pad_infer,
        apply=_pad,
        derivative=Transposes(_unpad),
        continuation=BY_PARTS,
        batch=lambda mask, x, low, high, interior: call("pad", x, low=(0, *low), high=(0, *high), interior=(0, *interior)),
        cost=elementwise_cost(0),
        examples=(Example((_MATRIX,), {"low": (1, 0), "high": (0, 2), "interior": (0, 1)}),),
        attributes={"low": Kind.INTS, "high": Kind.INTS, "interior": Kind.INTS},
        domain=(REALS,),
        summary="zeros added before, after and between the elements of every axis",
        operand_dtypes=ANY,
    )
)


# concat


def _concat_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    require(len(types) >= 1, "nothing to concatenate", reason="ARITY", got=0, allowed="1 or more")
    first = types[0]
    require(0 <= axis < first.rank, "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"0 to {first.rank - 1}")
    for t in types:
        require(t.dtype == first.dtype, "operands must have one dtype", reason="DTYPE", got=t, allowed=first.dtype.name)
        other = t.shape[:axis] + t.shape[axis + 1 :]
        require(t.rank == first.rank and other == first.shape[:axis] + first.shape[axis + 1 :], "operands differ off the axis", got=t, allowed=first)
    return (first.with_shape((*first.shape[:axis], sum(t.shape[axis] for t in types), *first.shape[axis + 1 :])),)


def _unconcat(i: int, c: Term, *x: Any, axis: int) -> Term:
    before = sum(t.shape[axis] for t in x[:i])
    start = tuple(before if a == axis else 0 for a in range(c.ndim))
    stop = tuple(before + x[i].shape[axis] if a == axis else d for a, d in enumerate(c.shape))
    return cut(c, start, stop)


register(
    Op(
        name="concat",
        infer=_concat_infer,
        apply=lambda *x, out=None, axis: np.concatenate(x, axis, out=out),
        derivative=Transposes(_unconcat),
        continuation=AS_APPLIED,
        batch=lifted(lambda *x, axis: call("concat", *x, axis=axis + 1)),
        cost=elementwise_cost(0),
        examples=(Example((_MATRIX, Type(FLOAT64, (2, 4))), {"axis": 0}),),
        arity=None,
        attributes={"axis": Kind.INT},
        domain=(REALS, REALS),
        summary="the operands one after the other along an axis",
        operand_dtypes=ANY,
    )
)


@spells(np.concatenate)
def concatenate(arrays: Sequence[Any], axis: int | None = 0) -> Term:
    terms = promoted(list(arrays))
    if axis is None:
        terms, axis = [ravel(t) for t in terms], 0
    (axis,) = normal_axes(axis, terms[0].ndim)
    return terms[0] if len(terms) == 1 else call("concat", *terms, axis=axis)


@spells(np.stack)
def stack(arrays: Sequence[Any], axis: int = 0) -> Term:
    terms = promoted(list(arrays))
    return concatenate([expand_dims(t, axis) for t in terms], axis)


@spells(np.hstack)
def hstack(arrays: Sequence[Any]) -> Term:
    terms = [t if t.ndim else reshape(t, (1,)) for t in promoted(list(arrays))]
    return concatenate(terms, 0 if terms[0].ndim == 1 else 1)


@spells(np.vstack)
def vstack(arrays: Sequence[Any]) -> Term:
    return concatenate([reshape(t, (1, t.size)) if t.ndim < 2 else t for t in promoted(list(arrays))])
