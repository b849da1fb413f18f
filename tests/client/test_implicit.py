"""bs.root and bs.fixed_point, against closed forms: their derivatives are those of the solution, whatever found it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.nesting import gradient, hessian, hvp, jacobian, jvp
from backsweep.trace import trace
from backsweep_engine.errors import GraphError
from backsweep_engine.transforms import derive
from support.run import one

A = np.array([[2.0, 0.3], [0.1, 1.5]])
B = np.array([1.0, 2.0])


def square_root(a: Any) -> Any:
    return bs.root(lambda x, a: x * x - a, 1.0, a)


def test_a_square_root_has_every_derivative_of_the_square_root() -> None:
    graph = trace(square_root, {"a": bs.float64}).graph
    expected = [7**0.5, 0.5 * 7**-0.5, -0.25 * 7**-1.5, 0.375 * 7**-2.5, -0.9375 * 7**-3.5]
    for wanted in expected:
        assert one(graph, 7.0) == pytest.approx(wanted, rel=1e-12)
        graph = derive.gradient(graph, [0])
    assert jvp(square_root)(7.0, tangent=2.0) == pytest.approx(2 * expected[1], rel=1e-13)
    assert hvp(square_root)(7.0, tangent=2.0) == pytest.approx(2 * expected[2], rel=1e-13)
    assert square_root(7.0) == pytest.approx(expected[0], rel=1e-15)


def test_a_linear_system_has_the_derivatives_of_its_solution() -> None:
    def solve(b: Any, A: Any) -> Any:
        return bs.root(lambda x, b, A: A @ x - b, np.zeros(2), b, A)

    inverse = np.linalg.inv(A)
    np.testing.assert_allclose(one(trace(solve, {"b": bs.float64[2], "A": bs.float64[2, 2]}).graph, B, A), inverse @ B, rtol=1e-14)
    np.testing.assert_allclose(jacobian(solve)(B, A), inverse, rtol=1e-13)
    np.testing.assert_allclose(jacobian(solve, 1)(B, A), -np.einsum("ij,k->ijk", inverse, inverse @ B), rtol=1e-13)


def test_a_fixed_point_has_the_derivatives_of_the_implicit_function() -> None:
    """x = cos(a x): x' = -x s / (1 + a s) with s = sin(a x), and x'' by differentiating that once more."""

    def settled(a: Any) -> Any:
        return bs.fixed_point(lambda x, a: np.cos(a * x), 0.5, a)

    a = 0.8
    x = settled(a)
    assert x == pytest.approx(np.cos(a * x), rel=1e-12)
    s, c = np.sin(a * x), np.cos(a * x)
    first = -x * s / (1 + a * s)
    inner = x + a * first
    second = (-(first * s + x * c * inner) * (1 + a * s) + x * s * (s + a * c * inner)) / (1 + a * s) ** 2
    assert gradient(settled)(a) == pytest.approx(first, rel=1e-11)
    assert hessian(settled)(a) == pytest.approx(second, rel=1e-10)


def test_trees_of_parameters_float32_rows_and_the_service() -> None:
    def solved(p: Any) -> Any:
        return bs.root(lambda x, p: x**3 + p["c"] * x - p["d"], np.ones(3, p["d"].dtype), p)

    single = trace(solved, {"p": {"c": bs.float32[3], "d": bs.float32[3]}}).graph
    c, d = np.ones(3, np.float32), np.array([2.0, 10, 30], np.float32)
    np.testing.assert_allclose(one(single, c, d), [1, 2, 3], rtol=1e-6)

    roots = np.array([0.5, 2.0, 9.0])
    mapped = trace(lambda a: np.sum(bs.vmap(square_root)(a) ** 3), {"a": bs.float64[3]}).graph
    np.testing.assert_allclose(one(derive.gradient(mapped, [0]), roots), 1.5 * np.sqrt(roots), rtol=1e-12)

    with bs.local() as service:
        f = service.submit(lambda p: np.sum(solved(p) ** 2), p={"c": bs.float64[3], "d": bs.float64[3]})
        point = {"c": np.array([1.0, 2, 0.5]), "d": np.array([2.0, 10, 30])}
        assert f.check(point).right
        matrix = service.submit(solved, p={"c": bs.float64[3], "d": bs.float64[3]}).jacobian(point)
        assert np.count_nonzero(np.abs(matrix["d"]) > 1e-12) == 3


def test_what_is_not_found_and_what_would_be_lost_is_refused() -> None:
    with bs.local() as service:
        f = service.submit(lambda a: bs.root(lambda x, a: x * x + a, 1.1, a, max_trips=30), a=bs.float64)
        with pytest.raises(GraphError) as caught:
            f(1.0)
        assert caught.value.reason == "LOOP_CAP" and "test_implicit.py" in caught.value.source
    with pytest.raises(GraphError, match="pass it as an argument"):
        trace(lambda a: bs.root(lambda x: x * x - a, 1.0), {"a": bs.float64})
