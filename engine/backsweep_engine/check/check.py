"""check: whether a derivative is right, told from values of the function alone.

    scout      one wide ladder along the first direction: noise and step (differences.py)
    window     six values along every direction at that step, compared with what the subject claims
    search     if a probe fails: log2(n) rounds that halve it down to the entries at fault

Every round is one plan over rows. The order in which findings are considered is the meaning of a verdict: not
finite at the point; WRONG where an error exceeds its bound and no kink explains it; a kink; not
settled; bounds too wide to have shown anything; RIGHT. No tolerance is ever loosened: what cannot be
told is said so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..execute.executor import Executor, Stop
from ..execute.nonfinite import culprit, finite_nodes
from ..graph import DTYPES, Graph, Ref
from ..plan.make import Ask, Budget, make_plan
from ..plan.plan import Plan
from ..query import Check, Value
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from .differences import Step, choose, ladder
from .probe import Lines, Probe, is_scalar, lines, plan_probes
from .subject import GradientOf, Product, Subject, derivative_at, given_gradient, own_gradient
from .trial import Round, Trial
from .verdict import Entry, Outcome, Verdict

Array = np.ndarray[Any, Any]

_DIRECTIONS = 4
"""if the query does not say; also the least for a graph that is not scalar: two forward, two reverse."""

_TOO_WIDE = 0.25
"""A bound above this part of everything that was seen to change excludes nothing worth saying."""


def check(
    graph: Graph, values: Mapping[str, Array], query: Check, given: Mapping[str, Array], executor: Executor, stop: Stop, budget: Budget
) -> Verdict:
    """The verdict on our own derivative at `values`, or on the gradient `given` (wrt input -> array)."""
    drawn = lines(graph, query.wrt, query.seed, _count(graph, query))
    if not drawn.directions.shape[1] or not drawn.weights.shape[1]:
        return Verdict(Outcome.RIGHT, "there is no entry to check: the inputs or the outputs are empty", (), 0, 0.0, 0.0, 0.0, query.seed, 0)
    epsilon = _epsilon(graph)
    trial = Trial(drawn, values, _Unheard(), epsilon, executor, stop, budget, query.block)
    whole = [drawn.whole(k) for k in range(len(drawn.directions))]

    steps = ladder(np.concatenate([values[name].reshape(-1) for name in query.wrt]), epsilon)
    scouted = trial.along(whole[:1], steps.offsets)[0]
    if not math.isfinite(scouted[0]):
        return _cannot_tell(trial, query, f"the value at the point is not finite: {_blame(drawn, values, whole[0], 0.0)}")
    step = choose(steps, scouted)
    if step is None:
        beside = float(steps.offsets[int(np.argmin(np.isfinite(scouted)))])
        return _cannot_tell(trial, query, f"beside the point the value is not finite: {_blame(drawn, values, whole[0], beside)}")
    here = float(scouted[0]) if is_scalar(graph) else None

    if query.given:
        trial.subject = given_gradient(drawn, given)
    elif is_scalar(graph):
        trial.subject = own_gradient(drawn, values, executor, stop, budget)
    else:
        trial.subject = Product(drawn, values, executor, stop, budget)
    judged = trial.round(whole, step, here)
    while not isinstance(judged, Round):
        # Along another direction the domain ends sooner: smaller steps, as far as the ladder goes.
        k, at = np.argwhere(~np.isfinite(judged))[0]
        step = Step(step.step / steps.ratio, step.noise, step.resolved)
        if step.step < steps.rungs[0]:
            return _cannot_tell(trial, query, f"beside the point the value is not finite: {_blame(drawn, values, whole[k], 0.0)}")
        judged = trial.round(whole, step, here)
    return _verdict(trial, query, step, here, judged)


def plan_check(graph: Graph, query: Check, budget: Budget) -> Plan:
    """The plan of the first round, at a point of ordinary scale: what the promise of a check counts."""
    if not _entries(graph, query.wrt):
        return make_plan(graph, [Ask(Value(), {})], budget)
    steps = ladder(np.zeros(1), _epsilon(graph))
    return plan_probes(graph, query.wrt, _count(graph, query), steps.offsets.size, budget, query.block)


def _entries(graph: Graph, wrt: Sequence[str]) -> int:
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    return sum(types[name].size for name in wrt) * sum(graph.output_types[o].size for o in floating_outputs(graph))


def _count(graph: Graph, query: Check) -> int:
    count = query.directions or _DIRECTIONS
    return count if is_scalar(graph) else max(count, _DIRECTIONS)


def _epsilon(graph: Graph) -> float:
    """Of the coarsest floating dtype the graph computes in: one float32 node rounds everything behind it."""
    dtypes = {t.dtype for g in _with_subgraphs(expand(graph)) for node in g.nodes for t in node.types if t.is_float}
    return float(np.finfo(np.float32 if DTYPES["float32"] in dtypes else np.float64).eps)


def _with_subgraphs(graph: Graph) -> list[Graph]:
    graphs = [graph]
    for g in graphs:
        graphs.extend(g.subgraphs)
    return graphs


class _Unheard:
    """The subject while the scout is under way: steps and noise must not depend on it."""

    evaluations = 0

    def claims(self, probes: Sequence[Probe]) -> Any:
        raise AssertionError("the subject is heard after the step is chosen")
