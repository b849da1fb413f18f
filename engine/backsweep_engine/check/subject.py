"""Subjects: the derivatives that are judged, asked for what they claim <u, J v> to be.

A subject is never used to choose steps or bounds. Of our own derivative every even-numbered direction is asked of
forward mode and every odd one of reverse mode (of a scalar graph, its gradient), which is asked all of them where a
custom gradient leaves no forward mode.
Products are summed exactly (math.fsum), so that a claim carries the subject's own rounding and no
more: its spread (see Claims) does not grow with the number of entries beyond the derivative itself.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from ..execute.executor import Block
from ..execute.gather import Compressed
from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..plan.make import Ask, Budget, make_plan, require_within, seed_name
from ..plan.plan import Axis, Plan
from ..query import Gradient, Hessian, Hvp, Jacobian, Jvp, Query, Vjp
from ..query import Subject as Judged
from ..transforms import derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions
from .probe import Bench, Lines, Probe, is_scalar

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Claims:
    """What a subject says of some probes: `value` <u, J v>, and `spread`, the 2-norm of the products summed."""

    value: Array
    spread: Array


class Subject(Protocol):
    """A derivative under judgement. `evaluations`: how often it was run so far."""

    @property
    def evaluations(self) -> int: ...

    def mode(self, probe: Probe) -> str:
        """What answers a probe: "forward", "reverse" or "values"."""
        ...

    def claims(self, probes: Sequence[Probe]) -> Claims: ...


@np.errstate(all="ignore")
def _dot(x: Array, y: Array) -> tuple[float, float]:
    products = np.asarray(x, np.float64) * y
    try:
        return math.fsum(products.tolist()), float(np.linalg.norm(products))
    except (ValueError, OverflowError):  # inf - inf, or beyond the largest double
        return math.nan, math.inf


def _claims(pairs: Sequence[tuple[float, float]]) -> Claims:
    value, spread = np.array(pairs, np.float64).reshape(-1, 2).T
    return Claims(value, spread)


@lru_cache(maxsize=16)
def plan_query(graph: Graph, query: Query, seeds: tuple[tuple[str, Type], ...], budget: Budget) -> Plan:
    """The plan of one query of ours, by the types of its seeds. Kept, the few a check needs: what it promises is told before it runs."""
    return make_plan(graph, [Ask(query, dict(seeds))], budget)


@dataclass(frozen=True, slots=True)
class GradientOf:
    """A gradient: its entries over the concatenated ravel of the wrt inputs."""

    lines: Lines
    gradient: Array
    evaluations: int

    def mode(self, probe: Probe) -> str:
        return "reverse" if self.evaluations else "values"

    def claims(self, probes: Sequence[Probe]) -> Claims:
        pairs = []
        for probe in probes:
            kept = slice(*probe.inputs)
            pairs.append(_dot(self.gradient[kept], self.lines.directions[probe.direction, kept]))
        return _claims(pairs)


def given_gradient(lines: Lines, given: Mapping[str, Array]) -> GradientOf:
    return GradientOf(lines, np.concatenate([np.asarray(given[name], np.float64).reshape(-1) for name in lines.wrt]), 0)


def own_gradient(bench: Bench) -> GradientOf:
    lines = bench.lines
    plan = plan_query(lines.graph, Gradient(lines.wrt), (), bench.budget)
    require_within(plan.promise, bench.budget)
    parts = {b.part: b.array for b in bench.executor.blocks(plan, bench.point, bench.stop)}
    return GradientOf(lines, np.concatenate([parts[k].reshape(-1).astype(np.float64) for k in range(len(lines.wrt))]), 1)


@dataclass(slots=True)
class Product:
    """Our own jvp and vjp: forward mode for even directions and reverse mode for odd ones, or one of them for all.

    `gradient`: stands for reverse mode of a scalar graph, where it was asked for once and for all.
    """

    bench: Bench
    subject: Judged
    gradient: GradientOf | None = None
    runs: int = 0

    @property
    def evaluations(self) -> int:
        return self.runs + (self.gradient.evaluations if self.gradient else 0)

    def mode(self, probe: Probe) -> str:
        return "forward" if is_forward(self.bench.lines, self.subject, probe) else "reverse"

    def claims(self, probes: Sequence[Probe]) -> Claims:
        pairs: list[tuple[float, float]] = [(math.nan, math.inf)] * len(probes)
        lines = self.bench.lines
        forward = [i for i, p in enumerate(probes) if self.mode(p) == "forward"]
        reverse = [i for i in range(len(probes)) if i not in forward]
        if forward:
            tangents = np.array([lines.direction(probes[i]) for i in forward])
            moved = self._run(Jvp(lines.wrt, True), lines.wrt, lines.types, tangents)[:, floating_entries(lines.graph)]
            for i, row in zip(forward, moved, strict=True):
                pairs[i] = _dot(row, lines.weight(probes[i]))
        if reverse and self.gradient is not None:
            found = self.gradient.claims([probes[i] for i in reverse])
            for i, value, spread in zip(reverse, found.value.tolist(), found.spread.tolist(), strict=True):
                pairs[i] = value, spread
        elif reverse:
            outputs = derive.floating_outputs(lines.graph)
            names, types = [lines.graph.output_names[o] for o in outputs], [lines.graph.output_types[o] for o in outputs]
            weights = np.array([lines.weight(probes[i]) for i in reverse])
            for i, row in zip(reverse, self._run(Vjp(lines.wrt, True), names, types, weights), strict=True):
                pairs[i] = _dot(row, lines.direction(probes[i]))
        return _claims(pairs)

    def _run(self, query: Jvp | Vjp, names: Sequence[str], types: Sequence[Type], seeds: Array) -> Array:
        """One run over many seeds: seeds x entries of the answer."""
        self.runs += len(seeds)
        return run_seeds(self.bench, self.bench.lines.graph, query, names, types, seeds)


@dataclass(slots=True)
class Products:
    """Our own Hessian-vector products, of `scalar`, whose gradient is the graph of the lines: <u, H v> by H v in even
    directions and by H u in odd ones, which is the same where H is symmetric (Clairaut)."""

    bench: Bench
    scalar: Graph
    evaluations: int = 0

    def mode(self, probe: Probe) -> str:
        return "reverse" if probe.direction % 2 else "forward"

    def claims(self, probes: Sequence[Probe]) -> Claims:
        lines = self.bench.lines
        seeds = [lines.weight(p) if p.direction % 2 else lines.direction(p) for p in probes]
        others = [lines.direction(p) if p.direction % 2 else lines.weight(p) for p in probes]
        self.evaluations += len(seeds)
        rows = run_seeds(self.bench, self.scalar, Hvp(lines.wrt, True), lines.wrt, lines.types, np.array(seeds))
        return _claims([_dot(row, other) for row, other in zip(rows, others, strict=True)])


@dataclass(slots=True)
class Matrix:
    """A whole matrix of ours, answered once: entries of the floating outputs x entries of wrt.

    `odd`: what stands for it in odd directions: the Jacobian in the other mode, or the Hessian turned over, so that its
    symmetry is judged too.
    """

    bench: Bench
    matrix: Array
    odd: Array
    evaluations: int = 1

    def mode(self, probe: Probe) -> str:
        return "reverse" if probe.direction % 2 else "forward"

    def claims(self, probes: Sequence[Probe]) -> Claims:
        lines, pairs = self.bench.lines, []
        for probe in probes:
            rows, columns = slice(*probe.outputs), slice(*probe.inputs)
            matrix = self.odd if probe.direction % 2 else self.matrix
            u, v = lines.weights[probe.direction, rows], lines.directions[probe.direction, columns]
            pairs.append(_dot((matrix[rows, columns] * v).reshape(-1), np.repeat(u, v.size)))
        return _claims(pairs)


def own_matrix(bench: Bench, graph: Graph, query: Jacobian | Hessian) -> Array:
    """A matrix asked of `graph` at the point, as it would be answered: at once, swept, or recovered from colours."""
    plan = plan_query(graph, query, (), bench.budget)
    require_within(plan.promise, bench.budget)
    columns = sum(graph.input_types[i].size for i in positions(graph, query.wrt))
    rows = columns if isinstance(query, Hessian) else sum(t.size for t in graph.output_types)
    found = np.empty((rows, columns))
    recovery = plan.recovery(0)
    gathered = None if recovery is None else Compressed(plan, recovery)
    for block in bench.executor.blocks(plan, bench.point, bench.stop):
        if gathered is None:
            _put(found, block)
        else:
            gathered.add(block)
    for block in () if gathered is None else gathered.blocks():
        _put(found, block)
    return found


def _put(matrix: Array, block: Block) -> None:
    if block.axis is Axis.WHOLE:
        matrix[:] = block.array
    elif block.axis is Axis.COLUMN:
        matrix[:, block.start : block.stop] = block.array.T
    else:
        matrix[block.start : block.stop] = block.array


def run_seeds(bench: Bench, graph: Graph, query: Jvp | Vjp | Hvp, names: Sequence[str], types: Sequence[Type], seeds: Array) -> Array:
    """One run over many seeds, seeds x entries of the answer; the seeds are cut into arrays of these names and types."""
    cut, at = {}, 0
    for name, type in zip(names, types, strict=True):
        cut[name] = np.ascontiguousarray(seeds[:, at : at + type.size].astype(type.dtype).reshape(len(seeds), *type.shape))
        at += type.size
    plan = plan_query(graph, query, tuple([(name, Type(a.dtype, a.shape)) for name, a in cut.items()]), bench.budget)
    require_within(plan.promise, bench.budget)
    seeded = {seed_name(0, name): a for name, a in cut.items()}
    blocks = sorted(bench.executor.blocks(plan, {**bench.point, **seeded}, bench.stop), key=lambda b: b.start)
    return np.concatenate([b.array for b in blocks]).astype(np.float64)


def floating_entries(graph: Graph) -> Array:
    """Which entries of all outputs are of floating ones: a jvp's rows, and a Jacobian's, have zeros for the others."""
    return np.concatenate([np.full(t.size, t.is_float) for t in graph.output_types])


def is_forward(lines: Lines, subject: Judged, probe: Probe) -> bool:
    """Every other direction is asked of forward mode, where there is one, or all of them as the subject says."""
    if subject in ("jvp", "vjp"):
        return subject == "jvp"
    return probe.direction % 2 == 0 and has_forward(lines.graph, lines.wrt)


@lru_cache(maxsize=64)
def has_forward(graph: Graph, wrt: tuple[str, ...]) -> bool:
    return runs_forward(derive.jvp(graph, positions(graph, wrt)))


def derivative_at(lines: Lines, subject: Judged, point: Mapping[str, Array], probe: Probe) -> tuple[Graph, list[Array]]:
    """The graph that makes our claim for a probe, and its inputs: to find the node that made a NaN."""
    graph, wrt = expand(lines.graph), positions(lines.graph, lines.wrt)
    inputs = [point[name] for name in graph.input_names]
    forward = is_forward(lines, subject, probe)
    if is_scalar(graph) and not forward:
        return expand(derive.gradient(graph, wrt)), inputs
    derived = derive.jvp(graph, wrt) if forward else derive.vjp(graph, wrt)
    at, vector = 0, lines.direction(probe) if forward else lines.weight(probe)
    for type in derived.input_types[graph.arity :]:
        inputs.append(vector[at : at + type.size].astype(type.dtype).reshape(type.shape))
        at += type.size
    return expand(derived), inputs
