"""Regions: which nodes run fused, a tile at a time in cache, and in which order everything runs.

A region is a set of pointwise nodes of one shape too large for the cache, with the broadcasts they
read and the reductions that end in them. What it computes on the way is never whole in memory.

Nodes are grouped by *stage*: along an edge that can be fused the stage stays, along every other
edge that leaves a region it grows. A path that leaves a region therefore cannot come back, so each
region can run as one. Nothing here depends on more than the graph (CONTRACT B3).
"""

from __future__ import annotations

import heapq
from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from ..graph import Builder, Graph, Node, Ref
from ..ops.op import lookup
from ..stopping import paced
from .cost import node_cost

TILE = 16_384
"""Elements of an array that are in work at once (128 KiB of float64); smaller arrays are not cut. Measured: see TILE_BYTES."""

TILE_BYTES = 1 << 20
"""All arrays of a region that are in work at once: about half of a core's L2 cache."""


class Grain(NamedTuple):
    """How small regions may be. `least`: only arrays of more elements make one; `fewest`: nodes of one that is not larger than a tile."""

    least: int
    fewest: int


TILES = Grain(TILE, 2)
"""For NumPy."""

FINE = Grain(1024, 4)
"""For compiled code, of which a call costs 1.1 us where NumPy's kernels cost 0.4 each (measured)."""

EVERY = Grain(1, 1)
"""For code that is entered once for all of a graph: what is elementwise and more than a number."""

SMALLEST_TILE = 2048
"""Below this a kernel's start costs more than the cache saves."""

MAX_NODES = 500
"""Of one region: its code stays of a size that compiles at once."""

SMALL = 8
"""A value of at most one eighth of an iteration's elements is small beside it."""

MOST_AGAIN = 4
"""Ops that are done once more, or later, rather than keep a value."""

REDUCTIONS = frozenset(("sum", "max", "min"))


@dataclass(frozen=True, slots=True)
class Region:
    """Nodes of a graph that run as one.

    `nodes`: ascending, the broadcasts and constants they read not counted. `inputs`: what it reads, `outputs`: what others
    read of it, both as values of the graph it was found in. `graph`: the same computation as a graph of its own, whose inputs
    broadcast to one shape: pointwise ops, `broadcast`, `constant`, and `sum`, `max`, `min`, which nothing in it reads; of vectors
    also sums of zero paddings of them (`padded_sums`), which nothing else in it reads.
    """

    nodes: tuple[int, ...]
    inputs: tuple[Ref, ...]
    outputs: tuple[Ref, ...]
    graph: Graph


def regions(graph: Graph, grain: Grain = TILES) -> tuple[Region, ...]:
    """The regions of an expanded graph, in no particular order."""
    least = grain.least
    if not any(is_large(node, least) for node in paced(graph.nodes[graph.arity :])):
        return ()
    stage = _stages(graph, least)
    readers: list[list[int]] = [[] for _ in graph.nodes]
    for i in paced(range(graph.arity, len(graph.nodes))):
        for ref in graph.nodes[i].operands:
            readers[ref.node].append(i)
    _delay(graph, stage, readers, least)
    groups = []
    for group in _with_padded_sums(graph, _groups(graph, stage, least), readers, least):
        for start in range(0, len(group), MAX_NODES):
            part = group[start : start + MAX_NODES]
            within = set(part)
            enough = len(part) >= grain.fewest or any(graph.nodes[i].types[0].size > TILE for i in part)
            if enough and (grain.fewest == 1 or any(ref.node in within for i in part for ref in graph.nodes[i].operands)):
                groups.append(part)
    cheap = _cheap(graph, groups, readers, grain)
    again = _made_again(graph, groups, readers, cheap)
    found = [_region(graph, group, readers, cheap, again) for group in paced(groups)]
    return tuple([region for region in found if region.outputs])


