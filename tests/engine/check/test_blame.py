"""The node blamed in a graph that another node holds: by its number there, and by the function's number on the wire."""

import dataclasses

import numpy as np
import pytest

from backsweep.wire.graphs import decode_functions, encode_graph
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import TABLE
from support.checking import graph_of, verdict_of
from support.graphs import cond, scan, while_loop

X = np.random.default_rng(5).uniform(0.5, 1.5, 4)


def checkpointed(x):
    from support.graphs import build

    return call("checkpoint", x, body=build(lambda y: np.sin(np.tanh(y)), y=x.type))


MODELS = {
    "scan": lambda x: np.sum(scan(lambda c, a: (np.sin(c) * np.tanh(c) + a, c), [x], [np.stack([x, x * 2])])[0]),
    "scan backwards": lambda x: np.sum(scan(lambda c, a: (c * np.tanh(a + c),), [x], [np.stack([x, x * 2])], reverse=True)[0]),
    "while_loop": lambda x: np.sum(while_loop(lambda c: np.sum(c) < 9, lambda c: (c + np.tanh(c),), [x], max_trips=30)[1]),
    "cond": lambda x: np.sum(cond(np.sum(x) > 0, lambda v: v * np.tanh(v), lambda v: v, x)),
    "checkpoint": lambda x: np.sum(checkpointed(x) ** 2),
    "a scan in a scan": lambda x: np.sum(scan(lambda c: scan(lambda d: (np.tanh(d) * d,), [c], length=2), [x], length=3)[0]),
}


@pytest.fixture
def wrong_tanh(monkeypatch):
    op = TABLE["tanh"]
    rule = op.derivative.rule
    monkeypatch.setitem(TABLE, "tanh", dataclasses.replace(op, derivative=dataclasses.replace(op.derivative, rule=lambda y, x: (1.01 * rule(y, x)[0],))))


@pytest.mark.parametrize("name", MODELS)
def test_a_wrong_rule_in_a_body_is_blamed_where_it_stands(name, wrong_tanh):
    graph = graph_of(MODELS[name], {"x": X})
    verdict = verdict_of(graph, {"x": X}, blame=True)
    assert verdict.outcome is Outcome.WRONG
    assert {b.place.op for b in verdict.blamed} == {"tanh"}
    place = verdict.blamed[0].place
    assert place.function is not None
    assert graph.functions[place.function].nodes[place.node].op == "tanh"
    assert verdict.blamed[0].entry.ratio == pytest.approx(1.01)


@pytest.mark.parametrize("name", MODELS)
def test_functions_are_numbered_as_they_are_written(name):
    graph = graph_of(MODELS[name], {"x": X})
    assert [f.fingerprint for f in graph.functions] == [f.fingerprint for f in decode_functions(encode_graph(graph))]


def test_of_what_is_wrong_in_main_and_in_a_body_each_is_blamed(wrong_tanh):
    graph = graph_of(lambda x: np.sum(scan(lambda c: (np.tanh(c) * c,), [x], length=2)[0] * np.tanh(x)), {"x": X})
    verdict = verdict_of(graph, {"x": X}, blame=True)
    assert {(b.place.op, b.place.function) for b in verdict.blamed} == {("tanh", 0), ("tanh", None)}
