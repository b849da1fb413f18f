"""Long loops: one scan or while_loop as code, in calls of so many trips that stop() is asked in time.

What is carried waits in the results between calls. Bodies are scalars.py's: scalars and small dense
arrays, other loops within them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from ...errors import Cancelled
from ...graph import DTYPES, Graph, Node, Type
from ...plan.memory import places
from ...transforms.expand import expand
from ..executor import Array, Stop, never
from .arrays import Arrays, arena_bytes, whole
from .assembly import Assembly
from .lanes import Unsupported
from .machine import Code, Machine, machine
from .nested import loop, while_loop
from .products import moved, scaled
from .scalars import Scalars, Value, in_memory
from .work import work

FLOAT64 = DTYPES["float64"]

CALL_WORK = 1 << 23
"""Operations of the trips of one call: at most some 20 ms; a body of more than this is left to the NumPy tier."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledLoop:
    """`loop(operands, outputs, stop)` -> whether it was done: not where it passed its bound, which the NumPy tier then says.

    `counted`: whether the first operand is the number of trips, `length` the most; `trips`: of one call.
    `searching`: a while_loop. Raises Cancelled.
    """

    code: Code
    scratch: tuple[Type, ...]
    carries: int
    counted: bool
    searching: bool
    length: int
    trips: int

    @property
    def scratch_bytes(self) -> int:
        return places(self.scratch)[-1]

    def within(self, memory: Array) -> Callable[..., bool]:
        """The same with its scratch in this memory, at least `scratch_bytes` of it. One call at a time."""
        arrays = [np.ndarray(t.shape, t.dtype, memory, at) for t, at in zip(self.scratch, places(self.scratch), strict=False)]
        return partial(self, scratch=arrays)

    def __call__(self, operands: Sequence[Array], outputs: Sequence[Array], stop: Stop = never, scratch: Sequence[Array] | None = None) -> bool:
        """`operands` and `outputs`: the node's, C-contiguous and apart."""
        if scratch is None:
            scratch = [np.empty(t.shape, t.dtype) for t in self.scratch]
        most, x, results = self.length, operands, outputs[self.searching :]
        if self.counted:
            most, x = int(operands[0]), operands[1:]
            if most > self.length:
                return False
        for before, carried in zip(x[: self.carries], results, strict=False):
            np.copyto(carried, before)
        if self.searching or most < self.length:
            for stacked in results[self.carries :]:
                stacked.fill(0)
        arrays = (*map(np.asarray, x[self.carries :]), *results, *outputs[: self.searching], *scratch)
        made = 0
        while made < most or self.searching:
            if stop():
                raise Cancelled("the work was stopped")
            until = min(made + self.trips, most)
            status = self.code.free(id(arrays), made, until, most)
            if status & FAILED or (status & HOLDS and until == most):
                return False
            made = until
            if self.searching and not status & HOLDS:
                break
        return True


FAILED, HOLDS = 1, 2
"""Bits of what the code returns: a loop within passed its bound; the condition holds after the last trip of the call."""


def compile_loop(node: Node, types: Sequence[Type], arrays: bool = False) -> CompiledLoop | None:
    """The code of a scan or while_loop whose operands have these types; None if its body is more than small dense work.

    `arrays`: whether it may be work on arrays in memory, which is for loops that are lifted as far as can be.
    """
    host = machine()
    if host is None or node.op not in ("scan", "while_loop"):
        return None
    attributes = dict(node.attributes)
    body = expand(attributes["body"])
    graphs = [body, expand(attributes["condition"])] if node.op == "while_loop" else [body]
    if sum(map(work, graphs)) > CALL_WORK:
        return None
    try:
        return _in_registers(node, types, graphs, host)
    except Unsupported:
        pass
    try:
        return _in_memory(node, types, graphs, host) if arrays else None
    except Unsupported:
        return None


class _Parts(NamedTuple):
    """What a loop's code is given: the addresses of its slices and what stays, of what is carried, of what is stacked, and of the number of trips."""

    given: list[str]
    carried: list[str]
    stacked: list[str]
    made: str


def _parts(a: Assembly, node: Node, types: Sequence[Type]) -> tuple[_Parts, int]:
    """And how many arrays they are."""
    attributes = dict(node.attributes)
    searching, carries = node.op == "while_loop", attributes["carries"]
    operands = len(types) - bool(attributes.get("counted"))
    count = operands + len(node.types) - searching - carries
    at = [a.array_at_entry(k) for k in range(count + searching)]
    return _Parts(at[: operands - carries], at[operands - carries : operands], at[operands:count], at[-1] if searching else ""), count + searching


