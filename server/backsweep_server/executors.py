"""Where blocks are computed: in this process, or on the lanes of a cluster.

Work that is not cut is done here, whatever is set: passing it on costs more than a small answer. The
bits are the same either way. Ray starts with the first work that goes to the lanes.
"""

from __future__ import annotations

from collections.abc import Iterator

from backsweep.v1 import backsweep_pb2 as pb
from backsweep_engine.check.rounds import plan_check
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.cluster.platform import numeric_platform
from backsweep_engine.execute.executor import Block, Executor, Once, Stop, Values
from backsweep_engine.execute.hot import Hot
from backsweep_engine.execute.local import Local
from backsweep_engine.execute.spread import Choice, Spread
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_engine.query import Check
from backsweep_engine.work import Work

from .settings import Settings


class Executors:
    """The one executor of this server, and what can be told of it. It decides plan by plan where blocks run; a plan's tier is decided before."""

    def __init__(self, settings: Settings) -> None:
        self._spread = None if settings.executor == "local" else _spread(settings)
        self.executor: Executor = Hot(self._spread or Local())

    def choice(self, work: Work) -> Choice:
        """Where the blocks of this work would run now, and why. The rounds of a check are cut by plans of their own, made as it goes."""
        if self._spread is None:
            return Choice("local", "this server has no lanes")
        checks = [plan_check(work.request.graph, ask.query, work.budget) for ask in work.request.asks if isinstance(ask.query, Check)]
        if self._spread.always and any(sweep.blocks > 1 for plan in checks for sweep in plan.sweeps):
            return Choice("cluster", "a round of the check is cut into blocks")
        return self._spread.choice(work.plan)

    def described(self) -> list[pb.Executor]:
        """What Capabilities says of them; the first is the one used."""
        here = pb.Executor(name="local", lanes=1, platform=numeric_platform())
        if self._spread is None:
            return [here]
        started = self._spread.cluster.started
        lanes = self._spread.cluster.lanes if started else 0
        there = pb.Executor(name="cluster", lanes=lanes, platform=numeric_platform() if started else "")
        return [there, here] if self._spread.always else [here, there]

    def close(self) -> None:
        self.executor.close()


def _spread(settings: Settings) -> Spread:
    auto = settings.executor == "auto"
    cluster = Cluster(
        settings.lanes,
        settings.cluster_memory_bytes,
        address=settings.cluster_address or None,
        lane_cpus=settings.lane_cpus,
        lane_memory_bytes=settings.lane_memory_bytes,
        start_seconds=settings.cluster_start_seconds,
        fallback_local=auto or settings.without_cluster == "local",
        meanwhile=auto,
    )
    return Spread(Local(), cluster, always=not auto)


class Counted:
    """An Executor that counts the blocks another one yields, all queries' and the checks', and who computed them."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.blocks_done = 0
        self.blocks_repeated = 0
        self.workers: set[int] = set()
        """Lanes; -1 is this process."""

    @property
    def lanes(self) -> int:
        return self._executor.lanes

    @property
    def name(self) -> str:
        """Of the executor that computed the blocks so far."""
        return "cluster" if max(self.workers, default=-1) >= 0 else "local"

    def once(self, plan: Plan) -> Once:
        return self._executor.once(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        for block in self._executor.blocks(plan, values, stop):
            if block.axis is not Axis.WHOLE:
                self.blocks_done += 1
                self.blocks_repeated += block.attempts > 1
                self.workers.add(block.lane)
            yield block

    def close(self) -> None:
        self._executor.close()
