"""The complex step's evaluation: a graph at x + i h v, each op by its analytic continuation.

A judge's evaluation only, of first derivatives: no graph holds complex numbers. What lies between the moving inputs
and the outputs must have a `continuation` in the op table, or hold graphs of such (entered.py: loops and choices); all else runs
as it always does, on real parts. A comparison that a `where` reads has none; one that says what runs needs none. What
was stopped (stop_gradient) is a constant here as it is in a derivative: that it is one, only differences can judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GraphError
from ..execute.executor import Stop
from ..execute.program import alone
from ..graph import Graph, Node
from ..ops.op import Structured, lookup
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from ..transforms.remember import remembered
from ..transforms.rewrite import as_tuple, positions
from ..transforms.simplify import simplify
from .entered import ENTERED, Held, controls, entered, held
from .probe import Bench, Probe

Array = np.ndarray[Any, Any]

_STEP = 2.0**-100


_SUMS = ("sum", "matmul", "cumsum", "convolve", "put_add")
"""Ops that add many terms: of which a rounding is as large as one of the sum of their sizes."""


_ROUNDED = 4 * np.finfo(np.float64).eps
"""As much as a claim's products are taken to err by (trial.py)."""


@dataclass(slots=True)
class Rounding:
    """What any way of computing a derivative may round: each result in turn, by a few epsilon of its size, a sum by that of the sum of its sizes.

    One complex step rounds the linear parts of a graph alike at every point, so that points near each other
    show none of it; nor does it show what the reverse sweep rounds, which adds in another order. Drawn, from Philox's raw words
    as directions are, it shows both (stochastic arithmetic: Vignes, Mathematics and Computers in Simulation 1993).
    """

    words: np.random.Philox

    def of(self, y: Array, sizes: Array) -> Array:
        """y with errors in its imaginary part."""
        words = np.asarray(self.words.random_raw(y.size), np.uint64).reshape(y.shape)
        found: Array = y + 1j * (_ROUNDED * ((words >> np.uint64(11)) * 2.0**-52 - 1) * np.abs(sizes.imag))
        return found


@dataclass(frozen=True, slots=True)
class Continued:
    """A graph whose active nodes, those between the wrt inputs and the outputs, all continue; `moving`: which inputs do.

    `bends`: it may have kinks: what runs depends on what moves, or an active op has some.
    """

    graph: Graph
    moving: tuple[bool, ...]
    bends: bool

    def derivative(self, bench: Bench, probe: Probe, offset: float, rounding: Rounding | None = None) -> float:
        """<u, J v> at x + offset v; NaN where a loop does not end. `rounding`: errors put into every imaginary part on the way."""
        lines = bench.lines
        inputs: list[Array] = lines.moved(bench.point, probe, offset)
        direction, at = lines.direction(probe), 0
        for name, type in zip(lines.wrt, lines.types, strict=True):
            i = lines.graph.input_names.index(name)
            part = direction[at : at + type.size].reshape(type.shape)
            inputs[i] = inputs[i].astype(np.float64) + 1j * _STEP * part
            at += type.size
        try:
            with np.errstate(all="ignore"):
                results = _run(Held(self.graph, self.moving), inputs, bench.stop, rounding)
        except GraphError as error:
            if error.reason != "LOOP_CAP":
                raise
            return float("nan")
        weight, total, at = lines.weight(probe), 0.0, 0
        for o in floating_outputs(lines.graph):
            y = np.asarray(results[o])
            slopes = (y.imag if y.dtype.kind == "c" else np.zeros(y.shape)).reshape(-1) / _STEP
            total += float(slopes @ weight[at : at + y.size])
            at += y.size
        return total


def continued(graph: Graph, wrt: Sequence[str]) -> Continued:
    """Raises GraphError, with the node, where an active node has no continuation."""
    spelled = expand(simplify(graph))
    inputs = positions(spelled, wrt)
    moving = tuple([i in inputs for i in range(spelled.arity)])
    return Continued(spelled, moving, _require(Held(spelled, moving), None))


@remembered
def _moving(graph: Graph, inputs: Sequence[bool]) -> list[bool]:
    """Which nodes the moving inputs reach, where stop_gradient lets nothing through."""
    moving = list(inputs)
    for node in graph.nodes[graph.arity :]:
        moving.append(node.op != "stop_gradient" and any(moving[ref.node] for ref in node.operands))
    return moving


