"""The zoo's graphs and points: a problem is traced by the client, and the graph goes to both judges."""

from __future__ import annotations

from typing import Any

import numpy as np

import backsweep as bs
from backsweep.trace import trace
from backsweep_engine.graph import Graph
from support.zoo import ZOO

Array = np.ndarray[Any, Any]


def traced(name: str, dtype: str, seed: int) -> tuple[Graph, list[Array], list[int]]:
    """The graph at the smaller size, its inputs, and which of them are differentiated by: the problem's point, not its data."""
    problem = ZOO[name]
    point, data = (_retyped(part, dtype) for part in problem.make(problem.sizes[0], seed))
    given = trace(problem.function, {k: getattr(bs, x.dtype.name)[x.shape] for k, x in point.items()} | data)
    names = given.graph.input_names
    return given.graph, [np.asarray(point[n] if n in point else given.bound[n]) for n in names], [i for i, n in enumerate(names) if n in point]


def _retyped(part: dict[str, Any], dtype: str) -> dict[str, Any]:
    """Floating arrays in the dtype; Python's numbers are weak and stay."""
    return {k: np.asarray(x, dtype) if isinstance(x, (np.ndarray, np.generic)) and x.dtype.kind == "f" else x for k, x in part.items()}
