"""What is compared for a graph at a point: four quantities, their normwise distance, and their condition.

The condition of a quantity q at the point x is the largest |q(x + d x s) - q(x)| / (d |q(x)|) of DRAWS random signs s,
for d = 1e-6, as JAX sees it; at least 1. A tangent or cotangent counts as part of x. One draw is not enough: the
sensitivities to single entries may cancel in it (attention's second derivative by its mask: 3.9 in one, 260 in another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from backsweep_engine.graph import Graph, Type
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.rewrite import inline
from support.draw import directions
from support.graphs import build
from support.run import run

from .interpret import as_jax

Array = np.ndarray[Any, Any]

QUANTITIES = ("value", "vjp", "jvp", "hvp")
TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
"""Of the norm; in float64 times the condition, in float32 only if that is above WELL."""
WELL = 10.0
STEP = 1e-6
DRAWS = 4
ZERO = {"float64": 1e-14, "float32": 1e-6}
"""Norms up to this are rounding of 0: points and directions are of the size of 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One quantity of one case: how far apart the two are, normwise, and both of them."""

    quantity: str
    dtype: str
    distance: float
    condition: float
    points: list[Array]
    ours: list[Array]
    theirs: list[Array]

    def __str__(self) -> str:
        return f"{self.dtype} {self.quantity}: {self.distance:.1e} apart, condition {self.condition:.3g}"

    @property
    def allowed(self) -> float:
        return TOLERANCE[self.dtype] * (self.condition if self.dtype == "float64" or self.condition > WELL else 1)

    @property
    def agrees(self) -> bool:
        return self.distance <= self.allowed


class Pair:
    """A graph and its twin in JAX, both differentiated: by our transforms and by JAX's."""

    def __init__(self, graph: Graph, moving: Sequence[int] | None = None) -> None:
        """`moving`: the inputs to differentiate by, all that are floating if None."""
        self.graph = graph
        self.peer = as_jax(graph)
        self.moving = [i for i, t in enumerate(graph.input_types) if t.is_float] if moving is None else list(moving)
        self.outputs = derive.floating_outputs(graph)
        self.cotangents = _directions([graph.output_types[o] for o in self.outputs], 4)
        self.tangents = _directions([graph.input_types[i] for i in self.moving], 5)
        single = any(t.dtype == np.float32 for t in (*graph.input_types, *graph.output_types))
        self.dtype = "float32" if single else "float64"
        self.theirs = jax.jit(self._theirs)

    @cached_property
    def ours(self) -> Mapping[str, tuple[Graph, list[Array]]]:
        """Our graph of each quantity, and what it takes after the inputs. Only the value if nothing floats."""
        plain: dict[str, tuple[Graph, list[Array]]] = {"value": (self.graph, [])}
        if not (self.moving and self.outputs):
            return plain
        return plain | {
            "vjp": (derive.vjp(self.graph, self.moving), self.cotangents),
            "jvp": (derive.jvp(self.graph, self.moving), self.tangents),
            "hvp": (derive.hvp(_weighted(self.graph, self.outputs), self.moving), [*self.cotangents, *self.tangents]),
        }

    def _theirs(self, inputs: list[Any], cotangents: list[Any], tangents: list[Any]) -> dict[str, Any]:
        def f(*x: Any) -> list[Any]:
            full = list(inputs)
            for i, value in zip(self.moving, x, strict=True):
                full[i] = value
            results = self.peer(*full)
            return [results[o] for o in self.outputs]

        def total(*x: Any) -> Any:
            return sum(jnp.sum(y * u).astype(jnp.float64) for y, u in zip(f(*x), cotangents, strict=True))

        plain = {"value": self.peer(*inputs)}
        if not (self.moving and self.outputs):
            return plain
        x, t = tuple(inputs[i] for i in self.moving), tuple(tangents)
        gradient = jax.grad(total, tuple(range(len(x))))
        return plain | {"vjp": jax.vjp(f, *x)[1](cotangents), "jvp": jax.jvp(f, x, t)[1], "hvp": jax.jvp(gradient, x, t)[1]}

    def at(self, inputs: Sequence[Array], conditions: Mapping[str, float] | None = None) -> list[Finding]:
        """`conditions`: those found in float64 at the same point, which float32 cannot tell."""
        given = [list(inputs), self.cotangents, self.tangents]
        theirs = self._arrays(given)
        random = np.random.default_rng(7)
        moved = [self._arrays([[_moved(a, random) for a in arrays] for arrays in given]) for _ in range(DRAWS)]
        found = []
        for name, (graph, more) in self.ours.items():
            ours = run(graph, *inputs, *more)
            apart = max((distance(x, y) for x, y in zip(ours, theirs[name], strict=True)), default=0.0)
            steep = max((_steep(y, m) for draw in moved for y, m in zip(theirs[name], draw[name], strict=True)), default=1.0)
            steep = (conditions or {}).get(name, steep)
            found.append(Finding(name, self.dtype, apart, steep, [*inputs, *more], ours, theirs[name]))
        return found

    def _arrays(self, given: list[list[Array]]) -> dict[str, list[Array]]:
        return {name: [np.asarray(y) for y in values] for name, values in self.theirs(*given).items()}


def condition(found: Sequence[Finding]) -> float:
    return max((f.condition for f in found), default=1.0)


def _moved(x: Array, random: np.random.Generator) -> Array:
    return x * (1 + STEP * random.choice([-1.0, 1.0], x.shape)) if x.dtype == np.float64 else x


def distance(x: Array, y: Array) -> float:
    """|x - y| / |y|; of a y that is 0 but for rounding |x - y|. Integers, bools, NaN and infinities must be equal."""
    if x.shape != y.shape or x.dtype.kind != y.dtype.kind:
        return np.inf
    if x.dtype.kind != "f":
        return 0.0 if np.array_equal(x, y) else np.inf
    finite = np.isfinite(y)
    if not (np.array_equal(x[~finite], y[~finite], equal_nan=True) and np.isfinite(x[finite]).all()):
        return np.inf
    x, y = x[finite], y[finite]
    return float(np.linalg.norm(x.astype(np.float64) - y)) / _scale(y)


def _scale(y: Array) -> float:
    norm = float(np.linalg.norm(y.astype(np.float64)))
    return norm if norm > ZERO[y.dtype.name] else 1.0


def _steep(y: Array, moved: Array) -> float:
    """The condition as one draw shows it."""
    if y.dtype.kind != "f":
        return 1.0
    finite = np.isfinite(y)
    change = float(np.linalg.norm((moved - y)[finite].astype(np.float64))) / STEP
    return max(1.0, change / _scale(y[finite]))


def _weighted(graph: Graph, outputs: list[int]) -> Graph:
    """The sum of all floating outputs, entries weighted by further inputs."""
    types = {f"x{i}": t for i, t in enumerate(graph.input_types)} | {f"u{k}": graph.output_types[o] for k, o in enumerate(outputs)}

    def f(*terms: Any) -> Any:
        results = inline(terms[0].builder, graph, terms[: graph.arity])
        return sum(np.sum(results[o] * u).astype(np.float64) for o, u in zip(outputs, terms[graph.arity :], strict=True))

    return build(f, **types)


def _directions(types: Sequence[Type], seed: int) -> list[Array]:
    return [d for d in directions(types, seed) if d is not None]
