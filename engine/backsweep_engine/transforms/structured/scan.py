"""Rules of scan, a loop with a known bound. Every derivative of a scan is a scan.

Forward: tangents are carried along, in a second scan that is given the carries at the start of each
trip and computes the values inside anew: linear in the tangents, and what a nest of two scans
keeps is as little as their trips (T trips as sqrt T of sqrt T trips keep 2 sqrt T carries). A scan with
`kept` is given no carries: it carries them along beside their tangents, and keeps nothing. Reverse:
the same scan the other way round, with the cotangents of the carry carried back, those of what stays summed
up on the way, and those of the xs yielded. What it carries besides is computed before, in a scan of its own
that stacks it; with `kept` it is first made a nest (tape.py).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ...graph import DTYPES, Builder, Graph, Node, Type
from ...ops.build import broadcast, call, call_in, or_zeros, zeros
from ...ops.term import Term
from ..rewrite import fresh, inline, reached
from .choices import chosen
from .loop import Loop, loop_of, scanned, stacking
from .rules import StructuredRules, Tangents, Terms, absent, arranged, copied_inputs, named, used
from .tape import nest, segmented

# linearize


def _linearize(node: Node, y: Terms, operands: Sequence[Term], tangents: Tangents, linearize: Callable[..., Graph]) -> tuple[Terms, Tangents]:
    loop = loop_of(node)
    trips, x, t = operands[: loop.counted], operands[loop.counted :], tangents[loop.counted :]
    forward = tangent_body(loop, t, linearize)
    if forward is None:
        return y, (None,) * len(y)
    body, where = stacking(loop, forward.stacked)
    if body is not loop.body:
        y = scanned(trips, x[: loop.carries], [x[i] for i in loop.xs], [x[i] for i in loop.constants], y[0].builder, body, loop)
    stacks = [y[where[j]] for j in forward.stacked]
    moved = tangent_scan(loop, forward, trips, x, t, stacks)
    return y[: len(node.types)], moved


@dataclass(frozen=True, slots=True)
class Forward:
    """The tangent of a loop's body. Its inputs: the carries `along` and the tangents of `carried`, which are carried;
    `stacked` carries, `xs` and the tangents of `moving_xs`, as slices; `stays` and the tangents of `moving_stays`. Its outputs:
    the carries `along`, the tangents of `carried`, then of `yielded`. All are positions in the loop's body.
    Either nothing is carried along or, of a loop with `kept`, nothing is stacked.
    """

    body: Graph
    along: list[int]
    carried: list[int]
    yielded: list[int]
    stacked: list[int]
    xs: list[int]
    moving_xs: list[int]
    stays: list[int]
    moving_stays: list[int]


def tangent_body(loop: Loop, t: Tangents, linearize: Callable[..., Graph]) -> Forward | None:
    """None if nothing moves."""
    body = loop.body
    moving = loop.settled([d is not None for d in t], floats=True)
    wrt = [i for i, m in enumerate(moving) if m]
    joint = linearize(body, wrt)
    tangent_in = {i: body.arity + k for k, i in enumerate(wrt)}
    floating = [o for o in range(len(body.outputs)) if loop.is_float(o)]
    tangent_out = {o: len(body.outputs) + k for k, o in enumerate(floating)}
    reach = reached(joint, list(tangent_in.values()))
    carried = [j for j in range(loop.carries) if moving[j]]
    yielded = [o for o in loop.ys if o in tangent_out and reach[joint.outputs[tangent_out[o]].node]]
    if not carried and not yielded:
        return None
    tangents = [tangent_out[o] for o in (*carried, *yielded)]
    along: list[int] = []
    selected = joint.select(tangents)
    needed = used(selected)
    while loop.kept and any(needed[j] and j not in along for j in range(loop.carries)):
        along = [j for j in range(loop.carries) if needed[j]]
        selected = joint.select([*along, *tangents])
        needed = used(selected)
    stacked = [j for j in range(loop.carries) if needed[j] and j not in along]
    xs, stays = [i for i in loop.xs if needed[i]], [i for i in loop.constants if needed[i]]
    moving_xs, moving_stays = [i for i in loop.xs if moving[i]], [i for i in loop.constants if moving[i]]
    inputs = [
        *[*along, *[tangent_in[j] for j in carried]],
        *[*stacked, *xs, *[tangent_in[i] for i in moving_xs]],
        *[*stays, *[tangent_in[i] for i in moving_stays]],
    ]
    return Forward(arranged(selected, inputs, range(len(selected.outputs))), along, carried, yielded, stacked, xs, moving_xs, stays, moving_stays)


def tangent_scan(loop: Loop, forward: Forward, trips: Sequence[Term], x: Sequence[Term], t: Tangents, stacks: Sequence[Term]) -> Tangents:
    """The tangents of what is carried and of what is stacked."""
    builder = x[0].builder
    carry = [*[x[j] for j in forward.along], *[or_zeros(t[j], builder, loop.body.input_types[j]) for j in forward.carried]]
    xs = [*stacks, *[x[i] for i in forward.xs], *[d for i in forward.moving_xs if (d := t[i]) is not None]]
    stays = [*[x[i] for i in forward.stays], *[d for i in forward.moving_stays if (d := t[i]) is not None]]
    results = scanned(trips, carry, xs, stays, builder, forward.body, loop)
    moved: list[Term | None] = [None] * len(loop.body.outputs)
    for o, dy in zip((*forward.carried, *forward.yielded), results[len(forward.along) :], strict=True):
        moved[o] = dy
    return tuple(moved)


# transpose


@dataclass(frozen=True, slots=True)
class Backward:
    """One trip of a linear loop, backwards. Inputs of `body`: the cotangents of what is `carried` and the sums for `summed`,
    which are carried; `stacked` carries, `xs` and the cotangents of `yielded`, as slices; `stays`. Outputs:
    the cotangents and sums carried on, then the cotangents of `moving_xs`. All are positions in the loop's body.
    """

    body: Graph
    carried: list[int]
    summed: list[int]
    stacked: list[int]
    xs: list[int]
    yielded: list[int]
    stays: list[int]
    moving_xs: list[int]


def _backward(loop: Loop, flags: Sequence[bool], given: Sequence[bool], transpose: Callable[..., Graph]) -> Backward:
    """`flags`: the operands that are linear. `given`: which results have a cotangent."""
    body = loop.body
    linear = loop.settled(flags)
    moving, fixed = ([i for i in range(body.arity) if linear[i] is wanted] for wanted in (True, False))
    outputs = [o for o in range(len(body.outputs)) if (linear[o] if o < loop.carries else given[o])]
    flipped = transpose(body, moving, outputs)
    # Outputs that happen not to depend on the linear inputs come first; only cotangents are wanted.
    selected = flipped.select(range(len(flipped.outputs) - len(moving), len(flipped.outputs)))
    needed = used(selected)
    place = {i: k for k, i in enumerate(fixed) if needed[k]}
    cotangent = {o: len(fixed) + k for k, o in enumerate(outputs)}

    carried, summed, moving_xs = [j for j in range(loop.carries) if linear[j]], [i for i in loop.constants if flags[i]], [i for i in loop.xs if flags[i]]
    stacked, xs, stays = ([i for i in part if i in place] for part in (range(loop.carries), loop.xs, loop.constants))
    yielded = [o for o in outputs if o in loop.ys]
    builder = Builder()
    terms: dict[int, Term] = {}

    def take(inputs: Sequence[int]) -> None:
        terms.update({k: Term(builder, builder.input(selected.input_names[k], selected.input_types[k])) for k in inputs})

    take([cotangent[j] for j in carried])
    names = fresh([body.input_names[i].removeprefix("tangent.") for i in summed], "sum", selected.input_names)
    sums = [Term(builder, builder.input(name, body.input_types[i])) for name, i in zip(names, summed, strict=True)]
    take([*[place[i] for i in (*stacked, *xs)], *[cotangent[o] for o in yielded], *[place[i] for i in stays]])
    c = dict(zip(moving, inline(builder, selected, [terms.get(k, absent(builder)) for k in range(selected.arity)]), strict=True))
    totals = [total + c[i] for total, i in zip(sums, summed, strict=True)]
    turned = named(builder, [*[c[j] for j in carried], *totals, *[c[i] for i in moving_xs]])
    return Backward(turned, carried, summed, stacked, xs, yielded, stays, moving_xs)


def _transpose(
    node: Node, operands: Sequence[Term | Type], flags: Sequence[bool], cs: Sequence[Term | None], transpose: Callable[..., Graph]
) -> list[Term | None]:
    loop = loop_of(node)
    types = loop.body.input_types
    at = int(loop.counted)
    builder = next(c.builder for c in cs if c is not None)
    linear = loop.settled(flags[at:])
    if loop.kept and not all(linear[: loop.carries]):
        segment, count = segmented(loop)
        if count > 1:
            return _transpose_nest(loop, segment, count, operands, flags, cs, transpose)
        loop = segment
    back = _backward(loop, flags[at:], [c is not None for c in cs], transpose)
    trips = [x for x in operands[:at] if isinstance(x, Term)]
    known = {i: x for i, x in enumerate(operands[at:]) if isinstance(x, Term)}
    stacks = _carried_alone(loop, linear, back.stacked, trips, known, builder)
    carry = [*[or_zeros(cs[j], builder, types[j]) for j in back.carried], *[zeros(builder, types[i]) for i in back.summed]]
    xs = [*stacks, *[known[i] for i in back.xs], *[c for o in back.yielded if (c := cs[o]) is not None]]
    results = scanned(trips, carry, xs, [known[i] for i in back.stays], builder, back.body, replace(loop, reverse=not loop.reverse))
    found = dict(zip((*back.carried, *back.summed, *back.moving_xs), results, strict=True))
    return [None] * at + [found[i] if flag else None for i, flag in enumerate(flags[at:])]


def _transpose_nest(
    loop: Loop, segment: Loop, count: int, operands: Sequence[Term | Type], flags: Sequence[bool], cs: Sequence[Term | None], transpose: Callable[..., Graph]
) -> list[Term | None]:
    alone = [j for j, flag in enumerate(loop.settled(flags[loop.counted :])[: loop.carries]) if not flag]
    given = [o for o, c in enumerate(cs) if c is not None]
    linear = [i for i, flag in enumerate(flags) if flag]
    flipped = transpose(nest(loop, alone, segment, count, given), linear, range(len(given)))
    seeds = [c for c in cs if c is not None]
    results = inline(seeds[0].builder, flipped, [*[x for x in operands if isinstance(x, Term)], *seeds], keep_origin=False)
    found = dict(zip(linear, results[-len(linear) :], strict=True))
    return [found.get(i) for i in range(len(operands))]


def _carried_alone(loop: Loop, linear: Sequence[bool], wanted: Sequence[int], trips: Sequence[Term], known: dict[int, Term], builder: Builder) -> list[Term]:
    """What a linear loop carries besides (an index, say) at the start of each trip: the loop without its linear part."""
    if not wanted:
        return []
    carried = [j for j in range(loop.carries) if not linear[j]]
    alone = loop.body.select(carried)
    needed = used(alone)
    xs, stays = [i for i in loop.xs if needed[i]], [i for i in loop.constants if needed[i]]
    smaller = replace(loop, body=arranged(alone, [*carried, *xs, *stays], range(len(carried))), carries=len(carried), slices=len(xs))
    body, where = stacking(smaller, [carried.index(j) for j in wanted])
    results = scanned(trips, [known[j] for j in carried], [known[i] for i in xs], [known[i] for i in stays], builder, body, loop)
    return [results[where[carried.index(j)]] for j in wanted]


# batch


def _batch(node: Node, operands: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    loop = loop_of(node)
    if loop.counted and flags[0]:
        return _batch_counts(loop, operands, flags, size, batch)
    at = int(loop.counted)
    return batched_scan(loop, operands[:at], operands[at:], flags[at:], size, batch)


def batched_scan(loop: Loop, trips: Sequence[Term], x: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    builder = x[0].builder
    wide = loop.settled(flags)
    reach = reached(loop.body, [i for i, w in enumerate(wide) if w])
    rows = [wide[o] if o < loop.carries else reach[loop.body.outputs[o].node] for o in range(len(loop.body.outputs))]
    body = batch(loop.body, wide, size, rows)
    carry = [broadcast(x[j], (size, *x[j].shape)) if wide[j] and not flags[j] else x[j] for j in range(loop.carries)]
    xs = [swapped(x[i]) if flags[i] else x[i] for i in loop.xs]
    results = scanned(trips, carry, xs, [x[i] for i in loop.constants], builder, body, loop)
    full = []
    for o, (y, w) in enumerate(zip(results, rows, strict=True)):
        full.append((swapped(y) if o in loop.ys else y) if w else broadcast(y, (size, *y.shape)))
    return tuple(full)


def swapped(x: Term) -> Term:
    """Rows and trips, the first two axes, exchanged."""
    return call("transpose", x, axes=(1, 0, *range(2, x.ndim)))


def _batch_counts(loop: Loop, operands: Sequence[Term], flags: Sequence[bool], size: int, batch: Callable[..., Graph]) -> Terms:
    """Each row has its own number of trips: as many as the most, in which the rows that are done stay as they are."""
    trips, x = operands[0], operands[1:]
    builder = trips.builder
    inner, inputs = copied_inputs(loop.body)
    names = fresh(["index", "trips"], "scan", loop.body.input_names)
    index, count = (Term(inner, inner.input(name, Type(DTYPES["int64"]))) for name in names)
    running = call("less", index, count)
    results = inline(inner, loop.body, inputs)
    before = [*inputs[: loop.carries], *[zeros(inner, y.type) for y in results[loop.carries :]]]
    masked = named(inner, [chosen(running, y, b) for y, b in zip(results, before, strict=True)])
    # The body's inputs are carries, slices, what stays; the index is one slice more.
    order = [*range(loop.constants.start), loop.body.arity, *loop.constants, loop.body.arity + 1]
    wider = replace(loop, body=arranged(masked, order, range(len(masked.outputs))), slices=loop.slices + 1)
    positions = call_in(builder, "iota", size=loop.length)
    most = call("max", trips, axes=(0,)) if size else zeros(builder, Type(DTYPES["int64"]))
    start = loop.constants.start
    given = [*x[:start], positions, *x[start:], trips]
    return batched_scan(wider, [most], given, [*flags[1 : 1 + start], False, *flags[1 + start :], True], size, batch)


SCAN = StructuredRules(_linearize, _transpose, _batch)
