"""Runs: large work that outlives its stream.

A worker thread fills the log of a run; at most one stream at a time reads it. A reader that is slow
or away makes the worker wait once `buffer_bytes` are held. What was read is kept for a stream that
attaches later, as far as the buffer goes. If that stream lacks blocks beyond it, the work is begun again without
those its client holds, which gives the same bits.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from typing import Protocol

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.wire.errors import DeadlineExceeded, RunRefused, Unavailable
from backsweep.wire.requests import Have
from backsweep_engine.errors import Cancelled, Error, Fault
from backsweep_engine.execute.executor import Stop
from backsweep_engine.work import Held

from .alarms import Alarm, Alarms
from .held import NOTHING, key_of
from .observe import log

PROGRESS_SECONDS = 1.0


class Job(Protocol):
    """The work of a run; see delivery.Delivery."""

    def admit(self) -> None: ...

    def held(self, have: Have | None) -> Held: ...

    def accepted(self, attached: bool) -> pb.RunResponse: ...

    def progress(self) -> pb.RunResponse: ...

    def events(self, stop: Stop, held: Held) -> Generator[pb.RunResponse, None, None]: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds: of the run from its start, and without a stream. The newest stream's hold."""

    most: float
    detached: float


class Run:
    """One run. `started` and `attach` give a stream its number; every other call of a stream names it."""

    def __init__(self, job: Job, request: bytes, times: Times, buffer_bytes: int, alarms: Alarms, forget: Callable[[Run], None]) -> None:
        self.request = request
        self._job = job
        self._times = times
        self._buffer_bytes = buffer_bytes
        self._alarms = alarms
        self._forget = forget
        self._started = time.monotonic()
        self._changed = threading.Condition()
        self._log: deque[pb.RunResponse] = deque()
        self._dropped = 0
        """how many events were dropped from the front of the log"""
        self._absent: set[tuple[int, int, int]] = set()
        """of what is not in the log: left out when the round began, or dropped since; by its key"""
        self._held = NOTHING
        """of what the stream's client holds"""
        self._held_bytes = 0
        self._read = 0
        """how many events the stream has taken, dropped ones counted"""
        self._stream = 0
        self._attached = False
        self._told = False
        """a stream got the error that ended the run"""
        self._ending: Error | None = None
        """why the worker must stop"""
        self._finished = False
        self._outcome: Error | None = None
        self._round = 0
        """how many times the work was begun; a worker of an earlier round stops"""
        self._worker: threading.Thread | None = None
        self._forgotten = False
        self._closed = False
        self._deadline_alarm: Alarm | None = None
        self._detach_alarm: Alarm | None = None

    # The worker.

    def _begin(self) -> None:
        """A worker for a new round, which makes what the stream lacks. Called with the lock held."""
        self._round += 1
        self._absent = set(self._held)
        self._log.clear()
        self._dropped = self._held_bytes = self._read = 0
        self._finished, self._outcome = False, None
        self._worker = threading.Thread(target=self._work, args=(self._round, self._worker, self._held), name="run", daemon=True)
        self._worker.start()

    def _work(self, number: int, before: threading.Thread | None, held: Held) -> None:
        if before is not None:
            before.join()  # it was told to stop: never two at work
        outcome: Error | None = None
        try:
            self._job.admit()
            with contextlib.closing(self._job.events(lambda: self._must_stop(number), held)) as events:
                for message in events:
                    self._emit(message, number)
        except Error as error:
            outcome = error
        except Exception as error:
            log.exception("a run failed")
            outcome = Fault(f"the server failed ({type(error).__name__})", hint="report it; the server's log says more")
        with self._changed:
            if number == self._round:
                self._finished, self._outcome = True, self._ending or outcome
                self._changed.notify_all()
                self._close_if_idle()

    def _must_stop(self, number: int) -> bool:
        return self._ending is not None or number != self._round

    def _emit(self, message: pb.RunResponse, number: int) -> None:
        size = message.ByteSize()
        with self._changed:
            while self._log and self._held_bytes + size > self._buffer_bytes and not self._must_stop(number):
                if self._dropped < self._read:
                    dropped = self._log.popleft()
                    self._held_bytes -= dropped.ByteSize()
                    self._dropped += 1
                    if (key := key_of(dropped)) is not None:
                        self._absent.add(key)
                else:
                    self._changed.wait()
            if self._must_stop(number):
                raise Cancelled("the run was ended")
            self._log.append(message)
            self._held_bytes += size
            self._changed.notify_all()

    # Its streams.

    def held(self, have: Have | None) -> Held:
        """What a client says it holds of this run."""
        return self._job.held(have)

    def attach(self, times: Times, held: Held = NOTHING) -> int | None:
        """The number of a new stream, which takes the run over and gets what is not `held`; None if the run is forgotten already."""
        with self._changed:
            if self._forgotten:
                return None
            self._stream += 1
            self._attached = True
            self._read = self._dropped
            self._times = times
            self._held = held
            self._cancel_alarms()
            again = self._worker is None or not self._absent <= held
            if self._finished and again:
                self._started = time.monotonic()  # done once more, within the same time
            left = times.most - (time.monotonic() - self._started)
            self._deadline_alarm = self._alarms.at(left, lambda: self._over(times.most))
            if again:
                self._begin()
            self._changed.notify_all()
            return self._stream

    def events(self, stream: int) -> Iterator[pb.RunResponse]:
        """What the stream gets after `accepted`; ends early if it is detached."""
        next_progress = time.monotonic() + PROGRESS_SECONDS
        while True:
            with self._changed:
                message = self._next(stream, next_progress)
            if message is None:
                return
            if message.HasField("progress"):
                next_progress = time.monotonic() + PROGRESS_SECONDS
            yield message

    def accepted(self, stream: int) -> pb.RunResponse:
        return self._job.accepted(attached=stream > 1)

    def _next(self, stream: int, next_progress: float) -> pb.RunResponse | None:
        """The next event; None at the end. Called with the lock held."""
        while True:
            if stream != self._stream:
                raise RunRefused("another stream attached to this run", reason="ATTACHED_ELSEWHERE", hint="read on there")
            if not self._attached:
                return None
            if self._ending is not None:
                self._told = True
                raise self._ending
            at = self._read - self._dropped
            if at < len(self._log):
                self._read += 1
                self._changed.notify_all()
                if key_of(self._log[at]) in self._held:
                    continue
                return self._log[at]
            if self._finished:
                if self._outcome is not None:
                    self._told = True
                    raise self._outcome
                return None
            wait = next_progress - time.monotonic()
            if wait <= 0:
                return self._job.progress()
            self._changed.wait(wait)

    def detach(self, stream: int) -> None:
        """The stream has ended, in whatever way."""
        with self._changed:
            if stream != self._stream or not self._attached:
                return
            self._attached = False
            self._changed.notify_all()
            now = self._told or self._times.detached <= 0
            if not now:
                self._detach_alarm = self._alarms.at(self._times.detached, lambda: self._expire(stream))
        if now:
            self._expire(stream)

    # Its end.

    def end(self, reason: Error) -> bool:
        """Stops the work for this reason; False if it was finished already."""
        with self._changed:
            if self._finished or self._ending is not None:
                return False
            self._ending = reason
            self._changed.notify_all()
            return True

    def _over(self, most: float) -> None:
        self.end(DeadlineExceeded("the time for the run is over", name="max_seconds", got=f"{time.monotonic() - self._started:.3g} s", allowed=f"{most:.3g} s"))

    def let_go(self) -> bool:
        """Forgets it if it is finished and nobody attends; whether it did."""
        with self._changed:
            stream, idle = self._stream, self._finished and not self._attached and not self._forgotten
        if idle:
            self._expire(stream)
        return idle

    def _expire(self, stream: int) -> None:
        """Nobody came back: the run is cancelled, or its results are dropped, and it is forgotten."""
        with self._changed:
            if self._attached or stream != self._stream or self._forgotten:
                return
            self._forgotten = True
            self._cancel_alarms()
        self.end(Cancelled("the run had no stream for too long"))
        self._forget(self)
        with self._changed:
            self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._forgotten and self._finished and not self._closed:
            self._closed = True
            self._log.clear()
            self._job.close()

    def _cancel_alarms(self) -> None:
        for alarm in (self._deadline_alarm, self._detach_alarm):
            if alarm is not None:
                alarm.cancel()

    def join(self, seconds: float) -> None:
        """Waits for the worker to stop."""
        if self._worker is not None:
            self._worker.join(seconds)


