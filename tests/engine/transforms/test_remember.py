"""remembered: the same answer for the same graph, as many as it may keep, and none when the graph is gone."""

import gc
from typing import Any
from weakref import ref

import numpy as np

from backsweep_engine.graph import Builder, Graph, Ref
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from backsweep_engine.transforms.remember import MOST, remembered
from support.graphs import F64, build, scan


def test_a_derivative_is_derived_once_for_a_graph_and_however_the_inputs_are_listed() -> None:
    graph = build(lambda x, y: np.sum(np.sin(x) * y), x=F64[3], y=F64[3])
    assert derive.gradient(graph, [0, 1]) is derive.gradient(graph, range(2)) is derive.gradient(graph, (0, 1))
    assert derive.gradient(graph, [1, 0]) is not derive.gradient(graph, [0, 1])
    twin = build(lambda x, y: np.sum(np.sin(x) * y), x=F64[3], y=F64[3])
    assert derive.gradient(twin, [0, 1]) is not derive.gradient(graph, [0, 1])


def test_the_oldest_answer_goes_first() -> None:
    calls = []

    @remembered
    def asked(graph: Graph, number: int) -> int:
        calls.append(number)
        return number

    graph = build(lambda x: x, x=F64[()])
    for number in (*range(MOST), 0, MOST, 0, 1):
        assert asked(graph, number) == number
    assert calls == [*range(MOST), MOST, 0, 1]


def test_what_was_derived_goes_with_its_graph_and_never_keeps_it() -> None:
    graph = build(lambda x: np.sum(np.exp(x)), x=F64[3])
    gone = [ref(graph), ref(derive.gradient(graph, [0])), ref(expand(graph))]
    assert expand(graph) is graph
    del graph
    gc.collect()
    assert [known() for known in gone] == [None, None, None]


def test_loops_with_equal_bodies_hold_one_body_and_so_do_their_derivatives() -> None:
    def f(x: Any, unlike: int = 0) -> Any:
        return sum(scan(lambda y, x, k=k: np.sin(y) * x if k < 5 - unlike else np.sin(y * x), [x * (k + 1.0)], stays=[x], length=4)[0] for k in range(5))

    for unlike, kinds in ((0, 1), (1, 2)):
        graph = build(lambda x, unlike=unlike: f(x, unlike), x=F64[()])
        assert len(graph.subgraphs) == 5 and len({id(body) for body in graph.subgraphs}) == kinds
        for derived, each in ((derive.value_and_jvp(graph, [0]), 2), (derive.value_and_gradient(graph, [0]), 2)):
            assert len({id(body) for body in derived.subgraphs}) == len({body.identity for body in derived.subgraphs}) == each * kinds


def test_bodies_that_came_from_other_nodes_stay_apart() -> None:
    def body(extra: int) -> Graph:
        inner = Builder()
        y = inner.input("y", F64[()])
        inner.origin = extra
        node = inner.add("sin", [y], {}, lambda: (F64[()],))
        return inner.build([("", Ref(node))])

    assert body(1).fingerprint == body(2).fingerprint and body(1).identity == body(1).identity != body(2).identity
