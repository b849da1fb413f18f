"""The one interface of execution: a plan and its values go in, blocks come out.

Executors are wrapped, never subclassed. Each block comes exactly once, in any order, and has the
same bits whoever computed it (CONTRACT B4).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from ..plan.plan import Axis, Plan
from ..stopping import Stop as Stop
from ..stopping import never as never

Array = np.ndarray[Any, Any]
Values = Mapping[str, Array]
"""Input name -> array of the declared dtype and shape; not written to."""

Run = Callable[[Sequence[Array], Sequence[Array], Stop], None]
"""What a graph, a region or a node that holds graphs becomes once it has memory of its own: inputs, arrays for the outputs, stop."""


class Block(NamedTuple):
    """Rows start to stop of a sweep, or one whole part of an answer (axis WHOLE, start 0, stop 1).

    `array` of a swept block is (stop - start, length of one row) whatever the axis: the joiner
    transposes columns. It is owned, C-order and aliases nothing. `finite`: it is known to hold no infinity or NaN.

    `lane`: number of the lane that computed it, -1 for this process; `attempts`: how often it was begun, on any lane.
    """

    query: int
    part: int
    axis: Axis
    start: int
    stop: int
    array: Array
    lane: int = -1
    attempts: int = 1
    finite: bool = False


Finite = frozenset[int]
"""The positions of those outputs that are known to hold no infinity or NaN; of others nothing is known."""

Once = Callable[[Sequence[Array], Stop], tuple[list[Array], Finite]]
"""A plan's `once`, ready to be run: its inputs in order, C-contiguous and apart; its outputs, owned, and what is known of them."""


class Executor(Protocol):
    """Runs plans. `lanes`: how many blocks it works on at once."""

    @property
    def lanes(self) -> int: ...

    def once(self, plan: Plan) -> Once:
        """What `blocks` runs the plan's `once` by: of a plan without sweeps that is all. In this process; may be called by several threads at once."""
        ...

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        """Every block of the plan, exactly once. Closing the iterator ends the work."""
        ...

    def close(self) -> None:
        """Frees what the executor holds; idempotent."""
        ...
