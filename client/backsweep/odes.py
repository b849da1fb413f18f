"""Ordinary differential equations: bs.odeint, spelled as loops, so that every derivative is that of the loops.

One scan over the output times; between two of them RK4 is a loop of known length, Dormand and Prince's
method a while_loop that tries steps. The derivative is that of the discrete solution (its discrete adjoint), not the
solution of another equation; which values are constants in it is said in `odeint`, and done by
`stop_gradient` where a step's size is used. Values are lists of leaves in here; the user's function sees the tree.

Sources: Dormand and Prince, J. Comput. Appl. Math. 6 (1980), the pair 5(4) with its last stage reused;
Hairer, Norsett and Wanner, Solving Ordinary Differential Equations I, 2nd ed. (1993): II.4 starting step and norm,
IV.2 of volume II and code DOPRI5: the PI controller and its constants.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction as F
from typing import Any, Literal

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.ops.term import Term

from .functions import stop_gradient
from .lines import locate, show
from .loops import Checkpoint, fori_loop, scan, while_loop
from .trees import Tree, flatten, matched

Function = Callable[..., Any]
Leaves = list[Any]

STAGES = (
    (F(1, 5),),
    (F(3, 40), F(9, 40)),
    (F(44, 45), F(-56, 15), F(32, 9)),
    (F(19372, 6561), F(-25360, 2187), F(64448, 6561), F(-212, 729)),
    (F(9017, 3168), F(-355, 33), F(46732, 5247), F(49, 176), F(-5103, 18656)),
    (F(35, 384), F(0), F(500, 1113), F(125, 192), F(-2187, 6784), F(11, 84)),
)
"""Row i: the weights of the slopes before stage i + 2. The last row is the solution of order 5, whose slope is the last stage."""

ERROR = (F(71, 57600), F(0), F(-71, 16695), F(71, 1920), F(-17253, 339200), F(22, 525), F(-1, 40))
"""The weights of the solution of order 5 minus those of order 4."""

SAFETY, BETA, LEAST, MOST = 0.9, 0.04, 0.2, 10.0
"""Of the controller: a step grows by at most MOST and shrinks by no less than LEAST."""

OPTIONS: dict[str, dict[str, Any]] = {"rk4": {"steps": 1}, "dopri5": {"rtol": 1.4e-8, "atol": 1.4e-8, "max_steps": 1000}}


def odeint(
    f: Function,
    y0: Any,
    t: Any,
    *args: Any,
    method: Literal["rk4", "dopri5"] = "dopri5",
    steps: int | None = None,
    rtol: float | None = None,
    atol: float | None = None,
    max_steps: int | None = None,
    checkpoint: Checkpoint = None,
) -> Any:
    """The solution of dy/dt = f(y, t, *args), y(t[0]) = y0, at the times t: a tree like y0, each leaf with a leading axis as long as t.

    `y0`: a tree of floating arrays; f returns a tree like it. `t`: a vector of times, increasing or decreasing.
    Derivatives by y0, t, args and whatever else f uses; in float64 or float32, as y0 is; times are float64.

    method="rk4": the classical method, `steps` equal steps (1) between two times. method="dopri5": steps of Dormand and
    Prince's pair 5(4), sized so that the estimated error of each is at most atol + rtol |y| (1.4e-8 both) in the root mean
    square over all leaves; every time is a step's end. More than `max_steps` tried steps (1000) between two times, as
    a stiff equation or a pole makes, are an error (LOOP_CAP). Where f is not finite at a point reached, the solution is NaN from there on.

    The derivative is the discrete one: of the steps taken, their sizes constants, except that the last step to an
    output time ends there wherever that is; steps tried and rejected contribute nothing. `checkpoint`: as for bs.scan, of
    the loop between two times.
    """
    try:
        return _solved(f, y0, t, args, method, {"steps": steps, "rtol": rtol, "atol": atol, "max_steps": max_steps}, checkpoint)
    except GraphError as error:
        show(error, locate())
        raise


def _solved(f: Function, y0: Any, t: Any, args: tuple[Any, ...], method: str, given: dict[str, Any], checkpoint: Checkpoint) -> Any:
    options = _options(method, given)
    entries, tree = flatten(y0, "y0")
    start = [_floating(path, leaf) for path, leaf in entries]
    times = t if isinstance(t, Term) else np.asarray(t)
    if times.dtype.kind not in "fi" or len(times.shape) != 1 or not times.shape[0]:
        raise _wrong("t is not a vector of times", f"{times.dtype}{list(times.shape)}", "one axis, one time or more")
    times = times.astype(np.float64)
    equation = Equation(f, tree, tuple(args))

    def through(carry: Any, ends: Any) -> tuple[Any, Any]:
        """From one time to the next: what the method carries, and the solution there."""
        t0, t1 = ends
        if method == "rk4":
            y = _rk4(equation, carry, t0, t1, checkpoint, **options)
            return y, y
        carry = _dopri5(equation, carry, t0, t1, span, checkpoint, **options)
        return carry, carry[0]

    first: Any = start
    if method == "dopri5":
        slope = equation(start, times[0])
        span = stop_gradient(np.sum(abs(np.diff(times))))
        size = _first_size(equation, start, slope, times, options["rtol"], options["atol"])
        first = (start, slope, size, np.float64(1e-4))
    if times.shape[0] == 1:
        return tree.unflatten([leaf[None] for leaf in start])
    _, ys = scan(through, first, (times[:-1], times[1:]))
    return tree.unflatten([np.concatenate([leaf[None], y]) for leaf, y in zip(start, ys, strict=True)])


@dataclass(frozen=True, slots=True)
class Equation:
    """The right-hand side, on leaves."""

    f: Function
    tree: Tree
    args: tuple[Any, ...]

    def __call__(self, y: Leaves, t: Any) -> Leaves:
        """dy/dt, leaf by leaf of the types of y."""
        found = matched(self.f(self.tree.unflatten(y), t, *self.args), self.tree, "f(y, t)")
        return [_alike(slope, leaf, path) for slope, leaf, path in zip(found, y, self.tree.paths("f(y, t)"), strict=True)]


def _rk4(equation: Equation, y: Leaves, t0: Any, t1: Any, checkpoint: Checkpoint, *, steps: int) -> Leaves:
    h = (t1 - t0) / steps

    def step(i: Any, y: Leaves) -> Leaves:
        t = t0 + i * h
        k1 = equation(y, t)
        k2 = equation(_moved(y, h / 2, (1,), [k1]), t + h / 2)
        k3 = equation(_moved(y, h / 2, (1,), [k2]), t + h / 2)
        k4 = equation(_moved(y, h, (1,), [k3]), t + h)
        return _moved(y, h / 6, (1, 2, 2, 1), [k1, k2, k3, k4])

    result: Leaves = fori_loop(0, steps, step, y, checkpoint=checkpoint)
    return result


def _dopri5(
    equation: Equation, carry: Any, t0: Any, t1: Any, span: Any, checkpoint: Checkpoint, *, rtol: float, atol: float, max_steps: int
) -> tuple[Leaves, Leaves, Any, Any]:
    """From t0 to t1. Carried from one interval to the next: y, its slope, the size the next step is tried with, the last error."""
    y, slope, size, error = carry
    ahead = np.where(t1 >= t0, 1.0, -1.0)

    def step(carry: Any) -> Any:
        t, y, slope, size, error, retried, _ = carry
        left = abs(t1 - t)
        # A last step may be stretched a little, rather than leave a tiny one (as DOPRI5 does).
        last = 1.01 * size >= left
        h = np.where(last, t1 - t, stop_gradient(ahead * size))
        slopes = [slope]
        for weights in STAGES:
            at = _moved(y, h, weights, slopes)
            slopes.append(equation(at, t + float(sum(weights)) * h))
        miss = _norm(_scaled(_combined(ERROR, slopes), h), _tolerances(y, at, rtol, atol))
        tried = stop_gradient(np.where(np.isfinite(miss), miss, np.inf))
        # No step leads on from a point where the slope is not finite, nor to a time that is not.
        lost = ~_finite([*y, *slope, t1 - t])
        accepted = (tried <= 1.0) | lost
        larger, smaller = _factors(tried, error)
        bound = np.where(retried, 1.0, larger)
        proposed = stop_gradient(abs(h)) * np.where(accepted, np.minimum(larger, bound), smaller)
        # What cut a last step short was the output time, not its error.
        proposed = np.minimum(np.where(last & accepted, np.maximum(proposed, size), proposed), span)
        return (
            np.where(accepted, np.where(last, t1, t + h), t),
            _chosen(accepted, _spoilt(lost, at), y),
            _chosen(accepted, slopes[-1], slope),
            proposed,
            np.where(accepted, np.maximum(tried, 1e-4), error),
            ~accepted,
            (accepted & last) | lost,
        )

    start = (t0, y, slope, size, error, np.False_, np.False_)
    result = while_loop(lambda carry: ~carry[-1], step, start, max_trips=max_steps, checkpoint=checkpoint)
    return result[1], result[2], result[3], result[4]


def _factors(tried: Any, error: Any) -> tuple[Any, Any]:
    """By what the size changes after a step accepted (PI controller) and after one rejected."""
    plain = tried ** (0.2 - 0.75 * BETA)
    larger = SAFETY * error**BETA / np.maximum(plain, SAFETY / MOST * 1e-3)
    return np.clip(larger, LEAST, MOST), np.clip(SAFETY / np.maximum(plain, 1.0), LEAST, 1.0)


def _first_size(equation: Equation, y: Leaves, slope: Leaves, times: Any, rtol: float, atol: float) -> Any:
    """A first size by the method of Hairer, Norsett and Wanner, II.4: small beside y, its slope and how that turns."""
    toward = times[min(1, times.shape[0] - 1)]
    ahead = np.where(toward >= times[0], 1.0, -1.0)
    tolerances = _tolerances(y, y, rtol, atol)
    d0, d1 = _norm(y, tolerances), _norm(slope, tolerances)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    h0 = np.where(small, 1e-6, 0.01 * d0 / np.where(small, 1.0, d1))
    turned = equation(_moved(y, ahead * h0, (1,), [slope]), times[0] + ahead * h0)
    d2 = _norm([b - a for a, b in zip(slope, turned, strict=True)], tolerances) / h0
    steepest = np.maximum(d1, d2)
    flat = steepest <= 1e-15
    h1 = np.where(flat, np.maximum(1e-6, 1e-3 * h0), (0.01 / np.where(flat, 1.0, steepest)) ** 0.2)
    h = np.minimum(100 * h0, h1)
    return stop_gradient(np.where(np.isfinite(h), h, 1e-6))


# Leaves.


def _combined(weights: Sequence[Any], slopes: Sequence[Leaves]) -> Leaves:
    """The weighted sum of the slopes."""
    used = [(float(w), k) for w, k in zip(weights, slopes, strict=True) if w]
    return [
        sum((w * leaf for w, leaf in zip([w for w, _ in used[1:]], leaves[1:], strict=True)), used[0][0] * leaves[0])
        for leaves in zip(*[k for _, k in used], strict=True)
    ]


def _scaled(y: Leaves, h: Any) -> Leaves:
    return [h.astype(leaf.dtype) * leaf for leaf in y]


def _moved(y: Leaves, h: Any, weights: Sequence[Any], slopes: Sequence[Leaves]) -> Leaves:
    """y + h times the weighted sum of the slopes."""
    return [leaf + move for leaf, move in zip(y, _scaled(_combined(weights, slopes), h), strict=True)]


def _tolerances(y: Leaves, z: Leaves, rtol: float, atol: float) -> Leaves:
    return [atol + rtol * np.maximum(abs(a), abs(b)).astype(np.float64) for a, b in zip(y, z, strict=True)]


def _norm(y: Leaves, tolerances: Leaves) -> Any:
    """The root of the mean square of y over its tolerances."""
    count = max(1, sum(int(np.size(leaf)) for leaf in y))
    return np.sqrt(sum(np.sum(np.square(leaf.astype(np.float64) / s)) for leaf, s in zip(y, tolerances, strict=True)) / count)


def _finite(leaves: Leaves) -> Any:
    found = [np.all(np.isfinite(leaf)) for leaf in leaves]
    result = found[0]
    for more in found[1:]:
        result = result & more
    return result


def _chosen(condition: Any, y: Leaves, z: Leaves) -> Leaves:
    return [np.where(condition, a, b) for a, b in zip(y, z, strict=True)]


def _spoilt(condition: Any, y: Leaves) -> Leaves:
    """NaN throughout where the condition holds: no leaf is left at another time than the others."""
    return [np.where(condition, np.full((), np.nan, leaf.dtype), leaf) for leaf in y]


# What is given.


def _options(method: str, given: dict[str, Any]) -> dict[str, Any]:
    known = OPTIONS.get(method)
    if known is None:
        raise _wrong("there is no such method", repr(method), ", ".join(map(repr, OPTIONS)))
    surplus = [name for name, value in given.items() if value is not None and name not in known]
    if surplus:
        raise _wrong(f"{surplus[0]} is no option of method {method!r}", f"{surplus[0]}={given[surplus[0]]!r}", ", ".join(f"{name}=" for name in known))
    options = {name: default if given[name] is None else given[name] for name, default in known.items()}
    for name, value in options.items():
        whole = name in ("steps", "max_steps")
        if isinstance(value, bool) or not isinstance(value, (int, np.integer) if whole else (int, float, np.floating)) or not 0 < value < np.inf:
            raise _wrong(f"{name} is out of range", repr(value), "an int, 1 or more" if whole else "a number above 0")
    return options


def _floating(path: str, leaf: Any) -> Any:
    value = leaf if isinstance(leaf, Term) else np.asarray(leaf)
    value = value.astype(np.float64) if value.dtype.kind in "biu" else value
    if value.dtype.name not in ("float64", "float32"):
        raise _wrong(f"a solution is of real numbers, {path} is not", str(value.dtype), "float64 or float32")
    return value


def _alike(slope: Any, leaf: Any, path: str) -> Any:
    """What f gave for a leaf of y, as a value of its type; a list of numbers is an array."""
    if isinstance(slope, (list, tuple)):
        slope = np.stack([part if isinstance(part, Term) else np.asarray(part) for part in slope])
    value = slope if isinstance(slope, Term) else np.asarray(slope)
    if tuple(value.shape) != tuple(leaf.shape) or value.dtype.kind not in "fiub":
        raise _wrong(f"{path} is not like y", f"{value.dtype}{list(value.shape)}", f"{leaf.dtype}{list(leaf.shape)}, as in y0")
    return value.astype(leaf.dtype)


def _wrong(message: str, got: str, allowed: str) -> GraphError:
    return GraphError(message, reason="SHAPE", got=got, allowed=allowed)
