"""A run on the wire: its events, attaching, cancelling, and what becomes of it without a stream."""

import itertools
import threading
import time
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import graph_pb2, query_pb2
from support import blobs, raw
from support.raw import SECONDS, Asking, floats, read_refusal, refusal

N = 1200
"""A Jacobian of 11 MiB: more than goes in Done, and less than the server holds for a lost client."""


def drawn() -> bytes:
    return np.random.default_rng().bytes(16)


def wide(ask: Asking, run_id: bytes, *, n: int = N, block: int = 100, repeat: int = 1, at: float = 1.0, **fields: Any) -> pb.RunRequest:
    """The Jacobian of sines, in blocks."""
    bound = [raw.binding("x", floats(*np.full(n, at)))]
    return pb.RunRequest(graph=ask.graph(raw.sines(n, repeat)), bindings=bound, queries=[raw.jacobian(block)], run_id=run_id, **fields)


def endless(ask: Asking, run_id: bytes, **fields: Any) -> pb.RunRequest:
    """Some tens of seconds of work that sends nothing."""
    bound = [raw.binding("x", floats(1e-3, shape=[]))]
    return pb.RunRequest(graph=ask.graph(raw.long_work(3000)), bindings=bound, queries=[raw.value()], run_id=run_id, **fields)


def start(ask: Asking, request: pb.RunRequest) -> Any:
    """The stream, once it is accepted."""
    stream = ask.stub.Run(request, timeout=SECONDS)
    assert next(stream).HasField("accepted")
    return stream


def matrix(events: list[pb.RunResponse], n: int = N) -> np.ndarray:
    """The Jacobian from its chunks."""
    blocks: dict[tuple[int, int], bytearray] = {}
    for chunk in (event.block for event in events if event.HasField("block")):
        data = blocks.setdefault((chunk.start, chunk.stop), bytearray())
        assert chunk.offset_bytes == len(data)
        data += chunk.data
    assert sorted(blocks)[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(sorted(blocks)))
    return np.concatenate([np.frombuffer(blocks[span]).reshape(n, -1) for span in sorted(blocks)], axis=1)


