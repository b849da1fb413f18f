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
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from weakref import ReferenceType, WeakKeyDictionary, ref

from ..graph import Graph
from ..plan.plan import Plan, Tier
from .executor import Array, Block, Executor, Finite, Once, Stop, Values
from .local import of_block
from .native.machine import let_go, machine
from .program import forget_native, program_of

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


MAX_NATIVE = 128
"""Plans whose code is kept, in the process. Beyond it one that was not used lately goes back to NumPy, and may prove hot again."""


@dataclass(slots=True, eq=False)
class _Heat:
    """Of one plan: after how many runs it is hot, runs so far, and the tier of the next. It holds no plan, by whose graph it is kept.

    `graphs`: those that have code; `once`: what runs the code of the first; `running`: runs that are using it; `used`: since
    somebody looked for code to free.
    """

    needed: int
    calls: int = 0
    waiting: bool = False
    tier: Tier = Tier.NUMPY
    graphs: tuple[ReferenceType[Graph], ...] = ()
    once: Once | None = None
    running: int = 0
    used: bool = True


class _Natives:
    """The plans that have code, those longest there first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[_Heat, None] = OrderedDict()

    def add(self, heat: _Heat, graphs: Sequence[Graph]) -> None:
        with self._lock:
            heat.graphs = tuple([ref(graph) for graph in graphs])
            heat.tier, heat.used = Tier.NATIVE, True
            self._kept[heat] = None
            # Each is spared once if it was used since it was last passed by.
            for old in [*self._kept, *self._kept]:
                if len(self._kept) <= MAX_NATIVE:
                    return
                if old is not heat and not old.running and not old.used and old in self._kept:
                    self._free(old)
                old.used = False

    def _free(self, heat: _Heat) -> None:
        del self._kept[heat]
        heat.tier, heat.once, heat.calls, heat.waiting = Tier.NUMPY, None, 0, False
        for graph in [found() for found in heat.graphs]:
            if graph is not None:
                forget_native(graph)

    @contextmanager
    def entered(self, heat: _Heat) -> Iterator[Tier]:
        """The tier of what begins now, which keeps its code to its end."""
        with self._lock:
            tier = heat.tier
            heat.running += 1
            heat.used = True
        try:
            yield tier
        finally:
            with self._lock:
                heat.running -= 1


_natives = _Natives()


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
        with _natives.entered(heat) as tier:
            yield from self._executor.blocks(plan if tier is plan.tier else plan.on(tier), values, stop)
        _count(plan, heat)

    def once(self, plan: Plan) -> Once:
        cold = self._executor.once(plan)
        if plan.steady:
            return cold
        heat = self._heat_of(plan)

        def run(inputs: Sequence[Array], stop: Stop) -> tuple[list[Array], Finite]:
            native = heat.once
            if native is None and heat.tier is not plan.tier:
                native = self._native_once(plan, heat)
            if native is not None:
                heat.used = True
                return native(inputs, stop)
            results = cold(inputs, stop)
            if not heat.waiting:
                _count(plan, heat)
            return results

        return run

    def _native_once(self, plan: Plan, heat: _Heat) -> Once | None:
        """Kept with the heat, so that it goes with the code; None if the code has gone meanwhile."""
        with _natives.entered(heat) as tier:
            if tier is not plan.tier:
                heat.once = self._executor.once(plan.on(tier))
            return heat.once

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


def compile_plan(plan: Plan) -> list[Graph]:
    """Makes all programs of the plan on the native tier: what would take time in its first run. The graphs they are of."""
    graphs = [plan.once]
    for sweep in plan.sweeps:
        graphs += [of_block(sweep.each, len(sweep.shared), width) for width in {end - start for start, end in sweep.ranges()}]
    for graph in graphs:
        program_of(graph, Tier.NATIVE)
    return graphs


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
    let_go()


def _work() -> None:
    while True:
        given = _waiting.get()
        if given is None:
            return
        plan, heat = given
        try:
            if machine() is not None:
                _natives.add(heat, compile_plan(plan))
        except Exception:
            _log.exception("a plan could not be compiled; it stays with NumPy")
        finally:
            del given, plan, heat
            _waiting.task_done()
