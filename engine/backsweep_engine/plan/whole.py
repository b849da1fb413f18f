"""Derivatives computed at once in `once`, where the plan has a choice: matrices with symbolic seeds, gradients in forward mode.

Each is offered as a graph with its note; what is cheaper by `price` is drawn. A matrix is worked out whole
only where it is small enough to be one block of a sweep or so: larger ones are swept, streamed and shared out.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Type
from ..ops.build import call, cast, zeros
from ..ops.control import runs_forward
from ..ops.op import Structured, lookup
from ..ops.pieces import cut
from ..ops.shape import reshape
from ..ops.term import Term
from ..query import Hessian, HessianDiagonal, Jacobian
from ..transforms import derive, matrices
from ..transforms.expand import expand
from ..transforms.fuse import fuse
from ..transforms.simplify import simplify
from .cost import graph_cost
from .memory import layout
from .price import price
from .vectors import common_dtype, copied_inputs

WHOLE_BYTES = 64 << 20
"""A matrix of at most so many bytes may be worked out whole, with as much again on the way,"""

WHOLE_FLOPS = 2_000_000_000
"""and in so many flops: some tenths of a second of matrix products."""

FEW = 16
"""Up to so many inputs forward mode is weighed for a gradient,"""

MOST_INPUTS = 16
"""and up to so many arrays a matrix is derived by one by one."""


def whole_matrix(graph: Graph, wrt: Sequence[int], asked: Jacobian | Hessian | HessianDiagonal, mode: str) -> Graph | None:
    """The matrix as the output of one graph (of a diagonal, an output for each input); None if it is too large. `mode`: of a Jacobian."""
    columns = [graph.input_types[i] for i in wrt]
    rows = list(graph.output_types) if isinstance(asked, Jacobian) else columns
    n, m = sum(t.size for t in columns), sum(t.size for t in rows)
    if asked.block or not n or not m or n * m * 8 > WHOLE_BYTES or max(len(rows), len(columns)) > MOST_INPUTS:
        return None
    if isinstance(asked, Jacobian):
        whole = _jacobian(graph, wrt, mode)
    else:
        whole = _hessian(graph, wrt) if isinstance(asked, Hessian) else _diagonal(graph, wrt)
    expanded = expand(whole)
    inputs = sum(t.nbytes for t in graph.input_types)
    fits = layout(expanded).peak_bytes <= 2 * WHOLE_BYTES + inputs and graph_cost(expanded).flops <= WHOLE_FLOPS
    return whole if fits else None


def _jacobian(graph: Graph, wrt: Sequence[int], mode: str) -> Graph:
    columns, rows = [graph.input_types[i] for i in wrt], list(graph.output_types)
    dtype = common_dtype([t for t in (*columns, *rows) if t.is_float])
    builder, inputs = copied_inputs(graph)
    moving = iter((matrices.forward if mode == "forward" else matrices.reverse)(graph, wrt, inputs))
    grid = [next(moving) if t.is_float else [None] * len(columns) for t in rows]
    return simplify(builder.build([("", _joined(inputs, grid, rows, columns, dtype).ref)]))


def _joined(inputs: Sequence[Term], grid: Sequence[Sequence[Term | None]], rows: Sequence[Type], columns: Sequence[Type], dtype: object) -> Term:
    """One matrix from the derivative of each output by each input."""
    bands = []
    for row, entries in zip(rows, grid, strict=True):
        band = []
        for column, entry in zip(columns, entries, strict=True):
            shape = (row.size, column.size)
            band.append(zeros(inputs[0].builder, Type(dtype, shape)) if entry is None else cast(reshape(entry, shape), dtype))  # type: ignore[arg-type]
        bands.append(band[0] if len(band) == 1 else call("concat", *band, axis=1))
    return bands[0] if len(bands) == 1 else call("concat", *bands, axis=0)


def _hessian(graph: Graph, wrt: Sequence[int]) -> Graph:
    builder, inputs = copied_inputs(graph)
    columns = [graph.input_types[i] for i in wrt]
    grid = matrices.forward(derive.gradient(graph, wrt), wrt, inputs)
    return simplify(builder.build([("", _joined(inputs, grid, columns, columns, common_dtype(columns)).ref)]))


def _diagonal(graph: Graph, wrt: Sequence[int]) -> Graph:
    builder, inputs = copied_inputs(graph)
    outputs = []
    for i in wrt:
        type = graph.input_types[i]
        ((square,),) = matrices.forward(derive.gradient(graph, [i]), [i], inputs)
        n = type.size
        line = cut(reshape(square, (n * n,)), (0,), (n * n,), (n + 1,)) if n else zeros(builder, type.with_shape((0,)))
        outputs.append((graph.input_names[i], reshape(line, type.shape).ref))
    return simplify(builder.build(outputs))


# Gradients.


def forward_gradient(graph: Graph, wrt: Sequence[int]) -> Graph | None:
    """`value_and_gradient` by a tangent per element of the inputs; None where that cannot pay: without a loop, or by many inputs."""
    if not 0 < sum(graph.input_types[i].size for i in wrt) <= FEW or not _loops(graph):
        return None
    if not all(runs_forward(derive.jvp(graph, [i])) for i in wrt):
        return None
    builder, inputs = copied_inputs(graph)
    (value,), (entries,) = matrices.value_and_forward(graph, wrt, inputs)
    names = derive.value_and_gradient(graph, wrt).output_names
    return simplify(builder.build([(name, y.ref) for name, y in zip(names, [value, *entries], strict=True)]))


def _loops(graph: Graph) -> bool:
    """Whether anything in it runs more than once."""
    for node in graph.nodes[graph.arity :]:
        derivative = lookup(node.op).derivative
        if isinstance(derivative, Structured) and any(trips > 1 or any(map(_loops, held)) for trips, held in derivative.runs(**dict(node.attributes))):
            return True
    return False


def value_and_gradient(graph: Graph, wrt: Sequence[int]) -> tuple[Graph, str]:
    """The cheaper of reverse and forward mode, and why; the note is empty where there was no choice."""
    reverse = derive.value_and_gradient(graph, wrt)
    forward = forward_gradient(graph, wrt)
    if forward is None:
        return reverse, ""
    costs = [price(fuse(expand(g))) for g in (forward, reverse)]
    kept = [layout(fuse(expand(g)), True).peak_bytes for g in (forward, reverse)]
    best, other = ("forward", "reverse") if costs[0] <= costs[1] else ("reverse", "forward")
    ratio = max(costs) / max(1, min(costs))
    n = sum(graph.input_types[i].size for i in wrt)
    note = f"the gradient by {n} inputs in {best} mode: {other} costs {ratio:.2g} times as much ({kept[0]} bytes at the peak forward, {kept[1]} reverse)"
    return (forward if best == "forward" else reverse), note
