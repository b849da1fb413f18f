"""bs.cond: values, derivatives, captured values, trees, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep import dtypes as bs
from backsweep.control import cond
from backsweep.nesting import gradient, hessian, jacobian
from backsweep.trace import trace
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph
from support.run import one, run

BIG = np.random.default_rng(2).normal(size=200)  # above 1 KiB: bound

FUNCTIONS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    # f, its value and its derivative by hand
    "operands": (
        lambda x: cond(x > 1, lambda a: a * a, lambda a: 3 * a, x),
        lambda x: x * x if x > 1 else 3 * x,
        lambda x: 2 * x if x > 1 else 3,
    ),
    "captured values": (lambda x: cond(x > 1, lambda: np.log(x), lambda: -x), lambda x: np.log(x) if x > 1 else -x, lambda x: 1 / x if x > 1 else -1),
    "a different capture in each branch": (
        lambda x: (lambda a, b: cond(x > 1, lambda: a * 2, lambda: b * a))(np.sin(x), np.cos(x)),
        lambda x: 2 * np.sin(x) if x > 1 else np.sin(x) * np.cos(x),
        lambda x: 2 * np.cos(x) if x > 1 else np.cos(2 * x),
    ),
    "a constant branch": (lambda x: cond(x > 1, lambda: 0.0, lambda: x), lambda x: 0 if x > 1 else x, lambda x: 0 if x > 1 else 1),
    "a cond in a cond": (
        lambda x: cond(x > 1, lambda: cond(x > 2, lambda: x**3, lambda: x**2), lambda: x),
        lambda x: x**3 if x > 2 else x**2 if x > 1 else x,
        lambda x: 3 * x**2 if x > 2 else 2 * x if x > 1 else 1,
    ),
    "a branch that would be no number": (
        lambda x: cond(x > 1, lambda: np.sqrt(x - 1), lambda: x),
        lambda x: np.sqrt(x - 1) if x > 1 else x,
        lambda x: 0.5 / np.sqrt(x - 1) if x > 1 else 1,
    ),
    "a large captured array": (
        lambda x: cond(x > 1, lambda: np.sum(x * BIG), lambda: np.sum(BIG[:100]) * x),
        lambda x: x * BIG.sum() if x > 1 else x * BIG[:100].sum(),
        lambda x: BIG.sum() if x > 1 else BIG[:100].sum(),
    ),
}


@pytest.mark.parametrize("x", [0.5, 1.5, 2.5])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_branch_taken_gives_the_value_and_the_derivative(name: str, x: float) -> None:
    f, value, slope = FUNCTIONS[name]
    graph = trace(f, {"x": bs.float64})
    assert np.isclose(one(graph.graph, x, *graph.bound.values()), value(x), rtol=1e-14)
    derived = trace(gradient(f), {"x": bs.float64})
    assert np.isclose(one(derived.graph, x, *derived.bound.values()), slope(x), rtol=1e-13)
    assert np.isclose(gradient(f)(x), slope(x), rtol=1e-13)
    assert np.isclose(f(x), value(x))  # a condition known now just calls the branch


def test_second_derivatives_and_jacobians_pass_through() -> None:
    def f(w: Any) -> Any:
        return cond(np.sum(w) > 0, lambda: np.sum(w**3), lambda: w[0] * w[1])

    assert np.allclose(hessian(f)(np.array([1.0, 2.0])), np.diag([6.0, 12.0]))
    assert np.allclose(hessian(f)(np.array([-1.0, -2.0])), [[0, 1], [1, 0]])
    assert np.allclose(jacobian(lambda w: cond(w[0] > 0, lambda: np.sin(w), lambda: w))(np.array([1.0, 2.0])), np.diag(np.cos([1.0, 2.0])))


def _cond_node(graph: Graph) -> Any:
    (node,) = [node for node in graph.nodes if node.op == "cond"]
    return node


def test_the_work_of_a_branch_is_done_inside_it_whatever_it_captures() -> None:
    graph = trace(lambda x: cond(x > 1, lambda: np.log(x), lambda: np.sin(x) * 2.0), {"x": bs.float64}).graph
    attributes = dict(_cond_node(graph).attributes)
    assert {n.op for n in graph.nodes} == {"input", "constant", "less", "cond"}
    assert [n.op for n in attributes["then"].nodes] == ["input", "log"]
    assert [n.op for n in attributes["otherwise"].nodes] == ["input", "sin", "constant", "multiply"]


def test_captured_values_are_operands_once_in_one_order() -> None:
    def f(a: Any, b: Any, c: Any) -> Any:
        return cond(a > 0, lambda: b * a, lambda: c * b)

    graph = trace(f, {"a": bs.float64, "b": bs.float64, "c": bs.float64}).graph
    node = _cond_node(graph)
    assert [ref.node for ref in node.operands[1:]] == [1, 0, 2]
    attributes = dict(node.attributes)
    assert attributes["then"].input_types == attributes["otherwise"].input_types
    assert one(graph, 2.0, 3.0, 5.0) == 6
    assert one(graph, -2.0, 3.0, 5.0) == 15


def test_trees_go_in_and_come_out() -> None:
    def f(p: Any) -> Any:
        return cond(p["a"] > 0, lambda q: {"x": q["a"], "y": (q["b"], 1.0)}, lambda q: {"y": (2 * q["b"], 2.0), "x": -q["a"]}, p)

    graph = trace(f, {"p": {"a": bs.float64, "b": bs.float64[2]}})
    for a, expected in ((1.0, (1.0, [1, 2], 1.0)), (-1.0, (1.0, [2, 4], 2.0))):
        out = graph.out_tree.unflatten(run(graph.graph, a, [1, 2]))
        assert (out["x"], out["y"][0].tolist(), out["y"][1]) == expected


@pytest.mark.parametrize("condition", [True, np.True_, np.array(False)])
def test_a_condition_known_now_runs_only_its_branch(condition: Any) -> None:
    def never() -> Any:
        raise AssertionError

    taken, not_taken = ((lambda: 7), never) if condition else (never, (lambda: 7))
    assert cond(condition, taken, not_taken) == 7


REFUSED: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a condition that is a number": (lambda x: cond(x, lambda: 1.0, lambda: 2.0), "such as x > 0"),
    "a known number as condition": (lambda x: cond(1, lambda: 1.0, lambda: 2.0), "such as x > 0"),
    "an array of conditions": (lambda x: cond(x * np.ones(3) > 0, lambda: 1.0, lambda: 2.0), "np.where"),
    "results of two dtypes": (lambda x: cond(x > 0, lambda: x, lambda: 0), "float64 and int64"),
    "results of two shapes": (lambda x: cond(x > 0, lambda: x * np.ones(3), lambda: x), "float64[3] and float64"),
    "results of two structures": (lambda x: cond(x > 0, lambda: (x, x), lambda: [x, x]), "(*, *) and [*, *]"),
    "a leaf that differs": (lambda x: cond(x > 0, lambda: {"a": x}, lambda: {"a": x > 0}), "at .a"),
    "a branch without result": (lambda x: cond(x > 0, lambda: x, lambda: None), "without `return`"),
    "the truth of a value in a branch": (lambda x: cond(x > 0, lambda: x if x > 1 else -x, lambda: x), "bs.cond"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_cond_that_cannot_be_is_refused_with_the_users_line(name: str) -> None:
    f, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64})
    assert said in str(caught.value)
    assert caught.value.source == f"test_control.py:{f.__code__.co_firstlineno}"
    assert "cond(" in str(caught.value)


def test_a_value_of_a_branch_is_of_no_use_outside() -> None:
    kept: list[Any] = []

    def f(x: Any) -> Any:
        cond(x > 0, lambda: kept.append(x * 2) or x, lambda: x)
        return x + kept[0]  # HERE

    with pytest.raises(GraphError, match="# HERE"):
        trace(f, {"x": bs.float64})
