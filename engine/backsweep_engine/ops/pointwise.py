"""Pointwise ops: every element of the result depends on the same element of each operand.

A row is a name, NumPy's function (or a kernel with the same `out=`), and the partial derivatives
from the result y and the operands. `finite=False` where a partial can be infinite or NaN at a point
of the closed domain: the linear op `scale` then keeps 0 * inf out (CONTRACT A6). Kinks follow
FINDINGS: relu'(0) = 0, abs'(0) = 0, ties of maximum and minimum split evenly.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import broadcast, call, constant, elementwise, promoted
from .op import (
    ANY,
    AS_APPLIED,
    BOOL,
    FACES,
    NUMBERS,
    POSITIVE,
    REALS,
    SPELLINGS,
    Domain,
    Example,
    Kind,
    Op,
    Partials,
    Transposes,
    Zero,
    elementwise_cost,
    register,
    require,
    require_dtype,
    require_same,
    spells,
)
from .scalars import SCALARS
from .term import Term

Array = Any
EXAMPLE_SHAPE = (3, 2)
FLOAT64 = DTYPES["float64"]


def lifted(rule: Callable[..., Any]) -> Callable[..., Any]:
    """A batch rule from one that wants every operand batched: the others are broadcast (a view)."""

    def batch(mask: tuple[bool, ...], *x: Term, **attributes: Any) -> Any:
        size = next(t.shape[0] for t, m in zip(x, mask, strict=True) if m)
        return rule(*[t if m else broadcast(t, (size, *t.shape)) for t, m in zip(x, mask, strict=True)], **attributes)

    return batch


def pointwise(
    name: str,
    apply: Callable[..., Array],
    partials: Callable[..., tuple[Any, ...]] | None,
    *,
    arity: int = 1,
    finite: bool = True,
    flops: int = 1,
    domain: Domain | tuple[Domain, ...] = REALS,
    dtypes: tuple[np.dtype[Any], ...] = (DTYPES["float64"], DTYPES["float32"]),
    result: np.dtype[Any] | None = None,
    kinks: str = "",
    numpy: tuple[Callable[..., Any], ...] = (),
    summary: str = "",
    derivative: Transposes | None = None,
    attributes: dict[str, Kind] | None = None,
    example: dict[str, Any] | None = None,
    admits: Callable[..., None] = lambda type: None,
    copies: int = 0,
    masks: int = 0,
    public: bool = False,
    continuation: Callable[..., Any] | None = None,
) -> Op:
    """Registers one row. `partials` None: piecewise constant. `derivative` instead of it: linear. `admits` judges attributes.
    `public`: NumPy has no such function, so users find it as `bs.<name>`.
    """

    def infer(types: tuple[Type, ...], **attributes: Any) -> tuple[Type, ...]:
        require_same(types)
        require_dtype(types[0], dtypes)
        admits(types[0], **attributes)
        return (types[0] if result is None else Type(result, types[0].shape),)

    if isinstance(apply, np.ufunc):
        numpy = (apply, *numpy)
    for function in numpy:
        SPELLINGS[function] = partial(elementwise, name)
    if public:
        spelled = partial(elementwise, name)
        spelled.__doc__ = f"{summary or name}{'; ' + kinks if kinks else ''}."
        FACES[name] = spelled
    rule = derivative or (Zero() if partials is None else Partials(partials, finite))
    return register(
        Op(
            name=name,
            infer=infer,
            apply=apply,
            derivative=rule,
            batch=lifted(partial(call, name)),
            cost=elementwise_cost(flops, copies, masks),
            examples=(Example((Type(dtypes[0], EXAMPLE_SHAPE),) * arity, example or {}),),
            arity=arity,
            attributes=attributes or {},
            pointwise=True,
            scalar=SCALARS.get(name),
            domain=domain if isinstance(domain, tuple) else (domain,) * arity,
            kinks=kinks,
            continuation=continuation,
            summary=summary or name.replace("_", " "),
            numpy=numpy,
            operand_dtypes=dtypes,
        )
    )


# Arithmetic. Sums and products are linear: their tangents are themselves; of bools they are "or" and "and", as in NumPy.

pointwise("add", np.add, None, arity=2, dtypes=ANY, derivative=Transposes(lambda i, c, x, y: c), continuation=AS_APPLIED)
pointwise("subtract", np.subtract, None, arity=2, dtypes=NUMBERS, derivative=Transposes(lambda i, c, x, y: -c if i else c), continuation=AS_APPLIED)
pointwise("negative", np.negative, None, dtypes=NUMBERS, derivative=Transposes(lambda i, c, x: -c), continuation=AS_APPLIED)
pointwise(
    "multiply",
    np.multiply,
    None,
    arity=2,
    dtypes=ANY,
    derivative=Transposes(lambda i, c, x, y: c * (x if i else y), jointly=False, guarded="scale"),
    continuation=AS_APPLIED,
)


def _scale(p: Array, t: Array, out: Array = None) -> Array:
    product = np.multiply(p, t, out=out)
    # One number tells the usual case, all finite; a sum that overflows only costs the second look. Of what is stretched over the other, itself.
    if t.all() if t.size < p.size else np.isfinite(np.add.reduce(p if p.size < t.size else product, None)):
        return product
    if out is None:
        return np.where(np.equal(t, 0), t, product)
    np.copyto(out, t, where=np.equal(t, 0))
    return out


pointwise(
    "scale",
    _scale,
    None,
    arity=2,
    flops=2,
    masks=1,
    derivative=Transposes(lambda i, c, p, t: call("scale", p, c) if i else call("scale", c, t), jointly=False),
    summary="p * t, and 0 where t is exactly 0 even if p is infinite or NaN",
    continuation=AS_APPLIED,
)

pointwise("divide", np.divide, lambda q, x, y: (1 / y, -q / y), arity=2, finite=False, domain=POSITIVE, continuation=AS_APPLIED)
pointwise("reciprocal", np.reciprocal, lambda y, x: (-y * y,), finite=False, domain=POSITIVE, continuation=AS_APPLIED)
pointwise("square", np.square, lambda y, x: (2 * x,), dtypes=NUMBERS, continuation=AS_APPLIED)
pointwise("sqrt", np.sqrt, lambda y, x: (0.5 / y,), finite=False, domain=POSITIVE, continuation=AS_APPLIED)


def _power_partials(y: Term, x: Term, e: Term) -> tuple[Term, Term]:
    # d/de x**e = x**e log x, whose limit at x = 0 is 0 for e > 0; e x**(e-1) is 0 at e = 0 for every x.
    log_x = np.log(call("where", x == 0, constant(x.builder, 1, x.shape, x.dtype), x))
    return call("where", e == 0, constant(e.builder, 0, e.shape, e.dtype), e * elementwise("power", x, e - 1)), y * log_x


pointwise("power", np.power, _power_partials, arity=2, finite=False, flops=20, domain=POSITIVE, continuation=AS_APPLIED)


def _admits_exponent(type: Type, exponent: int) -> None:
    # Up to 2**24 float32 holds every integer, so that the exponent is the same number in every dtype.
    low = -(2**24) if type.is_float else 0
    require(low <= exponent <= 2**24, "exponent is out of range", reason="ATTRIBUTE", got=exponent, allowed=f"{low} to {2**24}")


def _integer_power(x: Array, out: Array = None, *, exponent: int) -> Array:
    return np.power(x, np.asarray(exponent, x.dtype), out=out)


pointwise(
    "integer_power",
    _integer_power,
    lambda y, x, exponent: (exponent * call("integer_power", x, exponent=exponent - 1) if exponent else 0.0,),
    finite=False,
    flops=8,
    dtypes=NUMBERS,
    attributes={"exponent": Kind.INT},
    admits=_admits_exponent,
    example={"exponent": 3},
    summary="x ** exponent for a fixed integer exponent, defined for every x",
    continuation=AS_APPLIED,
)


@spells(np.power)
def power(x: Any, exponent: Any) -> Term:
    """x ** exponent; a Python integer exponent keeps negative bases differentiable."""
    if type(exponent) is int and isinstance(x, Term):
        if exponent == 2:
            return elementwise("square", x)
        return x if exponent == 1 else call("integer_power", x, exponent=exponent)
    x, exponent = promoted([x, exponent])
    require(x.dtype.kind == "f", "integers to the power of integers", reason="DTYPE", got=x.dtype, hint="cast one of them to float64 (x.astype)")
    return elementwise("power", x, exponent)


# Exponentials and trigonometry.

pointwise("exp", np.exp, lambda y, x: (y,), finite=False, flops=10, continuation=AS_APPLIED)
pointwise("expm1", np.expm1, lambda y, x: (np.exp(x),), finite=False, flops=15, continuation=AS_APPLIED)
pointwise("log", np.log, lambda y, x: (1 / x,), finite=False, flops=10, domain=POSITIVE, continuation=AS_APPLIED)
pointwise("log1p", np.log1p, lambda y, x: (1 / (1 + x),), finite=False, flops=15, domain=Domain(-1.0), continuation=AS_APPLIED)
pointwise("sin", np.sin, lambda y, x: (np.cos(x),), flops=15, continuation=AS_APPLIED)
pointwise("cos", np.cos, lambda y, x: (-np.sin(x),), flops=15, continuation=AS_APPLIED)
pointwise("tan", np.tan, lambda y, x: (1 + y * y,), flops=15, continuation=AS_APPLIED)
pointwise("tanh", np.tanh, lambda y, x: ((1 - y) * (1 + y),), flops=20, continuation=AS_APPLIED)


def _sigmoid(x: Array, out: Array = None) -> Array:
    # exp(-|x|) never overflows: 1/(1+e) for x >= 0, e/(1+e) below.
    e = np.absolute(x, out=np.empty_like(x))
    np.exp(np.negative(e, out=e), out=e)
    below = np.add(e, 1, out=out)
    np.copyto(e, 1, where=x >= 0)
    return np.divide(e, below, out=out)


def _softplus(x: Array, out: Array = None) -> Array:
    return np.logaddexp(x, x.dtype.type(0), out=out)


def _sigmoid_continued(z: Array) -> Array:
    e = np.exp(np.where(np.real(z) < 0, z, -z))
    return np.where(np.real(z) < 0, e, 1) / (1 + e)


def _softplus_continued(z: Array) -> Array:
    return np.where(np.real(z) > 0, z, 0) + np.log1p(np.exp(np.where(np.real(z) > 0, -z, z)))


pointwise(
    "sigmoid",
    _sigmoid,
    lambda y, x: (y * call("sigmoid", -x),),
    flops=20,
    copies=1,
    masks=1,
    summary="1 / (1 + exp(-x)), without overflow",
    public=True,
    continuation=_sigmoid_continued,
)
pointwise(
    "softplus",
    _softplus,
    lambda y, x: (call("sigmoid", x),),
    flops=25,
    summary="log(1 + exp(x)), without overflow",
    public=True,
    continuation=_softplus_continued,
)
pointwise(
    "logaddexp",
    np.logaddexp,
    # sigmoid(x - y) is inf - inf for equal infinities: exp(x - result) would be no better, so NaN there is honest.
    lambda z, x, y: (call("sigmoid", x - y), call("sigmoid", y - x)),
    arity=2,
    flops=25,
    continuation=lambda x, y: y + _softplus_continued(x - y),
)

# Kinks.


def _relu(x: Array, out: Array = None) -> Array:
    return np.maximum(x, x.dtype.type(0), out=out)


def one_where(condition: Term, like: Term) -> Term:
    return condition.astype(like.dtype)


# By y, which the next layer keeps anyway, rather than x: both are above 0 at once.
pointwise("relu", _relu, lambda y, x: (one_where(y > 0, x),), kinks="at 0 the derivative is 0", summary="max(x, 0)", public=True)
pointwise("abs", np.absolute, lambda y, x: (np.sign(x),), dtypes=NUMBERS, kinks="at 0 the derivative is 0")
pointwise("sign", np.sign, None, dtypes=NUMBERS)


def split(z: Term, x: Term, y: Term) -> tuple[Term, Term]:
    tie = 0.5 * one_where(x == y, x)
    return one_where(x == z, x) - tie, one_where(y == z, y) - tie


pointwise("maximum", np.maximum, split, arity=2, dtypes=ANY, kinks="where the operands are equal each gets half")
pointwise("minimum", np.minimum, split, arity=2, dtypes=ANY, kinks="where the operands are equal each gets half")

for _name, _function in {"less": np.less, "less_equal": np.less_equal, "equal": np.equal, "not_equal": np.not_equal}.items():
    pointwise(_name, _function, None, arity=2, dtypes=ANY, result=BOOL)
SPELLINGS[np.greater] = lambda x, y: elementwise("less", y, x)
SPELLINGS[np.greater_equal] = lambda x, y: elementwise("less_equal", y, x)

pointwise("logical_and", np.logical_and, None, arity=2, dtypes=(BOOL,), numpy=(np.bitwise_and,))
pointwise("logical_or", np.logical_or, None, arity=2, dtypes=(BOOL,), numpy=(np.bitwise_or,))
pointwise("logical_not", np.logical_not, None, dtypes=(BOOL,), numpy=(np.invert,))
pointwise("isfinite", np.isfinite, None, result=BOOL)
