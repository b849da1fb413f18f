"""Where each value of a graph lives: liveness, one arena for all that passes, and the peak in bytes.

The same layout is the plan's promise and the program's workspace, so that the promise cannot drift
from what is run. Views live where their operand lives; a place is used again once the last reader of
everything in it has run, by the operation that reads it last where that can write over its operand;
outputs are allocated anew for every call, since results never alias a workspace (CONTRACT B6). What
is computed inside a region has no place but a tile's.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..graph import Graph, Node, Ref, Type, results_of
from ..ops.op import Op, lookup
from ..stopping import paced
from ..transforms.remember import remembered
from .cost import costs, graphs_run, node_cost
from .finite import finite_body
from .loops import relieved
from .regions import EVERY, FINE, TILES, Grain, Region, regions, units
from .scalars import scalar_loop
from .strips import stripped
from .tiling import Tiling, may_be_written_over, tiling

ALIGNMENT = 64
"""Places begin at cache lines: NumPy's loops over what is not aligned take up to twice as long (measured)."""


LEAST_ROW = 64
"""Of a region that writes over what it reads: native code ends a row with a masked store, from which the loads of the next row
wait some 6 ns (measured: 25,000 rows of 10 take 320 us in place, 170 elsewhere)."""


class Unit(NamedTuple):
    """What runs as one: a node, or a region cut into tiles.

    `scratch`: where in the arena its own workspace begins, a tile's values or that of the graphs it holds, and its bytes.
    """

    nodes: tuple[int, ...]
    scratch: tuple[int, int]
    region: Region | None = None
    tiles: Tiling | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """`units`: what runs, in order; nodes nothing needs are left out. `place`: where in the arena a value begins, in bytes.
    `result`: the position among the outputs of a value that is computed straight into its output. What has neither is an
    input, a constant, a view of something, or inside a region.

    `hosted`: nodes whose value is computed straight into its part of a pad or concat that reads it: which, and from which byte.
    `root[i]`: the node in whose memory node i lives. `copied[i]`: node i is a view op whose operand is not contiguous,
    so it has a place of its own. `contiguous[i]`: its results are known to be C-contiguous.
    `arena_bytes` are kept by a program that is not running; `temporary_bytes`: the most the kernel of one node allocates;
    `peak_bytes`: both, and constants and outputs.
    """

    units: tuple[Unit, ...]
    place: Mapping[Ref, int]
    result: Mapping[Ref, int]
    hosted: Mapping[int, tuple[int, int]]
    root: tuple[int, ...]
    copied: tuple[bool, ...]
    contiguous: tuple[bool, ...]
    arena_bytes: int
    temporary_bytes: int
    peak_bytes: int


