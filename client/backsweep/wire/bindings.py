"""Binding: an input with its value, or a seed (tangent, cotangent, gradient) with its value.

Here a value is right in itself. Whether it fits the graph is the engine's question, the same for
local work: answer.prepare.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backsweep.v1 import query_pb2 as pb
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Type

from . import limits
from .arrays import Array, ArrayRef, decode_array, decode_array_ref, decode_type, encode_array, encode_array_ref, encode_type
from .attributes import checked_text
from .errors import NotBuiltYet
from .scan import refuse_unknown


@dataclass(frozen=True, slots=True)
class Binding:
    """A name and its value: an array, a reference to a blob, or (in Explain) a type alone.

    `of_point`: a blob that no sparsity pattern may be told by.
    """

    name: str
    value: Array | ArrayRef | Type
    batched: bool = False
    of_point: bool = False

    @property
    def type(self) -> Type:
        match self.value:
            case np.ndarray():
                return Type(self.value.dtype, self.value.shape)
            case ArrayRef():
                return self.value.type
            case Type():
                return self.value

    @property
    def inline_bytes(self) -> int:
        """What it counts against the limit of a request."""
        return self.value.nbytes if isinstance(self.value, np.ndarray) else 0


def encode_binding(binding: Binding) -> pb.Binding:
    message = pb.Binding(input=binding.name, batched=binding.batched, of_point=binding.of_point)
    match binding.value:
        case np.ndarray():
            message.inline.CopyFrom(encode_array(binding.value))
        case ArrayRef():
            message.blob.CopyFrom(encode_array_ref(binding.value))
        case Type():
            message.type.CopyFrom(encode_type(binding.value))
    return message


def decode_binding(message: pb.Binding, *, types: bool = False) -> Binding:
    """`types`: a type alone will do, as in Explain."""
    try:
        refuse_unknown(message)
        checked_text(message.input, limits.MAX_NAME_BYTES, "the name of an input")
        return Binding(message.input, _value(message, types), message.batched, message.of_point)
    except Error as error:
        raise error.located(name=message.input[: limits.MAX_NAME_BYTES]) from None


def _value(message: pb.Binding, types: bool) -> Array | ArrayRef | Type:
    match message.WhichOneof("value"):
        case "inline":
            return decode_array(message.inline)
        case "blob":
            return decode_array_ref(message.blob)
        case "chunked":
            raise NotBuiltYet("arrays in chunks are for a Session", hint="upload the array, and bind it by digest")
        case "type":
            if not types:
                raise GraphError("an input has a type but no value", allowed="inline or blob", hint="only Explain takes a type alone")
            return decode_type(message.type)
    raise GraphError("an input has no value", allowed="inline or blob")


def decode_bindings(messages: Iterable[pb.Binding], *, types: bool = False) -> dict[str, Binding]:
    """Bindings by name, each name once."""
    bindings: dict[str, Binding] = {}
    for message in messages:
        binding = decode_binding(message, types=types)
        if binding.name in bindings:
            raise GraphError("a name is bound twice", reason="SURPLUS_INPUT", name=binding.name, got=repr(binding.name), allowed="each name once")
        bindings[binding.name] = binding
    return bindings
