"""The cases of a suite over one service: some at a time, the finished ones kept, in any order; results in the suite's.

Where blocks are computed is the service's business (in process, on Ray lanes, by a server): a case is one check. A case
that cannot be run is a result like any other. Stopping gives out no further case and waits a little for those under way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backsweep_engine.errors import Cancelled, Error

from ..calls import make_call
from ..service import Service
from ..signature import Asked, wrt_arguments
from .models import Models
from .points import point_of
from .results import Result, Status, judged
from .scene import scenes
from .state import State, key_of
from .suite import Case

GRACE_SECONDS = 5.0
"""How long a stopped job waits for the cases under way; what they find in it is kept."""

_POLL_SECONDS = 0.1

Seen = Callable[[Result, bool], None]
"""Called for each finished case, in the order they finish; True if its verdict was kept from before."""


@dataclass(frozen=True, slots=True)
class Job:
    """What cases run with. `jobs`: cases at a time. `stop`: set from outside (a signal) to stop."""

    service: Service
    models: Models
    state: State
    engine_version: str
    jobs: int
    stop: threading.Event
    fail_fast: bool = False

    def run(self, cases: Sequence[Case], seen: Seen) -> list[Result]:
        """One result a case, in order; those not reached when it stopped are NOT_RUN."""
        left: queue.SimpleQueue[tuple[int, Case]] = queue.SimpleQueue()
        finished: queue.SimpleQueue[tuple[int, Result, bool] | None] = queue.SimpleQueue()
        failed = threading.Event()

        def over() -> bool:
            return failed.is_set() or self.stop.is_set()

        for item in enumerate(cases):
            left.put(item)

        def work() -> None:
            while not over():
                try:
                    at, case = left.get_nowait()
                except queue.Empty:
                    break
                result, kept = self.one(case)
                if self.fail_fast and result.status is not Status.RIGHT:
                    failed.set()  # here, before this worker can take another
                finished.put((at, result, kept))
            finished.put(None)

        # Daemons: what is under way when the wait is over must not hold the process.
        workers = [threading.Thread(target=work, daemon=True, name=f"check-{n}") for n in range(min(self.jobs, len(cases)))]
        for worker in workers:
            worker.start()
        results: list[Result | None] = [None] * len(cases)
        for at, result, kept in self._arriving(finished, len(workers), over):
            results[at] = result
            seen(result, kept)
        why = "the job stopped before it"
        return [result or Result(case, Status.NOT_RUN, why) for case, result in zip(cases, results, strict=True)]

    def _arriving(
        self, finished: queue.SimpleQueue[tuple[int, Result, bool] | None], workers: int, over: Callable[[], bool]
    ) -> Iterator[tuple[int, Result, bool]]:
        waited = 0.0
        while workers:
            try:
                item = finished.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                waited += _POLL_SECONDS * over()
                if waited >= GRACE_SECONDS:
                    return
                continue
            if item is None:
                workers -= 1
            else:
                yield item

    def one(self, case: Case) -> tuple[Result, bool]:
        """The result of a case, and whether its verdict was kept from before."""
        if case.spec.problems:
            return Result(case, Status.FAILED, "\n".join(case.spec.problems)), False
        try:
            return self._checked(case)
        except Cancelled:
            return Result(case, Status.FAILED, f"{case.spec.place}: not finished within its timeout, {case.spec.timeout:g} s"), False
        except Error as error:
            return Result(case, Status.FAILED, f"{case.spec.place}: {error}"), False
        except Exception as error:
            # A fault of ours in one case is no reason to lose the others; it is said, and the job fails.
            return Result(case, Status.FAILED, f"{case.spec.place}: a fault in backsweep, please report it: {type(error).__name__}: {error}"), False

    def _checked(self, case: Case) -> tuple[Result, bool]:
        spec = case.spec
        model = self.models.of(spec)
        signature = model.signature
        arguments, _ = wrt_arguments(signature, spec.wrt or None)
        wrt = tuple(argument.name for argument in arguments)
        point = point_of(case, self.models.folder, {a.name: signature.type_of(a.name) for a in signature.arguments})
        model, given = self.models.with_gradient(case, model, wrt)
        signature = model.signature
        options: dict[str, Any] = {"wrt": wrt, "judge": case.judge, "seed": spec.seed, "directions": spec.directions, "max_worst": spec.max_worst}
        options |= {"block": spec.block, "coordinates": spec.coordinates, "blame": spec.blame and given is None}
        if given is None:
            options["subject"] = spec.subject
        seed = None if given is None else tuple(given[name] for name in wrt)
        inputs = [point[a.name] for a in signature.arguments]
        key = key_of(make_call(signature, inputs, [Asked("check", seed, options)]), self.engine_version)
        verdict = self.state.get(key)
        kept = verdict is not None
        if verdict is None:
            verdict = model.check(*inputs, gradient=seed, timeout=spec.timeout, **options)
            self.state.put(key, verdict)
        return judged(case, verdict, key, scenes(signature.graph, verdict)), kept