def until(condition: Any, seconds: float = 10.0) -> None:
    """Waits, within bounds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.02)


def ended(ask: Asking, run_id: bytes) -> bool:
    """Whether the server has forgotten a run."""
    try:
        ask.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), timeout=SECONDS)
    except grpc.RpcError as error:
        return read_refusal(error).reason == "RUN_UNKNOWN"
    return False


def test_blocks_come_with_the_promise_before_and_done_after(ask: Asking) -> None:
    events = list(ask.stub.Run(wide(ask, drawn()), timeout=SECONDS))
    accepted, done = events[0].accepted, events[-1].done
    assert accepted.promise.blocks == 12
    assert list(accepted.outlines[0].parts[0].type.shape) == [N, N]
    assert accepted.outlines[0].parts[0].in_blocks
    assert len(accepted.plan_key) == 32
    assert accepted.platform
    assert not accepted.attached
    assert all(len(event.block.data) <= 1 << 20 for event in events)
    np.testing.assert_array_equal(matrix(events), np.diag(np.full(N, np.cos(1.0))))
    assert (done.usage.blocks, done.usage.workers, done.usage.bytes_sent) == (12, 1, 8 * N * N)
    assert done.results[0].WhichOneof("answer") is None


def test_a_sparse_matrix_comes_as_its_pattern_and_then_its_values(ask: Asking) -> None:
    """The Hessian of sum(sin(x)): -sin(x) on the diagonal."""
    n = 300_000
    x = np.linspace(0, 1, n)
    axes = blobs.record(axes=graph_pb2.AttributeValue(ints=graph_pb2.Ints(values=[0])))
    square = blobs.function([("x", blobs.type_of(n))], [(0, [0], 0), (1, [1], 1)], [("", 2)])
    graph = ask.graph(graph_pb2.Graph(op_set=1, ops=["sin", "sum"], attributes=[axes], functions=[square]))
    query = query_pb2.Query(wrt=["x"], layout=query_pb2.LAYOUT_SPARSE, hessian=query_pb2.Hessian())
    request = pb.RunRequest(graph=graph, bindings=[raw.binding("x", ask.array(x))], queries=[query], run_id=drawn())
    events = list(ask.stub.Run(request, timeout=SECONDS))
    (part,) = events[0].accepted.outlines[0].parts
    assert (part.layout, part.axis, list(part.type.shape)) == (query_pb2.LAYOUT_SPARSE, pb.AXIS_POSITION, [n, n])
    assert events[0].accepted.promise.result_bytes == 8 * (n + 1) + 16 * n
    kinds = [kind for kind, _ in itertools.groupby(event.WhichOneof("event") for event in events if not event.HasField("progress"))]
    assert kinds == ["accepted", "pattern", "block", "done"]
    patterns = [event.pattern for event in events if event.HasField("pattern")]
    assert {(p.rows, p.columns, p.positions) for p in patterns} == {(n, n, n)} and all(len(p.data) <= 1 << 20 for p in patterns)
    indptr, indices = (np.frombuffer(b"".join(p.data for p in patterns if p.array == which), "<i8") for which in (1, 2))
    np.testing.assert_array_equal(indptr, np.arange(n + 1))
    np.testing.assert_array_equal(indices, np.arange(n))
    values = np.concatenate([np.frombuffer(event.block.data) for event in events if event.HasField("block")])
    np.testing.assert_allclose(values, -np.sin(x), rtol=0, atol=1e-15)


def test_a_second_stream_takes_the_run_over_and_gets_every_block(ask: Asking) -> None:
    request = wide(ask, drawn(), detach_seconds=30.0)
    first = start(ask, request)
    head = list(itertools.islice(first, 3))
    second = list(ask.stub.Run(request, timeout=SECONDS))
    assert second[0].accepted.attached
    assert [event.block.data for event in second[1:4]] == [event.block.data for event in head]
    np.testing.assert_array_equal(matrix(second), np.diag(np.full(N, np.cos(1.0))))
    with pytest.raises(grpc.RpcError) as lost:
        list(first)
    assert read_refusal(lost.value).reason == "ATTACHED_ELSEWHERE"


def test_a_lost_stream_only_detaches_and_a_finished_run_is_given_again(ask: Asking) -> None:
    request = wide(ask, drawn(), detach_seconds=30.0)
    start(ask, request).cancel()
    once, twice = (list(ask.stub.Run(request, timeout=SECONDS)) for _ in range(2))
    assert once[0].accepted.attached
    assert matrix(once).tobytes() == matrix(twice).tobytes()
    assert not ask.stub.CancelRun(pb.CancelRunRequest(run_id=request.run_id), timeout=SECONDS).cancelled


def test_a_run_larger_than_the_buffer_is_done_again_with_the_same_bits(ask: Asking) -> None:
    n = 2200  # 37 MiB, of which 16 are kept
    request = wide(ask, drawn(), n=n, block=500, detach_seconds=30.0)
    first = list(ask.stub.Run(request, timeout=SECONDS))
    again = list(ask.stub.Run(request, timeout=SECONDS))
    assert again[0].accepted.attached
    assert matrix(first, n).tobytes() == matrix(again, n).tobytes()


def have(accepted: pb.Accepted, *ranges: tuple[int, int], **fields: Any) -> pb.Have:
    """Columns of the only matrix."""
    held = [pb.BlockRange(axis=pb.AXIS_COLUMN, start=start, stop=stop) for start, stop in ranges]
    return pb.Have(plan_key=accepted.plan_key, platform=accepted.platform, ranges=held, **fields)


def of_blocks(events: list[pb.RunResponse]) -> list[pb.RunResponse]:
    return [event for event in events if event.HasField("block")]


@pytest.mark.parametrize("attached", [True, False], ids=["at the same run", "at a server that knows nothing of it"])
def test_what_the_client_holds_is_neither_sent_nor_computed_again(ask: Asking, attached: bool) -> None:
    request = wide(ask, drawn(), detach_seconds=30.0)
    whole = list(ask.stub.Run(request, timeout=SECONDS))
    request.have.CopyFrom(have(whole[0].accepted, (0, 300), (1100, 1200)))
    request.run_id = request.run_id if attached else drawn()
    rest = list(ask.stub.Run(request, timeout=SECONDS))
    assert rest[0].accepted.attached == attached
    assert {event.block.start for event in of_blocks(rest)} == set(range(300, 1100, 100))
    assert rest[-1].done.usage.blocks == (12 if attached else 8)
    held = [event for event in of_blocks(whole) if event.block.stop <= 300 or event.block.start >= 1100]
    assert matrix([*held, *rest]).tobytes() == matrix(whole).tobytes()


def test_a_run_whose_beginning_was_dropped_goes_on_for_a_client_that_holds_it(ask: Asking) -> None:
    n = 2200  # 37 MiB, of which 16 are kept
    request = wide(ask, drawn(), n=n, block=100, detach_seconds=30.0)
    whole = list(ask.stub.Run(request, timeout=SECONDS))
    request.have.CopyFrom(have(whole[0].accepted, (0, 2000)))
    rest = list(ask.stub.Run(request, timeout=SECONDS))
    assert rest[0].accepted.attached
    assert rest[-1].done.usage.blocks == 22  # of the run as it was: nothing was done twice
    request.have.CopyFrom(have(whole[0].accepted, (0, 100)))
    again = list(ask.stub.Run(request, timeout=SECONDS))
    assert again[-1].done.usage.blocks == 21  # what was dropped had to be done again, but for what is held
    assert matrix([*[e for e in of_blocks(whole) if e.block.start == 0], *again], n).tobytes() == matrix(whole, n).tobytes()


def test_a_run_of_which_all_is_held_is_done_at_once(ask: Asking) -> None:
    request = wide(ask, drawn())
    whole = list(ask.stub.Run(request, timeout=SECONDS))
    request.have.CopyFrom(have(whole[0].accepted, (0, N)))
    rest = list(ask.stub.Run(request, timeout=SECONDS))
    assert [event.WhichOneof("event") for event in rest] == ["accepted", "done"]


def test_a_pattern_and_values_that_are_held_do_not_come_again(ask: Asking) -> None:
    n = 300_000
    axes = blobs.record(axes=graph_pb2.AttributeValue(ints=graph_pb2.Ints(values=[0])))
    square = blobs.function([("x", blobs.type_of(n))], [(0, [0], 0), (1, [1], 1)], [("", 2)])
    graph = ask.graph(graph_pb2.Graph(op_set=1, ops=["sin", "sum"], attributes=[axes], functions=[square]))
    query = query_pb2.Query(wrt=["x"], layout=query_pb2.LAYOUT_SPARSE, hessian=query_pb2.Hessian())
    request = pb.RunRequest(graph=graph, bindings=[raw.binding("x", ask.array(np.linspace(0, 1, n)))], queries=[query], run_id=drawn())
    whole = list(ask.stub.Run(request, timeout=SECONDS))
    request.have.CopyFrom(have(whole[0].accepted, patterns=[pb.BlockRange()]))
    rest = list(ask.stub.Run(request, timeout=SECONDS))
    assert {event.WhichOneof("event") for event in rest} <= {"accepted", "block", "progress", "done"}
    assert [event.block.data for event in of_blocks(rest)] == [event.block.data for event in of_blocks(whole)]
    request.have.ranges.add(axis=pb.AXIS_POSITION, start=0, stop=n)
    assert {event.WhichOneof("event") for event in ask.stub.Run(request, timeout=SECONDS)} <= {"accepted", "progress", "done"}


HELD = {
    "a range that cuts a block": ({"start": 0, "stop": 150}, "MALFORMED"),
    "a range behind the end": ({"start": 1200, "stop": 1300}, "MALFORMED"),
    "a range of another query": ({"query": 1, "stop": 100}, "MALFORMED"),
    "a range along another axis": ({"axis": pb.AXIS_ROW, "stop": 100}, "MALFORMED"),
    "a range along no axis": ({"axis": 0, "stop": 100}, "MALFORMED"),
}


@pytest.mark.parametrize("sentence", HELD)
def test_what_cannot_be_held_is_refused_and_no_run_is_begun(ask: Asking, sentence: str) -> None:
    fields, reason = HELD[sentence]
    request = wide(ask, drawn(), detach_seconds=30.0)
    accepted = next(ask.stub.Run(wide(ask, drawn()), timeout=SECONDS)).accepted
    held = pb.BlockRange(**{"axis": pb.AXIS_COLUMN, **fields})
    request.have.CopyFrom(pb.Have(plan_key=accepted.plan_key, platform=accepted.platform, ranges=[held]))
    refused = refusal(lambda: ask.stub.Run(request, timeout=SECONDS))
    assert (refused.code, refused.reason, refused.metadata["name"]) == ("INVALID_ARGUMENT", reason, "have")
    assert ended(ask, request.run_id)


@pytest.mark.parametrize("other", ["plan_key", "platform"])
def test_blocks_of_another_plan_or_platform_are_refused_and_the_run_goes_on(ask: Asking, other: str) -> None:
    request = wide(ask, drawn(), detach_seconds=30.0)
    stream = ask.stub.Run(request, timeout=SECONDS)
    accepted = next(stream).accepted
    request.have.CopyFrom(have(accepted, (0, 100)))
    setattr(request.have, other, bytes(32) if other == "plan_key" else "elsewhere")
    refused = refusal(lambda: ask.stub.Run(request, timeout=SECONDS))
    assert (refused.code, refused.reason) == ("FAILED_PRECONDITION", "PLAN_CHANGED")
    assert list(stream)[-1].HasField("done")


def test_an_id_of_another_request_is_refused(ask: Asking) -> None:
    run_id = drawn()
    stream = start(ask, endless(ask, run_id))
    refused = refusal(lambda: ask.stub.Run(wide(ask, run_id), timeout=SECONDS))
    assert (refused.code, refused.reason) == ("ALREADY_EXISTS", "RUN_EXISTS")
    stream.cancel()


def test_cancel_run_ends_the_stream(ask: Asking) -> None:
    run_id = drawn()
    stream = start(ask, endless(ask, run_id))
    assert ask.stub.CancelRun(pb.CancelRunRequest(run_id=run_id), timeout=SECONDS).cancelled
    with pytest.raises(grpc.RpcError) as cancelled:
        list(stream)
    refused = read_refusal(cancelled.value)
    assert (refused.code, refused.reason) == ("CANCELLED", "CANCELLED")
    until(lambda: ended(ask, run_id))


def test_a_run_is_forgotten_as_soon_as_its_stream_ends_without_detach_seconds(ask: Asking) -> None:
    run_id = drawn()
    start(ask, endless(ask, run_id)).cancel()
    until(lambda: ended(ask, run_id))
    run_id = drawn()
    assert list(ask.stub.Run(wide(ask, run_id), timeout=SECONDS))[-1].HasField("done")
    until(lambda: ended(ask, run_id))


def test_a_run_without_a_stream_is_cancelled_after_detach_seconds(ask: Asking) -> None:
    run_id = drawn()
    request = endless(ask, run_id, detach_seconds=0.3)
    started = time.monotonic()
    start(ask, request).cancel()
    stream = start(ask, request)  # in time: still the same run
    stream.cancel()
    time.sleep(0.15)
    assert time.monotonic() - started < 5
    until(lambda: not list(attached(ask, request)))


def attached(ask: Asking, request: pb.RunRequest) -> Iterator[bool]:
    """True if the run is still there. Ends it if it is not, since asking starts it anew."""
    stream = ask.stub.Run(request, timeout=SECONDS)
    if next(stream).accepted.attached:
        stream.cancel()
        time.sleep(0.5)  # longer than detach_seconds
        yield True
    else:
        ask.stub.CancelRun(pb.CancelRunRequest(run_id=request.run_id), timeout=SECONDS)


def test_a_run_that_takes_too_long_is_ended(ask: Asking) -> None:
    refused = refusal(lambda: ask.stub.Run(endless(ask, drawn(), max_seconds=0.3), timeout=SECONDS))
    assert (refused.code, refused.reason, refused.metadata["allowed"]) == ("DEADLINE_EXCEEDED", "DEADLINE", "0.3 s")


def test_progress_comes_about_once_a_second(ask: Asking) -> None:
    stream = start(ask, endless(ask, drawn()))
    event = next(stream)
    assert event.HasField("progress")
    assert (event.progress.blocks_done, event.progress.blocks_total) == (0, 1)
    assert 0.5 < event.progress.seconds < 10
    stream.cancel()


def test_a_slow_reader_makes_the_work_wait_and_loses_nothing(ask: Asking) -> None:
    n = 2200
    stream = start(ask, wide(ask, drawn(), n=n, block=100))
    events = []
    for k, event in enumerate(stream):
        events.append(event)
        if k in (0, 20):
            time.sleep(0.4)
    np.testing.assert_array_equal(matrix(events, n), np.diag(np.full(n, np.cos(1.0))))


def test_equal_runs_at_once_are_one_run(ask: Asking) -> None:
    request = wide(ask, drawn(), detach_seconds=30.0)
    answers: list[list[pb.RunResponse] | grpc.RpcError] = []

    def one() -> None:
        try:
            answers.append(list(ask.stub.Run(request, timeout=SECONDS)))
        except grpc.RpcError as error:
            answers.append(error)

    threads = [threading.Thread(target=one) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    whole = [answer for answer in answers if isinstance(answer, list)]
    assert len(answers) == 6
    assert whole
    assert len({matrix(events).tobytes() for events in whole}) == 1
    assert {read_refusal(answer).reason for answer in answers if not isinstance(answer, list)} <= {"ATTACHED_ELSEWHERE"}


def test_a_run_pins_its_blobs_and_its_graph_stays(ask: Asking) -> None:
    request = wide(ask, drawn(), detach_seconds=1.0)
    start(ask, request).cancel()
    assert not ask.stub.FindMissing(pb.FindMissingRequest(digests=[request.graph]), timeout=SECONDS).missing


def test_infinity_in_blocks_is_noted_in_done(ask: Asking) -> None:
    message = blobs.small()
    message.ops[0] = "log"  # the second derivative of x log(x) is 1 / x
    bound = [raw.binding("x", floats(0.5, 0.0, 2.0))]
    request = pb.RunRequest(graph=ask.graph(message), bindings=bound, queries=[raw.hessian(block=1)], run_id=drawn())
    events = list(ask.stub.Run(request, timeout=SECONDS))
    assert not np.isfinite(matrix(events, 3)).all()
    (note,) = events[-1].done.results[0].non_finite
    assert note.op in ("log", "multiply")
