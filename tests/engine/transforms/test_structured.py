"""cond through every pass. The reference is the branch that is taken, as a graph of its own."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import REALS
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.expand import expand
from backsweep_engine.transforms.simplify import simplify
from support.draw import directions, draw
from support.graphs import BOOL, F64, I64, build, cond
from support.run import one, run

TYPES = {"c": BOOL[()], "x": F64[3], "y": F64[3]}


def then(x: Any, y: Any) -> Any:
    return np.sin(x) * y + np.prod(x)


def otherwise(x: Any, y: Any) -> Any:
    return np.exp(y)[::-1]


def nested(x: Any, y: Any) -> Any:
    return cond(np.sum(x) > 100, then, lambda a, b: cond(np.sum(b) < 100, lambda p, q: np.tanh(p) * q**2, then, b, a), x, y)


def flat(x: Any, y: Any) -> Any:
    return np.tanh(y) * x**2


BRANCHES: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {"then": (then, then), "otherwise": (otherwise, otherwise), "nested": (nested, flat)}


def pair(name: str) -> tuple[Graph, Graph, bool]:
    """sum(w * cond(...)), and the same with the taken branch in its place."""
    taken, plain = BRANCHES[name]
    w = np.array([1.0, 2, 4])
    first = name != "otherwise"
    whole = build(lambda c, x, y: np.sum(w * (cond(c, taken, otherwise, x, y) if first else cond(c, then, taken, x, y)) ** 2), **TYPES)
    return whole, build(lambda x, y: np.sum(w * plain(x, y) ** 2), x=F64[3], y=F64[3]), first


@pytest.mark.parametrize("name", BRANCHES)
def test_value_and_all_derivatives_are_those_of_the_branch_taken(name: str) -> None:
    whole, plain, flag = pair(name)
    x, y = draw([F64[3], F64[3]], (REALS,), 0)
    u, v = directions([F64[3], F64[3]], 0)
    c = np.array(flag)
    passes = {
        "value": (whole, plain, ()),
        "jvp": (derive.jvp(whole, [1, 2]), derive.jvp(plain, [0, 1]), (u, v)),
        "jvp by one": (derive.jvp(whole, [2]), derive.jvp(plain, [1]), (v,)),
        "vjp": (derive.vjp(whole, [1, 2]), derive.vjp(plain, [0, 1]), (np.array(2.0),)),
        "gradient": (derive.gradient(whole, [1, 2]), derive.gradient(plain, [0, 1]), ()),
        "hvp": (derive.hvp(whole, [1, 2]), derive.hvp(plain, [0, 1]), (u, v)),
        "third": (derive.jvp(derive.hvp(whole, [1]), [1]), derive.jvp(derive.hvp(plain, [0]), [0]), (u, v)),
        "simplified": (simplify(whole), plain, ()),
    }
    for what, (got, wanted, seeds) in passes.items():
        for a, b in zip(run(got, c, x, y, *seeds), run(wanted, x, y, *seeds), strict=True):
            # The same products, summed in another order.
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13, err_msg=what)


@pytest.mark.parametrize("name", BRANCHES)
@pytest.mark.parametrize("mask", [(True, False, False), (True, True, False), (False, True, True), (False, False, True), (True, True, True)], ids=str)
def test_a_batch_takes_each_row_s_own_branch(name: str, mask: tuple[bool, ...]) -> None:
    whole, _, flag = pair(name)
    for graph in (whole, derive.gradient(whole, [1, 2]), derive.hvp(whole, [1])):
        flags = [*mask, *[False] * (graph.arity - 3)]
        wide = batch(graph, flags, 3)
        x = draw(wide.input_types[1:], (REALS,), 1)
        c = np.array([flag, not flag, flag]) if mask[0] else np.array(flag)
        given = [c, *x]
        loop = [run(graph, *[a[k] if m else a for a, m in zip(given, flags, strict=True)]) for k in range(3)]
        for got, *rows in zip(run(wide, *given), *loop, strict=True):
            np.testing.assert_allclose(got, np.stack(rows), rtol=1e-13, atol=1e-13)


def test_a_batch_keeps_one_branch_where_the_condition_is_shared_and_both_where_it_is_not() -> None:
    whole, _, _ = pair("then")
    assert [n.op for n in batch(whole, (False, True, True), 3).nodes].count("cond") == 1
    assert [n.op for n in batch(whole, (True, True, True), 3).nodes].count("cond") == 0


def test_several_results_each_reach_their_readers() -> None:
    def f(c: Any, x: Any) -> Any:
        a, b, n = cond(c, lambda v: (v * 2, np.sum(v), v.astype(np.int64)), lambda v: (v[::-1], v[0], (v * 0).astype(np.int64)), x)
        return a * b, a + 1, n + 1, np.sum(a) * b

    graph = build(f, c=BOOL[()], x=F64[3])
    x = np.array([1.0, 2, 5])
    for flag, a, b, n in ((True, x * 2, 8.0, [1, 2, 5]), (False, x[::-1], 1.0, [0, 0, 0])):
        got = run(graph, np.array(flag), x)
        assert [g.tolist() for g in got] == [(a * b).tolist(), (a + 1).tolist(), (np.array(n) + 1).tolist(), float(a.sum() * b)]
    gradient = derive.gradient(graph.select([3]), [1])
    assert one(gradient, np.array(True), x).tolist() == [32.0] * 3  # d/dx 2 s**2 = 4 s with s = 8
    assert one(gradient, np.array(False), x).tolist() == [9.0, 1, 1]  # d/dx_i (s x_0) = x_0, and s + x_0 for i = 0


def test_integer_and_bool_operands_are_captured_without_tangents() -> None:
    graph = build(lambda c, x, k: np.sum(cond(c, lambda v, i: v[i], lambda v, i: v[i] ** 2, x, k)), c=BOOL[()], x=F64[3], k=I64[2])
    x, k = np.array([1.0, 2, 3]), np.array([2, 2])
    assert one(derive.gradient(graph, [1]), np.array(True), x, k).tolist() == [0, 0, 2]
    assert one(derive.gradient(graph, [1]), np.array(False), x, k).tolist() == [0, 0, 12]


def test_a_branch_that_ignores_its_operand_has_zero_derivative() -> None:
    graph = build(lambda c, x: cond(c, lambda v: np.sum(v * v), lambda v: np.float64(7), x), c=BOOL[()], x=F64[2])
    assert one(derive.gradient(graph, [1]), np.array(False), np.ones(2)).tolist() == [0, 0]
    assert one(derive.gradient(graph, [1]), np.array(True), np.ones(2)).tolist() == [2, 2]


def test_the_branch_not_taken_is_not_run() -> None:
    graph = build(lambda c, x: cond(c, lambda v: v, lambda v: np.log(v), x), c=BOOL[()], x=F64[2])
    x = np.array([-1.0, 0])
    assert one(derive.vjp(graph, [1]), np.array(True), x, np.ones(2)).tolist() == [1, 1]


def test_compound_ops_inside_branches_are_expanded() -> None:
    graph = build(lambda c, x: cond(c, np.prod, np.sum, x), c=BOOL[()], x=F64[4])
    spelled = expand(graph)
    assert all(n.op != "prod" for g in spelled.subgraphs for n in g.nodes)
    assert one(graph, np.array(True), np.array([1.0, 2, 3, 4])) == 24


def deep(levels: int) -> Graph:
    def f(x: Any, level: int = levels) -> Any:
        return np.prod(x) if level == 0 else cond(np.sum(x) > -100 - level, lambda v: f(v, level - 1), lambda v: v[0], x)

    return build(lambda x: f(x), x=F64[2])


def test_thirty_levels_of_nesting_are_differentiated_in_time_that_grows_with_their_number() -> None:
    """Any pass that visits a held graph twice per level would take 2**30 steps."""
    graph = deep(30)
    assert graph.nesting == 30
    x = np.array([3.0, 5])
    assert one(graph, x) == 15
    assert one(derive.gradient(graph, [0]), x).tolist() == [5, 3]
    assert one(batch(graph, [True], 2), np.array([[3.0, 5], [2, 2]])).tolist() == [15, 4]
