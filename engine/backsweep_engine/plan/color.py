"""Colouring: which columns, rows or variables may share a seed.

Greedy, one vertex after the other, each the lowest colour it may have, in several orders, the best of
which is taken; deterministic. The colours a vertex may not have are the bits of Python integers that
its neighbours carry, so that a vertex costs one operation for each of its entries (Gebremedhin, Manne
and Pothen, What Color Is Your Jacobian?, SIAM Review 2005, sections 3 to 5).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..transforms.sparsity.pattern import Ints, Pattern
from .lattice import lattice
from .orders import incidence_degree, largest_first, natural, smallest_last

MAX_EDGES = 1 << 19
"""Orders that walk the graph are tried up to so many entries of its adjacency (tenths of a second)."""

MAX_COLOURS = 1 << 12
"""Nothing is coloured with more: that is no compression worth its name."""


@dataclass(frozen=True, slots=True, eq=False)
class Colouring:
    """`of`: the colour of each vertex, -1 for one that needs none (nothing is there). `bound`: no colouring has fewer colours."""

    of: np.ndarray[Any, np.dtype[np.int32]]
    count: int
    bound: int
    order: str


Greedy = Callable[[Sequence[int], int], list[int] | None]


def columns(pattern: Pattern, shape: Sequence[int] = ()) -> Colouring | None:
    """Columns of one colour share no row (partial distance-2); None beyond MAX_COLOURS. A row's columns all differ: that is the bound.

    `shape`: of the array whose ravel the columns run over, if it is one.
    """
    bound = int(np.diff(pattern.indptr).max(initial=0))
    turned, _ = pattern.transposed()
    indptr, indices = turned.indptr.tolist(), turned.indices.tolist()

    def greedy(order: Sequence[int], most: int) -> list[int] | None:
        seen = [0] * pattern.rows
        colours = [-1] * pattern.columns
        limit = 1 << most
        for j in order:
            here = indices[indptr[j] : indptr[j + 1]]
            if not here:
                continue
            used = 0
            for i in here:
                used |= seen[i]
            bit = ~used & (used + 1)
            if bit >= limit:
                return None
            colours[j] = bit.bit_length() - 1
            for i in here:
                seen[i] |= bit
        return colours

    best = _best(greedy, bound, bound, lambda: _intersection(pattern), pattern.columns)
    return _or_lattice(best, pattern, shape)


def star(pattern: Pattern, shape: Sequence[int] = ()) -> Colouring | None:
    """Of a symmetric pattern: neighbours differ, and no path of four vertices has only two colours, so that every entry
    stands alone in a compressed column, its own or its mirror's (Coleman and More 1984). None beyond MAX_COLOURS.
    """
    graph = _adjacency(pattern)
    indptr, indices = graph.indptr.tolist(), graph.indices.tolist()
    needed = _occupied(pattern)

    def greedy(order: Sequence[int], most: int) -> list[int] | None:
        n, limit = pattern.columns, 1 << most
        bits = [0] * n
        around = [0] * n  # colours of coloured neighbours
        twice = [0] * n  # those that stand more than once among them
        barred = [0] * n  # colours of the neighbours that see the vertex's own colour twice
        for v in order:
            if not needed[v]:
                continue
            near = indices[indptr[v] : indptr[v + 1]]
            used = around[v]
            for w in near:
                used |= barred[w] if bits[w] else around[w]
            bit = ~used & (used + 1)
            if bit >= limit:
                return None
            bits[v] = bit
            for w in near:
                if bit & around[w]:
                    # w is coloured: around one that is not, all colours differ. It now sees this one twice.
                    if not bit & twice[w]:
                        twice[w] |= bit
                        for u in indices[indptr[w] : indptr[w + 1]]:
                            if bits[u] == bit:
                                barred[u] |= bits[w]
                    barred[v] |= bits[w]
                else:
                    around[w] |= bit
        return [bit.bit_length() - 1 for bit in bits]

    # Two colour classes hold at most as many edges as vertices, less one: E <= (k - 1) n.
    edges = graph.positions // 2
    bound = 1 + -(-edges // max(1, int(np.count_nonzero(np.diff(graph.indptr))))) if edges else int(any(needed))
    best = _best(greedy, bound, bound + 1, lambda: graph, pattern.columns)
    # Where no two columns share a row, no entry shares its place: a colouring of columns is one of stars.
    return best if best is not None and best.count <= bound + 1 else _or_lattice(best, pattern, shape)


def _or_lattice(best: Colouring | None, pattern: Pattern, shape: Sequence[int]) -> Colouring | None:
    """A colouring by the place in a grid, where that has fewer colours."""
    bound = int(np.diff(pattern.indptr).max(initial=0))
    if best is None or best.count <= bound or (shared := _intersection(pattern)) is None:
        return best
    found = lattice(shared, shape or (pattern.columns,), bound, best.count - 1)
    if found is None:
        return best
    of = np.where(np.bincount(pattern.indices, minlength=pattern.columns) > 0, found, -1).astype(np.int32)
    return Colouring(of, int(of.max()) + 1, best.bound, "by place")


def proper(pattern: Pattern) -> Colouring | None:
    """Of a symmetric pattern: neighbours differ. Enough for the diagonal alone."""
    graph = _adjacency(pattern)
    indptr, indices = graph.indptr.tolist(), graph.indices.tolist()
    needed = _occupied(pattern)

    def greedy(order: Sequence[int], most: int) -> list[int] | None:
        bits, limit = [0] * pattern.columns, 1 << most
        for v in order:
            if not needed[v]:
                continue
            used = 0
            for w in indices[indptr[v] : indptr[v + 1]]:
                used |= bits[w]
            bit = ~used & (used + 1)
            if bit >= limit:
                return None
            bits[v] = bit
        return [bit.bit_length() - 1 for bit in bits]

    bound = 2 if graph.positions else int(any(needed))
    return _best(greedy, bound, bound, lambda: graph, pattern.columns)


def _best(greedy: Greedy, bound: int, enough: int, graph: Callable[[], Pattern | None], size: int) -> Colouring | None:
    """The colouring with the fewest colours; no further order is tried once there are only `enough`."""
    best: Colouring | None = None
    if bound > MAX_COLOURS:
        return None
    adjacency: Pattern | None = None
    for name, order in (("natural", natural), ("largest first", largest_first), ("smallest last", smallest_last), ("incidence degree", incidence_degree)):
        if order is not natural and adjacency is None:
            adjacency = graph()
            if adjacency is None:
                break
        if order in (smallest_last, incidence_degree) and adjacency is not None and adjacency.positions > MAX_EDGES:
            break
        colours = greedy(range(size) if adjacency is None else order(adjacency), MAX_COLOURS if best is None else best.count - 1)
        if colours is not None:
            of = np.array(colours, np.int32)
            best = Colouring(of, int(of.max(initial=-1)) + 1, bound, name)
            if best.count <= enough:
                break
    return best


def _adjacency(pattern: Pattern) -> Pattern:
    """A symmetric pattern without its diagonal; an entry on one side only stands for both."""
    from scipy.sparse import csr_array

    n = pattern.columns
    off = csr_array((pattern.indices != pattern.row_of(), pattern.indices, pattern.indptr), shape=(n, n))
    both = (off + off.T).tocsr()
    both.eliminate_zeros()
    both.sort_indices()
    return Pattern(n, n, both.indptr.astype(np.int64), both.indices.astype(np.int64))


def _occupied(pattern: Pattern) -> list[bool]:
    """Which variables have any entry, in their row or column."""
    found = np.diff(pattern.indptr) > 0
    found[pattern.indices] = True
    return [bool(f) for f in found]


def _intersection(pattern: Pattern) -> Pattern | None:
    """Which columns share a row; None if there are too many pairs."""
    from scipy.sparse import csr_array

    if int((np.diff(pattern.indptr) ** 2).sum()) > 8 * MAX_EDGES:
        return None
    matrix = csr_array((np.ones(pattern.positions, bool), pattern.indices, pattern.indptr), shape=(pattern.rows, pattern.columns))
    shared = (matrix.T @ matrix).tocsr()
    shared.setdiag(False)
    shared.eliminate_zeros()
    shared.sort_indices()
    return Pattern(pattern.columns, pattern.columns, shared.indptr.astype(np.int64), shared.indices.astype(np.int64))


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Both directions: the rows in `taken` by row seeds of `rows`, all others by column seeds of `columns`."""

    taken: Ints
    rows: Colouring
    columns: Colouring


