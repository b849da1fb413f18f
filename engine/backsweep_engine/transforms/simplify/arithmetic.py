"""Sums, products and powers. Normal form: constants in front and merged, signs outside products, no -x in a sum.

Identities hold for every value, the sign of a zero aside; where a constant is merged or moved they hold up
to rounding, and no constant moves where it would overflow or vanish.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph import Node
from ...ops.term import Term
from .rules import attribute, is_number, made, maker, number, operand, rule, scalar

SMALL = 2.0**-40
"""A factor down to here is moved; the values it meets keep their digits where they are above 1e-292."""


VIEWS = ("reshape", "transpose", "broadcast")


def _factor(x: Term) -> tuple[Any, Term]:
    """x as a number times a value; the number is 1 where there is none, -1 of a negative."""
    node = maker(x)
    if node.op == "negative":
        return x.dtype.type(-1), operand(x)
    if node.op == "multiply" and (c := scalar(operand(x))) is not None:
        return c, operand(x, 1)
    return x.dtype.type(1), x


def _has_factor(x: Term) -> bool:
    """Whether x is a number times a value. Most values are not, and this is asked of every operand: it makes no number."""
    node = maker(x)
    return node.op == "negative" or (node.op == "multiply" and scalar(operand(x)) is not None)


def _times(c: Any, x: Term) -> Term:
    return made("multiply", number(x, c), x)


def _normal(c: Any) -> bool:
    """Whether a product of constants lost nothing: not an infinity, a zero or a denormal number."""
    return bool(np.isfinite(c) and abs(c) >= np.finfo(c.dtype).tiny) if c.dtype.kind == "f" else False


@rule("add")
def add(node: Node, x: Sequence[Term]) -> Term | None:
    """x + 0 = x; x + -y = x - y; c x + d x = (c + d) x."""
    a, b = x
    if is_number(b, 0):
        return a
    if is_number(a, 0):
        return b
    if maker(b).op == "negative":
        return made("subtract", a, operand(b))
    if maker(a).op == "negative":
        return made("subtract", b, operand(a))
    return _merged(x, 1)


@rule("subtract")
def subtract(node: Node, x: Sequence[Term]) -> Term | None:
    """x - 0 = x; 0 - x = -x; x - -y = x + y; -x - y = -(x + y); c x - d x = (c - d) x."""
    a, b = x
    if is_number(b, 0):
        return a
    if is_number(a, 0):
        return made("negative", b)
    if maker(b).op == "negative":
        return made("add", a, operand(b))
    if maker(a).op == "negative":
        return made("negative", made("add", operand(a), b))
    return _merged(x, -1)


def _merged(x: Sequence[Term], sign: int) -> Term | None:
    if x[0].dtype.kind != "f" or not (x[0].ref == x[1].ref or _has_factor(x[0]) or _has_factor(x[1])):
        return None
    (c, a), (d, b) = map(_factor, x)
    total = c + d if sign > 0 else c - d
    return _times(total, a) if a.ref == b.ref and _normal(total) else None


@rule("multiply", of=["constant", "negative", "multiply", *VIEWS])
def multiply(node: Node, x: Sequence[Term]) -> Term | None:
    """x * 1 = x; x * -1 = -x; x c = c x; c (d x) = (c d) x; c (d x y) = (c d) x y; -x y = -(x y), c (-x) = (-c) x. (x * 0 stays, which may be NaN.)"""
    a, b = x
    if a.dtype.kind != "f":
        return b if is_number(a, 1) else a if is_number(b, 1) else None
    c = scalar(a)
    if c is None:
        if scalar(b) is not None:
            return made("multiply", b, a)
        both = _constants_meet("multiply", a, b)
        if both is not None:
            return both
        if maker(a).op == "negative":
            return made("negative", made("multiply", operand(a), b))
        return made("negative", made("multiply", a, operand(b))) if maker(b).op == "negative" else None
    if c == 1:
        return b
    if c == -1:
        return made("negative", b)
    d, inner = _factor(b)
    if inner.ref != b.ref:
        return _times(c * d, inner) if _normal(c * d) else None
    found = _into_a_product(c, b)
    return _onto_the_smaller(c, b) if found is None else found


@rule("multiply", of=["sin", "cos"])
def double_angle(node: Node, x: Sequence[Term]) -> Term | None:
    """(x sin a) cos a = x (sin a cos a), and with the two exchanged: half the sine of 2 a, which takes one function where tiles are computed."""
    for k in (0, 1):
        angle, rest = x[k], x[1 - k]
        if maker(angle).op not in ("sin", "cos") or maker(rest).op != "multiply":
            continue
        other = "cos" if maker(angle).op == "sin" else "sin"
        for j in (0, 1):
            factor = operand(rest, j)
            if maker(factor).op == other and maker(factor).operands == maker(angle).operands:
                return made("multiply", operand(rest, 1 - j), made("multiply", *((factor, angle) if other == "sin" else (angle, factor))))
    return None


def _under_views(x: Term) -> tuple[list[Node], Term]:
    """The reshapes, transposes and broadcasts x went through last, the last one first, and what they were made of."""
    views = []
    while maker(x).op in VIEWS:
        views.append(maker(x))
        x = operand(x)
    return views, x


def _viewed(views: Sequence[Node], x: Term) -> Term:
    for view in reversed(views):
        x = made(view.op, x, **dict(view.attributes))
    return x


def _stored_factor(x: Term) -> tuple[Any, Term]:
    """The same, of what x is a view of too."""
    views, stored = _under_views(x)
    c, rest = _factor(stored)
    return (c, x) if rest.ref == stored.ref else (c, _viewed(views, rest))


def _constants_meet(op: str, a: Term, b: Term) -> Term | None:
    """(c x) (d y) = (c d) (x y) for |c d| >= 1, and x (c d y) below: so no product overflows that did not. Of scale, too, up to 1."""
    if not (_has_factor(_under_views(a)[1]) and _has_factor(_under_views(b)[1])):
        return None
    (c, x), (d, y) = _stored_factor(a), _stored_factor(b)
    if not _normal(c * d):
        return None
    if abs(c * d) == 1 or (op == "multiply" and abs(c * d) > 1):
        return _times(c * d, made(op, x, y))
    if abs(c * d) > 1 or abs(c * d) < SMALL:
        return None
    return made(op, x, _onto(c * d, y)) if op == "scale" or _stored(y) <= _stored(x) else made(op, _onto(c * d, x), y)


def _into_a_product(c: Any, product: Term) -> Term | None:
    """c ((d x) y) = (c d) (x y) for 1 <= |c d| <= 1 / SMALL, ((c d) x) y for SMALL <= |c d| < 1; x y is then about as large as the result."""
    if maker(product).op != "multiply":
        return None
    for k in (0, 1):
        d, x = _factor(operand(product, k))
        y = operand(product, 1 - k)
        if x.ref == operand(product, k).ref or not _normal(c * d) or not SMALL <= abs(c * d) <= 1 / SMALL:
            continue
        if abs(c * d) >= 1:
            return _times(c * d, made("multiply", y, x) if k else made("multiply", x, y))
        return made("multiply", y, _times(c * d, x)) if k else made("multiply", _times(c * d, x), y)
    return None


def _stored(x: Term) -> int:
    """How many elements are really there."""
    return _under_views(x)[1].size


def _onto(c: Any, x: Term) -> Term:
    views, stored = _under_views(x)
    return _viewed(views, _times(c, stored))


def _onto_the_smaller(c: Any, product: Term) -> Term | None:
    """c (broadcast(d) A) = broadcast(c d) A for SMALL <= |c| <= 1, which spares a pass over A."""
    if maker(product).op != "multiply" or not SMALL <= abs(c) <= 1:
        return None
    for k in (0, 1):
        d, whole = operand(product, k), operand(product, 1 - k)
        if maker(d).op == "broadcast" and operand(d).size < d.size and maker(whole).op != "broadcast":
            return made("multiply", _onto(c, d), whole)
    return None


@rule("scale", of=["constant"])
def scale(node: Node, x: Sequence[Term]) -> Term | None:
    """scale(p, 0) = 0 by definition; scale(1, t) = t; scale(p, t) = p * t for a finite constant p or nonzero constant t."""
    p, t = x
    if is_number(t, 0):
        return t
    if is_number(p, 1):
        return t
    value, seed = scalar(p), scalar(t)
    return None if seed is None and (value is None or not np.isfinite(value)) else made("multiply", p, t)


@rule("scale", of=["multiply", "negative", *VIEWS])
def scale_of_multiples(node: Node, x: Sequence[Term]) -> Term | None:
    """scale(c p, d t) = scale(p, c d t) for SMALL <= |c d| <= 1: a factor takes no part in what is 0."""
    return _constants_meet("scale", *x)


@rule("scale", of=["negative"])
def scale_with_a_sign(node: Node, x: Sequence[Term]) -> Term | None:
    """scale(-p, t) = -scale(p, t) = scale(p, -t)."""
    for k in (0, 1):
        if maker(x[k]).op == "negative":
            return made("negative", made("scale", *[operand(y) if i == k else y for i, y in enumerate(x)]))
    return None


@rule("divide", of=["constant", "negative"])
def divide(node: Node, x: Sequence[Term]) -> Term | None:
    """x / 1 = x; -x / y = x / -y = -(x / y); x / c = x (1/c) for a power of two c."""
    a, b = x
    if is_number(b, 1):
        return a
    if maker(a).op == "negative":
        return made("negative", made("divide", operand(a), b))
    if maker(b).op == "negative":
        return made("negative", made("divide", a, operand(b)))
    c = scalar(b)
    exact = c is not None and c.dtype.kind == "f" and np.isfinite(c) and abs(np.frexp(c)[0]) == 0.5
    return made("multiply", number(a, 1 / c), a) if exact and _normal(1 / c) else None


@rule("negative", of=["negative", "subtract", "multiply"])
def negative(node: Node, x: Sequence[Term]) -> Term | None:
    """-(-x) = x; -(c x) = (-c) x; -(x - y) = y - x."""
    inner = maker(x[0])
    if inner.op == "negative":
        return operand(x[0])
    if inner.op == "subtract":
        return made("subtract", operand(x[0], 1), operand(x[0]))
    c, rest = _factor(x[0])
    return _times(-c, rest) if rest.ref != x[0].ref else None


@rule("square", of=["negative", "abs"])
def square_of_negative(node: Node, x: Sequence[Term]) -> Term | None:
    """(-x)^2 = |x|^2 = x^2."""
    return made("square", operand(x[0])) if maker(x[0]).op in ("negative", "abs") else None


@rule("integer_power")
def small_power(node: Node, x: Sequence[Term]) -> Term | None:
    """x^1 = x, x^0 = 1, x^-1 = 1/x, x^2, x^3, x^4 by products, which cost a tenth of a power."""
    exponent = attribute(node, "exponent")
    match exponent:
        case 0:
            return number(x[0], 1)
        case 1:
            return x[0]
        case -1:
            return made("reciprocal", x[0])
        case 2:
            return made("square", x[0])
        case 3:
            return made("multiply", made("square", x[0]), x[0])
        case 4:
            return made("square", made("square", x[0]))
    return None


@rule("power", of=["constant"])
def power_by_a_number(node: Node, x: Sequence[Term]) -> Term | None:
    """x^c for a small whole constant c, as above; x^(1/2) = sqrt x for x > 0 (at -inf and -0 NumPy's pow gives inf and 0)."""
    c = scalar(x[1])
    if c is None:
        return None
    if c in (1, 2):
        return made("integer_power", x[0], exponent=int(c))
    return made("sqrt", x[0]) if c == 0.5 else None


@rule("where")
def where_of_one(node: Node, x: Sequence[Term]) -> Term | None:
    """where(c, x, x) = x; where(not c, x, y) = where(c, y, x); of where(c, where(c, x, _), y) the inner choice is known."""
    condition, a, b = x
    if a.ref == b.ref:
        return a
    chosen = scalar(condition)
    if chosen is not None:
        return a if chosen else b
    if maker(condition).op == "logical_not":
        return made("where", operand(condition), b, a)
    if maker(a).op == "where" and operand(a).ref == condition.ref:
        return made("where", condition, operand(a, 1), b)
    if maker(b).op == "where" and operand(b).ref == condition.ref:
        return made("where", condition, a, operand(b, 2))
    return None


@rule("where", of=["negative"])
def where_of_negatives(node: Node, x: Sequence[Term]) -> Term | None:
    """where(c, -x, -y) = -where(c, x, y), and with 0 for one of them: the sign moves out."""
    condition, a, b = x
    signs = [maker(y).op == "negative" for y in (a, b)]
    if not any(signs) or not all(s or is_number(y, 0) for s, y in zip(signs, (a, b), strict=True)):
        return None
    return made("negative", made("where", condition, *[operand(y) if s else y for s, y in zip(signs, (a, b), strict=True)]))
