"""What the client of a run holds already, and so need not be sent, nor computed, again.

A key is a block of the answer, (query, part, start), or a pattern, (query, part, PATTERN).
"""

from __future__ import annotations

from collections.abc import Iterator

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.wire.errors import RunRefused
from backsweep.wire.requests import Have
from backsweep_engine.errors import GraphError
from backsweep_engine.work import Held, Work, held_of

PATTERN = -1
"""Where a block would start."""

NOTHING: Held = frozenset()


def held_by(have: Have | None, work: Work, plan_key: bytes, platform: str) -> Held:
    """What a request says its client holds of this work. PLAN_CHANGED if that is of another plan or platform."""
    if have is None:
        return NOTHING
    if have.plan_key != plan_key or have.platform != platform:
        other = "platform" if have.plan_key == plan_key else "plan"
        raise RunRefused(f"the blocks held are of another {other}", reason="PLAN_CHANGED", name="have", hint="drop them, and repeat without have")
    return frozenset([*_blocks(have, work), *_patterns(have, work)])


def _blocks(have: Have, work: Work) -> Iterator[tuple[int, int, int]]:
    for r in have.ranges:
        yield from held_of(work, r.query, r.part, r.axis, r.start, r.stop)


def _patterns(have: Have, work: Work) -> Iterator[tuple[int, int, int]]:
    for query, part in have.patterns:
        if query >= len(work.outlines) or part >= len(work.outlines[query]) or work.outlines[query][part].pattern is None:
            raise GraphError("a pattern is of no sparse part of the answer", name="have", got=f"query {query}, part {part}")
        yield query, part, PATTERN


def key_of(message: pb.RunResponse) -> tuple[int, int, int] | None:
    """Of the block or pattern an event is a chunk of; None of other events."""
    match message.WhichOneof("event"):
        case "block":
            return message.block.query, message.block.part, message.block.start
        case "pattern":
            return message.pattern.query, message.pattern.part, PATTERN
    return None
