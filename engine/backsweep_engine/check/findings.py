"""Findings: what a settled round means, considered in the order that is part of a verdict's meaning.

Not finite at the point; WRONG where an error exceeds its bound and no kink explains it; a kink; estimates that do
not settle; bounds too wide to have shown anything; RIGHT.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ops.op import TABLE, Zero
from ..query import Check
from .differences import NOISE_FACTOR, noise_deviation
from .locate import culprit_of, kink_of, largest_of
from .probe import Probe
from .subject import GradientOf, derivative_at
from .trial import Finding, Round, Trial
from .verdict import Doubt, Outcome, Place

Array = np.ndarray[Any, Any]

WORST = 4
"""Entries named, where the query leaves it open."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finding: what `Verdict` says of it, with the entries still as probes."""

    outcome: Outcome
    why: str
    worst: Sequence[Finding] = ()
    doubt: Doubt | None = None
    place: Place | None = None
    side: str = ""


def finding(trial: Trial, judged: Round, query: Check) -> Found:
    """What the round means."""
    e, claimed = judged.estimates, judged.claims.value
    if not np.isfinite(claimed).all() and query.subject != "given":
        probe = judged.probes[int(np.argmin(np.isfinite(claimed)))]
        place = culprit_of(*derivative_at(trial.bench.lines, query.subject, trial.bench.point, probe))
        why = f"our derivative is not finite here, the function is: {made_by(place)}"
        return Found(Outcome.CANNOT_TELL, why, doubt=Doubt.NON_FINITE, place=place)
    if not np.isfinite(claimed).all():
        return _given_not_finite(trial, query)
    if judged.evident.any():
        return _rough(trial, judged) if query.judge != "complex_step" and is_rough(trial, judged) else _wrong(trial, judged, query)
    if e.kinked.any():
        return _kinked(trial, judged)
    if judged.failed.any():
        settle = f"the differences do not settle as the step shrinks to {trial.step.step:.1g}"
        return Found(
            Outcome.CANNOT_TELL, f"{settle}: a jump, or changes too fast to resolve", doubt=Doubt.UNRESOLVED, place=_kink_place(trial, judged.probes[0])
        )
    if judged.too_wide:
        return _too_wide(trial, judged)
    number, bound = len(trial.bench.lines.directions), float(judged.bound.max())
    return Found(Outcome.RIGHT, f"{number} directional derivatives agree with {_NAMES[query.judge]} to {bound:.2g}")


_NAMES = {"complex_step": "the complex step", "taylor": "their Taylor remainders"}
_NAMES |= dict.fromkeys(("central2", "central4", "central6", "richardson"), "differences")


_LOCAL = 16.0
"""Noise at the point so many times that beside it is not noise but what the function does there."""


def is_rough(trial: Trial, judged: Round) -> bool:
    """Whether what was taken for noise is there at the point only: a pole or a spike nearer to it than any step.

    Steps that bridge it see a smooth function with another derivative. Noise that is everywhere (a solver's
    tolerance) is as large beside the point; that of cancellation is explained by the values that cancel. And an error
    that is larger than the noise over the smallest step cannot come of it.
    """
    probe, rungs = trial.bench.lines.whole(0), trial.step.rungs
    worst = float(np.max(judged.mismatch[judged.evident]))
    if rungs is not None and worst * float(rungs.steps[0]) > float(np.max(trial.step.noise)):
        return False
    if trial.step.explained or largest_of(trial.bench, probe, float(np.max(trial.step.noise)), trial.epsilon) is not None:
        return False
    beside = trial.step.step + trial.step.spacing * np.arange(-4.0, 5.0)
    with np.errstate(invalid="ignore"):
        elsewhere = NOISE_FACTOR * noise_deviation(trial.bench.along([probe], beside)[0])
    return not elsewhere >= float(np.max(trial.step.noise)) / _LOCAL


def _rough(trial: Trial, judged: Round) -> Found:
    place = kink_of(trial.bench, judged.probes[0], trial.step.spacing)
    why = f"nearer to the point than {trial.step.step:.1g} values change by {trial.step.noise:.2g} as they do not beside it: a pole or spike no step resolves"
    return Found(Outcome.CANNOT_TELL, why, doubt=Doubt.UNRESOLVED, place=place)


def _most(query: Check) -> int:
    return query.max_worst or WORST


