"""Many requests at once: in order, bounded, an error in its place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.server import serving


@pytest.fixture(scope="module", params=["in process", "served"])
def service(request: pytest.FixtureRequest) -> Iterator[bs.Service]:
    if request.param == "in process":
        with bs.local() as service:
            yield service
    else:
        with serving() as server, bs.connect(server.address) as service:
            yield service


def test_points_are_answered_in_order(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sum(np.sin(x)), x=bs.float64[3])
    points = list(np.random.default_rng(0).normal(size=(300, 3)))
    np.testing.assert_allclose(bs.ask_all(f.gradient, points), np.cos(points), rtol=0, atol=1e-15)


def test_many_models_are_submitted_and_asked(service: bs.Service) -> None:
    def slope(power: int) -> Any:
        return service.submit(lambda x: x**power, x=bs.float64).gradient(2.0)

    assert bs.ask_all(slope, range(1, 20), at_once=4) == [power * 2.0 ** (power - 1) for power in range(1, 20)]


def test_an_error_stands_in_its_place_and_the_others_are_answered(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sum(x), x=bs.float64[3])
    good, bad = np.ones(3), np.ones(4)
    answers = bs.ask_all(f, [good, bad, good])
    assert answers[0] == answers[2] == 3.0
    assert isinstance(answers[1], bs.GraphError) and answers[1].reason == "SHAPE"


def test_no_more_than_so_many_are_asked_at_once() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def ask(item: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.01)
        with lock:
            now -= 1
        return item

    assert bs.ask_all(ask, iter(range(50)), at_once=3) == list(range(50))
    assert most == 3


def test_what_is_no_error_of_the_service_ends_it() -> None:
    asked: list[int] = []

    def ask(item: int) -> None:
        asked.append(item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        bs.ask_all(ask, range(10_000), at_once=2)
    assert len(asked) < 1000
    assert bs.ask_all(ask, []) == []
