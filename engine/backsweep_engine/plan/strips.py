"""strips: what is done row by row to large arrays is done a strip of rows at a time, so that each is read once.

The gradient of a model reads its data on the way there, X w, and on the way back, X' r; what is made of each row in between (of a
mixture, its distance to each cluster) goes to memory and returns. Strip by strip the second product finds its rows in
cache, and what passes between them is never whole in memory. A group of such nodes (rows.py) becomes a scan over
strips whose carry is what is summed over the rows; a rest that is no whole strip is done by itself. Every
value is computed once, as before, with the same bits but for the order of sums. Only a plan does this to what it runs (CONTRACT A10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..graph import Builder, Graph, Node, Ref, Type
from ..ops.build import broadcast, call, call_several, constant
from ..ops.op import lookup
from ..ops.pieces import cut
from ..ops.shape import reshape
from ..ops.term import Term
from ..stopping import paced
from ..transforms.remember import remembered
from ..transforms.rewrite import inline, terms
from .regions import units
from .rows import SUMMED, Group, Read, groups

STRIP_BYTES = 1 << 20
"""Of all arrays of a strip that are in work at once: about half of a core's L2 cache."""

FEWEST, MANY = 64, 512
"""Rows of a strip at least, and of what is cut into them."""

LARGE_BYTES = 1 << 21
"""What then is not moved between memory and cache has to be at least so much."""

TRIED = 4
"""Lengths of arrays that may be cut, those of the most bytes first."""

STEP_BYTES = 30_000
"""Bytes that are moved in the time it takes to call one more kernel: about a microsecond."""


@dataclass(frozen=True, slots=True)
class Stripped:
    """`loops`: the nodes of the graph that are scans over strips. Their products are BLAS's, no work for compiled code."""

    graph: Graph
    loops: frozenset[int]


@dataclass(frozen=True, slots=True)
class Strips:
    """A group, and of how many rows its strips are. `sums`: what they carry, `stacks`: what each yields of its rows; `cut`, `whole`: what they are given."""

    group: Group
    rows: int
    sums: tuple[int, ...]
    stacks: tuple[int, ...]
    cut: tuple[Ref, ...]
    whole: tuple[Ref, ...]


@remembered
def stripped(graph: Graph) -> Stripped | None:
    """The same values of an expanded graph; None where there is nothing to gain."""
    found = {strips.group.nodes: strips for strips in _found(graph)}
    if not found:
        return None
    builder, values = Builder(), dict[Ref, Term]()
    for i, (name, type) in enumerate(zip(graph.input_names, graph.input_types, strict=True)):
        values[Ref(i)] = Term(builder, builder.input(name, type))
    bodies = []
    for nodes in paced(units(graph, list(found))):
        strips = found.get(nodes)
        for i in nodes:
            # Of a group what is only looked at in another way is there for others too.
            if strips is None or _is_free(graph, strips.group, i):
                builder.origin = graph.nodes[i].origin
                results = terms(builder, graph.nodes[i], [values[ref] for ref in graph.nodes[i].operands])
                values.update({Ref(i, r): value for r, value in enumerate(results)})
        if strips is not None:
            builder.origin = graph.nodes[nodes[-1]].origin
            bodies.append(_body(graph, strips, strips.rows))
            values.update(_looped(builder, graph, strips, bodies[-1], values))
    outputs = [(name, values[ref].ref) for name, ref in zip(graph.output_names, graph.outputs, strict=True)]
    made = replace(builder.build(outputs), factors=graph.factors)
    return Stripped(made, frozenset([i for i, node in enumerate(made.nodes) if any(dict(node.attributes).get("body") is body for body in bodies)]))


# What is cut


