"""Elementwise ops as mpmath states them: the judge of their values and, differentiated by mpmath, of their slopes.

`EXACT[name](*x, **attributes)` takes and gives mpmath numbers. `on_arrays` makes of it a function of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import mpmath as mp
import numpy as np

Array = np.ndarray[Any, Any]

DIGITS = 60


def _clip(x: Any, low: Any, high: Any) -> Any:
    return min(max(x, low), high)


def _log_ndtr(x: Any) -> Any:
    return mp.log(mp.erfc(-x / mp.sqrt(2)) / 2)


def _inverse_mills(x: Any) -> Any:
    return mp.npdf(x) / (mp.erfc(-x / mp.sqrt(2)) / 2)


def _xlogy(x: Any, y: Any) -> Any:
    return x * mp.log(y) if x else mp.mpf(0)


def _spherical_j(x: Any, order: int) -> Any:
    # The power series (DLMF 10.53.1), which unlike sqrt(pi / 2x) J holds at and below 0.
    return x**order / mp.fac2(2 * order + 1) * mp.hyp0f1(order + mp.mpf(3) / 2, -x * x / 4)


def _elu(x: Any, alpha: float) -> Any:
    return x if x > 0 else mp.mpf(alpha) * mp.expm1(x)


def _huber(x: Any, delta: Any) -> Any:
    return x * x / 2 if abs(x) <= delta else delta * (abs(x) - delta / 2)


def _polygamma(x: Any, order: int) -> Any:
    return mp.polygamma(order, x)


EXACT: dict[str, Callable[..., Any]] = {
    # NumPy's.
    "arccos": mp.acos,
    "arccosh": mp.acosh,
    "arcsin": mp.asin,
    "arcsinh": mp.asinh,
    "arctan": mp.atan,
    "arctan2": mp.atan2,
    "arctanh": mp.atanh,
    "cbrt": lambda x: mp.sign(x) * mp.cbrt(abs(x)),
    "clip": _clip,
    "copysign": lambda x, y: abs(x) if y >= 0 else -abs(x),
    "cosh": mp.cosh,
    "exp2": lambda x: mp.mpf(2) ** x,
    "fmax": max,
    "fmin": min,
    "fmod": lambda x, y: x - y * int(x / y),
    "heaviside": lambda x, h: h if x == 0 else mp.mpf(x > 0),
    "hypot": mp.hypot,
    "log10": mp.log10,
    "log2": lambda x: mp.log(x, 2),
    "logaddexp2": lambda x, y: mp.log(mp.mpf(2) ** x + mp.mpf(2) ** y, 2),
    "remainder": lambda x, y: x - y * mp.floor(x / y),
    "sinc": lambda x: _spherical_j(mp.pi * x, 0),
    "sinh": mp.sinh,
    # Special functions.
    "bessel_i": lambda x, order: mp.besseli(order, x),
    "bessel_ie": lambda x, order: mp.exp(-abs(x)) * mp.besseli(order, x),
    "bessel_j": lambda x, order: mp.besselj(order, x),
    "bessel_k": lambda x, order: mp.besselk(order, x),
    "bessel_ke": lambda x, order: mp.exp(x) * mp.besselk(order, x),
    "bessel_y": lambda x, order: mp.bessely(order, x),
    "beta": mp.beta,
    "betaln": lambda x, y: mp.loggamma(x) + mp.loggamma(y) - mp.loggamma(x + y),
    "digamma": mp.digamma,
    "entr": lambda x: -x * mp.log(x),
    "erf": mp.erf,
    "erfc": mp.erfc,
    "erfcinv": lambda x: mp.erfinv(1 - x),
    "erfcx": lambda x: mp.exp(x * x) * mp.erfc(x),
    "erfinv": mp.erfinv,
    "gamma": mp.gamma,
    "gammaln": lambda x: mp.log(abs(mp.gamma(x))),
    "inverse_mills": _inverse_mills,
    "kl_div": lambda x, y: x * mp.log(x / y) - x + y,
    "log_ndtr": _log_ndtr,
    "logit": lambda x: mp.log(x / (1 - x)),
    "mean_excess": lambda x: x + _inverse_mills(x),
    "multigammaln": lambda x, dimension: mp.log(mp.pi) * dimension * (dimension - 1) / 4 + sum(mp.loggamma(x - mp.mpf(j) / 2) for j in range(dimension)),
    "ndtr": lambda x: mp.erfc(-x / mp.sqrt(2)) / 2,
    "ndtri": lambda x: mp.sqrt(2) * mp.erfinv(2 * x - 1),
    "polygamma": _polygamma,
    "rel_entr": lambda x, y: x * mp.log(x / y),
    "spherical_j": _spherical_j,
    "truncated_variance": lambda x: 1 - _inverse_mills(x) * (x + _inverse_mills(x)),
    "xlog1py": lambda x, y: _xlogy(x, 1 + y),
    "xlogy": _xlogy,
    # Activations and losses.
    "celu": lambda x, alpha: x if x > 0 else mp.mpf(alpha) * mp.expm1(x / alpha),
    "elu": _elu,
    "gelu": lambda x: x * mp.erfc(-x / mp.sqrt(2)) / 2,
    "gelu_tanh": lambda x: x / 2 * (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mp.mpf("0.044715") * x**3))),
    "hard_sigmoid": lambda x: _clip(x + 3, mp.mpf(0), mp.mpf(6)) / 6,
    "hard_swish": lambda x: x * _clip(x + 3, mp.mpf(0), mp.mpf(6)) / 6,
    "hard_tanh": lambda x: _clip(x, mp.mpf(-1), mp.mpf(1)),
    "huber": _huber,
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "log_cosh": lambda x: mp.log(mp.cosh(x)),
    "log_sigmoid": lambda x: -mp.log1p(mp.exp(-x)),
    "mish": lambda x: x * mp.tanh(mp.log1p(mp.exp(x))),
    "pseudo_huber": lambda x, delta: delta**2 * (mp.sqrt(1 + (x / delta) ** 2) - 1),
    "relu6": lambda x: _clip(x, mp.mpf(0), mp.mpf(6)),
    "selu": lambda x: mp.mpf("1.0507009873554804934193349852946") * _elu(x, mp.mpf("1.6732632423543772848170429916717")),
    "silu": lambda x: x / (1 + mp.exp(-x)),
    "smooth_l1": lambda x, beta: _huber(x, beta) / beta,
    "softsign": lambda x: x / (1 + abs(x)),
}


def on_arrays(name: str) -> Callable[..., Array]:
    """EXACT[name] on arrays, rounded to their dtype."""

    def f(*x: Array, **attributes: Any) -> Array:
        with mp.workdps(DIGITS):
            values = [EXACT[name](*map(mp.mpf, map(float, row)), **attributes) for row in zip(*map(np.ravel, x), strict=True)]
        return np.array([float(v) for v in values], x[0].dtype).reshape(x[0].shape)

    return f


def _bessel_k(x: Any, order: int, scaled: bool) -> tuple[Any, ...]:
    """K and its first two derivatives, from K' = -K(n-1) - n K / x and x x K'' + x K' = (x x + n n) K (mpmath takes seconds to difference it)."""
    with mp.workdps(30):
        k = mp.besselk(order, x)
        slope = -mp.besselk(order - 1, x) - order * k / x
        bend = ((x * x + order * order) * k - x * slope) / (x * x)
        return (mp.exp(x) * k, mp.exp(x) * (k + slope), mp.exp(x) * (k + 2 * slope + bend)) if scaled else (k, slope, bend)


def exactly(name: str, x: float, nth: int = 0, digits: int = DIGITS, **attributes: Any) -> float:
    """The nth derivative of EXACT[name] at x, by mpmath's differences at that many digits, of steps 10 ** -digits."""
    with mp.workdps(digits):
        if name in ("bessel_k", "bessel_ke"):
            return float(_bessel_k(mp.mpf(x), attributes["order"], name == "bessel_ke")[nth])
        return float(mp.diff(lambda v: EXACT[name](v, **attributes), mp.mpf(x), nth))
