"""Graphs as scalar instructions: every element of every small array is a value of its own.

`Scalars.graph` writes a graph, loops and branches included. What only moves elements (slices,
transposes, joins, paddings) writes nothing: NumPy's own kernel is run on the elements' numbers. An
element is an SSA value, a literal, or a place in memory that is loaded where it is used; arrays with more than
MAX_HELD elements stay in memory and are read there, by slices and by index.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import DTYPES, Graph, Node, Type
from ...ops.op import lookup
from .assembly import ELEMENT, STORED, Assembly, Dtype, literal
from .lanes import Lanes, Unsupported
from .machine import Machine
from .space import SUMS
from .table import RULES, write

MAX_HELD = 1024
"""Elements of an array that is taken apart."""

MAX_LINES = 8_000
"""Of a function's text: less than a second of LLVM's time."""

MAX_SCRATCH_BYTES = 16 << 20
"""Of arrays in memory between one loop and the next."""

MAX_NUMBERED = 1 << 16
"""Elements of an array in memory of which a part is cut."""

MAX_CELLS = 1 << 19
"""Elements of all values of a function that are taken apart: what writing it holds in memory."""

BOOL, INT64 = DTYPES["bool"], DTYPES["int64"]


@dataclass(frozen=True, slots=True)
class Place:
    """An element in memory."""

    pointer: str
    index: int


Cell = str | Place


@dataclass(frozen=True, slots=True)
class Value:
    """An array: its elements in C order, or () and where they begin in memory."""

    type: Type
    cells: tuple[Cell, ...]
    pointer: str = ""


def in_memory(type: Type, pointer: str) -> Value:
    """The array of this type at an address."""
    cells = tuple([Place(pointer, k) for k in range(type.size)]) if type.size <= MAX_HELD else ()
    return Value(type, cells, pointer)


class Scalars:
    """Writes graphs into an assembly. `scratch`: types of the arrays it wants besides, `first_scratch` their first position."""

    def __init__(self, assembly: Assembly, host: Machine, first_scratch: int) -> None:
        self.assembly, self.lanes = assembly, Lanes(assembly, host, 1)
        self.scratch: list[Type] = []
        self._cells = 0
        self._first_scratch = first_scratch
        self.failed = assembly.place("i64")
        assembly.zero(self.failed)
        """a place that is set where a loop passes its bound"""

    # Memory.

    def read(self, cell: Cell, dtype: Dtype) -> str:
        """The element as an operand."""
        self._bounded()
        if isinstance(cell, str):
            return cell
        return self.assembly.load(self.assembly.at(cell.pointer, str(cell.index), dtype), dtype)

    def cells(self, value: Value) -> list[str]:
        """All elements as operands; Unsupported if there are too many."""
        if len(value.cells) < value.type.size:
            raise Unsupported("too many elements")
        return [self.read(c, value.type.dtype) for c in value.cells]

    def held(self, value: Value) -> Value:
        """The same value loaded now."""
        return Value(value.type, tuple(self.cells(value)))

    def store(self, value: Value, pointer: str) -> None:
        """The array written to memory."""
        if len(value.cells) < value.type.size:
            self._copy(value.pointer, pointer, value.type.nbytes)
            return
        dtype = value.type.dtype
        for k, cell in enumerate(self.cells(value)):
            self.assembly.store(cell, self.assembly.at(pointer, str(k), dtype), dtype)

    def _copy(self, source: str, target: str, nbytes: int) -> None:
        function = self.assembly.intrinsic("llvm.memcpy.p0.p0.i64", "void", ("ptr", "ptr", "i64", "i1"))
        self.assembly.do(f"call void {function}(ptr {target}, ptr {source}, i64 {nbytes}, i1 false)")

    def clear(self, pointer: str, nbytes: int) -> None:
        function = self.assembly.intrinsic("llvm.memset.p0.i64", "void", ("ptr", "i8", "i64", "i1"))
        self.assembly.do(f"call void {function}(ptr {pointer}, i8 0, i64 {nbytes}, i1 false)")

    def stored(self, value: Value) -> str:
        """Where the array is in memory; put there if it is not."""
        if value.pointer:
            return value.pointer
        if value.type.size > MAX_HELD:
            raise Unsupported("too many elements")
        pointer = self.assembly.place(STORED[value.type.dtype.name], max(1, value.type.size))
        self.store(value, pointer)
        return pointer

    def memory(self, type: Type) -> str:
        """An array of this type that lasts as long as the call."""
        if sum(t.nbytes for t in self.scratch) + type.nbytes > MAX_SCRATCH_BYTES:
            raise Unsupported("too much memory")
        self.scratch.append(type)
        return self.assembly.array_at_entry(self._first_scratch + len(self.scratch) - 1)

    def _bounded(self) -> None:
        if self.assembly.size > MAX_LINES or self._cells > MAX_CELLS:
            raise Unsupported("too long")

    # Graphs.

    def graph(self, graph: Graph, inputs: Sequence[Value], places: Mapping[tuple[int, int], str] | None = None) -> list[Value]:
        """The outputs. `places`: where the stacked results of a loop of this graph are wanted, by node and result."""
        from .nested import NESTED

        values: list[tuple[Value, ...]] = [(v,) for v in inputs]
        for i in range(graph.arity, len(graph.nodes)):
            self._bounded()
            node = graph.nodes[i]
            operands = [values[r.node][r.result] for r in node.operands]
            if node.op in NESTED:
                wanted = {r: p for (n, r), p in (places or {}).items() if n == i}
                results = NESTED[node.op](self, node, operands, wanted)
            else:
                results = (self._node(node, operands),)
            values.append(results)
            self._cells += sum(len(v.cells) for v in results)
        return [values[r.node][r.result] for r in graph.outputs]

    def _node(self, node: Node, operands: Sequence[Value]) -> Value:
        attributes, type = dict(node.attributes), node.types[0]
        if node.op in _SPECIAL:
            return _SPECIAL[node.op](self, type, operands, **attributes)
        if node.op in _MOVES:
            return self._moved(node.op, type, operands, attributes)
        if node.op in SUMS:
            return self._reduced(node.op, type, operands[0], attributes["axes"])
        if node.op not in RULES:
            raise Unsupported(node.op)
        columns = [self.cells(v) for v in operands]
        dtype = operands[-1].type.dtype
        return Value(type, tuple([write(self.lanes, node.op, dtype, x, attributes) for x in zip(*columns, strict=True)]))

    def _moved(self, op: str, type: Type, operands: Sequence[Value], attributes: Mapping[str, Any]) -> Value:
        if type.size > MAX_HELD:
            if op == "reshape" and operands[0].pointer:
                return Value(type, (), operands[0].pointer)
            raise Unsupported("too many elements")
        if sum(v.type.size for v in operands) > MAX_NUMBERED:
            raise Unsupported("too many elements")
        cells: list[Cell] = [literal(0, type.dtype)]
        numbers = []
        for v in operands:
            numbers.append(np.arange(len(cells), len(cells) + v.type.size).reshape(v.type.shape))
            cells += v.cells if len(v.cells) == v.type.size else [Place(v.pointer, k) for k in range(v.type.size)]
        apply = lookup(op).apply
        assert apply is not None
        return Value(type, tuple([cells[k] for k in np.asarray(apply(*numbers, **attributes)).ravel()]))

    def _reduced(self, op: str, type: Type, x: Value, axes: Sequence[int]) -> Value:
        shape = x.type.shape
        rest = [a for a in range(len(shape)) if a not in axes]
        cells = np.array([*self.cells(x), ""], object)[:-1].reshape(shape)
        rows = cells.transpose([*rest, *axes]).reshape(type.size, -1)
        return Value(type, tuple([self.folded(SUMS[op], type.dtype, list(row)) for row in rows]))

    def folded(self, op: str, dtype: Dtype, cells: list[str]) -> str:
        """The elements added up (or their extreme) pairwise."""
        if not cells:
            return literal(0, dtype)
        while len(cells) > 1:
            pairs = [write(self.lanes, op, dtype, pair, {}) for pair in zip(cells[::2], cells[1::2], strict=False)]
            cells = pairs + (cells[-1:] if len(cells) % 2 else [])
        return cells[0]

    def two(self, op: str, dtype: Dtype, x: str, y: str) -> str:
        return write(self.lanes, op, dtype, [x, y], {})


_MOVES = ("broadcast", "reshape", "transpose", "flip", "slice", "pad", "concat", "update", "tril", "triu")
"""Ops whose results are elements of their operands, or 0."""

_SPECIAL: dict[str, Callable[..., Value]] = {}


def special(op: str) -> Callable[[Callable[..., Value]], Callable[..., Value]]:
    def mark(function: Callable[..., Value]) -> Callable[..., Value]:
        _SPECIAL[op] = function
        return function

    return mark


@special("constant")
def _constant(s: Scalars, type: Type, operands: Sequence[Value], value: Any, shape: tuple[int, ...]) -> Value:
    if type.size > MAX_HELD:
        raise Unsupported("too many elements")
    return Value(type, tuple([literal(v, type.dtype) for v in np.broadcast_to(value, shape).ravel().tolist()]))


@special("iota")
def _iota(s: Scalars, type: Type, operands: Sequence[Value], size: int) -> Value:
    return _constant(s, type, operands, np.arange(min(size, MAX_HELD + 1)), type.shape)


@special("matmul")
def _matmul(s: Scalars, type: Type, operands: Sequence[Value]) -> Value:
    a, b = operands
    *_, m, k = a.type.shape
    n = b.type.shape[-1]
    if type.size * k > MAX_LINES // 2:
        raise Unsupported("too many products")
    left, right = (s.cells(v) for v in operands)
    cells = []
    for lead in range(type.size // (m * n) if m * n else 0):
        for i in range(m):
            for j in range(n):
                terms = [s.two("multiply", type.dtype, left[(lead * m + i) * k + p], right[(lead * k + p) * n + j]) for p in range(k)]
                cells.append(s.folded("add", type.dtype, terms))
    return Value(type, tuple(cells))


@special("take")
def _take(s: Scalars, type: Type, operands: Sequence[Value], axis: int) -> Value:
    """Out of range is NaN (0 for integers), and nothing is read astray."""
    x, index = operands
    if type.size > MAX_HELD:
        raise Unsupported("too many elements")
    n, inner = x.type.shape[axis], int(np.prod(x.type.shape[axis + 1 :]))
    outer = int(np.prod(x.type.shape[:axis]))
    if n == 0:
        raise Unsupported("nothing to take from")
    pointer = s.stored(x)
    dtype, it = x.type.dtype, index.type.dtype
    nothing = literal(np.nan if dtype.kind == "f" else 0, dtype)
    cells: list[list[Cell]] = []
    for i in s.cells(index):
        place, inside = _wrapped(s, i, it, n)
        start = s.assembly.new(f"mul i64 {place}, {inner}")
        row: list[Cell] = []
        for o in range(outer):
            for k in range(inner):
                at = s.assembly.new(f"add i64 {start}, {o * n * inner + k}")
                row.append(s.lanes.select(inside, dtype, s.assembly.load(s.assembly.at(pointer, at, dtype), dtype), nothing))
        cells.append(row)
    order = [cells[c][o * inner + k] for o in range(outer) for c in range(len(cells)) for k in range(inner)]
    return Value(type, tuple(order))


def _wrapped(s: Scalars, i: str, it: Dtype, n: int) -> tuple[str, str]:
    """An index counted from the front (0 where out of range) as i64, and whether it is in range."""
    wide = i if it == INT64 else s.assembly.new(f"sext {ELEMENT[it.name]} {i} to i64")
    below = s.lanes.compare("slt", INT64, wide, "0")
    front = s.lanes.select(below, INT64, s.two("add", INT64, wide, str(n)), wide)
    inside = s.lanes.compare("ult", INT64, front, str(n))
    return s.lanes.select(inside, INT64, front, "0"), inside


@special("put_add")
def _put_add(s: Scalars, type: Type, operands: Sequence[Value], axis: int, size: int) -> Value:
    x, index = operands
    inner = int(np.prod(type.shape[axis + 1 :]))
    outer = int(np.prod(type.shape[:axis]))
    if type.size * max(1, index.type.size) > MAX_LINES // 4:
        raise Unsupported("too many places")
    dtype, values = type.dtype, s.cells(x)
    zero = literal(0, dtype)
    cells = [zero] * type.size
    places = [_wrapped(s, i, index.type.dtype, size) for i in s.cells(index)]
    count = len(places)
    for c, (place, inside) in enumerate(places):
        for p in range(size):
            here = s.lanes.both(inside, s.lanes.compare("eq", INT64, place, str(p)))
            for o in range(outer):
                for k in range(inner):
                    at = (o * size + p) * inner + k
                    sum = s.two("add", dtype, cells[at], values[(o * count + c) * inner + k])
                    cells[at] = s.lanes.select(here, dtype, sum, cells[at])
    return Value(type, tuple(cells))
