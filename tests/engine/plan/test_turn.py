"""Work on many short rows with the long axis last, against NumPy on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.refine import refine
from backsweep_engine.plan.regions import is_large
from backsweep_engine.plan.turn import turn
from support.graphs import F64, build

RANDOM = np.random.default_rng(0)
Case = tuple[Callable[..., Any], list[tuple[int, ...]]]

N, K, D = 2400, 9, 5
"""points, clusters, numbers each"""


def _soft(a: Any) -> Any:
    e = np.exp(a - np.max(a, 1)[:, None])
    return e / np.sum(e, 1)[:, None]


def _squares(x: Any, w: Any, m: Any) -> Any:
    return np.sum((x @ w - m).reshape(N, K, D) ** 2, 2) @ m.reshape(K, D)


def _sums(x: Any, w: Any) -> Any:
    y = np.exp(x @ w).reshape(N, K, D)
    return np.sum(y, 0), np.sum(y, (0, 2)), np.max(y)


def _joined(x: Any, w: Any, c: Any) -> Any:
    y = x @ w
    return np.sum(np.stack([np.exp(y) * c[:, None], y * (c[:, None] + y), (1 - y * y) * (y + c[:, None]), y + np.tanh(y)], axis=2) ** 2, axis=1)


TURNED: dict[str, Case] = {
    "a product, its shift, its squares summed": (_squares, [(N, 7), (7, K * D), (K * D,)]),
    "a softmax of rows between products": (lambda x, w: _soft(x @ w).T @ x, [(N, 4), (4, 20)]),
    "products that follow each other": (lambda x, w: np.sum(np.tanh(np.tanh(x @ w) @ w), 0), [(N, 12), (12, 12)]),
    "sums over the first axis and others": (_sums, [(N, 3), (3, K * D)]),
    "read by a product that keeps the rows apart": (lambda x, w: w @ (lambda y: y * y + 1)(x @ w).T, [(N, 10), (10, 10)]),
    "read by a product from its left": (lambda x, w: x.T @ np.exp(x @ w), [(N, 8), (8, 8)]),
    "numbers and columns beside it": (lambda x, w, c: np.sum((2 * (x @ w) * c[:, None] + c[:, None] - 1), 1), [(N, 8), (8, 8), (N,)]),
    "a broadcast along all rows": (lambda x, w, r, s: ((np.exp(x @ w) + r).reshape(N, 2, 5) * s).reshape(N, 10) @ w.T, [(N, 3), (3, 10), (10,), (2, 1)]),
    "rows of one number": (lambda x, w: (lambda y: np.sum(y / np.sum(y, 1, keepdims=True), 0))(np.exp(x @ w)), [(N, 3), (3, 12)]),
    "joined rows": (_joined, [(N, 3), (3, K), (N,)]),
    "whole numbers": (lambda x, w: np.sum(np.where(x @ w > 0, x @ w, 1).astype(np.int64), 0), [(N, 3), (3, 12)]),
}

AS_THEY_ARE: dict[str, Case] = {
    "long rows": (lambda x, w: np.exp(x @ w) @ w.T, [(400, 5), (5, 60)]),
    "too few rows": (lambda x: np.sum(np.exp(x), 2), [(100, 20, 10)]),
    "too little work": (lambda x, w: np.exp(x @ w) @ w.T, [(200, 5), (5, 10)]),
    "an input that would be copied": (lambda x: np.sum(np.exp(x) * x, 1), [(3000, 10)]),
    "joined along the first axis": (lambda x, y: np.concatenate([np.exp(x), y]), [(3000, 10), (3000, 10)]),
    "an output that would be copied": (lambda x, w: np.exp(x @ w), [(3000, 10), (10, 10)]),
    "stacks of products": (lambda x, y: np.sum(np.exp(x @ y), 2), [(600, 6, 3), (600, 3, 6)]),
}


def _graph(f: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Graph:
    return refine(build(f, **{f"x{i}": F64[shape] for i, shape in enumerate(shapes)}))


@pytest.mark.parametrize("name", TURNED)
@pytest.mark.parametrize("tier", list(Tier))
def test_turned_work_has_long_rows_and_the_same_values(name: str, tier: Tier) -> None:
    f, shapes = TURNED[name]
    graph = _graph(f, shapes)
    other = turn(graph)
    verify(other)
    assert (other.input_types, other.output_types, other.output_names) == (graph.input_types, graph.output_types, graph.output_names)
    rows = {node.types[0].shape[-1] for node in other.nodes if is_large(node)}
    assert rows == {N}
    assert not any(node.op == "concat" and node.types[0].shape[-1] < N for node in other.nodes)
    inputs = [RANDOM.normal(size=shape) / 2 for shape in shapes]
    wanted = f(*inputs)
    for got, y in zip(Program(other, tier).run(inputs), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert got.flags.c_contiguous
        np.testing.assert_allclose(got, y, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_gains_nothing_is_not_turned(name: str) -> None:
    graph = _graph(*AS_THEY_ARE[name])
    assert turn(graph) is graph
