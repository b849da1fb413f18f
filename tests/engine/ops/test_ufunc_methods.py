"""reduce, accumulate and outer of ufuncs are NumPy's; every other method is refused by its name."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from support.expressions import listed, moves_as_numpy, same_as_numpy
from support.graphs import F64, build
from support.run import one

MOVES = """
np.add.reduce(f); np.add.reduce(f, 1); np.add.reduce(cube, axis=(0, 2)); np.add.reduce(f, axis=None); np.add.reduce(f, keepdims=True)
np.add.reduce(f, initial=2.0)
np.multiply.reduce(f); np.multiply.reduce(f, -1); np.maximum.reduce(f); np.minimum.reduce(f, axis=1); np.logaddexp.reduce(f)
np.logaddexp.reduce(f, axis=None)
np.add.accumulate(f); np.multiply.accumulate(f, 1); np.maximum.accumulate(f, 1); np.minimum.accumulate(f); np.add.reduce(f, 0, float)
np.add.reduce(f, where=b)
np.add.outer(row, vector); np.subtract.outer(row, row); np.multiply.outer(f, row); np.multiply.outer(2.0, row); np.divide.outer(row, p)
np.hypot.outer(row, vector)
np.maximum.outer(row, vector); np.arctan2.outer(row, p); np.multiply.outer(row, s); np.power.outer(p, row); np.add.outer(np.arange(3.0), row)
"""


@pytest.mark.parametrize("expression", listed(MOVES))
def test_a_method_is_numpy_s_and_moves_as_numpy_s(expression: str) -> None:
    moves_as_numpy(expression)


SAME = """
np.add.reduce(i); np.add.reduce(b); np.add.reduce(j, dtype=float); np.logical_and.reduce(b); np.logical_or.reduce(b, 1); np.multiply.reduce(j)
np.maximum.reduce(i, 1)
np.equal.outer(i, j); np.less.outer(row, vector); np.add.outer(i, g); np.logical_and.outer(b, c); np.add.accumulate(b, 1); np.bitwise_and.outer(b, c)
"""


@pytest.mark.parametrize("expression", listed(SAME))
def test_a_method_has_numpy_s_dtype(expression: str) -> None:
    same_as_numpy(expression)


@pytest.mark.parametrize(
    "f, named, hint",
    [
        (lambda x: np.hypot.reduce(x), "np.hypot.reduce", "functools.reduce(np.hypot, x)"),
        (lambda x: np.hypot.accumulate(x), "np.hypot.accumulate", "itertools.accumulate(x, np.hypot)"),
        (lambda x: np.add.reduceat(x, [0, 2]), "np.add.reduceat", "bs.segment_sum"),
        (lambda x: np.multiply.at(x, [0], 2.0), "np.multiply.at", "bs.set"),
        (lambda x: np.add.at(x, [0], 2.0), "np.add.at", "bs.add_at"),
        (lambda x: np.add.reduce(x, out=np.zeros(())), "out=", "y = f(x)"),
        (lambda x: np.divide(1.0, x, where=x != 0, out=np.zeros(4)), "np.divide: where=, out=", "np.where"),
        (lambda x: np.gcd.reduce(x), "np.gcd is not among", "README"),
        (lambda x: np.exp(x, dtype=np.float32), "np.exp: dtype=", "astype"),
    ],
)
def test_any_other_method_or_option_is_refused_with_what_to_write(f: object, named: str, hint: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, x=F64[4])  # type: ignore[arg-type]
    assert named in caught.value.message + caught.value.hint
    assert hint in caught.value.hint


def test_the_folds_hinted_at_are_traced() -> None:
    x = np.array([1.0, -2.0, 3.0, 0.5])
    np.testing.assert_allclose(one(build(lambda x: functools.reduce(np.hypot, x), x=F64[4]), x), np.hypot.reduce(x), rtol=1e-15)
    folded = build(lambda x: np.stack(list(itertools.accumulate(x, np.hypot))), x=F64[4])
    np.testing.assert_allclose(one(folded, x), np.hypot.accumulate(x), rtol=1e-15)
