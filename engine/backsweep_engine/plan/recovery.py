"""Recovery: from compressed rows to the entries of a matrix.

Every entry stands alone somewhere in what the coloured sweeps of a query yield, or in its bands; where, is found when
the query is planned, so that recovering is one gather, the same for columns, rows, both, stars, and bands.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..graph import Type
from ..transforms.sparsity.pattern import Ints, Pattern
from .color import Colouring, Split

Array = np.ndarray[Any, Any]


class Form(enum.Enum):
    """What is recovered."""

    SPARSE = "sparse"
    """the values, by the positions of the pattern"""
    DENSE = "dense"
    """the matrix, by rows"""
    DIAGONAL = "diagonal"
    """the diagonal"""


@dataclass(frozen=True, slots=True, eq=False)
class Recovery:
    """Of query `query`. `source`: for each position of the pattern (each row, of a diagonal) its place in the rows of the
    query's sweeps, ravelled one sweep after the other, or in its part of `once` where it has no sweeps; -1: it is 0. `type`: of the matrix. `note`: for people.
    """

    query: int
    form: Form
    type: Type
    pattern: Pattern
    source: Ints
    note: str = ""
    zeros: bool = field(init=False, repr=False)
    """whether any position is 0 by itself"""

    def __post_init__(self) -> None:
        object.__setattr__(self, "zeros", bool(self.source.size) and int(self.source.min()) < 0)

    @property
    def key(self) -> str:
        hasher = hashlib.sha256(f"{self.query} {self.form.value} {self.type}".encode())
        for array in (self.pattern.indptr, self.pattern.indices, self.source):
            hasher.update(np.ascontiguousarray(array).data)
        return hasher.hexdigest()

    @property
    def result_bytes(self) -> int:
        item = self.type.dtype.itemsize
        match self.form:
            case Form.SPARSE:
                return self.pattern.nbytes + self.source.size * item
            case Form.DIAGONAL:
                return self.source.size * item
        return self.type.nbytes

    @property
    def held_bytes(self) -> int:
        """Of the plan itself, and of the values once recovered."""
        return self.pattern.nbytes + self.source.nbytes + 2 * self.source.size * self.type.dtype.itemsize

    def values(self, compressed: Array) -> Array:
        """The entries, from all compressed rows."""
        if self.zeros:
            return np.where(self.source < 0, compressed.dtype.type(0), compressed[np.maximum(self.source, 0)])
        # The places are known to be there: that they need not be looked at saves a tenth.
        return compressed.take(self.source, mode="clip")

    def rows(self, values: Array, start: int, stop: int) -> Array:
        """Rows start to stop of the matrix."""
        pattern = self.pattern
        block = np.zeros((stop - start, pattern.columns), values.dtype)
        first, last = pattern.indptr[start], pattern.indptr[stop]
        counts = np.diff(pattern.indptr[start : stop + 1])
        block[np.repeat(np.arange(stop - start), counts), pattern.indices[first:last]] = values[first:last]
        return block


def by_columns(pattern: Pattern, colouring: Colouring) -> Ints:
    """An entry stands in the sweep of its column's colour, in its row."""
    return colouring.of[pattern.indices].astype(np.int64) * pattern.rows + pattern.row_of()


def by_rows(pattern: Pattern, colouring: Colouring) -> Ints:
    """In the sweep of its row's colour, in its column."""
    return colouring.of[pattern.row_of()].astype(np.int64) * pattern.columns + pattern.indices


def both_ways(pattern: Pattern, split: Split) -> Ints:
    """The column sweeps come first, then the row sweeps."""
    row_of = pattern.row_of()
    taken = np.zeros(pattern.rows, bool)
    taken[split.taken] = True
    first = split.columns.count * pattern.rows
    return np.where(taken[row_of], first + by_rows(pattern, split.rows), by_columns(pattern, split.columns))


def by_bands(pattern: Pattern, of: Ints, places: Sequence[int]) -> Ints:
    """`of`: (bands, rows), the column of each entry from 1, or 0; none is there twice. An entry of no band is 0. `places`: of each band, among
    those that are yielded.
    """
    held = np.flatnonzero(of)
    band, row = held // pattern.rows, held % pattern.rows
    key = row * pattern.columns + of.reshape(-1)[held] - 1
    order = np.argsort(key, kind="stable")
    key, source = key[order], (np.asarray(places)[band] * pattern.rows + row)[order]
    wanted = pattern.row_of() * pattern.columns + pattern.indices
    at = np.minimum(np.searchsorted(key, wanted), max(key.size - 1, 0))
    return np.where(key[at] == wanted, source[at], -1) if key.size else np.full(wanted.size, -1)


def by_stars(pattern: Pattern, colouring: Colouring) -> Ints:
    """An entry of a symmetric matrix stands alone in its row under its column's colour, or its mirror does; both halves read the same place.

    `pattern` must be symmetric.
    """
    n, of = pattern.columns, colouring.of.astype(np.int64)
    row, column = pattern.row_of(), pattern.indices
    key = row * colouring.count + of[column]
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    same = ordered[1:] == ordered[:-1]
    shared = np.zeros(key.size, bool)
    shared[order[1:]] |= same
    shared[order[:-1]] |= same
    # Judge each pair by the position above the diagonal: there, `shared` says whether that place is taken twice.
    upper = row <= column
    crowded = np.zeros(key.size, bool)
    crowded[upper] = shared[upper]
    _, mirror = pattern.transposed()
    crowded[~upper] = shared[mirror][~upper]
    low, high = np.minimum(row, column), np.maximum(row, column)
    return np.where(crowded, of[low] * n + high, of[high] * n + low)


def symmetric(pattern: Pattern) -> Pattern:
    """With each entry's mirror."""
    from scipy.sparse import csr_array

    n = pattern.columns
    half = csr_array((np.ones(pattern.positions, bool), pattern.indices, pattern.indptr), shape=(n, n))
    whole = (half + half.T).tocsr()
    if whole.nnz == pattern.positions:
        return pattern
    whole.sort_indices()
    return Pattern(n, n, whole.indptr.astype(np.int64), whole.indices.astype(np.int64))
