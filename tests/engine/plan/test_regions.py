"""Which nodes run fused, in which order everything runs then, and where a plan says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.describe import describe
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.regions import TILE, regions, units
from backsweep_engine.plan.tiling import tiling
from backsweep_engine.query import Gradient, Value
from backsweep_engine.transforms import derive
from support.graphs import F64, SCALAR, build

N = 3 * TILE + 5
X = {"x": F64[N]}

FUSED: dict[str, tuple[Callable[..., Any], dict[str, Any], list[set[str]]]] = {
    "a chain and its sum": (lambda x: np.sum(np.sin(x) * 2 + 1), X, [{"sin", "multiply", "add", "sum"}]),
    "a chain on what fits into a tile": (lambda x: np.sum(np.sin(x) * 2 + 1), {"x": F64[TILE]}, []),
    "one op": (lambda x: np.sin(x), X, []),
    "an op and its sum": (lambda x: np.sum(np.sin(x)), X, [{"sin", "sum"}]),
    "a sum of an input": (lambda x: np.sum(x), X, []),
    "what a matrix product stands between": (
        lambda x, A: np.exp(np.tanh(x * 2) @ A) + 1,
        {"x": F64[300, 100], "A": F64[100, 100]},
        [{"multiply", "tanh"}, {"exp", "add"}],
    ),
    "what a sum stands between": (lambda x: np.exp(x * 2 - np.sum(np.sin(x * 3))) * x, X, [{"multiply", "sin", "sum"}, {"multiply", "subtract", "exp"}]),
    "chains that share an operand": (lambda x: (np.sin(x) + 1, np.exp(x) * 2), X, [{"sin", "add", "exp", "multiply"}]),
    "chains that share nothing": (lambda x, y: (np.sin(x) + 1, np.exp(y) * 2), X | {"y": F64[N]}, [{"sin", "add"}, {"exp", "multiply"}]),
}


def ops(graph: Graph) -> list[set[str]]:
    return [{graph.nodes[i].op for i in region.nodes} for region in regions(graph)]


@pytest.mark.parametrize("name", FUSED)
def test_what_is_fused(name: str) -> None:
    f, types, wanted = FUSED[name]
    assert sorted(map(sorted, ops(build(f, **types)))) == sorted(map(sorted, wanted))


def large(name: str) -> Graph:
    """A named graph whose inputs are too large for a tile; matrices stay what they are."""
    f, types = SCALAR[name]
    return build(f, **{k: t.with_shape((N,)) if t.rank == 1 else t for k, t in types.items()})


GRAPHS: dict[str, Callable[[], Graph]] = {
    **{name: (lambda name=name: derive.gradient(large(name), [0])) for name in ("rosenbrock", "chain", "gathered")},
    "softmax": lambda: derive.gradient(build(lambda x: np.sum(call("log_softmax", x, axes=(1,))[:, 0] ** 2), x=F64[400, 100]), [0]),
    "a mixture": lambda: derive.gradient(
        build(lambda m, x: np.sum(np.log(np.sum(np.exp(-np.sum((x[:, None] - m) ** 2, -1)), 1))), m=F64[20, 5], x=F64[500, 5]), [0]
    ),
}


@pytest.mark.parametrize("name", GRAPHS)
def test_everything_runs_after_what_it_reads_and_regions_are_graphs_of_their_own(name: str) -> None:
    graph = GRAPHS[name]()
    found = regions(graph)
    assert found
    order = units(graph, [region.nodes for region in found])
    assert sorted(i for nodes in order for i in nodes) == list(range(graph.arity, len(graph.nodes)))
    at = {i: u for u, nodes in enumerate(order) for i in nodes}
    for i in range(graph.arity, len(graph.nodes)):
        assert all(at[ref.node] <= at[i] for ref in graph.nodes[i].operands if ref.node >= graph.arity)
    for region in found:
        verify(region.graph)
        assert [graph.type_of(ref) for ref in region.inputs] == list(region.graph.input_types)
        assert [graph.type_of(ref) for ref in region.outputs] == list(region.graph.output_types)
        own = region.graph.nodes[region.graph.arity :]
        reductions = [i for i, node in enumerate(own) if node.op in ("sum", "max", "min")]
        assert not any(ref.node - region.graph.arity in reductions for node in own for ref in node.operands), "a reduction is an end"


def test_what_one_op_makes_of_small_values_is_made_again_rather_than_kept() -> None:
    """x - m is read before and after the maximum; it is 100 times its operands together."""

    def f(x: Any, m: Any) -> Any:
        d = x[:, None] - m
        return np.sum(np.exp(d * d - np.max(d * d)) * d)

    graph = build(f, x=F64[400], m=F64[300])
    assert layout(graph).arena_bytes < 400 * 300 * 8
    kept = build(lambda x, m: (lambda d: np.sum(np.exp(d * d - np.max(d * d)) * d))(np.sin(x[:, None] - m)), x=F64[400], m=F64[300])
    assert layout(kept).arena_bytes > 400 * 300 * 8, "a sine is not cheap"


def test_what_only_the_backward_sweep_reads_is_computed_in_it() -> None:
    """The slope (1 - y) (1 + y) of y = tanh x is not kept beside y, which the product's own derivative keeps."""

    def f(x: Any, A: Any) -> Any:
        return np.sum(np.tanh(np.tanh(x) @ A))

    graph = derive.gradient(build(f, x=F64[3000, 100], A=F64[100, 100]), [0, 1])
    inner = next(i for i, node in enumerate(graph.nodes) if node.op == "tanh")
    slopes = [i for i, node in enumerate(graph.nodes) if node.op in ("add", "subtract") and any(ref.node == inner for ref in node.operands)]
    order = units(graph, [region.nodes for region in regions(graph)])
    at = {i: u for u, nodes in enumerate(order) for i in nodes}
    assert len(slopes) == 2 and all(at[i] > at[inner] + 1 for i in slopes), order


