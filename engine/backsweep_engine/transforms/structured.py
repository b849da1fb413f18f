"""Rules of ops that hold graphs, one record per op and one function per pass.

A rule receives the transform itself and applies it to the graphs the node holds; captured values
are explicit operands, so the rules need nothing but the node. To add a structured op: one record.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..graph import Builder, Graph, Node, Type
from ..ops.build import broadcast, call, call_several, or_zeros
from ..ops.term import Term
from .rewrite import inline


@dataclass(frozen=True, slots=True)
class StructuredRules:
    """linearize(node, x, t, linearize) -> tangents of the results.
    transpose(node, operands (a Type where linear), flags, cotangents, transpose) -> per operand.
    batch(node, operands, flags, size, batch) -> results, all with the axis.
    """

    linearize: Callable[..., tuple[Term | None, ...]]
    transpose: Callable[..., list[Term | None]]
    batch: Callable[..., tuple[Term, ...]]


def _cond(condition: Term, operands: Sequence[Term], then: Graph, otherwise: Graph) -> tuple[Term, ...]:
    return call_several(condition.builder, "cond", condition, *operands, then=then, otherwise=otherwise)


def _branches(node: Node, change: Callable[[Graph], Graph]) -> tuple[Graph, Graph]:
    attributes = dict(node.attributes)
    return change(attributes["then"]), change(attributes["otherwise"])


def _cond_linearize(node: Node, x: Sequence[Term], t: Sequence[Term | None], linearize: Callable[..., Graph]) -> tuple[Term | None, ...]:
    wrt = [i - 1 for i, tangent in enumerate(t) if tangent is not None]

    def tangent_only(branch: Graph) -> Graph:
        joint = linearize(branch, wrt)
        return joint.select(range(len(branch.outputs), len(joint.outputs)))

    moving = [tangent for tangent in t if tangent is not None]
    tangents = iter(_cond(x[0], [*x[1:], *moving], *_branches(node, tangent_only)))
    return tuple(next(tangents) if type.is_float else None for type in node.types)


def _cond_transpose(
    node: Node, operands: Sequence[Term | Type], flags: Sequence[bool], cs: Sequence[Term | None], transpose: Callable[..., Graph]
) -> list[Term | None]:
    condition = operands[0]
    assert isinstance(condition, Term), "a condition is never linear"
    linear = [i - 1 for i, flag in enumerate(flags) if flag]
    shared = [x for x in operands[1:] if isinstance(x, Term)]
    full = [or_zeros(c, condition.builder, type) for c, type in zip(cs, node.types, strict=True)]

    def backwards(branch: Graph) -> Graph:
        flipped = transpose(branch, linear, range(len(branch.outputs)))
        # Outputs that happen not to depend on the linear inputs come first; only cotangents are wanted.
        return flipped.select(range(len(flipped.outputs) - len(linear), len(flipped.outputs)))

    cotangents = iter(_cond(condition, [*shared, *full], *_branches(node, backwards)))
    return [next(cotangents) if flag else None for flag in flags]


def _cond_batch(node: Node, operands: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> tuple[Term, ...]:
    then, otherwise = _branches(node, lambda branch: batch(branch, flags[1:], size) if any(flags[1:]) else _widened(branch, size))
    if not flags[0]:
        return _cond(operands[0], operands[1:], then, otherwise)
    # Rows may go different ways: both branches run, and each row picks its own.
    builder = operands[0].builder
    chosen = []
    for a, b in zip(inline(builder, then, operands[1:]), inline(builder, otherwise, operands[1:]), strict=True):
        column = call("reshape", operands[0], shape=(size,) + (1,) * (a.ndim - 1))
        chosen.append(call("where", broadcast(column, a.shape), a, b))
    return tuple(chosen)


def _widened(graph: Graph, size: int) -> Graph:
    """The same graph with every output repeated along a new first axis."""
    builder = Builder()
    inputs = [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
    outputs = inline(builder, graph, inputs)
    return builder.build((n, broadcast(y, (size, *y.shape)).ref) for n, y in zip(graph.output_names, outputs, strict=True))


RULES: dict[str, StructuredRules] = {"cond": StructuredRules(_cond_linearize, _cond_transpose, _cond_batch)}
