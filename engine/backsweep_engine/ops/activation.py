"""Activations and losses: one node in a graph, spelled in ops that have rules.

Each is spelled so that no term overflows where the whole does not: what saturates is clipped first,
and the branch of `where` not taken is given a harmless operand. At its kink an activation has the
slope of its left side, as relu; one that is clipped has, as clip, the slope of its inside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import aligned, call, elementwise, promoted
from .choice import where
from .op import FACES, NAMED_SPELLINGS, POSITIVE, REALS, Domain, Example, Expansion, Kind, Op, elementwise_cost, register, require, require_dtype, require_same
from .pointwise import EXAMPLE_SHAPE, lifted, pointwise
from .term import Term

Array = Any


def pointwise_compound(
    name: str,
    rule: Callable[..., Term],
    summary: str,
    *,
    arity: int = 1,
    domain: tuple[Domain, ...] = (REALS,),
    kinks: str = "",
    defaults: dict[str, Any] | None = None,
    admits: Callable[..., None] = lambda **attributes: None,
) -> None:
    """An elementwise row spelled by `rule`, and its face, in which its attributes, floats or ints, are keywords that may be left out."""
    defaults = defaults or {}

    def infer(types: tuple[Type, ...], **attributes: Any) -> tuple[Type, ...]:
        require_same(types)
        require_dtype(types[0], FLOATS)
        admits(**attributes)
        return types[:1]

    register(
        Op(
            name=name,
            infer=infer,
            apply=None,
            derivative=Expansion(rule),
            batch=lifted(partial(call, name)),
            cost=elementwise_cost(30),
            examples=(Example((Type(DTYPES["float64"], EXAMPLE_SHAPE),) * arity, defaults),),
            arity=arity,
            attributes={k: Kind.INT if type(v) is int else Kind.FLOAT for k, v in defaults.items()},
            domain=domain,
            kinks=kinks,
            summary=summary,
        )
    )

    def spelled(*x: Any, **options: Any) -> Term:
        return call(name, *aligned(promoted(x, FLOATS)), **defaults | {k: type(defaults.get(k, v))(v) for k, v in options.items()})

    spelled.__doc__ = f"{summary}{'; ' + kinks if kinks else ''}."
    FACES[name] = spelled


def _kept(condition: Term, x: Term) -> Term:
    """x where the condition holds, else 0: what an untaken branch is given."""
    return where(condition, x, 0.0)


# Smooth.

GELU_CUBIC, GELU_SCALE = 0.044715, math.sqrt(2 / math.pi)


def _gelu_tanh(x: Any) -> Any:
    # (1 + tanh a) / 2 = sigmoid(2 a), which keeps its digits where it is small. At |u| = 30 it is 0 or 1 to the last
    # bit; beyond, u ** 3 would overflow and its slope times 0 be NaN.
    u: Any = np.clip(x, -30.0, 30.0)
    return x * call("sigmoid", 2 * GELU_SCALE * (u + GELU_CUBIC * u * u * u))


pointwise_compound("silu", lambda x: x * call("sigmoid", x), "x sigmoid(x), also called swish")
pointwise_compound("gelu", lambda x: x * call("ndtr", x), "x Phi(x), with the distribution function of the normal law")
pointwise_compound("gelu_tanh", _gelu_tanh, "the approximation of gelu by tanh: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x**3))) / 2")
pointwise_compound("mish", lambda x: x * np.tanh(call("softplus", x)), "x tanh(softplus(x))")
pointwise_compound("log_sigmoid", lambda x: -call("softplus", -x), "log(sigmoid(x)), without overflow")


def _softsign(x: Array, out: Array = None) -> Array:
    below = np.absolute(x, out=np.empty_like(x))
    return np.divide(x, np.add(below, 1, out=below), out=out)


def _log_cosh(x: Array, out: Array = None) -> Array:
    # |x| + log1p(expm1(-2|x|) / 2) keeps its absolute error, and near 0 cosh x - 1 = 2 sinh(x/2)^2 its relative one.
    size = np.absolute(x, out=np.empty_like(x))
    near = np.minimum(size, 1, out=np.empty_like(x))
    np.log1p(2 * np.sinh(near / 2) ** 2, out=near)
    far = np.multiply(size, -2, out=out)
    far = np.expm1(far, out=out)
    far = np.log1p(far / 2, out=out)
    far = np.asarray(np.add(far, size, out=out))
    np.copyto(far, near, where=size < 1)
    return far


# Not 1 - |y| divided: it would cancel.
pointwise("softsign", _softsign, lambda y, x: (np.square(1 / (1 + abs(x))),), flops=3, copies=1, summary="x / (1 + |x|)", public=True)
pointwise(
    "log_cosh",
    _log_cosh,
    lambda y, x: (np.tanh(x),),
    flops=60,
    copies=5,
    masks=1,
    summary="log(cosh(x)), without overflow",
    public=True,
    continuation=lambda z: np.where(np.real(z) < 0, -z, z) + np.log1p(np.exp(np.where(np.real(z) < 0, 2 * z, -2 * z))) - np.log(2),
)

# With a kink.


def _elu(x: Term, alpha: float) -> Term:
    return where(x > 0, x, alpha * np.expm1(_kept(x <= 0, x)))


def _celu(x: Term, alpha: float) -> Term:
    return where(x > 0, x, alpha * np.expm1(_kept(x <= 0, x) / alpha))


def _admits_alpha(alpha: float) -> None:
    require(math.isfinite(alpha) and alpha != 0, "alpha must be a number other than 0", reason="ATTRIBUTE", got=alpha)


SELU_SCALE, SELU_ALPHA = 1.0507009873554804934193349852946, 1.6732632423543772848170429916717
"""The fixed point of mean 0 and variance 1 (Klambauer et al., Self-Normalizing Neural Networks, 2017, equation 14)."""

pointwise_compound("elu", _elu, "x above 0, alpha (exp(x) - 1) below", defaults={"alpha": 1.0}, kinks="at 0 the derivative is alpha")
pointwise_compound("celu", _celu, "x above 0, alpha (exp(x / alpha) - 1) below", defaults={"alpha": 1.0}, admits=_admits_alpha)
pointwise_compound("selu", lambda x: SELU_SCALE * _elu(x, SELU_ALPHA), "elu scaled to keep mean 0 and variance 1", kinks="at 0 the derivative is 1.758")
pointwise_compound(
    "leaky_relu",
    lambda x, slope: where(x > 0, x, slope * x),
    "x above 0, slope x below",
    defaults={"slope": 0.01},
    kinks="at 0 the derivative is the slope",
)
pointwise_compound("relu6", lambda x: np.clip(x, 0.0, 6.0), "x clipped to [0, 6]", kinks="at 0 and 6 the derivative is 1, as of clip")
pointwise_compound("hard_tanh", lambda x: np.clip(x, -1.0, 1.0), "x clipped to [-1, 1]", kinks="at -1 and 1 the derivative is 1")
pointwise_compound("hard_sigmoid", lambda x: np.clip(x / 6 + 0.5, 0.0, 1.0), "x / 6 + 1 / 2 clipped to [0, 1]", kinks="at -3 and 3 the derivative is 1 / 6")
pointwise_compound("hard_swish", lambda x: x * np.clip(x / 6 + 0.5, 0.0, 1.0), "x hard_sigmoid(x)", kinks="at -3 and 3 the derivative is that within")

# Losses of a residual x.


def _huber(x: Any, delta: Any) -> Any:
    # With c = x clipped to +-delta, c (x - c / 2) is x x / 2 inside and delta (|x| - delta / 2) outside.
    c: Any = np.clip(x, -delta, delta)
    return where(delta >= 0, c * (x - c / 2), np.nan)


def _pseudo_huber(x: Term, delta: Term) -> Term:
    # delta^2 (sqrt(1 + (x / delta)^2) - 1), its difference of roots rationalised.
    return x * (x / (1 + np.hypot(x / delta, 1.0)))


_LOSS: dict[str, Any] = {"arity": 2, "domain": (REALS, POSITIVE)}
pointwise_compound("huber", _huber, "x x / 2 where |x| <= delta, delta (|x| - delta / 2) beyond", **_LOSS, kinks="at delta the second derivative is 1")
pointwise_compound("smooth_l1", lambda x, beta: _huber(x, beta) / beta, "huber(x, beta) / beta", **_LOSS, kinks="at beta the second derivative is 1 / beta")
pointwise_compound("pseudo_huber", _pseudo_huber, "delta**2 (sqrt(1 + (x / delta)**2) - 1), without overflow", **_LOSS)


def _loss(name: str, x: Any, delta: Any = 1.0) -> Term:
    return elementwise(name, x, delta)


for _name in ("huber", "smooth_l1", "pseudo_huber"):
    _face = partial(_loss, _name)
    _face.__doc__ = FACES[_name].__doc__
    FACES[_name] = _face
for _name in ("huber", "pseudo_huber"):
    NAMED_SPELLINGS[_name] = lambda delta, x, name=_name: elementwise(name, x, delta)
