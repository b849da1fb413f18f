"""`backsweep demo --fault`: a worker is killed in front of the user, and the answer has the same bits. Exit status 0 only if it has."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np

import backsweep as bs
from backsweep_engine.execute.cluster import session

from . import model
from .data import load
from .run import Comparisons
from .server import server

RESAMPLES = 400
"""The table so many times over, drawn with replacement: a Jacobian of 227,600 x 31."""
KILL_AT = 3
AGAIN_SECONDS = 15.0
"""A new worker takes Ray about a second."""


class Clock:
    """Prints lines with the seconds since the job was asked."""

    def __init__(self) -> None:
        self.began = time.monotonic()

    def say(self, line: str) -> None:
        print(f"  {time.monotonic() - self.began:6.2f} s  {line}", flush=True)


def run() -> int:
    """The walk. Needs Linux: workers are found in /proc."""
    if not sys.platform.startswith("linux"):
        raise bs.Error("no worker can be found here to kill", reason="NOT_LINUX", got=sys.platform, allowed="linux", hint="run it in a container")
    X, y = load()
    rows = np.random.default_rng(20260101).integers(0, len(y), RESAMPLES * len(y))
    X, y = X[rows], y[rows]
    w: Any = np.random.default_rng(20260101).normal(size=X.shape[1])
    held, clock = Comparisons(), Clock()
    print(f"data: Wisconsin Diagnostic Breast Cancer, resampled to {len(y):,} rows x {X.shape[1]} (UCI, CC BY 4.0)")
    with server("cluster", lambda line: _of_the_lanes(line, clock)) as started, bs.connect(started.address) as service:
        losses = service.submit(model.losses, w=bs.float64[len(w)], X=X, y=y)
        print(f"server: process {started.pid}; asked is the {len(y):,} x {len(w)} Jacobian of the per-example losses, in blocks of one column\n")

        print("undisturbed (Ray starts first):")
        undisturbed, _ = _asked(losses, w, clock, lambda: None)
        (driver,) = session.drivers(started.pid)
        before = session.lanes(driver)
        clock.say(f"the driver is process {driver}, its workers are {' and '.join(map(str, before))}")
        held.show("jacobian", undisturbed, model.jacobian(w, X, y))

        print(f"\nthe same again, and a worker is killed when {KILL_AT} blocks have come:")

        def kill() -> None:
            clock.say(f"{KILL_AT} blocks have come: kill -9 {before[0]}")
            os.kill(before[0], signal.SIGKILL)

        disturbed, wait = _asked(losses, w, clock, kill)
        held.show("jacobian", disturbed, model.jacobian(w, X, y))
        same = disturbed.tobytes() == undisturbed.tobytes()
        held.held(same, f"same bits as the undisturbed run: {'yes' if same else 'NO'}, all {disturbed.nbytes:,} bytes")
        held.held(wait <= 2.0, f"longest wait between two blocks: {wait:.2f} s (bound 2 s)")
        after = _workers(driver, before)
        new = [pid for pid in after if pid not in before]
        held.held(len(after) == len(before) and len(new) == 1, f"process {before[0]} was replaced by {' and '.join(map(str, new)) or 'none'}")
    print("the answer survived" if held.all_held else "SOMETHING DID NOT HOLD")
    return 0 if held.all_held else 1


def _asked(losses: bs.Function, w: Any, clock: Clock, strike: Callable[[], None]) -> tuple[Any, float]:
    """The Jacobian, and the longest wait between two blocks; `strike` is done once, when KILL_AT blocks have come."""
    clock.began = time.monotonic()
    times: list[float] = []

    def progress(done: int, total: int) -> None:
        times.append(time.monotonic())
        if done == 1:
            clock.say(f"the first of {total} blocks has come")
        if len(times) == KILL_AT:
            strike()

    jacobian = losses.jacobian(w, block=1, progress=progress)
    clock.say("all blocks have come")
    return jacobian, max(b - a for a, b in pairwise(times))


def _of_the_lanes(line: str, clock: Clock) -> None:
    """Prints what the server logs of its lanes, and its warnings."""
    _, found, message = line.partition(" backsweep.cluster ")
    if found or " WARNING " in line:
        clock.say(f"the server says: {message or line}")


def _workers(driver: int, before: list[int]) -> list[int]:
    """The worker processes, once there are as many as before."""
    deadline = time.monotonic() + AGAIN_SECONDS
    while len(found := session.lanes(driver)) != len(before) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found
