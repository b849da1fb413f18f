"""Hot: plans that are asked again move to the native tier, in a thread of their own.

What a plan is run by stands in the plan: one that proves hot gets another, with its own key, used for
runs that begin once its code is there. No answer waits for a compiler, and no run changes its tier. How often a plan
was asked is kept here, beside the plans; which call is the first on the other tier depends on the machine, the
bits of a plan do not.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from ..graph import Graph
from ..plan.plan import Plan, Tier
from .executor import Array, Block, Executor, Once, Stop, Values
from .local import batched
from .native.machine import machine
from .program import program_of

HOT_CALLS = 16
"""A plan asked so often will be asked again: its code costs some tenths of a second, once."""

HOT_LOOP_CALLS, LONG_FLOPS = 2, 50_000
"""One with a loop sooner, if it has so much work (tens of milliseconds by NumPy): there the code is 50 to 1000 times as fast."""

LOOPS = ("scan", "while_loop")

MAX_WAITING = 64
"""Plans waiting to be compiled; others ask again later."""

ENDING_SECONDS = 30.0
"""How long the end of the process waits for the compiler at most; a plan takes it some tenths of a second."""

_log = logging.getLogger("backsweep")


@dataclass(slots=True)
class _Heat:
    """Of one plan: after how many runs it is hot, runs so far, and the tier of the next. It holds no plan, by whose graph it is kept."""

    needed: int
    calls: int = 0
    waiting: bool = False
    tier: Tier = Tier.NUMPY


class Hot:
    """An Executor round one of this process: hot plans run on the native tier. Without the extra [native] it changes nothing."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._heat: WeakKeyDictionary[Graph, _Heat] = WeakKeyDictionary()
        """by the plan's `once`, which is the plan's alone"""

    @property
    def lanes(self) -> int:
        return self._executor.lanes

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        if plan.steady:
            yield from self._executor.blocks(plan, values, stop)
            return
        heat = self._heat_of(plan)
        yield from self._executor.blocks(plan if heat.tier is plan.tier else plan.on(heat.tier), values, stop)
        _count(plan, heat)

    def once(self, plan: Plan) -> Once:
        cold = self._executor.once(plan)
        if plan.steady:
            return cold
        heat = self._heat_of(plan)
        once, tier = cold, plan.tier

        def run(inputs: Sequence[Array], stop: Stop) -> list[Array]:
            nonlocal once, tier
            if heat.tier is not tier:
                once = self._executor.once(plan.on(heat.tier))
                tier = heat.tier  # last, for another thread
            outputs = once(inputs, stop)
            if not heat.waiting:
                _count(plan, heat)
            return outputs

        return run

    def _heat_of(self, plan: Plan) -> _Heat:
        heat = self._heat.get(plan.once)
        if heat is None:
            heat = self._heat.setdefault(plan.once, _Heat(HOT_LOOP_CALLS if _is_long(plan) else HOT_CALLS))
        return heat

    def close(self) -> None:
        self._executor.close()


class Steady:
    """An Executor round any: its plans keep their tier, for answers that must not depend on how often something was asked before."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor

    @property
    def lanes(self) -> int:
        return self._executor.lanes

    def once(self, plan: Plan) -> Once:
        return self._executor.once(replace(plan, steady=True))

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        return self._executor.blocks(replace(plan, steady=True), values, stop)

    def close(self) -> None:
        self._executor.close()


def _count(plan: Plan, heat: _Heat) -> None:
    """One more run, after it."""
    heat.calls += 1
    if not heat.waiting and heat.calls >= heat.needed:
        heat.waiting = _compile(plan, heat)


def _is_long(plan: Plan) -> bool:
    graphs = (plan.once, *[s.each for s in plan.sweeps])
    return plan.promise.flops >= LONG_FLOPS and any(node.op in LOOPS for g in graphs for node in g.nodes)


def compile_plan(plan: Plan) -> None:
    """Makes all programs of the plan on the native tier: what would take time in its first run."""
    native = plan.on(Tier.NATIVE)
    program_of(native.once, native.tier)
    for sweep in native.sweeps:
        for width in {end - start for start, end in sweep.ranges()}:
            batched(sweep.each, len(sweep.shared), width, sweep.tier)


# One thread for the process: it sleeps unless there is something to compile, and ends before the process does.

_waiting: queue.Queue[tuple[Plan, _Heat] | None] = queue.Queue(MAX_WAITING)
_started = threading.Lock()


def _compile(plan: Plan, heat: _Heat) -> bool:
    """Whether the plan will be compiled, or never can be."""
    try:
        _waiting.put_nowait((plan, heat))
    except queue.Full:
        return False
    if _started.acquire(blocking=False):
        thread = threading.Thread(target=_work, name="backsweep-native", daemon=True)
        thread.start()
        atexit.register(_end, thread)
    return True


def _end(thread: threading.Thread) -> None:
    """LLVM takes its own state down when the process exits, and aborts if it is at work then [tried]: what it has begun is waited for."""
    with contextlib.suppress(queue.Empty):
        while True:
            _waiting.get_nowait()
            _waiting.task_done()
    _waiting.put(None)
    thread.join(ENDING_SECONDS)


def _work() -> None:
    while True:
        given = _waiting.get()
        if given is None:
            return
        plan, heat = given
        try:
            if machine() is not None:
                compile_plan(plan)
                heat.tier = Tier.NATIVE
        except Exception:
            _log.exception("a plan could not be compiled; it stays with NumPy")
        finally:
            del given, plan, heat
            _waiting.task_done()
