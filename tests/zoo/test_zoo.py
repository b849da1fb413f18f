"""Real programs through every verb, judged by derivatives that come from elsewhere (tests/support/zoo)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.transforms.expand import expand
from support.zoo import ZOO, Problem

SERVICE = bs.local()


@dataclass(frozen=True)
class Case:
    """A problem at a point: the submitted function, and what its derivatives are."""

    problem: Problem
    point: dict[str, Any]
    data: dict[str, Any]
    f: bs.Function
    value: Any
    derivative: dict[str, Any]
    tangent: dict[str, Any]

    @property
    def inputs(self) -> list[Any]:
        return list(self.point.values())

    def shaped(self, parts: Mapping[str, Any]) -> Any:
        """As the verbs take and give what is shaped like wrt: by itself if there is one, else a tuple."""
        values = tuple([parts[name] for name in self.point])
        return values[0] if len(values) == 1 else values

    def assert_near(self, got: Any, wanted: Any, tolerance: float = 0.0) -> None:
        """Normwise: off by at most the tolerance times the largest entry wanted."""
        wanted = np.asarray(wanted)
        assert np.shape(got) == wanted.shape
        scale = max(float(np.max(np.abs(wanted), initial=0.0)), np.finfo(float).tiny)
        np.testing.assert_allclose(got, wanted, rtol=0, atol=(tolerance or self.problem.tolerance) * scale)

    def assert_parts(self, got: Any, wanted: Mapping[str, Any], tolerance: float = 0.0) -> None:
        parts = got if len(self.point) > 1 else (got,)
        assert len(parts) == len(self.point)
        for name, part in zip(self.point, parts, strict=True):
            self.assert_near(part, wanted[name], tolerance)


def submitted(problem: Problem, point: Mapping[str, Any], data: Mapping[str, Any]) -> bs.Function:
    kinds = {np.dtype(np.float64): bs.float64, np.dtype(np.float32): bs.float32}
    return SERVICE.submit(problem.function, **{k: kinds[np.asarray(x).dtype][np.shape(x)] for k, x in point.items()}, **data)


@cache
def first(name: str, size: int) -> bs.Function:
    """Traced once: another seed only binds other data."""
    return submitted(ZOO[name], *ZOO[name].make(size, 0))


@cache
def case(name: str, size: int, seed: int) -> Case:
    problem = ZOO[name]
    point, data = problem.make(size, seed)
    value, derivative = problem.exact(**point, **data)
    random = np.random.default_rng([size, seed, 1])
    tangent = {name: random.standard_normal(np.shape(x)) for name, x in point.items()}
    arrays = {key: x for key, x in data.items() if isinstance(x, np.ndarray)}
    return Case(problem, point, data, first(name, size).bind(**arrays), value, derivative, tangent)


def scalar(problem: Problem) -> bool:
    point, data = problem.make(problem.sizes[0], 0)
    return np.ndim(problem.exact(**point, **data)[0]) == 0


def cases(*names: str) -> Any:
    """Each problem at its two sizes, with two seeds."""
    params = [(name, size, seed) for name in names for size in ZOO[name].sizes for seed in (0, 1)]
    return pytest.mark.parametrize("name, size, seed", params, ids=[f"{name.replace(' ', '-')}-{size}-{seed}" for name, size, seed in params])


SCALAR = [name for name, problem in ZOO.items() if scalar(problem)]
VECTOR = [name for name in ZOO if name not in SCALAR]
SINGLE = [name for name in ZOO if ZOO[name].single]


@cases(*ZOO)
def test_the_value_is_that_of_the_formula(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    c.assert_near(c.f(*c.inputs), c.value)


@cases(*SCALAR)
def test_the_gradient_is_the_one_derived_by_hand(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    value, gradient = c.f.value_and_gradient(*c.inputs)
    c.assert_near(value, c.value)
    c.assert_parts(gradient, c.derivative)


@cases(*SCALAR)
def test_a_hessian_vector_product_is_the_one_derived_by_hand(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    wanted = c.problem.second(c.point, c.data, c.tangent)
    c.assert_parts(c.f.hvp(*c.inputs, tangent=c.shaped(c.tangent)), wanted)


@cases(*VECTOR)
def test_the_jacobian_is_the_one_derived_by_hand_in_either_mode(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    for mode in ("forward", "reverse"):
        c.assert_parts(c.f.jacobian(*c.inputs, mode=mode), c.derivative)


@cases(*ZOO)
def test_a_jvp_is_the_derivative_times_the_tangent(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    wanted = sum(np.tensordot(c.derivative[k], t, np.ndim(t)) for k, t in c.tangent.items())
    # Parts of different sign cancel in the sum, not in its error.
    scale = sum(float(np.max(np.tensordot(np.abs(c.derivative[k]), np.abs(t), np.ndim(t)))) for k, t in c.tangent.items())
    np.testing.assert_allclose(c.f.jvp(*c.inputs, tangent=c.shaped(c.tangent)), wanted, rtol=0, atol=c.problem.tolerance * scale)


@cases(*VECTOR)
def test_a_vjp_is_the_cotangent_times_the_derivative(name: str, size: int, seed: int) -> None:
    c = case(name, size, seed)
    cotangent = np.random.default_rng(seed).standard_normal(np.shape(c.value))
    wanted = {k: np.tensordot(cotangent, d, cotangent.ndim) for k, d in c.derivative.items()}
    c.assert_parts(c.f.vjp(*c.inputs, cotangent=cotangent), wanted)


@pytest.mark.parametrize("name", ZOO)
def test_the_check_says_right(name: str) -> None:
    for size in ZOO[name].sizes:
        c = case(name, size, 0)
        c.f.check(*c.inputs).raise_if_wrong()


@pytest.mark.parametrize("name", SCALAR)
def test_the_check_finds_one_wrong_entry_of_the_gradient(name: str) -> None:
    c = case(name, ZOO[name].sizes[1], 1)
    wrong = {k: np.array(g, order="C") for k, g in c.derivative.items()}
    where = next(iter(wrong))
    wrong[where].reshape(-1)[-1] += 0.01 * max(1.0, float(np.max(np.abs(wrong[where]))))
    verdict = c.f.check(*c.inputs, gradient=c.shaped(wrong))
    assert verdict.outcome is bs.Outcome.WRONG, verdict
    assert [(e.input, e.index) for e in verdict.worst] == [(where, tuple(n - 1 for n in wrong[where].shape))]


@pytest.mark.parametrize("name", SINGLE)
def test_the_gradient_in_single_precision_is_that_of_the_rounded_point(name: str) -> None:
    problem = ZOO[name]
    point, data = (retyped(part, np.float64, np.float32) for part in problem.make(problem.sizes[0], 0))
    got = submitted(problem, point, data).gradient(*point.values())
    _, wanted = problem.exact(**retyped(point, np.float32, np.float64), **retyped(data, np.float32, np.float64))
    for part, key in zip(got if len(point) > 1 else (got,), point, strict=True):
        assert part.dtype == np.float32
        np.testing.assert_allclose(part, wanted[key], rtol=0, atol=(problem.single or 0) * np.max(np.abs(wanted[key])))


def retyped(part: Mapping[str, Any], old: Any, new: Any) -> dict[str, Any]:
    """Arrays and NumPy's scalars of the one type in the other; Python numbers are weak and stay."""
    return {k: x.astype(new) if isinstance(x, (np.ndarray, np.generic)) and x.dtype == old else x for k, x in part.items()}


@pytest.mark.parametrize("name", ZOO)
def test_a_derivative_is_not_much_larger_than_the_function(name: str) -> None:
    """Griewank and Walther's bound on work (Evaluating Derivatives, 2008, 4.6), as nodes: at most 5 times.

    Compound ops count as what they expand to; a loop as its body.
    """
    c = case(name, ZOO[name].sizes[1], 0)
    derived = c.f.derive("gradient" if name in SCALAR else "vjp")
    assert expand(derived.graph).size <= 5 * expand(c.f.graph).size
