"""Rounds: how many values a check takes at most, and so what it promises.

Every round is a plan over rows, or one of our derivative. How many there are depends on what is found: most checks
take the scout and one window. The promise is of the most: every smaller step tried, the search down to the last entry. Not
counted: the checks of single nodes that `blame` asks for, each of which keeps within the budget by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..graph import DTYPES, Graph
from ..plan.cost import graph_cost
from ..plan.make import Ask, Budget, make_plan
from ..plan.plan import Plan, Promise
from ..query import Check, Gradient, Hessian, Hvp, Jacobian, Jvp, Query, Value, Vjp
from ..transforms import derive
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from ..transforms.rewrite import positions
from .differences import MAX_RUNGS, MAX_SCOUTED, ladder
from .findings import WORST
from .probe import is_scalar, plan_probes
from .schemes import SCHEMES
from .subject import has_forward, plan_query

DIRECTIONS = 4
"""where the query leaves it open; also the least for a derivative of ours: two forward, two reverse."""

FEW = 3
"""Up to so many entries of wrt each is tried by itself too, asked or not: it costs little."""

_WINDOWS = MAX_RUNGS + 1
"""Every window but the first has a smaller step than the last one, of the scout's."""

_WALKED = 16
"""Values computed node by node, to find where a doubt comes from; at most five at a time."""

_COMPLEX = 8
"""Flops of a complex operation, in real ones; and twice the bytes, none of them used again."""

_NOISE = 9
"""Values or complex steps from which noise is told."""


def wrt_entries(graph: Graph, wrt: Sequence[str]) -> int:
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    return sum(types[name].size for name in wrt)


def output_entries(graph: Graph) -> int:
    return sum(graph.output_types[o].size for o in floating_outputs(graph))


def entries(graph: Graph, wrt: Sequence[str]) -> int:
    """Of the derivative; 0: there is nothing to check."""
    return wrt_entries(graph, wrt) * output_entries(graph)


def directions(graph: Graph, query: Check) -> int:
    """How many are drawn."""
    count = query.directions or DIRECTIONS
    return count if query.subject == "given" or is_scalar(graph) else max(count, DIRECTIONS)


def epsilon_of(graph: Graph) -> float:
    """Of the coarsest floating dtype the graph computes in: one float32 node rounds everything behind it."""
    graphs = [expand(graph)]
    for g in graphs:
        graphs.extend(g.subgraphs)
    dtypes = {t.dtype for g in graphs for node in g.nodes for t in node.types}
    return float(np.finfo(np.float32 if DTYPES["float32"] in dtypes else np.float64).eps)


@dataclass(frozen=True, slots=True)
class Round:
    """`probes` along which `values` are taken each, at most `times` times; `judged`: the subject is asked of them too."""

    probes: int
    values: int
    times: int
    judged: bool = False

    @property
    def rows(self) -> int:
        return self.probes * self.values


def rounds(graph: Graph, query: Check, count: int) -> list[Round]:
    """The rounds of a check of a first derivative along `count` directions, at most."""
    n, m = wrt_entries(graph, query.wrt), 1 if is_scalar(graph) else output_entries(graph)
    alone = n if query.coordinates or n <= FEW else 0
    window, most = 1 + SCHEMES[query.judge].offsets.size, query.max_worst or WORST
    halvings = sum((size - 1).bit_length() for size in (n, m)) + 1
    found = [
        Round(1, MAX_SCOUTED, 1),
        Round(1, _NOISE, 1),
        Round(alone, MAX_SCOUTED, 1),
        Round(count + alone, window, _WINDOWS, judged=True),
        Round(max(2 * most, count), window, halvings, judged=True),
        Round(count - 1 if query.judge == "taylor" else 0, MAX_SCOUTED, 1),
    ]
    return [r for r in found if r.rows]


def plan_check(graph: Graph, query: Check, budget: Budget) -> Plan:
    """The plan of the first round, at a point of ordinary scale: from it is told where a check runs."""
    if not entries(graph, query.wrt):
        return make_plan(graph, [Ask(Value(), {})], budget)
    rows = ladder(np.ones(1), epsilon_of(graph)).offsets.size
    return plan_probes(graph, query.wrt, directions(graph, query), rows, budget, query.block)


def promise_check(graph: Graph, query: Check, budget: Budget) -> Promise:
    """What a check takes at most, over all its rounds."""
    if not entries(graph, query.wrt):
        return plan_check(graph, query, budget).promise
    if query.subject not in ("hvp", "hessian"):
        return _joined(list(_first(graph, query, directions(graph, query), budget)))
    slopes = derive.gradient(graph, positions(graph, query.wrt))
    own, count = replace(query, subject="own", coordinates=False), max(query.directions, DIRECTIONS)
    curved = plan_query(graph, Hvp(query.wrt, True), _seeds(graph, query.wrt, 1), budget)
    return _joined([*_first(graph, own, directions(graph, own), budget), *_first(slopes, query, count, budget, graph), _times(curved, 1, 1)])


