"""One answer, whoever computes it: in process, on 1, 2 or 3 lanes, behind a server, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

import backsweep as bs
from support.server import serving

pytestmark = pytest.mark.cluster

RANDOM = np.random.default_rng(7)
FEATURES, LABELS = RANDOM.normal(size=(200, 12)), (RANDOM.random(200) < 0.5).astype(float)
POINT, TANGENTS = RANDOM.normal(size=12), RANDOM.normal(size=(9, 12))


def loss(w: Any, X: Any, y: Any) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z) + 1e-3 * np.sum(w * w)


def scores(w: Any, X: Any) -> Any:
    return np.tanh(X @ w) * np.sum(np.sin(w))


def branches(w: Any) -> Any:
    return bs.cond(np.sum(w) > 0, lambda: np.sum(np.exp(w)), lambda: np.sum(w**3))


def orbit(p: Any) -> Any:
    return bs.fori_loop(0, 200, lambda i, y: y + 0.01 * np.sin(p[0] * y) * p[1], p[0])


def _loss(service: bs.Service) -> bs.Function:
    return service.submit(loss, w=bs.float64[12], X=FEATURES, y=LABELS)


def _through(service: bs.Service) -> bs.Function:
    def named(w: Any, X: Any, y: Any) -> Any:
        z = bs.name("logits", np.tanh(X @ w))
        return np.mean(np.logaddexp(0, z) - y * z)

    return service.submit(named, w=bs.float64[12], X=FEATURES, y=LABELS)


def _scores(service: bs.Service) -> bs.Function:
    return service.submit(scores, w=bs.float64[12], X=FEATURES)


LINE, PAIRS = RANDOM.normal(size=1500), RANDOM.permutation(1500)


def chained(x: Any, pairs: Any) -> Any:
    """Neighbours and pairs: a sparse Hessian by stars."""
    return np.sum((x[1:] - x[:-1] ** 2) ** 2) + np.sum(np.sin(x * x[pairs]))


def differences(x: Any, pairs: Any) -> Any:
    """An arrow beside a band: a Jacobian by columns and rows."""
    return np.concatenate([np.sum(np.exp(x), keepdims=True), np.diff(x) ** 3 + x[pairs[1:]] * x[0]])


def _chained(service: bs.Service) -> bs.Function:
    return service.submit(chained, x=bs.float64[1500], pairs=PAIRS)


def stencil(x: Any) -> Any:
    """A band alone: a Jacobian without seeds."""
    return np.sin(x[1:-1]) * (x[:-2] + x[2:])


def _stencil(service: bs.Service) -> bs.Function:
    return service.submit(stencil, x=bs.float64[1500])


def _differences(service: bs.Service) -> bs.Function:
    return service.submit(differences, x=bs.float64[1500], pairs=PAIRS)


def _flat(matrix: Any) -> Any:
    """A sparse matrix as one array: values, columns, rows."""
    return np.concatenate([matrix.data, matrix.indices, matrix.indptr])


ASKED: dict[str, Callable[[bs.Service], Any]] = {
    "value": lambda s: _loss(s)(POINT),
    "value and gradient": lambda s: np.hstack(_loss(s).value_and_gradient(POINT)),
    "hessian in blocks": lambda s: _loss(s).hessian(POINT, block=3),
    "many hvps": lambda s: _loss(s).hvp(POINT, tangent=TANGENTS),
    "hessian diagonal in blocks": lambda s: _loss(s).hessian_diagonal(POINT, block=5),
    "gauss-newton in blocks": lambda s: _through(s).gauss_newton(POINT, through="logits", block=5),
    "many fisher products": lambda s: _scores(s).fisher(POINT, family="poisson", tangent=TANGENTS),
    "jacobian, forward, in blocks": lambda s: _scores(s).jacobian(POINT, mode="forward", block=2),
    "jacobian, reverse, in blocks": lambda s: _scores(s).jacobian(POINT, mode="reverse", block=30),
    "many jvps": lambda s: _scores(s).jvp(POINT, tangent=TANGENTS),
    "a jacobian at once": lambda s: _scores(s).jacobian(POINT),
    "a hessian at once": lambda s: _loss(s).hessian(POINT),
    "a gradient through a loop in forward mode": lambda s: s.submit(orbit, p=bs.float64[2]).gradient(POINT[:2]),
    "a branch": lambda s: s.submit(branches, w=bs.float64[12]).hessian(POINT, block=4),
    "sparse hessian, a colour a block": lambda s: _flat(_chained(s).hessian(LINE, layout="sparse", block=1)),
    "sparse jacobian, both ways": lambda s: _flat(_differences(s).jacobian(LINE, layout="sparse", block=1)),
    "sparse jacobian, by rows": lambda s: _flat(_differences(s).jacobian(LINE, layout="sparse", mode="reverse", block=700)),
    "sparse jacobian, by bands": lambda s: _flat(_stencil(s).jacobian(LINE, layout="sparse")),
    "dense hessian by colours": lambda s: _chained(s).hessian(LINE, block=2),
    "hessian diagonal by colours": lambda s: _chained(s).hessian_diagonal(LINE, block=1),
    "estimated hessian diagonal": lambda s: np.hstack(_chained(s).hessian_diagonal(LINE, method="estimate", samples=9, seed=4, block=2)),
    "a verdict": lambda s: _loss(s).check(POINT, seed=3),
    "a verdict on second derivatives": lambda s: _loss(s).check(POINT, seed=4, subject="hessian", judge="richardson"),
    "a verdict by remainders, entry by entry": lambda s: _loss(s).check(POINT, seed=5, judge="taylor", coordinates=True),
    "a verdict on a wrong gradient": lambda s: _loss(s).check(POINT, gradient=np.ones(12), seed=3),
}


@contextmanager
def _in_process(**options: Any) -> Iterator[bs.Service]:
    with threadpool_limits(2), bs.local(threads=1, **options) as service:  # as in a user's process, whose own BLAS has several
        yield service


@contextmanager
def _served(**settings: Any) -> Iterator[bs.Service]:
    with serving(**settings) as server, bs.connect(server.address) as service:
        yield service


SERVICES: dict[str, Callable[[], Any]] = {
    "one lane": lambda: _in_process(executor="cluster", lanes=1),
    "two lanes": lambda: _in_process(executor="cluster", lanes=2),
    "three lanes": lambda: _in_process(executor="cluster", lanes=3),
    "a server": lambda: _served(executor="local"),
    "a server with two lanes": lambda: _served(executor="cluster", lanes=2),
}


@pytest.fixture(scope="module")
def wanted() -> dict[str, Any]:
    with _in_process() as service:
        return {name: ask(service) for name, ask in ASKED.items()}


SLOW = ("one lane", "three lanes")
"""Each starts a Ray of its own; two lanes stand for them in `make test`."""


@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in SERVICES])
def other(request: pytest.FixtureRequest) -> Iterator[bs.Service]:
    with SERVICES[request.param]() as service:
        yield service


@pytest.mark.parametrize("asked", ASKED)
def test_every_service_gives_the_bits_of_the_one_in_process(asked: str, other: bs.Service, wanted: dict[str, Any]) -> None:
    got, right = ASKED[asked](other), wanted[asked]
    if isinstance(right, np.ndarray):
        assert (got.dtype, got.shape, got.tobytes()) == (right.dtype, right.shape, right.tobytes())
    else:
        assert got == right
