"""Thin products, a (m, k) @ (k, n) with k or n of at most THIN, a slice of rows at a time.

BLAS packs what it multiplies into blocks, which for so few columns takes longer than multiplying; small products it
multiplies as they stand. In slices of SLICE multiply-adds thin products take 0.5 to 0.9 of the time (measured, OpenBLAS 0.3
with AVX-512, 19 shapes; where a BLAS packs all the same, as it did before). How many rows follows from the shapes alone, and so do the bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import DTYPES, Type

Array = Any

THIN = 32
SLICE = 500_000
"""Multiply-adds of a slice: half of what OpenBLAS still takes for small."""

FEWEST, MANY = 8, 64
"""Slices of fewer rows than FEWEST gain nothing, nor does a product of less than MANY."""


def rows_of_slice(a: Type, b: Type) -> int:
    """How many rows of a @ b, matrices of these types, are computed at once; 0: all of them."""
    if a.rank != 2 or a.dtype != DTYPES["float64"] or not a.size or not b.size:
        return 0
    (m, k), n = a.shape, b.shape[1]
    most = SLICE // (k * n)
    if min(k, n) > THIN or m < MANY or most < FEWEST or m * k * n <= 2 * SLICE:
        return 0
    return -(-m // -(-m // most))


def in_slices(a: Array, b: Array, out: Array, rows: int) -> None:
    """a @ b into `out`, C-contiguous. Allocates a copy of b if that is not."""
    (m, k), b = a.shape, np.ascontiguousarray(b)
    whole = m - m % rows
    np.matmul(a[:whole].reshape(-1, rows, k), b, out=out[:whole].reshape(-1, rows, b.shape[1]))
    if whole < m:
        np.matmul(a[whole:], b, out=out[whole:])
