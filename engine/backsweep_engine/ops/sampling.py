"""Functions given by samples or coefficients: linspace, gradient, unwrap; polyval and its kin, vander; cov and corrcoef.

No records here: each is NumPy's function spelled in others, with NumPy's formulas, so that values agree to
rounding. Counts, orders, weights and degrees are static; end points, spacings and coefficients may be traced.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS
from .arrange import cut_along, static
from .build import broadcast, call_in, cast, common_builder, constant, lift, promoted
from .choice import dtype_of, where
from .contract import matmul, mean, sum_
from .op import require, spells
from .pieces import concatenate, flip
from .scans import cumprod, cumsum
from .sequences import convolve, diff
from .shape import listed_axes, moveaxis, reshape
from .term import Term

FLOAT64 = DTYPES["float64"]

# Evenly spaced


@spells(np.linspace)
def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, retstep: bool = False, dtype: Any = None, axis: int = 0) -> Any:
    """As np.linspace: start + i step, and the last is stop itself."""
    builder = common_builder((start, stop))
    (count,) = static(num, "a number of points").reshape(1)
    require(count >= 0, "there cannot be fewer than 0 points", reason="ATTRIBUTE", got=num)
    start, stop = promoted([start, stop, 1.0], FLOATS)[:2]
    pieces = int(count) - 1 if endpoint else int(count)
    shape = np.broadcast_shapes(start.shape, stop.shape)
    step = (stop - start) / pieces if pieces > 0 else (stop - start) * math.nan
    i = reshape(cast(call_in(builder, "iota", size=int(count)), start.dtype), (int(count), *(1,) * len(shape)))
    y: Any = broadcast(start, shape) + (i * step if pieces > 0 else i * (stop - start))
    if endpoint and count > 1:
        y = concatenate([y[:-1], reshape(broadcast(stop, shape), (1, *shape))])
    y = moveaxis(y, 0, axis)
    y = y if dtype is None else (np.floor(y) if np.dtype(dtype).kind in "iu" else y).astype(dtype)
    return (y, step) if retstep else y


@spells(np.logspace)
def logspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True, base: Any = 10.0, dtype: Any = None, axis: int = 0) -> Any:
    exponents: Any = np.linspace(start, stop, num, endpoint, axis=axis)  # traced, or NumPy's own where only the base is
    y: Any = np.power(base, exponents)
    return y if dtype is None else y.astype(dtype)


@spells(np.gradient)
def gradient(f: Any, *varargs: Any, axis: Any = None, edge_order: int = 1) -> Any:
    """As np.gradient: second-order differences inside, of first or second order at the ends; spacings or coordinates may be traced."""
    builder = common_builder((f, *varargs))
    (f,) = promoted([lift(f, builder)], FLOATS)
    axes = tuple(range(f.ndim)) if axis is None else listed_axes(axis, f.ndim)
    require(len(varargs) in (0, 1, len(axes)), "one spacing, or one for each axis", reason="ATTRIBUTE", got=len(varargs), allowed=f"0, 1 or {len(axes)}")
    require(edge_order in (1, 2), "ends are of first or second order", reason="ATTRIBUTE", got=edge_order, allowed="1, 2")
    spacings = [lift(v, builder) for v in (varargs or (1.0,))] * (1 if len(varargs) > 1 else len(axes))
    found = tuple(_slope(f, spacing, a, edge_order) for a, spacing in zip(axes, spacings, strict=True))
    return found[0] if len(axes) == 1 else found


def _slope(f: Term, spacing: Term, axis: int, edge_order: int) -> Term:
    n = f.shape[axis]
    require(n > edge_order, "too few entries for a difference", got=f.shape, allowed=f"{edge_order + 1} or more along axis {axis}")
    require(spacing.ndim == 0 or spacing.shape == (n,), "coordinates do not fit the axis", got=spacing.shape, allowed=f"a number, or ({n},)")
    x = moveaxis(f, axis, -1)
    if spacing.ndim == 0:
        h: Any = broadcast(cast(spacing, x.dtype), (n - 1,))
    else:
        h = diff(cast(spacing, np.result_type(x.dtype, spacing.dtype)))
    # f' at the middle of three points h and k apart is the mean of the two slopes, each weighted by the other's length.
    slopes = diff(x, axis=-1) / h
    before, after = h[:-1], h[1:]
    inside = (slopes[..., :-1] * after + slopes[..., 1:] * before) / (before + after) if n > 2 else slopes[..., :0]
    first, last = slopes[..., :1], slopes[..., -1:]
    if edge_order == 2:
        # The parabola through the three points: its slope changes by twice the second difference per length.
        bend = (slopes[..., 1:] - slopes[..., :-1]) / (before + after)
        first, last = first - bend[..., :1] * h[:1], last + bend[..., -1:] * h[-1:]
    return moveaxis(concatenate([first, inside, last], -1), -1, axis)


@spells(np.unwrap)
def unwrap(p: Any, discont: Any = None, axis: int = -1, *, period: Any = 2 * math.pi) -> Term:
    """As np.unwrap of floats: each step brought within half a period by whole ones, which have no derivative."""
    (p,) = promoted([p], FLOATS)
    (axis,) = listed_axes(axis, p.ndim)
    step: Any = diff(p, axis=axis)
    half = period / 2
    near: Any = np.remainder(step + half, period) - half
    near = where((near == -half) & (step > 0), half, near)
    correction = where(abs(step) < (half if discont is None else np.maximum(discont, half)), 0.0, near - step)
    return concatenate([cut_along(p, axis, 0, 1), cut_along(p, axis, 1, p.shape[axis]) + cumsum(correction, axis)], axis)


@spells(np.ediff1d)
def ediff1d(ary: Any, to_end: Any = None, to_begin: Any = None) -> Term:
    builder = common_builder((ary, to_end, to_begin))
    x = lift(ary, builder)
    parts = [to_begin, diff(reshape(x, (x.size,))), to_end]
    flat = [lift(v, builder) for v in parts if v is not None]
    return concatenate([reshape(v, (v.size,)) for v in flat])


# Polynomials, the highest power first


def _coefficients(p: Any, builder: Any) -> Term:
    """A vector; of np.poly1d its coefficients."""
    term = lift(np.asarray(p) if isinstance(p, np.poly1d) else p, builder)
    term = reshape(term, (1,)) if term.ndim == 0 else term
    require(term.ndim == 1, "coefficients are a vector", got=term.shape)
    return term


@spells(np.polyval)
def polyval(p: Any, x: Any) -> Any:
    """By Horner's rule, as np.polyval."""
    builder = common_builder((p, x))
    p = _coefficients(p, builder)
    p, x = promoted([p, lift(x, builder)])
    y: Any = constant(builder, 0, x.shape, x.dtype)
    for i in range(p.size):
        y = y * x + p[i]
    return y


