"""scan through every pass. The reference is the same loop unrolled: a graph without any loop."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled, GraphError
from backsweep_engine.execute.nonfinite import culprit, finite_nodes
from backsweep_engine.execute.program import program_of
from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.build import call_several
from backsweep_engine.ops.op import REALS
from backsweep_engine.ops.term import Term
from backsweep_engine.plan.cost import graph_cost
from backsweep_engine.plan.scalars import CHUNK
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.expand import expand
from backsweep_engine.transforms.linearize import linearize
from backsweep_engine.transforms.simplify import simplify
from support.draw import directions, draw
from support.graphs import BOOL, F64, I64, build, cond, scan
from support.run import one, run


def unrolled(
    f: Callable[..., Any], carry: Any, xs: Any = (), stays: Any = (), *, length: int = 0, reverse: bool = False, trips: Any = None, kept: tuple[int, ...] = ()
) -> tuple[Any, ...]:
    """What scan means, trip by trip. `trips`: a number. `kept` has no meaning for it."""
    n, k = len(carry), xs[0].shape[0] if len(xs) else length
    made = k if trips is None else trips
    rows: dict[int, Any] = {}
    for i in range(made)[:: -1 if reverse else 1]:
        results = f(*carry, *[x[i] for x in xs], *stays)
        results = results if isinstance(results, tuple) else (results,)
        carry, rows[i] = results[:n], results[n:]
    ys = [np.stack([rows[i][j] if i in rows else np.zeros(rows[made - 1][j].shape) for i in range(k)]) for j in range(len(rows[made - 1]))] if made else []
    return (*carry, *ys)


def cell(c: Any, h: Any, x: Any, w: Any) -> Any:
    """Two things carried, a slice, a constant, something stacked."""
    h = np.tanh(w * h + x)
    return c + np.sum(h * h), h, h[::-1] * c


def gather(i: Any, c: Any, w: Any) -> Any:
    """An index is carried; w is read where it points."""
    return i + 1, c * np.sin(w[i]) + w[i], c * i


def halves(a: Any, b: Any, x: Any) -> Any:
    """b never moves with x: only a does."""
    return a * b + x, b * 0.5, b


def branching(c: Any, x: Any) -> Any:
    return cond(np.sum(x) > 0, lambda a, u: np.sin(a) * u, lambda a, u: a - u * u, c, x)


def branching_plainly(c: Any, x: Any) -> Any:
    return np.where(np.sum(x) > 0, np.sin(c) * x, c - x * x)


def deciding(c: Any, x: Any) -> Any:
    """Carried on through an integer: no derivative passes there."""
    return c + (x > 0).astype(np.float64) * x, x * np.floor(c)


def within(loop: Callable[..., Any], x: Any, u: Any, **options: Any) -> Any:
    """Both branches of a cond are loops."""
    first, second = (lambda a, v, k=k: loop(lambda c, y: (np.sin(c) * y + k, c), [a], [v], **options)[:2] for k in (0.0, 1.0))
    return second(x, u) if loop is unrolled else cond(np.sum(x * x) > 1e9, first, second, x, u)


@dataclass(frozen=True)
class Loop:
    """A function of (loop, x, u, w): x is carried, u sliced, w stays; and the options it passes on."""

    f: Callable[..., Any]

    def graph(self, loop: Callable[..., Any], **options: Any) -> Graph:

        def total(x: Any, u: Any, w: Any) -> Any:
            return sum((np.sum(np.sin(y) * (k + 1)) for k, y in enumerate(self.f(loop, x, u, w, **options)) if y.dtype.kind == "f"), 0.0)

        return build(total, x=F64[3], u=F64[4, 3], w=F64[3])


def inner(loop: Callable[..., Any]) -> Callable[..., Any]:
    def body(c: Any, x: Any, w: Any) -> Any:
        a, ys = loop(lambda h, v, s, d: (np.sin(h * v + s[0]), h * d), [c[0] * x[0]], [x * c], [w, c[1]])
        return c * 0.5 + a, ys

    return body


LOOPS: dict[str, Loop] = {
    "two carries, slices and a constant": Loop(lambda loop, x, u, w, **o: loop(cell, [np.sum(x), x], [u], [w], **o)),
    "an index carried": Loop(lambda loop, x, u, w, **o: loop(gather, [u[0, 0].astype(np.int64) * 0, x], stays=[w], length=3, **o)),
    "one carry of two moves": Loop(lambda loop, x, u, w, **o: loop(halves, [x, np.cos(w) * 0 + 1.5], [u], **o)),
    "a cond inside": Loop(lambda loop, x, u, w, **o: loop(branching if loop is scan else branching_plainly, [x], [u], **o)),
    "inside a cond": Loop(lambda loop, x, u, w, **o: within(loop, x, u, **o)),
    "steps": Loop(lambda loop, x, u, w, **o: loop(deciding, [x], [u], **o)),
    "a scan inside": Loop(lambda loop, x, u, w, **o: loop(inner(loop), [x], [u], [w], **o)),
    "linear": Loop(lambda loop, x, u, w, **o: loop(lambda c, v, s: (c[::-1] * s + v, c + v), [x], [u], [w], **o)),
    "nothing carried": Loop(lambda loop, x, u, w, **o: loop(lambda v, s: (np.exp(v) * s, np.sum(v)), [], [u], [w], **o)),
    "one trip": Loop(lambda loop, x, u, w, **o: loop(cell, [np.sum(x), x], [u[:1]], [w], **o)),
    "a loop after a loop": Loop(lambda loop, x, u, w, **o: loop(halves, loop(halves, [x, w], [u], **o)[:2], [u[::-1]], **o)),
    "prod inside": Loop(lambda loop, x, u, w, **o: loop(lambda c, v: (c + np.prod(v) * c,), [x], [u], **o)),
}
"""np.prod is compound: bodies have to be expanded."""

POINT = draw([F64[3], F64[4, 3], F64[3]], (REALS,), 0)
SEEDS = directions([F64[3], F64[4, 3], F64[3]], 0)


@cache
def plainly(name: str, reverse: bool) -> Graph:
    """The loop unrolled, to which `kept` means nothing. What is derived from a graph is kept with it."""
    return LOOPS[name].graph(unrolled, reverse=reverse)


@cache
def looped(name: str) -> Graph:
    return LOOPS[name].graph(scan)


WAYS = [(False, ()), (True, ()), (False, (2,)), (True, (3,))]
"""Whether reversed, and what is kept (more of that in test_tape.py)."""


@pytest.mark.parametrize(("reverse", "kept"), WAYS)
@pytest.mark.parametrize("name", LOOPS)
def test_value_and_all_derivatives_are_those_of_the_loop_unrolled(name: str, reverse: bool, kept: tuple[int, ...]) -> None:
    whole, plain = LOOPS[name].graph(scan, reverse=reverse, kept=kept), plainly(name, reverse)
    for what, derived, seeds in (
        ("value", lambda g: g, ()),
        ("jvp", lambda g: derive.jvp(g, [0, 1, 2]), SEEDS),
        ("jvp by what is carried", lambda g: derive.jvp(g, [0]), SEEDS[:1]),
        ("jvp by what stays", lambda g: derive.jvp(g, [2]), SEEDS[2:]),
        ("gradient", lambda g: derive.gradient(g, [0, 1, 2]), ()),
        ("gradient by the slices", lambda g: derive.gradient(g, [1]), ()),
        ("hvp", lambda g: derive.hvp(g, [0, 1, 2]), SEEDS),
        ("third", lambda g: derive.jvp(derive.hvp(g, [0, 2]), [0]), [SEEDS[0], SEEDS[2], SEEDS[0]]),
        ("simplified", simplify, ()),
        ("expanded", expand, ()),
    ):
        got, wanted = (run(derived(g), *POINT, *seeds) for g in (whole, plain))  # type: ignore[no-untyped-call]
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * max(1, np.abs(b).max(initial=0)), err_msg=what)


MASKS = [(True, False, False), (False, True, False), (False, False, True), (True, True, True)]


@pytest.mark.parametrize("mask", MASKS, ids=str)
@pytest.mark.parametrize("name", LOOPS)
def test_a_batch_is_the_loop_over_its_rows(name: str, mask: tuple[bool, ...]) -> None:
    whole = looped(name)
    for graph in (whole, derive.gradient(whole, [0, 1, 2]), derive.hvp(whole, [0, 1, 2])):
        flags = [*mask, *[True] * (graph.arity - 3)]
        wide = batch(graph, flags, 2)
        given = draw(wide.input_types, (REALS,), 1)
        rows = [run(graph, *[a[k] if m else a for a, m in zip(given, flags, strict=True)]) for k in range(2)]
        for got, *parts in zip(run(wide, *given), *rows, strict=True):
            np.testing.assert_allclose(got, np.stack(parts), rtol=1e-12, atol=1e-12)


def counted(n: int | None = None) -> Graph:
    """n of at most 4 trips; n is an input, or a number for the loop unrolled."""

    def f(k: Any, x: Any, u: Any, w: Any) -> Any:
        results = scan(cell, [np.sum(x), x], [u], [w], trips=k) if n is None else unrolled(cell, [np.sum(x), x], [u], [w], trips=n)
        return sum((np.sum(np.sin(y) * (j + 1)) for j, y in enumerate(results)), 0.0)

    return build(f, k=I64[()], x=F64[3], u=F64[4, 3], w=F64[3])


@pytest.mark.parametrize("n", [0, 1, 3, 4])
def test_a_counted_scan_makes_as_many_trips_as_its_operand_says(n: int) -> None:
    for derived, seeds in (
        (lambda g: g, ()),
        (lambda g: derive.gradient(g, [1, 2, 3]), ()),
        (lambda g: derive.hvp(g, [1, 2, 3]), SEEDS),
    ):
        for a, b in zip(run(derived(counted()), n, *POINT, *seeds), run(derived(counted(n)), n, *POINT, *seeds), strict=True):  # type: ignore[no-untyped-call]
            np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_rows_of_a_batch_may_make_different_numbers_of_trips() -> None:
    trips = np.array([3, 0, 4, 1])
    for graph, seeds in ((counted(), ()), (derive.gradient(counted(), [1, 2, 3]), ()), (derive.hvp(counted(), [1, 2]), SEEDS[:2])):
        flags = [True, *[False] * (graph.arity - 1)]
        rows = [run(graph, n, *POINT, *seeds) for n in trips]
        for got, *parts in zip(run(batch(graph, flags, 4), trips, *POINT, *seeds), *rows, strict=True):
            np.testing.assert_allclose(got, np.stack(parts), rtol=1e-12, atol=1e-12)


def test_more_trips_than_the_bound_are_an_error_that_names_the_loop() -> None:
    graph = counted()
    (at,) = [i for i, node in enumerate(graph.nodes) if node.op == "scan"]
    with pytest.raises(GraphError) as caught:
        run(graph, 5, *POINT)
    assert (caught.value.reason, caught.value.node, caught.value.op) == ("LOOP_CAP", at, "scan")
    with pytest.raises(GraphError) as caught:
        run(derive.hvp(graph, [1]), 5, *POINT, SEEDS[0])
    assert (caught.value.reason, caught.value.node) == ("LOOP_CAP", at)


def test_no_trips_give_back_what_is_carried_in_arrays_of_its_own() -> None:
    graph = build(lambda x: scan(lambda c: (c * 2, c), [x], length=0), x=F64[3])
    x = np.ones(3)
    carry, ys = program_of(graph).run([x])
    assert carry.tolist() == [1, 1, 1] and ys.shape == (0, 3) and not np.shares_memory(carry, x)
    assert one(derive.gradient(build(lambda x: np.sum(scan(lambda c: c * 2, [x], length=0)[0]), x=F64[3]), [0]), x).tolist() == [1, 1, 1]


# What a derivative keeps.


def loops(graph: Graph) -> list[Any]:
    return [node for node in graph.nodes if node.op == "scan"]


def test_a_linear_recurrence_keeps_no_carries() -> None:
    graph = build(lambda x, w: np.sum(scan(lambda c, s: c * s, [x], stays=[w], length=5)[0]), x=F64[3], w=F64[3])
    (back,) = loops(derive.gradient(graph, [0]))
    assert len(back.operands) == 2 and len(back.types) == 1  # the cotangent carried, and w
    assert len(loops(derive.gradient(graph, [1]))) == 2


def test_what_is_stacked_already_is_not_stacked_twice() -> None:
    graph = build(lambda x: np.sum(scan(lambda c: (np.sin(c), c), [x], length=5)[1]), x=F64[3])
    forward, _ = loops(derive.gradient(graph, [0]))
    assert len(forward.types) == 2
    joint = linearize(graph, [0])
    assert len(loops(joint)) == 2


def test_a_value_no_tangent_reaches_is_not_carried_along() -> None:
    graph = LOOPS["one carry of two moves"].graph(scan)
    (_, tangent) = loops(derive.jvp(graph, [0]))
    assert dict(tangent.attributes)["carries"] == 1


# Size and time.


def test_ten_thousand_trips_are_differentiated_without_recursion() -> None:
    """The product of u: by the closed form its derivative by u[i] is product / u[i]."""
    n = 10_000
    graph = build(lambda u: scan(lambda c, v: c * v, [u[0] * 0 + 1], [u])[0], u=F64[n])
    u = np.exp(np.random.default_rng(0).normal(size=n) / 100)
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), u), np.exp(np.log(u).sum()) / u, rtol=1e-9)
    assert derive.hvp(graph, [0]).size < 200


def deep(levels: int) -> Graph:
    def f(c: Any, level: int) -> Any:
        return np.sin(c) if level == 0 else scan(lambda v: f(v, level - 1), [c], length=1)[0]

    return build(lambda x: np.sum(f(x, levels)), x=F64[2])


def test_thirty_levels_of_loops_are_differentiated_in_time_that_grows_with_their_number() -> None:
    started = time.monotonic()
    graph = deep(30)
    x = np.array([0.5, 2])
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), x), np.cos(x), rtol=1e-15)
    np.testing.assert_allclose(one(batch(graph, [True], 2), np.array([x, x])), [np.sin(x).sum()] * 2)
    assert time.monotonic() - started < 20


def test_costs_count_every_trip() -> None:
    graph = build(lambda a: scan(lambda c, b: c @ b, [a], stays=[a], length=7)[0], a=F64[5, 5])
    assert graph_cost(graph).flops == 7 * 2 * 5**3


@pytest.mark.parametrize("start, length", [(np.ones(100), 10), (np.array(1.0), 10 * CHUNK)], ids=["arrays", "numbers"])
def test_a_loop_can_be_stopped_between_trips_on_arrays_and_between_chunks_of_trips_on_numbers(start: Any, length: int) -> None:
    graph = build(lambda x: scan(lambda c: c * 1.0001, [x], length=length)[0], x=F64[start.shape])
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Cancelled):
        program_of(graph).run([start], stop)
    assert asked == 4


def test_the_loop_that_made_a_nan_is_named() -> None:
    graph = build(lambda x: np.exp(scan(lambda c: np.sqrt(c - 1), [x + 1], length=5)[0]), x=F64[()])
    at = culprit(graph, finite_nodes(graph, [np.array(2.0)]), graph.outputs[0])
    assert graph.nodes[at].op == "scan"


# What cannot be.


def make(body: Graph, types: list[Type], **attributes: Any) -> Graph:
    builder = Builder()
    operands = [Term(builder, builder.input(f"x{i}", type)) for i, type in enumerate(types)]
    given = {"carries": 1, "slices": 1, "length": 4, "reverse": False, "counted": False, "kept": (), **attributes}
    return builder.build([("", call_several(builder, "scan", *operands, body=body, **given)[0].ref)])


BODY = build(lambda c, x: c + x, c=F64[3], x=F64[3])
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "slices of another length": (lambda: make(BODY, [F64[3], F64[5, 3]]), "first axis of length 4"),
    "a scalar to slice": (lambda: make(BODY, [F64[3], F64[()]]), "first axis"),
    "inputs that are not the operands": (lambda: make(BODY, [F64[3], F64[4, 2]]), "inputs of the body"),
    "too many carries": (lambda: make(BODY, [F64[3], F64[4, 3]], carries=3), "carries is out of range"),
    "too many slices": (lambda: make(BODY, [F64[3], F64[4, 3]], slices=2), "slices is out of range"),
    "a negative length": (lambda: make(BODY, [F64[3], F64[4, 3]], length=-1), "length is out of range"),
    "another type carried on": (lambda: make(build(lambda c, x: c[:2] + x[:2], c=F64[3], x=F64[3]), [F64[3], F64[4, 3]]), "carries on other types"),
    "no number of trips": (lambda: make(BODY, [F64[3], F64[4, 3]], counted=True), "number of trips"),
    "trips that are no integer": (lambda: make(BODY, [BOOL[()], F64[3], F64[4, 3]], counted=True), "number of trips"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_scan_that_cannot_be_is_refused(name: str) -> None:
    attempt, said = REFUSED[name]
    with pytest.raises(GraphError, match=said):
        attempt()


def test_what_becomes_infinite_in_a_loop_spoils_no_derivative_that_does_not_use_it() -> None:
    """As outside a loop, `where` lets no 0 * inf through: a is infinite from the second trip on."""

    def body(a: Any, b: Any) -> Any:
        return a / 0.0, np.where(np.isfinite(a), b * a, b * 3.0)

    graph = build(lambda x: scan(body, [np.exp(x * 0), x], length=3)[1], x=F64[()])
    assert one(graph, 2.0) == 18
    assert one(derive.gradient(graph, [0]), 2.0) == 9
