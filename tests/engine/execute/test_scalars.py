"""Loops on Python's numbers, against the same loops written out on NumPy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.executor import never
from backsweep_engine.execute.program import Program
from backsweep_engine.execute.scalars import CHUNK, MOST_ADDED
from backsweep_engine.graph import Graph
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.scalars import scalar_loop
from backsweep_engine.transforms import derive
from support.graphs import F32, F64, I64, build, scan, while_loop
from support.run import run

RANDOM = np.random.default_rng(0)
N = CHUNK + 44  # more than one chunk
XS = RANDOM.normal(size=(N, 2))
ODD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1e200, -1e200, 710.0, -1.0, 1.0] * 26)


def walked(f: Callable[..., Any], carry: list[Any], xs: np.ndarray[Any, Any] | None, length: int, reverse: bool = False) -> tuple[list[Any], list[Any]]:
    rows: list[Any] = [None] * length
    with np.errstate(all="ignore"):
        for i in range(length)[:: -1 if reverse else 1]:
            *results, y = f(*carry, *([] if xs is None else [xs[i]]))
            carry, rows[i] = list(results), y
    return carry, rows


def _pendulum(a: Any, v: Any, x: Any) -> Any:
    return a + 0.01 * v, v - 0.01 * np.sin(a) * np.cos(x[0]) + x[1] * 1e-3, np.exp(-v * v) + np.tanh(a)


def _vector(s: Any, x: Any) -> Any:
    A = np.array([[0.9, 0.1], [-0.2, 0.7]])
    t = A @ s + np.concatenate([x[1:], x[:1]]) * 0.1
    return np.where(t > 1.0, 2.0 - t, t), np.stack([np.sum(t), np.max(t), t[::-1][0]])


def _guarded(s: Any, x: Any) -> Any:
    return np.sqrt(np.abs(s)) / x[0] + np.log(x[1]), np.power(x[0], 3) + np.maximum(x[0], x[1]) + np.minimum(s, x[1])


LOOPS: dict[str, tuple[Callable[..., Any], list[Any], np.ndarray[Any, Any]]] = {
    "two numbers carried": (_pendulum, [np.array(0.3), np.array(-0.1)], XS),
    "a vector, a matrix and pieces": (_vector, [np.array([0.5, -0.5])], XS),
    "poles and overflow": (_guarded, [np.array(1.0)], np.stack([ODD, np.roll(ODD, 3)], 1)),
}


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "backwards"])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_on_numbers_is_the_loop_on_arrays(name: str, reverse: bool) -> None:
    f, carry, xs = LOOPS[name]
    types = {f"c{k}": F64[c.shape] for k, c in enumerate(carry)}
    graph = build(lambda *a: scan(f, a[:-1], a[-1:], reverse=reverse), **types, xs=F64[xs.shape])
    (node,) = [n for n in graph.nodes if n.op == "scan"]
    assert scalar_loop(node) is not None, "the test is of loops on numbers"
    *last, rows = run(graph, *carry, xs)
    wanted, stacked = walked(f, carry, xs, len(xs), reverse)
    for a, b in zip(last, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    np.testing.assert_allclose(rows, np.array(stacked), rtol=1e-12, atol=1e-15)


def counted(step: int) -> Graph:
    return build(lambda i, x: scan(lambda i, c: (i + step, c + np.where(i > 5, 1.0, i * 0.5), i), [i, x], length=10), i=I64[()], x=F64[()])


@pytest.mark.parametrize("start", [0, 3, -7, 2**63 - 4, -(2**63) + 3])
@pytest.mark.parametrize("step", [1, -2])
def test_a_counter_wraps_as_int64_does(start: int, step: int) -> None:
    """Near the ends of int64, where Python's integers would not wrap, the loop runs on arrays."""
    graph = counted(step)
    (node,) = [n for n in graph.nodes if n.op == "scan"]
    assert scalar_loop(node) is not None
    with np.errstate(all="ignore"):
        carry, rows = walked(lambda i, c: (i + np.int64(step), c + np.where(i > 5, 1.0, i * 0.5), i), [np.int64(start), np.float64(0.5)], None, 10)
    got = run(graph, start, 0.5)
    assert [got[0].item(), got[1].item()] == [int(carry[0]), float(carry[1])]
    assert got[2].dtype == np.int64 and got[2].tolist() == [int(r) for r in rows]


