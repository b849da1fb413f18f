"""Special functions: those of errors, of the normal law, of Euler (gamma) and of Bessel, by SciPy's kernels.

SciPy is imported where a kernel runs, never when this module is read. Its ufuncs on traced values mean
these ops (`NAMED_SPELLINGS`), and users find every row as `bs.<name>`. A rule that would cancel is
stated in a function that does not; each such function is a row, so that second derivatives hold too.
Formulas: NIST Digital Library of Mathematical Functions (DLMF). Outside the domain the value is NaN
or the infinity SciPy gives, never an exception.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..graph import FLOATS, Type
from .activation import pointwise_compound
from .build import call, elementwise, promoted
from .choice import where
from .op import AS_APPLIED, FACES, NAMED_SPELLINGS, POSITIVE, REALS, UNIT, Domain, Kind, face, require
from .pointwise import pointwise
from .term import Term

Array = Any
SQRT2, SQRT_PI = math.sqrt(2), math.sqrt(math.pi)


def kernel(name: str) -> Callable[..., Array]:
    """The ufunc of scipy.special by that name, looked up when it is applied."""

    def apply(*x: Array, out: Array = None) -> Array:
        from scipy import special

        return getattr(special, name)(*x, out=out)

    return apply


def special(name: str, partials: Callable[..., tuple[Any, ...]], summary: str, *, scipy: str = "", flops: int = 30, **options: Any) -> None:
    """A row whose kernel is scipy.special's ufunc of the same name, or the one called `scipy`."""
    pointwise(name, kernel(scipy or name), partials, summary=summary, public=True, flops=flops, **options)
    NAMED_SPELLINGS[scipy or name] = FACES[name]


# The error function and the normal law. phi = exp(-x x / 2) / sqrt(2 pi), Phi = ndtr.


def _bell(x: Term, height: float, rate: float = 1.0) -> Any:
    return height * np.exp(-rate * x * x)


special("erf", lambda y, x: (_bell(x, 2 / SQRT_PI),), "the error function", continuation=AS_APPLIED)
special("erfc", lambda y, x: (_bell(x, -2 / SQRT_PI),), "1 - erf(x), without cancellation", continuation=AS_APPLIED)
special(
    "erfcx",
    lambda y, x: (-SQRT2 * y * call("mean_excess", -SQRT2 * x),),
    "exp(x x) erfc(x), without overflow for large x",
    finite=False,
    continuation=AS_APPLIED,
)
special("erfinv", lambda y, x: (SQRT_PI / 2 * np.exp(y * y),), "the inverse of erf", domain=UNIT, finite=False)
special("erfcinv", lambda y, x: (-SQRT_PI / 2 * np.exp(y * y),), "the inverse of erfc", domain=Domain(0.0, 2.0), finite=False)
special("ndtr", lambda y, x: (_bell(x, 1 / (SQRT2 * SQRT_PI), 0.5),), "the distribution function of the standard normal law", continuation=AS_APPLIED)
special("ndtri", lambda y, x: (SQRT2 * SQRT_PI * np.exp(y * y / 2),), "the quantile of the standard normal law", domain=Domain(0.0, 1.0), finite=False)
special("log_ndtr", lambda y, x: (call("inverse_mills", x),), "log of ndtr(x), without underflow", continuation=AS_APPLIED)


def _inverse_mills(x: Array, out: Array = None) -> Array:
    # phi / Phi = sqrt(2 / pi) / erfcx(-x / sqrt 2), since Phi(x) = erfc(-x / sqrt 2) / 2 (DLMF 7.2.2-3).
    from scipy import special

    scaled = np.multiply(x, -1 / SQRT2, out=out)
    scaled = special.erfcx(scaled, out=out)
    return np.divide(math.sqrt(2 / math.pi), scaled, out=out)


FAR, TERMS = -3.0, 60
"""Left of FAR the continued fraction has converged to 1e-16 after TERMS terms; right of it x + phi/Phi loses 4 bits."""


def _fraction(z: Array) -> tuple[Array, Array]:
    # Laplace's continued fraction of Mills's ratio, phi / Phi = z + 1/(z + 2/(z + 3/(z + ...))) at x = -z (DLMF 7.9.2): its parts from 1 and from 2 on.
    first, second = np.zeros_like(z), z
    for k in range(TERMS, 0, -1):
        first, second = k / (z + first), first
    return first, second


