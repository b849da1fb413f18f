"""Ops that sum over axes: reductions and matrix products."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import aligned, broadcast, call, cast, constant, elementwise, promoted
from .choice import dtype_of
from .choice import where as masked
from .op import (
    ANY,
    AS_APPLIED,
    NUMBERS,
    REALS,
    Cost,
    Example,
    Expansion,
    Kind,
    Op,
    Tangent,
    Transposes,
    register,
    require,
    require_axes,
    require_dtype,
    spells,
)
from .pieces import cut
from .shape import normal_axes, permute, reshape, swapaxes
from .term import Term
from .thin import LINE, slice_of

Array = Any
Ints = tuple[int, ...]
FLOAT64 = DTYPES["float64"]
_CUBE = Type(FLOAT64, (2, 3, 4))


def _reduced(types: tuple[Type, ...], axes: Ints, dtypes: tuple[np.dtype[Any], ...] = NUMBERS) -> tuple[Type, ...]:
    require_dtype(types[0], dtypes)
    require_axes(axes, types[0].rank)
    return (types[0].with_shape(d for a, d in enumerate(types[0].shape) if a not in axes),)


def _shifted(axes: Ints) -> Ints:
    return tuple(a + 1 for a in axes)


def spread(y: Term, shape: Ints, axes: Ints) -> Term:
    """A reduced value back over the axes it was reduced along."""
    if not y.shape:
        return broadcast(y, shape)
    return broadcast(reshape(y, tuple(1 if a in axes else d for a, d in enumerate(shape))), shape)


def _cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    return Cost(types[0].size, types[0].nbytes + results[0].nbytes)


register(
    Op(
        name="sum",
        infer=_reduced,
        apply=lambda x, out=None, *, axes: np.add.reduce(x, axes, x.dtype, out),
        derivative=Transposes(lambda i, c, x, axes: spread(c, x.shape, axes)),
        continuation=AS_APPLIED,
        batch=lambda mask, x, axes: call("sum", x, axes=_shifted(axes)),
        cost=_cost,
        examples=(Example((_CUBE,), {"axes": (0, 2)}),),
        attributes={"axes": Kind.INTS},
        domain=(REALS,),
        summary="sum over axes, in the operand's dtype",
        operand_dtypes=NUMBERS,
    )
)


def kept(y: Term, shape: Ints, axes: Ints, keepdims: bool) -> Term:
    return reshape(y, tuple(1 if a in axes else d for a, d in enumerate(shape))) if keepdims else y


def summable(x: Any, dtype: Any = None) -> Term:
    """x in the dtype NumPy sums and multiplies it in: the one given, else int64 for integers and bools."""
    (x,) = promoted([x])
    if dtype is not None:
        return cast(x, dtype_of(dtype))
    return cast(x, DTYPES["int64"]) if x.dtype.kind in "ib" else x


def _among(x: Term, mask: Any, otherwise: Any) -> Term:
    """x with `otherwise` where NumPy's option where= leaves it out."""
    return x if mask is True else masked(mask, x, constant(x.builder, otherwise, dtype=x.dtype))


@spells(np.sum)
def sum_(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Term:
    x = _among(summable(x, dtype), where, 0)
    axes = normal_axes(axis, x.ndim)
    y = kept(call("sum", x, axes=axes) if axes else x, x.shape, axes, keepdims)
    return y if initial is None else y + initial


@spells(np.mean)
def mean(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, where: Any = True) -> Term:
    (x,) = promoted([x if dtype is None else summable(x, dtype)], FLOATS)
    axes = normal_axes(axis, x.ndim)
    if where is True:
        count: int = math.prod(x.shape[a] for a in axes)
        return sum_(x, axes, keepdims=keepdims) / count
    known: Term = masked(where, constant(x.builder, 1, x.shape, x.dtype), constant(x.builder, 0, (), x.dtype))
    total: Term = sum_(x, axes, keepdims=keepdims, where=where)
    return total / sum_(known, axes, keepdims=keepdims)


# max and min: the tangent is the mean of the tangents at the entries that attain the value.


def _extreme_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term, ...], axes: Ints) -> Term:
    hit = cast(x[0] == spread(y, x[0].shape, axes), x[0].dtype)
    share = hit / spread(call("sum", hit, axes=axes), x[0].shape, axes)
    return call("sum", share * t[0], axes=axes)


