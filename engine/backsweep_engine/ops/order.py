"""Order: sort, argsort, top_k, and the order statistics median, quantile and percentile.

The derivative goes through the permutation that sorts: the tangent of the k-th smallest entry is
the tangent of the entry that is k-th smallest. Equal entries keep their order, NaN comes last.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, MAX_CONSTANT_BYTES, Type
from .build import call, call_several, cast, constant, promoted
from .choice import where
from .contract import kept, spread
from .op import (
    ANY,
    REALS,
    Cost,
    Example,
    Expansion,
    Kind,
    Op,
    Tangent,
    Zero,
    face,
    register,
    require,
    require_axes,
    require_dtype,
    spells,
)
from .pieces import cut
from .places import take_along_axis
from .scans import one_axis, require_axis
from .shape import listed_axes, moveaxis, normal_axes, permute, reshape
from .term import Term

Array = Any
Ints = tuple[int, ...]
FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]
_MATRIX = Type(FLOAT64, (3, 4))
_TIES = "equal entries keep their order, and each its own derivative"


# sort, argsort


def _infer(types: tuple[Type, ...], axis: int) -> tuple[Type, ...]:
    require_dtype(types[0], ANY)
    require_axis(axis, types[0])
    return types


def _sort(x: Array, out: Array = None, *, axis: int) -> Array:
    out = np.empty(x.shape, x.dtype) if out is None else out
    np.copyto(out, x)
    out.sort(axis)
    return out


def _argsort(x: Array, out: Array = None, *, axis: int) -> Array:
    places = np.argsort(x, axis, stable=True)
    if out is None:
        return places
    np.copyto(out, places)
    return out


def _cost(types: tuple[Type, ...], results: tuple[Type, ...], axis: int) -> Cost:
    # NumPy sorts a line at a time, in a buffer (merging takes half of one more) where the line is not contiguous.
    x, n = types[0], types[0].shape[axis]
    places = results[0].nbytes if results[0].dtype == INT64 else 0
    return Cost(2 * x.size * max(1, n.bit_length()), 2 * x.nbytes, places + 4 * n * 8, x.nbytes)


register(
    Op(
        name="sort",
        infer=_infer,
        apply=_sort,
        derivative=Tangent(lambda y, x, t, axis: take_along_axis(t[0], call("argsort", x[0], axis=axis), axis)),
        batch=lambda mask, x, axis: call("sort", x, axis=axis + 1),
        cost=_cost,
        examples=(Example((_MATRIX,), {"axis": 1}),),
        attributes={"axis": Kind.INT},
        domain=(REALS,),
        kinks=_TIES,
        summary="the entries along an axis in ascending order, NaN last",
        operand_dtypes=ANY,
    )
)

register(
    Op(
        name="argsort",
        infer=lambda types, axis: (Type(INT64, _infer(types, axis)[0].shape),),
        apply=_argsort,
        derivative=Zero(),
        batch=lambda mask, x, axis: call("argsort", x, axis=axis + 1),
        cost=lambda types, results, axis: _cost(types, results, axis),
        examples=(Example((_MATRIX,), {"axis": 1}),),
        attributes={"axis": Kind.INT},
        domain=(REALS,),
        summary="the places of the entries along an axis in ascending order, equal ones in their own, NaN last",
        operand_dtypes=ANY,
    )
)


@spells(np.sort)
def sort(x: Term, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Term:
    """As np.sort; every kind of sorting gives the same values."""
    x, axis = one_axis(x, axis)
    return call("sort", x, axis=axis)


@spells(np.argsort)
def argsort(x: Term, axis: Any = -1, kind: Any = None, *, stable: Any = None) -> Term:
    """As np.argsort, stable whatever the kind."""
    x, axis = one_axis(x, axis)
    return call("argsort", x, axis=axis)


@spells(np.partition)
def partition(x: Term, kth: Any, axis: Any = -1) -> Term:
    """Sorted altogether: one of the orders np.partition may give."""
    return sort(x, axis)


@spells(np.argpartition)
def argpartition(x: Term, kth: Any, axis: Any = -1) -> Term:
    """Sorted altogether: one of the orders np.argpartition may give."""
    return argsort(x, axis)


# top_k


def _top_k(x: Term, k: int, axis: int) -> tuple[Term, Term]:
    # Sorted from behind, so that of equal entries the first comes first once the order is turned.
    back: Term = call("argsort", call("flip", x, axes=(axis,)), axis=axis)
    n = x.shape[axis]
    last = cut(back, tuple(n - k if a == axis else 0 for a in range(x.ndim)), x.shape)
    places = constant(x.builder, n - 1, last.shape, INT64) - call("flip", last, axes=(axis,))
    return take_along_axis(x, places, axis), places


def _top_k_infer(types: tuple[Type, ...], k: int, axis: int) -> tuple[Type, ...]:
    (x,) = _infer(types, axis)
    require(0 <= k <= x.shape[axis], "fewer entries than asked for", reason="ATTRIBUTE", got=k, allowed=f"0 to {x.shape[axis]}")
    shape = tuple(k if a == axis else d for a, d in enumerate(x.shape))
    return x.with_shape(shape), Type(INT64, shape)


register(
    Op(
        name="top_k",
        infer=_top_k_infer,
        apply=None,
        derivative=Expansion(_top_k),
        batch=lambda mask, x, k, axis: call_several(x.builder, "top_k", x, k=k, axis=axis + 1),
        cost=lambda types, results, k, axis: _cost(types, (Type(INT64, types[0].shape),), axis),
        examples=(Example((_MATRIX,), {"k": 2, "axis": 1}),),
        attributes={"k": Kind.INT, "axis": Kind.INT},
        domain=(REALS,),
        kinks=_TIES,
        summary="the k largest entries along an axis in descending order (NaN first, of equal ones the first), and their places",
        operand_dtypes=ANY,
    )
)


@face("top_k")
def top_k(x: Any, k: int, axis: int = -1) -> tuple[Term, Term]:
    """The k largest entries along an axis, largest first, and their places."""
    (x,) = promoted([x])
    (axis,) = listed_axes(axis, x.ndim)
    values, places = call_several(x.builder, "top_k", x, k=int(k), axis=axis)
    return values, places


# Order statistics, of the entries along several axes taken together.


def _sorted(x: Term, axes: Ints) -> Term:
    """The entries of the axes as one last axis, in ascending order."""
    rest = [a for a in range(x.ndim) if a not in axes]
    lead = tuple(x.shape[a] for a in rest)
    line = reshape(permute(x, (*rest, *axes)), (*lead, math.prod(x.shape[a] for a in axes)))
    return call("sort", line, axis=len(lead))


def _at(ordered: Term, place: int) -> Term:
    """The entry at this place of each line, its axis dropped."""
    *lead, _ = ordered.shape
    zero = (0,) * len(lead)
    return reshape(cut(ordered, (*zero, place), (*lead, place + 1)), tuple(lead))


def _between(ordered: Term, q: float) -> Term:
    """Linear interpolation between neighbours, as a mean with weights: equal infinities stay what they are."""
    position = q * (ordered.shape[-1] - 1)
    low = math.floor(position)
    share = position - low
    if share == 0:
        return _at(ordered, low)
    return _at(ordered, low) * (1 - share) + _at(ordered, low + 1) * share


def _or_nan(y: Term, ordered: Term) -> Term:
    """NaN where an entry is: then the last one is."""
    last = spread(_at(ordered, ordered.shape[-1] - 1), y.shape, tuple(range(y.ndim - ordered.ndim + 1)))
    return where(last == last, y, math.nan)


def _quantile(x: Term, axes: Ints, q: Array) -> Term:
    ordered = _sorted(x, axes)
    parts = [reshape(y, (1, *y.shape)) for y in (_between(ordered, float(p)) for p in q.ravel())]
    if not parts:
        return constant(x.builder, 0, (*q.shape, *ordered.shape[:-1]), x.dtype)
    y: Term = parts[0] if len(parts) == 1 else call("concat", *parts, axis=0)
    return reshape(_or_nan(y, ordered), (*q.shape, *ordered.shape[:-1]))


def _statistic_infer(types: tuple[Type, ...], axes: Ints) -> tuple[Type, ...]:
    require_dtype(types[0], FLOATS)
    require_axes(axes, types[0].rank)
    require(all(types[0].shape[a] for a in axes), "an order statistic of no elements", got=types[0].shape)
    return (types[0].with_shape(d for a, d in enumerate(types[0].shape) if a not in axes),)


def _quantile_infer(types: tuple[Type, ...], axes: Ints, q: Array) -> tuple[Type, ...]:
    (y,) = _statistic_infer(types, axes)
    require(q.dtype == FLOAT64 and q.nbytes <= MAX_CONSTANT_BYTES, "quantiles", reason="ATTRIBUTE", got=Type(q.dtype, q.shape), allowed="at most 128, float64")
    require(bool(((q >= 0) & (q <= 1)).all()), "a quantile is outside the unit interval", reason="ATTRIBUTE", got=q, allowed="0 to 1")
    return (y.with_shape((*q.shape, *y.shape)),)


def _quantile_batch(mask: tuple[bool, ...], x: Term, axes: Ints, q: Array) -> Term:
    y: Term = call("quantile", x, axes=tuple(a + 1 for a in axes), q=q)
    return moveaxis(y, q.ndim, 0)


def _statistic_cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    return Cost(2 * types[0].size * max(1, types[0].size.bit_length()), types[0].nbytes * 4)


register(
    Op(
        name="quantile",
        infer=_quantile_infer,
        apply=None,
        derivative=Expansion(_quantile),
        batch=_quantile_batch,
        cost=_statistic_cost,
        examples=(Example((Type(FLOAT64, (2, 3, 4)),), {"axes": (0, 2), "q": np.array([0.25, 0.6])}),),
        attributes={"axes": Kind.INTS, "q": Kind.ARRAY},
        domain=(REALS,),
        kinks=_TIES,
        summary="quantiles over axes, linear between neighbours; the axes of q come first",
    )
)

register(
    Op(
        name="median",
        infer=_statistic_infer,
        apply=None,
        derivative=Expansion(lambda x, axes: _quantile(x, axes, np.array(0.5))),
        batch=lambda mask, x, axes: call("median", x, axes=tuple(a + 1 for a in axes)),
        cost=_statistic_cost,
        examples=(Example((Type(FLOAT64, (2, 3, 4)),), {"axes": (0, 2)}),),
        attributes={"axes": Kind.INTS},
        domain=(REALS,),
        kinks=_TIES,
        summary="the middle entry over axes, or the mean of the two in the middle",
    )
)


@spells(np.median)
def median(x: Any, axis: Any = None, *, keepdims: bool = False) -> Term:
    (x,) = promoted([x], FLOATS)
    axes = normal_axes(axis, x.ndim)
    return kept(call("median", x, axes=axes), x.shape, axes, keepdims)


@spells(np.quantile)
def quantile(x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Term:
    """As np.quantile with numbers q and method="linear"."""
    require(not isinstance(q, Term), "a traced quantile", reason="NOT_TRACEABLE", hint="pass q as a number: the entries it falls between must be known")
    require(method == "linear", "quantiles are linear between neighbours", reason="NOT_TRACEABLE", got=method, allowed="linear", hint="sort x and index it")
    (x,) = promoted([x], FLOATS)
    levels = np.asarray(q, FLOAT64)
    if not isinstance(q, (int, float)) or isinstance(q, np.generic):
        x = cast(x, np.result_type(x.dtype, np.asarray(q)))  # as NumPy: anything but a Python number widens float32
    axes = normal_axes(axis, x.ndim)
    y: Term = call("quantile", x, axes=axes, q=levels)
    return reshape(y, (*levels.shape, *[1 if a in axes else d for a, d in enumerate(x.shape)])) if keepdims else y


@spells(np.percentile)
def percentile(x: Any, q: Any, axis: Any = None, *, method: str = "linear", keepdims: bool = False) -> Term:
    """As np.percentile with numbers q and method="linear"."""
    require(not isinstance(q, Term), "a traced percentile", reason="NOT_TRACEABLE", hint="pass q as a number: the entries it falls between must be known")
    return quantile(x, q / 100 if isinstance(q, (int, float)) else np.true_divide(q, 100), axis, method=method, keepdims=keepdims)
