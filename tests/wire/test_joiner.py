"""Blocks arrive in any order, in chunks of any size, and fill their place exactly once."""

import random
from collections.abc import Callable, Iterable

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep.wire import blocks, limits
from backsweep.wire.blocks import Outlined, decode_outline, encode_block, encode_outline, outlined
from backsweep.wire.joiner import Joiner
from backsweep_engine.errors import Fault
from backsweep_engine.execute.executor import Block
from backsweep_engine.graph import Type
from backsweep_engine.plan.plan import Axis

RNG = np.random.default_rng(3)
F64 = np.dtype("float64")


def cut(array: np.ndarray, axis: Axis, width: int) -> list[Block]:
    """The blocks an engine would make of a matrix, or of a stack of points."""
    rows = array.T if axis is Axis.COLUMN else array
    starts = range(0, len(rows), width)
    return [Block(0, 0, axis, k, min(k + width, len(rows)), np.ascontiguousarray(rows[k : k + width])) for k in starts]


def of(array: np.ndarray) -> Type:
    return Type(array.dtype, array.shape)


def joined(array: np.ndarray, axis: Axis, chunks: Iterable[pb.BlockChunk]) -> np.ndarray:
    joiner = Joiner([(Outlined(of(array), axis),)])
    for chunk in chunks:
        joiner.add(pb.BlockChunk.FromString(chunk.SerializeToString()))
    return joiner.finish([[]])[0][0]


MATRICES = [
    (RNG.random((7, 5)), Axis.ROW),
    (RNG.random((7, 5)), Axis.COLUMN),
    (RNG.random((1, 1)), Axis.COLUMN),
    (RNG.random((9, 4)).astype("float32"), Axis.COLUMN),
    (RNG.random((5, 2, 3)), Axis.POINT),
    (RNG.random(6), Axis.POINT),
    (RNG.integers(0, 2, (6, 3)).astype(bool), Axis.POINT),
    (RNG.integers(-9, 9, (6, 3)), Axis.POINT),
    (np.zeros((0, 3)), Axis.ROW),
    (np.zeros((3, 0)), Axis.ROW),
    (np.zeros((3, 0)), Axis.COLUMN),
    (np.zeros((0, 3)), Axis.COLUMN),
]


