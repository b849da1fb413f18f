"""Scalars: what an op is on Python's numbers, for code that runs on them (CONTRACT B5).

Each function takes Python floats (predicates bools too) and returns what NumPy's kernel returns on
float64, never raising: Python's own operators and `math` raise where NumPy gives inf or NaN. Sums,
products, quotients, roots, comparisons and choices have NumPy's bits (the sign of a zero that maximum and
minimum choose aside, which NumPy leaves open); the others are within ULP units in the last place,
since NumPy's vector functions round otherwise than the C library's.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

ULP = 4

INF, NAN = math.inf, math.nan


def where(condition: bool, x: Any, y: Any) -> Any:
    return x if condition else y


def square(x: float) -> float:
    return x * x


def scale(p: float, t: float) -> float:
    """p * t, and t where t is 0 though p is infinite or NaN."""
    product = p * t
    return product if product == product or t != 0.0 else t


def divide(x: float, y: float) -> float:
    if y:
        return x / y
    return NAN if x == 0.0 or x != x else math.copysign(INF, x) * math.copysign(1.0, y)


def reciprocal(x: float) -> float:
    return 1.0 / x if x else math.copysign(INF, x)


def sqrt(x: float) -> float:
    return math.sqrt(x) if x >= 0.0 else NAN


def exp(x: float) -> float:
    try:
        return math.exp(x)
    except OverflowError:
        return INF


def expm1(x: float) -> float:
    try:
        return math.expm1(x)
    except OverflowError:
        return INF


def log(x: float) -> float:
    if x > 0.0:
        return math.log(x)
    return -INF if x == 0.0 else NAN


def log1p(x: float) -> float:
    if x > -1.0:
        return math.log1p(x)
    return -INF if x == -1.0 else NAN


def sin(x: float) -> float:
    return math.sin(x) if abs(x) < INF else NAN


def cos(x: float) -> float:
    return math.cos(x) if abs(x) < INF else NAN


def tan(x: float) -> float:
    return math.tan(x) if abs(x) < INF else NAN


def power(x: float, y: float) -> float:
    try:
        return math.pow(x, y)
    except OverflowError:
        return -INF if x < 0.0 and y % 2.0 == 1.0 else INF
    except ValueError:
        if x == 0.0:  # to a negative power
            return math.copysign(INF, x) if y % 2.0 == 1.0 else INF
        return NAN


def integer_power(x: float, *, exponent: int) -> float:
    return x * x * x if exponent == 3 else power(x, float(exponent))


def sigmoid(x: float) -> float:
    e = math.exp(-abs(x))
    return (1.0 if x >= 0.0 else e) / (e + 1.0)


def logaddexp(x: float, y: float) -> float:
    if x == y:
        return x + math.log(2.0)
    over = x - y
    if over > 0.0:
        return x + math.log1p(math.exp(-over))
    return y + math.log1p(math.exp(over)) if over <= 0.0 else over


def softplus(x: float) -> float:
    return logaddexp(x, 0.0)


def maximum(x: float, y: float) -> float:
    return x if x >= y or x != x else y


def minimum(x: float, y: float) -> float:
    return x if x <= y or x != x else y


def relu(x: float) -> float:
    return x if x > 0.0 or x != x else 0.0


def clip(x: float, low: float, high: float) -> float:
    return minimum(maximum(x, low), high)


def sign(x: float) -> float:
    return 1.0 if x > 0.0 else -1.0 if x < 0.0 else x if x != x else 0.0


SCALARS: dict[str, Callable[..., Any]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "negative": operator.neg,
    "abs": abs,
    "less": operator.lt,
    "less_equal": operator.le,
    "equal": operator.eq,
    "not_equal": operator.ne,
    "logical_and": operator.and_,
    "logical_or": operator.or_,
    "logical_xor": operator.xor,
    "logical_not": operator.not_,
    "isfinite": math.isfinite,
    "isnan": math.isnan,
    "isinf": math.isinf,
    "tanh": math.tanh,
    "arctan": math.atan,
    "arctan2": math.atan2,
    "arcsinh": math.asinh,
    **{f.__name__: f for f in (where, square, scale, divide, reciprocal, sqrt, exp, expm1, log, log1p, sin, cos, tan, power)},
    **{f.__name__: f for f in (integer_power, sigmoid, logaddexp, softplus, maximum, minimum, relu, clip, sign)},
}
"""By the name of the op. Attributes of the op are keywords."""

EXACT = frozenset(
    ("add", "subtract", "multiply", "negative", "abs", "square", "scale", "divide", "reciprocal", "sqrt", "where", "relu", "clip", "sign", "maximum", "minimum")
    + ("less", "less_equal", "equal", "not_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "isfinite", "isnan", "isinf")
)
"""Those with NumPy's bits."""