def _mean_excess(x: Array, out: Array = None) -> Array:
    result = np.asarray(np.add(_inverse_mills(x, out=out), x, out=out))
    far = x < FAR
    if far.any():
        result[far] = _fraction(-x[far])[0]
    return result


def _truncated_variance(x: Array, out: Array = None) -> Array:
    r = _inverse_mills(x)
    result = np.asarray(np.subtract(1, r * (x + r), out=out))
    far = x < FAR
    if far.any():
        # With g = 1/(z + c) and r = z + g the difference 1 - r g is (c - g) g.
        g, c = _fraction(-x[far])
        result[far] = (c - g) * g
    return result


pointwise(
    "inverse_mills",
    _inverse_mills,
    lambda y, x: (-y * call("mean_excess", x),),
    finite=False,
    flops=40,
    copies=1,
    summary="phi(x) / Phi(x) of the normal law, the derivative of log_ndtr",
    public=True,
    continuation=AS_APPLIED,
)
pointwise(
    "mean_excess",
    _mean_excess,
    lambda y, x: (call("truncated_variance", x),),
    flops=150,
    copies=6,
    masks=1,
    summary="x + phi(x) / Phi(x), the mean of x - Z for a normal Z below x, without cancellation",
    public=True,
    continuation=AS_APPLIED,
)
pointwise(
    "truncated_variance",
    _truncated_variance,
    lambda y, x: (call("inverse_mills", x) * (np.square(call("mean_excess", x)) - y),),
    finite=False,
    flops=150,
    copies=6,
    masks=1,
    summary="the variance of a normal Z below x, without cancellation",
    public=True,
    continuation=AS_APPLIED,
)

# Logistic and entropies. 0 log 0 = 0.

special(
    "logit",
    lambda y, x: (1 / (x * (1 - x)),),
    "log(x / (1 - x)), the inverse of sigmoid",
    domain=Domain(0.0, 1.0),
    finite=False,
    continuation=lambda x: np.log(x) - np.log1p(-x),
)


def _quotient(x: Term, y: Term) -> Term:
    """x / y, where 0 / 0 is 0: x log y does not depend on y at x = 0."""
    return where((x == 0) & (y == 0), 0.0, x / y)


special(
    "xlogy", lambda z, x, y: (np.log(y), _quotient(x, y)), "x log(y), and 0 at x = 0", arity=2, domain=(REALS, POSITIVE), finite=False, continuation=AS_APPLIED
)
special(
    "xlog1py",
    lambda z, x, y: (np.log1p(y), _quotient(x, 1 + y)),
    "x log(1 + y), and 0 at x = 0",
    arity=2,
    domain=(REALS, Domain(-1.0)),
    finite=False,
    continuation=AS_APPLIED,
)


def _x_log(x: Array, y: Array) -> Array:
    return kernel("xlogy")(x, y)


special(
    "entr",
    lambda y, x: (-1 - np.log(x),),
    "-x log(x), and 0 at 0",
    domain=POSITIVE,
    finite=False,
    continuation=lambda x: -_x_log(x, x),
)
special(
    "rel_entr",
    lambda z, x, y: (1 + np.log(x / y), -_quotient(x, y)),
    "x log(x / y), and 0 at x = 0",
    arity=2,
    domain=POSITIVE,
    finite=False,
    continuation=lambda x, y: _x_log(x, x) - _x_log(x, y),
)
special(
    "kl_div",
    lambda z, x, y: (np.log(x / y), 1 - _quotient(x, y)),
    "x log(x / y) - x + y",
    arity=2,
    domain=POSITIVE,
    finite=False,
    continuation=lambda x, y: _x_log(x, x) - _x_log(x, y) - x + y,
)

# Gamma.

MAX_ORDER = 100
"""Of polygamma and the functions of Bessel: 100! is far from overflow, and large arguments stay accurate."""


def admits_order(least: int) -> Callable[..., None]:
    def admits(type: Type, order: int) -> None:
        require(least <= order <= MAX_ORDER, "order is out of range", reason="ATTRIBUTE", got=order, allowed=f"{least} to {MAX_ORDER}")

    return admits


