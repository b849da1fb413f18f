"""Reductions beyond sum, max and prod: any, all, argmax, argmin, norm, var, std, ptp, and what is spelled in them.

norm is scaled by a power of two, so that it neither overflows nor loses small entries, and its
derivative x / |x| is 0 at 0; std is the norm of the deviations and inherits both.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, cast, constant, elementwise, promoted
from .choice import where
from .contract import kept, mean, prod, spread, sum_
from .op import (
    ANY,
    BOOL,
    NUMBERS,
    REALS,
    SPELLINGS,
    Cost,
    Example,
    Expansion,
    Kind,
    Op,
    Tangent,
    Zero,
    register,
    require,
    require_axes,
    require_dtype,
    spells,
)
from .pointwise import power
from .scans import one_axis, require_axis
from .shape import listed_axes, normal_axes, permute, reshape
from .term import Term

Array = Any
Ints = tuple[int, ...]
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]
_CUBE = Type(FLOAT64, (2, 3, 4))

SPELLINGS[np.amax], SPELLINGS[np.amin] = SPELLINGS[np.max], SPELLINGS[np.min]


def _rest(type: Type, axes: Ints) -> Ints:
    require_axes(axes, type.rank)
    return tuple(d for a, d in enumerate(type.shape) if a not in axes)


def _count(x: Any, axes: Ints) -> int:
    return math.prod(x.shape[a] for a in axes)


# any, all


def _logical_infer(types: tuple[Type, ...], axes: Ints) -> tuple[Type, ...]:
    require_dtype(types[0], (BOOL,))
    return (types[0].with_shape(_rest(types[0], axes)),)


for _name, _function in {"any": np.any, "all": np.all}.items():
    register(
        Op(
            name=_name,
            infer=_logical_infer,
            apply=lambda x, out=None, *, axes, f=_function: f(x, axes, out=out),
            derivative=Zero(),
            batch=lambda mask, x, axes, name=_name: call(name, x, axes=tuple(a + 1 for a in axes)),
            cost=lambda types, results, **_: Cost(types[0].size, types[0].nbytes + results[0].nbytes),
            examples=(Example((Type(BOOL, (2, 3, 4)),), {"axes": (0, 2)}),),
            attributes={"axes": Kind.INTS},
            domain=(REALS,),
            summary=f"whether {_name} of the entries along the axes {'is' if _name == 'any' else 'are'} true",
            operand_dtypes=(BOOL,),
        )
    )

    @spells(_function)
    def _logical(x: Term, axis: Any = None, *, keepdims: bool = False, name: str = _name) -> Term:
        axes = normal_axes(axis, x.ndim)
        return kept(call(name, cast(x, BOOL), axes=axes), x.shape, axes, keepdims)


@spells(np.count_nonzero)
def count_nonzero(x: Term, axis: Any = None, *, keepdims: bool = False) -> Term:
    return sum_(cast(x, BOOL), axis, keepdims=keepdims)


# argmax, argmin


def _arg_infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    require_dtype(types[0], ANY)
    require_axis(axis, types[0])
    require(types[0].shape[axis], "the place of an extreme among no elements", got=types[0].shape)
    return (Type(INT64, _rest(types[0], (axis,))),)


def _arg_cost(types: tuple[Type, ...], results: tuple[Type, ...], axis: int) -> Cost:
    # NumPy moves the axis to the end and copies what is then not contiguous.
    nbytes = types[0].nbytes
    return Cost(types[0].size, nbytes + results[0].nbytes, nbytes if axis < types[0].rank - 1 else 0, nbytes)


for _name, _extreme in {"argmax": np.argmax, "argmin": np.argmin}.items():
    register(
        Op(
            name=_name,
            infer=_arg_infer,
            apply=lambda x, out=None, *, axis, f=_extreme: f(x, axis, out=out),
            derivative=Zero(),
            batch=lambda mask, x, axis, name=_name: call(name, x, axis=axis + 1),
            cost=_arg_cost,
            examples=(Example((_CUBE,), {"axis": 1}),),
            attributes={"axis": Kind.INT},
            domain=(REALS,),
            summary=f"the place of the first {'largest' if _name == 'argmax' else 'smallest'} entry along an axis",
            operand_dtypes=ANY,
        )
    )

    @spells(_extreme)
    def _arg(x: Term, axis: Any = None, *, keepdims: bool = False, name: str = _name) -> Term:
        flat, along = one_axis(x, axis)
        y: Term = call(name, flat, axis=along)
        return kept(y, x.shape, normal_axes(axis, x.ndim), keepdims)


# norm


def _norm_infer(types: tuple[Type, ...], axes: Ints, order: float) -> tuple[Type, ...]:
    require_dtype(types[0], FLOATS)
    require(1 <= order < math.inf, "order of a norm", reason="ATTRIBUTE", got=order, allowed="1 <= order < inf")
    return (types[0].with_shape(_rest(types[0], axes)),)


def _norm(x: Array, out: Array = None, *, axes: Ints, order: float) -> Array:
    """With the largest entry brought to [1/2, 1) by a power of two, which rounds nothing."""
    top = np.maximum(np.max(x, axes, keepdims=True, initial=0), -np.min(x, axes, keepdims=True, initial=0))
    # Clipped, since 2**1074 is no number; what is left of a subnormal entry then is squared without loss.
    limit = np.finfo(x.dtype).maxexp - 3
    exponent = np.where(np.isfinite(top), np.clip(np.frexp(top)[1], -limit, limit), 0)
    part = np.multiply(x, np.ldexp(x.dtype.type(1), -exponent), out=np.empty(x.shape, x.dtype))
    if order == 2:
        np.square(part, out=part)
    else:
        np.power(np.absolute(part, out=part), x.dtype.type(order), out=part)
    total = np.sum(part, axes)
    root = np.sqrt(total) if order == 2 else np.power(total, x.dtype.type(1 / order))
    return np.ldexp(root, exponent.reshape(np.shape(root)), out=out)


def _norm_continued(x: Array, *, axes: Ints, order: float) -> Array:
    """sum(x^p)^(1/p) of what has a positive real part, or minus it; entries at 0 add nothing."""
    size = np.abs(np.real(x))
    top = np.max(size, axes, keepdims=True, initial=0)
    top = np.where(np.isfinite(top) & (top > 0), top, 1.0)
    part = np.where(size > 0, np.where(np.real(x) < 0, -x, x), 0) / top
    root = np.power(np.sum(part * part if order == 2 else np.power(part + 0j, order), axes) + 0j, 1 / order)
    return root * top.reshape(root.shape)


def _norm_tangent(y: Term, x: tuple[Term, ...], t: tuple[Term, ...], axes: Ints, order: float) -> Term:
    """d|x| = sum of sign(x) (|x| / y)**(order - 1) dx, of which x / y is order 2; all 0 at 0."""
    wide = spread(y, x[0].shape, axes)
    at_0 = wide == 0
    # Twice where: neither the quotient nor its own derivatives are taken at 0.
    unit = where(at_0, 0.0, x[0] / where(at_0, 1.0, wide))
    if order != 2:
        unit = elementwise("sign", unit) * power(abs(unit), order - 1)
    return call("sum", unit * t[0], axes=axes)


register(
    Op(
        name="norm",
        infer=_norm_infer,
        apply=_norm,
        derivative=Tangent(_norm_tangent),
        continuation=_norm_continued,
        batch=lambda mask, x, axes, order: call("norm", x, axes=tuple(a + 1 for a in axes), order=order),
        cost=lambda types, results, axes, order: Cost(
            (4 if order == 2 else 25) * types[0].size, types[0].nbytes * 4 + results[0].nbytes, types[0].nbytes + 10 * Type(FLOAT64, results[0].shape).nbytes
        ),
        examples=(Example((_CUBE,), {"axes": (0, 2), "order": 2.0}),),
        attributes={"axes": Kind.INTS, "order": Kind.FLOAT},
        domain=(REALS,),
        kinks="at 0 the derivative is 0",
        summary="(sum of |x|**order over axes) ** (1/order), without overflow",
    )
)


@spells(np.linalg.vector_norm)
def vector_norm(x: Term, /, *, axis: Any = None, keepdims: bool = False, ord: Any = 2) -> Term:
    (x,) = promoted([x], FLOATS)
    axes = normal_axes(axis, x.ndim)
    if ord == math.inf or ord == -math.inf:
        y: Term = call("max" if ord > 0 else "min", abs(x), axes=axes) if axes else abs(x)
    elif ord == 0:
        y = call("sum", cast(x != 0, x.dtype), axes=axes)
    elif ord == 1:
        y = call("sum", abs(x), axes=axes)
    elif ord > 1:
        y = call("norm", x, axes=axes, order=float(ord))
    else:
        y = call("sum", abs(x) ** float(ord), axes=axes) ** (1 / float(ord))
    return kept(y, x.shape, axes, keepdims)


@spells(np.linalg.matrix_norm)
def matrix_norm(x: Term, /, *, keepdims: bool = False, ord: Any = "fro") -> Term:
    return norm(x, ord, (-2, -1), keepdims)


@spells(np.linalg.norm)
def norm(x: Term, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Term:
    """As np.linalg.norm: of vectors along one axis, of matrices along two."""
    (x,) = promoted([x], FLOATS)
    axes = listed_axes(tuple(range(x.ndim)) if axis is None else axis, x.ndim)
    if ord is None or (ord == "fro" and len(axes) == 2):
        return vector_norm(x, axis=axes, keepdims=keepdims)
    if len(axes) == 1 and not isinstance(ord, str):
        return vector_norm(x, axis=axes, keepdims=keepdims, ord=ord)
    require(len(axes) == 2, "this order is of vectors or matrices", reason="ATTRIBUTE", got=f"ord={ord!r} over {len(axes)} axes", allowed="1 or 2 axes")
    if ord in (2, -2, "nuc"):
        singular: Any = np.linalg.svd(permute(x, [*[a for a in range(x.ndim) if a not in axes], *axes]), compute_uv=False)
        y = np.sum(singular, -1) if ord == "nuc" else np.max(singular, -1) if ord == 2 else np.min(singular, -1)
        return kept(y, x.shape, tuple(sorted(axes)), keepdims)
    known = {1: (0, np.max), -1: (0, np.min), math.inf: (1, np.max), -math.inf: (1, np.min)}
    require(ord in known, "unknown order of a matrix norm", reason="ATTRIBUTE", got=repr(ord), allowed="'fro', 'nuc', 1, -1, 2, -2, inf, -inf")
    place, extreme = known[ord]
    sums = sum_(abs(x), axes[place], keepdims=True)
    return kept(reshape(extreme(sums, axes[1 - place]), _rest(x.type, tuple(sorted(axes)))), x.shape, tuple(sorted(axes)), keepdims)


# var, std, ptp


def _deviations(x: Term, axes: Ints) -> Term:
    return x - spread(call("sum", x, axes=axes) / _count(x, axes), x.shape, axes)


def _var(x: Term, axes: Ints, ddof: float) -> Term:
    return call("sum", call("square", _deviations(x, axes)), axes=axes) / max(_count(x, axes) - ddof, 0.0)


def _std(x: Term, axes: Ints, ddof: float) -> Term:
    return call("norm", _deviations(x, axes), axes=axes, order=2.0) / math.sqrt(max(_count(x, axes) - ddof, 0.0))


def _ptp(x: Term, axes: Ints) -> Term:
    return call("max", x, axes=axes) - call("min", x, axes=axes)


def _register(name: str, rule: Callable[..., Term], summary: str, kinks: str, dtypes: Any, ddof: bool = False) -> None:
    def infer(types: tuple[Type, ...], axes: Ints, **_: Any) -> tuple[Type, ...]:
        require_dtype(types[0], dtypes)
        shape = _rest(types[0], axes)
        require(ddof or _count(types[0], axes), f"{name} over no elements", got=types[0].shape)
        return (types[0].with_shape(shape),)

    register(
        Op(
            name=name,
            infer=infer,
            apply=None,
            derivative=Expansion(rule),
            batch=lambda mask, x, axes, **other: call(name, x, axes=tuple(a + 1 for a in axes), **other),
            cost=lambda types, results, **_: Cost(4 * types[0].size, types[0].nbytes * 4),
            examples=(Example((_CUBE,), {"axes": (0, 2), **({"ddof": 1.0} if ddof else {})}),),
            attributes={"axes": Kind.INTS, **({"ddof": Kind.FLOAT} if ddof else {})},
            domain=(REALS,),
            kinks=kinks,
            summary=summary,
            operand_dtypes=dtypes,
        )
    )


_SHARE = "where several entries attain the value they share the derivative evenly"
_register("var", _var, "mean square of the deviations from the mean, over axes, divided by n - ddof", "", FLOATS, ddof=True)
_register("std", _std, "square root of var, without overflow", "where all entries are equal the derivative is 0", FLOATS, ddof=True)
_register("ptp", _ptp, "largest minus smallest entry over axes", _SHARE, NUMBERS)


def _spread_of(name: str, x: Any, axis: Any, ddof: float, keepdims: bool, correction: float | None) -> Term:
    (x,) = promoted([x], FLOATS)
    axes = normal_axes(axis, x.ndim)
    return kept(call(name, x, axes=axes, ddof=float(ddof if correction is None else correction)), x.shape, axes, keepdims)


@spells(np.var)
def var(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False, correction: float | None = None) -> Term:
    return _spread_of("var", x, axis, ddof, keepdims, correction)


@spells(np.std)
def std(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False, correction: float | None = None) -> Term:
    return _spread_of("std", x, axis, ddof, keepdims, correction)


@spells(np.ptp)
def ptp(x: Term, axis: Any = None, *, keepdims: bool = False) -> Term:
    axes = normal_axes(axis, x.ndim)
    return kept(call("ptp", x, axes=axes), x.shape, axes, keepdims)


# Averages, and reductions that leave NaN out.


@spells(np.average)
def average(x: Any, axis: Any = None, weights: Any = None, returned: bool = False, *, keepdims: bool = False) -> Any:
    """As np.average; weights that sum to 0 give NaN or infinity."""
    if weights is None:
        y = mean(x, axis, keepdims=keepdims)
        count = x.size // max(y.size, 1)
        return (y, np.full(y.shape, count, y.dtype)) if returned else y
    x, w = promoted([x, weights if isinstance(weights, Term) else np.asarray(weights)])
    if x.dtype.kind != "f":
        x, w = cast(x, FLOAT64), cast(w, FLOAT64)
    axes = normal_axes(axis, x.ndim)
    if w.shape != x.shape:
        require(axis is not None, "weights of another shape need an axis", got=w.shape, allowed=x.shape)
        given = listed_axes(axis, x.ndim)
        require(w.shape == tuple(x.shape[a] for a in given), "weights do not fit the axis", got=w.shape, allowed=tuple(x.shape[a] for a in given))
        w = permute(w, tuple(int(a) for a in np.argsort(given)))
        w = reshape(w, tuple(d if a in axes else 1 for a, d in enumerate(x.shape)))
    w = broadcast(w, x.shape)
    total = sum_(w, axes, keepdims=keepdims)
    y = sum_(x * w, axes, keepdims=keepdims) / total
    return (y, total) if returned else y


def _without_nan(x: Term, instead: float) -> tuple[Term, Term]:
    """Where x is a number, and x with `instead` elsewhere."""
    known = x == x
    return known, where(known, x, constant(x.builder, instead, x.shape, x.dtype))


def _leaving_out(reduce: Callable[..., Term], instead: float) -> Callable[..., Term]:
    def reduction(x: Term, axis: Any = None, *, keepdims: bool = False) -> Term:
        return reduce(_without_nan(x, instead)[1] if x.dtype.kind == "f" else x, axis, keepdims=keepdims)

    return reduction


SPELLINGS[np.nansum], SPELLINGS[np.nanprod] = _leaving_out(sum_, 0), _leaving_out(prod, 1)


def _nan_extreme(reduce: Any, instead: float) -> Callable[..., Term]:
    def reduction(x: Term, axis: Any = None, *, keepdims: bool = False) -> Term:
        if x.dtype.kind != "f":
            y: Term = reduce(x, axis, keepdims=keepdims)
            return y
        known, filled = _without_nan(x, instead)
        return where(np.any(known, axis, keepdims=keepdims), reduce(filled, axis, keepdims=keepdims), math.nan)

    return reduction


SPELLINGS[np.nanmax], SPELLINGS[np.nanmin] = _nan_extreme(np.max, -math.inf), _nan_extreme(np.min, math.inf)


@spells(np.nanmean)
def nanmean(x: Any, axis: Any = None, *, keepdims: bool = False) -> Term:
    (x,) = promoted([x], FLOATS)
    known, filled = _without_nan(x, 0)
    return sum_(filled, axis, keepdims=keepdims) / sum_(cast(known, x.dtype), axis, keepdims=keepdims)


@spells(np.nanvar)
def nanvar(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Term:
    (x,) = promoted([x], FLOATS)
    known, filled = _without_nan(x, 0)
    off = where(known, filled - nanmean(x, axis, keepdims=True), 0.0)
    left = sum_(cast(known, x.dtype), axis, keepdims=keepdims) - ddof
    return sum_(call("square", off), axis, keepdims=keepdims) / where(left > 0, left, math.nan)


@spells(np.nanstd)
def nanstd(x: Any, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Term:
    (x,) = promoted([x], FLOATS)
    known, filled = _without_nan(x, 0)
    off = where(known, filled - nanmean(x, axis, keepdims=True), 0.0)
    left = sum_(cast(known, x.dtype), axis, keepdims=keepdims) - ddof
    return vector_norm(off, axis=axis, keepdims=keepdims) / np.sqrt(where(left > 0, left, math.nan))
