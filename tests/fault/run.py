"""Does one fault to a running job and says what came of it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cache

import threadpoolctl

from backsweep_engine.errors import Error

from .job import Array, Course, Job, ask, asked_once
from .scene import Scene
from .table import ANSWER, INTERRUPTED, Fault

SETTLED = Job()
"""Asked before and after each fault; short."""
FIRST_SECONDS = 15.0
"""After a fault, the first result of the next job comes within this: lanes are free, a driver that is gone has been replaced."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`got`: ANSWER or the error's reason. `wait`: the longest between two results, or from the strike to the error. `left`: what was left behind or
    not put back. `again_seconds`: to the first result of the next job.
    """

    fault: Fault
    got: str
    message: str
    same_bits: bool | None
    wait_seconds: float
    again_seconds: float
    left: tuple[str, ...]

    @property
    def right(self) -> bool:
        came = self.got == self.fault.expected and self.same_bits is not False
        return came and self.wait_seconds <= self.fault.bound_seconds and self.again_seconds <= FIRST_SECONDS and not self.left


@cache
def undisturbed(job: Job) -> Array:
    """What the job must give, bit for bit, computed without server and cluster."""
    import scipy.linalg  # noqa: F401  # loads SciPy's own BLAS, so that it is limited too

    with threadpoolctl.threadpool_limits(1):
        return job.undisturbed()


def strike(scene: Scene, fault: Fault) -> Outcome:
    """Runs the fault's job on a scene that is whole and leaves it whole."""
    settle(scene)
    fault.before(scene)
    function = fault.job.submit(scene.service)
    with nullcontext() if fault.repeat else asked_once(scene.service):
        course = ask(function, fault.job, timeout=fault.timeout, strike=lambda: fault.strike(scene))
    fault.relief(scene)
    if scene.machines is not None:
        scene.machines.mend()
    again = ask(SETTLED.submit(scene.service), SETTLED, timeout=60)
    left = scene.unlike_before()
    if not _same(again, SETTLED):
        left.append(f"the next job: {again.error or 'other bits'}")
    got, message = _got(course)
    return Outcome(
        fault,
        got,
        message,
        _same(course, fault.job) if got == ANSWER else None,
        _wait(course, fault),
        again.first_wait,
        tuple(left),
    )


def settle(scene: Scene) -> None:
    """One undisturbed job: lanes are there and warm."""
    course = ask(SETTLED.submit(scene.service), SETTLED, timeout=90)
    left = scene.unlike_before()
    assert course.error is None and not left, f"before the fault: {course.error or ', '.join(left)}"


def _got(course: Course) -> tuple[str, str]:
    match course.error:
        case None:
            return ANSWER, ""
        case Error() as error:
            return error.reason, error.message
        case KeyboardInterrupt():
            return INTERRUPTED, ""
        case error:
            return type(error).__name__, str(error)


def _same(course: Course, job: Job) -> bool:
    return course.answer is not None and course.answer.tobytes() == undisturbed(job).tobytes()


def _wait(course: Course, fault: Fault) -> float:
    """Of an error without a strike: from the deadline where that is the fault, else from the asking."""
    if course.error is None:
        return course.longest_wait
    began = course.times[0] + (fault.timeout if fault.expected == "DEADLINE" else 0.0)
    return course.times[-1] - (course.struck or began)


class Stage:
    """The scene that stands, kept while the next fault can use it: of one kind with it, and whole."""

    def __init__(self) -> None:
        self._scene: Scene | None = None
        self._of: Fault | None = None
        self._whole = True

    def ready_for(self, fault: Fault) -> list[str]:
        """Sets a scene for this fault; says what the one before left behind if it had to go."""
        before, left = self._of, []
        if before is not None and (not self._whole or (before.joined, before.environment) != (fault.joined, fault.environment)):
            left = self.close()
        if self._scene is None:
            self._scene = Scene(fault.joined, fault.environment)
        self._of = fault
        return left

    def do(self, fault: Fault) -> Outcome:
        """What came of the fault; a scene after anything wrong is not used again."""
        assert self._scene is not None and self._of is fault
        self._whole = False
        outcome = strike(self._scene, fault)
        self._whole = outcome.right
        return outcome

    def close(self) -> list[str]:
        scene, self._scene, self._of, self._whole = self._scene, None, None, True
        return scene.close() if scene is not None else []