def _polygamma(x: Array, out: Array = None, *, order: int) -> Array:
    # (-1)^(n+1) n! zeta(n + 1, x), DLMF 25.11.12; in float64, since n! overflows float32. SciPy's zeta takes ever longer below 0.
    from scipy import special

    value = special.zeta(float(order + 1), np.where(x < 0, np.nan, x).astype(float))
    value *= (-1) ** (order + 1) * math.factorial(order)
    if out is None:
        return value.astype(x.dtype)
    np.copyto(out, value, casting="same_kind")
    return out


special("gammaln", lambda y, x: (call("digamma", x),), "log |gamma(x)|", domain=POSITIVE, finite=False, flops=50, continuation=kernel("loggamma"))
special("gamma", lambda y, x: (y * call("digamma", x),), "the gamma function", domain=POSITIVE, finite=False, flops=50, continuation=AS_APPLIED)
special(
    "digamma",
    lambda y, x: (call("polygamma", x, order=1),),
    "the derivative of gammaln",
    scipy="psi",
    domain=POSITIVE,
    finite=False,
    flops=50,
    continuation=AS_APPLIED,
)
pointwise(
    "polygamma",
    _polygamma,
    lambda y, x, order: (call("polygamma", x, order=order + 1),),
    finite=False,
    flops=100,
    domain=POSITIVE,
    attributes={"order": Kind.INT},
    admits=admits_order(1),
    example={"order": 1},
    copies=6,
    masks=1,
    summary="the derivative of digamma of an order from 1, for x > 0",
)


@face("polygamma")
def polygamma(x: Any, order: int) -> Term:
    """The derivative of digamma (order 0) of an order from 1 to 100, for x > 0."""
    (x,) = promoted([x], FLOATS)
    return call("digamma", x) if order == 0 else call("polygamma", x, order=order)


def _beta_partials(x: Term, y: Term) -> tuple[Term, Term]:
    whole = call("digamma", x + y)
    return call("digamma", x) - whole, call("digamma", y) - whole


def _betaln_continued(x: Array, y: Array) -> Array:
    log_gamma = kernel("loggamma")
    return log_gamma(x) + log_gamma(y) - log_gamma(x + y)


special(
    "betaln",
    lambda z, x, y: _beta_partials(x, y),
    "log |beta(x, y)|",
    arity=2,
    domain=POSITIVE,
    finite=False,
    flops=100,
    continuation=_betaln_continued,
)
special(
    "beta",
    lambda z, x, y: tuple(z * p for p in _beta_partials(x, y)),
    "gamma(x) gamma(y) / gamma(x + y)",
    arity=2,
    domain=POSITIVE,
    finite=False,
    continuation=lambda x, y: np.exp(_betaln_continued(x, y)),
)


def _multigammaln(x: Any, dimension: int) -> Any:
    # d (d - 1) / 4 log pi + the sum over j < d of gammaln(x - j / 2) (DLMF 35.3.4).
    shifted: Any = np.expand_dims(x, -1) - np.arange(dimension, dtype=x.dtype) / 2
    return np.sum(call("gammaln", shifted), axis=-1) + dimension * (dimension - 1) / 4 * math.log(math.pi)


def _admits_dimension(dimension: int) -> None:
    require(1 <= dimension <= 1000, "dimension is out of range", reason="ATTRIBUTE", got=dimension, allowed="1 to 1000")


pointwise_compound(
    "multigammaln",
    _multigammaln,
    "log of the multivariate gamma function of a dimension, for x > (dimension - 1) / 2",
    defaults={"dimension": 2},
    domain=(Domain(0.5),),
    admits=_admits_dimension,
)

# What SciPy names otherwise, or NumPy has too.

for _name, _meant in {"expit": "sigmoid", "log_expit": "log_sigmoid"}.items():
    NAMED_SPELLINGS[_name] = partial(elementwise, _meant)
for _name in ("exp2", "cbrt", "log1p", "expm1"):
    NAMED_SPELLINGS[_name] = partial(elementwise, _name)
NAMED_SPELLINGS["exp10"] = partial(elementwise, "power", 10.0)
