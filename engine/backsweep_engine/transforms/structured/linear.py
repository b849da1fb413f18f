"""Whether a graph is linear in some of its inputs, by its structure: every node they reach must be linear in what they reach.

A sum is linear only if all its terms are reached or zero; a product if one factor is. What is
accepted here, transpose can transpose.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Graph, Node, Ref
from ...ops.build import call
from ...ops.op import Structured, Tangent, Transposes, lookup
from ..rewrite import Rewrite, reached, with_subgraphs
from ..simplify import simplify
from .loop import Loop, loop_of


def flaw_of(graph: Graph, inputs: Sequence[int]) -> str:
    """The op of the first node that is not linear in these inputs; "" if all are. Of a graph that is `multiplied`."""
    return _flaw(simplify(graph), inputs, range(len(graph.outputs)))


def multiplied(graph: Graph, inputs: Sequence[int]) -> Graph:
    """The graph with quotients of what the inputs reach written as products, which can be transposed."""
    dependent = reached(graph, inputs)
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        flags = [dependent[ref.node] for ref in node.operands]
        if node.op == "divide" and flags == [True, False]:
            rewrite.values.append((call("scale", call("reciprocal", operands[1]), operands[0]),))
        else:
            rewrite.values.append(rewrite.copy(with_subgraphs(node, lambda held: multiplied(held, _moving(node, flags))), operands))  # noqa: B023  # called at once
    return rewrite.builder.build(rewrite.outputs())


def _moving(node: Node, flags: Sequence[bool]) -> list[int]:
    """Which inputs of the graphs it holds are reached, of the ops that can be transposed."""
    if node.op == "scan":
        loop = loop_of(node)
        return [i for i, f in enumerate(loop.settled(flags[loop.counted :])) if f]
    if node.op in ("cond", "checkpoint"):
        first = len(flags) - next(g.arity for _, g in node.attributes)
        return [i - first for i, f in enumerate(flags) if f and i >= first]
    return []


def _flaw(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> str:
    dependent = reached(graph, inputs)
    read = {ref for node in graph.nodes for ref in node.operands} | {graph.outputs[o] for o in outputs}
    for i in range(graph.arity, len(graph.nodes)):
        if dependent[i] and not _is_linear(graph, i, dependent, read):
            return graph.nodes[i].op
    apart = next((ref for o in outputs if not dependent[(ref := graph.outputs[o]).node] and not _is_zero(graph, ref)), None)
    return "" if apart is None else graph.nodes[apart.node].op


def _is_zero(graph: Graph, ref: Ref) -> bool:
    node = graph.nodes[ref.node]
    return node.op == "constant" and not dict(node.attributes)["value"].any()


def _is_linear(graph: Graph, at: int, dependent: Sequence[bool], read: set[Ref]) -> bool:
    node = graph.nodes[at]
    flags = [dependent[ref.node] for ref in node.operands]
    derivative = lookup(node.op).derivative
    if isinstance(derivative, Structured):
        return _holds_linear(graph, at, flags, read)
    if any(not graph.type_of(ref).is_float for ref, flag in zip(node.operands, flags, strict=True) if flag) or not all(t.is_float for t in node.types):
        return False
    rule = derivative.linear if isinstance(derivative, Tangent) else derivative
    if not isinstance(rule, Transposes):
        return False
    places = rule.operands or range(len(flags))
    if any(flag and i not in places for i, flag in enumerate(flags)):
        return False
    if rule.jointly:
        return all(flags[i] or _is_zero(graph, node.operands[i]) for i in places)
    return sum(flags) == 1


def _holds_linear(graph: Graph, at: int, flags: Sequence[bool], read: set[Ref]) -> bool:
    node = graph.nodes[at]
    if node.op in ("cond", "checkpoint"):
        within = _moving(node, flags)
        return len(within) == sum(flags) and not any(_flaw(g, within, range(len(g.outputs))) for _, g in node.attributes)
    if node.op != "scan":
        return False
    loop: Loop = loop_of(node)
    if loop.counted and flags[0]:
        return False
    given, starts = flags[loop.counted :], node.operands[loop.counted :]
    linear = loop.settled(given)
    if any(linear[j] and not given[j] and not _is_zero(graph, starts[j]) for j in range(loop.carries)):
        return False
    # What is carried beside (an index) may not be read: it counts as reached with the others.
    reach = reached(loop.body, [i for i, f in enumerate(linear) if f])
    moving = [o for o, ref in enumerate(loop.body.outputs) if (linear[o] if o < loop.carries else reach[ref.node])]
    if any(Ref(at, o) in read for o in range(len(loop.body.outputs)) if o not in moving):
        return False
    return not _flaw(loop.body, [i for i, f in enumerate(linear) if f], moving)
