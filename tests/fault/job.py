"""The job that faults strike: a Jacobian in blocks, asked through the public client, with the time of every result."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import backsweep as bs

Array = np.ndarray[Any, np.dtype[np.float64]]

SIZE = 600
STRIKE_AT = 3
"""The result after which the fault is done."""


def model(x: Any, A: Any, trips: int) -> Any:
    """x <- tanh(A x), `trips` times: a matrix product each, so that work is as long as wanted and blocks stay small."""
    return bs.fori_loop(0, trips, lambda _, y: np.tanh(A @ y), x)


@dataclass(frozen=True, slots=True)
class Job:
    """`trips`: of the loop, about 5 ms each in a block of 20 columns. `block`: columns of a block."""

    trips: int = 16
    block: int = 20
    size: int = SIZE

    def submit(self, service: bs.Service) -> bs.Function:
        A = np.random.default_rng(0).normal(size=(self.size, self.size)) / np.sqrt(self.size)
        return service.submit(lambda x, A: model(x, A, self.trips), x=bs.float64[self.size], A=A)

    def point(self) -> Array:
        return np.random.default_rng(1).normal(size=self.size)

    def undisturbed(self) -> Array:
        """What it must give: computed in this process, which must have one BLAS thread."""
        with bs.local() as service:
            return np.asarray(self.submit(service).jacobian(self.point(), mode="forward", block=self.block))


@dataclass(slots=True)
class Course:
    """What became of a job. `times`: when it was asked, of each result, and of its end; `struck`: when the fault was done, which is then also
    the time of the result it was done at: how long it takes to do is no wait.
    """

    times: list[float] = field(default_factory=list)
    struck: float = 0.0
    answer: Array | None = None
    error: BaseException | None = None

    @property
    def longest_wait(self) -> float:
        """Seconds between two results, or from the last to the end; before the first one Ray may be starting, so it counts from there."""
        moments = self.times[1:]
        return max((b - a for a, b in itertools.pairwise(moments)), default=0.0)

    @property
    def first_wait(self) -> float:
        return self.times[1] - self.times[0]

    @property
    def results(self) -> int:
        return len(self.times) - 2


def ask(function: bs.Function, job: Job, *, timeout: float, strike: Callable[[], None] | None = None) -> Course:
    """Asks the job and strikes at its third result. What it raises is kept, also an interrupt."""
    course = Course()

    def progress(done: int, _total: int) -> None:
        course.times.append(time.monotonic())
        if strike is not None and not course.struck and done >= STRIKE_AT:
            try:
                strike()
            finally:
                course.times[-1] = course.struck = time.monotonic()

    course.times.append(time.monotonic())
    try:
        course.answer = np.asarray(function.jacobian(job.point(), mode="forward", block=job.block, timeout=timeout, progress=progress))
    except (Exception, KeyboardInterrupt) as error:
        course.error = error
    course.times.append(time.monotonic())
    return course


@contextmanager
def asked_once(service: bs.Service) -> Iterator[None]:
    """Meanwhile the client does not repeat what may be repeated: what is raised is what the server said first."""
    transport: Any = service._transport
    transport._repeated = lambda once, blobs, deadline: once()
    try:
        yield
    finally:
        del transport._repeated
