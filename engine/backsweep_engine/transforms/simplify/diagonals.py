"""Diagonal matrices, as identity seeds make them: kept as vectors until something dense meets them.

diag(v) is written in two ops: pad puts n zeros behind each element of v, so that in C order v stands n + 1
apart, and reshape makes rows of that; the identity is diag of ones. Every other shape of the same elements
(seeds shaped like what they move) is a diag too. What multiplies zeros off the diagonal is left out: where
it is infinite or NaN this puts the right 0 in the place of 0 * inf, as `scale` does.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ...graph import Node
from ...ops.build import constant
from ...ops.term import Term
from .rules import attribute, full, is_number, made, maker, operand, rule, scalar
from .shapes import Ints, reshaped, spread

_WRITTEN_AS = ("reshape", "pad", "constant")


def diag(v: Term, shape: Ints) -> Term:
    """The matrix with v on its diagonal, its elements in C order in the given shape."""
    return reshaped(made("pad", v, low=(0,), high=(0,), interior=(v.size,)), shape)


def diagonal(x: Term) -> Term | None:
    """v where x is diag(v) in some shape, else None. Of more than one element."""
    node = maker(x)
    if node.op == "constant":
        return _constant(x)
    if node.op == "reshape":
        x, node = operand(x), maker(operand(x))
    if node.op != "pad" or x.ndim != 1:
        return None
    v = operand(x)
    plain = attribute(node, "low") == attribute(node, "high") == (0,) and attribute(node, "interior") == (v.size,)
    return v if plain and v.size > 1 else None


def _constant(x: Term) -> Term | None:
    """A small constant that is a diagonal matrix."""
    value, n = attribute(maker(x), "value"), math.isqrt(x.size)
    if value.size != x.size or n < 2 or n * n != x.size:
        return None
    square = value.reshape(n, n)
    v = square.diagonal()
    if not v.all() or np.count_nonzero(square) > n:
        return None
    return full(x.builder, v[0], (n,), x.dtype) if (v == v[0]).all() else constant(x.builder, v)


def _taken(x: Term, n: int) -> Term:
    """The elements of x that stand on the diagonal."""
    node = maker(x)
    if scalar(x) is not None:
        return full(x.builder, scalar(x), (n,), x.dtype)
    if node.op == "broadcast":
        source = operand(x)
        lengths = (1,) * (x.ndim - source.ndim) + source.shape
        split = _split(x.shape, n)
        # Equal in every row, or in every column: the other one runs along.
        if split is not None and source.size == n and (math.prod(lengths[:split]) == 1 or math.prod(lengths[split:]) == 1):
            return reshaped(source, (n,))
    own = diagonal(x)
    if own is not None:
        return own
    return made("slice", reshaped(x, (n * n,)), start=(0,), stop=(n * n,), step=(n + 1,))


def _split(shape: Ints, n: int) -> int | None:
    """How many of the axes make the rows of an n x n matrix; None if no number does."""
    return next((a for a in range(len(shape) + 1) if math.prod(shape[:a]) == n == math.prod(shape[a:])), None)


@rule("multiply", "scale", "where", "negative", "cast", "divide", of=_WRITTEN_AS)
def along_the_diagonal(node: Node, x: Sequence[Term]) -> Term | None:
    """f(diag(v), x) = diag(f(v, the diagonal of x)) for every f that is 0 where its diagonal operand is."""
    places = {"where": (1, 2), "divide": (0,), "scale": (0, 1), "multiply": (0, 1)}.get(node.op, (0,))
    if node.op == "cast" and "f" not in (x[0].dtype.kind, node.types[0].dtype.kind):
        return None
    found = {i: v for i in places if (v := diagonal(x[i])) is not None}
    if not found or (node.op == "where" and not all(i in found or is_number(x[i], 0) for i in places)):
        return None
    n = next(iter(found.values())).size
    operands = [found[i] if i in found else _taken(t, n) for i, t in enumerate(x)]
    return diag(made(node.op, *operands, **dict(node.attributes)), node.types[0].shape)


@rule("add", "subtract", of=_WRITTEN_AS)
def sums_of_diagonals(node: Node, x: Sequence[Term]) -> Term | None:
    """diag(v) + diag(w) = diag(v + w)."""
    v, w = map(diagonal, x)
    return diag(made(node.op, v, w), node.types[0].shape) if v is not None and w is not None else None


@rule("transpose", of=_WRITTEN_AS)
def symmetric(node: Node, x: Sequence[Term]) -> Term | None:
    """diag(v) is its own transpose: rows and columns change places, each keeping its order."""
    v = diagonal(x[0])
    if v is None:
        return None
    axes, split = attribute(node, "axes"), _split(x[0].shape, v.size)
    swapped = split is not None and list(axes) == [*range(split, x[0].ndim), *range(split)]
    return reshaped(x[0], node.types[0].shape) if swapped else None


@rule("sum", of=_WRITTEN_AS)
def rows_of_a_diagonal(node: Node, x: Sequence[Term]) -> Term | None:
    """The sums of the rows, or of the columns, of diag(v) are v; of all of it, sum(v)."""
    v = diagonal(x[0])
    if v is None:
        return None
    axes, split = attribute(node, "axes"), _split(x[0].shape, v.size)
    if len(axes) == x[0].ndim:
        return made("sum", v, axes=(0,))
    whole = split is not None and axes in (tuple(range(split)), tuple(range(split, x[0].ndim)))
    return reshaped(v, node.types[0].shape) if whole else None


@rule("matmul", of=_WRITTEN_AS)
def product_with_a_diagonal(node: Node, x: Sequence[Term]) -> Term | None:
    """diag(v) @ B scales the rows of B, A @ diag(v) the columns of A; A @ identity = A."""
    if x[0].ndim != 2:
        return None
    for k in (0, 1):
        v = diagonal(x[k]) if x[k].shape[0] == x[k].shape[1] else None
        if v is not None:
            other = x[1 - k]
            if is_number(v, 1):
                return other
            weights = spread(v if k else reshaped(v, (v.size, 1)), other.shape)
            return made("multiply", weights, other)
    return None
