"""Binding: an input with its value, or a seed (tangent, cotangent, gradient) with its value.

The rules of types and axes are here once: with `batched` a value has the axis of points in front,
with many seeds the axis of seeds next. There is no conversion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from backsweep.v1 import query_pb2 as pb
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Graph, Type

from . import limits
from .arrays import Array, ArrayRef, decode_array, decode_array_ref, decode_type, encode_array, encode_array_ref, encode_type
from .attributes import checked_text
from .errors import NotBuiltYet
from .scan import refuse_unknown


@dataclass(frozen=True, slots=True)
class Binding:
    """A name and its value: an array, a reference to a blob, or (in Explain) a type alone."""

    name: str
    value: Array | ArrayRef | Type
    batched: bool = False

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
    message = pb.Binding(input=binding.name, batched=binding.batched)
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
        return Binding(message.input, _value(message, types), message.batched)
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


def match_inputs(graph: Graph, bindings: Mapping[str, Binding], *, partly: bool = False) -> int | None:
    """Holds bindings against the inputs of a graph: the number of points, or None for one point.

    `partly`: inputs may be without value, as in Explain.
    """
    wanted = dict(zip(graph.input_names, graph.input_types, strict=True))
    points = common_length((b.type, b.name) for b in bindings.values() if b.batched)
    match_types(wanted, bindings, points, None, "input", partly=partly)
    return points


def match_types(wanted: Mapping[str, Type], bindings: Mapping[str, Binding], points: int | None, seeds: int | None, what: str, *, partly: bool = False) -> None:
    """Names and types of bindings against those wanted. `points`, `seeds`: the lengths of the axes in front."""
    for name in bindings:
        if name not in wanted:
            raise GraphError(f"there is no {what} of this name", reason="SURPLUS_INPUT", name=name, got=repr(name), allowed=_names(wanted))
    for name, type in wanted.items():
        binding = bindings.get(name)
        if binding is None:
            if not partly:
                raise GraphError(f"{what} {name!r} has no value", reason="MISSING_INPUT", name=name, got=_names(bindings), allowed=_names(wanted))
            continue
        lead = [n for n, has in ((points, binding.batched), (seeds, seeds is not None)) if has and n is not None]
        full = type.with_shape((*lead, *type.shape))
        if binding.type.dtype != full.dtype:
            raise GraphError(f"{what} {name!r} has the wrong dtype", reason="DTYPE", name=name, got=str(binding.type), allowed=str(full), hint="convert it first")
        if binding.type.shape != full.shape:
            raise GraphError(f"{what} {name!r} has the wrong shape", reason="SHAPE", name=name, got=str(binding.type), allowed=str(full))


def common_length(types: Iterable[tuple[Type, str]], axis: int = 0) -> int | None:
    """The length that all these types have along an axis; None if there are none."""
    length: int | None = None
    for type, name in types:
        if type.rank <= axis:
            raise GraphError(f"{name!r} has no axis {axis}", reason="SHAPE", name=name, got=str(type), allowed="one more leading axis")
        if length is not None and type.shape[axis] != length:
            raise GraphError("leading axes differ in length", reason="SHAPE", name=name, got=str(type), allowed=f"length {length} along axis {axis}")
        length = type.shape[axis]
    return length


def _names(names: Iterable[str]) -> str:
    known: Sequence[str] = list(names)
    return ", ".join(map(repr, known[:16])) + (f" and {len(known) - 16} more" if len(known) > 16 else "") or "none"