def _given_not_finite(trial: Trial, query: Check) -> Found:
    """A probe for each entry of a given gradient that is NaN or infinite, as many as may be named."""
    assert isinstance(trial.subject, GradientOf)
    at = np.flatnonzero(~np.isfinite(trial.subject.gradient))[: _most(query)]
    worst = trial.worst([Probe(0, (i, i + 1), (0, 1)) for i in at.tolist()], _most(query))
    rest = "the function is differentiable" if worst else "no differences settle"
    why = f"entries of the gradient are not finite where {rest}"
    return Found(Outcome.WRONG, why, worst) if worst else Found(Outcome.CANNOT_TELL, why, doubt=Doubt.UNRESOLVED)


def _wrong(trial: Trial, judged: Round, query: Check) -> Found:
    mismatch, bound, evident = judged.mismatch, judged.bound, judged.evident
    excess = np.where(evident, mismatch / np.maximum(bound, np.finfo(float).tiny), -1.0)
    alone = [i for i in np.argsort(-np.nan_to_num(mismatch, nan=np.inf), kind="stable").tolist() if evident[i] and judged.probes[i].alone]
    k = int(np.argmax(excess))
    suspects = [judged.probes[i] for i in alone[: _most(query)]] or [judged.probes[k]]
    worst = trial.worst(suspects, _most(query))
    whole = [i for i, p in enumerate(judged.probes) if not p.alone]
    many = f"{int(evident[whole].sum())} of {len(whole)} directional derivatives are off"
    spread = "" if worst else "; the error is spread over more entries than could be told apart"
    return Found(Outcome.WRONG, f"{many}, one by {mismatch[k]:.2g} where {_NAMES[query.judge]} err by at most {bound[k]:.2g}{spread}", worst)


def _kinked(trial: Trial, judged: Round) -> Found:
    """One-sided derivatives differ: where, and which of them the subject takes."""
    e = judged.estimates
    k = int(np.argmax(np.where(e.kinked, np.abs(e.jump), -1.0)))
    probe = judged.probes[k]
    left, right, claim = e.derivative[k] - e.jump[k] / 2, e.derivative[k] + e.jump[k] / 2, judged.claims.value[k]
    near = 0.01 * abs(e.jump[k])
    side = "right" if abs(claim - right) <= near else "left" if abs(claim - left) <= near else ""
    if not side and min(left, right) < claim < max(left, right):
        side = "between"
    place = _kink_place(trial, probe)
    at = f" of {place}" if place is not None else ""
    where = f"at the point or nearer to it than {trial.step.step:.1g}"
    taken = {"": "neither", "between": "a value between them"}.get(side, f"the {side} one")
    why = f"there is a kink{at} {where}: one-sided derivatives differ by {abs(e.jump[k]):.2g}, and {taken} is claimed"
    return Found(Outcome.CANNOT_TELL, why, doubt=Doubt.KINK, place=place, side=side)


def _kink_place(trial: Trial, probe: Probe) -> Place | None:
    return kink_of(trial.bench, probe, trial.step.step)


def _too_wide(trial: Trial, judged: Round) -> Found:
    known = f"known to {float(judged.bound.min()):.2g} at best, of {judged.seen:.2g} seen"
    why = f"the difference bounds are too wide: the derivative is {known}"
    e = judged.estimates
    jump = None if trial.step.explained else _kink_place(trial, judged.probes[0])
    if jump is not None and not _chooses(jump.op):
        jump = None
    if jump is not None or float(e.truncation.max()) > float(judged.rounding.max()):
        at = f", {jump} jumps there" if jump is not None else ""
        return Found(Outcome.CANNOT_TELL, f"{why}; no step resolves it{at}", doubt=Doubt.UNRESOLVED, place=jump)
    place = largest_of(trial.bench, judged.probes[0], trial.step.noise, trial.epsilon)
    if place is None:
        return Found(Outcome.CANNOT_TELL, f"{why}; values scatter by {trial.step.noise:.2g}", doubt=Doubt.NOISE)
    return Found(Outcome.CANNOT_TELL, f"{why}; it is lost in the rounding of {place}", doubt=Doubt.CANCELLATION, place=place)


def _chooses(op: str) -> bool:
    """Whether an op's result jumps rather than bends: noise looks like either to the walk along a line."""
    return op in ("where", "cond") or (op in TABLE and isinstance(TABLE[op].derivative, Zero))


def made_by(place: Place | None) -> str:
    """The sentence about what made the first value that is not finite."""
    if place is None:
        return "the sum over the outputs overflows"
    return f"{place} made the first such value" if place.node is not None else f"{place} is not"
