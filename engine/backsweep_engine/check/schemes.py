"""Schemes: central differences of several orders as columns of one extrapolation tableau.

d(h) = (f(h) - f(-h)) / 2h = f' + c2 h^2 + c4 h^4 + ... From steps h, s h, s^2 h ... column q
    A_0[k] = d(s^k h),  A_q[k] = (s^2q A_q-1[k] - A_q-1[k+1]) / (s^2q - 1)
has lost the terms up to h^2q: it is the central difference of order 2q + 2 on those nodes (Richardson 1911; Romberg
1955). So one formula is every order, and Richardson's extrapolation is the choice of the column whose bound is least
(Ridders, Advances in Engineering Software 1982).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..query import Judge

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Scheme:
    """`columns`: which columns of the tableau may be taken, the one with the least bound is. `levels`: steps 1, 2, 4 ... times h.

    Three levels at least: what tells a kink and a jump wants them (differences.py).
    """

    columns: tuple[int, ...]
    levels: int

    @property
    def offsets(self) -> Array:
        """1, -1, 2, -2, 4, -4 ... in units of the step."""
        return np.array([sign * 2.0**k for k in range(self.levels) for sign in (1, -1)])

    @property
    def column(self) -> int:
        """The one a step is chosen for."""
        return min(self.columns[-1], 2)


CENTRAL = Scheme((1,), 3)
"""Order 4: what the others are measured by, and where no scheme is asked for."""

SCHEMES: dict[Judge, Scheme] = {
    "central2": Scheme((0,), 3),
    "central4": CENTRAL,
    "central6": Scheme((2,), 4),
    "richardson": Scheme((0, 1, 2, 3), 5),
    "complex_step": CENTRAL,
    "taylor": CENTRAL,
}
"""Those of the complex step and of Taylor remainders are used where these name entries and find kinks."""


def tableau(d: Array, ratio: float = 2.0) -> list[Array]:
    """The columns, [..., levels - q] each, from d [..., levels]."""
    columns = [d]
    for q in range(1, d.shape[-1]):
        factor = ratio ** (2 * q)
        columns.append((factor * columns[-1][..., :-1] - columns[-1][..., 1:]) / (factor - 1))
    return columns


def weights(levels: int, ratio: float = 2.0) -> Sequence[float]:
    """For each column, the bound on the rounding of its first entry, in units of (error of one value) / h.

    Each d(s^k h) errs by at most s^-k of that; the signs of the tableau alternate, so the parts add up.
    """
    w = ratio ** -np.arange(float(levels))
    found = [float(w[0])]
    for q in range(1, levels):
        factor = ratio ** (2 * q)
        w = (factor * w[:-1] + w[1:]) / (factor - 1)
        found.append(float(w[0]))
    return found


def combined(scheme: Scheme, d: Array) -> tuple[Array, Array, float]:
    """Estimates of f', the truncation seen in each, and the rounding weight, from d [lines, levels].

    Truncation: |A_q[1] - A_q[0]|, of which the error of A_q[0] is about 1 part in 2^(2q+2).
    """
    columns, rounding = tableau(d), weights(d.shape[-1])
    found = [(columns[q][:, 0], np.abs(columns[q][:, 1] - columns[q][:, 0]), rounding[q]) for q in scheme.columns]
    # All lines take one column: by its worst truncation, which does not vanish by chance as that of one line may.
    return min(found, key=lambda c: float(np.nanmax(c[1], initial=0.0)))
