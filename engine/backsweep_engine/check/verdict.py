"""Verdict: what a check found, with the evidence."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class Outcome(enum.Enum):
    """The finding of a check."""

    RIGHT = "right"
    """no error above `smallest_excluded_error` in one entry"""
    WRONG = "wrong"
    """an error that no difference error explains"""
    CANNOT_TELL = "cannot tell"
    """a kink, NaN or infinity, or bounds too wide to decide: `why` says which"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a derivative that is wrong. `output`: which output, "" for the only one."""

    input: str
    index: tuple[int, ...]
    expected: float
    got: float
    bound: float
    output: str = ""

    def __str__(self) -> str:
        place = self.input + (f"[{', '.join(map(str, self.index))}]" if self.index else "")
        return f"{place}: got {self.got:.9g}, expected {self.expected:.9g} (bound {self.bound:.2g})"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found; units are those of the output over those of the input.

    `directions` random directions drawn from `seed` were tried in `evaluations` evaluations of the
    graph. `smallest_excluded_error`: an absolute error of one entry above this would have been
    found. The two bounds are those of one directional derivative, by truncation and by rounding.
    """

    outcome: Outcome
    why: str
    worst: tuple[Entry, ...]
    directions: int
    smallest_excluded_error: float
    truncation_bound: float
    roundoff_bound: float
    seed: int
    evaluations: int

    @property
    def right(self) -> bool:
        return self.outcome is Outcome.RIGHT

    def __bool__(self) -> bool:
        raise TypeError("a Verdict is right, wrong or cannot tell: use verdict.right, or verdict.raise_if_wrong()")

    def raise_if_wrong(self) -> None:
        """Raises AssertionError with the worst entries named, unless the verdict is right."""
        if self.outcome is not Outcome.RIGHT:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        lines = [f"{self.outcome.value}: {self.why}", *[f"  {entry}" for entry in self.worst]]
        return "\n".join(lines)
