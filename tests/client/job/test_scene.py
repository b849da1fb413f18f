"""Which graphs a report draws, and what is marked in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from backsweep.job.scene import MAX_SCENES, MAX_SHOWN, scenes
from backsweep_engine.check.verdict import Blame, Doubt, Entry, Outcome, Place, Verdict
from backsweep_engine.graph import Graph
from support.graphs import F64, build, scan

WRONG = Verdict(Outcome.WRONG, "", (), 4, 0.0, 0.0, 0.0, 0, 0)


def nested(x: object) -> object:
    """A scan in a scan."""
    return np.sum(scan(lambda c: scan(lambda d: (np.tanh(d) * d,), [c], length=2), [x], length=3)[0])


def long(x: object) -> object:
    for _ in range(MAX_SHOWN):
        x = np.sin(np.exp(x) * x)
    return np.sum(scan(lambda c: (np.tanh(c),), [x], length=3)[0])


def blamed(*places: Place) -> Verdict:
    return replace(WRONG, blamed=tuple(Blame(place, Entry("x", (), 1.0, 2.0, 0.1)) for place in places))


def at(graph: Graph, op: str) -> int:
    return next(i for i, node in enumerate(graph.nodes) if node.op == op)


def marks(graph: Graph, verdict: Verdict) -> list[tuple[str, dict[int, str]]]:
    return [(s.holder, {n.number: n.mark for n in s.nodes if n.mark}) for s in scenes(graph, verdict)]


def test_every_graph_on_the_way_to_the_node_is_drawn_the_main_one_first() -> None:
    graph = build(nested, x=F64[3])
    inner, outer, main = graph.functions
    found = marks(graph, blamed(Place(at(inner, "tanh"), "tanh", 0)))
    assert found == [
        ("", {at(main, "scan"): "holds function 1"}),
        (f"Function 1, the body of node {at(main, 'scan')} (scan)", {at(outer, "scan"): "holds function 0"}),
        (f"Function 0, the body of node {at(outer, 'scan')} (scan) of function 1", {at(inner, "tanh"): "blamed"}),
    ]


def test_what_a_verdict_does_not_name_is_not_drawn() -> None:
    graph = build(nested, x=F64[3])
    assert marks(graph, WRONG) == [("", {})]
    assert marks(build(long, x=F64[3]), WRONG) == []


def test_a_doubt_and_a_blame_in_one_graph_are_both_marked() -> None:
    graph = build(nested, x=F64[3])
    verdict = replace(blamed(Place(at(graph, "sum"), "sum")), doubt=Doubt.KINK, place=Place(at(graph, "scan"), "scan"))
    assert marks(graph, verdict) == [("", {at(graph, "sum"): "blamed", at(graph, "scan"): "kink"})]


def test_of_a_long_graph_the_surroundings_of_what_holds_the_node_are_drawn() -> None:
    graph = build(long, x=F64[3])
    whole, body = scenes(graph, blamed(Place(1, "tanh", 0)))
    assert len(whole.nodes) == MAX_SHOWN and whole.total == len(graph.nodes)
    assert [n.mark for n in whole.nodes if n.mark] == ["holds function 0"]
    assert len(body.nodes) == body.total == 2


def test_places_that_do_not_exist_are_passed_over_and_there_is_an_end_to_pictures() -> None:
    graph = build(nested, x=F64[3])
    assert marks(graph, blamed(Place(10_000, "sin"), Place(1, "sin", 77), Place(None, "sin"))) == [("", {})]

    def many(x: object) -> object:
        return np.sum(sum(scan(lambda c, k=k: (c * (k + 2.0),), [x], length=2)[0] for k in range(9)))

    several = build(many, x=F64[3])
    found = scenes(several, blamed(*[Place(1, "multiply", k) for k in range(9)]))
    assert len(found) == MAX_SCENES and found[0].holder == ""
