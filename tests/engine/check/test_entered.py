"""The complex step through loops, choices and linear algebra, against derivatives by hand; and the kinks it would not see by itself."""

import numpy as np
import pytest

from backsweep_engine.check.continuation import continued
from backsweep_engine.check.probe import Bench, lines
from backsweep_engine.check.verdict import Outcome
from backsweep_engine.errors import Cancelled, GraphError
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.ops.build import call
from backsweep_engine.plan.make import Budget
from support.checking import graph_of, verdict_of
from support.graphs import cond, scan, while_loop

N = 4
RANDOM = np.random.default_rng(7)
X = RANDOM.uniform(0.2, 0.8, N)
A, B, S = RANDOM.normal(size=(N, N)), RANDOM.normal(size=(N, 2)), RANDOM.normal(size=(N, N))
L = np.tril(RANDOM.normal(size=(N, N))) + 4 * np.eye(N)


def logistic_map(x):
    return np.sum(scan(lambda c: (3.6 * c * (1 - c),), [x], length=9)[0])


def by_logistic_map(x):
    slope = np.ones(N)
    for _ in range(9):
        slope, x = slope * 3.6 * (1 - 2 * x), 3.6 * x * (1 - x)
    return slope


def horner(x):
    """Of the coefficients of x at 0.7: the highest first, and every stage summed too."""
    end, stages = scan(lambda c, a: (0.7 * c + a, c * c), [np.sum(x * 0)], [x], reverse=True)
    return end + np.sum(stages)


def by_horner(x):
    before, slopes, total = 0.0, np.zeros(N), np.zeros(N)
    for k in range(N - 1, -1, -1):
        total += 2 * before * slopes
        before, slopes = 0.7 * before + x[k], 0.7 * slopes + (np.arange(N) == k)
    return total + slopes


def power_above_50(x):
    """The least power of the sum, about 2, above 50: how many trips that takes is told by what moves."""
    _, y = while_loop(lambda c, s: c < 50, lambda c, s: (c * s,), [np.sum(x)], [np.sum(x)], max_trips=60)
    return y


def by_power_above_50(x):
    s = x.sum()
    k = np.ceil(np.log(50) / np.log(s))
    return np.full(N, k * s ** (k - 1))


def chosen(x):
    return np.sum(cond(np.sum(x) > 1.0, lambda v: np.sin(v) * v, np.exp, x))


def of_a_power(x):
    """A scan in a scan, the inner through a checkpoint: x^6."""

    def inner(y, w):
        return scan(lambda c, w: (c * w,), [y], [], [w], length=2)

    return np.sum(scan(lambda c, w: tuple(inner(c, w)), [x * 0 + 1], [], [x], length=3)[0])


def solved(x):
    return np.sum(np.linalg.solve(A + np.outer(x, x), B))


def by_solved(x):
    m = np.linalg.inv(A + np.outer(x, x))
    back = -m.T @ np.ones((N, 2)) @ (m @ B).T
    return (back + back.T) @ x


def triangular(x):
    wide = call("triangular_solve", np.tril(np.reshape(np.outer(x, x) + L, (N, N))), x[:, None], lower=True, transposed=False, unit_diagonal=False)
    return np.sum(wide)


def by_triangular(x):
    m = np.linalg.inv(np.tril(np.outer(x, x) + L))
    back = np.tril(-np.outer(m.T @ np.ones(N), m @ x))
    return (back + back.T) @ x + m.T @ np.ones(N)


MODELS = {
    "scan": (logistic_map, by_logistic_map),
    "scan backwards, with what it stacks": (horner, by_horner),
    "while_loop": (power_above_50, by_power_above_50),
    "cond": (chosen, lambda x: np.cos(x) * x + np.sin(x) if x.sum() > 1 else np.exp(x)),
    "scan in a scan": (of_a_power, lambda x: 6 * x**5),
    "dense solve": (solved, by_solved),
    "triangular solve": (triangular, by_triangular),
    "norm": (lambda x: np.linalg.norm(x - 0.1), lambda x: (x - 0.1) / np.sqrt(np.sum((x - 0.1) ** 2))),
    "norm of order 3": (lambda x: np.linalg.norm(x - 0.5, 3), lambda x: np.sign(x - 0.5) * (x - 0.5) ** 2 / np.sum(abs(x - 0.5) ** 3) ** (2 / 3)),
    "einsum": (lambda x: np.einsum("i,ij,j->", x, S, np.sin(x)), lambda x: S @ np.sin(x) + np.cos(x) * (S.T @ x)),
    "angles": (lambda x: np.sum(np.arctan2(x - 0.5, 0.4 - x)), lambda x: (0.4 - x + x - 0.5) / ((x - 0.5) ** 2 + (0.4 - x) ** 2)),
}


