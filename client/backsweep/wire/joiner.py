"""Blocks <-> chunks of at most 1 MiB, and the joiner that puts chunks where they belong.

The joiner allocates every array once, from the outline that comes before the first block, and
copies each chunk straight into place. What a server gets wrong (a gap, an overlap, a wrong shape)
is a Fault: the answer is never silently incomplete.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep_engine.errors import Error, Fault, OverBudget
from backsweep_engine.execute.executor import Block
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis

from . import limits
from .arrays import NUMBER_OF, Array, checked_type, decode_dtype, encode_type, to_bytes

_AXES: dict[Axis, pb.Axis] = {Axis.ROW: pb.AXIS_ROW, Axis.COLUMN: pb.AXIS_COLUMN, Axis.POINT: pb.AXIS_POINT, Axis.WHOLE: pb.AXIS_WHOLE}
_AXIS_OF = {number: axis for axis, number in _AXES.items()}


@dataclass(frozen=True, slots=True)
class Outlined:
    """A part of an answer before it comes: its whole type, and along what it is cut (None: it comes in Done)."""

    type: Type
    axis: Axis | None = None


Outline = tuple[Outlined, ...]
"""The parts of one query's answer, in order."""


def encode_outline(parts: Sequence[Outlined]) -> pb.Outline:
    outline = pb.Outline()
    for part in parts:
        axis = _AXES[part.axis or Axis.WHOLE]
        outline.parts.add(type=encode_type(part.type), in_blocks=part.axis is not None, axis=axis, layout=query_pb2.LAYOUT_DENSE)
    return outline


def decode_outline(message: pb.Outline) -> Outline:
    parts = []
    for part in message.parts:
        if part.layout != query_pb2.LAYOUT_DENSE or (part.in_blocks and part.axis not in _AXIS_OF):
            _fault("a part is laid out in a way this client does not know", got=f"layout {part.layout}, axis {part.axis}")
        parts.append(Outlined(_theirs(part.type.dtype, part.type.shape), _AXIS_OF[part.axis] if part.in_blocks else None))
    return tuple(parts)


def _theirs(number: int, shape: Iterable[int]) -> Type:
    try:
        return checked_type(decode_dtype(number), shape)
    except Error as error:
        _fault(error.message, got=error.got, allowed=error.allowed)


# Block -> chunks.


def split_block(block: Block, types: Sequence[Type]) -> list[Block]:
    """A block whose rows concatenate several parts (points of several arrays), as one block per part."""
    if sum(type.size for type in types) != block.array.shape[1]:
        _fault("a block does not hold the parts it should", got=str(block.array.shape), allowed=", ".join(map(str, types)))
    blocks, at = [], 0
    for part, type in enumerate(types):
        array = block.array[:, at : at + type.size].astype(type.dtype, order="C")
        blocks.append(Block(block.query, part, block.axis, block.start, block.stop, array))
        at += type.size
    return blocks


def encode_block(block: Block, type: Type) -> Iterator[pb.BlockChunk]:
    """The chunks of a block; `type` is that of the whole part. A column block travels as [rows, columns]."""
    n = block.stop - block.start
    match block.axis:
        case Axis.WHOLE:
            shape, array = type.shape, block.array
        case Axis.COLUMN:
            shape, array = (type.shape[0], n), block.array.T
        case _:
            shape, array = (n, *type.shape[1:]), block.array
    if array.dtype != type.dtype or array.size != type.with_shape(shape).size:
        _fault("a block is not of the type of its part", got=f"{array.dtype}{list(array.shape)}", allowed=str(type.with_shape(shape)))
    data = to_bytes(array)
    for at in range(0, max(1, len(data)), limits.MAX_CHUNK_BYTES):
        yield pb.BlockChunk(
            query=block.query,
            part=block.part,
            axis=_AXES[block.axis],
            start=block.start,
            stop=block.stop,
            shape=shape,
            dtype=NUMBER_OF[type.dtype],
            offset_bytes=at,
            data=bytes(data[at : at + limits.MAX_CHUNK_BYTES]),
        )


# Chunks -> arrays.


