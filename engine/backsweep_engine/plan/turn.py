"""turn: values of many short rows lie with their long first axis last.

Of n points in k clusters of d numbers each, (n, k, d), every row has d elements: too few for a vector
unit, and what is broadcast or reduced along them costs more than the work. As (k, d, n) every row has n. A product yields
its transpose as readily, b' a' = (a b)', and BLAS reads either; so elementwise work between products, with its reductions,
broadcasts and reshapes, is turned as a whole where (almost) nothing else would have to be copied for it. Every value is computed once, as
before, to rounding. Only a plan does this to what it runs (CONTRACT A10).

Whoever adds an op here: `turned` always means the first axis moved to the end, whatever the axis means.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..graph import Graph, Node, Ref
from ..ops.build import broadcast, call, constant
from ..ops.op import lookup
from ..ops.shape import permute, reshape
from ..ops.term import Term
from ..stopping import paced
from ..transforms.rewrite import Rewrite
from .regions import REDUCTIONS
from .rows import lengths

Ints = tuple[int, ...]

SHORT, LONG = 32, 128
"""Rows below SHORT are turned where the first axis is at least LONG."""

LEAST = 4096
"""Elements of a value that is turned. (6000, 2) times (6000, 1) takes 20 us, (2, 6000) times (6000,) 3: measured."""

COPIES = 6
"""At least so many elements of work on short rows for each one that is copied: a transposed copy takes as long as some three passes."""


def turn(graph: Graph) -> Graph:
    """The same values; the graph itself where there is nothing to gain. Of an expanded graph."""
    if not any(_short(node) for node in paced(graph.nodes[graph.arity :])):
        return graph
    members = _gaining(graph, _candidates(graph))
    if not members:
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    turned: dict[int, Term] = {}
    for i, (node, operands) in enumerate(rewrite.steps(), graph.arity):
        mine = [turned.get(ref.node) for ref in node.operands]
        if i in members:
            turned[i] = _turned(node, operands, mine)
            rewrite.values.append((permute(turned[i], (turned[i].ndim - 1, *range(turned[i].ndim - 1))),))
        elif node.op in REDUCTIONS and mine[0] is not None:
            rewrite.values.append((call(node.op, mine[0], axes=_moved(dict(node.attributes)["axes"], mine[0].ndim)),))
        elif _swaps(node) and mine[0] is not None:
            rewrite.values.append((mine[0],))
        elif node.op == "matmul" and mine[1] is not None and mine[1].ndim == 2:
            # What is turned stands first, where its long rows are read as they lie: a b = (b' a')'.
            rewrite.values.append((_swapped(call("matmul", mine[1], _swapped(operands[0]))),))
        else:
            rewrite.values.append(rewrite.copy(node, operands))
    return rewrite.builder.build(rewrite.outputs())


def _short(node: Node) -> bool:
    """Whether it is work on many short rows: elementwise, or a join of them."""
    shape = node.types[0].shape
    return _works(node) and len(shape) > 1 and shape[-1] < SHORT and shape[0] >= LONG and node.types[0].size > LEAST


def _works(node: Node) -> bool:
    return lookup(node.op).pointwise or node.op == "concat"


def _swaps(node: Node) -> bool:
    return node.op == "transpose" and dict(node.attributes)["axes"] == (1, 0)


def _candidates(graph: Graph) -> list[int]:
    """Nodes that can yield their value turned, given their operands turned."""
    found = []
    for i in paced(range(graph.arity, len(graph.nodes))):
        node, shape = graph.nodes[i], graph.nodes[i].types[0].shape
        if len(node.types) > 1 or len(shape) < 2 or shape[0] < LONG or not node.operands or not node.types[0].size:
            continue
        source = graph.type_of(node.operands[0]).shape
        if lookup(node.op).pointwise:
            fits = True
        elif node.op == "matmul":
            fits = len(shape) == 2 and all(graph.type_of(ref).rank == 2 for ref in node.operands)
        elif node.op in REDUCTIONS:
            fits = 0 not in dict(node.attributes)["axes"]
        elif node.op == "concat":
            fits = dict(node.attributes)["axis"] != 0
        else:
            # A broadcast of what has no first axis is made where it is read (_given).
            fits = (node.op == "reshape" and source[:1] == shape[:1]) or (node.op == "broadcast" and len(source) == len(shape) and source[0] == shape[0])
        if fits:
            found.append(i)
    return found


def _gaining(graph: Graph, candidates: Sequence[int]) -> frozenset[int]:
    """Those candidates that gain, by groups that read one another along one first axis."""
    first = {i: graph.nodes[i].types[0].shape[0] for i in candidates}
    parent = {i: i for i in candidates}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    for i in candidates:
        node = graph.nodes[i]
        for n, _ in node.operands[:1] if node.op == "matmul" else node.operands:
            if first.get(n) == first[i]:
                parent[root(i)] = root(n)
    short, all_work = dict.fromkeys(parent, 0), dict.fromkeys(parent, 0)
    for i in candidates:
        node = graph.nodes[i]
        if _works(node):
            short[root(i)] += node.types[0].size * _short(node)
            all_work[root(i)] += node.types[0].size
    copied = _copied(graph, first, root)
    gaining = {r for r, elements in short.items() if 2 * elements > all_work[r] and elements >= COPIES * copied[r]}
    return frozenset([i for i in candidates if root(i) in gaining])


def _copied(graph: Graph, first: Mapping[int, int], root: Callable[[int], int]) -> dict[int, int]:
    """By group: elements of what would have to be copied, what it reads of others and what others read of it."""
    read = {(root(i), ref) for i in first for ref in graph.nodes[i].operands if not _is_free(graph, i, ref, first)}
    for j in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[j]
        free = node.op == "matmul" or node.op in REDUCTIONS or _swaps(node)
        read |= {(root(ref.node), ref) for ref in node.operands if ref.node in first and not free and first.get(j) != first[ref.node]}
    read |= {(root(ref.node), ref) for ref in graph.outputs if ref.node in first}
    copied = dict.fromkeys(map(root, first), 0)
    for group, ref in read:
        copied[group] += graph.type_of(ref).size
    return copied


def _is_free(graph: Graph, i: int, ref: Ref, first: Mapping[int, int]) -> bool:
    """Whether candidate i has its operand turned without a copy."""
    source = graph.nodes[ref.node]
    return (
        graph.nodes[i].op == "matmul"
        or first.get(ref.node) == first[i]
        or graph.type_of(ref).rank < 2
        or (source.op == "constant" and np.size(dict(source.attributes)["value"]) == 1)
        or (source.op == "broadcast" and lengths(graph.type_of(source.operands[0]).shape, len(source.types[0].shape))[0] == 1)
        or _swaps(source)
    )


def _moved(axes: Sequence[int], rank: int) -> Ints:
    """Where these axes are of what is turned."""
    return tuple(sorted((a - 1) % rank for a in axes))


def _turned(node: Node, operands: Sequence[Term], turned: Sequence[Term | None]) -> Term:
    """The node's value turned. `turned`: of the operands, those that are."""
    shape, attributes = node.types[0].shape, dict(node.attributes)
    around = (*shape[1:], shape[0])
    if node.op == "matmul":
        return call("matmul", _swapped(operands[1]), _swapped(operands[0]) if turned[0] is None else turned[0])
    given = [_given(plain) if x is None else x for x, plain in zip(turned, operands, strict=True)]
    if node.op == "reshape":
        return reshape(given[0], around)
    if node.op == "broadcast":
        return broadcast(given[0], around)
    if node.op in REDUCTIONS:
        attributes["axes"] = _moved(attributes["axes"], given[0].ndim)
    if node.op == "concat":
        attributes["axis"] -= 1
    return call(node.op, *given, **attributes)


def _given(x: Term) -> Term:
    """A value that is not turned by those who make it, turned: of a broadcast or a number, another of the kind."""
    node, around = x.builder.nodes[x.ref.node], (*x.shape[1:], *x.shape[:1])
    if node.op == "constant" and (value := dict(node.attributes)["value"]).size == 1:
        return constant(x.builder, value.reshape(()), around)
    if node.op == "broadcast":
        source = Term(x.builder, node.operands[0])
        stretched = lengths(source.shape, x.ndim)
        if stretched[0] == 1:
            return broadcast(reshape(source, (*stretched[1:], 1)), around)
    return _swapped(x) if x.ndim == 2 else permute(x, (*range(1, x.ndim), *range(min(1, x.ndim))))


def _swapped(x: Term) -> Term:
    """The transpose of a matrix: of a transpose what it is of."""
    node = x.builder.nodes[x.ref.node]
    return Term(x.builder, node.operands[0]) if _swaps(node) else permute(x, (1, 0))