def _first(graph: Graph, query: Check, count: int, budget: Budget, scalar: Graph | None = None) -> Iterator[Promise]:
    """Of each kind of plan, all that is run of it. `scalar`: whose gradient the graph is, where a second derivative is judged."""
    taken = rounds(graph, query, count)
    rows = ladder(np.ones(1), epsilon_of(graph)).offsets.size
    plan = plan_probes(graph, query.wrt, count, rows, budget, query.block)
    widest = max(r.rows for r in taken)
    if _grown(plan, widest) > budget.memory_bytes:
        plan = plan_probes(graph, query.wrt, count, widest, budget, query.block)  # narrower blocks
    for r in taken:
        yield _times(plan, r.rows, r.times)
    value = plan_query(graph, Value(), (), budget).promise
    yield replace(value, flops=_WALKED * value.flops, peak_bytes=5 * value.peak_bytes, result_bytes=0, blocks=0)
    judged = [r for r in taken if r.judged]
    if query.judge == "complex_step":
        steps = sum((r.probes + _NOISE) * r.times for r in judged)
        spelled = expand(graph)
        held = sum(t.nbytes for node in spelled.nodes for t in node.types)
        yield Promise(_COMPLEX * steps * graph_cost(spelled).flops, 2 * held + value.peak_bytes, 0, 0)
    for asked, many in _asked(graph, query, scalar):
        subject = scalar or graph
        if not many:
            yield _times(plan_query(subject, asked, (), budget), 1, 1)
            continue
        seeds = plan_query(subject, asked, _seeds(subject, query.wrt, 2, asked), budget)
        for r in judged:
            yield _times(seeds, r.probes, r.times)


def _asked(graph: Graph, query: Check, scalar: Graph | None) -> Iterator[tuple[Query, bool]]:
    """What is asked of the subject, and whether for every probe or once."""
    wrt = query.wrt
    match query.subject:
        case "given":
            return
        case "jacobian":
            yield Jacobian(wrt, "forward"), False
            yield Jacobian(wrt, "reverse"), False
        case "hessian":
            yield Hessian(wrt), False
        case "hvp":
            assert scalar is not None
            yield Hvp(wrt, True), True
        case _:
            if query.subject == "own" and is_scalar(graph):
                yield Gradient(wrt), False
            elif query.subject != "jvp":
                yield Vjp(wrt, True), True
            if query.subject == "jvp" or (query.subject == "own" and has_forward(graph, wrt)):
                yield Jvp(wrt, True), True


def _seeds(graph: Graph, wrt: Sequence[str], many: int, asked: Query | None = None) -> tuple[tuple[str, object], ...]:
    if isinstance(asked, Vjp):
        named = [(graph.output_names[o], graph.output_types[o]) for o in floating_outputs(graph)]
    else:
        named = [(name, graph.input_types[i]) for name, i in zip(wrt, positions(graph, wrt), strict=True)]
    return tuple([(name, type.with_shape((many, *type.shape))) for name, type in named])


def _grown(plan: Plan, rows: int) -> int:
    """Bytes of the same plan over more rows. Blocks as wide as they may be grow no further; the rows themselves, and the answers, are held whole."""
    own = max((sweep.rows for sweep in plan.sweeps), default=1)
    if all(sweep.width == sweep.rows for sweep in plan.sweeps):
        return plan.promise.peak_bytes * -(-max(rows, own) // own)
    each = sum(s.row_type.nbytes + sum(t.nbytes for t in s.each.input_types[len(s.shared) :]) for s in plan.sweeps)
    return plan.promise.peak_bytes + each * max(rows - own, 0)


def _times(plan: Plan, rows: int, times: int) -> Promise:
    """A plan of the same kind over so many rows, so often; what is not swept is computed each time."""
    promise = plan.promise
    swept = sum(graph_cost(s.each).flops * s.rows for s in plan.sweeps)
    flops = max(promise.flops - swept, 0) + sum(max(1, graph_cost(s.each).flops) for s in plan.sweeps) * rows
    # Over fewer rows the width that fits is found by another way of halving: up to half of it.
    blocks = sum(-(-rows // s.width) * (2 if s.width < s.rows else 1) for s in plan.sweeps) or promise.blocks
    return Promise(flops * times, _grown(plan, rows), 0, blocks * times, promise.largest_op)


def _joined(promises: Sequence[Promise]) -> Promise:
    largest = max(promises, key=lambda p: p.peak_bytes)
    return Promise(sum(p.flops for p in promises), largest.peak_bytes, 0, sum(p.blocks for p in promises), largest.largest_op)
