"""Which sweep answers a query: over given rows (seeds or points), or over a basis (a matrix).

The mode of a matrix is chosen by static cost. A way to compute it is a vector graph with the axis
its rows are of; the cheapest is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import GraphError
from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..query import Curvature, EmpiricalFisher, Fisher, GaussNewton, Hessian, HessianDiagonal, Hvp, Jacobian
from ..transforms import curvature, derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached
from ..transforms.simplify import simplify
from .drawing import Drawing
from .plan import Axis, Sweep
from .price import BLOCK, price, price_of
from .vectors import common_dtype, every_output, flattened, seeded
from .whole import whole_matrix


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


@dataclass(frozen=True, slots=True)
class Way:
    """A way to sweep a matrix: `derived` with its seeds, shaped like `leaves`, behind the graph's own inputs."""

    derived: Graph
    leaves: Sequence[Type]
    axis: Axis
    note: str

    @property
    def rows(self) -> int:
        return sum(t.size for t in self.leaves)

    def price(self, arity: int) -> int:
        """Of `once` and of all rows, in one block."""
        expanded = expand(self.derived)
        moving = reached(expanded, range(arity, expanded.arity))
        return price_of(expanded, [not m for m in moving]) + price_of(expanded, moving, self.rows) + BLOCK


def sweep_basis(drawing: Drawing, query: int, graph: Graph, asked: Jacobian | Hessian | HessianDiagonal | Curvature, at_once: bool) -> None:
    """A matrix: swept over unit seeds, or `at_once` with symbolic ones where that is no dearer."""
    wrt = positions(graph, asked.wrt)
    columns, dot = [graph.input_types[i] for i in wrt], isinstance(asked, HessianDiagonal)
    if isinstance(asked, Jacobian):
        way = min(_jacobian_ways(graph, wrt, asked), key=lambda way: way.price(graph.arity))
        dtype = common_dtype([t for t in (*columns, *graph.output_types) if t.is_float])
        pieces = graph.output_types if way.axis is Axis.COLUMN else tuple(columns)
    else:
        way = Way(product_graph(graph, asked), columns, Axis.ROW if dot else Axis.COLUMN, _NOTES[type(asked)])
        dtype, pieces = common_dtype(columns), tuple(columns)
    whole = None
    if at_once and not isinstance(asked, Curvature):
        whole = whole_matrix(graph, wrt, asked, "forward" if way.axis is Axis.COLUMN else "reverse")
    if whole is not None and price(expand(whole)) <= way.price(graph.arity):
        drawing.whole(query, whole, note=f"at once: {way.note.partition(',')[0].partition(' by ')[0]}")
        return
    vector = simplify(seeded(way.derived, graph.arity, way.leaves, dtype, dot))

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), way.rows, 1, way.axis, vector.output_types[0], pieces, way.note)

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


def _jacobian_ways(graph: Graph, wrt: Sequence[int], asked: Jacobian) -> list[Way]:
    """The modes worth pricing. Both only where the sizes are not lopsided."""
    columns, rows = [graph.input_types[i] for i in wrt], graph.output_types
    n, m = sum(t.size for t in columns), sum(t.size for t in rows)
    result = []
    if asked.mode == "forward" or (asked.mode == "auto" and n <= 8 * max(m, 1)):
        tangent = every_output(graph, derive.jvp(graph, wrt))
        if asked.mode == "forward" or runs_forward(tangent):
            result.append(Way(tangent, columns, Axis.COLUMN, "the Jacobian in forward mode, a column each"))
    if asked.mode == "reverse" or (asked.mode == "auto" and (m <= 8 * max(n, 1) or not result)):
        result.append(Way(derive.vjp(graph, wrt), rows, Axis.ROW, "the Jacobian in reverse mode, a row each"))
    return result
