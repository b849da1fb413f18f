"""check: whether a derivative is right, told from values of the function alone.

    scout      one wide ladder along the first direction: noise and step (differences.py)
    window     a few values along every direction at that step, against what the subject claims (trial.py)
    search     if a probe fails: log2(n) rounds that halve it down to the entries at fault
    telling    what the finding means: outcome, doubt, slip, blame (findings.py, report.py)

Every round is one plan over rows. The step is chosen before the subject is heard. No tolerance is
ever loosened, and none knows how many entries there are: what cannot be told is said so. A second derivative is
checked in two stages, the gradient against values and then its derivative against differences of the gradient: what
is trusted in the second was found right in the first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..errors import GraphError
from ..execute.executor import Executor, Stop
from ..execute.hot import Steady
from ..graph import Graph
from ..plan.make import Budget
from ..query import Check, Hessian, Hvp, Jacobian
from ..transforms import derive
from ..transforms.derive import require_scalar
from ..transforms.rewrite import positions
from .blame import blame
from .continuation import continued
from .differences import Step, choose, ladder
from .findings import finding
from .locate import largest_of
from .measure import Differences, Measure, complex_step
from .probe import Bench, Lines, Probe, is_scalar, lines
from .report import Evidence, not_finite, told
from .rounds import DIRECTIONS, FEW, directions, entries, epsilon_of
from .schemes import SCHEMES, Scheme
from .subject import Matrix, Product, Products, Subject, floating_entries, given_gradient, own_gradient, own_matrix, run_seeds
from .taylor import judged_by, series
from .trial import Trial
from .verdict import Outcome, Taylor, Verdict

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class _Job:
    """A check and what it runs with."""

    query: Check
    executor: Executor
    stop: Stop
    budget: Budget

    def bench(self, drawn: Lines, point: Mapping[str, Array]) -> Bench:
        return Bench(drawn, point, self.executor, self.stop, self.budget, self.query.block)


def check(graph: Graph, values: Mapping[str, Array], query: Check, given: Mapping[str, Array], executor: Executor, stop: Stop, budget: Budget) -> Verdict:
    """The verdict on the query's subject at `values`; for "given" on the gradient `given` (wrt input -> array)."""
    if not entries(graph, query.wrt):
        return Verdict(Outcome.RIGHT, "there is no entry to check", (), 0, 0.0, 0.0, 0.0, query.seed, 0, query.subject, query.judge)
    # A verdict must not depend on how often the function was asked before: it stays with the tier of its plans.
    job = _Job(query, Steady(executor), stop, budget)
    verdict = _second(graph, values, job) if query.subject in ("hvp", "hessian") else _first(graph, values, given, job)
    if query.blame and verdict.outcome is Outcome.WRONG and query.subject != "given":
        blamed, examined = blame(graph, values, query, lambda alone, at, asked: check(alone, at, asked, {}, executor, stop, budget))
        verdict = replace(verdict, blamed=blamed, examined=examined)
    return verdict


def require_judge(graph: Graph, query: Check) -> None:
    """Raises GraphError where the judge cannot judge this graph: found before any work, from the graph alone."""
    if query.judge != "complex_step":
        return
    if query.subject in ("hvp", "hessian"):
        graph = derive.gradient(graph, positions(graph, query.wrt))
    if epsilon_of(graph) > np.finfo(np.float64).eps:
        raise GraphError(
            "the complex step judges graphs in float64", reason="DTYPE", got="float32", allowed="float64", hint="choose another judge, or cast the inputs"
        )
    continued(graph, query.wrt)


def _first(graph: Graph, values: Mapping[str, Array], given: Mapping[str, Array], job: _Job) -> Verdict:
    """A first derivative, of a graph whose values are trusted."""

    def subject(bench: Bench) -> Subject:
        match job.query.subject:
            case "given":
                return given_gradient(bench.lines, given)
            case "jacobian":
                kept, wrt = floating_entries(graph), job.query.wrt
                forward, reverse = own_matrix(bench, graph, Jacobian(wrt, "forward")), own_matrix(bench, graph, Jacobian(wrt, "reverse"))
                return Matrix(bench, forward[kept], reverse[kept], 2)
            case "own" if is_scalar(graph):
                return Product(bench, "own", own_gradient(bench))
        return Product(bench, job.query.subject)

    drawn = lines(graph, job.query.wrt, job.query.seed, directions(graph, job.query))
    return _judged(job.bench(drawn, values), subject, job)


def _second(graph: Graph, values: Mapping[str, Array], job: _Job) -> Verdict:
    """A second derivative: its own check is that of the gradient's derivative, if the gradient is right."""
    query = job.query
    require_scalar(graph, "a check of second derivatives")
    below = _first(graph, values, {}, replace(job, query=replace(query, subject="own", coordinates=False)))
    if not below.right:
        return replace(below, subject=query.subject, why=f"of the gradient, before its derivative: {below.why}")
    slopes = derive.gradient(graph, positions(graph, query.wrt))

    def subject(bench: Bench) -> Subject:
        if query.subject == "hvp":
            return Products(bench, graph)
        matrix = own_matrix(bench, graph, Hessian(query.wrt))
        return Matrix(bench, matrix, matrix.T)

    drawn = lines(slopes, query.wrt, query.seed, max(query.directions, DIRECTIONS))
    verdict = _judged(job.bench(drawn, values), subject, job)
    third, more = _cubed(job.bench(lines(graph, query.wrt, query.seed, 1), values))
    return replace(verdict, evaluations=below.evaluations + verdict.evaluations + more, taylor=below.taylor + verdict.taylor + third)


