"""Which sweep answers a query: over given rows (seeds or points), or over a basis (a matrix).

The mode of a matrix is chosen by static cost. A way to compute it is a vector graph with the axis
its rows are of; the cheapest is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from ..graph import Graph
from ..ops.control import runs_forward
from ..query import Hessian, HessianDiagonal, Jacobian
from ..transforms import derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached
from ..transforms.simplify import simplify
from .drawing import Drawing
from .plan import Axis, Sweep
from .price import price, price_of
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


def sweep_basis(drawing: Drawing, query: int, graph: Graph, asked: Jacobian | Hessian | HessianDiagonal, at_once: bool) -> None:
    """A matrix: swept over unit seeds, or `at_once` with symbolic ones where that is cheaper."""
    wrt = positions(graph, asked.wrt)
    columns = [graph.input_types[i] for i in wrt]
    width = sum(t.size for t in columns)
    if isinstance(asked, Jacobian):
        vector, axis, note = min(_jacobian_candidates(graph, wrt, asked), key=lambda c: _swept_price(c[0]))
        rows = vector.input_types[-1].size
        pieces = graph.output_types if axis is Axis.COLUMN else tuple(columns)
    else:
        dot = isinstance(asked, HessianDiagonal)
        vector = simplify(seeded(derive.hvp(graph, wrt), graph.arity, columns, common_dtype(columns), dot))
        rows, axis, note = width, Axis.ROW if dot else Axis.COLUMN, "the Hessian's diagonal by HVPs" if dot else "the Hessian by HVPs, a column each"
        pieces = tuple(columns)

    if at_once:
        ways = sorted(((price(expand(whole)), whole, said) for whole, said in whole_matrix(graph, wrt, asked)), key=lambda way: way[0])
        if ways and ways[0][0] <= _swept_price(vector):
            drawing.whole(query, ways[0][1], note=ways[0][2])
            return

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), rows, 1, axis, vector.output_types[0], pieces, note)

    drawing.sweep(query, vector, drawing.inputs, [graph.arity], sweep)


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


def _swept_price(vector: Graph) -> int:
    """Of `once` and of all rows."""
    expanded = expand(vector)
    moving = reached(expanded, [expanded.arity - 1])
    return price_of(expanded, [not m for m in moving]) + price_of(expanded, moving, vector.input_types[-1].size)