for _name, _function, _reduce in (("max", np.max, np.maximum.reduce), ("min", np.min, np.minimum.reduce)):

    def _extreme_infer(types: tuple[Type, ...], axes: Ints, name: str = _name) -> tuple[Type, ...]:
        reduced = _reduced(types, axes, ANY)
        require(all(types[0].shape[a] for a in axes), f"{name} over no elements", got=types[0].shape)
        return reduced

    register(
        Op(
            name=_name,
            infer=_extreme_infer,
            apply=lambda x, out=None, *, axes, f=_reduce: f(x, axes, None, out),
            derivative=Tangent(_extreme_tangent),
            batch=lambda mask, x, axes, name=_name: call(name, x, axes=_shifted(axes)),
            cost=_cost,
            examples=(Example((_CUBE,), {"axes": (0, 2)}),),
            attributes={"axes": Kind.INTS},
            domain=(REALS,),
            kinks="where several entries attain the value they share the derivative evenly",
            summary=f"{_name}imum over axes",
            operand_dtypes=ANY,
        )
    )

    @spells(_function)
    def _extreme(x: Any, axis: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True, name: str = _name) -> Term:
        (x,) = promoted([x])
        require(where is True or initial is not None, f"np.{name} needs an initial value where its mask may leave out all", reason="ATTRIBUTE", got="where=")
        axes = normal_axes(axis, x.ndim)
        if initial is None:
            return kept(call(name, x, axes=axes) if axes else x, x.shape, axes, keepdims)
        x = _among(x, where, initial)
        empty = not all(x.shape[a] for a in axes)
        y = (
            constant(x.builder, initial, tuple(d for a, d in enumerate(x.shape) if a not in axes), x.dtype)
            if empty
            else call(name, x, axes=axes)
            if axes
            else x
        )
        return elementwise(f"{name}imum", kept(y, x.shape, axes, keepdims), initial)


# prod, by a tree of pairwise products: exact derivatives of every order, zeros included.


def _prod(x: Term, axes: Ints) -> Term:
    rest = tuple(a for a in range(x.ndim) if a not in axes)
    n = math.prod(x.shape[a] for a in axes)
    lead = tuple(x.shape[a] for a in rest)
    y = reshape(permute(x, (*rest, *axes)), (*lead, n))
    if n == 0:
        return constant(x.builder, 1, lead, x.dtype)
    while n > 1:
        half, zero = n // 2, (0,) * len(lead)
        pairs = cut(y, (*zero, 0), (*lead, half)) * cut(y, (*zero, half), (*lead, 2 * half))
        y = call("concat", pairs, cut(y, (*zero, 2 * half), (*lead, n)), axis=len(lead)) if n % 2 else pairs
        n = n - half
    return reshape(y, lead)


register(
    Op(
        name="prod",
        infer=_reduced,
        apply=None,
        derivative=Expansion(_prod),
        batch=lambda mask, x, axes: call("prod", x, axes=_shifted(axes)),
        cost=_cost,
        examples=(Example((_CUBE,), {"axes": (0, 2)}),),
        attributes={"axes": Kind.INTS},
        domain=(REALS,),
        summary="product over axes, by pairs",
        operand_dtypes=NUMBERS,
    )
)


@spells(np.prod)
def prod(x: Any, axis: Any = None, dtype: Any = None, *, keepdims: bool = False, initial: Any = None, where: Any = True) -> Term:
    x = _among(summable(x, dtype), where, 1)
    axes = normal_axes(axis, x.ndim)
    y = kept(call("prod", x, axes=axes) if axes else x, x.shape, axes, keepdims)
    return y if initial is None else y * initial


# matmul


