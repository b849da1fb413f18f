"""Rules of functions with a vjp of their own: custom, and reverse_only, which stands for its tangent.

A vjp that is linear in the cotangent, node by node, has a transpose: that is forward mode, so the two
cannot disagree. Of any other (a clipped gradient) there is reverse mode only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import Fault
from ...graph import Graph, Node, Type
from ...ops.build import call, call_several, or_zeros
from ...ops.control import refusal
from ...ops.term import Term
from ..rewrite import inline
from .linear import flaw_of, multiplied
from .rules import StructuredRules, Tangents, Terms, copied_inputs, named


def _graphs(node: Node) -> tuple[Graph, Graph]:
    attributes = dict(node.attributes)
    return attributes["primal"], attributes["vjp"]


def _linearize(node: Node, y: Terms, x: Sequence[Term], t: Tangents, linearize: Callable[..., Graph]) -> tuple[Terms, Tangents]:
    from ..transpose import transpose  # which needs these rules itself

    primal, vjp = _graphs(node)
    builder = y[0].builder
    floating = [i for i, v in enumerate(x) if v.type.is_float]
    moving = [or_zeros(t[i], builder, x[i].type) for i in floating]
    count = sum(v.type.is_float for v in y)
    if not count:
        return y, (None,) * len(y)
    cotangents = range(vjp.arity - count, vjp.arity)
    linear = multiplied(vjp, cotangents)
    flaw = flaw_of(linear, cotangents)
    if flaw:
        tangents = call_several(builder, "reverse_only", *x, *y, *moving, primal=primal, vjp=vjp, flaw=flaw)
    else:
        flipped = transpose(linear, cotangents, range(len(vjp.outputs)))
        tangents = tuple(inline(builder, flipped, [*x, *y, *moving], keep_origin=False)[-count:])
    found = iter(tangents)
    return y, tuple(next(found) if v.type.is_float else None for v in y)


def _transpose(node: Node, *_: Any) -> list[Term | None]:
    raise Fault("custom stands in a linear program but is not linear", node=node.origin, op=node.op)


def _batch(node: Node, x: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    primal, vjp = _graphs(node)
    wide = batch(vjp, [*flags, *[True] * (vjp.arity - primal.arity)], size)
    builder, inputs = copied_inputs(wide)
    shared = [not f for f, v in zip(flags, x, strict=True) if v.type.is_float]
    # All rows give cotangents to an operand they share.
    cotangents = [call("sum", c, axes=(0,)) if s else c for c, s in zip(inline(builder, wide, inputs), shared, strict=True)]
    return call_several(x[0].builder, "custom", *x, primal=batch(primal, flags, size), vjp=named(builder, cotangents))


CUSTOM = StructuredRules(_linearize, _transpose, _batch)


# reverse_only


def _flaw(node: Node) -> str:
    return str(dict(node.attributes)["flaw"])


def _reverse_linearize(node: Node, *_: Any) -> tuple[Terms, Tangents]:
    raise refusal(_flaw(node)).located(node=node.origin)


def _reverse_transpose(
    node: Node, operands: Sequence[Term | Type], flags: Sequence[bool], cs: Sequence[Term | None], transpose: Callable[..., Graph]
) -> list[Term | None]:
    _, vjp = _graphs(node)
    builder = next(c.builder for c in cs if c is not None)
    known = [v for v, f in zip(operands, flags, strict=True) if isinstance(v, Term)][: vjp.arity - len(cs)]
    full = [or_zeros(c, builder, type) for c, type in zip(cs, node.types, strict=True)]
    found = inline(builder, vjp, [*known, *full], keep_origin=False)
    before = len(operands) - len(found)
    return [None] * before + [c if f else None for c, f in zip(found, flags[before:], strict=True)]


def _reverse_batch(node: Node, *_: Any) -> Terms:
    raise refusal(_flaw(node)).located(node=node.origin)


REVERSE_ONLY = StructuredRules(_reverse_linearize, _reverse_transpose, _reverse_batch)
