"""Patterns passed on through a linear graph, node by node, from the seed to the results.

Only what depends on the seed is looked at, and of that only ops that may stand in a linear program.
A rule says which elements of its operands each element of a result reads; an op without one reads
all of them. Graphs that nodes hold are passed through by the same function (loops.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import Graph, Node, Ref, Type
from ...ops.op import Partials, Structured, lookup
from ..expand import expand
from ..rewrite import reached
from .known import MOVES, Array, Known
from .pattern import Ints
from .rows import EMPTY, FULL, MAX_POSITIONS, Rows, added, joined, union, unit

MAX_EFFORT = 200_000_000
"""Elements of all values that depend on the seed, loops counted by their trips: some ten seconds. Beyond that everything reads everything."""

Dependence = Rows | None
"""None: the value does not depend on the seed."""


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
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if not mask[i]:
            continue
        total += sum(t.size for t in node.types)
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Structured):
            for trips, graphs in derivative.runs(**dict(node.attributes)):
                total += trips * max(effort(g, [True] * g.arity) for g in graphs)
    return total


@dataclass(frozen=True, slots=True)
class Reading:
    """A node being passed: what its operands depend on, and what is known of the others."""

    known: Known
    node: Node
    rows: tuple[Dependence, ...]

    @property
    def moving(self) -> list[tuple[int, Rows]]:
        return [(k, r) for k, r in enumerate(self.rows) if r is not None]

    def type(self, k: int) -> Type:
        return self.known.graph.type_of(self.node.operands[k])

    def value(self, k: int) -> Array | None:
        return self.known.value(self.node.operands[k])

    def nonzero(self, k: int) -> Array | None:
        return self.known.nonzero(self.node.operands[k])

    @property
    def result(self) -> Type:
        return self.node.types[0]

    def attribute(self, name: str) -> Any:
        return dict(self.node.attributes)[name]


Rule = Callable[[Reading], Rows]


def propagate(known: Known, given: Sequence[Dependence]) -> list[Dependence]:
    """What each output of known.graph depends on, by what its inputs do."""
    graph = known.graph
    last = {ref.node: i for i, node in enumerate(graph.nodes) for ref in node.operands} | {ref.node: len(graph.nodes) for ref in graph.outputs}
    values: dict[Ref, Dependence] = {Ref(i): rows for i, rows in enumerate(given) if rows is not None}
    dying: dict[int, list[int]] = {}
    for value, reader in last.items():
        dying.setdefault(reader, []).append(value)
    for i in range(graph.arity, len(graph.nodes)):
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
    from .loops import STRUCTURED  # which passes on through the graphs held

    name = reading.node.op
    if name in STRUCTURED:
        return STRUCTURED[name](reading)
    if name in RULES:
        return (RULES[name](reading),)
    if isinstance(lookup(name).derivative, Partials):
        return (together(reading),)
    everything = _everything(reading)
    return [Rows(np.full(t.size, everything.of[0]), everything.sets) if t.is_float else None for t in reading.node.types]


# Rules. Shapes are those of the values; rows and positions run over them in C order.


def places(shape: Sequence[int]) -> Ints:
    """The position of each element."""
    return np.arange(math.prod(shape)).reshape(tuple(shape))


def along(rows: Rows, shape: Sequence[int], axes: Sequence[int]) -> Rows:
    """The union along axes, which fall away."""
    rest = [d for a, d in enumerate(shape) if a not in axes]
    target = np.broadcast_to(places([1 if a in axes else d for a, d in enumerate(shape)]), tuple(shape))
    return added(rows, target.reshape(-1), np.arange(rows.of.size), math.prod(rest))


def spread(rows: Rows, kept: Sequence[int], shape: Sequence[int]) -> Rows:
    """Rows over the shape `kept`, broadcast to `shape` (equal rank)."""
    return Rows(rows.of[np.broadcast_to(places(kept), tuple(shape)).reshape(-1)], rows.sets)


def together(reading: Reading) -> Rows:
    """Pointwise: what all operands depend on at the same place."""
    (_, rows), *others = reading.moving
    for _, other in others:
        rows = union(rows, other)
    return rows


def _everything(reading: Reading) -> Rows:
    """One row: all that any element of any operand depends on."""
    every = joined([rows for _, rows in reading.moving])
    return added(every, np.zeros(every.of.size, np.int64), np.arange(every.of.size), 1)


def _product(reading: Reading) -> Rows:
    """a * b: nothing where the other factor is known to be 0."""
    if len(reading.moving) > 1:
        return together(reading)
    ((k, rows),) = reading.moving
    mask = reading.nonzero(1 - k)
    return rows if mask is None else rows.where(mask)


def _moved(reading: Reading) -> Rows:
    """Each element is a copy of one: the kernel, run on positions, says which."""
    given, parts, at = [], [], 1
    for k, rows in enumerate(reading.rows):
        type = reading.type(k)
        if rows is not None:
            given.append(places(type.shape) + at)
            parts.append(rows)
            at += type.size
        elif type.is_float:
            given.append(np.broadcast_to(np.int64(0), type.shape))
        else:
            value = reading.value(k)
            if value is None:
                return _UNKNOWN[reading.node.op](reading)
            given.append(value)
    apply = lookup(reading.node.op).apply
    assert apply is not None
    return joined(parts).at(np.asarray(apply(*given, **dict(reading.node.attributes))))


def _taken(reading: Reading) -> Rows:
    """x by an unknown index along an axis: any element on that line."""
    ((_, rows),) = reading.moving
    axis = int(reading.attribute("axis"))
    shape, count = reading.type(0).shape, reading.type(1).rank
    line = along(rows, shape, (axis,))
    return spread(line, (*shape[:axis], *(1,) * count, *shape[axis + 1 :]), reading.result.shape)


def _scattered(reading: Reading) -> Rows:
    """Values at unknown places along an axis: the old element, or any written to that line."""
    axis = int(reading.attribute("axis"))
    shape, count = reading.type(0).shape, reading.type(1).rank
    found = reading.rows[0]
    values = reading.rows[2]
    if values is not None:
        written = _onto_line(values, reading.type(2).shape, axis, count, shape)
        found = written if found is None else union(found, written)
    assert found is not None
    return found


def _onto_line(rows: Rows, shape: Sequence[int], axis: int, count: int, result: Sequence[int]) -> Rows:
    line = along(rows, shape, range(axis, axis + count))
    return spread(line, (*result[:axis], 1, *result[axis + 1 :]), result)


_UNKNOWN: dict[str, Rule] = {"take": _taken, "scatter_set": _scattered, "where": together}


def _sum(reading: Reading) -> Rows:
    ((_, rows),) = reading.moving
    return along(rows, reading.type(0).shape, tuple(reading.attribute("axes")))


def _put_add(reading: Reading) -> Rows:
    """Values added at indices: where each goes is what taking the result's positions at them says."""
    ((_, rows),) = reading.moving
    axis = int(reading.attribute("axis"))
    index, result = reading.value(1), reading.result.shape
    if index is None:
        return _onto_line(rows, reading.type(0).shape, axis, reading.type(1).rank, result)
    apply = lookup("take").apply
    assert apply is not None
    target = np.asarray(apply(places(result) + 1, index, axis=axis)).reshape(-1)
    source = np.flatnonzero(target)
    return added(rows, target[source] - 1, source, math.prod(result))


