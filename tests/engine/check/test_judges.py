"""Judges, subjects and what a verdict tells: orders against closed forms, doubts with their node, slips, blame."""

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest

from backsweep_engine.check.differences import Step, estimate
from backsweep_engine.check.schemes import SCHEMES, weights
from backsweep_engine.check.verdict import Doubt, Outcome, Slip
from backsweep_engine.ops.op import TABLE, Partials, Transposes
from backsweep_engine.query import Judge
from support.checking import graph_of, verdict_of

JUDGES = get_args(Judge)
DIFFERENCES = [j for j in JUDGES if j not in ("complex_step", "taylor")]
EPSILON = 2.0**-52


def wavy(x):
    return np.sum(np.sin(x) * np.exp(0.3 * x))


def wavy_gradient(x):
    return (np.cos(x) + 0.3 * np.sin(x)) * np.exp(0.3 * x)


def point(seed, n=30):
    return np.random.default_rng(seed).normal(size=n)


# Schemes.


@pytest.mark.parametrize("judge, order", [("central2", 2), ("central4", 4), ("central6", 6)])
def test_an_order_is_exact_for_polynomials_up_to_it_and_errs_as_that_power_of_the_step(judge, order):
    """Of x^(order + 1) at 0 the derivative is 0 and the estimate c h^order."""
    scheme = SCHEMES[judge]
    found = []
    for h in (2.0**-4, 2.0**-5):
        at = scheme.offsets * h
        assert estimate(np.zeros(1), (at ** (order - 1))[None], Step(h, 0.0, True), 0.0, scheme).derivative[0] == pytest.approx(float(order == 2), abs=1e-15)
        found.append(estimate(np.zeros(1), (at ** (order + 1))[None], Step(h, 0.0, True), 0.0, scheme))
    assert found[0].derivative[0] / found[1].derivative[0] == pytest.approx(2**order, rel=1e-9)
    assert all(abs(e.derivative[0]) < e.truncation[0] for e in found)


def test_rounding_weights_are_the_absolute_sums_of_the_stencils():
    """Order 2: 1; order 4: (8 + 8 + 1 + 1) / 12; order 6 on 1, 2, 4: (64 / 1 + 20 / 2 + 1 / 4) / 45."""
    assert weights(4)[:3] == pytest.approx([1.0, 1.5, (64 + 10 + 0.25) / 45])


@pytest.mark.parametrize("judge", DIFFERENCES)
@pytest.mark.parametrize("seed", range(10))
def test_the_bounds_of_every_scheme_hold(judge, seed):
    x = point(seed)
    verdict = verdict_of(wavy, {"x": x}, {"x": wavy_gradient(x)}, seed=seed, judge=judge)
    assert verdict.right, verdict
    for tried in verdict.tried:
        assert abs(tried.expected - tried.got) <= tried.bound
    assert verdict.judge == judge


@pytest.mark.parametrize("judge", JUDGES)
@pytest.mark.parametrize("seed", range(5))
def test_every_judge_passes_what_is_right_and_names_what_is_not(judge, seed):
    x = point(seed)
    g = wavy_gradient(x)
    assert verdict_of(wavy, {"x": x}, {"x": g}, seed=seed, judge=judge).right
    assert verdict_of(wavy, {"x": x}, seed=seed, judge=judge).right
    g[seed] += 1e-3
    verdict = verdict_of(wavy, {"x": x}, {"x": g}, seed=seed, judge=judge)
    assert verdict.outcome is Outcome.WRONG
    assert [e.index for e in verdict.worst] == [(seed,)]


def test_higher_orders_take_larger_steps_and_err_less_where_rounding_rules():
    x = point(0, 5)
    f = lambda x: np.sum(np.sin(x)) + 100
    bounds = [verdict_of(f, {"x": x}, judge=j).roundoff_bound for j in ("central2", "central4", "central6")]
    assert bounds[0] > 10 * bounds[1]
    assert bounds[1] >= bounds[2]


# Taylor.


@pytest.mark.parametrize("factor, order", [(1.0, 2.0), (1.01, 1.0), (0.0, 1.0)])
def test_remainders_fall_as_the_step_squared_only_if_the_gradient_is_right(factor, order):
    x = point(1)
    verdict = verdict_of(wavy, {"x": x}, {"x": factor * wavy_gradient(x)}, judge="taylor")
    assert verdict.right is (factor == 1)
    assert len(verdict.taylor) == 4
    assert all(t.order == pytest.approx(order, abs=0.05) and t.expected == 2 for t in verdict.taylor)
    t = verdict.taylor[0]
    assert len(t.steps) == len(t.remainders) == len(t.roundoff_bounds)


