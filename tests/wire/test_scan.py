"""The bytes of a graph are refused before they are parsed: counts over the limits, broken, or unknown fields."""

import time
import tracemalloc

import pytest
from google.protobuf.descriptor import Descriptor

from backsweep.v1 import backsweep_pb2, graph_pb2, query_pb2, types_pb2
from backsweep.wire import limits, scan
from backsweep.wire.graphs import decode_graph, encode_graph
from backsweep.wire.scan import refuse_unknown, scan_graph
from backsweep_engine.errors import GraphError
from support import blobs

SMALL = blobs.small().SerializeToString()


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out += bytes([number & 127 | 128])
        number >>= 7
    return out + bytes([number])


def field(number: int, payload: bytes) -> bytes:
    """A field with a length, as strings, messages and packed columns are."""
    return varint(number << 3 | 2) + varint(len(payload)) + payload


def function(payload: bytes) -> bytes:
    return field(4, payload)


def refused(blob: bytes) -> GraphError:
    with pytest.raises(GraphError) as caught:
        scan_graph(blob)
    return caught.value


MANY = [
    ("the blob", bytes(limits.MAX_GRAPH_BYTES + 1), "max_graph_bytes"),
    ("op names", field(2, b"") * 4097, "op names"),
    ("attribute records", field(3, b"") * 20_001, "attribute records"),
    ("functions", function(b"") * 4097, "functions"),
    ("inputs of a function", function(field(1, b"") * 4097), "inputs of a function"),
    ("nodes", function(field(2, bytes(100_001))), "max_nodes"),
    ("nodes in several functions", function(field(2, bytes(60_000))) * 2, "max_nodes"),
    ("nodes with inputs counted", function(field(1, b"") * 4096) * 25, "max_nodes"),
    ("nodes that are not packed", function(b"\x10\x01" * 100_001), "max_nodes"),
    ("operand counts", function(field(3, bytes(100_001))), "operand counts"),
    ("operands", function(field(4, bytes(1_000_001))), "operands"),
    ("operand results", function(field(5, bytes(1_000_001))), "operand results"),
    ("attribute indices", function(field(6, bytes(100_001))), "attributes of nodes"),
    ("outputs of a function", function(field(7, b"") * 4097), "outputs of a function"),
    ("outputs of all functions", function(field(7, b"") * 4096) * 25, "outputs"),
    ("output nodes", function(field(8, bytes(4097))), "output nodes of a function"),
    ("output results", function(field(9, bytes(4097))), "output results of a function"),
    ("attributes of a record", field(3, field(1, b"a") * 17), "attributes of a record"),
    ("values of a record", field(3, field(2, b"") * 17), "attribute values of a record"),
    ("bytes of a text", field(3, field(2, field(4, b"a" * 257))), "bytes of a text attribute"),
    ("integers of a list", field(3, field(2, field(5, field(1, bytes(4097))))), "integers of a list"),
    ("bytes of a constant", field(3, field(2, field(6, field(3, bytes(1025))))), "max_constant_bytes"),
    ("axes of a constant", field(3, field(2, field(6, field(2, bytes(33))))), "axes of a shape"),
    ("axes of an input", function(field(1, field(2, field(2, bytes(33))))), "axes of a shape"),
    ("bytes of a name", function(field(1, field(1, b"a" * 257))), "bytes of a name"),
]


@pytest.mark.parametrize("blob, name", [pytest.param(blob, name, id=sentence) for sentence, blob, name in MANY])
def test_too_many_of_these_are_too_large(blob: bytes, name: str) -> None:
    error = refused(blob)
    assert (error.reason, error.name) == ("TOO_LARGE", name)
    assert int(error.got) > int(error.allowed.removeprefix("at most "))


