"""Values defined by an equation: bs.root, bs.fixed_point. Their derivative is that of the equation, not of the way it was solved.

Implicit function theorem: where f(x, p) = 0, dx = -(df/dx)^-1 (df/dp) dp. It is stated as a vjp, linear in the
cotangent, so forward mode, and every higher derivative, follow.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import nesting
from .loops import while_loop
from .wrapping import custom_gradient

Function = Callable[..., Any]


def _last_step(x: Any) -> float:
    """A step of Newton's this small, relative to x, was the last, since it squares the error: eps ** (2/3), with room for the constant."""
    return float(np.finfo(x.dtype).eps ** (2 / 3))


def _settled(x: Any) -> float:
    """A fixed point has settled once it moves less than this, relative to x: rounding may move it by some eps for ever."""
    return 512 * float(np.finfo(x.dtype).eps)


def root(f: Function, x0: Any, *parameters: Any, max_trips: int = 50) -> Any:
    """x with f(x, *parameters) = 0, by Newton's method from x0; derivatives by the parameters, not by x0.

    x is one array, f of its shape. More than max_trips steps are an error (LOOP_CAP).
    """

    def solve(x: Any, *p: Any) -> Any:
        def step(carry: Any) -> Any:
            x, _ = carry
            move = _solved(_slope(f, x, p), f(x, *p))
            return x - move, _size(move) / (1.0 + _size(x))

        return while_loop(lambda carry: carry[1] > _last_step(carry[0]), step, (x, np.float64(1.0)), max_trips=max_trips)[0]

    return _implicit(f, solve, x0, parameters)


def fixed_point(g: Function, x0: Any, *parameters: Any, max_trips: int = 1000) -> Any:
    """x with g(x, *parameters) = x, by repeating g from x0; derivatives by the parameters, not by x0.

    x is one array. More than max_trips repetitions until it settles are an error (LOOP_CAP).
    """

    def solve(x: Any, *p: Any) -> Any:
        def step(carry: Any) -> Any:
            x, _ = carry
            y = g(x, *p)
            return y, _size(y - x) / (1.0 + _size(x))

        return while_loop(lambda carry: carry[1] > _settled(carry[0]), step, (x, np.float64(1.0)), max_trips=max_trips)[0]

    return _implicit(lambda x, *p: g(x, *p) - x, solve, x0, parameters)


def _implicit(f: Function, solve: Function, x0: Any, parameters: tuple[Any, ...]) -> Any:
    def vjp(*given: Any) -> Any:
        start, *p, x, c = given
        u = _solved(_slope(f, x, p), -c, turned=True)
        slopes = nesting.vjp(f, range(1, 1 + len(p)))(x, *p, cotangent=u) if p else ()
        zero = np.zeros(np.shape(start), start.dtype)
        return (zero, *slopes) if p else zero

    start = x0 if getattr(x0, "dtype", np.dtype(bool)).kind == "f" else np.asarray(x0, np.float64)
    return custom_gradient(solve, vjp)(start, *parameters)


def _slope(f: Function, x: Any, p: Any) -> Any:
    """df/dx as a matrix."""
    n = int(np.size(x))
    return np.reshape(nesting.jacobian(f)(x, *p), (n, n))


def _solved(slope: Any, b: Any, *, turned: bool = False) -> Any:
    """The matrix (turned: its transpose) divided out of b."""
    flat = np.reshape(b, (-1,))
    return np.reshape(np.linalg.solve(slope.T if turned else slope, flat), np.shape(b))


def _size(x: Any) -> Any:
    return np.max(np.abs(np.reshape(x, (-1,)))).astype(np.float64)
