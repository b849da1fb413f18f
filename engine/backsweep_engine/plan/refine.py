"""refine: elementwise work that reshapes cut apart, in one shape, so that it can be one region.

Values that are reshapes of each other have their elements in one order. Where the shapes of such elementwise work
divide each other there is a finest one, (1000, 3200) and (1000, 50, 64) in the last: all of it is done in that,
and reshapes are left where it begins and ends, where they are views. Every value is computed once, as before,
with the same bits but for the order of sums. Only a plan does this to what it runs (CONTRACT A10).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from ..graph import Graph, Node
from ..ops.build import broadcast, call, constant
from ..ops.shape import reshape
from ..ops.term import Term
from ..transforms.rewrite import Rewrite
from .regions import REDUCTIONS, TILE, is_large

Ints = tuple[int, ...]


def refine(graph: Graph) -> Graph:
    """The same values; the graph itself where there is nothing to do. Of an expanded graph."""
    finest = _finest(graph)
    if not finest:
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    fine: dict[int, Term] = {}
    for i, (node, operands) in enumerate(rewrite.steps(), graph.arity):
        source = node.operands[0].node if node.operands else -1
        if i in finest:
            shape = finest[i]
            if node.op == "reshape":
                fine[i] = fine[source] if source in fine else reshape(operands[0], shape)
            else:
                fitted = [fine[r.node] if r.node in fine else _stretched(x, shape) for r, x in zip(node.operands, operands, strict=True)]
                fine[i] = call(node.op, *fitted, **dict(node.attributes))
            rewrite.values.append((reshape(fine[i], node.types[0].shape),))
        elif node.op in REDUCTIONS and source in fine:
            groups = _groups(graph.nodes[source].types[0].shape, fine[source].shape)
            axes = tuple(b for a in dict(node.attributes)["axes"] for b in groups[a])
            found = call(node.op, fine[source], axes=axes) if axes else operands[0]
            rewrite.values.append((reshape(found, node.types[0].shape),))
        else:
            rewrite.values.append(rewrite.copy(node, operands))
    return rewrite.builder.build(rewrite.outputs())


def _finest(graph: Graph) -> dict[int, Ints]:
    """The finest shape of each node that is to have another one than now, and of those with it."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    worked: dict[int, list[Ints]] = {}
    """the shapes of the elementwise work and of the operands of reductions, by node"""
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if node.op in REDUCTIONS and (n := node.operands[0].node) in parent:
            worked.setdefault(n, []).append(graph.nodes[n].types[0].shape)
        if not is_large(node) and not (node.op == "reshape" and node.types[0].size > TILE):
            continue
        parent[i] = i
        if node.op != "reshape":
            worked.setdefault(i, []).append(node.types[0].shape)
        for n, _ in node.operands:
            if n in parent and (node.op == "reshape" or graph.nodes[n].types[0].shape == node.types[0].shape):
                parent[root(i)] = root(n)
    members: dict[int, list[int]] = {}
    for i in parent:
        members.setdefault(root(i), []).append(i)
    found: dict[int, Ints] = {}
    for nodes in members.values():
        shapes = {shape for i in nodes for shape in worked.get(i, ())}
        common = _common(shapes) if len(shapes) > 1 else None
        if common is not None:
            found.update(dict.fromkeys(nodes, common))
    return found


def _common(shapes: set[Ints]) -> Ints | None:
    """The coarsest shape that all of these are joined axes of; None if there is none."""
    steps = sorted({math.prod(shape[a:]) for shape in shapes for a in range(len(shape) + 1)})
    if any(large % small for small, large in pairwise(steps)):
        return None
    return tuple([large // small for small, large in pairwise(steps)][::-1])


def _groups(shape: Ints, fine: Ints) -> list[Ints]:
    """For each axis the axes of the finer shape that it is made of; none for an axis of length 1."""
    groups, at = [], 0
    for length in shape:
        start, product = at, 1
        while product < length:
            product *= fine[at]
            at += 1
        groups.append(tuple(range(start, at)))
    return groups


def _stretched(x: Term, fine: Ints) -> Term:
    """A value of no region of its own, in the finer shape: a broadcast or a number stays one."""
    node: Node = x.builder.nodes[x.ref.node]
    if node.op == "constant" and (value := dict(node.attributes)["value"]).size == 1:
        return constant(x.builder, value.reshape(()), fine)
    if node.op != "broadcast":
        return reshape(x, fine)
    source = Term(x.builder, node.operands[0])
    lengths = (1,) * (x.ndim - source.ndim) + source.shape
    finer = [fine[b] if own == whole else 1 for own, whole, group in zip(lengths, x.shape, _groups(x.shape, fine), strict=True) for b in group]
    return broadcast(reshape(source, _trimmed(finer)), fine)


def _trimmed(shape: Sequence[int]) -> Ints:
    """Without axes of length 1 in front."""
    first = next((a for a, length in enumerate(shape) if length != 1), len(shape))
    return tuple(shape[first:])
