"""Rules: which elements of its operands each element of a linear op's result reads.

Ops that only move elements have one rule, their own kernel run on positions. An op that is not here
reads everything, which is sound; to say more of it, add a line to RULES.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ...ops.op import lookup
from .known import MOVES, Array
from .pattern import Ints
from .reading import Reading, along, places, spread
from .rows import MAX_POSITIONS, Rows, added, joined, union

Rule = Callable[[Reading], Rows]


def together(reading: Reading) -> Rows:
    """Pointwise: what all operands depend on at the same place."""
    (_, rows), *others = reading.moving
    for _, other in others:
        rows = union(rows, other)
    return rows


def everything(reading: Reading) -> Rows:
    """One row: all that any element of any operand depends on."""
    every = joined([rows for _, rows in reading.moving])
    return added(every, np.zeros(every.of.size, np.int64), np.arange(every.of.size), 1)


def _product(reading: Reading) -> Rows:
    """a * b: nothing where the other factor is known to be 0."""
    if len(reading.moving) > 1:
        return together(reading)
    ((k, rows),) = reading.moving
    mask = reading.nonzero(1 - k)
    return rows if mask is None else rows.where(mask)


def _moved(reading: Reading) -> Rows:
    """Each element is a copy of one: the kernel, run on positions, says which."""
    given, parts, at = [], [], 1
    for k, rows in enumerate(reading.rows):
        type = reading.type(k)
        if rows is not None:
            given.append(places(type.shape) + at)
            parts.append(rows)
            at += type.size
        elif type.is_float:
            given.append(np.broadcast_to(np.int64(0), type.shape))
        else:
            value = reading.value(k)
            if value is None:
                return _UNKNOWN[reading.node.op](reading)
            given.append(value)
    apply = lookup(reading.node.op).apply
    assert apply is not None
    return joined(parts).at(np.asarray(apply(*given, **dict(reading.node.attributes))))


def _taken(reading: Reading) -> Rows:
    """x by an unknown index along an axis: any element on that line."""
    ((_, rows),) = reading.moving
    axis = int(reading.attribute("axis"))
    shape, count = reading.type(0).shape, reading.type(1).rank
    line = along(rows, shape, (axis,))
    return spread(line, (*shape[:axis], *(1,) * count, *shape[axis + 1 :]), reading.result.shape)


def _scattered(reading: Reading) -> Rows:
    """Values at unknown places along an axis: the old element, or any written to that line."""
    axis = int(reading.attribute("axis"))
    shape, count = reading.type(0).shape, reading.type(1).rank
    found = reading.rows[0]
    values = reading.rows[2]
    if values is not None:
        written = _onto_line(values, reading.type(2).shape, axis, count, shape)
        found = written if found is None else union(found, written)
    assert found is not None
    return found


def _onto_line(rows: Rows, shape: Sequence[int], axis: int, count: int, result: Sequence[int]) -> Rows:
    line = along(rows, shape, range(axis, axis + count))
    return spread(line, (*result[:axis], 1, *result[axis + 1 :]), result)


_UNKNOWN: dict[str, Rule] = {"take": _taken, "scatter_set": _scattered, "where": together}


def _sum(reading: Reading) -> Rows:
    ((_, rows),) = reading.moving
    return along(rows, reading.type(0).shape, tuple(reading.attribute("axes")))


def _put_add(reading: Reading) -> Rows:
    """Values added at indices: where each goes is what taking the result's positions at them says."""
    ((_, rows),) = reading.moving
    axis = int(reading.attribute("axis"))
    index, result = reading.value(1), reading.result.shape
    if index is None:
        return _onto_line(rows, reading.type(0).shape, axis, reading.type(1).rank, result)
    apply = lookup("take").apply
    assert apply is not None
    target = np.asarray(apply(places(result) + 1, index, axis=axis)).reshape(-1)
    source = np.flatnonzero(target)
    return added(rows, target[source] - 1, source, math.prod(result))


def _prefix(reading: Reading) -> Rows:
    """Along an axis, every element up to each; of long lines, every element of the line."""
    k, rows = reading.moving[-1]
    axis = int(reading.attribute("axis"))
    shape = reading.result.shape
    if len(reading.moving) > 1 or k != len(reading.rows) - 1:
        return _spread_everything(reading)
    n = shape[axis]
    if rows.of.size * (n + 1) > MAX_POSITIONS // 4:
        return spread(along(rows, shape, (axis,)), [1 if a == axis else d for a, d in enumerate(shape)], shape)
    later, earlier = np.tril_indices(n)
    lines = np.moveaxis(places(shape), axis, -1)
    return added(rows, lines[..., later].reshape(-1), lines[..., earlier].reshape(-1), rows.of.size)


def _spread_everything(reading: Reading) -> Rows:
    every = everything(reading)
    return Rows(np.full(reading.result.size, every.of[0]), every.sets)


