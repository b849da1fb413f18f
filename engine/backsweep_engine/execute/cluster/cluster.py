"""Blocks computed by the lanes of a Ray cluster. Imports no Ray: that lives in a child process, which may die."""

from __future__ import annotations

import contextlib
import itertools
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ...errors import Cancelled, ClusterLost
from ...plan.plan import Plan
from ..executor import Array, Block, Once, Stop, Values
from ..local import compute, once_of, rows_of, run_once, shared_of
from . import channel
from .child import HINT, Child, Inbox, missing
from .messages import Done, Ended, Open
from .platform import numeric_platform

LIVES = 3
"""How many drivers one request may see die before it gives up."""

_POLL_SECONDS = 0.05
"""stop() is asked at least this often while waiting."""

_REST_SECONDS = 10.0
"""After a start that failed, requests fail at once for so long, instead of each trying again."""

_MINIMUM_MEMORY = 80 << 20
"""Ray refuses a smaller object store."""

_Range = tuple[int, int, int]
"""(sweep, start, stop) of a block."""


class _DriverLost(Exception):
    """The driver ended; another may be asked."""


@dataclass(slots=True)
class _Run:
    """One request: `left` holds the blocks not yet given out, `pool` the arrays by name.

    `platform`: of the lanes that computed what was given out, "" before.
    """

    plan: Plan
    pool: Values
    left: dict[_Range, None]
    platform: str = ""

    def give(self, key: _Range, array: Array) -> Block:
        del self.left[key]
        k, start, end = key
        sweep = self.plan.sweeps[k]
        return Block(sweep.query, sweep.part, sweep.axis, start, end, array)


class Cluster:
    """An Executor: `once` runs in this process, sweeps on `lanes` single-threaded workers.

    `memory_bytes`: of the object store that holds inputs and finished blocks (of a Ray of our own).
    `address`: of a running Ray cluster; None starts a Ray on this machine, at the first plan with sweeps.
    `fallback_local`: what the lanes cannot do is done here, instead of raising ClusterLost.
    May be used by several threads at once.
    """

    def __init__(
        self,
        lanes: int = 2,
        memory_bytes: int = 512 << 20,
        *,
        address: str | None = None,
        start_seconds: float = 60.0,
        fallback_local: bool = False,
    ) -> None:
        self._lanes = max(1, lanes)
        self._memory_bytes = max(memory_bytes, _MINIMUM_MEMORY)
        self._address = address
        self._start_seconds = start_seconds
        self._fallback_local = fallback_local
        self._jobs = itertools.count()
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._closed = False
        self._rest_until = 0.0
        self._failed_starts = 0
        self._rest_cause = ""

    @property
    def lanes(self) -> int:
        return self._lanes

    def once(self, plan: Plan) -> Once:
        return once_of(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        if plan.sweeps:
            try:
                self._begin()  # Ray starts while `once` runs
            except ClusterLost:
                if not self._fallback_local or self._closed:
                    raise
        whole, pool = run_once(plan, values, stop)
        yield from whole
        left = {(k, start, end): None for k, sweep in enumerate(plan.sweeps) for start, end in sweep.ranges()}
        if not left:
            return
        run = _Run(plan, pool, left)
        try:
            yield from self._on_lanes(run, stop)
        except ClusterLost:
            # Not after close(), and not when the rest would lack the bits the beginning had.
            if not self._fallback_local or self._closed or (run.platform and run.platform != numeric_platform()):
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

    def _on_lanes(self, run: _Run, stop: Stop) -> Iterator[Block]:
        """What is left of the run, over as many drivers as it takes, up to LIVES."""
        deadline = None
        for life in range(1, LIVES + 1):
            # Starts that fail one after the other share one waiting time.
            deadline = deadline or time.monotonic() + self._start_seconds
            try:
                child = self._connected(stop, deadline)
                deadline = None
                yield from self._over(child, run, stop)
                return
            except _DriverLost as lost:
                if life == LIVES or self._closed:
                    raise ClusterLost(f"the cluster's driver was lost: {lost}", hint=HINT) from None

    def _over(self, child: Child, run: _Run, stop: Stop) -> Iterator[Block]:
        """What is left of the run, over this driver."""
        job = next(self._jobs)
        request, arrays = self._request(job, run)
        try:
            inbox = child.open(request, arrays)
        except channel.Closed as error:
            raise _DriverLost(str(error)) from None
        try:
            while run.left:
                message, received = _next(inbox, stop)
                if message is None:
                    raise _DriverLost(child.cause)
                if isinstance(message, Ended):
                    raise message.error
                key = request.todo[message.block]
                if key in run.left:
                    run.platform = message.platform
                    yield run.give(key, received[0])
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
        platform = run.platform or numeric_platform()
        request = Open(job, sweeps, shared, given, tuple(run.left), window, platform, pinned=bool(run.platform))
        return request, [run.pool[name] for name in names]

    def _begin(self) -> Child:
        """The driver that lives, or a new one that is just starting."""
        with self._lock:
            if self._closed:
                raise ClusterLost("the cluster was closed", hint="make a new one")
            if self._child is not None and not self._child.over.is_set():
                return self._child
            cause = "" if self._child is None else self._child.cause
            if self._child is not None:
                self._failed_starts = 0 if self._child.ready.is_set() else self._failed_starts + 1
                self._child = None
                if self._failed_starts >= LIVES - 1:
                    self._failed_starts = 0
                    # A clock, since this is about not starting Ray over and over; it shapes no result.
                    self._rest_until = time.monotonic() + _REST_SECONDS
                    self._rest_cause = cause
            if time.monotonic() < self._rest_until:
                raise ClusterLost(f"Ray could not be started: {self._rest_cause}", hint=HINT)
            if absent := missing():
                raise ClusterLost(f"the cluster needs {' and '.join(absent)}, not installed here", hint=HINT)
            self._child = Child(self._lanes, self._memory_bytes, self._address, self._start_seconds)
            return self._child

    def _connected(self, stop: Stop, deadline: float) -> Child:
        """A driver with at least one lane ready. A clock, to bound the waiting for Ray."""
        child = self._begin()
        while not child.ready.wait(_POLL_SECONDS):
            if child.over.is_set():
                raise _DriverLost(child.cause)
            if stop():
                raise Cancelled("the work was cancelled while the cluster was starting")
            if time.monotonic() > deadline:
                raise ClusterLost(f"no lane was ready within {self._start_seconds:g} s", hint=HINT)
        return child


def _here(run: _Run, stop: Stop) -> Iterator[Block]:
    """What is left of the run, in this process."""
    for key in list(run.left):
        k, start, end = key
        sweep = run.plan.sweeps[k]
        yield run.give(key, compute(sweep, shared_of(sweep, run.pool), rows_of(sweep, run.pool, start, end), start, end, stop))


def _next(inbox: Inbox, stop: Stop) -> tuple[Done | Ended | None, list[Array]]:
    while True:
        if stop():
            raise Cancelled("the work was cancelled")
        with contextlib.suppress(queue.Empty):
            return inbox.get(timeout=_POLL_SECONDS)
