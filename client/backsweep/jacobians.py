"""The whole Jacobian as one graph, for use inside a traced function: seeds of the identity, batched.

A service never sees this for its verbs: there the Jacobian is planned in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from backsweep_engine.graph import Builder, Graph
from backsweep_engine.ops.control import runs_forward
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms import derive, matrices
from backsweep_engine.transforms.simplify import simplify


def jacobian_graph(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs of `graph` -> for each output, for each wrt input, an array of shape output + input.

    Forward or reverse, whichever needs fewer seeds, where there are both.
    """
    builder = Builder()
    inputs = [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
    builder.origin = 0  # seeds come from no node of the user's; input 0 bears the line of the call
    columns = sum(graph.input_types[i].size for i in wrt)
    forward = columns <= sum(type.size for type in graph.output_types)
    forward = forward and runs_forward(derive.jvp(graph, wrt))
    entries = (matrices.forward if forward else matrices.reverse)(graph, wrt, inputs)
    names = [f"{out}/{graph.input_names[i]}" for out in graph.output_names for i in wrt]
    return simplify(builder.build([(name, term.ref) for name, term in zip(names, [e for row in entries for e in row], strict=True)]))
