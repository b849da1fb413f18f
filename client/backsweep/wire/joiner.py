"""The joiner: puts chunks and blocks where they belong, and knows when an answer is whole.

It allocates every array once, from the outline that comes before the first block, and copies each
chunk straight into place. A stream may break: what has come whole is kept, and the next brings the rest.
What a server gets wrong (a gap, an overlap, a wrong shape) is a Fault: an answer is never silently incomplete.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from backsweep.v1 import backsweep_pb2 as pb
from backsweep_engine.errors import OverBudget
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis
from backsweep_engine.transforms.sparsity import Pattern

from .arrays import Array
from .blocks import AXIS_OF, Outline, Outlined, fault, served_type
from .patterns import ArrivingPattern

Bytes = np.ndarray[tuple[int], np.dtype[np.uint8]]


@dataclass(slots=True)
class _Part:
    """A part on its way: its array, the ranges seen, and for those under way the bytes that have come."""

    axis: Axis
    array: Array
    ranges: list[tuple[int, int]] = field(default_factory=list)
    coming: dict[tuple[int, int], int] = field(default_factory=dict)
    staged: dict[tuple[int, int], Array] = field(default_factory=dict)
    """blocks under way of an array in Fortran order, whose columns they are not written to piece by piece"""
    not_finite: tuple[int, int] | None = None
    """the first whole block with a NaN or infinity"""

    @property
    def is_fortran(self) -> bool:
        return self.axis is Axis.COLUMN and not self.array.flags.c_contiguous

    def size(self, start: int, stop: int) -> int:
        """Bytes of a block."""
        return Type(self.array.dtype, self.shape(start, stop)).nbytes

    def end(self, start: int, stop: int) -> None:
        """The block is whole."""
        if (block := self.staged.pop((start, stop), None)) is not None:
            self.array[:, start:stop] = block
        if self.array.dtype.kind == "f" and (self.not_finite is None or start < self.not_finite[0]):
            there = self.array if self.axis is Axis.WHOLE else self.array[:, start:stop] if self.axis is Axis.COLUMN else self.array[start:stop]
            if not np.isfinite(there).all():
                self.not_finite = start, stop

    def whole(self) -> list[tuple[int, int]]:
        """Whole blocks, joined; less the one whose NaN is to be told of."""
        found: list[tuple[int, int]] = []
        for start, stop in self.ranges:
            if self.coming[start, stop] != self.size(start, stop) or (start, stop) == self.not_finite:
                continue
            if found and found[-1][1] == start:
                start = found.pop()[0]
            found.append((start, stop))
        return found

    def hold(self, ranges: Sequence[tuple[int, int]]) -> None:
        """These alone are there."""
        self.ranges, self.staged, self.not_finite = list(ranges), {}, None
        self.coming = {span: self.size(*span) for span in ranges}

    @property
    def extent(self) -> int:
        """How long it is along the axis."""
        return 1 if self.axis is Axis.WHOLE else self.array.shape[1 if self.axis is Axis.COLUMN else 0]

    def shape(self, start: int, stop: int) -> tuple[int, ...]:
        """The shape of a block."""
        match self.axis:
            case Axis.WHOLE:
                return tuple(self.array.shape)
            case Axis.COLUMN:
                return (self.array.shape[0], stop - start)
        return (stop - start, *self.array.shape[1:])

    def write(self, start: int, width: int, offset: int, data: Bytes) -> None:
        """Puts bytes of a block, from `offset` on, where they belong. `width`: of the block along the axis."""
        if self.is_fortran:
            span = start, start + width
            if span not in self.staged:
                self.staged[span] = np.empty(self.shape(*span), self.array.dtype)
            np.ravel(self.staged[span]).view(np.uint8)[offset : offset + data.size] = data
            return
        if self.axis is not Axis.COLUMN:
            at = offset + (0 if self.axis is Axis.WHOLE else start * (self.array[:1].nbytes if self.array.shape[0] else 0))
            np.ravel(self.array).view(np.uint8)[at : at + data.size] = data
            return
        # Row by row of the block: the rest of a row begun before, whole rows at once, the beginning of one.
        item = self.array.itemsize
        rows = self.array.view(np.uint8)[:, start * item : (start + width) * item]
        length = width * item
        row, column = divmod(offset, length)
        if column:
            head = min(length - column, data.size)
            rows[row, column : column + head] = data[:head]
            data, row = data[head:], row + 1
        whole = data.size // length
        rows[row : row + whole] = data[: whole * length].reshape(whole, length)
        if rest := data.size - whole * length:
            rows[row + whole, :rest] = data[whole * length :]


class Joiner:
    """Collects the blocks of a run into arrays. Feed it every chunk, then ask for the arrays.

    `allocate`: gives the array of a part, C-contiguous, or along columns in Fortran order.
    """

    def __init__(self, outlines: Sequence[Outline], allocate: Callable[[Outlined], Array] | None = None) -> None:
        self.outlines = tuple(outlines)
        self._allocate = allocate or _in_memory
        self._parts: dict[tuple[int, int], _Part] = {}
        self._patterns: dict[tuple[int, int], ArrivingPattern] = {}
        for q, outline in enumerate(self.outlines):
            for p, part in enumerate(outline):
                if part.axis is Axis.POSITION:
                    if part.type.rank != 2 or not part.in_blocks:
                        fault("a sparse part is no matrix in blocks", got=str(part.type))
                    self._patterns[q, p] = ArrivingPattern(*part.type.shape)
                elif part.in_blocks:
                    self._parts[q, p] = _Part(part.axis, self._allocated(part))

    def add_pattern(self, chunk: pb.PatternChunk) -> None:
        """Takes a chunk of a pattern; once it is whole the values of its part may come."""
        key = chunk.query, chunk.part
        if key not in self._patterns:
            fault("a pattern belongs to no sparse part of the answer", got=f"query {chunk.query}, part {chunk.part}")
        self._patterns[key].add(chunk)
        if (pattern := self._patterns[key].pattern) is not None:
            dtype = self.outlines[chunk.query][chunk.part].type.dtype
            self._parts[key] = _Part(Axis.POSITION, self._allocated(Outlined(Type(dtype, (pattern.positions,)))))

    def pattern(self, query: int) -> Pattern | None:
        """Of the sparse matrix that answers a query; None if it is answered otherwise."""
        arriving = self._patterns.get((query, 0))
        return None if arriving is None else arriving.pattern

    def add(self, chunk: pb.BlockChunk) -> bool:
        """Takes a chunk; True if its block is whole now."""
        type = served_type(chunk.dtype, chunk.shape)
        part, size = self._begun(chunk.query, chunk.part, AXIS_OF.get(chunk.axis), chunk.start, chunk.stop, type)
        span = chunk.start, chunk.stop
        data = np.frombuffer(chunk.data, np.uint8)
        at = chunk.offset_bytes
        if at != part.coming.get(span, 0) or at + data.size > size:
            fault("a chunk of a block is out of order", got=f"byte {at}, {data.size} bytes", allowed=f"byte {part.coming.get(span, 0)} of {size}")
        if part.array.dtype == np.bool_ and data.size and int(data.max()) > 1:
            fault("a bool is neither 0 nor 1", got=f"byte {int(data.max())}")
        if data.size:
            part.write(chunk.start, chunk.stop - chunk.start, at, data)
            part.coming[span] = at + data.size
        if at + data.size < size:
            return False
        if data.size:
            part.end(*span)
        return True

    def whole(self) -> list[tuple[int, int, Axis, int, int]]:
        """Ranges that need not come again: (query, part, axis, start, stop).

        Not the first block of a part with a NaN or infinity, which is noted when it is made.
        """
        return [(q, p, part.axis, *span) for (q, p), part in self._parts.items() for span in part.whole()]

    def held(self, most: int) -> tuple[list[tuple[int, int, Axis, int, int]], list[tuple[int, int]]]:
        """Between two streams: those ranges, and the whole patterns, at most `most` together. What else has come is dropped."""
        for key, arriving in self._patterns.items():
            if arriving.pattern is None:
                self._patterns[key] = ArrivingPattern(*self.outlines[key[0]][key[1]].type.shape)
        patterns = [key for key, arriving in self._patterns.items() if arriving.pattern is not None]
        ranges = self.whole()[: most - len(patterns)]
        for (q, p), part in self._parts.items():
            part.hold([(start, stop) for query, number, _, start, stop in ranges if (query, number) == (q, p)])
        return ranges, patterns

    def hold(self, query: int, number: int, start: int, stop: int) -> None:
        """A range is there already: the array of the part came with it."""
        part = self._parts[query, number]
        part.hold([*part.ranges, (start, stop)])

    def _begun(self, query: int, number: int, axis: Axis | None, start: int, stop: int, type: Type) -> tuple[_Part, int]:
        """The part a block belongs to, and the bytes of the block, which is now claimed."""
        part = self._parts.get((query, number))
        if part is None or axis is not part.axis:
            fault("a block belongs to no part of the answer", got=f"query {query}, part {number}, axis {axis}")
        if not 0 <= start <= stop <= part.extent:
            fault("a block is outside its part", got=f"{start} to {stop}", allowed=f"0 to {part.extent}")
        if type != Type(part.array.dtype, part.shape(start, stop)):
            fault("a block is not of the type of its part", got=str(type), allowed=str(Type(part.array.dtype, part.shape(start, stop))))
        if type.nbytes and (start, stop) not in part.coming:
            _claim(part.ranges, (start, stop))
            part.coming[start, stop] = 0
        return part, type.nbytes

    def _allocated(self, part: Outlined) -> Array:
        if (part.axis is Axis.COLUMN and part.type.rank != 2) or (part.axis in (Axis.ROW, Axis.POINT) and not part.type.rank):
            fault("a part cannot be cut along its axis", got=f"{part.type} by {part.axis}")
        try:
            return self._allocate(part)
        except MemoryError:
            raise OverBudget(
                "this machine has not the memory for the result", got=f"{part.type.nbytes} bytes for {part.type}", hint="ask for less at a time"
            ) from None

    def finish(self, rest: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """The arrays of each query. `rest`: for each query, in order, the arrays that came in Done."""
        if len(rest) != len(self.outlines):
            fault("not every query was answered", got=str(len(rest)), allowed=str(len(self.outlines)))
        return [self._answer(q, arrays) for q, arrays in enumerate(rest)]

    def _answer(self, query: int, rest: Sequence[Array]) -> list[Array]:
        outline = self.outlines[query]
        direct = sum(not part.in_blocks for part in outline)
        if len(rest) != direct:
            fault("an answer is not whole", got=f"{len(rest)} arrays", allowed=f"{direct} beside the blocks")
        coming = iter(rest)
        arrays = []
        for p, part in enumerate(outline):
            if not part.in_blocks:
                array = next(coming)
            else:
                self._require_whole(query, p)
                array = self._parts[query, p].array
            if part.axis is not Axis.POSITION and Type(array.dtype, array.shape) != part.type:
                fault("an array is not of the type announced", got=f"{array.dtype}{list(array.shape)}", allowed=str(part.type))
            arrays.append(array)
        return arrays

    def _require_whole(self, query: int, number: int) -> None:
        part = self._parts.get((query, number))
        if part is None:
            fault("a pattern is missing", got=f"query {query}, part {number}")
        at = 0
        for start, stop in part.ranges:
            if start != at:
                break
            size = Type(part.array.dtype, part.shape(start, stop)).nbytes
            if part.coming[start, stop] != size:
                fault("a block is not whole", got=f"{part.coming[start, stop]} bytes of {start} to {stop}", allowed=f"{size} bytes")
            at = stop
        if at != part.extent and part.array.size:
            fault("a block is missing", got=f"query {query}, part {number}: nothing from {at}", allowed=f"0 to {part.extent}")


def _in_memory(part: Outlined) -> Array:
    return np.empty(part.type.shape, part.type.dtype)


def _claim(ranges: list[tuple[int, int]], span: tuple[int, int]) -> None:
    """Adds a range to the sorted ones, if it overlaps none."""
    at = bisect.bisect(ranges, span)
    for other in ranges[max(0, at - 1) : at + 1]:
        if span[0] < other[1] and other[0] < span[1]:
            fault("two blocks overlap", got=f"{span[0]} to {span[1]} and {other[0]} to {other[1]}", allowed="each exactly once")
    ranges.insert(at, span)
