"""Pointwise ops of the table as instructions, for one element or a vector of them.

A rule takes the operands, all of one dtype (`where`: of the branches'), and writes what NumPy's kernel
computes: + - * / and sqrt, comparisons and choices have NumPy's bits; functions are the platform's
vector functions or libm's, at most 4 ulp off, and so is what is composed of them (logaddexp, which
crosses zero, of its operands). NaN, infinities, -0.0 and overflow come out as NumPy's, whatever the
lane. An op, dtype or attribute without a rule raises Unsupported: the NumPy tier runs it.
"""

from __future__ import annotations

import math

from .assembly import Dtype
from .lanes import INT64, RULES, Lanes, Unsupported, floating, rule

MAX_CHAIN = 5
"""Positive integer powers of floats up to this are multiplied out: x**5 takes 4 roundings, so less than 4 ulp. Others are pow's."""


# Arithmetic. Integers wrap, bools are "or" and "and", as in NumPy.


def _arithmetic(name: str, floats: str, integers: str, bools: str) -> None:
    def write_it(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
        return l.operation({"f": floats, "i": integers, "b": bools}[dtype.kind], dtype, x, y)

    RULES[name] = write_it


_arithmetic("add", "fadd", "add", "or")
_arithmetic("subtract", "fsub", "sub", "xor")
_arithmetic("multiply", "fmul", "mul", "and")


@rule("negative")
def _negative(l: Lanes, dtype: Dtype, x: str) -> str:
    return l.operation("fneg", dtype, x) if dtype.kind == "f" else l.operation("sub", dtype, l.constant(0, dtype), x)


@rule("square")
def _square(l: Lanes, dtype: Dtype, x: str) -> str:
    return RULES["multiply"](l, dtype, x, x)


@rule("scale")
def _scale(l: Lanes, dtype: Dtype, p: str, t: str) -> str:
    product = l.operation("fmul", dtype, p, t)
    kept = l.both(l.is_nan(dtype, product), l.compare("oeq", dtype, t, l.constant(0, dtype)))
    return l.select(kept, dtype, t, product)


@rule("divide")
def _divide(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
    floating(dtype)
    return l.operation("fdiv", dtype, x, y)


@rule("reciprocal")
def _reciprocal(l: Lanes, dtype: Dtype, x: str) -> str:
    return _divide(l, dtype, l.constant(1, dtype), x)


@rule("integer_power")
def _integer_power(l: Lanes, dtype: Dtype, x: str, exponent: int) -> str:
    if exponent == 0:
        return l.constant(1, dtype)
    if exponent == -1 and dtype.kind == "f":
        return _reciprocal(l, dtype, x)
    if dtype.kind == "f" and not 0 < exponent <= MAX_CHAIN:
        return l.function("pow", dtype, x, l.constant(exponent, dtype))
    result, power = "", x
    while exponent:
        if exponent & 1:
            result = RULES["multiply"](l, dtype, result, power) if result else power
        exponent >>= 1
        power = _square(l, dtype, power) if exponent else power
    return result


# Functions of the platform, by their C names.

_FUNCTIONS = {name: name for name in ("expm1", "exp2", "log", "log1p", "log2", "log10", "sin", "cos", "tan", "sinh", "cosh", "tanh", "cbrt")}
_FUNCTIONS |= {f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "sinh", "cosh", "tanh", "tan2")}
_FUNCTIONS |= {"power": "pow", "hypot": "hypot", "erf": "erf", "erfc": "erfc"}


def _function(name: str, theirs: str) -> None:
    def write_it(l: Lanes, dtype: Dtype, *x: str) -> str:
        floating(dtype)
        return l.function(theirs, dtype, *x)

    RULES[name] = write_it


for _ours, _theirs in _FUNCTIONS.items():
    _function(_ours, _theirs)

for _ours, _theirs in {"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "nearbyint", "copysign": "copysign"}.items():

    def _exactly(l: Lanes, dtype: Dtype, *x: str, name: str = _theirs) -> str:
        floating(dtype)
        return l.intrinsic(name, dtype, *x)

    RULES[_ours] = _exactly


@rule("abs")
def _abs(l: Lanes, dtype: Dtype, x: str) -> str:
    if dtype.kind == "f":
        return l.intrinsic("fabs", dtype, x)
    return l.select(l.compare("slt", dtype, x, l.constant(0, dtype)), dtype, _negative(l, dtype, x), x)


TAYLOR = 13
"""Degree at which the series of exp has converged: (log 2 / 2)**14 / 14! is 4e-18."""

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62E42FEFA39EFp-1"), float.fromhex("0x1.ABC9E3B39803Fp-56")
SHIFT, SHIFT_BITS = float.fromhex("0x1.8p52"), 0x4338000000000000
"""Added to a float64 it leaves the nearest integer in the last bits."""


@rule("exp")
def _exp(l: Lanes, dtype: Dtype, x: str) -> str:
    """libm's; of vectors of float64 our own, within 1 ulp: libmvec's 3 would be too many for what is composed of it.

    x = n log 2 + r with |r| <= log(2) / 2, the series at r by fused products, and 2**n in two factors,
    so that a subnormal result is rounded once (Muller, Elementary Functions, 11.4).
    """
    floating(dtype)
    if l.lanes == 1 or dtype.itemsize == 4 or not l.machine.fused:
        return l.function("exp", dtype, x)

    def number(value: float) -> str:
        return l.constant(value, dtype)

    def bits(value: str) -> str:
        return l.convert("bitcast", value, dtype, INT64)

    x = l.select(l.compare("ogt", dtype, x, number(710.0)), dtype, number(710.0), x)
    # What is 0 is not worked out: powers that underflow take ten times as long, and masked attention has many.
    gone = l.compare("olt", dtype, x, number(-746.0))
    x = l.select(gone, dtype, number(0.0), x)
    shifted = l.intrinsic("fma", dtype, x, number(1 / math.log(2)), number(SHIFT))
    n = l.operation("fsub", dtype, shifted, number(SHIFT))
    r = l.intrinsic("fma", dtype, n, number(-LN2_HIGH), x)
    r = l.intrinsic("fma", dtype, n, number(-LN2_LOW), r)
    square = l.operation("fmul", dtype, r, r)
    # Even and odd terms apart, two short chains of products instead of a long one.
    halves = []
    for last in (TAYLOR - 1, TAYLOR):
        half = number(1 / math.factorial(last))
        for k in range(last - 2, 1, -2):
            half = l.intrinsic("fma", dtype, half, square, number(1 / math.factorial(k)))
        halves.append(half)
    series = l.intrinsic("fma", dtype, halves[1], r, halves[0])
    series = l.intrinsic("fma", dtype, series, square, r)
    series = l.operation("fadd", dtype, series, number(1.0))
    whole = l.operation("sub", INT64, bits(shifted), l.constant(SHIFT_BITS, INT64))
    lower = l.operation("ashr", INT64, whole, l.constant(1, INT64))
    for power in (lower, l.operation("sub", INT64, whole, lower)):
        biased = l.operation("shl", INT64, l.operation("add", INT64, power, l.constant(1023, INT64)), l.constant(52, INT64))
        series = l.operation("fmul", dtype, series, l.convert("bitcast", biased, INT64, dtype))
    return l.select(gone, dtype, number(0.0), series)


# Composed, in the form of ops/pointwise.py and ops/activation.py, which neither overflows nor cancels.


def _exp_of_minus(l: Lanes, dtype: Dtype, size: str) -> str:
    return _exp(l, dtype, l.operation("fneg", dtype, size))


@rule("sigmoid")
def _sigmoid(l: Lanes, dtype: Dtype, x: str) -> str:
    one = l.constant(1, dtype)
    e = _exp_of_minus(l, dtype, _abs(l, dtype, x))
    above = l.select(l.compare("oge", dtype, x, l.constant(0, dtype)), dtype, one, e)
    return l.operation("fdiv", dtype, above, l.operation("fadd", dtype, e, one))


@rule("softplus")
def _softplus(l: Lanes, dtype: Dtype, x: str) -> str:
    more = l.function("log1p", dtype, _exp_of_minus(l, dtype, _abs(l, dtype, x)))
    return l.operation("fadd", dtype, RULES["relu"](l, dtype, x), more)


@rule("logaddexp")
def _logaddexp(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
    return _log_of_sum(l, dtype, x, y, "exp", 1.0)


@rule("logaddexp2")
def _logaddexp2(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
    return _log_of_sum(l, dtype, x, y, "exp2", 1 / math.log(2))


def _log_of_sum(l: Lanes, dtype: Dtype, x: str, y: str, exp: str, unit: float) -> str:
    # max + log1p(b ** -|x - y|) / log b; for equal operands, infinities among them, x + log_b 2.
    apart = _abs(l, dtype, l.operation("fsub", dtype, x, y))
    more = l.function("log1p", dtype, RULES[exp](l, dtype, l.operation("fneg", dtype, apart)))
    more = more if unit == 1 else l.operation("fmul", dtype, more, l.constant(unit, dtype))
    sum = l.operation("fadd", dtype, RULES["maximum"](l, dtype, x, y), more)
    twice = l.operation("fadd", dtype, x, l.constant(math.log(2) * unit, dtype))
    return l.select(l.compare("oeq", dtype, x, y), dtype, twice, sum)


@rule("softsign")
def _softsign(l: Lanes, dtype: Dtype, x: str) -> str:
    return l.operation("fdiv", dtype, x, l.operation("fadd", dtype, _abs(l, dtype, x), l.constant(1, dtype)))


def _x_log(l: Lanes, dtype: Dtype, x: str, y: str, log: str) -> str:
    if dtype.itemsize == 4:  # glibc's float logarithms leave no room for another rounding within 4 ulp
        raise Unsupported(dtype.name)
    zero = l.constant(0, dtype)
    nothing = l.both(l.compare("oeq", dtype, x, zero), l.compare("ord", dtype, y, y))
    return l.select(nothing, dtype, zero, l.operation("fmul", dtype, x, l.function(log, dtype, y)))


@rule("xlogy")
def _xlogy(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
    return _x_log(l, dtype, x, y, "log")


@rule("xlog1py")
def _xlog1py(l: Lanes, dtype: Dtype, x: str, y: str) -> str:
    return _x_log(l, dtype, x, y, "log1p")


@rule("entr")
def _entr(l: Lanes, dtype: Dtype, x: str) -> str:
    value = l.operation("fneg", dtype, _x_log(l, dtype, x, x, "log"))
    zero = l.constant(0, dtype)
    value = l.select(l.compare("oeq", dtype, x, zero), dtype, zero, value)
    return l.select(l.compare("olt", dtype, x, zero), dtype, l.constant(-math.inf, dtype), value)
