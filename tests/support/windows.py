"""Convolutions, pooling, resizing and layers by loops over every entry, and the shapes they are tested on.

The loops share nothing with the engine: a place of the padded array is looked up by its number, and
what lies outside is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from backsweep_engine.ops.op import Example

from .graphs import BOOL, F64

Array = Any


def places(at: Any, kernel: Any, stride: Any, low: Any, dilation: Any, shape: Any) -> Iterator[tuple[Any, Any]]:
    """Where window `at` looks: (the kernel's entry, the array's), the padding left out."""
    for k in np.ndindex(*kernel):
        where = tuple(i * s - a + j * d for i, j, s, a, d in zip(at, k, stride, low, dilation, strict=True))
        if all(0 <= p < n for p, n in zip(where, shape, strict=True)):
            yield k, where


def counted(shape: Any, kernel: Any, stride: Any, low: Any, high: Any, dilation: Any) -> tuple[int, ...]:
    """How many windows lie inside, by trying."""
    axes = zip(shape, kernel, stride, low, high, dilation, strict=True)
    return tuple(sum(p + (k - 1) * d < n + a + b for p in range(0, n + a + b, s)) for n, k, s, a, b, d in axes)


def conv(x: Array, w: Array, stride: Any, low: Any, high: Any, dilation: Any, groups: int) -> Array:
    y = np.zeros((len(x), len(w), *counted(x.shape[2:], w.shape[2:], stride, low, high, dilation)), x.dtype)
    results, channels = len(w) // groups, w.shape[1]
    for row, o, *at in np.ndindex(*y.shape):
        for k, where in places(at, w.shape[2:], stride, low, dilation, x.shape[2:]):
            for c in range(channels):
                y[(row, o, *at)] += w[(o, c, *k)] * x[(row, o // results * channels + c, *where)]
    return y


def conv_transpose(x: Array, w: Array, stride: Any, low: Any, size: Any, dilation: Any, groups: int) -> Array:
    y = np.zeros((len(x), w.shape[1] * groups, *size), x.dtype)
    channels = len(w) // groups
    for row, c, *at in np.ndindex(*x.shape):
        for k, where in places(at, w.shape[2:], stride, low, dilation, size):
            for o in range(w.shape[1]):
                y[(row, c // channels * w.shape[1] + o, *where)] += x[(row, c, *at)] * w[(c, o, *k)]
    return y


def _pool(x: Array, size: Any, stride: Any, low: Any, high: Any, dilation: Any, of: Callable[[Any], Any]) -> Array:
    lead = x.ndim - len(size)
    y = np.zeros((*x.shape[:lead], *counted(x.shape[lead:], size, stride, low, high, dilation)), x.dtype)
    for index in np.ndindex(*y.shape):
        seen = [x[(*index[:lead], *where)] for _, where in places(index[lead:], size, stride, low, dilation, x.shape[lead:])]
        y[index] = of(seen)
    return y


def max_pool(x: Array, size: Any, stride: Any, low: Any, high: Any, dilation: Any) -> Array:
    return _pool(x, size, stride, low, high, dilation, max)


def avg_pool(x: Array, size: Any, stride: Any, low: Any, high: Any, dilation: Any, padding_counts: bool) -> Array:
    return _pool(x, size, stride, low, high, dilation, lambda seen: sum(seen) / (math.prod(size) if padding_counts else len(seen)))


def resize(x: Array, shape: Any, linear: bool, corners: bool) -> Array:
    for axis, size in enumerate(shape, x.ndim - len(shape)):
        n = x.shape[axis]
        if not linear:
            x = np.take(x, [i * n // size for i in range(size)], axis)
            continue
        where = [i * (n - 1) / max(size - 1, 1) if corners else (i + 0.5) * n / size - 0.5 for i in range(size)]
        lines = np.moveaxis(x, axis, -1)
        drawn = np.array([np.interp(where, np.arange(n), line) for line in lines.reshape(-1, n)], x.dtype)
        x = np.moveaxis(drawn.reshape(*lines.shape[:-1], size), -1, axis)
    return x


def layer_norm(x: Array, axes: Any, eps: float) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def group_norm(x: Array, groups: int, eps: float) -> Array:
    parts = np.split(x, groups, axis=1)
    return np.concatenate([layer_norm(p, tuple(range(1, x.ndim)), eps) for p in parts], axis=1)


def batch_norm(x: Array, mean: Array, variance: Array, eps: float) -> Array:
    return np.stack([(x[:, c] - mean[c]) / np.sqrt(variance[c] + eps) for c in range(x.shape[1])], axis=1).astype(x.dtype)


def attention(q: Array, k: Array, v: Array, mask: Array = None, *, causal: bool, scale: float) -> Array:
    y = np.zeros((*q.shape[:-1], v.shape[-1]), q.dtype)
    for *lead, i in np.ndindex(*q.shape[:-1]):
        weights = []
        for j in range(k.shape[-2]):
            given = 0.0 if mask is None else mask[(*lead, i, j)]
            hidden = (causal and j > i) or (isinstance(given, np.bool_) and not given)
            score = scale * sum(a * b for a, b in zip(q[(*lead, i)], k[(*lead, j)], strict=True))
            weights.append(0.0 if hidden else math.exp(score + (0.0 if isinstance(given, np.bool_) else given)))
        for j, weight in enumerate(weights):
            y[(*lead, i)] += weight / (sum(weights) or 1.0) * v[(*lead, j)]
    return y


WINDOWS: dict[str, Callable[..., Array]] = {
    "attention": attention,
    "avg_pool": avg_pool,
    "batch_norm": batch_norm,
    "conv": conv,
    "conv_transpose": conv_transpose,
    "dropout": lambda x, kept, rate: np.array([v / (1 - rate) if k else 0 for v, k in zip(x.ravel(), kept.ravel(), strict=True)], x.dtype).reshape(x.shape),
    "group_norm": group_norm,
    "instance_norm": lambda x, eps: group_norm(x, x.shape[1], eps),
    "layer_norm": layer_norm,
    "max_pool": max_pool,
    "resize": resize,
    "rms_norm": lambda x, axes, eps: x / np.sqrt((x * x).mean(axes, keepdims=True) + eps),
}


def _window(rank: int, **other: Any) -> dict[str, Any]:
    plain = {"stride": (1,) * rank, "low": (0,) * rank, "high": (0,) * rank, "dilation": (1,) * rank}
    return {k: v for k, v in (plain | other).items() if v is not None}


MORE_WINDOWS: dict[str, tuple[Example, ...]] = {
    "conv": (
        Example((F64[1, 4, 4], F64[6, 2, 2]), _window(1, groups=2)),
        Example((F64[2, 2, 5], F64[2, 1, 2]), _window(1, groups=2, stride=(3,), low=(2,), high=(1,))),
        Example((F64[1, 1, 2, 2, 3], F64[1, 1, 2, 1, 2]), _window(3, groups=1, low=(1, 0, 0))),
        Example((F64[2, 2, 3], F64[1, 2, 1]), _window(1, groups=1)),
        Example((F64[0, 1, 3], F64[2, 1, 2]), _window(1, groups=1)),
    ),
    "conv_transpose": (
        Example((F64[1, 2, 3], F64[2, 3, 2]), _window(1, high=None, size=(4,), groups=1)),
        Example((F64[2, 4, 3], F64[4, 2, 2]), _window(1, high=None, size=(8,), groups=2, stride=(2,), low=(1,))),  # two places beyond the windows
        Example((F64[1, 1, 1, 2, 2], F64[1, 1, 2, 1, 2]), _window(3, high=None, size=(1, 2, 4), groups=1, stride=(1, 1, 2), low=(1, 0, 0))),
    ),
    "max_pool": (
        Example((F64[5],), {"size": (2,), **_window(1)}),
        Example((F64[2, 2, 3],), {"size": (2, 1, 2), **_window(3, stride=(1, 1, 2), high=(0, 0, 1))}),
    ),
    "avg_pool": (
        Example((F64[5],), {"size": (3,), **_window(1, low=(1,), high=(1,)), "padding_counts": True}),
        Example((F64[2, 2, 3],), {"size": (2, 1, 2), **_window(3), "padding_counts": False}),
    ),
    "resize": (
        Example((F64[2, 3, 4],), {"shape": (5, 2), "linear": False, "corners": False}),
        Example((F64[3, 4],), {"shape": (7, 1), "linear": True, "corners": True}),
        Example((F64[1, 2],), {"shape": (3, 2), "linear": True, "corners": False}),
    ),
    "layer_norm": (Example((F64[4],), {"axes": (0,), "eps": 0.1}), Example((F64[2, 0],), {"axes": (0,), "eps": 0.1})),
    "batch_norm": (Example((F64[2, 3], F64[3], F64[3]), {"eps": 0.1}),),
    "attention": (
        Example((F64[2, 2, 2], F64[2, 3, 2], F64[2, 3, 1], BOOL[2, 2, 3]), {"causal": False, "scale": 1.0}),
        Example((F64[2, 1], F64[3, 1], F64[3, 2], F64[2, 3]), {"causal": True, "scale": 2.0}),
    ),
    "dropout": (Example((F64[()], BOOL[()]), {"rate": 0.0}),),
}
