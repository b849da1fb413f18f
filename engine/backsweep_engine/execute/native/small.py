"""Whole small graphs in one call: no buffer, no step, no stop between.

For graphs whose call costs more than their work, and for loops that end within milliseconds, together
with what stands round them. Larger loops are loop.py's, larger arrays region.py's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...graph import Graph, Type
from ...transforms.expand import expand
from ..executor import Array, Stop, never
from .assembly import ELEMENT, Assembly, literal
from .lanes import Unsupported
from .machine import Call, Code, machine
from .scalars import Scalars, Value, in_memory
from .work import work

MAX_WORK = 1 << 24
"""Operations of a whole graph, its loops to their bounds: some 20 ms, within which stop() need not be asked."""

HELD_WORK = 20_000
"""Up to so many it is over before another thread would have got its turn, and is entered without letting go of the interpreter."""


FAILED, FILLED, FINITE = 0, 1, 2
"""What the code returns: a loop passed its bound; the outputs are there; and none of them holds an infinity or NaN."""

MAX_LOOKED_AT = 64
"""Numbers of all outputs that the code adds up while it has them, which is sooner than to look at them afterwards."""


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """`small(inputs, outputs, stop)` -> FILLED or FINITE; FAILED where a loop passed its bound, which the NumPy tier then says.

    `enter`: one of the code's ways in.
    """

    code: Code
    enter: Call
    scratch: tuple[Type, ...]

    @property
    def scratch_bytes(self) -> int:
        return sum(t.nbytes for t in self.scratch)

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop = never) -> int:
        """Both in the graph's order, arrays of its types, C-contiguous and apart. `stop` is not asked: it is over before."""
        arrays = (*inputs, *outputs, *[np.empty(t.shape, t.dtype) for t in self.scratch]) if self.scratch else (*inputs, *outputs)
        return self.enter(id(arrays))


def compile_small(graph: Graph) -> Small | None:
    """The whole graph as one function, None if it is too large or holds what is not scalar work."""
    host = machine()
    if host is None:
        return None
    graph = expand(graph)
    operations = work(graph)
    if operations > MAX_WORK:
        return None
    a = Assembly(0)
    s = Scalars(a, host, graph.arity + len(graph.outputs))
    try:
        inputs = [in_memory(t, a.array_at_entry(k)) for k, t in enumerate(graph.input_types)]
        results = [a.array_at_entry(graph.arity + k) for k in range(len(graph.outputs))]
        # A loop stacks what is an output where it is wanted, once.
        places = {(ref.node, ref.result): p for ref, p in reversed(list(zip(graph.outputs, results, strict=True)))}
        values = s.graph(graph, inputs, places)
        for value, pointer in zip(values, results, strict=True):
            if value.pointer != pointer:
                s.store(value, pointer)
        failed = a.new(f"icmp ne i64 {a.new(f'load i64, ptr {s.failed}')}, 0")
        a.do(f"ret i64 {a.new(f'select i1 {failed}, i64 {FAILED}, i64 {_seen(s, values)}')}")
        code = host.compile(a, straight=True)
        return Small(code, code.held if operations <= HELD_WORK else code.free, tuple(s.scratch))
    except Unsupported:
        return None


def _seen(s: Scalars, values: Sequence[Value]) -> str:
    """FINITE or FILLED: the numbers less themselves add up to 0 if all are finite, else to NaN."""
    floating = [value for value in values if value.type.is_float]
    if sum(value.type.size for value in floating) > MAX_LOOKED_AT or any(len(value.cells) < value.type.size for value in floating):
        return str(FILLED)
    finite = "true"
    for value in floating:
        name = ELEMENT[value.type.dtype.name]
        total = literal(0.0, value.type.dtype)
        for cell in s.cells(value):
            total = s.assembly.new(f"fadd {name} {total}, {s.assembly.new(f'fsub {name} {cell}, {cell}')}")
        finite = s.assembly.new(f"and i1 {finite}, {s.assembly.new(f'fcmp ord {name} {total}, {total}')}")
    return s.assembly.new(f"select i1 {finite}, i64 {FINITE}, i64 {FILLED}")
