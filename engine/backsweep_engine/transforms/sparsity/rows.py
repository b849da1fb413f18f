"""Rows: for every element of an array, the set of columns (elements of the seed) it may depend on.

Rows that are equal share a set, so that moving elements about is an index operation, and a scalar
spread over a million elements costs one set. Two sets are always there: none, and every column,
which holds no positions; it also stands in for sets too many to hold (a superset is sound).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .pattern import Ints, Pattern

EMPTY, FULL = 0, 1

MAX_POSITIONS = 1 << 25
"""Of all sets an operation makes: some 300 MB while it runs. Beyond that the largest count as FULL."""


@dataclass(frozen=True, slots=True, eq=False)
class Sets:
    """Set k is indices[indptr[k] : indptr[k + 1]], sorted and unique; EMPTY and FULL have no positions."""

    columns: int
    indptr: Ints
    indices: np.ndarray[Any, Any]

    @property
    def count(self) -> int:
        return self.indptr.size - 1

    def lengths(self, numbers: Ints) -> Ints:
        return self.indptr[numbers + 1] - self.indptr[numbers]

    def pick(self, numbers: Ints) -> tuple[Ints, np.ndarray[Any, Any]]:
        """These sets one after the other, as indptr and indices."""
        lengths = self.lengths(numbers)
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        if numbers.size and lengths.min() == lengths.max() == 1:
            return indptr, self.indices[self.indptr[numbers]]
        places = np.repeat(self.indptr[numbers] - indptr[:-1], lengths) + np.arange(indptr[-1])
        return indptr, self.indices[places]

    def extended(self, indptr: Ints, indices: np.ndarray[Any, Any]) -> Sets:
        """With further sets behind."""
        joined = np.concatenate([self.indices, indices.astype(self.indices.dtype, copy=False)])
        return Sets(self.columns, np.concatenate([self.indptr, self.indptr[-1] + indptr[1:]]), joined)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Element k (in C order) depends on the columns in set number of[k]."""

    of: Ints
    sets: Sets

    @property
    def positions(self) -> int:
        lengths = np.diff(self.sets.indptr)
        lengths[FULL] = self.sets.columns
        return int(lengths[self.of].sum())

    def where(self, mask: np.ndarray[Any, Any]) -> Rows:
        """With nothing where the mask is False."""
        return Rows(np.where(mask.reshape(-1), self.of, EMPTY), self.sets)

    def at(self, places: np.ndarray[Any, Any]) -> Rows:
        """Row k is the row places[k] - 1 of these, none where that is 0: as kernels fill with 0."""
        return Rows(np.concatenate(([EMPTY], self.of))[places.reshape(-1)], self.sets)

    def pattern(self) -> Pattern:
        """As a Pattern; ask `positions` first whether it can be held."""
        sets = self.sets
        lengths = sets.lengths(self.of)
        lengths[self.of == FULL] = sets.columns
        indptr = np.concatenate(([0], np.cumsum(lengths)))
        within = np.arange(indptr[-1]) - np.repeat(indptr[:-1], lengths)
        indices = within
        listed = np.repeat(self.of != FULL, lengths)
        if listed.any():
            starts = np.repeat(sets.indptr[self.of], lengths)
            indices = np.where(listed, sets.indices[np.where(listed, starts + within, 0)], within) if not listed.all() else sets.indices[starts + within]
        return Pattern(self.of.size, sets.columns, indptr, indices.astype(np.int64, copy=False))


def unit(columns: int) -> Rows:
    """Element k depends on column k: the seed itself."""
    index = np.int32 if columns < 2**31 else np.int64
    sets = Sets(columns, np.concatenate(([0, 0], np.arange(columns + 1))), np.arange(columns, dtype=index))
    # One column is every column.
    return Rows(np.full(1, FULL) if columns == 1 else np.arange(2, columns + 2), sets)


def joined(parts: Sequence[Rows]) -> Rows:
    """One after the other."""
    sets, shifts = parts[0].sets, {id(parts[0].sets): 0}
    of = []
    for part in parts:
        if id(part.sets) not in shifts:
            shifts[id(part.sets)] = sets.count - 2
            sets = sets.extended(*_listed(part.sets))
        of.append(_shifted(part.of, shifts[id(part.sets)]))
    return Rows(np.concatenate(of), sets)


def _listed(sets: Sets) -> tuple[Ints, np.ndarray[Any, Any]]:
    """The sets behind EMPTY and FULL."""
    return sets.indptr[2:], sets.indices


def _shifted(of: Ints, shift: int) -> Ints:
    return np.where(of > FULL, of + shift, of) if shift else of


def union(a: Rows, b: Rows) -> Rows:
    """Element by element."""
    if a.sets is b.sets and (a.of is b.of or np.array_equal(a.of, b.of)):
        return a
    sets, p, q = _together(a, b)
    of = np.where(p == EMPTY, q, p)
    of[q == FULL] = FULL
    mixed = np.flatnonzero((p > FULL) & (q > FULL) & (p != q))
    if not mixed.size:
        return Rows(of, sets)
    pairs = np.stack([p[mixed], q[mixed]])
    numbers: Any = slice(None)
    if not any((np.diff(line) > 0).all() for line in pairs):
        # The same two sets may meet in many rows.
        pairs.sort(axis=0)
        keys, numbers = np.unique(pairs[0] * sets.count + pairs[1], return_inverse=True)
        pairs = np.stack(np.divmod(keys, sets.count))
    sets, made = _unions(sets, pairs)
    of[mixed] = made[numbers]
    return Rows(of, sets)


