"""What is said of a product by the norms of its factors holds of its entries, and what does not is not said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.executor import never
from backsweep_engine.execute.norms import MANY, sum_of_squares
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Type
from support.graphs import F32, F64, I64, build, scan

Array = np.ndarray[Any, Any]
M, K, N = 300, 20, 200
RANDOM = np.random.default_rng(0)
X, Y = RANDOM.normal(size=(K, M)), RANDOM.normal(size=(K, N))


def _with(array: Array, value: float) -> Array:
    changed = array.copy()
    changed[3, 5] = value
    return changed


FACTORS: dict[str, tuple[Array, Array, bool]] = {
    "ordinary": (X, Y, True),
    "zeros": (0 * X, Y, True),
    "a NaN": (_with(X, np.nan), Y, False),
    "infinity": (X, _with(Y, -np.inf), False),
    "infinity and zeros, whose product is NaN": (_with(X, np.inf), 0 * Y, False),
    "a product that overflows": (np.full((K, M), 1e160), np.full((K, N), 1e160), False),
    "sums on the way that overflow though their end does not": (np.repeat([[1e150], [-1e150]], K // 2, 0) * np.ones(M), np.full((K, N), 1e158), False),
    "large factors of a product that is not": (1e150 * X, 1e-150 * Y, True),
    "squares that are lost": (1e-170 * X, 1e150 * Y, True),
    "large, but within bounds": (1e70 * X, 1e70 * Y, True),
}


@pytest.mark.parametrize("name", FACTORS)
def test_a_product_is_known_to_be_finite_where_its_bound_is(name: str) -> None:
    x, y, known = FACTORS[name]
    program = Program(build(lambda x, y: (np.sum(x), x.T @ y), x=F64[K, M], y=F64[K, N]))
    for _ in range(3):  # interpreted, then generated
        (_, product), finite = program.ready()([x, y], never)
        assert finite == ({1} if known else frozenset())
        assert not known or np.isfinite(product).all()


def test_in_float32_the_bound_is_that_of_float32() -> None:
    program = Program(build(lambda x, y: x.T @ y, x=F32[K, M], y=F32[K, N]))
    for scale, known in ((1.0, {0}), (1e15, frozenset()), (1e25, frozenset())):
        (product,), finite = program.ready()([(scale * X).astype(np.float32), (scale * Y).astype(np.float32)], never)
        assert finite == known and (scale > 1e20 or np.isfinite(product).all())


OTHERS: dict[str, tuple[Callable[..., Any], dict[str, Type]]] = {
    "a product hardly larger than its factors": (lambda x, y: x @ y, {"x": F64[200, 200], "y": F64[200, 200]}),
    "a small one": (lambda x, y: x @ y, {"x": F64[60, 2], "y": F64[2, 60]}),
    "a stack of products": (lambda x, y: x @ y, {"x": F64[5, 300, 2], "y": F64[5, 2, 300]}),
    "a product of whole numbers": (lambda x, y: x @ y, {"x": I64[300, 2], "y": I64[2, 300]}),
    "what is made of a product": (lambda x, y: np.exp(x @ y), {"x": F64[300, 2], "y": F64[2, 300]}),
    "every second column of a factor": (lambda x, y: x[:, ::2] @ y, {"x": F64[300, 4], "y": F64[2, 300]}),
}


@pytest.mark.parametrize("name", OTHERS)
def test_of_others_nothing_is_said(name: str) -> None:
    f, types = OTHERS[name]
    program = Program(build(f, **types))
    for _ in range(2):
        assert program.ready()([RANDOM.normal(size=t.shape).astype(t.dtype) for t in types.values()], never)[1] == frozenset()


def test_a_factor_whose_place_is_used_again_was_read_before() -> None:
    def chain(x: Any, y: Any) -> Any:
        a, b = np.sin(x), np.cos(y)
        first = a.T @ b
        c, d = np.exp(1000 * x), np.cumsum(y, 0)  # where a and b were
        return first, c.T @ d

    for _ in range(2):
        program = Program(build(chain, x=F64[K, M], y=F64[K, N]))
        for _ in range(2):
            (first, second), finite = program.ready()([X, Y], never)
            np.testing.assert_allclose(first, np.sin(X).T @ np.cos(Y), rtol=1e-12, atol=1e-12)
            assert finite == {0} and not np.isfinite(second).all()


def test_bodies_of_loops_need_no_bounds_and_give_what_they_gave() -> None:
    def loop(z: Any, x: Any, y: Any) -> Any:
        return scan(lambda z, x, y: (np.tanh(x + z[:K, :1]).T @ y,), [z], stays=[x, y], length=3)[0]

    program = Program(build(loop, z=F64[M, N], x=F64[K, M], y=F64[K, N]))
    wanted = np.zeros((M, N))
    for _ in range(3):
        wanted = np.tanh(X + wanted[:K, :1]).T @ Y
    for _ in range(3):
        (end,), finite = program.ready()([np.zeros((M, N)), X, Y], never)
        np.testing.assert_allclose(end, wanted, rtol=1e-12, atol=1e-12)
        assert finite == frozenset()


@pytest.mark.parametrize("size", [1, MANY, MANY + 1, 3 * MANY + 5])
def test_a_sum_of_squares_is_that(size: int) -> None:
    x = RANDOM.normal(size=size)
    assert float(sum_of_squares(size)(x)) == pytest.approx(float(np.sum(x.astype(np.longdouble) ** 2)), rel=1e-13)
