"""Drawing: a plan being drawn, query by query: `once`, what of it answers queries, and the sweeps.

All queries of a request share one `once` graph: builders are hash-consed, so they share its forward
pass. The width of a sweep's blocks and the promise come last, when all of it stands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import OverBudget
from ..graph import Builder, Graph, Ref, Type
from ..ops.build import zeros
from ..ops.op import lookup
from ..ops.term import Term
from ..stopping import paced
from ..transforms.batch import batch
from ..transforms.expand import expand
from ..transforms.fuse import fuse
from ..transforms.rewrite import inline
from ..transforms.split import split
from .cost import graph_cost
from .frame import frame
from .memory import layout
from .plan import Axis, Part, Plan, Promise, Sweep
from .recovery import Recovery
from .refine import refine
from .shift import shift
from .turn import turn
from .vectors import copied_inputs

BLOCK_FLOPS = 200_000_000
"""A block aims at this much work (some tenths of a second): long beside what sending it costs."""

BLOCK_BYTES = 64 << 20
"""and at no more memory than this."""

MAX_BLOCKS = 100_000
"""Of a sweep: each is an entry in somebody's queue."""


FACTORS = frozenset(("cos",))
"""Ops of which an absolute error of an epsilon will do where only derivatives take them."""


class Drawing:
    """A plan being drawn: the shared `once` graph, what of it answers queries, and the sweeps."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        # A cosine the submitted graph does not take is a sine's derivative: it only ever multiplies one.
        self.factors = FACTORS - _ops(graph)
        self.builder, self.inputs = copied_inputs(graph)
        self.seeds: dict[str, Term] = {}
        self.outputs: list[tuple[str, Ref]] = []
        self.parts: list[Part] = []
        # Shared values are found by name: no input may be called as a residual is.
        self.residual = "residual."
        while any(name.startswith(self.residual) for name in graph.input_names):
            self.residual = "_" + self.residual
        self.sweeps: list[Sweep] = []
        self.recoveries: list[Recovery] = []
        self.read: frozenset[str] = frozenset()

    def operands(self, derived: Graph, seeds: Sequence[str]) -> list[Term]:
        """The values of `once` that a derived graph's inputs stand for: the graph's own, then seeds."""
        for name, type in zip(seeds, derived.input_types[self.graph.arity :], strict=True):
            if name not in self.seeds:
                self.seeds[name] = Term(self.builder, self.builder.input(name, type))
        return [*self.inputs, *[self.seeds[name] for name in seeds]]

    def whole(self, query: int, derived: Graph, seeds: Sequence[str] = (), note: str = "") -> None:
        """A query answered by `once` itself."""
        for k, y in enumerate(inline(self.builder, derived, self.operands(derived, seeds))):
            self.parts.append(Part(query, k, len(self.outputs), y.type, note))
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
        self.sweeps.append(sweep(replace(fuse(each), factors=self.factors), shared))

    def recover(self, recovery: Recovery, read: frozenset[str]) -> None:
        """The sweeps of this query, or its part of `once`, yield compressed rows. `read`: bound inputs whose values said so."""
        self.recoveries.append(recovery)
        self.read |= read

    def _independent(self, derived: Graph, known: Sequence[Term], rows: Sequence[int]) -> dict[Ref, Ref]:
        """What no row reaches, computed in `once` (and dropped there by build if nothing uses it)."""
        moving = set(rows)
        given = iter(known)
        values: dict[Ref, Ref] = {Ref(i): next(given).ref for i in range(derived.arity) if i not in moving}
        for i in paced(range(derived.arity, len(derived.nodes))):
            node = derived.nodes[i]
            if all(ref in values for ref in node.operands):
                self.builder.origin = node.origin
                types = node.types
                index = self.builder.add(node.op, [values[ref] for ref in node.operands], dict(node.attributes), lambda types=types: types)  # type: ignore[misc]
                for r in range(len(types)):
                    values[Ref(i, r)] = Ref(index, r)
        return values

    def plan(self, memory_bytes: int, blocks: Sequence[int], batched: frozenset[str], points: int) -> Plan:
        once = replace(shift(turn(refine(frame(fuse(_without_inputs(self.builder.build(self.outputs), batched)))))), factors=self.factors)
        held = sum(t.nbytes * (points if n in batched else 1) for n, t in zip(self.graph.input_names, self.graph.input_types, strict=True))
        held += sum(t.type.nbytes * (points if n in batched else 1) for n, t in self.seeds.items())
        for sweep in self.sweeps:
            if sweep.given and sweep.axis is not Axis.POINT:
                held += sweep.rows * sum(t.nbytes for t in _row_types(sweep))
        # While sweeping, of `once` only its outputs are left, and what is compressed is held until it is recovered.
        compressed = {r.query: sum(s.rows * s.row_type.nbytes for s in self.sweeps if s.query == r.query) for r in self.recoveries}
        kept = held + sum(t.nbytes for t in once.output_types) + sum(compressed.values()) + sum(r.held_bytes for r in self.recoveries)
        listed = sum(r.pattern.nbytes + r.source.nbytes for r in self.recoveries)
        flops, peak = graph_cost(once).flops, held + listed + layout(once).peak_bytes
        results = sum(p.type.nbytes for p in self.parts if p.query not in compressed)
        peak = max(peak, kept)
        sweeps = []
        for sweep in self.sweeps:
            sized, swept_bytes, row_flops = _sized(sweep, memory_bytes - kept, blocks[sweep.query])
            _require_countable(sized)
            sweeps.append(sized)
            peak = max(peak, kept + swept_bytes)
            flops += row_flops * sweep.rows
            results += 0 if sweep.query in compressed else sized.row_type.nbytes * sweep.rows
        results += sum(r.result_bytes for r in self.recoveries)
        largest = _largest_op([once, *[s.each for s in sweeps]])
        promise = Promise(flops, peak, results, max(1, sum(s.blocks for s in sweeps)), largest)
        return Plan(once, tuple(self.parts), tuple(sweeps), promise, tuple(self.recoveries), self.read)


def _ops(graph: Graph) -> frozenset[str]:
    """The ops of a graph and of those it holds."""
    return frozenset(node.op for node in graph.nodes).union(*map(_ops, graph.subgraphs))


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
        for node in paced(graph.nodes[graph.arity :]):
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
