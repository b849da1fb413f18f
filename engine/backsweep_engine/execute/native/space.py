"""What a region iterates over: a region graph taken apart before any of it is written.

All values of a region are read over one space: its axes but the last broadcast by NumPy's rules; along
the last a value may also be a slice or a padding of another, shifted against it. Axes that every
array walks alike are joined, so that most regions are one long row.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...graph import Graph, Ref, Type
from ...ops.op import lookup
from ..executor import Array
from .lanes import Unsupported
from .table import RULES

MAX_NODES = 400
"""Of a region: beyond, code grows faster than what fusing saves."""

SUMS = {"sum": "add", "max": "maximum", "min": "minimum"}
"""Reductions, and the op of two operands that each repeats."""


@dataclass(frozen=True, slots=True)
class Walk:
    """How an array is walked: `outer`, elements from one step of each outer axis to the next; `inner`, 1 or 0 along the row."""

    outer: tuple[int, ...]
    inner: int


@dataclass(frozen=True, slots=True)
class Space:
    """outer, row: lengths. `places`: the position of each array that is read, by its node: the graph's inputs, then
    `constants`. `walks`: of those arrays, then of the outputs. Of each node, `extents`: its own length along the row, and
    `varies`: whether it is not the same all along it. `reduced`: of each output, its reduction, or "".
    """

    graph: Graph
    outer: tuple[int, ...]
    row: int
    constants: tuple[Array, ...]
    places: dict[int, int]
    walks: tuple[Walk, ...]
    extents: tuple[int, ...]
    varies: tuple[bool, ...]
    reduced: tuple[str, ...]

    @property
    def rows(self) -> int:
        return math.prod(self.outer)


def space_of(graph: Graph, given: Sequence[tuple[int, ...]] | None = None) -> Space:
    """Takes an expanded graph apart; raises Unsupported if it is not a region. `given`: bytes between the elements of each input along its
    axes, if not in C order.
    """
    if not graph.outputs or len(graph.nodes) - graph.arity > MAX_NODES or any(len(n.types) != 1 for n in graph.nodes):
        raise Unsupported("not a region")
    read = {r.node for n in graph.nodes for r in n.operands}
    if any(graph.nodes[i].op in SUMS for i in read):
        raise Unsupported("work after a reduction")
    shifted = any(n.op in ("slice", "pad") for n in graph.nodes)
    shapes = {i: n.types[0].shape for i, n in enumerate(graph.nodes) if n.op not in SUMS}
    whole = _whole(list(shapes.values()), shifted)
    if not whole or math.prod(whole) == 0 or (shifted and whole[-1] == 1):
        raise Unsupported("a scalar or nothing at all")
    shapes = {i: _ranked(s, whole) for i, s in shapes.items()}
    places, constants = _arrays(graph)
    outputs = [_output(graph, ref, shapes, whole) for ref in graph.outputs]
    held = {i: c.shape for i, c in zip(list(places)[graph.arity :], constants, strict=True)}  # as they are, not stretched to their node's shape
    strides = [*[_strides(_ranked(held.get(i, shapes[i]), whole)) for i in places], *[s for _, s in outputs]]
    for i, lies in enumerate(given or ()):
        strides[i] = _given(graph.nodes[i].types[0], lies, len(whole))
    outer, row, walks = _joined(whole, strides, shifted)
    extents = tuple([shapes[i][-1] if shifted and i in shapes else row for i in range(len(graph.nodes))])
    varies = _varying(graph, places, walks, extents)
    return Space(graph, outer, row, tuple(constants), places, walks, extents, varies, tuple([op for op, _ in outputs]))


def _whole(shapes: Sequence[tuple[int, ...]], shifted: bool) -> tuple[int, ...]:
    last = max((s[-1] for s in shapes if s), default=1)
    try:
        if not shifted:
            return np.broadcast_shapes(*shapes)
        return (*np.broadcast_shapes(*[s[:-1] for s in shapes]), last) if any(shapes) else ()
    except ValueError:
        raise Unsupported("shapes that do not broadcast") from None


def _arrays(graph: Graph) -> tuple[dict[int, int], list[Array]]:
    """The position of each array that is read, and the arrays that are the graph's own constants."""
    places = {i: i for i in range(graph.arity)}
    constants: list[Array] = []
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        attributes = dict(node.attributes)
        if node.op == "constant" and attributes["value"].size > 1:
            places[i] = graph.arity + len(constants)
            constants.append(np.array(attributes["value"], order="C"))
        elif node.op == "slice":
            if any(k != 1 for k in attributes["step"]) or graph.type_of(node.operands[0]).shape[:-1] != node.types[0].shape[:-1]:
                raise Unsupported("a slice across rows")
        elif node.op == "pad":
            if any(attributes["interior"]) or any(attributes["low"][:-1]) or any(attributes["high"][:-1]):
                raise Unsupported("a padding across rows")
        elif node.op not in RULES and node.op not in ("constant", "broadcast", *SUMS):
            raise Unsupported(node.op)
    return places, constants


