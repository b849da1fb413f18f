"""JAX on the CPU: everything under one jit, arguments on the device, each call waited for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..workload import Inputs, Prepared
from .names import Names

Program = Callable[[Inputs], Prepared]
Function = Callable[..., Any]


def start() -> str:
    import jax

    jax.numpy.zeros(1).block_until_ready()
    return f"JAX {jax.__version__}"


def names() -> Names:
    import jax
    import jax.numpy as jnp
    import jax.scipy

    return Names(jnp, logsumexp=jax.nn.logsumexp, relu=jax.nn.relu, softplus=jax.nn.softplus, solve_triangular=jax.scipy.linalg.solve_triangular)


def _program(f: Function, derive: Callable[[Function, int], Function], scalar: bool) -> Program:
    """derive(f of the point and data, number of point arguments) -> a function of the point, data and seeds."""

    def prepare(inputs: Inputs) -> Prepared:
        import jax

        traced = partial(f, names(), **inputs.static)
        arrays = [jax.device_put(a) for a in (*inputs.point.values(), *inputs.data.values())]
        seeds = [jax.device_put(a) for a in inputs.seeds]
        value, derived = jax.jit(traced), jax.jit(derive(traced, len(inputs.point)))
        return Prepared(
            lambda: jax.block_until_ready(derived(*arrays, *seeds)),
            (lambda: value(*arrays).block_until_ready()) if scalar else None,
        )

    return prepare


def _by(count: int) -> int | tuple[int, ...]:
    return 0 if count == 1 else tuple(range(count))


def gradient(f: Function) -> Program:
    return _program(f, lambda f, n: _jax().grad(f, _by(n)), True)


def forward_gradient(f: Function) -> Program:
    """By as many tangents as there are inputs: ahead where they are few."""
    return _program(f, lambda f, n: _jax().jacfwd(f, _by(n)), True)


def gradient_and_hvp(f: Function) -> Program:
    return _program(f, lambda f, n: lambda x, v: _jax().jvp(_jax().grad(f), (x,), (v,)), True)


def jacobian(f: Function) -> Program:
    return _program(f, lambda f, n: _jax().jacrev(f), False)


def hessian(f: Function) -> Program:
    return _program(f, lambda f, n: _jax().hessian(f), False)


def derivative(f: Function) -> Program:
    """f computes the derivative itself."""
    return _program(f, lambda f, n: f, False)


def _jax() -> Any:
    import jax

    return jax
