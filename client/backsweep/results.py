"""From the engine's answers to what the user gets: trees of arrays, matrices over ravels, notes as sentences.

What an answer is shaped like depends on types only and is found once for each question; `giving` returns the
function that does the rest. Arrays handed out are the caller's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from typing import Any, NamedTuple

import numpy as np

from backsweep_engine.answer import Answer, NonFinite
from backsweep_engine.graph import Type
from backsweep_engine.query import (
    Check,
    Curvature,
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    Gradient,
    Hessian,
    HessianDiagonal,
    Hvp,
    Jvp,
    Query,
    Value,
    ValueAndGradient,
    Vjp,
    wrt_of,
)
from backsweep_engine.transforms.sparsity import Pattern

from .questions import Asking
from .signature import Array

INT32 = np.iinfo(np.int32).max
"""SciPy's indices are int32 as long as they fit."""


class NonFiniteWarning(RuntimeWarning):
    """An answer holds a NaN or infinity; the message names the node that made it first."""


class Estimate(NamedTuple):
    """What was estimated from random samples, and the standard error of each entry (the error of the mean, from the samples' own spread)."""

    value: Any
    standard_error: Any


Giving = Callable[[Answer], Any]
"""What the user gets for one query."""


def giving(asking: Asking, query: Query) -> Giving:
    """The function that makes an answer to `query`, as asked, what the user gets."""
    signature, arguments, alone = asking.signature, asking.arguments, asking.alone
    flat = not alone and all(a.tree.is_leaf for a in arguments)

    def by_arguments(leaves: Sequence[Any]) -> Any:
        """Leaves in wrt order as the arguments' trees."""
        if flat:
            return tuple(leaves)
        given = iter(leaves)
        trees = tuple(a.tree.unflatten([next(given) for _ in range(a.tree.size)]) for a in arguments)
        return trees[0] if alone else trees

    many = bool(getattr(query, "many", False))
    leaf = signature.output.is_leaf if isinstance(query, Value | Jvp) else alone and arguments[0].tree.is_leaf
    if leaf and not many and (isinstance(query, Value | Jvp | Gradient | Vjp | Hvp) or getattr(query, "product", False)):
        return only
    unflatten = signature.output.unflatten
    match query:
        case Check():
            return lambda answer: answer.verdict
        case Value():
            return lambda answer: unflatten(answer.arrays)
        case ValueAndGradient():
            return lambda answer: (answer.arrays[0], by_arguments(answer.arrays[1:]))
        case Gradient():
            return lambda answer: by_arguments(answer.arrays)
        case HessianDiagonal():
            count = len(query.wrt)
            if query.method == "estimate":
                return lambda answer: Estimate(by_arguments(answer.arrays[:count]), by_arguments(answer.arrays[count:]))
            return lambda answer: by_arguments(answer.arrays)
        case Jvp():
            types = signature.graph.output_types
            return lambda answer: unflatten(_cut(answer.arrays[0], types) if many else answer.arrays)
        case Vjp() | Hvp() | GaussNewton(product=True) | Fisher(product=True) | EmpiricalFisher(product=True):
            types = tuple(signature.type_of(name) for name in query.wrt)
            return lambda answer: by_arguments(_cut(answer.arrays[0], types) if many else answer.arrays)
    square = isinstance(query, Hessian | Curvature)
    columns = [signature.type_of(name) for name in wrt_of(query)]
    rows = columns if square else list(signature.graph.output_types)
    sparse = _Sparse()

    def matrix(answer: Answer) -> Any:
        if answer.pattern is not None:
            return sparse.matrix(answer.pattern, answer.arrays[0])
        grid = [by_arguments(leaves) for leaves in _tiles(answer.arrays[0], rows, columns)]
        return by_arguments(grid) if square else unflatten(grid)

    return matrix


def only(answer: Answer) -> Any:
    """An answer of one array that is given as it stands."""
    return answer.arrays[0]


class _Sparse:
    """Makes matrices of one pattern, whose indices are brought to SciPy's type, and looked over by SciPy, once."""

    def __init__(self) -> None:
        self._of: tuple[Pattern | None, Any] = (None, None)

    def matrix(self, pattern: Pattern, values: Array) -> Any:
        """A scipy.sparse.csr_array over the ravels; zeros of the pattern are kept."""
        of, first = self._of
        if of is not pattern or first.dtype != values.dtype:
            from scipy.sparse import csr_array

            dtype = np.int32 if max(pattern.rows, pattern.columns, pattern.positions) <= INT32 else np.int64
            # What SciPy knows of the matrix beside its arrays is told by the pattern, so that a copy of the first, given arrays of its own, is any other.
            first = csr_array((np.empty_like(values), pattern.indices.astype(dtype), pattern.indptr.astype(dtype)), shape=(pattern.rows, pattern.columns))
            first.data = np.empty(0, values.dtype)
            self._of = pattern, first
        matrix = copy(first)
        matrix.data, matrix.indices, matrix.indptr = values, first.indices.copy(), first.indptr.copy()
        return matrix


def _cut(matrix: Array, types: Sequence[Type]) -> list[Array]:
    """The columns of a (seeds, n) matrix as one (seeds, *shape) array per type."""
    ends = np.cumsum([t.size for t in types]).tolist()
    return [np.array(matrix[:, e - t.size : e], t.dtype, order="C").reshape((-1, *t.shape)) for t, e in zip(types, ends, strict=True)]


def _tiles(matrix: Array, rows: Sequence[Type], columns: Sequence[Type]) -> list[list[Array]]:
    """A matrix over ravels, or one for each point, as leaves of shape row.shape + column.shape."""
    lead = matrix.shape[:-2]
    if len(rows) == len(columns) == 1:
        return [[matrix.reshape(lead + rows[0].shape + columns[0].shape)]]
    tiles, top = [], 0
    for r in rows:
        line, left = [], 0
        for c in columns:
            tile = np.array(matrix[..., top : top + r.size, left : left + c.size], order="C")
            line.append(tile.reshape(lead + r.shape + c.shape))
            left += c.size
        tiles.append(line)
        top += r.size
    return tiles


def describe_note(note: NonFinite, source: str) -> str:
    """One sentence of what was not finite, with the user's own line where it is known."""
    word = {"nan": "NaN", "inf": "infinity"}[note.kind]
    if note.node is None and not note.op:
        return f"the answer holds a {word}; who made it was not looked for, since that takes more memory than a request may have"
    if note.node is None:
        return f"the answer holds a {word} that came in with a seed"
    if note.op == "input":
        return f"the answer holds a {word} that came in with the point"
    what = f"the derivative of node {note.node} ({note.op})" if note.in_derivative else f"node {note.node} ({note.op})"
    return f"the answer holds a {word}, first made by {what}" + (f" at {source}" if source else "")
