"""The one interface of execution: a plan and its values go in, blocks come out.

Executors are wrapped, never subclassed. Each block comes exactly once, in any order, and has the
same bits whoever computed it (CONTRACT B4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..plan.plan import Axis, Plan

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]
"""Input name -> array of the declared dtype and shape; not written to."""

Stop = Callable[[], bool]
"""Asked between blocks, ops and loop trips: True means stop now, by raising errors.Cancelled."""

Run = Callable[[Sequence[Array], Sequence[Array], Stop], None]
"""What a graph, a region or a node that holds graphs becomes once it has memory of its own: inputs, arrays for the outputs, stop."""


def never() -> bool:
    """A stop that never stops."""
    return False


class Block(NamedTuple):
    """Rows start to stop of a sweep, or one whole part of an answer (axis WHOLE, start 0, stop 1).

    `array` of a swept block is (stop - start, length of one row) whatever the axis: the joiner
    transposes columns. It is owned, C-order and aliases nothing. `finite`: it is known to hold no infinity or NaN.
    """

    query: int
    part: int
    axis: Axis
    start: int
    stop: int
    array: Array
    finite: bool = False


class Executor(Protocol):
    """Runs plans. `lanes`: how many blocks it works on at once."""

    @property
    def lanes(self) -> int: ...

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        """Every block of the plan, exactly once. Closing the iterator ends the work."""
        ...

    def close(self) -> None:
        """Frees what the executor holds; idempotent."""
        ...