def _prefix(reading: Reading) -> Rows:
    """Along an axis, every element up to each; of long lines, every element of the line."""
    k, rows = reading.moving[-1]
    axis = int(reading.attribute("axis"))
    shape = reading.result.shape
    if len(reading.moving) > 1 or k != len(reading.rows) - 1:
        return _spread_everything(reading)
    n = shape[axis]
    if rows.of.size * (n + 1) > MAX_POSITIONS // 4:
        return spread(along(rows, shape, (axis,)), [1 if a == axis else d for a, d in enumerate(shape)], shape)
    later, earlier = np.tril_indices(n)
    lines = np.moveaxis(places(shape), axis, -1)
    return added(rows, lines[..., later].reshape(-1), lines[..., earlier].reshape(-1), rows.of.size)


def _spread_everything(reading: Reading) -> Rows:
    everything = _everything(reading)
    return Rows(np.full(reading.result.size, everything.of[0]), everything.sets)


def _matmul(reading: Reading) -> Rows:
    """[..., n, k] @ [..., k, m]: by rows of the left, by columns of the right operand; of a known one only what is not 0."""
    parts = [_left(reading, rows) if k == 0 else _right(reading, rows) for k, rows in reading.moving]
    return parts[0] if len(parts) == 1 else union(*parts)


