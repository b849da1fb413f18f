"""What a graph costs in one number, to choose between two that give the same values. No meaning beyond that.

A flop counts one, a move of 16 bytes one, and running a node at all DISPATCH: in a loop over small arrays
that is nearly everything. Measured once, here; never at run time (CONTRACT B3).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Node
from ..ops.op import Structured, lookup
from ..transforms.remember import remembered
from .cost import costs
from .scalars import scalar_loop

DISPATCH = 500
"""Flops in the time it takes to call one kernel: about half a microsecond."""

FLOPS_A_SECOND = 1e9
"""So that what is known in seconds can be a price."""

BLOCK = 30_000
"""And to hand over one block of a sweep, its seeds made and its rows put in their place: about 30 microseconds."""


@remembered
def price(graph: Graph) -> int:
    return price_of(graph, [True] * len(graph.nodes))


def price_of(graph: Graph, nodes: Sequence[bool], rows: int = 1) -> int:
    """Of the nodes flagged, over many rows at once: kernels are called once for all of them."""
    total = 0
    for i, cost in enumerate(costs(graph), graph.arity):
        if nodes[i]:
            total += (cost.flops + cost.bytes // 16) * rows
            total += 0 if lookup(graph.nodes[i].op).view else DISPATCH + calls(graph.nodes[i])
    return total


def calls(node: Node) -> int:
    """Of the kernels the graphs it holds call, or of what a loop on Python's numbers takes instead."""
    derivative = lookup(node.op).derivative
    if not isinstance(derivative, Structured):
        return 0
    runs = derivative.runs(**dict(node.attributes))
    loop = scalar_loop(node) if node.op in ("scan", "while_loop") else None
    if loop is not None:
        return runs[-1][0] * round(loop.seconds * FLOPS_A_SECOND)
    return sum(trips * max(_within(g) for g in graphs) for trips, graphs in runs)


@remembered
def _within(graph: Graph) -> int:
    return sum([DISPATCH + calls(node) for node in graph.nodes[graph.arity :] if not lookup(node.op).view])