def test_hostile_submessages_are_refused_without_memory_and_soon() -> None:
    blob = field(3, b"") * (limits.MAX_GRAPH_BYTES // 2)
    tracemalloc.start()
    before = time.process_time()
    refused(blob)
    assert time.process_time() - before < 1.0
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


BROKEN = [
    ("a field that ends after the blob", b"\x12\x05sin", ""),
    ("a message that ends after its own", function(b"\x12\x05\x01"), ""),
    ("a number without an end", b"\x08\x80", ""),
    ("a number of more than 64 bits", b"\x08" + b"\xff" * 11, ""),
    ("a column that ends inside a number", function(field(2, b"\x80")), ""),
    ("a text where a number is due", field(1, b"a"), ""),
    ("a number where a text is due", b"\x10\x01", ""),
    ("a double cut short", field(3, field(2, b"\x11\0\0\0")), ""),
    ("a field numbered 0", b"\x00\x00", ""),
    ("op_set twice", b"\x08\x01\x08\x01", ""),
    ("two values of one attribute", field(3, field(2, b"\x08\x01\x18\x01")), ""),
    ("a type twice", function(field(1, field(2, b"") * 2)), ""),
    ("text", b"not a graph at all\xff\xff", "UNKNOWN_FIELD"),
]


@pytest.mark.parametrize("blob, reason", [pytest.param(blob, reason, id=sentence) for sentence, blob, reason in BROKEN])
def test_broken_bytes_are_refused_for(blob: bytes, reason: str) -> None:
    assert refused(blob).reason in ("MALFORMED", reason)


UNKNOWN = [
    ("a graph", SMALL + b"\x78\x01"),
    ("a graph, by a length", SMALL + field(99, b"new")),
    ("a function", function(b"\x78\x01")),
    ("an input", function(field(1, b"\x78\x01"))),
    ("a type", function(field(1, field(2, b"\x78\x01")))),
    ("an attribute record", field(3, b"\x78\x01")),
    ("an attribute", field(3, field(2, b"\x78\x01"))),
    ("a list of integers", field(3, field(2, field(5, b"\x78\x01")))),
    ("a constant", field(3, field(2, field(6, b"\x78\x01")))),
]


@pytest.mark.parametrize("blob", [pytest.param(blob, id=sentence) for sentence, blob in UNKNOWN])
def test_an_unknown_field_is_refused_in(blob: bytes) -> None:
    error = refused(blob)
    assert error.reason == "UNKNOWN_FIELD" and error.got.startswith(("field 15", "field 99"))


def test_every_repeated_field_of_a_graph_has_a_limit() -> None:
    todo, seen = [graph_pb2.Graph.DESCRIPTOR], set()
    while todo:
        descriptor: Descriptor = todo.pop()
        seen.add(descriptor.name)
        for one in descriptor.fields:
            assert not one.is_repeated or f"{descriptor.name}.{one.name}" in scan._LIMITS
            assert one.type in scan._NUMBERS or one.type in (one.TYPE_STRING, one.TYPE_BYTES, one.TYPE_MESSAGE, one.TYPE_DOUBLE)
            if one.message_type is not None and one.message_type.name not in seen:
                todo.append(one.message_type)
    assert seen == {"Graph", "AttributeRecord", "AttributeValue", "Ints", "Array", "Function", "Input", "Type"}


def test_the_scan_passes_what_the_encoder_writes() -> None:
    for message in (blobs.small(), blobs.branching()):
        blob = encode_graph(decode_graph(message.SerializeToString()))
        scan_graph(blob)


def test_columns_that_are_not_packed_are_read_as_well() -> None:
    # Proto3 parsers accept both; some encoders write the plain form.
    body = field(1, field(1, b"x") + field(2, b"\x08\x01")) + b"\x10\x00\x18\x01\x20\x00\x28\x00\x30\x00" + field(7, b"") + b"\x40\x01\x48\x00"
    graph = decode_graph(b"\x08\x01" + field(2, b"sin") + function(body))
    assert [node.op for node in graph.nodes] == ["input", "sin"]


# Parsed messages: queries and bindings.


def test_known_queries_pass() -> None:
    message = query_pb2.Query(wrt=["x"], jvp=query_pb2.Jvp(tangents=[query_pb2.Binding(input="x", inline=types_pb2.Array(dtype=blobs.FLOAT64))]))
    refuse_unknown(message)


@pytest.mark.parametrize(
    "message, payload",
    [
        (query_pb2.Query(), b"\xf8\x01\x01"),
        (query_pb2.Query(), field(14, b"\x78\x01")),
        (query_pb2.Query(), field(11, field(1, b"\x78\x01"))),
        (query_pb2.Query(), field(11, field(1, field(2, b"\x78\x01")))),
        (query_pb2.Query(), field(17, field(2, field(1, field(3, field(3, b"\x78\x01")))))),
        (query_pb2.Binding(), b"\x78\x01"),
    ],
    ids=["a query", "what it asks", "a tangent", "the array of a tangent", "a digest deep inside", "a binding"],
)
def test_an_unknown_field_is_found_in_a_parsed(message: query_pb2.Query | query_pb2.Binding, payload: bytes) -> None:
    message.MergeFromString(payload)
    with pytest.raises(GraphError) as caught:
        refuse_unknown(message)
    assert caught.value.reason == "UNKNOWN_FIELD"


@pytest.mark.parametrize("payload, name", [(b"\x18\x63", "layout"), (field(14, b"\x08\x63"), "mode")])
def test_an_unknown_enum_value_is_found_in_a_parsed_query(payload: bytes, name: str) -> None:
    with pytest.raises(GraphError) as caught:
        refuse_unknown(query_pb2.Query.FromString(payload))
    assert (caught.value.reason, caught.value.name, caught.value.got) == ("UNKNOWN_FIELD", name, "99")


def test_unknown_fields_elsewhere_are_no_error() -> None:
    assert backsweep_pb2.RunRequest.FromString(b"\xf8\x01\x01") is not None
