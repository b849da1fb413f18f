"""Verdicts over a catalogue: planted faults are caught and named, sound gradients pass, the rest is not told.

The judges are gradients written by hand beside each function; nothing here comes from our own derivatives
unless it is the subject.
"""

from dataclasses import replace

import numpy as np
import pytest

from backsweep_engine.check.check import check
from backsweep_engine.check.rounds import plan_check
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.errors import Cancelled, OverBudget
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import DTYPES
from backsweep_engine.ops.op import TABLE, Partials
from backsweep_engine.plan.make import Budget
from backsweep_engine.query import Check
from support.checking import Shuffled, graph_of, verdict_of

F4 = DTYPES["float32"]


def wavy(x):
    return np.sum(np.sin(x) * np.exp(0.3 * x))


def wavy_gradient(x):
    return (np.cos(x) + 0.3 * np.sin(x)) * np.exp(0.3 * x)


def entry(x, i, value):
    changed = x.copy()
    changed[i] = value
    return changed


# Faults: (gradient, size, seed) -> (wrong gradient, entries at fault or None for all).


def swapped(g, n, seed):
    i, j = np.random.default_rng(seed).choice(n, 2, replace=False)
    return entry(entry(g, i, g[j]), j, g[i]), {int(i), int(j)}


def opposite(g, n, seed):
    """+e in one entry and -e in another: what sign probes lose in a quarter of draws."""
    i, j = np.random.default_rng(seed).choice(n, 2, replace=False)
    return entry(entry(g, i, g[i] + 1e-3), j, g[j] - 1e-3), {int(i), int(j)}


def one(change):
    def fault(g, n, seed):
        i = int(np.random.default_rng(seed).integers(n))
        i = i if abs(g[i]) > 0.01 else int(np.argmax(np.abs(g)))
        return entry(g, i, change(g[i])), {i}

    return fault


FAULTS = {
    "every entry x1.01": lambda g, n, s: (g * 1.01, None),
    "9 % too large everywhere": lambda g, n, s: (g * 1.09, None),
    "all zero": lambda g, n, s: (g * 0, None),
    "all negated": lambda g, n, s: (-g, None),
    "a mean for a sum": lambda g, n, s: (g / n, None),
    "one entry + 1e-6": one(lambda v: v + 1e-6),
    "one entry of wrong sign": one(lambda v: -v),
    "one entry zero": one(lambda v: 0.0),
    "one entry doubled": one(lambda v: 2 * v),
    "two entries swapped": swapped,
    "equal and opposite errors": opposite,
    "shifted by one": lambda g, n, s: (np.roll(g, 1), None),
}


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("n", [10, 1000])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_planted_fault_is_caught_and_named(fault, n, seed):
    x = np.random.default_rng(100 + seed).normal(size=n)
    right = wavy_gradient(x)
    given, at = FAULTS[fault](right, n, seed)
    verdict = verdict_of(wavy, {"x": x}, {"x": given}, seed=seed)
    assert verdict.outcome is Outcome.WRONG, verdict
    named = {e.index[0] for e in verdict.worst}
    assert named == at if at else named
    for e in verdict.worst:
        assert e.input == "x"
        assert e.got == pytest.approx(given[e.index], rel=1e-12)
        assert abs(e.expected - right[e.index]) <= e.bound


@pytest.mark.parametrize("fault, seeds", [("one entry + 1e-6", 2), ("every entry x1.01", 1), ("equal and opposite errors", 2)])
def test_faults_among_100000_entries_are_caught_and_named(fault, seeds):
    """A cubic, for speed; more seeds are in the catalogue. A search costs 17 rounds."""
    n = 100_000
    f = lambda x: np.sum(x * x * x)
    for seed in range(seeds):
        x = np.random.default_rng(seed).uniform(-1, 1, n)
        given, at = FAULTS[fault](3 * x * x, n, seed)
        verdict = verdict_of(f, {"x": x}, {"x": given}, seed=seed)
        assert verdict.outcome is Outcome.WRONG, (seed, verdict)
        named = {e.index[0] for e in verdict.worst}
        assert named == at if at else named


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("given", [lambda g: 0 * g, lambda g: 1.01 * g, lambda g: -g], ids=["zero", "x1.01", "negated"])
def test_a_loss_scaled_by_1e_minus_9_is_no_excuse(given, seed):
    x = np.random.default_rng(seed).normal(size=100)
    g = 1e-9 * wavy_gradient(x)
    assert verdict_of(lambda x: 1e-9 * wavy(x), {"x": x}, {"x": given(g)}, seed=seed).outcome is Outcome.WRONG
    assert verdict_of(lambda x: 1e-9 * wavy(x), {"x": x}, {"x": g}, seed=seed).right


