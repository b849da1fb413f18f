"""Where blocks are computed: in this process, or on the lanes of a cluster.

Work that is not cut is done here, whatever is set: passing it on costs more than a small answer. The
bits are the same either way. Ray starts with the first work that is cut into blocks.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

from backsweep.v1 import backsweep_pb2 as pb
from backsweep_engine.answer import Work
from backsweep_engine.execute.cluster.platform import numeric_platform
from backsweep_engine.execute.executor import Block, Executor, Once, Stop, Values
from backsweep_engine.execute.hot import Hot
from backsweep_engine.execute.local import Local
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_engine.query import Check

from .settings import Settings


class Executors:
    """Chooses, starts and ends executors."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._local = Hot(Local())
        self._cluster: Executor | None = None

    def of(self, work: Work) -> tuple[str, Executor]:
        """The executor for this work, and its name."""
        if self.name_for(work) == "local":
            return "local", self._local
        return "cluster", self._started()

    def name_for(self, work: Work) -> str:
        return self._settings.executor if _is_cut(work) else "local"

    def described(self) -> list[pb.Executor]:
        """What Capabilities says of them; the first is the one used."""
        here = pb.Executor(name="local", lanes=1, platform=numeric_platform())
        if self._settings.executor == "local":
            return [here]
        started = self._cluster is not None
        return [pb.Executor(name="cluster", lanes=self._settings.lanes if started else 0, platform=numeric_platform() if started else ""), here]

    def close(self) -> None:
        with self._lock:
            cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()

    def _started(self) -> Executor:
        with self._lock:
            if self._cluster is None:
                from backsweep_engine.execute.cluster.cluster import Cluster

                settings = self._settings
                self._cluster = Cluster(settings.lanes, settings.cluster_memory_bytes, address=settings.cluster_address or None)
            return self._cluster


def _is_cut(work: Work) -> bool:
    """Whether any one query comes in several blocks."""
    checks = sum(isinstance(ask.query, Check) for ask in work.request.asks)
    of_checks = work.promise.blocks - work.plan.promise.blocks
    return of_checks > checks or any(sweep.blocks > 1 for sweep in work.plan.sweeps)


class Counted:
    """An Executor that counts the blocks another one yields: all queries' and the checks'."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self.blocks_done = 0

    @property
    def lanes(self) -> int:
        return self._executor.lanes

    def once(self, plan: Plan) -> Once:
        return self._executor.once(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        for block in self._executor.blocks(plan, values, stop):
            self.blocks_done += block.axis is not Axis.WHOLE
            yield block

    def close(self) -> None:
        self._executor.close()
