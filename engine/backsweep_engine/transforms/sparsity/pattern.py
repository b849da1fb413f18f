"""Pattern: where a matrix may be other than zero, by compressed rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Ints = np.ndarray[Any, np.dtype[np.int64]]


@dataclass(frozen=True, slots=True, eq=False)
class Pattern:
    """`indptr` int64 [rows + 1], `indices` int64 [positions]: the columns of each row, sorted and unique."""

    rows: int
    columns: int
    indptr: Ints
    indices: Ints

    @property
    def positions(self) -> int:
        return self.indices.size

    @property
    def nbytes(self) -> int:
        return self.indptr.nbytes + self.indices.nbytes

    def row_of(self) -> Ints:
        """The row of each position."""
        return np.repeat(np.arange(self.rows), np.diff(self.indptr))

    def transposed(self) -> tuple[Pattern, Ints]:
        """The pattern of the transposed matrix, and for each of its positions that position here."""
        order = np.argsort(self.indices, kind="stable")
        indptr = np.zeros(self.columns + 1, np.int64)
        np.cumsum(np.bincount(self.indices, minlength=self.columns), out=indptr[1:])
        return Pattern(self.columns, self.rows, indptr, self.row_of()[order]), order


def full(rows: int, columns: int) -> Pattern:
    """Every entry."""
    return Pattern(rows, columns, np.arange(rows + 1) * columns, np.tile(np.arange(columns), rows))
