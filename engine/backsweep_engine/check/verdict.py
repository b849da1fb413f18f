"""Verdict: what a check found, with the evidence. Values only; nothing here computes.

Every record is frozen and made of plain numbers, texts and tuples of them, so that two verdicts can be
compared, sent and written to a file. What a field holds where it does not apply is said beside it.
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

from ..query import Judge, Subject


class Outcome(enum.Enum):
    """The finding of a check."""

    RIGHT = "right"
    """no error above `smallest_excluded_error` in one entry"""
    WRONG = "wrong"
    """an error that no difference error explains"""
    CANNOT_TELL = "cannot tell"
    """a kink, NaN or infinity, or bounds too wide to decide: `doubt` and `why` say which"""


class Doubt(enum.Enum):
    """Why a check cannot tell."""

    KINK = "kink"
    """one-sided derivatives differ at the point, or nearer to it than the smallest useful step"""
    CANCELLATION = "cancellation"
    """what the function changes by is lost in the rounding of larger values, those of `place`"""
    NOISE = "noise"
    """values scatter by more than the rounding of any value in the graph explains"""
    NON_FINITE = "non-finite"
    """a NaN or infinity, first made at `place`"""
    UNRESOLVED = "unresolved"
    """the differences do not settle: a jump, or changes too fast for every step"""


class Slip(enum.Enum):
    """The likely mistake behind a wrong derivative."""

    SIGN = "sign"
    """minus what it should be"""
    FACTOR = "factor"
    """entries are a simple number (2, 1/2, 1/n ...) times what they should be"""
    SCALED = "scaled"
    """all entries are one number, not a simple one, times what they should be"""
    TRANSPOSED = "transposed"
    """entry (i, j) holds what (j, i) should"""
    SWAPPED = "swapped"
    """two entries, or two inputs, hold each other's"""
    MISSING_TERM = "missing term"
    """zero where it should not be, or off by an amount that is in no proportion to it"""
    NOT_FINITE = "not finite"
    """NaN or infinity where the function is differentiable"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a derivative that is wrong. `output`: which output, "" for the only one."""

    input: str
    index: tuple[int, ...]
    expected: float
    got: float
    bound: float
    output: str = ""
    slip: Slip | None = None

    @property
    def ratio(self) -> float:
        """got / expected; NaN for 0 / 0."""
        if self.expected == 0:
            return math.nan if self.got == 0 or math.isnan(self.got) else math.copysign(math.inf, self.got)
        return self.got / self.expected

    @property
    def place(self) -> str:
        """As it would be written: x[1, 2]; y by x[1, 2] where there are several outputs, output[3] by x[1, 2] in the only one."""
        entry = self.input + (f"[{', '.join(map(str, self.index))}]" if self.index else "")
        output = "output" * self.output.startswith("[") + self.output
        return f"{output} by {entry}" if output else entry

    def __str__(self) -> str:
        text = f"{self.place}: got {self.got:.9g}, expected {self.expected:.9g} (bound {self.bound:.2g})"
        return text if self.slip is None else f"{text}: {self.slip.value}, ratio {self.ratio:.6g}"


@dataclass(frozen=True, slots=True)
class Place:
    """A node of the submitted graph. `node` None: none could be named. `function`: None for the main one."""

    node: int | None
    op: str = ""
    function: int | None = None

    def __str__(self) -> str:
        if self.node is None:
            return self.op or "no single node"
        inside = "" if self.function is None else f" of function {self.function}"
        return f"node {self.node}{inside} ({self.op})"


@dataclass(frozen=True, slots=True)
class Blame:
    """A node whose own rule is wrong at the values that reach it; `entry` is of the node's result by its operands."""

    place: Place
    entry: Entry

    def __str__(self) -> str:
        return f"the rule of {self.place} is wrong: {self.entry}"


@dataclass(frozen=True, slots=True)
class Curve:
    """The error against the step, along direction 0: |d(h) - claim| of the judge's difference, and its two bounds.

    `step`: the one the judge chose. All four tuples are of one length, steps ascending.
    """

    steps: tuple[float, ...] = ()
    errors: tuple[float, ...] = ()
    truncation_bounds: tuple[float, ...] = ()
    roundoff_bounds: tuple[float, ...] = ()
    step: float = 0.0


@dataclass(frozen=True, slots=True)
class Taylor:
    """The remainder test along one direction: |f(x + h v) - f(x) - h c|, c the claim, should fall as h^`expected`.

    `order`: fitted over the `fitted` steps whose remainder exceeds ten times its round-off bound, the smallest ones; 0
    if fewer than two do. `expected` 3: the second-order term was subtracted too.
    """

    direction: int
    steps: tuple[float, ...]
    remainders: tuple[float, ...]
    roundoff_bounds: tuple[float, ...]
    order: float
    fitted: int
    expected: int = 2


@dataclass(frozen=True, slots=True)
class Tried:
    """One probe that was judged: <u, J v> by the judge and by the subject, and the bound on their difference.

    `direction`: its number among those drawn from the seed (those of `draw` in check/probe.py), `mode`: "forward",
    "reverse" or "values" (a gradient that was given). `coordinate`: the one entry it moved, over
    the concatenated ravels of wrt; -1 for all.
    """

    direction: int
    mode: str
    expected: float
    got: float
    bound: float
    coordinate: int = -1


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a check found; units are those of the output over those of the input.

    `directions` random directions drawn from `seed` were tried in `evaluations` evaluations of the
    graph. `smallest_excluded_error`: an absolute error of one entry above this would have been
    found. The two bounds are those of one directional derivative, by truncation and by rounding.

    `subject` and `judge`: as in query.Check. `doubt` and `place`: why it cannot tell, and which node makes it so.
    `side`: at a kink, which of the one-sided derivatives the subject takes: "right" (along the direction), "left",
    "between", else "". `slip`: the likely mistake as a whole. `blamed`: nodes whose own rules are wrong,
    of the `examined` ones that were checked by themselves (only if asked).
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
    subject: Subject = "own"
    judge: Judge = "central4"
    doubt: Doubt | None = None
    place: Place | None = None
    side: str = ""
    slip: Slip | None = None
    blamed: tuple[Blame, ...] = ()
    examined: int = 0
    curve: Curve | None = None
    taylor: tuple[Taylor, ...] = ()
    tried: tuple[Tried, ...] = ()

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
        if self.slip is not None:
            lines.append(f"  likely slip: {self.slip.value}")
        lines += [f"  {blame}" for blame in self.blamed]
        return "\n".join(lines)
