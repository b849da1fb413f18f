"""Sums and matrix products. Normal form: sums over what is really there, and as few and as small products as can be."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ...graph import Node
from ...ops.term import Term
from .rules import attribute, full, made, maker, number, operand, rule, scalar
from .shapes import permuted, reshaped, spread

THIN = 8
"""Products over at most so many terms are joined: they cost no more than writing their results."""


@rule("sum")
def sum_of_views(node: Node, x: Sequence[Term]) -> Term | None:
    """A sum over axes of length 1 is a reshape; of a transpose it is that of the operand; of two sums they are one; of -x it is -sum(x)."""
    axes, inner = attribute(node, "axes"), maker(x[0])
    if all(x[0].shape[a] == 1 for a in axes):
        return reshaped(x[0], node.types[0].shape)
    if inner.op == "sum":
        left = [a for a in range(operand(x[0]).ndim) if a not in attribute(inner, "axes")]
        return made("sum", operand(x[0]), axes=tuple(sorted((*attribute(inner, "axes"), *[left[a] for a in axes]))))
    if inner.op == "negative":
        return made("negative", made("sum", operand(x[0]), axes=axes))
    if inner.op == "transpose":
        order = attribute(inner, "axes")
        rest = [order[a] for a in range(len(order)) if a not in axes]
        total = made("sum", operand(x[0]), axes=tuple(sorted(order[a] for a in axes)))
        return permuted(total, [sorted(rest).index(a) for a in rest])
    return None


@rule("sum", of=["broadcast", "constant"])
def sum_of_broadcast(node: Node, x: Sequence[Term]) -> Term | None:
    """sum(broadcast(x)) = n x, for n copies; up to rounding."""
    axes, inner, shape = attribute(node, "axes"), maker(x[0]), x[0].shape
    if x[0].dtype.kind != "f" or 0 in shape:
        return None
    value = scalar(x[0])
    if value is not None:
        return full(x[0].builder, math.prod(shape[a] for a in axes) * value, node.types[0].shape, x[0].dtype)
    if inner.op != "broadcast":
        return None
    source = operand(x[0])
    lengths = (1,) * (len(shape) - source.ndim) + source.shape
    copied = [a for a in axes if lengths[a] == 1]
    copies = math.prod(shape[a] for a in copied)
    if copies == 1:
        return None
    # The copies are counted, the other axes summed as they are, and what is left broadcast again.
    dense = tuple(a for a in axes if lengths[a] != 1)
    aligned = reshaped(source, lengths)
    summed = made("sum", aligned, axes=dense) if dense else aligned
    once = reshaped(summed, tuple(d for a, d in enumerate(lengths) if a not in axes))
    return spread(made("multiply", number(once, copies), once), node.types[0].shape)


@rule("sum", of=["matmul", "multiply"])
def sum_of_products(node: Node, x: Sequence[Term]) -> Term | None:
    """sum_t A_t @ B_t = [A_1 A_2 ...] @ [B_1; B_2; ...]: products that are added up, outer ones too, are one product; up to rounding."""
    axes, stack = attribute(node, "axes"), x[0].ndim - 2
    summed, kept = [a for a in axes if a < stack], [a for a in range(stack) if a not in axes]
    found = _factors(x[0]) if summed and 0 not in x[0].shape else None
    if found is None:
        return None
    a, b = found
    rows, columns = (*kept, stack, *summed, stack + 1), (*kept, *summed, stack, stack + 1)
    lead, inner = tuple(a.shape[k] for k in kept), a.shape[-1] * math.prod(a.shape[k] for k in summed)
    left, right = reshaped(permuted(a, rows), (*lead, a.shape[-2], inner)), reshaped(permuted(b, columns), (*lead, inner, b.shape[-1]))
    product = made("matmul", left, right)
    rest = tuple([len(kept) + k - stack for k in axes if k >= stack])
    return made("sum", product, axes=rest) if rest else product


def _factors(x: Term) -> tuple[Term, Term] | None:
    """A and B of a stack of products A @ B, or of outer products, which are elementwise (`outer_products`)."""
    if maker(x).op == "matmul":
        return operand(x), operand(x, 1)
    if maker(x).op != "multiply":
        return None
    column, row = (*x.shape[:-1], 1), (*x.shape[:-2], 1, x.shape[-1])
    a, b = (operand(t) if maker(t).op == "broadcast" else t for t in (operand(x), operand(x, 1)))
    return (a, b) if (a.shape, b.shape) == (column, row) else (b, a) if (b.shape, a.shape) == (column, row) else None


@rule("max", "min", of=["broadcast"])
def extreme_of_broadcast(node: Node, x: Sequence[Term]) -> Term | None:
    """The largest of equal values is each of them."""
    axes, inner = attribute(node, "axes"), maker(x[0])
    if inner.op != "broadcast":
        return None
    source = operand(x[0])
    lengths = (1,) * (x[0].ndim - source.ndim) + source.shape
    if any(lengths[a] != 1 for a in axes) or 0 in x[0].shape:
        return None
    kept = tuple(d for a, d in enumerate(lengths) if a not in axes)
    return spread(reshaped(source, kept), node.types[0].shape)


@rule("sum", of=["multiply"])
def sum_of_multiple(node: Node, x: Sequence[Term]) -> Term | None:
    """sum(c x) = c sum(x) for |c| >= 1, so that no sum overflows that did not; up to rounding."""
    c = _large_factor(x[0])
    if c is None or not attribute(node, "axes"):
        return None
    total = made("sum", operand(x[0], 1), axes=attribute(node, "axes"))
    return made("multiply", number(total, c), total)


def _large_factor(x: Term) -> object | None:
    node = maker(x)
    c = scalar(operand(x)) if node.op == "multiply" and x.dtype.kind == "f" else None
    return c if c is not None and 1 <= abs(c) < math.inf else None


@rule("matmul", of=["negative", "multiply"])
def factor_out(node: Node, x: Sequence[Term]) -> Term | None:
    """(c A) @ B = c (A @ B) and (-A) @ B = -(A @ B), where the result is the smaller one and |c| >= 1; up to rounding."""
    for k in (0, 1):
        if node.types[0].size > x[k].size:
            continue
        other = x[1 - k]
        if maker(x[k]).op == "negative":
            return made("negative", _product(k, operand(x[k]), other))
        c = _large_factor(x[k])
        if c is not None:
            product = _product(k, operand(x[k], 1), other)
            return made("multiply", number(product, c), product)
    return None


@rule("matmul")
def outer_products(node: Node, x: Sequence[Term]) -> Term | None:
    """A @ B = A * B, both broadcast, for stacks of matrices with an inner axis of length 1: elementwise work is done with what reads it."""
    shape = node.types[0].shape
    return made("multiply", *[spread(t, shape) for t in x]) if x[0].ndim > 2 and x[0].shape[-1] == 1 else None


def _product(k: int, own: Term, other: Term) -> Term:
    return made("matmul", other, own) if k else made("matmul", own, other)


@rule("add", of=["matmul"])
def thin_products(node: Node, x: Sequence[Term]) -> Term | None:
    """A @ B + C @ D = [A C] @ [B; D]: sums of outer products are one product, written once; up to rounding."""
    if any(maker(t).op != "matmul" for t in x) or x[0].ndim != 2:
        return None
    (a, b), (c, d) = ((operand(t), operand(t, 1)) for t in x)
    inner = a.shape[1] + c.shape[1]
    if inner > THIN or min(x[0].shape) <= inner:
        return None
    return made("matmul", made("concat", a, c, axis=1), made("concat", b, d, axis=0))