def test_a_tiling_joins_axes_that_are_alike_and_cuts_the_first_whose_rest_fits() -> None:
    def one(f: Callable[..., Any], **types: Any) -> tuple[tuple[int, ...], int, int]:
        (region,) = regions(build(f, **types))
        found = tiling(region.graph, [True] * len(region.inputs))
        return found.shape, found.axis, found.rows

    assert one(lambda x: np.exp(x) + 1, x=F64[200, 1, 300]) == ((60_000,), 0, TILE)
    assert one(lambda x, r: np.exp(x) + r, x=F64[10, 20, 300], r=F64[300]) == ((200, 300), 0, TILE // 300)
    assert one(lambda x: np.sum(np.exp(x), axis=0), x=F64[10, 20, 300]) == ((10, 6000), 0, 2)
    assert one(lambda x: np.sum(np.exp(x), axis=1), x=F64[2, 40_000]) == ((2, 40_000), 1, TILE)


def test_many_arrays_in_work_at_once_make_the_tiles_smaller() -> None:
    def f(x: Any) -> Any:
        kept = [x]
        for _ in range(30):
            kept.append(np.sin(kept[-1]))
        return sum(a * b for a, b in zip(kept, kept[::-1], strict=True))

    (region,) = regions(build(f, x=F64[200_000]))
    assert tiling(region.graph, [True]).rows < TILE


def test_a_plan_says_what_runs_in_tiles() -> None:
    graph = build(lambda x: np.sum(np.sin(x) * x), **X)
    plan = make_plan(graph, [Ask(Gradient(("x",)), {})], Budget())
    assert "1 region of 4 ops in tiles of 16384" in describe(plan), describe(plan)


def test_a_cosine_is_a_factor_only_where_the_submitted_graph_takes_none() -> None:
    def factors(f: Callable[..., Any]) -> frozenset[str]:
        return make_plan(build(f, **X), [Ask(Gradient(("x",)), {}), Ask(Value(), {})], Budget()).once.factors

    assert factors(lambda x: np.sum(np.sin(x))) == {"cos"}
    assert factors(lambda x: np.sum(np.sin(x) / np.cos(x))) == set()
    assert make_plan(build(lambda x: np.sin(x), **X), [Ask(Value(), {})], Budget()).key != make_plan(build(lambda x: np.cos(x), **X), [], Budget()).key
