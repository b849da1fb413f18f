"""Loops with `kept`: the same derivatives from fewer carries. The reference is the loop unrolled, or a closed form."""

from __future__ import annotations

import math
import sys
import tracemalloc
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.expand import expand
from backsweep_engine.transforms.rewrite import inline
from backsweep_engine.transforms.transpose import transpose
from support.graphs import F64, I64, build, scan, while_loop
from support.run import one, run

SLACK = 300_000
"""Bytes that are no array of the graph's: Python's objects, of which a nest of loops has more."""

RNG = np.random.default_rng(3)


def cell(i: Any, h: Any, v: Any, w: Any) -> Any:
    """An index and a vector carried, a slice, a constant; two things stacked."""
    return i + 1, np.sin(h * w + v), h * v * w, i


def loss(results: Any) -> Any:
    i, h, hs, at = results
    return np.sum(h * h) + np.sum(np.cos(hs) * np.arange(1.0, hs.shape[0] + 1)[:, None]) * 0.1 + np.sum(hs * at[:, None]) + i


def looped(length: int, kept: tuple[int, ...], reverse: bool = False) -> Graph:
    def f(h: Any, v: Any, w: Any) -> Any:
        return loss(scan(cell, [(h[0] * 0).astype(np.int64), h], [v], [w], reverse=reverse, kept=kept))

    return build(f, h=F64[2], v=F64[length, 2], w=F64[2])


@cache
def unrolled(length: int, reverse: bool = False) -> Graph:
    def f(h: Any, v: Any, w: Any) -> Any:
        i: Any = (h[0] * 0).astype(np.int64)
        hs: dict[int, Any] = {}
        at: dict[int, Any] = {}
        for k in range(length)[:: -1 if reverse else 1]:
            i, h, hs[k], at[k] = cell(i, h, v[k], w)
        return loss((i, h, np.stack([hs[k] for k in range(length)]), np.stack([at[k] for k in range(length)])))

    return build(f, h=F64[2], v=F64[length, 2], w=F64[2])


DERIVED: dict[str, tuple[Callable[[Graph], Graph], int]] = {
    "jvp": (lambda g: derive.jvp(g, [0, 1, 2]), 3),
    "gradient": (lambda g: derive.gradient(g, [0, 1, 2]), 0),
    "hvp": (lambda g: derive.hvp(g, [0, 1, 2]), 3),
    "reverse over reverse": (lambda g: derive.vjp(derive.gradient(g, [0, 1, 2]), [0, 1, 2]), 3),
    "third": (lambda g: derive.jvp(derive.hvp(g, [2]), [2]), 2),
}


def seeds_of(name: str, length: int) -> list[Any]:
    h, v, w = np.array([0.3, -1.0]), RNG.normal(size=(length, 2)), np.array([1.5, 0.5])
    return [w, w[::-1]] if name == "third" else [h, v, w][: DERIVED[name][1]]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize(("length", "kept"), [(1, (2,)), (2, (1,)), (5, (2,)), (7, (3,)), (9, (3,)), (8, (100,)), (11, (2, 3)), (9, (2, 2, 2)), (5, (1, 2))])
def test_derivatives_are_those_of_the_loop_unrolled(length: int, kept: tuple[int, ...], reverse: bool) -> None:
    """Segments that fit, a last one that is shorter, levels that cut nothing."""
    point = [RNG.normal(size=2), RNG.normal(size=(length, 2)), RNG.normal(size=2)]
    for name, (derived, _) in DERIVED.items():
        if name == "third" and len(kept) > 2:
            continue  # five seconds
        seeds = seeds_of(name, length)
        got, wanted = (run(derived(g), *point, *seeds) for g in (looped(length, kept, reverse), unrolled(length, reverse)))
        for a, b in zip(got, wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11 * max(1, np.abs(b).max()), err_msg=name)


# Loops whose number of trips is data.

MOST = 11


def powers(kept: tuple[int, ...], kind: str) -> Graph:
    """x w**n sin(n) as a loop of n trips: the sine is of an integer carried along."""

    def body(i: Any, c: Any, w: Any) -> Any:
        return i + 1, c * w

    def f(n: Any, x: Any, w: Any) -> Any:
        if kind == "scan":
            i, c = scan(body, [n * 0, x], stays=[w], length=MOST, trips=n, kept=kept)
        else:
            trips, i, c = while_loop(lambda i, c, w, n: i < n, lambda i, c, w, n: body(i, c, w), [n * 0, x], [w, n], max_trips=MOST, kept=kept)
            i = (i + trips) // 2
        return c * np.sin(i.astype(np.float64))

    return build(f, n=I64[()], x=F64[()], w=F64[()])


KEPT = [(), (3,), (4,), (2, 2), (100,)]
TRIPS = [0, 1, 4, 5, 10, 11]


