"""Twins of the ops that hold graphs, which arrive here as JAX functions.

JAX has no reverse mode through its while_loop: the twin is a scan over all the trips allowed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

Held = Callable[..., list[Any]]


def _cond(condition: Any, *x: Any, then: Held, otherwise: Held) -> Any:
    return lax.cond(condition, lambda *v: tuple(then(*v)), lambda *v: tuple(otherwise(*v)), *x)


def _chosen(go: Any, new: list[Any], old: list[Any]) -> list[Any]:
    return [jnp.where(go, a, b) for a, b in zip(new, old, strict=True)]


def _scan(*x: Any, body: Held, carries: int, slices: int, length: int, reverse: bool, counted: bool, kept: tuple[int, ...]) -> Any:
    count, given = (x[0], x[1:]) if counted else (length, x)
    carry, xs, fixed = list(given[:carries]), list(given[carries : carries + slices]), given[carries + slices :]

    def trip(carry: list[Any], row: Any) -> tuple[list[Any], list[Any]]:
        k, parts = row
        results = body(*carry, *parts, *fixed)
        go = k < count
        return _chosen(go, results[:carries], carry), [jnp.where(go, y, jnp.zeros_like(y)) for y in results[carries:]]

    last, ys = lax.scan(trip, carry, (jnp.arange(length), xs), length=length, reverse=reverse)
    return (*last, *ys)


def _while(*x: Any, condition: Held, body: Held, carries: int, max_trips: int, kept: tuple[int, ...]) -> Any:
    fixed = x[carries:]

    def trip(state: tuple[Any, Any, list[Any]], _: Any) -> tuple[tuple[Any, Any, list[Any]], list[Any]]:
        going, trips, carry = state
        going = going & condition(*carry, *fixed)[0]
        results = body(*carry, *fixed)
        ys = [jnp.where(going, y, jnp.zeros_like(y)) for y in results[carries:]]
        return (going, trips + going, _chosen(going, results[:carries], carry)), ys

    (_, trips, last), ys = lax.scan(trip, (jnp.bool_(True), jnp.int64(0), list(x[:carries])), None, length=max_trips)
    return (trips, *last, *ys)


TWINS: dict[str, Callable[..., Any]] = {
    "checkpoint": lambda *x, body: jax.checkpoint(lambda *v: tuple(body(*v)))(*x),
    "cond": _cond,
    "scan": _scan,
    "while_loop": _while,
}
