"""Alarms: one thread that calls what is due. For leases on things nobody is waiting in."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable

_log = logging.getLogger("backsweep.server")


class Alarm:
    """Something that will be called once, unless it is cancelled before."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self.call: Callable[[], object] | None = call

    def cancel(self) -> None:
        self.call = None


class Alarms:
    """`at(seconds, call)`: calls in a thread of its own, which starts with the first alarm. A call must be short."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, Alarm]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None
        self._closed = False
        self._most = 64
        """the length at which cancelled alarms are thrown out"""

    def at(self, seconds: float, call: Callable[[], object]) -> Alarm:
        alarm = Alarm(call)
        with self._changed:
            if len(self._due) >= self._most:
                self._due = [due for due in self._due if due[2].call is not None]
                heapq.heapify(self._due)
                self._most = 2 * len(self._due) + 64
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._number), alarm))
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._watch, name="alarms", daemon=True)
                self._thread.start()
            self._changed.notify()
        return alarm

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (not self._due or self._due[0][0] > time.monotonic()):
                    # A timeout of weeks overflows a C long: look again after an hour.
                    self._changed.wait(min(3600.0, self._due[0][0] - time.monotonic()) if self._due else None)
                if self._closed:
                    return
                alarm = heapq.heappop(self._due)[2]
            call, alarm.call = alarm.call, None
            if call is not None:
                try:
                    call()
                except Exception:  # the thread serves everybody
                    _log.exception("an alarm failed")
