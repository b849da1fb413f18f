"""Differences of values along a line: schemes, their steps, and bounds on their errors.

Pure NumPy over tables of f(x + a v) for offsets a; knows no graph. Two tables are read. The *scout*
is a wide geometric ladder along one direction: it finds how large the rounding noise is and which
steps the function allows. The *window* is a few offsets at the chosen step along every direction (six in order 4, see
schemes.py): it yields the derivatives that are compared. All offsets are powers of two, so that with directions of
few bits (probe.py) x + a v is exact for nearly every entry and adds no error of its own.

Notation: d(h) = (f(h) - f(-h)) / 2h = f' + c2 h^2 + c4 h^4 + ..., c2 = f'''/6, c4 = f^(5)/120.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import comb
from typing import Any

import numpy as np

from .schemes import CENTRAL, Scheme, combined, tableau, weights

Array = np.ndarray[Any, Any]

_TABLE = np.arange(-4.0, 5.0)
"""Offsets of the noise table, in units of its spacing."""

NOISE_FACTOR = 8.0
"""An error of one value is taken to be at most this many standard deviations of the noise. A fourth
difference of values then has a bound of 12 of its own deviations, so an estimate three times too
small (it rests on about five degrees of freedom) still leaves four."""

_UNEXPLAINED = 100.0
"""Noise above so many roundings of the value is either cancellation or no noise at all."""

_PLATEAU = 2.0**-20
"""Plateaus are taken for rounding if their height is at most this part of all that the function changes."""

MAX_RUNGS = 13
"""With 7 more values of the scout, 24 of four windows and 3 of a derivative of ours: 60 evaluations in all."""

MAX_SCOUTED = 1 + 2 * MAX_RUNGS + 6
"""Values of the scout at most: the point, the rungs on both sides, and what the noise table adds."""

_STAYS = 0.8
"""An even part that keeps this much of itself at half the step does not vanish with it (a kink's keeps 0.5, a
square root's 0.71)."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The scout's offsets: `rungs` ascending steps, each `ratio` times the last, and a noise table.

    `spacing` is one of the rungs, so small that a function smooth at the point's scale shows only noise
    over it. `epsilon`: of the graph's own floating dtype.
    """

    rungs: Array
    ratio: float
    spacing: float
    epsilon: float

    @property
    def offsets(self) -> Array:
        """0, the rungs, the rungs negated, and what of the noise table is not among those."""
        more = self.spacing * _TABLE[np.abs(_TABLE) > 1]
        return np.concatenate([[0.0], self.rungs, -self.rungs, more])


def _power_of_two(x: float) -> float:
    return float(2.0 ** np.ceil(np.log2(x)))


def ladder(point: Array, epsilon: float) -> Ladder:
    """Steps that fit the point's scale: from 1/4 of its largest entry (or of 1) down.

    Ten rungs a factor 8 apart in float64, seven a factor 4 apart in float32 (whose useful steps
    span less). More rungs, downwards, and then further apart, where the entries are large (the function may still change over
    1), tiny, or of sizes far apart; never below where the largest entry would no longer move exactly
    (directions have 10 bits of fraction, see probe.py).
    """
    sizes = np.abs(point[np.isfinite(point) & (point != 0)]).astype(float)
    large = _power_of_two(max(float(sizes.max()), 1e-90)) if sizes.size else 1.0
    middle = _power_of_two(max(float(np.median(sizes)), 1e-90)) if sizes.size else 1.0
    bits = round(-np.log2(epsilon))
    gap, span, reach = (3, 27, 20) if bits > 30 else (2, 12, 8)
    top = max(large, 1.0) / 4
    exact = large * 2.0 ** (10 - bits)
    bottom = max(min(top * 2.0**-span, min(middle, 1.0) * 2.0**-reach), exact)
    octaves = int(np.log2(top / bottom))
    while octaves // gap + 1 > MAX_RUNGS:
        gap += 1
    count = octaves // gap + 1
    rungs = top * 2.0 ** (-gap * np.arange(count - 1.0, -1.0, -1.0))
    fine = max(min(large, 1.0) * np.sqrt(epsilon), exact)
    spacing = rungs[int(np.argmin(np.abs(np.log2(rungs / fine))))]
    return Ladder(rungs, 2.0**gap, float(spacing), epsilon)


def noise_deviation(values: Array) -> float:
    """The standard deviation of the rounding noise in values at equal, small spacing.

    k-th differences annihilate polynomials of degree below k and multiply the variance of
    independent noise by sum_i C(k, i)^2 = C(2k, k) (Hamming, Introduction to Applied Numerical
    Analysis, ch. 6; More and Wild, Estimating Computational Noise, SIAM J. Sci. Comput. 2011). The
    largest of the orders 4, 5, 6: where the function is too steep for the spacing it errs upwards.
    """
    deviations = []
    for k in (4, 5, 6):
        differences = np.diff(values, k)
        deviations.append(float(np.sqrt(np.mean(differences**2) / comb(2 * k, k))))
    return max(deviations)


@dataclass(frozen=True, slots=True)
class Rungs:
    """The scout's derivatives at each rung h that has one, with the bounds they were judged by."""

    steps: Array
    derivatives: Array
    truncation: Array
    rounding: Array


@dataclass(frozen=True, slots=True)
class Step:
    """What the scout chose. `noise`: bound on the error of one value (of many lines, an array of one each). `resolved`: not all that was seen is noise
    that rounding does not explain, as of a function that swings within the smallest step. `explained`: the
    noise is no more than the rounding of the values themselves explains. `spacing`: of the table it was measured on."""

    step: float
    noise: Any
    resolved: bool
    explained: bool = True
    rungs: Rungs | None = None
    spacing: float = 0.0


@np.errstate(all="ignore")
def choose(steps: Ladder, values: Array, scheme: Scheme = CENTRAL) -> Step | None:
    """The window's step from the scout's values at `steps.offsets`; None if too few are finite.

    Of neighbouring rungs h, r h ... column q of the tableau is D; in order 4, D = (r^2 d(h) - d(r h)) / (r^2 - 1).
    Truncation at rung j: T_j = |D_j+1 - D_j|, about the error of the coarser one, r^4 that of D_j.
    Rounding: R_j = weight noise / h_j, in order 4 (r^2 + 1/r) / (r^2 - 1). Rung j is chosen to make T_j + R_j least
    among those whose interval meets the interval of every smaller rung (Lepski 1991: a large
    step is believed only while smaller steps, which truncate less, agree within their own bounds).
    The window, offsets 1, 2, 4 ..., then starts one rung higher (in order 2 at the rung itself): it stays inside
    what T_j has seen (r^2 h_j), its truncation is about T_j (the stencil is tighter) and its rounding r times less.
    """
    q, ratio, h = scheme.column, steps.ratio, steps.rungs
    count = h.size
    here, plus, minus = values[0], values[1 : count + 1], values[count + 1 : 2 * count + 1]
    finite = np.isfinite(plus) & np.isfinite(minus)
    count = count if finite.all() else int(np.argmin(finite))
    if count < q + 2 or not np.isfinite(values[2 * steps.rungs.size + 1 :]).all():
        return None
    h, plus, minus = h[:count], plus[:count], minus[:count]
    noise = _noise(steps, values, np.abs(plus - here + (minus - here)))
    derivatives = tableau((plus - minus) / (2 * h), ratio)[q]
    truncation = np.abs(np.diff(derivatives))
    low = h[: truncation.size]
    # Noise the table did not see (plateaus as wide as its spacing) shows as estimates that scatter
    # at small steps: T_i h_i there is noise; truncation in it is r^5 times less for each rung down.
    scatter = np.concatenate([[0.0], np.maximum.accumulate(4 * truncation * low)[:-1]])
    size = np.maximum.accumulate(np.maximum(np.abs(plus), np.abs(minus)))[q + 1 :]
    noises = np.maximum(np.maximum(noise, scatter), 2 * steps.epsilon * np.maximum(size, abs(here)))
    rounding = weights(q + 1, ratio)[q] * noises / low
    # Two neighbours may agree by chance where the step is too large for either. Truncation only grows with the
    # step, and by r^4 a rung where it is small: so it is no less than below, nor than 1/r^2 of that above.
    truncation[:-1] = np.maximum(truncation[:-1], truncation[1:] / ratio**2)
    truncation = np.maximum(truncation, np.concatenate([[0.0], np.maximum.accumulate(truncation - rounding)[:-1]]))
    total = truncation + rounding
    best = 0
    for j in range(1, total.size):
        agrees = np.abs(derivatives[:j] - derivatives[j]) <= total[:j] + total[j]
        if agrees.all() and total[j] < total[best]:
            best = j
    noise, floor = float(noises[best]), 2 * steps.epsilon * max(float(size[best]), abs(float(here)))
    at = best + (q > 0)
    change = max(abs(float(plus[at] - here)), abs(float(minus[at] - here)))
    explained = noise <= _UNEXPLAINED * floor
    return Step(float(h[at]), noise, change > 2 * noise or explained, explained, Rungs(low, derivatives[: low.size], truncation, rounding), steps.spacing)


def _noise(steps: Ladder, values: Array, even: Array) -> float:
    """A bound on the error of one value, from the noise table.

    2 epsilon |f| at least. A table without any noise may lie on plateaus of values that cancelled, as in
    (x + 1e12) - 1e12; the smallest change of the even part, f(h) + f(-h) - 2 f(0), is then their height. (Of
    an exact table that is not flat it may also be a kink's, which is larger than plateaus that matter.)
    """
    at = dict(zip(steps.offsets.tolist(), values.tolist(), strict=True))
    table = np.array([at[float(k * steps.spacing)] for k in _TABLE])
    deviation = noise_deviation(table)
    noise = max(NOISE_FACTOR * deviation, 2 * steps.epsilon * abs(float(values[0])))
    if deviation == 0 and (even > 0).any():
        height = float(even[even > 0].min())
        if np.ptp(table) == 0 or height <= _PLATEAU * float(np.ptp(values)):
            noise = max(noise, height)
    return noise


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of the window along several lines, one entry a line.

    `jump`: f'(0+) - f'(0-), the one-sided derivatives' difference, believed where it exceeds
    `jump_bound`. `converging`: the estimates settle as the step shrinks.
    `slope`: how fast the values change over the window, in either direction.
    """

    derivative: Array
    truncation: Array
    roundoff: Array
    jump: Array
    jump_bound: Array
    converging: Array
    slope: Array

    @property
    def kinked(self) -> Array:
        return np.abs(self.jump) > self.jump_bound


@np.errstate(all="ignore")
def estimate(here: Array, values: Array, step: Step, epsilon: float, scheme: Scheme = CENTRAL, scales: Array | None = None) -> Estimates:
    """Derivatives and bounds from `here`, the values at 0, and `values`, lines x the scheme's offsets, all finite.

    `scales`: where each line has a step of its own, in units of the step. In order 4: (4 d(h) - d(2h)) / 3, which removes
    c2 (Fornberg, Mathematics of Computation 1988, table 1):
        D(h) = (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h = f' - 4 c4 h^4 + O(h^6)
    Truncation: |D(2h) - D(h)| = 60 c4 h^4, fifteen times the error of D(h); it may vanish by chance along
    a line, so the largest of all lines stands for each (where lines have steps of their own, the median at least).
    Roundoff: the weights' absolute sum (8 + 8 + 1 + 1) / 12 = 1.5, times the noise, over h; with noise 2 eps |f|
    that is 3 eps |f| / h.

    Kink: s(h) = (f(h) - 2 f(0) + f(-h)) / h = jump + h f'' + h^3 f''''/12 + ..., so
    K(h) = 2 s(h) - s(2h) = jump - h^3 f''''/2, with rounding at most (2*4 + 4/2) noise / h.
    """
    h = np.full(len(here), step.step) if scales is None else step.step * scales
    plus, minus = values.T[::2], values.T[1::2]
    noise = np.maximum(step.noise, 2 * epsilon * np.maximum(np.abs(here), np.abs(values).max(axis=1)))
    d = [(p - m) / (2.0 ** (k + 1) * h) for k, (p, m) in enumerate(zip(plus, minus, strict=True))]
    derivative, truncation, weight = combined(scheme, np.array(d).T)
    s1, s2, s4 = [((plus[k] - here) + (minus[k] - here)) / (2**k * h) for k in range(3)]
    jump, jump_coarse = 2 * s1 - s2, 2 * s2 - s4
    jump_truncation = np.abs(jump_coarse - jump)
    # A jump of the function itself makes d(h) ~ 1/h: then successive differences fall as h grows.
    converging = np.abs(d[1] - d[0]) <= np.abs(d[2] - d[1]) + 2.25 * noise / h
    # A pole or spike nearer than the step is even, and d(h) does not see it: f(h) + f(-h) does not come down to 2 f(0).
    e1, e2, e4 = [np.abs((plus[k] - here) + (minus[k] - here)) for k in range(3)]
    converging &= ~((e1 > _STAYS * e2) & (e2 > _STAYS * e4) & (e1 > 8 * noise))
    return Estimates(
        derivative=derivative,
        truncation=_shared(truncation, scales),
        roundoff=weight * noise / h,
        jump=jump,
        jump_bound=_shared(jump_truncation, scales) + 10 * noise / h,
        converging=converging & step.resolved,
        slope=np.maximum(np.abs(plus[2] - here), np.abs(minus[2] - here)) / (4 * h),
    )


def merged(parts: Sequence[tuple[Array, Estimates]], count: int) -> Estimates:
    """Estimates of some lines each, `count` in all, in their places."""
    if len(parts) == 1:
        return parts[0][1]
    columns = []
    for field in fields(Estimates):
        column = np.empty(count, bool if field.name == "converging" else np.float64)
        for lines, part in parts:
            column[lines] = getattr(part, field.name)
        columns.append(column)
    return Estimates(*columns)


def _shared(seen: Array, scales: Array | None) -> Array:
    """What stands for each line where its own may vanish by chance."""
    return np.full_like(seen, seen.max(initial=0.0)) if scales is None else np.maximum(seen, np.median(seen))
