"""The queue of blocks: who gets which block, and what a fault does to it. No Ray, no clock."""

from __future__ import annotations

import random
from typing import Any

import pytest

from backsweep_engine.errors import BLOCK_FAILED, VERSION_SKEW, Cancelled, ClusterLost, Fault, OverBudget
from backsweep_engine.execute.cluster import queue as rules
from backsweep_engine.execute.cluster.causes import OutOfMemory
from backsweep_engine.execute.cluster.queue import Action, Cancel, End, Ping, Queue, Replace, Start


def queue_of(lanes: int, platform: str = "p") -> Queue:
    queue = Queue()
    for lane in range(lanes):
        queue.lane_starting(lane)
        queue.lane_ready(lane, platform, "n")
    return queue


def opened(queue: Queue, blocks: int, *, job: int = 0, window: int = 1000, platform: str = "p", now: float = 0.0) -> None:
    queue.open(job, [0] * blocks, window, platform, now)


def starts(queue: Queue, now: float) -> list[Start]:
    """All decisions at `now`, which must be starts."""
    actions = queue.decide(now)
    assert all(isinstance(a, Start) for a in actions), actions
    return [a for a in actions if isinstance(a, Start)]


def heard(queue: Queue, now: float) -> None:
    """Every lane answers."""
    for lane in range(9):
        queue.lane_heard(lane, now)


def only(queue: Queue, kind: type[Action], now: float) -> list[Any]:
    return [a for a in queue.decide(now) if isinstance(a, kind)]


def test_each_lane_gets_two_blocks_and_the_last_blocks_are_not_queued_behind_others() -> None:
    queue = queue_of(2)
    opened(queue, 20)
    assert sorted(s.lane for s in starts(queue, 0.0)) == [0, 0, 1, 1]
    queue = queue_of(2)
    opened(queue, 3)
    assert sorted(s.lane for s in starts(queue, 0.0)) == [0, 1]


def test_a_client_that_takes_nothing_stops_the_lanes_at_the_window() -> None:
    queue = queue_of(2)
    opened(queue, 100, window=5)
    started = 0
    for step in range(50):
        for start in starts(queue, float(step) / 100):
            started += 1
            queue.finished(start.attempt, step / 100)
    assert started == 5
    queue.taken(0)
    queue.taken(0)
    assert len(starts(queue, 1.0)) == 2


def test_the_first_good_answer_is_delivered_and_the_second_is_not() -> None:
    queue = queue_of(2)
    opened(queue, 1)
    (first,) = starts(queue, 0.0)
    (second,) = only(queue, Start, rules.HEDGE_BLIND_SECONDS)
    assert (second.block, second.lane != first.lane) == (first.block, True)
    assert queue.finished(second.attempt, 6.0) == (0, 0, 2)
    assert queue.decide(6.0) == [Cancel(first.lane, (first.attempt,))]
    assert queue.finished(first.attempt, 6.1) is None
    assert queue.finished(second.attempt, 6.2) is None


@pytest.mark.parametrize("median", [0.1, 0.5])
def test_a_block_older_than_four_medians_and_a_second_is_hedged_once_onto_another_lane(median: float) -> None:
    queue = queue_of(2)
    opened(queue, 3)
    done, stuck = starts(queue, 0.0)
    queue.finished(done.attempt, median)
    (done,) = starts(queue, median)
    queue.finished(done.attempt, 2 * median)
    limit = max(rules.HEDGE_SECONDS, rules.HEDGE_FACTOR * median)
    heard(queue, limit - 0.02)
    assert only(queue, Start, limit - 0.01) == []
    (hedge,) = only(queue, Start, limit + 0.01)
    assert (hedge.block, hedge.lane) == (stuck.block, done.lane)
    assert only(queue, Start, limit + 2) == []


@pytest.mark.parametrize("finished", [0, 1], ids=["none finished", "long ones finished"])
def test_a_block_on_a_lane_that_owes_an_answer_is_hedged_after_seconds_whatever_its_sweep_takes(finished: int) -> None:
    queue = queue_of(2)
    opened(queue, 1 + finished)
    if finished:
        quick, mute = starts(queue, 0.0)
        queue.finished(quick.attempt, 100.0)
        queue.lane_heard(mute.lane, 100.0)
    else:
        (mute,) = starts(queue, 100.0)
    assert queue.decide(100.9) == []
    assert queue.decide(100.0 + rules.PING_SECONDS) == [Ping(mute.lane)]
    assert queue.decide(101.9) == []
    (hedge,) = starts(queue, 100.0 + rules.PING_SECONDS + rules.MUTE_SECONDS)
    assert (hedge.block, hedge.lane != mute.lane) == (mute.block, True)


