"""A Graph as a JAX function: each node is computed by its op's twin, and differentiated by JAX alone.

Nothing of the engine is used but the graph of the *value*; no transform of ours touches it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from backsweep_engine.graph import Graph

from .missing import NoPeer
from .twins import TWINS


def missing(graph: Graph) -> set[str]:
    """The ops of the graph, subgraphs included, that have no twin."""
    found = {node.op for node in graph.nodes[graph.arity :] if node.op not in TWINS}
    return found.union(*[missing(g) for g in graph.subgraphs])


def as_jax(graph: Graph) -> Callable[..., list[Any]]:
    """The outputs from the inputs, in JAX's arrays of the types the graph says."""
    lost = missing(graph)
    if lost:
        raise NoPeer(", ".join(sorted(lost)))

    def run(*inputs: Any) -> list[Any]:
        values: list[tuple[Any, ...]] = [(jnp.asarray(x, t.dtype),) for x, t in zip(inputs, graph.input_types, strict=True)]
        for node in graph.nodes[graph.arity :]:
            attributes = {k: as_jax(v) if isinstance(v, Graph) else v for k, v in node.attributes}
            result = TWINS[node.op](*[values[r.node][r.result] for r in node.operands], **attributes)
            results = tuple(result) if isinstance(result, (tuple, list)) else (result,)
            for got, type in zip(results, node.types, strict=True):
                assert got.shape == type.shape, f"the twin of {node.op} yields {got.shape} for {type}"
            values.append(tuple(jnp.asarray(got, type.dtype) for got, type in zip(results, node.types, strict=True)))
        return [values[r.node][r.result] for r in graph.outputs]

    return run
