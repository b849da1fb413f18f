"""The small parts: places, memory, what is remembered, alarms, and the frame round an rpc."""

import logging
import threading
import time
from typing import Any

import pytest
from google.rpc import error_details_pb2
from google.rpc.status_pb2 import Status

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.wire.errors import Unavailable
from backsweep_engine.errors import Cancelled, GraphError
from backsweep_server.admission import RESERVED_THREADS, Kind, Memory, Places
from backsweep_server.alarms import Alarms
from backsweep_server.recent import Recent
from backsweep_server.rpc import Call, Frame, rpc


def test_a_place_is_busy_while_it_is_taken_and_free_ones_never_are() -> None:
    places = Places(calls=1, streams=2)
    assert places.threads == 3 + RESERVED_THREADS
    with places.take(Kind.STREAM), places.take(Kind.STREAM), places.take(Kind.CALL):
        for kind in (Kind.STREAM, Kind.CALL):
            with pytest.raises(Unavailable) as busy, places.take(kind):
                pass
            assert busy.value.reason == "BUSY"
            assert busy.value.after > 0
        for _ in range(10):
            with places.take(Kind.FREE):
                pass
        assert places.taken() == 3
    assert places.taken() == 0


def test_memory_is_given_back_also_after_an_error() -> None:
    memory = Memory(100)

    def fail() -> None:
        with memory.hold(70):
            with pytest.raises(Unavailable) as busy:
                memory.take(31)
            assert (busy.value.got, busy.value.allowed) == ("31 bytes", "30 bytes now")
            with memory.hold(30):
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with memory.hold(1000):  # buffers beside a promise do not make it wait for ever
        pass
    memory.take(100)


def test_what_was_made_is_made_once_and_forgotten_by_weight() -> None:
    made: list[str] = []
    recent: Recent[str] = Recent(10, 3)

    def get(key: str, weight: int = 1) -> str:
        return recent.get(key, lambda: made.append(key) or key.upper(), lambda value: weight)

    assert [get("a"), get("b"), get("a"), get("c")] == ["A", "B", "A", "C"]
    get("d")  # a fourth: b goes, which was not used again
    get("a")
    get("b")
    assert "".join(made) == "abcdb"
    get("heavy", 11)  # is made, and not kept
    assert len(recent) == 3
    get("e", 9)
    get("b")
    assert len(recent) == 2


def test_alarms_ring_in_their_order_unless_cancelled_and_survive_an_error(caplog: pytest.LogCaptureFixture) -> None:
    alarms, rung, last = Alarms(), [], threading.Event()
    alarms.at(0.10, lambda: rung.append("second"))
    alarms.at(0.05, lambda: rung.append("first"))
    alarms.at(0.01, lambda: 1 / 0)
    alarms.at(0.07, lambda: rung.append("never")).cancel()
    alarms.at(1e9, lambda: rung.append("in thirty years"))
    alarms.at(0.15, last.set)
    assert last.wait(10)
    assert rung == ["first", "second"]
    assert "ZeroDivisionError" in caplog.text
    alarms.close()


class Aborted(Exception):
    """As gRPC raises to leave the method."""


class Context:
    """What an rpc needs of gRPC's context."""

    def __init__(self, remaining: float | None = None) -> None:
        self.remaining = remaining
        self.callbacks: list[Any] = []
        self.status: Any = None

    def time_remaining(self) -> float | None:
        return self.remaining

    def add_callback(self, call: Any) -> bool:
        self.callbacks.append(call)
        return True

    def abort_with_status(self, status: Any) -> None:
        self.status = status
        raise Aborted


class Service:
    """Rpcs that fail in every way."""

    def __init__(self) -> None:
        self.frame = Frame(Places(1, 1), Alarms(), 100.0)

    @rpc(Kind.CALL)
    def Good(self, request: Any, call: Call) -> Any:
        return pb.UploadResponse()

    @rpc(Kind.CALL)
    def Theirs(self, request: Any, call: Call) -> Any:
        raise GraphError("no such thing", reason="SHAPE", node=3)

    @rpc(Kind.CALL)
    def Ours(self, request: Any, call: Call) -> Any:
        raise RuntimeError("a secret in /some/path.py")

    @rpc(Kind.STREAM)
    def Late(self, request: Any, call: Call) -> Any:
        call.deadline = time.monotonic() - 1
        yield pb.UploadResponse()
        raise Cancelled("stop() said so")


def reason(context: Context) -> tuple[str, str]:
    status = Status.FromString(dict(context.status.trailing_metadata)["grpc-status-details-bin"])
    info = error_details_pb2.ErrorInfo()
    status.details[0].Unpack(info)
    return context.status.code.name, info.reason


@pytest.mark.parametrize(
    "name, wanted",
    [("Theirs", ("INVALID_ARGUMENT", "SHAPE")), ("Ours", ("INTERNAL", "INTERNAL")), ("Late", ("DEADLINE_EXCEEDED", "DEADLINE"))],
)
def test_whatever_is_raised_becomes_a_status_of_the_table(name: str, wanted: tuple[str, str], caplog: pytest.LogCaptureFixture) -> None:
    service, context = Service(), Context()
    with caplog.at_level(logging.INFO, "backsweep.server"), pytest.raises(Aborted):
        list(getattr(service, name)(pb.CancelRunRequest(run_id=b"x"), context) or ())
    assert reason(context) == wanted
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith(f"{name} {wanted[1]} ")]
    assert "3 bytes in" in line
    assert service.frame.places.taken() == 0


def test_an_unexpected_error_goes_to_the_log_and_not_to_the_client(caplog: pytest.LogCaptureFixture) -> None:
    context = Context()
    with pytest.raises(Aborted):
        Service().Ours(pb.CancelRunRequest(), context)
    sent = repr(context.status)
    assert "secret" not in sent
    assert "Traceback" not in sent
    assert "a secret in /some/path.py" in caplog.text
    number = caplog.records[0].getMessage().split()[-1]
    assert number in sent


@pytest.mark.parametrize("remaining, wanted", [(None, 100.0), (9.2e18, 100.0), (3.0, 3.0), (-1.0, 0.0)])
def test_a_call_has_the_smaller_of_its_own_and_the_servers_time(remaining: float | None, wanted: float) -> None:
    call = Call("Compute", Context(remaining), 100.0)  # type: ignore[arg-type]
    assert call.seconds == wanted


def test_a_call_stops_when_its_client_is_gone() -> None:
    context = Context()
    call = Call("Compute", context, 100.0)  # type: ignore[arg-type]
    assert not call.stop()
    context.callbacks[0]()
    assert call.stop()
    with pytest.raises(Cancelled):
        call.check()
