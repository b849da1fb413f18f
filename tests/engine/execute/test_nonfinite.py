"""What is finite is told of arrays of every size and kind, as NumPy tells it entry by entry."""

import tracemalloc

import numpy as np
import pytest

from backsweep_engine.execute.nonfinite import FEW, finite_nodes, is_finite, walked_bytes
from backsweep_engine.execute.norms import MANY
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, build

SIZES = (0, 1, FEW, FEW + 1, MANY, MANY + 1, 3 * MANY + 5)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", SIZES)
def test_one_entry_that_is_not_finite_is_found_wherever_it_stands(size: int, dtype: str) -> None:
    array = np.random.default_rng(size).normal(size=size).astype(dtype)
    assert is_finite(array)
    for at in sorted({0, size // 2, MANY - 1, MANY, size - 1} & set(range(size))):
        for bad in (np.nan, np.inf, -np.inf):
            array[at], kept = bad, array[at]
            assert not is_finite(array)
            array[at] = kept
    if size > 1:
        array[0], array[-1] = np.inf, -np.inf
        assert not is_finite(array)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("size", SIZES[1:])
def test_numbers_whose_sums_overflow_are_finite(size: int, dtype: str) -> None:
    assert is_finite(np.full(size, np.finfo(dtype).max, dtype))


def test_scalars_matrices_and_what_has_no_floats_are_judged_too() -> None:
    assert is_finite(np.array(1.0)) and not is_finite(np.array(np.nan))
    matrix = np.ones((40, 300)).T
    assert is_finite(matrix)
    matrix[299, 39] = np.inf
    assert not is_finite(matrix)
    assert is_finite(np.array([True])) and is_finite(np.array([2**62]))


def test_a_walk_takes_about_as_much_memory_as_is_told_before() -> None:
    graph = expand(derive.gradient(build(lambda x, w: np.sum(np.tanh(np.exp(x @ w).T + 1) ** 2), x=F64[3000, 50], w=F64[50, 60]), [1]))
    inputs = [np.random.default_rng(0).normal(size=t.shape) for t in graph.input_types]
    tracemalloc.start()
    try:
        finite_nodes(graph, inputs)
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0.8 * most < walked_bytes(graph) < 1.2 * most
