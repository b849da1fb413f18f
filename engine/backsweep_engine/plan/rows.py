"""Rows: which nodes of a graph work row by row, of the many rows that its large inputs have.

A value has rows along one of its axes if each of them is made of the same row of what it is made of, and of what is
the same for all. Sums over the rows end this: they are put together of sums over parts of them. Nodes are grouped by stage, as
regions are: along an edge from row to row the stage stays, along any other that leaves a group it grows, so
each group can run as one. Nothing here depends on more than the graph (CONTRACT B3).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..graph import Graph, Node, Ref, Type
from ..ops.op import lookup
from ..stopping import paced

Ints = tuple[int, ...]

SUMMED = {"sum": "add", "max": "maximum", "min": "minimum", "matmul": "add"}
"""What ends over the rows, and the op that puts two parts together."""


@dataclass(frozen=True, slots=True)
class Read:
    """How a node reads an operand. `axis`: of the rows; -1: it is read whole. Of what no other node of the group makes, `given`
    says how it comes: "cut" into rows, "whole", or "made" for any number of rows, a number or a broadcast of what is whole.
    """

    ref: Ref
    axis: int
    given: str = ""


@dataclass(frozen=True, slots=True)
class Group:
    """`nodes`: ascending. `axis`: of the rows of each; -1: it sums over them. `reads`: how each reads its operands."""

    rows: int
    nodes: tuple[int, ...]
    axis: Mapping[int, int]
    reads: Mapping[int, tuple[Read, ...]]


def groups(graph: Graph, rows: int) -> list[Group]:
    """The nodes of an expanded graph that work row by row along so many rows, those together that share values or what is cut."""
    axis, reads = _found(graph, rows)
    stage = _stages(graph, axis)
    parent = {i: i for i in axis}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    readers: dict[tuple[int, Ref], int] = {}
    for i in paced(list(axis)):
        for read in reads[i]:
            n = read.ref.node
            if not read.given and stage[n] == stage[i]:
                parent[root(i)] = root(n)
            elif not read.given or read.given == "cut":
                parent[root(i)] = root(readers.setdefault((stage[i], read.ref), i))
    members: dict[int, list[int]] = {}
    for i in axis:
        members.setdefault(root(i), []).append(i)
    return [_group(rows, nodes, axis, reads) for nodes in members.values()]


def _group(rows: int, nodes: Sequence[int], axis: Mapping[int, int], reads: Mapping[int, tuple[Read, ...]]) -> Group:
    within = set(nodes)
    # What an earlier group makes is cut anew, like any other array.
    cut = {i: tuple([Read(r.ref, r.axis, "cut") if not r.given and r.ref.node not in within else r for r in reads[i]]) for i in nodes}
    return Group(rows, tuple(nodes), {i: axis[i] for i in nodes}, cut)


def _stages(graph: Graph, axis: Mapping[int, int]) -> list[int]:
    stage = [0] * len(graph.nodes)
    for i in paced(range(graph.arity, len(graph.nodes))):
        for n, _ in graph.nodes[i].operands:
            leaves = n in axis and (axis[n] < 0 or i not in axis)
            stage[i] = max(stage[i], stage[n] + leaves)
    return stage


def _found(graph: Graph, rows: int) -> tuple[dict[int, int], dict[int, tuple[Read, ...]]]:
    """The nodes that work row by row: the axis of their rows, and how they read their operands."""
    axis: dict[int, int] = {}
    reads: dict[int, tuple[Read, ...]] = {}
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        if len(node.types) != 1 or not node.operands:
            continue
        own = [axis.get(ref.node, -1) for ref in node.operands]
        place = _place(graph, node, own, rows)
        if place is None:
            continue
        result, wanted = place
        found = [_read(graph, ref, a, rows, axis) for ref, a in zip(node.operands, wanted, strict=True)]
        if all(found) and any(read is not None and read.given in ("", "cut") for read in found):
            axis[i] = result
            reads[i] = tuple([read for read in found if read is not None])
    return axis, reads


def _read(graph: Graph, ref: Ref, axis: int, rows: int, known: Mapping[int, int]) -> Read | None:
    """How an operand is read along this axis (-1: whole); None if it cannot be."""
    node, own = graph.nodes[ref.node], known.get(ref.node, -1)
    if axis < 0:
        return Read(ref, -1, "whole") if own < 0 else None
    if own >= 0:
        return Read(ref, axis) if own == axis else None
    if node.op == "constant" and np.size(dict(node.attributes)["value"]) == 1:
        return Read(ref, axis, "made")
    if (
        node.op == "broadcast"
        and known.get(node.operands[0].node, -1) < 0
        and lengths(graph.type_of(node.operands[0]).shape, len(node.types[0].shape))[axis] == 1
    ):
        return Read(ref, axis, "made")
    # A part of the rows is contiguous only along the first axis.
    return Read(ref, axis, "cut") if axis == 0 and graph.type_of(ref).shape[0] == rows else None


def _place(graph: Graph, node: Node, own: Sequence[int], rows: int) -> tuple[int, list[int]] | None:
    """Where a node has its rows (-1: it sums over them), and its operands theirs (-1: whole), given where those have them that are known to (`own`)."""
    types, shape = [graph.type_of(ref) for ref in node.operands], node.types[0].shape
    known = [a for a in own if a >= 0]
    attributes = dict(node.attributes)
    if node.op == "matmul":
        return _product(types, own, rows)
    a = known[0] if known else 0
    if types[0].rank <= a or (not known and types[0].shape[0] != rows):
        return None
    if lookup(node.op).pointwise:
        return (a, [a] * len(types)) if all(t.shape == shape for t in types) else None
    match node.op:
        case "sum" | "max" | "min":
            axes = attributes["axes"]
            if a in axes:
                return (-1, [a]) if node.op == "sum" or types[0].is_float else None
            return a - sum(b < a for b in axes), [a]
        case "broadcast":
            place = a + len(shape) - types[0].rank
            return (place, [a]) if shape[place] == rows else None
        case "transpose":
            return attributes["axes"].index(a), [a]
        case "stop_gradient":
            return a, [a]
        case "reshape":
            return _reshaped(types[0].shape, shape, a)
        case "concat" if attributes["axis"] != a:
            return a, [a] * len(types)
        case "slice" if (attributes["start"][a], attributes["stop"][a], attributes["step"][a]) == (0, rows, 1):
            return a, [a]
    return None


def _product(types: Sequence[Type], own: Sequence[int], rows: int) -> tuple[int, list[int]] | None:
    (left, right), last = own, types[0].rank - 1
    if left < 0 and right < 0:
        return (0, [0, -1]) if last == 1 and types[0].shape[0] == rows else None
    if left in (-1, last) and right in (-1, last - 1):
        return -1, [last, last - 1]
    if left == last - 1 and right < 0:
        return left, [left, -1]
    if right == last and left < 0:
        return right, [-1, right]
    batch = max(left, right)
    return (batch, [batch, batch]) if batch < last - 1 else None


def _reshaped(old: Ints, new: Ints, axis: int) -> tuple[int, list[int]] | None:
    before, place = math.prod(old[:axis]), 0
    while place < len(new) and (math.prod(new[:place]) < before or new[place] != old[axis]):
        place += 1
    fits = place < len(new) and math.prod(new[:place]) == before
    return (place, [axis]) if fits else None


def lengths(source: Ints, rank: int) -> Ints:
    """The shape that is broadcast, with axes of length 1 in front."""
    return (1,) * (rank - len(source)) + source
