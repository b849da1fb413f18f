"""Test functions for minimisers: Rosenbrock, Beale, Powell's singular function, Wood.

Definitions: More, Garbow and Hillstrom, Testing unconstrained optimization software, ACM TOMS 7
(1981), numbers 1, 5, 13 and 14; sizes grow by laying copies side by side (their "extended" forms).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Arrays, Problem


def _near_start(copies: int, seed: int, start: tuple[float, ...]) -> tuple[Arrays, Arrays]:
    """The usual starting point of each copy, moved a little."""
    random = np.random.default_rng([copies, seed])
    return {"x": np.tile(start, copies) + 0.2 * random.standard_normal(copies * len(start))}, {}


def _rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def _rosenbrock_exact(x: Any) -> tuple[Any, Arrays]:
    """SciPy's hand-written rosen_der."""
    from scipy.optimize import rosen, rosen_der

    return rosen(x), {"x": rosen_der(x)}


def _rosenbrock_hvp(tangent: Arrays, x: Any) -> Arrays:
    """SciPy's hand-written rosen_hess_prod."""
    from scipy.optimize import rosen_hess_prod

    return {"x": rosen_hess_prod(x, tangent["x"])}


_BEALE = (1.5, 2.25, 2.625)


def _beale(x: Any) -> Any:
    a, b = x[0::2], x[1::2]
    return sum(np.sum((c - a * (1 - b**i)) ** 2) for i, c in enumerate(_BEALE, 1))


def _beale_exact(x: Any) -> tuple[Any, Arrays]:
    """By hand: f_i = c_i - a (1 - b^i) has the gradient (b^i - 1, i a b^(i-1))."""
    a, b = x[0::2], x[1::2]
    value, slope = 0.0, np.zeros_like(x)
    for i, c in enumerate(_BEALE, 1):
        f = c - a * (1 - b**i)
        value += np.sum(f * f)
        slope[0::2] += 2 * f * (b**i - 1)
        slope[1::2] += 2 * f * i * a * b ** (i - 1)
    return value, {"x": slope}


def _beale_hvp(tangent: Arrays, x: Any) -> Arrays:
    """By hand: H = 2 sum of (grad f_i grad f_i' + f_i H_i), where H_i = [[0, i b^(i-1)], [., i (i-1) a b^(i-2)]]."""
    a, b, s, t = x[0::2], x[1::2], tangent["x"][0::2], tangent["x"][1::2]
    result = np.zeros_like(x)
    for i, c in enumerate(_BEALE, 1):
        f, fa, fb, fab = c - a * (1 - b**i), b**i - 1, i * a * b ** (i - 1), i * b ** (i - 1)
        fbb = i * (i - 1) * a * b ** (i - 2) if i > 1 else np.zeros_like(a)
        along = fa * s + fb * t
        result[0::2] += 2 * (fa * along + f * fab * t)
        result[1::2] += 2 * (fb * along + f * (fab * s + fbb * t))
    return {"x": result}


def _powell(x: Any) -> Any:
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    return np.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


_FORMS = np.array([[1, 10, 0, 0], [0, 0, 1, -1], [0, 1, -2, 0], [1, 0, 0, -1]], float)
_WEIGHTS, _POWERS = np.array([1.0, 5, 1, 10]), np.array([2, 2, 4, 4])


def _powell_exact(x: Any) -> tuple[Any, Arrays]:
    """The sum of w (r'x)^p over four linear forms r, whose gradient is p w (r'x)^(p-1) r."""
    z = x.reshape(-1, 4) @ _FORMS.T
    return np.sum(_WEIGHTS * z**_POWERS), {"x": ((_POWERS * _WEIGHTS * z ** (_POWERS - 1)) @ _FORMS).reshape(-1)}


def _powell_hvp(tangent: Arrays, x: Any) -> Arrays:
    """Likewise: p (p-1) w (r'x)^(p-2) r r'."""
    z, t = x.reshape(-1, 4) @ _FORMS.T, tangent["x"].reshape(-1, 4) @ _FORMS.T
    return {"x": ((_POWERS * (_POWERS - 1) * _WEIGHTS * z ** (_POWERS - 2) * t) @ _FORMS).reshape(-1)}


def _wood(x: Any) -> Any:
    a, b, c, d = x[0::4], x[1::4], x[2::4], x[3::4]
    bowl = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return np.sum(bowl + 10 * (b + d - 2) ** 2 + (b - d) ** 2 / 10)


def _wood_exact(x: Any) -> tuple[Any, Arrays]:
    """By hand, from Colville's form of the last terms: 10.1 ((b-1)^2 + (d-1)^2) + 19.8 (b-1) (d-1)."""
    a, b, c, d = x.reshape(-1, 4).T
    p, q = b - a * a, d - c * c
    value = 100 * p * p + (1 - a) ** 2 + 90 * q * q + (1 - c) ** 2 + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2) + 19.8 * (b - 1) * (d - 1)
    slope = np.stack(
        [
            -400 * a * p - 2 * (1 - a),
            200 * p + 20.2 * (b - 1) + 19.8 * (d - 1),
            -360 * c * q - 2 * (1 - c),
            180 * q + 20.2 * (d - 1) + 19.8 * (b - 1),
        ],
        axis=1,
    )
    return np.sum(value), {"x": slope.reshape(-1)}


PROBLEMS = (
    Problem(
        "rosenbrock",
        _rosenbrock,
        lambda size, seed: _near_start(size, seed, (-1.2, 1.0)),
        _rosenbrock_exact,
        (2, 20),
        _rosenbrock_hvp,
        single=1e-5,
    ),
    Problem("beale", _beale, lambda size, seed: _near_start(size, seed, (1.0, 1.0)), _beale_exact, (1, 8), _beale_hvp),
    Problem("powell singular", _powell, lambda size, seed: _near_start(size, seed, (3.0, -1.0, 0.0, 1.0)), _powell_exact, (1, 8), _powell_hvp),
    Problem("wood", _wood, lambda size, seed: _near_start(size, seed, (-3.0, -1.0, -3.0, -1.0)), _wood_exact, (1, 8)),
)
