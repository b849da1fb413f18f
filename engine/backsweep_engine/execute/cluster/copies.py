"""What lanes take from the object store, as an object of its own for every node: no node fetches from a third one.

Ray fetches an object from any node that has it, drawn anew at each try. A try at a node that hangs or just died is given up after 10 s,
the next one after 20 s more: a lane was seen to wait a minute, though the driver's node had the object all the time. An object that
the lanes of one node alone ask for is nowhere but there and at the driver's node, which has nobody left to serve once it is gone.

That costs the driver's node the bytes once for every node with lanes (Ray spills them to disk where its store is full), and no
other path, clock or guess: small and large inputs travel alike.
"""

from __future__ import annotations

from typing import Any

import ray

_READ_SECONDS = 5.0
"""In which the driver's node has the value back from its disk, if it was spilled there."""


class Copies:
    """Of one value. Making them puts the first, so Ray raises here where its store cannot take the value, or in `at`."""

    def __init__(self, value: object) -> None:
        self._first = ray.put(value)
        self._at: dict[str, Any] = {}
        self._spare = True

    def at(self, node: str) -> Any:
        """The reference for lanes on this node."""
        if node not in self._at:
            # Read from the store, and let go at once: a value kept here would be held twice, or could not be spilled.
            self._at[node] = self._first if self._spare else ray.put(ray.get(self._first, timeout=_READ_SECONDS))
            self._spare = False
        return self._at[node]

    def forget(self, node: str) -> None:
        """No lane is there any more."""
        self._at.pop(node, None)
