"""A queue of blocks with lanes that are ready, and what it decides, asked without Ray or a clock."""

from __future__ import annotations

from typing import Any

from backsweep_engine.execute.cluster.queue import Action, Queue, Start


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


def nodes_of(lanes: str) -> Queue:
    """A lane on each node named."""
    queue = Queue()
    for lane, node in enumerate(lanes):
        queue.lane_starting(lane)
        queue.lane_ready(lane, "p", node)
    return queue
