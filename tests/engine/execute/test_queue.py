"""The queue of blocks: who gets which block, and what a fault does to it. No Ray, no clock."""

from __future__ import annotations

import random

import pytest

from backsweep_engine.errors import BLOCK_FAILED, VERSION_SKEW, Cancelled, ClusterLost, Fault
from backsweep_engine.execute.cluster import queue as rules
from backsweep_engine.execute.cluster.causes import OutOfMemory
from backsweep_engine.execute.cluster.queue import Cancel, End, Ping, Queue, Replace, Start
from support.queues import heard, only, opened, queue_of, starts


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
