"""Reductions along the row: each lane adds BLOCK vectors, blocks are set aside and added up, then the lanes pairwise.

The same for maxima and minima, whose order makes no difference. What is summed over rows, element by
element, is no concern of this module: it is added to the output where it stands.
"""

from __future__ import annotations

import numpy as np

from .assembly import ELEMENT, Dtype
from .lanes import Lanes
from .space import SUMS, Space
from .table import write

BLOCK = 128
"""Vectors summed one after the other before their sum is set aside."""


def identity(op: str, dtype: Dtype) -> object:
    """What adding, or taking the extreme with, changes nothing. -0.0, since 0.0 + -0.0 is not -0.0."""
    if op == "sum":
        return -0.0 if dtype.kind == "f" else 0
    if dtype.kind == "f":
        return -np.inf if op == "max" else np.inf
    return np.iinfo(dtype).min if op == "max" else np.iinfo(dtype).max


class Sums:
    """The accumulators of a region's reductions, by the position of their output.

    `whole`: of those over everything, `rowwise`: of those that begin anew with every row, `blocked`: of those whose order counts.
    """

    def __init__(self, space: Space, one: Lanes, many: Lanes, at_once: int) -> None:
        self.space, self.one, self.many, self.at_once, self.assembly = space, one, many, at_once, many.assembly
        walks = space.walks[len(space.places) :]
        along = [k for k, (op, walk) in enumerate(zip(space.reduced, walks, strict=True)) if op and walk.inner == 0]
        self.places = {k: [self.assembly.place(many.type(self.dtype(k))) for _ in range(at_once + 1)] for k in along}
        """one vector for each taken at once, the last for blocks set aside"""
        self.whole = [k for k in along if not any(walks[k].outer)]
        self.rowwise = [k for k in along if any(walks[k].outer)]
        self.blocked = [k for k in along if self.kind(k) == "sum"]

    def dtype(self, k: int) -> Dtype:
        return self.space.graph.type_of(self.space.graph.outputs[k]).dtype

    def kind(self, k: int) -> str:
        return self.space.reduced[k]

    def reset(self, k: int) -> None:
        dtype = self.dtype(k)
        value = self.many.constant(identity(self.kind(k), dtype), dtype)
        for place in self.places[k]:
            self.assembly.do(f"store {self.many.type(dtype)} {value}, ptr {place}")

    def combined(self, lanes: Lanes, k: int, x: str, y: str) -> str:
        return write(lanes, SUMS[self.kind(k)], self.dtype(k), [x, y], {})

    def add(self, k: int, value: str, mask: str, part: int) -> None:
        a, dtype = self.assembly, self.dtype(k)
        if mask:
            value = self.many.select(mask, dtype, value, self.many.constant(identity(self.kind(k), dtype), dtype))
        type, place = self.many.type(dtype), self.places[k][part]
        sum = self.combined(self.many, k, a.new(f"load {type}, ptr {place}"), value)
        a.do(f"store {type} {sum}, ptr {place}")

    def set_aside(self, k: int) -> None:
        """The sums of a block join those before it, and start anew."""
        a, dtype = self.assembly, self.dtype(k)
        type, (*places, last) = self.many.type(dtype), self.places[k]
        parts = [a.new(f"load {type}, ptr {p}") for p in places]
        while len(parts) > 1:
            parts = [self.combined(self.many, k, x, y) for x, y in zip(parts[::2], parts[1::2], strict=True)]
        total = self.combined(self.many, k, a.new(f"load {type}, ptr {last}"), parts[0])
        start = self.many.constant(identity(self.kind(k), dtype), dtype)
        for p in places:
            a.do(f"store {type} {start}, ptr {p}")
        a.do(f"store {type} {total}, ptr {last}")

    def set_aside_sometimes(self, row: str) -> None:
        """For sums over everything: after so many rows as make a block (a power of two)."""
        a = self.assembly
        vectors = max(1, -(-self.space.row // (self.many.lanes * self.at_once)))
        period = 1 << max(0, (BLOCK // vectors).bit_length() - 1)
        then, after = a.label(), a.label()
        a.branch(a.new(f"icmp eq i64 {a.new(f'and i64 {row}, {period - 1}')}, {period - 1}"), then, after)
        a.begin(then)
        for k in self.whole:
            self.set_aside(k)
        a.jump(after)
        a.begin(after)

    def gather(self, k: int, address: str) -> None:
        """The lanes' sums, pairwise, join the output."""
        a, dtype = self.assembly, self.dtype(k)
        self.set_aside(k)
        vector = a.new(f"load {self.many.type(dtype)}, ptr {self.places[k][-1]}")
        lanes = self.many.lanes
        while lanes > 1:
            wide, half = f"<{lanes} x {ELEMENT[dtype.name]}>", lanes // 2
            halves = [
                a.new(f"shufflevector {wide} {vector}, {wide} poison, <{half} x i32> <{', '.join(f'i32 {j}' for j in range(b, b + half))}>") for b in (0, half)
            ]
            lanes = half
            vector = self.combined(Lanes(a, self.many.machine, lanes), k, *halves) if lanes > 1 else self._pair(k, *halves)
        a.store(self.combined(self.one, k, a.load(address, dtype), vector), address, dtype)

    def _pair(self, k: int, x: str, y: str) -> str:
        element = ELEMENT[self.dtype(k).name]
        return self.combined(self.one, k, *[self.assembly.new(f"extractelement <1 x {element}> {v}, i64 0") for v in (x, y)])
