"""simplify: the same values by fewer and more stable nodes. No meaning hangs on it.

Where both forms are finite a rewrite changes nothing beyond rounding; each says the domain on which
its identity holds. Stabilising rewrites may put the right finite value where the plain form
overflowed. Common subexpressions go by themselves, since builders are hash-consed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import MAX_CONSTANT_BYTES, Graph, Node
from ..ops.build import call, constant
from ..ops.op import Structured, lookup
from ..ops.term import Term
from .remember import remembered
from .rewrite import Rewrite, with_subgraphs

Rule = Callable[[Node, Sequence[Term]], Term | None]


@remembered
def simplify(graph: Graph) -> Graph:
    """One forward pass: every node is made from simplified operands, then matched against the rules."""
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        node = with_subgraphs(node, simplify)
        simpler = _fold(node, operands)
        for rule in RULES.get(node.op, ()):
            if simpler is None:
                simpler = rule(node, operands)
        rewrite.values.append(rewrite.copy(node, operands) if simpler is None else (simpler,))
    return rewrite.builder.build(rewrite.outputs())


def _made_by(term: Term) -> Node:
    return term.builder.nodes[term.ref.node]


def _scalar(term: Term) -> Any:
    """The one value of a constant that is the same everywhere, else None."""
    node = _made_by(term)
    if node.op != "constant":
        return None
    value = dict(node.attributes)["value"]
    return value.reshape(())[()] if value.size == 1 else None


def _is(term: Term, number: float) -> bool:
    value = _scalar(term)
    return value is not None and bool(value == number)


def _fold(node: Node, operands: Sequence[Term]) -> Term | None:
    """Constants are computed now: whole ones up to 1 KiB, and pointwise ones equal everywhere at any size."""
    op = lookup(node.op)
    if not operands or len(node.types) > 1 or op.apply is None or isinstance(op.derivative, Structured) or any(_made_by(t).op != "constant" for t in operands):
        return None
    builder, type, attributes = operands[0].builder, node.types[0], dict(node.attributes)
    values = [dict(_made_by(t).attributes)["value"] for t in operands]
    with np.errstate(all="ignore"):
        if all(v.size == 1 for v in values) and node.op in _EVERYWHERE:
            return constant(builder, np.asarray(op.apply(*[v.reshape(()) for v in values], **attributes)), type.shape)
        if node.op in ("broadcast", "reshape") and values[0].size == 1:
            return constant(builder, values[0].reshape(()), type.shape)
        if type.nbytes > MAX_CONSTANT_BYTES or any(t.type.nbytes > MAX_CONSTANT_BYTES for t in operands):
            return None
        full = [np.broadcast_to(v, t.shape) for v, t in zip(values, operands, strict=True)]
        return constant(builder, np.asarray(op.apply(*full, **attributes)))


_EVERYWHERE = frozenset(
    ("add", "subtract", "multiply", "divide", "negative", "scale", "reciprocal", "square", "sqrt", "exp", "log", "power", "sign", "abs", "where", "cast")
    + ("less", "less_equal", "equal", "not_equal")
)


# The rules. x is any value; identities hold for every x, -0.0 and NaN aside where they say so.


def _add(node: Node, x: Sequence[Term]) -> Term | None:
    """x + 0 = x (-0.0 + 0 is 0: a difference of sign only); x + (-y) = x - y."""
    for a, b in ((x[0], x[1]), (x[1], x[0])):
        if _is(b, 0):
            return a
    if _made_by(x[1]).op == "negative":
        return x[0] - Term(x[1].builder, _made_by(x[1]).operands[0])
    return None


def _subtract(node: Node, x: Sequence[Term]) -> Term | None:
    """x - 0 = x; 0 - x = -x."""
    if _is(x[1], 0):
        return x[0]
    return -x[1] if _is(x[0], 0) else None


def _multiply(node: Node, x: Sequence[Term]) -> Term | None:
    """x * 1 = x; x * -1 = -x. (x * 0 stays: it is NaN where x is not finite.)"""
    for a, b in ((x[0], x[1]), (x[1], x[0])):
        if _is(b, 1):
            return a
        if _is(b, -1):
            return -a
    return None


def _scale(node: Node, x: Sequence[Term]) -> Term | None:
    """scale(p, 0) = 0 by definition; scale(1, t) = t; scale(p, t) = p * t for a finite constant p or nonzero constant t."""
    p, t = x
    if _is(t, 0):
        return t
    if _is(p, 1):
        return t
    value, seed = _scalar(p), _scalar(t)
    if seed is None and (value is None or not np.isfinite(value)):
        return None
    product = _multiply(node, x)
    return p * t if product is None else product


def _divide(node: Node, x: Sequence[Term]) -> Term | None:
    """x / 1 = x."""
    return x[0] if _is(x[1], 1) else None


def _negative(node: Node, x: Sequence[Term]) -> Term | None:
    """-(-x) = x."""
    inner = _made_by(x[0])
    return Term(x[0].builder, inner.operands[0]) if inner.op == "negative" else None


def _same(node: Node, x: Sequence[Term]) -> Term | None:
    """A reshape, broadcast or cast to the type it has is nothing; of two reshapes the last stands."""
    inner = _made_by(x[0])
    folds = node.op == inner.op and node.op in ("reshape", "broadcast")
    source = Term(x[0].builder, inner.operands[0]) if folds else x[0]
    if source.type == node.types[0]:
        return source
    return call(node.op, source, **dict(node.attributes)) if folds else None


def _transpose(node: Node, x: Sequence[Term]) -> Term | None:
    """Permutations compose; the identity is nothing."""
    axes = dict(node.attributes)["axes"]
    inner = _made_by(x[0])
    source = x[0]
    if inner.op == "transpose":
        before = dict(inner.attributes)["axes"]
        axes, source = tuple(before[a] for a in axes), Term(x[0].builder, inner.operands[0])
    if list(axes) == list(range(len(axes))):
        return source
    return call("transpose", source, axes=axes) if source is not x[0] else None


def _where(node: Node, x: Sequence[Term]) -> Term | None:
    """where(c, x, x) = x."""
    return x[1] if x[1].ref == x[2].ref else None


def _log1p(node: Node, x: Sequence[Term]) -> Term | None:
    """Stabilises log1p(exp x) = softplus x, for every x (the plain form overflows for large x)."""
    inner = _made_by(x[0])
    return call("softplus", Term(x[0].builder, inner.operands[0])) if inner.op == "exp" else None


def _log(node: Node, x: Sequence[Term]) -> Term | None:
    """Stabilises log(1 + exp x) = softplus x and log(sigmoid x) = -softplus(-x), for every x."""
    inner = _made_by(x[0])
    if inner.op == "sigmoid":
        return -call("softplus", -Term(x[0].builder, inner.operands[0]))
    if inner.op == "add":
        a, b = (Term(x[0].builder, ref) for ref in inner.operands)
        for one, other in ((a, b), (b, a)):
            if _is(one, 1) and _made_by(other).op == "exp":
                return call("softplus", Term(x[0].builder, _made_by(other).operands[0]))
    return None


RULES: dict[str, tuple[Rule, ...]] = {
    "add": (_add,),
    "subtract": (_subtract,),
    "multiply": (_multiply,),
    "scale": (_scale,),
    "divide": (_divide,),
    "negative": (_negative,),
    "reshape": (_same,),
    "broadcast": (_same,),
    "cast": (_same,),
    "transpose": (_transpose,),
    "where": (_where,),
    "log1p": (_log1p,),
    "log": (_log,),
}