def test_of_a_linear_function_no_remainder_exceeds_its_bound_and_it_is_right():
    x = point(2)
    verdict = verdict_of(lambda x: np.sum(0.37 * x), {"x": x}, {"x": np.full(30, 0.37)}, judge="taylor")
    assert verdict.right
    assert all(t.fitted == 0 and t.order == 0 for t in verdict.taylor)


def test_an_error_of_three_times_what_taylor_excludes_is_found_by_it():
    for seed in range(10):
        x = point(seed)
        g = wavy_gradient(x)
        excluded = verdict_of(wavy, {"x": x}, {"x": g}, judge="taylor", seed=seed).smallest_excluded_error
        g[3] += 3 * excluded
        assert verdict_of(wavy, {"x": x}, {"x": g}, judge="taylor", seed=seed).outcome is Outcome.WRONG


def test_the_curve_has_its_least_error_near_the_step_chosen():
    x = point(3)
    curve = verdict_of(wavy, {"x": x}, {"x": wavy_gradient(x)}).curve
    assert len(curve.steps) == len(curve.errors) == len(curve.truncation_bounds) == len(curve.roundoff_bounds) >= 6
    assert list(curve.steps) == sorted(curve.steps)
    assert all(e <= t + r for e, t, r in zip(curve.errors, curve.truncation_bounds, curve.roundoff_bounds, strict=True))
    assert 1 / 64 <= curve.step / curve.steps[int(np.argmin(curve.errors))] <= 64


# Subjects.


SUBJECTS = {"own": {"forward", "reverse"}, "jvp": {"forward"}, "vjp": {"reverse"}, "jacobian": {"forward", "reverse"}}


@pytest.mark.parametrize("subject", [*SUBJECTS, "hvp", "hessian"])
@pytest.mark.parametrize("seed", range(3))
def test_every_derivative_of_ours_is_checked(subject, seed):
    verdict = verdict_of(wavy, {"x": point(seed)}, subject=subject, seed=seed)
    assert verdict.right, verdict
    assert verdict.subject == subject
    modes = [t.mode for t in verdict.tried]
    assert set(modes) == SUBJECTS.get(subject, {"forward", "reverse"})
    assert len(modes) == 4
    if len(set(modes)) == 2:
        assert modes.count("forward") == modes.count("reverse") == 2


@pytest.mark.parametrize("subject", SUBJECTS)
def test_derivatives_of_a_vector_function(subject):
    given = {"x": np.random.default_rng(0).normal(size=(3, 2)), "w": np.random.default_rng(1).normal(size=2)}
    f = lambda x, w: {"y": np.tanh(x @ w), "n": (w > 0).astype(np.int64), "s": np.sum(np.exp(w))}
    assert verdict_of(f, given, wrt=("w", "x"), subject=subject).right


def wrong_tanh(monkeypatch, rule):
    monkeypatch.setitem(TABLE, "tanh", replace(TABLE["tanh"], derivative=Partials(rule)))


@pytest.mark.parametrize("subject", ["own", "jvp", "vjp", "jacobian", "hvp", "hessian"])
def test_a_wrong_rule_is_found_by_every_subject_and_blamed(monkeypatch, subject):
    wrong_tanh(monkeypatch, lambda y, x: (1.01 * (1 - y * y),))
    graph = graph_of(lambda x, s=subject: np.sum(np.sin(np.tanh(x * x)) * x), {"x": point(0)})
    verdict = verdict_of(graph, {"x": point(0)}, subject=subject, blame=True)
    assert verdict.outcome is Outcome.WRONG
    assert {b.place.op for b in verdict.blamed} == {"tanh"}
    assert graph.nodes[verdict.blamed[0].place.node].op == "tanh"
    assert verdict.blamed[0].entry.ratio == pytest.approx(1.01)
    assert verdict.examined >= 4


@pytest.mark.parametrize("subject", ["hvp", "hessian"])
def test_with_the_second_order_subtracted_remainders_fall_as_the_cube(subject):
    verdict = verdict_of(wavy, {"x": point(5)}, subject=subject)
    first, second, third = verdict.taylor
    assert (first.expected, second.expected, third.expected) == (2, 2, 3)
    assert third.order == pytest.approx(3, abs=0.1)
    assert third.fitted >= 2


