"""THE error table: reason <-> gRPC status, whether to repeat, and the class that is raised.

An Error becomes a google.rpc.Status whose ErrorInfo says the reason; on the other side it becomes
the same Error again. The table of proto/backsweep.proto is this one: a test compares. gRPC is
imported where it is used: tracing and local work never pay for it. None of gRPC's own text is
passed on.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from backsweep_engine.errors import Cancelled, ClusterLost, Error, Fault, GraphError, OverBudget

from . import limits

if TYPE_CHECKING:
    import grpc
    from google.rpc.status_pb2 import Status

    from .arrays import Digest

DOMAIN = "backsweep.v1"
DETAILS_KEY = "grpc-status-details-bin"
PUSHBACK_KEY = "grpc-retry-pushback-ms"


class Unavailable(Error):
    """The service cannot answer now; repeat after `after` seconds (0: as the back-off says)."""

    default_reason = "BUSY"

    def __init__(self, message: str, *, after: float = 0.0, **fields: Any) -> None:
        super().__init__(message, **fields)
        self.after = after


class MissingBlobs(Error):
    """The server does not have these blobs: upload them, then repeat."""

    default_reason = "MISSING_BLOB"

    def __init__(self, message: str, *, digests: Iterable[Digest] = (), **fields: Any) -> None:
        super().__init__(message, **fields)
        self.digests = tuple(digests)


class DeadlineExceeded(Error):
    """The time for the call or the run is over."""

    default_reason = "DEADLINE"


class RunRefused(Error):
    """The run is not what the call took it for: of another request, plan or stream, or not there."""

    default_reason = "RUN_UNKNOWN"


class NotAllowed(Error):
    """The credentials are missing, not valid, or not enough."""

    default_reason = "NOT_ALLOWED"


class NotBuiltYet(Error):
    """In the contract, not in this server."""

    default_reason = "NOT_BUILT_YET"


class Code(enum.IntEnum):
    """The gRPC status codes the table uses; grpc.StatusCode has the same names and numbers."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class Again(enum.Enum):
    """Whether the same call may be repeated."""

    NO = "no"
    PAUSE = "yes"
    UPLOAD = "upload"
    ANEW = "anew"
    AS_RUN = "as Run"
    NEW_ID = "new id"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    code: Code
    kind: type[Error]
    again: Again = Again.NO


_THEIRS = Row(Code.INVALID_ARGUMENT, GraphError)

TABLE: Mapping[str, Row] = {
    "MALFORMED": _THEIRS,
    "UNKNOWN_FIELD": _THEIRS,
    "OP_SET": _THEIRS,
    "UNKNOWN_OP": _THEIRS,
    "ARITY": _THEIRS,
    "ATTRIBUTE": _THEIRS,
    "DTYPE": _THEIRS,
    "SHAPE": _THEIRS,
    "ORDER": _THEIRS,
    "MISSING_INPUT": _THEIRS,
    "SURPLUS_INPUT": _THEIRS,
    "NOT_SCALAR": _THEIRS,
    "NOT_THROUGH": _THEIRS,
    "NOT_DIFFERENTIABLE": _THEIRS,
    "LOOP_CAP": _THEIRS,
    "DIGEST_MISMATCH": _THEIRS,
    "MISSING_BLOB": Row(Code.FAILED_PRECONDITION, MissingBlobs, Again.UPLOAD),
    "PLAN_CHANGED": Row(Code.FAILED_PRECONDITION, RunRefused, Again.ANEW),
    "TOO_LARGE": Row(Code.RESOURCE_EXHAUSTED, GraphError),
    "OVER_BUDGET": Row(Code.RESOURCE_EXHAUSTED, OverBudget),
    "RESULT_TOO_LARGE": Row(Code.RESOURCE_EXHAUSTED, OverBudget, Again.AS_RUN),
    "BUSY": Row(Code.UNAVAILABLE, Unavailable, Again.PAUSE),
    "DRAINING": Row(Code.UNAVAILABLE, Unavailable, Again.PAUSE),
    "CLUSTER_LOST": Row(Code.UNAVAILABLE, ClusterLost, Again.PAUSE),
    "NO_CLUSTER": Row(Code.UNAVAILABLE, ClusterLost, Again.PAUSE),
    "VERSION_SKEW": Row(Code.FAILED_PRECONDITION, ClusterLost),
    "BLOCK_FAILED": Row(Code.INTERNAL, ClusterLost),
    "CANCELLED": Row(Code.CANCELLED, Cancelled),
    "DEADLINE": Row(Code.DEADLINE_EXCEEDED, DeadlineExceeded),
    "RUN_EXISTS": Row(Code.ALREADY_EXISTS, RunRefused, Again.NEW_ID),
    "RUN_UNKNOWN": Row(Code.NOT_FOUND, RunRefused),
    "ATTACHED_ELSEWHERE": Row(Code.ABORTED, RunRefused),
    "UNAUTHENTICATED": Row(Code.UNAUTHENTICATED, NotAllowed),
    "NOT_ALLOWED": Row(Code.PERMISSION_DENIED, NotAllowed),
    "NOT_BUILT_YET": Row(Code.UNIMPLEMENTED, NotBuiltYet),
    "INTERNAL": Row(Code.INTERNAL, Fault),
}

