"""The catalogue's figures: every planted fault above the stated bound is caught, and no sound gradient is blamed.

"The stated bound" is the verdict's own: what it says a single entry's error is excluded above. A fault whose largest
error is below that is counted, not excused: the counts are held too. The whole (sizes x 20 seeds) is slow; a few seeds at
small sizes run with every test. Among 100,000 entries the search for those at fault costs ten times what finds that there are any:
there only SEARCHED seeds go through it, the others stop at the evidence that decides the outcome.
"""

from functools import lru_cache

import numpy as np
import pytest

from backsweep_engine.check.check import evidence
from backsweep_engine.check.findings import is_rough
from backsweep_engine.check.probe import Bench, lines
from backsweep_engine.check.report import Evidence, excluded
from backsweep_engine.check.subject import given_gradient
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.plan.make import Budget
from backsweep_engine.query import Check
from support.catalogue import FAULTS, MAY_DOUBT, SEEDS, SIZES, SOUND, Model, planted, sound
from support.checking import graph_of, verdict_of

FEW = 2
SEARCHED = 1
WHOLE = [pytest.param(n, SEEDS, marks=pytest.mark.slow, id=f"n={n}, whole") for n in SIZES]
FAST = [pytest.param(n, range(FEW), id=f"n={n}") for n in SIZES[:2]]


@lru_cache(maxsize=64)
def function(model: Model):
    return lambda x, c: model.value(np, x, c)


def judged(model, x, c, gradient, seed):
    """At most one entry is named: it is the outcome that counts here, and a search among 100,000 costs."""
    return verdict_of(function(model), {"x": x, "c": c}, {"x": gradient}, seed=seed, max_worst=1)


def decided(model, x, c, gradient, seed):
    """Whether the evidence says WRONG, and the error of one entry that it excludes."""
    graph = graph_of(function(model), {"x": x, "c": c})
    query = Check(("x",), "given", seed)
    bench = Bench(lines(graph, ("x",), seed, query.directions), {"x": x, "c": c}, Local(), never, Budget(), 0)
    seen = evidence(bench, lambda bench: given_gradient(bench.lines, {"x": gradient}), query)
    assert isinstance(seen, Evidence), seen
    return bool(seen.judged.evident.any()) and not is_rough(seen.trial, seen.judged), excluded(bench.lines, seen.judged)


def test_there_are_forty_kinds_of_faults_and_more():
    assert len(FAULTS) >= 40
    assert {FAULTS[name].model for name in FAULTS} <= set(SOUND)


@pytest.mark.parametrize("n, seeds", [*FAST, *WHOLE])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_above_the_stated_bound_is_caught(name, n, seeds):
    below = 0
    for seed in seeds:
        model, x, c, wrong, right = planted(name, n, seed)
        if n == SIZES[-1] and seed >= SEARCHED:
            caught, bound = decided(model, x, c, wrong, seed)
            assert caught, (seed, bound)
            continue
        verdict = judged(model, x, c, wrong, seed)
        error = np.abs(wrong.astype(float) - right)
        largest = np.inf if not np.isfinite(error).all() else error.max()
        if verdict.outcome is not Outcome.WRONG:
            assert verdict.right, (seed, verdict)
            assert largest <= verdict.smallest_excluded_error, (seed, largest, verdict)
            below += 1
        else:
            for e in verdict.worst:
                assert not abs(e.got - right[e.index]) <= 1e-3 * e.bound, (seed, verdict)  # the entry named is one at fault
    assert below == 0


@pytest.mark.parametrize("name", SOUND)
def test_a_check_that_passes_at_100_dimensions_costs_at_most_60_evaluations(name):
    for seed in range(FEW):
        x, c, gradient = sound(name, 100, seed)
        for given in ({"x": gradient}, None):
            verdict = verdict_of(function(SOUND[name]), {"x": x, "c": c}, given, seed=seed)
            assert verdict.outcome is not Outcome.WRONG
            assert not verdict.right or verdict.evaluations <= 60


@pytest.mark.parametrize("n, seeds", [*FAST, *WHOLE])
@pytest.mark.parametrize("name", SOUND)
def test_no_sound_gradient_is_blamed(name, n, seeds):
    # As many sound gradients as faults: the seeds are doubled, where that does not take minutes.
    outcomes = []
    for seed in [*seeds, *([1000 + s for s in seeds] if n < SIZES[-1] else [])]:
        x, c, gradient = sound(name, n, seed)
        verdict = judged(SOUND[name], x, c, gradient, seed)
        assert verdict.outcome is not Outcome.WRONG, (seed, verdict)
        outcomes.append(verdict.outcome)
    if name not in MAY_DOUBT:
        assert set(outcomes) == {Outcome.RIGHT}, outcomes
