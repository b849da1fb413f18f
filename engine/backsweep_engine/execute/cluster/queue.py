"""Which block runs on which lane: pure bookkeeping, without Ray, clock or thread.

The driver tells what happened, with the time, and asks `decide(now)` what to do. Times are seconds
of any steady clock. An *attempt* is one block given to one lane; attempts are numbered upwards and
a lane answers them in order, so the oldest one of a lane is the one it works on.

Rules. A block is delivered once: its first good answer counts. At most `window` blocks of a job are
started and not yet taken, so a slow client slows the lanes. A block that fails is tried again, up to
ATTEMPTS times; a lane that dies charges only the block it worked on, so that a block which kills lanes cannot
use up the attempts of its neighbours. An engine error is a block's answer and ends the job. A job runs on lanes of its own platform only.

A block that ran out of memory is not split: its bits come from the program of its whole width (CONTRACT B4), and two halves
would have others; padded to that width they would need the memory of the whole. What can be had for the same bits is
less company: from then on the block runs alone on a node, whose other lanes rest meanwhile. If that does not do, the job ends,
and whoever asked may ask for smaller blocks, which is another plan.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from ...errors import NO_CLUSTER, ClusterLost, Error
from .causes import OutOfMemory, given_up, skew

ATTEMPTS = 4
DEPTH = 2
"""Blocks in flight a lane: the second one hides the way to and from the lane."""

HEDGE_SECONDS = 1.0
HEDGE_FACTOR = 4.0
HEDGE_BLIND_SECONDS = 5.0
"""While no block of its sweep is finished, a block waits this long for its hedge, on a lane that answers."""

PING_SECONDS = 1.0
MUTE_SECONDS = 1.0
"""A lane that left a ping unanswered for so long may yet come back, but its blocks wait for no median."""
SILENT_SECONDS = 15.0
"""A busy lane that neither finished a block nor answered a ping for so long is lost."""

PATIENCE_SECONDS = 60.0
"""How long a job waits while there is no lane it may use."""

_RECENT = 64
"""Durations kept per sweep: the median follows the work."""


@dataclass(frozen=True, slots=True)
class Start:
    """Give the job's block to the lane."""

    attempt: int
    lane: int
    job: int
    block: int


@dataclass(frozen=True, slots=True)
class Cancel:
    """Tell the lane that nobody wants these attempts any more."""

    lane: int
    attempts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    lane: int


@dataclass(frozen=True, slots=True)
class Replace:
    """The lane is lost (its blocks are already waiting again): end it and start another."""

    lane: int
    cause: Error


@dataclass(frozen=True, slots=True)
class End:
    """The job is over, without all its blocks."""

    job: int
    error: Error


Action = Start | Cancel | Ping | Replace | End


@dataclass(slots=True)
class _Attempt:
    job: int
    block: int
    lane: int
    submitted: float


@dataclass(slots=True)
class _Lane:
    """`platform` is None until the lane is ready. `flight`: attempt numbers, oldest first."""

    platform: str | None = None
    node: str = ""
    flight: list[int] = field(default_factory=list)
    progress: float = 0.0
    heard: float = 0.0
    pinged: float = 0.0

    def owes_answer(self, now: float, seconds: float) -> bool:
        """Whether it was pinged so long ago and has not been heard since."""
        return self.pinged > self.heard and now - self.pinged >= seconds


@dataclass(slots=True)
class _Job:
    """`flying`: block -> its attempts. `untaken`: blocks delivered and not taken. `since`: when it last had a lane to use.

    `begun`: of blocks under way, how often. `alone`: blocks that ran out of memory -> node and lane of each time.
    """

    sweeps: Sequence[int]
    window: int
    platform: str
    since: float
    waiting: deque[int]
    flying: dict[int, list[int]] = field(default_factory=dict)
    failures: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    alone: dict[int, list[tuple[str, int]]] = field(default_factory=dict)
    durations: dict[int, deque[float]] = field(default_factory=dict)
    untaken: int = 0


