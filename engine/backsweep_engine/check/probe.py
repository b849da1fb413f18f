"""Probes: random directions, and the graph that evaluates <u, f(x + a v)> over rows.

A round of probes is a plan over rows like any other (plan_rows), so it is cut into blocks, sharded and
cancelled on the one path, and local and cluster give the same bits. The point, the directions and the
weights are shared; a row is five or seven numbers: the offset, which direction, and the ranges of entries (of
inputs and of outputs) outside which direction and weights count as zero. Restricting a probe to find the
entry at fault is then another row, not another direction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from ..errors import GraphError
from ..execute.executor import Executor, Stop
from ..graph import DTYPES, Builder, Graph, Ref, Type
from ..ops.build import call, call_in, cast, zeros
from ..ops.indexing import logical_and
from ..ops.pieces import cut
from ..ops.shape import reshape
from ..ops.term import Term
from ..plan.make import Budget, plan_rows, require_within
from ..plan.plan import Plan
from ..plan.vectors import common_dtype
from ..transforms.derive import floating_outputs
from ..transforms.rewrite import fresh, inline, positions

Array = np.ndarray[Any, Any]
_FLOAT64, _INT64 = DTYPES["float64"], DTYPES["int64"]
_SHARED = ("directions", "weights")
_ROWS = ("offset", "direction", "first", "last", "first_output", "last_output")

BITS = 10
"""of the fraction of a direction's entries."""


def draw(seed: int, stream: int, count: int, length: int) -> Array:
    """count x length entries +-u, u uniform on the 2^BITS + 1 grid points of [1, 2]; `stream` tells apart draws of one seed.

    |v_i| >= 1: no single entry can hide. |v_i| not all equal: an error e in one entry and -e in
    another is seen as e (v_i - v_j), whereas signs alone lose it in a quarter of draws. Few bits: x + a v
    is exact for a power of two a, unless a binade is crossed. No per-coordinate scale: it would divide the
    smallest excluded error by its smallest value. From the raw words of Philox, which NumPy keeps
    the same for ever, not from Generator methods, which it may change.
    """
    words = np.random.Philox(key=np.array([seed % 2**64, stream], np.uint64)).random_raw(count * length)
    words = np.asarray(words, np.uint64).reshape(count, length)
    sizes = 1 + (words >> np.uint64(1)) % np.uint64(2**BITS + 1) / 2.0**BITS
    return np.where(words & np.uint64(1), sizes, -sizes)


@dataclass(frozen=True, slots=True)
class Probe:
    """Direction and weights number `direction`, both zero outside these ranges of entries.

    `scale`: its steps in units of those of the others. `alone`: one of the coordinates that were asked for, each
    by itself, with a step of its own; `noise`: the bound on the error of one value on its line, 0 for that of all lines.
    """

    direction: int
    inputs: tuple[int, int]
    outputs: tuple[int, int]
    scale: float = 1.0
    alone: bool = False
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines x + a v that probes run along.

    `wrt`: the inputs moved. `directions` [count, entries of wrt], `weights` [count, entries of the
    floating outputs] (all 1 for a scalar graph), over concatenated C-order ravels.
    """

    graph: Graph
    wrt: tuple[str, ...]
    directions: Array
    weights: Array

    @property
    def types(self) -> tuple[Type, ...]:
        return tuple(self.graph.input_types[i] for i in positions(self.graph, self.wrt))

    @property
    def names(self) -> list[str]:
        return fresh([*_SHARED, *_ROWS], "probe", self.graph.input_names)

    def whole(self, direction: int) -> Probe:
        return Probe(direction, (0, self.directions.shape[1]), (0, self.weights.shape[1]))

    def coordinates(self, point: Mapping[str, Array]) -> list[Probe]:
        """A probe for each entry, its scale the entry's own size (a power of two; 1 where it is 0 or not finite)."""
        sizes = np.concatenate([np.abs(point[name]).reshape(-1).astype(float) for name in self.wrt])
        usable = np.isfinite(sizes) & (sizes > 1e-90)
        scales = np.where(usable, 2.0 ** np.ceil(np.log2(np.where(usable, sizes, 1.0))), 1.0)
        return [Probe(0, (i, i + 1), (0, self.weights.shape[1]), float(scale), True) for i, scale in enumerate(scales.tolist())]

    def direction(self, probe: Probe) -> Array:
        """The probe's v."""
        return _within(self.directions[probe.direction], probe.inputs)

    def weight(self, probe: Probe) -> Array:
        """The probe's u."""
        return _within(self.weights[probe.direction], probe.outputs)

    def moved(self, point: Mapping[str, Array], probe: Probe, offset: float) -> list[Array]:
        """The graph's inputs at x + a v, a the offset times the probe's scale, as the probe graph makes them."""
        moved, at = dict(point), 0
        line = self.direction(probe) * (offset * probe.scale)
        for name, type in zip(self.wrt, self.types, strict=True):
            moved[name] = point[name] + line[at : at + type.size].astype(type.dtype).reshape(type.shape)
            at += type.size
        return [moved[name] for name in self.graph.input_names]


def _within(vector: Array, bounds: tuple[int, int]) -> Array:
    kept = np.zeros_like(vector)
    kept[slice(*bounds)] = vector[slice(*bounds)]
    return kept


