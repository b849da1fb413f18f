"""The whole Jacobian as one graph, for use inside a traced function: seeds of the identity, batched.

A service never sees this for its verbs: there the Jacobian is planned in blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.build import call_in, cast
from backsweep_engine.ops.control import runs_forward
from backsweep_engine.ops.shape import permute, reshape
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.rewrite import inline
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
    entries = _forward(graph, wrt, inputs) if forward else _reverse(graph, wrt, inputs)
    names = [f"{out}/{graph.input_names[i]}" for out in graph.output_names for i in wrt]
    return simplify(builder.build([(name, term.ref) for name, term in zip(names, entries, strict=True)]))


def _forward(graph: Graph, wrt: Sequence[int], inputs: list[Term]) -> list[Term]:
    """A tangent per element of each wrt input; the axis of seeds is moved behind the output's."""
    by_input = []
    for i in wrt:
        type = graph.input_types[i]
        push = batch(derive.jvp(graph, [i]), [False] * graph.arity + [True], type.size)
        moved = [
            reshape(permute(y, (*range(1, y.ndim), 0)), (*y.shape[1:], *type.shape))
            for y in inline(inputs[0].builder, push, [*inputs, _identity(inputs[0].builder, type)])
        ]
        by_input.append(moved)
    return [column[o] for o in range(len(graph.outputs)) for column in by_input]


def _reverse(graph: Graph, wrt: Sequence[int], inputs: list[Term]) -> list[Term]:
    """A cotangent per element of each output; the axis of seeds already stands first."""
    entries = []
    for o, type in enumerate(graph.output_types):
        pull = batch(derive.vjp(graph.select([o]), wrt), [False] * graph.arity + [True], type.size)
        rows = inline(inputs[0].builder, pull, [*inputs, _identity(inputs[0].builder, type)])
        entries += [reshape(row, (*type.shape, *row.shape[1:])) for row in rows]
    return entries


def _identity(builder: Builder, type: Type) -> Term:
    """Row k is 1 in element k: of shape (size, *shape), made from indices, since a constant is at most 1 KiB."""
    index = call_in(builder, "iota", size=type.size)
    eye = cast(reshape(index, (type.size, 1)) == reshape(index, (1, type.size)), type.dtype)
    return reshape(eye, (type.size, *type.shape))
