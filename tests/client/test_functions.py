"""Functions NumPy lacks: the same on plain arrays and as graphs, judged by NumPy at values where the plain formula is safe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.nesting import gradient, jacobian
from backsweep.trace import trace
from backsweep_engine.errors import GraphError
from support.run import one

X = np.random.default_rng(3).normal(size=(3, 4))
E = np.exp(X)

FUNCTIONS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "relu": (bs.relu, np.maximum(X, 0)),
    "sigmoid": (bs.sigmoid, 1 / (1 + np.exp(-X))),
    "softplus": (bs.softplus, np.log(1 + E)),
    "logsumexp of all": (bs.logsumexp, np.log(E.sum())),
    "logsumexp along an axis": (lambda x: bs.logsumexp(x, axis=1), np.log(E.sum(1))),
    "logsumexp, axes kept": (lambda x: bs.logsumexp(x, (0, -1), keepdims=True), np.log(E.sum(keepdims=True))),
    "logsumexp along listed axes": (lambda x: bs.logsumexp(x, [0]), np.log(E.sum(0))),
    "softmax": (bs.softmax, E / E.sum(1, keepdims=True)),
    "softmax along columns": (lambda x: bs.softmax(x, axis=0), E / E.sum(0)),
    "softmax of all": (lambda x: bs.softmax(x, axis=None), E / E.sum()),
    "log_softmax": (bs.log_softmax, X - np.log(E.sum(1, keepdims=True))),
    "stop_gradient": (bs.stop_gradient, X),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_plain_arrays_and_graphs_give_the_same_values(name: str) -> None:
    f, expected = FUNCTIONS[name]
    plain = f(X)
    assert np.allclose(plain, expected, rtol=1e-14, atol=1e-15)
    assert np.array_equal(plain, one(trace(lambda x: f(x), {"x": bs.float64[3, 4]}).graph, X))
    assert f(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("f", [bs.relu, bs.sigmoid, bs.softplus, bs.logsumexp])
def test_numbers_give_numbers_and_integers_become_floats(f: Callable[[Any], Any]) -> None:
    assert isinstance(f(2), np.float64)
    assert f(2) == f(2.0) == f(np.int64(2))
    assert f([1, 2]).dtype == np.float64 if np.ndim(f([1, 2])) else f([1, 2]) > 2


def test_factors_in_a_tuple_are_taken_plain_as_they_are_traced() -> None:
    a, b = np.array([[4.0, 1.0], [1.0, 3.0]]), np.array([1.0, 2.0])
    factor = np.linalg.cholesky(a)
    assert np.allclose(bs.cho_solve((factor, True), b), np.linalg.solve(a, b), rtol=1e-14)
    assert np.allclose(bs.cho_solve((factor.T, False), b), np.linalg.solve(a, b), rtol=1e-14)
    assert np.allclose(bs.lu_solve(bs.lu(a), b), np.linalg.solve(a, b), rtol=1e-14)


EXTREMES: dict[str, tuple[Any, Any]] = {
    "sigmoid far below": (lambda: bs.sigmoid(-800.0), 0.0),
    "sigmoid far above": (lambda: bs.sigmoid(800.0), 1.0),
    "softplus far above": (lambda: bs.softplus(800.0), 800.0),
    "logsumexp of large numbers": (lambda: bs.logsumexp(np.array([1000.0, 1000.0])), 1000 + np.log(2)),
    "logsumexp of nothing but -inf": (lambda: bs.logsumexp(np.array([-np.inf, -np.inf])), -np.inf),
    "softmax of large numbers": (lambda: bs.softmax(np.array([1000.0, 1000.0]))[0], 0.5),
    "log_softmax far below": (lambda: bs.log_softmax(np.array([0.0, -1000.0]))[1], -1000.0),
    "the slope of relu at 0": (lambda: gradient(bs.relu)(0.0), 0.0),
    "the slope of softplus far above": (lambda: gradient(bs.softplus)(800.0), 1.0),
    "the slope of sigmoid": (lambda: gradient(bs.sigmoid)(0.0), 0.25),
}


@pytest.mark.parametrize("name", EXTREMES)
def test_nothing_overflows(name: str) -> None:
    f, expected = EXTREMES[name]
    assert np.isclose(f(), expected, rtol=1e-15)


def test_the_derivative_of_logsumexp_is_softmax_and_that_of_softmax_its_covariance() -> None:
    x = X[0]
    p = E[0] / E[0].sum()
    assert np.allclose(gradient(bs.logsumexp)(x), p, rtol=1e-14)
    assert np.allclose(jacobian(bs.softmax)(x), np.diag(p) - np.outer(p, p), rtol=1e-13, atol=1e-15)
    assert np.allclose(jacobian(bs.log_softmax)(x), np.eye(4) - p, rtol=1e-13, atol=1e-15)


def test_stop_gradient_stops_it_in_trees_too() -> None:
    assert gradient(lambda x: x * bs.stop_gradient(x))(3.0) == 3
    assert gradient(lambda x: x * bs.stop_gradient({"a": [np.exp(x), 1.0]})["a"][0])(0.5) == np.exp(0.5)
    assert bs.stop_gradient({"a": 2.0}) == {"a": 2.0}


def test_inside_a_trace_plain_arrays_stay_plain() -> None:
    graph = trace(lambda x: x * float(bs.sigmoid(0.0)), {"x": bs.float64}).graph
    assert one(graph, 4.0) == 2


@pytest.mark.parametrize("wrong", [lambda: bs.logsumexp(X, axis=2), lambda: bs.relu("text"), lambda: bs.softmax(X.astype(complex))])
def test_what_they_cannot_take_is_refused_with_the_users_line(wrong: Callable[[], Any]) -> None:
    with pytest.raises(GraphError) as caught:
        wrong()
    assert caught.value.source == f"test_functions.py:{wrong.__code__.co_firstlineno}"
    with pytest.raises(GraphError, match=r"test_functions.py:\d+"):
        trace(lambda x: wrong(), {"x": bs.float64})
