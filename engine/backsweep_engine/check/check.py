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

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..execute.executor import Executor, Stop
from ..execute.nonfinite import culprit, finite_nodes
from ..graph import DTYPES, Graph
from ..plan.make import Ask, Budget, make_plan
from ..plan.plan import Plan
from ..query import Check, Value
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from .differences import choose, ladder
from .probe import Bench, Lines, Probe, is_scalar, lines, plan_probes
from .subject import GradientOf, Product, Subject, derivative_at, given_gradient, own_gradient
from .trial import Finding, Round, Trial
from .verdict import Entry, Outcome, Verdict

Array = np.ndarray[Any, Any]

_DIRECTIONS = 4
"""where the query leaves it open; also the least for a graph that is not scalar: two forward, two reverse."""

_WORST = 4
"""where the query leaves it open."""


def check(
    graph: Graph, values: Mapping[str, Array], query: Check, given: Mapping[str, Array], executor: Executor, stop: Stop, budget: Budget
) -> Verdict:
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
        return _not_finite(bench, query, 0, whole[0], float(steps.offsets[at]))

    subject = _subject(bench, query, given)
    here = float(scouted[0]) if is_scalar(graph) else None
    while True:
        trial = Trial(bench, subject, step, epsilon, here)
        table = trial.values(whole)
        if np.isfinite(table).all():
            return _verdict(*trial.settled(trial.judge(whole, table), steps.ratio, float(steps.rungs[0])), query)
        # Along another direction the domain ends sooner: a smaller step, as far as the ladder goes.
        k = int(np.flatnonzero(~np.isfinite(table).all(axis=1))[0])
        if not math.isfinite(table[k, 0]) or step.step <= steps.rungs[0]:
            return _not_finite(bench, query, subject.evaluations, whole[k], 0.0 if not math.isfinite(table[k, 0]) else step.step)
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
    if query.given:
        return given_gradient(bench.lines, given)
    return own_gradient(bench) if is_scalar(bench.lines.graph) else Product(bench)


def _verdict(trial: Trial, judged: Round, query: Check) -> Verdict:
    e, lines = judged.estimates, trial.bench.lines
    mismatch, bound = judged.mismatch, judged.bound
    strange = _not_finite_entries(trial.subject, query) if query.given else []
    if not query.given and not np.isfinite(judged.claims.value).all():
        probe = judged.probes[int(np.argmin(np.isfinite(judged.claims.value)))]
        derived, inputs = derivative_at(lines, trial.bench.point, probe)
        return _told(trial, query, judged, Outcome.CANNOT_TELL, f"our derivative is not finite here, the function is: {_culprit(derived, inputs)}")
    k = int(np.argmax(np.nan_to_num(mismatch / np.maximum(bound, np.finfo(float).tiny), nan=np.inf) * judged.evident))
    if judged.evident[k] or strange:
        worst = trial.worst(strange or [judged.probes[k]], query.max_worst or _WORST)
        if not strange:
            size = f"{mismatch[k]:.2g} where the differences are off by at most {bound[k]:.2g}"
            why = f"{int(judged.evident.sum())} of {len(mismatch)} directional derivatives are off, by up to {size}"
            why += "" if worst else "; the error is spread over more entries than could be told apart"
            return _told(trial, query, judged, Outcome.WRONG, why, worst)
        if worst:
            return _told(trial, query, judged, Outcome.WRONG, "the gradient has entries that are not finite where the function is differentiable", worst)
        return _told(trial, query, judged, Outcome.CANNOT_TELL, "the gradient has entries that are not finite, and the function has a kink there")
    if e.kinked.any():
        k = int(np.argmax(np.abs(e.jump) * e.kinked))
        why = f"there is a kink at the point or nearer to it than {trial.step.step:.1g}: one-sided derivatives differ by {abs(e.jump[k]):.2g}"
        return _told(trial, query, judged, Outcome.CANNOT_TELL, why)
    if judged.failed.any():
        why = f"the differences do not settle as the step shrinks to {trial.step.step:.1g}: a jump, or changes too fast to resolve"
        return _told(trial, query, judged, Outcome.CANNOT_TELL, why)
    if judged.too_wide:
        why = f"rounding hides the derivative: known to {float(bound.min()):.2g} at best, of {judged.seen:.2g} seen"
        return _told(trial, query, judged, Outcome.CANNOT_TELL, why)
    why = f"{len(mismatch)} directional derivatives agree with differences to {float(bound.max()):.2g}"
    return _told(trial, query, judged, Outcome.RIGHT, why)


