"""Seeds that are made where they are used: what row k of a sweep is, from k alone.

A sweep without given rows and without one of these runs over the unit vectors.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

KEPT_BYTES = 1 << 20
"""Of the rows of few colours, which would take longer to make than to sweep."""


@dataclass(frozen=True, slots=True, eq=False)
class Coloured:
    """Row k is 1 in the elements of colour k, else 0. `of`: int32, the colour of each element, -1 for none."""

    of: Array
    kept: dict[tuple[int, int, np.dtype[Any]], Array] = field(default_factory=dict, init=False, repr=False)
    """rows made before, at most KEPT_BYTES of them"""

    def __reduce__(self) -> tuple[Any, ...]:
        return Coloured, (self.of,)

    @property
    def key(self) -> str:
        return "colours " + hashlib.sha256(np.ascontiguousarray(self.of).data).hexdigest()

    def rows(self, start: int, stop: int, length: int, dtype: np.dtype[Any]) -> Array:
        rows = self.kept.get((start, stop, dtype))
        if rows is None:
            rows = (self.of == np.arange(start, stop, dtype=np.int32)[:, None]).astype(dtype)
            rows.setflags(write=False)
            if sum(a.nbytes for a in list(self.kept.values())) + rows.nbytes <= KEPT_BYTES:
                self.kept[start, stop, dtype] = rows
        return rows


@dataclass(frozen=True, slots=True, eq=False)
class Signs:
    """Row k is drawn from `seed` and k, each element 1 or -1 with equal odds (Philox, a counter for each row)."""

    seed: int

    @property
    def key(self) -> str:
        return f"signs {self.seed}"

    def rows(self, start: int, stop: int, length: int, dtype: np.dtype[Any]) -> Array:
        words = -(-length // 64)
        rows = np.empty((stop - start, length), dtype)
        for k in range(start, stop):
            # The row's number is the upper half of the counter: rows never share a stretch.
            drawn = np.random.Philox(key=self.seed, counter=[0, 0, k, 0]).random_raw(words).astype("<u8")
            bits = np.unpackbits(drawn.view(np.uint8), bitorder="little", count=length)
            rows[k - start] = 1 - 2 * bits.astype(dtype)
        return rows


Seeds = Coloured | Signs


def made(seeds: Seeds | None, start: int, stop: int, length: int, dtype: np.dtype[Any]) -> Array:
    """Rows start to stop, each `length` long; None: the unit vectors."""
    if seeds is not None:
        return seeds.rows(start, stop, length, dtype)
    rows = np.zeros((stop - start, length), dtype)
    rows[np.arange(stop - start), np.arange(start, stop)] = 1
    return rows
