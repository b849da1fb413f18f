"""What a graph costs to run: flops and bytes moved, from the op records alone."""

from __future__ import annotations

from ..graph import Graph, Node
from ..ops.op import Cost, lookup


def node_cost(graph: Graph, node: Node) -> Cost:
    """The cost of one node; a node that holds graphs costs itself and the dearest of them."""
    types = tuple([graph.type_of(ref) for ref in node.operands])
    cost = lookup(node.op).cost(types, node.types, **dict(node.attributes))
    inner = [graph_cost(v) for _, v in node.attributes if isinstance(v, Graph)]
    if not inner:
        return cost
    return Cost(cost.flops + max(c.flops for c in inner), cost.bytes + max(c.bytes for c in inner), cost.workspace, cost.copies)


def graph_cost(graph: Graph) -> Cost:
    """Flops and bytes of all nodes, and the largest temporaries."""
    costs = [node_cost(graph, node) for node in graph.nodes[graph.arity :]]
    workspace, copies = max((c.workspace for c in costs), default=0), max((c.copies for c in costs), default=0)
    return Cost(sum(c.flops for c in costs), sum(c.bytes for c in costs), workspace, copies)
