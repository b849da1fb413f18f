"""Recent: a bounded memory of what was made from what, the least recently used forgotten first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by key, of at most `capacity` weight together and `most` in number.

    A value heavier than that is made and not kept. Two threads may make one value at once: both are
    equal, and the first is kept.
    """

    def __init__(self, capacity: int, most: int) -> None:
        self._capacity = capacity
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()
        self._weight = 0

    def get(self, key: Hashable, make: Callable[[], Value], weigh: Callable[[Value], int]) -> Value:
        found = self.find(key)
        if found is not None:
            return found
        value = make()
        return self.keep(key, value, weigh(value))

    def find(self, key: Hashable) -> Value | None:
        with self._lock:
            found = self._values.get(key)
            if found is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: Value, weight: int) -> Value:
        """The value that is kept: this one, or the equal one that was there first."""
        with self._lock:
            kept = self._values.get(key)
            if kept is not None:
                return kept[0]
            if weight <= self._capacity:
                self._values[key] = (value, weight)
                self._weight += weight
                while self._weight > self._capacity or len(self._values) > self._most:
                    self._weight -= self._values.popitem(last=False)[1][1]
        return value

    def __len__(self) -> int:
        return len(self._values)
