"""The service over gRPC: uploads what the server lacks, asks, and joins what comes back.

Nothing of gRPC's reaches the caller: every failure goes through wire/errors.py. Graphs and bound
arrays are sent once and named by digest; a server that lost one says so, and it is sent again.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import grpc

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import types_pb2
from backsweep.v1.backsweep_pb2_grpc import BacksweepServiceStub
from backsweep_engine.answer import Answer
from backsweep_engine.errors import Error, Fault, GraphError, OverBudget
from backsweep_engine.graph import Graph
from backsweep_engine.plan.make import seed_name
from backsweep_engine.ready import Give

from .calls import Call, Question, result_bytes
from .filed import Filed
from .service import Service
from .signature import Array
from .taking import Taking
from .transport import Answering, Progress, Usage
from .wire import limits
from .wire.answers import decode_result
from .wire.arrays import ArrayRef, Digest, array_ref, digest_of, encode_digest, to_bytes
from .wire.bindings import Binding, encode_binding
from .wire.errors import Again, DeadlineExceeded, MissingBlobs, RunRefused, Unavailable, from_rpc_error, may_repeat, row_of
from .wire.graphs import decode_graph, encode_graph
from .wire.queries import encode_query
from .wire.requests import encode_have

MAX_UPLOADS = 2
"""How often a call uploads again what a server says it lost."""

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.05, 5.0
"""Between repeats while a server is busy or away; doubled each time."""

DETACH_SECONDS = 10.0
"""How long a server keeps a run whose stream broke. One that does not is asked for what is missing, which costs little more."""

_RECONNECT = [("grpc.initial_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", 2000)]

_HEALTH = "/grpc.health.v1.Health/Check"
"""The cheapest call a server answers; an empty message asks about all of it."""

_log = logging.getLogger("backsweep")

T = TypeVar("T")


def connect(
    address: str, *, insecure: bool = False, credentials: grpc.ChannelCredentials | None = None, timeout: float = 600.0, patience: float = 5.0
) -> Service:
    """A service at `host:port`, or at several addresses: "ipv4:10.0.0.1:50051,10.0.0.2:50051". Nothing is sent before the first call.

    Plaintext leaves loopback only with `insecure=True`; otherwise give TLS `credentials`.
    `timeout`: seconds a call may take unless it says otherwise. `patience`: seconds the first call waits for a
    server that cannot be reached; one that was reached and is away is waited for until the timeout. Where there are several
    addresses, by a list or by name, a run that loses its server goes on at another.
    """
    if credentials is None and not insecure and not _is_loopback(address):
        raise Error(
            "plaintext to another machine",
            reason="INSECURE",
            got=address,
            allowed="loopback addresses",
            hint="pass credentials=grpc.ssl_channel_credentials(...), or insecure=True if the network is yours",
        )
    return Service(Remote(address, insecure, credentials, timeout, patience))


def _is_loopback(address: str) -> bool:
    family, _, several = address.partition(":")
    if family in ("ipv4", "ipv6"):  # gRPC's way to name several addresses
        return all(_is_loopback(one) for one in several.split(","))
    host = address.rsplit(":", 1)[0].strip("[]")
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return address.startswith("unix:")


class Remote:
    """The transport to one server (or one balanced name)."""

    def __init__(self, address: str, insecure: bool, credentials: grpc.ChannelCredentials | None, timeout: float, patience: float) -> None:
        self._address, self._insecure, self._timeout, self._patience = address, insecure, timeout, patience
        options = [("grpc.keepalive_time_ms", 30_000), ("grpc.enable_retries", 0), *_RECONNECT]  # we repeat by ourselves, below
        self._reached = self._closed = False
        self._channel = grpc.secure_channel(address, credentials, options) if credentials else grpc.insecure_channel(address, options)
        self._stub = BacksweepServiceStub(self._channel)
        self._lock = threading.Lock()
        self._graphs: dict[Graph, tuple[Digest, bytes]] = {}
        self._arrays: dict[int, tuple[Array, ArrayRef]] = {}
        self._sent: set[Digest] = set()
        self._usage = Usage()

    @property
    def usage(self) -> Usage:
        return self._usage

    def answering(self, question: Question, give: Give, to: Filed | None = None) -> Answering:
        return lambda values, timeout, progress: give(self._answered(question, values, timeout, progress, to))

    def _answered(self, question: Question, values: Sequence[Array], timeout: float | None, progress: Progress | None, to: Filed | None) -> list[Answer]:
        call = question.call(values)
        started, deadline = time.monotonic(), time.monotonic() + (self._timeout if timeout is None else timeout)
        graph, blobs, messages = self._encoded(call)
        taking = Taking(progress, to) if progress is not None or result_bytes(call) > limits.MAX_RESULT_BYTES else None

        def once() -> list[Answer]:
            nonlocal taking
            self._upload(blobs, deadline)
            if taking is None:
                try:
                    return self._compute(graph, messages, deadline)
                except OverBudget as error:
                    if row_of(error).again is not Again.AS_RUN:
                        raise
                    taking = Taking(progress, to)
            return self._run(graph, messages, deadline, taking)

        try:
            answers = self._repeated(once, blobs, deadline)
        finally:
            if taking is not None:
                self._count(taking.usage)
                if taking.answers is None:
                    taking.leave()
        self._count(Usage(1, time.monotonic() - started))
        return answers

    def explain(self, question: Question, values: Sequence[Array], timeout: float | None) -> str:
        call = question.call(values)
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        graph, blobs, messages = self._encoded(call)

        def once() -> str:
            self._upload(blobs, deadline)
            reply = self._unary(self._stub.Explain, pb.ExplainRequest(graph=graph, **messages), deadline)
            return "\n".join(plan.text for plan in reply.plans)

        return self._repeated(once, blobs, deadline)

    def engine_version(self, timeout: float | None) -> str:
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        return str(self._repeated(lambda: self._unary(self._stub.Capabilities, pb.CapabilitiesRequest(), deadline), {}, deadline).engine_version)

    def graph(self, digest: Digest, timeout: float | None) -> Graph:
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        if digest.size_bytes > limits.MAX_GRAPH_BYTES:
            raise GraphError("no graph is so large", reason="TOO_LARGE", got=str(digest), allowed=f"{limits.MAX_GRAPH_BYTES} bytes")

        def once() -> bytes:
            with self._translated():
                return b"".join([part.data for part in self._stub.ReadBlob(pb.ReadBlobRequest(digest=encode_digest(digest)), timeout=_left(deadline))])

        blob = self._repeated(once, {}, deadline)
        if digest_of(blob) != digest:
            raise Fault("the server gave other bytes than those of the digest")
        self._count(Usage(bytes_down=len(blob)))
        return decode_graph(blob)

    def close(self) -> None:
        self._closed = True
        self._channel.close()

    def __reduce__(self) -> tuple[Any, ...]:
        # Without credentials: whoever unpickles it elsewhere must have their own.
        return Remote, (self._address, self._insecure, None, self._timeout, self._patience)

    # Encoding.

    def _encoded(self, call: Call) -> tuple[types_pb2.Digest, dict[Digest, Callable[[], Any]], dict[str, Any]]:
        """The graph's digest, the blobs the call needs (as how to make their bytes), and its messages."""
        graph = call.request.graph
        with self._lock:
            if graph not in self._graphs:
                blob = encode_graph(graph)
                self._graphs[graph] = digest_of(blob), blob
            digest, blob = self._graphs[graph]
        blobs: dict[Digest, Callable[[], Any]] = {digest: lambda: blob}
        by_digest = self._large(call)
        wire: dict[str, Array | ArrayRef] = {}
        for name, array in call.values.items():
            wire[name] = array
            if name in by_digest:
                reference = self._reference(array, keep=name in call.bound)
                wire[name] = reference
                blobs[reference.digest] = lambda array=array: to_bytes(array)  # type: ignore[misc]
        bindings = [
            encode_binding(Binding(name, wire[name], name in call.request.batched, name in by_digest and name not in call.bound)) for name in graph.input_names
        ]
        queries = []
        for k, ask in enumerate(call.request.asks):
            message = encode_query(
                ask.query, {name: wire[seed_name(k, name)] for name in ask.seeds}, [n for n in ask.seeds if seed_name(k, n) in call.request.batched]
            )
            queries.append(message)
        return encode_digest(digest), blobs, {"bindings": bindings, "queries": queries}

    def _large(self, call: Call) -> set[str]:
        """The names sent by digest: what is bound, and the largest others until the rest fits in a call."""
        chosen = set(call.bound)
        inline = sorted(((a.nbytes, n) for n, a in call.values.items() if n not in chosen), reverse=True)
        total = sum(size for size, _ in inline)
        for size, name in inline:
            if total <= limits.MAX_INLINE_BYTES:
                break
            chosen.add(name)
            total -= size
        return chosen

    def _reference(self, array: Array, *, keep: bool) -> ArrayRef:
        """The digest of an array; of bound ones, which cannot change, it is computed once."""
        with self._lock:
            known = self._arrays.get(id(array))
        if known is not None and known[0] is array:
            return known[1]
        reference = array_ref(array)
        if keep:
            with self._lock:
                self._arrays[id(array)] = array, reference
        return reference

    # Sending.

    def _upload(self, blobs: Mapping[Digest, Callable[[], Any]], deadline: float) -> None:
        """Sends what this client has not sent yet and the server does not hold."""
        unsure = [digest for digest in blobs if digest not in self._sent]
        for at in range(0, len(unsure), limits.MAX_FIND_MISSING):
            part = unsure[at : at + limits.MAX_FIND_MISSING]
            reply = self._unary(self._stub.FindMissing, pb.FindMissingRequest(digests=map(encode_digest, part)), deadline)
            missing = {(d.sha256, d.size_bytes) for d in reply.missing}
            for digest in part:
                if (digest.sha256, digest.size_bytes) in missing:
                    self._send(digest, blobs[digest](), deadline)
                self._sent.add(digest)

    def _send(self, digest: Digest, data: Any, deadline: float) -> None:
        view = memoryview(data)
        view = view.cast("B") if view.nbytes else memoryview(b"")

        def chunks() -> Iterator[pb.UploadRequest]:
            for at in range(0, max(1, view.nbytes), limits.MAX_CHUNK_BYTES):
                yield pb.UploadRequest(digest=encode_digest(digest) if at == 0 else None, offset_bytes=at, data=bytes(view[at : at + limits.MAX_CHUNK_BYTES]))

        with self._translated():
            self._stub.Upload(chunks(), timeout=_left(deadline))
        self._count(Usage(bytes_up=digest.size_bytes))

    def _unary(self, method: Any, request: Any, deadline: float) -> Any:
        """One unary call; an interrupt (Ctrl-C) cancels it on the server too."""
        with self._translated():
            pending = method.future(request, timeout=_left(deadline))
            try:
                reply = pending.result()
            except BaseException:
                pending.cancel()
                raise
        self._count(Usage(bytes_up=request.ByteSize(), bytes_down=reply.ByteSize()))
        return reply

    def _compute(self, graph: types_pb2.Digest, messages: dict[str, Any], deadline: float) -> list[Answer]:
        reply = self._unary(self._stub.Compute, pb.ComputeRequest(graph=graph, **messages), deadline)
        self._count(Usage(blocks=reply.usage.blocks, workers=reply.usage.workers))
        return [decode_result(result, k) for k, result in enumerate(reply.results)]

    def _run(self, graph: types_pb2.Digest, messages: dict[str, Any], deadline: float, taking: Taking) -> list[Answer]:
        """Takes what is left of a run. The next call goes on where this one was broken off."""
        while taking.answers is None:
            left = _left(deadline)
            have = taking.have()
            request = pb.RunRequest(graph=graph, run_id=taking.run_id, max_seconds=left, detach_seconds=DETACH_SECONDS, **messages)
            if have is not None:
                _log.info("a run goes on with %d ranges and %d patterns held", len(have.ranges), len(have.patterns))
                request.have.CopyFrom(encode_have(have))
            self._count(Usage(bytes_up=request.ByteSize()))
            try:
                self._take(request, left, taking)
            except RunRefused as error:
                match row_of(error).again:
                    case Again.ANEW:
                        _log.warning("a run starts over: %s", error.message)
                        taking.start_over()
                    case Again.NEW_ID:
                        taking.new_id()
                    case _:
                        raise
        return taking.answers

    def _take(self, request: pb.RunRequest, left: float, taking: Taking) -> None:
        """One stream, read to its end: one let go before would be a cancelled call to the server."""
        stream = self._stub.Run(request, timeout=left)
        try:
            with self._translated():
                for event in stream:
                    taking.take(event)
        except BaseException as error:
            stream.cancel()
            # Where it may go on the run is left alone: it is cancelled if nobody comes back in DETACH_SECONDS.
            if not isinstance(error, Error) or row_of(error).again is Again.NO:
                with contextlib.suppress(grpc.RpcError):
                    self._stub.CancelRun(pb.CancelRunRequest(run_id=request.run_id), timeout=5.0)
            raise
        if taking.answers is None:
            raise Fault("the stream of a run ended without Done")

    def _repeated(self, once: Callable[[], T], blobs: Mapping[Digest, Any], deadline: float) -> T:
        """Repeats a call while the server is away or busy, and after uploading what it lost."""
        uploads, pause = 0, FIRST_PAUSE_SECONDS
        self._reach(deadline)
        while True:
            try:
                return once()
            except MissingBlobs as error:
                uploads += 1  # one after the other: a server that was away in between may have lost them again
                if uploads > MAX_UPLOADS:
                    raise error from None
                # The server names at most some of what it lost: ask again about everything.
                self._sent -= set(blobs)
            except Error as error:
                after = max(pause, error.after if isinstance(error, Unavailable) else 0.0)
                if not may_repeat(error):
                    raise
                if time.monotonic() + after >= deadline:
                    raise error from None
                uploads = 0
                time.sleep(after)
                pause = min(2 * pause, LAST_PAUSE_SECONDS)

    def _reach(self, deadline: float) -> None:
        """Waits for a connection, the first time: whoever has none gets to know it soon."""
        if self._reached:
            return
        # A call, not gRPC's watch over the connection: the watch outlives its use, and trips over a close soon after.
        waiting = min(self._patience, _left(deadline))
        try:
            with self._translated():
                health: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(_HEALTH)
                health(b"", timeout=waiting, wait_for_ready=True)
        except DeadlineExceeded:
            hint = "is it running, and at this address? patience= of connect waits longer"
            raise Unavailable("the service cannot be reached", name="address", got=self._address, allowed=f"{waiting:g} s", hint=hint) from None
        except Error:
            pass  # an answer: the call that follows will say what it means
        self._reached = True

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        """What gRPC raises, as an error of ours."""
        try:
            yield
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        except ValueError:
            if not self._closed:
                raise
            raise Error("this service is closed", reason="CLOSED", hint="another thread closed it during the call: connect again") from None

    def _count(self, used: Usage) -> None:
        with self._lock:
            self._usage += used


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise DeadlineExceeded("the time for the call is over", hint="give it a longer timeout=")
    return left
