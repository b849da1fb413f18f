"""Events of the engine become messages: one response of Compute, or the events of a run."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep.wire import limits
from backsweep.wire.answers import Usage, encode_promise, encode_result, encode_usage, is_matrix
from backsweep.wire.blocks import encode_block, encode_outline, outlined
from backsweep.wire.patterns import encode_pattern
from backsweep.wire.requests import Have
from backsweep_engine.answer import Answer, Collected, Event, Judged, NonFinite, deliver
from backsweep_engine.check.verdict import Verdict
from backsweep_engine.errors import OverBudget
from backsweep_engine.execute.cluster.platform import numeric_platform
from backsweep_engine.execute.executor import Array, Block, Stop
from backsweep_engine.execute.hot import Steady
from backsweep_engine.plan.make import require_within
from backsweep_engine.query import HessianDiagonal, Jvp, Value, ValueAndGradient, wrt_of
from backsweep_engine.work import Held, Work

from .admission import Memory
from .executors import Counted, Executors
from .held import PATTERN, held_by
from .intake import Taken


def compute(taken: Taken, executors: Executors, memory: Memory, stop: Stop) -> pb.ComputeResponse:
    """The answers in one message. RESULT_TOO_LARGE, OVER_BUDGET and BUSY are raised before any work."""
    started = time.monotonic()
    work = taken.work
    size = _results_bytes(work)
    if size > limits.MAX_RESULT_BYTES:
        raise _too_large(f"{size} bytes")
    require_within(work.promise, work.budget)
    counted = Counted(executors.executor)
    with memory.hold(work.promise.peak_bytes):
        collected = Collected(work)
        for event in deliver(work, taken.values, counted, stop):
            collected.add(event)
        response = pb.ComputeResponse(results=[_result(work, query, answer) for query, answer in enumerate(collected.answers())])
    response.usage.CopyFrom(_usage(taken, counted, size, started))
    if response.ByteSize() > limits.MAX_MESSAGE_BYTES:
        raise _too_large(f"a message of {response.ByteSize()} bytes")  # very many very small arrays
    return response


class _Rest:
    """What of a run's answers does not go in blocks: small whole parts, verdicts and notes."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.outlines = outlined(work.outlines)
        self._whole: dict[tuple[int, int], Array] = {}
        self._verdicts: dict[int, Verdict] = {}
        self._notes: list[NonFinite] = []

    def take(self, event: Event) -> Block | None:
        """Keeps the event, or gives back the block that goes by itself."""
        match event:
            case Block() if self.outlines[event.query][event.part].in_blocks:
                return event
            case Block():
                self._whole[event.query, event.part] = event.array
            case Judged():
                self._verdicts[event.query] = event.verdict
            case NonFinite():
                self._notes.append(event)
        return None

    def arrays(self, query: int) -> tuple[Array, ...]:
        """The whole parts of one answer, in order. All events must have come."""
        return tuple(self._whole[query, part] for part, outline in enumerate(self.outlines[query]) if not outline.in_blocks)

    def result(self, query: int, arrays: tuple[Array, ...]) -> query_pb2.Result:
        return _result(self.work, query, Answer(arrays, self._verdicts.get(query), tuple(note for note in self._notes if note.query == query)))


