"""Shared arrays in groups: each goes to the object store once, whichever sweeps share it."""

from __future__ import annotations

import random

import pytest

from backsweep_engine.execute.cluster.sharing import grouped


@pytest.mark.parametrize(
    "shared, groups",
    [
        ([(0, 1, 2)], [(0, 1, 2)]),
        ([(0, 1), (1, 0)], [(0, 1)]),
        ([(0, 1), (1, 2)], [(0,), (1,), (2,)]),
        ([(0, 1, 2, 3), (3, 1)], [(0, 2), (1, 3)]),
        ([(), (0,)], [(0,)]),
        ([()], []),
    ],
)
def test_what_the_same_sweeps_share_goes_together(shared: list[tuple[int, ...]], groups: list[tuple[int, ...]]) -> None:
    assert grouped(shared)[0] == groups


@pytest.mark.parametrize("seed", range(20))
def test_every_array_is_put_once_and_every_sweep_finds_its_own_in_their_order(seed: int) -> None:
    draw = random.Random(seed)
    shared = [tuple(draw.choices(range(12), k=draw.randrange(10))) for _ in range(draw.randrange(1, 5))]
    groups, shares = grouped(shared)
    put = [i for group in groups for i in group]
    assert len(put) == len(set(put)) and set(put) == {i for positions in shared for i in positions}
    for positions, share in zip(shared, shares, strict=True):
        held = [i for g in share.groups for i in groups[g]]
        assert tuple(held[at] for at in share.order) == positions
