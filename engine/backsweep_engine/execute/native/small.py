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
from .assembly import Assembly
from .lanes import Unsupported
from .machine import Code, machine
from .scalars import Scalars, in_memory
from .work import work

MAX_WORK = 1 << 24
"""Operations of a whole graph, its loops to their bounds: some 20 ms, within which stop() need not be asked."""

HELD_WORK = 20_000
"""Up to so many it is over before another thread would have got its turn, and is entered without letting go of the interpreter."""


@dataclass(frozen=True, slots=True, eq=False)
class Small:
    """`small(inputs, outputs, stop)` -> whether it was done: not where a loop passed its bound, which the NumPy tier then says."""

    code: Code
    scratch: tuple[Type, ...]
    held: bool

    @property
    def scratch_bytes(self) -> int:
        return sum(t.nbytes for t in self.scratch)

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop = never) -> bool:
        """Both in the graph's order, arrays of its types, C-contiguous and apart. `stop` is not asked: it is over before."""
        arrays = (*inputs, *outputs, *[np.empty(t.shape, t.dtype) for t in self.scratch]) if self.scratch else (*inputs, *outputs)
        return not (self.code.held if self.held else self.code.free)(id(arrays))


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
        for value, pointer in zip(s.graph(graph, inputs, places), results, strict=True):
            if value.pointer != pointer:
                s.store(value, pointer)
        a.do(f"ret i64 {a.new(f'load i64, ptr {s.failed}')}")
        return Small(host.compile(a, straight=True), tuple(s.scratch), operations <= HELD_WORK)
    except Unsupported:
        return None
