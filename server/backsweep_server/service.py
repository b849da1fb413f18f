"""The rpcs: decode, answer, encode. The rules of each stand in proto/backsweep/v1/backsweep.proto."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import backsweep_pb2_grpc
from backsweep.wire import limits
from backsweep.wire.arrays import decode_digest, encode_digest
from backsweep.wire.errors import NotBuiltYet
from backsweep.wire.requests import decode_have, decode_run_id, decode_seconds
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.plan.make import Budget

from .admission import Kind, Memory, Places
from .alarms import Alarms
from .delivery import Delivery, compute
from .executors import Executors
from .explain import capabilities, explain
from .intake import Intake
from .rpc import Call, Frame, rpc
from .runs import Runs, Times
from .settings import Settings
from .store import Store
from .upload import Incoming

UNLIMITED_SECONDS = 1e9
"""A Run has its own max_seconds, whatever the rpc's deadline: losing the stream only detaches."""


class Service(backsweep_pb2_grpc.BacksweepServiceServicer):
    """What the server serves. `close` after the last rpc."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.places = Places(settings.max_calls, settings.max_streams)
        self.memory = Memory(settings.memory_bytes)
        self.alarms = Alarms()
        self.frame = Frame(self.places, self.alarms, settings.max_call_seconds)
        self.store = Store(settings.store_bytes, settings.lease_seconds)
        self.intake = Intake(self.store, Budget(settings.memory_bytes))
        self.executors = Executors(settings)
        self.runs = Runs(settings.max_streams, settings.run_buffer_bytes, self.alarms)

    @rpc(Kind.FREE)
    def Capabilities(self, request: pb.CapabilitiesRequest, call: Call) -> pb.CapabilitiesResponse:
        return capabilities(self.settings, self.executors)

    @rpc(Kind.CALL)
    def FindMissing(self, request: pb.FindMissingRequest, call: Call) -> pb.FindMissingResponse:
        count = len(request.digests)
        if count > limits.MAX_FIND_MISSING:
            raise GraphError("too many digests", reason="TOO_LARGE", name="max_find_missing", got=str(count), allowed=f"at most {limits.MAX_FIND_MISSING}")
        missing = self.store.missing(call.tenant, [decode_digest(digest) for digest in request.digests])
        return pb.FindMissingResponse(missing=[encode_digest(digest) for digest in missing])

    @rpc(Kind.STREAM)
    def Upload(self, requests: Iterator[pb.UploadRequest], call: Call) -> pb.UploadResponse:
        with Incoming(self.store, call.tenant) as incoming:
            for chunk in call.timed(requests):
                incoming.add(decode_digest(chunk.digest) if chunk.HasField("digest") else None, chunk.offset_bytes, chunk.data)
                call.received = incoming.received_bytes
            return pb.UploadResponse(stored=[encode_digest(digest) for digest in incoming.finish()])

    @rpc(Kind.STREAM)
    def ReadBlob(self, request: pb.ReadBlobRequest, call: Call) -> Iterator[pb.ReadBlobResponse]:
        if not request.HasField("digest"):
            raise GraphError("the request names no blob", name="digest", allowed="a digest")
        digest = decode_digest(request.digest)
        start, most = request.offset_bytes, request.limit_bytes
        if not 0 <= start <= digest.size_bytes or most < 0:
            raise GraphError(
                "the range is outside the blob", name="offset_bytes", got=f"{start}, {most}", allowed=f"an offset from 0 to {digest.size_bytes}, a limit from 0"
            )
        stop = min(digest.size_bytes, start + most) if most else digest.size_bytes
        with self.store.pinned(call.tenant, [digest]) as blobs, self.frame.cut_off(call):
            for at in range(start, max(stop, start + 1), limits.MAX_CHUNK_BYTES):
                call.check()
                yield pb.ReadBlobResponse(offset_bytes=at, data=bytes(blobs[digest][at : min(stop, at + limits.MAX_CHUNK_BYTES)]))

    @rpc(Kind.CALL)
    def Explain(self, request: pb.ExplainRequest, call: Call) -> pb.ExplainResponse:
        with self.intake.take(request, call.tenant, call.stop) as taken:
            return explain(taken, self.intake, self.executors, call.stop)

    @rpc(Kind.CALL)
    def Derive(self, request: pb.DeriveRequest, call: Call) -> pb.DeriveResponse:
        return self.intake.derive(request, call.tenant, call.stop)

    @rpc(Kind.CALL)
    def Compute(self, request: pb.ComputeRequest, call: Call) -> pb.ComputeResponse:
        with self.intake.take(request, call.tenant, call.stop) as taken:
            return compute(taken, self.executors, self.memory, call.stop)

    @rpc(Kind.STREAM, seconds=UNLIMITED_SECONDS)
    def Run(self, request: pb.RunRequest, call: Call) -> Iterator[pb.RunResponse]:
        settings = self.settings
        run_id = decode_run_id(request.run_id)
        most = decode_seconds("max_seconds", request.max_seconds, settings.max_seconds, zero=settings.max_seconds)
        times = Times(most, decode_seconds("detach_seconds", request.detach_seconds, settings.max_detach_seconds))
        have = decode_have(request)

        def make() -> Delivery:
            with ExitStack() as held:
                taken = held.enter_context(self.intake.take(request, call.tenant, call.stop))
                return Delivery(taken, self.executors, self.memory, settings.run_buffer_bytes, held)

        run, stream = self.runs.open(call.tenant, run_id, _identity(request), times, make, have)
        if not call.context.add_callback(lambda: run.detach(stream)):
            run.detach(stream)
        yield run.accepted(stream)
        yield from run.events(stream)
        call.check()  # a stream that was cut off has ended early

    @rpc(Kind.FREE)
    def CancelRun(self, request: pb.CancelRunRequest, call: Call) -> pb.CancelRunResponse:
        return pb.CancelRunResponse(cancelled=self.runs.cancel(call.tenant, decode_run_id(request.run_id)))

    @rpc(Kind.FREE)
    def Session(self, requests: Iterator[pb.SessionRequest], call: Call) -> Iterator[pb.SessionResponse]:
        raise NotBuiltYet("sessions are not built yet", hint="use Compute, or Run for large work")
        yield  # a stream, as gRPC wants it

    def end_runs(self, reason: Error) -> None:
        """Before a stop cuts them off: their clients go to another replica."""
        self.runs.close(reason)

    def close(self, seconds: float) -> None:
        """Ends what goes on without a stream, waits so long at most for it, and closes executors."""
        self.runs.join(seconds)
        self.executors.close()
        self.alarms.close()


def _identity(request: pb.RunRequest) -> bytes:
    """Equal for requests with equal graph, bindings and queries."""
    same = pb.ComputeRequest(graph=request.graph, bindings=request.bindings, queries=request.queries)
    return hashlib.sha256(same.SerializeToString(deterministic=True)).digest()
