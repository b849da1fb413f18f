"""Which loops are lifted (transforms/lift.py): those where the price falls and what is stacked for it stays small.

It is told by static costs alone, so the same graph is always lifted the same way. The NumPy tier runs graphs
lifted; the native tier compiles a loop as it stands, since there a trip costs its flops only.
"""

from __future__ import annotations

from ..graph import Builder, Graph, Node, Ref
from ..ops.op import lookup
from ..transforms.lift import Parts, put_together, taken_apart
from ..transforms.remember import remembered
from ..transforms.rewrite import Rewrite, inline
from .price import price
from .scalars import SECONDS_IN, SECONDS_OUT, scalar_loop

MOST_BYTES = 1 << 20
"""A loop may stack so much more when it is lifted, or as much as it is given and yields: no more than a core's cache."""

PAYS = 0.8
"""Of its price a lifted loop may cost at most so much: where the work itself takes the time, memory is not spent on a little less of it."""

SHORTEST = 4
"""Trips of a loop worth lifting."""


@remembered
def relieved(graph: Graph) -> Graph:
    """The graph with its loops lifted where that pays. Loops within loops are for who runs the bodies."""
    if not any(_is_long(node) for node in graph.nodes):
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    changed = False
    for node, operands in rewrite.steps():
        better = _better(graph, node) if _is_long(node) else None
        changed = changed or better is not None
        rewrite.values.append(rewrite.copy(node, operands) if better is None else tuple(inline(rewrite.builder, better, operands, keep_origin=False)))
    return rewrite.builder.build(rewrite.outputs()) if changed else graph


def _is_long(node: Node) -> bool:
    return node.op == "scan" and dict(node.attributes)["length"] >= SHORTEST


def _better(graph: Graph, node: Node) -> Graph | None:
    """The loop lifted as far as its bytes allow; None if that does not pay."""
    whole = _alone(graph, node)
    room = _made_bytes(whole) + max(MOST_BYTES, sum(t.nbytes for t in (*whole.input_types, *whole.output_types)))
    for ahead, behind in ((True, True), (False, True), (True, False), (False, False)):
        parts = taken_apart(node, ahead, behind)
        if parts is None:
            continue
        if not _may_pay(parts):
            return None
        found = put_together(parts)
        if _made_bytes(found) <= room:
            return found if price(found) < PAYS * price(whole) else None
    return None


def _may_pay(parts: Parts) -> bool:
    """Told before it is built, which takes its time: a loop on Python's numbers has to be handed what is lifted, number by number."""
    loop = scalar_loop(parts.node)
    if loop is None:
        return True
    body = parts.loop.body
    given, yielded = (sum(body.type_of(ref).size for ref in refs) for refs in (parts.into(), parts.made()[len(parts.carried) :]))
    return parts.left * loop.body.seconds + given * SECONDS_IN + yielded * SECONDS_OUT < PAYS * loop.seconds


def _alone(graph: Graph, node: Node) -> Graph:
    builder = Builder()
    operands = tuple([builder.input(str(k), graph.type_of(ref)) for k, ref in enumerate(node.operands)])
    index = builder.again(node, operands)
    return builder.build([(str(r), Ref(index, r)) for r in range(len(node.types))])


def _made_bytes(graph: Graph) -> int:
    return sum(t.nbytes for node in graph.nodes[graph.arity :] if not lookup(node.op).view for t in node.types)
