"""Thin products and what is added along their rows or columns, against NumPy on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.shift import shift
from support.graphs import F64, build

RANDOM = np.random.default_rng(0)
Case = tuple[Callable[..., Any], list[tuple[int, ...]]]

PRODUCT: list[tuple[int, ...]] = [(600, 7), (7, 320)]

ONE: dict[str, Case] = {
    "a row added": (lambda x, w, s: np.tanh(x @ w + s), [*PRODUCT, (320,)]),
    "a row from its left": (lambda x, w, s: np.tanh(s + x @ w), [*PRODUCT, (320,)]),
    "a row subtracted": (lambda x, w, s: x @ w - s, [*PRODUCT, (320,)]),
    "a column added": (lambda x, w, s: x @ w + s[:, None], [*PRODUCT, (600,)]),
    "a column subtracted": (lambda x, w, s: np.sum((x @ w - s[:, None]) ** 2, 1), [*PRODUCT, (600,)]),
    "rows of a cut product": (lambda x, w, s: (x @ w).reshape(600, 40, 8) - s, [*PRODUCT, (40, 8)]),
    "columns of a cut product": (lambda x, w, s: (x @ w).reshape(20, 30, 320) - s[:, :, None], [*PRODUCT, (20, 30)]),
}

TWO: dict[str, Case] = {
    "a product less something of every element": (lambda x, w, s: x @ w - s, [*PRODUCT, (600, 320)]),
    "something less a product": (lambda x, w, s: s - x @ w, [*PRODUCT, (320,)]),
    "a product read elsewhere": (lambda x, w, s: (lambda y: (y + s, y * y))(x @ w), [*PRODUCT, (320,)]),
    "part of a cut product's rows": (lambda x, w, s: (x @ w).reshape(600, 40, 8) - s, [*PRODUCT, (8,)]),
    "a product that is not thin": (lambda x, w, s: x @ w + s, [(300, 64), (64, 320), (320,)]),
    "a small product": (lambda x, w, s: x @ w + s, [(60, 7), (7, 32), (32,)]),
    "few columns": (lambda x, w, s: x @ w + s, [(4000, 30), (30, 12), (12,)]),
}


def _graph(f: Callable[..., Any], shapes: list[tuple[int, ...]]) -> Graph:
    return build(f, **{f"x{i}": F64[shape] for i, shape in enumerate(shapes)})


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("tier", list(Tier))
def test_what_is_added_along_a_product_is_a_column_of_it(name: str, tier: Tier) -> None:
    f, shapes = ONE[name]
    graph = _graph(f, shapes)
    other = shift(graph)
    verify(other)
    assert not any(node.op in ("add", "subtract") for node in other.nodes)
    assert (other.input_types, other.output_types, other.output_names) == (graph.input_types, graph.output_types, graph.output_names)
    inputs = [RANDOM.normal(size=shape) for shape in shapes]
    (got,) = Program(other, tier).run(inputs)
    np.testing.assert_allclose(got, f(*inputs), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("number", [np.inf, -np.inf, np.nan])
def test_infinities_and_nan_stay_in_their_row_or_column(number: float) -> None:
    f, shapes = ONE["a row added"]
    inputs = [RANDOM.normal(size=shape) for shape in shapes]
    inputs[2][5] = number
    inputs[0][3, 2] = number
    with np.errstate(invalid="ignore"):
        wanted = f(*inputs)
    np.testing.assert_allclose(Program(shift(_graph(f, shapes))).run(inputs)[0], wanted, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", TWO)
def test_what_gains_nothing_stays_as_it_is(name: str) -> None:
    graph = _graph(*TWO[name])
    assert shift(graph) is graph
