"""Whole matrices of derivatives as graphs: the linear program over identity seeds, which simplify then takes away.

The seeds are one identity for each input (or output), shaped like it, and symbolic: where the program only
scales rows or multiplies by a matrix, nothing of them is left (the Jacobian of tanh(A x) is (1 - y^2) A). A
matrix too large for this is swept in blocks instead: that is the plan's choice.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Builder, Graph, Type
from ..ops.build import call, ones
from ..ops.shape import permute, reshape
from ..ops.term import Term
from . import derive
from .batch import batch
from .rewrite import inline


def identity(builder: Builder, type: Type) -> Term:
    """Row k is 1 in element k: of shape (size, *shape). In C order the ones stand size + 1 apart."""
    n = type.size
    line = call("pad", ones(builder, type.with_shape((n,))), low=(0,), high=(0,), interior=(n,))
    return reshape(line, (n, *type.shape)) if n else reshape(line, (0, *type.shape))


def forward(graph: Graph, wrt: Sequence[int], inputs: Sequence[Term]) -> list[list[Term]]:
    """For each floating output, for each wrt input, the derivative of shape output + input: a tangent per element of each input."""
    return value_and_forward(graph, wrt, inputs)[1]


def value_and_forward(graph: Graph, wrt: Sequence[int], inputs: Sequence[Term]) -> tuple[list[Term], list[list[Term]]]:
    """The outputs too, from the same pass."""
    builder, values = inputs[0].builder, len(graph.outputs)
    by_input, results = [], []
    for i in wrt:
        type, both = graph.input_types[i], derive.value_and_jvp(graph, [i])
        push = batch(both, [False] * graph.arity + [True], type.size, [o >= values for o in range(len(both.outputs))])
        results = inline(builder, push, [*inputs, identity(builder, type)])
        by_input.append([reshape(permute(y, (*range(1, y.ndim), 0)), (*y.shape[1:], *type.shape)) for y in results[values:]])
    return results[:values], [list(entries) for entries in zip(*by_input, strict=True)]


def reverse(graph: Graph, wrt: Sequence[int], inputs: Sequence[Term]) -> list[list[Term]]:
    """The same by a cotangent per element of each floating output."""
    builder = inputs[0].builder
    by_output = []
    for o in derive.floating_outputs(graph):
        type = graph.output_types[o]
        pull = batch(derive.vjp(graph.select([o]), wrt), [False] * graph.arity + [True], type.size)
        rows = inline(builder, pull, [*inputs, identity(builder, type)])
        by_output.append([reshape(row, (*type.shape, *row.shape[1:])) for row in rows])
    return by_output
