"""Runs by themselves, with a job that the test steers."""

import threading
import time
from collections.abc import Generator, Iterator

import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.wire.errors import RunRefused, Unavailable
from backsweep.wire.requests import Have, HeldRange
from backsweep_engine.errors import Cancelled, Error, Fault, GraphError
from backsweep_engine.execute.executor import Stop
from backsweep_engine.work import Held
from backsweep_server.alarms import Alarms
from backsweep_server.runs import Runs, Times

SOON = Times(60.0, 0.0)
KEPT = Times(60.0, 60.0)


class Steered:
    """Sends `count` chunks of `size` bytes, then `error` if there is one, or done."""

    def __init__(self, count: int = 3, size: int = 100, error: Exception | None = None, endless: bool = False) -> None:
        self.count, self.size, self.error, self.endless = count, size, error, endless
        self.begun = 0
        self.closed = 0
        self.made = 0
        self.stopped = threading.Event()

    def admit(self) -> None: ...

    def held(self, have: Have | None) -> Held:
        """Its ranges are blocks of one, of one part."""
        if have is not None and have.platform != "here":
            raise RunRefused("elsewhere", reason="PLAN_CHANGED")
        return frozenset((0, 0, r.start) for r in have.ranges) if have else frozenset()

    def accepted(self, attached: bool) -> pb.RunResponse:
        return pb.RunResponse(accepted=pb.Accepted(attached=attached))

    def progress(self) -> pb.RunResponse:
        return pb.RunResponse(progress=pb.Progress(blocks_done=self.made))

    def events(self, stop: Stop, held: Held) -> Generator[pb.RunResponse, None, None]:
        self.begun += 1
        try:
            for k in range(self.count):
                if (0, 0, k) in held:
                    continue
                self.made += 1
                yield pb.RunResponse(block=pb.BlockChunk(start=k, data=bytes(self.size)))
            while self.endless and not stop():
                time.sleep(0.005)
            if self.endless:
                raise Cancelled("stop() said so")
            if self.error is not None:
                raise self.error
            yield pb.RunResponse(done=pb.Done())
        finally:
            self.stopped.set()

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def runs() -> Iterator[Runs]:
    alarms = Alarms()
    runs = Runs(2, 1000, alarms)
    yield runs
    runs.close(Cancelled("the test is over"))
    runs.join(10)
    alarms.close()


def until(condition: object) -> None:
    end = time.monotonic() + 10
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.005)


def starts(events: list[pb.RunResponse]) -> list[int]:
    return [event.block.start for event in events if event.HasField("block")]


def test_a_finished_run_is_given_again_and_then_forgotten(runs: Runs) -> None:
    job = Steered()
    for number in (1, 2):
        run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
        assert run.accepted(stream).accepted.attached == (number == 2)
        assert starts(list(run.events(stream))) == [0, 1, 2]
        run.detach(stream)
    run, stream = runs.open("t", b"id", b"request", SOON, lambda: job)
    run.detach(stream)
    assert len(runs) == 0
    assert (job.begun, job.closed) == (1, 1)


def test_what_no_longer_fits_in_the_buffer_is_done_again(runs: Runs) -> None:
    job = Steered(count=40)
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
    until(lambda: job.made >= 9)
    time.sleep(0.05)
    assert job.made <= 10  # nobody reads: the worker waits
    assert starts(list(run.events(stream))) == list(range(40))
    run.detach(stream)
    _, stream = runs.open("t", b"id", b"request", SOON, lambda: job)
    assert starts(list(run.events(stream))) == list(range(40))
    assert job.begun == 2
    run.detach(stream)
    until(lambda: job.closed == 1)


def have(*starts: int) -> Have:
    return Have(b"", "here", tuple(HeldRange(0, 0, None, k, k + 1) for k in starts))


def test_a_stream_that_holds_what_was_dropped_goes_on_with_the_rest(runs: Runs) -> None:
    job = Steered(count=40)
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
    assert starts(list(run.events(stream))) == list(range(40))
    run.detach(stream)
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job, have(*range(36)))
    assert starts(list(run.events(stream))) == [36, 37, 38, 39]
    run.detach(stream)
    assert job.begun == 1
    run, stream = runs.open("t", b"id", b"request", SOON, lambda: job, have(7))
    assert starts(list(run.events(stream))) == [k for k in range(40) if k != 7]
    assert job.begun == 2
    run.detach(stream)


