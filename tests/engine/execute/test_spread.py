"""Where blocks run: the choice, its reasons, and that no choice changes bits."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
import threadpoolctl

from backsweep_engine.execute.cluster import child
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.execute.spread import START_SECONDS, Spread, choose, lanes_seconds, work_seconds
from backsweep_engine.plan.plan import Plan
from support.plans import assert_same_bits, collected, jacobian_plan, jacobian_values

SIZE = 300
PLAN, VALUES = jacobian_plan(SIZE, 30), jacobian_values(SIZE)
"""10 blocks of less than a millisecond."""


@pytest.fixture(autouse=True)
def _one_blas_thread() -> Iterator[None]:
    import scipy.linalg  # noqa: F401

    with threadpoolctl.threadpool_limits(1):
        yield


CHOICES: dict[str, tuple[Plan, float | None, int, bool, str]] = {
    "one block": (jacobian_plan(SIZE, SIZE, products=2000), None, 8, True, "local"),
    "small work, Ray running": (PLAN, None, 8, True, "local"),
    "small work, no Ray": (PLAN, None, 8, False, "local"),
    "long work, Ray running": (PLAN, 2.0, 2, True, "cluster"),
    "work of two seconds does not wait for Ray": (PLAN, 2.0, 2, False, "local"),
    "a minute's work does": (PLAN, 60.0, 2, False, "cluster"),
    "one lane is no sooner": (PLAN, 60.0, 1, True, "local"),
    "much work by its costs": (jacobian_plan(SIZE, 30, products=2000), None, 2, True, "cluster"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_work_goes_where_it_is_done_sooner(name: str) -> None:
    plan, seconds, lanes, started, wanted = CHOICES[name]
    choice = choose(plan, lanes, started, seconds)
    assert choice.executor == wanted, choice


def test_the_reason_says_both_times_and_where_the_first_is_from() -> None:
    assert str(choose(PLAN, 2, False, 60.0)) == "cluster: 10 blocks of 60 s in all, as measured before; over 2 lanes 45 s, Ray's start included"
    assert "by their costs" in choose(PLAN, 1, True).why and "over 1 lane " in choose(PLAN, 1, True).why
    assert choose(jacobian_plan(SIZE, SIZE), 2, True).why == "it is not cut into several blocks"


def test_the_time_over_lanes_grows_with_blocks_and_bytes_and_shrinks_with_lanes_no_further_than_there_are_blocks() -> None:
    """T = 4 ms + 2.5 ms a block + 3 ms a megabyte + 1.3 W / min(P, blocks), as measured in the findings."""
    moved = (SIZE * SIZE + SIZE + SIZE * SIZE) * 8 / 1e6  # A, the residual, the Jacobian
    assert lanes_seconds(PLAN, 2, 10.0) == pytest.approx(0.004 + 10 * 0.0025 + moved * 0.003 + 1.3 * 10.0 / 2)
    assert lanes_seconds(PLAN, 100, 10.0) == lanes_seconds(PLAN, 10, 10.0) < lanes_seconds(PLAN, 2, 10.0)


@pytest.mark.parametrize("plan", [PLAN, jacobian_plan(600, 60, products=20), jacobian_plan(100, 1, products=3)], ids=["small", "products", "rows one by one"])
def test_work_guessed_from_costs_is_right_to_a_factor(plan: Plan) -> None:
    """Loose: it is a guess, on any machine. A factor of 20 would send work to lanes that takes a tenth of Ray's start."""
    values = jacobian_values(plan.sweeps[0].rows)
    taken = []
    for _ in range(3):
        before = time.process_time()
        collected(Local().blocks(plan, values, never))
        taken.append(time.process_time() - before)
    assert min(taken) / 20 < work_seconds(plan) < min(taken) * 20


def test_what_a_plan_took_decides_where_it_runs_the_next_time() -> None:
    spread = Spread(Local(), Cluster(lanes=2))
    plan = jacobian_plan(SIZE, 30)
    assert "by their costs" in spread.choice(plan).why
    collected(spread.blocks(plan, VALUES, never))
    assert "as measured before" in spread.choice(plan).why
    assert not spread.cluster.started
    spread.close()


def test_long_work_without_any_ray_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "NEEDED", ("no_such_ray",))
    spread = Spread(Local(), Cluster(fallback_local=True, meanwhile=True), always=True)
    assert_same_bits(collected(spread.blocks(PLAN, VALUES, never)), collected(Local().blocks(PLAN, VALUES, never)))
    spread.close()


@pytest.mark.cluster
def test_while_ray_starts_blocks_are_done_here_and_the_rest_on_lanes_with_the_same_bits() -> None:
    spread = Spread(Local(), Cluster(lanes=1, fallback_local=True, meanwhile=True), always=True)
    try:
        found = []
        began = time.monotonic()
        for block in spread.blocks(PLAN, VALUES, never):
            found.append(block)
            if len(found) == 4:
                assert time.monotonic() - began < START_SECONDS / 2, "the first blocks waited for Ray"
                while not spread.cluster.started and time.monotonic() - began < 60:
                    time.sleep(0.05)
    finally:
        spread.close()
    where = [block.lane >= 0 for block in found[1:]]
    assert where == sorted(where) and where[0] is False and where[-1] is True, "first here, then there"
    assert_same_bits(collected(found), collected(Local().blocks(PLAN, VALUES, never)))
