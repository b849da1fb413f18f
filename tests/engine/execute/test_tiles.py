"""Regions run tile by tile, against NumPy on whole arrays."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled, Fault
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.build import call, cast
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.regions import TILE, regions
from backsweep_engine.plan.tiling import tiling
from support.graphs import F32, F64, I64, build
from support.run import run

RANDOM = np.random.default_rng(0)
N = 2 * TILE + 77

ELEMENTWISE: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "a line": (lambda x, y: np.exp(-x * x) + np.tanh(y), [(N,), (N,)]),
    "rows and columns": (lambda x, r, c: (x - r) * np.exp(c) / 3.0, [(300, 200), (200,), (300, 1)]),
    "rows longer than a tile": (lambda x, r, c: np.maximum(x - r, c) * 2, [(3, N), (N,), (3, 1)]),
    "four axes, two of them broadcast": (lambda x, y: np.sqrt(abs(x + y)) + 1, [(7, 1, 30, 40), (1, 9, 30, 1)]),
    "a transpose": (lambda x: np.exp(x.T) + x.T, [(150, 400)]),
    "every second, backwards": (lambda x: np.exp(x[::-2]) * 2, [(2 * N,)]),
    "what lies across": (lambda x, y: (x + y) * (x - y), [(200, 300), (300, 200)][:1] * 2),
    "scalars": (lambda x, s: np.where(x > s, x, s * s), [(N,), ()]),
    "several outputs, one of them read inside": (lambda x: (lambda y: (y, y * y + 1, np.sqrt(y)))(np.exp(x)), [(N,)]),
    "untaken branches": (lambda x: np.where(x > 0, np.log(x), 0.0) + np.where(x < 0, np.sqrt(-x), 1.0), [(N,)]),
    "constants in a row": (lambda x: x * np.arange(40.0) + np.ones(40), [(900, 40)]),
}

REDUCED: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "to a number": (lambda x: (np.sum(np.exp(x)), np.max(x * 2), np.min(x + 1)), [(N,)]),
    "over the first axis": (lambda x: (np.sum(x * x, 0), np.max(x + 1, 0)), [(500, 90)]),
    "over the last axis": (lambda x: (np.sum(x * x, 1), np.min(x + 1, 1)), [(500, 90)]),
    "over the axis that is cut, in the middle": (lambda x: np.sum(np.exp(x), 1), [(4, 90, 300)]),
    "over all but the middle": (lambda x: (np.sum(np.exp(x), (0, 2)), np.max(x * 2, (0, 2))), [(40, 9, 300)]),
    "over short rows, and over columns": (lambda x: (np.sum(x * x, 2), np.sum(x * x, (0,)), np.sum(x * x, (1, 2))), [(700, 20, 5)]),
    "over rows longer than a tile": (lambda x: (np.sum(x * 2, 1), np.sum(x * 2, 0), np.sum(x * 2)), [(3, N)]),
    "of what is put out too": (lambda x: (lambda y: (y, np.sum(y)))(np.sin(x) * 2), [(N,)]),
}


def _drawn(shapes: list[tuple[int, ...]]) -> list[Any]:
    return [RANDOM.normal(size=shape) for shape in shapes]


def _graph(f: Callable[..., Any], shapes: list[tuple[int, ...]], of: Any = F64) -> Graph:
    return build(f, **{f"x{i}": of[shape] for i, shape in enumerate(shapes)})


def _wanted(f: Callable[..., Any], inputs: list[Any]) -> tuple[Any, ...]:
    with np.errstate(all="ignore"):
        value = f(*inputs)
    return value if isinstance(value, tuple) else (value,)


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_results_have_numpys_bits(name: str) -> None:
    f, shapes = ELEMENTWISE[name]
    graph, inputs = _graph(f, shapes), _drawn(shapes)
    assert regions(graph)
    for got, wanted in zip(run(graph, *inputs), _wanted(f, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=4e-16, atol=0)  # NumPy's own loops differ by a unit with alignment


SINES: dict[str, tuple[Callable[..., Any], int]] = {
    "both products, of half an angle": (lambda x: (lambda y: np.sin(y) * np.sin(y) + np.exp(np.sin(y) * np.cos(y)))(0.5 * x), 3),
    "squares alone": (lambda x: np.sin(x) ** 2 + np.exp(x), 1),
    "a product alone": (lambda x: np.sin(x) * np.cos(x) + 1, 2),
    "products as outputs": (lambda x: (np.sin(x) * np.sin(x), np.sin(x) * np.cos(x)), 2),
    "a sine that is read besides": (lambda x: np.sin(x) * np.sin(x) + np.exp(np.sin(x)), 0),
    "a sine that is put out": (lambda x: (np.sin(x), np.sin(x) * np.sin(x)), 0),
    "an angle that is read besides": (lambda x: (lambda y: np.sin(y) * np.sin(y) + y)(0.5 * x), 1),
    "a sine of a sine": (lambda x: (lambda y: np.sin(y) * np.sin(y))(0.5 * np.sin(x)) + x, 2),
}


@pytest.mark.parametrize("name", SINES)
def test_sines_that_are_only_multiplied_are_not_computed(name: str) -> None:
    f, absent = SINES[name]
    graph, inputs = _graph(f, [(N,)]), _drawn([(N,)])
    (region,) = regions(graph)
    assert len(tiling(region.graph, [True]).absent) == absent
    for got, wanted in zip(run(graph, *inputs), _wanted(f, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-15, atol=0)


def _pad(v: Any, low: int, high: int) -> Any:
    return np.pad(v, (low, high))


PADDED: dict[str, tuple[Callable[..., Any], int]] = {
    "the gradient of two slices": (lambda x: (lambda t: _pad(-400 * t * x[:-1], 0, 1) + _pad(200 * t, 1, 0))(x[1:] - x[:-1] ** 2), 1),
    "three slices": (lambda x: (lambda t: _pad(t * x[:-2], 0, 2) + _pad(t * 2, 1, 1) + _pad(np.exp(t), 2, 0))(x[2:] * x[1:-1]), 1),
    "zeros at both ends": (lambda x: (lambda t: _pad(t * x, 3, 4) + _pad(t, 5, 2))(np.exp(x)), 1),
    "one value in two places": (lambda x: (lambda t: _pad(t, 0, 1) + _pad(t, 1, 0))(np.exp(x) * x), 1),
    "parts that others read": (lambda x: (lambda t, u: (_pad(t, 0, 1) + _pad(u, 1, 0), np.sum(u), t))(np.exp(x), np.exp(x) * x), 1),
    "a part that is read after the sum": (lambda x: (lambda t: (_pad(t * 2, 0, 1) + _pad(t, 1, 0), np.sqrt(t)))(np.exp(x) + x * x), 1),
    "a sum that is worked on": (lambda x: (lambda t: np.exp(_pad(t * 2, 0, 1) + _pad(t, 1, 0)) * 2)(np.sin(x) * x), 2),
    "two sums": (lambda x: (lambda t: (_pad(t * 2, 0, 1) + _pad(t, 1, 0), _pad(t, 0, 7) + _pad(t * 3, 7, 0)))(np.sin(x) * x), 1),
    "a sum that is read twice": (lambda x: (lambda s: (s + _pad(np.exp(x), 0, 1), s))(_pad(np.exp(x) * 2, 0, 1) + _pad(np.exp(x), 1, 0)), 1),
    "parts of two lengths": (lambda x: _pad(np.exp(x) * 2, 0, 1) + _pad(np.exp(x[1:]) * 3, 2, 0), 2),
    "sines in the parts": (lambda x: (lambda t: _pad(np.sin(t), 0, 1) + _pad(np.cos(t), 1, 0))(x * x), 1),
}


@pytest.mark.parametrize("name", PADDED)
@pytest.mark.parametrize("n", [N, 2 * TILE])
@pytest.mark.parametrize("tier", list(Tier))
def test_sums_of_paddings_are_added_up_in_tiles(name: str, n: int, tier: Tier) -> None:
    f, count = PADDED[name]
    graph, (x,) = _graph(f, [(n,)]), _drawn([(n,)])
    assert len(regions(graph)) == count
    wanted = _wanted(f, [x])
    for got, y in zip(Program(graph, tier).run([x]), wanted, strict=True):
        np.testing.assert_allclose(got, y, rtol=3e-15, atol=3e-15 * np.abs(y).max())


def test_a_sum_of_paddings_takes_no_memory_beside_it() -> None:
    f, _ = PADDED["the gradient of two slices"]
    assert layout(_graph(f, [(10 * N,)])).arena_bytes < 10 * N


@pytest.mark.parametrize("name", REDUCED)
def test_reductions_over_tiles_are_numpys_to_rounding(name: str) -> None:
    f, shapes = REDUCED[name]
    graph, inputs = _graph(f, shapes), _drawn(shapes)
    assert any(node.op in ("sum", "max", "min") for region in regions(graph) for node in region.graph.nodes)
    for got, wanted in zip(run(graph, *inputs), _wanted(f, inputs), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-13, atol=1e-13 * N)


def test_nan_passes_maxima_and_sums_whichever_tile_it_is_in() -> None:
    graph = build(lambda x: (np.max(x * 2), np.min(x * 2), np.sum(x * 2)), x=F64[N])
    for at in (0, TILE - 1, TILE, N - 1):
        x = RANDOM.normal(size=N)
        x[at] = np.nan
        assert all(np.isnan(y) for y in run(graph, x))
    assert run(graph, np.full(N, -np.inf))[0] == -np.inf


def test_other_dtypes_and_their_masks() -> None:
    f32 = build(lambda x: (np.sum(np.exp(x) * 2), cast(np.exp(x) + 1, F64[()].dtype)), x=F32[N])
    x = RANDOM.normal(size=N).astype(np.float32)
    total, wide = run(f32, x)
    assert total.dtype == np.float32 and wide.dtype == np.float64
    np.testing.assert_allclose(total, np.sum(np.exp(x) * 2), rtol=1e-5)
    np.testing.assert_allclose(wide, np.exp(x) + 1, rtol=2e-7)
    whole = build(lambda i: (np.sum(i * 3 + 1), np.max(i * 3), np.sum(np.where(i > 5, i, -i))), i=I64[N])
    i = RANDOM.integers(-100, 100, N)
    assert [y.item() for y in run(whole, i)] == [np.sum(i * 3 + 1), np.max(i * 3), np.sum(np.where(i > 5, i, -i))]


def test_stop_is_asked_before_every_tile() -> None:
    program = Program(build(lambda x: np.exp(x) + 1, x=F64[10 * TILE]))
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) == 5

    with pytest.raises(Cancelled):
        program.run([np.zeros(10 * TILE)], stop)
    assert len(asked) == 5
    assert program.run([np.zeros(10 * TILE)], never)[0][0] == 2


def test_heavy_tiles_are_asked_within() -> None:
    def chain(x: Any) -> Any:
        for _ in range(200):
            x = call("logaddexp", x, x * 0.5)
        return x

    asked: list[int] = []
    Program(build(chain, x=F64[TILE + 1])).run([np.zeros(TILE + 1)], lambda: bool(asked.append(1)))
    assert len(asked) >= 10


def test_a_kernel_that_fails_in_a_tile_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from backsweep_engine.execute import tiles

    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("broken")

    found = tiles.kernel
    monkeypatch.setattr(tiles, "kernel", lambda graph, node: (broken, True) if node.op == "tanh" else found(graph, node))
    graph = build(lambda x: np.tanh(np.exp(x)) + 1, x=F64[N])
    program = Program(graph)
    for _ in range(2):  # interpreted, then generated
        with pytest.raises(Fault, match="ZeroDivisionError: broken") as caught:
            program.run([np.zeros(N)])
        assert caught.value.op == "tanh" and graph.nodes[caught.value.node or 0].op == "tanh"


def test_four_threads_in_the_tiles_of_one_program_have_equal_bits() -> None:
    graph = build(lambda x: (lambda y: (np.sum(y), np.exp(-y) * x))(np.sin(x) * np.tanh(x)), x=F64[5 * TILE])
    program = Program(graph)
    inputs = [RANDOM.normal(size=5 * TILE) for _ in range(4)]
    wanted = [[a.tobytes() for a in program.run([x])] for x in inputs]
    wrong: list[int] = []

    def work(k: int) -> None:
        wrong.extend(k for _ in range(15) if [a.tobytes() for a in program.run([inputs[k]])] != wanted[k])

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
