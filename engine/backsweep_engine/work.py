"""A request found sound and planned: what is to be done, what it promises, and what the answers will look like.

Nothing is computed here, and nothing as large as an answer is allocated. What of the work is left, where somebody holds some blocks of
it already, is told here too: of one plan each block has its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from .check.rounds import promise_check
from .errors import GraphError
from .execute.executor import Array
from .execute.gather import recovered_width
from .graph import Type
from .plan.make import Ask, Budget, make_plan
from .plan.plan import Axis, Plan, Promise
from .plan.recovery import Form
from .plan.structure import Bound
from .query import Check, HessianDiagonal
from .request import Request, require_sound
from .stopping import Stop, never, stoppable
from .transforms.sparsity import Pattern


@dataclass(frozen=True, slots=True)
class OutlinePart:
    """One array of an answer, and along what its blocks are cut. `type`: of the whole; `pattern`: of a sparse
    matrix, of which only the values at its positions come. `width`: of a block along the axis.
    """

    type: Type
    axis: Axis
    pattern: Pattern | None = None
    width: int = 1

    @property
    def extent(self) -> int:
        """How long it is along the axis."""
        return 1 if self.axis is Axis.WHOLE else self.array_type.shape[1 if self.axis is Axis.COLUMN else 0]

    @property
    def array_type(self) -> Type:
        """Of the array that comes."""
        return self.type if self.pattern is None else self.type.with_shape((self.pattern.positions,))

    @property
    def nbytes(self) -> int:
        """As delivered."""
        return self.array_type.nbytes + (0 if self.pattern is None else self.pattern.nbytes)


@dataclass(frozen=True, slots=True)
class Work:
    """A request found sound: its plan, its promise, and what the answers will look like.

    `outlines`: the parts of each query's answer; none for a check.
    """

    request: Request
    plan: Plan
    promise: Promise
    outlines: tuple[tuple[OutlinePart, ...], ...]
    budget: Budget


def prepare(request: Request, budget: Budget, bound: Mapping[str, Array] | None = None, stop: Stop = never) -> Work:
    """Checks and plans. Raises GraphError, or OverBudget before anything is allocated; Cancelled when stop() says so.

    `bound`: arrays bound to inputs, by whose values a pattern may be told; where it was, the work
    holds for these values only (`work.plan.read` names them).
    """
    with stoppable(stop):
        return _prepared(request, budget, bound or {})


def _prepared(request: Request, budget: Budget, bound: Mapping[str, Array]) -> Work:
    points = require_sound(request)
    graph = request.graph
    held = {name: a for name, a in bound.items() if name not in request.batched and Type(a.dtype, a.shape) == request.types.get(name)}
    plan = make_plan(graph, request.asks, budget, request.batched, points, Bound(held))
    promise = plan.promise
    for ask in request.asks:
        if isinstance(ask.query, Check):
            whole = promise_check(graph, ask.query, budget)
            promise = replace(
                promise,
                flops=promise.flops + whole.flops,
                peak_bytes=max(promise.peak_bytes, whole.peak_bytes),
                blocks=promise.blocks + whole.blocks,
            )
    return Work(request, plan, promise, tuple(_outline(k, ask, plan) for k, ask in enumerate(request.asks)), budget)


def _outline(query: int, ask: Ask, plan: Plan) -> tuple[OutlinePart, ...]:
    if isinstance(ask.query, Check):
        return ()
    recovery = plan.recovery(query)
    if recovery is not None and recovery.form is not Form.DIAGONAL:
        sparse = recovery.form is Form.SPARSE
        width = recovered_width(recovery)
        return (OutlinePart(recovery.type, Axis.POSITION, recovery.pattern, width) if sparse else OutlinePart(recovery.type, Axis.ROW, None, width),)
    whole = tuple(OutlinePart(p.type, Axis.WHOLE) for p in plan.parts if p.query == query)
    sweep = next((s for s in plan.sweeps if s.query == query), None)
    if sweep is None:
        return whole
    if isinstance(ask.query, HessianDiagonal):
        return tuple(OutlinePart(t, Axis.WHOLE) for t in sweep.pieces) * (2 if ask.query.method == "estimate" else 1)
    if sweep.axis is Axis.POINT:
        parts = [(p, s, t) for s in plan.sweeps if s.query == query for p, t in zip(s.parts, s.pieces, strict=True)]
        return tuple(OutlinePart(t.with_shape((s.rows, *t.shape)), Axis.POINT, None, s.width) for _, s, t in sorted(parts, key=lambda part: part[0]))
    rows, length = sweep.rows, sweep.row_type.size
    shape = (length, rows) if sweep.axis is Axis.COLUMN else (rows, length)
    return (OutlinePart(sweep.row_type.with_shape(shape), sweep.axis, None, sweep.width),)


Held = frozenset[tuple[int, int, int]]
"""Blocks somebody has already, as (query, part, start): of one plan each block has its place."""


def held_of(work: Work, query: int, part: int, axis: Axis | None, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """The blocks in a range of a part; raises GraphError unless it is of whole blocks."""
    if query >= len(work.outlines) or part >= len(work.outlines[query]) or (outline := work.outlines[query][part]).axis is not axis:
        raise GraphError("a range is of no part of the answer", name="have", got=f"query {query}, part {part}, axis {axis.value if axis else 'unknown'}")
    width, extent = outline.width, outline.extent
    if start % width or (stop % width and stop != extent) or not 0 <= start <= stop <= extent:
        allowed = f"whole blocks of {width}, 0 to {extent}"
        raise GraphError("a range is not of whole blocks", name="have", got=f"{start} to {stop}", allowed=allowed, hint="name only blocks that came whole")
    return ((query, part, k) for k in range(start, stop, width))


def left_of(work: Work, held: Held) -> tuple[Plan, frozenset[int]]:
    """The plan without the blocks held, and the queries of which none is left. What is recovered from compressed rows needs all of them."""
    left = {(q, p, k) for q, parts in enumerate(work.outlines) for p, part in enumerate(parts) for k in range(0, part.extent, part.width)} - held
    waiting = {q for q, p, _ in left if work.outlines[q][p].axis is not Axis.WHOLE}
    done = {s.query for s in work.plan.sweeps if any(p.axis is not Axis.WHOLE for p in work.outlines[s.query])} - waiting
    sweeps = []
    for sweep in work.plan.sweeps:
        query, starts = sweep.query, range(0, sweep.rows, sweep.width)
        if query in done:
            here = frozenset(starts)
        elif work.plan.recovery(query) is not None or work.outlines[query][0].axis is Axis.WHOLE:
            here = frozenset()
        else:
            parts = sweep.parts or (0,)
            here = frozenset(k for k in starts if not any((query, p, k) in left for p in parts))
        sweeps.append(replace(sweep, held=here))
    return replace(work.plan, sweeps=tuple(sweeps), others={}), frozenset(done)
