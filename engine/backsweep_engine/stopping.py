"""Stopping: whoever waits may stop waiting, and then deriving, planning and building end too, within some milliseconds.

Who has a clock or a client gives a `Stop`. While blocks are computed it is handed on by argument; for what comes before
(transforms, plans, programs), which is pure functions of graphs, it is set once round the work by `stoppable` and
asked wherever all nodes of a graph are gone through: such a loop, if it does more than look at a node, runs over `paced`.
What is raised passes every cache by, so none keeps half of anything. No clock here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from .errors import Cancelled

T = TypeVar("T")

Stop = Callable[[], bool]
"""Asked between blocks, ops, loop trips and nodes: True means stop now, by raising errors.Cancelled."""

PACE = 250
"""Nodes between two questions: the dearest passes take some 60 us a node, so that is 15 ms."""


def never() -> bool:
    """A stop that never stops."""
    return False


_STOP: ContextVar[Stop] = ContextVar("STOP", default=never)


@contextmanager
def stoppable(stop: Stop) -> Iterator[None]:
    """Transforms, planning and building within raise Cancelled once stop() says so. Of this thread; `never` leaves what is set round it."""
    if stop is never:
        yield
        return
    before = _STOP.set(stop)
    try:
        yield
    finally:
        _STOP.reset(before)


def look() -> None:
    """Raises Cancelled if the work under way is to stop."""
    if _STOP.get()():
        raise Cancelled("the work was stopped")


def paced(items: Sequence[T], pace: int = PACE) -> Iterator[T]:
    """The items, and a look before every so many of them."""
    for start in range(0, len(items), pace):
        look()
        yield from items[start : start + pace]