def _cubed(bench: Bench) -> tuple[tuple[Taylor, ...], int]:
    """The remainders of the scalar graph along direction 0 with our second-order term subtracted too, and evaluations."""
    drawn, epsilon = bench.lines, epsilon_of(bench.lines.graph)
    steps = ladder(np.concatenate([bench.point[name].reshape(-1) for name in drawn.wrt]), epsilon)
    probe = drawn.whole(0)
    values = bench.along([probe], steps.offsets)[0]
    step = choose(steps, values)
    if step is None:
        return (), bench.evaluations
    direction = drawn.directions[:1]
    slope = own_gradient(bench).claims([probe]).value[0]
    curved = run_seeds(bench, drawn.graph, Hvp(drawn.wrt, True), drawn.wrt, drawn.types, direction)[0] @ direction[0]
    return (series(steps, values, float(slope), step.noise, 0, float(curved)),), bench.evaluations + 2


def _judged(bench: Bench, subject_of: Callable[[Bench], Subject], job: _Job) -> Verdict:
    """Scout and window, then search and telling."""
    seen = evidence(bench, subject_of, job.query)
    return seen if isinstance(seen, Verdict) else told(seen, finding(seen.trial, seen.judged, job.query))


def evidence(bench: Bench, subject_of: Callable[[Bench], Subject], query: Check) -> Evidence | Verdict:
    """Scout and window: all that decides the outcome. A verdict at once where the function is not finite.

    `subject_of` makes the subject, once the step is chosen.
    """
    drawn = bench.lines
    graph, epsilon, scheme = drawn.graph, epsilon_of(drawn.graph), SCHEMES[query.judge]
    analytic = continued(graph, query.wrt) if query.judge == "complex_step" else None
    whole = [drawn.whole(k) for k in range(len(drawn.directions))]

    steps = ladder(np.concatenate([bench.point[name].reshape(-1) for name in query.wrt]), epsilon)
    scouted = bench.along(whole[:1], steps.offsets)[0]
    step = choose(steps, scouted, scheme)
    if step is None:
        at = int(np.argmin(np.isfinite(scouted)))
        return not_finite(bench, query, 0, whole[0], float(steps.offsets[at]))
    probes = whole
    if query.coordinates or drawn.directions.shape[1] <= FEW:
        probes = whole + _alone(bench, step, scheme, epsilon)

    subject: Subject = subject_of(bench)
    here = float(scouted[0]) if is_scalar(graph) else None
    while True:
        differences = Differences(bench, scheme, step, epsilon, here)
        measure: Measure = differences if analytic is None else complex_step(differences, analytic, steps.spacing)
        trial = Trial(measure, subject, epsilon)
        table = trial.values(probes)
        if np.isfinite(table).all():
            break
        # Along another direction the domain ends sooner: a smaller step, as far as the ladder goes.
        k, at = np.argwhere(~np.isfinite(table))[0]
        offset = float(measure.offsets[at])
        if offset == 0 or step.step <= steps.rungs[0]:
            return not_finite(bench, query, subject.evaluations, probes[k], offset)
        step = replace(step, step=step.step / steps.ratio)
    trial, judged = trial.settled(trial.judge(probes, table), steps.ratio, float(steps.rungs[0]))

    tests = [series(steps, scouted, float(judged.claims.value[0]), step.noise, 0)]
    if query.judge == "taylor":
        tests += _remainders(bench, whole, steps.offsets, judged.claims.value, lambda k, table, claim: series(steps, table, claim, step.noise, k))
        judged = judged_by(tests, judged)
    return Evidence(trial, judged, query, step, tuple(tests))


def _alone(bench: Bench, step: Step, scheme: Scheme, epsilon: float) -> list[Probe]:
    """Every entry by itself, with a step of its own, chosen as that of the directions is: by a ladder relative to its size.

    Where the ladder leaves the domain at once the entry keeps the step of all.
    """
    probes, unit = bench.lines.coordinates(bench.point), ladder(np.ones(1), epsilon)
    # Values that cancel lie on plateaus, where an entry's own table may see no noise at all.
    cancels = not step.explained and largest_of(bench, bench.lines.whole(0), step.noise, epsilon) is not None
    least = step.noise if cancels else 0.0
    found = []
    for probe, values in zip(probes, bench.along(probes, unit.offsets), strict=True):
        own = choose(unit, values, scheme)
        found.append(replace(probe, scale=1.0) if own is None else replace(probe, scale=probe.scale * own.step / step.step, noise=max(own.noise, least)))
    return found


def _remainders(bench: Bench, whole: Sequence[Probe], offsets: Array, claims: Array, made: Any) -> list[Taylor]:
    """The remainders of every direction but the first, which the scout has seen."""
    tables = bench.along(whole[1:], offsets)
    return [made(k, table, float(claims[k])) for k, table in enumerate(tables, start=1)]
