"""Products of matrices in registers, of every shape and layout, against sums in long double, on vectors of every width."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native.assembly import Assembly
from backsweep_engine.execute.native.lanes import Unsupported
from backsweep_engine.execute.native.machine import machine
from backsweep_engine.execute.native.products import MAX_PRODUCTS, Matrix, Products
from backsweep_engine.graph import DTYPES

Array = np.ndarray[Any, Any]
RANDOM = np.random.default_rng(0)

SHAPES = [(1, 1, 1), (1, 32, 128), (1, 128, 32), (5, 3, 7), (4, 8, 16), (9, 17, 33), (1, 1, 40), (40, 1, 1), (1, 37, 1), (37, 29, 1), (6, 1, 5), (23, 40, 130)]


def _matrix(x: Array, pointer: str) -> Matrix:
    (rows, columns), (down, across) = x.shape, x.strides
    return Matrix(pointer, rows, columns, down if rows > 1 else x.itemsize, across if columns > 1 else x.itemsize)


def _lie(x: Array, y: Array) -> bool:
    host = machine()
    assert host is not None
    return Products(Assembly(0), host, x.dtype).lie(_matrix(x, ""), _matrix(y, ""))


def _product(x: Array, y: Array, width: int) -> Array:
    host = machine(width)
    assert host is not None
    a = Assembly(0)
    out = np.full((len(x), y.shape[1]), np.nan, x.dtype)
    Products(a, host, x.dtype).write(_matrix(x, a.array(0)), _matrix(y, a.array(1)), a.array(2))
    a.do("ret i64 0")
    code = host.compile(a)
    arrays = (x, y, out)
    code.free(id(arrays))
    return out


def _laid(shape: tuple[int, int], turned: bool, dtype: Any) -> Array:
    """A matrix whose rows, or columns, lie whole, with a gap between them."""
    found = RANDOM.normal(size=(shape[::-1] if turned else shape)).astype(dtype)
    wider = np.full((found.shape[0], found.shape[1] + 3), np.nan, dtype)
    wider[:, : found.shape[1]] = found
    view = wider[:, : found.shape[1]]
    return view.T if turned else view


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("width", [128, 256, 512])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_product_is_within_its_bound(shape: tuple[int, int, int], width: int, dtype: str) -> None:
    if getattr(machine(width), "width", 0) != width:
        pytest.skip(f"this processor has no vectors of {width} bits")
    m, k, n = shape
    for left, right in product((False, True), repeat=2):
        x, y = _laid((m, k), left, DTYPES[dtype]), _laid((k, n), right, DTYPES[dtype])
        if not _lie(x, y):
            with pytest.raises(Unsupported):
                _product(x, y, width)
            x = np.ascontiguousarray(x)
        if not _lie(x, y):
            y = np.ascontiguousarray(y)
        wanted = x.astype(np.longdouble) @ y.astype(np.longdouble)
        bound = (k + 1) * np.finfo(dtype).eps * (np.abs(x).astype(np.longdouble) @ np.abs(y).astype(np.longdouble))
        assert np.all(np.abs(_product(x, y, width) - wanted) <= bound)


def test_infinities_and_nan_stay_in_their_rows_and_columns() -> None:
    x, y = np.ones((5, 11)), np.ones((11, 13))
    x[1, 10], y[0, 12], x[3, 2] = np.inf, np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        wanted = x @ y
    for left, right in ((x, y), (x, np.asfortranarray(y))):
        np.testing.assert_array_equal(_product(left, right, 0), wanted)


def test_large_products_and_those_of_integers_are_left_to_blas() -> None:
    host = machine()
    assert host is not None
    with pytest.raises(Unsupported):
        Products(Assembly(0), host, DTYPES["int64"])
    side = round(MAX_PRODUCTS ** (1 / 3)) + 1
    with pytest.raises(Unsupported):
        Products(Assembly(0), host, DTYPES["float64"]).write(*[Matrix("%x", side, side, 8 * side, 8)] * 2, "%z")