def _compiled(a: Assembly, node: Node, graphs: Sequence[Graph], scratch: Sequence[Type], host: Machine, failed: str, holds: str) -> CompiledLoop:
    attributes = dict(node.attributes)
    still = a.new(f"select i1 {holds}, i64 {HOLDS}, i64 0")
    a.do(f"ret i64 {a.new(f'or i64 {failed}, {still}')}")
    searching = node.op == "while_loop"
    length = attributes["max_trips"] if searching else attributes["length"]
    trips = CALL_WORK // sum(map(work, graphs))
    code = host.compile(a, straight=True)
    return CompiledLoop(code, tuple(scratch), attributes["carries"], bool(attributes.get("counted")), searching, length, trips)


def _in_registers(node: Node, types: Sequence[Type], graphs: Sequence[Graph], host: Machine) -> CompiledLoop:
    """Scalar by scalar (scalars.py)."""
    a, attributes = Assembly(3), dict(node.attributes)
    parts, count = _parts(a, node, types)
    s = Scalars(a, host, count)
    first, until, most = a.counters
    carries, slices, counted = attributes["carries"], attributes.get("slices", 0), bool(attributes.get("counted"))
    operands = types[counted:]
    values = [in_memory(t, p) for t, p in zip(operands[carries:], parts.given, strict=True)]
    carry = [in_memory(t, p) for t, p in zip(operands[:carries], parts.carried, strict=True)]
    if len(graphs) > 1:
        made, carried, holds = while_loop(s, graphs[1], graphs[0], carry, values, parts.stacked, (first, until))
        a.do(f"store i64 {made}, ptr {parts.made}, align 1")
    else:
        last = a.new(f"sub i64 {most}, 1") if attributes["reverse"] else ""
        carried, holds = loop(s, graphs[0], carry, values[:slices], values[slices:], parts.stacked, (first, until), last), "false"
    for before, after in zip(carry, carried, strict=True):
        s.store(Value(after.type, after.cells), before.pointer)
    return _compiled(a, node, graphs, s.scratch, host, a.new(f"load i64, ptr {s.failed}"), holds)


def _in_memory(node: Node, types: Sequence[Type], graphs: Sequence[Graph], host: Machine) -> CompiledLoop:
    """Array by array (arrays.py). What is carried on stands behind the arena until its trip is over."""
    a, attributes = Assembly(3), dict(node.attributes)
    parts, count = _parts(a, node, types)
    first, until, most = a.counters
    carries, slices, counted = attributes["carries"], attributes.get("slices", 0), bool(attributes.get("counted"))
    operands, body = types[counted:], graphs[0]
    room = max(map(arena_bytes, graphs))
    *starts, end = places(body.output_types[:carries])
    arena = a.array_at_entry(count)
    arrays = Arrays(a, host, arena)
    carry = [whole(t, p) for t, p in zip(operands[:carries], parts.carried, strict=True)]
    given = [whole(t, p) for t, p in zip(operands[carries:], parts.given, strict=True)]
    head, into, done = a.label(), a.label(), a.label()
    before = a.block
    a.jump(head)
    a.begin(head)
    trip, open_trip = a.phi_later("i64", first, before)
    holds, ended = "false", ""
    if len(graphs) > 1:
        told = a.place("i8")
        arrays.graph(graphs[1], [*carry, *given], [told])
        holds, more = a.new(f"icmp ne i8 {a.new(f'load i8, ptr {told}')}, 0"), a.label()
        ended = a.block
        a.branch(holds, more, done)
        a.begin(more)
    enough = a.block
    a.branch(a.new(f"icmp slt i64 {trip}, {until}"), into, done)
    a.begin(into)
    place = a.new(f"sub i64 {a.new(f'sub i64 {most}, 1')}, {trip}") if attributes.get("reverse") else trip
    rows = [whole(t := v.type.with_shape(v.type.shape[1:]), moved(a, v.pointer, scaled(a, place, t.nbytes))) for v in given[:slices]]
    stacks = [moved(a, p, scaled(a, place, t.nbytes)) for p, t in zip(parts.stacked, body.output_types[carries:], strict=True)]
    following = [whole(v.type, moved(a, arena, str(room + at))) for v, at in zip(carry, starts, strict=True)]
    arrays.graph(body, [*carry, *rows, *given[slices:]], [*[v.pointer for v in following], *stacks])
    for v, after in zip(carry, following, strict=True):
        arrays.copy(after, v)
    a.close_phi(open_trip, a.new(f"add i64 {trip}, 1"))
    a.jump(head)
    a.begin(done)
    if parts.made:
        holds = a.phi("i1", ("false", ended), ("true", enough))
        a.do(f"store i64 {trip}, ptr {parts.made}, align 1")
    return _compiled(a, node, graphs, [Type(FLOAT64, ((room + end) // 8,))], host, "0", holds)
