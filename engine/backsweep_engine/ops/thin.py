"""Products of matrices a slice of rows at a time: a (m, k) @ b (k, n) whose b is small, or thin.

BLAS packs what it multiplies into blocks, which takes a good part of the time unless all three sizes are in the hundreds; small products
it multiplies as they stand, and then soonest where b begins on a cache line. So b is copied to one, if it does not lie there already,
and multiplied by a few rows of a at a time. In slices thin products (k or n of at most THIN) take 0.5 to 0.9 of the time, others
0.65 to 0.9 (measured, OpenBLAS 0.3 with AVX-512, 60 shapes). How many rows follows from the shapes alone; whether others
than thin ones are sliced from the processor too: OpenBLAS's kernels for older ones pack small products as well, which costs
more the fewer the rows. Both are part of what decides bits (CONTRACT B4).
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..graph import DTYPES, Type

Array = Any

THIN = 32
SLICE = 500_000
"""Multiply-adds of a slice: half of what OpenBLAS still takes for small."""

ROWS = 32
"""Slices of fewer rows than this are made larger, up to twice as large: each row of a slice uses b once more while it is in cache."""

FEWEST, FEWEST_BROAD, MANY = 8, 24, 64
"""Slices of fewer rows than FEWEST gain nothing (FEWEST_BROAD where the product is not thin), nor does a product of less than MANY."""

TOGETHER = 8
"""Rows that the kernels take at once, or a divisor of them."""

LINE = 64
"""Bytes of a cache line, and of a vector of AVX-512."""


def rows_of_slice(a: Type, b: Type) -> int:
    """How many rows of a @ b, matrices of these types, are computed at once; 0: all of them."""
    if a.rank != 2 or a.dtype != DTYPES["float64"] or not a.size or not b.size:
        return 0
    (m, k), n = a.shape, b.shape[1]
    most = max(SLICE // (k * n), min(ROWS, 2 * SLICE // (k * n))) // TOGETHER * TOGETHER
    if m < MANY or most < (FEWEST if is_thin(a, b) else FEWEST_BROAD) or m * k * n <= 2 * SLICE:
        return 0
    rows = -(-m // -(-m // most))
    return rows + -rows % TOGETHER


def is_thin(a: Type, b: Type) -> bool:
    return min(a.shape[1], b.shape[1]) <= THIN


@functools.cache
def small_as_they_stand() -> bool:
    """Whether BLAS multiplies small matrices without packing them, wherever they begin: OpenBLAS for AVX-512 does."""
    config: Any = np.show_config(mode="dicts")
    found = config.get("SIMD Extensions", {}).get("found", ())
    # One set of instructions by its names before and since NumPy 2.4.
    return "openblas" in config["Build Dependencies"]["blas"]["name"] and ("AVX512_SKX" in found or "X86_V4" in found)


def in_slices(a: Array, b: Array, out: Array, rows: int) -> None:
    """a @ b into `out`, C-contiguous. Allocates a copy of b unless that is contiguous and begins on a cache line."""
    (m, k), n = a.shape, b.shape[1]
    if not b.flags.c_contiguous and min(k, n) > THIN:
        np.matmul(a, b, out=out)  # to turn b, a nanosecond an element, takes what is gained
        return
    b, whole = _on_a_line(b), m - m % rows
    np.matmul(a[:whole].reshape(-1, rows, k), b, out=out[:whole].reshape(-1, rows, n))
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
