"""Regions below a tile, which only compiled code has: against NumPy, as they are entered without a look at their arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.native.parts import Falling
from backsweep_engine.execute.native.region import Kernel
from backsweep_engine.execute.program import SMALL_CHANGE, Program
from backsweep_engine.graph import Ref
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.regions import EVERY, FINE, TILE, TILES, regions
from backsweep_engine.query import Gradient
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, build

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")

RANDOM = np.random.default_rng(0)
N = 1500


def _over(x: Any, y: Any) -> Any:
    """Every sum is read by none but the next step, so each is written over the one before it."""
    x = np.cumsum(x)
    for _ in range(3):
        x = np.cumsum(np.sin(x) * y + np.sqrt(np.abs(x)) * 0.1)
    return x


def _shifted(x: Any) -> Any:
    """Neighbours are read, so what is written may not be what is read."""
    s = np.cumsum(x)
    left = np.exp(-(s[1:] ** 2)) * s[:-1]
    return np.cumsum(np.pad(left, (1, 0)) + np.pad(left * 2, (0, 1)) + s * 3)


CASES: dict[str, tuple[Callable[..., Any], list[tuple[int, ...]]]] = {
    "a chain": (lambda x, y: np.exp(-x * y) / (1 + x * x), [(N,), (N,)]),
    "columns and rows": (lambda x, c, r: np.sum((x - c[:, None]) ** 2 * np.exp(r) + c[:, None], axis=1), [(50, 40), (50,), (40,)]),
    "a turned array": (lambda x, y: np.tanh(x.T * y + y) * np.exp(-y), [(50, 40), (40, 50)]),
    "a part of an array": (lambda x: np.exp(x[:, 3:9] * 2 - 1) + np.sin(x[:, 3:9]), [(400, 12)]),
    "written over what it reads": (_over, [(N,), (N,)]),
    "neighbours": (_shifted, [(N,)]),
    "parts of a whole": (lambda x, y: np.cumsum(np.concatenate([np.exp(x) * y + x * x - 1, np.sin(y) * x * x + y])), [(N,), (N,)]),
    "much of it": (lambda x: [x := np.sin(x) * 1.1 + 0.1 for _ in range(20)][-1], [(N,)]),
}


@pytest.mark.parametrize("name", CASES)
def test_small_regions_are_compiled_and_have_numpys_values(name: str) -> None:
    f, shapes = CASES[name]
    graph = expand(build(f, **{f"x{k}": F64[s] for k, s in enumerate(shapes)}))
    assert not regions(graph) and regions(graph, FINE)
    program = Program(graph, Tier.NATIVE, None)
    parts = [part for part, _ in program._runners]
    assert program._whole is not None or (parts and all(isinstance(part, Falling) for part in parts))
    for _ in range(3):
        x = [RANDOM.normal(size=s) for s in shapes]
        before = [a.copy() for a in x]
        (y,) = program.run(x)
        np.testing.assert_allclose(y, f(*x), rtol=1e-12, atol=1e-12)
        assert all(np.array_equal(a, b) for a, b in zip(x, before, strict=True))


def test_compiled_code_keeps_a_product_rather_than_what_is_cheap_to_make_of_it() -> None:
    f, shapes = lambda a, b, m: (lambda y: np.tanh(y * np.sum(y * y, 1)[:, None]) * y)(a @ b - m), [(300, 20), (20, 80), (80,)]
    graph = expand(build(f, a=F64[shapes[0]], b=F64[shapes[1]], m=F64[shapes[2]]))
    (product,) = [i for i, node in enumerate(graph.nodes) if node.op == "matmul"]
    written = {grain: {graph.nodes[ref.node].op for region in regions(graph, grain) for ref in region.outputs} for grain in (TILES, FINE)}
    read = [region for region in regions(graph, FINE) if Ref(product) in region.inputs]
    assert "subtract" in written[TILES] and "subtract" not in written[FINE] and len(read) == 2
    x = [RANDOM.normal(size=s) for s in shapes]
    np.testing.assert_allclose(Program(graph, Tier.NATIVE).run(x)[0], f(*x), rtol=1e-11, atol=1e-11)


def test_what_another_region_makes_is_not_read_unless_it_gives_it() -> None:
    """A chain of two regions, of which the second would make again what the first keeps to itself."""

    def f(m: Any, s: Any, w: Any, y: Any) -> Any:
        z = (y[:, None] - m) * np.exp(-s)
        below = w - s - z * z / 2
        most = np.max(below, axis=1, keepdims=True)
        return np.sum(np.log(np.sum(np.exp(below - most), axis=1)) + most[:, 0])

    def gradient(m: Any, s: Any, w: Any, y: Any) -> list[Any]:
        z = (y[:, None] - m) * np.exp(-s)
        below = w - s - z * z / 2
        shares = np.exp(below - below.max(1, keepdims=True))
        shares /= shares.sum(1, keepdims=True)
        return [np.sum(shares * z * np.exp(-s), 0), np.sum(shares * (z * z - 1), 0), np.sum(shares, 0)]

    graph = build(f, m=F64[5], s=F64[5], w=F64[5], y=F64[100_000])
    plan = make_plan(graph, [Ask(Gradient(("m", "s", "w")), {})], Budget())
    x = [np.arange(5.0) - 2, np.linspace(-0.5, 0.5, 5), np.linspace(0, 1, 5), RANDOM.normal(size=100_000)]
    for got, wanted in zip(Program(plan.once, Tier.NATIVE).run(x), gradient(*x), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-7)


def test_a_product_that_is_read_elsewhere_is_not_kept_twice() -> None:
    f = lambda a, b, m: (lambda p: (lambda y: np.tanh(y * np.sum(y * y, 1)[:, None]) * y + p[::-1])(p - m))(a @ b)
    graph = expand(build(f, a=F64[300, 20], b=F64[20, 80], m=F64[80]))
    assert any(graph.nodes[ref.node].op == "subtract" for region in regions(graph, FINE) for ref in region.outputs)


def test_only_what_is_known_to_be_apart_is_not_looked_at() -> None:
    known = {}
    for name in ("a chain", "a turned array", "neighbours"):
        f, shapes = CASES[name]
        graph = build(lambda *x, f=f: np.cumsum(f(*x), axis=-1), **{f"x{k}": F64[s] for k, s in enumerate(shapes)})
        (part, _), *_ = Program(graph, Tier.NATIVE, None)._runners
        assert isinstance(part, Falling)
        known[name] = not isinstance(part.within(np.empty(0, np.uint8)), Kernel)
    assert known == {"a chain": True, "a turned array": False, "neighbours": True}


def test_how_small_a_region_may_be() -> None:
    def found(f: Callable[..., Any], size: int, grain: Any) -> list[int]:
        return [len(r.nodes) for r in regions(expand(build(f, x=F64[size])), grain)]

    four, two = lambda x: np.exp(x) * x + np.sin(x), lambda x: np.exp(x) * x
    assert (found(four, FINE.least, FINE), found(four, FINE.least + 1, FINE), found(two, FINE.least + 1, FINE)) == ([], [4], [])
    assert (found(four, TILE, TILES), found(four, TILE + 1, TILES), found(two, TILE + 1, FINE)) == ([], [4], [2])
    assert (found(np.exp, 2, EVERY), found(two, 2, EVERY), found(two, 1, EVERY)) == ([1], [2], [])


def test_code_keeps_to_the_promise_or_to_numpys_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    f, shapes = CASES["written over what it reads"]
    graph = expand(build(f, **{f"x{k}": F64[s] for k, s in enumerate(shapes)}))
    assert Program(graph, Tier.NATIVE, None).layout.peak_bytes <= layout(graph).peak_bytes + SMALL_CHANGE
    monkeypatch.setattr("backsweep_engine.execute.program.SMALL_CHANGE", -(1 << 30))
    refused = Program(graph, Tier.NATIVE, None)
    assert refused.layout == layout(graph, False, TILES)
    x = [RANDOM.normal(size=s) for s in shapes]
    np.testing.assert_allclose(refused.run(x)[0], f(*x), rtol=1e-12)
