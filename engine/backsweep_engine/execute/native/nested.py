"""Ops that hold graphs as scalar instructions: loops are loops, branches are branches, the rest is written in place.

What a loop carries is in registers, its slices are read and its results stacked where they stand. A
loop that passes its bound sets `failed`: the NumPy tier then runs the same again and says so properly.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ...graph import Graph, Node, Type
from .assembly import ELEMENT
from .lanes import Unsupported
from .scalars import INT64, Scalars, Value, in_memory

MAX_KEPT = 32
"""Elements of an array that stays the same throughout a loop and is read before it."""

MAX_CARRIED = 128
"""Elements that a loop carries: they are in registers, or on the stack beside them."""

Wanted = Mapping[int, str]


def loop(
    s: Scalars, body: Graph, carry: Sequence[Value], xs: Sequence[Value], stays: Sequence[Value], stacks: Sequence[str], span: tuple[str, str], last: str = ""
) -> list[Value]:
    """Trips span[0] to span[1] of a scan; the last carry. `last`: of a reversed one, the position of trip 0."""
    a = s.assembly
    carry = [s.held(v) for v in carry]
    rows = [s.stored(x) for x in xs]
    stays = [s.held(v) if v.type.size <= MAX_KEPT else v for v in stays]
    head, into, done = a.label(), a.label(), a.label()
    before = a.block
    a.jump(head)
    a.begin(head)
    trip, open_trip = a.phi_later("i64", span[0], before)
    carried, opens = _carried(s, carry, before)
    a.branch(a.new(f"icmp slt i64 {trip}, {span[1]}"), into, done)
    a.begin(into)
    place = a.new(f"sub i64 {last}, {trip}") if last else trip
    slices = [_row(s, x.type.with_shape(x.type.shape[1:]), row, place) for x, row in zip(xs, rows, strict=True)]
    _body(s, body, [*carried, *slices, *stays], stacks, place, (trip, open_trip), opens, head)
    a.begin(done)
    return carried


def while_loop(
    s: Scalars, condition: Graph, body: Graph, carry: Sequence[Value], stays: Sequence[Value], stacks: Sequence[str], span: tuple[str, str]
) -> tuple[str, list[Value], str]:
    """Trips from span[0] while the condition holds, at most to span[1]: how many were made in all, the last carry, whether it still holds."""
    a = s.assembly
    carry = [s.held(v) for v in carry]
    stays = [s.held(v) if v.type.size <= MAX_KEPT else v for v in stays]
    head, more, into, done = (a.label() for _ in range(4))
    before = a.block
    a.jump(head)
    a.begin(head)
    trip, open_trip = a.phi_later("i64", span[0], before)
    carried, opens = _carried(s, carry, before)
    (holds,) = s.graph(condition, [*carried, *stays])
    (cell,) = s.cells(holds)
    ended = a.block
    a.branch(cell, more, done)
    a.begin(more)
    a.branch(a.new(f"icmp slt i64 {trip}, {span[1]}"), into, done)
    a.begin(into)
    _body(s, body, [*carried, *stays], stacks, trip, (trip, open_trip), opens, head)
    a.begin(done)
    return trip, carried, a.phi("i1", ("false", ended), ("true", more))


def _body(s: Scalars, body: Graph, inputs: Sequence[Value], stacks: Sequence[str], place: str, trip: tuple[str, int], opens: Sequence[int], head: str) -> None:
    """One trip: what it yields stacked at `place`, and back to the head with what it carries on."""
    a, results = s.assembly, s.graph(body, inputs)
    carried = results[: len(results) - len(stacks)]
    for y, pointer in zip(results[len(carried) :], stacks, strict=True):
        s.store(y, _row_pointer(s, y.type, pointer, place))
    following = [c for v in carried for c in s.cells(v)]
    a.close_phi(trip[1], a.new(f"add i64 {trip[0]}, 1"))
    for line, cell in zip(opens, following, strict=True):
        a.close_phi(line, cell)
    a.jump(head)


def _carried(s: Scalars, carry: Sequence[Value], before: str) -> tuple[list[Value], list[int]]:
    """What is carried, at the head of a loop, and the phis still open, in order."""
    carried, opens = [], []
    if sum(v.type.size for v in carry) > MAX_CARRIED:
        raise Unsupported("too many elements carried")
    for v in carry:
        cells = []
        for cell in v.cells:
            assert isinstance(cell, str)
            name, line = s.assembly.phi_later(ELEMENT[v.type.dtype.name], cell, before)
            cells.append(name)
            opens.append(line)
        carried.append(Value(v.type, tuple(cells)))
    return carried, opens


def _row(s: Scalars, type: Type, pointer: str, place: str) -> Value:
    return in_memory(type, _row_pointer(s, type, pointer, place))


def _row_pointer(s: Scalars, type: Type, pointer: str, place: str) -> str:
    offset = place if type.nbytes == 1 else s.assembly.new(f"mul i64 {place}, {type.nbytes}")
    return s.assembly.new(f"getelementptr i8, ptr {pointer}, i64 {offset}")


def _stacks(s: Scalars, types: Sequence[Type], wanted: Wanted, first: int, clear: bool) -> list[str]:
    pointers = []
    for k, type in enumerate(types):
        pointer = wanted.get(first + k) or s.memory(type)
        if clear:
            s.clear(pointer, type.nbytes)
        pointers.append(pointer)
    return pointers


def _scan(s: Scalars, node: Node, operands: Sequence[Value], wanted: Wanted) -> tuple[Value, ...]:
    a = dict(node.attributes)
    body, carries, slices, length = a["body"], a["carries"], a["slices"], a["length"]
    trips, x = str(length), list(operands)
    if a["counted"]:
        (trips,) = s.cells(x.pop(0))
        _failing(s, s.lanes.compare("sgt", INT64, trips, str(length)))
        trips = s.two("minimum", INT64, trips, str(length))
    types = node.types[carries:]
    stacks = _stacks(s, types, wanted, carries, a["counted"])
    last = s.assembly.new(f"sub i64 {trips}, 1") if a["reverse"] else ""
    parts = x[:carries], x[carries : carries + slices], x[carries + slices :]
    carried = loop(s, body, *parts, stacks, ("0", trips), last)
    return (*carried, *[in_memory(t, p) for t, p in zip(types, stacks, strict=True)])


def _while(s: Scalars, node: Node, operands: Sequence[Value], wanted: Wanted) -> tuple[Value, ...]:
    a = dict(node.attributes)
    carries = a["carries"]
    types = node.types[1 + carries :]
    stacks = _stacks(s, types, wanted, 1 + carries, True)
    trips, carried, holds = while_loop(s, a["condition"], a["body"], operands[:carries], operands[carries:], stacks, ("0", str(a["max_trips"])))
    _failing(s, holds)
    return (Value(node.types[0], (trips,)), *carried, *[in_memory(t, p) for t, p in zip(types, stacks, strict=True)])


def _failing(s: Scalars, condition: str) -> None:
    """`failed` where the condition holds."""
    a = s.assembly
    before = a.new(f"load i64, ptr {s.failed}")
    here = a.new(f"zext i1 {condition} to i64")
    now = a.new(f"or i64 {before}, {here}")
    a.do(f"store i64 {now}, ptr {s.failed}")


def _cond(s: Scalars, node: Node, operands: Sequence[Value], wanted: Wanted) -> tuple[Value, ...]:
    a, attributes = s.assembly, dict(node.attributes)
    (condition,) = s.cells(operands[0])
    labels, done = (a.label(), a.label()), a.label()
    a.branch(condition, *labels)
    arms = []
    for label, name in zip(labels, ("then", "otherwise"), strict=True):
        a.begin(label)
        cells = [s.cells(v) for v in s.graph(attributes[name], operands[1:])]
        arms.append((a.block, cells))
        a.jump(done)
    a.begin(done)
    (left, x), (right, y) = arms
    return tuple(
        [
            Value(type, tuple([a.phi(ELEMENT[type.dtype.name], (p, left), (q, right)) for p, q in zip(xs, ys, strict=True)]))
            for type, xs, ys in zip(node.types, x, y, strict=True)
        ]
    )


def _held(name: str) -> Callable[..., tuple[Value, ...]]:
    def write_it(s: Scalars, node: Node, operands: Sequence[Value], wanted: Wanted) -> tuple[Value, ...]:
        return tuple(s.graph(dict(node.attributes)[name], operands))

    return write_it


def _refused(s: Scalars, node: Node, operands: Sequence[Value], wanted: Wanted) -> Any:
    raise Unsupported(node.op)


NESTED: dict[str, Callable[..., tuple[Value, ...]]] = {
    "scan": _scan,
    "while_loop": _while,
    "cond": _cond,
    "checkpoint": _held("body"),
    "custom": _held("primal"),
    "reverse_only": _refused,
}
