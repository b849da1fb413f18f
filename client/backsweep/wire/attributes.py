"""The attributes of a node: engine values <-> AttributeRecord.

Kinds are never mixed up: true, 1, 1.0, 0.0 and -0.0 are five values. Whether an op takes an
attribute is not decided here; the op's schema does that.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from backsweep.v1 import graph_pb2 as pb
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Attribute, Graph

from . import limits
from .arrays import NUMBER_OF, decode_array, decode_dtype, encode_array

NAME = re.compile(r"[a-z][a-z0-9_]*")
"""Names of ops and attributes."""


@dataclass(frozen=True, slots=True)
class FunctionRef:
    """An attribute that is a graph, before it is looked up: the index of its function."""

    index: int


Pairs = tuple[tuple[str, Attribute], ...]
FunctionOf = Callable[[Graph], int]


def encode_record(attributes: Pairs, function_of: FunctionOf) -> pb.AttributeRecord:
    """`function_of` gives the index of the function that a graph was written as."""
    pairs = sorted(attributes, key=lambda pair: pair[0].encode())
    if len(pairs) > limits.MAX_ATTRIBUTES:
        raise GraphError(
            "too many attributes", reason="TOO_LARGE", name="attributes of a record", got=str(len(pairs)), allowed=f"at most {limits.MAX_ATTRIBUTES}"
        )
    return pb.AttributeRecord(name=[checked_name(name, "an attribute") for name, _ in pairs], value=[_encode(name, v, function_of) for name, v in pairs])


def _encode(name: str, value: Attribute, function_of: FunctionOf) -> pb.AttributeValue:
    try:
        match value:
            case bool():
                return pb.AttributeValue(truth=value)
            case int():
                return pb.AttributeValue(integer=value)
            case float():
                return pb.AttributeValue(real=value)
            case str():
                return pb.AttributeValue(text=checked_text(value, limits.MAX_TEXT_BYTES, f"attribute {name}"))
            case tuple():
                return pb.AttributeValue(ints=pb.Ints(values=value))
            case np.dtype():
                return pb.AttributeValue(dtype=NUMBER_OF[value])
            case np.ndarray():
                return pb.AttributeValue(constant=encode_array(value))
            case Graph():
                return pb.AttributeValue(function=function_of(value))
    except ValueError:
        raise GraphError(f"attribute {name} does not fit in 64 bits", reason="ATTRIBUTE", name=name, got=str(value), allowed="-2**63 to 2**63 - 1") from None
    raise GraphError(f"attribute {name} is of a kind no graph can hold", reason="ATTRIBUTE", name=name, got=type(value).__name__)


def decode_record(message: pb.AttributeRecord) -> Pairs:
    """The attributes by name, sorted; those that are graphs as FunctionRefs."""
    names = list(message.name)
    if len(names) != len(message.value):
        raise GraphError("the columns of an attribute record differ in length", got=f"{len(names)} names, {len(message.value)} values", allowed="as many")
    for name in names:
        checked_name(name, "an attribute")
    if any(a >= b for a, b in pairwise(names)):
        raise GraphError("the names of an attribute record are not sorted and unique", got=", ".join(names))
    pairs = []
    for name, value in zip(names, message.value, strict=True):
        try:
            pairs.append((name, _decode(value)))
        except GraphError as error:
            raise error.located(name=name) from None
    return tuple(pairs)


def _decode(message: pb.AttributeValue) -> Any:
    match message.WhichOneof("value"):
        case "integer":
            return message.integer
        case "real":
            return message.real
        case "truth":
            return message.truth
        case "text":
            return checked_text(message.text, limits.MAX_TEXT_BYTES, "a text attribute")
        case "ints":
            return tuple(message.ints.values)
        case "dtype":
            return decode_dtype(message.dtype)
        case "constant":
            return _constant(message)
        case "function":
            return FunctionRef(message.function)
    raise GraphError("an attribute has no value", reason="ATTRIBUTE", allowed="exactly one kind of value")


def _constant(message: pb.AttributeValue) -> Any:
    size = len(message.constant.data)
    if size > limits.MAX_CONSTANT_BYTES:
        raise GraphError(
            "a constant is too large",
            reason="TOO_LARGE",
            name="max_constant_bytes",
            got=f"{size} bytes",
            allowed=f"at most {limits.MAX_CONSTANT_BYTES}",
            hint="make it an input, and bind it by digest",
        )
    return decode_array(message.constant)


def checked_name(name: str, what: str) -> str:
    """The name of an op or attribute, if it is one."""
    if not NAME.fullmatch(name) or len(name) > limits.MAX_OP_NAME_BYTES:
        raise GraphError(
            f"the name of {what} is not one", name=name[:64], got=repr(name[:64]), allowed=f"{NAME.pattern}, at most {limits.MAX_OP_NAME_BYTES} bytes"
        )
    return name


def checked_text(text: str, most: int, what: str) -> str:
    """The text, if it is short enough and its characters can be sent."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise GraphError(f"{what} holds half of a surrogate pair", got=repr(text[:64]), allowed="what UTF-8 can hold") from None
    if size > most:
        raise GraphError(f"{what} is too long", reason="TOO_LARGE", got=f"{size} bytes, {text[:32]!r}...", allowed=f"at most {most} bytes of UTF-8")
    return text


def repeated(names: Iterable[str]) -> str | None:
    """The first name that comes twice, or None."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return None