def _left(reading: Reading, rows: Rows) -> Rows:
    (*lead, n, k), m = reading.type(0).shape, reading.type(1).shape[-1]
    entries = None if reading.rows[1] is not None else _entries(reading.nonzero(1), n)
    if entries is None:
        return spread(along(rows, (*lead, n, k), (len(lead) + 1,)), (*lead, n, 1), (*lead, n, m))
    stack, inner, outer = (e[:, None] for e in entries)
    row = stack * n + np.arange(n)
    return added(rows, (row * m + outer).reshape(-1), (row * k + inner).reshape(-1), math.prod(lead) * n * m)


def _right(reading: Reading, rows: Rows) -> Rows:
    (*lead, k, m), n = reading.type(1).shape, reading.type(0).shape[-2]
    entries = None if reading.rows[0] is not None else _entries(reading.nonzero(0), m)
    if entries is None:
        return spread(along(rows, (*lead, k, m), (len(lead),)), (*lead, 1, m), (*lead, n, m))
    stack, outer, inner = (e[:, None] for e in entries)
    column = np.arange(m)
    return added(rows, ((stack * n + outer) * m + column).reshape(-1), ((stack * k + inner) * m + column).reshape(-1), math.prod(lead) * n * m)


def _entries(mask: Array | None, times: int) -> tuple[Ints, Ints, Ints] | None:
    """Stack, row and column of the entries that may be other than 0; None where it does not pay to list them, each `times` over."""
    if mask is None:
        return None
    count = int(np.count_nonzero(mask))
    # A large matrix that is mostly full is taken as full.
    if count * times > (MAX_POSITIONS // 4 if 4 * count < mask.size else 1 << 18):
        return None
    stack, row, column = np.nonzero(mask.reshape(-1, *mask.shape[-2:]))
    return stack, row, column


def _convolve(reading: Reading) -> Rows:
    """y[i + j] += a[i] v[j] along the last axis; of a known factor only what is not 0."""
    parts = []
    for k, rows in reading.moving:
        (*lead, n), m = reading.type(k).shape, reading.type(1 - k).shape[-1]
        size = reading.result.shape[-1]
        fixed = reading.nonzero(1 - k) if reading.rows[1 - k] is None else None
        taps = np.flatnonzero(fixed.reshape(-1, m).any(axis=0)) if fixed is not None else np.arange(m)
        shift = min(n, m) - 1 if reading.attribute("valid") else 0
        if math.prod(lead) * n * taps.size > MAX_POSITIONS // 4:
            parts.append(spread(along(rows, (*lead, n), (len(lead),)), (*lead, 1), (*lead, size)))
            continue
        i, j = (line.reshape(-1) for line in np.meshgrid(np.arange(n), taps, indexing="ij"))
        inside = (i + j >= shift) & (i + j - shift < size)
        i, to = i[inside], (i + j - shift)[inside]
        stack = np.arange(math.prod(lead))[:, None]
        parts.append(added(rows, (stack * size + to).reshape(-1), (stack * n + i).reshape(-1), math.prod(lead) * size))
    return parts[0] if len(parts) == 1 else union(*parts)


def _last_axes(count: int, results: int) -> Rule:
    """Everything within the last axes of the last operand, whose leading axes the result shares, along `results` of them."""

    def rule(reading: Reading) -> Rows:
        k, rows = reading.moving[-1]
        if len(reading.moving) > 1 or k != len(reading.rows) - 1:
            return _spread_everything(reading)
        shape = reading.type(k).shape
        axes = range(len(shape) - count, len(shape) - count + results)
        return spread(along(rows, shape, axes), [1 if a in axes else d for a, d in enumerate(shape)], shape)

    return rule


def _cross(reading: Reading) -> Rows:
    parts = []
    for k, rows in reading.moving:
        shape = reading.type(k).shape
        parts.append(spread(along(rows, shape, (len(shape) - 1,)), (*shape[:-1], 1), reading.result.shape))
    return parts[0] if len(parts) == 1 else union(*parts)


_solve = _last_axes(2, 1)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("add", "subtract", "negative", "cast"), together),
    **dict.fromkeys(("multiply", "scale"), _product),
    **dict.fromkeys(MOVES, _moved),
    "sum": _sum,
    "put_add": _put_add,
    "cumsum": _prefix,
    "linear_recurrence": _prefix,
    "matmul": _matmul,
    "convolve": _convolve,
    "cross": _cross,
    **dict.fromkeys(("solve", "triangular_solve", "tridiagonal_solve"), _solve),
    "expm_frechet": _last_axes(2, 2),
}
