"""Many points in one call: each verb against its formula at every point, in process and through a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.server import Server, serving

A = np.random.default_rng(0).normal(size=(4, 3))
RNG = np.random.default_rng(1)
X, Y = RNG.normal(size=(11, 3)), RNG.normal(size=11)
V, U = np.array([1.0, -2.0, 0.5]), np.array([0.3, 1.0, -1.0, 2.0])


def scalar(x: Any, y: Any) -> Any:
    return np.sum(np.sin(x)) * y**2


def vector(x: Any, A: Any) -> Any:
    return np.tanh(A @ x)


def slopes(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 - np.tanh(x @ A.T) ** 2)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(params=["in process", "served"])
def service(request: pytest.FixtureRequest, server: Server) -> Iterator[bs.Service]:
    with bs.local() if request.param == "in process" else bs.connect(server.address) as service:
        yield service


SCALAR: dict[str, tuple[Callable[[bs.Function], Any], Callable[[], Any]]] = {
    "value": (lambda f: f(X, Y, batched=True), lambda: np.sin(X).sum(1) * Y**2),
    "gradient": (lambda f: f.gradient(X, Y, batched=True), lambda: (np.cos(X) * Y[:, None] ** 2, 2 * Y * np.sin(X).sum(1))),
    "gradient by one": (lambda f: f.gradient(X, Y, wrt="x", batched=True), lambda: np.cos(X) * Y[:, None] ** 2),
    "one point for all": (lambda f: f.gradient(X, 2.0, wrt="x", batched="x"), lambda: np.cos(X) * 4),
    "by position": (lambda f: f.gradient(X[0], Y, wrt="x", batched=[1]), lambda: np.cos(X[0]) * Y[:, None] ** 2),
    "value and gradient": (lambda f: f.value_and_gradient(X, Y, wrt="y", batched=True), lambda: (np.sin(X).sum(1) * Y**2, 2 * Y * np.sin(X).sum(1))),
    "jvp": (lambda f: f.jvp(X, Y, tangent=V, wrt="x", batched=True), lambda: (np.cos(X) * Y[:, None] ** 2) @ V),
    "hvp": (lambda f: f.hvp(X, Y, tangent=V, wrt="x", batched=True), lambda: -np.sin(X) * Y[:, None] ** 2 * V),
    "a tangent for each point": (
        lambda f: f.derive("hvp", wrt="x")(X, Y, X, batched=True),
        lambda: -np.sin(X) * Y[:, None] ** 2 * X,
    ),
    "hessian": (
        lambda f: f.hessian(X, Y, batched=True)[0][1],
        lambda: np.cos(X) * 2 * Y[:, None],
    ),
    "several": (lambda f: f.ask(X, Y, bs.value, bs.gradient, batched=True)[1][1], lambda: 2 * Y * np.sin(X).sum(1)),
    "no points": (lambda f: f.gradient(X[:0], Y[:0], batched=True), lambda: (np.zeros((0, 3)), np.zeros(0))),
    "cut into blocks": (lambda f: f.hvp(X, Y, tangent=V, wrt="x", batched=True, block=4), lambda: -np.sin(X) * Y[:, None] ** 2 * V),
}

VECTOR: dict[str, tuple[Callable[[bs.Function], Any], Callable[[], Any]]] = {
    "value": (lambda f: f(X, batched=True), lambda: np.tanh(X @ A.T)),
    "vjp": (lambda f: f.vjp(X, cotangent=U, batched=True), lambda: (slopes(X) * U) @ A),
    "jacobian": (lambda f: f.jacobian(X, batched=True), lambda: slopes(X)[:, :, None] * A),
    "jacobian forward": (lambda f: f.jacobian(X, mode="forward", batched=True), lambda: slopes(X)[:, :, None] * A),
    "jacobian in blocks": (lambda f: f.jacobian(X, block=3, batched=True), lambda: slopes(X)[:, :, None] * A),
}


def close(got: Any, expected: Any) -> None:
    got, expected = (one if isinstance(one, tuple) else (one,) for one in (got, expected))
    assert len(got) == len(expected)
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape
        np.testing.assert_allclose(g, e, rtol=0, atol=1e-14)


@pytest.mark.parametrize("verb", SCALAR)
def test_of_a_scalar_function_at_many_points(verb: str, service: bs.Service) -> None:
    ask, expected = SCALAR[verb]
    close(ask(service.submit(scalar, x=bs.float64[3], y=bs.float64)), expected())


@pytest.mark.parametrize("verb", VECTOR)
def test_of_a_vector_function_at_many_points(verb: str, service: bs.Service) -> None:
    ask, expected = VECTOR[verb]
    close(ask(service.submit(vector, x=bs.float64[3], A=A)), expected())


def test_trees_gain_the_axis_in_every_leaf(service: bs.Service) -> None:
    f = service.submit(lambda p: p["a"] * np.sum(p["b"]), p={"a": bs.float64, "b": bs.float64[3]})
    gradient = f.gradient({"a": Y, "b": X}, batched=True)
    close((gradient["a"], gradient["b"]), (X.sum(1), np.broadcast_to(Y[:, None], X.shape)))


def test_integers_keep_their_digits_beside_floats(service: bs.Service) -> None:
    big = 2**60
    f = service.submit(lambda x: (x * 2, np.argmax(x) + big, x > 0, np.sum(x).astype(np.float32)), x=bs.float64[3])
    doubled, most, positive, total = f(X, batched=True)
    assert [a.dtype.name for a in (doubled, most, positive, total)] == ["float64", "int64", "bool", "float32"]
    assert np.array_equal(doubled, 2 * X)
    assert np.array_equal(most, X.argmax(1) + big)
    assert np.array_equal(positive, X > 0)
    assert np.array_equal(total, X.sum(1).astype(np.float32))


def test_a_nan_beside_integers_is_told_with_its_node(service: bs.Service) -> None:
    f = service.submit(lambda x: (np.argmax(x), np.log(x)), x=bs.float64[2])
    with pytest.warns(bs.NonFiniteWarning, match="log"):
        f(np.array([[1.0, 2.0], [-1.0, 1.0]]), batched=True)


def test_a_hundred_thousand_points_come_in_blocks(server: Server) -> None:
    many = np.random.default_rng(2).normal(size=(100_000, 3))
    seen: list[tuple[int, int]] = []
    with bs.connect(server.address) as served, bs.local() as here:
        gradients = []
        for service in (served, here):
            f = service.submit(lambda x: np.sum(np.sin(x) ** 2), x=bs.float64[3])
            gradients.append(f.gradient(many, batched=True, progress=lambda done, total: seen.append((done, total))))
    np.testing.assert_allclose(gradients[0], np.sin(2 * many), rtol=0, atol=1e-15)
    assert gradients[0].tobytes() == gradients[1].tobytes()
    assert seen[-1][0] == seen[-1][1]


REFUSED: dict[str, tuple[Callable[[bs.Function], Any], str]] = {
    "points in different numbers": (lambda f: f(X, Y[:5], batched=True), "SHAPE"),
    "a point without an axis": (lambda f: f(X[0], Y, batched=True), "SHAPE"),
    "an argument that is not there": (lambda f: f(X, Y, batched="z"), "MISSING_INPUT"),
    "a check": (lambda f: f.check(X, Y, batched=True), "NOT_BUILT_YET"),
    "a sparse matrix": (lambda f: f.hessian(X, Y, layout="sparse", batched=True), "NOT_BUILT_YET"),
    "a file": (lambda f: f.hessian(X, Y, to="h.npy", batched=True), "MALFORMED"),
    "no argument": (lambda f: f(X, Y, batched=[]), "MALFORMED"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_many_points_are_refused_for(sentence: str, service: bs.Service) -> None:
    ask, reason = REFUSED[sentence]
    with pytest.raises(bs.Error) as caught:
        ask(service.submit(scalar, x=bs.float64[3], y=bs.float64))
    assert caught.value.reason == reason


def test_what_is_bound_is_one_for_all_points(service: bs.Service) -> None:
    with pytest.raises(bs.GraphError, match="only what comes with a call"):
        service.submit(vector, x=bs.float64[3], A=A)(X, batched=["x", "A"])
