"""Plan: how a request will be computed, frozen and printable, with its promise in bytes and flops.

A plan is `once` (run once per request: the primal, all answers that need one pass, and the residuals
of the sweeps) and sweeps, each a graph run over many rows (seeds, directions or points), cut into
blocks of `width` rows. Everything that shapes the bits stands here; where blocks run does not.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ..graph import Graph, Type


class Tier(enum.Enum):
    """By what a plan is run. Tiers agree to rounding, not to the bit, so each makes a plan of its own."""

    NUMPY = "numpy"
    NATIVE = "native"
    """compiled where it can be, NumPy elsewhere; only on machines that can compile"""


class Axis(enum.Enum):
    """What the rows of a sweep are in its result matrix."""

    WHOLE = "whole"
    """not swept: one array, complete."""
    ROW = "row"
    """reverse mode: each swept row is a row of the matrix."""
    COLUMN = "column"
    """forward mode: each swept row is a column of the matrix."""
    POINT = "point"
    """many seeds or many points: each swept row is one answer."""


@dataclass(frozen=True, slots=True)
class Promise:
    """What the work takes at most: flops in all, bytes at the peak, bytes of results, number of blocks."""

    flops: int
    peak_bytes: int
    result_bytes: int
    blocks: int
    largest_op: str = ""
    """the op of the largest single allocation"""


@dataclass(frozen=True, slots=True)
class Part:
    """Output `output` of `once` is part `part` of the answer to query `query`."""

    query: int
    part: int
    output: int
    type: Type


@dataclass(frozen=True, slots=True)
class Sweep:
    """`each` over `rows` rows: row k gives one vector, the concatenated C-order ravel of its outputs.

    The inputs of `each` are the shared ones (`shared`: names of outputs of `once`, or else of
    values) followed by the per-row ones. `given` names the values that hold the per-row inputs with
    a leading axis of `rows`; empty means identity seeds: the only per-row input is a vector of
    length `rows`, and row k is the k-th unit vector.

    `pieces`: the types whose ravels one row concatenates; `note` says for people what it does.
    """

    query: int
    each: Graph
    shared: tuple[str, ...]
    given: tuple[str, ...]
    rows: int
    width: int
    axis: Axis
    row_type: Type
    pieces: tuple[Type, ...] = ()
    note: str = ""
    tier: Tier = Tier.NUMPY

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.width)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each block, in order."""
        return ((k, min(k + self.width, self.rows)) for k in range(0, self.rows, self.width))

    def block_type(self, start: int, stop: int) -> Type:
        return self.row_type.with_shape((stop - start, *self.row_type.shape))


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. `describe` in plan/describe.py prints it."""

    once: Graph
    parts: tuple[Part, ...]
    sweeps: tuple[Sweep, ...]
    promise: Promise
    tier: Tier = Tier.NUMPY

    def on(self, tier: Tier) -> Plan:
        """The plan of the same work on another tier."""
        return replace(self, tier=tier, sweeps=tuple([replace(s, tier=tier) for s in self.sweeps]))

    @property
    def key(self) -> str:
        """Equal keys on equal platforms and inputs give equal bits (hex SHA-256)."""
        hasher = hashlib.sha256(f"{self.tier.value} {self.once.fingerprint}".encode())
        for s in self.sweeps:
            hasher.update(repr((s.each.fingerprint, s.shared, s.given, s.rows, s.width, s.axis.value)).encode())
        return hasher.hexdigest()
