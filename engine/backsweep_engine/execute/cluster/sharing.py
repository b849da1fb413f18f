"""Which shared arrays go into the object store together, so that each goes there once and a block names few of them. No Ray.

The sweeps of a plan share arrays, some of them the same ones. An object for each array would cost every block a
reference an array; one for each sweep would hold an array as often as sweeps share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Share:
    """What one sweep takes: these groups one after the other, of whose arrays its own are those at `order`."""

    groups: tuple[int, ...]
    order: tuple[int, ...]


def grouped(shared: Sequence[Sequence[int]]) -> tuple[list[tuple[int, ...]], list[Share]]:
    """Groups of positions, no two of which have one in common, and what each sweep takes. `shared[k]`: the positions of sweep k."""
    sweeps_of: dict[int, list[int]] = {}
    for k, positions in enumerate(shared):
        for i in dict.fromkeys(positions):
            sweeps_of.setdefault(i, []).append(k)
    members: dict[tuple[int, ...], list[int]] = {}
    for i, sweeps in sweeps_of.items():
        members.setdefault(tuple(sweeps), []).append(i)
    groups = [tuple(group) for group in members.values()]
    shares = []
    for k, positions in enumerate(shared):
        taken = tuple(g for g, sweeps in enumerate(members) if k in sweeps)
        place = {i: at for at, i in enumerate(i for g in taken for i in groups[g])}
        shares.append(Share(taken, tuple(place[i] for i in positions)))
    return groups, shares
