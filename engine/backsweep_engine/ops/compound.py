"""Compound ops: one node in a graph, spelled in other ops, with no rules of their own.

They are spelled so that they cannot overflow; the shift is a stopped gradient, since it cancels.
"""

from __future__ import annotations

from typing import Any

from ..graph import DTYPES, FLOATS, Type
from .build import call, constant, promoted
from .contract import kept, spread
from .op import REALS, Example, Expansion, Kind, Op, elementwise_cost, face, register, require, require_axes, require_dtype
from .shape import normal_axes
from .term import Term

_MATRIX = Type(DTYPES["float64"], (3, 4))
Ints = tuple[int, ...]


def _shift(x: Term, axes: Ints) -> Term:
    """The largest entry along the axes, 0 where it is infinite (inf - inf would be NaN)."""
    top = call("stop_gradient", call("max", x, axes=axes))
    return call("where", call("isfinite", top), top, constant(x.builder, 0, top.shape, x.dtype))


def _logsumexp(x: Term, axes: Ints) -> Term:
    shift = _shift(x, axes)
    return call("log", call("sum", call("exp", x - spread(shift, x.shape, axes)), axes=axes)) + shift


def _softmax(x: Term, axes: Ints) -> Term:
    e = call("exp", x - spread(_shift(x, axes), x.shape, axes))
    return e / spread(call("sum", e, axes=axes), x.shape, axes)


def _log_softmax(x: Term, axes: Ints) -> Term:
    return x - spread(_logsumexp(x, axes), x.shape, axes)


def _register(name: str, rule: Any, reduces: bool, summary: str) -> None:
    def infer(types: tuple[Type, ...], axes: Ints) -> tuple[Type, ...]:
        require_dtype(types[0], FLOATS)
        require_axes(axes, types[0].rank)
        require(all(types[0].shape[a] for a in axes), f"{name} over no elements", got=types[0].shape)
        return (types[0].with_shape(d for a, d in enumerate(types[0].shape) if not reduces or a not in axes),)

    register(
        Op(
            name=name,
            infer=infer,
            apply=None,
            derivative=Expansion(rule),
            batch=lambda mask, x, axes: call(name, x, axes=tuple(a + 1 for a in axes)),
            cost=elementwise_cost(30),
            examples=(Example((_MATRIX,), {"axes": (1,)}),),
            attributes={"axes": Kind.INTS},
            domain=(REALS,),
            summary=summary,
        )
    )


_register("logsumexp", _logsumexp, True, "log of the sum of exponentials over axes, without overflow")
_register("softmax", _softmax, False, "exp(x) over its sum along axes, without overflow")
_register("log_softmax", _log_softmax, False, "x minus its logsumexp along axes")


@face("logsumexp")
def logsumexp(x: Any, axis: Any = None, *, keepdims: bool = False) -> Term:
    """log(sum(exp(x))) over axes (all, if None), without overflow."""
    (x,) = promoted([x], FLOATS)
    axes = normal_axes(axis, x.ndim)
    return kept(call("logsumexp", x, axes=axes), x.shape, axes, keepdims)


@face("softmax")
def softmax(x: Any, axis: Any = -1) -> Term:
    """exp(x) over its sum along axes, without overflow."""
    (x,) = promoted([x], FLOATS)
    return call("softmax", x, axes=normal_axes(axis, x.ndim))


@face("log_softmax")
def log_softmax(x: Any, axis: Any = -1) -> Term:
    """x - logsumexp(x) along axes, without overflow."""
    (x,) = promoted([x], FLOATS)
    return call("log_softmax", x, axes=normal_axes(axis, x.ndim))
