"""What every rpc has: a place, a deadline, the error table and a log line.

`@rpc(kind)` makes a method (self, request, call) of the service into one that gRPC calls. Errors
leave through backsweep.wire.errors only; what nobody expected is INTERNAL, its traceback goes to
the log and not to the client.
"""

from __future__ import annotations

import functools
import inspect
import queue
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from backsweep.wire.errors import DeadlineExceeded, to_grpc
from backsweep_engine.errors import Cancelled, Error, Fault

from .admission import Kind, Places
from .alarms import Alarms
from .observe import log, rpc_line
from .store import DEFAULT_TENANT

Item = TypeVar("Item")

GRACE_SECONDS = 1.0
"""How long after its deadline a stream may still say so itself."""

_END: Any = object()


class Call:
    """One rpc under way: whose it is, until when, and whether anybody still waits for it."""

    def __init__(self, name: str, context: grpc.ServicerContext, seconds: float) -> None:
        self.name = name
        self.context = context
        self.tenant = tenant_of(context)
        self.started = time.monotonic()
        remaining = context.time_remaining()
        # Without a deadline gRPC says None, or some hundred billion years.
        self.seconds = seconds if remaining is None else max(0.0, min(seconds, remaining))
        self.deadline = self.started + self.seconds
        self.received = 0
        self.sent = 0
        self._gone = threading.Event()
        if not context.add_callback(self._gone.set):
            self._gone.set()

    def stop(self) -> bool:
        """Whether work for it is in vain: given to the engine, and asked often."""
        return self._gone.is_set() or time.monotonic() > self.deadline

    def ending(self) -> Error | None:
        """The error of a call that must stop."""
        if time.monotonic() > self.deadline:
            return DeadlineExceeded("the time for the call is over", got=f"{time.monotonic() - self.started:.3g} s", allowed=f"{self.seconds:.3g} s")
        return Cancelled("the call was cancelled") if self._gone.is_set() else None

    def check(self) -> None:
        """Raises if it must stop."""
        error = self.ending()
        if error is not None:
            raise error

    def timed(self, items: Iterator[Item]) -> Iterator[Item]:
        """The items of a request stream, until the deadline: gRPC's own iterator waits without end."""
        passed: queue.Queue[Item] = queue.Queue(2)

        def read() -> None:
            item = None
            while item is not _END:
                try:
                    item = next(items, _END)
                except Exception:  # the stream broke: the client is gone
                    item = _END
                # Nobody takes more once the call is over; then the stream ends as well.
                while not self.stop():
                    try:
                        passed.put(item, timeout=1.0)
                        break
                    except queue.Full:
                        continue
                else:
                    return

        threading.Thread(target=read, name=f"{self.name} reader", daemon=True).start()
        while True:
            self.check()
            try:
                item = passed.get(timeout=max(0.0, min(0.5, self.deadline - time.monotonic())))
            except queue.Empty:
                continue
            if item is _END:
                self.check()
                return
            yield item


def tenant_of(context: grpc.ServicerContext) -> str:
    """From credentials, never from a message. There are none yet."""
    return DEFAULT_TENANT


class Frame:
    """What all rpcs of a server share. `seconds`: the most a call may take; a run has its own limit."""

    def __init__(self, places: Places, alarms: Alarms, seconds: float) -> None:
        self.places = places
        self.alarms = alarms
        self.seconds = seconds

    @contextmanager
    def open(self, name: str, kind: Kind, context: grpc.ServicerContext, seconds: float | None) -> Iterator[Call]:
        """Everything round one rpc. Whatever is raised inside becomes a status."""
        call = Call(name, context, self.seconds if seconds is None else seconds)
        reason, text = "CANCELLED", ""
        error: Error | None = None
        try:
            with self.places.take(kind):
                yield call
            reason = "OK"
        except Cancelled as cancelled:
            error = call.ending() or cancelled
        except Error as expected:
            error = expected
        except Exception as unexpected:
            number = f"{time.time_ns():x}"
            log.exception("%s failed, number %s", name, number)
            error = Fault(f"the server failed ({type(unexpected).__name__})", hint=f"report it with this number, which is in the server's log: {number}")
        finally:
            # Also when gRPC drops the generator of a stream whose client is gone.
            if error is not None:
                reason, text = error.reason, error.message
            rpc_line(name, reason, time.monotonic() - call.started, call.received, call.sent, text)
        if error is not None:
            context.abort_with_status(to_grpc(error))

    @contextmanager
    def cut_off(self, call: Call) -> Iterator[None]:
        """Ends the stream at its deadline even if its client reads nothing: sending waits without end."""
        alarm = self.alarms.at(call.deadline - time.monotonic() + GRACE_SECONDS, call.context.cancel)
        try:
            yield
        finally:
            alarm.cancel()


def rpc(kind: Kind, seconds: float | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorator; see the module. The service has its Frame as `frame`. `seconds`: instead of the frame's."""

    def mark(method: Callable[..., Any]) -> Callable[..., Any]:
        name = method.__name__

        @functools.wraps(method)
        def one(self: Any, request: Any, context: grpc.ServicerContext) -> Any:
            with self.frame.open(name, kind, context, seconds) as call:
                call.received += _size(request)
                response = method(self, request, call)
                call.sent += response.ByteSize()
                return response

        @functools.wraps(method)
        def many(self: Any, request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self.frame.open(name, kind, context, seconds) as call:
                call.received += _size(request)
                for response in method(self, request, call):
                    call.sent += response.ByteSize()
                    yield response

        return many if inspect.isgeneratorfunction(method) else one

    return mark


def _size(request: Any) -> int:
    """A stream counts its messages itself."""
    size: int = request.ByteSize() if hasattr(request, "ByteSize") else 0
    return size
