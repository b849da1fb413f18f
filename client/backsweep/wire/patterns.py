"""Sparse matrices on the wire: a pattern in chunks of at most 1 MiB, its values by position.

What a server sends is checked as a whole: a pattern that is not sorted rows of columns within the
matrix would be read astray by whoever multiplies with it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep_engine.errors import Error, OverBudget
from backsweep_engine.transforms.sparsity import Pattern

from . import limits
from .arrays import Array, decode_array, encode_array, to_bytes
from .blocks import fault

_ARRAYS = (pb.PATTERN_ARRAY_INDPTR, pb.PATTERN_ARRAY_INDICES)
_INT64 = np.dtype("<i8")


def encode_pattern(query: int, part: int, pattern: Pattern) -> Iterator[pb.PatternChunk]:
    """The chunks of a pattern: all of the indptr, then all of the indices; at least one of each."""
    for number, array in zip(_ARRAYS, (pattern.indptr, pattern.indices), strict=True):
        data = to_bytes(array)
        for at in range(0, max(1, len(data)), limits.MAX_CHUNK_BYTES):
            yield pb.PatternChunk(
                query=query,
                part=part,
                rows=pattern.rows,
                columns=pattern.columns,
                positions=pattern.positions,
                array=number,
                offset_bytes=at,
                data=bytes(data[at : at + limits.MAX_CHUNK_BYTES]),
            )


def encode_sparse(pattern: Pattern, values: Array) -> query_pb2.SparseMatrix:
    return query_pb2.SparseMatrix(
        rows=pattern.rows, columns=pattern.columns, indptr=encode_array(pattern.indptr), indices=encode_array(pattern.indices), values=encode_array(values)
    )


def decode_sparse(message: query_pb2.SparseMatrix) -> tuple[Pattern, Array]:
    """The pattern, and the values, all of them the caller's own."""
    try:
        indptr, indices, values = (decode_array(array).copy() for array in (message.indptr, message.indices, message.values))
    except Error as error:
        fault(error.message, got=error.got, allowed=error.allowed)
    if values.shape != indices.shape:
        fault("a sparse matrix has not one value a position", got=str(values.shape), allowed=str(indices.shape))
    return checked_pattern(message.rows, message.columns, indptr, indices), values


def checked_pattern(rows: int, columns: int, indptr: Array, indices: Array) -> Pattern:
    """A pattern a server sent."""
    if indptr.dtype != np.int64 or indices.dtype != np.int64 or indptr.shape != (rows + 1,) or indices.ndim != 1:
        fault(
            "a pattern is not of its types",
            got=f"{indptr.dtype}{list(indptr.shape)}, {indices.dtype}{list(indices.shape)}",
            allowed=f"int64[{rows + 1}], int64",
        )
    if indptr[0] != 0 or indptr[-1] != indices.size or (np.diff(indptr) < 0).any():
        fault("the rows of a pattern do not follow each other", got=f"{indptr[0]} to {indptr[-1]}", allowed=f"0 to {indices.size}, never falling")
    if indices.size and (indices.min() < 0 or indices.max() >= columns):
        fault("a pattern leaves its matrix", got=f"columns {indices.min()} to {indices.max()}", allowed=f"0 to {columns - 1}")
    rising = np.diff(indices) > 0
    starts = indptr[(indptr > 0) & (indptr < indices.size)]
    rising[starts - 1] = True
    if not rising.all():
        fault("a row of a pattern is not sorted, or names a column twice", got=f"position {int(np.flatnonzero(~rising)[0])}")
    return Pattern(rows, columns, indptr, indices)


class ArrivingPattern:
    """A pattern on its way. Feed it every chunk; `pattern` is there once it is whole."""

    def __init__(self, rows: int, columns: int) -> None:
        self._rows, self._columns = rows, columns
        self._arrays: list[Array] = []
        self._filled = [0, 0]
        self.pattern: Pattern | None = None

    def add(self, chunk: pb.PatternChunk) -> None:
        if (chunk.rows, chunk.columns) != (self._rows, self._columns) or chunk.array not in _ARRAYS:
            fault("a pattern is not that of its part", got=f"{chunk.rows} x {chunk.columns}, array {chunk.array}", allowed=f"{self._rows} x {self._columns}")
        if not self._arrays:
            self._arrays = self._allocated(chunk.positions)
        which = _ARRAYS.index(chunk.array)
        array = self._arrays[which].view(np.uint8)
        data, at = np.frombuffer(chunk.data, np.uint8), self._filled[which]
        early = which == 1 and self._filled[0] < self._arrays[0].nbytes
        if early or chunk.offset_bytes != at or at + data.size > array.size or chunk.positions != self._arrays[1].size or self.pattern is not None:
            fault(
                "a chunk of a pattern is out of order",
                got=f"array {chunk.array}, byte {chunk.offset_bytes}, {data.size} bytes",
                allowed=f"byte {at} of {array.size}",
            )
        array[at : at + data.size] = data
        self._filled[which] += data.size
        if which == 1 and self._filled[1] == array.size:
            self.pattern = checked_pattern(self._rows, self._columns, *self._arrays)

    def _allocated(self, positions: int) -> list[Array]:
        if not 0 <= positions <= self._rows * self._columns:
            fault("a pattern has more positions than its matrix", got=str(positions), allowed=f"0 to {self._rows * self._columns}")
        try:
            return [np.zeros(self._rows + 1, _INT64), np.zeros(positions, _INT64)]
        except MemoryError:
            raise OverBudget("this machine has not the memory for the pattern", got=f"{positions} positions", hint="ask for less at a time") from None