BARE: Mapping[int, tuple[str, str]] = {
    Code.RESOURCE_EXHAUSTED: ("TOO_LARGE", "a message is larger than gRPC allows"),
    Code.UNAVAILABLE: ("BUSY", "the service cannot be reached"),
    Code.CANCELLED: ("CANCELLED", "the call was cancelled"),
    Code.DEADLINE_EXCEEDED: ("DEADLINE", "the deadline passed before the answer came"),
    Code.UNIMPLEMENTED: ("NOT_BUILT_YET", "the server does not have this call"),
    Code.UNAUTHENTICATED: ("UNAUTHENTICATED", "credentials are missing or not valid"),
    Code.PERMISSION_DENIED: ("NOT_ALLOWED", "the credentials do not allow this"),
}
"""What a status without our ErrorInfo means: gRPC's own errors. All others are INTERNAL."""

_TEXTS = ("op", "name", "got", "allowed", "hint")
_NUMBERS = ("node", "function", "query")


def row_of(error: Error) -> Row:
    """Its line. A reason newer than the table has the line of its class."""
    return TABLE.get(error.reason) or TABLE[error.default_reason]


def may_repeat(error: Error) -> bool:
    """Whether the same call, after a pause, may succeed."""
    return row_of(error).again is Again.PAUSE


# Error -> status.


def to_status(error: Error) -> Status:
    """The google.rpc.Status of an error, at most 4 KiB with its details."""
    # What is listed comes first; texts get what is left of the 4 KiB, and are cut all alike.
    for most in (1024, 512, 256, 128, 64, 32):
        status = _status(error, most)
        if status.ByteSize() <= limits.MAX_ERROR_BYTES:
            break
    return status


def _status(error: Error, most: int) -> Status:
    from google.protobuf.duration_pb2 import Duration
    from google.rpc.error_details_pb2 import ErrorInfo, PreconditionFailure, RetryInfo
    from google.rpc.status_pb2 import Status

    reason = error.reason if error.reason in TABLE else "INTERNAL"
    status = Status(code=TABLE[reason].code, message=cut(error.message, most))
    info = ErrorInfo(domain=DOMAIN, reason=reason)
    for key in _NUMBERS:
        if (number := getattr(error, key)) is not None:
            info.metadata[key] = str(number)
    for key in _TEXTS:
        if text := getattr(error, key):
            info.metadata[key] = cut(text, most)
    status.details.add().Pack(info)
    if isinstance(error, MissingBlobs):
        listed = error.digests[: limits.MAX_MISSING_LISTED]
        violations = [PreconditionFailure.Violation(type="MISSING", subject=digest.subject) for digest in listed]
        status.details.add().Pack(PreconditionFailure(violations=violations))
    if isinstance(error, Unavailable) and error.after > 0:
        delay = Duration()
        delay.FromMilliseconds(_milliseconds(error.after))
        status.details.add().Pack(RetryInfo(retry_delay=delay))
    return status


