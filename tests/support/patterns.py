"""Patterns for tests: those the engine finds, by forward and by reverse mode, and those of numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from backsweep_engine.graph import Graph
from backsweep_engine.plan.vectors import common_dtype, every_output, seeded
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.sparsity import Pattern, find
from backsweep_engine.transforms.sparsity.rows import Rows

from .differences import along
from .run import Array, run


def dense(pattern: Pattern) -> Array:
    """As an array of bools."""
    result = np.zeros((pattern.rows, pattern.columns), bool)
    result[pattern.row_of(), pattern.indices] = True
    return result


def rows_of(graph: Graph, wrt: Sequence[int], bound: Mapping[str, Array] | None = None, reverse: bool = False) -> Rows:
    """Of the Jacobian; `reverse`: of its transpose, found in the graph of reverse mode."""
    columns = [graph.input_types[i] for i in wrt]
    dtype = common_dtype([t for t in (*columns, *graph.output_types) if t.is_float])
    if reverse:
        vector = seeded(derive.vjp(graph, wrt), graph.arity, graph.output_types, dtype)
    else:
        vector = seeded(every_output(graph, derive.jvp(graph, wrt)), graph.arity, columns, dtype)
    return find(vector, vector.arity - 1, bound or {}).rows


def jacobian(graph: Graph, wrt: Sequence[int] = (0,), bound: Mapping[str, Array] | None = None) -> Array:
    return dense(rows_of(graph, wrt, bound).pattern())


def hessian(graph: Graph, wrt: Sequence[int] = (0,), bound: Mapping[str, Array] | None = None) -> Array:
    columns = [graph.input_types[i] for i in wrt]
    vector = seeded(derive.hvp(graph, wrt), graph.arity, columns, common_dtype(columns))
    return dense(find(vector, vector.arity - 1, bound or {}).rows.pattern())


def numeric(graph: Graph, wrt: Sequence[int], values: Sequence[Array]) -> Array:
    """The Jacobian at a point by differences of values, a column at a time."""

    def f(*x: Any) -> list[Array]:
        return run(graph, *x)

    columns = []
    for i in wrt:
        for k in range(values[i].size):
            unit = np.zeros(values[i].shape)
            unit.reshape(-1)[k] = 1
            moved = along(f, values, [unit if j == i else None for j in range(len(values))])
            columns.append(np.concatenate([np.ravel(m) if t.is_float else np.zeros(t.size) for m, t in zip(moved, graph.output_types, strict=True)]))
    size = sum(t.size for t in graph.output_types)
    return np.stack(columns, axis=1) if columns else np.zeros((size, 0))