def _matmul_infer(types: tuple[Type, ...]) -> tuple[Type, ...]:
    a, b = types
    require_dtype(a, NUMBERS)
    require(a.dtype == b.dtype, "operands must have one dtype", reason="DTYPE", got=f"{a} and {b}", allowed="equal dtypes")
    fits = a.rank >= 2 and a.rank == b.rank and a.shape[:-2] == b.shape[:-2] and a.shape[-1] == b.shape[-2]
    require(fits, "matrices do not fit", got=f"{a} @ {b}", allowed="[..., n, k] @ [..., k, m] with equal batch axes")
    return (a.with_shape((*a.shape[:-1], b.shape[-1])),)


def _matmul_batch(mask: tuple[bool, ...], a: Term, b: Term) -> Term:
    if all(mask):
        return call("matmul", a, b)
    # One side shared: its rows or columns join the other's, so that plain matrices stay one product.
    if mask[0] and b.ndim == 2:
        rows, n, k = a.shape
        return reshape(call("matmul", reshape(a, (rows * n, k)), b), (rows, n, b.shape[-1]))
    if mask[1] and a.ndim == 2:
        return swapaxes(_matmul_batch((True, False), swapaxes(b, -1, -2), swapaxes(a, -1, -2)), -1, -2)
    rows = a.shape[0] if mask[0] else b.shape[0]
    wide = [x if m else broadcast(x, (rows, *x.shape)) for x, m in zip((a, b), mask, strict=True)]
    return call("matmul", *wide)


def _matmul_cost(types: tuple[Type, ...], results: tuple[Type, ...]) -> Cost:
    # No copies: BLAS takes transposed operands, and where it cannot take the strides NumPy loops itself. But a product in slices may begin with one.
    columns = slice_of(*types)[1]
    workspace = columns * types[1].shape[0] * types[1].dtype.itemsize + LINE if columns else 0
    return Cost(2 * results[0].size * types[0].shape[-1], sum(t.nbytes for t in types + results), workspace)


def _product(a: Term, b: Term) -> Term:
    """a @ b; many rows or columns scaled, as the cotangents of inner products are, are no work for BLAS (2 to 3 times slower)."""
    scaled = a.ndim > 2 and a.shape[-1] == 1 and 1 in (a.shape[-2], b.shape[-1])
    return call("multiply", *aligned([a, b])) if scaled else call("matmul", a, b)


register(
    Op(
        name="matmul",
        infer=_matmul_infer,
        apply=np.matmul,
        derivative=Transposes(lambda i, c, a, b: _product(swapaxes(a, -1, -2), c) if i else _product(c, swapaxes(b, -1, -2)), jointly=False),
        continuation=AS_APPLIED,
        batch=_matmul_batch,
        cost=_matmul_cost,
        examples=(Example((Type(FLOAT64, (3, 4)), Type(FLOAT64, (4, 2)))), Example((Type(FLOAT64, (2, 3, 4)), Type(FLOAT64, (2, 4, 2))))),
        arity=2,
        domain=(REALS, REALS),
        summary="matrix product over the last two axes, the axes before them equal",
        operand_dtypes=NUMBERS,
    )
)


@spells(np.matmul)
def matmul(a: Any, b: Any) -> Term:
    """As np.matmul: vectors on either side, batch axes broadcast."""
    a, b = promoted([a, b])
    require(a.ndim > 0 and b.ndim > 0, "matmul needs vectors or matrices", got=f"{a.type} @ {b.type}", hint="use * for scalars")
    left, right = a.ndim == 1, b.ndim == 1
    a = reshape(a, (1, *a.shape)) if left else a
    b = reshape(b, (*b.shape, 1)) if right else b
    require(a.shape[-1] == b.shape[-2], "matrices do not fit", got=f"{a.shape} @ {b.shape}", allowed="inner axes equal")
    if b.ndim == 2 and a.ndim > 2:
        # A stack of matrices times one matrix is one tall product.
        y = reshape(call("matmul", reshape(a, (math.prod(a.shape[:-1]), a.shape[-1])), b), (*a.shape[:-1], b.shape[-1]))
    else:
        lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        y = call("matmul", broadcast(a, (*lead, *a.shape[-2:])), broadcast(b, (*lead, *b.shape[-2:])))
    return reshape(y, (*y.shape[:-2], *(() if left else y.shape[-2:-1]), *(() if right else y.shape[-1:])))
