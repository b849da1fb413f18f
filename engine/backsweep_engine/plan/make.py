"""From queries to a Plan: mode, block width and promise, by static cost and budget only.

Nothing here reads a clock, a measurement or the number of workers, so one worker or a hundred make
the same plan and give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..errors import GraphError, OverBudget
from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..query import Check, Curvature, Gradient, Hessian, HessianDiagonal, Hvp, Jacobian, Jvp, Query, Value, ValueAndGradient, Vjp, wrt_of
from ..transforms import derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions
from ..transforms.simplify import simplify
from .drawing import Drawing
from .plan import Axis, Plan, Promise
from .structure import Bound
from .sweeps import product_graph, sweep_basis, sweep_rows
from .vectors import every_output
from .whole import value_and_gradient, whole_matrix


@dataclass(frozen=True, slots=True)
class Budget:
    """What one request may take: bytes of memory at the peak, inputs and results counted."""

    memory_bytes: int = 4 << 30


@dataclass(frozen=True, slots=True)
class Ask:
    """A query and the types of its seeds by name (a wrt input for tangents, an output for cotangents)."""

    query: Query
    seeds: Mapping[str, Type]


def seed_name(query: int, name: str) -> str:
    """The name in the plan's values of a seed of query number `query`."""
    return f"seed.{query}.{name}"


def make_plan(graph: Graph, asks: Sequence[Ask], budget: Budget, batched: frozenset[str] = frozenset(), points: int = 0, bound: Bound | None = None) -> Plan:
    """The plan of a request. `batched`: inputs that hold `points` points along a leading axis. `bound`:
    arrays whose values may shape the plan, of the types of their inputs; Plan.read says which did.

    Raises GraphError where a query does not fit the graph, OverBudget where it does not fit the budget.
    """
    graph = expand(graph)
    plan = _drawn(graph, asks, budget, batched, points, bound or Bound(), at_once=True)
    matrices = any(isinstance(ask.query, (Jacobian, Hessian, HessianDiagonal)) for ask in asks)
    if plan.promise.peak_bytes <= budget.memory_bytes or not matrices:
        return plan
    # What is too large at once may fit in blocks.
    return _drawn(graph, asks, budget, batched, points, bound or Bound(), at_once=False)


def _drawn(graph: Graph, asks: Sequence[Ask], budget: Budget, batched: frozenset[str], points: int, bound: Bound, at_once: bool) -> Plan:
    drawing = Drawing(graph)
    for k, ask in enumerate(asks):
        derived, seeds, note = _at_each_point(graph, ask.query) if batched and isinstance(ask.query, (Jacobian, Hessian)) else _derived(graph, ask.query)
        names = [seed_name(k, name) for name in seeds]
        many = bool(getattr(ask.query, "many", False))
        if batched:
            rows = [i for i, name in enumerate(graph.input_names) if name in batched]
            sweep_rows(drawing, k, derived, names, rows, [graph.input_names[i] for i in rows], points, Axis.POINT)
        elif many:
            rows = list(range(graph.arity, derived.arity))
            count = next(iter(ask.seeds.values())).shape[0] if ask.seeds else 0
            sweep_rows(drawing, k, derived, names, rows, names, count, Axis.ROW)
        elif isinstance(ask.query, (Jacobian, Hessian, HessianDiagonal)) or (isinstance(ask.query, Curvature) and not ask.query.product):
            sweep_basis(drawing, k, graph, ask.query, bound, budget.memory_bytes, at_once)
        elif not isinstance(ask.query, Check):  # a check plans its own rounds
            drawing.whole(k, derived, names, note)
    return drawing.plan(budget.memory_bytes, [getattr(ask.query, "block", 0) for ask in asks], batched, points)


def plan_rows(graph: Graph, rows: Sequence[str], count: int, budget: Budget, block: int = 0) -> Plan:
    """The plan that runs `graph` over `count` rows of the inputs named `rows`, the others shared."""
    graph = expand(graph)
    drawing = Drawing(graph)
    sweep_rows(drawing, 0, graph, [], list(positions(graph, rows)), list(rows), count, Axis.POINT)
    return drawing.plan(budget.memory_bytes, [block], frozenset(rows), count)


def _derived(graph: Graph, query: Query) -> tuple[Graph, list[str], str]:
    """The graph that answers a query at one point with one seed, its seeds' names, and a note on how."""
    wrt = positions(graph, wrt_of(query))
    floating = [graph.output_names[o] for o in derive.floating_outputs(graph)]
    match query:
        case Value():
            return simplify(graph), [], ""
        case Gradient():
            both, note = value_and_gradient(graph, wrt)
            return both.select(range(1, len(both.outputs))), [], note
        case ValueAndGradient():
            both, note = value_and_gradient(graph, wrt)
            return both, [], note
        case Jvp():
            return every_output(graph, derive.jvp(graph, wrt)), list(query.wrt), ""
        case Vjp():
            return derive.vjp(graph, wrt), floating, ""
    if isinstance(query, Hvp) or (isinstance(query, Curvature) and query.product):
        return product_graph(graph, query), list(query.wrt), ""
    return graph, [], ""


def _at_each_point(graph: Graph, query: Jacobian | Hessian) -> tuple[Graph, list[str], str]:
    """As `_derived`, of a matrix: whole, since many points are what is cut into blocks."""
    wrt = positions(graph, query.wrt)
    columns = sum(graph.input_types[i].size for i in wrt)
    mode = "forward"
    if isinstance(query, Jacobian):
        few = columns <= sum(t.size for t in graph.output_types) and runs_forward(derive.jvp(graph, wrt))
        mode = ("forward" if few else "reverse") if query.mode == "auto" else query.mode
    whole = whole_matrix(graph, wrt, replace(query, block=0), mode)
    if whole is None:
        raise GraphError(
            "such matrices at batched points are not built yet: they are too large, or of nothing", reason="NOT_BUILT_YET", hint="ask point by point"
        )
    return whole, [], ""


def require_within(promise: Promise, budget: Budget) -> None:
    """Refuses a promise over the budget, before anything is allocated."""
    if promise.peak_bytes > budget.memory_bytes:
        tape = "; of a loop, keep less (checkpoint=) or allow fewer trips (max_trips=)" if promise.largest_op in ("scan", "while_loop") else ""
        raise OverBudget(
            "the work does not fit the memory budget",
            op=promise.largest_op,
            got=f"{promise.peak_bytes} bytes at the peak, {promise.result_bytes} of results",
            allowed=f"{budget.memory_bytes} bytes",
            hint="ask for less at once (block=, fewer outputs, a jvp or hvp instead of the matrix) or a larger server" + tape,
        )
