"""Which sweep answers a query: over given rows (seeds or points), or over a basis (a matrix).

The mode of a matrix is chosen by static cost. A way to compute it is a vector graph with the axis
its rows are of; the cheapest is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from ..graph import Graph, Node
from ..ops.control import runs_forward
from ..query import Curvature, EmpiricalFisher, Fisher, GaussNewton, Hessian, HessianDiagonal, Hvp, Jacobian
from ..transforms import curvature, derive
from ..transforms.rewrite import positions, reached
from ..transforms.simplify import simplify
from .cost import node_cost
from .drawing import Drawing
from .plan import Axis, Sweep
from .vectors import common_dtype, every_output, flattened, seeded


def sweep_rows(drawing: Drawing, query: int, derived: Graph, seeds: Sequence[str], rows: Sequence[int], given: Sequence[str], count: int, axis: Axis) -> None:
    """Sweeps a derived graph over given rows: seeds (axis ROW) or points (axis POINT)."""
    types = derived.output_types
    if axis is Axis.POINT and any(not t.is_float for t in types) and any(t.is_float for t in types):
        raise GraphError("batched points with both floating and integer outputs are not built yet", reason="NOT_BUILT_YET", hint="ask point by point")
    vector = flattened(derived, common_dtype(types))
    # Seeds that are rows exist only in the sweep; the others are inputs of `once`.
    moving = set(rows)
    if axis is Axis.ROW:
        known = [t for i, t in enumerate(drawing.inputs) if i not in moving]
    else:
        known = [t for i, t in enumerate(drawing.operands(derived, seeds)) if i not in moving]

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, tuple(given), count, 1, axis, vector.output_types[0], types, "the graph over given rows")

    drawing.sweep(query, vector, known, rows, sweep)


def sweep_basis(drawing: Drawing, query: int, graph: Graph, asked: Jacobian | Hessian | HessianDiagonal | Curvature) -> None:
    wrt = positions(graph, asked.wrt)
    columns = [graph.input_types[i] for i in wrt]
    width = sum(t.size for t in columns)
    if isinstance(asked, Jacobian):
        vector, axis, note = min(_jacobian_candidates(graph, wrt, asked), key=lambda c: _sweep_cost(c[0]))
        rows = vector.input_types[-1].size
        pieces = graph.output_types if axis is Axis.COLUMN else tuple(columns)
    else:
        dot = isinstance(asked, HessianDiagonal)
        vector = simplify(seeded(product_graph(graph, asked), graph.arity, columns, common_dtype(columns), dot))
        rows, axis, note = width, Axis.ROW if dot else Axis.COLUMN, _NOTES[type(asked)]
        pieces = tuple(columns)

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), rows, 1, axis, vector.output_types[0], pieces, note)

    drawing.sweep(query, vector, drawing.inputs, [graph.arity], sweep)


def product_graph(graph: Graph, asked: Hvp | Hessian | HessianDiagonal | Curvature) -> Graph:
    """The product of a symmetric matrix with a tangent: what is asked for, or what the matrix is made by."""
    wrt = positions(graph, asked.wrt)
    match asked:
        case GaussNewton():
            return curvature.gauss_newton(graph, wrt, asked.through)
        case Fisher():
            return curvature.fisher(graph, wrt, asked.family)
        case EmpiricalFisher():
            return curvature.empirical_fisher(graph, wrt)
    return derive.hvp(graph, wrt)


_NOTES: dict[type, str] = {
    Hessian: "the Hessian by HVPs, a column each",
    HessianDiagonal: "the Hessian's diagonal by HVPs",
    GaussNewton: "the Gauss-Newton matrix by its products, a column each",
    Fisher: "the Fisher information by its products, a column each",
    EmpiricalFisher: "the empirical Fisher by its products, a column each",
}


def _jacobian_candidates(graph: Graph, wrt: Sequence[int], asked: Jacobian) -> list[tuple[Graph, Axis, str]]:
    """The modes worth pricing: (vector graph, axis, note). Both only where the sizes are not lopsided."""
    columns, rows = [graph.input_types[i] for i in wrt], graph.output_types
    n, m = sum(t.size for t in columns), sum(t.size for t in rows)
    dtype = common_dtype([t for t in (*columns, *rows) if t.is_float])
    result = []
    if asked.mode == "forward" or (asked.mode == "auto" and n <= 8 * max(m, 1)):
        tangent = every_output(graph, derive.jvp(graph, wrt))
        if asked.mode == "forward" or runs_forward(tangent):
            result.append((simplify(seeded(tangent, graph.arity, columns, dtype)), Axis.COLUMN, "the Jacobian in forward mode, a column each"))
    if asked.mode == "reverse" or (asked.mode == "auto" and (m <= 8 * max(n, 1) or not result)):
        result.append((simplify(seeded(derive.vjp(graph, wrt), graph.arity, rows, dtype)), Axis.ROW, "the Jacobian in reverse mode, a row each"))
    return result


def _sweep_cost(vector: Graph) -> int:
    """Flops of all rows of the part of `vector` the seed reaches."""
    moving = reached(vector, [vector.arity - 1])
    flops = sum(_node_flops(vector, node) for i, node in enumerate(vector.nodes) if moving[i] and i >= vector.arity)
    return flops * vector.input_types[-1].size


def _node_flops(graph: Graph, node: Node) -> int:
    # A move costs too: count a flop for every 16 bytes.
    cost = node_cost(graph, node)
    return cost.flops + cost.bytes // 16