def _matmul(reading: Reading) -> Rows:
    """[..., n, k] @ [..., k, m]: by rows of the left, by columns of the right operand; of a known one only what is not 0."""
    parts = [_left(reading, rows) if k == 0 else _right(reading, rows) for k, rows in reading.moving]
    return parts[0] if len(parts) == 1 else union(*parts)


def _left(reading: Reading, rows: Rows) -> Rows:
    (*lead, n, k), m = reading.type(0).shape, reading.type(1).shape[-1]
    entries = None if reading.rows[1] is not None else _entries(reading.nonzero(1), n)
    if entries is None:
        return spread(along(rows, (*lead, n, k), (len(lead) + 1,)), (*lead, n, 1), (*lead, n, m))
    stack, inner, outer = (e[:, None] for e in entries)
    row = stack * n + np.arange(n)
    return added(rows, (row * m + outer).reshape(-1), (row * k + inner).reshape(-1), math.prod(lead) * n * m)


def _right(reading: Reading, rows: Rows) -> Rows:
    (*lead, k, m), n = reading.type(1).shape, reading.type(0).shape[-2]
    entries = None if reading.rows[0] is not None else _entries(reading.nonzero(0), m)
    if entries is None:
        return spread(along(rows, (*lead, k, m), (len(lead),)), (*lead, 1, m), (*lead, n, m))
    stack, outer, inner = (e[:, None] for e in entries)
    column = np.arange(m)
    return added(rows, ((stack * n + outer) * m + column).reshape(-1), ((stack * k + inner) * m + column).reshape(-1), math.prod(lead) * n * m)


def _entries(mask: Array | None, times: int) -> tuple[Ints, Ints, Ints] | None:
    """Stack, row and column of the entries that may be other than 0; None where it does not pay to list them, each `times` over."""
    if mask is None:
        return None
    count = int(np.count_nonzero(mask))
    # A large matrix that is mostly full is taken as full.
    if count * times > (MAX_POSITIONS // 4 if 4 * count < mask.size else 1 << 18):
        return None
    stack, row, column = np.nonzero(mask.reshape(-1, *mask.shape[-2:]))
    return stack, row, column


def _convolve(reading: Reading) -> Rows:
    """y[i + j] += a[i] v[j] along the last axis; of a known factor only what is not 0."""
    parts = []
    for k, rows in reading.moving:
        (*lead, n), m = reading.type(k).shape, reading.type(1 - k).shape[-1]
        size = reading.result.shape[-1]
        fixed = reading.nonzero(1 - k) if reading.rows[1 - k] is None else None
        taps = np.flatnonzero(fixed.reshape(-1, m).any(axis=0)) if fixed is not None else np.arange(m)
        shift = min(n, m) - 1 if reading.attribute("valid") else 0
        if math.prod(lead) * n * taps.size > MAX_POSITIONS // 4:
            parts.append(spread(along(rows, (*lead, n), (len(lead),)), (*lead, 1), (*lead, size)))
            continue
        i, j = (line.reshape(-1) for line in np.meshgrid(np.arange(n), taps, indexing="ij"))
        inside = (i + j >= shift) & (i + j - shift < size)
        i, to = i[inside], (i + j - shift)[inside]
        stack = np.arange(math.prod(lead))[:, None]
        parts.append(added(rows, (stack * size + to).reshape(-1), (stack * n + i).reshape(-1), math.prod(lead) * size))
    return parts[0] if len(parts) == 1 else union(*parts)


def _last_axes(count: int, results: int) -> Rule:
    """Everything within the last axes of the last operand, whose leading axes the result shares, along `results` of them."""

    def rule(reading: Reading) -> Rows:
        k, rows = reading.moving[-1]
        if len(reading.moving) > 1 or k != len(reading.rows) - 1:
            return _spread_everything(reading)
        shape = reading.type(k).shape
        axes = range(len(shape) - count, len(shape) - count + results)
        return spread(along(rows, shape, axes), [1 if a in axes else d for a, d in enumerate(shape)], shape)

    return rule


def _cross(reading: Reading) -> Rows:
    parts = []
    for k, rows in reading.moving:
        shape = reading.type(k).shape
        parts.append(spread(along(rows, shape, (len(shape) - 1,)), (*shape[:-1], 1), reading.result.shape))
    return parts[0] if len(parts) == 1 else union(*parts)


_solve = _last_axes(2, 1)

RULES: dict[str, Rule] = {
    **dict.fromkeys(("add", "subtract", "negative", "cast"), together),
    **dict.fromkeys(("multiply", "scale"), _product),
    **dict.fromkeys(MOVES, _moved),
    "sum": _sum,
    "put_add": _put_add,
    "cumsum": _prefix,
    "linear_recurrence": _prefix,
    "matmul": _matmul,
    "convolve": _convolve,
    "cross": _cross,
    **dict.fromkeys(("solve", "triangular_solve", "tridiagonal_solve"), _solve),
    "expm_frechet": _last_axes(2, 2),
}