def split(pattern: Pattern, row_price: int, column_price: int, most: int) -> Split | None:
    """The dense rows by rows, what is left by columns, if by its lower bound that costs less than `most`.

    Rows that are not taken have no seed, so each of the two parts is coloured by itself; how many rows are
    taken is the cheapest by the lower bounds. (A simple direct case of Coleman and Verma's bicolouring, 1998.)
    """
    counts = np.diff(pattern.indptr)
    order = np.argsort(-counts, kind="stable")
    candidates = np.unique(np.concatenate(([1], 2 ** np.arange(0, 12), np.flatnonzero(np.diff(-counts[order]))[:16] + 1)))
    best, chosen = most, 0
    row_of = pattern.row_of()
    for k in candidates[candidates < pattern.rows].tolist():
        taken = np.zeros(pattern.rows, bool)
        taken[order[:k]] = True
        by_rows = int(np.bincount(pattern.indices[taken[row_of]], minlength=1).max(initial=0))
        price = by_rows * row_price + int(counts[order[k]]) * column_price
        if price < best:
            best, chosen = price, k
    if not chosen:
        return None
    taken = np.zeros(pattern.rows, bool)
    taken[order[:chosen]] = True
    row_part, column_part = _only(pattern, taken), _only(pattern, ~taken)
    by_rows_colouring, by_columns = columns(row_part.transposed()[0]), columns(column_part)
    if by_rows_colouring is None or by_columns is None:
        return None
    return Split(np.flatnonzero(taken), by_rows_colouring, by_columns)


def _only(pattern: Pattern, rows: np.ndarray[Any, np.dtype[np.bool_]]) -> Pattern:
    """The entries in these rows; the others empty."""
    kept = rows[pattern.row_of()]
    counts = np.where(rows, np.diff(pattern.indptr), 0)
    return Pattern(pattern.rows, pattern.columns, np.concatenate(([0], np.cumsum(counts))), pattern.indices[kept])
