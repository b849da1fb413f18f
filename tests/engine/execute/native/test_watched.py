"""Outputs that native code sums up while it has them are known to be finite; of all others nothing is claimed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import run_once
from backsweep_engine.execute.program import Program
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.regions import TILE
from backsweep_engine.query import Gradient
from support.graphs import F64, build

N = 3 * TILE + 5


def _rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "one output": lambda x: np.sqrt(x * x) + 1,
    "two, one of them an input's square": lambda x: (x * x, np.tanh(x) * 2),
    "a sum of paddings": lambda x: np.pad(x * 2, (0, 1)) + np.pad(x * x, (1, 0)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("bad", [None, np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("at", [0, TILE, N - 1])
def test_what_is_said_to_be_finite_is(name: str, bad: float | None, at: int) -> None:
    program = Program(build(FUNCTIONS[name], x=F64[N]), Tier.NATIVE)
    x = np.random.default_rng(0).normal(size=N)
    if bad is not None:
        x[at] = bad
    results, known = program.ready()([x], never)
    finite = {k for k, y in enumerate(results) if np.isfinite(y).all()}
    assert known == finite, "and nothing finite was missed, since no sum overflows"
    plain, known = Program(build(FUNCTIONS[name], x=F64[N])).ready()([x], never)
    assert known == frozenset()
    for a, b in zip(results, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=4e-15)


def test_a_sum_that_overflows_claims_nothing() -> None:
    results, known = Program(build(lambda x: (x * 2, x * 0.5 + 1), x=F64[N]), Tier.NATIVE).ready()([np.full(N, 4e307)], never)
    assert known == frozenset() and np.isfinite(results[0]).all()


def test_the_blocks_of_a_plan_say_so() -> None:
    plan = make_plan(build(_rosenbrock, x=F64[N]), [Ask(Gradient(("x",)), {})], Budget())
    x = np.random.default_rng(0).normal(size=N)
    assert [block.finite for block in run_once(plan.on(Tier.NATIVE), {"x": x}, never)[0]] == [True]
    assert [block.finite for block in run_once(plan, {"x": x}, never)[0]] == [False]