@dataclass(slots=True)
class _Part:
    """A part on its way: its array, the ranges seen, and for those under way the bytes that have come."""

    axis: Axis
    array: Array
    ranges: list[tuple[int, int]] = field(default_factory=list)
    coming: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def extent(self) -> int:
        """How long it is along the axis."""
        return 1 if self.axis is Axis.WHOLE else self.array.shape[1 if self.axis is Axis.COLUMN else 0]

    def shape(self, start: int, stop: int) -> tuple[int, ...]:
        """The shape of a block."""
        match self.axis:
            case Axis.WHOLE:
                return self.array.shape
            case Axis.COLUMN:
                return (self.array.shape[0], stop - start)
        return (stop - start, *self.array.shape[1:])

    def write(self, start: int, width: int, offset: int, data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
        """Puts bytes of a block, from `offset` on, where they belong. `width`: of the block along the axis."""
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
    """Collects the blocks of a run into arrays. Feed it every chunk, then ask for the arrays."""

    def __init__(self, outlines: Sequence[Outline]) -> None:
        self.outlines = tuple(outlines)
        self._parts: dict[tuple[int, int], _Part] = {}
        for q, outline in enumerate(self.outlines):
            for p, part in enumerate(outline):
                if part.axis is not None:
                    self._parts[q, p] = _Part(part.axis, _allocated(part))

    def add(self, chunk: pb.BlockChunk) -> bool:
        """Takes a chunk; True if its block is whole now."""
        part = self._parts.get((chunk.query, chunk.part))
        if part is None or _AXIS_OF.get(chunk.axis) is not part.axis:
            _fault("a block belongs to no part of the answer", got=f"query {chunk.query}, part {chunk.part}, axis {chunk.axis}")
        start, stop = span = chunk.start, chunk.stop
        if not 0 <= start <= stop <= part.extent:
            _fault("a block is outside its part", got=f"{start} to {stop}", allowed=f"0 to {part.extent}")
        type = _theirs(chunk.dtype, chunk.shape)
        if type != Type(part.array.dtype, part.shape(start, stop)):
            _fault("a block is not of the type of its part", got=str(type), allowed=str(Type(part.array.dtype, part.shape(start, stop))))
        if start == stop:
            return True
        if span not in part.coming:
            _claim(part.ranges, span)
            part.coming[span] = 0
        data = np.frombuffer(chunk.data, np.uint8)
        if chunk.offset_bytes != part.coming[span] or chunk.offset_bytes + data.size > type.nbytes:
            _fault("a chunk of a block is out of order", got=f"byte {chunk.offset_bytes}, {data.size} bytes", allowed=f"byte {part.coming[span]} of {type.nbytes}")
        if part.array.dtype == np.bool_:
            _require_bools(data)
        if data.size:
            part.write(start, stop - start, chunk.offset_bytes, data)
        part.coming[span] += data.size
        return part.coming[span] == type.nbytes

    def finish(self, rest: Sequence[Sequence[Array]]) -> list[list[Array]]:
        """The arrays of each query. `rest`: for each query, in order, the arrays that came in Done."""
        if len(rest) != len(self.outlines):
            _fault("not every query was answered", got=str(len(rest)), allowed=str(len(self.outlines)))
        return [self._answer(q, arrays) for q, arrays in enumerate(rest)]

    def _answer(self, query: int, rest: Sequence[Array]) -> list[Array]:
        outline = self.outlines[query]
        if len(rest) != sum(part.axis is None for part in outline):
            _fault("an answer is not whole", got=f"{len(rest)} arrays", allowed=f"{sum(part.axis is None for part in outline)} beside the blocks")
        direct = iter(rest)
        arrays = []
        for p, part in enumerate(outline):
            if part.axis is None:
                array = next(direct)
            else:
                self._require_whole(query, p)
                array = self._parts[query, p].array
            if Type(array.dtype, array.shape) != part.type:
                _fault("an array is not of the type announced", got=f"{array.dtype}{list(array.shape)}", allowed=str(part.type))
            arrays.append(array)
        return arrays

    def _require_whole(self, query: int, number: int) -> None:
        part = self._parts[query, number]
        at = 0
        for start, stop in part.ranges:
            if start != at:
                break
            size = Type(part.array.dtype, part.shape(start, stop)).nbytes
            if part.coming[start, stop] != size:
                _fault("a block is not whole", got=f"{part.coming[start, stop]} bytes of {start} to {stop}", allowed=f"{size} bytes")
            at = stop
        if at != part.extent and part.array.size:
            _fault("a block is missing", got=f"query {query}, part {number}: nothing from {at}", allowed=f"0 to {part.extent}")


def _allocated(part: Outlined) -> Array:
    if (part.axis is Axis.COLUMN and part.type.rank != 2) or (part.axis in (Axis.ROW, Axis.POINT) and not part.type.rank):
        _fault("a part cannot be cut along its axis", got=f"{part.type} by {part.axis}")
    try:
        return np.empty(part.type.shape, part.type.dtype)
    except MemoryError:
        raise OverBudget("this machine has not the memory for the result", got=f"{part.type.nbytes} bytes for {part.type}", hint="ask for less at a time") from None


def _claim(ranges: list[tuple[int, int]], span: tuple[int, int]) -> None:
    """Adds a range to the sorted ones, if it overlaps none."""
    at = bisect.bisect(ranges, span)
    for other in ranges[max(0, at - 1) : at + 1]:
        if span[0] < other[1] and other[0] < span[1]:
            _fault("two blocks overlap", got=f"{span[0]} to {span[1]} and {other[0]} to {other[1]}", allowed="each exactly once")
    ranges.insert(at, span)


def _require_bools(data: np.ndarray[tuple[int], np.dtype[np.uint8]]) -> None:
    if data.size and int(data.max()) > 1:
        _fault("a bool is neither 0 nor 1", got=f"byte {int(data.max())}")


def _fault(message: str, *, got: str = "", allowed: str = "") -> NoReturn:
    raise Fault(f"the blocks of an answer are wrong: {message}", got=got, allowed=allowed, hint="report it, with the versions of client and server")
