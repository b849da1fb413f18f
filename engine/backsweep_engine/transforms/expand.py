"""expand: compound ops spelled out in the ops that have rules and kernels."""

from __future__ import annotations

from ..graph import Graph
from ..ops.op import Expansion, lookup
from ..stopping import paced
from .remember import remembered
from .rewrite import Rewrite, as_tuple, with_subgraphs


def _is_compound(op: str) -> bool:
    return isinstance(lookup(op).derivative, Expansion)


@remembered
def expand(graph: Graph) -> Graph:
    """The same graph without compound ops, in subgraphs too."""
    # Each graph held is expanded once: asking first and changing later would double at every level of nesting.
    inner = {held: expand(held) for held in graph.subgraphs}
    if not any(_is_compound(node.op) for node in paced(graph.nodes[graph.arity :])) and all(g is held for held, g in inner.items()):
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Expansion):
            rewrite.values.append(as_tuple(derivative.rule(*operands, **dict(node.attributes))))
        else:
            rewrite.values.append(rewrite.copy(with_subgraphs(node, inner.__getitem__), operands))
    # A compound op may be spelled in other compound ops.
    return expand(rewrite.builder.build(rewrite.outputs()))
