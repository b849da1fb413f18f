"""Gradients checked as users write them: values, functions, graphs, custom gradients; in one call without a service."""

from typing import get_args

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.check.verdict import Doubt, Outcome, Slip
from backsweep_engine.errors import GraphError
from backsweep_engine.query import Judge, Subject

X, Y, W = np.random.default_rng(0).normal(size=(20, 4)), np.arange(20.0) % 2, np.linspace(-1, 1, 4)


def loss(w, X, y):
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z)


def slope(w, X, y):
    return X.T @ (1 / (1 + np.exp(-(X @ w))) - y) / len(y)


@pytest.fixture(scope="module")
def f():
    with bs.local() as service:
        yield service.submit(loss, w=bs.float64[4], X=X, y=Y)


def off(w, X, y):
    return slope(w, X, y) * np.array([1.0, 1.0, -1.0, 1.0])


@pytest.mark.parametrize("gradient, right", [(slope, True), (off, False)])
def test_a_gradient_may_be_a_function_of_the_same_arguments(f, gradient, right):
    verdict = f.check(W, gradient=gradient)
    assert verdict.right is right
    if not right:
        assert [(e.input, e.index, e.slip) for e in verdict.worst] == [("w", (2,), Slip.SIGN)]


def test_a_gradient_may_be_values_a_function_already_submitted_or_its_graph(f):
    assert f.check(W, gradient=slope(W, X, Y)).right
    assert f.check(W, gradient=f.derive("gradient")).right
    g = f.service.submit(lambda w: slope(w, X, Y), w=bs.float64[4])
    assert f.check(W, gradient=g).right
    assert f.check(W, gradient=f.derive("gradient").graph).right
    shifted = f.service.submit(lambda w: slope(w, X, Y) + 1e-3, w=bs.float64[4])
    assert f.check(W, gradient=shifted).outcome is Outcome.WRONG


def test_what_a_gradient_captures_is_its_own(f):
    table = np.arange(400.0)
    wrong = lambda w: slope(w, X, Y) + table.sum()
    assert f.check(W, gradient=wrong).outcome is Outcome.WRONG
    assert f.check(W, gradient=lambda w: slope(w, X, Y) + 0 * table.sum()).right


def test_a_doubt_is_told_as_a_node_of_the_function_not_of_the_pair():
    with bs.local() as service:
        f = service.submit(lambda x: np.sum(abs(x)), x=bs.float64[2])
        verdict = f.check(np.array([1.0, 0.0]), gradient=np.sign)
        assert verdict.doubt is Doubt.KINK
        assert f.graph.nodes[verdict.place.node].op == "abs"


def test_the_adjoint_of_a_vector_function_takes_a_cotangent():
    with bs.local() as service:
        f = service.submit(lambda x: np.sin(x) * 2, x=bs.float64[3])
        for rule, right in ((lambda x, c: 2 * np.cos(x) * c, True), (lambda x, c: np.cos(x) * c, False)):
            g = service.submit(rule, x=bs.float64[3], c=bs.float64[3])
            assert f.check(np.ones(3), gradient=g).right is right


def test_checking_a_custom_gradient_is_one_call():
    softplus = lambda x: np.log1p(np.exp(x))
    for vjp, right in ((lambda x, y, c: c / (1 + np.exp(-x)), True), (lambda x, y, c: c / (1 + np.exp(x)), False)):
        own = bs.custom_gradient(softplus, vjp)
        verdict = bs.check(lambda x, own=own: np.sum(own(x)), np.array([0.3, -0.7]))
        assert verdict.right is right
        verdict = bs.check(lambda x, own=own: np.sum(own(x)), np.array([0.3, -0.7]), blame=True)
        assert [b.place.op for b in verdict.blamed] == ([] if right else ["custom"])


OPTIONS = [{"judge": judge} for judge in get_args(Judge)] + [{"subject": subject} for subject in get_args(Subject) if subject != "given"]
OPTIONS += [{"coordinates": True}, {"blame": True, "gradient": off}, {"gradient": slope}]


@pytest.mark.parametrize("options", OPTIONS, ids=lambda o: ", ".join(f"{k}={v}" if isinstance(v, str) else k for k, v in o.items()))
def test_a_server_gives_the_verdict_that_is_given_here(server, f, options):
    with bs.connect(server.address) as service:
        there = service.submit(loss, w=bs.float64[4], X=X, y=Y)
        assert there.check(W, seed=3, **options) == f.check(W, seed=3, **options)


REFUSALS = {
    "another input": (lambda w, v: w, "SURPLUS_INPUT", "v"),
    "another shape": (lambda w: np.sum(w), "SHAPE", "w"),
    "too many": (lambda w: (w, w), "ARITY", ""),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_a_gradient_of_other_inputs_or_outputs_than_its_function_is_named(f, name):
    gradient, reason, at = REFUSALS[name]
    shape = {"w": bs.float64[4]} | ({"v": bs.float64[4]} if name == "another input" else {})
    with pytest.raises(GraphError) as caught:
        f.check(W, gradient=f.service.submit(gradient, **shape).graph)
    assert caught.value.reason == reason
    assert caught.value.name == at


def test_a_function_with_other_arguments_than_its_own_is_refused(f):
    with pytest.raises(GraphError):
        f.check(W, gradient=lambda v: v)


def test_a_check_in_one_call_without_a_service():
    assert bs.check(loss, W, X, Y).right
    assert bs.check(loss, W, X, Y, gradient=slope(W, X, Y), wrt="w").right
    assert bs.check(loss, W, X, Y, gradient=slope, wrt="w").right
    assert bs.check(loss, W, X, Y, gradient=off, wrt="w").outcome is Outcome.WRONG
    assert bs.check(lambda x, n: x**3 * n, 2, 5.0, gradient=(60.0, 8.0)).right
    assert bs.check(lambda p: np.sum(p["a"] * p["b"]), {"a": np.ones(3), "b": np.arange(3.0)}, judge="complex_step").right


@pytest.mark.parametrize("option, reason", [({"judge": "guess"}, "MALFORMED"), ({"subject": "given"}, "MALFORMED"), ({"judges": 1}, "MALFORMED")])
def test_an_option_that_does_not_exist_is_refused_with_what_is_allowed(f, option, reason):
    with pytest.raises(GraphError) as caught:
        f.check(W, **option)
    assert caught.value.reason == reason
    assert caught.value.allowed


def test_what_a_check_cannot_be_asked_is_refused_before_work():
    with bs.local() as service:
        f = service.submit(np.sin, x=bs.float64[5000])
        with pytest.raises(GraphError, match="too many entries") as caught:
            f.check(np.zeros(5000), coordinates=True)
        assert caught.value.reason == "TOO_LARGE"
        with pytest.raises(GraphError) as caught:
            f.check(np.zeros(5000), subject="hvp")
        assert caught.value.reason == "NOT_SCALAR"
