"""Admission: how much goes on at once, in calls, in streams and in bytes of promised memory.

What does not fit now is BUSY with a time to come back; nothing waits here, since whoever waits
holds a thread. Health, Capabilities and CancelRun have threads of their own and need no place, so
they answer whatever else goes on.
"""

from __future__ import annotations

import enum
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from backsweep.wire.errors import Unavailable

RESERVED_THREADS = 4
"""For what needs no place."""

SPARE_THREADS = 4
"""Beyond the places: to say BUSY."""


class Kind(enum.Enum):
    """What an rpc takes a place among."""

    FREE = "free"
    """none: it answers at once, always"""
    CALL = "calls"
    STREAM = "streams"


class Places:
    """So many calls and so many streams at a time."""

    def __init__(self, calls: int, streams: int) -> None:
        self._most = {Kind.CALL: calls, Kind.STREAM: streams}
        self._taken = dict.fromkeys(self._most, 0)
        self._lock = threading.Lock()

    @property
    def threads(self) -> int:
        """How many threads all that takes a place needs."""
        return sum(self._most.values()) + SPARE_THREADS

    @contextmanager
    def take(self, kind: Kind) -> Iterator[None]:
        if kind is Kind.FREE:
            yield
            return
        with self._lock:
            if self._taken[kind] >= self._most[kind]:
                name = f"max_{kind.value}"
                raise Unavailable(f"all {kind.value} are taken", after=0.5, name=name, got=str(self._taken[kind] + 1), allowed=f"{self._most[kind]} at a time")
            self._taken[kind] += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken[kind] -= 1

    def taken(self) -> int:
        """Calls and streams under way."""
        with self._lock:
            return sum(self._taken.values())


class Memory:
    """Bytes that all work under way may need at its peak. More than that for one request is the plan's OVER_BUDGET."""

    def __init__(self, capacity_bytes: int) -> None:
        self.capacity_bytes = capacity_bytes
        self._free = capacity_bytes
        self._lock = threading.Lock()

    def take(self, nbytes: int) -> None:
        # A stream's buffers come on top of its promise: they must not make it wait for ever.
        nbytes = min(nbytes, self.capacity_bytes)
        with self._lock:
            if nbytes > self._free:
                raise Unavailable(
                    "other work holds the memory this needs", after=1.0, name="budget_bytes", got=f"{nbytes} bytes", allowed=f"{self._free} bytes now"
                )
            self._free -= nbytes

    def give_back(self, nbytes: int) -> None:
        with self._lock:
            self._free += min(nbytes, self.capacity_bytes)

    @contextmanager
    def hold(self, nbytes: int) -> Iterator[None]:
        self.take(nbytes)
        try:
            yield
        finally:
            self.give_back(nbytes)
