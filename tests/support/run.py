"""Runs graphs on arrays; every graph run is type-checked first, so a transform's result always is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from weakref import WeakSet

import numpy as np

from backsweep_engine.execute.program import program_of
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify

from .graphs import BOUND

Array = np.ndarray[Any, Any]

_VERIFIED: WeakSet[Graph] = WeakSet()
"""Graphs are immutable: once is enough."""


def run(graph: Graph, *inputs: Any) -> list[Array]:
    """The outputs of the graph, each of the type the graph says.

    Inputs are cast safely to the declared types; arrays a function captured when it was built come by themselves.
    """
    if graph not in _VERIFIED:
        verify(graph)
        _VERIFIED.add(graph)
    inputs = (*inputs, *BOUND.get(graph, {}).values())
    assert len(inputs) == graph.arity, f"{len(inputs)} arrays for {graph.arity} inputs {graph.input_names}"
    arrays = []
    for value, type in zip(inputs, graph.input_types, strict=True):
        array = np.asarray(value)
        assert np.can_cast(array.dtype, type.dtype, "safe") and array.shape == type.shape, f"{array.dtype}{array.shape} for {type}"
        arrays.append(np.array(array, type.dtype, order="C"))
    results = program_of(graph).run(arrays)
    for array, type in zip(results, graph.output_types, strict=True):
        assert isinstance(array, np.ndarray) and array.dtype == type.dtype and array.shape == type.shape, f"{array.dtype}{array.shape} is not {type}"
    return results


def one(graph: Graph, *inputs: Any) -> Array:
    """The only output."""
    (result,) = run(graph, *inputs)
    return result


def function(graph: Graph) -> Callable[..., list[Array]]:
    """The graph as a function of arrays."""
    return lambda *inputs: run(graph, *inputs)
