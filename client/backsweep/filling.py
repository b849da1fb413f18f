"""A matrix computed in this process, written to its file block by block: it is never in memory whole."""

from __future__ import annotations

from backsweep_engine.answer import Answer, NonFinite, deliver
from backsweep_engine.execute.executor import Block, Executor, Stop, Values
from backsweep_engine.execute.hot import Steady
from backsweep_engine.execute.nonfinite import is_finite
from backsweep_engine.plan.plan import Axis
from backsweep_engine.work import Work, held_of

from .filed import Filed, Kept, joined
from .transport import Progress


def fill(work: Work, values: Values, executor: Executor, stop: Stop, progress: Progress | None, to: Filed, platform: str) -> tuple[Answer, int]:
    """The answer to the only query, a matrix in blocks, in the map of its file; what an earlier process left there is not computed again.

    And how many blocks were computed.
    """
    ((part,),) = work.outlines
    of = bytes.fromhex(work.plan.key), platform, part.axis
    if to.kept is not None and (to.kept.plan_key, to.kept.platform, to.kept.axis) != of:
        to.drop()
    array = to.array(part)
    rows = array.T if part.axis is Axis.COLUMN else array
    there = [] if to.kept is None else list(to.kept.ranges)
    held = frozenset(key for start, stop in there for key in held_of(work, 0, 0, part.axis, start, stop))
    notes: list[NonFinite] = []
    not_finite: tuple[int, int] | None = None
    done, total = len(held), -(-part.extent // part.width)

    def kept() -> Kept:
        # Less the first with a NaN, which is noted when it is made.
        return Kept(bytes(16), *of, joined([span for span in there if span != not_finite]))

    try:
        # By a tier of its own, since the file may be filled by several processes.
        for event in deliver(work, values, Steady(executor), stop, held):
            if isinstance(event, NonFinite):
                notes.append(event)
            elif isinstance(event, Block):
                rows[event.start : event.stop] = event.array
                there.append((event.start, event.stop))
                if (not_finite is None or event.start < not_finite[0]) and not is_finite(event.array):
                    not_finite = event.start, event.stop
                done += 1
                if progress is not None:
                    progress(min(done, total), total)
                to.note(kept)
    except BaseException:
        to.note(kept, now=True)
        raise
    return Answer((array,), notes=tuple(notes)), done - len(held)
