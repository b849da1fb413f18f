"""What a request used is counted from its blocks: who computed them, and which were begun again."""

from collections.abc import Iterator

import numpy as np

from backsweep_engine.execute.executor import Block, Stop, Values, never
from backsweep_engine.plan.plan import Axis, Plan
from backsweep_server.executors import Counted
from support.plans import jacobian_plan


class _Told:
    """An executor whose blocks say that lanes 3 and 5 computed them, one of them at the third attempt."""

    lanes = 9

    def __init__(self, *blocks: tuple[Axis, int, int]) -> None:
        self._blocks = blocks

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        for k, (axis, lane, attempts) in enumerate(self._blocks):
            yield Block(0, 0, axis, k, k + 1, np.zeros(1), lane, attempts)

    def close(self) -> None:
        """Nothing is held."""


def counted(*blocks: tuple[Axis, int, int]) -> Counted:
    found = Counted(_Told(*blocks))
    assert len(list(found.blocks(jacobian_plan(4, 2), {}, never))) == len(blocks)
    return found


def test_lanes_that_did_a_block_are_workers_and_blocks_begun_again_are_repeated() -> None:
    found = counted((Axis.WHOLE, -1, 1), (Axis.COLUMN, 3, 1), (Axis.COLUMN, 5, 3), (Axis.COLUMN, 3, 1))
    assert (found.name, found.blocks_done, found.blocks_repeated, found.workers) == ("cluster", 3, 1, {3, 5})


def test_what_was_done_here_though_lanes_were_wanted_is_local() -> None:
    found = counted((Axis.WHOLE, -1, 1), (Axis.ROW, -1, 1))
    assert (found.name, found.blocks_done, found.blocks_repeated, found.workers) == ("local", 1, 0, {-1})
