"""Blocks that a lane has no memory for: where they are tried again, alone on a node, and when they are given up."""

from __future__ import annotations

from backsweep_engine.errors import OverBudget
from backsweep_engine.execute.cluster import queue as rules
from backsweep_engine.execute.cluster.causes import OutOfMemory
from backsweep_engine.execute.cluster.queue import End, Queue, Start
from support.queues import nodes_of, only, opened, queue_of, starts


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
