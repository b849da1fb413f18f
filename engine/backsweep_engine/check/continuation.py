"""The complex step's evaluation: a graph at x + i h v, each op by its analytic continuation.

A judge's evaluation only, of first derivatives: no graph holds complex numbers. What the moving inputs do
not reach runs as it always does; what they reach must have a `continuation` in the op table.
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
from ..transforms.rewrite import as_tuple, positions, reached
from ..transforms.simplify import simplify
from .probe import Bench, Probe

Array = np.ndarray[Any, Any]

_STEP = 2.0**-100


@dataclass(frozen=True, slots=True)
class Continued:
    """A graph all of whose moving nodes have continuations; `moving`: which nodes the wrt inputs reach."""

    graph: Graph
    moving: tuple[bool, ...]

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
            results = _run(self.graph, inputs, self.moving)
        weight, total, at = lines.weight(probe), 0.0, 0
        for o in floating_outputs(lines.graph):
            y = np.asarray(results[o])
            slopes = (y.imag if y.dtype.kind == "c" else np.zeros(y.shape)).reshape(-1) / _STEP
            total += float(slopes @ weight[at : at + y.size])
            at += y.size
        return total


def continued(graph: Graph, wrt: Sequence[str]) -> Continued:
    """Raises GraphError, with the node, where a moving node has no continuation."""
    spelled = expand(simplify(graph))
    moving = reached(spelled, positions(spelled, wrt))
    _require(spelled, moving, None)
    return Continued(spelled, tuple(moving))


_ENTERED = {"checkpoint": "body", "custom": "primal"}
"""Ops that run a graph they hold, once, on their operands: by the attribute that holds it."""


def _require(graph: Graph, moving: Sequence[bool], origin: int | None) -> None:
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if not moving[i] or not any(t.is_float for t in node.types):
            continue
        if node.op in _ENTERED:
            inner: Any = dict(node.attributes)[_ENTERED[node.op]]
            within = [k for k, ref in enumerate(node.operands) if moving[ref.node]]
            _require(inner, reached(inner, within), node.origin if origin is None else origin)
        elif lookup(node.op).continuation is None:
            raise GraphError(
                "the complex step cannot pass an op that has no analytic continuation",
                reason="NOT_DIFFERENTIABLE",
                node=node.origin if origin is None else origin,
                op=node.op,
                got="judge complex_step",
                allowed="central2, central4, central6, richardson or taylor",
                hint="choose another judge",
            )


def _run(graph: Graph, inputs: Sequence[Array], moving: Sequence[bool]) -> list[Array]:
    values: list[Any] = [(x,) for x in inputs]
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        values.append(_applied(node, [values[ref.node][ref.result] for ref in node.operands], moving[i]))
    return [np.asarray(values[ref.node][ref.result]) for ref in graph.outputs]


def _applied(node: Node, operands: Sequence[Array], moving: bool) -> tuple[Any, ...]:
    op, attributes = lookup(node.op), dict(node.attributes)
    if moving and node.op in _ENTERED:
        inner: Any = attributes[_ENTERED[node.op]]
        return tuple(_run(inner, operands, reached(inner, [k for k, x in enumerate(operands) if np.iscomplexobj(x)])))
    if isinstance(op.derivative, Structured):
        return tuple(runner(node, program_of)([np.asarray(x, order="C") for x in operands], never))
    if moving and op.continuation is not None and any(t.is_float for t in node.types):
        return as_tuple(op.continuation(*operands, **attributes))
    assert op.apply is not None, f"{node.op} should have been expanded"
    # An integer or bool result of a moving operand (a comparison) is of its real part: nothing passes through it.
    real = [x.real if np.iscomplexobj(x) else x for x in operands]
    return as_tuple(op.apply(*real, **attributes))