def test_a_while_loop_on_numbers_ends_where_it_must_and_stacks_what_its_derivative_reads() -> None:
    def steps(x: Any) -> Any:
        return while_loop(lambda c: c < 1000.0, lambda c: c * 1.01 + 0.1, [x], max_trips=2 * CHUNK + 300)[1]

    graph = build(steps, x=F64[()])
    value, slope, trips = 1.0, 1.0, 0
    while value < 1000.0:
        value, slope, trips = value * 1.01 + 0.1, slope * 1.01, trips + 1
    assert CHUNK < trips < 2 * CHUNK + 300
    assert run(graph, 1.0)[0] == value
    np.testing.assert_allclose(run(derive.gradient(graph, [0]), 1.0)[0], slope, rtol=1e-13)


UNFIT: dict[str, Callable[[], Graph]] = {
    "float32": lambda: build(lambda x: scan(lambda c: c * 2, [x], length=3), x=F32[()]),
    "integers that multiply": lambda: build(lambda x: scan(lambda c: c * 2, [x], length=3), x=I64[()]),
    "integers that add what is carried": lambda: build(lambda x: scan(lambda c, d: (c + d, d), [x, x], length=3), x=I64[()]),
    "an op without a form on numbers": lambda: build(lambda x: scan(lambda c: np.hypot(c, c), [x], length=3), x=F64[()]),
    "arrays for which NumPy is quicker": lambda: build(lambda x: scan(lambda c: np.sin(c) * c, [x], length=3), x=F64[100]),
    "arrays beyond all bounds": lambda: build(lambda x: scan(lambda c: c * 2, [x], length=3), x=F64[2**40]),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_not_for_numbers_stays_on_arrays(name: str) -> None:
    (node,) = [n for n in UNFIT[name]().nodes if n.op == "scan"]
    assert scalar_loop(node) is None


def test_what_a_chunk_of_trips_holds_is_promised() -> None:
    graph = build(lambda x, xs: scan(lambda c, x: (c * 0.5 + x, c, c * 2), [x], [xs]), x=F64[()], xs=F64[5000])
    few = build(lambda x, xs: scan(lambda c, x: (c * 0.5 + x, c, c * 2), [x], [xs]), x=F64[()], xs=F64[10])
    # As they stand: lifted, of the long one less is stacked in Python's numbers.
    assert layout(graph, True).temporary_bytes == layout(few, True).temporary_bytes >= CHUNK * 3 * 32


def test_carries_that_read_each_other_change_together() -> None:
    """One that no other reads may change at once: Fibonacci's two must not, their sum and a count of halves may."""

    def step(a: Any, b: Any, total: Any, half: Any) -> Any:
        return b, a + b, total + a, half * 0.5

    graph = build(lambda x: scan(step, [x, x, x * 0, x], length=30), x=F64[()])
    (node,) = [n for n in graph.nodes if n.op == "scan"]
    assert scalar_loop(node) is not None
    a = b = half = 1.0
    total = 0.0
    for _ in range(30):
        a, b, total, half = b, a + b, total + a, half * 0.5
    assert [y.item() for y in Program(graph, loops_whole=True).run([np.array(1.0)])] == [a, b, total, half]


@pytest.mark.parametrize(("x", "known"), [([1.0, 2.0, 3.0], {0, 1}), ([1.0, np.nan, 3.0], set()), ([1.0, 2.0, -np.inf], set()), ([1e308, 1e308, 1e308], set())])
def test_a_small_graph_on_numbers_says_what_it_knows_to_be_finite(x: list[float], known: set[int]) -> None:
    """Of all that it puts out at once; a sum that overflows says nothing."""
    program = Program(build(lambda x: (x * 0.5 + x * 0.5, x[1] + 0.0 * x[2]), x=F64[3]))
    assert program._straight is not None
    outputs, finite = program.ready()([np.array(x)], never)
    assert finite == known
    np.testing.assert_array_equal(outputs[0], x)
    many = Program(build(lambda x: x * 0.5 + x * 0.5, x=F64[MOST_ADDED + 1]))
    assert many.ready()([np.ones(MOST_ADDED + 1)], never)[1] == frozenset()