def _found(graph: Graph) -> list[Strips]:
    """Those groups that gain, along the rows that gain most."""
    products = [node for node in paced(graph.nodes) if node.op == "matmul"]
    if not any(t.nbytes >= LARGE_BYTES // 2 for node in products for t in (*node.types, *map(graph.type_of, node.operands))):
        return []
    held: dict[int, int] = {}
    """bytes of what could be cut, by its length"""
    for node in paced(graph.nodes):
        if node.op not in ("constant", "broadcast") and len(node.types) == 1 and node.types[0].rank and node.types[0].shape[0] >= MANY:
            rows = node.types[0].shape[0]
            held[rows] = held.get(rows, 0) + node.types[0].nbytes
    best, most = list[Strips](), 0
    for rows in sorted(held, key=lambda rows: (-held[rows], rows))[:TRIED]:
        gaining = [(gain, strips) for group in groups(graph, rows) if (strips := _cut(graph, group)) and (gain := _gain(graph, strips)) > 0]
        total = sum(gain for gain, _ in gaining)
        if total > most:
            best, most = [strips for _, strips in gaining], total
    return best


def _cut(graph: Graph, group: Group) -> Strips | None:
    within = set(group.nodes)
    outside = {ref.node for i in range(graph.arity, len(graph.nodes)) if i not in within for ref in graph.nodes[i].operands}
    outside.update(ref.node for ref in graph.outputs)
    sums = tuple([i for i in group.nodes if group.axis[i] < 0])
    stacks = tuple([i for i in group.nodes if i in outside and group.axis[i] >= 0 and not _is_free(graph, group, i)])
    reads = [read for i in group.nodes for read in group.reads[i]]
    if any(group.axis[i] for i in stacks) or any(read.axis for read in reads if read.given == "cut"):
        return None  # rows of these do not lie together
    pieces = tuple(dict.fromkeys(read.ref for read in reads if read.given == "cut"))
    whole = [read.ref for read in reads if read.given == "whole"]
    spread = [graph.nodes[read.ref.node].operands[0] for read in reads if read.given == "made" and graph.nodes[read.ref.node].op == "broadcast"]
    rows = STRIP_BYTES // max(1, _row_bytes(graph, group, pieces))
    rows = min(rows, group.rows // 2)
    if rows < FEWEST:
        return None
    # Strips that leave no rest, where there are some not much smaller.
    rows = next((r for r in range(rows, rows // 2, -1) if group.rows % r == 0), rows // 8 * 8)
    return Strips(group, rows, sums, stacks, pieces, tuple(dict.fromkeys([*whole, *spread])))


def _is_free(graph: Graph, group: Group, i: int) -> bool:
    """Whether a node of a group is but another view of what the group is given."""
    while True:
        node = graph.nodes[i]
        if not lookup(node.op).view or len(node.operands) != 1:
            return False
        (read,) = group.reads[i]
        if read.given:
            return True
        i = read.ref.node


def _row_bytes(graph: Graph, group: Group, pieces: Sequence[Ref]) -> int:
    """What is held for each row at once, at most."""
    root = _roots(graph, group)
    last = {root[read.ref.node]: i for i in group.nodes for read in group.reads[i] if not read.given}
    held = most = sum(graph.type_of(ref).nbytes for ref in pieces)
    ends: dict[int, int] = {}
    for i in group.nodes:
        if root[i] == i and group.axis[i] >= 0:
            held += graph.nodes[i].types[0].nbytes
            ends[last.get(i, i)] = ends.get(last.get(i, i), 0) + graph.nodes[i].types[0].nbytes
        most = max(most, held)
        held -= ends.pop(i, 0)
    return most // group.rows


def _roots(graph: Graph, group: Group) -> dict[int, int]:
    """The node in whose memory each node of a group lives, by the way from row to row."""
    root: dict[int, int] = {}
    for i in group.nodes:
        read = group.reads[i][0]
        root[i] = root.get(read.ref.node, read.ref.node) if lookup(graph.nodes[i].op).view else i
    return root


def _gain(graph: Graph, strips: Strips) -> int:
    """Bytes that are not moved between memory and cache, less those that are moved again for every strip, or pass in the time it takes."""
    group, root = strips.group, _roots(graph, strips.group)
    products, others = dict[int, int](), set[int]()
    for i in group.nodes:
        node = graph.nodes[i]
        for read in group.reads[i]:
            n = root.get(read.ref.node, read.ref.node)
            if read.given in ("", "cut") and node.op == "matmul":
                products[n] = products.get(n, 0) + 1
            elif read.given in ("", "cut") and not lookup(node.op).view:
                others.add(n)  # all at once, fused
    saved = 0
    for ref in strips.cut:
        saved += graph.type_of(ref).nbytes * (products.get(ref.node, 0) + (ref.node in others) - 1)
    for i in group.nodes:
        node = graph.nodes[i]
        if root[i] != i or group.axis[i] < 0:
            continue
        times = products.get(i, 0)
        moved = 1 + times + (i in others) if node.op == "matmul" else (times > 0) + times
        saved += node.types[0].nbytes * max(0, moved - (i in strips.stacks))
    if saved < LARGE_BYTES:
        return 0
    factors = {read.ref for i in group.nodes for read in group.reads[i] if graph.nodes[i].op == "matmul" and read.given == "whole"}
    steps = sum(not lookup(graph.nodes[i].op).view for i in group.nodes)
    # What is summed is written, and added: read twice and written.
    again = sum(graph.type_of(ref).nbytes for ref in factors) + 4 * sum(graph.nodes[i].types[0].nbytes for i in strips.sums) + steps * STEP_BYTES
    return saved - again * -(-group.rows // strips.rows)


# How it is put together


def _body(graph: Graph, strips: Strips, rows: int) -> Graph:
    """What is done to one strip of so many rows: the sums so far, its rows of what is cut, and what is whole -> the sums, its rows of what is stacked."""
    group, builder = strips.group, Builder()
    sums = [Term(builder, builder.input(f"sum{k}", graph.nodes[i].types[0])) for k, i in enumerate(strips.sums)]
    pieces = {ref: Term(builder, builder.input(f"rows{k}", _of_rows(graph.type_of(ref), rows, 0))) for k, ref in enumerate(strips.cut)}
    whole = {ref: Term(builder, builder.input(f"whole{k}", graph.type_of(ref))) for k, ref in enumerate(strips.whole)}
    values: dict[Ref, Term] = {}

    def given(read: Read) -> Term:
        node = graph.nodes[read.ref.node]
        match read.given:
            case "cut":
                return pieces[read.ref]
            case "whole":
                return whole[read.ref]
            case "made":
                type = _of_rows(node.types[0], rows, read.axis)
                if node.op == "constant":
                    return constant(builder, dict(node.attributes)["value"].reshape(()), type.shape)
                return broadcast(whole[node.operands[0]], type.shape)
        return values[read.ref]

    for i in group.nodes:
        node, attributes = graph.nodes[i], dict(graph.nodes[i].attributes)
        for name in ("shape", "stop"):  # of a reshape or broadcast, of a slice
            if name in attributes:
                attributes[name] = tuple([rows if a == group.axis[i] else d for a, d in enumerate(attributes[name])])
        builder.origin = node.origin
        values[Ref(i)] = call(node.op, *map(given, group.reads[i]), **attributes)
    outputs = [call(SUMMED[graph.nodes[i].op], sum, values[Ref(i)]) for i, sum in zip(strips.sums, sums, strict=True)]
    outputs += [values[Ref(i)] for i in strips.stacks]
    return replace(builder.build([(str(k), value.ref) for k, value in enumerate(outputs)]), factors=graph.factors)


def _of_rows(type: Type, rows: int, axis: int) -> Type:
    return type.with_shape([rows if a == axis else d for a, d in enumerate(type.shape)])


def _looped(builder: Builder, graph: Graph, strips: Strips, body: Graph, values: Mapping[Ref, Term]) -> dict[Ref, Term]:
    """The scan over the strips, and what is left: what it sums and stacks."""
    rows, trips = strips.rows, strips.group.rows // strips.rows
    done = rows * trips
    start = [constant(builder, _identity(graph.nodes[i]), graph.nodes[i].types[0].shape) for i in strips.sums]
    whole = [values[ref] for ref in strips.whole]
    pieces = [_rows_of(values[ref], 0, done) for ref in strips.cut]
    xs = [reshape(x, (trips, rows, *x.shape[1:])) for x in pieces]
    counts = {"carries": len(start), "slices": len(xs), "length": trips, "reverse": False, "counted": False, "kept": ()}
    results = call_several(builder, "scan", *start, *xs, *whole, body=body, **counts)
    sums, stacks = list(results[: len(start)]), [reshape(y, (done, *y.shape[2:])) for y in results[len(start) :]]
    if done < strips.group.rows:
        rest = [_rows_of(values[ref], done, strips.group.rows) for ref in strips.cut]
        last = inline(builder, _body(graph, strips, strips.group.rows - done), [*sums, *rest, *whole])
        sums, stacks = last[: len(sums)], [call("concat", *parts, axis=0) for parts in zip(stacks, last[len(sums) :], strict=True)]
    return {Ref(i): value for i, value in zip((*strips.sums, *strips.stacks), (*sums, *stacks), strict=True)}


def _rows_of(x: Term, start: int, stop: int) -> Term:
    return cut(x, (start, *[0] * (x.ndim - 1)), (stop, *x.shape[1:]))


def _identity(node: Node) -> np.ndarray[Any, Any]:
    """What adding, or taking the extreme with, changes nothing."""
    return np.array({"max": -np.inf, "min": np.inf}.get(node.op, 0), node.types[0].dtype)
