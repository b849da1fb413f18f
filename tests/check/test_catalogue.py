"""The catalogue's figures: every planted fault above the stated bound is caught, and no sound gradient is blamed.

"The stated bound" is the verdict's own: what it says a single entry's error is excluded above. A fault whose largest
error is below that is counted, not excused: the counts are held too. The whole (sizes x 20 seeds) is slow; a few seeds at
small sizes run with every test.
"""

from functools import lru_cache

import numpy as np
import pytest

from backsweep_engine.check.verdict import Outcome
from support.catalogue import FAULTS, MAY_DOUBT, SEEDS, SIZES, SOUND, Model, planted, sound
from support.checking import verdict_of

FEW = 2
WHOLE = [pytest.param(n, SEEDS, marks=pytest.mark.slow, id=f"n={n}, whole") for n in SIZES]
FAST = [pytest.param(n, range(FEW), id=f"n={n}") for n in SIZES[:2]]


@lru_cache(maxsize=64)
def function(model: Model):
    return lambda x, c: model.value(np, x, c)


def judged(model, x, c, gradient, seed):
    """At most one entry is named: it is the outcome that counts here, and a search among 100,000 costs."""
    return verdict_of(function(model), {"x": x, "c": c}, {"x": gradient}, seed=seed, max_worst=1)


def test_there_are_forty_kinds_of_faults_and_more():
    assert len(FAULTS) >= 40
    assert {FAULTS[name].model for name in FAULTS} <= set(SOUND)


@pytest.mark.parametrize("n, seeds", [*FAST, *WHOLE])
@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_above_the_stated_bound_is_caught(name, n, seeds):
    below = 0
    for seed in seeds:
        model, x, c, wrong, right = planted(name, n, seed)
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


@pytest.mark.parametrize("n, seeds", [*FAST, *WHOLE])
@pytest.mark.parametrize("name", SOUND)
def test_no_sound_gradient_is_blamed(name, n, seeds):
    # As many sound gradients as faults: the seeds are doubled.
    outcomes = []
    for seed in [*seeds, *[1000 + s for s in seeds]]:
        x, c, gradient = sound(name, n, seed)
        verdict = judged(SOUND[name], x, c, gradient, seed)
        assert verdict.outcome is not Outcome.WRONG, (seed, verdict)
        outcomes.append(verdict.outcome)
    if name not in MAY_DOUBT:
        assert set(outcomes) == {Outcome.RIGHT}, outcomes
