"""Twins of the pointwise ops."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy import special, stats

from .missing import NoPeer

TWINS: dict[str, Callable[..., Any]] = {}


def _same_name(module: Any, names: str) -> None:
    TWINS.update({name: getattr(module, name) for name in names.split()})


_same_name(jnp, "abs add divide equal exp exp2 expm1 less less_equal log log10 log1p log2 logaddexp logaddexp2 multiply negative not_equal power")
_same_name(jnp, "reciprocal sign sqrt square subtract where cbrt hypot maximum minimum fmax fmin clip heaviside copysign")
_same_name(jnp, "sin cos tan arcsin arccos arctan arctan2 sinh cosh tanh arcsinh arccosh arctanh sinc")
_same_name(jnp, "floor ceil trunc rint floor_divide remainder fmod isfinite isinf isnan signbit logical_and logical_not logical_or logical_xor")
_same_name(jax.nn, "relu relu6 sigmoid softplus silu selu mish log_sigmoid hard_sigmoid hard_swish hard_tanh")
_same_name(special, "beta betaln digamma entr erf erfc erfinv gamma gammaln kl_div log_ndtr logit ndtr ndtri rel_entr xlog1py xlogy")


def huber(x: Any, delta: Any) -> Any:
    return jnp.where(jnp.abs(x) <= delta, x * x / 2, delta * (jnp.abs(x) - delta / 2))


def mills(x: Any) -> Any:
    return jnp.exp(stats.norm.logpdf(x) - special.log_ndtr(x))


def _of_order(name: str, *known: Callable[..., Any]) -> Callable[..., Any]:
    """JAX has only the first orders."""

    def twin(x: Any, order: int) -> Any:
        if order >= len(known):
            raise NoPeer(f"{name} of order {order}")
        return known[order](x)

    return twin


TWINS |= {
    "bessel_i": _of_order("bessel_i", special.i0, special.i1),
    "bessel_ie": _of_order("bessel_ie", special.i0e, special.i1e),
    "bessel_j": lambda x, order: special.bessel_jn(x.reshape(-1), v=order)[order].reshape(x.shape),
    "cast": lambda x, dtype: lax.convert_element_type(x, dtype),
    "celu": lambda x, alpha: jax.nn.celu(x, alpha),
    "elu": lambda x, alpha: jax.nn.elu(x, alpha),
    "erfcinv": lambda x: special.erfinv(1 - x),
    "erfcx": lambda x: jnp.exp(x * x) * special.erfc(x),
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "gelu_tanh": lambda x: jax.nn.gelu(x, approximate=True),
    "huber": huber,
    "integer_power": lambda x, exponent: lax.integer_pow(x, exponent),
    "inverse_mills": mills,
    "leaky_relu": lambda x, slope: jax.nn.leaky_relu(x, slope),
    "log_cosh": lambda x: jnp.log1p(2 * jnp.sinh(x / 2) ** 2),
    "mean_excess": lambda x: x + mills(x),
    "multigammaln": lambda x, dimension: special.multigammaln(x, dimension),
    "name": lambda x, label: x,
    "polygamma": lambda x, order: special.polygamma(order, x),
    "pseudo_huber": lambda x, delta: delta**2 * (jnp.sqrt(1 + (x / delta) ** 2) - 1),
    "scale": lambda p, t: jnp.where(t == 0, t, p * jnp.where(t == 0, 1, t)),
    "smooth_l1": lambda x, beta: huber(x, beta) / beta,
    "softsign": jax.nn.soft_sign,
    "spherical_j": _of_order("spherical_j", lambda x: jnp.sinc(x / math.pi)),
    "stop_gradient": lax.stop_gradient,
    "truncated_variance": lambda x: 1 - mills(x) * (x + mills(x)),
}
