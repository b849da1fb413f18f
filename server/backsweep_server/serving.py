"""The gRPC server: our service, health and reflection, on one plaintext port."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc

from backsweep.v1 import backsweep_pb2, backsweep_pb2_grpc
from backsweep.wire import limits
from backsweep.wire.errors import Unavailable

from .admission import RESERVED_THREADS, Kind, Places
from .observe import log
from .service import Service
from .settings import SettingError, Settings

SERVICE = backsweep_pb2.DESCRIPTOR.services_by_name["BacksweepService"].full_name

_OPTIONS = (
    ("grpc.so_reuseport", 0),  # a taken port is an error, not two servers behind one address
    ("grpc.max_receive_message_length", limits.MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", limits.MAX_MESSAGE_BYTES),
)

END_RUNS_SECONDS = 1.0
"""So long before a stop cuts streams off, runs say themselves that they end."""


class Serving:
    """A server that listens from its making until `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.service = Service(settings)
        places = self.service.places
        self._threads = ThreadPoolExecutor(places.threads, thread_name_prefix="rpc")
        self._reserved = ThreadPoolExecutor(RESERVED_THREADS, thread_name_prefix="reserved")
        self._server = grpc.server(self._threads, options=_OPTIONS)
        self._health = health.HealthServicer()
        reflected = reflection.ReflectionServicer((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME))
        # A call whose message never comes holds a thread as well, and no place: only other threads are safe from that.
        _reserve(self.service, ("Capabilities", "CancelRun"), self._reserved)
        _reserve(self._health, ("Check",), self._reserved)
        setattr(reflected, "ServerReflectionInfo", _placed(reflected.ServerReflectionInfo, places))  # noqa: B010  # a method
        backsweep_pb2_grpc.add_BacksweepServiceServicer_to_server(self.service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflected, self._server)  # type: ignore[no-untyped-call]
        host, _ = settings.address
        try:
            port = self._server.add_insecure_port(settings.listen)
        except RuntimeError:
            raise SettingError(f"BACKSWEEP_LISTEN: got {settings.listen!r}, which cannot be listened on: is it taken, or not of this machine?") from None
        self.address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        self._say(serving=True)
        self._server.start()
        if not settings.on_loopback:
            log.warning("plaintext off loopback: whoever reaches %s may use the service, and may read what passes", self.address)

    def stop(self) -> bool:
        """Stops without losing a call: says so, waits until it was heard, answers what is under way.

        Whether everything under way has ended; if not, threads are still at work.
        """
        settings = self.settings
        self._say(serving=False)
        time.sleep(settings.notice_seconds)
        grace = settings.drain_seconds - settings.notice_seconds
        stopped = self._server.stop(grace)
        if not stopped.wait(max(0.0, grace - END_RUNS_SECONDS)):
            log.info("runs under way end now")
        self.service.end_runs(Unavailable("the server is stopping", reason="DRAINING", after=1.0))
        stopped.wait(END_RUNS_SECONDS + 1.0)
        self.service.close(END_RUNS_SECONDS)
        for threads in (self._threads, self._reserved):
            threads.shutdown(wait=False)
        return self.service.places.taken() == 0

    def _say(self, *, serving: bool) -> None:
        status = health_pb2.HealthCheckResponse.SERVING if serving else health_pb2.HealthCheckResponse.NOT_SERVING
        for name in ("", SERVICE):
            self._health.set(name, status)


def _reserve(servicer: object, names: Iterable[str], threads: ThreadPoolExecutor) -> None:
    """Gives these rpcs threads of their own. gRPC looks for them on the function it calls."""
    for name in names:
        rpc = functools.partial(getattr(servicer, name))
        rpc.experimental_thread_pool = threads  # type: ignore[attr-defined]
        setattr(servicer, name, rpc)


def _placed(stream: Callable[..., Iterator[Any]], places: Places) -> Callable[..., Iterator[Any]]:
    """A stream that is not ours, which holds a thread like our own: it takes a place among them."""

    def placed(requests: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            with places.take(Kind.STREAM):
                yield from stream(requests, context)
        except Unavailable as busy:
            context.abort(grpc.StatusCode.UNAVAILABLE, busy.message)

    return placed
