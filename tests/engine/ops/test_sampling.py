"""Samples, polynomials and covariances are NumPy's, and have the derivatives of NumPy's values."""

from __future__ import annotations

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from support.expressions import listed, moves_as_numpy, same_as_numpy
from support.graphs import F64, build
from support.run import one

MOVES = """
np.linspace(s, 4.0, 5); np.linspace(0, s, 3); np.linspace(s, row, 4); np.linspace(row, 2 * row, 3, axis=-1); np.linspace(s, 9, 4, endpoint=False)
np.linspace(s, 1.0, 1); np.linspace(s, 1.0, 2); np.linspace(s, 4.0, 6, retstep=True); np.linspace(f, column, 3, axis=1); np.linspace(s, s, 0)
np.linspace(s, 2.0, 200); np.logspace(s, 1.0, 4); np.logspace(s, 3.0, 3, base=2.0); np.logspace(0.0, 1.0, 3, base=s)
np.gradient(vector); np.gradient(vector, 0.5); np.gradient(vector, s); np.gradient(vector, edge_order=2); np.gradient(vector, np.array([0.0, 1.0, 3.0, 4.5]))
np.gradient(cube); np.gradient(cube, axis=1); np.gradient(cube, 0.5, axis=(0, 2)); np.gradient(cube, 1.0, 2.0, vector.cumsum() + np.arange(4.0) * 3)
np.gradient(vector, np.array([0.0, 1.0, 3.0, 4.5]), edge_order=2); np.gradient(row, row); np.gradient(row, row * row, edge_order=2); np.gradient(row[:2])
np.gradient(cube, vector + 3 * np.arange(4.0), axis=-1, edge_order=1); np.gradient(f, axis=1, edge_order=2)
np.unwrap(3 * vector); np.unwrap(5 * f, axis=0); np.unwrap(7 * cube, axis=1); np.unwrap(3 * vector, 4.0); np.unwrap(vector, period=1.6)
np.unwrap(3 * vector, discont=1.0); np.ediff1d(f); np.ediff1d(row, to_end=s); np.ediff1d(row, to_begin=vector, to_end=[1.0, 2.0])
np.polyval(row, s); np.polyval(row, f); np.polyval([1.0, 0.0, 2.0], f); np.polyval(row, 0.5); np.polyval(np.poly1d([1.0, 2.0]), f); np.poly1d([1.0, 2.0])(f)
np.polyder(vector); np.polyder(vector, 2); np.polyder(row[:1]); np.polyint(row); np.polyint(row, 2); np.polyint(row, k=s); np.polyint(row, 2, k=[1.0, 2.0])
np.polymul(row, vector); np.polymul([1.0, 2.0], row); np.polyadd(row, vector); np.polyadd(row, [1.0]); np.polysub(row, vector); np.polysub([1.0], row)
np.vander(row); np.vander(vector, 3); np.vander(vector, 3, increasing=True); np.vander(row, 1); np.vander(row, 0); np.vander(vector * 0)
np.cov(f); np.cov(row); np.cov(row, 2 * row * row); np.cov(f, f * f); np.cov(f, rowvar=False); np.cov(f, bias=True); np.cov(f, ddof=0)
np.cov(row, row, rowvar=False)
np.cov(f, aweights=row); np.cov(f, aweights=[1.0, 2.0, 3.0], ddof=0); np.cov(f, fweights=[1, 2, 3]); np.cov(f, fweights=[1, 2, 3], aweights=row)
np.cov(f, f[0], bias=True); np.cov(column, rowvar=False); np.corrcoef(f * f + row); np.corrcoef(row, row * row); np.corrcoef(square, rowvar=False)
"""


@pytest.mark.parametrize("expression", listed(MOVES))
def test_the_value_is_numpy_s_and_moves_as_numpy_s(expression: str) -> None:
    moves_as_numpy(expression)


SAME = """
np.linspace(g, 2, 3); np.linspace(i, 9, 4); np.linspace(s, 9.7, 4, dtype=int); np.polyval(j[0], i); np.polyval(row, g); np.vander(n[None], 3)
np.vander(i[0], 4)
np.cov(g); np.cov(i); np.gradient(g); np.gradient(i); np.polymul(i[0], j[0]); np.polyder(i[0]); np.polyint(i[0]); np.ediff1d(i); np.corrcoef(row)
np.cov(f, dtype=np.float32); np.logspace(s, 3, 3, dtype=int); np.cov(row[:1])
"""


@pytest.mark.parametrize("expression", listed(SAME))
@pytest.mark.filterwarnings("ignore")
def test_the_dtype_is_numpy_s(expression: str) -> None:
    same_as_numpy(expression)


def test_the_end_of_a_traced_line_is_the_end_given() -> None:
    graph = build(lambda a, b: np.linspace(a, b, 11), a=F64[()], b=F64[()])
    a, b = np.array(0.1), np.array(0.7)
    np.testing.assert_array_equal(one(graph, a, b), np.linspace(0.1, 0.7, 11))
    assert one(graph, a, b)[-1] == b


@pytest.mark.parametrize(
    "f, said",
    [
        (lambda x: np.linspace(x, 1.0, x.astype(int)), "cannot be a Python index|number of points"),
        (lambda x: np.linspace(x, 1.0, -1), "fewer than 0"),
        (lambda x: np.gradient(x[None]), "too few entries"),
        (lambda x: np.gradient(np.stack([x, x]), edge_order=3), "first or second order"),
        (lambda x: np.gradient(np.stack([x, x]), np.arange(3.0)), "coordinates do not fit"),
        (lambda x: np.gradient(np.stack([x, x]), 1.0, 2.0), "one spacing"),
        (lambda x: np.vander(x), "of a vector"),
        (lambda x: np.polyval(x[None, None], 1.0), "coefficients are a vector"),
        (lambda x: np.cov(x[None, None, None]), "are a matrix"),
        (lambda x: np.cov(np.stack([x, x]), fweights=x), "a frequency cannot be traced"),
    ],
)
def test_what_has_no_value_is_refused(f: object, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        build(f, x=F64[()])  # type: ignore[arg-type]
