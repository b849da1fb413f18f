"""What has come of a run, over as many streams as it takes: its blocks are neither lost nor doubled. No sockets.

A stream that breaks loses nothing: `have` says what is there, and the next stream brings the rest. Only what is
whole is kept.
"""

from __future__ import annotations

import os

from backsweep_engine.answer import Answer
from backsweep_engine.errors import Fault
from backsweep_engine.plan.plan import Axis

from .filed import Filed, Kept
from .service import Progress, Usage
from .v1 import backsweep_pb2 as pb
from .wire import limits
from .wire.answers import decode_result
from .wire.blocks import decode_outline
from .wire.joiner import Joiner
from .wire.requests import Have, HeldRange


class Taking:
    """Feed it every event of every stream. `to`: the file that the only part of the answer goes to; else it stays in memory."""

    def __init__(self, progress: Progress | None, to: Filed | None) -> None:
        self._progress = progress
        self._to = to
        self._joiner: Joiner | None = None
        self._of: tuple[bytes, str] = b"", ""
        """plan key and platform"""
        self._blocks = self._total = 0
        self._earlier = to.kept if to is not None else None
        """what an earlier process left in the file"""
        self.run_id = self._earlier.run_id if self._earlier is not None else os.urandom(limits.RUN_ID_BYTES)
        self.usage = Usage()
        self.answers: list[Answer] | None = None

    def have(self) -> Have | None:
        """What need not come again."""
        if self._joiner is None:
            earlier = self._earlier
            if earlier is None or not earlier.ranges:
                return None
            return Have(earlier.plan_key, earlier.platform, tuple(HeldRange(0, 0, earlier.axis, start, stop) for start, stop in earlier.ranges))
        ranges, patterns = self._joiner.held(limits.MAX_HAVE_RANGES)
        return Have(*self._of, tuple(HeldRange(*r) for r in ranges), tuple(patterns)) if ranges or patterns else None

    def start_over(self) -> None:
        """What is there is of another plan."""
        self._joiner = self._earlier = None
        if self._to is not None:
            self._to.drop()
        self.new_id()

    def new_id(self) -> None:
        self.run_id = os.urandom(limits.RUN_ID_BYTES)

    def leave(self) -> None:
        """Nobody takes more in this process: the file says what is there."""
        if self._to is not None and self._joiner is not None:
            self._to.note(self._kept, now=True)

    def _kept(self) -> Kept:
        assert self._joiner is not None
        whole = self._joiner.whole()
        axis = whole[0][2] if whole else Axis.ROW
        return Kept(self.run_id, *self._of, axis, tuple((start, stop) for *_, start, stop in whole))

    def take(self, event: pb.RunResponse) -> None:
        self.usage += Usage(bytes_down=event.ByteSize())
        joiner = self._joiner
        match event.WhichOneof("event"):
            case "accepted":
                self._accept(event.accepted)
            case "pattern" if joiner is not None:
                joiner.add_pattern(event.pattern)
            case "block" if joiner is not None:
                if joiner.add(event.block):
                    self._blocks += 1
                    self._tell(min(self._blocks, self._total))
                    if self._to is not None:
                        self._to.note(self._kept)
            case "done" if joiner is not None:
                self._tell(self._total)
                used = event.done.usage
                self.usage += Usage(blocks=used.blocks, workers=used.workers)
                rest = [decode_result(result, k) for k, result in enumerate(event.done.results)]
                arrays = joiner.finish([answer.arrays for answer in rest])
                self.answers = [Answer(tuple(a), r.verdict, r.notes, joiner.pattern(k)) for k, (a, r) in enumerate(zip(arrays, rest, strict=True))]

    def _accept(self, accepted: pb.Accepted) -> None:
        outlines = tuple(decode_outline(outline) for outline in accepted.outlines)
        of = accepted.plan_key, accepted.platform
        self._total = accepted.promise.blocks
        if self._joiner is not None and (self._of, self._joiner.outlines) == (of, outlines):
            return
        if self._joiner is not None and self._joiner.held(1) != ([], []):
            raise Fault("a run was continued by another plan", hint="report it, with the versions of client and server")
        self._of = of
        if self._to is None:
            self._joiner = Joiner(outlines)
            return
        self._joiner = Joiner(outlines, self._to.array)
        if self._earlier is not None and self._to.kept is not None:
            for start, stop in self._earlier.ranges:
                self._joiner.hold(0, 0, start, stop)
        self._earlier = None

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)
