"""How long code runs at most, in operations: what bounds a call that cannot be stopped within.

Not plan/cost.py's flops: there moving elements is free, here a loop that only moves them takes its time too.
"""

from __future__ import annotations

from ...graph import Graph
from ...ops.op import Structured, lookup
from ...plan.cost import node_cost


def work(graph: Graph) -> int:
    """Operations of one run, every loop to its bound, every node one at least."""
    total = 1
    for node in graph.nodes[graph.arity :]:
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Structured):
            total += sum(trips * max(map(work, graphs)) for trips, graphs in derivative.runs(**dict(node.attributes)))
        else:
            total += 1 + node_cost(graph, node).flops
    return total
