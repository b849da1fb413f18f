"""Who is right where the two differ: mpmath, for the pointwise ops that tests/support/exact.py states and for MATRICES.

Derivatives are central differences in DIGITS digits of the value alone: with steps of 1e-15 and an error of
the step squared, they are exact to the digits of float64 and share no rule with either side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mpmath as mp
import numpy as np

from support.exact import DIGITS, EXACT

Array = np.ndarray[Any, Any]

STEP = mp.mpf(10) ** -15


def _expm_frechet(a: Array, e: Array) -> Array:
    """The corner of the exponential of [[A, E], [0, A]]."""
    n = len(a)
    whole = mp.expm(mp.matrix(np.block([[a, e], [0 * a, a]]).tolist()))
    return np.array(whole[:n, n:].tolist(), object)


def _attention(q: Array, k: Array, v: Array, mask: Array | None = None, *, causal: bool, scale: float) -> Array:
    """Of a mask that is added, or none; row by row."""
    scores = scale * (q @ k.T) + (0 if mask is None else mask)
    weights = np.frompyfunc(mp.exp, 1, 1)(scores) * (np.tri(*scores.shape, dtype=int) if causal else 1)
    return (weights @ v) / np.sum(weights, axis=1, keepdims=True)


MATRICES: dict[str, Callable[..., Array]] = {"attention": _attention, "expm_frechet": _expm_frechet}
"""On arrays of mpmath's numbers, one matrix each."""


def exact(name: str, quantity: str, points: Sequence[Array], arity: int, attributes: dict[str, Any]) -> list[Array] | None:
    """The quantity of the op at these points (operands, then cotangent and tangents) in float64; None if mpmath does not know the op."""
    if name in EXACT:
        f = np.frompyfunc(lambda *x: EXACT[name](*x, **attributes), arity, 1)
    elif name in MATRICES and points[0].ndim == 2:
        f = partial(MATRICES[name], **attributes)
    else:
        return None
    with mp.workdps(DIGITS):
        wide = [np.vectorize(mp.mpf, otypes=[object])(p.astype(float)) if p.size else p.astype(object) for p in points]
        return [np.asarray(y, object).astype(float) for y in _quantity(quantity, f, wide[:arity], wide[arity:])]


def _quantity(quantity: str, f: Callable[..., Any], x: list[Array], more: list[Array]) -> list[Any]:
    if quantity == "value":
        return [f(*x)]
    if quantity == "jvp":
        return [_slope(f, x, more)]

    def paired(*x: Array) -> Any:
        return np.sum(more[0] * f(*x))

    function = paired if quantity == "vjp" else lambda *x: _slope(paired, list(x), more[1:])
    return [_gradient(function, x, i) for i in range(len(x))]


def _slope(f: Callable[..., Any], x: list[Array], t: list[Array]) -> Any:
    ahead, behind = (f(*[a + s * STEP * d for a, d in zip(x, t, strict=True)]) for s in (1, -1))
    return (ahead - behind) / (2 * STEP)


def _gradient(f: Callable[..., Any], x: list[Array], i: int) -> Array:
    """By operand i, entry by entry."""
    result = np.empty(x[i].shape, object)
    for k in np.ndindex(result.shape):
        unit = [np.zeros(a.shape, object) for a in x]
        unit[i][k] = mp.mpf(1)
        result[k] = _slope(f, x, unit)
    return result
