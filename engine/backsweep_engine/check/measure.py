"""Measures: how <u, J v> is found from values alone. Differences of real values, or one complex step.

A measure never hears the subject. What it is asked for in one go (a round of probes) is one table of values, a row
a probe, and estimates with bounds made from that table.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from .continuation import Continued, Rounding
from .differences import NOISE_FACTOR, Estimates, Step, estimate, merged, noise_deviation
from .probe import Bench, Probe
from .schemes import Scheme

Array = np.ndarray[Any, Any]


class Measure(Protocol):
    """See the module. `step`: in units of the directions; `bench`: where values are taken."""

    @property
    def bench(self) -> Bench: ...

    @property
    def step(self) -> Step: ...

    @property
    def offsets(self) -> Array:
        """Where the columns of `values` were evaluated, in units of a probe's scale."""
        ...

    def values(self, probes: Sequence[Probe]) -> Array:
        """What was evaluated, one row a probe, the value at the point first where differences are taken."""
        ...

    def estimates(self, probes: Sequence[Probe], values: Array) -> Estimates:
        """From values that are all finite."""
        ...

    def finer(self, ratio: float, smallest: float) -> Measure | None:
        """The same at a step `ratio` times smaller; None below `smallest`, or where no step enters."""
        ...


@dataclass(frozen=True, slots=True)
class Differences:
    """`here`: the value at the point, where all probes share it (a scalar graph); otherwise None."""

    bench: Bench
    scheme: Scheme
    step: Step
    epsilon: float
    here: float | None

    @property
    def offsets(self) -> Array:
        return np.concatenate([[0.0], self.scheme.offsets * self.step.step])

    def values(self, probes: Sequence[Probe]) -> Array:
        if self.here is None:
            return self.bench.along(probes, self.offsets)
        return np.insert(self.bench.along(probes, self.offsets[1:]), 0, self.here, axis=1)

    def estimates(self, probes: Sequence[Probe], values: Array) -> Estimates:
        alone = np.array([p.alone for p in probes], bool)
        parts: list[tuple[Array, Array | None, Any]] = [(np.flatnonzero(~alone), None, self.step.noise)]
        if alone.any():
            apart = np.flatnonzero(alone)
            noise = np.array([probes[i].noise or self.step.noise for i in apart.tolist()])
            parts.append((apart, np.array([probes[i].scale for i in apart.tolist()]), noise))
        found = [
            (lines, estimate(values[lines, 0], values[lines, 1:], replace(self.step, noise=noise), self.epsilon, self.scheme, scales))
            for lines, scales, noise in parts
            if lines.size
        ]
        return merged(found, len(probes))

    def finer(self, ratio: float, smallest: float) -> Differences | None:
        step = self.step.step / ratio
        return replace(self, step=replace(self.step, step=step)) if step >= smallest else None


_TABLE = np.arange(-4.0, 5.0)
_STREAM = 2
"""Of Philox's words; 0 and 1 are those of directions and weights."""


@dataclass(frozen=True, slots=True)
class ComplexStep:
    """Im f(x + i h v) / h for an h of 2^-100: no difference is taken, and the truncation h^2 f'''/6 is below any rounding.

    (Squire and Trapp, SIAM Review 1998.) What is left is the rounding of the imaginary part. It is measured like
    that of values: the same derivative at nine points so near each other that a smooth one shows only noise
    in its fourth differences, and what was rounded on purpose (Rounding). `noise`: the bound so found, of direction 0, relative to the largest there.

    One step sees neither a kink nor a jump. Where the graph may have some (Continued.bends) `beside` looks for them,
    along the first probe of a round, for all of it.
    """

    bench: Bench
    continued: Continued
    step: Step
    epsilon: float
    noise: float
    beside: Differences | None

    @property
    def offsets(self) -> Array:
        return np.zeros(1) if self.beside is None else np.append(self.beside.offsets, 0.0)

    def values(self, probes: Sequence[Probe]) -> Array:
        self.bench.evaluations += len(probes)
        found = np.array([[self.continued.derivative(self.bench, probe, 0.0)] for probe in probes])
        return found if self.beside is None else np.hstack([self.beside.values(probes[:1]).repeat(len(probes), axis=0), found])

    def estimates(self, probes: Sequence[Probe], values: Array) -> Estimates:
        found, nothing = values[:, -1], np.zeros(len(values))
        rounding = np.maximum(self.noise, 8 * self.epsilon * np.abs(found))
        yes = np.ones(len(values), bool)
        alone = Estimates(found, nothing, rounding, nothing, rounding, yes, np.abs(found))
        if self.beside is None:
            return alone
        seen = self.beside.estimates(probes[:1], values[:1, :-1])
        jump, bound, settles = (column.repeat(len(values)) for column in (seen.jump, seen.jump_bound, seen.converging))
        return replace(alone, jump=jump, jump_bound=bound, converging=settles)

    def finer(self, ratio: float, smallest: float) -> Measure | None:
        beside = None if self.beside is None else self.beside.finer(ratio, smallest)
        return None if beside is None else replace(self, beside=beside, step=beside.step)


def complex_step(beside: Differences, continued: Continued, spacing: float) -> ComplexStep:
    """The measure, its noise found along direction 0 at offsets of `spacing`. `beside`: the differences that would be taken without it."""
    bench, epsilon = beside.bench, beside.epsilon
    bench.evaluations += _TABLE.size
    drawn = [Rounding(np.random.Philox(key=np.array([k, _STREAM], np.uint64))) for k in range(_TABLE.size)]
    table = np.array([continued.derivative(bench, bench.lines.whole(0), offset, r) for offset, r in zip(_TABLE * spacing, drawn, strict=True)])
    finite = bool(np.isfinite(table).all())
    noise = max(NOISE_FACTOR * noise_deviation(table), 8 * epsilon * float(np.abs(table).max())) if finite else 0.0
    return ComplexStep(bench, continued, beside.step, epsilon, noise, beside if continued.bends else None)