class Queue:
    """See the module."""

    def __init__(self) -> None:
        self._lanes: dict[int, _Lane] = {}
        self._jobs: dict[int, _Job] = {}
        self._attempts: dict[int, _Attempt] = {}
        self._quiet: dict[str, tuple[int, int]] = {}
        """Nodes kept for one block, of a job, that runs alone."""
        self._next = 0
        self._actions: list[Action] = []

    # What happened to lanes.

    def lane_starting(self, lane: int) -> None:
        self._lanes[lane] = _Lane()

    def lane_ready(self, lane: int, platform: str, node: str) -> None:
        if lane in self._lanes:
            self._lanes[lane].platform, self._lanes[lane].node = platform, node

    def lane_heard(self, lane: int, now: float) -> None:
        """It answered a ping."""
        if lane in self._lanes:
            self._lanes[lane].heard = now

    def lane_lost(self, lane: int, cause: Error) -> None:
        """Its blocks wait again. May be told twice."""
        if lane not in self._lanes:
            return
        flight = self._lanes.pop(lane).flight
        # Backwards, since each goes to the front of the waiting: the oldest is then the first again.
        for position, number in reversed(list(enumerate(flight))):
            self._retry(number, cause if position == 0 else None)

    # What happened to jobs.

    def open(self, job: int, sweeps: Sequence[int], window: int, platform: str, now: float) -> None:
        """A job of len(sweeps) blocks; sweeps[k]: the sweep of block k (blocks of one sweep take about equally long)."""
        self._jobs[job] = _Job(sweeps, max(1, window), platform, now, deque(range(len(sweeps))))

    def taken(self, job: int) -> None:
        if job in self._jobs:
            self._jobs[job].untaken -= 1

    def drop(self, job: int) -> None:
        """Nobody wants the job any more."""
        found = self._jobs.pop(job, None)
        if found is None:
            return
        lanes: dict[int, list[int]] = {}
        for numbers in found.flying.values():
            for number in numbers:
                lanes.setdefault(self._attempts[number].lane, []).append(number)
        self._actions += [Cancel(lane, tuple(sorted(numbers))) for lane, numbers in lanes.items()]

    # What happened to attempts.

    def finished(self, number: int, now: float) -> tuple[int, int, int] | None:
        """(job, block, how often it was begun) to deliver, or None if the block was delivered before or its job is gone."""
        attempt = self._land(number, now)
        if attempt is None:
            return None
        job = self._jobs.get(attempt.job)
        if job is None or attempt.block not in job.flying:
            return None
        for other in job.flying.pop(attempt.block):
            if other in self._attempts:
                self._actions.append(Cancel(self._attempts[other].lane, (other,)))
        job.durations.setdefault(job.sweeps[attempt.block], deque(maxlen=_RECENT)).append(now - attempt.submitted)
        job.untaken += 1
        job.alone.pop(attempt.block, None)
        begun = job.begun.pop(attempt.block)
        if not job.waiting and not job.flying:
            del self._jobs[attempt.job]
        return attempt.job, attempt.block, begun

    def failed(self, number: int, error: Error, now: float) -> None:
        """The lane answered with an error. ClusterLost and OutOfMemory count as an attempt; any other ends the job."""
        attempt = self._attempts.get(number)
        if attempt is None:
            return
        if isinstance(error, ClusterLost | OutOfMemory):
            if attempt.lane in self._lanes:
                self._lanes[attempt.lane].progress = self._lanes[attempt.lane].heard = now
            self._retry(number, error)
        elif number in self._flying(attempt):
            self._end(attempt.job, error)
        self._land(number, now)

    def decide(self, now: float) -> list[Action]:
        """What to do now. To be asked after every event, and a few times a second without any."""
        self._watch(now)
        for key in list(self._jobs):
            self._require_lanes(key, now)
        self._let_go()
        self._hedge(now)
        while self._start_one(now):
            pass
        actions, self._actions = self._actions, []
        return actions

    # How.

    def _flying(self, attempt: _Attempt) -> list[int]:
        job = self._jobs.get(attempt.job)
        return job.flying.get(attempt.block, []) if job is not None else []

    def _land(self, number: int, now: float) -> _Attempt | None:
        """Takes the attempt off its lane; `submitted` becomes the time the lane began with it."""
        attempt = self._attempts.pop(number, None)
        if attempt is None:
            return None
        lane = self._lanes.get(attempt.lane)
        if lane is not None and number in lane.flight:
            lane.flight.remove(number)
            attempt.submitted = max(attempt.submitted, lane.progress)
            lane.progress = lane.heard = now
        flying = self._flying(attempt)
        if number in flying:
            flying.remove(number)
        return attempt

    def _retry(self, number: int, cause: Error | None) -> None:
        """The attempt came to nothing: its block waits again unless another lane has it. No cause, no charge."""
        attempt = self._attempts.pop(number, None)
        if attempt is None:
            return
        lane = self._lanes.get(attempt.lane)
        if lane is not None:
            lane.flight.remove(number)
        job = self._jobs.get(attempt.job)
        if job is None or number not in job.flying.get(attempt.block, ()):
            return
        job.flying[attempt.block].remove(number)
        if cause is not None:
            failures = job.failures[attempt.block] = job.failures.get(attempt.block, 0) + 1
            if isinstance(cause, OutOfMemory):
                job.alone.setdefault(attempt.block, []).append((lane.node if lane is not None else "", attempt.lane))
                self._quiet = {node: kept for node, kept in self._quiet.items() if kept != (attempt.job, attempt.block)}
            if failures >= ATTEMPTS:
                self._end(attempt.job, given_up(failures, cause))
                return
        if not job.flying[attempt.block]:
            del job.flying[attempt.block]
            job.waiting.appendleft(attempt.block)

    def _end(self, job: int, error: Error) -> None:
        self.drop(job)
        self._actions.append(End(job, error))

    def _watch(self, now: float) -> None:
        for key, lane in list(self._lanes.items()):
            if not lane.flight:
                continue
            if now - lane.heard >= SILENT_SECONDS and lane.owes_answer(now, MUTE_SECONDS):
                cause = ClusterLost(f"the lane did not answer for {SILENT_SECONDS:g} s")
                self.lane_lost(key, cause)
                self._actions.append(Replace(key, cause))
            elif lane.pinged <= lane.heard and now - lane.heard >= PING_SECONDS:
                lane.pinged = now
                self._actions.append(Ping(key))

    def _require_lanes(self, key: int, now: float) -> None:
        """Ends a job that waits for lanes which do not come, or are on other platforms."""
        job = self._jobs[key]
        ready = sorted({lane.platform for lane in self._lanes.values() if lane.platform is not None})
        if job.platform in ready:
            job.since = now
            return
        starting = any(lane.platform is None for lane in self._lanes.values())
        if now - job.since < PATIENCE_SECONDS and (starting or not ready):
            return
        self._end(key, skew(job.platform, ready) if ready else ClusterLost(f"no lane was ready within {PATIENCE_SECONDS:g} s", reason=NO_CLUSTER))

    def _let_go(self) -> None:
        """Frees the nodes kept for a block that is done, or that have no lane left."""
        nodes = {lane.node for lane in self._lanes.values()}
        for node, (key, block) in list(self._quiet.items()):
            job = self._jobs.get(key)
            if job is None or block not in job.alone or node not in nodes:
                del self._quiet[node]

    def _hedge(self, now: float) -> None:
        """Gives blocks that are overdue to a second lane with room."""
        for key, lane in self._lanes.items():
            if not lane.flight or now - lane.progress < HEDGE_SECONDS:
                continue
            for number in list(lane.flight):
                attempt = self._attempts[number]
                if len(self._flying(attempt)) != 1:
                    continue  # it has its hedge, or nobody wants it
                job = self._jobs[attempt.job]
                if attempt.block in job.alone:
                    continue
                known = job.durations.get(job.sweeps[attempt.block])
                limit = max(HEDGE_SECONDS, HEDGE_FACTOR * statistics.median(known)) if known else HEDGE_BLIND_SECONDS
                if lane.owes_answer(now, MUTE_SECONDS):
                    limit = HEDGE_SECONDS
                if now - max(attempt.submitted, lane.progress) < limit:
                    continue
                other = self._roomiest(job.platform, DEPTH, excluded=key)
                if other is not None:
                    self._start(other, attempt.job, attempt.block, now)

    def _roomiest(self, platform: str, depth: int, excluded: int = -1) -> int | None:
        """The lane of this platform with the fewest blocks in flight, if fewer than `depth`. Not on a node kept for one block."""
        open_lanes = [
            (len(lane.flight), key)
            for key, lane in self._lanes.items()
            if lane.platform == platform and key != excluded and len(lane.flight) < depth and lane.node not in self._quiet
        ]
        return min(open_lanes)[1] if open_lanes else None

    def _solitary(self, key: int, block: int) -> int | None:
        """The lane for a block that runs alone, once nothing else runs on its node: where it failed least, since nodes differ in memory."""
        job = self._jobs[key]
        failed = [node for node, _ in job.alone[block]]
        node = next((node for node, kept in self._quiet.items() if kept == (key, block)), None)
        if node is None:
            busy: dict[str, int] = {}
            for lane in self._lanes.values():
                if lane.platform == job.platform and lane.node not in self._quiet:
                    busy[lane.node] = busy.get(lane.node, 0) + len(lane.flight)
            if not busy:
                return None
            node = min(busy, key=lambda name: (failed.count(name), busy[name], name))
            self._quiet[node] = key, block
        if any(lane.flight for lane in self._lanes.values() if lane.node == node):
            return None
        fit = [(job.alone[block].count((node, key)), key) for key, lane in self._lanes.items() if lane.node == node and lane.platform == job.platform]
        return min(fit)[1] if fit else None

    def _start_one(self, now: float) -> bool:
        """Starts a block of the job with the fewest in flight. The last blocks are not queued behind others: a free lane may come first."""
        eligible = [(len(j.flying), k) for k, j in self._jobs.items() if j.waiting and len(j.flying) + j.untaken < j.window]
        for _, key in sorted(eligible):
            job = self._jobs[key]
            for block in [b for b in job.alone if b in job.waiting]:
                lane = self._solitary(key, block)
                if lane is not None:
                    job.waiting.remove(block)
                    self._start(lane, key, block, now)
                    return True
            block = next((b for b in job.waiting if b not in job.alone), -1)
            lane = self._roomiest(job.platform, DEPTH if len(job.waiting) > len(self._lanes) else 1) if block >= 0 else None
            if lane is not None:
                job.waiting.remove(block)
                self._start(lane, key, block, now)
                return True
        return False

    def _start(self, lane: int, job: int, block: int, now: float) -> None:
        number, self._next = self._next, self._next + 1
        found = self._lanes[lane]
        if not found.flight:
            found.progress = found.heard = now
        found.flight.append(number)
        self._attempts[number] = _Attempt(job, block, lane, now)
        self._jobs[job].flying.setdefault(block, []).append(number)
        self._jobs[job].begun[block] = self._jobs[job].begun.get(block, 0) + 1
        self._actions.append(Start(number, lane, job, block))
