"""What x[index] names on a traced value: every basic and advanced index of NumPy whose result has a static shape.

An index is taken apart once, into a Place: a basic part (flips, a slice, axes dropped and added) and
index arrays joined to one axis. Reading is then at most flip, slice, reshape and one take; writing
(scatter.py) goes the same way back. Masks known when tracing become indices. In NumPy's rule the axes
of the index arrays stand where the arrays stood, or first where a slice or None parts them; an integer
beside an index array counts as one of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import DTYPES, Builder
from .build import aligned, call, call_in, common_builder, lift
from .op import require, spells
from .pieces import cut, stack
from .shape import moveaxis, normal_axes, permute, reshape
from .term import Term

Array = Any
Ints = tuple[int, ...]
INT64 = DTYPES["int64"]


@dataclass(frozen=True, slots=True)
class Place:
    """Part of an array of shape `shape`.

    flips, start, stop, step: its basic part, whose elements in shape `view` are the region. `index`: one
    integer array (NumPy's or a Term) for each of the region's axes in `indexed`, of one shape; `front`:
    where their common axes stand in the result, counted in axes of the region that are not indexed.
    """

    shape: Ints
    flips: Ints
    start: Ints
    stop: Ints
    step: Ints
    view: Ints
    indexed: Ints
    index: tuple[Any, ...]
    front: int

    @property
    def _order(self) -> Ints:
        """The region's axes with several indexed ones together at `front`; one alone stays."""
        if len(self.indexed) < 2:
            return tuple(range(len(self.view)))
        rest = [a for a in range(len(self.view)) if a not in self.indexed]
        return (*rest[: self.front], *self.indexed, *rest[self.front :])

    @property
    def axis(self) -> int:
        """The axis of the joined region that the joined index takes from."""
        return self.front if len(self.indexed) > 1 else self.indexed[0]

    @property
    def result(self) -> Ints:
        """The shape of x[index]."""
        if not self.indexed:
            return self.view
        rest = [d for a, d in enumerate(self.view) if a not in self.indexed]
        return (*rest[: self.front], *self.index[0].shape, *rest[self.front :])

    def region(self, x: Term) -> Term:
        """The basic part, the indexed axes joined to one."""
        y = call("flip", x, axes=self.flips) if self.flips else x
        y = reshape(cut(y, self.start, self.stop, self.step), self.view)
        return reshape(permute(y, self._order), self._joined) if len(self.indexed) > 1 else y

    @property
    def _joined(self) -> Ints:
        moved = [self.view[a] for a in self._order]
        k = len(self.indexed)
        return (*moved[: self.front], math.prod(moved[self.front : self.front + k]), *moved[self.front + k :])

    def flat(self, builder: Builder) -> Term:
        """The index into the joined axis."""
        if len(self.index) == 1:
            return lift(self.index[0], builder)
        dims = tuple(self.view[a] for a in self.indexed)
        if any(isinstance(i, Term) for i in self.index):
            return call("ravel_index", *aligned([lift(i, builder).astype(INT64) for i in self.index]), dims=dims)
        wrapped = [np.where(i < 0, i + d, i) for i, d in zip(self.index, dims, strict=True)]
        return lift(np.ravel_multi_index(wrapped, dims) if wrapped[0].size else np.zeros(wrapped[0].shape, np.int64), builder)

    def read(self, x: Term) -> Term:
        """x[index]."""
        y = self.region(x)
        if not self.indexed:
            return y
        k = len(self.index[0].shape)
        picked = call("take", y, self.flat(x.builder), axis=self.axis)
        return moveaxis(picked, range(self.axis, self.axis + k), range(self.front, self.front + k)) if k else picked

    def values(self, v: Term) -> Term:
        """What is written to x[index], laid out as `take` gives it from the region."""
        k = len(self.index[0].shape) if self.indexed else 0
        return moveaxis(v, range(self.front, self.front + k), range(self.axis, self.axis + k)) if k else v

    def write(self, x: Term, change: Callable[[Term], Term]) -> Term:
        """x with its region changed."""
        y = change(self.region(x))
        if len(self.indexed) > 1:
            order = self._order
            y = permute(reshape(y, tuple(self.view[a] for a in order)), tuple(int(a) for a in np.argsort(order)))
        size = [-(-(b - a) // s) for a, b, s in zip(self.start, self.stop, self.step, strict=True)]
        y = reshape(y, tuple(size))
        if y.size == 0 or (y.shape == x.shape and not self.flips):
            return y if y.shape == x.shape else x
        start = list(self.start)
        if self.flips:
            # The region was cut from the flipped array: its last element there is its first here.
            y = call("flip", y, axes=self.flips)
            for a in self.flips:
                start[a] = self.shape[a] - 1 - (start[a] + (size[a] - 1) * self.step[a])
        return y if y.shape == x.shape else call("update", x, y, start=tuple(start), step=self.step)


def place(shape: Ints, index: Any) -> Place:
    """The Place of an index in NumPy's notation; raises GraphError as NumPy raises IndexError."""
    entries = _entries(index, shape)
    fancy = any(isinstance(e, (bool, np.ndarray, Term)) for e in entries)
    start: list[int] = []
    stop: list[int] = []
    step: list[int] = []
    flips: list[int] = []
    view: list[int] = []
    indexed: list[int] = []
    arrays: list[Any] = []
    standing: list[tuple[int, int]] = []  # for each index array or integer beside one: its place among the entries, unindexed axes before it
    for number, entry in enumerate(entries):
        if fancy and not isinstance(entry, (slice, type(None))):
            standing.append((number, len(view) - len(indexed)))
        if entry is None or isinstance(entry, bool):
            if entry is not None:  # one truth value: an axis of its own, taken once or not at all
                indexed.append(len(view))
                arrays.append(np.zeros(int(entry), np.int64))
            view.append(1)
            continue
        axis = len(start)
        n = shape[axis]
        first, last, stride = 0, n, 1
        if isinstance(entry, slice):
            first, last, stride = entry.indices(n)
            if stride < 0:
                flips.append(axis)
                first, last, stride = n - 1 - first, n - 1 - last, -stride
            last = max(first, last)
            view.append(-(-(last - first) // stride))
        elif isinstance(entry, int):
            require(-n <= entry < n, "index is out of range", got=entry, allowed=f"{-n} to {n - 1}")
            first, last = entry % n, entry % n + 1
        else:
            _require_within(entry, n)
            indexed.append(len(view))
            arrays.append(entry)
            view.append(n)
        start.append(first)
        stop.append(last)
        step.append(stride)
    together = not standing or standing[-1][0] - standing[0][0] == len(standing) - 1
    front = standing[0][1] if standing and together else 0
    return Place(shape, tuple(flips), tuple(start), tuple(stop), tuple(step), tuple(view), tuple(indexed), _joint(arrays), front)


def _joint(arrays: Sequence[Any]) -> tuple[Any, ...]:
    """The index arrays broadcast together."""
    if any(isinstance(a, Term) for a in arrays) and len(arrays) > 1:
        builder = common_builder(arrays)
        return tuple(aligned([lift(a, builder) for a in arrays]))
    try:
        return tuple(arrays if len(arrays) < 2 else np.broadcast_arrays(*arrays))
    except ValueError:
        require(False, "index arrays do not broadcast together", got=" and ".join(str(a.shape) for a in arrays), allowed="equal, or 1, from the last axis on")
        raise


def _entries(index: Any, shape: Ints) -> list[Any]:
    """One entry for each axis, and what adds axes: slice, int, integer array or Term; None, bool. No `...`, no masks."""
    given = [_entry(e) for e in (index if isinstance(index, tuple) else (index,))]
    widths = [0 if e is None or e is Ellipsis or isinstance(e, bool) else e.ndim if _is_mask(e) else 1 for e in given]
    used, rank = sum(widths), len(shape)
    require(used <= rank, "too many indices", reason="NOT_TRACEABLE", got=used, allowed=rank)
    dots = sum(e is Ellipsis for e in given)
    require(dots <= 1, "an index has more than one ...", reason="NOT_TRACEABLE", got=dots, allowed=1)
    entries: list[Any] = []
    axis = 0
    for entry, width in zip(given if dots else [*given, Ellipsis], widths if dots else [*widths, 0], strict=True):
        if entry is Ellipsis:
            entries += [slice(None)] * (rank - used)
            axis += rank - used
            continue
        if _is_mask(entry):
            # As in NumPy a mask stands for the indices of its True entries.
            require(entry.shape == shape[axis : axis + width], "mask does not fit the axis", got=entry.shape, allowed=shape[axis : axis + width])
            entries += [positions.astype(np.int64) for positions in entry.nonzero()]
        else:
            entries.append(entry)
        axis += width
    return entries


def _is_mask(entry: Any) -> bool:
    return isinstance(entry, np.ndarray) and entry.dtype == bool


def _entry(entry: Any) -> Any:
    """One entry as given, in few kinds: numbers as Python's, lists as arrays."""
    if entry is None or entry is Ellipsis or isinstance(entry, slice):
        return entry
    if isinstance(entry, list) and any(isinstance(e, Term) for e in entry):
        entry = stack(entry)
    if isinstance(entry, Term):
        hint = "use np.where or bs.segment_sum"
        require(entry.dtype != bool, "a traced mask has no static shape", reason="NOT_TRACEABLE", got=entry.type, hint=hint)
        require(entry.dtype.kind == "i", "an index must be integer", reason="NOT_TRACEABLE", got=entry.type, allowed="integers", hint="cast it (x.astype)")
        return entry
    array = np.asarray(entry)
    if array.dtype == bool:
        return array if array.ndim else bool(array)
    require(array.dtype.kind in "iu" or array.size == 0, "an index must be integer", reason="NOT_TRACEABLE", got=array.dtype, allowed="integers, slices, masks")
    return array.astype(np.int64) if array.ndim else int(array)


def _require_within(index: Any, n: int) -> None:
    if not isinstance(index, Term) and index.size:
        low, high = int(index.min()), int(index.max())
        require(-n <= low and high < n, "index is out of range", got=f"{low} to {high}", allowed=f"{-n} to {n - 1}")


@spells(Term.__getitem__)
def getitem(x: Term, index: Any) -> Term:
    """x[index]."""
    spot = place(x.shape, index)
    builder = common_builder((x, *spot.index))
    return spot.read(lift(x, builder))


# Indexing along one axis, with an index for every other axis' position.


def along(index: Any, shape: Ints, axis: int) -> tuple[Any, ...]:
    """The index tuple of np.take_along_axis: `index` on the axis, every other axis by its own position."""
    require(index.dtype.kind in "iu", "an index must be integer", reason="NOT_TRACEABLE", got=index.dtype, allowed="integers")
    require(len(index.shape) == len(shape), "index and array must have as many axes", got=index.shape, allowed=shape)
    own: list[Any] = []
    for a, n in enumerate(shape):
        if a == axis:
            own.append(index)
            continue
        require(index.shape[a] == n or 1 in (n, index.shape[a]), "index does not fit the array", got=index.shape, allowed=f"{shape} off the axis")
        line = (1,) * a + (n,) + (1,) * (len(shape) - a - 1)
        own.append(reshape(call_in(index.builder, "iota", size=n), line) if isinstance(index, Term) else np.arange(n).reshape(line))
    return tuple(own)


@spells(np.take_along_axis)
def take_along_axis(x: Any, indices: Any, axis: int | None = -1) -> Term:
    """As np.take_along_axis; a traced index out of range gives NaN."""
    x = lift(x, common_builder((x, indices)))
    if axis is None:
        x, axis = reshape(x, (x.size,)), 0
    (axis,) = normal_axes(axis, x.ndim)
    indices = indices if isinstance(indices, Term) else np.asarray(indices)
    return getitem(x, indices if x.ndim == 1 else along(indices, x.shape, axis))