class Runs:
    """All runs of a server, by (tenant, run_id); at most `most`, attended or not."""

    def __init__(self, most: int, buffer_bytes: int, alarms: Alarms) -> None:
        self._most = most
        self._buffer_bytes = buffer_bytes
        self._alarms = alarms
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, bytes], Run] = {}

    def open(self, tenant: str, run_id: bytes, request: bytes, times: Times, make: Callable[[], Job], have: Have | None = None) -> tuple[Run, int]:
        """The run of this id and a stream on it; `request` tells whether it is the same. `make` checks and admits new work.

        `have`: what the client says it holds; refused before a run is begun or another stream is sent away.
        """
        key = (tenant, run_id)
        while True:
            run = self._find(key) or self._added(key, request, times, make, have)
            if run.request != request:
                raise RunRefused("this run_id is that of another request", reason="RUN_EXISTS", name="run_id", got=run_id.hex(), hint="draw a new run_id")
            stream = run.attach(times, run.held(have))
            if stream is not None:
                return run, stream

    def cancel(self, tenant: str, run_id: bytes) -> bool:
        """False if it was finished already."""
        run = self._find((tenant, run_id))
        if run is None:
            raise RunRefused(
                "there is no such run here",
                reason="RUN_UNKNOWN",
                name="run_id",
                got=run_id.hex(),
                hint="it was never begun, is forgotten, or is on another replica",
            )
        return run.end(Cancelled("the run was cancelled"))

    def close(self, reason: Error) -> None:
        """Ends all runs: those with a stream say why."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.end(reason)

    def join(self, seconds: float) -> None:
        """Waits so long at most for all workers to stop."""
        end = time.monotonic() + seconds
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.join(max(0.0, end - time.monotonic()))

    def __len__(self) -> int:
        return len(self._runs)

    def _find(self, key: tuple[str, bytes]) -> Run | None:
        with self._lock:
            return self._runs.get(key)

    def _added(self, key: tuple[str, bytes], request: bytes, times: Times, make: Callable[[], Job], have: Have | None) -> Run:
        """A new run, or the one that another call added meanwhile."""
        self._make_room()
        self._require_room()
        job = make()
        try:
            job.held(have)
        except Error:
            job.close()
            raise
        run = Run(job, request, times, self._buffer_bytes, self._alarms, lambda run: self._remove(key, run))
        try:
            with self._lock:
                other = self._runs.get(key)
                if other is None:
                    self._require_room()
                    self._runs[key] = run
                    return run
        except Unavailable:
            job.close()
            raise
        job.close()
        return other

    def _make_room(self) -> None:
        """A finished run that nobody attends goes, the oldest first."""
        with self._lock:
            runs = list(self._runs.values()) if len(self._runs) >= self._most else []
        next((True for run in runs if run.let_go()), False)

    def _require_room(self) -> None:
        if len(self._runs) >= self._most:
            raise Unavailable("there are too many runs", after=1.0, name="max_streams", got=str(len(self._runs) + 1), allowed=f"{self._most} at a time")

    def _remove(self, key: tuple[str, bytes], run: Run) -> None:
        with self._lock:
            if self._runs.get(key) is run:
                del self._runs[key]
