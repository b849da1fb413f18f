"""Region kernels: a graph of pointwise ops and final reductions as one pass over its arrays.

The row is walked a vector at a time; its ends, and what a shifted value reads beyond them, with masked
loads and stores, so that an element's bits do not depend on where it stands. What does not vary along
the row is computed once a row. Sums: each lane adds BLOCK vectors, then blocks are added up, then the
lanes pairwise, then calls; so a sum of n elements is within (BLOCK + n / (BLOCK lanes) + 8) eps sum|x|.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...errors import Cancelled
from ...graph import DTYPES, Graph
from ...transforms.expand import expand
from ..executor import Array, Stop, never
from .assembly import ELEMENT, STORED, SUFFIX, Assembly, Dtype
from .machine import Code, Machine, machine
from .maths import Lanes, Unsupported, write
from .space import SUMS, Space, Walk, flops, space_of

BLOCK = 128
"""Vectors summed one after the other before their sum is set aside."""

CALL_FLOPS, CALL_BYTES = 1 << 24, 1 << 25
"""A call of the code takes about so much work at most, some 20 ms; stop() is asked between calls."""

MANY_SUMS = 4
"""Vectors a loop takes at once where it does little more than add: four sums hide the adder's latency."""

INT64 = DTYPES["int64"]


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """`kernel(inputs, outputs, stop)` fills the outputs, C-contiguous arrays of the graph's types, and returns True.

    Inputs need not be contiguous (they are copied if not) and may overlap outputs. Raises Cancelled.
    """

    code: Code
    constants: tuple[Array, ...]
    identities: tuple[object, ...]
    calls: tuple[tuple[int, int, int, int], ...]
    in_place: bool

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop = never) -> bool:
        reach = [_reach(y) for y in outputs]
        arrays = (*[_apart(x, reach, self.in_place) for x in inputs], *self.constants, *outputs)
        for y, identity in zip(outputs, self.identities, strict=True):
            if identity is not None:
                y.fill(identity)
        for call in self.calls:
            if stop():
                raise Cancelled("the work was stopped")
            self.code.free(id(arrays), *call)
        return True


def _reach(x: Array) -> tuple[int, int]:
    start = x.__array_interface__["data"][0]
    return start, start + x.nbytes


def _apart(x: Array, outputs: Sequence[tuple[int, int]], in_place: bool) -> Array:
    """The input C-contiguous, and a copy where it overlaps an output other than as that very array."""
    if not (isinstance(x, np.ndarray) and x.flags.c_contiguous):
        return np.array(x, order="C")  # NumPy's scalars among them, which are no arrays in memory
    start, end = _reach(x)
    for low, high in outputs:
        if start < high and low < end and not (in_place and (start, end) == (low, high)):
            return np.array(x, order="C")
    return x


def compile_region(graph: Graph, width: int = 0) -> Kernel | None:
    """The kernel of a region graph, None if it is not one. `width`: of vectors in bits, 0 the machine's.

    A region's inputs broadcast to one shape; its nodes are pointwise, casts, broadcasts, and slices and
    zero paddings along the last axis; its outputs have the full shape, or are sums, maxima or minima of
    such values over any axes.
    """
    host = machine(width)
    if host is None:
        return None
    try:
        space = space_of(expand(graph))
        body = _Body(space, host)
        return Kernel(host.compile(body.assembly), space.constants, _identities(space), _calls(space, body.lanes), _in_place(space))
    except Unsupported:
        return None


def _identities(space: Space) -> tuple[object, ...]:
    """What an accumulating output starts from."""
    return tuple([identity(op, space.graph.type_of(ref).dtype) if op else None for ref, op in zip(space.graph.outputs, space.reduced, strict=True)])


def identity(op: str, dtype: Dtype) -> object:
    """What adding, or taking the extreme with, changes nothing. -0.0, since 0.0 + -0.0 is not -0.0."""
    if op == "sum":
        return -0.0 if dtype.kind == "f" else 0
    if dtype.kind == "f":
        return -np.inf if op == "max" else np.inf
    return np.iinfo(dtype).min if op == "max" else np.iinfo(dtype).max


