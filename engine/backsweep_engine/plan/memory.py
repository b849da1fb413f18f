"""Where each value of a graph lives: liveness, shared buffers, and the peak in bytes.

The same layout is the plan's promise and the program's workspace, so that the promise cannot drift
from what is run. Views live where their operand lives; a buffer is reused once the last reader of
everything in it has run; outputs are allocated anew for every call, since results never alias a
workspace (CONTRACT B6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..graph import Graph, Node, Ref, Type
from ..ops.op import Op, lookup
from .cost import node_cost

ALIGNMENT = 64
"""Buffer sizes are rounded up to cache lines, so that near-equal values share."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`buffer[i]`: the shared buffer of node i, or -1 if it has none (input, view, constant, output).

    `sizes`: bytes of each buffer. `owned[i]`: node i is allocated anew for every call. `copied[i]`:
    node i is a view op whose operand is not contiguous, so it has a place of its own. `held_bytes`:
    buffers and constants, those of graphs held included, which outlive a call. `peak_bytes`: these,
    owned values, and the largest temporary of any node.
    """

    buffer: tuple[int, ...]
    sizes: tuple[int, ...]
    owned: tuple[bool, ...]
    copied: tuple[bool, ...]
    held_bytes: int
    peak_bytes: int


def layout(graph: Graph) -> Layout:
    """The layout of an expanded graph."""
    count = len(graph.nodes)
    root, copied, contiguous = _places(graph)
    last = [-1] * count
    for i in range(graph.arity, count):
        for ref in graph.nodes[i].operands:
            last[root[ref.node]] = i
    given = {ref.node for ref in graph.outputs}
    lasting = {root[node] for node in given}

    buffer, owned = [-1] * count, [False] * count
    sizes: list[int] = []
    free: dict[int, list[int]] = {}
    dying: list[list[int]] = [[] for _ in range(count)]
    for i in range(graph.arity, count):
        dying[max(last[i], i)].append(i)
    temporary = owned_bytes = held = 0
    for i in range(graph.arity, count):
        node = graph.nodes[i]
        inner = [layout(g) for _, g in node.attributes if isinstance(g, Graph)]
        held += sum(g.held_bytes for g in inner)
        cost = node_cost(graph, node)
        copies = 0 if copied[i] or all(contiguous[ref.node] for ref in node.operands) else cost.copies
        temporary = max(temporary, cost.workspace + copies + max((g.peak_bytes - g.held_bytes for g in inner), default=0))
        if inner or (root[i] == i and i in given and node.operands):
            owned[i] = True
            owned_bytes += sum(t.nbytes for t in node.types)
        elif not node.operands:
            held += 0 if lookup(node.op).view else node.types[0].nbytes
        elif root[i] == i:
            buffer[i] = _take(free, sizes, -(-node.types[0].nbytes // ALIGNMENT) * ALIGNMENT)
        for dead in dying[i]:
            if buffer[dead] >= 0 and dead not in lasting:
                free.setdefault(sizes[buffer[dead]], []).append(buffer[dead])
    # Outputs that are inputs, constants, views or repeated are copied out at the end.
    seen: set[Ref] = set()
    for ref in graph.outputs:
        owned_bytes += 0 if owned[ref.node] and ref not in seen else graph.type_of(ref).nbytes
        seen.add(ref)
    held += sum(sizes)
    return Layout(tuple(buffer), tuple(sizes), tuple(owned), tuple(copied), held, held + owned_bytes + temporary)


def _places(graph: Graph) -> tuple[list[int], list[bool], list[bool]]:
    """The node in whose memory each node lives, which view ops have to copy, and which values are known to be contiguous."""
    root, copied = list(range(len(graph.nodes))), [False] * len(graph.nodes)
    contiguous = [True] * len(graph.nodes)
    for i in range(graph.arity, len(graph.nodes)):
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


def _take(free: dict[int, list[int]], sizes: list[int], nbytes: int) -> int:
    """The smallest free buffer that holds nbytes without wasting more than half, else a new one.

    `free`: buffers by size, last freed first (it is likely still in cache).
    """
    fitting = nbytes if free.get(nbytes) else min((s for s, held in free.items() if held and nbytes <= s <= 2 * nbytes), default=-1)
    if fitting >= 0:
        return free[fitting].pop()
    sizes.append(nbytes)
    return len(sizes) - 1
