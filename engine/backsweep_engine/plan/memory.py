"""Where each value of a graph lives: liveness, shared buffers, and the peak in bytes.

The same layout is the plan's promise and the program's workspace, so that the promise cannot drift
from what is run. Views live where their operand lives; a buffer is reused once the last reader of
everything in it has run; outputs are allocated anew for every call, since results never alias a
workspace (CONTRACT B6).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from ..graph import Graph, Node, Ref, Type
from ..ops.op import Op, lookup
from ..transforms.remember import remembered
from .cost import costs, graphs_run, node_cost

ALIGNMENT = 64
"""Buffer sizes are rounded up to cache lines, so that near-equal values share."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`buffer[i]`: the shared buffer of node i, or -1 if it has none (input, view, constant, output).

    `sizes`: bytes of each buffer. `owned[i]`: node i is allocated anew for every call. `copied[i]`:
    node i is a view op whose operand is not contiguous, so it has a place of its own. The results of
    one node share a buffer, one after the other (`places`). `dropped[i]`: the nodes whose values are let go
    after node i: results of ops that hold graphs, which have no buffers (a checkpoint or a loop may make
    large ones), and their views. `held_bytes`: buffers and constants, those of graphs held included, which
    outlive a call. `peak_bytes`: these, owned values, and the most that dropped values and the temporaries of a
    node take at once.
    """

    buffer: tuple[int, ...]
    sizes: tuple[int, ...]
    owned: tuple[bool, ...]
    copied: tuple[bool, ...]
    dropped: tuple[tuple[int, ...], ...]
    held_bytes: int
    peak_bytes: int


@remembered
def layout(graph: Graph) -> Layout:
    """The layout of an expanded graph."""
    count = len(graph.nodes)
    root, copied, contiguous = _places(graph)
    spent = costs(graph)
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
    most = passing = owned_bytes = held = 0
    dropped: list[list[int]] = [[] for _ in range(count)]
    ran: set[str] = set()
    for i in range(graph.arity, count):
        node = graph.nodes[i]
        inner = {g.fingerprint: layout(g) for g in graphs_run(node)}
        # Equal graphs have one program, wherever in this graph they are held.
        held += sum(g.held_bytes for key, g in inner.items() if key not in ran)
        ran.update(inner)
        cost = spent[i - graph.arity]
        copies = 0 if copied[i] or all(contiguous[ref.node] for ref in node.operands) else cost.copies
        temporary = cost.workspace + copies + max((g.peak_bytes - g.held_bytes for g in inner.values()), default=0)
        if inner and i not in lasting:
            owned[i] = True
            passing += sum(t.nbytes for t in node.types)
        elif inner or (root[i] == i and i in given and node.operands):
            owned[i] = True
            owned_bytes += sum(t.nbytes for t in node.types)
        elif not node.operands:
            held += 0 if lookup(node.op).view else sum(t.nbytes for t in node.types)
        elif root[i] == i:
            buffer[i] = _take(free, sizes, places(node)[-1])
        most = max(most, passing + temporary)
        for dead in dying[i]:
            if dead in lasting:
                continue
            if buffer[dead] >= 0:
                free.setdefault(sizes[buffer[dead]], []).append(buffer[dead])
            elif owned[dead]:
                dropped[i].append(dead)
                passing -= sum(t.nbytes for t in graph.nodes[dead].types)
    # Outputs that are inputs, constants, views or repeated are copied out at the end.
    seen: set[Ref] = set()
    for ref in graph.outputs:
        owned_bytes += 0 if owned[ref.node] and ref not in seen else graph.type_of(ref).nbytes
        seen.add(ref)
    held += sum(sizes)
    return Layout(tuple(buffer), tuple(sizes), tuple(owned), tuple(copied), _with_views(dropped, root), held, held + owned_bytes + most)


def _with_views(dropped: list[list[int]], root: list[int]) -> tuple[tuple[int, ...], ...]:
    """Nodes with the views that live in their memory."""
    views: dict[int, list[int]] = {dead: [] for group in dropped for dead in group}
    for i, r in enumerate(root):
        if r in views:
            views[r].append(i)
    return tuple([tuple([i for dead in group for i in views[dead]]) for group in dropped])


def places(node: Node) -> tuple[int, ...]:
    """Where in the node's buffer each of its results starts, and after the last, how long the buffer must be."""
    return (0, *accumulate(-(-t.nbytes // ALIGNMENT) * ALIGNMENT for t in node.types))


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