def _calls(space: Space, lanes: int) -> tuple[tuple[int, int, int, int], ...]:
    """(first row, end, first element, end) of each call, each of bounded work."""
    moved = sum(n.types[0].dtype.itemsize for n in [space.graph.nodes[i] for i in space.places] + [space.graph.nodes[r.node] for r in space.graph.outputs])
    elements = max(BLOCK * lanes, min(CALL_FLOPS // flops(space), CALL_BYTES // max(1, moved)))
    if space.row >= elements:
        step = elements // (BLOCK * lanes) * BLOCK * lanes
        return tuple([(r, r + 1, i, min(i + step, space.row)) for r in range(space.rows) for i in range(0, space.row, step)])
    step = max(1, elements // space.row)
    return tuple([(r, min(r + step, space.rows), 0, space.row) for r in range(0, space.rows, step)])


def _in_place(space: Space) -> bool:
    """Whether an output may be an input: every array is walked alike, element by element."""
    plain = all(w == space.walks[0] and w.inner == 1 for w in space.walks) and not any(space.reduced)
    return plain and not any(n.op in ("slice", "pad") for n in space.graph.nodes)


class _Body:
    """The text of one kernel: k(arrays, first row, end, first element, end)."""

    def __init__(self, space: Space, host: Machine) -> None:
        self.space, self.graph = space, space.graph
        itemsize = max(n.types[0].dtype.itemsize for n in self.graph.nodes)
        self.lanes = max(2, host.width // 8 // itemsize)
        self.assembly = Assembly(4)
        self.one, self.many = Lanes(self.assembly, host, 1), Lanes(self.assembly, host, self.lanes)
        a = self.assembly
        self.reads = [a.array(k) for k in range(len(space.places))]
        self.writes = [a.array(len(space.places) + k) for k in range(len(self.graph.outputs))]
        self.once: dict[int, str] = {}
        """values that do not vary along the row, as one element"""
        self.spread: dict[int, str] = {}
        self.low, self.high = self._inside()
        cheap = flops(space) <= 2 * len(self.graph.nodes) and len(self.graph.nodes) < 12 and any(space.reduced)
        self.unroll = MANY_SUMS if cheap else 1
        self.sums = [self._accumulators(k) if op and self._along_row(k) else [] for k, op in enumerate(space.reduced)]
        self._rows()

    def _along_row(self, k: int) -> bool:
        """Whether reduction k sums over the row (else over rows, element by element)."""
        return self.space.walks[len(self.space.places) + k].inner == 0

    def _whole(self, k: int) -> bool:
        return not any(self.space.walks[len(self.space.places) + k].outer)

    def _accumulators(self, k: int) -> list[str]:
        """Places of vectors: one for each vector taken at once, the last for blocks set aside."""
        type = self.many.type(self._dtype(k))
        return [self.assembly.place(type) for _ in range(self.unroll + 1)]

    def _dtype(self, k: int) -> Dtype:
        return self.graph.type_of(self.graph.outputs[k]).dtype

    def _reset(self, k: int) -> None:
        dtype = self._dtype(k)
        value = self.many.constant(identity(self._kind(k), dtype), dtype)
        for place in self.sums[k]:
            self.assembly.do(f"store {self.many.type(dtype)} {value}, ptr {place}")

    def _kind(self, k: int) -> str:
        return self.graph.nodes[self.graph.outputs[k].node].op

    def _rows(self) -> None:
        a, (first, end, _, _) = self.assembly, self.assembly.counters
        whole = [k for k, s in enumerate(self.sums) if s and self._whole(k)]
        for k in whole:
            self._reset(k)
        head, body, done = a.label(), a.label(), a.label()
        before = a.block
        a.jump(head)
        a.begin(head)
        row, open_row = a.phi_later("i64", first, before)
        a.branch(a.new(f"icmp slt i64 {row}, {end}"), body, done)
        a.begin(body)
        self._row(row)
        next_row = a.new(f"add i64 {row}, 1")
        a.close_phi(open_row, next_row)
        a.jump(head)
        a.begin(done)
        for k in whole:
            self._gather(k, self.writes[k])
        a.do("ret i64 0")

    def _row(self, row: str) -> None:
        a, space = self.assembly, self.space
        self.once, self.spread = {}, {}
        steps = self._steps(row)
        offsets = [self._offset(w, steps) for w in space.walks]
        count = len(space.places)
        self.at = [a.at(p, o, self._read_dtype(k)) for k, (p, o) in enumerate(zip(self.reads, offsets[:count], strict=True))]
        self.to = [a.at(p, o, self._dtype(k)) for k, (p, o) in enumerate(zip(self.writes, offsets[count:], strict=True))]
        for i, node in enumerate(self.graph.nodes):
            if space.varies[i] or node.op in SUMS:
                continue
            if i in space.places:
                self.once[i] = a.load(self.at[space.places[i]], node.types[0].dtype)
            elif node.op == "constant":
                self.once[i] = self.one.constant(dict(node.attributes)["value"].item(), node.types[0].dtype)
            else:
                self.once[i] = self._written(self.one, i, [self.once[r.node] for r in node.operands])
        for i, value in self.once.items():
            self.spread[i] = self.many.spread(value, self.graph.nodes[i].types[0].dtype)
        rowwise = [k for k, s in enumerate(self.sums) if s and not self._whole(k)]
        for k in rowwise:
            self._reset(k)
        self._along()
        for k in rowwise:
            self._set_aside(k)
            self._gather(k, self.to[k])
        if any(s and self._whole(k) for k, s in enumerate(self.sums)):
            self._set_aside_sometimes(row)

    def _read_dtype(self, position: int) -> Dtype:
        node = next(i for i, p in self.space.places.items() if p == position)
        return self.graph.nodes[node].types[0].dtype

    def _steps(self, row: str) -> list[str]:
        """The row's index on each outer axis."""
        steps: list[str] = []
        rest = row
        for k, size in reversed(list(enumerate(self.space.outer))):
            steps.insert(0, self.assembly.new(f"urem i64 {rest}, {size}") if k else rest)
            rest = self.assembly.new(f"udiv i64 {rest}, {size}") if k else rest
        return steps

    def _offset(self, walk: Walk, steps: Sequence[str]) -> str:
        offset = "0"
        for stride, step in zip(walk.outer, steps, strict=True):
            if stride:
                part = self.assembly.new(f"mul i64 {step}, {stride}")
                offset = part if offset == "0" else self.assembly.new(f"add i64 {offset}, {part}")
        return offset

    # Along the row.

    def _inside(self) -> tuple[int, int]:
        """From where to where a vector may begin whose elements all read and write within their arrays, but for its own length."""
        sources = [self.graph.nodes[r.node].operands[0].node if op else r.node for r, op in zip(self.graph.outputs, self.space.reduced, strict=True)]
        low, high = 0, min(self.space.extents[i] for i in sources)
        seen: set[tuple[int, int]] = set()
        pending = [(r.node, 0) for r in self.graph.outputs]
        while pending:
            i, shift = pending.pop()
            if (i, shift) in seen:
                continue
            if len(seen) > 4 * len(self.graph.nodes) + 64:
                raise Unsupported("a value read at many shifts")
            seen.add((i, shift))
            node = self.graph.nodes[i]
            operands = [(r.node, shift + self._shift(i)) for r in node.operands]
            bounded = [(i, shift)] * (node.op not in SUMS and self.space.varies[i]) + operands * (node.op == "pad")
            for j, s in bounded:
                low, high = max(low, -s), min(high, self.space.extents[j] - s)
            pending += operands
        return low, max(low, high)

    def _shift(self, i: int) -> int:
        """By how much operands of node i are read further on."""
        node = self.graph.nodes[i]
        if node.op == "slice":
            return int(dict(node.attributes)["start"][-1])
        return -int(dict(node.attributes)["low"][-1]) if node.op == "pad" else 0

    def _along(self) -> None:
        """Whole vectors where nothing is out of reach, masked ones before and after."""
        a, (_, _, first, end) = self.assembly, self.assembly.counters
        step = self.lanes * self.unroll
        start = self._extreme("sgt", first, str(self.low)) if self.low else first
        start = self._extreme("slt", start, end) if self.low else start
        room = a.new(f"sub i64 {self._extreme('slt', end, str(self.high))}, {start}")
        room = self._extreme("sgt", room, "0")
        left = a.new(f"urem i64 {room}, {step}")
        room = a.new(f"sub i64 {room}, {left}")
        stop = a.new(f"add i64 {start}, {room}")
        self._blocks(start, stop, step)
        self._ends(first, start, stop, end)

    def _extreme(self, predicate: str, x: str, y: str) -> str:
        condition = self.assembly.new(f"icmp {predicate} i64 {x}, {y}")
        return self.assembly.new(f"select i1 {condition}, i64 {x}, i64 {y}")

    def _blocks(self, start: str, stop: str, step: int) -> None:
        a = self.assembly
        blocked = [k for k, s in enumerate(self.sums) if s and self._kind(k) == "sum"]
        outer, block, inner, flush, done = (a.label() for _ in range(5))
        before = a.block
        a.jump(outer)
        a.begin(outer)
        at, open_at = a.phi_later("i64", start, before)
        a.branch(a.new(f"icmp slt i64 {at}, {stop}"), block, done)
        a.begin(block)
        until = self._extreme("slt", a.new(f"add i64 {at}, {BLOCK * step}"), stop) if blocked else stop
        before = a.block
        a.jump(inner)
        a.begin(inner)
        i, open_i = a.phi_later("i64", at, before)
        for part in range(self.unroll):
            where = i if part == 0 else a.new(f"add i64 {i}, {part * self.lanes}")
            self._vector(where, "", part)
        following = a.new(f"add i64 {i}, {step}")
        a.close_phi(open_i, following)
        a.branch(a.new(f"icmp slt i64 {following}, {until}"), inner, flush)
        a.begin(flush)
        for k in blocked:
            self._set_aside(k)
        a.close_phi(open_at, until)
        a.jump(outer)
        a.begin(done)

    def _ends(self, first: str, start: str, stop: str, end: str) -> None:
        """[first, start) and [stop, end), masked."""
        a = self.assembly
        head, body, done = a.label(), a.label(), a.label()
        begin = a.new(f"select i1 {a.new(f'icmp slt i64 {first}, {start}')}, i64 {first}, i64 {stop}") if self.low else stop
        before = a.block
        a.jump(head)
        a.begin(head)
        i, open_i = a.phi_later("i64", begin, before)
        a.branch(a.new(f"icmp slt i64 {i}, {end}"), body, done)
        a.begin(body)
        until, following = end, a.new(f"add i64 {i}, {self.lanes}")
        if self.low:
            early = a.new(f"icmp slt i64 {i}, {start}")
            until = a.new(f"select i1 {early}, i64 {start}, i64 {end}")
            leaps = a.new(f"and i1 {early}, {a.new(f'icmp sge i64 {following}, {start}')}")
            following = a.new(f"select i1 {leaps}, i64 {stop}, i64 {following}")
        self._vector(i, until, 0)
        a.close_phi(open_i, following)
        a.jump(head)
        a.begin(done)

    def _vector(self, i: str, until: str, part: int) -> None:
        """All outputs at elements i, i + 1, ... of the row. `until`: the first not wanted, "" if all are and nothing is out of reach."""
        values: dict[tuple[int, int], str] = {}
        masks: dict[tuple[int, int], str] = {}
        for k, ref in enumerate(self.graph.outputs):
            op = self.space.reduced[k]
            node = self.graph.nodes[ref.node].operands[0].node if op else ref.node
            value = self._value(node, 0, i, until, values, masks)
            mask = self._mask(0, self.space.extents[node], i, until, masks) if until else ""
            if not op:
                self._store(value, self.to[k], i, self._dtype(k), mask)
            elif self._along_row(k):
                self._add(k, value, mask, part)
            else:
                self._add_to_rows(k, value, i, mask)

    def _value(self, i: int, shift: int, at: str, until: str, values: dict[tuple[int, int], str], masks: dict[tuple[int, int], str]) -> str:
        """Value i at elements at + shift, ...: written once for each shift, deepest operands first, without recursion."""
        pending = [(i, shift)]
        while pending:
            key = pending[-1]
            node, s = key
            if key in values:
                pending.pop()
                continue
            if not self.space.varies[node]:
                values[key] = self.spread[node]
                continue
            if node in self.space.places:
                values[key] = self._read(node, s, at, until, masks)
                continue
            operands = [(r.node, s + self._shift(node)) for r in self.graph.nodes[node].operands]
            missing = [o for o in operands if o not in values]
            if missing:
                pending += missing
                continue
            values[key] = self._written(self.many, node, [values[o] for o in operands])
            if self.graph.nodes[node].op == "pad" and until:
                dtype = self.graph.nodes[node].types[0].dtype
                inside = self._mask(operands[0][1], self.space.extents[operands[0][0]], at, until, masks)
                values[key] = self.many.select(inside, dtype, values[key], self.many.constant(0, dtype))
        return values[i, shift]

    def _written(self, lanes: Lanes, i: int, operands: list[str]) -> str:
        node = self.graph.nodes[i]
        if node.op in ("broadcast", "slice", "pad"):
            return operands[0]
        dtype = self.graph.type_of(node.operands[-1]).dtype
        return write(lanes, node.op, dtype, operands, dict(node.attributes))

    def _mask(self, shift: int, extent: int, at: str, until: str, masks: dict[tuple[int, int], str]) -> str:
        """Which lanes stand before `until`, and with the shift within 0 and extent."""
        key = (shift, extent) if shift or extent < self.space.row else (0, self.space.row)
        if key not in masks:
            l = self.many
            lanes = "<" + ", ".join(f"i64 {k}" for k in range(self.lanes)) + ">"
            place = l.operation("add", INT64, l.spread(at, INT64), lanes)
            mask = l.compare("slt", INT64, place, l.spread(until, INT64))
            if key[0] < 0:
                mask = l.both(mask, l.compare("sge", INT64, place, l.constant(-key[0], INT64)))
            if key[0] + self.space.row > key[1]:
                mask = l.both(mask, l.compare("slt", INT64, place, l.constant(key[1] - key[0], INT64)))
            masks[key] = mask
        return masks[key]

    def _read(self, node: int, shift: int, at: str, until: str, masks: dict[tuple[int, int], str]) -> str:
        a, dtype = self.assembly, self.graph.nodes[node].types[0].dtype
        where = at if shift == 0 else a.new(f"add i64 {at}, {shift}")
        address = a.new(f"getelementptr {STORED[dtype.name]}, ptr {self.at[self.space.places[node]]}, i64 {where}")
        return self._load(address, dtype, self._mask(shift, self.space.extents[node], at, until, masks) if until else "")

    def _load(self, address: str, dtype: Dtype, mask: str) -> str:
        a, type = self.assembly, self.many.wide(STORED[dtype.name])
        if not mask:
            raw = a.new(f"load {type}, ptr {address}, align 1")
        else:
            function = a.intrinsic(f"llvm.masked.load.{self._suffix(dtype)}.p0", type, ("ptr", "i32", f"<{self.lanes} x i1>", type))
            raw = a.new(f"call {type} {function}(ptr {address}, i32 1, <{self.lanes} x i1> {mask}, {type} {self._harmless(dtype)})")
        return a.new(f"icmp ne {type} {raw}, zeroinitializer") if dtype.kind == "b" else raw

    def _harmless(self, dtype: Dtype) -> str:
        """What lanes out of reach compute with."""
        return "zeroinitializer" if dtype.kind == "b" else self.many.constant(1, dtype)

    def _suffix(self, dtype: Dtype) -> str:
        return f"v{self.lanes}" + ("i8" if dtype.kind == "b" else SUFFIX[dtype.name])

    def _store(self, value: str, pointer: str, at: str, dtype: Dtype, mask: str) -> None:
        a, type = self.assembly, self.many.wide(STORED[dtype.name])
        if dtype.kind == "b":
            value = a.new(f"zext <{self.lanes} x i1> {value} to {type}")
        address = a.new(f"getelementptr {STORED[dtype.name]}, ptr {pointer}, i64 {at}")
        if not mask:
            a.do(f"store {type} {value}, ptr {address}, align 1")
            return
        function = a.intrinsic(f"llvm.masked.store.{self._suffix(dtype)}.p0", "void", (type, "ptr", "i32", f"<{self.lanes} x i1>"))
        a.do(f"call void {function}({type} {value}, ptr {address}, i32 1, <{self.lanes} x i1> {mask})")

    # Reductions.

    def _combined(self, lanes: Lanes, k: int, x: str, y: str) -> str:
        return write(lanes, SUMS[self._kind(k)], self._dtype(k), [x, y], {})

    def _add(self, k: int, value: str, mask: str, part: int) -> None:
        a, dtype = self.assembly, self._dtype(k)
        if mask:
            value = self.many.select(mask, dtype, value, self.many.constant(identity(self._kind(k), dtype), dtype))
        type, place = self.many.type(dtype), self.sums[k][part]
        sum = self._combined(self.many, k, a.new(f"load {type}, ptr {place}"), value)
        a.do(f"store {type} {sum}, ptr {place}")

    def _add_to_rows(self, k: int, value: str, at: str, mask: str) -> None:
        a, dtype = self.assembly, self._dtype(k)
        address = a.new(f"getelementptr {STORED[dtype.name]}, ptr {self.to[k]}, i64 {at}")
        self._store(self._combined(self.many, k, self._load(address, dtype, mask), value), self.to[k], at, dtype, mask)

    def _set_aside(self, k: int) -> None:
        """The sums of a block join those before it, and start anew."""
        a, dtype = self.assembly, self._dtype(k)
        type, (*places, last) = self.many.type(dtype), self.sums[k]
        parts = [a.new(f"load {type}, ptr {p}") for p in places]
        while len(parts) > 1:
            parts = [self._combined(self.many, k, x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        total = self._combined(self.many, k, a.new(f"load {type}, ptr {last}"), parts[0])
        start = self.many.constant(identity(self._kind(k), dtype), dtype)
        for p in places:
            a.do(f"store {type} {start}, ptr {p}")
        a.do(f"store {type} {total}, ptr {last}")

    def _set_aside_sometimes(self, row: str) -> None:
        """For sums over everything: after so many rows as make a block (a power of two)."""
        a = self.assembly
        vectors = max(1, -(-self.space.row // (self.lanes * self.unroll)))
        period = 1 << max(0, (BLOCK // vectors).bit_length() - 1)
        then, after = a.label(), a.label()
        a.branch(a.new(f"icmp eq i64 {a.new(f'and i64 {row}, {period - 1}')}, {period - 1}"), then, after)
        a.begin(then)
        for k, places in enumerate(self.sums):
            if places and self._whole(k):
                self._set_aside(k)
        a.jump(after)
        a.begin(after)

    def _gather(self, k: int, address: str) -> None:
        """The lanes' sums, pairwise, join the output."""
        a, dtype = self.assembly, self._dtype(k)
        self._set_aside(k)
        vector = a.new(f"load {self.many.type(dtype)}, ptr {self.sums[k][-1]}")
        lanes = self.lanes
        while lanes > 1:
            wide, half = f"<{lanes} x {ELEMENT[dtype.name]}>", lanes // 2
            halves = [
                a.new(f"shufflevector {wide} {vector}, {wide} poison, <{half} x i32> <{', '.join(f'i32 {j}' for j in range(b, b + half))}>") for b in (0, half)
            ]
            lanes = half
            vector = self._combined(Lanes(a, self.many.machine, lanes), k, *halves) if lanes > 1 else self._pair(k, *halves)
        a.store(self._combined(self.one, k, a.load(address, dtype), vector), address, dtype)

    def _pair(self, k: int, x: str, y: str) -> str:
        element = ELEMENT[self._dtype(k).name]
        return self._combined(self.one, k, *[self.assembly.new(f"extractelement <1 x {element}> {v}, i64 0") for v in (x, y)])
