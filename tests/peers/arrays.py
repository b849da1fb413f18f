"""Twins of the ops that reduce, reshape, index and order arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

TWINS: dict[str, Callable[..., Any]] = {}

# Shapes and pieces.

TWINS |= {
    "broadcast": lambda x, shape: jnp.broadcast_to(x, shape),
    "concat": lambda *x, axis: jnp.concatenate(x, axis),
    "constant": lambda value, shape: jnp.broadcast_to(jnp.asarray(value), shape),
    "flip": lambda x, axes: jnp.flip(x, axes),
    "iota": lambda size: jnp.arange(size, dtype=jnp.int64),
    "pad": lambda x, low, high, interior: lax.pad(x, jnp.zeros((), x.dtype), tuple(zip(low, high, interior, strict=True))),
    "reshape": lambda x, shape: jnp.reshape(x, shape),
    "slice": lambda x, start, stop, step: lax.slice(x, start, stop, step) if x.ndim else x,
    "transpose": lambda x, axes: jnp.transpose(x, axes),
}


# Reductions and scans.


def over(f: Callable[..., Any]) -> Callable[..., Any]:
    """f(x, axis=) from the attribute `axes`; over no axes means entry by entry."""
    return lambda x, axes, **rest: f(x, axis=axes, **rest) if axes else f(x[None], axis=0, **rest)


def _quantile(x: Any, axes: tuple[int, ...], q: Any) -> Any:
    y = jnp.quantile(x if axes else x[None], jnp.ravel(q), axis=axes or 0)
    return y.reshape(*q.shape, *y.shape[1:])


def _recurrence(a: Any, c: Any, axis: int) -> Any:
    front = jnp.moveaxis(a, axis, 0), jnp.moveaxis(c, axis, 0)

    def step(b: Any, row: Any) -> tuple[Any, Any]:
        b = row[0] * b + row[1]
        return b, b

    return jnp.moveaxis(lax.scan(step, jnp.zeros_like(front[1][0]), front)[1], 0, axis) if c.shape[axis] else c


TWINS |= {
    "all": over(jnp.all),
    "any": over(jnp.any),
    "argmax": lambda x, axis: jnp.argmax(x, axis),
    "argmin": lambda x, axis: jnp.argmin(x, axis),
    "cummax": lambda x, axis: lax.cummax(x, axis),
    "cummin": lambda x, axis: lax.cummin(x, axis),
    "cumprod": lambda x, axis: jnp.cumprod(x, axis),
    "cumsum": lambda x, axis: jnp.cumsum(x, axis),
    "linear_recurrence": _recurrence,
    "log_softmax": over(jax.nn.log_softmax),
    "logsumexp": over(jax.scipy.special.logsumexp),
    "max": over(jnp.max),
    "median": over(jnp.median),
    "min": over(jnp.min),
    "norm": lambda x, axes, order: jnp.linalg.vector_norm(x, axis=axes, ord=order) if axes else jnp.abs(x),
    "prod": over(lambda x, axis: jnp.prod(x, axis, dtype=x.dtype)),
    "ptp": over(jnp.ptp),
    "quantile": _quantile,
    "softmax": over(jax.nn.softmax),
    "std": over(lambda x, axis, ddof: jnp.std(x, axis, ddof=ddof)),
    "sum": over(lambda x, axis: jnp.sum(x, axis, dtype=x.dtype)),
    "var": over(lambda x, axis, ddof: jnp.var(x, axis, ddof=ddof)),
}


# Order.


def _top_k(x: Any, k: int, axis: int) -> tuple[Any, Any]:
    values, places = lax.top_k(jnp.moveaxis(x, axis, -1), k)
    return jnp.moveaxis(values, -1, axis), jnp.moveaxis(places, -1, axis)


def rows(f: Callable[..., Any]) -> Callable[..., Any]:
    """f on vectors, over all axes but the last of every operand."""

    def mapped(*x: Any) -> Any:
        return jax.vmap(mapped)(*x) if x[0].ndim > 1 else f(*x)

    return mapped


TWINS |= {
    "argsort": lambda x, axis: jnp.argsort(x, axis, stable=True),
    "searchsorted": lambda a, v, right: rows(partial(jnp.searchsorted, side="right" if right else "left"))(a, v),
    "sort": lambda x, axis: jnp.sort(x, axis),
    "top_k": _top_k,
}

# Indices.


def _at(x: Any, index: Any, axis: int) -> Any:
    return x.at[(slice(None),) * axis + (index,)]


def _one_by_one(extreme: Callable[..., Any]) -> Callable[..., Any]:
    """JAX cannot differentiate its scatter_max: one element after the other."""

    def scatter(x: Any, index: Any, v: Any, axis: int) -> Any:
        lead = (slice(None),) * axis
        v = v.reshape(*x.shape[:axis], index.size, *x.shape[axis + 1 :])
        for k, i in enumerate(index.reshape(-1)):
            x = x.at[(*lead, i)].set(extreme(x[(*lead, i)], v[(*lead, k)]))
        return x

    return scatter


def _ravel_index(*index: Any, dims: tuple[int, ...]) -> Any:
    inside = [(i >= -n) & (i < n) for i, n in zip(index, dims, strict=True)]
    place = jnp.ravel_multi_index([jnp.where(i < 0, i + n, i) for i, n in zip(index, dims, strict=True)], dims, mode="clip")
    return jnp.where(jnp.all(jnp.stack(inside), 0), place, math.prod(dims))


def _update(x: Any, v: Any, start: tuple[int, ...], step: tuple[int, ...]) -> Any:
    spot = tuple(slice(a, a + (n - 1) * s + 1 if n else a, s) for a, n, s in zip(start, v.shape, step, strict=True))
    return x.at[spot].set(v)


TWINS |= {
    "put_add": lambda x, index, axis, size: _at(jnp.zeros((*x.shape[:axis], size, *x.shape[axis + index.ndim :]), x.dtype), index, axis).add(x),
    "ravel_index": _ravel_index,
    "scatter_max": _one_by_one(jnp.maximum),
    "scatter_min": _one_by_one(jnp.minimum),
    "scatter_set": lambda x, index, v, axis: _at(x, index, axis).set(v),
    "take": lambda x, index, axis: jnp.take(x, index, axis),
    "tril": lambda x, k: jnp.tril(x, k),
    "triu": lambda x, k: jnp.triu(x, k),
    "update": _update,
}
