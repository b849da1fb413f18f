"""linearize: forward mode. The tangent of every node, beside the node itself, in one graph.

The result computes y = f(x) and dy = J t. What depends on the tangent inputs is the linear program;
where it is cut from the rest is the plan's choice. Zero tangents are symbolic: a node no tangent
reaches costs nothing. (Radul et al., You Only Linearize Once, POPL 2023.)

What may be infinite or NaN is multiplied by `scale`, for which an exact zero wins: a branch not taken
by where, a unit seed and a cotangent that was cut off pass nothing, in forward and reverse alike.
Which values these are is told by the graph: results of ops that can leave the finite numbers, and of
all that read them. (A matrix product has no such form: there 0 * inf stays NaN.)
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph import Graph, Node, Ref, first
from ..ops.build import call, or_zeros
from ..ops.op import Partials, Structured, Tangent, Transposes, Zero, lookup
from ..ops.term import Term
from .expand import expand
from .remember import remembered
from .rewrite import Rewrite, as_tuple, fresh
from .structured import RULES

Tangents = tuple[Term | None, ...]


def linearize(graph: Graph, wrt: Sequence[int], risky_inputs: bool = False) -> Graph:
    """Inputs: those of `graph`, then one tangent per input in `wrt`. Outputs: those of `graph`, then
    the tangent of each floating output, in order. `risky_inputs`: the inputs may not be finite.

    Raises GraphError (NOT_DIFFERENTIABLE) if an input in `wrt` is not floating.
    """
    graph = expand(graph)
    rewrite = Rewrite(graph)
    rewrite.inputs()
    builder = rewrite.builder
    tangents: dict[Ref, Term] = {}
    names = fresh([graph.input_names[i] for i in wrt], "tangent", graph.input_names)
    for i, name in zip(wrt, names, strict=True):
        type = graph.input_types[i]
        if not type.is_float:
            raise GraphError(
                f"input {graph.input_names[i]!r} has no derivative", reason="NOT_DIFFERENTIABLE", node=i, got=str(type), allowed="float64 or float32"
            )
        tangents[Ref(i)] = Term(builder, builder.input(name, type))
    risky = [risky_inputs] * graph.arity
    for node, operands in rewrite.steps():
        results = rewrite.copy(node, operands)
        reads = tuple([risky[n] for n, _ in node.operands])
        risky.append(True in reads or _leaves_finite(node))
        moving = tuple([tangents.get(ref) for ref in node.operands])
        if [t for t in moving if t is not None]:
            if isinstance(lookup(node.op).derivative, Structured):
                # What is given to the graphs it holds may not be finite either, nor what a loop carries on.
                carried = risky[-1] and "carries" in dict(node.attributes)
                within = partial(_held, risky_inputs=any(reads) or carried)
                results, moved = RULES[node.op].linearize(node, results, operands, moving, within)
            else:
                moved = _tangents(node, results, operands, moving, reads)
            for r, t in enumerate(moved):
                if t is not None and node.types[r].is_float:
                    tangents[Ref(len(rewrite.values), r) if r else first(len(rewrite.values))] = t
        rewrite.values.append(results)
    outputs = rewrite.outputs()
    floating = [(n, ref) for n, ref in zip(graph.output_names, graph.outputs, strict=True) if graph.type_of(ref).is_float]
    for name, ref in floating:
        tangent = or_zeros(tangents.get(ref), builder, graph.type_of(ref))
        outputs.append((f"tangent.{name}", tangent.ref))
    # A rule may be spelled in compound ops (the cofactors' in prod); what is transposed and run has none.
    return expand(builder.build(outputs))


_held = remembered(linearize)
"""Of a graph that a node holds: many loops have one body. (The tangent of the graph itself is gone once it is simplified.)"""


def _leaves_finite(node: Node) -> bool:
    """Whether its results may be infinite or NaN though its operands are finite."""
    if node.op == "constant":
        return not np.isfinite(dict(node.attributes)["value"]).all()
    derivative = lookup(node.op).derivative
    if isinstance(derivative, Structured):
        held = [v for _, v in node.attributes if isinstance(v, Graph)]
        return any(_leaves_finite(inner) for graph in held for inner in graph.nodes[graph.arity :])
    return isinstance(derivative, Partials) and not derivative.finite


def _tangents(node: Node, y: tuple[Term, ...], x: tuple[Term, ...], t: Tangents, risky: tuple[bool, ...]) -> tuple[Term | None, ...]:
    """The tangents of the node's results, None where symbolically zero. `risky`: which operands may not be finite."""
    op, attributes = lookup(node.op), dict(node.attributes)
    match op.derivative:
        case Zero():
            return (None,) * len(y)
        case Partials(rule, finite):
            return (_weighted(rule(y[0], *x, **attributes), t, "multiply" if finite and not any(risky) else "scale"),)
        case Transposes(jointly=True) as rules:
            return (_together(op.name, attributes, x, t, rules.operands or tuple(range(len(x)))),)
        case Transposes() as rules:
            return (_one_by_one(op.name, attributes, x, t, rules, risky),)
        case Tangent(rule):
            return as_tuple(rule(y[0] if len(y) == 1 else y, x, t, **attributes))
    raise AssertionError(f"{node.op} should have been expanded")


def _weighted(partials: tuple[Any, ...], t: Tangents, product: str) -> Term | None:
    """Sum of partial times tangent over the operands that move."""
    total: Term | None = None
    for p, dx in zip(partials, t, strict=True):
        if dx is None or p is None:
            continue
        # A partial given as a number is constant; `scale` is for those that may be infinite.
        term = call(product, p, dx) if isinstance(p, Term) else dx * p
        total = term if total is None else total + term
    return total


def _together(name: str, attributes: dict[str, Any], x: tuple[Term, ...], t: Tangents, linear: tuple[int, ...]) -> Term | None:
    """An op linear in several operands at once is its own tangent."""
    if all(t[i] is None for i in linear):
        return None
    moved = list(x)
    for i in linear:
        moved[i] = or_zeros(t[i], x[i].builder, x[i].type)
    return call(name, *moved, **attributes)


def _one_by_one(name: str, attributes: dict[str, Any], x: tuple[Term, ...], t: Tangents, rules: Transposes, risky: tuple[bool, ...]) -> Term | None:
    """An op linear in each operand with the others fixed: the sum over those that move."""
    total: Term | None = None
    for i, moving in enumerate(t):
        if moving is None:
            continue
        if rules.guarded and risky[1 - i]:
            term = call(rules.guarded, x[1 - i], moving)
        else:
            term = call(name, *x[:i], moving, *x[i + 1 :], **attributes)
        total = term if total is None else total + term
    return total
