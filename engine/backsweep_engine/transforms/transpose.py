"""transpose: reverse mode. A graph that is linear in some inputs, run from its outputs to those inputs.

The nodes the linear inputs do not reach stay, in forward order; the others are walked backwards and
each gives cotangents to its operands by its op's transpose rule. Together with linearize this is
backpropagation, and since one rule serves both, a vjp cannot disagree with a jvp.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..errors import Fault
from ..graph import Builder, Graph, Node, Ref, Type
from ..ops.build import or_zeros
from ..ops.op import Structured, Tangent, Transposes, lookup
from ..ops.term import Term
from ..stopping import paced
from .remember import remembered
from .rewrite import Rewrite, fresh, reached
from .structured import RULES


def transpose(graph: Graph, linear: Sequence[int], outputs: Sequence[int], seed: Callable[[Builder, Type], Term] | None = None) -> Graph:
    """For `graph` linear in the inputs `linear`: inputs are the others, then one cotangent for each
    output in `outputs`; outputs are the graph's outputs that do not depend on `linear`, then the
    cotangent of each linear input. `seed` makes the cotangents instead, which then are no inputs.
    """
    dependent = reached(graph, linear)
    rewrite = Rewrite(graph)
    builder = rewrite.builder
    unused: tuple[Term, ...] = ()
    for i in range(graph.arity):
        name, type = graph.input_names[i], graph.input_types[i]
        rewrite.values.append(unused if dependent[i] else (Term(builder, builder.input(name, type)),))
    nodes, values = graph.nodes, rewrite.values
    for i in paced(range(graph.arity, len(nodes))):
        builder.origin = nodes[i].origin
        values.append(unused if dependent[i] else rewrite.copy(nodes[i], [values[n][r] for n, r in nodes[i].operands]))
    kept = [(name, ref) for name, ref in zip(graph.output_names, graph.outputs, strict=True) if not dependent[ref.node]]

    cotangents: dict[tuple[int, int], Term] = {}  # by Ref, which is such a tuple

    def give(ref: Ref, c: Term) -> None:
        cotangents[ref] = cotangents[ref] + c if ref in cotangents else c

    names = fresh([graph.output_names[o].removeprefix("tangent.") for o in outputs], "cotangent", graph.input_names)
    for o, name in zip(outputs, names, strict=True):
        ref = graph.outputs[o]
        builder.origin = graph.nodes[ref.node].origin
        c = seed(builder, graph.type_of(ref)) if seed else Term(builder, builder.input(name, graph.type_of(ref)))
        if dependent[ref.node]:
            give(ref, c)
    for i in paced(range(len(graph.nodes) - 1, graph.arity - 1, -1)):
        if not dependent[i]:
            continue
        node = nodes[i]
        cs = [cotangents.pop((i, r), None) for r in range(len(node.types))]
        if not [c for c in cs if c is not None]:
            continue
        builder.origin = node.origin
        flags = [dependent[n] for n, _ in node.operands]
        operands: list[Term | Type] = [nodes[n].types[r] if f else values[n][r] for (n, r), f in zip(node.operands, flags, strict=True)]
        for ref, c in zip(node.operands, _transposed(node, operands, flags, cs), strict=True):
            if c is not None:
                give(ref, c)
    results = [(name, rewrite.value(ref).ref) for name, ref in kept]
    for i in linear:
        total = or_zeros(cotangents.get((i, 0)), builder, graph.input_types[i])
        results.append((graph.input_names[i].removeprefix("tangent."), total.ref))
    return builder.build(results)


_held = remembered(transpose)
"""Of a graph that a node holds: many loops have one body."""


def _transposed(node: Node, operands: list[Term | Type], flags: list[bool], cs: list[Term | None]) -> list[Any]:
    """The cotangent each operand receives; None for those the linear inputs do not reach."""
    derivative = lookup(node.op).derivative
    if isinstance(derivative, Structured):
        return RULES[node.op].transpose(node, operands, flags, cs, _held)
    rules = derivative.linear if isinstance(derivative, Tangent) else derivative
    if not isinstance(rules, Transposes):
        raise Fault(f"{node.op} stands in a linear program but is not linear", node=node.origin, op=node.op)
    linear = rules.operands or tuple(range(len(operands)))
    moving = [i for i, flag in enumerate(flags) if flag]
    if any(i not in linear for i in moving) or (len(moving) > 1 and not rules.jointly):
        raise Fault(f"{node.op} is not linear in these operands", node=node.origin, op=node.op)
    attributes = dict(node.attributes)
    return [rules.rule(i, cs[0], *operands, **attributes) if flag else None for i, flag in enumerate(flags)]
