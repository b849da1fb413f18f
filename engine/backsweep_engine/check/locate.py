"""Where in the submitted graph a doubt comes from: the node at a kink, the node that cancels, the node that is not finite.

Found after the finding, by walking the spelled-out graph node by node at a few points of one line. A node is named
as the submitted node it was spelled from.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..execute.nonfinite import culprit, finite_nodes, walk
from ..graph import Graph
from ..ops.op import Structured, Zero, lookup
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached
from .probe import Bench, Probe
from .verdict import Place

Array = np.ndarray[Any, Any]

_BENT = 0.25
"""A slope that changes by this part of itself between one side and the other, at two steps alike, is bent."""

_LARGER = 16.0
"""A value so many times the result is one that cancels."""


def place_of(graph: Graph, at: int) -> Place:
    """Node `at` of a graph made from the submitted one."""
    if at < graph.arity:
        return Place(None, f"input {graph.input_names[at]!r}")
    node = graph.nodes[at]
    return Place(node.origin, node.op)


def culprit_of(graph: Graph, inputs: Sequence[Array]) -> Place | None:
    """What first made a NaN or infinity; None if it is only the sum over the outputs that overflows."""
    spelled = expand(graph)
    finite = finite_nodes(spelled, list(inputs))
    output = next((ref for ref in spelled.outputs if not finite[ref.node]), None)
    return None if output is None else place_of(spelled, culprit(spelled, finite, output))


@np.errstate(all="ignore")
def kink_of(bench: Bench, probe: Probe, step: float) -> Place | None:
    """The first node whose result bends along the line at the point while its operands do not.

    Bent: the slopes on the two sides differ by the same amount, not small, at the step and at half of it (a smooth
    curve's difference would be halved). An op that chooses (a comparison, sign, where) bends nothing
    itself that its operands do not; the choice it made is then what differs from one side to the other.
    """
    spelled = expand(bench.lines.graph)
    walks = [walk(spelled, bench.lines.moved(bench.point, probe, a)) for a in (0.0, step, -step, step / 2, -step / 2)]
    bent = [False] * len(spelled.nodes)
    chosen: int | None = None
    for at in zip(*walks, strict=True):
        i = at[0][0]
        node = spelled.nodes[i]
        if i < spelled.arity:
            continue
        results = [entry[2] for entry in at]
        if any(bent[ref.node] for ref in node.operands):
            bent[i] = True
            continue
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Zero) and not isinstance(derivative, Structured):
            if chosen is None and any(_jumps(*y) for y in zip(*results, strict=True)):
                chosen = i
            continue
        if any(y[0].dtype.kind == "f" and _bends(*y) for y in zip(*results, strict=True)):
            return place_of(spelled, i)
    return None if chosen is None else place_of(spelled, chosen)


def _bends(here: Array, plus: Array, minus: Array, half_plus: Array, half_minus: Array) -> bool:
    """Twice the second difference at half the step equals that at the step, where it is of the size of the slopes."""
    whole, half = np.abs(plus - 2 * here + minus), 2 * np.abs(half_plus - 2 * here + half_minus)
    slope = np.abs(plus - here) + np.abs(minus - here)
    rounding = 64 * np.finfo(here.dtype).eps * np.maximum(np.abs(plus), np.abs(minus))
    return bool(np.any((whole > _BENT * slope) & (half > 0.75 * whole) & (whole > rounding)))


def _jumps(here: Array, plus: Array, minus: Array, half_plus: Array, half_minus: Array) -> bool:
    return bool(np.any((half_plus != half_minus) | (here != half_plus) | (here != half_minus)))


@np.errstate(all="ignore")
def largest_of(bench: Bench, probe: Probe, noise: float, epsilon: float) -> Place | None:
    """The first node whose values are so large that their rounding explains the noise; None if none is.

    Noise of one value is taken to be at most some roundings of the largest value that went into it.
    """
    spelled = expand(bench.lines.graph)
    moving = reached(spelled, positions(spelled, bench.lines.wrt))
    largest, place = 0.0, None
    final = 0.0
    for i, _, results in walk(spelled, bench.lines.moved(bench.point, probe, 0.0)):
        sizes = [float(np.max(np.abs(y), initial=0.0)) for y in results if y.dtype.kind == "f"]
        size = max([s for s in sizes if np.isfinite(s)], default=0.0)
        if moving[i] and (size > _LARGER * largest if place is not None else size > 0):
            largest, place = size, i
        if i == spelled.outputs[0].node:
            final = size
    if place is None or noise > 1e4 * epsilon * max(largest, final):
        return None
    return place_of(spelled, place)