@pytest.mark.parametrize("name", MODELS)
def test_it_judges_through_loops_choices_and_linear_algebra(name):
    f, by_hand = MODELS[name]
    point = {"x": X} if name != "cond" else {"x": X + 0.3}
    gradient = by_hand(point["x"])
    for given in (None, {"x": gradient}):
        verdict = verdict_of(f, point, given, judge="complex_step")
        assert verdict.right, verdict
        assert verdict.truncation_bound == 0
        assert verdict.smallest_excluded_error < 1e-10
        assert verdict.evaluations <= 60
    wrong = gradient + 1e-6 * (np.arange(N) == 2)
    caught = verdict_of(f, point, {"x": wrong}, judge="complex_step")
    assert caught.outcome is Outcome.WRONG
    assert [e.index for e in caught.worst] == [(2,)]


@pytest.mark.parametrize("name", [name for name in MODELS if not name.startswith("norm")])
def test_it_judges_second_derivatives_too(name):
    """The gradient of a loop is a loop over what the first one kept; of a norm it reads whether that is 0, and is refused."""
    verdict = verdict_of(MODELS[name][0], {"x": X + 0.3 * (name == "cond")}, judge="complex_step", subject="hvp")
    assert verdict.right, verdict


@pytest.mark.parametrize("branch", [-2.0, 2.0])
def test_the_branch_taken_is_the_one_the_real_parts_take(branch):
    verdict = verdict_of(chosen, {"x": X + branch}, {"x": MODELS["cond"][1](X + branch)}, judge="complex_step")
    assert verdict.right, verdict


KINKS = {
    "a choice where the branches meet": (lambda x: np.sum(cond(np.sum(x) > 0, lambda v: 2 * v, lambda v: v, x)), np.array([0.5, -0.5])),
    "a norm at 0": (lambda x: np.linalg.norm(x), np.zeros(3)),
    "one trip more from here": (
        lambda x: while_loop(lambda c, i: np.sum(c) > 0, lambda c, i: (c - 1.0,), [np.sum(x)], [np.sum(x) * 0], max_trips=9)[0] * np.sum(x),
        np.array([1.5, -0.5]),
    ),
}


@pytest.mark.parametrize("name", KINKS)
def test_a_kink_that_one_complex_step_does_not_see_is_seen_by_differences(name):
    f, x = KINKS[name]
    verdict = verdict_of(f, {"x": x}, judge="complex_step")
    assert verdict.outcome is Outcome.CANNOT_TELL, verdict
    assert verdict.doubt is verdict_of(f, {"x": x}).doubt


def test_where_nothing_bends_no_differences_are_paid_for():
    smooth, bent = (verdict_of(f, {"x": X + 0.3}, judge="complex_step") for f in (logistic_map, chosen))
    assert bent.evaluations == smooth.evaluations + 6


def test_what_has_no_continuation_is_named_in_a_body_too():
    graph = graph_of(lambda x: np.sum(scan(lambda c: (abs(c),), [x], length=2)[0]), {"x": X})
    with pytest.raises(GraphError, match="no analytic continuation") as caught:
        continued(graph, ("x",))
    assert caught.value.op == "abs"
    assert graph.nodes[caught.value.node].op == "scan"


def test_a_loop_of_complex_steps_stops_when_told():
    graph = graph_of(logistic_map, {"x": X})
    drawn = lines(graph, ("x",), 0, 1)
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        continued(graph, ("x",)).derivative(Bench(drawn, {"x": X}, Local(), lambda: next(asked), Budget(), 0), drawn.whole(0), 0.0)


def test_a_singular_matrix_in_a_branch_not_taken_harms_nothing():
    def f(x):
        return np.sum(np.where(np.array([True] * N), x * x, np.linalg.solve(np.outer(x, x) * 0, x[:, None])[:, 0]))

    graph = graph_of(f, {"x": X})
    drawn = lines(graph, ("x",), 0, 1)
    got = continued(graph, ("x",)).derivative(Bench(drawn, {"x": X}, Local(), never, Budget(), 0), drawn.whole(0), 0.0)
    assert got == pytest.approx(2 * X @ drawn.directions[0], rel=1e-12)


def mean_of_many(w, X):
    z = X @ w
    return np.mean(np.logaddexp(0, z) - 0.7 * z)


@pytest.mark.parametrize("seed", range(12))
def test_what_the_reverse_sweep_rounds_is_no_error_of_the_derivative(seed):
    """A mean of a thousand terms that cancel: forward and reverse add them in other orders, and differ by more than the points of a line show."""
    random = np.random.default_rng(seed)
    rows, columns = [(1000, 30), (20_000, 10), (50, 5)][seed % 3]
    point = {"w": random.normal(size=columns) * (seed % 4) / 2, "X": random.normal(size=(rows, columns))}
    verdict = verdict_of(mean_of_many, point, wrt=("w",), judge="complex_step", seed=seed)
    assert verdict.right, verdict
    assert max(abs(t.expected - t.got) / t.bound for t in verdict.tried) < 0.5
    assert verdict.smallest_excluded_error < 1e-12
