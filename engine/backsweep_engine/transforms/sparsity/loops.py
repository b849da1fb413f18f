"""Patterns through graphs that nodes hold: cond, checkpoint, scan.

A short loop is passed trip by trip. Of a longer one what is carried is taken as reading what it may
read in any trip (a fixpoint), and what each trip yields is found for all trips at once, from the
body batched over its slices: exact in the slices, a superset in what is carried.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ...graph import Graph
from ..batch import batch
from ..expand import expand
from ..structured.loop import Loop, loop_of
from .known import Array, Known
from .reading import Dependence, Reading, along
from .rows import FULL, Rows, joined, union

Propagate = Callable[[Known, Sequence[Dependence]], list[Dependence]]
"""What passes rows through a graph; the rules here apply it to the graphs a node holds."""

UNROLLED = 4096
"""Loops of so many nodes, counted each trip, are passed trip by trip."""

_ROUNDS = 64
"""of the fixpoint, before what still grows counts as reading everything"""


def _inside(reading: Reading, graph: Graph, operands: Sequence[int | None], take: int | None = None, sliced: Sequence[int] = ()) -> Known:
    """What is known inside a graph held, whose input k is operand operands[k] of the node (None: no operand, and not known).

    `take`: of the inputs `sliced`, this slice of the operand.
    """
    outer, refs = reading.known, reading.node.operands
    places = list(operands)

    def fixed(k: int) -> bool:
        operand = places[k]
        return operand is not None and reading.rows[operand] is None and outer.is_fixed(refs[operand])

    def cut(k: int, value: Array | None) -> Array | None:
        return value[take] if value is not None and take is not None and k in sliced else value

    def look(k: int) -> Array | None:
        operand = places[k]
        return None if operand is None else cut(k, outer.value(refs[operand]))

    def spot(k: int) -> Array | None:
        operand = places[k]
        return None if operand is None or reading.rows[operand] is not None else cut(k, outer.nonzero(refs[operand]))

    return Known(graph, [fixed(k) for k in range(graph.arity)], look, spot)


def _either(a: Dependence, b: Dependence) -> Dependence:
    return b if a is None else a if b is None else union(a, b)


def _cond(reading: Reading, propagate: Propagate) -> Sequence[Dependence]:
    """Either branch, or the one that is known to be taken."""
    attributes = dict(reading.node.attributes)
    chosen = reading.value(0)
    names = ("then", "otherwise") if chosen is None else ("then" if chosen else "otherwise",)
    branches = [_held(reading, attributes[name], 1, propagate) for name in names]
    found = branches[0]
    for other in branches[1:]:
        found = [_either(a, b) for a, b in zip(found, other, strict=True)]
    return found


def _checkpoint(reading: Reading, propagate: Propagate) -> Sequence[Dependence]:
    return _held(reading, dict(reading.node.attributes)["body"], 0, propagate)


def _held(reading: Reading, graph: Graph, first: int, propagate: Propagate) -> list[Dependence]:
    graph = expand(graph)
    return propagate(_inside(reading, graph, range(first, first + graph.arity)), reading.rows[first:])


def _scan(reading: Reading, propagate: Propagate) -> Sequence[Dependence]:
    loop = loop_of(reading.node)
    at = int(loop.counted)
    given = list(reading.rows[at:])
    if loop.length * max(1, len(loop.body.nodes)) <= UNROLLED:
        return _unrolled(reading, loop, given, at, propagate)
    return _any_trip(reading, loop, given, at, propagate)


def _unrolled(reading: Reading, loop: Loop, given: list[Dependence], at: int, propagate: Propagate) -> list[Dependence]:
    body = expand(loop.body)
    carry = given[: loop.carries]
    left = list(carry)
    yielded: list[list[Dependence]] = [[None] * loop.length for _ in loop.ys]
    # Only the operands that stay, and slices of the others, are known: what is carried changes.
    operands: list[int | None] = [None if i < loop.carries else i + at for i in range(body.arity)]
    for trip in range(loop.length - 1, -1, -1) if loop.reverse else range(loop.length):
        known = _inside(reading, body, operands, trip, loop.xs)
        slices = [_slice(given[i], loop.length, trip) for i in loop.xs]
        results = propagate(known, [*carry, *slices, *[given[i] for i in loop.constants]])
        for k, o in enumerate(loop.ys):
            yielded[k][trip] = results[o]
        carry = results[: loop.carries]
        left = [_either(a, b) for a, b in zip(left, carry, strict=True)]
    # A counted loop may end after any of its trips.
    return [*(left if loop.counted else carry), *[_stacked(parts, loop.body.output_types[o].size) for parts, o in zip(yielded, loop.ys, strict=True)]]


def _slice(rows: Dependence, length: int, trip: int) -> Dependence:
    return None if rows is None else Rows(rows.of.reshape(length, -1)[trip], rows.sets)


def _stacked(parts: Sequence[Dependence], size: int) -> Dependence:
    some = next((p for p in parts if p is not None), None)
    if some is None:
        return None
    return joined([Rows(np.zeros(size, np.int64), some.sets) if p is None else p for p in parts])


def _any_trip(reading: Reading, loop: Loop, given: list[Dependence], at: int, propagate: Propagate) -> list[Dependence]:
    body = expand(loop.body)
    shapes = [t.shape for t in loop.body.input_types]
    any_slice = [None if (rows := given[i]) is None else along(rows, (loop.length, *shapes[i]), (0,)) for i in loop.xs]
    stays = [given[i] for i in loop.constants]
    operands: list[int | None] = [i + at if i in loop.constants else None for i in range(body.arity)]
    known = _inside(reading, body, operands)
    carry = given[: loop.carries]
    for _ in range(_ROUNDS):
        results = propagate(known, [*carry, *any_slice, *stays])
        grown = [_either(a, b) for a, b in zip(carry, results, strict=False)]
        if all(_size(a) == _size(b) for a, b in zip(carry, grown, strict=True)):
            break
        carry = grown
    else:
        carry = [None if rows is None else Rows(np.full(rows.of.size, FULL), rows.sets) for rows in carry]
    floats = [o for o in loop.ys if loop.is_float(o)]
    wide = expand(batch(body.select(floats), [i in loop.xs for i in range(body.arity)], loop.length)) if floats else body
    slices = [given[i] for i in loop.xs]
    operands = [None if i < loop.carries else i + at for i in range(body.arity)]
    found = propagate(_inside(reading, wide, operands), [*carry, *slices, *stays]) if floats else []
    yielded = dict(zip(floats, found, strict=True))
    return [*carry, *[yielded.get(o) for o in loop.ys]]


def _size(rows: Dependence) -> int:
    return 0 if rows is None else rows.positions


STRUCTURED: dict[str, Callable[[Reading, Propagate], Sequence[Dependence]]] = {"cond": _cond, "checkpoint": _checkpoint, "scan": _scan}