@remembered
def layout(graph: Graph, whole: bool = False, grain: Grain = TILES) -> Layout:
    """The layout of an expanded graph as it runs: its loops relieved (loops.py) unless they run as they stand (`whole`), large arrays in strips.

    `grain`: of its regions; with EVERY they need no scratch, and nothing is cut.
    """
    graph = graph if whole else relieved(graph)
    if grain is not EVERY and (strips := stripped(graph)) is not None:
        graph = strips.graph
    spent = costs(graph)
    root, copied, contiguous = _roots(graph)
    found = regions(graph, grain)
    by_nodes = {region.nodes: region for region in found}
    order = _needed(graph, units(graph, list(by_nodes)), by_nodes)
    result: dict[Ref, int] = {}
    for k, ref in enumerate(graph.outputs):
        if ref.node >= graph.arity and root[ref.node] == ref.node and graph.nodes[ref.node].operands:
            result.setdefault(ref, k)

    last: dict[int, int] = {}
    for u, nodes in enumerate(order):
        for i in nodes:
            last[i] = u
        for ref in _reads(graph, nodes, by_nodes):
            last[root[ref.node]] = u
    hosts = _hosts(graph, root, result, {i for region in found for i in region.nodes})
    for i in sorted(hosts):  # a host stands behind its guests, so that guests of guests come first
        last[hosts[i][0]] = max(last[hosts[i][0]], last[i])
    lasting = {root[ref.node] for ref in graph.outputs}
    dying: list[list[int]] = [[] for _ in order]
    for i, u in last.items():
        if i >= graph.arity and i not in lasting:
            dying[u].append(i)

    arena = _Arena()
    place: dict[Ref, int] = {}
    placed: set[int] = set()
    made = []
    temporary = constants = 0
    there = set(range(graph.arity))
    for u, nodes in enumerate(paced(order)):
        region = by_nodes.get(nodes)
        # Compiled code reads what it is given without a look: that it is there is held here.
        unmade = {root[ref.node] for ref in _reads(graph, nodes, by_nodes)} - there
        assert not any(graph.nodes[i].operands for i in unmade), f"nodes {sorted(unmade)} are read before they are made"
        node = graph.nodes[nodes[0]]
        free = {i for i in dying[u] if i in placed and i not in hosts}
        tiles, own = None, 0
        if region is not None:
            tiles = tiling(region.graph, [contiguous[ref.node] for ref in region.inputs])
            own, needs, written = 0 if grain is EVERY else tiles.scratch_bytes, tiles.temporary_bytes, region.outputs
        else:
            cost = spent[nodes[0] - graph.arity]
            needs, written = cost.workspace, results_of(nodes[0], len(node.types))
            if cost.copies and not copied[nodes[0]]:
                needs += min(cost.copies, sum([graph.type_of(ref).nbytes for ref in node.operands if not contiguous[ref.node]]))
            if node.attributes and (held := graphs_run(node)):
                usual = finite_body(node)
                inner = [layout(g, whole, grain) for g in (*held, *([] if usual is None else [usual.graph]))]
                if grain is FINE and node.op in ("scan", "while_loop"):  # which may be code itself
                    inner += [layout(g, True, EVERY) for g in held]
                own = max([g.arena_bytes for g in inner]) + _carried_bytes(node)
                needs += max([g.temporary_bytes for g in inner]) + _chunk_bytes(node)
            if not node.operands:
                constants += 0 if lookup(node.op).view else sum([t.nbytes for t in node.types])
        if region is not None and tiles is not None:
            over = _tiled_over(graph, region, tiles, root, contiguous, free) if free else {}
        else:
            operand = _written_over(graph, node, root, contiguous, free) if free else None
            over = {} if operand is None else {Ref(nodes[0]): operand}
        there.update([ref.node for ref in written])
        for ref in written:
            if ref in result or root[ref.node] != ref.node or not graph.nodes[ref.node].operands:
                continue
            placed.add(ref.node)
            host, offset = ref.node, 0
            while host in hosts:
                offset += hosts[host][1]
                host = hosts[host][0]
            if host != ref.node:
                if Ref(host) not in place:
                    place[Ref(host)] = arena.take(graph.nodes[host].types[0].nbytes)
                place[ref] = place[Ref(host)] + offset
            elif ref in over and over[ref].node in free:
                place[ref] = place[over[ref]]
                free.discard(over[ref].node)
            elif ref not in place:
                place[ref] = arena.take(graph.type_of(ref).nbytes)
        scratch = arena.take(own) if own else 0
        made.append(Unit(nodes, (scratch, own), region, tiles))
        arena.free(scratch, own)
        temporary = max(temporary, needs)
        # A result that is a place of its own and that nobody reads dies at once: it is among `dying` of its own unit.
        for i in [*free, *[i for i in nodes if last[i] == u and i in placed and i not in lasting and i not in hosts]]:
            for ref in results_of(i, len(graph.nodes[i].types)):
                if ref in place:
                    arena.free(place[ref], graph.type_of(ref).nbytes)
    outputs = sum(graph.type_of(ref).nbytes for ref in graph.outputs)
    size = arena.size
    peak = size + temporary + constants + outputs
    return Layout(tuple(made), place, result, hosts, tuple(root), tuple(copied), tuple(contiguous), size, temporary, peak)


