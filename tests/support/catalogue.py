"""The catalogue of the check: functions with gradients by hand, kinds of mistakes planted in them, and sound ones that are hard.

Every function takes the module it computes with (`xp`: NumPy, on arrays or traced; JAX; PyTorch), so that every
checker is shown the same. Gradients are written by hand in NumPy beside them: no derivative here is anyone's program. A
fault is a kind of mistake, at a point and with a place drawn from the seed. Adding one is adding a row.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Random = np.random.Generator

SIZES = (10, 1000, 100_000)
SEEDS = range(20)


@dataclass(frozen=True, slots=True)
class Model:
    """value(xp, x, c) of a vector x and a constant vector c of its length; gradient(x, c) by hand.

    `scale`: points are drawn normal, of this size; `positive`: their absolute values.
    """

    value: Callable[..., Any]
    gradient: Callable[[Array, Array], Array]
    scale: float = 1.0
    positive: bool = False
    dtype: str = "float64"

    def point(self, n: int, random: Random) -> tuple[Array, Array]:
        x, c = random.normal(size=n) * self.scale, random.uniform(0.5, 2.0, n)
        return (np.abs(x) if self.positive else x).astype(self.dtype), c.astype(self.dtype)


def random_of(name: str, n: int, seed: int) -> Random:
    """The same draw for every checker, another for every kind, size and seed."""
    return np.random.default_rng([zlib.crc32(name.encode()), n, seed])


def _matrix(x: Array) -> Array:
    """The first k^2 entries as a k x k matrix, k as large as can be but at most 30."""
    k = min(30, int(np.sqrt(x.shape[0])))
    return x[: k * k].reshape(k, k)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _matrix_value(xp: Any, x: Any, c: Any) -> Any:
    k = min(30, int(np.sqrt(x.shape[0])))
    m = xp.reshape(x[: k * k], (k, k))
    y = m @ c[:k]
    return xp.sum(y * y * y) / 3 + xp.sum(c * x * x) / 2


def _matrix_gradient(x: Array, c: Array) -> Array:
    m = _matrix(x)
    g, k = c * x, len(m)
    g[: k * k] += np.outer((m @ c[:k]) ** 2, c[:k]).reshape(-1)
    return g


def _rosenbrock_gradient(x: Array, c: Array) -> Array:
    g, d = np.zeros_like(x), x[1:] - x[:-1] ** 2
    g[:-1] = -40 * x[:-1] * d - 2 * (1 - x[:-1])
    g[1:] += 20 * d
    return g


def _halves(x: Any) -> tuple[Any, Any]:
    h = x.shape[0] // 2
    return x[:h], x[h : 2 * h]


def _bilinear_value(xp: Any, x: Any, c: Any) -> Any:
    a, b = _halves(x)
    return xp.sum(a * b * b) + xp.sum(x)


def _bilinear_gradient(x: Array, c: Array) -> Array:
    a, b = _halves(x)
    return 1 + np.concatenate([b * b, 2 * a * b, np.zeros(len(x) - 2 * len(a))])


def _smooth_gradient(x: Array, c: Array) -> Array:
    g, d = 0.2 * x, np.diff(x)
    g[1:] += 2 * d
    g[:-1] -= 2 * d
    return g


def _branch_gradient(x: Array, c: Array) -> Array:
    return np.where(x > 0, c + 2 * x, c * np.cos(x))


MODELS: dict[str, Model] = {
    "waves": Model(lambda xp, x, c: xp.sum(xp.sin(x) * xp.exp(0.3 * x)), lambda x, c: (np.cos(x) + 0.3 * np.sin(x)) * np.exp(0.3 * x)),
    "quartic": Model(lambda xp, x, c: xp.sum(x * x * x * x) / 4 - xp.sum(c * x), lambda x, c: x**3 - c),
    "logistic": Model(lambda xp, x, c: xp.sum(xp.log1p(xp.exp(c * x)) - 0.7 * x) / x.shape[0], lambda x, c: (c * _sigmoid(c * x) - 0.7) / len(x)),
    "rosenbrock": Model(lambda xp, x, c: xp.sum(10 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2), _rosenbrock_gradient),
    "norm": Model(lambda xp, x, c: xp.sqrt(1 + xp.sum(c * x * x)), lambda x, c: c * x / np.sqrt(1 + np.sum(c * x * x))),
    "logsumexp": Model(lambda xp, x, c: xp.log(xp.sum(c * xp.exp(x))), lambda x, c: c * np.exp(x) / np.sum(c * np.exp(x))),
    "tanh": Model(lambda xp, x, c: xp.sum(xp.tanh(2 * x) * x), lambda x, c: 2 * x * (1 - np.tanh(2 * x) ** 2) + np.tanh(2 * x)),
    "bilinear": Model(_bilinear_value, _bilinear_gradient),
    "matrix": Model(_matrix_value, _matrix_gradient),
    "smoothing": Model(lambda xp, x, c: xp.sum((x[1:] - x[:-1]) ** 2) + 0.1 * xp.sum(x * x), _smooth_gradient),
    "branch": Model(lambda xp, x, c: xp.sum(xp.where(x > 0, c * x + x * x, c * xp.sin(x))), _branch_gradient),
    "rational": Model(lambda xp, x, c: xp.sum(c / (1 + x * x)), lambda x, c: -2 * c * x / (1 + x * x) ** 2),
    "tiny loss": Model(lambda xp, x, c: 1e-9 * xp.sum(c * xp.sin(x)), lambda x, c: 1e-9 * c * np.cos(x)),
    "huge loss": Model(lambda xp, x, c: 1e9 * xp.sum(c * xp.sin(x)), lambda x, c: 1e9 * c * np.cos(x)),
    "float32": Model(lambda xp, x, c: xp.sum(c * xp.sin(x)), lambda x, c: c * np.cos(x), dtype="float32"),
}

SOUND: dict[str, Model] = MODELS | {
    "linear": Model(lambda xp, x, c: xp.sum(c * x), lambda x, c: c),
    "constant": Model(lambda xp, x, c: 0 * xp.sum(x) + 3.7, lambda x, c: 0 * x),
    "at a minimum": Model(lambda xp, x, c: xp.sum(c * x * x) + 1, lambda x, c: 2 * c * x, 0.0),
    "large point": Model(lambda xp, x, c: xp.sum(xp.sin(x)), lambda x, c: np.cos(x), 1e6),
    "large point, smooth": Model(lambda xp, x, c: xp.sum(c * x * x), lambda x, c: 2 * c * x, 1e10),
    "tiny point": Model(lambda xp, x, c: xp.sum(xp.sin(x) + c * x * x), lambda x, c: np.cos(x) + 2 * c * x, 1e-8),
    "cancelling sum": Model(lambda xp, x, c: (xp.sum(xp.sin(x)) + 1e10) - 1e10, lambda x, c: np.cos(x)),
    "cancelling terms": Model(lambda xp, x, c: xp.sum((x + 1e4) ** 2 - 1e8 - 2e4 * x), lambda x, c: 2 * x),
    "steep": Model(lambda xp, x, c: xp.sum(xp.exp(20 * x)), lambda x, c: 20 * np.exp(20 * x)),
    "fast": Model(lambda xp, x, c: xp.sum(xp.sin(1e4 * x)), lambda x, c: 1e4 * np.cos(1e4 * x)),
    "flat": Model(lambda xp, x, c: 1 + 1e-9 * xp.sum(xp.sin(x)), lambda x, c: 1e-9 * np.cos(x)),
    "slow": Model(lambda xp, x, c: xp.sum(xp.sin(1e-4 * x)), lambda x, c: 1e-4 * np.cos(1e-4 * x)),
    "beside kinks": Model(lambda xp, x, c: xp.sum(c * abs(x)), lambda x, c: c * np.sign(x)),
    "beside the end of a domain": Model(lambda xp, x, c: xp.sum(c * xp.sqrt(x)), lambda x, c: c / (2 * np.sqrt(x)), positive=True),
    "beside poles": Model(lambda xp, x, c: xp.sum(xp.log(x * x)), lambda x, c: 2 / x),
    "float32, large": Model(lambda xp, x, c: 1e6 * xp.sum(c * xp.sin(3 * x)), lambda x, c: 3e6 * c * np.cos(3 * x), dtype="float32"),
    "float32, steep": Model(lambda xp, x, c: xp.sum(xp.exp(3 * x)), lambda x, c: 3 * np.exp(3 * x), dtype="float32"),
}

MAY_DOUBT = {"beside poles", "beside the end of a domain"}
"""Sound, and so hard that at some points (a pole at 5e-8 among 100,000 entries, a root at 9e-7, nearer than any step) "cannot tell" is honest.
None may be called wrong."""


@dataclass(frozen=True, slots=True)
class Fault:
    """plant(gradient, x, c, random) -> the wrong gradient."""

    model: str
    plant: Callable[[Array, Array, Array, Random], Array]


def _one(change: Callable[[Any, Array], Any]) -> Callable[[Array, Array, Array, Random], Array]:
    """In one entry that is not small."""

    def plant(g: Array, x: Array, c: Array, random: Random) -> Array:
        i = int(random.integers(len(g)))
        i = i if abs(g[i]) > 0.01 * np.abs(g).max() else int(np.argmax(np.abs(g)))
        wrong = g.copy()
        wrong[i] = change(g[i], g)
        return wrong

    return plant


def _all(change: Callable[[Array], Array]) -> Callable[[Array, Array, Array, Random], Array]:
    return lambda g, x, c, random: change(g)


def _at(change: Callable[[Array, Array], Array]) -> Callable[[Array, Array, Array, Random], Array]:
    return lambda g, x, c, random: change(x, c)


def _swapped(g: Array, x: Array, c: Array, random: Random) -> Array:
    i, j = random.choice(len(g), 2, replace=False)
    wrong = g.copy()
    wrong[i], wrong[j] = g[j], g[i]
    return wrong


def _opposite(g: Array, x: Array, c: Array, random: Random) -> Array:
    i, j = random.choice(len(g), 2, replace=False)
    wrong = g.copy()
    wrong[i] += 1e-3
    wrong[j] -= 1e-3
    return wrong


def _masked(g: Array, kept: Any, put: float = 0.0) -> Array:
    wrong = g.copy()
    wrong[kept] = put * wrong[kept]
    return wrong


def _transposed(g: Array, x: Array, c: Array, random: Random) -> Array:
    m = _matrix(x)
    k = len(m)
    wrong = g.copy()
    wrong[: k * k] = _matrix(g).T.reshape(-1)
    return wrong


def _wrong_matrix(x: Array, c: Array) -> Array:
    m = _matrix(x)
    g, k = c * x, len(m)
    g[: k * k] += np.outer((m.T @ c[:k]) ** 2, c[:k]).reshape(-1)
    return g


FAULTS: Mapping[str, Fault] = {
    # All entries.
    "negated": Fault("waves", _all(lambda g: -g)),
    "x 1.01": Fault("waves", _all(lambda g: 1.01 * g)),
    "x 1.09": Fault("quartic", _all(lambda g: 1.09 * g)),
    "x 1.5": Fault("rational", _all(lambda g: 1.5 * g)),
    "doubled": Fault("quartic", _all(lambda g: 2 * g)),
    "zero": Fault("waves", _all(lambda g: 0 * g)),
    "a mean for a sum": Fault("waves", _all(lambda g: g / len(g))),
    "a sum for a mean": Fault("logistic", _all(lambda g: g * len(g))),
    "a bias of 1e-6": Fault("waves", _all(lambda g: g + 1e-6)),
    "shifted by one": Fault("waves", _all(lambda g: np.roll(g, 1))),
    "reversed": Fault("waves", _all(lambda g: g[::-1].copy())),
    "sorted": Fault("rational", _all(lambda g: np.sort(g))),
    "absolute values": Fault("rational", _all(lambda g: np.abs(g))),
    "squared": Fault("quartic", _all(lambda g: g * g)),
    "clipped to 1": Fault("quartic", _all(lambda g: np.clip(g, -1, 1))),
    "of unit norm": Fault("waves", _all(lambda g: g / np.linalg.norm(g))),
    "noise of 1 %": Fault("waves", lambda g, x, c, random: g * (1 + 0.01 * random.normal(size=len(g)))),
    "kept in float16": Fault("waves", _all(lambda g: g.astype(np.float16).astype(float))),
    "accumulated in float32": Fault("waves", _all(lambda g: g.astype(np.float32).astype(float))),
    "signs only": Fault("waves", _all(np.sign)),
    # Some entries.
    "one entry + 1e-6": Fault("quartic", _one(lambda v, g: v + 1e-6)),
    "one entry + 0.01": Fault("waves", _one(lambda v, g: v + 0.01)),
    "one entry + 1": Fault("waves", _one(lambda v, g: v + 1)),
    "one entry negated": Fault("rational", _one(lambda v, g: -v)),
    "one entry zero": Fault("waves", _one(lambda v, g: 0.0)),
    "one entry doubled": Fault("smoothing", _one(lambda v, g: 2 * v)),
    "one entry NaN": Fault("waves", _one(lambda v, g: np.nan)),
    "one entry infinite": Fault("quartic", _one(lambda v, g: np.inf)),
    "two entries swapped": Fault("waves", _swapped),
    "equal and opposite errors": Fault("waves", _opposite),
    "the first entry left out": Fault("waves", _all(lambda g: _masked(g, slice(0, 1)))),
    "the last entry left out": Fault("rational", _all(lambda g: _masked(g, slice(-1, None)))),
    "every other entry left out": Fault("waves", _all(lambda g: _masked(g, slice(0, None, 2)))),
    "the second half negated": Fault("waves", _all(lambda g: _masked(g, slice(len(g) // 2, None), -1.0))),
    # Slips of calculus.
    "a missing chain factor": Fault("tanh", _at(lambda x, c: x * (1 - np.tanh(2 * x) ** 2) + np.tanh(2 * x))),
    "a missing product term": Fault("tanh", _at(lambda x, c: np.tanh(2 * x))),
    "a missing inner derivative": Fault("waves", _at(lambda x, c: (np.cos(x) + np.sin(x)) * np.exp(0.3 * x))),
    "a quotient's square left out": Fault("rational", _at(lambda x, c: -2 * c * x / (1 + x * x))),
    "a power rule slip": Fault("quartic", _at(lambda x, c: 4 * x**3 - c)),
    "a missing term": Fault("quartic", _at(lambda x, c: x**3)),
    "a missing data factor": Fault("logistic", _at(lambda x, c: (_sigmoid(c * x) - 0.7) / len(x))),
    "a sigmoid turned round": Fault("logistic", _at(lambda x, c: (c * _sigmoid(-c * x) - 0.7) / len(x))),
    "a neighbour's term left out": Fault("rosenbrock", _at(lambda x, c: np.append(-40 * x[:-1] * (x[1:] - x[:-1] ** 2) - 2 * (1 - x[:-1]), 0.0))),
    "a coefficient halved": Fault("rosenbrock", lambda g, x, c, random: g + np.append(20 * x[:-1] * (x[1:] - x[:-1] ** 2), 0.0)),
    "a boundary term dropped": Fault("smoothing", _all(lambda g: _masked(g, slice(0, 1), 0.5))),
    "a regulariser forgotten": Fault("smoothing", lambda g, x, c, random: g - 0.2 * x),
    "a norm not divided": Fault("norm", _at(lambda x, c: c * x)),
    "a softmax not normalised": Fault("logsumexp", _at(lambda x, c: c * np.exp(x))),
    "a weight lost in a softmax": Fault("logsumexp", _at(lambda x, c: np.exp(x) / np.sum(np.exp(x)))),
    "swapped arguments": Fault("bilinear", lambda g, x, c, random: np.concatenate([*_halves(g)[::-1], g[2 * (len(g) // 2) :]])),
    "a factor of the other argument": Fault("bilinear", lambda g, x, c, random: np.concatenate([1 + _halves(x)[1], g[len(g) // 2 :]])),
    "a transposed Jacobian": Fault("matrix", _transposed),
    "a transposed operand": Fault("matrix", _at(_wrong_matrix)),
    # State and branches.
    "a stale residual": Fault("waves", lambda g, x, c, random: MODELS["waves"].gradient(x + 1e-3, c)),
    "the gradient of the step before": Fault("quartic", lambda g, x, c, random: MODELS["quartic"].gradient(x + 0.1 * random.normal(size=len(x)), c)),
    "wrong at one branch": Fault("branch", _at(lambda x, c: np.where(x > 0, c + x, c * np.cos(x)))),
    "wrong at the other branch": Fault("branch", _at(lambda x, c: np.where(x > 0, c + 2 * x, c))),
    # Scales.
    "zero, of a loss scaled by 1e-9": Fault("tiny loss", _all(lambda g: 0 * g)),
    "x 1.01, of a loss scaled by 1e-9": Fault("tiny loss", _all(lambda g: 1.01 * g)),
    "one entry x 1.01, of a loss scaled by 1e9": Fault("huge loss", _one(lambda v, g: 1.01 * v)),
    "x 1.09, in float32": Fault("float32", _all(lambda g: 1.09 * g)),
    "negated, in float32": Fault("float32", _all(lambda g: -g)),
}


def sound(name: str, n: int, seed: int) -> tuple[Array, Array, Array]:
    """x, c and the right gradient."""
    model = SOUND[name]
    x, c = model.point(n, random_of(name, n, seed))
    return x, c, model.gradient(x, c).astype(model.dtype)


def planted(name: str, n: int, seed: int) -> tuple[Model, Array, Array, Array, Array]:
    """The model, x, c, the wrong gradient and the right one."""
    fault, random = FAULTS[name], random_of(name, n, seed)
    model = MODELS[fault.model]
    x, c = model.point(n, random)
    right = model.gradient(x, c)
    return model, x, c, fault.plant(right, x, c, random).astype(model.dtype), right
