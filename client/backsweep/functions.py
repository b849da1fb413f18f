"""Functions NumPy lacks, as users call them: bs.softmax(x) and every other face of the op table.

On traced values a face adds nodes; on plain arrays it gives the same values at once, by the op's own
record, so a model tried on plain arrays gives what the service gives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache, wraps
from typing import Any

import numpy as np

from backsweep_engine import ops  # noqa: F401  # fills the tables
from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Builder, Type
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import FACES, STATIC
from backsweep_engine.ops.term import Term

from .dtypes import as_array
from .lines import locate, show
from .trees import mapped

__all__ = ["FACES", "name", "public", "stop_gradient"]


def stop_gradient(x: Any) -> Any:
    """x, a tree or one value, as a constant of every derivative."""
    return mapped(lambda leaf: call("stop_gradient", leaf) if isinstance(leaf, Term) else leaf, x)


def name(label: str, x: Any) -> Any:
    """x itself, called `label` in the traced function: f.gauss_newton(..., through=label) finds it by that.

    A name is given once in a function, outside loops and branches, to one value; it changes no derivative.
    """
    if isinstance(label, str) and not isinstance(x, Term):
        return x
    try:
        if not isinstance(label, str):
            raise GraphError("a name is a text", reason="ATTRIBUTE", got=type(label).__name__, allowed="a text", hint="write z = bs.name('logits', z)")
        named = call("name", x, label=label)
        nodes = named.builder.nodes
        if any(node.op == "name" and dict(node.attributes)["label"] == label for i, node in enumerate(nodes) if i != named.ref.node):
            raise GraphError("two values have one name", reason="NOT_TRACEABLE", name=label, got=repr(label), allowed="each name once")
    except GraphError as error:
        show(error, locate())
        raise
    return named


@cache
def public(name: str) -> Callable[..., Any]:
    """The face `name` for traced values and plain arrays alike. Arrays are positional, options keywords or plain numbers."""
    function, static = FACES[name], STATIC.get(name, ())

    def applied(*values: Any, **options: Any) -> Any:
        try:
            if any(isinstance(v, Term) for v in (*_flat(values), *_flat(options.values()))):
                return function(*values, **options)
            return _evaluated(function, values, options, static)
        except GraphError as error:
            show(error, locate())
            raise

    applied.__name__ = applied.__qualname__ = name
    applied.__doc__ = function.__doc__
    return wraps(function)(applied) if hasattr(function, "__name__") else applied


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """The values, and those one level down in tuples and lists (an index)."""
    for value in values:
        yield from value if isinstance(value, (tuple, list)) else (value,)


def _evaluated(function: Callable[..., Any], values: tuple[Any, ...], options: dict[str, Any], static: tuple[int, ...]) -> Any:
    """The value on plain arrays: the first argument, positional arrays and arrays in a tuple are inputs, the rest are options."""
    arrays: dict[Place, Any] = {}
    fixed: dict[Place, Any] = {}
    for i, value in enumerate(values):
        parts = enumerate(value) if i not in static and _holds_arrays(value) else [(None, value)]
        for k, part in parts:
            is_input = i not in static and ((i == 0 and k is None) or isinstance(part, _ARRAYS))
            if is_input:
                arrays[i, k] = as_array(part, f"argument {i}")
            else:
                fixed[i, k] = part if i in static else _hashable(part)
    types = tuple((place, Type(a.dtype, a.shape)) for place, a in arrays.items())
    # An index may hold arrays and slices, and True in it is not 1: nothing is remembered by it.
    make = _program.__wrapped__ if static else _program
    program, bound = make(function, types, tuple(fixed.items()), tuple((k, _hashable(v)) for k, v in options.items()))
    results = program.run([*arrays.values(), *bound])
    out = [r[()] for r in results]  # [()]: as NumPy, a scalar for rank 0
    return out[0] if len(out) == 1 else tuple(out)


Place = tuple[int, int | None]
"""An argument, and its place in the tuple that it stands in."""
_ARRAYS = (np.ndarray, np.generic)


def _holds_arrays(value: Any) -> bool:
    """A tuple as cho_solve and lu_solve take their factors."""
    return isinstance(value, tuple) and any(isinstance(part, np.ndarray) for part in value)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@lru_cache(maxsize=256)
def _program(
    function: Callable[..., Any], types: tuple[tuple[Place, Type], ...], fixed: tuple[tuple[Place, Any], ...], options: tuple[tuple[str, Any], ...]
) -> tuple[Program, tuple[Any, ...]]:
    """The face on these types as a program, and the arrays it captured, which come after the inputs."""
    builder = Builder()
    parts: dict[Place, Any] = {place: Term(builder, builder.input(f"x{n}", type)) for n, (place, type) in enumerate(types)}
    parts |= dict(fixed)
    count = 1 + max(i for i, _ in parts)
    arguments = [parts[i, None] if (i, None) in parts else tuple(parts[p] for p in sorted(q for q in parts if q[0] == i)) for i in range(count)]
    result = function(*arguments, **dict(options))
    several = result if isinstance(result, tuple) else (result,)
    return Program(builder.build([(str(i), y.ref) for i, y in enumerate(several)])), tuple(builder.bound.values())