def test_a_rule_wrong_only_in_the_second_derivative_is_found_there(monkeypatch):
    """d tanh = (1 - y stop(y)): right once, wrong twice."""
    from backsweep_engine.ops.build import call

    wrong_tanh(monkeypatch, lambda y, x: (1 - y * call("stop_gradient", y),))
    f = lambda x: np.sum(np.tanh(x) * 1.5)
    assert verdict_of(f, {"x": point(0)}).right
    for subject in ("hvp", "hessian"):
        verdict = verdict_of(f, {"x": point(0)}, subject=subject)
        assert verdict.outcome is Outcome.WRONG
        assert verdict.worst[0].output


def test_forward_and_reverse_that_disagree_are_told_apart(monkeypatch):
    """A transpose rule with a slip: forward mode stays right."""
    rule = TABLE["negative"].derivative
    monkeypatch.setitem(TABLE, "negative", replace(TABLE["negative"], derivative=Transposes(lambda i, c, x: c, rule.operands, rule.jointly)))
    f = lambda x: np.sum(np.sin(-x) * 1.25)
    x = {"x": point(0)}
    assert verdict_of(f, x, subject="jvp").right
    assert verdict_of(f, x, subject="vjp").outcome is Outcome.WRONG
    assert verdict_of(f, x).outcome is Outcome.WRONG


def test_a_stopped_gradient_is_wrong_and_blamed():
    from backsweep_engine.ops.build import call

    verdict = verdict_of(lambda x: np.sum(np.exp(call("stop_gradient", x)) * x), {"x": point(0)}, blame=True)
    assert verdict.outcome is Outcome.WRONG
    assert [b.place.op for b in verdict.blamed] == ["stop_gradient"]


# Coordinates.


def test_coordinates_are_tried_one_by_one_when_asked():
    x = point(4, 12)
    verdict = verdict_of(wavy, {"x": x}, {"x": wavy_gradient(x)}, coordinates=True)
    assert verdict.right
    assert [t.coordinate for t in verdict.tried] == [-1] * 4 + list(range(12))
    wrong = wavy_gradient(x) * np.where(np.arange(12) % 5 == 0, 1.5, 1)
    verdict = verdict_of(wavy, {"x": x}, {"x": wrong}, coordinates=True)
    assert sorted(e.index for e in verdict.worst) == [(0,), (5,), (10,)]


def test_a_coordinate_has_a_step_of_its_own_size():
    """x_0 = 1e-5 beside 1: log changes over 1e-5 there."""
    x = np.array([1e-5, 1.0, 2.0, 3.0])
    f = lambda x: np.sum(np.log(x))
    for given, outcome in ((1 / x, Outcome.RIGHT), (1 / x * np.array([1, 1, 1.001, 1]), Outcome.WRONG)):
        verdict = verdict_of(f, {"x": x}, {"x": given}, coordinates=True)
        assert verdict.outcome is outcome
        first = next(t for t in verdict.tried if t.coordinate == 0)
        assert first.bound < 1e-3 * abs(first.expected)


# Doubts.


KINKS = {
    "abs": (lambda x: np.sum(abs(x)), "abs", "between"),
    "maximum": (lambda x: np.sum(np.maximum(x, 2 * x)), "maximum", "between"),
    "where": (lambda x: np.sum(np.where(x > 0, 3 * x, x)), "where", "left"),
    "where, the other side": (lambda x: np.sum(np.where(x >= 0, 3 * x, x)), "where", "right"),
}


@pytest.mark.parametrize("name", KINKS)
def test_at_a_kink_the_op_and_the_side_are_named(name):
    f, op, side = KINKS[name]
    graph = graph_of(f, {"x": np.array([0.7, 0.0])})
    seeds = range(4)
    verdicts = [verdict_of(graph, {"x": np.array([0.7, 0.0])}, seed=seed) for seed in seeds]
    for verdict in verdicts:
        assert verdict.outcome is Outcome.CANNOT_TELL
        assert verdict.doubt is Doubt.KINK
        assert verdict.place.op == op
        assert graph.nodes[verdict.place.node].op == op
    # Which side of the line that is depends on the sign of the direction.
    assert {v.side for v in verdicts} <= ({"between"} if side == "between" else {"left", "right"})


def test_cancellation_names_the_node_whose_rounding_it_is_lost_in():
    verdict = verdict_of(lambda x: 1e8 + 1e-12 * np.sum(np.sin(x)), {"x": np.array([0.1, 0.2])})
    assert verdict.doubt is Doubt.CANCELLATION
    assert verdict.place.op == "add"


def test_values_that_scatter_are_noise():
    """A swing of 0.01 within every step is no function to the check, and no node is to blame."""
    x = np.random.default_rng(0).normal(size=5)
    verdict = verdict_of(lambda x: np.sum(np.sin(x)) + 0.01 * np.sum(np.sin(1e6 * np.sin(1e7 * x))), {"x": x}, {"x": np.cos(x)})
    assert verdict.outcome is Outcome.CANNOT_TELL
    assert verdict.doubt is Doubt.NOISE


