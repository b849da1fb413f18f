"""THE error table: the one of the proto, the same in both directions, and nothing of gRPC's in it."""

import pickle
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2 as details
from google.rpc.status_pb2 import Status

from backsweep.wire import errors, limits
from backsweep.wire.arrays import Digest
from backsweep.wire.errors import Again, MissingBlobs, NotBuiltYet, RunRefused, Unavailable
from backsweep_engine.errors import Cancelled, ClusterLost, Error, Fault, GraphError, OverBudget

PROTO = Path(__file__).parents[2] / "proto" / "backsweep" / "v1" / "backsweep.proto"
REASONS = sorted(errors.TABLE)


def error_of(reason: str, **fields: Any) -> Error:
    return errors.TABLE[reason].kind("it went wrong", reason=reason, **fields)


class Raised(grpc.RpcError):
    """What a gRPC call raises, as far as it is read."""

    def __init__(self, code: grpc.StatusCode | None, text: str = "", trailers: Any = ()) -> None:
        self._code, self._text, self._trailers = code, text, trailers

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def details(self) -> str:
        return self._text

    def trailing_metadata(self) -> Any:
        return self._trailers


def over_grpc(error: Error) -> Error:
    status = errors.to_grpc(error)
    return errors.from_rpc_error(Raised(status.code, status.details, status.trailing_metadata))


def test_the_table_is_that_of_the_proto() -> None:
    row = re.compile(r"^//   ([A-Z_]+)  +([A-Z_]+)  +(no|yes|upload|anew|as Run|new id)  ", re.MULTILINE)
    stated = {reason: (code, again) for reason, code, again in row.findall(PROTO.read_text())}
    assert stated == {reason: (row.code.name, row.again.value) for reason, row in errors.TABLE.items()}


def test_what_a_bare_status_means_is_what_the_proto_says() -> None:
    text = " ".join(line.removeprefix("//").strip() for line in PROTO.read_text().split("gRPC's own errors come")[1].splitlines()[:6])
    for code, (reason, _) in errors.BARE.items():
        assert f"{errors.Code(code).name} {reason}" in text


def test_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in errors.Code}.items() <= {code.name: code.value[0] for code in grpc.StatusCode}.items()


@pytest.mark.parametrize("reason", REASONS)
def test_an_error_comes_back_as_itself(reason: str) -> None:
    error = error_of(reason, node=7, function=2, query=1, op="sin", name="x", got="3 apples", allowed="pears", hint="buy pears")
    back = over_grpc(error)
    assert type(back) is type(error) and back.message == error.message
    for field in ("reason", "node", "function", "query", "op", "name", "got", "allowed", "hint"):
        assert getattr(back, field) == getattr(error, field), field


@pytest.mark.parametrize("reason", REASONS)
def test_what_is_absent_stays_absent(reason: str) -> None:
    back = over_grpc(error_of(reason))
    assert (back.node, back.function, back.query, back.op, back.name, back.got) == (None, None, None, "", "", "")


@pytest.mark.parametrize("reason", REASONS)
def test_every_status_carries_the_reason_in_our_domain(reason: str) -> None:
    status = errors.to_status(error_of(reason, node=0))
    info = details.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert (info.domain, info.reason, dict(info.metadata)) == ("backsweep.v1", reason, {"node": "0"})
    assert status.code == errors.TABLE[reason].code


def test_only_what_a_pause_may_cure_is_repeated() -> None:
    assert {reason for reason in REASONS if errors.may_repeat(error_of(reason))} == {"BUSY", "DRAINING", "CLUSTER_LOST", "NO_CLUSTER"}
    assert errors.row_of(error_of("PLAN_CHANGED")).again is Again.ANEW


def test_the_default_reason_of_every_class_is_of_the_table() -> None:
    for kind in (
        GraphError,
        OverBudget,
        Cancelled,
        ClusterLost,
        Fault,
        Unavailable,
        MissingBlobs,
        errors.DeadlineExceeded,
        RunRefused,
        errors.NotAllowed,
        NotBuiltYet,
    ):
        assert errors.TABLE[kind("x").reason].kind is kind


def test_a_reason_outside_the_contract_is_our_fault() -> None:
    back = over_grpc(GraphError("a trace went wrong", reason="NOT_TRACEABLE", got="np.foo"))
    assert isinstance(back, Fault) and (back.reason, back.got) == ("INTERNAL", "np.foo")


# Sizes.


@pytest.mark.parametrize("letter", ["a", "é", "\U0001f600", "\ud800"])
def test_an_error_is_at_most_4_kib_however_long_its_texts(letter: str) -> None:
    error = GraphError(letter * 9000, op=letter * 9000, got=letter * 9000, allowed=letter * 9000, hint=letter * 9000, name=letter * 9000, node=3)
    status = errors.to_status(error)
    assert 1000 < status.ByteSize() <= limits.MAX_ERROR_BYTES
    back = errors.from_status(status)
    assert back.reason == "MALFORMED" and back.node == 3
    assert all(text.endswith("...") for text in (back.message, back.op, back.got, back.allowed, back.hint, back.name))


def test_short_texts_are_never_cut() -> None:
    assert errors.cut("abcdef", 6) == "abcdef" and errors.cut("abcdefg", 6) == "abc..."
    assert errors.cut("éééé", 6) == "é..."


# Details.


