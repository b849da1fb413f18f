"""bands: the matrix of a linear function as vectors, against the function itself, run by NumPy on each unit vector."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.transforms import bands
from backsweep_engine.transforms.bands import Banded, banded
from support.graphs import F32, F64, build
from support.run import one

Array = np.ndarray[Any, Any]
Linear = Callable[[Any, Any], Any]

N = 12
ZERO = np.zeros(1)


def grid(t: Any, p: Any) -> Any:
    """The five points of the Laplace operator on 3 x 4, the last of them weighed."""
    u, zero = t.reshape(3, 4), np.zeros((5, 1))
    rows = np.concatenate([np.zeros((1, 4)), u, np.zeros((1, 4))])
    framed = np.concatenate([zero, rows, zero], axis=1)
    return (framed[:-2, 1:-1] + framed[2:, 1:-1] - 4 * u + framed[1:-1, :-2] + p.reshape(3, 4) * framed[1:-1, 2:]).reshape(-1)


LINEAR: dict[str, tuple[Linear, int]] = {
    "a diagonal": (lambda t, p: p * t, 1),
    "a number": (lambda t, p: -3.0 * t, 1),
    "a difference": (lambda t, p: p[1:] * t[1:] - t[:-1], 2),
    "its ends framed with 0": (lambda t, p: p * (np.concatenate([ZERO, t[:-1]]) - 2 * t + np.concatenate([t[1:], ZERO])), 3),
    "framed twice, in one place": (lambda t, p: np.concatenate([ZERO, p * np.concatenate([t, ZERO])[1:]]) + np.concatenate([t, ZERO]), 1),
    "a ring": (lambda t, p: np.concatenate([t[1:], t[:1]]) * p + t, 2),
    "one place read twice": (lambda t, p: p * t + t * p, 1),
    "one place in part read twice": (lambda t, p: p * t + np.concatenate([t[:5], np.zeros(N - 5)]), 1),
    "turned round": (lambda t, p: t[::-1] * p + t, 2),
    "every third": (lambda t, p: t[::3] - p[::3] * t[2::3], 2),
    "rows and columns changed": (lambda t, p: (t.reshape(3, 4).T * p.reshape(4, 3)).reshape(-1), 1),
    "copies": (lambda t, p: (t[:3].reshape(3, 1) * p.reshape(3, 4)).reshape(-1), 1),
    "pieces with different bands": (lambda t, p: np.concatenate([t[:2], t[2:] * p[2:] - t[:-2], p[:1] * t[-1:]]), 2),
    "two dimensions": (grid, 5),
}


def matrix_of(found: Banded, columns: int, *inputs: Array) -> Array:
    """Each entry from its place; what is in no place is 0."""
    rows = found.of.shape[1]
    flat = one(found.graph, *inputs).reshape(-1, rows)
    matrix = np.zeros((rows, columns))
    for of, place in zip(found.of, found.places, strict=True):
        (there,) = np.nonzero(of)
        assert not matrix[there, of[there] - 1].any()
        matrix[there, of[there] - 1] = flat[place, there]
    return matrix


def traced(f: Linear) -> Graph:
    return build(lambda p, t: f(t, p), p=F64[N], t=F64[N])


@pytest.mark.parametrize("name", LINEAR)
def test_bands_are_the_columns_that_the_function_gives(name: str) -> None:
    f, count = LINEAR[name]
    p = np.random.default_rng(3).uniform(0.5, 1.5, N)
    found = banded(traced(f), 1)
    assert found is not None and len(found.of) == count
    np.testing.assert_allclose(matrix_of(found, N, p), np.stack([f(unit, p) for unit in np.eye(N)], axis=1), rtol=1e-15, atol=0)


def test_no_seed_is_left_and_equal_bands_are_one() -> None:
    found = banded(traced(lambda t, p: p * (np.concatenate([ZERO, t[:-1]]) - 2 * t + np.concatenate([t[1:], ZERO]))), 1)
    assert found is not None
    assert found.graph.input_names == ("p",) and found.graph.output_types == (F64[2 * N],)
    assert sorted(node.op for node in found.graph.nodes[1:]) == ["concat", "constant", "multiply"]


NOT_BANDS: dict[str, Linear] = {
    "a sum": lambda t, p: np.sum(t.reshape(3, 4), axis=1),
    "a product of matrices": lambda t, p: p.reshape(4, 3) @ t.reshape(3, 4)[:, 0],
    "an index": lambda t, p: t[np.argsort(p)],
    "a prefix": lambda t, p: np.cumsum(t),
    "one place in two bands": lambda t, p: np.concatenate([t[:6] + p[:6] * t[6:], t[6:]]) + np.concatenate([t[6:], t[:6]]),
    "too many": lambda t, p: sum((np.concatenate([t[k:], t[:k]]) for k in range(1, N)), t),
}


@pytest.mark.parametrize("name", NOT_BANDS)
def test_what_is_not_made_of_few_bands_is_left_to_sweeps(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "MAX_BANDS", 8)
    found = banded(traced(NOT_BANDS[name]), 1)
    if found is not None:  # a greedy choice of bands may be lucky, but never wrong
        p = np.linspace(1, 2, N)
        np.testing.assert_allclose(matrix_of(found, N, p), np.stack([NOT_BANDS[name](unit, p) for unit in np.eye(N)], axis=1), rtol=1e-15)
        assert name == "one place in two bands"


def test_large_values_are_left_to_sweeps() -> None:
    n = bands.MAX_EFFORT
    assert banded(build(lambda p, t: p * t, p=F64[n + 1], t=F64[n + 1]), 1) is None


def test_dtypes_are_kept() -> None:
    found = banded(build(lambda p, t: (p * t).astype(np.float32), p=F64[3], t=F64[3]), 1)
    assert found is not None and found.graph.output_types == (F32[3],)
