"""Gathering: what is no part of an answer yet (compressed rows, samples) is held until all has come, then recovered.

Blocks come in any order and each goes to its own place, so what comes out has the same bits whoever
computed them in whatever order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate

import numpy as np

from ..graph import Type
from ..plan.plan import Axis, Plan, Sweep
from ..plan.recovery import Form, Recovery
from .executor import Array, Block

CHUNK_BYTES = 8 << 20
"""Of recovered values in one block."""


def recovered_width(recovery: Recovery) -> int:
    """Positions, or rows of a dense matrix, in one block."""
    item = recovery.type.dtype.itemsize
    if recovery.form is Form.SPARSE:
        return CHUNK_BYTES // item
    return max(1, CHUNK_BYTES // max(1, recovery.type.shape[1] * item))


class Compressed:
    """The compressed rows of one query."""

    def __init__(self, plan: Plan, recovery: Recovery) -> None:
        self._recovery = recovery
        sweeps = [s for s in plan.sweeps if s.query == recovery.query]
        sizes = [s.rows * s.row_type.size for s in sweeps]
        self._pieces = sweeps[0].pieces if sweeps else ()
        self._alone = not sweeps or len(sweeps) == sweeps[0].blocks == 1
        if not self._alone:
            self._flat: Array = np.empty(sum(sizes), recovery.type.dtype)
            starts = accumulate(sizes[:-1], initial=0)
            # Of one query no two sweeps are along the same axis.
            self._rows = {s.axis: self._flat[a : a + n].reshape(s.rows, s.row_type.size) for s, a, n in zip(sweeps, starts, sizes, strict=True)}

    def add(self, block: Block) -> None:
        if self._alone:
            self._flat = block.array.reshape(-1)
        else:
            self._rows[block.axis][block.start : block.stop] = block.array

    def blocks(self) -> Iterator[Block]:
        """What goes out, in order, once all blocks have come."""
        recovery = self._recovery
        values = recovery.values(self._flat)
        if recovery.form is Form.DIAGONAL:
            yield from cut(recovery.query, values, self._pieces)
            return
        width = recovered_width(recovery)
        if recovery.form is Form.SPARSE:
            for start in range(0, values.size, width):
                stop = min(start + width, values.size)
                part = values if values.size <= width else values[start:stop].copy()
                yield Block(recovery.query, 0, Axis.POSITION, start, stop, part)
            return
        rows = recovery.type.shape[0]
        for start in range(0, rows, width):
            stop = min(start + width, rows)
            yield Block(recovery.query, 0, Axis.ROW, start, stop, recovery.rows(values, start, stop))


class Moments:
    """Mean and standard error of the rows of a sweep, column by column.

    Blocks are summed up one by one and put together in the order of their rows (Chan, Golub and LeVeque 1983).
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._parts: dict[int, tuple[int, Array, Array]] = {}

    def add(self, block: Block) -> None:
        rows = block.array.astype(np.float64)
        mean = rows.mean(axis=0)
        self._parts[block.start] = rows.shape[0], mean, ((rows - mean) ** 2).sum(axis=0)

    def blocks(self) -> Iterator[Block]:
        """The means of each piece, then their standard errors."""
        sweep = self._sweep
        count, mean, square = 0, np.zeros(sweep.row_type.size), np.zeros(sweep.row_type.size)
        with np.errstate(all="ignore"):
            for start in sorted(self._parts):
                n, other, more = self._parts[start]
                apart = other - mean
                mean = mean + apart * (n / (count + n))
                square = square + more + apart**2 * (count * n / (count + n))
                count += n
            error = np.sqrt(square / (count - 1) / count)
        yield from cut(sweep.query, np.concatenate([mean, error]), (*sweep.pieces, *sweep.pieces))


class Diagonal:
    """One number a row: a vector, cut into pieces."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._held = np.empty(sweep.rows, sweep.row_type.dtype)

    def add(self, block: Block) -> None:
        self._held[block.start : block.stop] = block.array[:, 0]

    def blocks(self) -> Iterator[Block]:
        yield from cut(self._sweep.query, self._held, self._sweep.pieces)


def cut(query: int, vector: Array, pieces: Sequence[Type]) -> Iterator[Block]:
    """A vector as whole parts of these types, one after the other."""
    at = 0
    for part, type in enumerate(pieces):
        yield Block(query, part, Axis.WHOLE, 0, 1, vector[at : at + type.size].astype(type.dtype).reshape(type.shape))
        at += type.size
