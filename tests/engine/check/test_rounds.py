"""A check keeps what it promised: flops, blocks and peak of every plan it ran, whatever it found."""

import numpy as np
import pytest

from backsweep_engine.check.rounds import plan_check, promise_check
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.errors import OverBudget
from backsweep_engine.plan.make import Ask, Budget, require_within
from backsweep_engine.query import Check
from backsweep_engine.request import Request
from backsweep_engine.work import prepare
from support.checking import Shuffled, graph_of, verdict_of

BUDGET = Budget()
X = np.random.default_rng(3).normal(size=24)


def bowl(x):
    return np.sum(np.cosh(x) * x) + np.sum(x[1:] * x[:-1])


def slopes(x):
    return {"y": np.sin(x) * x, "z": np.sum(x * x)}


def by_hand(x):
    g = np.sinh(x) * x + np.cosh(x)
    g[1:] += x[:-1]
    g[:-1] += x[1:]
    return g


WRONG = by_hand(X) * (1 + 0.1 * np.sin(np.arange(24)))
"""Wrong in every entry, so that a search goes on to its end in every branch."""

CASES = {
    "one that passes": (bowl, X, None, {}),
    "a given gradient": (bowl, X, by_hand(X), {}),
    "a wrong one": (bowl, X, WRONG, {}),
    "a wrong one, nine entries named": (bowl, X, WRONG, {"max_worst": 9, "directions": 7}),
    "one entry wrong": (bowl, X, by_hand(X) + 1e-3 * (np.arange(24) == 17), {}),
    "by Richardson, every entry by itself": (bowl, X, WRONG, {"judge": "richardson", "coordinates": True}),
    "by Taylor remainders": (bowl, X, None, {"judge": "taylor"}),
    "by the complex step": (bowl, X, WRONG, {"judge": "complex_step"}),
    "several outputs": (slopes, X, None, {}),
    "its jvp": (slopes, X, None, {"subject": "jvp"}),
    "its vjp": (slopes, X, None, {"subject": "vjp"}),
    "a Jacobian": (slopes, X, None, {"subject": "jacobian"}),
    "products with the Hessian": (bowl, X, None, {"subject": "hvp"}),
    "a Hessian": (bowl, X, None, {"subject": "hessian"}),
    "at a kink, smaller and smaller steps": (lambda x: np.sum(abs(x)), np.where(np.arange(24) == 5, 1e-7, X), None, {}),
    "beside the end of a domain": (lambda x: np.sum(np.sqrt(x)), np.where(np.arange(24) == 5, 1e-6, abs(X) + 1), None, {}),
    "steep": (lambda x: np.sum(np.exp(40 * x)), X, None, {}),
    "few entries, far from 0": (lambda x: np.sum(np.sin(x)), np.array([1e6, 1e-6]), None, {}),
    "float32": (lambda x: np.sum(np.sin(x)), X.astype(np.float32), None, {}),
    "nothing to check": (lambda x: np.sum(x * x), np.zeros(0), None, {}),
}


@pytest.mark.parametrize("block", [0, 5])
@pytest.mark.parametrize("name", CASES)
def test_no_round_is_left_out_of_the_promise(name, block):
    f, x, given, options = CASES[name]
    executor = Shuffled(1)
    verdict = verdict_of(f, {"x": x}, None if given is None else {"x": given}, executor=executor, block=block, **options)
    if given is WRONG:
        assert verdict.outcome is Outcome.WRONG
    query = Check(("x",), "given" if given is not None else options.get("subject", "own"), block=block)
    query = Check(query.wrt, query.subject, block=block, **{k: v for k, v in options.items() if k != "subject"})
    promise = promise_check(graph_of(f, {"x": x}), query, BUDGET)
    ran = [plan.promise for plan in executor.plans]
    assert sum(p.flops for p in ran) <= promise.flops
    assert sum(p.blocks for p in ran) <= promise.blocks
    assert max([p.peak_bytes for p in ran], default=0) <= promise.peak_bytes


def test_the_promise_of_a_request_is_that_of_all_its_checks():
    graph = graph_of(bowl, {"x": X})
    asks = tuple([Ask(Check(("x",), subject), {}) for subject in ("own", "hvp")])
    promise = prepare(Request(graph, {"x": graph.input_types[0]}, asks), BUDGET).promise
    each = [promise_check(graph, ask.query, BUDGET) for ask in asks]
    assert promise.flops >= sum(p.flops for p in each)
    assert promise.peak_bytes >= max(p.peak_bytes for p in each)


def test_it_is_more_than_the_first_round_and_not_beyond_use():
    """A passing check of 24 entries takes 1 round of many: the bound is a bound, not an estimate."""
    graph, query = graph_of(bowl, {"x": X}), Check(("x",))
    first, whole = plan_check(graph, query, BUDGET).promise, promise_check(graph, query, BUDGET)
    assert 2 * first.flops < whole.flops < 100 * first.flops


def test_a_budget_too_small_for_wide_rounds_makes_narrow_blocks_not_a_refusal():
    x = np.ones(20_000)
    graph = graph_of(bowl, {"x": x})
    wide = promise_check(graph, Check(("x",)), BUDGET).peak_bytes
    narrow = promise_check(graph, Check(("x",)), Budget(wide // 3))
    require_within(narrow, Budget(wide // 3))
    assert verdict_of(bowl, {"x": x}).right
    with pytest.raises(OverBudget):
        require_within(promise_check(graph, Check(("x",)), Budget(1_000_000)), Budget(1_000_000))
