"""From queries to a Plan: mode, block width and promise, by static cost and budget only.

Nothing here reads a clock, a measurement or the number of workers, so one worker or a hundred make
the same plan and give the same bits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import OverBudget
from ..graph import Graph, Type
from ..query import Check, Curvature, Gradient, Hessian, HessianDiagonal, Hvp, Jacobian, Jvp, Query, Value, ValueAndGradient, Vjp, wrt_of
from ..transforms import derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions
from ..transforms.simplify import simplify
from .drawing import Drawing
from .plan import Axis, Plan, Promise
from .sweeps import product_graph, sweep_basis, sweep_rows
from .vectors import every_output


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


def make_plan(graph: Graph, asks: Sequence[Ask], budget: Budget, batched: frozenset[str] = frozenset(), points: int = 0) -> Plan:
    """The plan of a request. `batched`: inputs that hold `points` points along a leading axis.

    Raises GraphError where a query does not fit the graph, OverBudget where it does not fit the budget.
    """
    graph = expand(graph)
    drawing = Drawing(graph)
    for k, ask in enumerate(asks):
        derived, seeds = _derived(graph, ask.query)
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
            sweep_basis(drawing, k, graph, ask.query)
        elif not isinstance(ask.query, Check):  # a check plans its own rounds
            drawing.whole(k, derived, names)
    return drawing.plan(budget.memory_bytes, [getattr(ask.query, "block", 0) for ask in asks], batched, points)


def plan_rows(graph: Graph, rows: Sequence[str], count: int, budget: Budget, block: int = 0) -> Plan:
    """The plan that runs `graph` over `count` rows of the inputs named `rows`, the others shared."""
    graph = expand(graph)
    drawing = Drawing(graph)
    sweep_rows(drawing, 0, graph, [], list(positions(graph, rows)), list(rows), count, Axis.POINT)
    return drawing.plan(budget.memory_bytes, [block], frozenset(rows), count)


def _derived(graph: Graph, query: Query) -> tuple[Graph, list[str]]:
    """The graph that answers a query at one point with one seed, and its seeds' names."""
    wrt = positions(graph, wrt_of(query))
    floating = [graph.output_names[o] for o in derive.floating_outputs(graph)]
    match query:
        case Value():
            return simplify(graph), []
        case Gradient():
            return derive.gradient(graph, wrt), []
        case ValueAndGradient():
            return derive.value_and_gradient(graph, wrt), []
        case Jvp():
            return every_output(graph, derive.jvp(graph, wrt)), list(query.wrt)
        case Vjp():
            return derive.vjp(graph, wrt), floating
    if isinstance(query, Hvp) or (isinstance(query, Curvature) and query.product):
        return product_graph(graph, query), list(query.wrt)
    return graph, []


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