def lines(graph: Graph, wrt: Sequence[str], seed: int, count: int) -> Lines:
    n = sum(graph.input_types[i].size for i in positions(graph, wrt))
    m = sum(graph.output_types[o].size for o in floating_outputs(graph))
    weights = np.ones((count, 1)) if is_scalar(graph) else draw(seed, 1, count, m)
    return Lines(graph, tuple(wrt), draw(seed, 0, count, n), weights)


def is_scalar(graph: Graph) -> bool:
    return len(graph.outputs) == 1 and graph.output_types[0].is_float and not graph.output_types[0].shape


def probe_graph(graph: Graph, wrt: Sequence[str], count: int, names: Sequence[str]) -> Graph:
    """The graph's inputs, `count` directions and weights, and a row -> <u, f(x + a v)>, in the graph's own dtypes."""
    builder = Builder()
    terms = [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
    moving, floating = positions(graph, wrt), floating_outputs(graph)
    n = sum(graph.input_types[i].size for i in moving)
    m = sum(graph.output_types[o].size for o in floating)
    types = [Type(_FLOAT64, (count, n)), Type(_FLOAT64, (count, m)), Type(_FLOAT64), *[Type(_INT64)] * 5]
    directions, weights, offset, which, first, last, first_output, last_output = [
        Term(builder, builder.input(name, type)) for name, type in zip(names, types, strict=True)
    ]
    line, at = _picked(directions, which, first, last) * offset, 0
    for i in moving:
        type = graph.input_types[i]
        terms[i] = terms[i] + reshape(cast(cut(line, (at,), (at + type.size,)), type.dtype), type.shape)
        at += type.size
    results = inline(builder, graph, terms)
    if is_scalar(graph):
        return builder.build([("", results[0].ref)])
    dtype = common_dtype([graph.output_types[o] for o in floating])
    flat = [reshape(cast(results[o], dtype), (results[o].size,)) for o in floating]
    joined = flat[0] if len(flat) == 1 else call("concat", *flat, axis=0)
    weight = cast(_picked(weights, which, first_output, last_output), dtype)
    total: Ref = call("sum", joined * weight, axes=(0,)).ref
    return builder.build([("", total)])


def _picked(vectors: Term, which: Term, first: Term, last: Term) -> Term:
    """Row `which` of a matrix, zero outside first <= i < last."""
    vector: Term = call("take", vectors, which, axis=0)
    i: Term = call_in(vectors.builder, "iota", size=vector.size)
    picked: Term = call("where", logical_and(i >= first, i < last), vector, zeros(vectors.builder, vector.type))
    return picked


@lru_cache(maxsize=64)
def plan_probes(graph: Graph, wrt: tuple[str, ...], count: int, rows: int, budget: Budget, block: int) -> Plan:
    """The plan of `rows` evaluations along `count` lines. Kept: the rounds of a search, and checks of one
    graph at many points, are alike, and one plan keeps its programs and buffers."""
    names = fresh([*_SHARED, *_ROWS], "probe", graph.input_names)
    return plan_rows(probe_graph(graph, wrt, count, names), names[len(_SHARED) :], rows, budget, block)


@dataclass(slots=True)
class Bench:
    """Where values are taken: lines through one point, and what runs them. `evaluations` counts the values taken."""

    lines: Lines
    point: Mapping[str, Array]
    executor: Executor
    stop: Stop
    budget: Budget
    block: int
    evaluations: int = 0

    def along(self, probes: Sequence[Probe], offsets: Array) -> Array:
        """<u, f(x + a v)> for every probe and offset a (in units of the probe's scale), probes x offsets, in float64; NaN where a loop does not end."""
        columns = np.array([(p.direction, *p.inputs, *p.outputs) for p in probes], np.int64).repeat(offsets.size, axis=0)
        scales = np.array([p.scale for p in probes], np.float64)
        rows = [np.outer(scales, offsets.astype(np.float64)).reshape(-1), *columns.T]
        self.evaluations += rows[0].size
        try:
            result = self._values(rows)
        except GraphError as error:
            if error.reason != "LOOP_CAP":
                raise
            # Far from the point a loop may need more trips than it has: which values these are is found one by one.
            result = np.concatenate([self._value_or_nan([column[k : k + 1] for column in rows]) for k in range(rows[0].size)])
        return result.reshape(len(probes), offsets.size)

    def _values(self, rows: Sequence[Array]) -> Array:
        """One plan over these rows."""
        lines, count = self.lines, rows[0].size
        plan = plan_probes(lines.graph, lines.wrt, len(lines.directions), count, self.budget, self.block)
        require_within(plan.promise, self.budget)
        given = dict(zip(lines.names, [lines.directions, lines.weights, *map(np.ascontiguousarray, rows)], strict=True))
        result = np.empty(count)
        for block in self.executor.blocks(plan, {**self.point, **given}, self.stop):
            result[block.start : block.stop] = block.array[:, 0]
        return result

    def _value_or_nan(self, row: Sequence[Array]) -> Array:
        try:
            return self._values(row)
        except GraphError as error:
            if error.reason != "LOOP_CAP":
                raise
            return np.array([np.nan])