def to_grpc(error: Error) -> grpc.Status:
    """For `ServicerContext.abort_with_status`: the status, its details, and the push-back of BUSY."""
    import grpc

    packed = to_status(error)
    trailer: tuple[tuple[str, str | bytes], ...] = ((DETAILS_KEY, packed.SerializeToString()),)
    if isinstance(error, Unavailable) and error.after > 0:
        trailer += ((PUSHBACK_KEY, str(_milliseconds(error.after))),)
    code = next(code for code in grpc.StatusCode if code.value[0] == packed.code)
    return cast("grpc.Status", _Abort(code, packed.message, trailer))


@dataclass(frozen=True, slots=True)
class _Abort:
    """What gRPC asks of a status: three fields."""

    code: Any
    details: str
    trailing_metadata: Any


def _milliseconds(seconds: float) -> int:
    return max(1, round(min(seconds, 3600.0) * 1000))


def cut(text: str, most: int) -> str:
    """The text in at most `most` bytes of UTF-8; what is cut ends in "..."."""
    raw = text.encode(errors="replace")
    return raw.decode() if len(raw) <= most else raw[: most - 3].decode(errors="ignore") + "..."


# Status -> error.


def from_status(status: Status) -> Error:
    """The error a google.rpc.Status stands for."""
    from google.rpc.error_details_pb2 import ErrorInfo, PreconditionFailure, RetryInfo

    info, digests, after = None, [], 0.0
    for detail in status.details:
        if detail.Is(ErrorInfo.DESCRIPTOR):
            found = ErrorInfo.FromString(detail.value)
            info = found if found.domain == DOMAIN else info
        elif detail.Is(PreconditionFailure.DESCRIPTOR):
            digests += [digest for v in PreconditionFailure.FromString(detail.value).violations if v.type == "MISSING" and (digest := _digest(v.subject))]
        elif detail.Is(RetryInfo.DESCRIPTOR):
            after = RetryInfo.FromString(detail.value).retry_delay.ToMilliseconds() / 1000
    if info is None:
        return from_code(status.code)
    # A reason newer than this table is read by its status, and kept.
    row = TABLE.get(info.reason) or TABLE[BARE.get(status.code, ("INTERNAL", ""))[0]]
    fields: dict[str, Any] = {key: info.metadata[key] for key in _TEXTS if key in info.metadata}
    fields |= {key: int(text) for key in _NUMBERS if (text := info.metadata.get(key, "")).isdecimal() and len(text) < 20}
    if row.kind is MissingBlobs:
        fields["digests"] = digests
    if row.kind is Unavailable:
        fields["after"] = after
    return row.kind(status.message, reason=info.reason, **fields)


def from_code(code: int) -> Error:
    """The error of a status that gRPC itself made."""
    reason, message = BARE.get(code, ("INTERNAL", "the call failed inside gRPC or in a server that is not backsweep"))
    hints = {
        "BUSY": "is it running, and at this address?",
        "TOO_LARGE": f"a message is at most {limits.MAX_MESSAGE_BYTES} bytes: upload arrays, and use Run for large results",
        "INTERNAL": "report it, with the version of client and server",
    }
    return TABLE[reason].kind(message, reason=reason, hint=hints.get(reason, ""))


def from_rpc_error(error: grpc.RpcError) -> Error:
    """The error behind what a gRPC call raised. Raise it `from None`: nothing of gRPC's is left in it."""
    from google.protobuf.message import DecodeError
    from google.rpc.status_pb2 import Status

    code = getattr(error, "code", lambda: None)()
    number = int(code.value[0]) if code is not None else 0
    trailers = getattr(error, "trailing_metadata", lambda: ())() or ()
    for key, value in trailers:
        if key == DETAILS_KEY:
            try:
                status = Status.FromString(value)
                return from_status(status) if status.code == number else from_code(number)
            except (DecodeError, ValueError, TypeError):
                break
    return from_code(number)


def _digest(subject: str) -> Digest | None:
    from .arrays import Digest

    kind, _, rest = subject.partition("/")
    name, _, size = rest.partition("/")
    try:
        digest = Digest(bytes.fromhex(name), int(size))
    except ValueError:
        return None
    return digest if kind == "blobs" and len(digest.sha256) == limits.SHA256_BYTES and digest.size_bytes >= 0 else None