def units(graph: Graph, found: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The nodes in the order they run: alone, or those found to run as one together. Near the graph's own order."""
    if not found:
        return [(i,) for i in range(graph.arity, len(graph.nodes))]
    unit = {i: nodes for nodes in found for i in nodes}
    members = {i: unit.get(i, (i,)) for i in range(graph.arity, len(graph.nodes))}
    waiting: dict[tuple[int, ...], int] = {}
    after: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for nodes in paced(list(dict.fromkeys(members.values()))):
        before = {members[ref.node] for i in nodes for ref in graph.nodes[i].operands if ref.node >= graph.arity} - {nodes}
        waiting[nodes] = len(before)
        for other in before:
            after.setdefault(other, []).append(nodes)
    # A unit is due where its last node stands.
    ready = [(nodes[-1], nodes) for nodes, count in waiting.items() if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        _, nodes = heapq.heappop(ready)
        order.append(nodes)
        for other in after.get(nodes, ()):
            waiting[other] -= 1
            if not waiting[other]:
                heapq.heappush(ready, (other[-1], other))
    return order


def is_large(node: Node, least: int = TILE) -> bool:
    return bool(node.operands) and len(node.types) == 1 and node.types[0].size > least and lookup(node.op).pointwise


def _is_reduction(graph: Graph, node: Node, least: int) -> bool:
    return node.op in REDUCTIONS and graph.type_of(node.operands[0]).size > least


def _stages(graph: Graph, least: int) -> list[int]:
    """For each node the stage it can run in at the earliest."""
    large = [is_large(node, least) for node in paced(graph.nodes)]
    stage = [0] * len(graph.nodes)
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        shape = node.types[0].shape if large[i] else graph.type_of(node.operands[0]).shape if _is_reduction(graph, node, least) else None
        for ref in node.operands:
            n = ref.node
            fused = large[n] and shape == graph.nodes[n].types[0].shape
            leaves = (large[n] or _is_reduction(graph, graph.nodes[n], least)) and not fused
            stage[i] = max(stage[i], stage[n] + leaves)
    return stage


def _delay(graph: Graph, stage: list[int], readers: Sequence[Sequence[int]], least: int) -> None:
    """Nodes that only later regions read are computed there, if their operands live that long anyway.

    (1 - y * y, say, which the backward sweep alone reads, where y itself is kept for it.) A node only ever moves to the stage
    of its readers, so that no path from there leads back to it.
    """
    given = {ref.node for ref in graph.outputs}
    # The stage in which each value is last read, through views too.
    last = [0] * len(graph.nodes)
    for i in paced(range(len(graph.nodes) - 1, graph.arity - 1, -1)):
        node = graph.nodes[i]
        for ref in node.operands:
            last[ref.node] = max(last[ref.node], last[i] if lookup(node.op).view else stage[i])

    def lives(ref: Ref, until: int) -> bool:
        n = ref.node
        while n >= graph.arity and graph.nodes[n].operands and lookup(graph.nodes[n].op).view:
            n = graph.nodes[n].operands[0].node
        return not graph.nodes[n].operands or n in given or graph.nodes[n].types[0].size <= least or last[n] >= until

    def moved(i: int, later: int) -> list[int] | None:
        """The node and what is computed for it alone, if what they read of others lives until then."""
        found = [i]
        for n in found:
            for ref in graph.nodes[n].operands:
                if ref.node in found or lives(ref, later):
                    continue
                own = is_large(graph.nodes[ref.node], least) and ref.node not in given and all(r in found for r in readers[ref.node])
                if not own or graph.nodes[ref.node].types[0].shape != graph.nodes[i].types[0].shape or len(found) > MOST_AGAIN:
                    return None
                found.append(ref.node)
        return found

    for i in paced(range(len(graph.nodes) - 1, graph.arity - 1, -1)):
        node = graph.nodes[i]
        if i in given or not readers[i] or not is_large(node, least):
            continue
        shape = node.types[0].shape
        stages = {stage[r] for r in readers[i]}
        later = min(stages)
        fits = len(stages) == 1 and all(is_large(graph.nodes[r], least) and graph.nodes[r].types[0].shape == shape for r in readers[i])
        if fits and later > stage[i]:
            for n in moved(i, later) or ():
                stage[n] = later


def _groups(graph: Graph, stage: Sequence[int], least: int) -> list[list[int]]:
    """The nodes of one shape and stage, those apart that share neither values nor operands."""
    parent: dict[int, int] = {}

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = i = parent[parent[i]]
        return i

    first_reader: dict[tuple[int, tuple[int, ...], Ref], int] = {}
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        large = is_large(node, least)
        if not large and not _is_reduction(graph, node, least):
            continue
        shape = node.types[0].shape if large else graph.type_of(node.operands[0]).shape
        joined = [ref.node for ref in node.operands if ref.node in parent and is_large(graph.nodes[ref.node], least) and stage[ref.node] == stage[i]]
        joined = [n for n in joined if graph.nodes[n].types[0].shape == shape]
        if not large and not joined:
            continue  # a reduction of what no region makes
        parent[i] = i
        for ref in node.operands:
            if ref.node in joined:
                parent[root(i)] = root(ref.node)
            elif graph.type_of(ref).size > least and (ref.node < graph.arity or not lookup(graph.nodes[ref.node].op).view):
                parent[root(i)] = root(first_reader.setdefault((stage[i], shape, ref), i))
    groups: dict[int, list[int]] = {}
    for i in parent:
        groups.setdefault(root(i), []).append(i)
    return list(groups.values())


def padded_sums(graph: Graph, nodes: Sequence[int], inner: Container[int]) -> dict[int, tuple[list[tuple[int, int]], list[int]]]:
    """Of these nodes those that are sums of zero paddings of vectors `inner`: the parts, each with its place in the sum, and the nodes between.

    The gradient of slices is such a sum: pad(a) + pad(b).
    """
    found: dict[int, tuple[list[tuple[int, int]], list[int]]] = {}
    for i in nodes:
        node = graph.nodes[i]
        if node.op == "pad" and len(node.types[0].shape) == 1 and node.operands[0].node in inner:
            attributes = dict(node.attributes)
            if attributes["interior"] == (0,) and attributes["low"][0] >= 0 and attributes["high"][0] >= 0:
                found[i] = [(node.operands[0].node, attributes["low"][0])], []
        elif node.op == "add" and all(ref.node in found for ref in node.operands):
            (a, within_a), (b, within_b) = (found[ref.node] for ref in node.operands)
            if len({low for _, low in (*a, *b)}) == len(a) + len(b) and len({graph.nodes[n].types[0] for n, _ in (*a, *b)}) == 1:
                found[i] = [*a, *b], [*within_a, *within_b, *dict.fromkeys(ref.node for ref in node.operands)]
    return found


def _with_padded_sums(graph: Graph, groups: Sequence[list[int]], readers: Sequence[Sequence[int]], least: int) -> list[list[int]]:
    """The groups, with sums of paddings of their own vectors in the group they are of: added up tile by tile where they belong."""
    given = {ref.node for ref in graph.outputs}
    pads = [i for i in range(graph.arity, len(graph.nodes)) if graph.nodes[i].op in ("pad", "add") and len(graph.nodes[i].types[0].shape) == 1]
    if not any(graph.nodes[i].op == "pad" for i in pads):
        return list(groups)
    added: list[list[int]] = []
    for group in groups:
        sums = padded_sums(graph, pads, {i for i in group if is_large(graph.nodes[i], least)})
        tops = [i for i, (parts, between) in sums.items() if len(parts) > 1 and _alone(i, between, sums, readers, given)]
        own = sorted({n for i in tops for n in (i, *sums[i][1])})
        added.append(own if len(group) + len(own) <= MAX_NODES else [])
    moved = {i for own in added for i in own}
    return [sorted([*[i for i in group if i not in moved], *own]) for group, own in zip(groups, added, strict=True)]


def _alone(top: int, between: Sequence[int], sums: Container[int], readers: Sequence[Sequence[int]], given: Container[int]) -> bool:
    """Whether nothing but the sum reads what it is made of, and it is part of no larger one."""
    own = {top, *between}
    return all(n not in given and all(r in own for r in readers[n]) for n in between) and not any(r in sums for r in readers[top])


def _cheap(graph: Graph, groups: Sequence[Sequence[int]], readers: Sequence[Sequence[int]], grain: Grain) -> frozenset[int]:
    """Values of regions that a few cheap ops make of what is small or an input: x - mean, say, with the mean broadcast.

    In compiled code, where one more op costs nothing beside the way to memory, also of a value that nothing else reads: it is kept instead.
    """
    group = {i: k for k, nodes in enumerate(groups) for i in nodes}
    source = list(range(len(graph.nodes)))
    work: dict[int, int] = {}  # ops it takes to make a value from what is there for good
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        op = lookup(node.op)
        if op.view and node.operands:
            source[i] = source[node.operands[0].node]
        if i not in group or not (op.pointwise and isinstance(op.apply, np.ufunc) and node_cost(graph, node).flops <= node.types[0].size):
            continue
        steps = 1
        for ref in node.operands:
            n = source[ref.node]
            if ref.node in work:
                steps += work[ref.node]
            elif n >= graph.arity and graph.nodes[n].operands and SMALL * sum(t.size for t in graph.nodes[n].types) > node.types[0].size:
                # What a region makes is given to no other unless it is one of its outputs.
                alike = grain is FINE and n not in group and graph.nodes[n].types[0].nbytes == node.types[0].nbytes
                instead = alike and _reads_alone(graph, i, n, readers)
                steps += 1 if instead else MOST_AGAIN
            elif n < graph.arity and SMALL * graph.nodes[n].types[0].size > node.types[0].size:
                steps += 1  # as large as the value itself: read again, though kept anyway
        if steps <= MOST_AGAIN:
            work[i] = steps
    return frozenset(work)


def _reads_alone(graph: Graph, i: int, n: int, readers: Sequence[Sequence[int]]) -> bool:
    """Whether node i alone reads node n, or views of it."""
    reading = [n]
    given = {ref.node for ref in graph.outputs}
    for k in reading:
        if k in given:
            return False
        reading += [r for r in readers[k] if r != i]
        if not all(r == i or lookup(graph.nodes[r].op).view for r in readers[k]):
            return False
    return True


def _made_again(graph: Graph, groups: Sequence[Sequence[int]], readers: Sequence[Sequence[int]], cheap: frozenset[int]) -> frozenset[int]:
    """Cheap values that each region reading one computes for itself: an op in cache instead of the value's way to memory and back."""
    group = {i: k for k, nodes in enumerate(groups) for i in nodes}
    given = {ref.node for ref in graph.outputs}
    elsewhere = [i for i in cheap if any(group.get(r) != group[i] for r in readers[i])]
    return frozenset([i for i in elsewhere if i not in given and all(r in group for r in readers[i])])


def _region(graph: Graph, nodes: Sequence[int], readers: Sequence[Sequence[int]], cheap: frozenset[int], again: frozenset[int]) -> Region:
    within = set(nodes)
    builder = Builder()
    values: dict[Ref, Ref] = {}
    inputs: list[Ref] = []

    def value(ref: Ref, making: bool = False) -> Ref:
        if ref in values:
            return values[ref]
        node = graph.nodes[ref.node]
        if node.op == "broadcast":
            source = value(node.operands[0], making)
            values[ref] = Ref(builder.add("broadcast", [source], dict(node.attributes), lambda: node.types))
        elif node.op == "constant" or ref.node in again or (making and ref.node in cheap):
            operands = [value(operand, True) for operand in node.operands]
            values[ref] = Ref(builder.add(node.op, operands, dict(node.attributes), lambda: node.types))
        else:
            values[ref] = builder.input(f"x{len(inputs)}", graph.type_of(ref))
            inputs.append(ref)
        return values[ref]

    for i in nodes:
        node = graph.nodes[i]
        operands = [value(ref) for ref in node.operands]
        builder.origin = node.origin
        values[Ref(i)] = Ref(builder.add(node.op, operands, dict(node.attributes), lambda node=node: node.types))  # type: ignore[misc]
    given = {ref.node for ref in graph.outputs}
    outputs = tuple([Ref(i) for i in nodes if i in given or (i not in again and any(r not in within for r in readers[i]))])
    made = builder.build([(str(k), values[ref]) for k, ref in enumerate(outputs)])
    return Region(tuple(nodes), tuple(inputs), outputs, replace(made, factors=graph.factors))
