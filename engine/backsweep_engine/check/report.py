"""What was found, told as a Verdict: entries by name and index, nodes by their number in the submitted graph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..execute.nonfinite import culprit, finite_nodes
from ..graph import Graph
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from .probe import Bench, Lines, Probe, is_scalar
from .trial import Finding, Round, Trial
from .verdict import Entry, Outcome, Verdict

Array = np.ndarray[Any, Any]


def told(trial: Trial, judged: Round, seed: int, outcome: Outcome, why: str, worst: Sequence[Finding] = ()) -> Verdict:
    """The verdict with its figures.

    Smallest excluded error: an error e of one entry moves a mismatch by |e v_i| >= |e|, |v_i| >= 1, from
    a part that is at most the bound B; what was seen is m <= B, so |e| <= m + B, by any one direction.
    For WRONG: what such a check would have excluded, 2 B at most.
    """
    lines, e = trial.bench.lines, judged.estimates
    smallest = np.abs(lines.directions).min() * np.abs(lines.weights).min()
    excluded = math.inf
    if outcome is not Outcome.CANNOT_TELL:
        excluded = float((np.minimum(judged.mismatch, judged.bound) + judged.bound).min() / smallest)
    entries = tuple(_entry(lines, finding) for finding in worst)
    count, evaluations = len(lines.directions), trial.bench.evaluations + trial.subject.evaluations
    return Verdict(outcome, why, entries, count, excluded, float(e.truncation.max()), float(judged.rounding.max()), seed, evaluations)


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


def not_finite(bench: Bench, seed: int, heard: int, probe: Probe, offset: float) -> Verdict:
    """The function itself is NaN or infinite on the line; `heard`: evaluations of the subject so far."""
    where = "at the point" if offset == 0 else f"{abs(offset):.1g} beside the point"
    blamed = culprit_of(bench.lines.graph, bench.lines.moved(bench.point, probe, offset))
    why = f"the function is not finite {where}: {blamed}"
    bounds = (math.inf,) * 3
    return Verdict(Outcome.CANNOT_TELL, why, (), len(bench.lines.directions), *bounds, seed, bench.evaluations + heard)


def culprit_of(graph: Graph, inputs: Sequence[Array]) -> str:
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
