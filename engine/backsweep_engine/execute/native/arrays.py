"""Graphs over small arrays as instructions: values stay in memory, work on them goes a vector at a time.

Where scalars.py writes an instruction an element, here an array has a place, where the layout of its graph put it (plan/memory.py,
whose regions are of any size here), views are addresses, regions are loops of body.py, products those of products.py. A loop's
trip is then straight-line code without a call. What has no rule here raises Unsupported: the NumPy tier runs the loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ...graph import Graph, Node, Ref, Type, results_of
from ...ops.op import lookup
from ...plan.memory import Layout, Unit, layout
from ...plan.regions import EVERY
from .assembly import STORED, Assembly, literal
from .body import Body
from .lanes import Lanes, Unsupported
from .machine import Machine
from .products import Matrix, Products, loop, moved, scaled
from .region import identities, in_place
from .space import SUMS, space_of
from .table import RULES, write

MAX_LINES = 20_000
"""Of a function's text: about a second of LLVM's time."""

MAX_CONSTANT = 4096
"""Elements of an array that stands in the text."""

MAX_COPIED = 256 << 10
"""Bytes of arrays that are copied because they do not lie as is wanted: on the stack."""

Ints = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Held:
    """An array in memory. `strides`: bytes."""

    type: Type
    pointer: str
    strides: Ints

    @property
    def contiguous(self) -> bool:
        return all(d == 1 or s == w for d, s, w in zip(self.type.shape, self.strides, _strides(self.type), strict=True))


def whole(type: Type, pointer: str) -> Held:
    """The array of this type that lies at an address in C order."""
    return Held(type, pointer, _strides(type))


def arena_bytes(graph: Graph) -> int:
    """Of memory that `Arrays.graph` works in."""
    return layout(graph, True, EVERY).arena_bytes


class Arrays:
    """Writes graphs into an assembly. `arena`: the address of the memory they work in, by turns."""

    def __init__(self, assembly: Assembly, host: Machine, arena: str) -> None:
        self.assembly, self.host, self.arena = assembly, host, arena
        self.one = Lanes(assembly, host, 1)

    def graph(self, graph: Graph, inputs: Sequence[Held], into: Sequence[str]) -> None:
        """The outputs, each at its address, apart from all inputs."""
        if any(0 in t.shape for node in graph.nodes for t in node.types):
            raise Unsupported("an array of nothing")
        _Written(self, graph, layout(graph, True, EVERY), inputs, into).all()

    def copy(self, source: Held, target: Held) -> None:
        """Element by element, rows that lie whole at once."""
        self._copied(source.type.shape, source.type.dtype.itemsize, (source.pointer, source.strides), (target.pointer, target.strides))

    def _copied(self, shape: Ints, itemsize: int, source: tuple[str, Ints], target: tuple[str, Ints]) -> None:
        axes = [a for a, d in enumerate(shape) if d > 1]
        size, a = itemsize, self.assembly
        while axes and source[1][axes[-1]] == target[1][axes[-1]] == size:
            size *= shape[axes.pop()]

        def along(rest: Sequence[int], come: str, go: str) -> None:
            if not rest:
                function = a.intrinsic("llvm.memcpy.p0.p0.i64", "void", ("ptr", "ptr", "i64", "i1"))
                a.do(f"call void {function}(ptr {go}, ptr {come}, i64 {size}, i1 false)")
                return
            k = rest[0]
            loop(a, shape[k], lambda i: along(rest[1:], moved(a, come, scaled(a, i, source[1][k])), moved(a, go, scaled(a, i, target[1][k]))))

        along(axes, source[0], target[0])

    def clear(self, pointer: str, nbytes: int) -> None:
        if nbytes:
            function = self.assembly.intrinsic("llvm.memset.p0.i64", "void", ("ptr", "i8", "i64", "i1"))
            self.assembly.do(f"call void {function}(ptr {pointer}, i8 0, i64 {nbytes}, i1 false)")


class _Written:
    """One graph, being written."""

    def __init__(self, arrays: Arrays, graph: Graph, laid: Layout, inputs: Sequence[Held], into: Sequence[str]) -> None:
        self.arrays, self.a, self.host = arrays, arrays.assembly, arrays.host
        self.graph, self.laid, self.into = graph, laid, into
        self.values: dict[Ref, Held] = {Ref(k): v for k, v in enumerate(inputs)}
        self.addresses: dict[int, str] = {}
        self.copied = 0

    def all(self) -> None:
        for unit in self.laid.units:
            if self.a.size > MAX_LINES:
                raise Unsupported("too long")
            if unit.region is not None:
                self._region(unit)
            elif self.graph.nodes[unit.nodes[0]].operands:
                self._node(unit.nodes[0])
        for k, ref in enumerate(self.graph.outputs):
            if self.laid.result.get(ref) != k:
                type = self.graph.type_of(ref)
                self.arrays.copy(self._value(ref), whole(type, self.into[k]))

    # Values.

    def _place(self, ref: Ref) -> Held:
        """Where a value that is computed is to be."""
        if ref not in self.values:
            result = self.laid.result.get(ref)
            self.values[ref] = whole(self.graph.type_of(ref), self._address(self.laid.place[ref]) if result is None else self.into[result])
        return self.values[ref]

    def _address(self, place: int) -> str:
        """Of a place in the arena: one name for one place, by which `_elementwise` knows that two are the same."""
        if place not in self.addresses:
            self.addresses[place] = moved(self.a, self.arrays.arena, str(place))
        return self.addresses[place]

    def _value(self, ref: Ref) -> Held:
        if ref not in self.values:
            node = self.graph.nodes[ref.node]
            if node.op not in ("constant", "iota"):
                raise Unsupported(node.op)
            attributes = dict(node.attributes)
            if node.types[0].size > MAX_CONSTANT:
                raise Unsupported("a large constant")
            value = np.broadcast_to(attributes["value"], node.types[0].shape) if node.op == "constant" else np.arange(attributes["size"])
            self.values[ref] = whole(node.types[0], self._constant(np.asarray(value, node.types[0].dtype)))
        return self.values[ref]

    def _constant(self, value: np.ndarray[Any, Any]) -> str:
        stored = STORED[value.dtype.name]
        if value.dtype.kind == "b":
            value = value.astype(np.int8)
            elements = [f"i8 {v}" for v in value.ravel().tolist()]
        else:
            elements = [f"{stored} {literal(v, value.dtype)}" for v in value.ravel().tolist()]
        return self.a.constant(f"[{value.size} x {stored}] [{', '.join(elements)}]")

    def _joined(self, value: Held) -> str:
        """Its address, of a copy in C order if it does not lie so."""
        if value.contiguous:
            return value.pointer
        return self._copy(value).pointer

    def _copy(self, value: Held) -> Held:
        self.copied += value.type.nbytes
        if self.copied > MAX_COPIED:
            raise Unsupported("too much that is copied")
        copy = whole(value.type, self.a.place("i8", value.type.nbytes))
        self.arrays.copy(value, copy)
        return copy

    # Steps.

    def _region(self, unit: Unit) -> None:
        assert unit.region is not None
        targets = [self._place(ref) for ref in unit.region.outputs]
        self._elementwise(unit.region.graph, [self._value(ref) for ref in unit.region.inputs], targets)

    def _elementwise(self, graph: Graph, operands: Sequence[Held], targets: Sequence[Held]) -> None:
        space = space_of(graph)
        reads = [self._joined(value) for value in operands]
        same = in_place(space)
        for n, (read, value) in enumerate(zip(reads, operands, strict=True)):
            # What an output is written over, and may not be while it is read, is read from a copy.
            if any(read == y.pointer and k not in same[n] for k, y in enumerate(targets)):
                reads[n] = self._copy(whole(value.type, read)).pointer
        for y, start in zip(targets, identities(space), strict=True):
            if start is not None:
                step, text = y.type.dtype.itemsize, literal(start, y.type.dtype)
                loop(self.a, y.type.size, lambda i, y=y, step=step, text=text: self._put(y, scaled(self.a, i, step), text))  # type: ignore[misc]
        Body(
            space, self.host, self.a, [*reads, *map(self._constant, space.constants)], [y.pointer for y in targets], ("0", str(space.rows), "0", str(space.row))
        )

    def _put(self, y: Held, offset: str, text: str) -> None:
        self.a.store(text, moved(self.a, y.pointer, offset), y.type.dtype)

    def _node(self, i: int) -> None:
        node = self.graph.nodes[i]
        op, attributes = lookup(node.op), dict(node.attributes)
        operands = [self._value(ref) for ref in node.operands]
        if op.view and not self.laid.copied[i]:
            self.values[Ref(i)] = self._viewed(node, operands[0])
        elif op.view:
            y = self._place(Ref(i))  # a reshape of what does not lie whole
            self.arrays.copy(operands[0], whole(operands[0].type, y.pointer))
        elif node.op == "matmul":
            self._product(operands[0], operands[1], self._place(Ref(i)))
        elif node.op in _MOVES:
            _MOVES[node.op](self, i, operands, self._place(Ref(i)), **attributes)
        elif op.pointwise and node.op in RULES and node.types[0].size == 1:
            dtype = operands[-1].type.dtype
            cells = [self.a.load(v.pointer, v.type.dtype) for v in operands]
            y = self._place(Ref(i))
            self.a.store(write(self.arrays.one, node.op, dtype, cells, attributes), y.pointer, y.type.dtype)
        elif op.pointwise or node.op in SUMS:
            self._elementwise(_alone(self.graph, node), operands, [self._place(ref) for ref in results_of(i, len(node.types))])
        else:
            raise Unsupported(node.op)

    def _viewed(self, node: Node, x: Held) -> Held:
        """The view: asked of NumPy, on an array without memory behind it."""
        apply = lookup(node.op).apply
        assert apply is not None
        hollow = as_strided(np.empty((), x.type.dtype), x.type.shape, x.strides)
        view = apply(hollow, **dict(node.attributes))
        offset = view.__array_interface__["data"][0] - hollow.__array_interface__["data"][0]
        return Held(node.types[0], moved(self.a, x.pointer, str(offset)), view.strides)

    def _product(self, x: Held, y: Held, z: Held) -> None:
        products = Products(self.a, self.host, z.type.dtype)
        rank, size = z.type.rank, z.type.dtype.itemsize

        def matrix(v: Held, pointer: str = "") -> Matrix:
            (rows, columns), (down, across) = v.type.shape[-2:], v.strides[-2:]
            return Matrix(pointer, rows, columns, down if rows > 1 else size, across if columns > 1 else size)

        joined = [whole(v.type, "") for v in (x, y)]
        for left, right in ((False, False), (True, False), (False, True), (True, True)):
            if products.lie(matrix(joined[0] if left else x), matrix(joined[1] if right else y)):
                x, y = self._copy(x) if left else x, self._copy(y) if right else y
                break

        def along(axis: int, left: str, right: str, out: str) -> None:
            def step(i: str, v: Held, pointer: str) -> str:
                return moved(self.a, pointer, scaled(self.a, i, v.strides[axis]))

            if axis == rank - 2:
                products.write(matrix(x, left), matrix(y, right), out)
                return
            loop(self.a, z.type.shape[axis], lambda i: along(axis + 1, step(i, x, left), step(i, y, right), step(i, z, out)))

        if x.type.shape[:-2] != y.type.shape[:-2]:
            raise Unsupported("stacks of products that broadcast")
        along(0, x.pointer, y.pointer, z.pointer)

    # What moves elements. Operands that were computed straight into their part are there already.

    def is_part(self, i: int, k: int) -> bool:
        return self.laid.hosted.get(self.graph.nodes[i].operands[k].node, (-1,))[0] == i


def _concat(w: _Written, i: int, x: Sequence[Held], y: Held, axis: int) -> None:
    at = 0
    for k, part in enumerate(x):
        if not w.is_part(i, k):
            w.arrays.copy(part, Held(part.type, moved(w.a, y.pointer, str(at)), y.strides))
        at += part.type.shape[axis] * y.strides[axis]


def _pad(w: _Written, i: int, x: Sequence[Held], y: Held, low: Ints, high: Ints, interior: Ints) -> None:
    part = x[0]
    start, end = (low[0] * y.strides[0], (low[0] + part.type.shape[0]) * y.strides[0]) if low else (0, y.type.nbytes)
    if w.is_part(i, 0):
        w.arrays.clear(y.pointer, start)
        w.arrays.clear(moved(w.a, y.pointer, str(end)), y.type.nbytes - end)
        return
    w.arrays.clear(y.pointer, y.type.nbytes)
    kept = np.empty((), np.int8)  # a place for every element, whose own number is told by its address
    hollow = as_strided(kept, y.type.shape, y.strides)
    inside = hollow[tuple([slice(max(0, a), n - max(0, b), k + 1) for a, b, k, n in zip(low, high, interior, y.type.shape, strict=True)])]
    if min((*low, *high), default=0) < 0 or inside.shape != part.type.shape:
        raise Unsupported("a padding that cuts")
    offset = inside.__array_interface__["data"][0] - hollow.__array_interface__["data"][0]
    w.arrays.copy(part, Held(part.type, moved(w.a, y.pointer, str(offset)), inside.strides))


_MOVES: Mapping[str, Callable[..., None]] = {"concat": _concat, "pad": _pad}


def _alone(graph: Graph, node: Node) -> Graph:
    """One node as a graph."""
    inputs = tuple([Node("input", (), (("name", str(k)),), (graph.type_of(ref),), node.origin) for k, ref in enumerate(node.operands)])
    only = node._replace(operands=tuple([Ref(k) for k in range(len(inputs))]))
    return Graph((*inputs, only), len(inputs), (Ref(len(inputs)),), ("0",))


def _strides(type: Type) -> Ints:
    found, step = [], type.dtype.itemsize
    for d in reversed(type.shape):
        found.append(step)
        step *= d
    return tuple(reversed(found))
