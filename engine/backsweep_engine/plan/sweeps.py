"""Which sweep answers a query: over given rows (seeds or points), or over a basis (a matrix).

A matrix is worked out at once with symbolic seeds, swept over unit seeds, or compressed, where its pattern
allows, to a seed for each colour or to its bands: by static cost, whichever is least. Curvature matrices are swept as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..query import Curvature, EmpiricalFisher, Fisher, GaussNewton, Hessian, HessianDiagonal, Hvp, Jacobian
from ..transforms import curvature, derive
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached
from ..transforms.simplify import simplify
from .compressed import Choice, Modes, Products, Way
from .compressed import diagonal as compressed_diagonal
from .compressed import hessian as compressed_hessian
from .compressed import jacobian as compressed_jacobian
from .cost import costs
from .drawing import Drawing
from .plan import Axis, Sweep
from .price import BLOCK, price, price_of
from .recovery import Recovery
from .seeds import Signs
from .structure import Bound
from .vectors import common_dtype, every_output, flattened, seeded
from .whole import whole_matrix

Matrix = Jacobian | Hessian | HessianDiagonal


def sweep_rows(drawing: Drawing, query: int, derived: Graph, seeds: Sequence[str], rows: Sequence[int], given: Sequence[str], count: int, axis: Axis) -> None:
    """Sweeps a derived graph over given rows: seeds (axis ROW) or points (axis POINT)."""
    if axis is Axis.POINT:
        # Integers keep their digits: they are swept by themselves.
        kinds = [[p for p, t in enumerate(derived.output_types) if t.is_float is floating] for floating in (True, False)]
        for parts in filter(None, kinds):
            _sweep_kind(drawing, query, derived.select(parts), seeds, rows, given, count, axis, parts)
    else:
        _sweep_kind(drawing, query, derived, seeds, rows, given, count, axis, ())


def _sweep_kind(
    drawing: Drawing,
    query: int,
    derived: Graph,
    seeds: Sequence[str],
    rows: Sequence[int],
    given: Sequence[str],
    count: int,
    axis: Axis,
    parts: Sequence[int],
) -> None:
    types = derived.output_types
    vector = flattened(derived, common_dtype(types))
    # Seeds that are rows exist only in the sweep; the others are inputs of `once`.
    moving = set(rows)
    if axis is Axis.ROW:
        known = [t for i, t in enumerate(drawing.inputs) if i not in moving]
    else:
        known = [t for i, t in enumerate(drawing.operands(derived, seeds)) if i not in moving]

    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, tuple(given), count, 1, axis, vector.output_types[0], types, "the graph over given rows", parts=tuple(parts))

    drawing.sweep(query, vector, known, rows, sweep)


@dataclass(frozen=True, slots=True)
class Unit:
    """A matrix swept as it is, over unit seeds: `derived` with its seeds, shaped like `leaves`, behind the graph's own inputs.

    `compress`: told what a matrix may cost in flops, the bound arrays, the budget and whether it may be computed at once, how to
    compress it for less, or why not.
    """

    derived: Graph
    arity: int
    leaves: tuple[Type, ...]
    pieces: tuple[Type, ...]
    axis: Axis
    note: str
    vector: Callable[[], Graph]
    compress: Callable[[int, Bound, int, bool], Choice]

    @property
    def rows(self) -> int:
        return sum(t.size for t in self.leaves)

    @property
    def cost(self) -> int:
        """Flops of all rows of what the seeds reach."""
        return _row_cost(expand(self.derived), range(self.arity, self.derived.arity)) * self.rows

    def prices(self) -> tuple[int, int]:
        """Of what no seed reaches, and of all rows in one block."""
        expanded = expand(self.derived)
        moving = reached(expanded, range(self.arity, expanded.arity))
        return price_of(expanded, [not m for m in moving]), price_of(expanded, moving, self.rows) + BLOCK

    def way(self, why: str = "") -> Way:
        return Way(self.vector(), self.axis, self.rows, self.pieces, f"{self.note} ({why})" if why else self.note)


def sweep_basis(drawing: Drawing, query: int, graph: Graph, asked: Matrix | Curvature, bound: Bound, memory_bytes: int, at_once: bool) -> None:
    """A matrix, or its diagonal: see the module. `at_once`: whether it may be worked out whole."""
    wrt, bound = positions(graph, asked.wrt), bound.without(asked.wrt)
    columns = tuple(graph.input_types[i] for i in wrt)
    if isinstance(asked, Curvature):
        vector = simplify(seeded(product_graph(graph, asked), graph.arity, columns, common_dtype(columns)))
        _sweep(drawing, query, Way(vector, Axis.COLUMN, sum(t.size for t in columns), columns, _NOTES[type(asked)]))
        return
    if isinstance(asked, HessianDiagonal) and asked.method == "estimate":
        signs = simplify(seeded(derive.hvp(graph, wrt), graph.arity, columns, common_dtype(columns), "times"))
        note = f"the Hessian's diagonal estimated from {asked.samples} products with random signs"
        _sweep(drawing, query, Way(signs, Axis.ROW, asked.samples, columns, note, Signs(asked.seed)))
        return
    unit = _jacobian(graph, wrt, asked) if isinstance(asked, Jacobian) else _hessian(graph, wrt, asked)
    whole, cost = _at_once(graph, wrt, asked, unit) if at_once else (None, unit.cost)
    compressed = unit.compress(cost, bound, memory_bytes, at_once)
    if not isinstance(compressed, str):
        for way in compressed.ways:
            _sweep(drawing, query, way)
        if compressed.bands is not None:
            drawing.whole(query, compressed.bands, note=f"at once: the Jacobian by its bands, {compressed.bands.output_types[0]}")
        rows = graph.output_types if isinstance(asked, Jacobian) else columns
        yielded = compressed.ways[0].vector if compressed.bands is None else compressed.bands
        matrix = Type(yielded.output_types[0].dtype, (sum(t.size for t in rows), sum(t.size for t in columns)))
        drawing.recover(Recovery(query, compressed.form, matrix, compressed.pattern, compressed.source, compressed.note), compressed.read)
    elif whole is not None:
        drawing.whole(query, whole, note=f"at once: {unit.note.partition(',')[0].partition(' by ')[0]}")
    else:
        _sweep(drawing, query, unit.way(compressed))


def _at_once(graph: Graph, wrt: Sequence[int], asked: Matrix, unit: Unit) -> tuple[Graph | None, int]:
    """The matrix whole where that is no dearer than sweeping it as it is, and what the cheaper of the two costs beyond what no seed reaches."""
    if getattr(asked, "layout", "dense") != "dense" or getattr(asked, "method", "exact") != "exact":
        return None, unit.cost
    whole = whole_matrix(graph, wrt, asked, "forward" if unit.axis is Axis.COLUMN else "reverse")
    once, rows = unit.prices()
    if whole is None or (paid := price(expand(whole))) > once + rows:
        return None, unit.cost
    return whole, min(unit.cost, max(1, paid - once))


def _sweep(drawing: Drawing, query: int, way: Way) -> None:
    def sweep(each: Graph, shared: tuple[str, ...]) -> Sweep:
        return Sweep(query, each, shared, (), way.rows, 1, way.axis, way.vector.output_types[0], way.pieces, way.note, way.seeds)

    drawing.sweep(query, way.vector, drawing.inputs, [way.vector.arity - 1], sweep)


def _jacobian(graph: Graph, wrt: Sequence[int], asked: Jacobian) -> Unit:
    columns, rows = tuple(graph.input_types[i] for i in wrt), graph.output_types
    dtype = common_dtype([t for t in (*columns, *rows) if t.is_float])

    @cache
    def derived(axis: Axis) -> Graph:
        return every_output(graph, derive.jvp(graph, wrt)) if axis is Axis.COLUMN else derive.vjp(graph, wrt)

    @cache
    def vector(axis: Axis) -> Graph:
        return simplify(seeded(derived(axis), graph.arity, columns if axis is Axis.COLUMN else rows, dtype))

    def compress(cost: int, bound: Bound, memory_bytes: int, at_once: bool) -> Choice:
        modes = Modes(lambda: vector(Axis.COLUMN), lambda: vector(Axis.ROW), _vector_cost, rows, columns)
        return compressed_jacobian(modes, asked, cost, bound, memory_bytes, at_once)

    units = []
    for axis in _modes(asked, derived, sum(t.size for t in columns), sum(t.size for t in rows)):
        forward = axis is Axis.COLUMN
        note = "the Jacobian in forward mode, a column each" if forward else "the Jacobian in reverse mode, a row each"
        leaves, pieces = (columns, rows) if forward else (rows, columns)
        units.append(Unit(derived(axis), graph.arity, leaves, pieces, axis, note, lambda axis=axis: vector(axis), compress))  # type: ignore[misc]
    return min(units, key=lambda unit: sum(unit.prices()))


def _modes(asked: Jacobian, derived: Callable[[Axis], Graph], n: int, m: int) -> list[Axis]:
    """The modes worth pricing, for n columns and m rows. Both only where the sizes are not lopsided."""
    found = []
    if asked.mode == "forward" or (asked.mode == "auto" and n <= 8 * max(m, 1) and runs_forward(derived(Axis.COLUMN))):
        found.append(Axis.COLUMN)
    if asked.mode == "reverse" or (asked.mode == "auto" and (m <= 8 * max(n, 1) or not found)):
        found.append(Axis.ROW)
    return found


def _hessian(graph: Graph, wrt: Sequence[int], asked: Hessian | HessianDiagonal) -> Unit:
    columns, product = tuple(graph.input_types[i] for i in wrt), derive.hvp(graph, wrt)
    dtype = common_dtype(columns)

    @cache
    def vector() -> Graph:
        return simplify(seeded(product, graph.arity, columns, dtype))

    def compress(cost: int, bound: Bound, memory_bytes: int, at_once: bool) -> Choice:
        products = Products(vector(), _vector_cost(vector()), columns, _has_own_vjp(graph))
        if isinstance(asked, Hessian):
            return compressed_hessian(products, asked, cost, bound, memory_bytes)
        return compressed_diagonal(products, asked, cost, bound, memory_bytes)

    def dotted() -> Graph:
        return simplify(seeded(product, graph.arity, columns, dtype, "dot"))

    if isinstance(asked, Hessian):
        return Unit(product, graph.arity, columns, columns, Axis.COLUMN, _NOTES[Hessian], vector, compress)
    return Unit(product, graph.arity, columns, columns, Axis.ROW, _NOTES[HessianDiagonal], dotted, compress)


def _has_own_vjp(graph: Graph) -> bool:
    """Of such a function nothing says that the second derivatives are symmetric."""
    return any(node.op == "custom" for node in graph.nodes) or any(map(_has_own_vjp, graph.subgraphs))


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


def _vector_cost(vector: Graph) -> int:
    """Flops of a row of a vector graph."""
    return _row_cost(expand(vector), [vector.arity - 1])


def _row_cost(graph: Graph, seeds: Sequence[int]) -> int:
    """Flops of what the seeds reach. A move costs too: a flop for every 16 bytes."""
    moving = reached(graph, seeds)
    return sum([cost.flops + cost.bytes // 16 for i, cost in enumerate(costs(graph), graph.arity) if moving[i]])
