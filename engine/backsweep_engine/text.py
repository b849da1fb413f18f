"""A graph as numbered text: for people, for errors (a window round a node) and for golden tests.

One node a line: `%5: float64[569] = logaddexp %3 %4`, attributes as name=value, subgraphs indented
below their node. The numbers are the node numbers of the graph itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .graph import Attribute, Graph, Node, Ref


def text(graph: Graph, indent: str = "") -> str:
    """The whole graph; equal graphs give equal text."""
    return "\n".join(_lines(graph, indent))


def window(nodes: Sequence[Node], at: int, radius: int = 3) -> str:
    """The lines round node `at`, that one marked; subgraphs are left out."""
    start, stop = max(0, at - radius), min(len(nodes), at + radius + 1)
    return "\n".join(("> " if i == at else "  ") + _line(i, nodes[i]) for i in range(start, stop))


def summary(graph: Graph) -> str:
    """One line: how many nodes, and which ops how often."""
    counts: dict[str, int] = {}
    for node in graph.nodes[graph.arity :]:
        counts[node.op] = counts.get(node.op, 0) + 1
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return f"{graph.size} nodes: " + ", ".join(f"{op} {n}" for op, n in ranked)


def _lines(graph: Graph, indent: str) -> Iterator[str]:
    for i, node in enumerate(graph.nodes):
        yield indent + _line(i, node)
        for name, value in node.attributes:
            if isinstance(value, Graph):
                yield f"{indent}  {name}:"
                yield from _lines(value, indent + "    ")
    names = [f"{_ref(graph.nodes, ref)}{f' as {name}' if name else ''}" for ref, name in zip(graph.outputs, graph.output_names, strict=True)]
    yield f"{indent}return {', '.join(names)}"


def _line(index: int, node: Node) -> str:
    types = str(node.types[0]) if len(node.types) == 1 else f"({', '.join(map(str, node.types))})"
    operands = "".join(f" %{ref.node}" + (f".{ref.result}" if ref.result else "") for ref in node.operands)
    attributes = "".join(f" {name}={_value(value)}" for name, value in node.attributes if not isinstance(value, Graph))
    return f"%{index}: {types} = {node.op}{operands}{attributes}"


def _ref(nodes: Sequence[Node], ref: Ref) -> str:
    return f"%{ref.node}" + (f".{ref.result}" if len(nodes[ref.node].types) > 1 else "")


def _value(value: Attribute) -> str:
    match value:
        case np.dtype():
            return value.name
        case np.ndarray():
            return _array(value)
        case tuple():
            return f"({','.join(map(str, value))})"
    return repr(value)


def _array(value: np.ndarray[Any, Any]) -> str:
    if value.size > 6:
        return f"[{', '.join(repr(v) for v in value.ravel()[:3].tolist())}, ... {value.size} in all]"
    return repr(value.tolist()).replace("\n", "")
