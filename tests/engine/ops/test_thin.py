"""Products in slices of rows, against sums by the definition in higher precision."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import threadpoolctl

from backsweep_engine.execute import kernels
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import DTYPES, Type
from backsweep_engine.ops.thin import FEWEST, LINE, PANEL, SLICE, in_slices, slice_of
from support.graphs import F64, build

FLOAT64 = DTYPES["float64"]

SLICED = {
    "few columns between": (250, 10, 1000),
    "few columns": (250, 1000, 10),
    "rows left over": (1009, 10, 250),
    "one column": (4000, 300, 1),
    "a sum of one": (2000, 1, 600),
    "not thin": (784, 64, 256),
    "not thin, rows left over": (101, 200, 200),
    "in panels": (512, 784, 256),
    "in panels, rows and columns left over": (261, 500, 200),
}
WHOLE = {
    "small": (100, 10, 100),
    "not thin and much to be used again": (1000, 64, 1000),
    "few rows": (10, 1000, 250),
    "slices of too few rows": (1000, 20, 20_000),
    "of nothing": (1000, 0, 2000),
    "too few rows for panels": (200, 784, 256),
    "too many panels": (512, 784, 300),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    with threadpoolctl.threadpool_limits(1):
        yield


def _types(m: int, k: int, n: int) -> tuple[Type, Type]:
    return Type(FLOAT64, (m, k)), Type(FLOAT64, (k, n))


@pytest.mark.parametrize("name", SLICED)
@pytest.mark.parametrize("layout", ["as it lies", "a transposed", "b transposed", "b not on a line"])
def test_a_product_in_slices_is_the_product(name: str, layout: str) -> None:
    m, k, n = SLICED[name]
    rows, columns = slice_of(*_types(m, k, n))
    assert FEWEST <= rows < m and rows * k * columns <= 2 * SLICE
    assert (columns == PANEL) == ("panels" in name) or columns == n
    random = np.random.default_rng(0)
    a, b = random.normal(size=(m, k)), random.normal(size=(k, n))
    a = np.asfortranarray(a) if layout == "a transposed" else a
    b = np.asfortranarray(b) if layout == "b transposed" else b
    if layout == "b not on a line":
        memory = np.empty(b.size + LINE // 8)
        memory = memory[(-memory.ctypes.data % LINE) // 8 + 1 :][: b.size]
        b, memory[:] = memory.reshape(k, n), b.ravel()
    out = np.full((m, n), np.nan)
    in_slices(a, b, out, rows, columns)
    wanted = a.astype(np.longdouble) @ b.astype(np.longdouble)
    bound = k * np.finfo(np.float64).eps * (np.abs(a) @ np.abs(b))
    assert np.all(np.abs(out - wanted) <= bound)


@pytest.mark.parametrize("name", WHOLE)
def test_other_products_are_computed_at_once(name: str) -> None:
    assert slice_of(*_types(*WHOLE[name])) == (0, 0)


def test_of_other_types_too() -> None:
    assert slice_of(*[Type(DTYPES["float32"], t.shape) for t in _types(*SLICED["few columns"])]) == (0, 0)
    assert slice_of(*[Type(FLOAT64, (3, *t.shape)) for t in _types(*SLICED["few columns"])]) == (0, 0)


def test_where_a_factor_begins_does_not_decide_bits() -> None:
    random = np.random.default_rng(0)
    a, memory = random.normal(size=(784, 64)), np.empty(64 * 256 + LINE // 8)
    first = (-memory.ctypes.data % LINE) // 8
    results = []
    for at in (first, first + 1, first + 2):
        b = memory[at : at + 64 * 256].reshape(64, 256)
        b[:] = np.random.default_rng(1).normal(size=(64, 256))
        results.append(np.empty((784, 256)))
        in_slices(a, b, results[-1], *slice_of(*_types(784, 64, 256)))
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_only_thin_products_are_sliced_where_small_ones_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    for small in (True, False):
        monkeypatch.setattr(kernels, "small_as_they_stand", lambda small=small: small)
        for k, sliced in ((64, small), (32, True)):
            graph = build(lambda x, y: x @ y, x=F64[784, k], y=F64[k, 256])
            call, positional = kernels.kernel(graph, graph.nodes[-1])
            assert positional and (call is not np.matmul) == sliced


def test_on_several_threads_a_broad_product_is_left_to_them_and_is_the_product_still() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(512, 300)), random.normal(size=(300, 200))
    out, whole = np.empty((2, 512, 200)), np.empty((512, 200))
    for k, count in enumerate((1, 2)):
        with threadpoolctl.threadpool_limits(count):
            in_slices(a, b, out[k], *slice_of(*_types(512, 300, 200)))
            np.matmul(a, b, out=whole)
    np.testing.assert_array_equal(out[1], whole)
    np.testing.assert_allclose(out[0], whole, rtol=0, atol=1e-12)


def test_a_matrix_times_itself_is_symmetric_to_the_last_bit() -> None:
    x = np.random.default_rng(0).normal(size=(600, 30))
    (got,) = Program(build(lambda x: x @ x.T, x=F64[600, 30])).run([x])
    np.testing.assert_array_equal(got, got.T)
