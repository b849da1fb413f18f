"""What is refused before, and beside, parsing: sizes of a graph's blob, and unknown fields.

Parsing a few megabytes of hostile submessages costs many times their size in memory, so the bytes
of a graph are walked first, counting what the limits bound. The walk knows the schema from the
generated descriptors; it recurses over message types, never over nodes. In a schema with no
recursive types that is five deep.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import NoReturn, cast

import numpy as np
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from backsweep.v1 import graph_pb2
from backsweep_engine.errors import GraphError

from . import limits

_VARINT, _I64, _LEN = 0, 1, 2
_NUMBERS = {FieldDescriptor.TYPE_UINT32, FieldDescriptor.TYPE_INT64, FieldDescriptor.TYPE_SINT64, FieldDescriptor.TYPE_BOOL, FieldDescriptor.TYPE_ENUM}


@dataclass(frozen=True, slots=True)
class _Limit:
    """At most `most` of what `name` counts (elements of a repeated field, bytes of a single one)."""

    most: int
    name: str
    whole: bool = False
    """In the whole blob; else in one message."""


_LIMITS: dict[str, tuple[_Limit, ...]] = {
    "Graph.ops": (_Limit(limits.MAX_OPS, "op names"),),
    "Graph.attributes": (_Limit(limits.MAX_ATTRIBUTE_RECORDS, "attribute records"),),
    "Graph.functions": (_Limit(limits.MAX_FUNCTIONS, "functions"),),
    "Function.inputs": (_Limit(limits.MAX_INPUTS, "inputs of a function"), _Limit(limits.MAX_NODES, "max_nodes", whole=True)),
    "Function.op": (_Limit(limits.MAX_NODES, "max_nodes", whole=True),),
    "Function.operand_count": (_Limit(limits.MAX_NODES, "operand counts", whole=True),),
    "Function.operand_node": (_Limit(limits.MAX_OPERANDS, "operands", whole=True),),
    "Function.operand_result": (_Limit(limits.MAX_OPERANDS, "operand results", whole=True),),
    "Function.attribute": (_Limit(limits.MAX_NODES, "attributes of nodes", whole=True),),
    "Function.output_name": (_Limit(limits.MAX_OUTPUTS, "outputs of a function"), _Limit(limits.MAX_ALL_OUTPUTS, "outputs", whole=True)),
    "Function.output_node": (_Limit(limits.MAX_OUTPUTS, "output nodes of a function"),),
    "Function.output_result": (_Limit(limits.MAX_OUTPUTS, "output results of a function"),),
    "AttributeRecord.name": (_Limit(limits.MAX_ATTRIBUTES, "attributes of a record"),),
    "AttributeRecord.value": (_Limit(limits.MAX_ATTRIBUTES, "attribute values of a record"),),
    "AttributeValue.text": (_Limit(limits.MAX_TEXT_BYTES, "bytes of a text attribute"),),
    "Ints.values": (_Limit(limits.MAX_INTS, "integers of a list"),),
    "Type.shape": (_Limit(limits.MAX_RANK, "axes of a shape"),),
    "Array.shape": (_Limit(limits.MAX_RANK, "axes of a shape"),),
    "Array.data": (_Limit(limits.MAX_CONSTANT_BYTES, "max_constant_bytes"),),
    "Input.name": (_Limit(limits.MAX_NAME_BYTES, "bytes of a name"),),
}
"""Every repeated field of a graph stands here, and every single one that may be long: a test compares."""


@dataclass(frozen=True, slots=True)
class _Field:
    """A field of the schema: how it is read, what bounds it, and its bit among those that come once."""

    name: str
    wires: tuple[int, ...]
    packed: bool
    message: Descriptor | None
    limits: tuple[_Limit, ...]
    repeated: bool
    bit: int


@cache
def _schema(descriptor: Descriptor) -> dict[int, _Field]:
    fields: dict[int, _Field] = {}
    for field in descriptor.fields:
        number = field.type in _NUMBERS
        single = (_VARINT,) if number else (_I64,) if field.type == FieldDescriptor.TYPE_DOUBLE else (_LEN,)
        # The members of a oneof share a bit: two of them are as wrong as one twice.
        bit = 0 if field.is_repeated else 1 << (field.number if field.containing_oneof is None else 32 + field.containing_oneof.index)
        name = f"{descriptor.name}.{field.name}"
        wires = (_LEN, *single) if number and field.is_repeated else single
        fields[field.number] = _Field(name, wires, number and field.is_repeated, field.message_type, _LIMITS.get(name, ()), field.is_repeated, bit)
    return fields


def scan_graph(blob: bytes) -> None:
    """Refuses a graph's bytes that are over a limit, broken, or hold an unknown field. Allocates nothing."""
    if len(blob) > limits.MAX_GRAPH_BYTES:
        _too_large("max_graph_bytes", len(blob), limits.MAX_GRAPH_BYTES)
    _message(blob, 0, len(blob), cast(Descriptor, graph_pb2.Graph.DESCRIPTOR), {})


