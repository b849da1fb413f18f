"""Checking what a user wrote: bs.check(f, x, gradient=g) in one call, and gradients given as functions.

A gradient may be values, a function of the same arguments, or a Function or Graph already traced; a function is traced
with the types of the function it belongs to, and becomes its derivative (transforms/adjoint.py) before the check.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms.adjoint import with_adjoint
from backsweep_engine.transforms.rewrite import inline

from .dtypes import as_array
from .signature import Argument, Array, Signature, wrt_arguments
from .trace import trace
from .trees import flatten


def is_graph(gradient: Any) -> bool:
    """Whether a gradient is to be run rather than compared."""
    return isinstance(gradient, Graph) or callable(gradient)


def adjoined(signature: Signature, gradient: Any, wrt: Any) -> Signature:
    """The function with this gradient as its derivative by `wrt`; `gradient`: a function, or one already traced."""
    chosen, _ = wrt_arguments(signature, wrt)
    names = [path for a in chosen for path in a.tree.paths(a.name)]
    graph, bound = _traced(signature, gradient)
    # What the gradient captured has names like those of what the function captured.
    own = {name: f"gradient.{name}" for name in graph.input_names if name in bound and not _same(signature.bound.get(name), bound[name])}
    graph = _renamed(graph, own)
    arrays = {own.get(name, name): array for name, array in bound.items()}
    return replace(signature, graph=with_adjoint(signature.graph, graph, names, own.values()), bound={**signature.bound, **arrays})


def _traced(signature: Signature, gradient: Any) -> tuple[Graph, Mapping[str, Array]]:
    if isinstance(gradient, Graph):
        return gradient, {}
    inner = getattr(gradient, "signature", None)
    if isinstance(inner, Signature):
        return inner.graph, inner.bound
    arguments: dict[str, Any] = {a.name: _types(signature, a) for a in signature.arguments}
    taken = inspect.signature(gradient).parameters
    arguments |= {name: array for name, array in signature.bound.items() if name in taken}
    order = {name: arguments[name] for name in taken if name in arguments}
    traced = trace(gradient, order | arguments)
    return traced.graph, traced.bound


def _types(signature: Signature, argument: Argument) -> Any:
    return argument.tree.unflatten([signature.type_of(path) for path in argument.tree.paths(argument.name)])


def _same(one: Array | None, other: Array) -> bool:
    return one is not None and one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()


def _renamed(graph: Graph, names: Mapping[str, str]) -> Graph:
    builder = Builder()
    inputs = [Term(builder, builder.input(names.get(n, n), t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
    return builder.build([(n, y.ref) for n, y in zip(graph.output_names, inline(builder, graph, inputs), strict=True)])


def check(f: Callable[..., Any], *inputs: Any, gradient: Any = None, **options: Any) -> Any:
    """A Verdict on the derivative of f at these inputs, computed here: on `gradient` if given (values, or a function of
    the same arguments), else on our own. Options are those of `Function.check`: judge, subject, coordinates, blame, seed ...

        bs.check(loss, w, X, y, gradient=my_gradient(w, X, y), wrt="w")

    f is plain NumPy. Its arguments are inputs with the types of the arrays given; integers and floats of Python are
    float64 scalars, so that they can be differentiated by.
    """
    from .inprocess import local

    names = _names(f, len(inputs))
    flat = [flatten(x, name) for x, name in zip(inputs, names, strict=True)]
    arrays = [[_array(leaf, path) for path, leaf in entries] for entries, _ in flat]
    trees = [tree for _, tree in flat]
    types = {n: t.unflatten([Type(a.dtype, a.shape) for a in leaves]) for n, t, leaves in zip(names, trees, arrays, strict=True)}
    with local() as service:
        function = service.submit(f, **types)
        return function.check(*[t.unflatten(leaves) for t, leaves in zip(trees, arrays, strict=True)], gradient=gradient, **options)


def _array(leaf: Any, path: str) -> Array:
    number = isinstance(leaf, (int, float)) and not isinstance(leaf, (bool, np.generic))
    return as_array(np.float64(leaf) if number else leaf, path)


def _names(f: Callable[..., Any], count: int) -> list[str]:
    parameters = [p for p in inspect.signature(f).parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if count > len(parameters):
        allowed = ", ".join(p.name for p in parameters) or "none"
        raise GraphError("more inputs than the function has arguments", reason="ARITY", got=str(count), allowed=allowed)
    return [p.name for p in parameters[:count]]
