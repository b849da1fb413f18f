"""Blocks computed by the lanes of a Ray cluster. Imports no Ray: that lives in a child process, which may die.

`once` runs in this process, so a run's numeric platform is this process's: lanes of any other get no block of it.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from ...errors import BLOCK_FAILED, NO_CLUSTER, VERSION_SKEW, Cancelled, ClusterLost, Error
from ...plan.plan import Plan
from ..executor import Array, Block, Once, Stop, Values, never
from ..local import compute, once_of, rows_of, run_once, shared_of
from . import channel
from .child import HINT, Child, Inbox, missing
from .messages import Done, Ended, Open, Resources
from .platform import numeric_platform

_log = logging.getLogger("backsweep.cluster")

LIVES = 3
"""How many drivers one request may see die before it gives up."""

_POLL_SECONDS = 0.05
"""stop() is asked at least this often while waiting."""

_REST_SECONDS = 5.0
"""After a start that failed, requests fail at once for so long, instead of each trying again."""

_ANSWER_SECONDS, _RETURN_SECONDS = 4.0, 10.0
"""How long an address may be silent: one where a cluster was a moment ago, longer."""

_MINIMUM_MEMORY = 80 << 20
"""Ray refuses a smaller object store."""

_Range = tuple[int, int, int]
"""(sweep, start, stop) of a block."""


class _DriverLost(Exception):
    """The driver ended, with this cause; another may be asked."""

    def __init__(self, cause: Error) -> None:
        super().__init__(cause.message)
        self.cause = cause


@dataclass(slots=True)
class _Run:
    """One request: `left` holds the blocks not yet given out, `pool` the arrays by name."""

    plan: Plan
    pool: Values
    left: dict[_Range, None]

    def give(self, key: _Range, array: Array, lane: int = -1, attempts: int = 1) -> Block:
        del self.left[key]
        k, start, end = key
        sweep = self.plan.sweeps[k]
        return Block(sweep.query, sweep.part, sweep.axis, start, end, array, lane, attempts)


class Cluster:
    """An Executor: `once` runs in this process, sweeps on `lanes` single-threaded workers.

    `memory_bytes`: of the object store that holds inputs and finished blocks (of a Ray of our own).
    `address`: HOST:PORT of a running Ray cluster; None means RAY_ADDRESS, and where that is not set either a Ray on this
    machine, started at the first plan with sweeps. `lane_cpus`, `lane_memory_bytes`: what Ray is told that a lane needs, by
    which a cluster places lanes and grows; 0 bytes say nothing of memory.
    `fallback_local`: while there is no Ray, blocks are computed here, instead of raising ClusterLost. Not one that ended
    the lanes it ran on: it would end this process too.
    `meanwhile`: blocks are computed here already while Ray starts, instead of waiting `start_seconds` at most.
    May be used by several threads at once.
    """

    def __init__(
        self,
        lanes: int = 2,
        memory_bytes: int = 512 << 20,
        *,
        address: str | None = None,
        lane_cpus: float = 1.0,
        lane_memory_bytes: int = 0,
        start_seconds: float = 60.0,
        fallback_local: bool = False,
        meanwhile: bool = False,
    ) -> None:
        self._lanes = max(1, lanes)
        self._memory_bytes = max(memory_bytes, _MINIMUM_MEMORY)
        self._address = address or os.environ.get("RAY_ADDRESS") or None
        self._resources = Resources(lane_cpus, lane_memory_bytes)
        self._start_seconds = start_seconds
        self._fallback_local = fallback_local
        self._meanwhile = meanwhile
        self._jobs = itertools.count()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closed = False
        self._rest_until = 0.0
        self._failed_starts = 0
        self._rest_cause: Error | None = None

    @property
    def lanes(self) -> int:
        return self._lanes

    @property
    def started(self) -> bool:
        """Whether there is a Ray with a lane that can work."""
        child = self._child
        return child is not None and child.ready.is_set() and not child.over.is_set()

    def once(self, plan: Plan) -> Once:
        return once_of(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        if plan.sweeps:
            try:
                self._begin()  # Ray starts while `once` runs
            except ClusterLost as lost:
                if not self._may_stand_in(lost):
                    raise
        whole, pool = run_once(plan, values, stop)
        yield from whole
        left = {(k, start, end): None for k, sweep in enumerate(plan.sweeps) for start, end in sweep.ranges()}
        if not left:
            return
        run = _Run(plan, pool, left)
        try:
            yield from self._on_lanes(run, stop)
        except ClusterLost as lost:
            if not self._may_stand_in(lost):
                raise
            yield from _here(run, stop)

    def close(self) -> None:
        """Ends Ray and its processes; requests under way raise ClusterLost."""
        with self._lock:
            self._closed = True
            child, self._child = self._child, None
        if child is not None:
            child.close()

    # How.

    def _may_stand_in(self, lost: ClusterLost) -> bool:
        """Whether this process does what the lanes could not. Not after close()."""
        return self._fallback_local and not self._closed and lost.reason != BLOCK_FAILED

    def _on_lanes(self, run: _Run, stop: Stop) -> Iterator[Block]:
        """What is left of the run, over as many drivers as it takes, up to LIVES. A cluster that was lost is given some time to come back."""
        deadline, had_lanes = None, False
        for life in range(1, LIVES + 1):
            # Starts that fail one after the other share one waiting time.
            deadline = deadline or time.monotonic() + self._start_seconds
            try:
                child = self._begin(_RETURN_SECONDS if had_lanes else _ANSWER_SECONDS)
                if self._meanwhile or (self._fallback_local and had_lanes):
                    yield from _here(run, stop, lambda child=child: child.ready.is_set() or child.over.is_set())  # type: ignore[misc]
                    if not run.left:
                        return
                self._wait(child, stop, deadline)
                deadline, had_lanes = None, True
                yield from self._over(child, run, stop)
                return
            except _DriverLost as lost:
                _log.warning("the driver of the lanes was lost: %s", lost)
                if life == LIVES or self._closed or lost.cause.reason in (NO_CLUSTER, VERSION_SKEW):
                    _raise_lost(lost.cause, "CLUSTER_LOST" if had_lanes and lost.cause.reason == NO_CLUSTER else "")

    def _over(self, child: Child, run: _Run, stop: Stop) -> Iterator[Block]:
        """What is left of the run, over this driver."""
        job = next(self._jobs)
        request, arrays = self._request(job, run)
        try:
            inbox = child.open(request, arrays)
        except channel.Closed:
            raise _DriverLost(child.cause) from None
        try:
            while run.left:
                message, received = _next(inbox, stop)
                if message is None:
                    raise _DriverLost(child.cause)
                if isinstance(message, Ended):
                    raise message.error
                key = request.todo[message.block]
                if key in run.left:
                    if message.attempts > 1:
                        _log.info("rows %d to %d were begun %d times; lane %d finished them", key[1], key[2], message.attempts, message.lane)
                    yield run.give(key, received[0], message.lane, message.attempts)
                    child.taken(job)
        finally:
            child.drop(job)

    def _request(self, job: int, run: _Run) -> tuple[Open, list[Array]]:
        """The job in the driver's words; every array it needs stands in the list once."""
        sweeps = run.plan.sweeps
        names = {name: None for sweep in sweeps for name in (*sweep.shared, *sweep.given)}
        position = {name: i for i, name in enumerate(names)}
        shared = tuple(tuple(position[name] for name in sweep.shared) for sweep in sweeps)
        given = tuple(tuple(position[name] for name in sweep.given) for sweep in sweeps)
        # A quarter of the store for finished blocks, but always one a lane.
        largest = max(sweep.block_type(0, sweep.width).nbytes for sweep in sweeps)
        window = max(self._lanes, min(4 * self._lanes, self._memory_bytes // (4 * max(1, largest))))
        request = Open(job, sweeps, shared, given, tuple(run.left), window, numeric_platform())
        return request, [run.pool[name] for name in names]

    def _begin(self, answer_seconds: float = _ANSWER_SECONDS) -> Child:
        """The driver that lives, or a new one that is just starting: at an address somebody must answer within `answer_seconds`."""
        with self._lock:
            if self._closed:
                raise ClusterLost("the cluster was closed", hint="make a new one")
            if self._child is not None and not self._child.over.is_set():
                return self._child
            if self._child is not None:
                self._failed_starts = 0 if self._child.ready.is_set() else self._failed_starts + 1
                self._rest_cause, self._child = self._child.cause, None
                if self._failed_starts >= LIVES - 1:
                    self._failed_starts = 0
                    # A clock, since this is about not starting Ray over and over; it shapes no result.
                    self._rest_until = time.monotonic() + _REST_SECONDS
            if self._rest_cause is not None and time.monotonic() < self._rest_until:
                _raise_lost(self._rest_cause)
            if absent := missing():
                raise ClusterLost(f"the cluster needs {' and '.join(absent)}, not installed here", reason=NO_CLUSTER, hint=HINT)
            self._child = Child(self._lanes, self._memory_bytes, self._address, self._resources, self._start_seconds, min(answer_seconds, self._start_seconds))
            return self._child

    def _wait(self, child: Child, stop: Stop, deadline: float) -> None:
        """Until a lane is ready. A clock, to bound the waiting for Ray."""
        while not child.ready.wait(_POLL_SECONDS):
            if child.over.is_set():
                raise _DriverLost(child.cause)
            if stop():
                raise Cancelled("the work was cancelled while the cluster was starting")
            if time.monotonic() > deadline:
                slow = "give its start more time (start_seconds), or use the executor local"
                hint = slow if self._address is None else "the cluster needs free cores for lanes, and one of its nodes on the machine this server runs on"
                got = self._address or ""
                raise ClusterLost(f"no lane was ready within {self._start_seconds:g} s", reason=NO_CLUSTER, got=got, hint=hint)


def _raise_lost(cause: Error, reason: str = "") -> NoReturn:
    """Its own copy, since several threads may raise it."""
    raise ClusterLost(cause.message, reason=reason or cause.reason, got=cause.got, allowed=cause.allowed, hint=cause.hint) from None


def _here(run: _Run, stop: Stop, until: Callable[[], bool] = never) -> Iterator[Block]:
    """What is left of the run, in this process, until something else is said."""
    for key in list(run.left):
        if until():
            return
        if stop():
            raise Cancelled("the work was cancelled")
        k, start, end = key
        sweep = run.plan.sweeps[k]
        yield run.give(key, compute(sweep, shared_of(sweep, run.pool), rows_of(sweep, run.pool, start, end), start, end, stop))


def _next(inbox: Inbox, stop: Stop) -> tuple[Done | Ended | None, list[Array]]:
    while True:
        if stop():
            raise Cancelled("the work was cancelled")
        with contextlib.suppress(queue.Empty):
            return inbox.get(timeout=_POLL_SECONDS)