def _ranked(shape: tuple[int, ...], whole: tuple[int, ...]) -> tuple[int, ...]:
    """The shape with axes of length 1 in front, as broadcasting reads it."""
    return (1,) * (len(whole) - len(shape)) + shape


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    """Elements from one step to the next in C order, 0 along axes of length 1."""
    strides, step = [], 1
    for d in reversed(shape):
        strides.append(0 if d == 1 else step)
        step *= d
    return tuple(reversed(strides))


def _given(type: Type, lies: Sequence[int], rank: int) -> tuple[int, ...]:
    """The same in elements, for the whole space, of an array that lies in this way."""
    if any(s % type.dtype.itemsize for s in lies):
        raise Unsupported("elements that do not lie on their size")
    return (0,) * (rank - type.rank) + tuple([0 if d == 1 else s // type.dtype.itemsize for d, s in zip(type.shape, lies, strict=True)])


def _output(graph: Graph, ref: Ref, shapes: dict[int, tuple[int, ...]], whole: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
    """The reduction that makes an output ("": none), and its strides over the whole space."""
    node = graph.nodes[ref.node]
    op = node.op if node.op in SUMS else ""
    source = shapes[node.operands[0].node if op else ref.node]
    if source[:-1] != whole[:-1]:
        raise Unsupported("an output smaller than the space")
    if not op:
        return "", _strides(source)
    if node.types[0].dtype.kind == "b":
        raise Unsupported("an extreme of bools")
    operand: Type = graph.type_of(node.operands[0])
    lead = len(source) - operand.rank
    axes = {a + lead for a in dict(node.attributes)["axes"]} | set(range(lead))
    kept = iter(_strides([d for a, d in enumerate(source) if a not in axes]))
    return op, tuple(0 if a in axes else next(kept) for a in range(len(source)))


def _joined(whole: tuple[int, ...], strides: Sequence[tuple[int, ...]], shifted: bool) -> tuple[tuple[int, ...], int, tuple[Walk, ...]]:
    """Axes of length 1 dropped and neighbours joined that every array walks as one."""
    kept = [a for a, d in enumerate(whole) if d > 1 or (shifted and a == len(whole) - 1)] or [len(whole) - 1]
    sizes = [whole[a] for a in kept]
    steps = [[s[a] for a in kept] for s in strides]
    for a in range(len(sizes) - 2, -1, -1):
        last = a == len(sizes) - 2
        if not (shifted and last) and all(s[a] == s[a + 1] * sizes[a + 1] for s in steps):
            sizes[a : a + 2] = [sizes[a] * sizes[a + 1]]
            for s in steps:
                s[a : a + 2] = [s[a + 1]]
    if any(s[-1] not in (0, 1) for s in steps):
        raise Unsupported("an array walked in strides")
    return tuple(sizes[:-1]), sizes[-1], tuple(Walk(tuple(s[:-1]), s[-1]) for s in steps)


def _varying(graph: Graph, places: dict[int, int], walks: Sequence[Walk], extents: Sequence[int]) -> tuple[bool, ...]:
    varies: list[bool] = []
    for i, node in enumerate(graph.nodes):
        if i in places:
            varies.append(walks[places[i]].inner == 1)
            continue
        varies.append(node.op == "pad" or any(varies[r.node] for r in node.operands))
        if node.op == "slice" and varies[i] and extents[i] == 1:
            raise Unsupported("one element of a row")
    for ref in graph.outputs:
        if extents[ref.node] == 1 < max(extents):
            raise Unsupported("an output of one element beside longer ones")
    return tuple(varies)


def flops(space: Space) -> int:
    """Of one element, by the ops' own costs."""
    total = 0
    for node in space.graph.nodes[space.graph.arity :]:
        op = lookup(node.op)
        types = tuple([space.graph.type_of(r).with_shape(()) for r in node.operands])
        total += (
            1 if node.op in SUMS or op.view or node.op in ("pad", "slice") else op.cost(types, (node.types[0].with_shape(()),), **dict(node.attributes)).flops
        )
    return max(1, total)
