"""Ops that change an array's shape, not its elements: constant, broadcast, reshape, transpose.

All are views (they cost no bytes), linear, and their own tangents. Attributes are normalised (axes
non-negative), so that equal computations are equal nodes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import DTYPES, MAX_CONSTANT_BYTES, Type
from .build import aligned, broadcast, call, common_builder, lift
from .op import ANY, AS_APPLIED, REALS, Cost, Example, Kind, Op, Transposes, Zero, free, register, require, spells
from .term import Term

Array = Any
Ints = tuple[int, ...]
FLOAT64 = DTYPES["float64"]
_MATRIX = Type(FLOAT64, (3, 4))


# constant


def _constant_infer(types: tuple[Type, ...], value: Array, shape: tuple[int, ...]) -> tuple[Type, ...]:
    require(value.nbytes <= MAX_CONSTANT_BYTES, "constant is too large", reason="ATTRIBUTE", got=value.nbytes, allowed=MAX_CONSTANT_BYTES, hint="bind it")
    _require_broadcast(value.shape, shape)
    return (Type(value.dtype, shape),)


def _require_broadcast(source: tuple[int, ...], target: tuple[int, ...]) -> None:
    tail = target[len(target) - len(source) :] if len(source) <= len(target) else None
    fits = tail is not None and all(s in (1, t) for s, t in zip(source, tail, strict=True))
    require(fits, "shape cannot be broadcast", got=source, allowed=f"what stretches to {target}")


register(
    Op(
        name="constant",
        infer=_constant_infer,
        apply=lambda *, value, shape: np.broadcast_to(value, shape),
        derivative=Zero(),
        batch=lambda mask, **attributes: None,  # it has no operand that could be batched
        cost=free,
        examples=(Example((), {"value": np.array(2.0), "shape": (3,)}),),
        arity=0,
        attributes={"value": Kind.ARRAY, "shape": Kind.INTS},
        view=True,
        summary="the value, broadcast to the shape",
    )
)


# broadcast


def _broadcast_infer(types: tuple[Type, ...], shape: tuple[int, ...]) -> tuple[Type, ...]:
    _require_broadcast(types[0].shape, shape)
    return (types[0].with_shape(shape),)


def _unbroadcast(i: int, c: Term, x: Type, shape: tuple[int, ...]) -> Term:
    lead = len(shape) - len(x.shape)
    axes = tuple(a for a in range(len(shape)) if a < lead or (x.shape[a - lead] == 1 and shape[a] != 1))
    return reshape(call("sum", c, axes=axes), x.shape)


def _broadcast_batch(mask: tuple[bool, ...], x: Term, shape: tuple[int, ...]) -> Term:
    rows, inner = x.shape[0], x.shape[1:]
    padded = reshape(x, (rows,) + (1,) * (len(shape) - len(inner)) + inner)
    return broadcast(padded, (rows, *shape))


register(
    Op(
        name="broadcast",
        infer=_broadcast_infer,
        apply=lambda x, *, shape: np.broadcast_to(x, shape),
        derivative=Transposes(_unbroadcast),
        continuation=AS_APPLIED,
        batch=_broadcast_batch,
        cost=free,
        examples=(Example((Type(FLOAT64, (3, 1)),), {"shape": (2, 3, 4)}),),
        attributes={"shape": Kind.INTS},
        view=True,
        domain=(REALS,),
        summary="the operand stretched to a shape, axes aligned from the last (a view)",
        operand_dtypes=ANY,
    )
)


@spells(np.broadcast_to)
def broadcast_to(x: Term, shape: Any) -> Term:
    return broadcast(x, (shape,) if isinstance(shape, int) else tuple(shape))


# reshape


def reshape(x: Term, shape: tuple[int, ...]) -> Term:
    if x.shape == shape:
        return x
    return call("reshape", x, shape=shape)


def _reshape_infer(types: tuple[Type, ...], shape: tuple[int, ...]) -> tuple[Type, ...]:
    require(math.prod(shape) == types[0].size, "reshape changes the number of elements", got=types[0].shape, allowed=f"as many as {shape}")
    return (types[0].with_shape(shape),)


register(
    Op(
        name="reshape",
        infer=_reshape_infer,
        apply=lambda x, *, shape: x.reshape(shape),
        derivative=Transposes(lambda i, c, x, shape: reshape(c, x.shape)),
        continuation=AS_APPLIED,
        batch=lambda mask, x, shape: reshape(x, (x.shape[0], *shape)),
        # A view of a C-contiguous operand; any other has to be copied.
        cost=lambda types, results, **_: Cost(0, 0, copies=results[0].nbytes),
        examples=(Example((_MATRIX,), {"shape": (2, 6)}),),
        attributes={"shape": Kind.INTS},
        view=True,
        domain=(REALS,),
        summary="the elements in C order in another shape",
        operand_dtypes=ANY,
    )
)


@spells(np.reshape)
def reshape_as_numpy(x: Term, shape: Any, order: str = "C") -> Term:
    require(order == "C", "only C order reshapes", reason="NOT_TRACEABLE", got=order, allowed="C")
    dims = [shape] if isinstance(shape, (int, np.integer)) else list(shape)
    if -1 in dims:
        rest = math.prod(d for d in dims if d != -1)
        require(rest > 0 and x.size % rest == 0, "reshape changes the number of elements", got=x.shape, allowed=f"what fits {tuple(dims)}")
        dims[dims.index(-1)] = x.size // rest
    return reshape(x, tuple(int(d) for d in dims))


@spells(np.ravel)
def ravel(x: Term) -> Term:
    return reshape(x, (x.size,))


@spells(np.squeeze)
def squeeze(x: Term, axis: Any = None) -> Term:
    axes = [a for a, d in enumerate(x.shape) if d == 1] if axis is None else list(normal_axes(axis, x.ndim))
    require(all(x.shape[a] == 1 for a in axes), "squeezed axis is not of length 1", got=x.shape, allowed=f"1 at {axes}")
    return reshape(x, tuple(d for a, d in enumerate(x.shape) if a not in axes))


@spells(np.expand_dims)
def expand_dims(x: Term, axis: Any) -> Term:
    axes = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    positions = normal_axes(axes, x.ndim + len(axes))
    dims = iter(x.shape)
    return reshape(x, tuple(1 if a in positions else next(dims) for a in range(x.ndim + len(axes))))


def normal_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """NumPy's axis argument (None, int or tuple, negative from the end) as sorted non-negative axes."""
    if axis is None:
        return tuple(range(rank))
    return tuple(sorted(listed_axes(axis, rank)))


