"""Asks a server through raw stubs, with messages made by hand: what a client that is not ours would send."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import numpy as np
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import backsweep_pb2_grpc, graph_pb2, query_pb2, types_pb2

from . import blobs

SECONDS = 30.0
"""Every call here is bounded."""
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Refusal:
    """What an rpc was refused with."""

    code: str
    reason: str
    metadata: dict[str, str]
    message: str
    missing: list[str] = field(default_factory=list)
    retry_seconds: float = 0.0
    trailers: dict[str, Any] = field(default_factory=dict)


def refusal(call: Callable[[], Any]) -> Refusal:
    """The error of a call that must fail. Streams are read to their end."""
    try:
        answer = call()
        if isinstance(answer, Iterator):
            answer = list(answer)
    except grpc.RpcError as error:
        return read_refusal(error)
    raise AssertionError(f"not refused: {str(answer)[:200]}")


def read_refusal(error: Any) -> Refusal:
    trailers = dict(error.trailing_metadata() or ())
    status = rpc_status.from_call(error)
    if status is None:
        return Refusal(error.code().name, "", {}, error.details() or "", trailers=trailers)
    assert status.ByteSize() <= 4096
    info, missing, retry = error_details_pb2.ErrorInfo(), [], 0.0
    for detail in status.details:
        failure, delay = error_details_pb2.PreconditionFailure(), error_details_pb2.RetryInfo()
        if detail.Is(info.DESCRIPTOR):
            detail.Unpack(info)
        elif detail.Unpack(failure):
            missing += [violation.subject for violation in failure.violations if violation.type == "MISSING"]
        elif detail.Unpack(delay):
            retry = delay.retry_delay.ToMilliseconds() / 1000
    assert info.domain == "backsweep.v1"
    return Refusal(error.code().name, info.reason, dict(info.metadata), status.message, missing, retry, trailers)


# Messages.


def digest(data: bytes) -> types_pb2.Digest:
    return types_pb2.Digest(sha256=hashlib.sha256(data).digest(), size_bytes=len(data))


def subject(of: types_pb2.Digest) -> str:
    """As a PreconditionFailure names a blob."""
    return f"blobs/{of.sha256.hex()}/{of.size_bytes}"


def floats(*values: float, shape: Sequence[int] | None = None) -> types_pb2.Array:
    return types_pb2.Array(dtype=types_pb2.DATA_TYPE_FLOAT64, shape=[len(values)] if shape is None else shape, data=struct.pack(f"<{len(values)}d", *values))


def binding(name: str, value: types_pb2.Array | types_pb2.ArrayRef, *, batched: bool = False) -> query_pb2.Binding:
    if isinstance(value, types_pb2.ArrayRef):
        return query_pb2.Binding(input=name, blob=value, batched=batched)
    return query_pb2.Binding(input=name, inline=value, batched=batched)


def point(*values: float) -> list[query_pb2.Binding]:
    """x at these values."""
    return [binding("x", floats(*values))]


def gradient(*wrt: str) -> query_pb2.Query:
    return query_pb2.Query(wrt=wrt, gradient=query_pb2.Gradient())


def value() -> query_pb2.Query:
    return query_pb2.Query(value=query_pb2.Value())


def jacobian(block: int = 0, mode: query_pb2.Mode = query_pb2.MODE_AUTO, layout: query_pb2.Layout = query_pb2.LAYOUT_DENSE) -> query_pb2.Query:
    return query_pb2.Query(block_rows=block, layout=layout, jacobian=query_pb2.Jacobian(mode=mode))


def hessian(block: int = 0) -> query_pb2.Query:
    return query_pb2.Query(block_rows=block, layout=query_pb2.LAYOUT_DENSE, hessian=query_pb2.Hessian())


def numbers(array: types_pb2.Array) -> np.ndarray[Any, Any]:
    names = {types_pb2.DATA_TYPE_FLOAT64: "<f8", types_pb2.DATA_TYPE_FLOAT32: "<f4", types_pb2.DATA_TYPE_INT64: "<i8"}
    return np.frombuffer(array.data, names[array.dtype]).reshape(tuple(array.shape))


def sines(n: int, repeat: int = 1) -> graph_pb2.Graph:
    """sin of sin of ... x, elementwise on a vector of n, sorted before: a Jacobian as large as one likes.

    Where a sorted element comes from is data, so that its columns cannot be coloured.
    """
    axis = blobs.record(axis=graph_pb2.AttributeValue(integer=0))
    nodes: list[tuple[int, list[int], int]] = [(1, [0], 1), *[(0, [k], 0) for k in range(1, repeat + 1)]]
    function = blobs.function([("x", blobs.type_of(n))], nodes, [("", repeat + 1)])
    return graph_pb2.Graph(op_set=1, ops=["sin", "sort"], attributes=[axis], functions=[function])


def long_work(products: int, n: int = 700) -> graph_pb2.Graph:
    """sum(B @ B @ ... B) for B full of the scalar x: 2 n^3 flops a product, and nothing to send."""
    matrix = blobs.record(shape=graph_pb2.AttributeValue(ints=graph_pb2.Ints(values=[n, n])))
    axes = blobs.record(axes=graph_pb2.AttributeValue(ints=graph_pb2.Ints(values=[0, 1])))
    nodes: list[tuple[int, list[int], int]] = [(0, [0], 1)]
    nodes += [(1, [k, 1], 0) for k in range(1, products + 1)]
    nodes += [(2, [products + 1], 2)]
    function = blobs.function([("x", blobs.type_of())], nodes, [("", products + 2)])
    return graph_pb2.Graph(op_set=1, ops=["broadcast", "matmul", "sum"], attributes=[matrix, axes], functions=[function])


def long_chain(nodes: int) -> graph_pb2.Graph:
    """sin(... sin(sin(x) x) ... x) of a scalar: much to derive and to plan, hardly anything to compute."""
    chain = [(0, [k], 0) if k % 2 == 0 else (1, [k, 0], 0) for k in range(nodes)]
    return graph_pb2.Graph(op_set=1, ops=["sin", "multiply"], functions=[blobs.function([("x", blobs.type_of())], chain, [("", nodes)])])


def chunks(data: bytes, named: types_pb2.Digest | None = None, size: int = CHUNK) -> Iterator[pb.UploadRequest]:
    for at in range(0, max(1, len(data)), size):
        yield pb.UploadRequest(digest=(named or digest(data)) if at == 0 else None, offset_bytes=at, data=data[at : at + size])


class Asking:
    """A channel to a server, with a few verbs; `stub` for everything else."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.channel = grpc.insecure_channel(address)
        self.stub = backsweep_pb2_grpc.BacksweepServiceStub(self.channel)

    def upload(self, data: bytes) -> types_pb2.Digest:
        (stored,) = self.stub.Upload(chunks(data), timeout=SECONDS).stored
        return types_pb2.Digest.FromString(stored.SerializeToString())

    def graph(self, message: graph_pb2.Graph) -> types_pb2.Digest:
        return self.upload(message.SerializeToString())

    def array(self, array: np.ndarray[Any, Any]) -> types_pb2.ArrayRef:
        data = array.astype("<f8").tobytes()
        return types_pb2.ArrayRef(dtype=types_pb2.DATA_TYPE_FLOAT64, shape=array.shape, digest=self.upload(data))

    def compute(
        self, graph: types_pb2.Digest, bindings: Iterable[query_pb2.Binding], *queries: query_pb2.Query, timeout: float = SECONDS
    ) -> pb.ComputeResponse:
        answer: pb.ComputeResponse = self.stub.Compute(pb.ComputeRequest(graph=graph, bindings=bindings, queries=queries), timeout=timeout)
        return answer

    def gradient(self, *at: float) -> list[float]:
        """Of sum(sin(x) x), three values: that a server still works."""
        answer = self.compute(self.graph(blobs.small()), point(*at), gradient())
        return [float(number) for number in numbers(answer.results[0].arrays.arrays[0])]

    def close(self) -> None:
        self.channel.close()


@contextmanager
def asking(address: str) -> Iterator[Asking]:
    asked = Asking(address)
    try:
        yield asked
    finally:
        asked.close()
