"""Compressed sweeps: a matrix from fewer seeds than it has columns or rows, where its pattern allows.

What there is to choose from: a seed for each column or row, colours of columns, colours of rows, both,
for Hessians stars, and no seeds at all where the matrix is made of bands. The cheapest by static cost is taken.
A matrix that is wanted sparse always has a pattern.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import OverBudget
from ..graph import Graph, Type
from ..ops.control import runs_forward
from ..query import Hessian, HessianDiagonal, Jacobian
from ..transforms.bands import banded
from ..transforms.expand import expand
from ..transforms.sparsity import effort
from ..transforms.sparsity.pattern import Ints, Pattern
from ..transforms.sparsity.pattern import full as full_pattern
from .color import Colouring
from .cost import graph_cost
from .plan import Axis
from .recovery import Form, both_ways, by_bands, by_columns, by_rows, by_stars
from .seeds import Coloured, Seeds
from .structure import Bound, Structure, structure_of

WORTH_FLOPS = 1_000_000
"""A matrix that costs less is swept as it is, without a look at its pattern, unless it is wanted sparse."""

RECOVERY_FLOPS = 8
"""What recovering an entry is counted as."""

PATTERN_FLOPS, PATTERN_BYTES = 50, 128
"""What finding a pattern is counted as: flops for each element passed, bytes for each row and column."""


@dataclass(frozen=True, slots=True)
class Way:
    """One sweep: a vector graph, the axis its rows are of, how many, and their seeds."""

    vector: Graph
    axis: Axis
    rows: int
    pieces: tuple[Type, ...]
    note: str
    seeds: Seeds | None = None


@dataclass(frozen=True, slots=True)
class Compressed:
    """How a matrix is computed: by sweeps, or at once from `bands`, a graph of what is compressed. `read`: see Plan."""

    ways: tuple[Way, ...]
    bands: Graph | None
    form: Form
    pattern: Pattern
    source: Ints
    note: str
    read: frozenset[str]


@dataclass(frozen=True, slots=True)
class Modes:
    """The vector graphs of a matrix, made when asked for, and what a row of each costs in flops.

    `forward` takes a vector over the columns to one over the rows, `reverse` the other way round.
    """

    forward: Callable[[], Graph]
    reverse: Callable[[], Graph]
    price: Callable[[Graph], int]
    rows: tuple[Type, ...]
    columns: tuple[Type, ...]

    @property
    def shapes(self) -> tuple[Sequence[int], Sequence[int]]:
        alone = [types[0].shape if len(types) == 1 else () for types in (self.rows, self.columns)]
        return alone[0], alone[1]

    @property
    def sizes(self) -> tuple[int, int]:
        return sum(t.size for t in self.rows), sum(t.size for t in self.columns)


@dataclass(frozen=True, slots=True)
class Products:
    """The vector graph of Hessian products, and what a row costs in flops.

    `lopsided`: the matrix may not be symmetric, since a function within has a vjp of its own.
    """

    vector: Graph
    price: int
    columns: tuple[Type, ...]
    lopsided: bool

    @property
    def size(self) -> int:
        return sum(t.size for t in self.columns)

    def structure(self, bound: Bound) -> Structure:
        shape = self.columns[0].shape if len(self.columns) == 1 else ()
        return structure_of(self.vector, bound, (shape, shape))


@dataclass(frozen=True, slots=True)
class _Option:
    """One way to compute it, with its cost, and what makes it; `bands`: without sweeps."""

    cost: int
    make: Callable[[], tuple[tuple[Way, ...], Ints]]
    bands: Graph | None = None


Choice = Compressed | str
"""How to compress, or why to sweep as it is ("": too little work to ask)."""


def jacobian(modes: Modes, asked: Jacobian, dense_cost: int, bound: Bound, most_bytes: int, at_once: bool) -> Choice:
    """`dense_cost`: flops of sweeping it as it is. `at_once`: whether it may be computed without sweeps."""
    sparse = asked.layout == "sparse"
    rows, columns = modes.sizes
    if not sparse and (dense_cost < WORTH_FLOPS or min(rows, columns) < 2):
        return ""
    forward = modes.forward()
    if not runs_forward(forward):
        # A vjp that is not linear in the cotangent has no columns, and its rows cannot be added up.
        return _plain_rows(modes, most_bytes) if sparse else "a vjp of its own is not linear in the cotangent"
    if why := _not_worth_finding(forward, sparse, dense_cost, most_bytes):
        return why
    structure = structure_of(forward, bound, modes.shapes)
    if not sparse and not _worth_listing(structure, most_bytes):
        return _too_full(structure)
    _require_room(structure.positions, rows, most_bytes)
    bands = _bands(forward, modes.price(forward), structure.pattern) if at_once and asked.mode == "auto" and not asked.block else None
    options = _jacobian_options(modes, asked, structure, forward, bands)
    return _cheapest(options, structure.pattern, structure, Form.SPARSE if sparse else Form.DENSE, dense_cost)


def hessian(products: Products, asked: Hessian, dense_cost: int, bound: Bound, most_bytes: int) -> Choice:
    """`dense_cost`: flops of sweeping it as it is."""
    sparse = asked.layout == "sparse"
    if not sparse and (dense_cost < WORTH_FLOPS or products.size < 2):
        return ""
    if why := _not_worth_finding(products.vector, sparse, dense_cost, most_bytes):
        return why
    structure = products.structure(bound)
    if not sparse and not _worth_listing(structure, most_bytes):
        return _too_full(structure)
    _require_room(structure.positions, products.size, most_bytes)
    pattern = structure.pattern if products.lopsided else structure.mirrored
    options = [_plain(products.vector, Axis.COLUMN, pattern, products.columns, products.price, "the Hessian by HVPs, a column each")]
    colouring = structure.columns() if products.lopsided else structure.stars()
    if colouring is not None:
        place = by_columns if products.lopsided else by_stars
        note = f"the Hessian by HVPs, {_colours(colouring, products.size, 'columns' if products.lopsided else 'variables')}"
        way = Way(products.vector, Axis.COLUMN, colouring.count, products.columns, note, Coloured(colouring.of))
        options.append(_Option(colouring.count * products.price, lambda: ((way,), place(pattern, colouring))))
    return _cheapest(iter(options), pattern, structure, Form.SPARSE if sparse else Form.DENSE, dense_cost)


def diagonal(products: Products, asked: HessianDiagonal, dense_cost: int, bound: Bound, most_bytes: int) -> Choice:
    """`dense_cost`: flops of n HVPs, an inner product each. Two variables share a seed unless they are neighbours."""
    if asked.method == "hvps" or dense_cost < WORTH_FLOPS:
        return "as asked" if asked.method == "hvps" else ""
    if why := _not_worth_finding(products.vector, False, dense_cost, most_bytes):
        return why
    structure, n = products.structure(bound), products.size
    if not _worth_listing(structure, most_bytes):
        return _too_full(structure)
    colouring = structure.proper()
    if colouring is None or colouring.count * products.price + RECOVERY_FLOPS * n >= dense_cost:
        return _COSTS_MORE
    row_of = structure.pattern.row_of()
    there = np.zeros(n, bool)
    there[row_of[row_of == structure.pattern.indices]] = True
    source = np.where(there, colouring.of.astype(np.int64) * n + np.arange(n), -1)
    note = f"the Hessian's diagonal by HVPs, {_colours(colouring, n, 'variables')}"
    way = Way(products.vector, Axis.COLUMN, colouring.count, products.columns, note, Coloured(colouring.of))
    return Compressed((way,), None, Form.DIAGONAL, structure.pattern, source, _pattern_note(structure.pattern), structure.read)


def _bands(vector: Graph, price: int, pattern: Pattern) -> _Option | None:
    """Of a vector graph over the columns, a row of which costs `price`. What no seed reaches costs as much without them, and is not counted."""
    found = banded(vector, vector.arity - 1)
    if found is None:
        return None
    own, swept = (cost.flops + cost.bytes // 16 for cost in (graph_cost(expand(found.graph)), graph_cost(expand(vector))))
    return _Option(max(1, own - (swept - price)), lambda: ((), by_bands(pattern, found.of, found.places)), found.graph)


def _jacobian_options(modes: Modes, asked: Jacobian, structure: Structure, forward: Graph, bands: _Option | None) -> Iterator[_Option]:
    """Cheapest bounds first, so that what cannot win is not coloured."""
    pattern, (rows, columns) = structure.pattern, modes.sizes
    prices: dict[Axis, int] = {}
    vectors: dict[Axis, Graph] = {}
    if asked.mode in ("auto", "forward"):
        vectors[Axis.COLUMN] = forward
    if asked.mode in ("auto", "reverse"):
        vectors[Axis.ROW] = modes.reverse()
    for axis, vector in vectors.items():
        prices[axis] = modes.price(vector)
        pieces = modes.rows if axis is Axis.COLUMN else modes.columns
        note = "the Jacobian in forward mode, a column each" if axis is Axis.COLUMN else "the Jacobian in reverse mode, a row each"
        yield _plain(vector, axis, pattern, pieces, prices[axis], note)
    bounds = {
        Axis.COLUMN: int(np.diff(pattern.indptr).max(initial=0)),
        Axis.ROW: int(np.bincount(pattern.indices, minlength=1).max(initial=0)),
    }
    best = min(prices[axis] * (columns if axis is Axis.COLUMN else rows) for axis in vectors)
    if bands is not None:
        yield bands
        best = min(best, bands.cost)
    for axis in sorted(vectors, key=lambda a: prices[a] * bounds[a]):
        if prices[axis] * bounds[axis] >= best:
            continue
        colouring = structure.columns() if axis is Axis.COLUMN else structure.rows()
        if colouring is None:
            continue
        best = min(best, colouring.count * prices[axis])
        yield _coloured(vectors[axis], axis, pattern, colouring, modes, prices[axis])
    if len(vectors) == 2:
        split = structure.split(prices[Axis.ROW], prices[Axis.COLUMN], best)
        if split is not None:
            ways = (
                _coloured_way(vectors[Axis.COLUMN], Axis.COLUMN, split.columns, modes),
                _coloured_way(vectors[Axis.ROW], Axis.ROW, split.rows, modes, split.taken.size),
            )
            cost = split.columns.count * prices[Axis.COLUMN] + split.rows.count * prices[Axis.ROW]
            yield _Option(cost, lambda: (ways, both_ways(pattern, split)))


_COSTS_MORE = "colours would cost more"


def _cheapest(options: Iterator[_Option], pattern: Pattern, structure: Structure, form: Form, dense_cost: int) -> Choice:
    best = min(options, key=lambda option: option.cost)
    if form is Form.DENSE and best.cost + RECOVERY_FLOPS * pattern.positions >= dense_cost:
        return _COSTS_MORE
    ways, source = best.make()
    return Compressed(ways, best.bands, form, pattern, source, _pattern_note(pattern), structure.read)


def _plain(vector: Graph, axis: Axis, pattern: Pattern, pieces: tuple[Type, ...], price: int, note: str) -> _Option:
    """A seed for each column or row."""
    count = vector.input_types[-1].size
    every = Colouring(np.arange(count, dtype=np.int32), count, count, "each its own")
    place = by_columns if axis is Axis.COLUMN else by_rows
    return _Option(count * price, lambda: ((Way(vector, axis, count, pieces, note),), place(pattern, every)))


def _coloured(vector: Graph, axis: Axis, pattern: Pattern, colouring: Colouring, modes: Modes, price: int) -> _Option:
    way = _coloured_way(vector, axis, colouring, modes)
    place = by_columns if axis is Axis.COLUMN else by_rows
    return _Option(colouring.count * price, lambda: ((way,), place(pattern, colouring)))


def _coloured_way(vector: Graph, axis: Axis, colouring: Colouring, modes: Modes, of: int = 0) -> Way:
    rows, columns = modes.sizes
    if axis is Axis.COLUMN:
        note = f"the Jacobian in forward mode, {_colours(colouring, columns, 'columns')}"
    else:
        note = f"the Jacobian in reverse mode, {_colours(colouring, of or rows, 'rows')}"
    return Way(vector, axis, colouring.count, modes.rows if axis is Axis.COLUMN else modes.columns, note, Coloured(colouring.of))


def _plain_rows(modes: Modes, most_bytes: int) -> Compressed:
    rows, columns = modes.sizes
    _require_room(rows * columns, rows, most_bytes)
    pattern = full_pattern(rows, columns)
    way = Way(modes.reverse(), Axis.ROW, rows, modes.columns, "the Jacobian in reverse mode, a row each: a vjp of its own is not linear in the cotangent")
    return Compressed((way,), None, Form.SPARSE, pattern, np.arange(rows * columns), _pattern_note(pattern), frozenset())


def _not_worth_finding(vector: Graph, sparse: bool, dense_cost: int, most_bytes: int) -> str:
    """Why the pattern is not looked for; a sparse matrix needs it, so that then there must be room."""
    rows, columns = vector.output_types[0].size, vector.input_types[-1].size
    needed = PATTERN_BYTES * (rows + columns)
    if sparse and needed > most_bytes:
        raise OverBudget(
            "finding the sparsity pattern does not fit the memory budget",
            name="layout",
            got=f"{needed} bytes for {rows} rows and {columns} columns",
            allowed=f"{most_bytes} bytes",
            hint="ask for jvps, vjps or hvps",
        )
    passed = effort(vector, [i == vector.arity - 1 for i in range(vector.arity)])
    if sparse or (needed <= most_bytes and PATTERN_FLOPS * passed < dense_cost):
        return ""
    return "finding its pattern would cost more"


def _worth_listing(structure: Structure, most_bytes: int) -> bool:
    """Whether colours may help: less than half of it is there, and it can be held."""
    rows, columns = structure.shape
    return 2 * structure.positions <= rows * columns and 24 * structure.positions <= most_bytes


def _too_full(structure: Structure) -> str:
    rows, columns = structure.shape
    return f"its pattern has {structure.positions} of {rows * columns} positions"


def _require_room(positions: int, rows: int, most_bytes: int) -> None:
    """Refuses a pattern before it is listed: an index, a source and a value for each position."""
    needed = 24 * positions + 8 * rows
    if needed > most_bytes:
        raise OverBudget(
            "the sparsity pattern does not fit the memory budget",
            name="layout",
            got=f"{positions} positions, {needed} bytes",
            allowed=f"{most_bytes} bytes",
            hint="the matrix is not sparse enough, or its indices are not bound: bind integer arrays, or ask for jvps, vjps or hvps",
        )


def _colours(colouring: Colouring, count: int, what: str) -> str:
    colours = "1 colour" if colouring.count == 1 else f"{colouring.count} colours"
    return f"{colours} for {count} {what if count != 1 else what.removesuffix('s')} (at least {colouring.bound}; {colouring.order})"


def _pattern_note(pattern: Pattern) -> str:
    return f"{pattern.positions} positions of {pattern.rows} x {pattern.columns}"
