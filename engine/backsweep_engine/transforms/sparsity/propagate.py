"""Patterns passed on through a linear graph, node by node, from the seed to the results.

Only what depends on the seed is looked at, and of that only ops that may stand in a linear program
(rules.py). Graphs that nodes hold are passed through by the same function (loops.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...graph import Graph, Ref
from ...ops.op import Partials, Structured, lookup
from ...stopping import paced
from ..expand import expand
from ..rewrite import reached
from .known import Array, Known
from .loops import STRUCTURED
from .reading import Dependence, Reading
from .rows import EMPTY, FULL, Rows, unit
from .rules import RULES, everything, together

MAX_EFFORT = 200_000_000
"""Elements of all values that depend on the seed, loops counted by their trips: some ten seconds. Beyond that everything reads everything."""


@dataclass(frozen=True, slots=True)
class Found:
    """The rows of a linear graph's output, and the names of the inputs whose values were read for it."""

    rows: Rows
    read: frozenset[str]


def find(graph: Graph, at: int, bound: Mapping[str, Array]) -> Found:
    """The pattern of `graph`, a linear one with one output, by its input number `at`. `bound`: values that may be read."""
    graph = expand(graph)
    read: set[str] = set()

    def look(i: int) -> Array:
        read.add(graph.input_names[i])
        return bound[graph.input_names[i]]

    columns = graph.input_types[at].size
    if effort(graph, [i == at for i in range(graph.arity)]) > MAX_EFFORT:
        size = graph.output_types[0].size
        return Found(Rows(np.full(size, FULL), unit(1).sets if columns == 1 else unit(columns).sets), frozenset())
    known = Known(graph, [name in bound and i != at for i, name in enumerate(graph.input_names)], look)
    given: list[Dependence] = [unit(columns) if i == at else None for i in range(graph.arity)]
    (found,) = propagate(known, given)
    if found is None:
        found = Rows(np.full(graph.output_types[0].size, EMPTY), unit(columns).sets)
    return Found(found, frozenset(read))


def effort(graph: Graph, moving: Sequence[bool]) -> int:
    """Elements passed over."""
    mask = reached(graph, [i for i, m in enumerate(moving) if m])
    total = 0
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        if not mask[i]:
            continue
        total += sum(t.size for t in node.types)
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Structured):
            for trips, graphs in derivative.runs(**dict(node.attributes)):
                total += trips * max(effort(g, [True] * g.arity) for g in graphs)
    return total


def propagate(known: Known, given: Sequence[Dependence]) -> list[Dependence]:
    """What each output of known.graph depends on, by what its inputs do."""
    graph = known.graph
    last = {ref.node: i for i, node in enumerate(graph.nodes) for ref in node.operands} | {ref.node: len(graph.nodes) for ref in graph.outputs}
    values: dict[Ref, Dependence] = {Ref(i): rows for i, rows in enumerate(given) if rows is not None}
    dying: dict[int, list[int]] = {}
    for value, reader in last.items():
        dying.setdefault(reader, []).append(value)
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        operands = tuple([values.get(ref) for ref in node.operands])
        if any(rows is not None for rows in operands):
            for r, rows in enumerate(_passed(Reading(known, node, operands))):
                if rows is not None:
                    values[Ref(i, r)] = rows
        for dead in dying.get(i, ()):
            for r in range(len(graph.nodes[dead].types)):
                values.pop(Ref(dead, r), None)
    return [values.get(ref) for ref in graph.outputs]


def _passed(reading: Reading) -> Sequence[Dependence]:
    name = reading.node.op
    if name in STRUCTURED:
        return STRUCTURED[name](reading, propagate)
    if name in RULES:
        return (RULES[name](reading),)
    if isinstance(lookup(name).derivative, Partials):
        return (together(reading),)
    every = everything(reading)
    return [Rows(np.full(t.size, every.of[0]), every.sets) if t.is_float else None for t in reading.node.types]