@spells(np.polyder)
def polyder(p: Any, m: int = 1) -> Any:
    p = _coefficients(p, common_builder((p,)))
    for _ in range(m):
        p = p[:-1] * np.arange(p.size - 1, 0, -1)
    return p


@spells(np.polyint)
def polyint(p: Any, m: int = 1, k: Any = None) -> Any:
    (p,) = promoted([_coefficients(p, common_builder((p, k)))], FLOATS)
    constants = [0.0] * m if k is None else list(k) if isinstance(k, (list, tuple)) else [k] * m
    for i in range(m):
        p = concatenate([p / np.arange(p.size, 0, -1), reshape(lift(constants[i], p.builder), (1,))])
    return p


@spells(np.polymul)
def polymul(a1: Any, a2: Any) -> Term:
    builder = common_builder((a1, a2))
    return convolve(_coefficients(a1, builder), _coefficients(a2, builder))


@spells(np.polyadd)
def polyadd(a1: Any, a2: Any) -> Term:
    builder = common_builder((a1, a2))
    one, two = (_coefficients(a, builder) for a in (a1, a2))
    longest = max(one.size, two.size)
    padded = [a if a.size == longest else concatenate([np.zeros(longest - a.size, a.dtype), a]) for a in (one, two)]
    return padded[0] + padded[1]


@spells(np.polysub)
def polysub(a1: Any, a2: Any) -> Term:
    return polyadd(a1, -_coefficients(a2, common_builder((a1, a2))))


@spells(np.vander)
def vander(x: Term, N: int | None = None, increasing: bool = False) -> Term:
    """Powers of x as columns, from products one after the other as np.vander takes them."""
    require(x.ndim == 1, "np.vander is of a vector", got=x.shape)
    x = cast(x, np.promote_types(x.dtype, int))
    count = x.size if N is None else int(static(N, "a number of columns"))
    one = constant(x.builder, 1, (x.size, 1), x.dtype)
    wide = concatenate([one, broadcast(reshape(x, (x.size, 1)), (x.size, count - 1))], 1) if count > 1 else broadcast(one, (x.size, count))
    powers = cumprod(wide, 1, x.dtype)
    return powers if increasing else flip(powers, 1)


# Covariance


@spells(np.cov)
def cov(
    m: Any, y: Any = None, rowvar: bool = True, bias: bool = False, ddof: int | None = None, fweights: Any = None, aweights: Any = None, *, dtype: Any = None
) -> Any:
    """As np.cov: rows are variables, columns observations. Frequencies are known when tracing, weights may be traced."""
    builder = common_builder((m, y, aweights))
    rows = [_variables(lift(m, builder), not rowvar)]
    if y is not None:
        other = lift(y, builder)
        rows.append(_variables(other, not rowvar and other.shape[:1] != (1,)))
    x = cast(concatenate(rows, 0), FLOAT64 if dtype is None else dtype_of(dtype))
    ddof = (0 if bias else 1) if ddof is None else ddof
    if fweights is None and aweights is None:
        off, divisor = x - mean(x, 1, keepdims=True), max(x.shape[1] - ddof, 0)
        return np.squeeze(matmul(off, off.T) / divisor)
    # Weights w = frequency * weight; their sum, less what estimating the mean takes (numpy.cov, Notes).
    weights = [None if w is None else cast(lift(w, builder), x.dtype) for w in (None if fweights is None else static(fweights, "a frequency"), aweights)]
    w: Any = weights[0] if weights[1] is None else weights[1] if weights[0] is None else weights[0] * weights[1]
    total = sum_(w)
    off = x - reshape(sum_(x * w, 1) / total, (x.shape[0], 1))
    taken = 1 if weights[1] is None else sum_(w * weights[1]) / total
    return np.squeeze(matmul(off, (off * w).T) / (total - ddof * taken))


def _variables(v: Term, turned: bool) -> Term:
    require(v.ndim <= 2, "observations of variables are a matrix", got=v.shape)
    if v.ndim < 2:
        return reshape(v, (1, v.size))
    return v.T if turned else v


@spells(np.corrcoef)
def corrcoef(x: Any, y: Any = None, rowvar: bool = True, *, dtype: Any = None) -> Any:
    c = cov(x, y, rowvar, dtype=dtype)
    if c.ndim == 0:
        return c / c
    spread = np.sqrt(np.diagonal(c))
    return np.clip(c / spread[:, None] / spread[None, :], -1, 1)
