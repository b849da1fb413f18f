"""The tape of a loop with `kept`: the loop as a nest of loops, made when it is transposed.

A reverse sweep needs what is carried at the start of every trip, last trip first. Of L trips in segments of
S it keeps ceil(L / S) starts of segments, and one segment at a time it runs forward again, keeping
S more: L trips within kept + L / kept carries, for one forward run more. Levels of `kept` nest: a segment is
such a loop again (Griewank and Walther, Evaluating Derivatives, 2nd ed. 2008, section 12.2, multilevel checkpointing).

Where the starts stand is fixed by the bound, so nothing has to be known of how many trips there will
be, and what the tape takes stands in the graph as lengths of scans. (Online schemes that thin their tape as it fills,
as Wang, Moin and Iaccarino, SIAM J. Sci. Comput. 31(4), 2009, have no bound to place them by.)

In each segment what is carried besides is computed apart from what is linear, since a node is linear or not as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ...graph import DTYPES, Builder, Graph, Type
from ...ops.build import call, call_in, constant
from ...ops.shape import reshape
from ...ops.term import Term
from ..rewrite import fresh
from .loop import Loop, scanned
from .rules import arranged, named, used

INT64 = DTYPES["int64"]


def segmented(loop: Loop) -> tuple[Loop, int]:
    """One segment of the loop, and how many there are; levels of `kept` that would cut nothing are dropped."""
    kept = loop.kept
    while kept:
        trips = -(-loop.length // kept[0])
        if 1 < trips < loop.length:
            count = -(-loop.length // trips)
            whole = not loop.counted and count * trips == loop.length
            return replace(loop, length=trips, counted=not whole, kept=kept[1:]), count
        kept = kept[1:]
    return replace(loop, kept=()), 1


def nest(loop: Loop, alone: Sequence[int], segment: Loop, count: int, results: Sequence[int]) -> Graph:
    """The loop as `count` times a segment. Inputs: the operands of its node; outputs: these of its results.

    `alone`: the carries that depend on no linear operand.
    """
    builder = Builder()
    body = loop.body
    names = [*fresh(["length"] * loop.counted, "tape", body.input_names), *body.input_names]
    stacks = [t.with_shape((loop.length, *t.shape)) if i in loop.xs else t for i, t in enumerate(body.input_types)]
    types = [*[Type(INT64)] * loop.counted, *stacks]
    given = [Term(builder, builder.input(name, type)) for name, type in zip(names, types, strict=True)]
    x = given[loop.counted :]
    trips = _refused_beyond(given[0], loop.length) if loop.counted else constant(builder, loop.length, dtype=INT64)

    starts = call_in(builder, "iota", size=count) * segment.length if segment.counted else None
    outer = replace(loop, body=_segment(loop, alone, segment), length=count, kept=())
    rows = [*([] if starts is None else [starts]), *[_cut(x[i], count, segment.length) for i in loop.xs]]
    stays = [*([] if starts is None else [trips]), *[x[i] for i in loop.constants]]
    # Trips in all, rounded up to whole segments; less than none stay less.
    made = [(trips + (segment.length - 1)) // segment.length] if loop.counted else []
    y = scanned(made, x[: loop.carries], rows, stays, builder, outer.body, outer)
    return named(builder, [_joined(y[o], loop.length) if o in loop.ys else y[o] for o in results])


def _segment(loop: Loop, alone: Sequence[int], segment: Loop) -> Graph:
    """The body of the outer loop. Beside the slices it is given where it starts, beside what stays the trips in all."""
    body = loop.body
    builder = Builder()
    start, trips = fresh(["start", "trips"], "tape", body.input_names)

    def take(positions: Sequence[int]) -> list[Term]:
        types = [t.with_shape((segment.length, *t.shape)) if i in loop.xs else t for i, t in enumerate(body.input_types)]
        return [Term(builder, builder.input(body.input_names[i], types[i])) for i in positions]

    carry = take(range(loop.carries))
    first = [Term(builder, builder.input(start, Type(INT64)))] if segment.counted else []
    xs = take(loop.xs)
    most = [Term(builder, builder.input(trips, Type(INT64)))] if segment.counted else []
    stays = take(loop.constants)
    count = [_least(t - s, segment.length) for t, s in zip(most, first, strict=True)]

    kept = body.select(alone)
    needed = used(kept)
    used_xs, used_stays = [i for i in loop.xs if needed[i]], [i for i in loop.constants if needed[i]]
    x = [*carry, *xs, *stays]
    before = arranged(kept, [*alone, *used_xs, *used_stays], range(len(alone)))
    carried = scanned(count, [carry[j] for j in alone], [x[i] for i in used_xs], [x[i] for i in used_stays], builder, before, segment)
    results = list(scanned(count, carry, xs, stays, builder, body, segment))
    for j, c in zip(alone, carried, strict=True):
        results[j] = c
    return named(builder, results)


def _least(count: Term, most: int) -> Term:
    return call("minimum", count, constant(count.builder, most, dtype=INT64))


def _refused_beyond(trips: Term, length: int) -> Term:
    """The number of trips, or LOOP_CAP where it is more than `length`: a loop that makes no trip, or is refused."""
    inner = Builder()
    body = named(inner, [Term(inner, inner.input("trips", Type(INT64)))])
    beyond = call("less", constant(trips.builder, length, dtype=INT64), trips)
    guard = call("where", beyond, trips, constant(trips.builder, 0, dtype=INT64))
    (same,) = scanned([guard], [trips], [], [], trips.builder, body, Loop(body, 1, 0, length, False, True))
    return same


def _cut(x: Term, count: int, length: int) -> Term:
    """Slices as `count` rows of `length`, the last filled up with zeros."""
    more = count * length - x.shape[0]
    if more:
        none = (0,) * x.ndim
        x = call("pad", x, low=none, high=(more, *none[1:]), interior=none)
    return reshape(x, (count, length, *x.shape[1:]))


def _joined(y: Term, length: int) -> Term:
    """What the segments stacked, as one stack."""
    return reshape(y, (y.shape[0] * y.shape[1], *y.shape[2:]))[:length]
