"""The point of a case: read from an .npz, or drawn input by input from a seed and a domain.

What is drawn depends on the seed, the point's number and the input's name alone, so that one more input or point
changes no other. Every array of a point must be finite, of the type the model declares: refused here, by name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type

from .arrays import read_npz
from .suite import Case, Domain, Sample

Array = np.ndarray[Any, Any]


def point_of(case: Case, folder: Path, wanted: Mapping[str, Type]) -> dict[str, Array]:
    """The case's arrays by input name: those of `wanted`, no more and no fewer."""
    spec = case.spec
    if spec.points:
        file = spec.points[case.point]
        point = named_exactly(read_npz(folder, file), wanted, f"the point {file}")
    else:
        sample = spec.sample or Sample(seed=spec.seed)
        for name in sample.domain:
            if name and name not in wanted:
                raise GraphError("a domain is of no input", reason="SURPLUS_INPUT", name=name, got=repr(name), allowed=", ".join(wanted) or "none")
        point = {name: drawn(type, _domain_of(sample, name), sample.seed, case.point, name) for name, type in wanted.items()}
    for name, array in point.items():
        require_finite(array, name)
    return point


def named_exactly(arrays: Mapping[str, Array], wanted: Iterable[str], what: str) -> dict[str, Array]:
    """The arrays in the order of `wanted`, whose names they must bear."""
    wanted = list(wanted)
    missing, surplus = [n for n in wanted if n not in arrays], [n for n in arrays if n not in wanted]
    if missing or surplus:
        got = ", ".join(arrays) or "nothing"
        raise GraphError(f"{what} has other names than the inputs", reason="MISSING_INPUT" if missing else "SURPLUS_INPUT", got=got, allowed=", ".join(wanted))
    return {name: arrays[name] for name in wanted}


def require_finite(array: Array, name: str) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        at = np.argwhere(~np.isfinite(array))
        where = f"{name}[{', '.join(map(str, at[0].tolist()))}]" if array.ndim else name
        got = f"{where} = {float(array[tuple(at[0])])}" + (f", and {len(at) - 1} more" if len(at) > 1 else "")
        raise GraphError("the point is not finite", reason="NOT_FINITE", name=name, got=got, hint="check where the function is defined")


def _domain_of(sample: Sample, name: str) -> Domain:
    return sample.domain.get(name, sample.domain.get("", "normal"))


def drawn(type: Type, domain: Domain, seed: int, point: int, name: str) -> Array:
    """One array. An interval is closed for integers, half open for floats; a bool is either, whatever the domain."""
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    random = np.random.default_rng([seed, point, key])
    if type.dtype.kind == "b":
        return random.random(type.shape) < 0.5
    if isinstance(domain, tuple):
        low, high = domain
        if type.dtype.kind == "i":
            return random.integers(int(np.ceil(low)), int(np.floor(high)), type.shape, type.dtype, endpoint=True)
        return np.asarray(random.uniform(low, high, type.shape), type.dtype)
    if type.dtype.kind == "i":
        raise GraphError("integers are drawn from an interval", reason="DTYPE", name=name, got=f"{name}: {type}, {domain!r}", allowed="domain = [low, high]")
    return np.asarray(_DRAWS[domain](random, type, name), type.dtype)


def _symmetric(random: np.random.Generator, type: Type, name: str) -> Array:
    a = random.standard_normal(_square(type, name))
    return (a + np.swapaxes(a, -1, -2)) / 2


def _positive_definite(random: np.random.Generator, type: Type, name: str) -> Array:
    """A A'/n + I: eigenvalues from 1 to about 5."""
    a = random.standard_normal(_square(type, name))
    n = type.shape[-1]
    return np.asarray(a @ np.swapaxes(a, -1, -2) / max(n, 1) + np.eye(n))


def _square(type: Type, name: str) -> tuple[int, ...]:
    if type.rank < 2 or type.shape[-1] != type.shape[-2]:
        raise GraphError("this domain is of square matrices", reason="SHAPE", name=name, got=f"{name}: {type}", allowed="two equal last axes")
    return type.shape


def _simplex(random: np.random.Generator, type: Type, name: str) -> Array:
    """Positive, with sum 1 along the last axis, uniformly."""
    a = random.standard_exponential(type.shape)
    return np.asarray(a / a.sum(axis=-1, keepdims=True)) if type.rank else np.ones(())


_DRAWS: dict[str, Callable[[np.random.Generator, Type, str], Any]] = {
    "normal": lambda random, type, name: random.standard_normal(type.shape),
    "positive": lambda random, type, name: np.exp(random.standard_normal(type.shape)),
    "unit": lambda random, type, name: random.random(type.shape),
    "simplex": _simplex,
    "symmetric": _symmetric,
    "positive definite": _positive_definite,
}