def _hosts(graph: Graph, root: Sequence[int], result: Mapping[Ref, int], tiled: Container[int]) -> dict[int, tuple[int, int]]:
    """Values computed straight into their part of a larger one: operands of pad and concat along the first axis.

    For each such node, the node it is a part of, and where in it, in bytes.
    """
    hosts: dict[int, tuple[int, int]] = {}
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        if node.op not in ("pad", "concat") or i in tiled or Ref(i) in result or not node.types[0].size:
            continue
        attributes = dict(node.attributes)
        if node.op == "pad":
            at = attributes["low"][0] if node.types[0].shape else 0
            whole = not any((*attributes["interior"], *attributes["low"][1:], *attributes["high"][1:]))
        else:
            at, whole = 0, attributes["axis"] == 0
        row = node.types[0].nbytes // node.types[0].shape[0] if node.types[0].shape else 0
        for ref in node.operands:
            n, type = ref.node, graph.type_of(ref)
            own = n >= graph.arity and root[n] == n and len(graph.nodes[n].types) == 1 and bool(graph.nodes[n].operands)
            if whole and own and n not in hosts and ref not in result and row and [r.node for r in node.operands].count(n) == 1:
                hosts[n] = (i, at * row)
            at += type.shape[0] if type.shape else 0
    return hosts


def _needed(graph: Graph, order: Sequence[tuple[int, ...]], found: Mapping[tuple[int, ...], Region]) -> list[tuple[int, ...]]:
    """Without what only regions read that spell it anew: views, constants, values cheaper to make again."""
    needed = {ref.node for ref in graph.outputs}
    kept = []
    for nodes in paced(order[::-1]):
        if nodes in found or nodes[0] in needed:
            kept.append(nodes)
            needed.update(ref.node for ref in _reads(graph, nodes, found))
    return kept[::-1]


def _reads(graph: Graph, nodes: tuple[int, ...], found: Mapping[tuple[int, ...], Region]) -> Sequence[Ref]:
    return found[nodes].inputs if nodes in found else graph.nodes[nodes[0]].operands


def _carried_bytes(node: Node) -> int:
    """What a loop carries from trip to trip stands in two places by turns: its results, and one more."""
    attributes = dict(node.attributes)
    if "carries" not in attributes:
        return 0
    return places(attributes["body"].output_types[: attributes["carries"]])[-1]


def _chunk_bytes(node: Node) -> int:
    """What a loop on Python's numbers holds of them."""
    loop = scalar_loop(node) if node.op in ("scan", "while_loop") else None
    return 0 if loop is None else loop.chunk_bytes


def places(types: Sequence[Type]) -> tuple[int, ...]:
    """Where values of these types begin that stand one after the other, and after the last, how many bytes they take."""
    return (0, *accumulate(_aligned(t.nbytes) for t in types))


def _written_over(graph: Graph, node: Node, root: Sequence[int], contiguous: Sequence[bool], free: set[int]) -> Ref | None:
    """The value whose place a pointwise ufunc may write its result to: an operand of its very type, whole, that nobody reads later."""
    op = lookup(node.op)
    if not (op.pointwise and isinstance(op.apply, np.ufunc)):
        return None

    def fits(ref: Ref) -> bool:
        held = graph.nodes[root[ref.node]].types
        return graph.type_of(ref) == node.types[0] and contiguous[ref.node] and len(held) == 1 and held[0].nbytes == node.types[0].nbytes

    for ref in node.operands:
        # Other operands in the same memory must lie in it alike, or NumPy would copy them first.
        if root[ref.node] in free and all(fits(other) for other in node.operands if root[other.node] == root[ref.node]):
            return Ref(root[ref.node])
    return None


def _tiled_over(graph: Graph, region: Region, tiles: Tiling, root: Sequence[int], contiguous: Sequence[bool], free: set[int]) -> dict[Ref, Ref]:
    """For outputs of a region the value whose place each is written to, tile by tile: whole, of its type, and dead by then."""
    found: dict[Ref, Ref] = {}
    if tiles.shape[-1] < LEAST_ROW:
        return found
    roots = [root[ref.node] for ref in region.inputs]
    taken: set[int] = set()
    for k, inputs in may_be_written_over(region.graph, tiles).items():
        for n in inputs:
            own, held = roots[n], graph.nodes[roots[n]].types
            whole = contiguous[region.inputs[n].node] and len(held) == 1 and held[0].nbytes == graph.type_of(region.outputs[k]).nbytes
            if own in free and own not in taken and whole and roots.count(own) == 1:
                found[region.outputs[k]] = Ref(own)
                taken.add(own)
                break
    return found


