"""lift: loops as text, before and after, and the values of the loop's body run trip by trip by NumPy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph, Node
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import REALS
from backsweep_engine.text import text
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.lift import lifted
from support.draw import draw
from support.graphs import F64, I64, build, cond, scan
from support.run import run


def cell(h: Any, x: Any, w: Any, u: Any) -> Any:
    """What x drives is ahead, the tangent of it and the square are behind."""
    h = np.tanh(np.sin(x @ w) + h * u)
    return h, h * h + x[0]


def outer(h: Any, total: Any, x: Any, w: Any) -> Any:
    """A sum of outer products beside a recurrence."""
    h = np.sin(h @ w + x)
    return h, total + (np.expand_dims(h, 1) @ np.expand_dims(x, 0)).T


def sums(a: Any, b: Any, c: Any, x: Any) -> Any:
    """Added, taken away, and read by another besides."""
    a_next, b_next = a + x * x - np.cos(x), b - np.exp(x)
    return a_next, b_next, c * 0.5 + x, c * x


def doubled(a: Any, x: Any) -> Any:
    """Twice the carry is no sum, nor is a sum that is stacked."""
    return a + (a + x)


def stacked_sum(a: Any, x: Any) -> Any:
    return a + x, a + x


def unchanged(k: Any, h: Any, x: Any) -> Any:
    """k is carried as it is."""
    return k, np.sin(h) * k + x, np.exp(k) * h


def nothing_carried(x: Any, w: Any) -> Any:
    return np.tanh(x @ w), x[0] + w


def wide(h: Any, x: Any) -> Any:
    """A broadcast too large to be stacked is made in each trip."""
    return np.sin(h) * np.broadcast_to(np.exp(x), (600,)) + 1


@dataclass(frozen=True)
class Case:
    """A body with the types of its carries, slices (without the trips) and what stays."""

    body: Callable[..., Any]
    carry: Sequence[Any]
    xs: Sequence[Any]
    stays: Sequence[Any] = ()
    reverse: bool = False

    @property
    def types(self) -> list[Any]:
        return [*self.carry, *[t.with_shape((TRIPS, *t.shape)) for t in self.xs], *self.stays]

    def node(self) -> Node:
        a, b = len(self.carry), len(self.carry) + len(self.xs)
        graph = build(lambda *x: scan(self.body, x[:a], x[a:b], x[b:], length=TRIPS, reverse=self.reverse), **{f"x{k}": t for k, t in enumerate(self.types)})
        (node,) = [node for node in graph.nodes if node.op == "scan"]
        return node

    def by_numpy(self, x: Sequence[Any]) -> list[Any]:
        """Trip by trip."""
        a, b = len(self.carry), len(self.carry) + len(self.xs)
        carry, rows = list(x[:a]), {}
        for i in range(TRIPS)[:: -1 if self.reverse else 1]:
            results = self.body(*carry, *[v[i] for v in x[a:b]], *x[b:])
            results = list(results) if isinstance(results, tuple) else [results]
            carry, rows[i] = results[:a], results[a:]
        return [*carry, *[np.stack([rows[i][k] for i in range(TRIPS)]) for k in range(len(rows[0]))]]


TRIPS = 5
CASES = {
    "a recurrent cell": Case(cell, [F64[3]], [F64[2]], [F64[2, 3], F64[3]]),
    "backwards": Case(cell, [F64[3]], [F64[2]], [F64[2, 3], F64[3]], reverse=True),
    "a sum of outer products": Case(outer, [F64[3], F64[3, 3]], [F64[3]], [F64[3, 3]]),
    "sums": Case(sums, [F64[2], F64[2], F64[2]], [F64[2]]),
    "twice the carry": Case(doubled, [F64[2]], [F64[2]]),
    "a sum that is stacked": Case(stacked_sum, [F64[2]], [F64[2]]),
    "carried as it is": Case(unchanged, [F64[()], F64[2]], [F64[2]]),
    "nothing carried": Case(nothing_carried, [], [F64[2]], [F64[2, 3]]),
    "a large broadcast": Case(wide, [F64[600]], [F64[()]]),
}
FLAGS = [(ahead, behind) for ahead in (True, False) for behind in (True, False)]


def loops(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op == "scan"]


def body_ops(graph: Graph) -> list[str]:
    return [n.op for node in loops(graph) for n in dict(node.attributes)["body"].nodes if n.op != "input"]


@pytest.mark.parametrize("flags", FLAGS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_a_lifted_loop_has_the_values_of_its_body_run_trip_by_trip(name: str, flags: tuple[bool, bool]) -> None:
    case = CASES[name]
    graph = lifted(case.node(), *flags)
    if graph is None:
        return
    x = draw(case.types, (REALS,) * len(case.types), 3)
    for got, wanted in zip(run(graph, *x), case.by_numpy(x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-14)


def test_the_lifted_loops_are_the_golden_ones(golden: Callable[[str, str], str]) -> None:
    parts = []
    for name, case in CASES.items():
        graph = lifted(case.node())
        before = text(build(lambda *x, case=case: _alone(case, x), **{f"x{k}": t for k, t in enumerate(case.types)}))
        parts.append(f"# {name}\n{before}\n# becomes\n{text(graph) if graph else 'itself'}\n")
    now = "\n".join(parts)
    assert now == golden("lift.txt", now)


def _alone(case: Case, x: Any) -> Any:
    a, b = len(case.carry), len(case.carry) + len(case.xs)
    return scan(case.body, x[:a], x[a:b], x[b:], length=TRIPS, reverse=case.reverse)


def test_a_sum_is_no_longer_carried_and_its_products_are_one() -> None:
    graph = lifted(CASES["a sum of outer products"].node())
    assert graph is not None
    (loop,) = loops(graph)
    assert dict(loop.attributes)["carries"] == 1
    assert [node.op for node in graph.nodes].count("matmul") == 1 and "matmul" in body_ops(graph)  # h @ w has to wait


def test_a_loop_that_carries_nothing_is_no_loop() -> None:
    graph = lifted(CASES["nothing carried"].node())
    assert graph is not None and not loops(graph)


def test_what_is_held_by_the_body_stays_in_it() -> None:
    """A cond is not turned into a choice of both branches, nor is what a checkpoint keeps small stacked."""
    case = Case(lambda h, x: np.sin(h) + cond(np.sum(x) > 0, lambda x: np.sin(x), lambda x: x * x, x), [F64[2]], [F64[2]])
    graph = lifted(case.node())
    assert graph is not None and "cond" in body_ops(graph) and "cond" not in [node.op for node in graph.nodes]


def test_a_loop_of_held_work_alone_stays_a_loop() -> None:
    """Nothing is carried; the cond of each trip is run in it, its square behind."""
    step = Case(lambda x: cond(np.sum(x) > 0, lambda x: np.exp(x), lambda x: x * x, x) ** 2, [], [F64[2]])
    graph = lifted(step.node())
    assert graph is not None and len(loops(graph)) == 1
    (x,) = draw(step.types, (REALS,), 5)
    wanted = [np.where(row.sum() > 0, np.exp(row), row * row) ** 2 for row in x]
    np.testing.assert_allclose(run(graph, x)[0], wanted, rtol=1e-14)


def test_a_loop_whose_trips_are_data_is_left_alone() -> None:
    graph = build(lambda x, n: scan(lambda h, x: h + np.sin(x), [x[0] * 0], [x], trips=n)[0], x=F64[4], n=I64[()])
    (node,) = loops(graph)
    assert lifted(node) is None


def test_integers_are_carried_as_they_were() -> None:
    """A counter wraps; it is not summed as a float."""
    graph = build(lambda i, x: scan(lambda i, x: (i + 1, np.sin(x)), [i], [x]), i=I64[()], x=F64[TRIPS])
    (node,) = loops(graph)
    lifted_graph = lifted(node)
    assert lifted_graph is not None
    last, ys = run(lifted_graph, np.array(7), np.arange(5.0))
    assert last == 12 and ys.tolist() == np.sin(np.arange(5.0)).tolist()


def test_zero_times_infinity_stays_out_of_what_is_lifted() -> None:
    """scale(p, t) is 0 where t is 0, batched too."""
    case = Case(lambda t, x: call("scale", 1 / x, t) + 0 * t, [F64[2]], [F64[2]])
    graph = lifted(case.node())
    assert graph is not None
    x = np.zeros((TRIPS, 2))
    assert run(graph, np.zeros(2), x)[0].tolist() == [0.0, 0.0]


def test_the_reverse_sweep_of_a_recurrent_net_waits_for_its_cotangent_only() -> None:
    """Nothing of the forward pass is left in its loop: no tanh, no product of weights with inputs."""
    f = build(lambda x, w, h: scan(lambda h, x, w: np.tanh(h @ w + x), [h], [x], [w])[0].sum(), x=F64[9, 3], w=F64[3, 3], h=F64[3])
    *_, backward = loops(derive.gradient(f, [1]))
    graph = lifted(backward)
    assert graph is not None
    assert "tanh" in [n.op for n in dict(backward.attributes)["body"].nodes] and "tanh" not in body_ops(graph)
    assert [t.shape for t in loops(graph)[0].types] == [(3,), (9, 3)], "the weight's gradient is not carried: its factors are stacked"
