"""Bessel functions of integer order, by SciPy's kernels, closed under derivatives by their recurrences.

The derivative of each is stated in orders one below and one above (DLMF 10.6.1, 10.29.1, 10.51.2):
no division, so that it is right at and near 0. Order 0 and 1 take SciPy's own fast kernels where it
has them. sinc is here since it is the spherical Bessel function of order 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import FLOATS
from .activation import pointwise_compound
from .build import call, promoted
from .op import FACES, NAMED_SPELLINGS, POSITIVE, SPELLINGS, TABLE, Kind, face, require
from .pointwise import pointwise
from .special import MAX_ORDER, admits_order
from .term import Term

Array = Any
Rule = Callable[[Callable[[int], Term], int, Term], Term]

LARGE = 1e9
"""Beyond this SciPy's scaled functions of order 2 and more give NaN."""


def _kernel(general: str, first: tuple[str, ...], tail: int) -> Callable[..., Array]:
    """SciPy's function, with its own names for orders 0 and 1; of the scaled ones -1 (I) and 1 (K) also the tail."""

    def apply(x: Array, out: Array = None, *, order: int) -> Array:
        from scipy import special

        if order < len(first):
            return getattr(special, first[order])(x, out=out)
        result = getattr(special, general)(x.dtype.type(order), x, out=out)
        if tail and (far := np.absolute(x) > LARGE).any():
            result = np.asarray(result)
            result[far] = _tail(x[far], order, tail)
        return result

    return apply


def _tail(x: Array, order: int, sign: int) -> Array:
    # 1 -+ (m-1)/8x + (m-1)(m-9)/2(8x)^2 with m = 4 order^2 (DLMF 10.40.1-2): at x > 1e9, orders to 100, the next term is below 1e-16.
    m, z = 4.0 * order**2, np.absolute(x) if sign < 0 else x
    u = sign * (m - 1) / (8 * z)
    parity = np.sign(x) if sign < 0 and order % 2 else 1
    return parity * math.sqrt(math.pi / 2 if sign > 0 else 1 / (2 * math.pi)) / np.sqrt(z) * (1 + u * (1 + (m - 9) / (m - 1) * u / 2))


def _spherical(x: Array, out: Array = None, *, order: int) -> Array:
    from scipy import special

    value = special.spherical_jn(order, x)
    if out is None:
        return np.asarray(value, x.dtype)
    np.copyto(out, value, casting="same_kind")
    return out


def _bessel(name: str, apply: Callable[..., Array], rule: Rule, summary: str, **options: Any) -> None:
    """`rule(f, n, x)` is the derivative of f(n), the function of order n at x."""
    pointwise(
        name,
        apply,
        lambda y, x, order: (rule(lambda n: y if n == order else call(name, x, order=n), order, x),),
        flops=100,
        attributes={"order": Kind.INT},
        admits=admits_order(0),
        example={"order": 2},
        summary=summary,
        **options,
    )

    def spelled(x: Any, order: int) -> Term:
        (x,) = promoted([x], FLOATS)
        return call(name, x, order=order)

    spelled.__doc__ = f"{summary}, of an order from 0 to {MAX_ORDER}{'; ' + TABLE[name].kinks if TABLE[name].kinks else ''}."
    FACES[name] = spelled


def _difference(f: Callable[[int], Term], n: int) -> Term:
    return (f(n - 1) - f(n + 1)) / 2 if n else -f(1)


def _mean(f: Callable[[int], Term], n: int) -> Term:
    return (f(n - 1) + f(n + 1)) / 2 if n else f(1)


def _spherical_rule(f: Callable[[int], Term], n: int, x: Term) -> Term:
    return (n * f(n - 1) - (n + 1) * f(n + 1)) / (2 * n + 1) if n else -f(1)


_bessel("bessel_j", _kernel("jv", ("j0", "j1"), 0), lambda f, n, x: _difference(f, n), "the Bessel function of the first kind J")
_bessel(
    "bessel_y",
    _kernel("yv", ("y0", "y1"), 0),
    lambda f, n, x: _difference(f, n),
    "the Bessel function of the second kind Y",
    finite=False,
    domain=POSITIVE,
)
_bessel("bessel_i", _kernel("iv", ("i0", "i1"), 0), lambda f, n, x: _mean(f, n), "the modified Bessel function of the first kind I", finite=False)
_bessel(
    "bessel_k",
    _kernel("kv", ("k0", "k1"), 0),
    lambda f, n, x: -_mean(f, n),
    "the modified Bessel function of the second kind K",
    finite=False,
    domain=POSITIVE,
)
_bessel(
    "bessel_ie",
    _kernel("ive", ("i0e", "i1e"), -1),
    lambda f, n, x: _mean(f, n) - np.sign(x) * f(n),
    "exp(-|x|) times the modified Bessel function I",
    kinks="at 0 the derivative of order 0 is 0",
    copies=5,
    masks=1,
)
_bessel(
    "bessel_ke",
    _kernel("kve", ("k0e", "k1e"), 1),
    lambda f, n, x: f(n) - _mean(f, n),
    "exp(x) times the modified Bessel function K",
    finite=False,
    domain=POSITIVE,
    copies=5,
    masks=1,
)
_bessel("spherical_j", _spherical, _spherical_rule, "the spherical Bessel function of the first kind j", copies=6, masks=1)

# SciPy's names. The order of its general functions comes first.


def _ordered(name: str, order: Any, x: Any) -> Term:
    whole = not isinstance(order, Term) and np.ndim(order) == 0 and float(order).is_integer()
    require(whole, f"{name}: the order must be a whole number known when tracing", reason="NOT_TRACEABLE", got=order)
    return FACES[name](x, int(order))  # type: ignore[no-any-return]


for _letter in "jyik":
    for _suffix in ("", "e") if _letter in "ik" else ("",):
        _name = f"bessel_{_letter}{_suffix}"
        NAMED_SPELLINGS[f"{_letter}v{_suffix}"] = partial(_ordered, _name)
        for _order in (0, 1):
            NAMED_SPELLINGS[f"{_letter}{_order}{_suffix}"] = partial(FACES[_name], order=_order)
SPELLINGS[np.i0] = NAMED_SPELLINGS["i0"]


@face("i0e")
def i0e(x: Any) -> Term:
    """exp(-|x|) I(x) of order 0; at 0 the derivative is 0."""
    return FACES["bessel_ie"](x, 0)  # type: ignore[no-any-return]


@face("i1e")
def i1e(x: Any) -> Term:
    """exp(-|x|) I(x) of order 1."""
    return FACES["bessel_ie"](x, 1)  # type: ignore[no-any-return]


# sinc


pointwise_compound("sinc", lambda x: call("spherical_j", math.pi * x, order=0), "sin(pi x) / (pi x), and 1 at 0, with every derivative there")
SPELLINGS[np.sinc] = FACES.pop("sinc")