def _not_finite_entries(subject: Subject, query: Check) -> list[Probe]:
    """A probe for each entry of a given gradient that is NaN or infinite, as many as may be named."""
    assert isinstance(subject, GradientOf)
    at = np.flatnonzero(~np.isfinite(subject.gradient))[: query.max_worst or _WORST]
    return [Probe(0, (i, i + 1), (0, 1)) for i in at.tolist()]


def _told(trial: Trial, query: Check, judged: Round, outcome: Outcome, why: str, worst: Sequence[Finding] = ()) -> Verdict:
    """The verdict with its figures.

    Smallest excluded error: an error e of one entry moves a mismatch by |e v_i| >= |e|, |v_i| >= 1, from
    a part that is at most the bound B; what was seen is m <= B, so |e| <= m + B, by any one direction.
    """
    trial_lines, e = trial.bench.lines, judged.estimates
    smallest = np.abs(trial_lines.directions).min() * np.abs(trial_lines.weights).min()
    excluded = float((judged.mismatch + judged.bound).min() / smallest) if outcome is Outcome.RIGHT else math.inf
    if outcome is Outcome.WRONG:
        excluded = 2 * float(np.nanmin(judged.bound)) / float(smallest)
    entries = tuple(_entry(trial_lines, finding) for finding in worst)
    count, evaluations = len(trial_lines.directions), trial.bench.evaluations + trial.subject.evaluations
    return Verdict(outcome, why, entries, count, excluded, float(e.truncation.max()), float(judged.rounding.max()), query.seed, evaluations)


def _entry(lines: Lines, finding: Finding) -> Entry:
    """A finding about one entry, in the derivative's own units."""
    probe = finding.probe
    unit = lines.directions[probe.direction, probe.inputs[0]] * lines.weights[probe.direction, probe.outputs[0]]
    name, index = _place(lines.wrt, [t.shape for t in lines.types], probe.inputs[0])
    output = ""
    if not is_scalar(lines.graph):
        floating = floating_outputs(lines.graph)
        names, types = [lines.graph.output_names[o] for o in floating], [lines.graph.output_types[o] for o in floating]
        output, at = _place(names, [t.shape for t in types], probe.outputs[0])
        output += f"[{', '.join(map(str, at))}]" if at else ""
    return Entry(name, index, float(finding.expected / unit), float(finding.claimed / unit), float(finding.bound / abs(unit)), output)


def _place(names: Sequence[str], shapes: Sequence[tuple[int, ...]], at: int) -> tuple[str, tuple[int, ...]]:
    """Name and index of entry `at` of a concatenated ravel."""
    for name, shape in zip(names, shapes, strict=True):
        size = math.prod(shape)
        if at < size:
            return name, tuple(int(i) for i in np.unravel_index(at, shape))
        at -= size
    raise AssertionError("the entry is outside the ravel")


def _not_finite(bench: Bench, query: Check, heard: int, probe: Probe, offset: float) -> Verdict:
    where = "at the point" if offset == 0 else f"{abs(offset):.1g} beside the point"
    blamed = _culprit(bench.lines.graph, bench.lines.moved(bench.point, probe, offset))
    why = f"the function is not finite {where}: {blamed}"
    infinite = math.inf
    count = len(bench.lines.directions)
    return Verdict(Outcome.CANNOT_TELL, why, (), count, infinite, infinite, infinite, query.seed, bench.evaluations + heard)


def _culprit(graph: Graph, inputs: Sequence[Array]) -> str:
    """Names the submitted node that first made a NaN or infinity."""
    spelled = expand(graph)
    finite = finite_nodes(spelled, list(inputs))
    output = next((ref for ref in spelled.outputs if not finite[ref.node]), None)
    if output is None:
        return "the sum over the outputs overflows"
    at = culprit(spelled, finite, output)
    if at < spelled.arity:
        return f"input {spelled.input_names[at]!r} is not"
    return f"node {spelled.nodes[at].origin} ({spelled.nodes[at].op}) made the first such value"