class Delivery:
    """The Job of a run. `events` may be asked for again, from the beginning: the answers are the same bit for bit.

    `held`: what the job keeps until it is closed, such as the pins of its blobs.
    """

    def __init__(self, taken: Taken, executors: Executors, memory: Memory, buffer_bytes: int, held: ExitStack) -> None:
        require_within(taken.work.promise, taken.work.budget)
        self._taken = taken
        self._work = taken.work
        self._memory = memory
        self._executor_name = executors.choice(taken.work).executor
        # A run may be continued elsewhere: its tier is the plan's, however often the plan was asked.
        self._executor = Steady(executors.executor)
        self._counted = Counted(self._executor)
        self._held_blocks = 0
        self._outlines = outlined(taken.work.outlines)
        self._started = time.monotonic()
        self._bytes = taken.work.promise.peak_bytes + min(taken.work.promise.result_bytes, buffer_bytes)
        self._admitted = False
        self.admit()
        self._held = held.pop_all()

    def admit(self) -> None:
        """Takes the memory the work needs, or is BUSY. `events` gives it back."""
        if not self._admitted:
            self._memory.take(self._bytes)
            self._admitted = True

    def held(self, have: Have | None) -> Held:
        """What the client says it holds; raises if it is of another plan, or of no part of the answer."""
        return held_by(have, self._work, plan_key(self._work), numeric_platform())

    def accepted(self, attached: bool) -> pb.RunResponse:
        return pb.RunResponse(
            accepted=pb.Accepted(
                promise=encode_promise(self._work.promise),
                outlines=[encode_outline(outline) for outline in self._outlines],
                plan_key=plan_key(self._work),
                platform=numeric_platform(),
                attached=attached,
                executor=self._executor_name,
            )
        )

    def progress(self) -> pb.RunResponse:
        total = max(1, self._work.promise.blocks)
        done = min(self._counted.blocks_done + self._held_blocks, total)
        return pb.RunResponse(progress=pb.Progress(blocks_done=done, blocks_total=total, lanes=self._executor.lanes, seconds=time.monotonic() - self._started))

    def events(self, stop: Stop, held: Held) -> Generator[pb.RunResponse, None, None]:
        """Every event between `accepted` and the end, `done` included, but for blocks and patterns that are held."""
        try:
            self._counted, self._held_blocks = Counted(self._executor), sum(start != PATTERN for _, _, start in held)
            rest, sent = _Rest(self._work), 0
            for query, parts in enumerate(self._work.outlines):
                for number, part in enumerate(parts):
                    if part.pattern is not None and (query, number, PATTERN) not in held:
                        sent += part.pattern.nbytes
                        for piece in encode_pattern(query, number, part.pattern):
                            yield pb.RunResponse(pattern=piece)
            for event in deliver(self._work, self._taken.values, self._counted, stop, held):
                block = rest.take(event)
                if block is not None:
                    sent += block.array.nbytes
                    for chunk in encode_block(block, self._outlines[block.query][block.part].type):
                        yield pb.RunResponse(block=chunk)
            arrays = [rest.arrays(query) for query in range(len(self._outlines))]
            sent += sum(array.nbytes for parts in arrays for array in parts)
            results = [rest.result(query, parts) for query, parts in enumerate(arrays)]
            yield pb.RunResponse(done=pb.Done(results=results, usage=_usage(self._taken, self._counted, sent, self._started)))
        finally:
            self._give_back()

    def close(self) -> None:
        """Frees all it holds. Nothing may be at work."""
        self._give_back()
        self._held.close()

    def _give_back(self) -> None:
        if self._admitted:
            self._admitted = False
            self._memory.give_back(self._bytes)


def plan_key(work: Work) -> bytes:
    """32 bytes: see Accepted.plan_key."""
    return bytes.fromhex(work.plan.key)


def _usage(taken: Taken, counted: Counted, sent: int, started: float) -> pb.Usage:
    blocks, workers = max(1, counted.blocks_done), max(1, len(counted.workers))
    return encode_usage(Usage(taken.received_bytes, sent, blocks, counted.blocks_repeated, workers, time.monotonic() - started, counted.name))


def _results_bytes(work: Work) -> int:
    return sum(part.nbytes for parts in work.outlines for part in parts)


def _too_large(got: str) -> OverBudget:
    return OverBudget(
        "the results are too large for one message",
        reason="RESULT_TOO_LARGE",
        name="max_result_bytes",
        got=got,
        allowed=f"{limits.MAX_RESULT_BYTES} bytes",
        hint="use Run",
    )


def _result(work: Work, query: int, answer: Answer) -> query_pb2.Result:
    return encode_result(work.request.asks[query].query, answer, _part_names(work, query))


def _part_names(work: Work, query: int) -> tuple[str, ...]:
    """The output or input that each part of an answer belongs to; none for a matrix or verdict."""
    asked, outputs = work.request.asks[query].query, work.request.graph.output_names
    match asked:
        case HessianDiagonal(method="estimate"):
            return asked.wrt * 2
        case Value() | Jvp(many=False):
            return outputs
        case ValueAndGradient():
            return (*outputs, *asked.wrt)
    return () if is_matrix(asked) or not work.outlines[query] else wrt_of(asked)
