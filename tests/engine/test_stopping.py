"""A stop reaches everything that comes before blocks: transforms, plans, programs and their code; and no cache keeps half of it."""

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.answer import Collected, deliver
from backsweep_engine.errors import Cancelled
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph
from backsweep_engine.plan.make import Ask, Budget
from backsweep_engine.query import Gradient, Hvp, Jacobian, Query, Value
from backsweep_engine.request import Request
from backsweep_engine.stopping import PACE, look, never, paced, stoppable
from backsweep_engine.transforms import derive
from backsweep_engine.work import prepare
from support.graphs import F64, build

N = 1500


def chain(x: Any, nodes: int = N) -> Any:
    """Every node depends on the one before."""
    y = x
    for _ in range(nodes // 2):
        y = np.sin(y) * x
    return np.sum(y)


def wide(x: Any, nodes: int = N) -> Any:
    terms = [np.sin(x * (1 + k / nodes)) for k in range(nodes // 3)]
    return sum(terms[1:], terms[0])


QUERIES: dict[str, tuple[Callable[..., Any], Query, dict[str, Any]]] = {
    "value": (lambda x, nodes: np.sum(wide(x, nodes)), Value(), {}),
    "gradient": (chain, Gradient(("x",)), {}),
    "hvp": (lambda x, nodes: chain(x, nodes // 4), Hvp(("x",)), {"seed.0.x": np.ones(3)}),
    "jacobian": (wide, Jacobian(("x",)), {}),
}


def request(name: str, nodes: int) -> Request:
    f, query, seeds = QUERIES[name]
    graph = build(lambda x: f(x, nodes), x=F64[3])
    return Request(graph, {"x": F64[3]}, (Ask(query, {"x": F64[3]} if seeds else {}),))


def answered(asked: Request, name: str, stop: Callable[[], bool]) -> bytes:
    """The whole way, twice: the second call has its code written."""
    work = prepare(asked, Budget(), None, stop)
    values = {"x": np.array([0.3, 0.5, 0.9]), **QUERIES[name][2]}
    for _ in range(2):
        collected = Collected(work)
        for event in deliver(work, values, Local(), stop):
            collected.add(event)
    return b"".join(a.tobytes() for answer in collected.answers() for a in answer.arrays)


class After:
    """A stop that says so from a certain question on."""

    def __init__(self, questions: int) -> None:
        self.left = questions

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("name", QUERIES)
def test_wherever_it_is_stopped_it_ends_there_and_the_next_to_ask_gets_the_same_bits(name: str) -> None:
    counted, nodes = After(10**9), N // 2
    wanted = answered(request(name, nodes), name, counted)
    questions = 10**9 - counted.left
    assert questions > 25, "a question in each of many passes"
    for at in (0, questions // 4, questions // 2, questions - 1):
        asked, stop = request(name, nodes), After(at)
        with pytest.raises(Cancelled):
            answered(asked, name, stop)
        assert stop.left == -1, "it goes on after it was told to stop"
        assert answered(asked, name, never) == wanted


@pytest.mark.parametrize("name", QUERIES)
def test_no_work_goes_on_for_long_without_a_question(name: str) -> None:
    """Counted in calls of functions, which are the same on every machine: a pass over N nodes without a question makes more."""
    asked, most, since = request(name, N), 0, 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal since
        since += event == "call"

    def stop() -> bool:
        nonlocal most, since
        most, since = max(most, since), 0
        return False

    sys.setprofile(count)
    try:
        answered(asked, name, stop)
        stop()
    finally:
        sys.setprofile(None)
    # The dearest passes make 90 to 200 calls a node: 50,000 between two questions, but 130,000 and more where nobody asks.
    assert most < 400 * PACE


def test_a_stop_holds_for_what_is_within_and_never_leaves_it_as_it_is() -> None:
    with stoppable(lambda: True):
        with stoppable(never), pytest.raises(Cancelled):
            look()
        with stoppable(lambda: False):
            look()
        with pytest.raises(Cancelled):
            next(paced(range(3)))
    look()
    assert list(paced(range(2 * PACE + 1))) == list(range(2 * PACE + 1)) and list(paced(())) == []


def test_what_a_stopped_transform_made_is_not_remembered() -> None:
    graph: Graph = build(chain, x=F64[3])
    with stoppable(After(3)), pytest.raises(Cancelled):
        derive.gradient(graph, [0])
    derived = derive.gradient(graph, [0])
    assert derived.fingerprint == derive.gradient(build(chain, x=F64[3]), [0]).fingerprint
    with stoppable(lambda: True):
        assert derive.gradient(graph, [0]) is derived, "what is there costs no work"
