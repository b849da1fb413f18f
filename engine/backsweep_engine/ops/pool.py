"""Pooling over windows of the last axes (window.py), and the same axes resized. Compound, one node each."""

from __future__ import annotations

import math
from functools import reduce
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, call_in, cast, constant, promoted
from .contract import matmul
from .op import BOOL, REALS, Cost, Example, Expansion, Kind, Op, face, register, require, require_dtype
from .shape import moveaxis, reshape
from .term import Term
from .window import WINDOW, count, each, padded, shifts, sides, windows

FLOAT64 = DTYPES["float64"]
Ints = tuple[int, ...]


def _pool_infer(types: tuple[Type, ...], size: Ints, stride: Ints, low: Ints, high: Ints, dilation: Ints, **_: Any) -> tuple[Type, ...]:
    (x,) = types
    require_dtype(x, FLOATS)
    lead = x.rank - len(size)
    require(lead >= 0, "the array has too few axes for these windows", got=x, allowed=f"{len(size)} axes or more")
    found = count(x.shape[lead:], size, stride, low, high, dilation)
    # Else a window could lie in the padding altogether, where there is no entry to take.
    for n, k, a, b, d in zip(x.shape[lead:], size, low, high, dilation, strict=True):
        fits = max(a, b) <= (k - 1) * d and (max(a, b) == 0 or d <= n)
        require(fits, "padding is wider than the window", reason="ATTRIBUTE", got=(a, b), allowed=f"up to {(k - 1) * d}, dilation up to {n}")
    return (x.with_shape((*x.shape[:lead], *found)),)


def _max_pool(x: Term, size: Ints, stride: Ints, low: Ints, high: Ints, dilation: Ints) -> Term:
    at, y = x.ndim - len(size), padded(x, low, high)
    if y is not x:
        inside = padded(constant(x.builder, True, x.shape[at:], BOOL), low, high)
        y = call("where", broadcast(inside, y.shape), y, constant(x.builder, -np.inf, y.shape, x.dtype))
    return call("max", windows(y, at, size, stride, dilation), axes=tuple(range(at, x.ndim)))


def _window_sum(x: Term, size: Ints, stride: Ints, dilation: Ints) -> Term:
    for a, (k, s, d) in enumerate(zip(size, stride, dilation, strict=True)):
        x = reduce(lambda p, q: p + q, shifts(x, x.ndim - len(size) + a, k, s, d))
    return x


def _avg_pool(x: Term, size: Ints, stride: Ints, low: Ints, high: Ints, dilation: Ints, padding_counts: bool) -> Term:
    total = _window_sum(padded(x, low, high), size, stride, dilation)
    if padding_counts or not any((*low, *high)):
        return total / math.prod(size)
    ones = constant(x.builder, 1, x.shape[x.ndim - len(size) :], x.dtype)
    return total / broadcast(_window_sum(padded(ones, low, high), size, stride, dilation), total.shape)


def _pool_cost(types: tuple[Type, ...], results: tuple[Type, ...], size: Ints, **_: Any) -> Cost:
    k = math.prod(size)
    return Cost(k * results[0].size, types[0].nbytes + (2 * k + 1) * results[0].nbytes)


_POOL = {"size": (2, 2), "stride": (1, 2), "low": (0, 1), "high": (1, 0), "dilation": (2, 1)}
for _name, _rule, _more, _kinks, _summary in (
    ("max_pool", _max_pool, {}, "where several entries of a window attain the value they share the derivative evenly", "largest entry of each window"),
    ("avg_pool", _avg_pool, {"padding_counts": False}, "", "mean of each window, with or without the zeros of the padding"),
):
    register(
        Op(
            name=_name,
            infer=_pool_infer,
            apply=None,
            derivative=Expansion(_rule),
            batch=lambda mask, x, name=_name, **attributes: call(name, x, **attributes),
            cost=_pool_cost,
            examples=(Example((Type(FLOAT64, (2, 4, 5)),), {**_POOL, **_more}),),
            attributes={"size": Kind.INTS, **WINDOW, **dict.fromkeys(_more, Kind.BOOL)},
            domain=(REALS,),
            kinks=_kinks,
            summary=f"{_summary} over the last axes",
        )
    )


