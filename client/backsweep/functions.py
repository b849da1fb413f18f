"""Functions NumPy lacks: on traced values a node, on plain arrays the same values at once.

Both ways use the op's own record, so a model tried on plain arrays gives what the service gives.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from backsweep_engine import ops  # noqa: F401  # fills the table of ops
from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Builder, Type
from backsweep_engine.ops import compound
from backsweep_engine.ops.build import call, elementwise
from backsweep_engine.ops.term import Term

from .dtypes import as_array
from .lines import locate, show
from .trees import mapped

Axis = int | tuple[int, ...] | None


def relu(x: Any) -> Any:
    """max(x, 0), with derivative 0 at 0."""
    return _applied(_relu, x)


def sigmoid(x: Any) -> Any:
    """1 / (1 + exp(-x)), without overflow."""
    return _applied(_sigmoid, x)


def softplus(x: Any) -> Any:
    """log(1 + exp(x)), without overflow."""
    return _applied(_softplus, x)


def logsumexp(x: Any, axis: Axis = None, *, keepdims: bool = False) -> Any:
    """log(sum(exp(x))) over axes (all, if None), without overflow."""
    return _applied(compound.logsumexp, x, axis=axis, keepdims=keepdims)


def softmax(x: Any, axis: Axis = -1) -> Any:
    """exp(x) over its sum along axes, without overflow."""
    return _applied(compound.softmax, x, axis=axis)


def log_softmax(x: Any, axis: Axis = -1) -> Any:
    """x - logsumexp(x) along axes, without overflow."""
    return _applied(compound.log_softmax, x, axis=axis)


def stop_gradient(x: Any) -> Any:
    """x, a tree or one value, as a constant of every derivative."""
    return mapped(lambda leaf: call("stop_gradient", leaf) if isinstance(leaf, Term) else leaf, x)


def _relu(x: Term) -> Term:
    return elementwise("relu", x)


def _sigmoid(x: Term) -> Term:
    return elementwise("sigmoid", x)


def _softplus(x: Term) -> Term:
    return elementwise("softplus", x)


def _applied(function: Callable[..., Term], x: Any, **options: Any) -> Any:
    try:
        if isinstance(x, Term):
            return function(x, **options)
        array = as_array(x, "x")
        program = _program(function, Type(array.dtype, array.shape), tuple([(k, tuple(v) if isinstance(v, list) else v) for k, v in options.items()]))
    except GraphError as error:
        show(error, locate())
        raise
    return program.run([array])[0][()]  # [()]: as NumPy, a scalar for rank 0


@lru_cache(maxsize=256)
def _program(function: Callable[..., Term], type: Type, options: tuple[tuple[str, Any], ...]) -> Program:
    builder = Builder()
    result = function(Term(builder, builder.input("x", type)), **dict(options))
    return Program(builder.build([("", result.ref)]))
