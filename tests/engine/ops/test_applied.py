"""piecewise, apply_along_axis and apply_over_axes call what they are given as NumPy does, and have its derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.transforms import derive
from support.expressions import listed, moves_as_numpy, same_as_numpy
from support.graphs import F64, build
from support.run import run

MOVES = """
np.piecewise(f, [f < 0, f >= 0], [lambda v: -v, lambda v: v * v]); np.piecewise(f, [f > 1], [np.exp, np.sin]); np.piecewise(f, [f > 1, f < 0], [3.0, np.cos])
np.piecewise(f, [f > 0, f > 1], [np.sin, np.cos]); np.piecewise(row, row > 1.5, [lambda v, a: a * v, 2.0], 3.0); np.piecewise(s, s > 1, [np.exp, 0.0])
np.piecewise(f, [b, c], [np.sin, np.cos]); np.piecewise(row, [True, False, True], [lambda v: v * v])
np.piecewise(f, np.stack([f > 0, f < 0]), [np.sin, np.cos])
np.apply_along_axis(np.sum, 0, f); np.apply_along_axis(np.cumsum, 1, f); np.apply_along_axis(lambda v: v[0] * v[1], 1, f)
np.apply_along_axis(np.sort, -1, cube)
np.apply_along_axis(lambda v: v[:2] * v[2], 1, cube); np.apply_along_axis(np.diag, 1, f); np.apply_along_axis(np.outer, 0, f, [1.0, 2.0])
np.apply_along_axis(lambda v, a: a * np.max(v), 0, cube, a=2.0); np.apply_along_axis(np.sum, 0, row)
np.apply_over_axes(np.sum, cube, [0, 2]); np.apply_over_axes(np.sum, f, 0); np.apply_over_axes(np.cumsum, f, [1, 0])
"""


@pytest.mark.parametrize("expression", listed(MOVES))
def test_the_value_is_numpy_s_and_moves_as_numpy_s(expression: str) -> None:
    moves_as_numpy(expression)


@pytest.mark.parametrize("expression", listed("np.piecewise(i, [i > 0], [2.7, -1.2]); np.piecewise(g, [g > 0], [np.exp])"))
def test_a_piece_has_the_dtype_of_the_argument(expression: str) -> None:
    same_as_numpy(expression)


def test_the_slope_of_a_piece_not_taken_is_not_taken() -> None:
    gradient = derive.vjp(build(lambda x: np.piecewise(x, [x > 0], [np.log, 0.0]), x=F64[3]), [0])
    np.testing.assert_array_equal(run(gradient, np.array([-1.0, 0.0, 2.0]), np.ones(3))[0], [0, 0, 0.5])


def test_many_rows_are_refused_with_what_traces_once() -> None:
    with pytest.raises(GraphError) as caught:
        build(lambda x: np.apply_along_axis(np.sum, 1, x), x=F64[1001, 2])
    assert "bs.vmap" in caught.value.hint


def test_functions_that_do_not_match_the_conditions_are_refused() -> None:
    with pytest.raises(GraphError, match="do not match"):
        build(lambda x: np.piecewise(x, [x > 0], [np.sin, np.cos, np.exp]), x=F64[2])
