"""The service in this process: the same interface, no server, no serialisation."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np

import backsweep_engine
from backsweep_engine.errors import Error
from backsweep_engine.execute.executor import Array, Executor
from backsweep_engine.execute.hot import Hot
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget
from backsweep_engine.plan.plan import Axis
from backsweep_engine.plan.structure import Bound
from backsweep_engine.ready import Give, Ready, make_ready
from backsweep_engine.stopping import Stop, never, stoppable
from backsweep_engine.work import Work, prepare

from .calls import Question
from .filed import Filed
from .filling import fill
from .service import Service
from .transport import Answering, Progress, Usage

if TYPE_CHECKING:
    from .wire.arrays import Digest

CACHED_PLANS = 256

MOST_DONE = 1000
"""Calls whose usage waits to be added up."""


def local(*, executor: str = "local", lanes: int = 2, threads: int | None = None, memory_bytes: int = 4 << 30) -> Service:
    """A service without a server.

    `executor`: "local" computes in this thread, "cluster" over `lanes` Ray workers (they start when
    first needed and end with the service; where RAY_ADDRESS is set they are that cluster's), "auto"
    wherever the work would be done sooner, here while Ray starts. `threads`: BLAS threads while computing; None leaves the
    process as it is. `memory_bytes`: the budget of one call.
    """
    return Service(InProcess(executor, lanes, threads, memory_bytes))


class InProcess:
    """The transport that computes where it stands."""

    def __init__(self, executor: str, lanes: int, threads: int | None, memory_bytes: int) -> None:
        if executor not in ("local", "cluster", "auto"):
            raise Error("no such executor", reason="MALFORMED", got=repr(executor), allowed="'local', 'cluster', 'auto'")
        self._options = (executor, lanes, threads, memory_bytes)
        self._below = _executor(executor, lanes)
        self._executor = Hot(self._below)
        self._budget = Budget(memory_bytes)
        self._threads = threads
        self._lock = threading.Lock()
        self._works: dict[Any, Work] = {}
        self._read: dict[Any, tuple[str, ...]] = {}
        self._usage = Usage()
        self._spent: dict[tuple[int, int], list[float]] = {}
        """seconds of calls not added up yet, by their blocks and workers. To take a lock at each would cost more than this."""

    @property
    def usage(self) -> Usage:
        self._add_up()
        return self._usage

    def answering(self, question: Question, give: Give, to: Filed | None = None) -> Answering:
        if to is not None:
            return lambda values, timeout, progress: self._to_file(question, values, give, timeout, progress, to)
        made: tuple[Ready, list[float]] | None = None
        clock, unlimited = time.monotonic, self._threads is None

        def answer(values: Sequence[Array], timeout: float | None, progress: Progress | None) -> list[Any]:
            nonlocal made
            started = clock()
            stop = never if timeout is None else _until(timeout)
            # Two threads may make it at once; both are equal and either is kept.
            if made is None:
                made = self._made_ready(question, give, stop)
            ready, spent = made
            if unlimited:
                results = ready(values, stop, progress)
            else:
                with self._limited():
                    results = ready(values, stop, progress)
            spent.append(clock() - started)
            if len(spent) > MOST_DONE:
                self._add_up()
            return results

        return answer

    def _to_file(self, question: Question, values: Sequence[Array], give: Give, timeout: float | None, progress: Progress | None, to: Filed) -> list[Any]:
        """A matrix in blocks goes to the file as they come: it is never held whole. One that does not come in blocks is given as it is."""
        started, stop = time.monotonic(), _until(timeout)
        work = self._work(question, stop)
        if work.outlines[0][0].axis is Axis.WHOLE:
            return self.answering(question, give)(values, timeout, progress)
        here = f"{_platform()}; {self._options[0]}; BLAS threads {self._threads or 'as they are'}"
        with nullcontext() if self._threads is None else self._limited():
            answer, blocks = fill(work, question.call(values).values, self._executor, stop, progress, to, here)
        self._spent_on(blocks, self._executor.lanes).append(time.monotonic() - started)
        return give([answer])

    def _spent_on(self, blocks: int, workers: int) -> list[float]:
        """Where calls of so many blocks on so many workers put their seconds."""
        return self._spent.setdefault((blocks, workers), [])

    def _add_up(self) -> None:
        with self._lock:
            for (blocks, workers), spent in list(self._spent.items()):
                calls = len(spent)
                if calls:  # meanwhile others append to the list, behind these
                    self._usage += Usage(calls, sum(spent[:calls]), 0, 0, calls * blocks, workers)
                    del spent[:calls]

    def explain(self, question: Question, values: Sequence[Array], timeout: float | None) -> str:
        from backsweep_engine.execute.spread import Spread

        plan = self._work(question, _until(timeout)).plan
        return f"{describe(plan)}\nruns on {self._below.choice(plan) if isinstance(self._below, Spread) else self._options[0]}"

    def engine_version(self, timeout: float | None) -> str:
        return backsweep_engine.__version__

    def graph(self, digest: Digest, timeout: float | None) -> Graph:
        raise Error("a digest names a graph that a server holds", reason="NO_SERVER", got=str(digest), hint="connect to that server, or load the graph's file")

    def close(self) -> None:
        self._executor.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return InProcess, self._options

    def _made_ready(self, question: Question, give: Give, stop: Stop) -> tuple[Ready, list[float]]:
        """What answers, and where its seconds go."""
        work = self._work(question, stop)
        workers = self._executor.lanes if work.plan.sweeps else 1
        with stoppable(stop):
            ready = make_ready(work, self._executor, question.names, question.bound, give, plain=question.plain)
        return ready, self._spent_on(work.plan.promise.blocks, workers)

    def _work(self, question: Question, stop: Stop) -> Work:
        """Plans once per graph, questions and the bound values the plan was shaped by; it depends on nothing else (CONTRACT A4, B3)."""
        request = question.request
        asked = (request.graph.fingerprint, tuple(request.types.items()), tuple(map(_ask_key, request.asks)), frozenset(question.bound))
        bound = Bound(question.bound)
        read = self._read.get(asked, ())
        key = (asked, tuple(bound.digest(name) for name in read))
        work = self._works.get(key)
        if work is None:
            work = prepare(request, self._budget, bound.arrays, stop)
            with self._lock:
                # Other values may have other arrays read: keys name all that ever were.
                read = self._read[asked] = tuple(sorted({*self._read.get(asked, ()), *work.plan.read}))
                while len(self._works) >= CACHED_PLANS:
                    self._works.pop(next(iter(self._works)))
                while len(self._read) > 4 * CACHED_PLANS:
                    self._read.pop(next(iter(self._read)))
                self._works[asked, tuple(bound.digest(name) for name in read)] = work
        return work

    def _limited(self) -> AbstractContextManager[Any]:
        try:
            from threadpoolctl import threadpool_limits
        except ImportError:
            raise Error("threads= needs threadpoolctl", reason="NOT_INSTALLED", hint="pip install threadpoolctl, or leave threads=None") from None
        limit: AbstractContextManager[Any] = threadpool_limits(self._threads)
        return limit


def _until(timeout: float | None) -> Stop:
    if timeout is None:
        return never
    end = time.monotonic() + timeout
    return lambda: time.monotonic() > end


def _platform() -> str:
    """What decides bits here, as far as it can be told without the extra [server]."""
    try:
        from backsweep_engine.execute.cluster.platform import numeric_platform

        return numeric_platform()
    except ImportError:
        return f"numpy {np.__version__}; {platform.platform()}"


def _ask_key(ask: Ask) -> Any:
    return ask.query, tuple(ask.seeds.items())


def _executor(name: str, lanes: int) -> Executor:
    if name == "local":
        return Local()
    from backsweep_engine.execute.cluster.cluster import Cluster
    from backsweep_engine.execute.spread import Spread

    return Cluster(lanes) if name == "cluster" else Spread(Local(), Cluster(lanes, fallback_local=True, meanwhile=True))
