"""The driver: a child process that owns Ray and the lanes, started as `python -m backsweep_engine.execute.cluster.driver <fd>`.

One thread decides: the main one (Ray must be started by a thread that stays). It takes events from one
queue: frames of the parent, read by a second thread, and answers of lanes, put there by Ray's own. It
ends when the parent's end of the channel does, however that came about. It may also be killed at any
time: the parent then starts another and asks again for what it has not got.

time.monotonic is read here because hedging and silence are about time; the rules are in queue.py.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import queue as stdlib_queue
import socket
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray

from ...errors import NO_CLUSTER, ClusterLost, Error, Fault, OverBudget
from ...plan.plan import Sweep
from ..executor import Array
from . import channel, joining, session
from .causes import OutOfMemory
from .copies import Copies
from .joining import text_of, words_of
from .lane import Place, lane_class
from .messages import Beat, Done, Drop, Ended, Failed, Lost, Open, Ready, Settings, Taken
from .queue import Action, Cancel, End, Ping, Queue, Replace, Start
from .sharing import grouped

_TICK_SECONDS = 0.1
_BEAT_SECONDS = 1.0
_HUNG_SECONDS = 60.0
"""A main loop that stands still for so long ends the process, whoever holds the GIL (the parent has given up long before)."""
_CLOSING_SECONDS = 6.0
_TOGETHER_SECONDS = 3.0
"""So long the first lane waits for the others, so that a short job does not run on it alone."""
_KEPT_SWEEPS = 64

Event = Callable[[], None]


class _Over(Exception):
    """The parent wants no more of us, or is gone."""


@dataclass(slots=True)
class _Job:
    """Of each sweep: `keys` and `sweeps` its name and itself, `shared` what its shared inputs are in and their order there, `given` its rows."""

    request: Open
    keys: list[str]
    sweeps: list[Copies]
    shared: list[tuple[tuple[int, ...], list[Copies]]]
    given: list[tuple[Array, ...]]


class Driver:
    """Turns frames and answers into the queue's words, and its decisions into calls of lanes."""

    def __init__(self, sock: socket.socket, settings: Settings, events: stdlib_queue.SimpleQueue[Event]) -> None:
        self._sock = sock
        self._settings = settings
        self._events = events
        self._queue = Queue()
        self._lane_class = lane_class(settings.resources)
        self._lanes: dict[int, Any] = {}
        self._nodes: dict[int, str] = {}
        """Of the lanes that are ready."""
        self._jobs: dict[int, _Job] = {}
        self._sweeps: OrderedDict[str, Copies] = OrderedDict()
        self._next_lane = 0
        self._failed_starts = 0
        self._starting: set[int] = set()
        self._first_ready = 0.0
        self._ready = False
        self.failure: Error | None = None

    def run(self) -> None:
        """Until the events say otherwise, by raising; or until lanes cannot be started (`failure`)."""
        for _ in range(self._settings.lanes):
            self._start_lane()
        beat = 0.0
        daemons = joining.daemons()
        while not self.failure:
            now = time.monotonic()
            if now - beat >= _BEAT_SECONDS:
                beat = now
                if os.getppid() != self._settings.parent:
                    raise _Over  # a process the parent had forked may still hold its end of the channel
                if not all(session.alive(pid) for pid in daemons):
                    self.failure = ClusterLost("a daemon of Ray died")  # Ray itself takes 20 s to say so, of a cluster it joined 60 s
                faulthandler.dump_traceback_later(_HUNG_SECONDS, exit=True)
                channel.send(self._sock, Beat())
            with contextlib.suppress(stdlib_queue.Empty):
                self._events.get(timeout=_TICK_SECONDS)()
                while True:
                    self._events.get_nowait()()
            self._tell_ready()
            for action in self._queue.decide(time.monotonic()):
                self._act(action)

    def _tell_ready(self) -> None:
        """Once all lanes have started; or some time after the first, since not every cluster has room for all."""
        if not self._ready and self._first_ready and (not self._starting or time.monotonic() - self._first_ready > _TOGETHER_SECONDS):
            self._ready = True
            channel.send(self._sock, Ready())

    # Frames.

    def frame(self, message: object, arrays: list[Array]) -> None:
        match message:
            case Open():
                try:
                    self._open(message, arrays)
                except Exception as error:  # Ray's, mostly: its store is full or gone
                    self._jobs.pop(message.job, None)
                    self._send_end(message.job, self._not_given(sum(array.nbytes for array in arrays), error))
            case Taken(job):
                self._queue.taken(job)
            case Drop(job):
                self._queue.drop(job)
                self._jobs.pop(job, None)

    def _open(self, request: Open, arrays: list[Array]) -> None:
        keys = [sweep.key for sweep in request.sweeps]
        sweeps = [self._copies(key, sweep) for key, sweep in zip(keys, request.sweeps, strict=True)]
        groups, shares = grouped(request.shared)
        puts = [Copies(tuple(arrays[i] for i in group)) for group in groups]
        shared = [(share.order, [puts[g] for g in share.groups]) for share in shares]
        given = [tuple(arrays[i] for i in positions) for positions in request.given]
        self._jobs[request.job] = _Job(request, keys, sweeps, shared, given)
        self._queue.open(request.job, [sweep for sweep, _, _ in request.todo], request.window, request.platform, time.monotonic())

    def _not_given(self, size: int, error: Exception) -> Error:
        """Why the inputs did not reach the lanes: never will, where the store is smaller than they are and there is no disk to spill to."""
        full = isinstance(error, ray.exceptions.OutOfDiskError | ray.exceptions.ObjectStoreFullError)
        if full and self._settings.address is None and size > self._settings.memory_bytes:
            message = "the inputs are larger than the cluster's object store, and its disk is full"
            hint = "raise BACKSWEEP_CLUSTER_MEMORY_BYTES, make room on the disk of the temporary directory, or use the executor local"
            return OverBudget(message, name="cluster_memory_bytes", got=f"{size} bytes", allowed=f"{self._settings.memory_bytes} bytes", hint=hint)
        return ClusterLost(f"the inputs could not be given to the lanes: {words_of(error)}", hint="the cluster's object store is full or gone")

    def _copies(self, key: str, sweep: Sweep) -> Copies:
        if key not in self._sweeps:
            self._sweeps[key] = Copies(sweep)
            while len(self._sweeps) > _KEPT_SWEEPS:
                self._sweeps.popitem(last=False)
        self._sweeps.move_to_end(key)
        return self._sweeps[key]

    # Decisions.

    def _act(self, action: Action) -> None:
        match action:
            case Start():
                self._start(action)
            case Cancel(lane, attempts):
                self._call(lane, "cancel", (attempts,), None)
            case Ping(lane):
                self._call(lane, "place", (), lambda value: self._heard(lane, value))
            case Replace(lane, cause):
                self._replace(lane, cause)
            case End(job, error):
                self._jobs.pop(job, None)
                self._send_end(job, error)

    def _start(self, action: Start) -> None:
        job = self._jobs[action.job]
        sweep, start, stop = job.request.todo[action.block]
        rows = tuple(np.ascontiguousarray(array[start:stop]) for array in job.given[sweep])
        order, shared = job.shared[sweep]
        node = self._nodes[action.lane]
        try:
            program, *groups = [copies.at(node) for copies in (job.sweeps[sweep], *shared)]
        except Exception as error:  # Ray's; its own store, of which there is one, has taken them already
            self._queue.failed(action.attempt, self._not_given(0, error), time.monotonic())
            return
        arguments = (action.attempt, job.keys[sweep], [program], rows, start, stop, order, groups)
        self._call(action.lane, "compute", arguments, lambda value: self._answered(action, value))

    def _call(self, lane: int, method: str, arguments: tuple[object, ...], then: Callable[[object], None] | None) -> None:
        """Calls the lane's method; `then` becomes an event, given the result or the exception."""
        try:
            future = getattr(self._lanes[lane], method).remote(*arguments).future()
        except KeyError:
            return  # lost meanwhile; the queue knows
        except Exception as error:
            if then is not None:
                self._events.put(_event(then, error))
            return
        if then is not None:
            future.add_done_callback(lambda done: self._events.put(_event(then, done.exception() or done.result())))

    # Answers.

    def _answered(self, action: Start, value: object) -> None:
        now = time.monotonic()
        match value:
            case np.ndarray():
                self._failed_starts = 0
                delivered = self._queue.finished(action.attempt, now)
                if delivered is not None:
                    job, block, attempts = delivered
                    channel.send(self._sock, Done(job, block, action.lane, attempts), (value,))
            case Error():
                self._queue.failed(action.attempt, value, now)
            case ray.exceptions.RayTaskError() | ray.exceptions.ObjectLostError() | ray.exceptions.RaySystemError():
                self._queue.failed(action.attempt, ClusterLost(words_of(value)), now)
            case ray.exceptions.OutOfMemoryError():  # Ray ended the lane, before the system would have
                self._replace(action.lane, OutOfMemory(words_of(value)))
            case Exception():  # the actor died or cannot be reached
                self._replace(action.lane, ClusterLost(words_of(value)))
            case _:
                self._queue.failed(action.attempt, Fault(f"a lane answered with {type(value).__name__}"), now)

    def _started(self, lane: int, value: object) -> None:
        if isinstance(value, Place):
            if lane in self._lanes:
                self._nodes[lane] = value.node
            self._queue.lane_ready(lane, value.platform, value.node)
            self._starting.discard(lane)
            self._first_ready = self._first_ready or time.monotonic()
        elif lane in self._lanes:
            self._failed_starts += 1
            if self._failed_starts >= max(4, 2 * self._settings.lanes):
                self.failure = ClusterLost(f"lanes do not start: {text_of(value)}", reason=NO_CLUSTER, hint="the nodes need the package backsweep, as here")
            else:
                self._replace(lane, ClusterLost(text_of(value)))

    def _heard(self, lane: int, value: object) -> None:
        if isinstance(value, Place):
            self._queue.lane_heard(lane, time.monotonic())
        else:
            self._replace(lane, ClusterLost(words_of(value)))

    # Lanes.

    def _start_lane(self) -> None:
        lane, self._next_lane = self._next_lane, self._next_lane + 1
        self._lanes[lane] = self._lane_class.remote()
        self._starting.add(lane)
        self._queue.lane_starting(lane)
        self._call(lane, "place", (), lambda value: self._started(lane, value))

    def _replace(self, lane: int, cause: Error) -> None:
        """Safe to be told twice: both the queue and any of its calls may find out that a lane is lost."""
        self._queue.lane_lost(lane, cause)
        actor = self._lanes.pop(lane, None)
        self._starting.discard(lane)
        if actor is None:
            return
        node = self._nodes.pop(lane, None)
        if node is not None and node not in self._nodes.values():
            self._forget(node)
        with contextlib.suppress(Exception):
            ray.kill(actor)
        self._start_lane()
        channel.send(self._sock, Lost(lane, cause.message))

    def _forget(self, node: str) -> None:
        """Its last lane is lost: what was put for it is freed."""
        kept = list(self._sweeps.values())
        for job in self._jobs.values():
            kept += job.sweeps
            kept += [copies for _, shared in job.shared for copies in shared]
        for copies in kept:
            copies.forget(node)

    def _send_end(self, job: int, error: Error) -> None:
        channel.send(self._sock, Ended(job, error))