def _outputs(graph: Graph, inputs: Sequence[bool]) -> list[bool]:
    moving = _moving(graph, tuple(inputs))
    return [moving[ref.node] for ref in graph.outputs]


@remembered
def _active(graph: Graph, inputs: Sequence[bool], carries: int) -> list[bool]:
    """Which nodes move and are needed by the floating outputs, or by what is carried on."""
    needed = [False] * len(graph.nodes)
    for o, (ref, type) in enumerate(zip(graph.outputs, graph.output_types, strict=True)):
        needed[ref.node] |= type.is_float or o < carries
    for i in range(len(graph.nodes) - 1, graph.arity - 1, -1):
        if needed[i] and graph.nodes[i].op != "stop_gradient":
            for ref in graph.nodes[i].operands[controls(graph.nodes[i]) :]:
                needed[ref.node] = True
    return [m and n for m, n in zip(_moving(graph, inputs), needed, strict=True)]


def _require(within: Held, origin: int | None) -> bool:
    """Whether it may have kinks. `origin`: the submitted node that holds it, None of the main graph."""
    graph, bends = within.graph, False
    moving, active = _moving(graph, within.moving), _active(graph, within.moving, within.carries)
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if not active[i]:
            continue
        operands = [moving[ref.node] for ref in node.operands]
        bends |= any(operands[: controls(node)]) or node.op == "while_loop" or bool(lookup(node.op).kinks)
        if node.op in ENTERED:
            for inner in held(node, operands, _outputs):
                bends |= _require(inner, node.origin if origin is None else origin)
        elif lookup(node.op).continuation is None or not all(t.is_float for t in node.types):
            raise GraphError(
                "the complex step cannot pass an op that has no analytic continuation",
                reason="NOT_DIFFERENTIABLE",
                node=node.origin if origin is None else origin,
                op=node.op,
                got="judge complex_step",
                allowed="central2, central4, central6, richardson or taylor",
                hint="choose another judge",
            )
    return bends


def _run(within: Held, inputs: Sequence[Array], stop: Stop, rounding: Rounding | None) -> list[Array]:
    graph = within.graph
    active = _active(graph, within.moving, within.carries)
    values: list[Any] = [(x,) for x in inputs]
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        operands = [values[ref.node][ref.result] for ref in node.operands]
        values.append(_continued(within, node, operands, stop, rounding) if active[i] else _real(graph, node, operands))
    return [np.asarray(values[ref.node][ref.result]) for ref in graph.outputs]


def _continued(within: Held, node: Node, operands: Sequence[Array], stop: Stop, rounding: Rounding | None) -> tuple[Any, ...]:
    if node.op not in ENTERED:
        op = lookup(node.op)
        assert op.continuation is not None, f"{node.op} was required to have one"
        results = as_tuple(op.continuation(*operands, **dict(node.attributes)))
        if rounding is None:
            return results
        sizes = results
        if node.op in _SUMS:
            sizes = as_tuple(op.continuation(*[_size(x) for x in operands], **dict(node.attributes)))
        return tuple([rounding.of(np.asarray(y), np.asarray(s)) if np.iscomplexobj(y) else y for y, s in zip(results, sizes, strict=True)])
    moving = _moving(within.graph, within.moving)
    known = {id(inner.graph): inner for inner in held(node, [moving[ref.node] for ref in node.operands], _outputs)}

    def run(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
        return _run(known.get(id(graph)) or Held(graph, (False,) * graph.arity), inputs, stop, rounding)

    return tuple(entered(node, operands, run, stop))


def _size(x: Array) -> Array:
    """Real and imaginary parts without their signs; what is no floating number (an index) as it is."""
    size: Array = np.abs(x.real) + 1j * np.abs(x.imag) if np.iscomplexobj(x) else np.abs(x) if np.asarray(x).dtype.kind == "f" else x
    return size


def _real(graph: Graph, node: Node, operands: Sequence[Array]) -> tuple[Any, ...]:
    """As it always runs, on real parts."""
    op = lookup(node.op)
    real = [np.ascontiguousarray(x.real).reshape(np.shape(x)) if np.iscomplexobj(x) else x for x in operands]
    if isinstance(op.derivative, Structured):
        return tuple(alone(graph, node).run([np.asarray(x, order="C") for x in real]))
    assert op.apply is not None, f"{node.op} should have been expanded"
    return as_tuple(op.apply(*real, **dict(node.attributes)))