def test_a_block_on_a_lane_that_answers_waits_for_its_hedge_as_long_as_its_sweep_says() -> None:
    queue = queue_of(2)
    opened(queue, 1)
    (start,) = starts(queue, 0.0)
    for now in range(1, int(rules.HEDGE_BLIND_SECONDS)):
        assert queue.decide(float(now)) == [Ping(start.lane)]
        queue.lane_heard(start.lane, float(now))
    assert only(queue, Start, rules.HEDGE_BLIND_SECONDS) != []


def test_a_dead_lane_charges_the_block_it_worked_on_and_not_the_one_behind() -> None:
    queue = queue_of(1)
    opened(queue, 20)
    poison, neighbour = starts(queue, 0.0)
    for life in range(1, rules.ATTEMPTS):
        queue.lane_lost(life - 1, ClusterLost("killed"))
        queue.lane_starting(life)
        queue.lane_ready(life, "p", "n")
        again = starts(queue, float(life))
        assert [s.block for s in again] == [poison.block, neighbour.block], "the same order again, first things first"
    queue.lane_lost(rules.ATTEMPTS - 1, ClusterLost("killed by the block"))
    (end,) = queue.decide(10.0)
    assert isinstance(end, End)
    assert isinstance(end.error, ClusterLost)
    assert "killed by the block" in end.error.message
    assert end.error.reason == BLOCK_FAILED
    assert f"block failed on {rules.ATTEMPTS} attempts" in end.error.message


def test_a_block_of_another_job_survives_the_lanes_that_a_poisonous_block_kills() -> None:
    queue = queue_of(1)
    opened(queue, 10, job=1)
    (_, _) = starts(queue, 0.0)
    opened(queue, 10, job=2)
    ended = set()
    for life in range(12):
        queue.lane_lost(life, ClusterLost("killed"))
        queue.lane_starting(life + 1)
        queue.lane_ready(life + 1, "p", "n")
        for action in queue.decide(float(life)):
            if isinstance(action, End):
                ended.add(action.job)
        if ended:
            break
    assert ended == {1}


def test_an_engine_error_ends_the_job_at_once_and_cancels_its_other_blocks() -> None:
    queue = queue_of(2)
    opened(queue, 20)
    first, *others = starts(queue, 0.0)
    queue.failed(first.attempt, Fault("broken"), 0.1)
    actions = queue.decide(0.1)
    (end,) = [a for a in actions if isinstance(a, End)]
    assert end.error.message == "broken"
    cancelled = {n for a in actions if isinstance(a, Cancel) for n in a.attempts}
    assert cancelled >= {s.attempt for s in others}
    assert not [a for a in actions if isinstance(a, Start)]


def nodes_of(lanes: str) -> Queue:
    """A lane on each node named."""
    queue = Queue()
    for lane, node in enumerate(lanes):
        queue.lane_starting(lane)
        queue.lane_ready(lane, "p", node)
    return queue


def test_a_block_without_memory_is_tried_four_times_and_then_over_budget_which_nobody_repeats() -> None:
    queue = queue_of(1)
    opened(queue, 1)
    for attempt in range(rules.ATTEMPTS):
        (start,) = starts(queue, float(attempt))
        queue.failed(start.attempt, OutOfMemory("the lane could not allocate"), attempt + 0.5)
    (end,) = queue.decide(9.0)
    assert isinstance(end, End) and isinstance(end.error, OverBudget)
    assert "could not allocate" in end.error.message and "block=" in end.error.hint


def test_a_block_that_ran_out_of_memory_runs_alone_on_its_node_and_on_another_lane_of_it() -> None:
    queue = nodes_of("mm")
    opened(queue, 40)
    large, *others = sorted(starts(queue, 0.0), key=lambda start: start.lane)
    queue.failed(large.attempt, OutOfMemory("no"), 0.1)
    for step, start in enumerate(others):
        assert starts(queue, 0.2 + step / 10) == [], "nothing new begins while it waits for its node"
        queue.finished(start.attempt, 0.25 + step / 10)
    (again,) = starts(queue, 1.0)
    assert (again.block, again.lane) == (large.block, 1 - large.lane)
    assert only(queue, Start, 3.0) == [], "nothing runs beside it, a hedge neither"
    assert queue.finished(again.attempt, 3.1) == (0, large.block, 2)
    assert {s.lane for s in starts(queue, 3.2)} == {0, 1}


