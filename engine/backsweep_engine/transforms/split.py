"""split: what a sweep needs once, and what it needs for each row.

On a static graph partial evaluation is reachability: what the per-row inputs do not reach is run
once, its values used by the rest are the residuals. Views of residuals and constants are free, so
they are made again for each block rather than kept (CONTRACT A7: the cut is the plan's choice).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..graph import Builder, Graph, Ref
from ..ops.op import lookup
from ..ops.term import Term
from ..stopping import paced
from .rewrite import reached


def split(graph: Graph, rows: Sequence[int], keep: Callable[[Ref], str]) -> tuple[Graph, tuple[str, ...]]:
    """The graph of one row: its shared inputs first, then the inputs `rows`; and the shared inputs' names.

    `keep(ref)` is told each value of `graph` that is shared, inputs included, and names it.
    """
    dependent = reached(graph, rows)
    builder = Builder()
    inputs = {Ref(i): Term(builder, builder.input(f"row.{graph.input_names[i]}", graph.input_types[i])) for i in rows}
    values: dict[Ref, Ref] = {ref: term.ref for ref, term in inputs.items()}
    shared: dict[Ref, str] = {}

    # Walked from the outputs: which values the rows need, and which of those are cheap to make again.
    needed = [False] * len(graph.nodes)
    for ref in graph.outputs:
        needed[ref.node] = True
    remade = [False] * len(graph.nodes)
    for i in paced(range(len(graph.nodes) - 1, graph.arity - 1, -1)):
        if not needed[i]:
            continue
        node = graph.nodes[i]
        remade[i] = dependent[i] or lookup(node.op).view or not node.operands
        if remade[i]:
            for ref in node.operands:
                needed[ref.node] = True

    def value(ref: Ref) -> Ref:
        if ref not in values:
            shared[ref] = keep(ref)
            values[ref] = builder.input(shared[ref], graph.type_of(ref))
        return values[ref]

    for i in paced(range(graph.arity, len(graph.nodes))):
        if not remade[i]:
            continue
        node = graph.nodes[i]
        builder.origin = node.origin
        operands = [value(ref) for ref in node.operands]
        index = builder.add(node.op, operands, dict(node.attributes), lambda node=node: node.types)  # type: ignore[misc]
        for r in range(len(node.types)):
            values[Ref(i, r)] = Ref(index, r)
    each = builder.build([(name, value(ref)) for name, ref in zip(graph.output_names, graph.outputs, strict=True)])
    return _rows_last(each, len(rows)), tuple(shared.values())


def _rows_last(graph: Graph, rows: int) -> Graph:
    """The same graph with its first `rows` inputs moved behind the others."""
    order = [*range(rows, graph.arity), *range(rows), *range(graph.arity, len(graph.nodes))]
    new = [0] * len(order)
    for i, old in enumerate(order):
        new[old] = i
    nodes = tuple(graph.nodes[old]._replace(operands=tuple([Ref(new[r.node], r.result) for r in graph.nodes[old].operands])) for old in order)
    return Graph(nodes, graph.arity, tuple(Ref(new[r.node], r.result) for r in graph.outputs), graph.output_names, graph.op_set)
