"""What stands after an error: blobs that were stored, a list of all that is missing, and a server that goes on when work was cut short."""

import grpc
import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import types_pb2
from support import blobs, raw
from support.raw import SECONDS, Asking, Refusal, floats, point, refusal

AT = (0.5, -1.0, 2.0)
GRADIENT = [float(np.sin(x) * 1 + np.cos(x) * x) for x in AT]


def test_missing_blobs_are_listed_all_at_once(ask: Asking) -> None:
    graph = ask.graph(blobs.small())
    lost = [types_pb2.ArrayRef(dtype=types_pb2.DATA_TYPE_FLOAT64, shape=[3], digest=types_pb2.Digest(sha256=bytes([k]) * 32, size_bytes=24)) for k in range(3)]
    bound = [raw.binding(f"x{k}", one) for k, one in enumerate(lost)]
    refused = refusal(lambda: ask.compute(graph, bound, raw.gradient()))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "MISSING_BLOB")
    assert refused.missing == [raw.subject(one.digest) for one in lost]
    unknown = types_pb2.Digest(sha256=b"u" * 32, size_bytes=5)
    for call in (
        lambda: ask.compute(unknown, bound, raw.gradient()),
        lambda: ask.stub.Derive(pb.DeriveRequest(graph=unknown, derivative=pb.DERIVATIVE_JVP), timeout=SECONDS),
        lambda: ask.stub.Explain(pb.ExplainRequest(graph=unknown), timeout=SECONDS),
        lambda: ask.stub.ReadBlob(pb.ReadBlobRequest(digest=unknown), timeout=SECONDS),
    ):
        refused = refusal(call)
        assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "MISSING_BLOB")
        assert refused.missing[0] == raw.subject(unknown)


def test_blobs_stored_before_an_error_stay_stored(ask: Asking) -> None:
    first, second = b"stays stored", b"does not"
    chunks = [*raw.chunks(first), *raw.chunks(b"d0es not", raw.digest(second))]
    assert refusal(lambda: ask.stub.Upload(iter(chunks), timeout=SECONDS)).reason == "DIGEST_MISMATCH"
    missing = ask.stub.FindMissing(pb.FindMissingRequest(digests=[raw.digest(first), raw.digest(second)]), timeout=SECONDS).missing
    assert [one.sha256 for one in missing] == [raw.digest(second).sha256]


def test_a_deadline_ends_the_work_and_the_server_goes_on(ask: Asking) -> None:
    graph = ask.graph(raw.long_work(400))
    at = [raw.binding("x", floats(1e-3, shape=[]))]
    assert refusal(lambda: ask.compute(graph, at, raw.value(), timeout=0.3)).code == "DEADLINE_EXCEEDED"
    assert ask.gradient(*AT) == GRADIENT


def test_an_error_is_at_most_4_kib_however_long_its_texts(ask: Asking) -> None:
    message = blobs.small()
    message.functions[0].inputs[0].name = "é" * 128
    refused: Refusal = refusal(lambda: ask.compute(ask.graph(message), point(*AT), raw.gradient("ü" * 128)))
    assert refused.reason in ("SURPLUS_INPUT", "MISSING_INPUT")


def test_a_cancelled_call_stops_its_work(ask: Asking) -> None:
    graph = ask.graph(raw.long_work(400))
    at = [raw.binding("x", floats(1e-3, shape=[]))]
    pending = ask.stub.Compute.future(pb.ComputeRequest(graph=graph, bindings=at, queries=[raw.value()]), timeout=SECONDS)
    pending.cancel()
    with pytest.raises(grpc.FutureCancelledError):
        pending.result()
    assert ask.gradient(*AT) == GRADIENT
