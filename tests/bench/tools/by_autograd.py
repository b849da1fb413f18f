"""autograd: NumPy with a tape."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..workload import Inputs, Prepared
from .names import Names

Program = Callable[[Inputs], Prepared]
Function = Callable[..., Any]


def start() -> str:
    import importlib.metadata

    import autograd.numpy
    import autograd.scipy.linalg
    import autograd.scipy.special  # noqa: F401

    return f"autograd {importlib.metadata.version('autograd')}"


def names() -> Names:
    import autograd.numpy as np
    from autograd.scipy import linalg, special

    return Names(
        np, logsumexp=special.logsumexp, relu=lambda x: np.maximum(x, 0), softplus=lambda z: np.logaddexp(0, z), solve_triangular=linalg.solve_triangular
    )


def _program(f: Function, derive: Callable[[Function, int], Function], scalar: bool) -> Program:
    def prepare(inputs: Inputs) -> Prepared:
        traced = partial(f, names(), **inputs.static)
        arrays = [*inputs.point.values(), *inputs.data.values()]
        derived = derive(traced, len(inputs.point))
        return Prepared(lambda: derived(*arrays, *inputs.seeds), (lambda: traced(*arrays)) if scalar else None)

    return prepare


def gradient(f: Function) -> Program:
    def derive(f: Function, n: int) -> Function:
        from autograd import grad

        return grad(f, 0 if n == 1 else tuple(range(n)))

    return _program(f, derive, True)


def gradient_and_hvp(f: Function) -> Program:
    """The Hessian is symmetric: the backward pass of the gradient."""

    def derive(f: Function, n: int) -> Function:
        from autograd import grad, make_vjp

        def both(x: Any, v: Any) -> Any:
            product, slope = make_vjp(grad(f))(x)
            return slope, product(v)

        return both

    return _program(f, derive, True)


def jacobian(f: Function) -> Program:
    def derive(f: Function, n: int) -> Function:
        from autograd import jacobian

        return jacobian(f)

    return _program(f, derive, False)


def hessian(f: Function) -> Program:
    def derive(f: Function, n: int) -> Function:
        from autograd import hessian

        return hessian(f)

    return _program(f, derive, False)
