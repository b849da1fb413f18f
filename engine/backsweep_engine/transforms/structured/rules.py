"""What every rule of an op that holds graphs is made of: its record, and building graphs from parts of others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...graph import Builder, Graph, Ref
from ...ops.term import Term
from ..rewrite import inline

Terms = tuple[Term, ...]
Tangents = tuple[Term | None, ...]


@dataclass(frozen=True, slots=True)
class StructuredRules:
    """linearize(node, y, x, t, linearize) -> the results y, or others in their place that leave residuals, and their tangents.
    transpose(node, operands (a Type where linear), flags, cotangents, transpose) -> per operand.
    batch(node, operands, flags, size, batch) -> results, all with the axis.
    """

    linearize: Callable[..., tuple[Terms, Tangents]]
    transpose: Callable[..., list[Term | None]]
    batch: Callable[..., Terms]


def used(graph: Graph) -> list[bool]:
    """For each input, whether anything comes of it."""
    read = {ref.node for node in graph.nodes for ref in node.operands} | {ref.node for ref in graph.outputs}
    return [i in read for i in range(graph.arity)]


def arranged(graph: Graph, inputs: Sequence[int], outputs: Sequence[int]) -> Graph:
    """The graph with these of its outputs, and its inputs in this order; those left out must not be used."""
    builder = Builder()
    terms: dict[int, Term] = {}
    for i in inputs:
        terms[i] = Term(builder, builder.input(graph.input_names[i], graph.input_types[i]))
    results = inline(builder, graph, [terms.get(i, absent(builder)) for i in range(graph.arity)])
    return named(builder, [results[o] for o in outputs])


def absent(builder: Builder) -> Term:
    """In the place of an input that is not used: it is never read."""
    return Term(builder, Ref(-1))


def named(builder: Builder, results: Sequence[Term]) -> Graph:
    """The graph of these results, named by their position; one alone has no name."""
    return builder.build([(str(k) if len(results) > 1 else "", y.ref) for k, y in enumerate(results)])


def copied_inputs(graph: Graph) -> tuple[Builder, list[Term]]:
    builder = Builder()
    return builder, [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