# resize


def _resize_infer(types: tuple[Type, ...], shape: Ints, linear: bool, corners: bool) -> tuple[Type, ...]:
    (x,) = types
    require_dtype(x, FLOATS)
    require(len(shape) <= x.rank, "more lengths than axes", reason="ATTRIBUTE", got=shape, allowed=f"{x.rank} or fewer")
    lead = x.rank - len(shape)
    require(min((*shape, *x.shape[lead:]), default=1) >= 1, "nothing can be resized from or to nothing", got=f"{x} to {shape}", allowed="1 or more")
    return (x.with_shape((*x.shape[:lead], *shape)),)


def _between(x: Term, n: int, size: int, corners: bool) -> Term:
    """[n, size]: how much of each old place is in each new one: 1 less the distance, or 0."""
    place = cast(call_in(x.builder, "iota", size=size), FLOAT64)
    if corners:
        place = place * ((n - 1) / max(size - 1, 1))
    else:
        # Middles upon middles, and nothing beyond the last ones.
        place = ((place + 0.5) * (n / size) - 0.5).clip(0.0, n - 1.0)
    old = cast(call_in(x.builder, "iota", size=n), FLOAT64)
    return cast(call("relu", 1 - abs(reshape(old, (n, 1)) - reshape(place, (1, size)))), x.dtype)


def _resize(x: Term, shape: Ints, linear: bool, corners: bool) -> Term:
    for a, size in enumerate(shape, x.ndim - len(shape)):
        n = x.shape[a]
        if size == n:
            continue
        if linear:
            x = moveaxis(matmul(moveaxis(x, a, -1), _between(x, n, size, corners)), -1, a)
        else:
            x = call("take", x, call_in(x.builder, "iota", size=size) * n // size, axis=a)
    return x


register(
    Op(
        name="resize",
        infer=_resize_infer,
        apply=None,
        derivative=Expansion(_resize),
        batch=lambda mask, x, **attributes: call("resize", x, **attributes),
        cost=lambda types, results, **_: Cost(8 * results[0].size, 3 * (types[0].nbytes + results[0].nbytes)),
        examples=(Example((Type(FLOAT64, (2, 3, 4)),), {"shape": (5, 2), "linear": True, "corners": False}),),
        attributes={"shape": Kind.INTS, "linear": Kind.BOOL, "corners": Kind.BOOL},
        domain=(REALS,),
        summary="the last axes sampled at other lengths: the nearest entry, or the line between two",
    )
)


# Faces


def _pool(name: str, x: Any, size: Any, stride: Any, padding: Any, dilation: Any, **more: Any) -> Term:
    (x,) = promoted([x], FLOATS)
    rank = len(size) if isinstance(size, (tuple, list)) else x.ndim - 2
    size, dilation = each(size, rank, "size"), each(dilation, rank, "dilation")
    stride = size if stride is None else each(stride, rank, "stride")
    low, high = sides(padding, size, stride, dilation)
    return call(name, x, size=size, stride=stride, low=low, high=high, dilation=dilation, **more)


@face("max_pool")
def max_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1) -> Term:
    """The largest entry of each window over the last axes: all but two, or as many as `size` has numbers."""
    return _pool("max_pool", x, size, stride, padding, dilation)


@face("avg_pool")
def avg_pool(x: Any, size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1, *, count_include_pad: bool = True) -> Term:
    """The mean of each window over the last axes: all but two, or as many as `size` has numbers."""
    return _pool("avg_pool", x, size, stride, padding, dilation, padding_counts=bool(count_include_pad))


@face("resize")
def resize(x: Any, shape: Any, method: str = "nearest", *, align_corners: bool = False) -> Term:
    """The last axes sampled at other lengths: "nearest", or "linear" between two, middle upon middle or corner upon corner."""
    (x,) = promoted([x], FLOATS)
    require(method in ("nearest", "linear"), "unknown method", reason="ATTRIBUTE", got=method, allowed="nearest, linear")
    lengths = shape if isinstance(shape, (tuple, list)) else (shape,)
    return call("resize", x, shape=each(lengths, len(lengths), "shape"), linear=method == "linear", corners=bool(align_corners and method == "linear"))
