"""while_loop through every pass. The reference is the loop of as many trips, unrolled."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled, GraphError
from backsweep_engine.execute.program import program_of
from backsweep_engine.graph import Builder, Graph
from backsweep_engine.ops.build import call_several
from backsweep_engine.ops.term import Term
from backsweep_engine.plan.cost import graph_cost
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from support.graphs import F64, I64, build, cond, scan, while_loop
from support.run import one, run

MAX = 12


def growing(x: Any, w: Any) -> Any:
    """w times as large every trip, until past 20: the number of trips depends on both."""
    trips, last, stacked = while_loop(lambda c, s: c < 20.0, lambda c, s: (c * s + np.sin(c), c * c), [x], [w], max_trips=MAX)
    return last * np.sum(stacked) + trips * x


def unrolled(trips: int) -> Callable[..., Any]:
    def f(x: Any, w: Any) -> Any:
        first, total = x, 0.0
        for _ in range(trips):
            x, total = x * w + np.sin(x), total + x * x
        return x * total + trips * first

    return f


def trips_of(x: float, w: float) -> int:
    n = 0
    while x < 20:
        x, n = x * w + np.sin(x), n + 1
    return n


ROWS = [(2.0, 1.5), (3.0, 2.0), (25.0, 2.0), (1.0, 1.3)]
DERIVED: dict[str, tuple[Callable[[Graph], Graph], int]] = {
    "value": (lambda g: g, 0),
    "jvp": (lambda g: derive.jvp(g, [0, 1]), 2),
    "gradient": (lambda g: derive.gradient(g, [0, 1]), 0),
    "hvp": (lambda g: derive.hvp(g, [0, 1]), 2),
    "third": (lambda g: derive.jvp(derive.hvp(g, [1]), [1]), 2),
}
SEEDS = [np.array(0.7), np.array(-1.3)]


@pytest.mark.parametrize("row", ROWS, ids=str)
@pytest.mark.parametrize("name", DERIVED)
def test_value_and_derivatives_are_those_of_the_trips_made(name: str, row: tuple[float, float]) -> None:
    derived, seeds = DERIVED[name]
    got = run(derived(build(growing, x=F64[()], w=F64[()])), *row, *SEEDS[:seeds])
    wanted = run(derived(build(unrolled(trips_of(*row)), x=F64[()], w=F64[()])), *row, *SEEDS[:seeds])
    np.testing.assert_allclose(got, wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("mask", [(True, False), (False, True), (True, True)], ids=str)
@pytest.mark.parametrize("name", DERIVED)
def test_each_row_of_a_batch_ends_by_itself(name: str, mask: tuple[bool, ...]) -> None:
    derived, seeds = DERIVED[name]
    graph = derived(build(growing, x=F64[()], w=F64[()]))
    given = [np.array([r[k] for r in ROWS]) if m else np.array(ROWS[0][k]) for k, m in enumerate(mask)]
    flags = [*mask, *[False] * seeds]
    rows = [run(graph, *[a[k] if m else a for a, m in zip(given, mask, strict=True)], *SEEDS[:seeds]) for k in range(len(ROWS))]
    for got, *parts in zip(run(batch(graph, flags, len(ROWS)), *given, *SEEDS[:seeds]), *rows, strict=True):
        np.testing.assert_allclose(got, np.stack(parts), rtol=1e-12, atol=1e-12)


def test_a_batch_whose_condition_is_shared_stays_one_loop_of_shared_trips() -> None:
    def f(n: Any, x: Any) -> Any:
        trips, k, last = while_loop(lambda k, c, m: k < m, lambda k, c, m: (k + 1, c * 2), [n * 0, x], [n], max_trips=9)
        return trips + k, last

    graph = build(f, n=I64[()], x=F64[()])
    wide = batch(graph, [False, True], 3)
    (node,) = [node for node in wide.nodes if node.op == "while_loop"]
    assert node.types[0].shape == () and node.types[1].shape == () and node.types[2].shape == (3,)
    counts, last = run(wide, 4, np.array([1.0, 2, 3]))
    assert counts.tolist() == [8, 8, 8] and last.tolist() == [16, 32, 48]


def test_newton_s_root_has_the_derivatives_of_the_root() -> None:
    """Its last trips change nothing, but their derivatives settle too: quadratically, as the value does."""

    def root(a: Any) -> Any:
        return while_loop(lambda c, s: abs(c * c - s) > 1e-13 * s, lambda c, s: 0.5 * (c + s / c), [a], [a], max_trips=60)[1]

    graph = build(root, a=F64[()])
    assert one(derive.gradient(graph, [0]), 7.0) == pytest.approx(0.5 * 7**-0.5, rel=1e-12)
    assert one(derive.hvp(graph, [0]), 7.0, 1.0) == pytest.approx(-0.25 * 7**-1.5, rel=1e-9)


def test_more_trips_than_the_bound_are_an_error_that_names_the_loop() -> None:
    graph = build(lambda x: np.sin(while_loop(lambda c: c < 100.0, lambda c: c + 1, [x], max_trips=5)[1]), x=F64[()])
    (at,) = [i for i, node in enumerate(graph.nodes) if node.op == "while_loop"]
    assert one(graph, 95.0) == np.sin(100.0)  # the bound itself is no error
    for derived, seeds in ((graph, ()), (derive.gradient(graph, [0]), ()), (derive.hvp(graph, [0]), (1.0,))):
        with pytest.raises(GraphError) as caught:
            run(derived, 94.0, *seeds)
        assert (caught.value.reason, caught.value.node, caught.value.op) == ("LOOP_CAP", at, "while_loop")
    with pytest.raises(GraphError, match="did not end"):
        run(batch(graph, [True], 2), np.array([99.0, 94.0]))


def test_inside_other_loops_the_outermost_is_named() -> None:
    def f(x: Any) -> Any:
        return scan(lambda c: cond(c > 0, lambda v: while_loop(lambda a: a > 0, lambda a: a + 1, [v], max_trips=3)[1], lambda v: v, c), [x], length=2)[0]

    with pytest.raises(GraphError) as caught:
        run(build(f, x=F64[()]), 1.0)
    assert (caught.value.node, caught.value.op) == (1, "scan")


def test_an_endless_loop_can_be_stopped() -> None:
    graph = build(lambda x: while_loop(lambda c: c > 0, lambda c: c * 1.0, [x], max_trips=10**15)[1], x=F64[()])
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 50

    with pytest.raises(Cancelled):
        program_of(graph).run([np.array(1.0)], stop)


def test_the_promise_counts_the_bound() -> None:
    graph = build(lambda x: while_loop(lambda c: np.sum(c) < 9, lambda c: np.sin(c), [x], max_trips=1000)[1], x=F64[100])
    assert layout(graph).peak_bytes < 10_000
    assert layout(derive.vjp(graph, [0])).peak_bytes >= 1000 * 800
    assert graph_cost(graph).flops >= 1000 * 100


def _make(condition: Graph, body: Graph, **attributes: Any) -> None:
    builder = Builder()
    x = Term(builder, builder.input("x", F64[3]))
    call_several(builder, "while_loop", x, condition=condition, body=body, **{"carries": 1, "max_trips": 3, "kept": (), **attributes})


BODY, HOLDS = build(lambda x: x * 2, x=F64[3]), build(lambda x: np.sum(x) > 0, x=F64[3])
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a condition of numbers": (lambda: _make(BODY, BODY), "one truth value"),
    "another type carried on": (lambda: _make(HOLDS, build(lambda x: x[:2], x=F64[3])), "carries on other types"),
    "a condition on something else": (lambda: _make(build(lambda x: x > 0, x=F64[()]), BODY), "inputs of the condition"),
    "a negative bound": (lambda: _make(HOLDS, BODY, max_trips=-1), "max_trips is out of range"),
    "more carries than operands": (lambda: _make(HOLDS, BODY, carries=2), "carries is out of range"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_while_loop_that_cannot_be_is_refused(name: str) -> None:
    attempt, said = REFUSED[name]
    with pytest.raises(GraphError, match=said):
        attempt()
