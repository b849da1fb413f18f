"""Trial: one subject before one set of lines: rounds of probes, and the search for the entries at fault.

The step and the noise are fixed by the scout before the subject is heard. After that every round is
alike: evaluate the window along each probe, ask for the claims, compare. The tolerance of a probe is
the sum of three bounds (truncation, rounding of the differences, rounding of the claim) and
nothing else; none of them knows how many entries there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..execute.executor import Executor, Stop
from ..plan.make import Budget
from .differences import WINDOW, Estimates, Step, estimate
from .probe import Lines, Probe, evaluate
from .subject import Claims, Subject

Array = np.ndarray[Any, Any]

_KINK_FACTOR = 8.0
"""Kinks of both signs may partly cancel in a jump; an error is blamed on the subject only if it exceeds
this many times the largest jump of the round."""

_CLAIM_FACTOR = 4.0
"""Each product g_i v_i is right to a few roundings, of independent sign: so many epsilon of their 2-norm."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round showed, one entry a probe. `finite`: all values of all windows were."""

    probes: tuple[Probe, ...]
    estimates: Estimates
    claims: Claims
    rounding: Array

    @property
    def mismatch(self) -> Array:
        return np.abs(self.estimates.derivative - self.claims.value)

    @property
    def bound(self) -> Array:
        return self.estimates.truncation + self.rounding

    @property
    def failed(self) -> Array:
        return ~(self.mismatch <= self.bound)  # a NaN fails

    @property
    def evident(self) -> Array:
        """Failed, and neither a kink nor estimates that do not settle can be the reason."""
        e = self.estimates
        jump = float(np.abs(e.jump[e.kinked]).max(initial=0.0))
        return ~(self.mismatch <= self.bound + _KINK_FACTOR * jump) & e.converging


@dataclass(slots=True)
class Trial:
    """`evaluations` counts values of the graph; the subject counts its own."""

    lines: Lines
    values: Mapping[str, Array]
    subject: Subject
    epsilon: float
    executor: Executor
    stop: Stop
    budget: Budget
    block: int
    evaluations: int = 0

    def along(self, probes: Sequence[Probe], offsets: Array) -> Array:
        """Values, probes x offsets: one plan over rows."""
        self.evaluations += len(probes) * offsets.size
        return evaluate(self.lines, self.values, probes, offsets, self.executor, self.stop, self.budget, self.block)

    def round(self, probes: Sequence[Probe], step: Step, here: float | None) -> Round | Array:
        """One round; the values instead if some are not finite.

        `here`: the value at the point, where all probes share it; otherwise it is evaluated too.
        """
        if here is None:
            table = self.along(probes, np.concatenate([[0.0], WINDOW * step.step]))
            centre, table = table[:, 0], table[:, 1:]
        else:
            table = self.along(probes, WINDOW * step.step)
            centre = np.full(len(probes), here)
        if not (np.isfinite(table).all() and np.isfinite(centre).all()):
            return table
        estimates = estimate(centre, table, step, self.epsilon)
        claims = self.subject.claims(probes)
        return Round(tuple(probes), estimates, claims, estimates.roundoff + _CLAIM_FACTOR * self.epsilon * claims.spread)

    def worst(self, suspects: Sequence[Probe], step: Step, here: float | None, most: int) -> list[tuple[Probe, float, float, float]]:
        """The single entries at fault below `suspects`: (probe, expected, claimed, bound), the worst first.

        Each round halves every suspect, first over the inputs' entries, then over the outputs', and
        follows the halves that fail, at most `most` of them, so errors that cancel in a whole part as soon as
        they part. log2(entries) rounds of at most 2 `most` probes.
        """
        found: list[tuple[Probe, float, float, float]] = []
        live = list(suspects)
        while live:
            judged = self.round(live, step, here)
            if not isinstance(judged, Round):
                break
            order = np.flatnonzero(judged.evident)
            order = order[np.argsort(-np.nan_to_num(judged.mismatch[order], nan=np.inf), kind="stable")][:most]
            live = []
            for i in order.tolist():
                halves = _halves(judged.probes[i])
                live += halves
                if not halves:
                    expected, claimed = float(judged.estimates.derivative[i]), float(judged.claims.value[i])
                    found.append((judged.probes[i], expected, claimed, float(judged.bound[i])))
        found.sort(key=lambda f: -np.nan_to_num(abs(f[1] - f[2]), nan=np.inf))
        return found[:most]


def _halves(probe: Probe) -> list[Probe]:
    """The probe cut in two; [] for a single entry."""
    for field, (first, last) in (("inputs", probe.inputs), ("outputs", probe.outputs)):
        if last - first > 1:
            middle = (first + last) // 2
            if field == "inputs":
                return [Probe(probe.direction, half, probe.outputs) for half in ((first, middle), (middle, last))]
            return [Probe(probe.direction, probe.inputs, half) for half in ((first, middle), (middle, last))]
    return []
