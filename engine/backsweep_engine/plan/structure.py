"""Structure: the pattern of a matrix and its colourings, each made once and kept.

A pattern may depend on the values of bound arrays: what is kept holds for arrays of the digests that
were read, and is looked for by them (CONTRACT A4).
"""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..graph import Graph
from ..transforms.sparsity import Found, Pattern, find
from . import color
from .color import Colouring, Split
from .recovery import symmetric

Array = np.ndarray[Any, Any]

MAX_KEPT = 64
MAX_KEPT_BYTES = 256 << 20


class Bound:
    """Arrays bound to inputs, which a pattern may read. Their digests are made when they are asked for."""

    def __init__(self, arrays: Mapping[str, Array] | None = None) -> None:
        self.arrays = dict(arrays or {})
        self._digests: dict[str, str] = {}

    def digest(self, name: str) -> str:
        """SHA-256 (hex) of dtype, shape and bytes."""
        if name not in self._digests:
            array = np.ascontiguousarray(self.arrays[name])
            hasher = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
            hasher.update(array.data if array.size else b"")
            self._digests[name] = hasher.hexdigest()
        return self._digests[name]

    def without(self, names: Sequence[str]) -> Bound:
        """Less these: no pattern is told by the values of what is differentiated by (CONTRACT A4)."""
        left = Bound({name: array for name, array in self.arrays.items() if name not in names})
        left._digests = self._digests
        return left


class Structure:
    """The pattern of a matrix. `read`: the bound inputs it depends on by their values.

    `shapes`: of the output and the input, where the rows or columns run over one array.
    """

    def __init__(self, found: Found, shapes: tuple[Sequence[int], Sequence[int]] = ((), ())) -> None:
        self.read = found.read
        self.shape = found.rows.of.size, found.rows.sets.columns
        self.positions = found.rows.positions
        self._shapes = shapes
        self._found: Found | None = found
        self._made: dict[Any, Any] = {}

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        if key not in self._made:
            self._made[key] = make()  # two threads may make it at once: both are equal
        return self._made[key]

    @property
    def nbytes(self) -> int:
        """As held, roughly."""
        if self._found is not None:
            return self._found.rows.of.nbytes + 2 * self._found.rows.sets.indptr.nbytes + self._found.rows.sets.indices.nbytes
        return 24 * (self.positions + sum(self.shape))

    @property
    def pattern(self) -> Pattern:
        found = self._found

        def make() -> Pattern:
            assert found is not None
            pattern = found.rows.pattern()
            self._found = None
            return pattern

        result: Pattern = self._once("pattern", make)
        return result

    @property
    def mirrored(self) -> Pattern:
        """With each entry's mirror."""
        result: Pattern = self._once("mirrored", lambda: symmetric(self.pattern))
        return result

    def columns(self) -> Colouring | None:
        result: Colouring | None = self._once("columns", lambda: color.columns(self.pattern, self._shapes[1]))
        return result

    def rows(self) -> Colouring | None:
        result: Colouring | None = self._once("rows", lambda: color.columns(self.pattern.transposed()[0], self._shapes[0]))
        return result

    def stars(self) -> Colouring | None:
        result: Colouring | None = self._once("stars", lambda: color.star(self.mirrored, self._shapes[1]))
        return result

    def proper(self) -> Colouring | None:
        result: Colouring | None = self._once("proper", lambda: color.proper(self.pattern))
        return result

    def split(self, row_price: int, column_price: int, most: int) -> Split | None:
        key = ("split", row_price, column_price, most)
        result: Split | None = self._once(key, lambda: color.split(self.pattern, row_price, column_price, most))
        return result


_lock = threading.Lock()
_kept: OrderedDict[tuple[str, int], list[tuple[dict[str, str], Structure]]] = OrderedDict()


def structure_of(vector: Graph, bound: Bound, shapes: tuple[Sequence[int], Sequence[int]] = ((), ())) -> Structure:
    """The structure of a linear graph's matrix by its last input."""
    key = vector.fingerprint, vector.arity - 1
    with _lock:
        known = list(_kept.get(key, ()))
        if known:
            _kept.move_to_end(key)
    for digests, structure in known:
        if all(name in bound.arrays and bound.digest(name) == digest for name, digest in digests.items()):
            return structure
    structure = Structure(find(vector, vector.arity - 1, bound.arrays), shapes)
    with _lock:
        _kept.setdefault(key, []).append(({name: bound.digest(name) for name in structure.read}, structure))
        _kept.move_to_end(key)
        while len(_kept) > 1 and (sum(map(len, _kept.values())) > MAX_KEPT or sum(s.nbytes for line in _kept.values() for _, s in line) > MAX_KEPT_BYTES):
            _kept.popitem(last=False)
        del _kept[key][: -MAX_KEPT // 4]
    return structure