@pytest.mark.parametrize("kept", KEPT, ids=str)
@pytest.mark.parametrize("kind", ["scan", "while_loop"])
def test_any_number_of_trips_has_the_derivatives_of_the_closed_form(kind: str, kept: tuple[int, ...]) -> None:
    graph = powers(kept, kind)
    x, w, dx, dw = 1.5, -0.7, 0.3, 2.0
    gradient, jvp, hvp = derive.gradient(graph, [1, 2]), derive.jvp(graph, [1, 2]), derive.hvp(graph, [1, 2])
    for n in TRIPS:
        s, slope, curve = math.sin(n), n * w ** max(0, n - 1), n * (n - 1) * w ** max(0, n - 2)
        first = (w**n * s, x * slope * s)
        np.testing.assert_allclose(one(graph, n, x, w), x * w**n * s, rtol=1e-13)
        np.testing.assert_allclose(run(gradient, n, x, w), first, rtol=1e-12)
        np.testing.assert_allclose(one(jvp, n, x, w, dx, dw), first[0] * dx + first[1] * dw, rtol=1e-12)
        np.testing.assert_allclose(run(hvp, n, x, w, dx, dw), (slope * s * dw, slope * s * dx + x * curve * s * dw), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("mask", [(True, False, False), (False, True, True), (True, True, True)], ids=str)
@pytest.mark.parametrize("kind", ["scan", "while_loop"])
def test_rows_of_a_batch_end_by_themselves_whichever_comes_first_batch_or_derivative(kind: str, mask: tuple[bool, ...]) -> None:
    graph = powers((3,), kind)
    rows = [np.array(TRIPS), RNG.normal(size=6), RNG.normal(size=6)]
    given = [a if m else a[4] for a, m in zip(rows, mask, strict=True)]
    flat = powers((), kind)
    singles = [[a[k] if m else a for a, m in zip(given, mask, strict=True)] for k in range(6)]
    for derived, seeds in ((derive.gradient, ()), (derive.jvp, (0.4, -0.8)), (derive.hvp, (0.4, -0.8))):
        wide = batch(derived(graph, [1, 2]), [*mask, *[False] * len(seeds)], 6)
        wanted = [run(derived(flat, [1, 2]), *point, *seeds) for point in singles]
        for got, *parts in zip(run(wide, *given, *seeds), *wanted, strict=True):
            np.testing.assert_allclose(got, parts, rtol=1e-11, atol=1e-13)
    # The sum of the rows' values, derived after batching: its gradient by what all share is the sum of theirs.
    total = build(lambda n, x, w: np.sum(_batched(graph, mask)(n, x, w)), **{k: (t[6] if m else t[()]) for (k, t), m in zip(_TYPES, mask, strict=True)})
    wanted = [run(derive.gradient(flat, [1, 2]), *point) for point in singles]
    for k, got in enumerate(run(derive.gradient(total, [1, 2]), *given)):
        parts = np.array([w[k] for w in wanted])
        np.testing.assert_allclose(got, parts if mask[k + 1] else parts.sum(), rtol=1e-11, atol=1e-13)


_TYPES = (("n", I64), ("x", F64), ("w", F64))


def _batched(graph: Graph, mask: tuple[bool, ...]) -> Callable[..., Any]:
    wide = batch(graph, mask, 6)
    return lambda *x: inline(x[0].builder, wide, x)[0]


@pytest.mark.parametrize("n", [12, 13, 40, 10**12])
@pytest.mark.parametrize("kind", ["scan", "while_loop"])
def test_more_trips_than_the_bound_are_refused_in_every_derivative_with_the_bound_named(kind: str, n: int) -> None:
    """12 trips would fit the segments of a nest of 3 times 4: the bound is 11 all the same."""
    graph = powers((3,), kind)
    (at,) = [i for i, node in enumerate(graph.nodes) if node.op == kind]
    for derived, seeds in ((graph, ()), (derive.gradient(graph, [1, 2]), ()), (derive.hvp(graph, [1, 2]), (1.0, 1.0))):
        with pytest.raises(GraphError) as caught:
            run(derived, n, 1.0, 1.0, *seeds)
        assert (caught.value.reason, caught.value.node) == ("LOOP_CAP", at)
        assert "at most 11" in caught.value.allowed and "max_trips=" in caught.value.hint
        assert caught.value.got.startswith(f"{n} trips") or "after 11 trips" in caught.value.got


# What is kept.

WIDE = 2000
CARRY = 8 * WIDE


def waning(kept: tuple[int, ...], most: int) -> Graph:
    """Until less than 0.1 is left: how often is not known."""

    def f(x: Any, w: Any) -> Any:
        return np.sum(while_loop(lambda c, s: np.sum(c * c) > 0.1, lambda c, s: np.sin(c) * s, [x], [w], max_trips=most, kept=kept)[1] ** 2)

    return build(f, x=F64[WIDE], w=F64[WIDE])


def promised(graph: Graph) -> float:
    """In carries."""
    return layout(expand(graph)).peak_bytes / CARRY


def test_forward_mode_needs_no_tape_and_reverse_mode_the_tape_the_graph_states() -> None:
    """10,000 trips: all carries once, or 100 and 100, or 22, 22 and 22. Each is kept as the loop's value and as the reverse sweep's slices."""
    tapes = {(): 10_000, (100,): 200, (22, 22): 66}
    for kept, tape in tapes.items():
        graph = waning(kept, 10_000)
        assert tape <= promised(derive.gradient(graph, [0, 1])) < 2.5 * tape + 60
        assert promised(derive.hvp(graph, [0, 1])) < 8 * tape + 150
        if kept:
            assert promised(derive.jvp(graph, [0, 1])) < 20
    # The bound may grow as it likes without kept growing: the rest is a segment's.
    assert promised(derive.jvp(waning((100,), 10**9), [0, 1])) < 20


@pytest.mark.parametrize("kept", [(20,), (7, 7)], ids=str)
@pytest.mark.parametrize("name", ["jvp", "gradient", "hvp"])
def test_a_run_stays_within_its_promise_however_many_trips_it_makes(name: str, kept: tuple[int, ...]) -> None:
    most = 400
    derived, seeds = {
        "jvp": (lambda g: derive.jvp(g, [0, 1]), 2),
        "gradient": (lambda g: derive.gradient(g, [0, 1]), 0),
        "hvp": (lambda g: derive.hvp(g, [0, 1]), 2),
    }[name]
    graph, flat = derived(waning(kept, most)), derived(waning((), most))
    for s in (0.2, 0.98):  # few trips, and some hundred
        point = [RNG.normal(size=WIDE), np.full(WIDE, s), RNG.normal(size=WIDE), RNG.normal(size=WIDE)][: 2 + seeds]
        program = Program(graph)
        tracemalloc.start()
        got = program.run(point)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak <= layout(expand(graph)).peak_bytes + SLACK
        for a, b in zip(got, run(flat, *point), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_promise_is_not_far_above_what_a_run_to_the_bound_takes() -> None:
    graph = derive.gradient(waning((20,), 400), [0, 1])
    point = [RNG.normal(size=WIDE), np.full(WIDE, 0.98)]
    program = Program(graph)
    tracemalloc.start()
    program.run(point)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert layout(expand(graph)).peak_bytes < 2.5 * peak


def test_derivatives_grow_by_a_constant_for_each_level_not_by_a_factor() -> None:
    sizes = [[derived(waning(kept, 10**6)).size for kept in ((100,), (100, 100), (100, 100, 100))] for derived in (_gradient, _hvp)]
    for small, middle, large in sizes:
        assert large - middle < 2 * (middle - small)


def nested(levels: int) -> Graph:
    def f(c: Any, level: int) -> Any:
        return np.sin(c) if level == 0 else scan(lambda v: f(v, level - 1), [c], length=4, kept=(2,))[0]

    return build(lambda x: np.sum(f(x, levels)), x=F64[2])


def test_fifteen_levels_of_loops_that_keep_less_are_transposed_once_each() -> None:
    """A rule that transposes a body twice would do so 2**15 times."""
    calls = 0

    def count(frame: Any, event: str, _: Any) -> None:
        nonlocal calls
        calls += event == "call" and frame.f_code is transpose.__code__

    graph = nested(15)
    sys.setprofile(count)
    try:
        gradient = derive.gradient(graph, [0])
    finally:
        sys.setprofile(None)
    # The whole, then for each level its nest, a segment of it, and its body.
    assert calls <= 1 + 3 * 15
    assert gradient.size < 1500
    shallow, x = nested(3), np.array([0.5, 2.0])
    c, slope = x, np.ones(2)
    for _ in range(4**3):
        slope, c = slope * np.cos(c), np.sin(c)
    np.testing.assert_allclose(one(derive.gradient(shallow, [0]), x), slope, rtol=1e-12)


def _gradient(graph: Graph) -> Graph:
    return derive.gradient(graph, [0, 1])


def _hvp(graph: Graph) -> Graph:
    return derive.hvp(graph, [0, 1])


REFUSED = {"none kept": (0,), "less than none": (5, -1), "too many levels": (2, 2, 2, 2)}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_kept_is_refused(name: str) -> None:
    with pytest.raises(GraphError, match="kept") as caught:
        looped(4, REFUSED[name])
    assert caught.value.reason == "ATTRIBUTE"
