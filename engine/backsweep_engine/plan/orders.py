"""Orders in which a graph is coloured greedily. Ties go by number, so that every order is deterministic.

A graph is its adjacency as a symmetric Pattern without a diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..transforms.sparsity.pattern import Pattern


def natural(graph: Pattern) -> Sequence[int]:
    """As the variables come: right for bands."""
    return range(graph.columns)


def largest_first(graph: Pattern) -> Sequence[int]:
    """Those with most neighbours first (Welsh and Powell 1967): right for arrows."""
    order: list[int] = np.argsort(-np.diff(graph.indptr), kind="stable").tolist()
    return order


def smallest_last(graph: Pattern) -> Sequence[int]:
    """Backwards: the vertex with fewest neighbours among those left is put last (Matula and Beck 1983)."""
    return _by_degree(graph, np.diff(graph.indptr).tolist(), -1)[::-1]


def incidence_degree(graph: Pattern) -> Sequence[int]:
    """Next comes the vertex with most neighbours that had their turn (Coleman and More 1983)."""
    return _by_degree(graph, [0] * graph.columns, 1)


def _by_degree(graph: Pattern, degree: list[int], step: int) -> list[int]:
    """Vertices one after the other by an extreme degree, which changes by `step` for each neighbour chosen:
    the largest where it grows, the smallest where it falls. Linear in the edges: vertices stand in buckets.
    """
    indptr, indices = graph.indptr.tolist(), graph.indices.tolist()
    buckets: list[list[int]] = [[] for _ in range(max(np.diff(graph.indptr).tolist(), default=0) + 1)]
    for v in range(graph.columns - 1, -1, -1):  # the lowest number on top
        buckets[degree[v]].append(v)
    at = 0
    done = [False] * graph.columns
    order: list[int] = []
    while len(order) < graph.columns:
        while not buckets[at]:
            at -= step
        v = buckets[at].pop()
        if done[v] or degree[v] != at:
            continue  # it has moved on
        done[v] = True
        order.append(v)
        for w in indices[indptr[v] : indptr[v + 1]]:
            if not done[w]:
                degree[w] += step
                buckets[degree[w]].append(w)
        # One chosen may have brought another beyond it.
        at = min(max(at + step, 0), len(buckets) - 1)
    return order
