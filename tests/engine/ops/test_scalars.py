"""Each op on Python's numbers against NumPy's kernel on arrays: random, special and extreme values; never an exception."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import BOOL
from backsweep_engine.ops.scalars import EXACT, SCALARS, ULP

SPECIAL = [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, -2.0, -3.0, math.inf, -math.inf, math.nan, 1e308, -1e308, 5e-324, -5e-324, 1e-300]
SPECIAL += [709.0, 709.78, 709.79, 745.2, -745.2, 710.5, 1e16, -1e16, 1e200, 2**53 + 1.0, math.pi, 1e300]
RANDOM = np.random.default_rng(0)
ATTRIBUTES: dict[str, list[dict[str, Any]]] = {"integer_power": [{"exponent": e} for e in (-3, -2, -1, 0, 1, 2, 3, 4, 5, 17)]}


def operands(name: str) -> list[np.ndarray[Any, Any]]:
    """One column per operand."""
    op = TABLE[name]
    assert op.arity is not None
    if op.operand_dtypes == (BOOL,):
        return [np.array(column) for column in zip(*itertools.product([False, True], repeat=op.arity), strict=True)]
    if name == "where":
        return [np.array([True, False]), np.array([1.0, math.nan]), np.array([math.inf, -0.0])]
    special = list(itertools.product(SPECIAL, repeat=op.arity)) if op.arity < 3 else [tuple(RANDOM.choice(SPECIAL, 3)) for _ in range(2000)]
    random = [*RANDOM.normal(size=(2000, op.arity)), *(RANDOM.normal(size=(2000, op.arity)) * 10.0 ** RANDOM.integers(-8, 9, (2000, 1)))]
    return [np.array(column, float) for column in zip(*special, *map(tuple, random), strict=True)]


def units(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """How far apart, in units in the last place of b; 0 where both are NaN, or equal."""
    with np.errstate(all="ignore"):
        apart = np.abs(a - b) / np.spacing(np.abs(b))
    return np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0, np.where(np.isnan(apart), np.inf, apart))


@pytest.mark.parametrize("name", sorted(SCALARS))
def test_on_numbers_an_op_is_what_its_kernel_is_on_arrays(name: str) -> None:
    op = TABLE[name]
    assert op.scalar is SCALARS[name] and op.pointwise and op.apply is not None
    for attributes in ATTRIBUTES.get(name, [{}]):
        x = operands(name)
        with np.errstate(all="ignore"):
            wanted = op.apply(*x, **attributes)
        got = np.array([op.scalar(*row, **attributes) for row in zip(*[column.tolist() for column in x], strict=True)])
        assert got.dtype == wanted.dtype
        if got.dtype == bool:
            np.testing.assert_array_equal(got, wanted)
            continue
        far = units(got, wanted)
        worst = int(np.argmax(far))
        assert far[worst] <= (0 if name in EXACT else ULP), (attributes, [column[worst] for column in x], got[worst], wanted[worst])
        if name not in ("maximum", "minimum", "clip", "relu", "scale"):  # of these NumPy leaves the sign of a zero open
            np.testing.assert_array_equal(np.signbit(got) | np.isnan(got), np.signbit(wanted) | np.isnan(wanted))
