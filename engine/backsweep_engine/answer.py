"""The whole job as functions: a request that was prepared (work.py) is delivered as events.

The server decodes, calls these and encodes; `bs.local()` calls them directly. Nothing is computed
or allocated before `prepare` has found the whole request sound and within the budget.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from .check.check import check
from .check.verdict import Verdict
from .execute.executor import Array, Block, Executor, Values
from .execute.gather import Compressed, Diagonal, Moments
from .execute.local import rows_of, run_once, shared_of
from .execute.nonfinite import culprit, finite_nodes, is_finite, walked_bytes
from .graph import Graph
from .plan.make import Ask, require_within, seed_name
from .plan.plan import Axis, Plan, Sweep
from .plan.seeds import made
from .query import Check, HessianDiagonal
from .stopping import Stop, stoppable
from .transforms.expand import expand
from .transforms.sparsity import Pattern
from .work import Held, Work, left_of


@dataclass(frozen=True, slots=True)
class Judged:
    """The answer to a check."""

    query: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class NonFinite:
    """Part `part` of an answer holds a NaN or infinity that node `node` of the submitted graph made first.

    `node` is None if a seed held it, and if it was not looked for, since that takes more memory than the request may have; then
    `op` is empty. `in_derivative`: the node's value is finite, its derivative is not.
    """

    query: int
    part: int
    node: int | None
    op: str
    kind: str
    in_derivative: bool


Event = Block | Judged | NonFinite


class Answer(NamedTuple):
    """The whole answer to one query: its arrays in order (one for a matrix), or a verdict, and notes.

    `pattern`: of a sparse matrix; its array is then the values by position.
    """

    arrays: tuple[Array, ...] = ()
    verdict: Verdict | None = None
    notes: tuple[NonFinite, ...] = ()
    pattern: Pattern | None = None


def deliver(work: Work, values: Values, executor: Executor, stop: Stop, held: Held = frozenset()) -> Iterator[Event]:
    """Every event of the work: blocks in any order, then verdicts, then notes on what was not finite.

    `values`: an array per input, and per seed under `seed_name(query, name)`. Blocks that are `held` do not come, and
    are not computed where no other needs them; nothing is noted on them. Raises OverBudget before any work;
    Cancelled when stop() says so.
    """
    require_within(work.promise, work.budget)
    if not held:
        yield from _delivered(work, work.plan, values, executor, stop)
        return
    plan, done = left_of(work, held)
    for event in _delivered(work, plan, values, executor, stop, done):
        if not (isinstance(event, Block) and (event.query, event.part, event.start) in held):
            yield event


def _delivered(work: Work, plan: Plan, values: Values, executor: Executor, stop: Stop, done: frozenset[int] = frozenset()) -> Iterator[Event]:
    """The events of `plan`, the work's or what is left of it. `done`: queries of which no block is wanted."""
    values = apart(values)
    asks = work.request.asks
    first_bad: dict[tuple[int, int], Block] = {}
    gathered = {}
    if work.plan.sweeps or work.plan.recoveries:
        gathered = {k: g for k, ask in enumerate(asks) if k not in done and (g := _gathering(work.plan, k, ask)) is not None}
    for block in executor.blocks(plan, values, stop):
        if not (block.finite or is_finite(block.array)):
            key = (block.query, block.part)
            if key not in first_bad or block.start < first_bad[key].start:
                first_bad[key] = block
        if block.query in gathered:
            gathered[block.query].add(block)
        elif block.axis is Axis.POINT:
            yield from _pieces(block, _sweep_of(work.plan, block))
        else:
            yield block
    for query in list(gathered):
        doubted, bad = (query, 0) in first_bad, False
        for block in gathered.pop(query).blocks():
            bad = bad or (doubted and not is_finite(block.array))
            yield block
        if doubted and not bad:
            del first_bad[query, 0]  # it stood where the pattern has nothing
    for k, ask in enumerate(asks):
        if isinstance(ask.query, Check):
            given = {name: values[seed_name(k, name)] for name in ask.seeds}
            inputs = {name: values[name] for name in work.request.graph.input_names}
            with stoppable(stop):
                verdict = check(work.request.graph, inputs, ask.query, given, executor, stop, work.budget)
            yield Judged(k, verdict)
    for block in first_bad.values():
        yield from notes_on(work, values, block, stop)


