"""The rest of NumPy's elementwise functions: roots and logarithms, inverse trigonometric and hyperbolic functions,
rounding, remainders, clip, predicates. Records by `pointwise`; what other ops spell is spelled below them.

A partial that can overflow anywhere is finite=False, so that an untaken branch of `where` adds
nothing. Kinks follow FINDINGS: hypot'(0) = 0 as of any norm, clip at a bound 1, ties evenly.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from ..graph import FLOATS
from .build import FLOAT64, aligned, call, cast, common_builder, constant, elementwise, lift, promoted, zeros
from .choice import where
from .op import ANY, AS_APPLIED, BOOL, NUMBERS, POSITIVE, REALS, SPELLINGS, UNIT, Domain, require, spells
from .pointwise import one_where, pointwise, power, split
from .term import Term

LN2, LN10 = math.log(2), math.log(10)


# Roots, powers, logarithms.

pointwise("log2", np.log2, lambda y, x: (1 / (LN2 * x),), finite=False, flops=10, domain=POSITIVE, continuation=AS_APPLIED)
pointwise("log10", np.log10, lambda y, x: (1 / (LN10 * x),), finite=False, flops=10, domain=POSITIVE, continuation=AS_APPLIED)
pointwise("exp2", np.exp2, lambda y, x: (LN2 * y,), finite=False, flops=10, continuation=AS_APPLIED)


def _cbrt_continued(x: Any) -> Any:
    """That of the real root: of a number with a positive real part, or minus that of minus it."""
    sign = np.where(np.real(x) < 0, -1.0, 1.0)
    return sign * np.power(sign * x + 0j, 1 / 3)


pointwise(
    "cbrt",
    np.cbrt,
    lambda y, x: (1 / (3 * y * y),),
    finite=False,
    flops=20,
    domain=POSITIVE,
    summary="the real cube root, of negative numbers too",
    continuation=_cbrt_continued,
)


def _logaddexp2_continued(x: Any, y: Any) -> Any:
    """The larger, and the logarithm of what the smaller adds: which is which is told by real parts, and both ways are one function."""
    d = np.where(np.real(x) < np.real(y), x - y, y - x)
    return np.where(np.real(x) < np.real(y), y, x) + np.log1p(np.exp(LN2 * d)) / LN2


pointwise(
    "logaddexp2",
    np.logaddexp2,
    lambda z, x, y: (call("sigmoid", LN2 * (x - y)), call("sigmoid", LN2 * (y - x))),
    arity=2,
    flops=25,
    summary="log2(2 ** x + 2 ** y), without overflow",
    continuation=_logaddexp2_continued,
)


def _hypot_partials(z: Term, x: Term, y: Term) -> tuple[Term, Term]:
    return where(z == 0, 0.0, x / z), where(z == 0, 0.0, y / z)


pointwise(
    "hypot",
    np.hypot,
    _hypot_partials,
    arity=2,
    flops=15,
    kinks="at (0, 0) both derivatives are 0",
    summary="sqrt(x x + y y), without overflow",
    continuation=lambda x, y: np.sqrt(x * x + y * y),
)


@spells(np.float_power)
def float_power(x: Any, exponent: Any) -> Term:
    """np.power in float64."""
    return power(_wide(x), exponent if type(exponent) is int else _wide(exponent))


def _wide(x: Any) -> Any:
    return cast(x, FLOAT64) if isinstance(x, Term) else np.asarray(x, FLOAT64)


# Inverse trigonometric and hyperbolic functions. Products and hypot where 1 - x x would cancel or x x overflow.

pointwise("arcsin", np.arcsin, lambda y, x: (1 / np.sqrt((1 - x) * (1 + x)),), finite=False, flops=20, domain=UNIT, continuation=AS_APPLIED)
pointwise("arccos", np.arccos, lambda y, x: (-1 / np.sqrt((1 - x) * (1 + x)),), finite=False, flops=20, domain=UNIT, continuation=AS_APPLIED)
pointwise("arctan", np.arctan, lambda y, x: (1 / (1 + x * x),), flops=20, continuation=AS_APPLIED)
pointwise("sinh", np.sinh, lambda y, x: (np.cosh(x),), finite=False, flops=20, continuation=AS_APPLIED)
pointwise("cosh", np.cosh, lambda y, x: (np.sinh(x),), finite=False, flops=20, continuation=AS_APPLIED)
pointwise("arcsinh", np.arcsinh, lambda y, x: (1 / np.hypot(x, 1.0),), flops=20, continuation=AS_APPLIED)
pointwise("arccosh", np.arccosh, lambda y, x: (1 / (np.sqrt(x - 1) * np.sqrt(x + 1)),), finite=False, flops=20, domain=Domain(1.0), continuation=AS_APPLIED)
pointwise("arctanh", np.arctanh, lambda y, x: (1 / ((1 - x) * (1 + x)),), finite=False, flops=20, domain=UNIT, continuation=AS_APPLIED)


def _arctan2_partials(z: Term, y: Term, x: Term) -> tuple[Term, Term]:
    r = np.hypot(x, y)
    return x / r / r, -(y / r) / r


def _arctan2_continued(y: Any, x: Any) -> Any:
    """By the arctangent of the smaller over the larger, whose quarter is told by real parts: i y added to x would lose a small imaginary part."""
    re_y, re_x = np.real(y), np.real(x)
    steep = np.abs(re_y) > np.abs(re_x)
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan(np.where(steep, -x, y) / np.where(steep, y, x))
    return angle + np.where(steep, np.copysign(np.pi / 2, re_y), np.where(re_x < 0, np.copysign(np.pi, re_y), 0.0))


pointwise(
    "arctan2",
    np.arctan2,
    _arctan2_partials,
    arity=2,
    finite=False,
    flops=25,
    domain=(REALS, POSITIVE),
    summary="the angle of (second, first operand)",
    continuation=_arctan2_continued,
)


# Rounding: piecewise constant. NumPy leaves integers as they are.

for _name, _function in {"floor": np.floor, "ceil": np.ceil, "trunc": np.trunc}.items():
    pointwise(_name, _function, None)
pointwise("rint", np.rint, None, summary="the nearest integer, ties to the even one")


def _rounding(name: str, x: Any) -> Term:
    return elementwise(name, x) if x.dtype.kind == "f" else x


for _name, _functions in {"floor": (np.floor,), "ceil": (np.ceil,), "trunc": (np.trunc, np.fix)}.items():
    spells(*_functions)(partial(_rounding, _name))


@spells(np.round, np.around)
def round(x: Term, decimals: int = 0) -> Term:
    if x.dtype.kind != "f":
        require(decimals >= 0, "integers rounded to tens", reason="NOT_TRACEABLE", got=decimals, hint="cast to float64 first (x.astype)")
        return x
    if decimals == 0:
        return elementwise("rint", x)
    scale = 10.0 ** abs(decimals)
    return elementwise("rint", x * scale) / scale if decimals > 0 else elementwise("rint", x / scale) * scale


# Remainders. x = y * quotient + remainder with an integer quotient, so their partials by y are minus that quotient.

_JUMPS = "where x is a multiple of y, and the value jumps, the derivatives are those of the period that begins there"


def _remainder(ufunc: np.ufunc, quotient: Callable[..., Any], summary: str) -> None:
    pointwise(
        ufunc.__name__,
        ufunc,
        lambda z, x, y: (1.0, -quotient(z, x, y)),
        arity=2,
        finite=False,
        dtypes=NUMBERS,
        flops=5,
        domain=(REALS, POSITIVE),
        kinks=_JUMPS,
        summary=summary,
    )


pointwise("floor_divide", np.floor_divide, None, arity=2, dtypes=NUMBERS, flops=5, domain=(REALS, POSITIVE))
_remainder(np.remainder, lambda z, x, y: np.floor_divide(x, y), "the remainder that has the sign of the divisor")
_remainder(np.fmod, lambda z, x, y: np.rint((x - z) / y), "the remainder that has the sign of the dividend")


@spells(np.divmod)
def divmod(x: Any, y: Any) -> tuple[Term, Term]:
    return elementwise("floor_divide", x, y), elementwise("remainder", x, y)


@spells(np.modf)
def modf(x: Any) -> tuple[Term, Term]:
    (x,) = promoted([x], FLOATS)
    whole = elementwise("trunc", x)
    return where(call("isinf", x), np.copysign(0.0, x), x - whole), whole


# Choices.


def _clip_partials(z: Term, x: Term, low: Term, high: Term) -> tuple[Term, Term, Term]:
    return one_where((x >= low) & (x <= high), x), one_where((x < low) & (low <= high), x), one_where(call("maximum", x, low) > high, x)


def _clip(x: Any, low: Any, high: Any, out: Any = None) -> Any:
    return np.clip(x, low, high, out=out)


pointwise("clip", _clip, _clip_partials, arity=3, dtypes=NUMBERS, kinks="at a bound x has the derivative 1, the bound 0", summary="min(max(x, low), high)")


@spells(np.clip)
def clip(x: Any, a_min: Any = None, a_max: Any = None, *, min: Any = None, max: Any = None) -> Term:
    """As np.clip; a bound left out or None is not there."""
    low, high = (a if b is None else b for a, b in ((a_min, min), (a_max, max)))
    terms = iter(promoted([v for v in (x, low, high) if v is not None]))
    x = next(terms)
    ends = (-np.inf, np.inf) if x.dtype.kind == "f" else (np.iinfo(x.dtype).min, np.iinfo(x.dtype).max)
    bounds = [constant(x.builder, end, dtype=x.dtype) if bound is None else next(terms) for bound, end in zip((low, high), ends, strict=True)]
    return call("clip", *aligned([x, *bounds]))


for _what, _ufunc in {"maximum": np.fmax, "minimum": np.fmin}.items():
    pointwise(
        _ufunc.__name__,
        _ufunc,
        split,
        arity=2,
        dtypes=ANY,
        kinks="where the operands are equal each gets half",
        summary=f"the {_what}; the other operand where one is NaN",
    )
pointwise(
    "heaviside",
    np.heaviside,
    lambda z, x, h: (None, one_where(x == 0, x)),
    arity=2,
    kinks="at 0, where it jumps, the derivative by x is 0",
    summary="0 for x < 0, 1 for x > 0, the second operand at 0",
)
pointwise(
    "copysign",
    np.copysign,
    lambda z, x, y: (np.sign(x) * np.copysign(1.0, y), None),
    arity=2,
    kinks="at x = 0 the derivative is 0",
    summary="the size of x with the sign of y, that of -0.0 too",
)

# Predicates and logic.

pointwise("isnan", np.isnan, None, result=BOOL)
pointwise("isinf", np.isinf, None, result=BOOL)
pointwise("signbit", np.signbit, None, result=BOOL, summary="whether the sign is minus, that of -0.0 too")
pointwise("logical_xor", np.logical_xor, None, arity=2, dtypes=(BOOL,), numpy=(np.bitwise_xor,))


def _logic(name: str, *values: Any) -> Term:
    builder = common_builder(values)
    terms = [lift(v, builder) for v in values]
    return elementwise(name, *[t if t.dtype == BOOL else t != 0 for t in terms])


for _name in ("logical_and", "logical_or", "logical_not", "logical_xor"):
    SPELLINGS[getattr(np, _name)] = partial(_logic, _name)
SPELLINGS[np.isposinf] = lambda x: x == np.inf
SPELLINGS[np.isneginf] = lambda x: x == -np.inf


@spells(np.isclose)
def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    a, b = promoted([a, b], FLOATS)
    close = (abs(a - b) <= atol + rtol * abs(b)) & elementwise("isfinite", b) | (a == b)
    return close | elementwise("isnan", a) & elementwise("isnan", b) if equal_nan else close


# Spelled in other ops.

spells(np.deg2rad, np.radians)(lambda x: x * (math.pi / 180))
spells(np.rad2deg, np.degrees)(lambda x: x * (180 / math.pi))
SPELLINGS[np.fabs] = lambda x: elementwise("abs", *promoted([x], FLOATS))
SPELLINGS[np.positive] = SPELLINGS[np.conjugate] = SPELLINGS[np.real] = lambda x: x
SPELLINGS[np.imag] = lambda x: zeros(x.builder, x.type)


@spells(np.nan_to_num)
def nan_to_num(x: Term, copy: bool = True, nan: Any = 0.0, posinf: Any = None, neginf: Any = None) -> Term:
    """x with NaN and infinities replaced; what is replaced has the derivative 0."""
    if x.dtype.kind != "f":
        return x
    info = np.finfo(x.dtype)
    high, low = (float(info.max) if posinf is None else posinf), (float(info.min) if neginf is None else neginf)
    return where(elementwise("isnan", x), nan, where(x == np.inf, high, where(x == -np.inf, low, x)))


@spells(np.select)
def select(condlist: Sequence[Any], choicelist: Sequence[Any], default: Any = 0) -> Term:
    """The first choice whose condition holds."""
    require(len(condlist) == len(choicelist) > 0, "select needs as many choices as conditions", got=f"{len(condlist)} and {len(choicelist)}")
    result = default
    for condition, choice in reversed(list(zip(condlist, choicelist, strict=True))):
        result = where(condition, choice, result)
    return result  # type: ignore[no-any-return]
