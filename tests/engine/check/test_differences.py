"""Schemes, steps and bounds against closed forms, mpmath and planted noise."""

import mpmath
import numpy as np
import pytest

from backsweep_engine.check.differences import Step, choose, estimate, ladder, noise_deviation
from backsweep_engine.check.schemes import CENTRAL

EPSILON = 2.0**-52
WINDOW = CENTRAL.offsets


def table(f, x, offsets):
    return np.array([float(f(x + a)) for a in offsets])


def along(f, x, step):
    """Estimates of f' at x from a window at a stated step, noise of two roundings."""
    here = float(f(x))
    return estimate(np.array([here]), table(f, x, WINDOW * step)[None], Step(step, 2 * EPSILON * abs(here), True), EPSILON)


def scouted(f, x, epsilon=EPSILON):
    steps = ladder(np.array([x]), epsilon)
    return steps, choose(steps, table(f, x, steps.offsets))


@pytest.mark.parametrize("degree", [1, 2, 3, 4])
def test_the_scheme_is_exact_for_polynomials_up_to_degree_four(degree):
    e = along(lambda x: x**degree, 1.5, 2.0**-6)
    assert abs(e.derivative[0] - degree * 1.5 ** (degree - 1)) <= e.roundoff[0]
    assert e.truncation[0] <= 2 * e.roundoff[0]


def test_the_truncation_bound_is_fifteen_times_the_error_of_a_quintic():
    # f = x^5 at 0: D(h) = -4 h^4, f' = 0.
    h = 2.0**-3
    e = along(lambda x: x**5, 0.0, h)
    assert e.derivative[0] == -4 * h**4
    assert e.truncation[0] == 60 * h**4


@pytest.mark.parametrize("name", ["exp", "sin", "tanh", "log", "sqrt", "atan"])
@pytest.mark.parametrize("power", range(-24, -2, 3))
def test_the_bounds_hold_at_every_step(name, power):
    """Against derivatives to 50 digits; values are the correctly rounded ones."""
    x = 1.3125
    with mpmath.workdps(50):
        f = getattr(mpmath, name)
        exact = float(mpmath.diff(f, mpmath.mpf(x)))
        e = along(lambda t: f(mpmath.mpf(float(t))), x, 2.0**power)
    assert abs(e.derivative[0] - exact) <= e.truncation[0] + e.roundoff[0]
    assert not e.kinked[0]
    assert e.converging[0]


@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0, 1e4])
def test_the_chosen_step_is_near_the_best_there_is(scale):
    """The best bound any single step gives is beaten by no more than 100 (the window is one of a coarse ladder)."""
    f = lambda x: np.sin(scale * x) + 2
    x = 0.7
    steps, step = scouted(f, x)
    bounds = [float((e.truncation + e.roundoff)[0]) for e in (along(f, x, h) for h in 2.0 ** np.arange(-30.0, -3.0))]
    here = float(f(x))
    e = estimate(np.array([here]), table(f, x, WINDOW * step.step)[None], step, EPSILON)
    assert abs(e.derivative[0] - scale * np.cos(scale * x)) <= e.truncation[0] + e.roundoff[0]
    assert e.truncation[0] + e.roundoff[0] <= 100 * min(bounds)
    assert step.step in steps.rungs


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("deviation", [1e-12, 1e-6])
def test_planted_noise_is_found_within_a_factor_of_four(seed, deviation):
    r = np.random.default_rng(seed)
    values = np.exp(1e-3 * np.arange(-4, 5)) + deviation * r.standard_normal(9)
    assert deviation / 4 <= noise_deviation(values) <= 4 * deviation


@pytest.mark.parametrize("offset", [1e6, 1e10, 1e12])
def test_values_on_plateaus_count_as_noisy_not_as_flat(offset):
    """(x + big) - big changes in stairs: at small steps not at all."""
    f = lambda x: (np.sin(x) + offset) - offset
    _, step = scouted(f, 0.3)
    here = float(f(0.3))
    e = estimate(np.array([here]), table(f, 0.3, WINDOW * step.step)[None], step, EPSILON)
    assert abs(e.derivative[0] - np.cos(0.3)) <= e.truncation[0] + e.roundoff[0] < 0.1


@pytest.mark.parametrize("slope", [1.0, 1e-6])
def test_a_kink_shows_in_the_one_sided_derivatives(slope):
    e = along(lambda x: np.sin(x) + slope * abs(x - 0.5), 0.5, 2.0**-10)
    assert e.kinked[0]
    assert e.jump[0] == pytest.approx(2 * slope, rel=1e-3)


def test_a_jump_does_not_settle():
    e = along(lambda x: float(np.sign(x)), 0.0, 2.0**-10)
    assert not e.converging[0]


def test_a_step_larger_than_the_function_allows_is_not_believed():
    """sin(1e5 x) aliases at large steps, where rounding would be least."""
    _, step = scouted(lambda x: np.sin(1e5 * x), 0.3)
    assert step.step < 1e-5


def test_a_swing_within_the_smallest_step_is_not_resolved():
    _, step = scouted(lambda x: np.sin(1e9 * x), 0.3)
    assert not step.resolved


@pytest.mark.parametrize(
    "point, rungs",
    [([1.0], 10), ([0.0], 10), ([-3.0, 0.5], 10), ([0.01], 10), ([], 10), ([1e-8], 12), ([1e8], 11), ([1e8, 1.0, 1e-3], 11)],
)
def test_the_ladder_fits_the_scale_of_the_point(point, rungs):
    steps = ladder(np.array(point), EPSILON)
    assert steps.rungs.size == rungs
    assert steps.spacing in steps.rungs
    assert set(np.log2(steps.rungs) % 1) == {0.0}
    assert steps.offsets.size == 2 * rungs + 7 == np.unique(steps.offsets).size
    if point and max(point) > 1e-6:
        assert steps.rungs[0] >= 2.0**-42 * max(map(abs, point))


def test_a_domain_that_ends_beside_the_point_keeps_steps_inside():
    _, step = scouted(lambda x: np.log(x) if x > 0 else np.nan, 1e-4)
    assert 4 * step.step < 1e-4
    steps = ladder(np.zeros(1), EPSILON)
    with np.errstate(invalid="ignore"):
        assert choose(steps, np.sqrt(steps.offsets)) is None