def require_held(work: Work) -> None:
    """Raises OverBudget if the answers held whole, beside the work itself, pass the budget: a stream of blocks does not hold them."""
    promise = work.promise
    if promise.peak_bytes + promise.result_bytes > work.budget.memory_bytes:
        require_within(replace(promise, peak_bytes=promise.peak_bytes + promise.result_bytes), work.budget)


class Collected:
    """Events in any order become whole answers: arrays allocated from the outlines, filled as blocks come.

    Raises OverBudget as `require_held` does.
    """

    def __init__(self, work: Work) -> None:
        require_held(work)
        self._types = [[p.array_type for p in parts] for parts in work.outlines]
        self._arrays: list[list[Array | None]] = [[None] * len(parts) for parts in work.outlines]
        self._patterns = [parts[0].pattern if parts else None for parts in work.outlines]
        self._verdicts: dict[int, Verdict] = {}
        self._notes: list[NonFinite] = []

    def add(self, event: Event) -> None:
        match event:
            case Judged():
                self._verdicts[event.query] = event.verdict
            case NonFinite():
                self._notes.append(event)
            case Block(axis=Axis.WHOLE):
                self._arrays[event.query][event.part] = event.array
            case Block(axis=Axis.COLUMN):
                self._array(event.query, event.part)[:, event.start : event.stop] = event.array.T
            case Block():
                type, array = self._types[event.query][event.part], event.array
                if array.shape == type.shape and array.dtype == type.dtype and array.flags.writeable:
                    self._arrays[event.query][event.part] = array  # it is all there is; what came from elsewhere may be read-only
                else:
                    self._array(event.query, event.part)[event.start : event.stop] = event.array

    def answers(self) -> list[Answer]:
        """One per query; complete once every event has been added."""
        parts = [tuple([self._array(k, part) for part in range(len(arrays))]) for k, arrays in enumerate(self._arrays)]
        return [Answer(arrays, self._verdicts.get(k), self._notes_of(k), self._patterns[k]) for k, arrays in enumerate(parts)]

    def _array(self, query: int, part: int) -> Array:
        array = self._arrays[query][part]
        if array is None:
            type = self._types[query][part]
            array = self._arrays[query][part] = np.empty(type.shape, type.dtype)
        return array

    def _notes_of(self, query: int) -> tuple[NonFinite, ...]:
        return tuple([n for n in self._notes if n.query == query]) if self._notes else ()


# Shapes of answers.


def _sweep_of(plan: Plan, block: Block) -> Sweep:
    """The sweep whose block this is, as an executor gave it."""
    return next(s for s in plan.sweeps if (s.query, s.axis, s.part) == (block.query, block.axis, block.part if s.parts else s.part))


def _gathering(plan: Plan, query: int, ask: Ask) -> Compressed | Moments | Diagonal | None:
    """What holds the blocks of a query until all have come; None where each goes out by itself."""
    recovery = plan.recovery(query)
    if recovery is not None:
        return Compressed(plan, recovery)
    sweep = next((s for s in plan.sweeps if s.query == query), None)
    if sweep is None or not isinstance(ask.query, HessianDiagonal):
        return None
    return Moments(sweep) if ask.query.method == "estimate" else Diagonal(sweep)


def _pieces(block: Block, sweep: Sweep) -> Iterator[Block]:
    """A block of points, part by part."""
    at = 0
    for part, type in zip(sweep.parts, sweep.pieces, strict=True):
        columns = block.array[:, at : at + type.size].astype(type.dtype)
        at += type.size
        yield Block(block.query, part, Axis.POINT, block.start, block.stop, columns.reshape((block.stop - block.start, *type.shape)))


