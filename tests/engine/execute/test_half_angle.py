"""Sines and cosines from one tangent, against mpmath."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest

from backsweep_engine.execute import half_angle
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import run_once
from backsweep_engine.plan.make import Ask, Budget, make_plan
from backsweep_engine.plan.regions import TILE
from backsweep_engine.query import Gradient, ValueAndGradient
from support.graphs import F64, build

Array = np.ndarray[Any, Any]
K = np.arange(1, 400)
RANDOM = np.random.default_rng(0)
POINTS = np.concatenate(
    [RANDOM.uniform(-3.2, 3.2, 2000), RANDOM.uniform(-100, 100, 1000), RANDOM.normal(size=500) * 1e15, 10.0 ** RANDOM.uniform(-290, 300, 500)]
    + [K * np.pi, np.nextafter(K * np.pi, 0), (K - 0.5) * np.pi, K * np.pi + RANDOM.normal(size=K.size) * 1e-3, (K - 0.5) * np.pi + 1e-4]
)


ALONE = {"squared": half_angle.squared_sine, "mixed": half_angle.mixed}


def exact(function: Any) -> list[Any]:
    with mpmath.workprec(200):
        return [function(mpmath.mpf(x)) for x in POINTS.tolist()]


def errors(got: Array, wanted: list[Any]) -> Array:
    with mpmath.workprec(200):
        return np.array([float(abs(mpmath.mpf(a) - b)) for a, b in zip(got.tolist(), wanted, strict=True)])


def computed() -> dict[str, Array]:
    def empty() -> Array:
        return np.empty_like(POINTS)

    found = {name: empty() for name in ("sine", "cosine", "both sines", "both cosines", *ALONE, *(f"both {name}" for name in ALONE))}
    half_angle.sine(POINTS, 1.0, found["sine"], empty())
    half_angle.cosine(POINTS, 1.0, found["cosine"], empty())
    half_angle.both(POINTS, 1.0, found["both sines"], found["both cosines"], empty())
    with np.errstate(under="ignore"):
        for name, function in ALONE.items():
            function(POINTS, 1.0, found[name], empty())
        half_angle.products(POINTS, 1.0, found["both squared"], found["both mixed"], empty())
    return found


def test_the_sine_is_right_to_three_units_in_the_last_place_everywhere() -> None:
    wanted = exact(mpmath.sin)
    unit = np.spacing(np.abs([float(w) for w in wanted]))
    for name in ("sine", "both sines"):
        assert (errors(computed()[name], wanted) / unit).max() <= 3


def test_the_cosine_is_right_to_an_epsilon_absolutely() -> None:
    wanted = exact(mpmath.cos)
    for name in ("cosine", "both cosines"):
        assert errors(computed()[name], wanted).max() <= 2.3e-16


@pytest.mark.parametrize(("name", "ulp"), [("squared", 4), ("mixed", 3)])
def test_products_of_sines_and_cosines_are_right_in_the_last_places_everywhere(name: str, ulp: int) -> None:
    wanted = exact(lambda x: mpmath.sin(x) * (mpmath.sin(x) if name == "squared" else mpmath.cos(x)))
    unit = np.spacing(np.abs([float(w) for w in wanted]))
    for got in (computed()[name], computed()[f"both {name}"]):
        assert (errors(got, wanted) / unit).max() <= ulp


def test_a_factor_is_taken_into_the_angle() -> None:
    """As exactly as the product would be: 0.5 x is a number of floating point."""
    spare, twice, once = np.empty_like(POINTS), np.empty_like(POINTS), np.empty_like(POINTS)
    for function in (half_angle.sine, half_angle.cosine, *ALONE.values()):
        with np.errstate(under="ignore"):
            function(POINTS, 0.5, twice, spare)
            function(0.5 * POINTS, 1.0, once, spare)
        np.testing.assert_array_equal(twice, once)


def test_special_values_are_numpys() -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1.7e308])
    out, other, spare = np.empty_like(x), np.empty_like(x), np.empty_like(x)
    with np.errstate(all="ignore"):
        half_angle.both(x, 1.0, out, other, spare)
        np.testing.assert_array_equal(np.isnan(out), np.isnan(np.sin(x)))
        np.testing.assert_array_equal(np.isnan(other), np.isnan(np.cos(x)))
        assert out[0] == 0 and not np.signbit(out[0]) and np.signbit(out[1]) and other[0] == other[1] == 1
        np.testing.assert_allclose(out[5:], np.sin(x[5:]), rtol=1e-15, atol=5e-324)
        half_angle.products(x, 1.0, out, other, spare)
        np.testing.assert_array_equal(np.isnan(out) & np.isnan(other), np.isnan(np.sin(x)))
        assert out[0] == out[1] == other[0] == other[1] == 0 and not np.signbit(other[0]) and np.signbit(other[1])


def test_results_may_be_written_over_the_operand() -> None:
    fresh = computed()
    spare = np.empty_like(POINTS)
    for name, function in (("sine", half_angle.sine), ("cosine", half_angle.cosine), *ALONE.items()):
        x = POINTS.copy()
        with np.errstate(under="ignore"):
            function(x, 1.0, x, spare)
        np.testing.assert_array_equal(x, fresh[name])
    x, out = POINTS.copy(), np.empty_like(POINTS)
    half_angle.both(x, 1.0, x, out, spare)
    np.testing.assert_array_equal(x, fresh["both sines"])
    np.testing.assert_array_equal(out, fresh["both cosines"])
    x = POINTS.copy()
    with np.errstate(under="ignore"):
        half_angle.products(x, 1.0, out, x, spare)
    np.testing.assert_array_equal(out, fresh["both squared"])
    np.testing.assert_array_equal(x, fresh["both mixed"])


@pytest.mark.parametrize("takes_cosines", [False, True])
def test_a_cosine_that_is_a_value_keeps_its_relative_accuracy(takes_cosines: bool) -> None:
    """At the zeros of the cosine a factor may be off by an epsilon, a value may not."""
    x = np.full(TILE + 1, 0.5 * np.pi)
    f = (lambda x: np.sum(np.sin(x) + 1e-300 * np.log(np.cos(x)))) if takes_cosines else (lambda x: np.sum(np.sin(x) * 2.0) * 0.5)
    plan = make_plan(build(f, x=F64[x.shape]), [Ask(Gradient(("x",)), {}), Ask(ValueAndGradient(("x",)), {})], Budget())
    blocks, _ = run_once(plan, {"x": x}, never)
    gradient = blocks[0].array
    if takes_cosines:
        np.testing.assert_allclose(gradient, np.cos(x) - 1e-300 * np.tan(x), rtol=1e-15)
    else:
        assert np.abs(gradient - np.cos(x)).max() <= 2.3e-16
