"""Twins of windows and layers: convolution, pooling, resizing, normalisations, attention, dropout.

XLA's pooling of maxima has no second derivative: the windows are gathered, as the textbook defines them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

TWINS: dict[str, Callable[..., Any]] = {}


def _conv(x: Any, w: Any, stride: Any, low: Any, high: Any, dilation: Any, groups: int) -> Any:
    return lax.conv_general_dilated(x, w, stride, tuple(zip(low, high, strict=True)), None, dilation, None, groups, precision="highest")


def _conv_transpose(x: Any, w: Any, stride: Any, low: Any, size: Any, dilation: Any, groups: int) -> Any:
    """A correlation with the kernel turned round, of the array with stride - 1 zeros between its places."""
    parts = w.reshape(groups, len(w) // groups, *w.shape[1:]).swapaxes(1, 2)
    turned = jnp.flip(parts.reshape(groups * w.shape[1], len(w) // groups, *w.shape[2:]), tuple(range(2, w.ndim)))
    reach = [(k - 1) * d for k, d in zip(w.shape[2:], dilation, strict=True)]
    spread = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    padding = [(r - a, n + a - m) for r, a, n, m in zip(reach, low, size, spread, strict=True)]
    return lax.conv_general_dilated(x, turned, (1,) * len(size), padding, stride, dilation, None, groups, precision="highest")


def _max_pool(x: Any, size: Any, stride: Any, low: Any, high: Any, dilation: Any) -> Any:
    lead = x.ndim - len(size)
    x = jnp.pad(x, [(0, 0)] * lead + list(zip(low, high, strict=True)), constant_values=-jnp.inf)
    for axis, (k, s, d) in enumerate(zip(size, stride, dilation, strict=True), lead):
        count = (x.shape[axis] - (k - 1) * d - 1) // s + 1
        x = jnp.max(jnp.take(x, jnp.arange(count)[:, None] * s + jnp.arange(k) * d, axis), axis + 1)
    return x


def _avg_pool(x: Any, size: Any, stride: Any, low: Any, high: Any, dilation: Any, padding_counts: bool) -> Any:
    one = (1,) * (x.ndim - len(size))
    padding = [(0, 0)] * len(one) + list(zip(low, high, strict=True))
    total = partial(
        lax.reduce_window,
        init_value=0.0,
        computation=lax.add,
        window_dimensions=(*one, *size),
        window_strides=(*one, *stride),
        padding=padding,
        window_dilation=(*one, *dilation),
    )
    return total(x) / (math.prod(size) if padding_counts else total(jnp.ones_like(x)))


def _resize(x: Any, shape: Any, linear: bool, corners: bool) -> Any:
    lead = x.shape[: x.ndim - len(shape)]
    if linear and not corners:
        return jax.image.resize(x, (*lead, *shape), "linear", antialias=False)
    for axis, size in enumerate(shape, len(lead)):
        n = x.shape[axis]
        if linear:
            at = jnp.arange(size) * ((n - 1) / max(size - 1, 1))
            x = jnp.apply_along_axis(lambda row, at=at, n=n: jnp.interp(at, jnp.arange(n), row), axis, x).astype(x.dtype)
        else:
            x = jnp.take(x, jnp.arange(size) * n // size, axis)
    return x


def _group_norm(x: Any, groups: int, eps: float) -> Any:
    return jax.nn.standardize(x.reshape(len(x), groups, -1), 2, epsilon=eps).reshape(x.shape)


def _batch_norm(x: Any, mean: Any, variance: Any, eps: float) -> Any:
    places = (-1, *(1,) * (x.ndim - 2))
    return jax.nn.standardize(x, 1, mean.reshape(places), variance.reshape(places), eps)


def _attention(q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool, scale: float) -> Any:
    """jax.nn.dot_product_attention rounds its scores to float32 whatever it is given: its parts, in the operands' dtype."""
    scores = scale * jnp.einsum("...id,...jd->...ij", q, k, precision="highest")
    seen = jnp.tri(*scores.shape[-2:], dtype=bool) if causal else jnp.ones_like(scores, bool)
    if mask is not None:
        seen, scores = (seen & mask, scores) if mask.dtype == bool else (seen, scores + mask)
    return jnp.einsum("...ij,...je->...ie", jax.nn.softmax(scores, where=seen), v, precision="highest")


TWINS |= {
    "attention": _attention,
    "avg_pool": _avg_pool,
    "batch_norm": _batch_norm,
    "conv": _conv,
    "conv_transpose": _conv_transpose,
    "dropout": lambda x, kept, rate: jnp.where(kept, x / (1 - rate), 0),
    "group_norm": _group_norm,
    "instance_norm": lambda x, eps: jax.nn.standardize(x, tuple(range(2, x.ndim)), epsilon=eps),
    "layer_norm": lambda x, axes, eps: jax.nn.standardize(x, axes, epsilon=eps),
    "max_pool": _max_pool,
    "resize": _resize,
    "rms_norm": lambda x, axes, eps: x * lax.rsqrt(jnp.mean(x * x, axes, keepdims=True) + eps),
}
