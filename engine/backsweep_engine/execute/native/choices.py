"""Pointwise ops that choose: extremes, signs, comparisons, logic, casts. They have NumPy's bits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .assembly import Dtype
from .lanes import RULES, Lanes, floating, rule

# Choices. NaN wins in maximum, minimum and clip, and loses in fmax and fmin.


def _extreme(name: str, floats: str, integers: str, bools: str, nan_wins: bool) -> None:
    def write_it(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
        if dtype.kind == "b":
            return l.operation(bools, dtype, x, y)
        if dtype.kind == "i":
            return l.select(l.compare(integers, dtype, x, y), dtype, x, y)
        first = l.either(l.compare(floats, dtype, x, y), l.is_nan(dtype, x if nan_wins else y))
        return l.select(first, dtype, x, y)

    RULES[name] = write_it


_extreme("maximum", "oge", "sge", "or", True)
_extreme("minimum", "ole", "sle", "and", True)
_extreme("fmax", "oge", "sge", "or", False)
_extreme("fmin", "ole", "sle", "and", False)


@rule("clip")
def _clip(l: Lanes, dtype: Dtype, x: str, low: str, high: str) -> str:
    return RULES["minimum"](l, dtype, RULES["maximum"](l, dtype, x, low), high)


@rule("relu")
def _relu(l: Lanes, dtype: Dtype, x: str) -> str:
    floating(dtype)
    return RULES["maximum"](l, dtype, x, l.constant(0, dtype))


@rule("sign")
def _sign(l: Lanes, dtype: Dtype, x: str) -> str:
    zero, floats = l.constant(0, dtype), "o" if dtype.kind == "f" else "s"
    below = l.select(l.compare(f"{floats}lt", dtype, x, zero), dtype, l.constant(-1, dtype), zero)
    sign = l.select(l.compare(f"{floats}gt", dtype, x, zero), dtype, l.constant(1, dtype), below)
    return l.select(l.is_nan(dtype, x), dtype, x, sign) if dtype.kind == "f" else sign


@rule("heaviside")
def _heaviside(l: Lanes, dtype: Dtype, x: str, at_0: str) -> str:
    zero = l.constant(0, dtype)
    step = l.select(l.compare("olt", dtype, x, zero), dtype, zero, l.constant(1, dtype))
    step = l.select(l.compare("oeq", dtype, x, zero), dtype, at_0, step)
    return l.select(l.is_nan(dtype, x), dtype, x, step)


@rule("where")
def _where(l: Lanes, dtype: Dtype, condition: str, x: str, y: str) -> str:
    return l.select(condition, dtype, x, y)


# Predicates and logic.

for _name, _predicates in {
    "less": ("olt", "slt", "ult"),
    "less_equal": ("ole", "sle", "ule"),
    "equal": ("oeq", "eq", "eq"),
    "not_equal": ("une", "ne", "ne"),
}.items():

    def _comparison(l: Lanes, dtype: Dtype, x: str, y: str, predicates: tuple[str, ...] = _predicates) -> str:
        return l.compare(predicates["fib".index(dtype.kind)], dtype, x, y)

    RULES[_name] = _comparison

for _name, _instruction in {"logical_and": "and", "logical_or": "or", "logical_xor": "xor"}.items():
    RULES[_name] = lambda l, dtype, x, y, instruction=_instruction: l.operation(instruction, dtype, x, y)
RULES["logical_not"] = lambda l, dtype, x: l.inverse(x)


def _infinite(dtype: Dtype) -> Any:
    return np.array(math.inf, dtype)


@rule("isnan")
def _isnan(l: Lanes, dtype: Dtype, x: str) -> str:
    floating(dtype)
    return l.is_nan(dtype, x)


@rule("isinf")
def _isinf(l: Lanes, dtype: Dtype, x: str) -> str:
    floating(dtype)
    return l.compare("oeq", dtype, RULES["abs"](l, dtype, x), l.constant(_infinite(dtype), dtype))


@rule("isfinite")
def _isfinite(l: Lanes, dtype: Dtype, x: str) -> str:
    floating(dtype)
    return l.compare("one", dtype, RULES["abs"](l, dtype, x), l.constant(_infinite(dtype), dtype))


@rule("signbit")
def _signbit(l: Lanes, dtype: Dtype, x: str) -> str:
    floating(dtype)
    return l.compare("olt", dtype, l.intrinsic("copysign", dtype, l.constant(1, dtype), x), l.constant(0, dtype))


@rule("stop_gradient")
def _itself(l: Lanes, dtype: Dtype, x: str) -> str:
    return x


@rule("cast")
def _cast(l: Lanes, source: Dtype, x: str, dtype: Dtype) -> str:
    if source == dtype:
        return x
    if dtype.kind == "b":
        return l.compare("une" if source.kind == "f" else "ne", source, x, l.constant(0, source))
    wider = dtype.itemsize > source.itemsize
    if source.kind == "b":
        return l.convert("uitofp" if dtype.kind == "f" else "zext", x, source, dtype)
    if source.kind == "i":
        return l.convert("sitofp" if dtype.kind == "f" else "sext" if wider else "trunc", x, source, dtype)
    if dtype.kind == "f":
        return l.convert("fpext" if wider else "fptrunc", x, source, dtype)
    # What C leaves undefined, beyond the integers and NaN, is the least integer in NumPy on x86.
    least, beyond = -(2.0 ** (8 * dtype.itemsize - 1)), 2.0 ** (8 * dtype.itemsize - 1)
    inside = l.compare("olt", source, x, l.constant(beyond, source))
    inside = l.both(inside, l.compare("oge", source, x, l.constant(least, source)))
    safe = l.select(inside, source, x, l.constant(0, source))
    return l.select(inside, dtype, l.convert("fptosi", safe, source, dtype), l.constant(int(least), dtype))
