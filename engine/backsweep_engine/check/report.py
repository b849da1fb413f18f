"""What was found, told as a Verdict: entries by name and index with their slips, the curve, what was tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..query import Check
from ..transforms.derive import floating_outputs
from .differences import Step
from .findings import Found, made_by
from .locate import culprit_of
from .probe import Bench, Lines, Probe, is_scalar
from .slips import Key, key_of, partners, slips
from .trial import Finding, Round, Trial
from .verdict import Curve, Doubt, Entry, Outcome, Slip, Taylor, Tried, Verdict

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Evidence:
    """A settled round, and what was seen on the way. `step`: as the scout chose it."""

    trial: Trial
    judged: Round
    query: Check
    step: Step
    taylor: tuple[Taylor, ...]


def told(evidence: Evidence, found: Found) -> Verdict:
    """The verdict with its figures.

    Smallest excluded error: an error e of one entry moves a mismatch by |e v_i| >= |e|, |v_i| >= 1, from
    a part that is at most the bound B; what was seen is m <= B, so |e| <= m + B, by any one direction; or, where every
    entry was tried by itself too, by the worst of those. For WRONG: what such a check would have excluded, 2 B at most.
    """
    trial, judged, query = evidence.trial, evidence.judged, evidence.query
    lines, e = trial.bench.lines, judged.estimates
    least = math.inf if found.outcome is Outcome.CANNOT_TELL else excluded(lines, judged)
    entries, slip = _entries(evidence, found)
    count = len(lines.directions)
    why = found.why
    if found.outcome is Outcome.RIGHT:
        why += f"; an error of one entry above {least:.2g} would have been found (seed {query.seed}, directions 0 to {count - 1})"
    return Verdict(
        found.outcome,
        why,
        entries,
        count,
        least,
        float(e.truncation.max()),
        float(judged.rounding.max()),
        query.seed,
        trial.bench.evaluations + trial.subject.evaluations,
        subject=query.subject,
        judge=query.judge,
        doubt=found.doubt,
        place=found.place,
        side=found.side,
        slip=slip,
        curve=_curve(evidence),
        taylor=evidence.taylor,
        tried=tuple([_tried(trial, judged, i) for i in range(len(judged.probes))]),
    )


def excluded(lines: Lines, judged: Round) -> float:
    """See `told`."""
    each = np.minimum(judged.mismatch, judged.bound) + judged.bound
    alone = np.array([p.alone for p in judged.probes])
    found = float(each[~alone].min() / (np.abs(lines.directions).min() * np.abs(lines.weights).min()))
    if alone.any():
        units = [abs(lines.directions[p.direction, p.inputs[0]]) for p in judged.probes if p.alone]
        found = min(found, float((each[alone] / np.array(units)).max() / np.abs(lines.weights).min()))
    return found


def _tried(trial: Trial, judged: Round, i: int) -> Tried:
    probe = judged.probes[i]
    expected, got = float(judged.estimates.derivative[i]), float(judged.claims.value[i])
    return Tried(probe.direction, trial.subject.mode(probe), expected, got, float(judged.bound[i]), probe.inputs[0] if probe.alone else -1)


def _curve(evidence: Evidence) -> Curve | None:
    """The scout's derivatives along direction 0 against the claim."""
    rungs = evidence.step.rungs
    if rungs is None:
        return None
    with np.errstate(invalid="ignore"):
        errors = np.abs(rungs.derivatives - evidence.judged.claims.value[0])
    return Curve(
        tuple(rungs.steps.tolist()), tuple(errors.tolist()), tuple(rungs.truncation.tolist()), tuple(rungs.rounding.tolist()), evidence.trial.step.step
    )


# Entries.


def _entries(evidence: Evidence, found: Found) -> tuple[tuple[Entry, ...], Slip | None]:
    """The entries at fault with their slips; their partners are evaluated too, each by itself."""
    if not found.worst:
        return (), None
    lines = evidence.trial.bench.lines
    entries = [_entry(lines, f) for f in found.worst]
    places = _Places(lines)
    wanted: dict[Key, list[tuple[Slip, Probe]]] = {}
    for entry, finding in zip(entries, found.worst, strict=True):
        for slip, key in partners(entry, places.inputs, places.outputs):
            probe = places.probe(key, finding.probe)
            if probe is not None:
                wanted.setdefault(key_of(entry), []).append((slip, probe))
    values = _expected(evidence.trial, [probe for pairs in wanted.values() for _, probe in pairs])
    partnered = {key: [(slip, values[probe]) for slip, probe in pairs if probe in values] for key, pairs in wanted.items()}
    return slips(entries, partnered, lines.directions.shape[1])


def _expected(trial: Trial, probes: Sequence[Probe]) -> dict[Probe, float]:
    """The derivative by each single entry, where it can be had."""
    if not probes:
        return {}
    table = trial.values(probes)
    kept = np.flatnonzero(np.isfinite(table).all(axis=1)).tolist()
    probes = [probes[i] for i in kept]
    if not probes:
        return {}
    found = trial.measure.estimates(probes, table[kept]).derivative
    return {probe: float(d / _unit(trial.bench.lines, probe)) for probe, d in zip(probes, found, strict=True)}


def _unit(lines: Lines, probe: Probe) -> float:
    return float(lines.directions[probe.direction, probe.inputs[0]] * lines.weights[probe.direction, probe.outputs[0]])


class _Places:
    """Names and indices of the entries of the concatenated ravels, and back."""

    def __init__(self, lines: Lines) -> None:
        self.inputs = {name: t.shape for name, t in zip(lines.wrt, lines.types, strict=True)}
        floating = [] if is_scalar(lines.graph) else floating_outputs(lines.graph)
        self.outputs = {lines.graph.output_names[o]: lines.graph.output_types[o].shape for o in floating}

    def probe(self, key: Key, like: Probe) -> Probe | None:
        output, name, index = key
        at = _position(self.inputs, name, index)
        outputs = like.outputs
        if self.outputs:
            base, _, place = output.partition("[")
            row = _position(self.outputs, base, tuple([int(i) for i in place.rstrip("]").split(", ") if i]))
            if row is None:
                return None
            outputs = (row, row + 1)
        return None if at is None else Probe(like.direction, (at, at + 1), outputs, like.scale, like.alone)


def _position(shapes: dict[str, tuple[int, ...]], name: str, index: tuple[int, ...]) -> int | None:
    before = 0
    for other, shape in shapes.items():
        if other == name and len(index) == len(shape):
            return before + (int(np.ravel_multi_index(index, shape)) if shape else 0)
        before += math.prod(shape)
    return None


def _entry(lines: Lines, finding: Finding) -> Entry:
    """A finding about one entry, in the derivative's own units."""
    probe = finding.probe
    unit = _unit(lines, probe)
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


def not_finite(bench: Bench, query: Check, heard: int, probe: Probe, offset: float) -> Verdict:
    """The function itself is NaN or infinite on the line; `heard`: evaluations of the subject so far."""
    where = "at the point" if offset == 0 else f"{abs(offset):.1g} beside the point"
    place = culprit_of(bench.lines.graph, bench.lines.moved(bench.point, probe, offset))
    why = f"the function is not finite {where}: {made_by(place)}"
    bounds = (math.inf,) * 3
    count, evaluations = len(bench.lines.directions), bench.evaluations + heard
    verdict = Verdict(Outcome.CANNOT_TELL, why, (), count, *bounds, query.seed, evaluations, query.subject, query.judge)
    return replace(verdict, doubt=Doubt.NON_FINITE, place=place)
