"""How calls are answered: what client.py (over gRPC) and inprocess.py (in this process) both are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from backsweep_engine.graph import Graph
from backsweep_engine.ready import Give

from .calls import Question
from .filed import Filed
from .signature import Array

if TYPE_CHECKING:
    from .wire.arrays import Digest

Progress = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""

Answering = Callable[[Sequence[Array], float | None, Progress | None], list[Any]]
"""`answering(values, timeout, progress)` -> what was made of the answers, one for each query. `values`: those the question names;
`timeout` in seconds. May be called by several threads at once."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a service has done so far: seconds are wall-clock, bytes those of arrays and graphs on the wire."""

    calls: int = 0
    seconds: float = 0.0
    bytes_up: int = 0
    bytes_down: int = 0
    blocks: int = 0
    workers: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.seconds + other.seconds,
            self.bytes_up + other.bytes_up,
            self.bytes_down + other.bytes_down,
            self.blocks + other.blocks,
            max(self.workers, other.workers),
        )


class Transport(Protocol):
    """How calls are answered."""

    @property
    def usage(self) -> Usage: ...

    def answering(self, question: Question, give: Give, to: Filed | None = None) -> Answering:
        """What answers a question again and again; asked for a plain question, `give` gives the arrays of its answers. Nothing is done before the first call.

        `to`: where the matrix that is the only answer goes, if it comes in blocks.
        """
        ...

    def explain(self, question: Question, values: Sequence[Array], timeout: float | None) -> str:
        """The plan the call would have, as text."""
        ...

    def engine_version(self, timeout: float | None) -> str:
        """Of the engine that answers."""
        ...

    def graph(self, digest: Digest, timeout: float | None) -> Graph:
        """A graph the server holds."""
        ...

    def close(self) -> None: ...
