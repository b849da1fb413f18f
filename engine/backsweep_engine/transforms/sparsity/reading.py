"""A node being passed, and the steps rules are made of.

Shapes are those of values; rows and positions run over them in C order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...graph import Node, Type
from .known import Array, Known
from .pattern import Ints
from .rows import Rows, added

Dependence = Rows | None
"""None: the value does not depend on the seed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A node being passed: what its operands depend on, and what is known of the others."""

    known: Known
    node: Node
    rows: tuple[Dependence, ...]

    @property
    def moving(self) -> list[tuple[int, Rows]]:
        return [(k, r) for k, r in enumerate(self.rows) if r is not None]

    def type(self, k: int) -> Type:
        return self.known.graph.type_of(self.node.operands[k])

    def value(self, k: int) -> Array | None:
        return self.known.value(self.node.operands[k])

    def nonzero(self, k: int) -> Array | None:
        return self.known.nonzero(self.node.operands[k])

    @property
    def result(self) -> Type:
        return self.node.types[0]

    def attribute(self, name: str) -> Any:
        return dict(self.node.attributes)[name]


def places(shape: Sequence[int]) -> Ints:
    """The position of each element."""
    return np.arange(math.prod(shape)).reshape(tuple(shape))


def along(rows: Rows, shape: Sequence[int], axes: Sequence[int]) -> Rows:
    """The union along axes, which fall away."""
    rest = [d for a, d in enumerate(shape) if a not in axes]
    target = np.broadcast_to(places([1 if a in axes else d for a, d in enumerate(shape)]), tuple(shape))
    return added(rows, target.reshape(-1), np.arange(rows.of.size), math.prod(rest))


def spread(rows: Rows, kept: Sequence[int], shape: Sequence[int]) -> Rows:
    """Rows over the shape `kept`, broadcast to `shape` (equal rank)."""
    return Rows(rows.of[np.broadcast_to(places(kept), tuple(shape)).reshape(-1)], rows.sets)
