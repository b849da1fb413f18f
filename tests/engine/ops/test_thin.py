"""Thin products in slices of rows, against sums by the definition in higher precision."""

from __future__ import annotations

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import DTYPES, Type
from backsweep_engine.ops.thin import FEWEST, SLICE, in_slices, rows_of_slice
from support.graphs import F64, build

FLOAT64 = DTYPES["float64"]

SLICED = {
    "few columns between": (250, 10, 1000),
    "few columns": (250, 1000, 10),
    "rows left over": (1009, 10, 250),
    "one column": (4000, 300, 1),
    "a sum of one": (2000, 1, 600),
}
WHOLE = {
    "small": (100, 10, 100),
    "not thin": (1000, 64, 1000),
    "few rows": (10, 1000, 250),
    "slices of too few rows": (1000, 20, 20_000),
    "of nothing": (1000, 0, 2000),
}


def _types(m: int, k: int, n: int) -> tuple[Type, Type]:
    return Type(FLOAT64, (m, k)), Type(FLOAT64, (k, n))


@pytest.mark.parametrize("name", SLICED)
@pytest.mark.parametrize("layout", ["as it lies", "a transposed", "b transposed"])
def test_a_product_in_slices_is_the_product(name: str, layout: str) -> None:
    m, k, n = SLICED[name]
    rows = rows_of_slice(*_types(m, k, n))
    assert FEWEST <= rows < m and rows * k * n <= SLICE
    random = np.random.default_rng(0)
    a, b = random.normal(size=(m, k)), random.normal(size=(k, n))
    a = np.asfortranarray(a) if layout == "a transposed" else a
    b = np.asfortranarray(b) if layout == "b transposed" else b
    out = np.full((m, n), np.nan)
    in_slices(a, b, out, rows)
    wanted = a.astype(np.longdouble) @ b.astype(np.longdouble)
    bound = k * np.finfo(np.float64).eps * (np.abs(a) @ np.abs(b))
    assert np.all(np.abs(out - wanted) <= bound)


@pytest.mark.parametrize("name", WHOLE)
def test_other_products_are_computed_at_once(name: str) -> None:
    assert rows_of_slice(*_types(*WHOLE[name])) == 0


def test_of_other_types_too() -> None:
    assert rows_of_slice(*[Type(DTYPES["float32"], t.shape) for t in _types(*SLICED["few columns"])]) == 0
    assert rows_of_slice(*[Type(FLOAT64, (3, *t.shape)) for t in _types(*SLICED["few columns"])]) == 0


def test_a_matrix_times_itself_is_symmetric_to_the_last_bit() -> None:
    x = np.random.default_rng(0).normal(size=(600, 30))
    (got,) = Program(build(lambda x: x @ x.T, x=F64[600, 30])).run([x])
    np.testing.assert_array_equal(got, got.T)
