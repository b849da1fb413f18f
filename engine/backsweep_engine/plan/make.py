"""From queries to a Plan: mode, block width and promise, by static cost and budget only.

Nothing here reads a clock, a measurement or the number of workers, so one worker or a hundred make
the same plan and give the same bits. All queries of a request share one `once` graph: builders are
hash-consed, so they share its forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import GraphError, OverBudget
from ..graph import DTYPES, Builder, Graph, Node, Ref, Type
from ..ops.build import call, cast, zeros
from ..ops.control import runs_forward
from ..ops.op import lookup
from ..ops.pieces import cut
from ..ops.shape import reshape
from ..ops.term import Term
from ..query import Check, Gradient, Hessian, HessianDiagonal, Hvp, Jacobian, Jvp, Query, Value, ValueAndGradient, Vjp, wrt_of
from ..transforms import derive
from ..transforms.batch import batch
from ..transforms.expand import expand
from ..transforms.rewrite import inline, positions, reached
from ..transforms.simplify import simplify
from ..transforms.split import split
from .cost import graph_cost, node_cost
from .memory import layout
from .plan import Axis, Part, Plan, Promise, Sweep

BLOCK_FLOPS = 200_000_000
"""A block aims at this much work (some tenths of a second): long beside what sending it costs."""

BLOCK_BYTES = 64 << 20
"""and at no more memory than this."""

MAX_BLOCKS = 100_000
"""Of a sweep: each is an entry in somebody's queue."""


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
    drawing = _Drawing(graph)
    for k, ask in enumerate(asks):
        derived, seeds = _derived(graph, ask.query)
        names = [seed_name(k, name) for name in seeds]
        many = bool(getattr(ask.query, "many", False))
        if batched:
            rows = [i for i, name in enumerate(graph.input_names) if name in batched]
            _sweep_rows(drawing, k, derived, names, rows, [graph.input_names[i] for i in rows], points, Axis.POINT)
        elif many:
            rows = list(range(graph.arity, derived.arity))
            count = next(iter(ask.seeds.values())).shape[0] if ask.seeds else 0
            _sweep_rows(drawing, k, derived, names, rows, names, count, Axis.ROW)
        elif isinstance(ask.query, (Jacobian, Hessian, HessianDiagonal)):
            _sweep_basis(drawing, k, graph, ask.query)
        elif not isinstance(ask.query, Check):  # a check plans its own rounds
            drawing.whole(k, derived, names)
    return drawing.plan(budget, [getattr(ask.query, "block", 0) for ask in asks], batched, points)


def plan_rows(graph: Graph, rows: Sequence[str], count: int, budget: Budget, block: int = 0) -> Plan:
    """The plan that runs `graph` over `count` rows of the inputs named `rows`, the others shared."""
    graph = expand(graph)
    drawing = _Drawing(graph)
    _sweep_rows(drawing, 0, graph, [], list(positions(graph, rows)), list(rows), count, Axis.POINT)
    return drawing.plan(budget, [block], frozenset(rows), count)


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
            return _every_output(graph, derive.jvp(graph, wrt)), list(query.wrt)
        case Vjp():
            return derive.vjp(graph, wrt), floating
        case Hvp():
            return derive.hvp(graph, wrt), list(query.wrt)
    return graph, []


def _every_output(graph: Graph, tangent: Graph) -> Graph:
    """A jvp graph with zeros for the outputs that are not floating, which have no tangent."""
    if all(t.is_float for t in graph.output_types):
        return tangent
    builder, terms = _copied_inputs(tangent)
    moving = iter(inline(builder, tangent, terms))
    outputs = [next(moving) if t.is_float else zeros(builder, t) for t in graph.output_types]
    return builder.build([(name, y.ref) for name, y in zip(graph.output_names, outputs, strict=True)])


def _copied_inputs(graph: Graph) -> tuple[Builder, list[Term]]:
    builder = Builder()
    return builder, [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]