def test_a_block_that_ran_out_of_memory_goes_to_the_nodes_where_it_failed_least() -> None:
    queue = Queue()
    for lane, node in enumerate("ab"):
        queue.lane_starting(lane)
        queue.lane_ready(lane, "p", node)
    opened(queue, 1)
    (first,) = starts(queue, 0.0)
    lanes = [first.lane]
    for step in range(1, rules.ATTEMPTS):
        queue.failed(first.attempt, OutOfMemory("no memory"), float(step))
        (first,) = starts(queue, float(step))
        lanes.append(first.lane)
    assert lanes == [0, 1, 0, 1]


def test_an_out_of_memory_block_gets_a_whole_node_while_the_other_nodes_go_on() -> None:
    queue = nodes_of("mn")
    opened(queue, 1000)
    first, *others = starts(queue, 0.0)
    queue.failed(first.attempt, OutOfMemory("no"), 0.1)
    for step in range(2, 60):
        now = step / 100
        begun = starts(queue, now)
        if any(s.block == first.block for s in begun):
            break
        for start in others:
            queue.finished(start.attempt, now)
        others = begun
    (again,) = [s for s in begun if s.block == first.block]
    for start in [*others, *begun]:
        if start is not again:
            queue.finished(start.attempt, 0.6)
    beside = []
    for step in range(61, 80):
        beside += starts(queue, step / 100)
        for start in beside:
            assert start.lane != again.lane
            queue.finished(start.attempt, step / 100)
    assert beside
    queue.finished(again.attempt, 0.9)
    assert again.lane in {s.lane for s in starts(queue, 0.91)}


def test_a_node_kept_for_a_block_whose_job_is_dropped_works_for_others_again() -> None:
    queue = queue_of(2)
    opened(queue, 1, job=1)
    (start,) = starts(queue, 0.0)
    queue.failed(start.attempt, OutOfMemory("no"), 0.1)
    (_,) = starts(queue, 0.2)
    queue.drop(1)
    queue.decide(0.3)
    opened(queue, 1, job=2)
    assert len(starts(queue, 0.4)) == 1


def test_a_dropped_job_frees_its_lanes_when_they_have_answered() -> None:
    queue = queue_of(1)
    opened(queue, 20, job=1)
    running = starts(queue, 0.0)
    queue.drop(1)
    opened(queue, 1, job=2)
    assert queue.decide(0.1) == [Cancel(0, tuple(s.attempt for s in running))]
    for start in running:
        queue.failed(start.attempt, Cancelled("stopped"), 0.2)
    assert [(s.job, s.block) for s in starts(queue, 0.3)] == [(2, 0)]


def test_two_jobs_share_the_lanes() -> None:
    queue = queue_of(2)
    opened(queue, 100, job=1)
    opened(queue, 100, job=2)
    assert sorted(s.job for s in starts(queue, 0.0)) == [1, 1, 2, 2]


def test_a_busy_lane_that_answers_no_ping_is_replaced_and_an_answering_one_is_not() -> None:
    for answers in (False, True):
        queue = queue_of(1)
        opened(queue, 1)
        (start,) = starts(queue, 0.0)
        replaced = []
        for now in range(1, 40):
            for action in queue.decide(float(now)):
                if isinstance(action, Ping) and answers:
                    queue.lane_heard(action.lane, float(now))
                if isinstance(action, Replace):
                    replaced.append(now)
        assert replaced == ([] if answers else [int(rules.SILENT_SECONDS)])
        if not answers:
            queue.lane_starting(1)
            queue.lane_ready(1, "p", "n")
            assert [s.block for s in starts(queue, 40.0)] == [start.block]


def test_a_lane_that_finishes_blocks_is_not_pinged() -> None:
    queue = queue_of(1)
    opened(queue, 100)
    waiting = starts(queue, 0.0)
    for now in range(1, 30):
        queue.finished(waiting.pop(0).attempt, float(now))
        waiting += starts(queue, now + 0.5)


def test_a_job_runs_on_lanes_of_one_platform_only() -> None:
    queue = Queue()
    for lane, platform in enumerate("abba"):
        queue.lane_starting(lane)
        queue.lane_ready(lane, platform, "n")
    opened(queue, 100, platform="b")
    assert {s.lane for s in starts(queue, 0.0)} == {1, 2}