@pytest.mark.parametrize("seed", range(10))
def test_slips_of_the_hand_are_caught(seed):
    r = np.random.default_rng(seed)
    point = {"a": r.normal(size=4), "b": r.normal(size=4), "m": r.normal(size=(4, 4))}
    a, b, m = point.values()
    f = lambda a, b, m: a @ (m @ b) + np.sum(np.tanh(2 * a))
    chain = 2 * (1 - np.tanh(2 * a) ** 2)
    right = {"a": m @ b + chain, "b": m.T @ a, "m": np.outer(a, b)}
    slips = {
        "swapped arguments": {**right, "a": right["b"], "b": right["a"]},
        "missing chain factor": {**right, "a": m @ b + chain / 2},
        "missing term": {**right, "a": m @ b},
        "transposed": {**right, "m": right["m"].T},
        "transposed matrix": {**right, "b": m @ a},
    }
    assert verdict_of(f, point, right, wrt=("a", "b", "m"), seed=seed).right
    for name, given in slips.items():
        verdict = verdict_of(f, point, given, wrt=("a", "b", "m"), seed=seed)
        assert verdict.outcome is Outcome.WRONG, name
        for e in verdict.worst:
            assert abs(e.got - right[e.input][e.index]) > e.bound, name


@pytest.mark.parametrize("seed", range(10))
def test_an_error_above_the_excluded_one_is_found(seed):
    """The verdict's promise, at its edge: in the entry where it is least visible."""
    x = np.random.default_rng(seed).normal(size=50)
    g = wavy_gradient(x)
    excluded = verdict_of(wavy, {"x": x}, {"x": g}, seed=seed).smallest_excluded_error
    assert 0 < excluded < 1e-8
    for i in range(0, 50, 7):
        for sign in (1.0, -1.0):
            verdict = verdict_of(wavy, {"x": x}, {"x": entry(g, i, g[i] + 1.001 * sign * excluded)}, seed=seed)
            assert verdict.outcome is Outcome.WRONG


# Sound gradients: function, gradient by hand, point.


def logistic(x, A, y):
    z = A @ x
    return np.mean(np.logaddexp(0, z) - y * z)


def logistic_gradient(x, A, y):
    return A.T @ (1 / (1 + np.exp(-(A @ x))) - y) / len(y)


def with_data(r, n, dtype=np.float64):
    point = {"x": r.normal(size=n), "A": r.normal(size=(n + 3, n)), "y": (r.random(n + 3) < 0.5) * 1.0}
    return {name: x.astype(dtype) for name, x in point.items()}


SOUND = {
    "linear": (lambda x: np.sum(0.37 * x), lambda x: 0.37 + 0 * x, 1.0),
    "quadratic": (lambda x: np.sum(x * x), lambda x: 2 * x, 1.0),
    "cubic": (lambda x: np.sum(x**3), lambda x: 3 * x * x, 1.0),
    "constant": (lambda x: 0 * np.sum(x) + 3.7, lambda x: 0 * x, 1.0),
    "zero": (lambda x: 0 * np.sum(x), lambda x: 0 * x, 1.0),
    "at a minimum": (lambda x: np.sum(x * x) + 1, lambda x: 0 * x, 0.0),
    "wavy": (wavy, wavy_gradient, 1.0),
    "large values": (lambda x: 1e12 * wavy(x), lambda x: 1e12 * wavy_gradient(x), 1.0),
    "tiny values": (lambda x: 1e-12 * wavy(x), lambda x: 1e-12 * wavy_gradient(x), 1.0),
    "large point": (lambda x: np.sum(np.sin(x)), np.cos, 1e6),
    "large point, smooth": (lambda x: np.sum(x * x), lambda x: 2 * x, 1e10),
    "tiny point": (lambda x: np.sum(np.sin(x) + x * x), lambda x: np.cos(x) + 2 * x, 1e-8),
    "tiny point, near a pole": (lambda x: np.sum(np.log(x * x)), lambda x: 2 / x, 1e-8),
    "cancellation in the sum": (lambda x: (np.sum(np.sin(x)) + 1e10) - 1e10, np.cos, 1.0),
    "cancellation in the terms": (lambda x: np.sum((x + 1e4) ** 2 - 1e8 - 2e4 * x), lambda x: 2 * x, 1.0),
    "steep": (lambda x: np.sum(np.exp(20 * x)), lambda x: 20 * np.exp(20 * x), 1.0),
    "fast": (lambda x: np.sum(np.sin(1e4 * x)), lambda x: 1e4 * np.cos(1e4 * x), 1.0),
    "flat": (lambda x: 1 + 1e-9 * np.sum(np.sin(x)), lambda x: 1e-9 * np.cos(x), 1.0),
    "slow": (lambda x: np.sum(np.sin(1e-4 * x)), lambda x: 1e-4 * np.cos(1e-4 * x), 1.0),
    "beside kinks": (lambda x: np.sum(np.abs(x)), np.sign, 1.0),
    "norm": (lambda x: np.sqrt(np.sum(x * x)), lambda x: x / np.linalg.norm(x), 1.0),
}


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("name", SOUND)
def test_no_sound_gradient_is_blamed(name, seed):
    f, gradient, scale = SOUND[name]
    for n in (1, 10, 300):
        x = scale * np.random.default_rng(1000 * n + seed).normal(size=n)
        for given in ({"x": gradient(x)}, None):
            if given or seed % 4 == 0:
                verdict = verdict_of(f, {"x": x}, given, seed=seed)
                assert verdict.right, (n, verdict)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n", [2, 30, 300])
