"""Elementwise work between reshapes in one shape, and regions that write over what they read, against NumPy on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.refine import refine
from backsweep_engine.plan.regions import TILE, regions
from support.graphs import F64, build

RANDOM = np.random.default_rng(0)
Case = tuple[Callable[..., Any], list[tuple[int, ...]], int]

JOINED: dict[str, Case] = {
    "a product, its shift, its squares summed": (lambda a, b, m: np.sum((a @ b - m).reshape(600, 5, 64) ** 2, 2), [(600, 7), (7, 320), (320,)], 1),
    "split and joined again": (lambda x, r: np.sum((np.exp(x).reshape(100, 20, 30) * r).reshape(100, 600) + 1, 0), [(100, 600), (20, 1)], 1),
    "joined before its sum over both": (lambda x: np.sum((x * x + x).reshape(40, 900), 1), [(40, 30, 30)], 1),
    "two ways of cutting": (lambda x: np.max(np.exp(x.reshape(60, 1000) + 1).reshape(6000, 10) * 2, 1), [(6, 10000)], 1),
    "axes of length 1": (lambda x: np.sum(np.exp(x.reshape(1, 300, 1, 200) * 2).reshape(300, 200) + x, (0,)), [(300, 200)], 1),
    "a broadcast along a joined axis": (lambda x, c, r: (np.exp(x + c).reshape(50, 30, 40) + r).reshape(50, 1200) * c, [(50, 1200), (50, 1), (30, 40)], 1),
    "outputs in both shapes": (lambda x: (lambda y: (y, y.reshape(600, 100) * 3))(np.exp(x) + 1), [(60, 1000)], 1),
}

APART: dict[str, Case] = {
    "shapes that do not divide": (lambda x: np.sin(x).reshape(400, 150) * 2, [(150, 400)], 0),
    "one shape": (lambda x: np.exp(x) + 1, [(300, 200)], 1),
    "a reshape at the end": (lambda x: (np.exp(x) + 1).reshape(60, 1000), [(300, 200)], 1),
    "too small": (lambda x: np.exp(x).reshape(8, 4, 4) * 2, [(8, 16)], 0),
}


def _graph(f: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Graph:
    return build(f, **{f"x{i}": F64[shape] for i, shape in enumerate(shapes)})


@pytest.mark.parametrize("name", JOINED)
@pytest.mark.parametrize("tier", list(Tier))
def test_work_between_reshapes_is_one_region_with_the_same_values(name: str, tier: Tier) -> None:
    f, shapes, count = JOINED[name]
    graph = _graph(f, shapes)
    finer = refine(graph)
    verify(finer)
    assert finer is not graph and len(regions(finer)) == count
    assert (finer.input_types, finer.output_types, finer.output_names) == (graph.input_types, graph.output_types, graph.output_names)
    inputs = [RANDOM.normal(size=shape) for shape in shapes]
    wanted = f(*inputs)
    for got, y in zip(Program(finer, tier).run(inputs), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(got, y, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("name", APART)
def test_what_gains_nothing_stays_as_it_is(name: str) -> None:
    f, shapes, count = APART[name]
    graph = _graph(f, shapes)
    assert refine(graph) is graph and len(regions(graph)) == count


N, M = 400, 128
assert N * M > TILE

OVER: dict[str, Callable[..., Any]] = {
    "an operand that dies": lambda a, b, r: np.cos((lambda z: np.tanh(z - r) * 0.5)(a @ b) @ b),
    "beside a sum of it": lambda a, b, r: (lambda z: (z @ b, np.sum(z, 0)))((lambda z: z * r + 1)(a @ b)),
    "beside a later reader of it": lambda a, b, r: (lambda z: ((z + r) @ b, np.exp(z * 2) @ b))(a @ b),
    "two for two": lambda a, b, r: (lambda y, z: ((y + z) @ b, (y * z - 1) @ b))(a @ b, (a + 1) @ b),
    "a scaled one": lambda a, b, r: np.sum(np.sqrt(np.abs(a @ b)) @ b * r, 1),
}


@pytest.mark.parametrize("name", OVER)
@pytest.mark.parametrize("tier", list(Tier))
def test_regions_that_write_over_what_they_read_have_the_same_values(name: str, tier: Tier) -> None:
    f, shapes = OVER[name], [(N, M), (M, M), (M,)]
    graph = _graph(f, shapes)
    inputs = [RANDOM.normal(size=shape) for shape in shapes]
    kept = [x.copy() for x in inputs]
    wanted = f(*inputs)
    for got, y in zip(Program(graph, tier).run(inputs), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        np.testing.assert_allclose(got, y, rtol=1e-10, atol=1e-12)
    for x, before in zip(inputs, kept, strict=True):
        np.testing.assert_array_equal(x, before)


def test_an_operand_that_dies_in_a_region_gives_its_place() -> None:
    def arena(f: Callable[..., Any]) -> int:
        found = layout(_graph(f, [(N, M), (M, M), (M,)]))
        return sum(unit.region is None for unit in found.units) and found.arena_bytes

    one = N * M * 8
    assert one <= arena(lambda a, b, r: (np.exp(a @ b) + r) @ b) < 1.5 * one
    assert arena(lambda a, b, r: (lambda z: (np.exp(z) + r) @ b + z @ b)(a @ b)) > 2 * one, "it is read later"
    short = layout(_graph(lambda a, b, r: (np.exp(a @ b) + r) @ b, [(4000, 8), (8, 8), (8,)]))
    assert short.arena_bytes > 2 * 4000 * 8 * 8, "rows too short to be written over"