def test_blocks_left_out_for_one_stream_are_made_for_the_next(runs: Runs) -> None:
    job = Steered()
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job, have(1))
    assert starts(list(run.events(stream))) == [0, 2]
    run.detach(stream)
    run, stream = runs.open("t", b"id", b"request", SOON, lambda: job)
    assert starts(list(run.events(stream))) == [0, 1, 2]
    run.detach(stream)


def test_a_stream_that_is_refused_for_what_it_holds_leaves_no_run(runs: Runs) -> None:
    job = Steered()
    with pytest.raises(RunRefused):
        runs.open("t", b"id", b"request", KEPT, lambda: job, Have(b"", "elsewhere"))
    assert (len(runs), job.begun, job.closed) == (0, 0, 1)


def test_finished_runs_that_nobody_attends_make_room(runs: Runs) -> None:
    for k in range(4):
        job = Steered()
        run, stream = runs.open("t", bytes([k]), b"request", KEPT, lambda job=job: job)  # type: ignore[misc]
        list(run.events(stream))
        run.detach(stream)
    assert len(runs) == 2


@pytest.mark.parametrize(
    "raised, wanted, reason", [(GraphError("no", reason="SHAPE"), GraphError, "SHAPE"), (RuntimeError("a secret"), Fault, "INTERNAL")], ids=["theirs", "ours"]
)
def test_a_run_that_failed_is_forgotten_once_a_stream_was_told(runs: Runs, raised: Exception, wanted: type[Error], reason: str) -> None:
    job = Steered(error=raised)
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
    with pytest.raises(wanted) as told:
        list(run.events(stream))
    assert told.value.reason == reason
    assert "secret" not in str(told.value)
    run.detach(stream)
    assert len(runs) == 0
    until(lambda: job.closed == 1)


def test_a_run_that_failed_without_a_stream_is_kept_for_the_next(runs: Runs) -> None:
    job = Steered(error=GraphError("no"))
    run, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
    run.detach(stream)
    assert job.stopped.wait(10)
    _, stream = runs.open("t", b"id", b"request", KEPT, lambda: job)
    with pytest.raises(GraphError):
        list(run.events(stream))
    run.detach(stream)
    assert len(runs) == 0


def test_a_run_is_its_tenants(runs: Runs) -> None:
    runs.open("mine", b"id", b"request", KEPT, lambda: Steered(endless=True))
    with pytest.raises(RunRefused):
        runs.cancel("theirs", b"id")
    run, stream = runs.open("theirs", b"id", b"another request", SOON, Steered)
    assert not run.accepted(stream).accepted.attached
    assert runs.cancel("mine", b"id")


def test_there_are_only_so_many_runs_attended_or_not(runs: Runs) -> None:
    jobs = [Steered(endless=True) for _ in range(3)]
    for k in range(2):
        run, stream = runs.open("t", bytes([k]), b"request", KEPT, lambda k=k: jobs[k])  # type: ignore[misc]
        run.detach(stream)
    with pytest.raises(Unavailable) as busy:
        runs.open("t", b"third", b"request", KEPT, lambda: jobs[2])
    assert busy.value.reason == "BUSY"
    assert jobs[2].begun == 0


def test_a_detached_run_ends_after_its_time_and_its_worker_with_it(runs: Runs) -> None:
    job = Steered(endless=True)
    run, stream = runs.open("t", b"id", b"request", Times(60.0, 0.05), lambda: job)
    run.detach(stream)
    until(lambda: len(runs) == 0)
    assert job.stopped.wait(10)
    until(lambda: job.closed == 1)


def test_the_newest_streams_times_hold(runs: Runs) -> None:
    job = Steered(endless=True)
    runs.open("t", b"id", b"request", KEPT, lambda: job)
    run, stream = runs.open("t", b"id", b"request", Times(0.05, 60.0), lambda: job)
    with pytest.raises(Error) as ended:
        list(run.events(stream))
    assert ended.value.reason == "DEADLINE"
