"""What a program calls for a node: the op's own kernel, or one with its attributes worked out before.

In a loop over small arrays a call costs more than its work. What can be known when the program is made (slices, strides,
a shape) is known then, small matrices are multiplied by the method that calls BLAS soonest, and others in slices (ops/thin.py). But
for those, bits are those of the op's kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate
from math import isfinite
from operator import itemgetter, methodcaller
from typing import Any

import numpy as np

from ..graph import Graph, Node, Type
from ..ops.blas import small_as_they_stand
from ..ops.op import lookup
from ..ops.thin import in_slices, is_thin, slice_of
from .executor import Array

SMALL_BYTES = 64 << 10
"""Matrices of at most so many bytes together: `dot` may copy an operand in strides BLAS does not take."""

MUCH = 8192
"""Elements from which it takes longer to fill an array with zeros than to find out where they are wanted."""

multiply, dot = np.multiply, np.ndarray.dot

_NAMED_ONLY = (np.maximum, np.minimum)
"""Ufuncs that NumPy is about to refuse a third positional operand."""


def kernel(graph: Graph, node: Node) -> tuple[Callable[..., Any], bool]:
    """The kernel of a node, and whether it takes `out` as its last positional operand (as a ufunc does) rather than by name."""
    op, attributes = lookup(node.op), dict(node.attributes)
    assert op.apply is not None, f"{node.op} should have been expanded"
    types = [graph.type_of(ref) for ref in node.operands]
    if node.op == "matmul" and node.types[0].rank == 2 and sum(t.nbytes for t in (*types, *node.types)) <= SMALL_BYTES:
        return dot, True
    if node.op == "matmul" and any(sliced := slice_of(*types)) and (is_thin(*types) or small_as_they_stand()) and not _is_square(graph, node):
        return partial(in_slices, rows=sliced[0], columns=sliced[1]), True
    if node.op == "scale" and node.types[0].nbytes <= SMALL_BYTES:
        return _scale if node.types[0].rank == 1 else _scale_any, True
    if node.op in _READY:
        return _READY[node.op](types, node.types[0], **attributes), False
    if attributes:
        return partial(op.apply, **attributes), False
    return op.apply, isinstance(op.apply, np.ufunc) and op.apply not in _NAMED_ONLY


def _is_square(graph: Graph, node: Node) -> bool:
    """Whether a product may be of a matrix and itself, which BLAS (syrk) makes symmetric to the last bit."""
    sources = []
    for ref in node.operands:
        while graph.nodes[ref.node].operands and lookup(graph.nodes[ref.node].op).view:
            ref = graph.nodes[ref.node].operands[0]
        sources.append(ref)
    return sources[0] == sources[1]


def _scale(p: Array, t: Array, out: Array) -> None:
    """As the op's, of a few numbers in a row: their squares added up by BLAS tell soonest that all are finite."""
    multiply(p, t, out)
    if not isfinite(dot(out, out)):
        np.copyto(out, t, where=np.equal(t, 0))


def _scale_any(p: Array, t: Array, out: Array) -> None:
    multiply(p, t, out)
    flat = out.ravel()
    if not isfinite(dot(flat, flat)):
        np.copyto(out, t, where=np.equal(t, 0))


def _slice(types: Sequence[Type], type: Type, start: Sequence[int], stop: Sequence[int], step: Sequence[int]) -> Callable[..., Any]:
    return itemgetter((*map(slice, start, stop, step), ...))  # the ... keeps a scalar an array


def _broadcast(types: Sequence[Type], type: Type, shape: Sequence[int]) -> Callable[..., Any]:
    (source,) = types
    strides, step = [], type.dtype.itemsize
    for n in reversed(source.shape):
        strides.append(0 if n == 1 else step)
        step *= n
    strides += [0] * (type.rank - source.rank)
    return partial(_spread, type.shape, type.dtype, tuple(reversed(strides)))


def _spread(shape: tuple[int, ...], dtype: np.dtype[Any], strides: tuple[int, ...], x: Array) -> Array:
    # A view by its strides, in a quarter of the time broadcast_to takes.
    return np.ndarray(shape, dtype, x, 0, strides) if x.flags.c_contiguous and x.size else np.broadcast_to(x, shape)


def _pad(types: Sequence[Type], type: Type, low: Sequence[int], high: Sequence[int], interior: Sequence[int]) -> Callable[..., Any]:
    step = [k + 1 for k in interior]
    place: Any = (*[slice(a, a + max(0, n - 1) * k + 1 if n else a, k) for a, n, k in zip(low, types[0].shape, step, strict=True)], ...)
    edges: list[Any] = [...]
    if type.size > MUCH and not any(interior) and min((*low, *high)) >= 0:
        # Only what the operand does not fill: before and behind it along each axis, where it is along those before.
        sides = [(place[:a], side) for a in range(type.rank) for side in (slice(0, low[a]), slice(low[a] + types[0].shape[a], type.shape[a]))]
        edges = [(*before, side, ...) for before, side in sides if side.start < side.stop]

    def pad(x: Array, out: Array) -> None:
        for edge in edges:
            out[edge] = 0
        out[place] = x

    return pad


_READY: dict[str, Callable[..., Callable[..., Any]]] = {
    "slice": _slice,
    "reshape": lambda types, type, shape: methodcaller("reshape", shape),
    "transpose": lambda types, type, axes: methodcaller("transpose", axes),
    "broadcast": _broadcast,
    "pad": _pad,
}


def completed(graph: Graph, node: Node, there: Sequence[bool]) -> tuple[list[int], Callable[..., None]]:
    """What is left to do of a pad or concat along the first axis, parts of which are `there`: for which operands, and how."""
    if node.op == "pad":
        low, rows = dict(node.attributes)["low"][0], graph.type_of(node.operands[0]).shape[0]
        edges = [slice(*edge) for edge in ((0, low), (low + rows, node.types[0].shape[0])) if edge[0] < edge[1]]

        def framed(out: Array) -> None:
            for edge in edges:
                out[edge].fill(0)

        return [], framed
    ends = [0, *accumulate(graph.type_of(ref).shape[0] for ref in node.operands)]
    rest = [k for k, t in enumerate(there) if not t]

    def filled(*given: Array) -> None:
        *x, out = given
        for k, part in zip(rest, x, strict=True):
            out[ends[k] : ends[k + 1]] = part

    return rest, filled


def put(x: Array, out: Array) -> None:
    np.copyto(out, x)


def reshaped(x: Array, out: Array) -> None:
    """A reshape that cannot be a view: the elements in C order into a contiguous place."""
    np.copyto(out.reshape(x.shape), x)