def apart(values: Values) -> dict[str, Array]:
    """The values C-contiguous and no two in the same memory.

    BLAS takes another path (syrk) when both operands of a product are one buffer, so aliasing would
    change bits between executors (CONTRACT B4).
    """
    if len(values) == 1:
        ((name, array),) = values.items()
        return {name: array if array.flags.c_contiguous else np.array(array, order="C")}
    seen: set[int] = set()
    result = {}
    # Arrays that own their memory share it only if they are one; only views have to be asked where they begin.
    owned = all(array.flags.owndata for array in values.values())
    for name, array in values.items():
        if not array.flags.c_contiguous:
            array = np.array(array, order="C")
        address = id(array) if owned else array.__array_interface__["data"][0]
        if address in seen and array.size:
            array = array.copy()
        seen.add(address)
        result[name] = array
    return result


# What was not finite.


def notes_on(work: Work, values: Values, block: Block, stop: Stop) -> Iterator[NonFinite]:
    """Who made what is not finite in this block, the first of its part that holds such; nobody, if to find out takes more than the request's budget."""
    plan = work.plan
    held = sum(x.nbytes for x in values.values())
    if held + max(walked_bytes(plan.once), walked_bytes(expand(work.request.graph))) > work.budget.memory_bytes:
        yield NonFinite(block.query, block.part, None, "", _kind(block), False)
        return
    once_inputs = [values[name] for name in plan.once.input_names]
    once_finite = finite_nodes(plan.once, once_inputs)
    if block.axis is Axis.WHOLE and not any(s.query == block.query for s in plan.sweeps):
        whole = next(p for p in plan.parts if (p.query, p.part) == (block.query, block.part))
        yield _note(work, values, block, block.part, plan.once, culprit(plan.once, once_finite, plan.once.outputs[whole.output]))
        return
    sweep = _sweep_of(plan, block)
    bad = ~np.isfinite(block.array)
    row = int(np.flatnonzero(bad.any(axis=1))[0])
    _, pool = run_once(plan, values, stop)
    k = block.start + row
    drawn = rows_of(sweep, pool, k, k + 1) or (made(sweep.seeds, k, k + 1, sweep.length, sweep.each.input_types[-1].dtype),)
    seed = [row[0] for row in drawn]
    each = expand(sweep.each)
    at = culprit(each, finite_nodes(each, [*shared_of(sweep, pool), *seed]), each.outputs[0])
    place = int(np.flatnonzero(bad[row])[0]) if sweep.row_type.size == sum(t.size for t in sweep.pieces) else k  # of a diagonal's numbers, one a row
    part = _piece_at(sweep, place) if sweep.axis is Axis.POINT or len(work.outlines[block.query]) > 1 else 0
    part = sweep.parts[part] if sweep.parts else part
    point = {name: values[name][k] for name in work.request.batched}
    if at < len(sweep.shared) and sweep.shared[at] in plan.once.output_names:
        output = plan.once.outputs[plan.once.output_names.index(sweep.shared[at])]
        yield _note(work, {**values, **point}, block, part, plan.once, culprit(plan.once, once_finite, output))
    else:
        yield _note(work, {**values, **point}, block, part, each, at)


def _kind(block: Block) -> str:
    return "nan" if np.isnan(block.array).any() else "inf"


def _piece_at(sweep: Sweep, column: int) -> int:
    """Which piece of a row's vector an entry belongs to."""
    ends = np.cumsum([t.size for t in sweep.pieces])
    return int(np.searchsorted(ends, column, side="right"))


def _note(work: Work, values: Values, block: Block, part: int, graph: Graph, at: int) -> NonFinite:
    """The note for node `at` of a derived graph, told as a node of the submitted one."""
    submitted = work.request.graph
    kind = _kind(block)
    if at < graph.arity:
        name = graph.input_names[at].removeprefix("row.")
        node = submitted.input_names.index(name) if name in submitted.input_names else None
        return NonFinite(block.query, part, node, "input", kind, False)
    origin = graph.nodes[at].origin
    spelled = expand(submitted)
    finite = finite_nodes(spelled, [values[n] for n in submitted.input_names])
    in_derivative = all(f for f, node in zip(finite, spelled.nodes, strict=True) if node.origin == origin)
    return NonFinite(block.query, part, origin, submitted.nodes[origin].op, kind, in_derivative)
