"""Norms: a product known to be finite from its factors, which are smaller than it and in cache when it is made.

No entry of a @ b, and no sum on the way to one in whatever order, is larger than |a| |b|, the roots of the sums of squares of all
entries (Cauchy-Schwarz); where the square of that is finite there is room for any rounding. The gradient of a layer's weights has
a batch's length between: its factors may be a fraction of it. Nothing is said of a product whose bound is not finite.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Ref
from .executor import Array

MANY = 8192
"""Entries that BLAS adds up in its caller's thread: beyond some more it would start others, which cost more than they save."""


def sum_of_squares(size: int) -> Callable[[Array], Any]:
    """The sum over C-contiguous arrays of so many entries, in the arrays' own precision. May overflow, and then says so as NumPy is told to."""
    if size <= MANY:
        return lambda array: np.vdot(array, array)
    whole = size - size % MANY

    def in_parts(array: Array) -> Any:
        flat = array.reshape(-1)
        parts, rest = flat[:whole].reshape(-1, MANY), flat[whole:]
        return np.vecdot(parts, parts).sum() + np.vdot(rest, rest)

    return in_parts


def factors_of(graph: Graph, output: Ref, contiguous: Sequence[bool]) -> tuple[Ref, Ref] | None:
    """The matrices, transposed or not, by whose norms `output` is to be judged; None where it is rather looked at. `contiguous`: for each node."""
    node, of = graph.nodes[output.node], graph.type_of
    if node.op != "matmul" or not of(output).is_float or of(output).rank != 2 or of(output).size <= MANY:
        return None
    a, b = (graph.nodes[ref.node].operands[0] if graph.nodes[ref.node].op == "transpose" else ref for ref in node.operands)
    fits = contiguous[a.node] and contiguous[b.node] and of(a).size + of(b).size <= of(output).size
    return (a, b) if fits else None


def bounding(graph: Graph, a: Ref, b: Ref) -> Callable[[Array, Array, Array], None]:
    """The kernel that puts the square of |a| |b| into an array of one: not finite where nothing is known."""
    first, second = (sum_of_squares(graph.type_of(ref).size) for ref in (a, b))

    def bound(x: Array, y: Array, out: Array) -> None:
        out[0] = first(x) * second(y)

    return bound
