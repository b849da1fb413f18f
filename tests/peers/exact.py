"""Who is right where the two differ: mpmath, for the pointwise ops that tests/support/exact.py states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import mpmath as mp
import numpy as np

from support.exact import DIGITS, EXACT

Array = np.ndarray[Any, Any]


def exact(name: str, quantity: str, points: Sequence[Array], arity: int, attributes: dict[str, Any]) -> list[Array] | None:
    """The quantity of the op at these points (operands, then cotangent and tangents) in float64; None if mpmath does not know the op."""
    if name not in EXACT:
        return None
    shape = points[0].shape
    with mp.workdps(DIGITS):
        entries = [_entry(name, quantity, [mp.mpf(float(p)) for p in row], arity, attributes) for row in zip(*map(np.ravel, points), strict=True)]
    return [np.array([float(v) for v in column]).reshape(shape) for column in zip(*entries, strict=True)]


def _entry(name: str, quantity: str, row: list[Any], arity: int, attributes: dict[str, Any]) -> list[Any]:
    x, more = tuple(row[:arity]), row[arity:]

    def slope(*by: int) -> Any:
        """The derivative by the operands of these numbers."""
        orders = tuple(by.count(i) for i in range(arity))
        return mp.diff(lambda *v: EXACT[name](*v, **attributes), x if arity > 1 else x[0], orders if arity > 1 else orders[0])

    each = range(arity)
    if quantity == "value":
        return [EXACT[name](*x, **attributes)]
    if quantity == "vjp":
        return [slope(i) * more[0] for i in each]
    if quantity == "jvp":
        return [sum(slope(i) * more[i] for i in each)]
    return [more[0] * sum(slope(i, j) * more[1 + j] for j in each) for i in each]