def test_a_job_waits_for_its_platform_while_lanes_start() -> None:
    queue = Queue()
    for lane in range(3):
        queue.lane_starting(lane)
    opened(queue, 100, platform="mine")
    queue.lane_ready(0, "a", "n")
    queue.lane_ready(1, "b", "n")
    assert queue.decide(1.0) == []
    queue.lane_ready(2, "mine", "n")
    assert {s.lane for s in starts(queue, 2.0)} == {2}


def test_a_job_ends_rather_than_run_on_another_platform_and_is_told_where_they_differ() -> None:
    queue = queue_of(2, "linux; numpy 2.5.0; AVX2; backsweep 0.1.0")
    opened(queue, 10, platform="linux; numpy 2.4.0; AVX2; backsweep 0.1.0")
    (end,) = queue.decide(0.0)
    assert isinstance(end, End) and isinstance(end.error, ClusterLost)
    assert (end.error.reason, end.error.got, end.error.allowed) == (VERSION_SKEW, "numpy 2.5.0", "numpy 2.4.0")


def test_a_job_without_any_lane_gives_up_after_its_patience() -> None:
    queue = Queue()
    queue.lane_starting(0)
    opened(queue, 10)
    assert queue.decide(rules.PATIENCE_SECONDS - 1) == []
    (end,) = queue.decide(rules.PATIENCE_SECONDS)
    assert isinstance(end, End)


@pytest.mark.parametrize("seed", range(30))
def test_under_any_faults_each_block_comes_once_or_its_job_ends(seed: int) -> None:
    """Lanes that die, hang, fail and take their time, jobs of several sizes and clients of several speeds."""
    draw = random.Random(seed)
    queue = queue_of(3)
    next_lane, now = 3, 0.0
    alive = {0, 1, 2}
    sizes = {1: 40, 2: 1, 3: 25}
    windows = {1: 4, 2: 1, 3: 12}
    for job, size in sizes.items():
        opened(queue, size, job=job, window=windows[job])
    flights: dict[int, list[Start]] = {lane: [] for lane in alive}
    hung: set[int] = set()
    delivered: list[tuple[int, int]] = []
    untaken = dict.fromkeys(sizes, 0)
    ended: set[int] = set()
    for _ in range(6000):
        now += 0.05
        for action in queue.decide(now):
            match action:
                case Start():
                    assert action.lane in alive
                    assert action.job not in ended
                    flights[action.lane].append(action)
                    assert len(flights[action.lane]) <= rules.DEPTH
                    distinct = {s.block for f in flights.values() for s in f if s.job == action.job and (s.job, s.block) not in delivered}
                    assert len(distinct) + untaken[action.job] <= windows[action.job]
                case Ping() if action.lane not in hung:
                    queue.lane_heard(action.lane, now)
                case Replace():
                    assert action.lane in hung
                    alive.discard(action.lane)
                    flights.pop(action.lane)
                    alive.add(next_lane)
                    flights[next_lane] = []
                    queue.lane_starting(next_lane)
                    queue.lane_ready(next_lane, "p", "n")
                    next_lane += 1
                case End():
                    ended.add(action.job)
        for lane in sorted(alive):
            if lane in hung or not flights[lane] or draw.random() < 0.5:
                continue
            fate = draw.random()
            if fate < 0.01:
                queue.lane_lost(lane, ClusterLost("died"))
                alive.discard(lane)
                flights.pop(lane)
                alive.add(next_lane)
                flights[next_lane] = []
                queue.lane_starting(next_lane)
                queue.lane_ready(next_lane, "p", "n")
                next_lane += 1
            elif fate < 0.02:
                hung.add(lane)
            elif fate < 0.06:
                error = OutOfMemory("no") if fate < 0.04 else ClusterLost("no")
                queue.failed(flights[lane].pop(0).attempt, error, now)
            else:
                done = queue.finished(flights[lane].pop(0).attempt, now)
                if done is not None:
                    assert done[:2] not in delivered
                    assert done[0] not in ended
                    delivered.append(done[:2])
                    untaken[done[0]] += 1
        for job in sizes:
            if untaken[job] and draw.random() < 0.3:
                untaken[job] -= 1
                queue.taken(job)
    for job, size in sizes.items():
        if job not in ended:
            assert sorted(b for j, b in delivered if j == job) == list(range(size))
