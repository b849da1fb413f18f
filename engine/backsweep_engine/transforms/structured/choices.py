"""Rules of cond and checkpoint: graphs on the same operands, one of which is run once."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...graph import Graph, Node, Type
from ...ops.build import broadcast, call, call_several, or_zeros
from ...ops.shape import reshape
from ...ops.term import Term
from ..rewrite import inline
from .rules import StructuredRules, Tangents, Terms


def _leading(node: Node) -> int:
    """How many operands come before those of the graphs: a cond has its condition."""
    return 1 if node.op == "cond" else 0


def _again(node: Node, operands: Sequence[Term], change: Callable[[Graph], Graph]) -> Terms:
    """The op on other operands, with the graphs it holds changed."""
    return call_several(operands[0].builder, node.op, *operands, **{name: change(graph) for name, graph in node.attributes})


def _linearize(node: Node, y: Terms, x: Sequence[Term], t: Tangents, linearize: Callable[..., Graph]) -> tuple[Terms, Tangents]:
    wrt = [i - _leading(node) for i, tangent in enumerate(t) if tangent is not None]

    def tangent_only(held: Graph) -> Graph:
        joint = linearize(held, wrt)
        return joint.select(range(len(held.outputs), len(joint.outputs)))

    if not any(type.is_float for type in node.types):
        return y, (None,) * len(y)
    moving = [tangent for tangent in t if tangent is not None]
    tangents = iter(_again(node, [*x, *moving], tangent_only))
    return y, tuple(next(tangents) if type.is_float else None for type in node.types)


def _transpose(
    node: Node, operands: Sequence[Term | Type], flags: Sequence[bool], cs: Sequence[Term | None], transpose: Callable[..., Graph]
) -> list[Term | None]:
    linear = [i - _leading(node) for i, flag in enumerate(flags) if flag]
    builder = next(c.builder for c in cs if c is not None)
    shared = [x for x in operands if isinstance(x, Term)]
    full = [or_zeros(c, builder, type) for c, type in zip(cs, node.types, strict=True)]

    def backwards(held: Graph) -> Graph:
        flipped = transpose(held, linear, range(len(held.outputs)))
        # Outputs that happen not to depend on the linear inputs come first; only cotangents are wanted.
        return flipped.select(range(len(flipped.outputs) - len(linear), len(flipped.outputs)))

    cotangents = iter(_again(node, [*shared, *full], backwards))
    return [next(cotangents) if flag else None for flag in flags]


def _batch(node: Node, operands: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    at = _leading(node)
    if not any(flags[:at]):
        return _again(node, operands, lambda held: batch(held, flags[at:], size))
    # Rows may go different ways: both branches run, and each row picks its own.
    builder, attributes = operands[0].builder, dict(node.attributes)
    then, otherwise = (inline(builder, batch(attributes[name], flags[1:], size), operands[1:]) for name in ("then", "otherwise"))
    return tuple(chosen(operands[0], a, b) for a, b in zip(then, otherwise, strict=True))


def chosen(rows: Term, a: Term, b: Term) -> Term:
    """a in the rows that are true, b in the others; a and b have the rows' axis in front."""
    column = reshape(rows, (*rows.shape, *(1,) * (a.ndim - rows.ndim)))
    return call("where", broadcast(column, a.shape), a, b)


CHOICE = StructuredRules(_linearize, _transpose, _batch)
