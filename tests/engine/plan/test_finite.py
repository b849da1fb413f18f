"""finite_body: a loop given finite factors runs with plain products, with the values of `scale`; others keep `scale`."""

from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.ops.build import call
from backsweep_engine.plan.finite import finite_body
from backsweep_engine.plan.memory import layout
from support.graphs import F64, build, scan
from support.run import run

TRIPS, N = 6, 40


def linear(t: Any, p: Any, q: Any) -> Any:
    """A factor of each trip, one that stays, and one the body makes itself."""
    t = call("scale", p, t) + call("scale", q, t)
    return call("scale", t * t, t * 0.5), t


def graph(body: Any = linear) -> Graph:
    return build(lambda t, p, q: scan(body, [t], [p], [q]), t=F64[N], p=F64[TRIPS, N], q=F64[N])


def by_numpy(t: Any, p: Any, q: Any) -> tuple[Any, Any]:
    def scale(a: Any, b: Any) -> Any:
        return np.where(b == 0, b, a * b)

    rows = []
    with np.errstate(all="ignore"):
        for row in p:
            t = scale(row, t) + scale(q, t)
            rows.append(t)
            t = scale(t * t, t * 0.5)
    return t, np.stack(rows)


def ops(held: Graph) -> list[str]:
    return [node.op for node in held.nodes if node.op in ("scale", "multiply")]


def test_products_with_what_is_given_are_plain() -> None:
    (node,) = [node for node in graph().nodes if node.op == "scan"]
    usual = finite_body(node)
    assert usual is not None and usual.factors == (1, 2)
    assert ops(usual.graph).count("scale") == 1, "what the body makes itself may be anything"
    assert ops(dict(node.attributes)["body"]).count("scale") == 3


@pytest.mark.parametrize("value", [0.3, np.inf, -np.inf, np.nan, 1e200], ids=str)
@pytest.mark.parametrize("place", ["slice", "stays"])
def test_a_factor_that_is_not_finite_meets_no_tangent_of_0(place: str, value: float) -> None:
    """Nor does one whose square overflows: it is only looked at more closely."""
    random = np.random.default_rng(0)
    t, p, q = random.normal(size=N), random.normal(size=(TRIPS, N)), random.normal(size=N)
    t[::2] = 0
    (p[2] if place == "slice" else q)[:4] = value
    for _ in range(2):  # interpreted, then generated
        for got, wanted in zip(run(graph(), t, p, q), by_numpy(t, p, q), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_one_program_takes_both_kinds_by_turns() -> None:
    held, random = graph(), np.random.default_rng(1)
    t, p, q = random.normal(size=N), random.normal(size=(TRIPS, N)), random.normal(size=N)
    t[3] = 0
    wild = p.copy()
    wild[1, 3] = np.inf
    for factors in (p, wild, p, wild):
        for got, wanted in zip(run(held, t, factors, q), by_numpy(t, factors, q), strict=True):
            np.testing.assert_array_equal(got, wanted)


def test_a_loop_that_is_given_no_factor_has_one_body() -> None:
    (node,) = [node for node in graph(lambda t, p, q: (np.sin(t) + p * q, t)).nodes if node.op == "scan"]
    assert finite_body(node) is None


def test_the_memory_of_both_is_promised() -> None:
    held = graph()
    (node,) = [node for node in held.nodes if node.op == "scan"]
    usual = finite_body(node)
    assert usual is not None
    least = max(layout(g).arena_bytes for g in (dict(node.attributes)["body"], usual.graph))
    assert layout(held, True).arena_bytes >= least
