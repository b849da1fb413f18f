"""Subjects: the derivatives that are judged, asked for what they claim <u, J v> to be.

A subject is never used to choose steps or bounds. Our own derivative of a scalar graph is its gradient; of
any other, every even-numbered direction is asked of forward mode and every odd one of reverse mode,
which is asked all of them where a custom gradient leaves no forward mode.
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

from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..plan.make import Ask, make_plan, require_within, seed_name
from ..query import Gradient, Jvp, Vjp
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


@dataclass(frozen=True, slots=True)
class GradientOf:
    """A gradient: its entries over the concatenated ravel of the wrt inputs."""

    lines: Lines
    gradient: Array
    evaluations: int

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
    plan = make_plan(lines.graph, [Ask(Gradient(lines.wrt), {})], bench.budget)
    require_within(plan.promise, bench.budget)
    parts = {b.part: b.array for b in bench.executor.blocks(plan, bench.point, bench.stop)}
    return GradientOf(lines, np.concatenate([parts[k].reshape(-1).astype(np.float64) for k in range(len(lines.wrt))]), 1)


@dataclass(slots=True)
class Product:
    """Our own derivative of any graph: forward mode for even directions, reverse mode for odd ones."""

    bench: Bench
    evaluations: int = 0

    def claims(self, probes: Sequence[Probe]) -> Claims:
        pairs: list[tuple[float, float]] = [(math.nan, math.inf)] * len(probes)
        lines = self.bench.lines
        forward = [i for i, p in enumerate(probes) if is_forward(lines, p)]
        reverse = [i for i in range(len(probes)) if i not in forward]
        if forward:
            tangents = np.array([lines.direction(probes[i]) for i in forward])
            moved = self._run(Jvp(lines.wrt, True), lines.wrt, lines.types, tangents)[:, self._floating_columns()]
            for i, row in zip(forward, moved, strict=True):
                pairs[i] = _dot(row, lines.weight(probes[i]))
        if reverse:
            outputs = derive.floating_outputs(lines.graph)
            names, types = [lines.graph.output_names[o] for o in outputs], [lines.graph.output_types[o] for o in outputs]
            weights = np.array([lines.weight(probes[i]) for i in reverse])
            for i, row in zip(reverse, self._run(Vjp(lines.wrt, True), names, types, weights), strict=True):
                pairs[i] = _dot(row, lines.direction(probes[i]))
        return _claims(pairs)

    def _floating_columns(self) -> Array:
        """A jvp's rows have zeros for the outputs that are not floating."""
        return np.concatenate([np.full(t.size, t.is_float) for t in self.bench.lines.graph.output_types])

    def _run(self, query: Jvp | Vjp, names: Sequence[str], types: Sequence[Type], seeds: Array) -> Array:
        """One run over many seeds: seeds x entries of the answer."""
        self.evaluations += len(seeds)
        cut, at = {}, 0
        for name, type in zip(names, types, strict=True):
            cut[name] = np.ascontiguousarray(seeds[:, at : at + type.size].astype(type.dtype).reshape(-1, *type.shape))
            at += type.size
        asked = Ask(query, {name: Type(a.dtype, a.shape) for name, a in cut.items()})
        bench = self.bench
        plan = make_plan(bench.lines.graph, [asked], bench.budget)
        require_within(plan.promise, bench.budget)
        seeded = {seed_name(0, name): a for name, a in cut.items()}
        blocks = sorted(bench.executor.blocks(plan, {**bench.point, **seeded}, bench.stop), key=lambda b: b.start)
        return np.concatenate([b.array for b in blocks]).astype(np.float64)


def is_forward(lines: Lines, probe: Probe) -> bool:
    """Every other direction is asked of forward mode, where there is one."""
    return probe.direction % 2 == 0 and _has_forward(lines.graph, lines.wrt)


@lru_cache(maxsize=64)
def _has_forward(graph: Graph, wrt: tuple[str, ...]) -> bool:
    return runs_forward(derive.jvp(graph, positions(graph, wrt)))


def derivative_at(lines: Lines, point: Mapping[str, Array], probe: Probe) -> tuple[Graph, list[Array]]:
    """The graph that makes our claim for a probe, and its inputs: to find the node that made a NaN."""
    graph, wrt = expand(lines.graph), positions(lines.graph, lines.wrt)
    inputs = [point[name] for name in graph.input_names]
    if is_scalar(graph):
        return expand(derive.gradient(graph, wrt)), inputs
    forward = is_forward(lines, probe)
    derived = derive.jvp(graph, wrt) if forward else derive.vjp(graph, wrt)
    at, vector = 0, lines.direction(probe) if forward else lines.weight(probe)
    for type in derived.input_types[graph.arity :]:
        inputs.append(vector[at : at + type.size].astype(type.dtype).reshape(type.shape))
        at += type.size
    return expand(derived), inputs