def listed_axes(axis: Any, rank: int) -> tuple[int, ...]:
    """The same in the order given."""
    given = (axis,) if isinstance(axis, (int, np.integer)) else tuple(axis)
    require(all(-rank <= a < rank for a in given), "axis is outside the array", reason="ATTRIBUTE", got=axis, allowed=f"{-rank} to {rank - 1}")
    axes = tuple(int(a) % rank for a in given)
    require(len(set(axes)) == len(axes), "an axis is named twice", reason="ATTRIBUTE", got=axis)
    return axes


# transpose


def _transpose_infer(types: tuple[Type, ...], axes: tuple[int, ...]) -> tuple[Type, ...]:
    require(sorted(axes) == list(range(types[0].rank)), "axes are not a permutation", reason="ATTRIBUTE", got=axes, allowed=f"0 to {types[0].rank - 1}")
    return (types[0].with_shape(types[0].shape[a] for a in axes),)


def permute(x: Term, axes: Sequence[int]) -> Term:
    if list(axes) == list(range(len(axes))):
        return x
    return call("transpose", x, axes=tuple(axes))


register(
    Op(
        name="transpose",
        infer=_transpose_infer,
        apply=lambda x, *, axes: x.transpose(axes),
        derivative=Transposes(lambda i, c, x, axes: permute(c, tuple(int(a) for a in np.argsort(axes)))),
        continuation=AS_APPLIED,
        batch=lambda mask, x, axes: permute(x, (0, *(a + 1 for a in axes))),
        cost=free,
        examples=(Example((Type(FLOAT64, (2, 3, 4)),), {"axes": (2, 0, 1)}),),
        attributes={"axes": Kind.INTS},
        view=True,
        domain=(REALS,),
        summary="axes permuted: axis k of the result is axis axes[k] of the operand (a view)",
        operand_dtypes=ANY,
    )
)


@spells(np.transpose)
def transpose(x: Term, axes: Any = None) -> Term:
    order = tuple(range(x.ndim))[::-1] if axes is None else listed_axes(axes, x.ndim)
    require(len(order) == x.ndim, "axes are not a permutation", reason="ATTRIBUTE", got=axes, allowed=f"{x.ndim} axes")
    return permute(x, order)


@spells(np.matrix_transpose)
def matrix_transpose(x: Term) -> Term:
    require(x.ndim >= 2, "a matrix transpose needs two axes", got=x.shape)
    return swapaxes(x, -1, -2)


@spells(np.swapaxes)
def swapaxes(x: Term, axis1: int, axis2: int) -> Term:
    axes = list(range(x.ndim))
    (a,), (b,) = listed_axes(axis1, x.ndim), listed_axes(axis2, x.ndim)
    axes[a], axes[b] = b, a
    return permute(x, axes)


@spells(np.moveaxis)
def moveaxis(x: Term, source: Any, destination: Any) -> Term:
    taken, put = listed_axes(source, x.ndim), listed_axes(destination, x.ndim)
    require(len(taken) == len(put), "as many axes must go as come", reason="ATTRIBUTE", got=(source, destination))
    axes = [a for a in range(x.ndim) if a not in taken]
    for place, axis in sorted(zip(put, taken, strict=True)):
        axes.insert(place, axis)
    return permute(x, axes)


@spells(np.broadcast_arrays)
def broadcast_arrays(*arrays: Any) -> tuple[Term, ...]:
    builder = common_builder(arrays)
    return tuple(aligned([lift(a, builder) for a in arrays]))


@spells(np.shape)
def shape(x: Term) -> Ints:
    return x.shape


@spells(np.ndim)
def ndim(x: Term) -> int:
    return x.ndim


@spells(np.size)
def size(x: Term) -> int:
    return x.size