def test_a_value_that_is_not_finite_has_its_node():
    graph = graph_of(lambda x: np.sum(np.exp(x) + np.log(x)), {"x": np.array([1.0, -1.0])})
    verdict = verdict_of(graph, {"x": np.array([1.0, -1.0])})
    assert verdict.doubt is Doubt.NON_FINITE
    assert graph.nodes[verdict.place.node].op == "log"


def test_a_jump_is_not_resolved():
    assert verdict_of(lambda x: np.sum(np.sign(x)), {"x": np.array([0.0])}).doubt is Doubt.UNRESOLVED


@pytest.mark.parametrize("f, gradient", [(lambda x: np.sum(np.log(x * x)), lambda x: 2 / x), (lambda x: np.sum(1 / (x * x)), lambda x: -2 / x**3)])
def test_a_pole_nearer_than_every_step_is_not_blamed_on_the_gradient(f, gradient):
    """Even about 0, so that central differences see nothing of it."""
    x = np.array([0.3, 1e-9, 1e9, -0.7, 2.0])
    assert verdict_of(f, {"x": x}, {"x": gradient(x)}).outcome is Outcome.CANNOT_TELL


def test_a_pole_that_large_steps_bridge_is_not_blamed_on_the_gradient():
    """Among 100,000 poles one at 5e-8: found by the catalogue. At large steps the sum is smooth, with another derivative."""
    x = np.random.default_rng(0).normal(size=100_000)
    x[7] = 4.7e-8
    f = lambda x: np.sum(np.log(x * x))
    for seed in range(3):
        assert verdict_of(f, {"x": x}, {"x": 2 / x}, seed=seed).outcome is not Outcome.WRONG


@pytest.mark.parametrize("seed", range(5))
def test_noise_that_is_everywhere_does_not_hide_an_error(seed):
    """(sin x + 1e10) - 1e10, and a ripple of 1e-6 as a solver's tolerance leaves it."""
    x = np.random.default_rng(seed).normal(size=20)
    for f in (lambda x: (np.sum(np.sin(x)) + 1e10) - 1e10, lambda x: np.sum(np.sin(x)) + 1e-6 * np.sin(1e6 * np.sum(np.sin(1e6 * x)))):
        assert verdict_of(f, {"x": x}, {"x": 1.5 * np.cos(x)}, seed=seed).outcome is Outcome.WRONG


# Slips.


def matrix_case():
    a, b, m = np.array([1.0, 2.0, 5.0, 7.0]), np.array([0.5, 1.0, 2.0, 3.0]), np.random.default_rng(1).normal(size=(4, 4))
    return {"a": a, "b": b, "m": m}, {"a": m @ b, "b": m.T @ a, "m": np.outer(a, b)}


SLIPS = {
    "sign": (lambda g: {**g, "b": -g["b"]}, Slip.SIGN),
    "doubled": (lambda g: {n: 2 * v for n, v in g.items()}, Slip.FACTOR),
    "a mean for a sum": (lambda g: {n: v / 24 for n, v in g.items()}, Slip.FACTOR),
    "scaled": (lambda g: {n: 1.37 * v for n, v in g.items()}, Slip.SCALED),
    "transposed": (lambda g: {**g, "m": g["m"].T}, Slip.TRANSPOSED),
    "swapped inputs": (lambda g: {**g, "a": g["b"], "b": g["a"]}, Slip.SWAPPED),
    "zero": (lambda g: {**g, "a": 0 * g["a"]}, Slip.MISSING_TERM),
    "a term missing": (lambda g: {**g, "m": g["m"] - np.arange(16.0).reshape(4, 4)}, Slip.MISSING_TERM),
}


@pytest.mark.parametrize("name", SLIPS)
def test_the_likely_slip_is_told(name):
    given, right = matrix_case()
    slip, expected = SLIPS[name]
    for seed in range(5):
        verdict = verdict_of(lambda a, b, m: a @ (m @ b), given, slip(right), wrt=("a", "b", "m"), seed=seed)
        assert verdict.outcome is Outcome.WRONG
        assert verdict.slip is expected, verdict
        assert "likely slip" in str(verdict)


def test_a_right_verdict_states_its_directions_and_what_it_excludes():
    verdict = verdict_of(wavy, {"x": point(0)}, seed=17)
    assert f"above {verdict.smallest_excluded_error:.2g} would have been found (seed 17, directions 0 to 3)" in verdict.why
