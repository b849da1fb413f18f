"""Patterns arrive in chunks of any size before their values, and what is no pattern is a fault of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep.wire import limits
from backsweep.wire.blocks import Outlined, decode_outline, encode_block, encode_outline
from backsweep.wire.joiner import Joiner
from backsweep.wire.patterns import checked_pattern, encode_pattern
from backsweep_engine.errors import Fault
from backsweep_engine.execute.executor import Block
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis
from backsweep_engine.transforms.sparsity import Pattern

F64 = np.dtype("float64")
PATTERN = Pattern(3, 4, np.array([0, 2, 2, 5]), np.array([1, 3, 0, 2, 3]))
VALUES = np.array([1.0, -0.0, 3.0, np.nan, 5.0])
SPARSE = Outlined(Type(F64, (3, 4)), Axis.POSITION)


def _sent(message: Any) -> Any:
    return type(message).FromString(message.SerializeToString())


def _blocks(width: int) -> list[Block]:
    return [Block(0, 0, Axis.POSITION, k, min(k + width, 5), VALUES[k : k + width]) for k in range(0, 5, width)]


@pytest.mark.parametrize("size", [1, 7, 8, 24, 1 << 20], ids=lambda size: f"{size} bytes a chunk")
@pytest.mark.parametrize("width", [1, 2, 5])
def test_a_pattern_and_values_in_chunks_are_the_sparse_matrix(size: int, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CHUNK_BYTES", size)
    joiner = Joiner([(SPARSE,)])
    for piece in encode_pattern(0, 0, PATTERN):
        assert len(piece.data) <= size
        joiner.add_pattern(_sent(piece))
    for block in reversed(_blocks(width)):
        for chunk in encode_block(block, SPARSE.type):
            joiner.add(_sent(chunk))
    (((values,),), pattern) = joiner.finish([[]]), joiner.pattern(0)
    assert values.tobytes() == VALUES.tobytes()
    assert pattern is not None
    assert (pattern.indptr.tolist(), pattern.indices.tolist()) == (PATTERN.indptr.tolist(), PATTERN.indices.tolist())


def test_a_matrix_without_any_position_is_whole_with_its_pattern() -> None:
    joiner = Joiner([(SPARSE,)])
    for piece in encode_pattern(0, 0, Pattern(3, 4, np.zeros(4, np.int64), np.zeros(0, np.int64))):
        joiner.add_pattern(_sent(piece))
    assert joiner.finish([[]])[0][0].size == 0


def test_a_sparse_part_is_announced_with_the_type_of_the_dense_matrix() -> None:
    message = _sent(encode_outline((SPARSE,)))
    (part,) = message.parts
    assert (part.layout, part.axis, list(part.type.shape)) == (query_pb2.LAYOUT_SPARSE, pb.AXIS_POSITION, [3, 4])
    assert decode_outline(message) == (SPARSE,)


def _chunks() -> list[pb.PatternChunk]:
    return list(encode_pattern(0, 0, PATTERN))


def _arrive(*chunks: pb.PatternChunk) -> None:
    joiner = Joiner([(SPARSE,)])
    for chunk in chunks:
        joiner.add_pattern(chunk)
    joiner.finish([[]])


def _changed(number: int, **fields: Any) -> pb.PatternChunk:
    chunk = _chunks()[number]
    for name, value in fields.items():
        setattr(chunk, name, value)
    return chunk


def _with(indptr: Any, indices: Any) -> Callable[[], Any]:
    return lambda: checked_pattern(3, 4, np.array(indptr), np.array(indices, np.int64))


WRONG: dict[str, Callable[[], Any]] = {
    "of another matrix": lambda: _arrive(_changed(0, rows=4)),
    "of no such part": lambda: _arrive(_changed(0, part=1)),
    "of no such array": lambda: _arrive(_changed(0, array=pb.PATTERN_ARRAY_UNSPECIFIED)),
    "indices first": lambda: _arrive(_chunks()[1]),
    "sent twice": lambda: _arrive(*_chunks(), _chunks()[1]),
    "with a gap": lambda: _arrive(_changed(0, offset_bytes=8)),
    "with more positions than entries": lambda: _arrive(_changed(0, positions=13)),
    "with another number of positions": lambda: _arrive(_chunks()[0], _changed(1, positions=4)),
    "never sent": lambda: _arrive(),
    "half sent": lambda: _arrive(_chunks()[0]),
    "without values": lambda: _arrive(*_chunks()),
    "falling": _with([0, 2, 1, 5], [1, 3, 0, 2, 3]),
    "not from 0": _with([1, 2, 2, 5], [1, 3, 0, 2, 3]),
    "not to its end": _with([0, 2, 2, 4], [1, 3, 0, 2, 3]),
    "outside the matrix": _with([0, 2, 2, 5], [1, 4, 0, 2, 3]),
    "with a negative column": _with([0, 2, 2, 5], [-1, 3, 0, 2, 3]),
    "not sorted": _with([0, 2, 2, 5], [3, 1, 0, 2, 3]),
    "with a column twice": _with([0, 2, 2, 5], [1, 3, 0, 2, 2]),
    "of too few rows": _with([0, 2, 5], [1, 3, 0, 2, 3]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_pattern_is_a_fault(name: str) -> None:
    with pytest.raises(Fault):
        WRONG[name]()


def test_rows_may_fall_from_one_to_the_next() -> None:
    assert checked_pattern(3, 4, np.array([0, 2, 2, 4]), np.array([2, 3, 0, 1])).positions == 4
