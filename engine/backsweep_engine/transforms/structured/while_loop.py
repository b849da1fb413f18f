"""Rules of while_loop, a loop whose number of trips is data.

Its derivative is a scan of as many trips as were made. It is given what the loop carried at the start of each, stacked for all
trips allowed; or, where the loop has `kept`, it carries that along anew and needs no stack until it is transposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...errors import Fault
from ...graph import DTYPES, Builder, Graph, Node, Type
from ...ops.build import broadcast, call, call_several, constant, zeros
from ...ops.term import Term
from ..rewrite import fresh, inline, reached
from .choices import chosen
from .loop import Loop, stacking
from .rules import StructuredRules, Tangents, Terms, copied_inputs, named
from .scan import swapped, tangent_body, tangent_scan

INT64 = DTYPES["int64"]


def _parts(node: Node) -> tuple[Loop, Graph]:
    """The loop as one of max_trips trips of which the first few are made, and its condition."""
    a = dict(node.attributes)
    return Loop(a["body"], a["carries"], 0, a["max_trips"], False, True, a["kept"]), a["condition"]


def _while(operands: Sequence[Term], condition: Graph, body: Graph, carries: int, like: Loop) -> Terms:
    attributes = {"condition": condition, "body": body, "carries": carries, "max_trips": like.length, "kept": like.kept}
    return call_several(operands[0].builder, "while_loop", *operands, **attributes)


def _linearize(node: Node, y: Terms, x: Sequence[Term], t: Tangents, linearize: Callable[..., Graph]) -> tuple[Terms, Tangents]:
    loop, condition = _parts(node)
    forward = tangent_body(loop, t, linearize)
    if forward is None:
        return y, (None,) * len(y)
    body, where = stacking(loop, forward.stacked)
    if body is not loop.body:
        y = _while(x, condition, body, loop.carries, loop)
    stacks = [y[1 + where[j]] for j in forward.stacked]
    return y[: len(node.types)], (None, *tangent_scan(loop, forward, y[:1], x, t, stacks))


def _transpose(node: Node, *_: Any) -> list[Term | None]:
    raise Fault("while_loop stands in a linear program but is not linear", node=node.origin, op=node.op)


def _batch(node: Node, x: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    loop, condition = _parts(node)
    wide = loop.settled(flags)
    if reached(condition, [i for i, w in enumerate(wide) if w])[condition.outputs[0].node]:
        return _batch_apart(loop, condition, x, flags, size, batch)
    reach = reached(loop.body, [i for i, w in enumerate(wide) if w])
    rows = [wide[o] if o < loop.carries else reach[ref.node] for o, ref in enumerate(loop.body.outputs)]
    given = [broadcast(v, (size, *v.shape)) if wide[i] and not flags[i] else v for i, v in enumerate(x)]
    trips, *results = _while(given, batch(condition, wide, size, [False]), batch(loop.body, wide, size, rows), loop.carries, loop)
    full = [(swapped(y) if o in loop.ys else y) if rows[o] else broadcast(y, (size, *y.shape)) for o, y in enumerate(results)]
    return broadcast(trips, (size,)), *full


def _batch_apart(loop: Loop, condition: Graph, x: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    """Each row ends by itself: the loop runs until all have, and the rows that are done stay as they are.

    How many trips each row made is carried, before the rest.
    """
    wide = [True] * (1 + loop.carries) + list(flags[loop.carries :])
    row, (count, *inputs) = _counted_inputs(loop)
    (running,) = inline(row, condition, inputs)
    results = inline(row, loop.body, inputs)
    before = [*inputs[: loop.carries], *[zeros(row, y.type) for y in results[loop.carries :]]]
    masked = [chosen(running, y, b) for y, b in zip(results, before, strict=True)]
    body = batch(named(row, [chosen(running, count + constant(row, 1), count), *masked]), wide, size)

    row, (_, *inputs) = _counted_inputs(loop)
    rows = batch(named(row, inline(row, condition, inputs)), wide, size)
    some, values = copied_inputs(rows)
    (still,) = inline(some, rows, values)
    ends = named(some, [call("max", still, axes=(0,)) if size else constant(some, False)])

    carry = [v if f else broadcast(v, (size, *v.shape)) for v, f in zip(x[: loop.carries], flags, strict=False)]
    start = zeros(x[0].builder, Type(INT64, (size,)))
    _, trips, *results = _while([start, *carry, *x[loop.carries :]], ends, body, loop.carries + 1, loop)
    return trips, *[swapped(y) if o in loop.ys else y for o, y in enumerate(results)]


def _counted_inputs(loop: Loop) -> tuple[Builder, list[Term]]:
    """A count, then the body's inputs."""
    builder = Builder()
    (name,) = fresh(["trips"], "while", loop.body.input_names)
    count = Term(builder, builder.input(name, Type(INT64)))
    return builder, [count, *[Term(builder, builder.input(n, t)) for n, t in zip(loop.body.input_names, loop.body.input_types, strict=True)]]


WHILE_LOOP = StructuredRules(_linearize, _transpose, _batch)
