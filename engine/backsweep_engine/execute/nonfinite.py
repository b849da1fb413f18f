"""Which node first made a NaN or infinity: found by a second, checked run, never in the fast path.

The run keeps, for every node, only whether its value is finite. Then the non-finite output is
walked back: as long as an operand is not finite either, it is to blame rather than its reader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Ref
from ..ops.op import Structured, lookup
from ..transforms.rewrite import as_tuple
from .executor import Array
from .program import alone


def is_finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def finite_nodes(graph: Graph, inputs: Sequence[Array]) -> list[bool]:
    """For each node of an expanded graph, whether all its values are finite at these inputs."""
    last = [-1] * len(graph.nodes)
    for i, node in enumerate(graph.nodes):
        for ref in node.operands:
            last[ref.node] = i
    values: list[Any] = [[x] for x in inputs] + [None] * (len(graph.nodes) - graph.arity)
    finite = [is_finite(x) for x in inputs] + [True] * (len(graph.nodes) - graph.arity)
    with np.errstate(all="ignore"):
        for i in range(graph.arity, len(graph.nodes)):
            node = graph.nodes[i]
            op, attributes = lookup(node.op), dict(node.attributes)
            operands = [values[ref.node][ref.result] for ref in node.operands]
            if isinstance(op.derivative, Structured):
                values[i] = alone(graph, node).run([np.asarray(x, order="C") for x in operands])
            else:
                assert op.apply is not None, f"{node.op} should have been expanded"
                values[i] = [np.asarray(y) for y in as_tuple(op.apply(*operands, **attributes))]
            finite[i] = all(is_finite(v) for v in values[i])
            for ref in node.operands:
                if last[ref.node] == i:
                    values[ref.node] = None
    return finite


def culprit(graph: Graph, finite: Sequence[bool], output: Ref) -> int:
    """The node that made the non-finite value of `output`: itself not finite, from finite operands."""
    at = output.node
    while True:
        worse = next((ref.node for ref in graph.nodes[at].operands if not finite[ref.node]), None)
        if worse is None:
            return at
        at = worse
