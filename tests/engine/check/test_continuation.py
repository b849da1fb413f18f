"""The complex step through every op that says it continues, against our forward mode, which shares nothing with it."""

import numpy as np
import pytest

import backsweep_engine.ops  # noqa: F401  fills the table
from backsweep_engine.check.check import require_judge
from backsweep_engine.check.continuation import continued
from backsweep_engine.check.probe import Bench, lines
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.errors import GraphError
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import DTYPES
from backsweep_engine.ops.op import TABLE
from backsweep_engine.plan.make import Ask, Budget
from backsweep_engine.query import Check
from backsweep_engine.request import Request
from backsweep_engine.transforms import derive
from backsweep_engine.work import prepare
from support.cases import every
from support.checking import graph_of, verdict_of
from support.run import run


def moves(case):
    """Whether the case has entries to move and to watch, in float64 throughout."""
    if case.op.continuation is None or case.op.name == "stop_gradient" or not case.floating:
        return False
    graph = case.graph()
    types = [t for t in (*graph.input_types, *graph.output_types) if t.is_float]
    return all(t.dtype == np.float64 for t in types) and sum(graph.output_types[o].size for o in derive.floating_outputs(graph)) > 0


CASES = [case for case in every() if moves(case)]
NONE = ["abs", "max", "maximum", "minimum", "relu", "sign", "less", "equal", "cholesky", "qr", "eigh", "svd", "argmax", "floor"]


def names(graph):
    return tuple(n for n, t in zip(graph.input_names, graph.input_types, strict=True) if t.is_float)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_complex_step_agrees_with_forward_mode(case):
    graph = case.graph()
    wrt = names(graph)
    point = dict(zip(graph.input_names, case.draw(0), strict=True))
    drawn = lines(graph, wrt, 3, 1)
    bench = Bench(drawn, point, Local(), never, Budget(), 0)
    got = continued(graph, wrt).derivative(bench, drawn.whole(0), 0.0)
    jvp = derive.jvp(graph, [graph.input_names.index(n) for n in wrt])
    tangents, at = [], 0
    for type in drawn.types:
        tangents.append(drawn.directions[0, at : at + type.size].reshape(type.shape))
        at += type.size
    moved = np.concatenate([y.reshape(-1) for y in run(jvp, *point.values(), *tangents)])
    expected, scale = moved @ drawn.weights[0], np.abs(moved) @ np.abs(drawn.weights[0])
    assert abs(got - expected) <= 1e-11 * max(scale, 1e-3)


@pytest.mark.parametrize("op", NONE)
def test_what_is_not_analytic_has_no_continuation(op):
    assert TABLE[op].continuation is None


MODELS = {
    "logistic": lambda x: np.sum(np.logaddexp(0, x) - 0.3 * x),
    "softmax": lambda x: -np.sum(np.log(np.exp(x - 3) / np.sum(np.exp(x - 3)))),
    "polynomial": lambda x: np.sum(x**3 - 2 * x * x),
    "rational": lambda x: np.sum(1 / (1 + x * x)) * np.sqrt(np.sum(x * x)),
    "products": lambda x: np.sum(np.sin(np.cumsum(x)) @ np.tanh(x)),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("seed", range(5))
def test_it_passes_what_is_right_to_rounding_and_catches_what_is_not(name, seed):
    f, x = MODELS[name], np.random.default_rng(seed).normal(size=30)
    verdict = verdict_of(f, {"x": x}, seed=seed, judge="complex_step")
    assert verdict.right, verdict
    assert verdict.truncation_bound == 0
    assert verdict.smallest_excluded_error < 1e-10
    gradient = run(derive.gradient(graph_of(f, {"x": x}), [0]), x)[0]
    wrong = gradient.copy()
    wrong[seed] += 100 * verdict.smallest_excluded_error
    caught = verdict_of(f, {"x": x}, {"x": wrong}, seed=seed, judge="complex_step")
    assert caught.outcome is Outcome.WRONG
    assert [e.index for e in caught.worst] == [(seed,)]


@pytest.mark.parametrize(
    "f, op",
    [(lambda x: np.sum(abs(x)), "abs"), (lambda x: np.sum(np.where(x > 0, x, 2 * x)), "less"), (lambda x: np.max(x), "max")],
    ids=["abs", "less", "max"],
)
def test_a_node_without_continuation_is_named(f, op):
    graph = graph_of(f, {"x": np.ones(3)})
    with pytest.raises(GraphError, match="no analytic continuation") as caught:
        verdict_of(graph, {"x": np.ones(3)}, judge="complex_step")
    assert caught.value.reason == "NOT_DIFFERENTIABLE"
    assert caught.value.op == op
    assert graph.nodes[caught.value.node].op == op


def test_float32_is_refused():
    graph = graph_of(lambda x: np.sum(x), {"x": np.ones(3, DTYPES["float32"])})
    with pytest.raises(GraphError, match="float64"):
        require_judge(graph, Check(("x",), judge="complex_step"))


def test_what_it_cannot_judge_is_refused_before_any_work():
    graph = graph_of(lambda x: np.sum(abs(x)), {"x": np.ones(3)})
    for subject in ("own", "hessian"):
        request = Request(graph, {"x": graph.input_types[0]}, (Ask(Check(("x",), subject, judge="complex_step"), {}),))
        with pytest.raises(GraphError) as caught:
            prepare(request, Budget())
        assert graph.nodes[caught.value.node].op == "abs"
