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
from ...graph import Graph
from ...transforms.expand import expand
from ..executor import Array, Stop, never
from .assembly import Assembly
from .body import Body
from .lanes import Unsupported
from .machine import Code, machine
from .space import Space, flops, space_of
from .sums import BLOCK, identity

CALL_FLOPS, CALL_BYTES = 1 << 24, 1 << 25
"""A call of the code takes about so much work at most, some 20 ms; stop() is asked between calls."""


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """`kernel(inputs, outputs, stop)` fills the outputs, C-contiguous arrays of the graph's types, and returns True.

    Inputs need not be contiguous (they are copied if not) and may overlap outputs. Raises Cancelled.
    """

    code: Code
    constants: tuple[Array, ...]
    identities: tuple[object, ...]
    calls: tuple[tuple[int, int, int, int], ...]
    in_place: tuple[frozenset[int], ...]
    """for each input, the outputs that may be the very same array"""

    def __call__(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop = never) -> bool:
        reach = [_reach(y) for y in outputs]
        return self.apart([_apart(x, reach, same) for x, same in zip(inputs, self.in_place, strict=True)], outputs, stop)

    def apart(self, inputs: Sequence[Array], outputs: Sequence[Array], stop: Stop = never) -> bool:
        """The same for inputs that are known to be C-contiguous and to overlap no output."""
        arrays = (*inputs, *self.constants, *outputs)
        for y, start in zip(outputs, self.identities, strict=True):
            if start is not None:
                y.fill(start)
        for call in self.calls:
            if stop():
                raise Cancelled("the work was stopped")
            self.code.free(id(arrays), *call)
        return True


def _reach(x: Array) -> tuple[int, int]:
    start = x.__array_interface__["data"][0]
    return start, start + x.nbytes


def _apart(x: Array, outputs: Sequence[tuple[int, int]], in_place: frozenset[int]) -> Array:
    """The input C-contiguous, and a copy where it overlaps an output other than as that very array."""
    if not (isinstance(x, np.ndarray) and x.flags.c_contiguous):
        return np.array(x, order="C")  # NumPy's scalars among them, which are no arrays in memory
    start, end = _reach(x)
    for k, (low, high) in enumerate(outputs):
        if start < high and low < end and not (k in in_place and (start, end) == (low, high)):
            return np.array(x, order="C")
    return x


def compile_region(graph: Graph, width: int = 0, given: Sequence[tuple[int, ...]] | None = None) -> Kernel | None:
    """The kernel of a region graph, None if it is not one. `width`: of vectors in bits, 0 the machine's. `given`: bytes between the elements
    of each input along its axes, if they are not in C order; then only `apart` may be called.

    A region's inputs broadcast to one shape; its nodes are pointwise, casts, broadcasts, and slices and
    zero paddings along the last axis; its outputs have the full shape, or are sums, maxima or minima of
    such values over any axes.
    """
    host = machine(width)
    if host is None:
        return None
    try:
        space = space_of(expand(graph), given)
        a, count = Assembly(4), len(space.places)
        reads, writes = [a.array(k) for k in range(count)], [a.array(count + k) for k in range(len(space.graph.outputs))]
        first, end, low, high = a.counters
        body = Body(space, host, a, reads, writes, (first, end, low, high))
        a.do("ret i64 0")
        return Kernel(host.compile(a), space.constants, identities(space), _calls(space, body.lanes), in_place(space))
    except Unsupported:
        return None


def identities(space: Space) -> tuple[object, ...]:
    """What an accumulating output starts from."""
    return tuple([identity(op, space.graph.type_of(ref).dtype) if op else None for ref, op in zip(space.graph.outputs, space.reduced, strict=True)])


def _calls(space: Space, lanes: int) -> tuple[tuple[int, int, int, int], ...]:
    """(first row, end, first element, end) of each call, each of bounded work."""
    moved = sum(n.types[0].dtype.itemsize for n in [space.graph.nodes[i] for i in space.places] + [space.graph.nodes[r.node] for r in space.graph.outputs])
    elements = max(BLOCK * lanes, min(CALL_FLOPS // flops(space), CALL_BYTES // max(1, moved)))
    if space.row >= elements:
        step = elements // (BLOCK * lanes) * BLOCK * lanes
        return tuple([(r, r + 1, i, min(i + step, space.row)) for r in range(space.rows) for i in range(0, space.row, step)])
    step = max(1, elements // space.row)
    return tuple([(r, min(r + step, space.rows), 0, space.row) for r in range(0, space.rows, step)])


def in_place(space: Space) -> tuple[frozenset[int], ...]:
    """Which outputs each input may be: those walked alike, element by element, since a vector of all inputs is read before any is written."""
    arity, count = space.graph.arity, len(space.places)
    if any(n.op in ("slice", "pad") for n in space.graph.nodes):
        return (frozenset(),) * arity
    outputs = [(k, walk) for k, walk in enumerate(space.walks[count:]) if not space.reduced[k] and walk.inner == 1]
    same = [frozenset([k for k, walk in outputs if walk == space.walks[n]]) for n in range(arity)]
    return tuple(same)