def _message(data: bytes, at: int, end: int, descriptor: Descriptor, totals: dict[str, int]) -> None:
    schema = _schema(descriptor)
    counts: dict[str, int] = {}
    seen = 0
    while at < end:
        tag, at = _varint(data, at, end)
        field = schema.get(tag >> 3)
        if field is None and (tag < 8 or tag & 7 in (6, 7)):
            _malformed("no field begins like this", at, got=f"tag {tag}")
        if field is None:
            raise GraphError(
                f"{descriptor.name} has an unknown field",
                reason="UNKNOWN_FIELD",
                name=descriptor.name,
                got=f"field {tag >> 3} at byte {at}",
                allowed=", ".join(f.name for f in descriptor.fields),
                hint="ask a newer server, or write the graph without it",
            )
        if tag & 7 not in field.wires:
            _malformed(f"{field.name} has the wire type of another kind of field", at, got=str(tag & 7))
        if seen & field.bit:
            _malformed(f"{field.name} is set twice, or beside another of its oneof", at)
        seen |= field.bit
        start = at
        match tag & 7:
            case 0:
                _, at = _varint(data, at, end)
            case 1:
                at += 8
            case _:
                length, start = _varint(data, at, end)
                at = start + length
        if at > end:
            _malformed(f"{field.name} ends after its message", start, got=f"{at - start} bytes", allowed=f"{end - start} bytes")
        packed = field.packed and tag & 7 == _LEN
        if field.limits:
            amount = 1 if not packed and field.repeated else _packed(data, start, at, field.name) if packed else at - start
            for limit in field.limits:
                book = totals if limit.whole else counts
                book[limit.name] = total = book.get(limit.name, 0) + amount
                if total > limit.most:
                    _too_large(limit.name, total, limit.most)
        if field.message is not None:
            _message(data, start, at, field.message, totals)


def _packed(data: bytes, start: int, stop: int, name: str) -> int:
    """How many varints there are: each has one byte below 128, its last."""
    column = np.frombuffer(data, np.uint8, stop - start, start)
    if column.size and column[-1] >= 128:
        _malformed(f"{name} ends inside a number", stop)
    return int(np.count_nonzero(column < 128))


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """The number at `at`, and where the next field begins."""
    value = shift = 0
    while at < end:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            _malformed("a number is longer than 64 bits", at)
    _malformed("the bytes end inside a number", end)


def _malformed(message: str, at: int, got: str = "", allowed: str = "") -> NoReturn:
    hint = "send the bytes of a serialised backsweep.v1.Graph"
    raise GraphError(f"the graph's bytes do not parse: {message} (byte {at})", got=got, allowed=allowed, hint=hint)


def _too_large(name: str, got: int, most: int) -> NoReturn:
    raise GraphError(f"the graph is over a limit: {name}", reason="TOO_LARGE", name=name, got=str(got), allowed=f"at most {most}")


def refuse_unknown(message: Message) -> None:
    """Refuses fields and enum values this server does not know, in a parsed message and all it holds."""
    for inner in _tree(message):
        unknown = UnknownFieldSet(inner)
        if len(unknown):
            raise GraphError(
                f"{inner.DESCRIPTOR.name} has an unknown field",
                reason="UNKNOWN_FIELD",
                name=inner.DESCRIPTOR.name,
                got=f"field {unknown[0].field_number}",
                hint="ask a newer server, or without it",
            )
        for field in inner.DESCRIPTOR.fields:
            # An unknown dtype is refused where it is read, as DTYPE.
            if field.enum_type is not None and field.enum_type.name != "DataType" and getattr(inner, field.name) not in field.enum_type.values_by_number:
                raise GraphError(
                    f"{field.name} has an unknown value",
                    reason="UNKNOWN_FIELD",
                    name=field.name,
                    got=str(getattr(inner, field.name)),
                    allowed=", ".join(v.name for v in field.enum_type.values if v.number),
                )


def _tree(message: Message) -> Iterator[Message]:
    """The message and every message in it, without touching bytes fields (each look at one copies it)."""
    yield message
    for field in message.DESCRIPTOR.fields:
        if field.message_type is None:
            continue
        if field.is_repeated:
            for inner in getattr(message, field.name):
                yield from _tree(inner)
        elif message.HasField(field.name):
            yield from _tree(getattr(message, field.name))
