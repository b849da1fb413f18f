"""Which sweep answers a query: over given rows (seeds or points), or over a basis (a matrix).

The mode of a matrix is chosen by static cost. A way to compute it is a vector graph with the axis
its rows are of; the cheapest is drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..errors import GraphError
from ..graph import Graph, Node, Type
from ..ops.control import runs_forward
from ..query import Hessian, HessianDiagonal, Jacobian
from ..transforms import derive
from ..transforms.rewrite import positions, reached
from ..transforms.simplify import simplify
from .compressed import Choice, Modes, Products, Way
from .compressed import diagonal as compressed_diagonal
from .compressed import hessian as compressed_hessian
from .compressed import jacobian as compressed_jacobian
from .cost import node_cost
from .drawing import Drawing
from .plan import Axis, Sweep
from .recovery import Recovery
from .seeds import Signs
from .structure import Bound
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


def sweep_basis(drawing: Drawing, query: int, graph: Graph, asked: Jacobian | Hessian | HessianDiagonal, bound: Bound, memory_bytes: int) -> None:
    """A matrix, or its diagonal: swept as it is, or compressed where its pattern allows and that costs less."""
    wrt, bound = positions(graph, asked.wrt), bound.without(asked.wrt)
    columns = tuple(graph.input_types[i] for i in wrt)
    if isinstance(asked, HessianDiagonal) and asked.method == "estimate":
        signs = simplify(seeded(derive.hvp(graph, wrt), graph.arity, columns, common_dtype(columns), "times"))
        note = f"the Hessian's diagonal estimated from {asked.samples} products with random signs"
        _sweep(drawing, query, Way(signs, Axis.ROW, asked.samples, columns, note, Signs(asked.seed)))
        return
    if isinstance(asked, Jacobian):
        dense, compressed = _jacobian(graph, wrt, asked, bound, memory_bytes)
    else:
        dense, compressed = _hessian(graph, wrt, asked, bound, memory_bytes)
    if isinstance(compressed, str):
        _sweep(drawing, query, replace(dense, note=f"{dense.note} ({compressed})") if compressed else dense)
        return
    for way in compressed.ways:
        _sweep(drawing, query, way)
    rows = graph.output_types if isinstance(asked, Jacobian) else columns
    type = Type(compressed.ways[0].vector.output_types[0].dtype, (sum(t.size for t in rows), sum(t.size for t in columns)))
    drawing.recover(Recovery(query, compressed.form, type, compressed.pattern, compressed.source, compressed.note), compressed.read)


def _sweep(drawing: Drawing, query: int, way: Way) -> None:
    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), way.rows, 1, way.axis, way.vector.output_types[0], way.pieces, way.note, way.seeds)

    drawing.sweep(query, way.vector, drawing.inputs, [way.vector.arity - 1], sweep)


def _jacobian(graph: Graph, wrt: Sequence[int], asked: Jacobian, bound: Bound, memory_bytes: int) -> tuple[Way, Choice]:
    columns = tuple(graph.input_types[i] for i in wrt)
    candidates = _jacobian_candidates(graph, wrt, asked)
    vector, axis, note = min(candidates, key=lambda c: _sweep_cost(c[0]))
    rows = vector.input_types[-1].size
    dense = Way(vector, axis, rows, graph.output_types if axis is Axis.COLUMN else columns, note)
    known = {axis: vector for vector, axis, _ in candidates}

    def mode(axis: Axis) -> Graph:
        return known.get(axis) or _jacobian_vector(graph, wrt, axis)

    modes = Modes(lambda: mode(Axis.COLUMN), lambda: mode(Axis.ROW), _row_cost, graph.output_types, columns)
    return dense, compressed_jacobian(modes, asked, _sweep_cost(vector), bound, memory_bytes)


def _hessian(graph: Graph, wrt: Sequence[int], asked: Hessian | HessianDiagonal, bound: Bound, memory_bytes: int) -> tuple[Way, Choice]:
    columns = tuple(graph.input_types[i] for i in wrt)
    width, product = sum(t.size for t in columns), derive.hvp(graph, wrt)
    whole = simplify(seeded(product, graph.arity, columns, common_dtype(columns)))
    products = Products(whole, _row_cost(whole), columns, _has_own_vjp(graph))
    if isinstance(asked, Hessian):
        dense = Way(whole, Axis.COLUMN, width, columns, "the Hessian by HVPs, a column each")
        return dense, compressed_hessian(products, asked, _sweep_cost(whole), bound, memory_bytes)
    dotted = simplify(seeded(product, graph.arity, columns, common_dtype(columns), "dot"))
    dense = Way(dotted, Axis.ROW, width, columns, "the Hessian's diagonal by HVPs")
    return dense, compressed_diagonal(products, asked, _sweep_cost(dotted), bound, memory_bytes)


def _has_own_vjp(graph: Graph) -> bool:
    """Of such a function nothing says that the second derivatives are symmetric."""
    return any(node.op == "custom" for node in graph.nodes) or any(map(_has_own_vjp, graph.subgraphs))


def _jacobian_candidates(graph: Graph, wrt: Sequence[int], asked: Jacobian) -> list[tuple[Graph, Axis, str]]:
    """The modes worth pricing: (vector graph, axis, note). Both only where the sizes are not lopsided."""
    columns, rows = [graph.input_types[i] for i in wrt], graph.output_types
    n, m = sum(t.size for t in columns), sum(t.size for t in rows)
    result = []
    if asked.mode == "forward" or (asked.mode == "auto" and n <= 8 * max(m, 1)):
        forward = _jacobian_vector(graph, wrt, Axis.COLUMN)
        if asked.mode == "forward" or runs_forward(forward):
            result.append((forward, Axis.COLUMN, "the Jacobian in forward mode, a column each"))
    if asked.mode == "reverse" or (asked.mode == "auto" and (m <= 8 * max(n, 1) or not result)):
        result.append((_jacobian_vector(graph, wrt, Axis.ROW), Axis.ROW, "the Jacobian in reverse mode, a row each"))
    return result


def _jacobian_vector(graph: Graph, wrt: Sequence[int], axis: Axis) -> Graph:
    """J t, or c J, over ravels."""
    columns, rows = [graph.input_types[i] for i in wrt], graph.output_types
    dtype = common_dtype([t for t in (*columns, *rows) if t.is_float])
    if axis is Axis.COLUMN:
        return simplify(seeded(every_output(graph, derive.jvp(graph, wrt)), graph.arity, columns, dtype))
    return simplify(seeded(derive.vjp(graph, wrt), graph.arity, rows, dtype))


def _sweep_cost(vector: Graph) -> int:
    """Flops of all rows of the part of `vector` the seed reaches."""
    return _row_cost(vector) * vector.input_types[-1].size


def _row_cost(vector: Graph) -> int:
    moving = reached(vector, [vector.arity - 1])
    return sum(_node_flops(vector, node) for i, node in enumerate(vector.nodes) if moving[i] and i >= vector.arity)


def _node_flops(graph: Graph, node: Node) -> int:
    # A move costs too: count a flop for every 16 bytes.
    cost = node_cost(graph, node)
    return cost.flops + cost.bytes // 16