@pytest.mark.parametrize("array, axis", MATRICES, ids=lambda value: str(getattr(value, "shape", value)))
@pytest.mark.parametrize("width", [1, 2, 100])
@pytest.mark.parametrize("size", [1, 5, 8, 24, 1 << 20], ids=lambda size: f"{size} bytes a chunk")
def test_blocks_are_joined_from_chunks_of_any_size(array: np.ndarray, axis: Axis, width: int, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MAX_CHUNK_BYTES", size)
    chunks = [list(encode_block(block, of(array))) for block in cut(array, axis, width)]
    random.Random(1).shuffle(chunks)
    result = joined(array, axis, [chunk for block in chunks for chunk in block])
    assert result.dtype == array.dtype and result.tobytes() == array.tobytes()
    assert result.flags.writeable and result.flags.c_contiguous and result.flags.owndata


def test_chunks_of_different_blocks_may_come_in_between() -> None:
    array = RNG.random((300, 3000))
    streams = [list(encode_block(block, of(array))) for block in cut(array, Axis.COLUMN, 1000)]
    assert all(len(stream) == 3 and all(len(c.data) <= limits.MAX_CHUNK_BYTES for c in stream) for stream in streams)
    mixed = [stream[k] for k in range(3) for stream in streams]
    assert joined(array, Axis.COLUMN, mixed).tobytes() == array.tobytes()


def test_a_block_of_columns_travels_as_rows_by_columns() -> None:
    array = np.arange(6.0).reshape(3, 2)
    (chunk,) = encode_block(cut(array, Axis.COLUMN, 1)[1], of(array))
    assert (chunk.axis, chunk.start, chunk.stop, list(chunk.shape)) == (pb.AXIS_COLUMN, 1, 2, [3, 1])
    assert np.array_equal(np.frombuffer(chunk.data), array[:, 1])


@pytest.mark.parametrize("array", [np.array(2.5), RNG.random((2, 3)), np.zeros((0,)), np.array([True])])
def test_a_whole_part_is_one_block_from_0_to_1(array: np.ndarray) -> None:
    chunks = list(encode_block(Block(0, 0, Axis.WHOLE, 0, 1, array), of(array)))
    assert [(c.axis, c.start, c.stop, tuple(c.shape)) for c in chunks] == [(pb.AXIS_WHOLE, 0, 1, array.shape)]
    assert np.array_equal(joined(array, Axis.WHOLE, chunks), array)


def test_several_queries_and_parts_find_their_places() -> None:
    outlines = [(Outlined(Type(F64), in_blocks=False), Outlined(Type(F64, (2,)))), (), (Outlined(Type(F64, (2, 2)), Axis.ROW),)]
    joiner = Joiner(outlines)
    blocks = [
        Block(2, 0, Axis.ROW, 1, 2, np.array([[3.0, 4.0]])),
        Block(0, 1, Axis.WHOLE, 0, 1, np.array([5.0, 6.0])),
        Block(2, 0, Axis.ROW, 0, 1, np.array([[1.0, 2.0]])),
    ]
    for block in blocks:
        for one in encode_block(block, outlines[block.query][block.part].type):
            joiner.add(one)
    found = joiner.finish([[np.array(7.0)], [], []])
    assert [[array.tolist() for array in arrays] for arrays in found] == [[7.0, [5.0, 6.0]], [], [[[1.0, 2.0], [3.0, 4.0]]]]


# What a server can get wrong.

MATRIX = np.arange(12.0).reshape(4, 3)


def chunk(**changes: object) -> pb.BlockChunk:
    """The first two rows of the matrix, with changes."""
    (one,) = encode_block(cut(MATRIX, Axis.ROW, 2)[0], of(MATRIX))
    for name, value in changes.items():
        if name == "shape":
            one.ClearField("shape")
            one.shape.extend(value)  # type: ignore[arg-type]
        else:
            setattr(one, name, value)
    return one


WRONG = [
    ("of a query that is not there", lambda: [chunk(query=1)]),
    ("of a part that is not there", lambda: [chunk(part=1)]),
    ("along another axis", lambda: [chunk(axis=pb.AXIS_COLUMN)]),
    ("along an axis that is not known", lambda: [chunk(axis=77)]),
    ("before the part", lambda: [chunk(start=-1, stop=1)]),
    ("behind the part", lambda: [chunk(start=3, stop=5)]),
    ("that ends before it starts", lambda: [chunk(start=2, stop=1, shape=[0, 3], data=b"")]),
    ("of another dtype", lambda: [chunk(dtype=2)]),
    ("of no dtype", lambda: [chunk(dtype=0)]),
    ("of another shape", lambda: [chunk(shape=[3, 2])]),
    ("of a negative shape", lambda: [chunk(shape=[-2, -3])]),
    ("with too many bytes", lambda: [chunk(data=bytes(49))]),
    ("that begins in its middle", lambda: [chunk(offset_bytes=8, data=bytes(40))]),
    ("at a negative offset", lambda: [chunk(offset_bytes=-8)]),
    ("with a gap between chunks", lambda: [chunk(data=bytes(8)), chunk(offset_bytes=16, data=bytes(32))]),
    ("with a chunk twice", lambda: [chunk(data=bytes(8)), chunk(data=bytes(8))]),
    ("that comes twice", lambda: [chunk(), chunk()]),
    ("that overlaps another", lambda: [chunk(), chunk(start=1, stop=3)]),
    ("that holds another", lambda: [chunk(start=1, stop=2, shape=[1, 3], data=bytes(24)), chunk(start=0, stop=3, shape=[3, 3], data=bytes(72))]),
]


@pytest.mark.parametrize("chunks", [pytest.param(chunks, id=sentence) for sentence, chunks in WRONG])
def test_a_block_is_a_fault(chunks: Callable[[], list[pb.BlockChunk]]) -> None:
    joiner = Joiner([(Outlined(of(MATRIX), Axis.ROW),)])
    *right, wrong = chunks()
    for one in right:
        joiner.add(one)
    with pytest.raises(Fault):
        joiner.add(wrong)


def test_a_bool_of_two_is_a_fault() -> None:
    array = np.array([True, False])
    (one,) = encode_block(Block(0, 0, Axis.WHOLE, 0, 1, array), of(array))
    one.data = b"\1\2"
    with pytest.raises(Fault):
        joined(array, Axis.WHOLE, [one])


@pytest.mark.parametrize("come", [[], [0], [1], [0, 2]], ids=str)
def test_a_missing_block_is_a_fault(come: list[int]) -> None:
    parts = cut(MATRIX, Axis.ROW, 1)
    with pytest.raises(Fault, match="missing"):
        joined(MATRIX, Axis.ROW, [c for k in come for c in encode_block(parts[k], of(MATRIX))])


def test_a_block_cut_short_is_a_fault() -> None:
    with pytest.raises(Fault, match="not whole"):
        joined(MATRIX, Axis.ROW, [chunk(data=bytes(40))])


@pytest.mark.parametrize("rest", [[], [[], []], [[np.array(1.0)]]], ids=["none", "too many", "one too many"])
def test_an_answer_with_other_arrays_than_announced_is_a_fault(rest: list[list[np.ndarray]]) -> None:
    with pytest.raises(Fault):
        Joiner([()]).finish(rest)
    with pytest.raises(Fault):
        Joiner([(Outlined(Type(F64, (2,)), in_blocks=False),)]).finish([[np.array(1.0)]])


def test_a_block_that_is_not_of_its_part_is_never_sent() -> None:
    for wrong in (np.zeros((2, 4)), np.zeros((2, 3), "float32")):
        with pytest.raises(Fault):
            list(encode_block(Block(0, 0, Axis.ROW, 0, 2, wrong), of(MATRIX)))


# Outlines.


def test_an_outline_survives_the_wire() -> None:
    outline = (Outlined(Type(F64)), Outlined(Type(F64, (2, 3)), Axis.COLUMN), Outlined(Type(F64, (0,)), in_blocks=False))
    assert decode_outline(pb.Outline.FromString(encode_outline(outline).SerializeToString())) == outline


def test_what_is_not_cut_and_small_comes_in_done() -> None:
    parts = [[Outlined(Type(F64, (n,))) for n in (300, 10, 200)], [Outlined(Type(F64, (2, 2)), Axis.ROW)], []]
    assert [[part.in_blocks for part in outline] for outline in outlined(parts, most=8 * 210)] == [[True, False, False], [True], []]
    assert [[part.in_blocks for part in outline] for outline in outlined(parts)] == [[False, False, False], [True], []]


@pytest.mark.parametrize("change", [{"layout": query_pb2.LAYOUT_SPARSE}, {"axis": pb.AXIS_POSITION}, {"axis": 0}, {"type": None}], ids=str)
def test_an_outline_this_client_does_not_know_is_a_fault(change: dict[str, object]) -> None:
    message = encode_outline((Outlined(Type(F64, (2,))),))
    for name, value in change.items():
        if value is None:
            message.parts[0].ClearField(name)  # type: ignore[arg-type]
        else:
            setattr(message.parts[0], name, value)
    with pytest.raises(Fault):
        decode_outline(message)


def test_a_part_that_cannot_be_cut_is_a_fault() -> None:
    for type, axis in ((Type(F64), Axis.ROW), (Type(F64, (2,)), Axis.COLUMN), (Type(F64, (2, 2, 2)), Axis.COLUMN)):
        with pytest.raises(Fault):
            Joiner([(Outlined(type, axis),)])


def test_every_axis_of_the_engine_has_its_number() -> None:
    assert set(blocks.AXES) == set(Axis)
