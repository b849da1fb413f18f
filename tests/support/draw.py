"""Draws operands for an op from its domains: seeded, away from kinks, far enough from the borders for differences.

All floats of one draw lie on one grid without repeats, so that no two are closer than GAP (ties of
max and maximum) and none is closer than GAP to 0 (relu, abs, sign). Where a domain is one of matrices
2, 3, 4 ... are added along the diagonal: small ones then dominate by it, so they are nonsingular, their
lower triangle is that of a positive definite matrix, and eigenvalues and singular values lie apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from backsweep_engine.graph import Type
from backsweep_engine.ops.op import REALS, Domain, Example, Op

from .differences import REACH

Array = np.ndarray[Any, Any]

GAP = 3 * REACH
"""Differences move two numbers by REACH each, in opposite directions."""


def draw(types: Sequence[Type], domains: Sequence[Domain], seed: int) -> list[Array]:
    """One array per type. Integers are drawn uniformly from the integers inside their domain, at most 3 from 0."""
    random = np.random.default_rng(seed)
    result = []
    floats = [i for i, t in enumerate(types) if t.is_float]
    ranks = random.permutation(sum(types[i].size for i in floats))
    for i, type in enumerate(types):
        domain = domains[min(i, len(domains) - 1)] if domains else REALS
        if type.dtype.kind == "b":
            flat = random.permutation(np.arange(type.size) % 2 == random.integers(2))
        elif type.dtype.kind == "i":
            low, high = max(domain.low, -4), min(domain.high, 4)
            flat = random.integers(math.floor(low) + 1, math.ceil(high), type.size)
        else:
            mine, ranks = ranks[: type.size], ranks[type.size :]
            flat = _on_grid(mine, domain, sum(types[j].size for j in floats))
        shaped = np.array(flat, type.dtype).reshape(type.shape)
        if "matrices" in domain.matrix:
            shaped += np.eye(*type.shape[-2:], dtype=type.dtype) * np.arange(2, 2 + type.shape[-1], dtype=type.dtype)
        result.append(np.sort(shaped) if domain.matrix.startswith("sorted") and shaped.ndim else shaped)
    return result


def _on_grid(ranks: Array, domain: Domain, count: int) -> Array:
    """Distinct multiples of GAP, from the domain's lower border up, or on both sides of 0, off it by half a GAP."""
    place = ranks + 0.5
    if domain.low == -math.inf:
        return (place - math.ceil(count / 2)) * GAP
    if domain.high == math.inf:
        # At least 0.2 off the border: closer to a pole differences of any order lose their digits.
        return domain.low + 0.2 + place * GAP
    return domain.low + (domain.high - domain.low) * (place / count * 0.8 + 0.1)


def operands(op: Op, example: Example, seed: int = 0) -> list[Array]:
    return draw(example.types, op.domain, seed)


def directions(types: Sequence[Type], seed: int) -> list[Array | None]:
    """A direction per floating type with entries of size in [1/2, 1] and random signs; None for the others."""
    random = np.random.default_rng(seed + 1000)

    def one(type: Type) -> Array:
        return np.array(random.choice([-1.0, 1.0], type.shape) * random.uniform(0.5, 1, type.shape), type.dtype)

    return [one(t) if t.is_float else None for t in types]
