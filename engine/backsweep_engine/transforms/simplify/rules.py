"""What every family of rewrites is made of: the table of rules, making a simplified node, and looking at how a value was made.

A rule gets a node that is not in the graph yet and its operands, which are simplified already, and
returns the value to put in its place, or None. Values a rule needs on the way it makes with `made`,
so that they are simplified in their turn; every rule must lead towards the normal form its family states, or
two would chase each other for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...graph import MAX_CONSTANT_BYTES, Attribute, Builder, Node, Ref
from ...ops.build import common_builder, constant
from ...ops.op import Structured, check, lookup
from ...ops.term import Term

Rule = Callable[[Node, Sequence[Term]], Term | None]

RULES: dict[str, list[tuple[Rule, frozenset[str]]]] = {}
"""By op, in the order they are tried; and the ops one of which must have made an operand for the rule to be worth asking (none: any)."""


def rule(*ops: str, of: Sequence[str] = ()) -> Callable[[Rule], Rule]:
    """Decorator: the rule rewrites these ops, where some operand was made by one of the ops `of`."""

    def register(f: Rule) -> Rule:
        for op in ops:
            RULES.setdefault(op, []).append((f, frozenset(of)))
        return f

    return register


def simpler(node: Node, operands: Sequence[Term]) -> Term | None:
    """What the first rule that fits puts in the place of the node; None if none fits. Of nodes with one result."""
    if not operands or len(node.types) != 1:
        return None
    nodes = operands[0].builder.nodes
    makers = [nodes[x.ref[0]][0] for x in operands]
    found = _fold(node, operands) if "constant" in makers and makers.count("constant") == len(makers) else None
    if found is None:
        for f, of in RULES.get(node.op, ()):
            if of and of.isdisjoint(makers):
                continue
            found = f(node, operands)
            if found is not None:
                return found
    return found


def _fold(node: Node, operands: Sequence[Term]) -> Term | None:
    """f(constants) is computed now: whole ones up to 1 KiB, and pointwise ones equal everywhere at any size."""
    op, builder, type, attributes = lookup(node.op), operands[0].builder, node.types[0], dict(node.attributes)
    if op.apply is None or isinstance(op.derivative, Structured):
        return None
    values = [attribute(maker(x), "value") for x in operands]
    with np.errstate(all="ignore"):
        if all(v.size == 1 for v in values) and node.op in _EVERYWHERE:
            return constant(builder, np.asarray(op.apply(*[v.reshape(()) for v in values], **attributes)), type.shape)
        if node.op in ("broadcast", "reshape", "transpose") and values[0].size == 1:
            return constant(builder, values[0].reshape(()), type.shape)
        if type.nbytes > MAX_CONSTANT_BYTES or any(t.type.nbytes > MAX_CONSTANT_BYTES for t in operands):
            return None
        whole = [np.broadcast_to(v, t.shape) for v, t in zip(values, operands, strict=True)]
        return _constant(builder, np.asarray(op.apply(*whole, **attributes)))


def _constant(builder: Builder, value: np.ndarray[Any, Any]) -> Term:
    """As one number where it is the same everywhere, to the last bit."""
    alike = value.size > 1 and value.tobytes() == value.ravel()[:1].tobytes() * value.size
    return constant(builder, value.ravel()[0], value.shape, value.dtype) if alike else constant(builder, value)


_EVERYWHERE = frozenset(
    ("add", "subtract", "multiply", "divide", "negative", "scale", "reciprocal", "square", "sqrt", "exp", "log", "power", "sign", "abs", "where", "cast")
    + ("less", "less_equal", "equal", "not_equal", "integer_power")
)


def made(name: str, *operands: Term, **attributes: Attribute) -> Term:
    """The op on these values, simplified."""
    builder = common_builder(operands)
    types = check(lookup(name), tuple([x.type for x in operands]), attributes)
    node = Node(name, tuple([x.ref for x in operands]), tuple(sorted(attributes.items())), types, -1)
    found = simpler(node, operands)
    return Term(builder, Ref(builder.again(node, node.operands))) if found is None else found


def maker(term: Term) -> Node:
    """The node that made a value."""
    return term.builder.nodes[term.ref.node]


def operand(term: Term, k: int = 0) -> Term:
    """What the value was made from."""
    return Term(term.builder, maker(term).operands[k])


def attribute(node: Node, name: str) -> Any:
    return dict(node.attributes)[name]


def scalar(term: Term) -> Any:
    """The one value of a constant that is the same everywhere, else None."""
    node = maker(term)
    if node.op != "constant":
        return None
    value = attribute(node, "value")
    return value.reshape(())[()] if value.size == 1 else None


def is_number(term: Term, number: float) -> bool:
    value = scalar(term)
    return value is not None and bool(value == number)


def full(builder: Builder, value: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Term:
    """A constant that is the same everywhere."""
    return constant(builder, value, shape, dtype)


def number(like: Term, value: Any) -> Term:
    """The same, of the type of another value."""
    return constant(like.builder, value, like.shape, like.dtype)
