"""Arrays, types and digests: NumPy <-> bytes and messages.

An array's bytes are raw little-endian elements in C order, without a header, so `sha256sum` of the
raw file is its digest. Everything is checked against the type before anything is allocated. What
is decoded is a read-only view of the bytes that came.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from backsweep.v1 import types_pb2 as pb
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Type

from . import limits

Array: TypeAlias = np.ndarray[Any, Any]
Buffer: TypeAlias = bytes | bytearray | memoryview

NUMBER_OF: dict[np.dtype[Any], pb.DataType] = {dtype: getattr(pb, f"DATA_TYPE_{name.upper()}") for name, dtype in DTYPES.items()}
DTYPE_OF = {int(number): dtype for dtype, number in NUMBER_OF.items()}
BOOL = DTYPES["bool"]


@dataclass(frozen=True, slots=True)
class Digest:
    """The name of a blob: SHA-256 and size of its exact bytes."""

    sha256: bytes
    size_bytes: int

    @property
    def subject(self) -> str:
        """As a PreconditionFailure names it."""
        return f"blobs/{self.sha256.hex()}/{self.size_bytes}"

    def __str__(self) -> str:
        return f"{self.sha256.hex()}/{self.size_bytes}"


@dataclass(frozen=True, slots=True)
class ArrayRef:
    """An array whose bytes are a blob."""

    type: Type
    digest: Digest


def digest_of(data: Buffer) -> Digest:
    """The digest of these bytes."""
    view = memoryview(data)
    return Digest(hashlib.sha256(view).digest(), view.nbytes)


def digest_from(text: str) -> Digest:
    """The digest that str() wrote as SHA256/SIZE."""
    sha256, _, size = text.partition("/")
    if len(sha256) != 2 * limits.SHA256_BYTES or set(sha256) - set("0123456789abcdef") or not size.isdecimal() or len(size) > 19:
        raise GraphError("this is no digest", reason="MALFORMED", got=repr(text[:100]), allowed="64 hexadecimal digits in lower case, a slash, the bytes")
    return Digest(bytes.fromhex(sha256), int(size))


def encode_digest(digest: Digest) -> pb.Digest:
    return pb.Digest(sha256=digest.sha256, size_bytes=digest.size_bytes)


def decode_digest(message: pb.Digest) -> Digest:
    if len(message.sha256) != limits.SHA256_BYTES:
        raise GraphError("a digest is not a SHA-256", got=f"{len(message.sha256)} bytes", allowed=f"{limits.SHA256_BYTES} bytes, not hexadecimal")
    if message.size_bytes < 0:
        raise GraphError("the size in a digest is negative", got=str(message.size_bytes), allowed="0 or more")
    return Digest(message.sha256, message.size_bytes)


def decode_dtype(number: int) -> np.dtype[Any]:
    dtype = DTYPE_OF.get(number)
    if dtype is None:
        raise GraphError("no such dtype", reason="DTYPE", got="DATA_TYPE_UNSPECIFIED" if number == 0 else str(number), allowed=", ".join(DTYPES))
    return dtype


def checked_type(dtype: np.dtype[Any], shape: Iterable[int]) -> Type:
    """The Type, if its rank, lengths and bytes are within the limits."""
    lengths = tuple(shape)
    if len(lengths) > limits.MAX_RANK:
        raise GraphError("a shape has too many axes", reason="SHAPE", got=str(len(lengths)), allowed=f"at most {limits.MAX_RANK}")
    type = Type(dtype, lengths)
    nbytes = dtype.itemsize
    for length in lengths:
        # NumPy multiplies in the same way: (0, 2**63) is too large for it.
        nbytes *= max(1, length)
    if nbytes > limits.MAX_ARRAY_BYTES:
        raise GraphError("a shape has too many elements", reason="SHAPE", got=str(type), allowed="less than 2**63 bytes, lengths of 0 counted as 1")
    return type


def encode_type(type: Type) -> pb.Type:
    return pb.Type(dtype=NUMBER_OF[type.dtype], shape=type.shape)


def decode_type(message: pb.Type | pb.Array | pb.ArrayRef) -> Type:
    """The type an array, reference or type message states."""
    return checked_type(decode_dtype(message.dtype), message.shape)


def to_bytes(array: Array) -> memoryview:
    """The bytes of an array as they travel: a view where it is C-contiguous already."""
    little = array.astype(array.dtype.newbyteorder("<"), copy=False)
    return np.ravel(little, order="C").view(np.uint8).data


def from_bytes(type: Type, data: Buffer) -> Array:
    """The array with these bytes: read-only, a view of them where the machine is little-endian."""
    size = memoryview(data).nbytes
    if size != type.nbytes:
        raise GraphError("the bytes of an array do not fill its shape", reason="SHAPE", got=f"{size} bytes", allowed=f"{type.nbytes} bytes for {type}")
    if type.dtype == BOOL:
        raw = np.frombuffer(data, np.uint8)
        if raw.size and int(raw.max()) > 1:
            raise GraphError("a bool is neither 0 nor 1", got=f"byte {int(raw.max())}", allowed="bytes 0 and 1")
        array = raw.view(np.bool_)
    else:
        array = np.frombuffer(data, type.dtype.newbyteorder("<")).astype(type.dtype, copy=False)
    array = array.reshape(type.shape)
    array.setflags(write=False)
    return array


def encode_array(array: Array) -> pb.Array:
    return pb.Array(dtype=_number(array), shape=array.shape, data=bytes(to_bytes(array)))


def decode_array(message: pb.Array) -> Array:
    return from_bytes(decode_type(message), message.data)


def encode_array_ref(reference: ArrayRef) -> pb.ArrayRef:
    return pb.ArrayRef(dtype=NUMBER_OF[reference.type.dtype], shape=reference.type.shape, digest=encode_digest(reference.digest))


def decode_array_ref(message: pb.ArrayRef) -> ArrayRef:
    reference = ArrayRef(decode_type(message), decode_digest(message.digest))
    if reference.digest.size_bytes != reference.type.nbytes:
        raise GraphError(
            "the size in a digest does not fill the shape",
            reason="SHAPE",
            got=f"{reference.digest.size_bytes} bytes",
            allowed=f"{reference.type.nbytes} bytes for {reference.type}",
        )
    return reference


def array_ref(array: Array) -> ArrayRef:
    """How this array is named when its bytes are uploaded."""
    _number(array)
    return ArrayRef(Type(array.dtype.newbyteorder("="), array.shape), digest_of(to_bytes(array)))


def _number(array: Array) -> Any:
    number = NUMBER_OF.get(array.dtype.newbyteorder("="))
    if number is None:
        raise GraphError("an array has a dtype the wire does not carry", reason="DTYPE", got=str(array.dtype), allowed=", ".join(DTYPES))
    return number
