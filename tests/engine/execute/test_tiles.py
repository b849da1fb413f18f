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
from backsweep_engine.plan.regions import TILE, regions
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