def blobs(number: int) -> tuple[Digest, ...]:
    return tuple(Digest(bytes([k]) * 32, 2**62 + k) for k in range(number))


def test_missing_blobs_are_listed_as_the_proto_says() -> None:
    error = MissingBlobs("blobs are missing", digests=blobs(2))
    failure = details.PreconditionFailure()
    assert errors.to_status(error).details[1].Unpack(failure)
    assert [(v.type, v.subject) for v in failure.violations] == [("MISSING", f"blobs/{d.sha256.hex()}/{d.size_bytes}") for d in error.digests]
    back = over_grpc(error)
    assert isinstance(back, MissingBlobs) and back.digests == error.digests


def test_at_most_32_missing_blobs_are_listed_and_fit_beside_long_texts() -> None:
    status = errors.to_status(MissingBlobs("m" * 5000, digests=blobs(40), hint="h" * 5000))
    assert status.ByteSize() <= limits.MAX_ERROR_BYTES
    back = errors.from_status(status)
    assert isinstance(back, MissingBlobs) and back.digests == blobs(32)


@pytest.mark.parametrize(
    "subject", ["", "blobs", "blobs/00/1", "blobs/zz/1", f"graphs/{'00' * 32}/1", f"blobs/{'00' * 32}/-1", f"blobs/{'00' * 32}/x", f"blobs/{'00' * 32}"]
)
def test_a_subject_that_is_no_blob_is_passed_over(subject: str) -> None:
    status = errors.to_status(MissingBlobs("missing", digests=blobs(1)))
    failure = details.PreconditionFailure()
    status.details[1].Unpack(failure)
    failure.violations.add(type="MISSING", subject=subject)
    status.details[1].Pack(failure)
    back = errors.from_status(status)
    assert isinstance(back, MissingBlobs) and back.digests == blobs(1)


def test_busy_says_when_in_the_details_and_in_the_trailer() -> None:
    error = Unavailable("all places are taken", after=0.25)
    status = errors.to_grpc(error)
    assert ("grpc-retry-pushback-ms", "250") in status.trailing_metadata
    retry = details.RetryInfo()
    assert errors.to_status(error).details[1].Unpack(retry)
    assert retry.retry_delay == Duration(nanos=250_000_000)
    back = over_grpc(error)
    assert isinstance(back, Unavailable) and back.after == 0.25


# gRPC's own errors, and servers that are not ours.


@pytest.mark.parametrize("code", list(grpc.StatusCode))
def test_a_bare_status_is_read_by_the_table_and_grpc_is_not_quoted(code: grpc.StatusCode) -> None:
    error = errors.from_rpc_error(Raised(code, "failed to connect to all addresses; ipv4:127.0.0.1:1"))
    reason = errors.BARE.get(code.value[0], ("INTERNAL", ""))[0]
    assert (error.reason, type(error)) == (reason, errors.TABLE[reason].kind)
    assert "ipv4" not in str(error) and "failed to connect" not in str(error)
    assert errors.TABLE[reason].code == code.value[0] or reason == "INTERNAL"


@pytest.mark.parametrize(
    "trailers",
    [None, (), (("x", "y"),), (("grpc-status-details-bin", b"\xff\xff"),), (("grpc-status-details-bin", b""),)],
    ids=["none", "empty", "others", "broken details", "empty details"],
)
def test_trailers_without_our_details_are_no_harm(trailers: Any) -> None:
    assert errors.from_rpc_error(Raised(grpc.StatusCode.UNAVAILABLE, "", trailers)).reason == "BUSY"


def test_an_error_without_a_code_is_a_fault() -> None:
    assert isinstance(errors.from_rpc_error(Raised(None)), Fault)
    assert isinstance(errors.from_rpc_error(grpc.RpcError()), Fault)


def test_an_error_info_of_another_domain_is_not_ours() -> None:
    status = Status(code=3, message="theirs")
    status.details.add().Pack(details.ErrorInfo(domain="example.com", reason="SHAPE"))
    assert (errors.from_status(status).reason, errors.from_status(status).message.startswith("the call failed")) == ("INTERNAL", True)


def test_a_reason_newer_than_the_table_is_read_by_its_status() -> None:
    status = Status(code=errors.Code.UNAVAILABLE, message="resting")
    status.details.add().Pack(details.ErrorInfo(domain="backsweep.v1", reason="RESTING", metadata={"node": "x", "query": "-1"}))
    back = errors.from_status(status)
    assert isinstance(back, Unavailable) and (back.reason, back.message, back.node, back.query) == ("RESTING", "resting", None, None)
    assert errors.may_repeat(back)


def test_errors_cross_processes_whole() -> None:
    error = MissingBlobs("missing", digests=blobs(2), node=3, name="x", query=1)
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is MissingBlobs and vars(back) == vars(error)
    assert vars(pickle.loads(pickle.dumps(Unavailable("busy", after=2.0)))) == vars(Unavailable("busy", after=2.0))


def test_importing_the_wire_loads_no_grpc_no_scipy_no_ray_and_no_client() -> None:
    modules = "errors, graphs, arrays, answers, queries, requests, joiner, scan, bindings, blocks"
    loads = f"import sys, backsweep.wire; from backsweep.wire import {modules}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loads], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert not loaded & {"grpc", "scipy", "ray", "google.rpc", "backsweep.client", "backsweep.trace", "backsweep.local"}