def _roots(graph: Graph) -> tuple[list[int], list[bool], list[bool]]:
    """The node in whose memory each node lives, which view ops have to copy, and which values are known to be contiguous."""
    root, copied = list(range(len(graph.nodes))), [False] * len(graph.nodes)
    contiguous = [True] * len(graph.nodes)
    for i in paced(range(graph.arity, len(graph.nodes))):
        node = graph.nodes[i]
        op = lookup(node.op)
        if not op.view:
            continue
        if not node.operands:
            contiguous[i] = _is_contiguous(op, node)
            continue
        source = node.operands[0].node
        if contiguous[source]:
            contiguous[i] = _is_contiguous(op, node, graph.type_of(node.operands[0]))
        elif node_cost(graph, node).copies:
            copied[i] = True
        else:
            contiguous[i] = False
        root[i] = i if copied[i] else root[source]
    return root, copied, contiguous


def _is_contiguous(op: Op, node: Node, *types: Type) -> bool:
    """Whether the view of C-contiguous operands is: asked of NumPy, on arrays without memory behind them."""
    assert op.apply is not None
    if max(t.nbytes for t in (*types, *node.types)) >= 2**62:
        return False  # larger than any array: it is refused by its size
    return bool(op.apply(*map(_hollow, types), **dict(node.attributes)).flags.c_contiguous)


def _hollow(type: Type) -> Any:
    strides, step = [], type.dtype.itemsize
    for length in reversed(type.shape):
        strides.append(step)
        step *= length
    return as_strided(np.empty((), type.dtype), type.shape, strides[::-1])


def lies_of(graph: Graph, ref: Ref, laid: Layout) -> tuple[int, ...] | None:
    """Bytes between the elements of a value along its axes, as it is run; None where no array in C order is behind it, or in one that is not walked on."""
    views = []
    while laid.root[ref.node] != ref.node:
        views.append(graph.nodes[ref.node])
        ref = views[-1].operands[0]
    type = graph.type_of(ref)
    if not laid.contiguous[ref.node] or type.nbytes >= 2**62:
        return None
    x = _hollow(type)
    for node in reversed(views):
        apply = lookup(node.op).apply
        assert apply is not None
        x = apply(x, **dict(node.attributes))
    return None if min(x.strides, default=0) < 0 else tuple(x.strides)


def _aligned(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


class _Arena:
    """Places of one block of memory: the first gap that is large enough, else at the end. Gaps are kept in order and joined."""

    def __init__(self) -> None:
        self.size = 0
        self._starts: list[int] = []
        self._ends: list[int] = []

    def take(self, nbytes: int) -> int:
        if not nbytes:
            return 0
        nbytes = _aligned(nbytes)
        fits = [k for k, (start, end) in enumerate(zip(self._starts, self._ends, strict=True)) if end - start >= nbytes]
        if fits:
            k = min(fits, key=lambda k: self._ends[k] - self._starts[k])
            start = self._starts[k]
            self._starts[k] += nbytes
            if self._starts[k] == self._ends[k]:
                del self._starts[k], self._ends[k]
            return start
        # The last gap may reach to the end: it is made longer.
        start = self.size
        if self._ends and self._ends[-1] == self.size:
            start = self._starts.pop()
            self._ends.pop()
        self.size = start + nbytes
        return start

    def free(self, start: int, nbytes: int) -> None:
        if not nbytes:
            return
        end = start + _aligned(nbytes)
        k = bisect_left(self._starts, start)
        if k < len(self._starts) and self._starts[k] == end:
            end = self._ends[k]
            del self._starts[k], self._ends[k]
        if k and self._ends[k - 1] == start:
            self._ends[k - 1] = end
        else:
            self._starts.insert(k, start)
            self._ends.insert(k, end)