def test_no_sound_gradient_of_a_model_is_blamed(n, dtype):
    for seed in range(20):
        point = with_data(np.random.default_rng(seed), n, dtype)
        g = logistic_gradient(**point)
        for given in ({"x": g}, None):
            if given or seed % 4 == 0:
                assert verdict_of(logistic, point, given, seed=seed).right
        if dtype == np.float64:
            i = seed % n
            verdict = verdict_of(logistic, point, {"x": entry(g, i, g[i] + 1e-6)}, seed=seed)
            assert [e.index for e in verdict.worst] == [(i,)]


SCALED = {c: lambda x, c=c: c * np.sum(np.sin(3 * x)) for c in (1.0, 1e6, 1e-6)}


@pytest.mark.parametrize("seed", range(20))
def test_no_sound_float32_gradient_is_blamed_and_grossly_wrong_ones_are(seed):
    x = np.random.default_rng(seed).normal(size=100).astype(F4)
    for scale, f in SCALED.items():
        g = np.cos(3 * x) * F4.type(3 * scale)
        assert verdict_of(f, {"x": x}, {"x": g}, seed=seed).right
        assert verdict_of(f, {"x": x}, seed=seed).right
        for wrong in (1.09 * g, 0 * g, -g):
            assert verdict_of(f, {"x": x}, {"x": wrong.astype(F4)}, seed=seed).outcome is Outcome.WRONG


def test_nan_in_a_given_gradient_is_wrong_where_the_function_is_differentiable():
    x = np.array([0.1, 0.2, 0.3])
    verdict = verdict_of(wavy, {"x": x}, {"x": entry(wavy_gradient(x), 1, np.nan)})
    assert verdict.outcome is Outcome.WRONG
    assert [e.index for e in verdict.worst] == [(1,)]
    assert abs(verdict.worst[0].expected - wavy_gradient(x)[1]) <= verdict.worst[0].bound
    kink = verdict_of(lambda x: np.sum(np.abs(x)), {"x": np.array([0.0])}, {"x": np.array([np.nan])})
    assert kink.outcome is Outcome.CANNOT_TELL


# Graphs that are not scalar, several inputs, empty ones.


def test_a_graph_that_is_not_scalar_is_checked_forward_and_in_reverse():
    r = np.random.default_rng(0)
    point = {"x": r.normal(size=(3, 2)), "w": r.normal(size=2), "k": np.array([0, 2, 1, 1])}
    f = lambda x, w, k: {"y": np.tanh(x @ w)[k], "s": np.sum(np.exp(w)), "n": k + 1}
    for seed in range(20):
        verdict = verdict_of(f, point, wrt=("w", "x"), seed=seed)
        assert verdict.right
        assert verdict.evaluations <= 60