class _Drawing:
    """A plan being drawn: the shared `once` graph, what of it answers queries, and the sweeps."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.builder, self.inputs = _copied_inputs(graph)
        self.seeds: dict[str, Term] = {}
        self.outputs: list[tuple[str, Ref]] = []
        self.parts: list[Part] = []
        # Shared values are found by name: no input may be called as a residual is.
        self.residual = "residual."
        while any(name.startswith(self.residual) for name in graph.input_names):
            self.residual = "_" + self.residual
        self.sweeps: list[Sweep] = []

    def operands(self, derived: Graph, seeds: Sequence[str]) -> list[Term]:
        """The values of `once` that a derived graph's inputs stand for: the graph's own, then seeds."""
        for name, type in zip(seeds, derived.input_types[self.graph.arity :], strict=True):
            if name not in self.seeds:
                self.seeds[name] = Term(self.builder, self.builder.input(name, type))
        return [*self.inputs, *[self.seeds[name] for name in seeds]]

    def whole(self, query: int, derived: Graph, seeds: Sequence[str]) -> None:
        """A query answered by `once` itself."""
        for k, y in enumerate(inline(self.builder, derived, self.operands(derived, seeds))):
            self.parts.append(Part(query, k, len(self.outputs), y.type))
            self.outputs.append((f"answer.{query}.{k}", y.ref))

    def sweep(self, query: int, derived: Graph, known: Sequence[Term], rows: Sequence[int], sweep: Callable[[Graph, tuple[str, ...]], Sweep]) -> None:
        """A query that runs `derived` over rows: its row-independent part joins `once`.

        `known`: values in `once` of the inputs that are not rows, in order.
        """
        values = self._independent(derived, known, rows)

        def keep(ref: Ref) -> str:
            old = values[ref]
            name = dict(self.builder.nodes[old.node].attributes)["name"] if self.builder.nodes[old.node].op == "input" else ""
            if name:
                return str(name)
            residual = next((n for n, r in self.outputs if r == old and n.startswith(self.residual)), "")
            if not residual:
                residual = f"{self.residual}{len(self.outputs)}"
                self.outputs.append((residual, old))
            return residual

        each, shared = split(derived, rows, keep)
        self.sweeps.append(sweep(each, shared))

    def _independent(self, derived: Graph, known: Sequence[Term], rows: Sequence[int]) -> dict[Ref, Ref]:
        """What no row reaches, computed in `once` (and dropped there by build if nothing uses it)."""
        moving = set(rows)
        given = iter(known)
        values: dict[Ref, Ref] = {Ref(i): next(given).ref for i in range(derived.arity) if i not in moving}
        for i in range(derived.arity, len(derived.nodes)):
            node = derived.nodes[i]
            if all(ref in values for ref in node.operands):
                self.builder.origin = node.origin
                types = node.types
                index = self.builder.add(node.op, [values[ref] for ref in node.operands], dict(node.attributes), lambda types=types: types)  # type: ignore[misc]
                for r in range(len(types)):
                    values[Ref(i, r)] = Ref(index, r)
        return values

    def plan(self, budget: Budget, blocks: Sequence[int], batched: frozenset[str], points: int) -> Plan:
        once = _without_inputs(self.builder.build(self.outputs), batched)
        held = sum(t.nbytes * (points if n in batched else 1) for n, t in zip(self.graph.input_names, self.graph.input_types, strict=True))
        held += sum(t.type.nbytes for t in self.seeds.values())
        for sweep in self.sweeps:
            if sweep.given and sweep.axis is not Axis.POINT:
                held += sweep.rows * sum(t.nbytes for t in _row_types(sweep))
        # While sweeping, of `once` only its outputs are left.
        kept = held + sum(t.nbytes for t in once.output_types)
        flops, peak, results = graph_cost(once).flops, held + layout(once).peak_bytes, sum(p.type.nbytes for p in self.parts)
        sweeps = []
        for sweep in self.sweeps:
            sized, swept_bytes, row_flops = _sized(sweep, budget.memory_bytes - kept, blocks[sweep.query])
            _require_countable(sized)
            sweeps.append(sized)
            peak = max(peak, kept + swept_bytes)
            flops += row_flops * sweep.rows
            results += sized.row_type.nbytes * sweep.rows
        largest = _largest_op([once, *[s.each for s in sweeps]])
        promise = Promise(flops, peak, results, max(1, sum(s.blocks for s in sweeps)), largest)
        return Plan(once, tuple(self.parts), tuple(sweeps), promise)


def require_within(promise: Promise, budget: Budget) -> None:
    """Refuses a promise over the budget, before anything is allocated."""
    if promise.peak_bytes > budget.memory_bytes:
        raise OverBudget(
            "the work does not fit the memory budget",
            op=promise.largest_op,
            got=f"{promise.peak_bytes} bytes at the peak, {promise.result_bytes} of results",
            allowed=f"{budget.memory_bytes} bytes",
            hint="ask for less at once (block=, fewer outputs, a jvp or hvp instead of the matrix) or a larger server",
        )


def _require_countable(sweep: Sweep) -> None:
    if sweep.blocks > MAX_BLOCKS:
        raise OverBudget(
            "the work falls into too many blocks",
            got=f"{sweep.rows} rows in {sweep.blocks} blocks of {sweep.width}",
            allowed=f"{MAX_BLOCKS} blocks",
            hint="give a larger block=, or ask for fewer rows at a time",
        )


def _row_types(sweep: Sweep) -> tuple[Type, ...]:
    return sweep.each.input_types[len(sweep.shared) :]


def _without_inputs(once: Graph, batched: frozenset[str]) -> Graph:
    """`once` never reads a batched input: it is dropped from its inputs."""
    if not batched:
        return once
    builder = Builder()
    terms = []
    for name, type in zip(once.input_names, once.input_types, strict=True):
        # A batched input nothing in `once` uses: a zero in its place is pruned with it.
        terms.append(zeros(builder, type) if name in batched else Term(builder, builder.input(name, type)))
    results = inline(builder, once, terms)
    return builder.build([(n, y.ref) for n, y in zip(once.output_names, results, strict=True)])


def _largest_op(graphs: Sequence[Graph]) -> str:
    best: tuple[int, str] = (0, "")
    for graph in graphs:
        for node in graph.nodes[graph.arity :]:
            if not lookup(node.op).view:
                best = max(best, (sum(t.nbytes for t in node.types), node.op))
    return best[1]


def _sized(sweep: Sweep, room: int, block: int) -> tuple[Sweep, int, int]:
    """The sweep with its width, its bytes at that width, and the flops of one row."""
    row_flops = max(1, graph_cost(sweep.each).flops)
    row_bytes = max(1, layout(sweep.each).peak_bytes)
    width = block or min(max(1, BLOCK_FLOPS // row_flops), max(1, BLOCK_BYTES // row_bytes))
    width = max(1, min(width, sweep.rows))
    mask = [i >= len(sweep.shared) for i in range(sweep.each.arity)]
    while True:
        wide = expand(batch(sweep.each, mask, width))
        peak = layout(wide).peak_bytes + sum(t.nbytes for t, m in zip(wide.input_types, mask, strict=True) if m)
        if peak <= room or width == 1 or block:
            return replace(sweep, width=width), peak, row_flops
        width = max(1, min(width // 2, width * max(room, 0) // peak))


# Matrices: sweeps over identity seeds.


def _sweep_rows(
    drawing: _Drawing, query: int, derived: Graph, seeds: Sequence[str], rows: Sequence[int], given: Sequence[str], count: int, axis: Axis
) -> None:
    """Sweeps a derived graph over given rows: seeds (axis ROW) or points (axis POINT)."""
    types = derived.output_types
    if axis is Axis.POINT and any(not t.is_float for t in types) and any(t.is_float for t in types):
        raise GraphError("batched points with both floating and integer outputs are not built yet", reason="NOT_BUILT_YET", hint="ask point by point")
    vector = _flattened(derived, common_dtype(types))
    # Seeds that are rows exist only in the sweep; the others are inputs of `once`.
    moving = set(rows)
    if axis is Axis.ROW:
        known = [t for i, t in enumerate(drawing.inputs) if i not in moving]
    else:
        known = [t for i, t in enumerate(drawing.operands(derived, seeds)) if i not in moving]

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, tuple(given), count, 1, axis, vector.output_types[0], types, "the graph over given rows")

    drawing.sweep(query, vector, known, rows, sweep)


def common_dtype(types: Sequence[Type]) -> np.dtype[Any]:
    """float64 if any of them is (or none is floating), else float32; one integer dtype stays itself."""
    if types and all(t.dtype == types[0].dtype for t in types):
        return types[0].dtype
    return DTYPES["float64"] if any(t.dtype != DTYPES["float32"] for t in types if t.is_float) else DTYPES["float32"]


def _flattened(graph: Graph, dtype: np.dtype[Any]) -> Graph:
    """The graph with one output: the concatenated C-order ravel of all, in one dtype."""
    builder, terms = _copied_inputs(graph)
    return builder.build([("", _joined(builder, inline(builder, graph, terms), dtype).ref)])


def _joined(builder: Builder, values: Sequence[Term], dtype: np.dtype[Any]) -> Term:
    flat = [reshape(cast(y, dtype), (y.size,)) for y in values]
    if not flat:
        return zeros(builder, Type(dtype, (0,)))
    return flat[0] if len(flat) == 1 else call("concat", *flat, axis=0)


def _seeded(derived: Graph, arity: int, leaves: Sequence[Type], dtype: np.dtype[Any], dot: bool = False) -> Graph:
    """`derived` with its seeds (the inputs from `arity` on) cut from one vector over the ravel of `leaves`.

    Leaves that are not floating take their place in the vector but have no seed. `dot`: instead of
    the outputs, their inner product with the seed.
    """
    builder = Builder()
    terms = [Term(builder, builder.input(n, t)) for n, t in zip(derived.input_names[:arity], derived.input_types[:arity], strict=True)]
    seed = Term(builder, builder.input("seed", Type(dtype, (sum(t.size for t in leaves),))))
    at = 0
    for leaf in leaves:
        if leaf.is_float:
            terms.append(reshape(cast(cut(seed, (at,), (at + leaf.size,)), leaf.dtype), leaf.shape))
        at += leaf.size
    vector = _joined(builder, inline(builder, derived, terms), dtype)
    if dot:
        vector = reshape(call("sum", vector * seed, axes=(0,)), (1,))
    return builder.build([("", vector.ref)])


def _sweep_basis(drawing: _Drawing, query: int, graph: Graph, asked: Jacobian | Hessian | HessianDiagonal) -> None:
    wrt = positions(graph, asked.wrt)
    columns = [graph.input_types[i] for i in wrt]
    width = sum(t.size for t in columns)
    if isinstance(asked, Jacobian):
        vector, axis, note = min(_jacobian_candidates(graph, wrt, asked), key=lambda c: _sweep_cost(c[0]))
        rows = vector.input_types[-1].size
        pieces = graph.output_types if axis is Axis.COLUMN else tuple(columns)
    else:
        dot = isinstance(asked, HessianDiagonal)
        vector = simplify(_seeded(derive.hvp(graph, wrt), graph.arity, columns, common_dtype(columns), dot))
        rows, axis, note = width, Axis.ROW if dot else Axis.COLUMN, "the Hessian's diagonal by HVPs" if dot else "the Hessian by HVPs, a column each"
        pieces = tuple(columns)

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), rows, 1, axis, vector.output_types[0], pieces, note)

    drawing.sweep(query, vector, drawing.inputs, [graph.arity], sweep)


def _jacobian_candidates(graph: Graph, wrt: Sequence[int], asked: Jacobian) -> list[tuple[Graph, Axis, str]]:
    """The modes worth pricing: (vector graph, axis, note). Both only where the sizes are not lopsided."""
    columns, rows = [graph.input_types[i] for i in wrt], graph.output_types
    n, m = sum(t.size for t in columns), sum(t.size for t in rows)
    dtype = common_dtype([t for t in (*columns, *rows) if t.is_float])
    result = []
    if asked.mode == "forward" or (asked.mode == "auto" and n <= 8 * max(m, 1)):
        tangent = _every_output(graph, derive.jvp(graph, wrt))
        if asked.mode == "forward" or runs_forward(tangent):
            result.append((simplify(_seeded(tangent, graph.arity, columns, dtype)), Axis.COLUMN, "the Jacobian in forward mode, a column each"))
    if asked.mode == "reverse" or (asked.mode == "auto" and (m <= 8 * max(n, 1) or not result)):
        result.append((simplify(_seeded(derive.vjp(graph, wrt), graph.arity, rows, dtype)), Axis.ROW, "the Jacobian in reverse mode, a row each"))
    return result


def _sweep_cost(vector: Graph) -> int:
    """Flops of all rows of the part of `vector` the seed reaches."""
    moving = reached(vector, [vector.arity - 1])
    flops = sum(_node_flops(vector, node) for i, node in enumerate(vector.nodes) if moving[i] and i >= vector.arity)
    return flops * vector.input_types[-1].size


def _node_flops(graph: Graph, node: Node) -> int:
    # A move costs too: count a flop for every 16 bytes.
    cost = node_cost(graph, node)
    return cost.flops + cost.bytes // 16
