"""Long loops: one scan or while_loop as code, in calls of so many trips that stop() is asked in time.

What is carried waits in the results between calls. Bodies are scalars.py's: scalars and small dense
arrays, other loops within them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ...errors import Cancelled
from ...graph import Graph, Node, Type
from ...plan.memory import places
from ...transforms.expand import expand
from ..executor import Array, Stop, never
from .assembly import Assembly
from .lanes import Unsupported
from .machine import Code, machine
from .nested import loop, while_loop
from .scalars import Scalars, Value, in_memory
from .work import work

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


def compile_loop(node: Node, types: Sequence[Type]) -> CompiledLoop | None:
    """The code of a scan or while_loop whose operands have these types; None if its body is more than small dense work."""
    host = machine()
    if host is None or node.op not in ("scan", "while_loop"):
        return None
    attributes = dict(node.attributes)
    searching, counted = node.op == "while_loop", bool(attributes.get("counted"))
    body: Graph = expand(attributes["body"])
    operations = sum(map(work, (body, expand(attributes["condition"])) if searching else (body,)))
    if operations > CALL_WORK:
        return None
    carries, slices = attributes["carries"], attributes.get("slices", 0)
    length = attributes["max_trips"] if searching else attributes["length"]
    operands, stacked = list(types[counted:]), node.types[searching + carries :]
    a = Assembly(3)
    s = Scalars(a, host, len(operands) + len(stacked) + searching)
    first, until, most = a.counters
    try:
        values = [in_memory(t, a.array_at_entry(k)) for k, t in enumerate(operands[carries:])]
        carry = [in_memory(t, a.array_at_entry(len(values) + k)) for k, t in enumerate(operands[:carries])]
        stacks = [a.array_at_entry(len(operands) + k) for k in range(len(stacked))]
        if searching:
            made, carried, holds = while_loop(s, expand(attributes["condition"]), body, carry, values, stacks, (first, until))
            a.do(f"store i64 {made}, ptr {a.array_at_entry(len(operands) + len(stacked))}, align 1")
        else:
            last = a.new(f"sub i64 {most}, 1") if attributes["reverse"] else ""
            carried, holds = loop(s, body, carry, values[:slices], values[slices:], stacks, (first, until), last), "false"
        for before, after in zip(carry, carried, strict=True):
            s.store(Value(after.type, after.cells), before.pointer)
        failed = a.new(f"load i64, ptr {s.failed}")
        still = a.new(f"select i1 {holds}, i64 {HOLDS}, i64 0")
        a.do(f"ret i64 {a.new(f'or i64 {failed}, {still}')}")
        code = host.compile(a, straight=True)
    except Unsupported:
        return None
    return CompiledLoop(code, tuple(s.scratch), carries, counted, searching, length, CALL_WORK // operations)
