"""What a problem of the zoo is, and the arithmetic its independent derivatives are written with.

`exact` shares no code with the engine: it is a closed form or an adjoint written by hand, from the
source its docstring names. It must run on complex arrays too, in formulas that are analytic in the
point (`.T`, never `.conj()`; comparisons of real parts): Hessian-vector products come from it by the
complex step.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Arrays = dict[str, Any]

_STEP = 1e-30


@dataclass(frozen=True, slots=True)
class Problem:
    """A function with derivatives known from elsewhere.

    make(size, seed) -> (point, data): the arguments to differentiate by (arrays), first in the signature
    of `function`, and the others. exact(**point, **data) -> (value, derivative by each of the point): a
    gradient, or for a vector function a Jacobian of shape value.shape + input.shape. `hvp`, if there
    is a closed form: hvp(tangent, **point, **data), one tangent and one result per point input;
    without, the complex step of `exact`.

    `tolerance`: relative to the largest entry of the answer. 1e-12 is 4500 units in the last place:
    a sum of a few hundred terms, each rounded a few times, on both sides. A problem with more names
    its own, and why. `single`: the same where everything is float32; None where it is not tried.
    """

    name: str
    function: Callable[..., Any]
    make: Callable[[int, int], tuple[Arrays, Arrays]]
    exact: Callable[..., tuple[Any, Arrays]]
    sizes: tuple[int, int]
    hvp: Callable[..., Arrays] | None = None
    tolerance: float = 1e-12
    single: float | None = None

    def second(self, point: Mapping[str, Any], data: Mapping[str, Any], tangent: Mapping[str, Any]) -> Arrays:
        """The Hessian of a scalar function times the tangent.

        Complex step (Squire and Trapp 1998): the imaginary part of g(x + i h t) / h is g'(x) t with an
        error of h^2 and no difference is taken, so nothing cancels.
        """
        if self.hvp is not None:
            return self.hvp(dict(tangent), **point, **data)
        moved = {name: x + 1j * _STEP * tangent[name] for name, x in point.items()}
        return {name: np.imag(g) / _STEP for name, g in self.exact(**moved, **data)[1].items()}


def logsumexp(x: Any, axis: int = -1) -> Any:
    """log sum exp along an axis, which stays; analytic, the shift being a constant of it."""
    top = np.max(np.real(x), axis=axis, keepdims=True)
    return top + np.log(np.sum(np.exp(x - top), axis=axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Any:
    return np.exp(x - logsumexp(x, axis))


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def symmetric(x: Any) -> Any:
    return (x + np.swapaxes(x, -1, -2)) / 2
