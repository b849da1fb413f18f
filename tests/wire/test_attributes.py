"""Attributes keep their kind and their bits, whatever Python thinks is equal."""

import struct

import numpy as np
import pytest

from backsweep.v1 import graph_pb2 as pb
from backsweep.wire.attributes import FunctionRef, decode_record, encode_record
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Attribute, Builder, Graph, Type, attributes_key

NAN = struct.unpack("<d", b"\x2a\0\0\0\0\0\xf8\x7f")[0]


def empty() -> Graph:
    builder = Builder()
    return builder.build([("", builder.input("x", Type(np.dtype("float64"))))])


VALUES: list[tuple[Attribute, str]] = [
    (True, "truth"),
    (False, "truth"),
    (1, "integer"),
    (0, "integer"),
    (-(2**63), "integer"),
    (2**63 - 1, "integer"),
    (1.0, "real"),
    (0.0, "real"),
    (-0.0, "real"),
    (float("-inf"), "real"),
    (NAN, "real"),
    ("", "text"),
    ("é" * 128, "text"),
    ((), "ints"),
    ((1, -1, 2**63 - 1), "ints"),
    (np.dtype("bool"), "dtype"),
    (np.array(1.0), "constant"),
    (np.array([[True], [False]]), "constant"),
    (np.zeros((0, 2), "int32"), "constant"),
    (np.arange(128.0), "constant"),
]


@pytest.mark.parametrize("value, kind", VALUES, ids=lambda value: repr(value)[:24])
def test_an_attribute_survives_the_wire(value: Attribute, kind: str) -> None:
    message = pb.AttributeRecord.FromString(encode_record((("a", value),), lambda graph: 0).SerializeToString())
    assert message.value[0].WhichOneof("value") == kind
    pairs = decode_record(message)
    assert attributes_key(pairs) == attributes_key((("a", value),))


def test_a_graph_becomes_the_index_of_its_function() -> None:
    message = encode_record((("then", empty()),), lambda graph: 7)
    assert decode_record(message) == (("then", FunctionRef(7)),)


def test_names_are_written_sorted() -> None:
    message = encode_record((("b", 1), ("a_2", 2), ("a", 3)), lambda graph: 0)
    assert list(message.name) == ["a", "a_2", "b"] and decode_record(message) == (("a", 3), ("a_2", 2), ("b", 1))


@pytest.mark.parametrize(
    "value, reason",
    [(2**63, "ATTRIBUTE"), (-(2**63) - 1, "ATTRIBUTE"), ((1, 2**63), "ATTRIBUTE"), (None, "ATTRIBUTE"), ("a" * 257, "TOO_LARGE"), ("\ud800", "MALFORMED")],
    ids=lambda value: repr(value)[:24],
)
def test_an_attribute_no_graph_can_hold_is_not_written(value: Attribute, reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        encode_record((("a", value),), lambda graph: 0)
    assert caught.value.reason == reason


def test_a_record_of_17_attributes_is_not_written() -> None:
    with pytest.raises(GraphError) as caught:
        encode_record(tuple((f"a{k}", k) for k in range(17)), lambda graph: 0)
    assert caught.value.reason == "TOO_LARGE"
