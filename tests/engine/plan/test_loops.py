"""relieved: which loops are lifted, by price and by bytes; and that plans promise what is then run."""

from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.executor import never
from backsweep_engine.execute.program import Program, program_of
from backsweep_engine.graph import Graph
from backsweep_engine.plan.loops import MOST_BYTES, relieved
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.price import price
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, build, scan


def recurrent(width: int, trips: int) -> Graph:
    """The gradient by the weights of a recurrent net."""

    def loss(x: Any, w: Any) -> Any:
        _, seen = scan(lambda h, x, w: (np.tanh(h @ w + x), h), [x[0] * 0], [x], [w])
        return np.sum(seen * seen)

    return expand(derive.gradient(build(loss, x=F64[trips, width], w=F64[width, width]), [1]))


def carries(graph: Graph) -> list[int]:
    return [dict(node.attributes)["carries"] for node in graph.nodes if node.op == "scan"]


def by_numpy(x: Any, w: Any) -> Any:
    """The gradient of `recurrent`, by hand: back through time."""
    h = [np.zeros(len(w))]
    for row in x:
        h.append(np.tanh(h[-1] @ w + row))
    total, c = np.zeros_like(w), np.zeros(len(w))
    for t in range(len(x) - 1, -1, -1):
        d = c * (1 - h[t + 1] ** 2)
        total += np.outer(h[t], d)
        c = d @ w.T + 2 * h[t]
    return total


def _point() -> tuple[Any, Any]:
    random = np.random.default_rng(0)
    return random.normal(size=(50, 20)), random.normal(size=(20, 20)) / 5


def test_a_loop_of_small_kernels_is_lifted_and_cheaper() -> None:
    graph = recurrent(20, 50)
    assert carries(graph) == [1, 2] and carries(relieved(graph)) == [1, 1]
    assert price(relieved(graph)) < 0.8 * price(graph)


def test_what_is_run_is_what_is_promised_and_right() -> None:
    graph = recurrent(20, 50)
    x, w = _point()
    program = program_of(graph)
    (got,) = program.run([x, w])
    np.testing.assert_allclose(got, by_numpy(x, w), rtol=1e-11, atol=1e-13)
    assert program.layout.arena_bytes == layout(graph).arena_bytes == layout(relieved(graph), True).arena_bytes


def test_the_loops_may_be_run_as_they_stand() -> None:
    """As where they are compiled: another order of sums, the same values up to rounding."""
    graph = recurrent(20, 50)
    x, w = _point()
    whole = Program(graph, loops_whole=True)
    assert whole.layout.arena_bytes == layout(graph, True).arena_bytes
    np.testing.assert_allclose(whole.run([x, w], never)[0], by_numpy(x, w), rtol=1e-11, atol=1e-13)


ALONE = {"few trips": recurrent(20, 3), "nothing": build(lambda x: scan(lambda h, x: np.sin(h * x), [x[0]], [x])[0], x=F64[50])}


@pytest.mark.parametrize("name", ALONE)
def test_what_would_not_pay_is_left_alone(name: str) -> None:
    assert relieved(ALONE[name]) is ALONE[name]


def test_no_memory_is_spent_where_the_work_itself_takes_the_time() -> None:
    """A kernel over 20,000 numbers takes twenty times as long as calling it."""
    f = build(lambda x, k: np.sum(scan(lambda h, k: np.sin(h) * np.cos(k * h), [x], stays=[k], length=30)[0]), x=F64[20_000], k=F64[()])
    graph = expand(derive.gradient(f, [0]))
    assert relieved(graph) is graph


def test_what_is_stacked_stays_small() -> None:
    """A thousand small matrices a trip would be cheaper stacked, but for their bytes."""

    def step(h: Any, x: Any) -> Any:
        for _ in range(30):
            x = np.cos(x)
        return np.sin(h + x)

    few, many = (build(lambda x: scan(step, [x[0] * 0], [x])[0], x=F64[trips, 40]) for trips in (100, 20_000))
    assert relieved(few) is not few
    assert relieved(many) is many or layout(many).peak_bytes <= layout(many, True).peak_bytes + max(MOST_BYTES, 2 * 8 * 40 * 20_000)


def test_equal_graphs_are_lifted_alike() -> None:
    """By static costs alone: no clock, no identity."""
    assert relieved(recurrent(20, 50)).fingerprint == relieved(recurrent(20, 50)).fingerprint
