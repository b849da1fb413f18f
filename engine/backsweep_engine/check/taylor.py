"""The Taylor remainder test: f(x + h v) - f(x) - h c falls as h^2 if and only if c is the derivative along v.

The remainder taken is the larger of those at h and -h: |e h + k h^2| and |-e h + k h^2| cannot both be small by the two
parts cancelling, so an error e shows as order 1 where e h is above the rest. The order is fitted only over steps
whose remainder exceeds ten times its round-off bound, the smallest ones of these. (Farrell, Ham, Funke and Rognes,
Automated Derivation of the Adjoint, SIAM J. Sci. Comput. 2013, section 6, use it with steps by hand.)
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .differences import Ladder
from .trial import Round
from .verdict import Taylor

Array = np.ndarray[Any, Any]

_CLEAR = 10.0
"""A remainder this many times its round-off bound is no rounding."""

_FITTED = 3
"""Steps in a fit: the smallest clear ones, where the leading power rules."""

_HALF_WAY = 0.5
"""Below the expected order by more than this is the order of a wrong derivative, one below."""


def rungs_of(steps: Ladder, values: Array) -> tuple[float, Array, Array]:
    """The value at the point, and those at the rungs and their negatives, of a scout's values."""
    count = steps.rungs.size
    return float(values[0]), values[1 : count + 1], values[count + 1 : 2 * count + 1]


@np.errstate(all="ignore")
def series(steps: Ladder, values: Array, claim: float, noise: float, direction: int, second: float | None = None) -> Taylor:
    """The remainders of a scout's values; `second`: v' H v, subtracted too."""
    here, plus, minus = rungs_of(steps, values)
    h = steps.rungs
    curved = 0.0 if second is None else second
    right, left = plus - here - h * claim - h * h * curved / 2, minus - here + h * claim - h * h * curved / 2
    remainder = np.maximum(np.abs(right), np.abs(left))
    parts = np.maximum(np.abs(plus), np.abs(minus)) + abs(here) + h * abs(claim) + h * h * abs(curved)
    bound = 2 * np.maximum(noise, 0.0) + 2 * steps.epsilon * parts
    clear = np.flatnonzero(np.isfinite(remainder) & (remainder > _CLEAR * bound))[:_FITTED]
    order = 0.0
    if clear.size >= 2:
        order = float(np.polyfit(np.log2(h[clear]), np.log2(remainder[clear]), 1)[0])
    kept = np.isfinite(remainder)
    return Taylor(
        direction,
        tuple(h[kept].tolist()),
        tuple(remainder[kept].tolist()),
        tuple(bound[kept].tolist()),
        order,
        int(clear.size),
        2 if second is None else 3,
    )


@np.errstate(all="ignore")
def judged_by(tests: list[Taylor], judged: Round) -> Round:
    """The round with what remainders say of each direction in place of what differences say.

    Of the first clear step h: an error e of the derivative has |e| <= remainder / h, whatever the rest is. Order 2:
    that is the bound. Order 1: it is the error found, and the bound is ten round-offs over h.
    """
    mismatch, bound = judged.mismatch.copy(), judged.bound.copy()
    for k, test in enumerate(tests):
        h, r, b = (np.array(part) for part in (test.steps, test.remainders, test.roundoff_bounds))
        clear = np.flatnonzero(r > _CLEAR * b)
        if test.fitted < 2:
            at = int(np.argmin((r + _CLEAR * b) / h))
            mismatch[k], bound[k] = r[at] / h[at], (r[at] + _CLEAR * b[at]) / h[at]
        elif test.order >= test.expected - _HALF_WAY:
            at = int(clear[0])
            mismatch[k], bound[k] = r[at] / h[at], (r[at] + b[at]) / h[at]
        else:
            at = int(clear[0])
            mismatch[k], bound[k] = r[at] / h[at], _CLEAR * b[at] / h[at]
        if math.isnan(judged.mismatch[k]):
            mismatch[k] = math.nan
    return replace(judged, mismatch=mismatch, bound=bound)
