"""Products of matrices a slice of rows at a time: a (m, k) @ b (k, n) whose b is small, or thin, or else some columns of it.

BLAS packs what it multiplies into blocks, which takes a good part of the time unless all three sizes are in the hundreds; small products
it multiplies as they stand, and then soonest where b begins on a cache line. So b is copied to one, if it does not lie there already,
and multiplied by a few rows of a at a time. In slices thin products (k or n of at most THIN) take 0.5 to 0.9 of the time, others
0.65 to 0.95 (measured, OpenBLAS 0.3 with AVX-512, 60 shapes). How a product is sliced follows from the shapes and from how its
factors lie; whether others than thin ones are, from BLAS too (blas.py): where it packs small products as well that costs more the
fewer the rows, and where it is given threads it shares a whole product among them. All are part of what decides bits (CONTRACT B4).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .blas import threads

Array = Any

THIN = 32
SLICE = 500_000
"""Multiply-adds of a slice: half of what OpenBLAS still takes for small."""

ROWS = 32
"""Slices of fewer rows than this are made larger, up to twice as large: each row of a slice uses b once more while it is in cache."""

FEWEST, FEWEST_BROAD, FEWEST_TURNED, MANY = 8, 16, 24, 64
"""Slices of fewer rows than FEWEST gain nothing (FEWEST_BROAD where the product is not thin, FEWEST_TURNED where besides a lies transposed), nor
does a product of less than MANY."""

PANEL, MANY_PANELS, MOST_PANELS = 64, 256, 4
"""Columns of b that are copied to be multiplied at once, where b is too large; worth it for so many rows, and so few panels."""

TOGETHER = 8
"""Rows that the kernels take at once, or a divisor of them."""

LINE = 64
"""Bytes of a cache line, and of a vector of AVX-512."""


def slice_of(a: Type, b: Type) -> tuple[int, int]:
    """How many rows of a and columns of b, matrices of these types, are multiplied at once; (0, 0): all of them."""
    if a.rank != 2 or a.dtype != DTYPES["float64"] or not a.size or not b.size:
        return 0, 0
    (m, k), n = a.shape, b.shape[1]
    for columns in (n, PANEL):
        most = max(SLICE // (k * columns), min(ROWS, 2 * SLICE // (k * columns))) // TOGETHER * TOGETHER
        fits = columns == n or (m >= MANY_PANELS and n <= MOST_PANELS * PANEL)
        if fits and m >= MANY and most >= (FEWEST if is_thin(a, b) else FEWEST_BROAD) and m * k * n > 2 * SLICE:
            rows = -(-m // -(-m // most))
            return rows + -rows % TOGETHER, columns
    return 0, 0


def is_thin(a: Type, b: Type) -> bool:
    return min(a.shape[1], b.shape[1]) <= THIN


def in_slices(a: Array, b: Array, out: Array, rows: int, columns: int) -> None:
    """a @ b into `out`, C-contiguous. Allocates a copy of so many columns of b, unless that is all of it, contiguous and begins on a cache line."""
    k, n = b.shape
    broad, turned = min(k, n) > THIN, not a.flags.c_contiguous
    # To turn b, a nanosecond an element, takes what is gained.
    if broad and (threads() > 1 or not b.flags.c_contiguous or (turned and (rows < FEWEST_TURNED or columns < n))):
        np.matmul(a, b, out=out)
        return
    for start in range(0, n, columns):
        _in_rows(a, b[:, start : start + columns], out[:, start : start + columns], rows)


def _in_rows(a: Array, b: Array, out: Array, rows: int) -> None:
    (m, k), b = a.shape, _on_a_line(b)
    whole = m - m % rows
    np.matmul(a[:whole].reshape(-1, rows, k), b, out=out[:whole].reshape(-1, rows, b.shape[1]))
    if whole < m:
        np.matmul(a[whole:], b, out=out[whole:])


def _on_a_line(b: Array) -> Array:
    """A C-contiguous b that begins on a cache line: itself or a copy."""
    if b.flags.c_contiguous and not b.__array_interface__["data"][0] % LINE:
        return b
    memory = np.empty(b.nbytes + LINE, np.uint8)
    start = -memory.__array_interface__["data"][0] % LINE
    copy = np.ndarray(b.shape, b.dtype, memory, start)
    np.copyto(copy, b)
    return copy