def _unions(sets: Sets, pairs: Ints) -> tuple[Sets, Ints]:
    """The union of each pair of sets, and the numbers of these."""
    bound = sets.lengths(pairs[0]) + sets.lengths(pairs[1])
    made = np.full(bound.size, FULL)
    fit = _fitting(bound, sets.columns)
    if not fit.size:
        return sets, made
    left, right = (_matrix(*sets.pick(line[fit]), sets.columns) for line in pairs)
    return _numbered(sets, left + right, made, fit)


def added(rows: Rows, target: Ints, source: Ints, size: int) -> Rows:
    """`size` rows, of which target[k] is the union of rows[source[k]] over all k: a product with a matrix of zeros and ones."""
    if size == 1 and source.size:
        return _all_added(rows.sets, rows.of[source])
    from scipy.sparse import csr_array

    sets, number = rows.sets, rows.of[source]
    of = np.full(size, EMPTY)
    of[target[number == FULL]] = FULL
    keep = (number > FULL) & (of[target] != FULL)
    if not keep.all():
        target, number = target[keep], number[keep]
    reads = csr_array((np.ones(target.size, bool), (target, number)), shape=(size, sets.count))
    reads.sum_duplicates()
    counts = np.diff(reads.indptr)
    one = np.flatnonzero(counts == 1)
    of[one] = reads.indices[reads.indptr[one]]
    many = np.flatnonzero(counts > 1)
    if not many.size:
        return Rows(of, sets)
    picked = reads[many]
    bound = np.add.reduceat(sets.lengths(picked.indices.astype(np.int64)), picked.indptr[:-1])
    made = np.full(many.size, FULL)
    fit = _fitting(bound, sets.columns)
    if fit.size:
        product = (picked if fit.size == many.size else picked[fit]) @ _matrix(sets.indptr, sets.indices, sets.columns)
        product.sort_indices()
        sets, made = _numbered(sets, product, made, fit)
    of[many] = made
    return Rows(of, sets)


def _all_added(sets: Sets, numbers: Ints) -> Rows:
    """One row, the union of all of these sets. (A product with a full matrix asks for it first: importing SciPy would take longer than all else.)"""
    seen, asked = np.zeros(sets.columns, bool), np.zeros(sets.count, bool)
    asked[numbers] = True
    seen[sets.pick(np.flatnonzero(asked))[1]] = True
    if asked[FULL] or seen.all():
        return Rows(np.full(1, FULL), sets)
    (columns,) = np.nonzero(seen)
    if not columns.size:
        return Rows(np.full(1, EMPTY), sets)
    return Rows(np.full(1, sets.count), sets.extended(np.array([0, columns.size]), columns))


def _fitting(bound: Ints, columns: int) -> Ints:
    """Which unions are made; the others are FULL. `bound`: how long each may get."""
    if bound.sum() <= MAX_POSITIONS:
        return np.arange(bound.size)
    fit = np.flatnonzero(bound < columns)
    return fit if bound[fit].sum() <= MAX_POSITIONS else fit[:0]


def _numbered(sets: Sets, made: Any, numbers: Ints, at: Ints) -> tuple[Sets, Ints]:
    """The rows of a sparse matrix as further sets; their numbers, at these places."""
    lengths = np.diff(made.indptr)
    number = np.arange(sets.count, sets.count + at.size)
    number[lengths == sets.columns] = FULL
    numbers[at] = number
    return sets.extended(made.indptr.astype(np.int64), made.indices), numbers


def _matrix(indptr: Ints, indices: np.ndarray[Any, Any], columns: int) -> Any:
    from scipy.sparse import csr_array

    matrix = csr_array((np.ones(indices.size, bool), indices, indptr), shape=(indptr.size - 1, columns))
    matrix.has_canonical_format = True  # as sets are: SciPy need not look
    return matrix


def _together(a: Rows, b: Rows) -> tuple[Sets, Ints, Ints]:
    """Both in one collection of sets."""
    if a.sets is b.sets:
        return a.sets, a.of, b.of
    a, b = _compact(a), _compact(b)
    return a.sets.extended(*_listed(b.sets)), a.of, _shifted(b.of, a.sets.count - 2)


def _compact(rows: Rows) -> Rows:
    """Without the sets no row has, if these are most."""
    sets = rows.sets
    used = np.zeros(sets.count, bool)
    used[rows.of] = True
    used[[EMPTY, FULL]] = True
    lengths = np.diff(sets.indptr)
    if 2 * (lengths[used].sum() + used.sum()) >= sets.indices.size + sets.count:
        return rows
    kept = np.flatnonzero(used)
    new = np.cumsum(used) - 1
    indptr, indices = sets.pick(kept)
    return Rows(new[rows.of], Sets(sets.columns, indptr, indices))
