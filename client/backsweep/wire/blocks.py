"""Blocks -> chunks of at most 1 MiB, and the outline that announces them.

A part of an answer is cut along one axis. On the wire a block of columns is [rows, columns], as the
matrix is, though the engine makes it a row for each column.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep_engine.errors import Error, Fault
from backsweep_engine.execute.executor import Block
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis

from . import limits
from .arrays import NUMBER_OF, checked_type, decode_dtype, encode_type, to_bytes

AXES: dict[Axis, pb.Axis] = {
    Axis.ROW: pb.AXIS_ROW,
    Axis.COLUMN: pb.AXIS_COLUMN,
    Axis.POINT: pb.AXIS_POINT,
    Axis.WHOLE: pb.AXIS_WHOLE,
    Axis.POSITION: pb.AXIS_POSITION,
}
AXIS_OF = {number: axis for axis, number in AXES.items()}


class Part(Protocol):
    """A part of an answer before it comes: its whole type, and along what its blocks are cut."""

    @property
    def type(self) -> Type: ...

    @property
    def axis(self) -> Axis: ...


@dataclass(frozen=True, slots=True)
class Outlined:
    """A Part as it is announced. `in_blocks`: else it comes in Done. Along Axis.POSITION the matrix is sparse:
    its pattern comes before its blocks, and `type` is that of the dense matrix.
    """

    type: Type
    axis: Axis = Axis.WHOLE
    in_blocks: bool = True


Outline = tuple[Outlined, ...]
"""The parts of one query's answer, in order."""


def outlined(answers: Sequence[Sequence[Part]], most: int = limits.MAX_RESULT_BYTES) -> tuple[Outline, ...]:
    """Decides what comes in Done: of the parts that are not cut the smallest, up to `most` bytes together."""
    whole = sorted((part.type.nbytes, q, p) for q, parts in enumerate(answers) for p, part in enumerate(parts) if part.axis is Axis.WHOLE)
    sizes = itertools.accumulate(size for size, _, _ in whole)
    direct = {(q, p) for (_, q, p), total in zip(whole, sizes, strict=True) if total <= most}
    return tuple(tuple(Outlined(part.type, part.axis, (q, p) not in direct) for p, part in enumerate(parts)) for q, parts in enumerate(answers))


def encode_outline(outline: Outline) -> pb.Outline:
    message = pb.Outline()
    for part in outline:
        layout = query_pb2.LAYOUT_SPARSE if part.axis is Axis.POSITION else query_pb2.LAYOUT_DENSE
        message.parts.add(type=encode_type(part.type), in_blocks=part.in_blocks, axis=AXES[part.axis], layout=layout)
    return message


def decode_outline(message: pb.Outline) -> Outline:
    parts = []
    for part in message.parts:
        sparse = part.layout == query_pb2.LAYOUT_SPARSE
        if (not sparse and part.layout != query_pb2.LAYOUT_DENSE) or part.axis not in AXIS_OF or sparse is not (part.axis == pb.AXIS_POSITION):
            fault("a part is laid out in a way this client does not know", got=f"layout {part.layout}, axis {part.axis}")
        parts.append(Outlined(served_type(part.type.dtype, part.type.shape), AXIS_OF[part.axis], part.in_blocks))
    return tuple(parts)


def served_type(number: int, shape: Iterable[int]) -> Type:
    """A type a server sent."""
    try:
        return checked_type(decode_dtype(number), shape)
    except Error as error:
        fault(error.message, got=error.got, allowed=error.allowed)


def encode_block(block: Block, type: Type) -> Iterator[pb.BlockChunk]:
    """The chunks of a block; `type` is that of the whole part. A column block travels as [rows, columns]."""
    n = block.stop - block.start
    match block.axis:
        case Axis.WHOLE:
            shape, array = type.shape, block.array
        case Axis.COLUMN:
            shape, array = (type.shape[0], n), block.array.T
        case Axis.POSITION:
            shape, array = (n,), block.array
        case _:
            shape, array = (n, *type.shape[1:]), block.array
    if array.dtype != type.dtype or array.size != type.with_shape(shape).size:
        fault("a block is not of the type of its part", got=f"{array.dtype}{list(array.shape)}", allowed=str(type.with_shape(shape)))
    data = to_bytes(array)
    for at in range(0, max(1, len(data)), limits.MAX_CHUNK_BYTES):
        yield pb.BlockChunk(
            query=block.query,
            part=block.part,
            axis=AXES[block.axis],
            start=block.start,
            stop=block.stop,
            shape=shape,
            dtype=NUMBER_OF[type.dtype],
            offset_bytes=at,
            data=bytes(data[at : at + limits.MAX_CHUNK_BYTES]),
        )


def fault(message: str, *, got: str = "", allowed: str = "") -> NoReturn:
    """An answer that is not what it must be is never the caller's fault."""
    raise Fault(f"the blocks of an answer are wrong: {message}", got=got, allowed=allowed, hint="report it, with the versions of client and server")
