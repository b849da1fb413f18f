"""Derivatives as graphs: right, no larger than they must be, derivable again, and without recursion."""

import math
import sys
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.ops.op import REALS
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.differences import along
from support.draw import directions, draw
from support.graphs import F32, F64, SCALAR, build, named
from support.run import function, one, run

DIFFERENCE = 1e-10
"""Rounding of the differences, 1e-13 |f| (support/differences.py), for values below 100 and a factor of 10."""


@pytest.mark.parametrize("name", SCALAR)
def test_value_gradient_vjp_jvp_and_hvp_agree_with_differences_and_with_each_other(name: str) -> None:
    graph = named(name)
    every = range(graph.arity)
    x, v = draw(graph.input_types, (REALS,), 5), directions(graph.input_types, 5)
    value, *gradient = run(derive.value_and_gradient(graph, every), *x)
    assert value == one(graph, *x)
    slope = sum(np.vdot(g, d) for g, d in zip(gradient, v, strict=True))
    (wanted,) = along(function(graph), x, v)
    assert abs(slope - wanted) <= DIFFERENCE * max(1.0, abs(float(wanted)))
    np.testing.assert_allclose(one(derive.jvp(graph, every), *x, *v), slope, rtol=1e-12, atol=1e-12)  # sums in another order
    for g, c in zip(gradient, run(derive.vjp(graph, every), *x, np.array(3.0)), strict=True):
        np.testing.assert_allclose(c, 3 * g, rtol=1e-13, atol=1e-13)
    for g, only in zip(gradient, (one(derive.gradient(graph, [i]), *x) for i in every), strict=True):
        np.testing.assert_allclose(only, g, rtol=1e-13, atol=1e-13)
    for h, d in zip(run(derive.hvp(graph, every), *x, *v), along(function(derive.gradient(graph, every)), x, v), strict=True):
        np.testing.assert_allclose(h, d, rtol=0, atol=10 * DIFFERENCE * max(1.0, np.abs(d).max()))


def test_the_order_of_wrt_is_the_order_of_the_answers() -> None:
    graph = build(lambda x, y: np.sum(x) * y, x=F64[2], y=F64[()])
    dy, dx = run(derive.gradient(graph, [1, 0]), np.ones(2), np.array(5.0))
    assert dy == 2 and dx.tolist() == [5, 5]
    assert derive.gradient(graph, [1, 0]).output_names == ("y", "x")


def test_derivatives_of_derivatives_of_derivatives() -> None:
    graph = build(lambda x: np.sin(x) * np.exp(x), x=F64[()])
    x = np.array(0.7)
    # The n-th derivative of exp(x) sin(x) is 2**(n/2) exp(x) sin(x + n pi/4).
    for n in range(1, 7):
        graph = derive.gradient(graph, [0])
        wanted = 2 ** (n / 2) * math.exp(0.7) * math.sin(0.7 + n * math.pi / 4)
        assert float(one(graph, x)) == pytest.approx(wanted, rel=1e-12, abs=1e-12)  # cancellation of terms near 20


SWELL = {"logistic": 1.9, "network": 1.8, "rosenbrock": 2.0, "pieces": 2.9, "chosen": 2.3, "chain": 2.0, "gathered": 1.8}
"""Nodes of value and gradient against those of the value, compound ops spelled out, as measured: whatever makes gradients larger shows here."""


@pytest.mark.parametrize("name", SCALAR)
def test_a_gradient_is_not_much_larger_than_its_function(name: str) -> None:
    graph = named(name)
    ratio = derive.value_and_gradient(graph, [0]).size / expand(graph).size
    assert ratio <= SWELL[name]


@pytest.mark.parametrize("name", SCALAR)
def test_an_hvp_is_not_much_larger_than_the_gradient(name: str) -> None:
    graph = named(name)
    assert derive.hvp(graph, [0]).size <= 2.5 * derive.gradient(graph, [0]).size


def test_size_grows_linearly_with_depth_at_every_order() -> None:
    def chain(depth: int) -> Any:
        def f(x: Any) -> Any:
            for _ in range(depth):
                x = np.tanh(x) * x
            return x

        return build(f, x=F64[()])

    for verb in (derive.gradient, derive.hvp, lambda g, wrt: derive.gradient(derive.gradient(g, wrt), wrt)):
        ten, twenty, forty = (verb(chain(n), [0]).size for n in (10, 20, 40))
        assert forty - twenty <= 2 * (twenty - ten) + 2


def test_a_chain_of_twenty_thousand_nodes_is_differentiated_without_recursion() -> None:
    def f(x: Any) -> Any:
        for _ in range(10_000):
            x = np.sin(x) * 1.0001
        return x

    graph = build(f, x=F64[()])
    assert len(graph.nodes) > 20_000
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(400)  # pytest itself needs most of them
    try:
        gradient = derive.gradient(graph, [0])
    finally:
        sys.setrecursionlimit(limit)
    value, slope = 0.3, 1.0
    for _ in range(10_000):
        value, slope = math.sin(value) * 1.0001, slope * math.cos(value) * 1.0001
    assert float(one(gradient, np.array(0.3))) == pytest.approx(slope, rel=1e-11)  # 30,000 roundings of 1e-16


def test_origins_name_nodes_of_the_submitted_graph() -> None:
    graph = named("network")
    for derived in (derive.gradient(graph, [0]), derive.hvp(graph, [0])):
        for node in derived.nodes[derived.arity :]:
            assert 0 <= node.origin < len(graph.nodes)
        ops = {graph.nodes[n.origin].op for n in derived.nodes if n.op == "tanh"}
        assert ops == {"tanh"}


def test_equal_graphs_have_equal_derivatives() -> None:
    assert derive.hvp(named("pieces"), [0]).fingerprint == derive.hvp(named("pieces"), [0]).fingerprint


def test_a_gradient_of_float32_is_float32() -> None:
    graph = build(lambda x: np.sum(np.exp(x) * 2), x=F32[3])
    assert derive.gradient(graph, [0]).output_types == (F32[3],)
    assert {n.types[0].dtype.name for n in derive.gradient(graph, [0]).nodes} == {"float32"}


NOT_SCALAR = {
    "a vector": lambda x: x,
    "two outputs": lambda x: (np.sum(x), np.sum(x)),
    "a bool": lambda x: np.sum(x) > 0,
    "a matrix of one": lambda x: np.sum(x).reshape(1, 1),
}


@pytest.mark.parametrize("name", NOT_SCALAR)
def test_a_gradient_of_what_is_not_a_floating_scalar_is_refused_with_what_to_do(name: str) -> None:
    graph = build(NOT_SCALAR[name], x=F64[2])
    for verb in (derive.gradient, derive.value_and_gradient, derive.hvp):
        with pytest.raises(GraphError, match="floating scalar") as caught:
            verb(graph, [0])
        assert caught.value.reason == "NOT_SCALAR" and caught.value.hint
