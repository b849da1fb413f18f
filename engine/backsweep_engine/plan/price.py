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
            total += 0 if lookup(graph.nodes[i].op).view else DISPATCH * (1 + _kernels(graph.nodes[i]))
    return total


def _kernels(node: Node) -> int:
    """How many kernels the graphs it holds call, or as many as take as long where they run on Python's numbers."""
    derivative = lookup(node.op).derivative
    if not isinstance(derivative, Structured):
        return 0
    loop = scalar_loop(node) if node.op in ("scan", "while_loop") else None
    if loop is not None:
        trips, _ = derivative.runs(**dict(node.attributes))[-1]
        return int(trips * loop.body.seconds * FLOPS_A_SECOND) // DISPATCH
    return sum(trips * max(_count(g) for g in graphs) for trips, graphs in derivative.runs(**dict(node.attributes)))


@remembered
def _count(graph: Graph) -> int:
    return sum([1 + _kernels(node) for node in graph.nodes[graph.arity :] if not lookup(node.op).view])