@pytest.mark.parametrize("scalar", [True, False])
def test_a_wrong_rule_of_ours_is_found(monkeypatch, scalar):
    """The entries of tanh's derivative are 1 % off: J = diag(1 - tanh^2) with w."""
    monkeypatch.setitem(TABLE, "tanh", replace(TABLE["tanh"], derivative=Partials(lambda y, x: (1.01 * (1 - y * y),))))
    x, w = np.array([0.3, -0.2, 0.5]), np.array([1.0, 2.0, 3.0])
    f = (lambda x, w: np.sum(w * np.tanh(x))) if scalar else (lambda x, w: {"a": np.sum(w), "b": w * np.tanh(x)})
    verdict = verdict_of(f, {"x": x, "w": w}, wrt=("w", "x"))
    assert verdict.outcome is Outcome.WRONG
    assert {e.input for e in verdict.worst} == {"x"}
    for e in verdict.worst:
        exact = (w * (1 - np.tanh(x) ** 2))[e.index]
        assert abs(e.expected - exact) <= e.bound
        assert e.got == pytest.approx(1.01 * exact, rel=1e-12)
        assert e.output == ("" if scalar else f"b[{e.index[0]}]")


@pytest.mark.parametrize("n", [30, 100])
def test_a_check_that_passes_costs_at_most_60_evaluations(n):
    for seed in range(10):
        point = with_data(np.random.default_rng(seed), n)
        assert verdict_of(logistic, point, seed=seed).evaluations <= 60
        verdict = verdict_of(lambda x, A, y: np.logaddexp(0, A @ x) - y, point, seed=seed)
        assert verdict.right
        assert verdict.evaluations <= 60


def test_nothing_to_check_is_right():
    assert verdict_of(lambda x: np.sum(x), {"x": np.zeros(0)}).evaluations == 0
    assert verdict_of(lambda x: np.sum(x), {"x": np.zeros(1)}, wrt=()).right
    assert verdict_of(lambda x: x[:0], {"x": np.zeros(3)}).right
    assert verdict_of(lambda x: np.sum(x) + np.sum(np.sin(0 * x)), {"x": np.zeros((2, 0))}).right


def test_an_input_without_entries_beside_one_with_some():
    assert verdict_of(lambda a, x: np.sum(a) + np.sum(x * x), {"a": np.zeros((0, 3)), "x": np.array(2.0)}, wrt=("a", "x")).right


# How it is run.


@pytest.mark.parametrize("given", [None, {"x": np.full(40, 0.1)}])
def test_the_same_verdict_whoever_computes_the_blocks(given):
    """Equal plan, equal bits, in whatever order blocks come; tests/congruence asks it of real lanes."""
    point = with_data(np.random.default_rng(0), 40)
    verdicts = [verdict_of(logistic, point, given, block=3, executor=e) for e in (None, Shuffled(1), Shuffled(2), Shuffled(3))]
    assert all(v == verdicts[0] for v in verdicts[1:])


def test_rounds_are_plans_over_rows_cut_into_blocks():
    executor = Shuffled(2)
    point = with_data(np.random.default_rng(0), 40)
    verdict_of(logistic, point, {"x": np.zeros(40)}, block=5, executor=executor)
    assert all(sweep.width == 5 for plan in executor.plans for sweep in plan.sweeps)
    assert all(plan.sweeps for plan in executor.plans)
    first = plan_check(graph_of(logistic, point), Check(("x",), "given", block=5), Budget())
    assert first.key == executor.plans[0].key


@pytest.mark.parametrize("block", [1, 2, 7, 64])
def test_the_same_finding_under_every_block_size(block):
    point = with_data(np.random.default_rng(0), 40)
    g = logistic_gradient(**point)
    assert verdict_of(logistic, point, {"x": g}, block=block).right
    verdict = verdict_of(logistic, point, {"x": entry(g, 17, g[17] * 1.001)}, block=block)
    assert [e.index for e in verdict.worst] == [(17,)]


def test_more_directions_and_fewer_names():
    x = np.random.default_rng(0).normal(size=20)
    verdict = verdict_of(wavy, {"x": x}, {"x": wavy_gradient(x) * 1.1}, directions=9, max_worst=2)
    assert verdict.directions == 9
    assert len(verdict.worst) == 2
    assert verdict_of(wavy, {"x": x}, directions=0, max_worst=0).directions == 4


def test_it_stops_when_told():
    with pytest.raises(Cancelled):
        verdict_of(wavy, {"x": np.ones(2_000_000)}, stop=lambda: True)


def test_over_budget_is_refused():
    x = np.zeros(100_000)
    plan = plan_check(graph_of(wavy, {"x": x}), Check(("x",)), Budget())
    assert plan.promise.peak_bytes > 100_000 * 8
    with pytest.raises(OverBudget):
        check(graph_of(wavy, {"x": x}), {"x": x}, Check(("x",)), {}, Local(), never, Budget(1_000_000))
