"""The text of a region kernel: over rows, along each a vector at a time, its ends masked.

A value is written where it is asked for, once for each shift at which it is read. What does not vary
along the row is written before it, as one element.
"""

from __future__ import annotations

from collections.abc import Sequence

from .assembly import STORED, Assembly, Dtype
from .lanes import INT64, Lanes, Unsupported
from .machine import Machine
from .space import SUMS, Space, Walk, flops
from .sums import BLOCK, Sums
from .table import write

MANY_SUMS = 4
"""Vectors a loop takes at once where it does little more than add: four sums hide the adder's latency."""


Span = tuple[str, str, str, str]
"""First row, end, first element of each, end."""


class Body:
    """Written into an assembly: the rows and elements of a span. `reads`, `writes`: the addresses of its arrays and of its outputs'."""

    def __init__(self, space: Space, host: Machine, assembly: Assembly, reads: Sequence[str], writes: Sequence[str], span: Span) -> None:
        self.space, self.graph = space, space.graph
        itemsize = max(n.types[0].dtype.itemsize for n in self.graph.nodes)
        self.lanes = max(2, host.width // 8 // itemsize)
        self.assembly, self.span = assembly, span
        self.one, self.many = Lanes(self.assembly, host, 1), Lanes(self.assembly, host, self.lanes)
        self.reads, self.writes = reads, writes
        self.once: dict[int, str] = {}
        """values that do not vary along the row, as one element"""
        self.spread: dict[int, str] = {}
        self.low, self.high = self._inside()
        cheap = flops(space) <= 2 * len(self.graph.nodes) and len(self.graph.nodes) < 12 and any(space.reduced)
        self.unroll = MANY_SUMS if cheap else 1
        self.sums = Sums(space, self.one, self.many, self.unroll)
        self._rows()

    def _rows(self) -> None:
        a, (first, end, _, _) = self.assembly, self.span
        for k in self.sums.whole:
            self.sums.reset(k)
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
        for k in self.sums.whole:
            self.sums.gather(k, self.writes[k])

    def _row(self, row: str) -> None:
        a, space = self.assembly, self.space
        self.once, self.spread = {}, {}
        steps = self._steps(row)
        offsets = [self._offset(w, steps) for w in space.walks]
        count = len(space.places)
        self.at = [a.at(p, o, self._read_dtype(k)) for k, (p, o) in enumerate(zip(self.reads, offsets[:count], strict=True))]
        self.to = [a.at(p, o, self.sums.dtype(k)) for k, (p, o) in enumerate(zip(self.writes, offsets[count:], strict=True))]
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
        for k in self.sums.rowwise:
            self.sums.reset(k)
        self._along()
        for k in self.sums.rowwise:
            self.sums.gather(k, self.to[k])
        if self.sums.whole:
            self.sums.set_aside_sometimes(row)

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
        a, (_, _, first, end) = self.assembly, self.span
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
        outer, block, inner, flush, done = (a.label() for _ in range(5))
        before = a.block
        a.jump(outer)
        a.begin(outer)
        at, open_at = a.phi_later("i64", start, before)
        a.branch(a.new(f"icmp slt i64 {at}, {stop}"), block, done)
        a.begin(block)
        until = self._extreme("slt", a.new(f"add i64 {at}, {BLOCK * step}"), stop) if self.sums.blocked else stop
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
        for k in self.sums.blocked:
            self.sums.set_aside(k)
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
        nodes = [self.graph.nodes[ref.node].operands[0].node if op else ref.node for ref, op in zip(self.graph.outputs, self.space.reduced, strict=True)]
        # Everything is read before anything is written, since an output may be an input (region.py).
        found = [self._value(node, 0, i, until, values, masks) for node in nodes]
        for k, (node, value) in enumerate(zip(nodes, found, strict=True)):
            op = self.space.reduced[k]
            mask = self._mask(0, self.space.extents[node], i, until, masks) if until else ""
            if k in self.sums.places:
                self.sums.add(k, value, mask, part)
                continue
            dtype = self.sums.dtype(k)
            address = self.assembly.new(f"getelementptr {STORED[dtype.name]}, ptr {self.to[k]}, i64 {i}")
            if op:
                value = self.sums.combined(self.many, k, self.many.load(address, dtype, mask), value)
            self.many.store(value, address, dtype, mask)

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
        return self.many.load(address, dtype, self._mask(shift, self.space.extents[node], at, until, masks) if until else "")
