"""NumPy expressions over named arrays, evaluated on Terms and on the arrays: they must give the same.

A test lists expressions as text, several on a line, and runs over `listed(text)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from backsweep_engine.graph import Graph, Type
from backsweep_engine.transforms import derive

from .differences import along
from .graphs import build
from .run import Array, run

VALUES: dict[str, Any] = {
    "f": np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]]),
    "p": np.array([[1.5, 2.0, 0.25], [3.0, 0.5, 1.0]]),
    "g": np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]], np.float32),
    "i": np.array([[3, -1, 2], [0, 5, -7]], np.int64),
    "j": np.array([[3, -1, 2], [1, 5, -7]], np.int32),
    "k": np.array([[0, 1, 2], [2, 0, 1]], np.int32),
    "b": np.array([[True, False, True], [False, False, True]]),
    "c": np.array([[True, True, False], [False, True, True]]),
    "row": np.array([1.0, 2.0, 4.0]),
    "column": np.array([[2.0], [-1.0]]),
    "s": np.array(2.5),
    "n": np.array(3, np.int32),
    "cube": np.arange(24.0).reshape(2, 3, 4) / 7,
    "quad": np.arange(48.0).reshape(2, 1, 4, 6) / 11,
    "vector": np.array([0.5, -1.0, 2.0, 4.0]),
    "square": np.array([[2.0, 1.0, 0.0], [1.0, 3.0, 1.0], [0.5, 0.0, 1.0]]),
    "long": np.arange(300.0),
}


def listed(text: str) -> list[str]:
    """The expressions of a text, parted by semicolons and line ends."""
    return [e.strip() for line in text.strip().splitlines() for e in line.split(";") if e.strip()]


def _read(expression: str) -> tuple[list[str], Callable[..., Any]]:
    names = [name for name in VALUES if re.search(rf"\b{name}\b", expression)]
    return names, eval(f"lambda {', '.join(names)}: {expression}", {"np": np})


def _traced(names: list[str], f: Callable[..., Any]) -> Graph:
    return build(f, **{name: Type(VALUES[name].dtype, VALUES[name].shape) for name in names})


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (tuple, list)) else [value]


def same_as_numpy(expression: str) -> None:
    """Evaluates the expression on Terms and on the arrays. `np` is NumPy in both."""
    names, f = _read(expression)
    arrays = [VALUES[name] for name in names]
    with np.errstate(all="ignore"):
        wanted = _several(f(*arrays))
    got = run(_traced(names, f), *arrays)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a.dtype, a.shape) == (np.asarray(b).dtype, np.shape(b))
        _close(a, b)


def _close(a: Array, b: Any) -> None:
    # The same kernels, but sums, products and BLAS calls may associate differently: a few units in the last place.
    tolerance = 8 * np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
    np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def moves_as_numpy(expression: str) -> None:
    """The same, and the derivative by all its float64 arrays: J t by differences of NumPy's values, and <u, J t> = <J' u, t>."""
    same_as_numpy(expression)
    names, f = _read(expression)
    arrays = [VALUES[name] for name in names]
    random = np.random.default_rng(0)

    def drawn(shape: tuple[int, ...]) -> Array:
        return np.asarray(random.choice([-1.0, 1.0], shape) * random.uniform(0.5, 1, shape))

    t = [drawn(a.shape) if a.dtype == np.float64 else None for a in arrays]
    moving = [i for i, d in enumerate(t) if d is not None]
    wanted = [d for d, y in zip(along(lambda *x: _several(f(*x)), arrays, t), _several(f(*arrays)), strict=True) if np.asarray(y).dtype == np.float64]
    given = [d for d in t if d is not None]
    graph = _traced(names, f)
    tangents = run(derive.jvp(graph, moving), *arrays, *given)
    scale = max([1.0, *[float(np.abs(w).max(initial=0)) for w in wanted]])
    for a, b in zip(tangents, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-10 * scale)  # of differences; see differences.py
    u = [drawn(w.shape) for w in wanted]
    back = run(derive.vjp(graph, moving), *arrays, *u)
    left, right = (sum(float(np.vdot(a, b)) for a, b in zip(p, q, strict=True)) for p, q in ((u, tangents), (back, given)))
    assert abs(left - right) <= 1e-13 * max(1.0, sum(float(np.abs(a * b).sum()) for a, b in zip(u, tangents, strict=True)))
