"""Directions in which no single entry hides, and the graph that runs along them."""

import numpy as np
import pytest

from backsweep_engine.check.probe import BITS, Bench, Probe, draw, lines
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import DTYPES
from backsweep_engine.plan.make import Budget
from support.checking import graph_of

F8, F4 = DTYPES["float64"], DTYPES["float32"]


def bench_of(graph, wrt, point, seed=0, block=0):
    return Bench(lines(graph, wrt, seed, 4), point, Local(), never, Budget(), block)


@pytest.mark.parametrize("seed", range(50))
def test_no_single_entry_hides(seed):
    sizes = np.abs(draw(seed, 0, 4, 1000))
    assert sizes.min() >= 1
    assert sizes.max() <= 2


def test_equal_and_opposite_errors_hide_in_no_draw():
    """4,000 draws of two entries: some of the four directions tells them apart (signs alone would fail in 1 of 16)."""
    v = draw(3, 0, 4, 8000).reshape(4, 4000, 2)
    assert np.abs(v[..., 0] - v[..., 1]).max(axis=0).min() > 2.0**-BITS


def test_the_draw_is_the_same_everywhere():
    """Written down once: equal seeds give equal directions on every machine and version."""
    assert draw(0, 0, 1, 4)[0].tolist() == [1.296875, -1.98046875, 1.12109375, -1.466796875]
    assert draw(7, 0, 1, 4).tolist() == draw(7, 0, 2, 4)[:1].tolist()
    assert draw(2**64 - 1, 0, 1, 3).shape == (1, 3)
    assert (draw(7, 0, 1, 64) != draw(7, 1, 1, 64)).mean() > 0.9
    assert (draw(7, 0, 1, 64) != draw(8, 0, 1, 64)).mean() > 0.9


def test_signs_and_sizes_are_even():
    v = draw(1, 0, 1, 100_000)[0]
    assert abs(np.sign(v).mean()) < 0.02
    assert abs(np.abs(v).mean() - 1.5) < 0.01


@pytest.mark.parametrize("dtype", [F8, F4], ids=str)
def test_a_step_along_a_direction_is_exact(dtype):
    """Few bits in v and a power of two before it: x + a v is not rounded unless a binade is crossed."""
    x = np.random.default_rng(0).uniform(1.1, 1.9, 1000).astype(dtype)
    v = draw(0, 0, 1, 1000)[0]
    for power in range(-42 if dtype == F8 else -13, -5):
        moved = x + (v * 2.0**power).astype(dtype)
        assert np.array_equal(moved.astype(np.longdouble) - x, v.astype(np.longdouble) * 2.0**power)


def test_values_along_lines_of_two_inputs():
    r = np.random.default_rng(0)
    point = {"a": r.normal(size=3), "b": r.normal(size=(2, 2)), "c": r.normal(size=2)}
    graph = graph_of(lambda a, b, c: np.sum(a) * np.sum(np.sin(b)) + np.sum(c), point)
    bench = bench_of(graph, ("b", "a"), point)
    offsets = np.array([0.0, 0.5, -0.25])
    got = bench.along([bench.lines.whole(2), Probe(1, (3, 6), (0, 1))], offsets)
    v2, v1 = bench.lines.directions[2], bench.lines.directions[1].copy()
    v1[:3] = v1[6:] = 0
    expected = [[np.sum(point["a"] + s * v[4:]) * np.sum(np.sin(point["b"] + s * v[:4].reshape(2, 2))) + np.sum(point["c"]) for s in offsets] for v in (v2, v1)]
    np.testing.assert_allclose(got, expected, rtol=1e-14)
    assert bench.evaluations == 6


def test_outputs_are_weighted_and_integer_outputs_left_out():
    x = np.array([0.1, -0.2, 0.3])
    graph = graph_of(lambda x: {"y": np.sin(x), "n": (x > 0).astype(DTYPES["int64"]), "z": np.sum(x)}, {"x": x})
    bench = bench_of(graph, ("x",), {"x": x})
    u, v = bench.lines.weights[1], bench.lines.directions[1]
    assert u.size == 4
    got = bench.along([bench.lines.whole(1), Probe(1, (0, 3), (1, 2))], np.array([0.5]))
    y = np.sin(x + 0.5 * v)
    np.testing.assert_allclose(got[:, 0], [u[:3] @ y + u[3] * np.sum(x + 0.5 * v), u[1] * y[1]], rtol=1e-14)


def test_inputs_may_have_the_names_of_the_probes_own():
    point = {"probe.offset": np.ones(2), "probe.directions": np.full(2, 3.0)}
    graph = graph_of(lambda **t: np.sum(t["probe.offset"] * t["probe.directions"]), point)
    bench = bench_of(graph, ("probe.offset",), point)
    assert bench.along([bench.lines.whole(0)], np.array([0.0]))[0, 0] == 6.0


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_probes_are_blocks(block):
    """Pointwise work has the same bits whatever the width."""
    x = np.arange(5.0)
    graph = graph_of(lambda x: np.sum(np.sin(x)), {"x": x})
    probes = [lines(graph, ("x",), 0, 4).whole(k) for k in range(4)]
    offsets = 2.0 ** -np.arange(6.0)
    assert np.array_equal(bench_of(graph, ("x",), {"x": x}, block=block).along(probes, offsets), bench_of(graph, ("x",), {"x": x}).along(probes, offsets))


def test_float32_graphs_are_evaluated_in_float32():
    x = np.arange(5, dtype=F4)
    graph = graph_of(lambda x: np.sum(np.sin(x)), {"x": x})
    bench = bench_of(graph, ("x",), {"x": x})
    v = (bench.lines.directions[0] * 0.25).astype(F4)
    assert bench.along([bench.lines.whole(0)], np.array([0.25]))[0, 0] == np.sum(np.sin(x + v))
