"""Whatever bytes come, decoding gives a graph or a GraphError, in bounded time."""

import random
import time
from collections import Counter
from collections.abc import Callable

import pytest

from backsweep.v1 import graph_pb2, types_pb2
from backsweep.wire import errors
from backsweep.wire.graphs import decode_graph
from backsweep_engine.errors import GraphError
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import Kind
from support import blobs

NAMES = sorted(TABLE)
ITEM_SIZES = {1: 8, 2: 4, 3: 8, 4: 4, 5: 1}
Value = graph_pb2.AttributeValue


def outcome(blob: bytes) -> str:
    """The reason it is refused for, or "graph"."""
    try:
        decode_graph(blob)
    except GraphError as error:
        return error.reason
    return "graph"


def test_every_truncation_of_a_graph_is_refused() -> None:
    # Of a graph with one function: one with several is whole again between two functions, and another graph.
    blob = blobs.small().SerializeToString()
    assert {outcome(blob[:length]) for length in range(len(blob))} == {"MALFORMED", "OP_SET"}


@pytest.mark.parametrize("base", [blobs.small, blobs.branching])
def test_mutated_bytes_give_a_graph_or_a_graph_error(base: Callable[[], graph_pb2.Graph]) -> None:
    blob, draw = base().SerializeToString(), random.Random(7)
    found: Counter[str] = Counter()
    before = time.process_time()
    for _ in range(4000):
        wrong = bytearray(blob)
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            match draw.randrange(5):
                case 0:
                    del wrong[draw.randrange(len(wrong))]
                case 1:
                    wrong.insert(draw.randrange(len(wrong)), draw.choice((0, 1, 127, 128, 255)))
                case 2:
                    wrong[draw.randrange(len(wrong))] ^= 1 << draw.randrange(8)
                case _:
                    wrong[draw.randrange(len(wrong))] = draw.choice((0, 1, 2, 3, 127, 128, 255))
        found[outcome(bytes(wrong))] += 1
    assert time.process_time() - before < 20
    assert found.keys() <= errors.TABLE.keys() | {"graph"} and not found["INTERNAL"]
    # It reached past the parser, and back.
    assert found["graph"] and found["MALFORMED"] and found["UNKNOWN_FIELD"] and found["UNKNOWN_OP"] and found["ORDER"]


def test_drawn_nodes_of_every_op_give_a_graph_or_a_graph_error() -> None:
    found: Counter[str] = Counter()
    before = time.process_time()
    for seed in range(4000):
        found[outcome(drawn(random.Random(seed)).SerializeToString())] += 1
    assert time.process_time() - before < 20
    assert min(found[kind] for kind in ("graph", "DTYPE", "SHAPE", "ATTRIBUTE", "ARITY")) > 20


def drawn(draw: random.Random) -> graph_pb2.Graph:
    """Up to three nodes of drawn ops on drawn inputs, with attributes of the right kinds and any value."""
    inputs = [
        (f"x{i}", types_pb2.Type(dtype=draw.choice((1, 1, 1, 2, 3, 4, 5)), shape=[draw.choice((0, 1, 2, 3, 3)) for _ in range(draw.randrange(4))]))  # type: ignore[arg-type]
        for i in range(draw.randrange(1, 4))
    ]
    records, nodes = [], []
    for i in range(draw.randrange(1, 4)):
        number = draw.randrange(len(NAMES))
        op = TABLE[NAMES[number]]
        arity = (draw.randrange(4) if op.arity is None else op.arity) + (draw.random() < 0.05)
        if op.attributes:
            records.append(blobs.record(**{name: value(draw, kind) for name, kind in op.attributes.items()}))
        one = draw.randrange(len(inputs) + i)
        same = draw.random() < 0.5
        nodes.append((number, [one if same else draw.randrange(len(inputs) + i) for _ in range(arity)], len(records) if op.attributes else 0))
    leaves = [blobs.function([("x", blobs.type_of(3))], [(NAMES.index(op), [0], 0)], [("", 1)]) for op in ("sin", "exp")]
    return graph_pb2.Graph(op_set=1, ops=NAMES, attributes=records, functions=[*leaves, blobs.function(inputs, nodes, [("y", len(inputs))])])


def value(draw: random.Random, kind: Kind) -> Value:
    number = draw.choice((0, 1, 2, 3, -1, 2**31, 2**62, -(2**63), 2**63 - 1))
    match kind:
        case Kind.INT:
            return Value(integer=number)
        case Kind.FLOAT:
            return Value(real=draw.choice((0.0, -1.0, float("nan"), float("inf"))))
        case Kind.BOOL:
            return Value(truth=draw.random() < 0.5)
        case Kind.TEXT:
            return Value(text=draw.choice(("", "a")))
        case Kind.INTS:
            return Value(
                ints=graph_pb2.Ints(values=[number if draw.random() < 0.1 else draw.randrange(-1, 4) for _ in range(draw.choice((0, 1, 1, 2, 3, 33)))])
            )
        case Kind.DTYPE:
            return Value(dtype=draw.randint(1, 5))  # type: ignore[arg-type]
        case Kind.ARRAY:
            dtype, shape = draw.randint(1, 5), [draw.randrange(3) for _ in range(draw.randrange(2))]
            size = ITEM_SIZES[dtype] * (shape[0] if shape else 1)
            return Value(constant=types_pb2.Array(dtype=dtype, shape=shape, data=bytes(size)))  # type: ignore[arg-type]
        case Kind.GRAPH:
            return Value(function=draw.randrange(3))
