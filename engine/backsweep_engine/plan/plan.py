"""Plan: how a request will be computed, frozen and printable, with its promise in bytes and flops.

A plan is `once` (run once per request: the primal, all answers that need one pass, and the residuals
of the sweeps) and sweeps, each a graph run over many rows (seeds, directions or points), cut into
blocks of `width` rows. Everything that shapes the bits stands here; where blocks run does not.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from ..graph import Graph, Type
from .recovery import Recovery
from .seeds import Seeds


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
    POSITION = "position"
    """not swept: values by the positions of a sparse pattern, recovered from sweeps."""


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
    note: str = ""
    """for people: how it is computed, where there was a choice"""


@dataclass(frozen=True, slots=True)
class Sweep:
    """`each` over `rows` rows: row k gives one vector, the concatenated C-order ravel of its outputs.

    The inputs of `each` are the shared ones (`shared`: names of outputs of `once`, or else of
    values) followed by the per-row ones. `given` names the values that hold the per-row inputs with
    a leading axis of `rows`; empty means that rows are made: the only per-row input is a vector, and
    row k is what `seeds` makes of k, or without `seeds` the k-th unit vector.

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
    seeds: Seeds | None = None
    tier: Tier = Tier.NUMPY
    parts: tuple[int, ...] = ()
    """of a query at many points: the parts of its answer that the pieces are; else they are all of it, in order"""
    held: frozenset[int] = frozenset()
    """where blocks start that somebody has already: they are left out, and no other is cut otherwise"""

    @property
    def key(self) -> str:
        """Names everything that computing a block of it needs (hex SHA-256)."""
        words = (self.each.fingerprint, self.shared, self.given, self.rows, self.width, self.axis.value, self.seeds.key if self.seeds else "", self.tier.value)
        return hashlib.sha256(repr(words).encode()).hexdigest()

    @property
    def length(self) -> int:
        """Of the vector that is made for each row."""
        return self.each.input_types[-1].size

    @property
    def part(self) -> int:
        """By which its blocks are called."""
        return self.parts[0] if self.parts else 0

    @property
    def blocks(self) -> int:
        return -(-self.rows // self.width)

    def ranges(self) -> Iterator[tuple[int, int]]:
        """(start, stop) of each block that is wanted, in order."""
        return ((k, min(k + self.width, self.rows)) for k in range(0, self.rows, self.width) if k not in self.held)

    def block_type(self, start: int, stop: int) -> Type:
        return self.row_type.with_shape((stop - start, *self.row_type.shape))


@dataclass(frozen=True, slots=True)
class Plan:
    """See the module. `describe` in plan/describe.py prints it."""

    once: Graph
    parts: tuple[Part, ...]
    sweeps: tuple[Sweep, ...]
    promise: Promise
    recoveries: tuple[Recovery, ...] = ()
    """for queries whose sweeps, or else whose part of `once`, yield compressed rows"""
    read: frozenset[str] = frozenset()
    """bound inputs whose values shaped the plan: it holds for these values only"""
    tier: Tier = Tier.NUMPY
    steady: bool = False
    """keeps its tier however often it is asked"""
    others: dict[Tier, Plan] = field(default_factory=dict, compare=False, repr=False)
    """the plan on other tiers, as far as asked for"""

    def recovery(self, query: int) -> Recovery | None:
        return next((r for r in self.recoveries if r.query == query), None)

    def on(self, tier: Tier) -> Plan:
        """The plan of the same work on another tier."""
        found = self.others.get(tier)
        if found is None:
            found = self.others[tier] = replace(self, tier=tier, sweeps=tuple([replace(s, tier=tier) for s in self.sweeps]), others={})
        return found

    @property
    def key(self) -> str:
        """Equal keys on equal platforms and inputs give equal bits (hex SHA-256)."""
        hasher = hashlib.sha256(f"{self.tier.value} {self.once.fingerprint}".encode())
        for s in self.sweeps:
            hasher.update(s.key.encode())
        for r in self.recoveries:
            hasher.update(r.key.encode())
        return hasher.hexdigest()