def _event(then: Callable[[object], None], value: object) -> Event:
    return lambda: then(value)


def _over() -> None:
    raise _Over


def _listen(sock: socket.socket, events: stdlib_queue.SimpleQueue[Event], frame: Callable[[object, list[Array]], None], folder: str) -> None:
    """The reading thread: frames become events, in their order; the end of the stream becomes the end."""
    try:
        while True:
            message, arrays = channel.receive(sock)
            events.put(lambda message=message, arrays=arrays: frame(message, arrays))  # type: ignore[misc]
    except channel.Closed:
        events.put(_over)
    # From here the main thread closes; if it cannot in time, all ends without it.
    time.sleep(_CLOSING_SECONDS)
    _end(folder)


def _end(folder: str) -> None:
    session.kill(os.getpid(), spare=os.getpid())
    session.remove(folder)
    os._exit(0)


def main(arguments: Sequence[str]) -> None:
    sock = socket.socket(fileno=int(arguments[0]))
    settings, _ = channel.receive(sock)
    lock = session.hold(settings.folder)
    faulthandler.dump_traceback_later(settings.start_seconds + _HUNG_SECONDS, exit=True)
    events: stdlib_queue.SimpleQueue[Event] = stdlib_queue.SimpleQueue()
    box: list[Driver] = []
    threading.Thread(target=_listen, args=(sock, events, lambda m, a: box[0].frame(m, a), settings.folder), daemon=True).start()
    try:
        joining.begin(settings)
        box.append(Driver(sock, settings, events))
        box[0].run()
        assert box[0].failure is not None
        channel.send(sock, Failed(box[0].failure))
    except (_Over, channel.Closed):
        pass
    except Exception as error:
        cause = error if isinstance(error, Error) else ClusterLost(f"Ray failed: {text_of(error)}")
        with contextlib.suppress(channel.Closed):
            channel.send(sock, Failed(cause))
    with contextlib.suppress(Exception):
        ray.shutdown()
    del lock
    _end(settings.folder)


if __name__ == "__main__":
    main(sys.argv[1:])
