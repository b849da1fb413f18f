"""Trial: one subject before one set of lines: rounds of probes, and the search for the entries at fault.

The step and the noise are fixed by the scout before the subject is heard. After that every round is
alike: evaluate the window along each probe, ask for the claims, compare. The tolerance of a probe is
the sum of three bounds (truncation, rounding of the differences, rounding of the claim) and
nothing else; none of them knows how many entries there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .differences import Estimates, Step
from .measure import Measure
from .probe import Bench, Probe
from .subject import Claims, Subject

Array = np.ndarray[Any, Any]

_KINK_FACTOR = 8.0
"""Kinks of both signs may partly cancel in a jump; an error is blamed on the subject only if it exceeds
this many times the largest jump of the round."""

_CLAIM_FACTOR = 4.0
"""Each product g_i v_i is right to a few roundings, of independent sign: so many epsilon of their 2-norm."""


_TOO_WIDE = 0.25
"""A bound above this part of all that was seen to change excludes nothing worth saying."""

_MOSTLY = 4.0
"""Truncation this many times the rounding: a smaller step is worth its rounding."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed, one entry a probe. `rounding`: bound on that of the differences and of the claim.

    `mismatch` of estimate and claim, and the `bound` on it if the claim is right.
    """

    probes: tuple[Probe, ...]
    estimates: Estimates
    claims: Claims
    rounding: Array
    mismatch: Array
    bound: Array

    @property
    def failed(self) -> Array:
        return ~(self.mismatch <= self.bound)  # a NaN fails

    @property
    def seen(self) -> float:
        """The largest of all that was seen to change, or is claimed to."""
        return float(np.max([np.abs(self.estimates.derivative), self.claims.spread, self.estimates.slope]))

    @property
    def too_wide(self) -> bool:
        """Even the least bound excludes nothing worth saying. A coordinate tried alone says nothing of the others."""
        least = min((float(b) for b, p in zip(self.bound, self.probes, strict=True) if not p.alone), default=0.0)
        return self.seen > 0 and least > _TOO_WIDE * self.seen

    @property
    def evident(self) -> Array:
        """Failed, and neither a kink nor estimates that do not settle can be the reason."""
        e = self.estimates
        jump = float(np.abs(e.jump[e.kinked]).max(initial=0.0))
        unclear = ~e.converging | (np.isnan(self.mismatch) & e.kinked)
        return ~(self.mismatch <= self.bound + _KINK_FACTOR * jump) & ~unclear


@dataclass(frozen=True, slots=True)
class Finding:
    """A probe of one entry that failed: what differences and subject say, and the bound on the former."""

    probe: Probe
    expected: float
    claimed: float
    bound: float


@dataclass(frozen=True, slots=True)
class Trial:
    """`epsilon`: of the graph's coarsest floating dtype, with which claims are rounded too."""

    measure: Measure
    subject: Subject
    epsilon: float

    @property
    def bench(self) -> Bench:
        return self.measure.bench

    @property
    def step(self) -> Step:
        return self.measure.step

    def values(self, probes: Sequence[Probe]) -> Array:
        return self.measure.values(probes)

    def judge(self, probes: Sequence[Probe], values: Array) -> Round:
        """From their values, all finite."""
        estimates = self.measure.estimates(probes, values)
        claims = self.subject.claims(probes)
        spread = np.where(np.isfinite(claims.spread), claims.spread, 0.0)  # a NaN needs no tolerance
        rounding = estimates.roundoff + _CLAIM_FACTOR * self.epsilon * spread
        with np.errstate(invalid="ignore"):
            mismatch = np.abs(estimates.derivative - claims.value)
        return Round(tuple(probes), estimates, claims, rounding, mismatch, estimates.truncation + rounding)

    def settled(self, judged: Round, ratio: float, smallest: float) -> tuple[Trial, Round]:
        """The round judged again at smaller steps, as long as one could change the finding.

        That is where a kink was seen (it may lie beside the point, and smaller steps end before it), and
        where truncation makes most of a bound that was exceeded or is too wide. A kink is refuted
        only by a step small enough to exclude half its jump; where rounding forbids, it stands.
        """
        trial = self
        while (measure := trial.measure.finer(ratio, smallest)) is not None:
            e = judged.estimates
            doubtful = judged.failed.any() or judged.too_wide
            if not e.kinked.any() and not (doubtful and e.truncation.max() > _MOSTLY * judged.rounding.max()):
                break
            finer = replace(trial, measure=measure)
            values = finer.values(judged.probes)
            if not np.isfinite(values).all():
                break
            again = finer.judge(judged.probes, values)
            refuted = np.abs(again.estimates.jump) + again.estimates.jump_bound < np.abs(e.jump) / 2
            if not (refuted | again.estimates.kinked)[e.kinked].all():
                break
            trial, judged = finer, again
        return trial, judged

    def worst(self, suspects: Sequence[Probe], most: int) -> list[Finding]:
        """The single entries at fault below `suspects`, the worst first.

        Each round halves every suspect, first over the inputs' entries, then over the outputs', and
        follows the halves that fail, at most `most` of them, so errors that cancel in a whole part as soon as
        they part. log2(entries) rounds of at most 2 `most` probes.
        """
        found: list[Finding] = []
        live = list(suspects)
        while live:
            values = self.values(live)
            whole = np.flatnonzero(np.isfinite(values).all(axis=1))
            live, values = [live[i] for i in whole.tolist()], values[whole]
            if not live:
                break
            judged = self.judge(live, values)
            order = np.flatnonzero(judged.evident)
            order = order[np.argsort(-np.nan_to_num(judged.mismatch[order], nan=np.inf), kind="stable")][:most]
            live = []
            for i in order.tolist():
                halves = _halves(judged.probes[i])
                live += halves
                if not halves:
                    expected, claimed = float(judged.estimates.derivative[i]), float(judged.claims.value[i])
                    found.append(Finding(judged.probes[i], expected, claimed, float(judged.bound[i])))
        found.sort(key=lambda f: -np.nan_to_num(abs(f.expected - f.claimed), nan=np.inf))
        return found[:most]


def _halves(probe: Probe) -> list[Probe]:
    """The probe cut in two; [] for a single entry."""
    for field, (first, last) in (("inputs", probe.inputs), ("outputs", probe.outputs)):
        if last - first > 1:
            middle = (first + last) // 2
            halves = ((first, middle), (middle, last))
            return [replace(probe, inputs=half) if field == "inputs" else replace(probe, outputs=half) for half in halves]
    return []
