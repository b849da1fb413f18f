"""Where the blocks of a plan run: here, or over the lanes of a cluster, by what each would take.

A plan's bits stand in the plan, so this may look at a clock and be wrong without any answer changing (CONTRACT B3). What
is not cut into several blocks stays here always. The model of the lanes' time is the one measured in the project's findings:
a start, a hand-over for every block and megabyte, and the work divided by the lanes that can share it. The work itself is
first guessed from the costs of its ops, then, for a plan that was run before, taken from what it took.

Threads are no third place: the promise of a plan in bytes is that of one block at a time, and to hold more at once would
have to stand in the plan.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from ..graph import Graph
from ..ops.op import lookup
from ..plan.cost import costs
from ..plan.plan import Axis, Plan, Sweep
from ..plan.price import DISPATCH, FLOPS_A_SECOND, calls
from ..transforms.batch import batch
from ..transforms.expand import expand
from ..transforms.remember import remembered
from .cluster.cluster import Cluster
from .executor import Block, Executor, Once, Stop, Values

START_SECONDS = 6.0
"""Of Ray, until a first lane can work. Blocks are computed here meanwhile, but on the cores its start wants too."""

JOB_SECONDS, BLOCK_SECONDS, MEGABYTE_SECONDS = 0.004, 0.0025, 0.003
"""To hand a job to the driver, and each block and megabyte to and from a lane."""

SHARING = 1.3
"""Lanes share memory and caches: work on them takes so many times as long as alone."""

BLAS_INTENSITY, BLAS_FACTOR = 4, 20
"""A kernel of so many flops a byte is up to so many times as fast as one that waits for memory."""


@dataclass(frozen=True, slots=True)
class Choice:
    """`executor`: "local" or "cluster"; `why`: half a sentence for people."""

    executor: str
    why: str

    def __str__(self) -> str:
        return f"{self.executor}: {self.why}"


def is_cut(plan: Plan) -> bool:
    """Whether any query comes in several blocks."""
    return any(sweep.blocks > 1 for sweep in plan.sweeps)


def choose(plan: Plan, lanes: int, started: bool, seconds: float | None = None) -> Choice:
    """Where a plan runs sooner: here, or over so many lanes of a Ray that has started or not. `seconds`: what its blocks took, if known."""
    if not is_cut(plan):
        return Choice("local", "it is not cut into several blocks")
    here = work_seconds(plan) if seconds is None else seconds
    there = lanes_seconds(plan, lanes, here) + (0.0 if started else START_SECONDS)
    blocks = sum(sweep.blocks for sweep in plan.sweeps)
    known = "by their costs" if seconds is None else "as measured before"
    start = "" if started else ", Ray's start included"
    why = f"{blocks} blocks of {_text(here)} in all, {known}; over {lanes} lane{'' if lanes == 1 else 's'} {_text(there)}{start}"
    return Choice("cluster" if there < here else "local", why)


def lanes_seconds(plan: Plan, lanes: int, work: float) -> float:
    """What work of so many seconds takes over the lanes of a Ray that has started."""
    blocks = sum(sweep.blocks for sweep in plan.sweeps)
    shared = {name: type.nbytes for s in plan.sweeps for name, type in zip(s.shared, s.each.input_types, strict=False)}
    moved = sum(shared.values()) + sum(s.rows * (s.row_type.nbytes + _given_bytes(s)) for s in plan.sweeps)
    return JOB_SECONDS + blocks * BLOCK_SECONDS + moved / 1e6 * MEGABYTE_SECONDS + SHARING * work / max(1, min(lanes, blocks))


def work_seconds(plan: Plan) -> float:
    """What all blocks take here one after the other, guessed from the costs of their ops: right to a factor of a few."""
    return sum(sweep.blocks * _block_seconds(sweep.each, len(sweep.shared), sweep.width) for sweep in plan.sweeps)


@remembered
def _block_seconds(each: Graph, shared: int, width: int) -> float:
    graph = expand(batch(each, [i >= shared for i in range(each.arity)], width))
    total = 0.0
    for node, cost in zip(graph.nodes[graph.arity :], costs(graph), strict=True):
        if not lookup(node.op).view:
            factor = min(BLAS_FACTOR, max(1.0, BLAS_INTENSITY * cost.flops / max(1, cost.bytes)))
            total += DISPATCH + calls(node) + cost.flops / factor + cost.bytes // 16
    return total / FLOPS_A_SECOND


def _given_bytes(sweep: Sweep) -> int:
    """Of the per-row inputs that are sent, a row."""
    return sum(type.nbytes for type in sweep.each.input_types[len(sweep.shared) :]) if sweep.given else 0


def _text(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 100 else f"{seconds:.0f} s"


class Spread:
    """An Executor round two: what is cut into blocks goes over the cluster's lanes, the rest is done by `here`.

    `always`: whatever is cut; otherwise only what the lanes would finish sooner.
    """

    def __init__(self, here: Executor, cluster: Cluster, *, always: bool = False) -> None:
        self._here = here
        self.cluster = cluster
        self.always = always
        self._seconds: WeakKeyDictionary[Graph, float] = WeakKeyDictionary()
        """What the blocks of a plan took here or would have taken, by its `once`, which is the plan's alone."""

    @property
    def lanes(self) -> int:
        return self.cluster.lanes if self.always or self.cluster.started else self._here.lanes

    def choice(self, plan: Plan) -> Choice:
        """Where this plan would run now, and why."""
        if self.always and is_cut(plan):
            return Choice("cluster", "what is cut into blocks goes to the lanes, as set")
        return choose(plan, self.cluster.lanes, self.cluster.started, self._seconds.get(plan.once))

    def once(self, plan: Plan) -> Once:
        return self._here.once(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        if not is_cut(plan):
            yield from self._here.blocks(plan, values, stop)
            return
        started, spread = self.cluster.started, self.choice(plan).executor == "cluster"
        spent, done, total = 0.0, 0, sum(sweep.blocks for sweep in plan.sweeps)
        # Only what passes inside is measured, not what the caller does between two blocks.
        before = time.monotonic()
        for block in (self.cluster if spread else self._here).blocks(plan, values, stop):
            if block.axis is not Axis.WHOLE:
                spent += time.monotonic() - before
                done += 1
            yield block
            before = time.monotonic()
        if not done or (spread and not started):
            return
        seconds = spent * total / done  # not all blocks of a plan may have been wanted
        if spread:
            seconds = max(0.0, seconds - lanes_seconds(plan, self.cluster.lanes, 0.0)) * min(self.cluster.lanes, total) / SHARING
        self._seconds[plan.once] = seconds

    def close(self) -> None:
        self.cluster.close()
        self._here.close()
