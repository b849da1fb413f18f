"""What a graph costs to run: flops and bytes moved, from the op records alone."""

from __future__ import annotations

from ..errors import GraphError
from ..graph import Attribute, Graph, Node
from ..ops.op import Cost, Structured, lookup
from ..stopping import paced
from ..transforms.remember import remembered


def node_cost(graph: Graph, node: Node) -> Cost:
    """The cost of one node; a node that holds graphs costs itself and, each trip, the dearest of those it chooses from."""
    op, attributes = lookup(node.op), dict(node.attributes)
    types = tuple([graph.type_of(ref) for ref in node.operands])
    if not isinstance(op.derivative, Structured):
        return op.cost(types, node.types, **attributes)
    try:
        return _held_cost(op.cost(types, node.types, **attributes), op.derivative, attributes)
    except GraphError as error:  # of a graph that may be derived but not run
        error.node = node.origin
        raise


def _held_cost(cost: Cost, derivative: Structured, attributes: dict[str, Attribute]) -> Cost:
    flops, moved = cost.flops, cost.bytes
    for trips, graphs in derivative.runs(**attributes):
        inner = [graph_cost(g) for g in graphs]
        flops += trips * max(c.flops for c in inner)
        moved += trips * max(c.bytes for c in inner)
    return Cost(flops, moved, cost.workspace, cost.copies)


def graphs_run(node: Node) -> tuple[Graph, ...]:
    """The graphs a node may run, of those it holds."""
    derivative = lookup(node.op).derivative
    if not isinstance(derivative, Structured):
        return ()
    return tuple(g for _, graphs in derivative.runs(**dict(node.attributes)) for g in graphs)


@remembered
def costs(graph: Graph) -> tuple[Cost, ...]:
    """The cost of each node after the inputs. Most are like one before: the op on operands of the same types, which are one object each."""
    known: dict[tuple[object, ...], Cost] = {}
    found, nodes = [], graph.nodes
    for node in paced(nodes[graph.arity :]):
        if node.attributes:
            found.append(node_cost(graph, node))
            continue
        key = (node.op, id(node.types), *[(id(nodes[n].types), r) for n, r in node.operands])
        cost = known.get(key)
        if cost is None:
            cost = known[key] = node_cost(graph, node)
        found.append(cost)
    return tuple(found)


@remembered
def graph_cost(graph: Graph) -> Cost:
    """Flops and bytes of all nodes, and the largest temporaries."""
    spent = costs(graph)
    workspace, copies = max([c.workspace for c in spent], default=0), max([c.copies for c in spent], default=0)
    return Cost(sum([c.flops for c in spent]), sum([c.bytes for c in spent]), workspace, copies)
