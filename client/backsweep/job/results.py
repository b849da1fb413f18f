"""What became of each case, and what that means for the job: values only."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass

from backsweep_engine.check.verdict import Outcome, Verdict

from .scene import Scene
from .suite import Case


class Status(enum.Enum):
    """The finding about a case, loudest first: the order is that of reports."""

    WRONG = "wrong"
    FAILED = "could not run"
    CANNOT_TELL = "cannot tell"
    NOT_RUN = "not run"
    """the job was stopped, or failed fast, before it"""
    RIGHT = "right"


STATUS_OF = {Outcome.RIGHT: Status.RIGHT, Outcome.WRONG: Status.WRONG, Outcome.CANNOT_TELL: Status.CANNOT_TELL}


@dataclass(frozen=True, slots=True)
class Result:
    """A case and what was found. `verdict` and `key` (the digest it is kept under): None and "" if it was not run.

    `why`: one line or a few; of a verdict its own reason, or the suite's bound that it does not meet.
    """

    case: Case
    status: Status
    why: str
    verdict: Verdict | None = None
    key: str = ""
    scenes: tuple[Scene, ...] = ()


def judged(case: Case, verdict: Verdict, key: str, scenes: tuple[Scene, ...]) -> Result:
    """A verdict in the light of the suite's bound: "right" is not enough where it excludes too little."""
    status, why = STATUS_OF[verdict.outcome], verdict.why
    bound = case.spec.bound
    if status is Status.RIGHT and not verdict.smallest_excluded_error <= bound:
        status = Status.CANNOT_TELL
        why = f"it excludes errors above {verdict.smallest_excluded_error:.2g} only, the suite asks for {bound:g}; {why}"
    return Result(case, status, why, verdict, key, scenes)


def exit_status(results: Sequence[Result]) -> int:
    """1: a gradient is wrong. Else 3: a case could not be run. Else 2: of a case nothing can be told. Else 0.

    In this order: what a job found wrong is not hidden by what it could not look at, and what it could not
    look at is worse than what it looked at in vain. NOT_RUN counts for nothing: fail-fast leaves such
    cases behind one that counts, and a job stopped from outside has a status of its own.
    """
    seen = {result.status for result in results}
    for status, code in ((Status.WRONG, 1), (Status.FAILED, 3), (Status.CANNOT_TELL, 2)):
        if status in seen:
            return code
    return 0


def counts(results: Sequence[Result]) -> dict[Status, int]:
    """How many of each, of those there are."""
    found = {status: sum(result.status is status for result in results) for status in Status}
    return {status: n for status, n in found.items() if n}


def summary(results: Sequence[Result]) -> str:
    told = ", ".join(f"{n} {status.value}" for status, n in counts(results).items())
    return f"{len(results)} case{'' if len(results) == 1 else 's'}: {told or 'none'}"
