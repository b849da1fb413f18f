"""The complex step's evaluation: a graph at x + i h v, each op by its analytic continuation.

A judge's evaluation only, of first derivatives: no graph holds complex numbers. What lies between the moving inputs
and the outputs must have a `continuation` in the op table; all else runs as it always does, on real parts. What
was stopped (stop_gradient) is a constant here as it is in a derivative: that it is one, only differences can judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import GraphError
from ..execute.executor import never
from ..execute.program import program_of
from ..execute.structured import runner
from ..graph import Graph, Node
from ..ops.op import Structured, lookup
from ..transforms.derive import floating_outputs
from ..transforms.expand import expand
from ..transforms.rewrite import as_tuple, positions
from ..transforms.simplify import simplify
from .probe import Bench, Probe

Array = np.ndarray[Any, Any]

_STEP = 2.0**-100


@dataclass(frozen=True, slots=True)
class Continued:
    """A graph all of whose active nodes have continuations; `active`: those between the wrt inputs and the outputs."""

    graph: Graph
    active: tuple[bool, ...]

    def derivative(self, bench: Bench, probe: Probe, offset: float) -> float:
        """<u, J v> at x + offset v."""
        lines = bench.lines
        inputs: list[Array] = lines.moved(bench.point, probe, offset)
        direction, at = lines.direction(probe), 0
        for name, type in zip(lines.wrt, lines.types, strict=True):
            i = lines.graph.input_names.index(name)
            part = direction[at : at + type.size].reshape(type.shape)
            inputs[i] = inputs[i].astype(np.float64) + 1j * _STEP * part
            at += type.size
        with np.errstate(all="ignore"):
            results = _run(self.graph, inputs, self.active)
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
    active = _active(spelled, positions(spelled, wrt))
    _require(spelled, active, None)
    return Continued(spelled, tuple(active))


def _active(graph: Graph, inputs: Sequence[int]) -> list[bool]:
    """Which nodes the inputs reach and the floating outputs need, where stop_gradient lets nothing through."""
    moving, needed = [False] * len(graph.nodes), [False] * len(graph.nodes)
    for i in inputs:
        moving[i] = True
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        moving[i] = node.op != "stop_gradient" and any(moving[ref.node] for ref in node.operands)
    for ref, type in zip(graph.outputs, graph.output_types, strict=True):
        needed[ref.node] |= type.is_float
    for i in range(len(graph.nodes) - 1, graph.arity - 1, -1):
        if needed[i] and graph.nodes[i].op != "stop_gradient":
            for ref in graph.nodes[i].operands:
                needed[ref.node] = True
    return [m and n for m, n in zip(moving, needed, strict=True)]


_ENTERED = {"checkpoint": "body", "custom": "primal"}
"""Ops that run a graph they hold, once, on their operands: by the attribute that holds it."""


def _require(graph: Graph, active: Sequence[bool], origin: int | None) -> None:
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if not active[i]:
            continue
        if node.op in _ENTERED:
            inner = _entered(node)
            within = [k for k, ref in enumerate(node.operands) if active[ref.node]]
            _require(inner, _active(inner, within), node.origin if origin is None else origin)
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


def _entered(node: Node) -> Graph:
    held = dict(node.attributes)[_ENTERED[node.op]]
    assert isinstance(held, Graph)
    return held


def _run(graph: Graph, inputs: Sequence[Array], active: Sequence[bool]) -> list[Array]:
    values: list[Any] = [(x,) for x in inputs]
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        values.append(_applied(node, [values[ref.node][ref.result] for ref in node.operands], active[i]))
    return [np.asarray(values[ref.node][ref.result]) for ref in graph.outputs]


def _applied(node: Node, operands: Sequence[Array], active: bool) -> tuple[Any, ...]:
    op, attributes = lookup(node.op), dict(node.attributes)
    if active and node.op in _ENTERED:
        inner = _entered(node)
        return tuple(_run(inner, operands, _active(inner, [k for k, x in enumerate(operands) if np.iscomplexobj(x)])))
    if active and op.continuation is not None:
        return as_tuple(op.continuation(*operands, **attributes))
    real = [np.ascontiguousarray(x.real).reshape(np.shape(x)) if np.iscomplexobj(x) else x for x in operands]
    if isinstance(op.derivative, Structured):
        return tuple(runner(node, program_of)([np.asarray(x, order="C") for x in real], never))
    assert op.apply is not None, f"{node.op} should have been expanded"
    return as_tuple(op.apply(*real, **attributes))
