"""Large arrays a strip of rows at a time, against NumPy on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.strips import STRIP_BYTES, stripped
from backsweep_engine.query import Gradient
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, build

RANDOM = np.random.default_rng(0)
Case = tuple[Callable[..., Any], list[tuple[int, ...]]]

N = 5000
DATA: list[tuple[int, ...]] = [(N, 120), (120,)]


def _standardised(x: Any, w: Any) -> Any:
    y = (x - x.mean(0)) / np.sqrt((x * x).mean(0) + 1)
    return y.T @ np.tanh(y @ w)


CUT: dict[str, Case] = {
    "there and back": (lambda x, w: x.T @ np.tanh(x @ w), DATA),
    "with a rest": (lambda x, w: x.T @ np.tanh(x @ w), [(4999, 120), (120,)]),
    "a value beside": (lambda x, w: (lambda z: (np.sum(z * z), x.T @ z))(np.tanh(x @ w)), DATA),
    "what each row yields": (lambda x, w: (lambda z: (z, x.T @ z))(np.tanh(x @ w)), [(4999, 120), (120,)]),
    "extremes over the rows": (lambda x, w: (lambda z: (z.max(), z.min(), x.T @ z))(np.tanh(x @ w)), [(4999, 120), (120,)]),
    "from the left": (lambda x, w: np.tanh(w @ x.T) @ x, DATA),
    "weights of the rows": (lambda x, w, s: x.T @ (s * np.tanh(x @ w) + 1), [*DATA, (N,)]),
    "many at once": (lambda x, w: x.T @ np.tanh(x @ w), [(N, 120), (120, 3)]),
    "sums along rows between": (lambda x, w: (lambda z: x.T @ (z / z.sum(1, keepdims=True)))(np.exp(x @ w)), [(N, 120), (120, 8)]),
    "a softmax of the rows": (lambda x, w: (lambda z: x.T @ np.exp(z - z.max(1, keepdims=True)))(x @ w), [(N, 120), (120, 8)]),
    "cubes": (lambda x, w: (lambda z: (z * z).sum(2).T @ x[:, :4])((x @ w).reshape(N, 20, 12)), [(N, 5), (5, 240)]),
    "rows beside each other": (lambda x, w, s: np.concatenate([x, s[:, None]], 1).T @ np.tanh(x @ w), [*DATA, (N,)]),
    "twice round": (_standardised, DATA),
}

WHOLE: dict[str, Case] = {
    "what is read once": (lambda x, w: np.tanh(x @ w), DATA),
    "little": (lambda x, w: x.T @ np.tanh(x @ w), [(600, 20), (20,)]),
    "few rows": (lambda x, w: x.T @ np.tanh(x @ w), [(100, 6000), (6000,)]),
    "what needs all rows between": (lambda x, w: x.T @ np.sort(x @ w), DATA),
    "rows that are columns": (lambda x, w: x @ np.tanh(x.T @ w), [(120, N), (120,)]),
    "factors as large as the data": (lambda x, w: x.T @ np.tanh(x @ w), [(1000, 400), (400, 1000)]),
}


def _graph(case: Case) -> Graph:
    f, shapes = case
    return expand(build(f, **{f"x{i}": F64[shape] for i, shape in enumerate(shapes)}))


def _inputs(case: Case) -> list[Any]:
    return [RANDOM.normal(size=shape) / np.sqrt(shape[-1]) for shape in case[1]]


@pytest.mark.parametrize("name", CUT)
@pytest.mark.parametrize("tier", list(Tier))
def test_rows_are_worked_on_strip_by_strip(name: str, tier: Tier) -> None:
    f, _ = CUT[name]
    graph = _graph(CUT[name])
    strips = stripped(graph)
    assert strips is not None
    verify(strips.graph)
    assert (strips.graph.input_types, strips.graph.output_types, strips.graph.output_names) == (graph.input_types, graph.output_types, graph.output_names)
    inputs = _inputs(CUT[name])
    results = f(*inputs)
    for got, wanted in zip(Program(graph, tier).run(inputs), results if isinstance(results, tuple) else (results,), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", CUT)
def test_what_passes_between_is_never_whole_in_memory(name: str) -> None:
    graph = _graph(CUT[name])
    outputs = sum(t.nbytes for t in graph.output_types)
    assert layout(graph).peak_bytes < 2 * STRIP_BYTES + 2 * outputs


@pytest.mark.parametrize("name", WHOLE)
def test_what_would_gain_nothing_stays_whole(name: str) -> None:
    graph = _graph(WHOLE[name])
    assert stripped(graph) is None
    f, inputs = WHOLE[name][0], _inputs(WHOLE[name])
    np.testing.assert_allclose(Program(graph).run(inputs)[0], f(*inputs), rtol=1e-11, atol=1e-11)


def test_strips_leave_no_rest_where_some_length_allows_it() -> None:
    for rows, rest in ((5000, False), (4999, True)):
        strips = stripped(_graph((CUT["there and back"][0], [(rows, 120), (120,)])))
        assert strips is not None
        (loop,) = strips.loops
        length = dict(strips.graph.nodes[loop].attributes)["length"]
        assert (rows % length != 0 or any(node.op == "matmul" for node in strips.graph.nodes)) == rest


def test_a_row_that_is_not_finite_stays_its_own() -> None:
    graph = _graph(CUT["what each row yields"])
    x, w = _inputs(CUT["what each row yields"])
    x[17] = np.nan
    rows, _ = Program(graph).run([x, w])
    assert np.flatnonzero(~np.isfinite(rows)).tolist() == [17]


def test_a_plan_tells_its_strips() -> None:
    graph = _graph((lambda x, w: np.sum(np.logaddexp(0, x @ w)), DATA))
    plan = make_plan(graph, [Ask(Gradient(("x1",)), {})], Budget())
    assert "4 ops row by row in 5 strips of 1000 rows" in describe(plan), describe(plan)
