"""check: whether a derivative is right, told from values of the function alone.

    scout      one wide ladder along the first direction: noise and step (differences.py)
    window     six values along every direction at that step, against what the subject claims
    search     if a probe fails: log2(n) rounds that halve it down to the entries at fault (trial.py)

Every round is one plan over rows. What is considered first is part of a verdict's meaning: not finite
at the point; WRONG where an error exceeds its bound and no kink explains it; a kink; estimates that do
not settle; bounds too wide to have shown anything; RIGHT. No tolerance is ever loosened: what
cannot be told is said so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..execute.executor import Executor, Stop
from ..graph import DTYPES, Graph
from ..plan.make import Ask, Budget, make_plan
from ..plan.plan import Plan
from ..query import Check, Value
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from .differences import WINDOW, choose, ladder
from .probe import Bench, Probe, is_scalar, lines, plan_probes
from .report import culprit_of, not_finite, told
from .subject import GradientOf, Product, Subject, derivative_at, given_gradient, own_gradient
from .trial import Finding, Round, Trial
from .verdict import Outcome, Verdict

Array = np.ndarray[Any, Any]

_DIRECTIONS = 4
"""where the query leaves it open; also the least for a graph that is not scalar: two forward, two reverse."""

_WORST = 4
"""where the query leaves it open."""


def check(graph: Graph, values: Mapping[str, Array], query: Check, given: Mapping[str, Array], executor: Executor, stop: Stop, budget: Budget) -> Verdict:
    """The verdict on our own derivative at `values`, or on the gradient `given` (wrt input -> array)."""
    if not _entries(graph, query.wrt):
        return Verdict(Outcome.RIGHT, "there is no entry to check", (), 0, 0.0, 0.0, 0.0, query.seed, 0)
    drawn, epsilon = lines(graph, query.wrt, query.seed, _count(graph, query)), _epsilon(graph)
    bench = Bench(drawn, values, executor, stop, budget, query.block)
    whole = [drawn.whole(k) for k in range(len(drawn.directions))]

    # The step is chosen before the subject is heard.
    steps = ladder(np.concatenate([values[name].reshape(-1) for name in query.wrt]), epsilon)
    scouted = bench.along(whole[:1], steps.offsets)[0]
    step = choose(steps, scouted)
    if step is None:
        at = int(np.argmin(np.isfinite(scouted)))
        return not_finite(bench, query.seed, 0, whole[0], float(steps.offsets[at]))

    subject = _subject(bench, query, given)
    here = float(scouted[0]) if is_scalar(graph) else None
    while True:
        trial = Trial(bench, subject, step, epsilon, here)
        table = trial.values(whole)
        if np.isfinite(table).all():
            return _verdict(*trial.settled(trial.judge(whole, table), steps.ratio, float(steps.rungs[0])), query)
        # Along another direction the domain ends sooner: a smaller step, as far as the ladder goes.
        k, at = np.argwhere(~np.isfinite(table))[0]
        if at == 0 or step.step <= steps.rungs[0]:
            offset = WINDOW[at - 1] * step.step if at else 0.0
            return not_finite(bench, query.seed, subject.evaluations, whole[k], float(offset))
        step = replace(step, step=step.step / steps.ratio)


def plan_check(graph: Graph, query: Check, budget: Budget) -> Plan:
    """The plan of the first round, at a point of ordinary scale: what the promise of a check counts."""
    if not _entries(graph, query.wrt):
        return make_plan(graph, [Ask(Value(), {})], budget)
    rows = ladder(np.ones(1), _epsilon(graph)).offsets.size
    return plan_probes(graph, query.wrt, _count(graph, query), rows, budget, query.block)


def _entries(graph: Graph, wrt: Sequence[str]) -> int:
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    return sum(types[name].size for name in wrt) * sum(graph.output_types[o].size for o in floating_outputs(graph))


def _count(graph: Graph, query: Check) -> int:
    count = query.directions or _DIRECTIONS
    return count if is_scalar(graph) else max(count, _DIRECTIONS)


def _epsilon(graph: Graph) -> float:
    """Of the coarsest floating dtype the graph computes in: one float32 node rounds everything behind it."""
    graphs = [expand(graph)]
    for g in graphs:
        graphs.extend(g.subgraphs)
    dtypes = {t.dtype for g in graphs for node in g.nodes for t in node.types}
    return float(np.finfo(np.float32 if DTYPES["float32"] in dtypes else np.float64).eps)


def _subject(bench: Bench, query: Check, given: Mapping[str, Array]) -> Subject:
    if query.subject == "given":
        return given_gradient(bench.lines, given)
    return own_gradient(bench) if is_scalar(bench.lines.graph) else Product(bench)


def _verdict(trial: Trial, judged: Round, query: Check) -> Verdict:
    """What a settled round means, considered in the order the module states."""
    e, mismatch, bound, claimed = judged.estimates, judged.mismatch, judged.bound, judged.claims.value
    most = query.max_worst or _WORST
    worst: list[Finding] = []
    if not np.isfinite(claimed).all() and query.subject != "given":
        derived, inputs = derivative_at(trial.bench.lines, trial.bench.point, judged.probes[int(np.argmin(np.isfinite(claimed)))])
        outcome, why = Outcome.CANNOT_TELL, f"our derivative is not finite here, the function is: {culprit_of(derived, inputs)}"
    elif not np.isfinite(claimed).all():
        worst = trial.worst(_not_finite_entries(trial.subject, most), most)
        outcome = Outcome.WRONG if worst else Outcome.CANNOT_TELL
        why = "entries of the gradient are not finite where " + ("the function is differentiable" if worst else "no differences settle")
    elif judged.evident.any():
        k = int(np.argmax(np.where(judged.evident, mismatch / np.maximum(bound, np.finfo(float).tiny), -1.0)))
        worst = trial.worst([judged.probes[k]], most)
        many = f"{int(judged.evident.sum())} of {len(mismatch)} directional derivatives are off"
        spread = "" if worst else "; the error is spread over more entries than could be told apart"
        outcome, why = Outcome.WRONG, f"{many}, one by {mismatch[k]:.2g} where differences err by at most {bound[k]:.2g}{spread}"
    elif e.kinked.any():
        jump = float(np.abs(e.jump[e.kinked]).max())
        where = f"at the point or nearer to it than {trial.step.step:.1g}"
        outcome, why = Outcome.CANNOT_TELL, f"there is a kink {where}: one-sided derivatives differ by {jump:.2g}"
    elif judged.failed.any():
        settle = f"the differences do not settle as the step shrinks to {trial.step.step:.1g}"
        outcome, why = Outcome.CANNOT_TELL, f"{settle}: a jump, or changes too fast to resolve"
    elif judged.too_wide:
        known = f"known to {float(bound.min()):.2g} at best, of {judged.seen:.2g} seen"
        outcome, why = Outcome.CANNOT_TELL, f"the difference bounds are too wide: the derivative is {known}"
    else:
        outcome, why = Outcome.RIGHT, f"{len(mismatch)} directional derivatives agree with differences to {float(bound.max()):.2g}"
    return told(trial, judged, query.seed, outcome, why, worst)


def _not_finite_entries(subject: Subject, most: int) -> list[Probe]:
    """A probe for each entry of a given gradient that is NaN or infinite, as many as may be named."""
    at = np.flatnonzero(~np.isfinite(subject.gradient))[:most] if isinstance(subject, GradientOf) else np.empty(0, int)
    return [Probe(0, (i, i + 1), (0, 1)) for i in at.tolist()]
