"""Where each value of a graph lives: liveness, shared buffers, and the peak in bytes.

The same layout is the plan's promise and the program's workspace, so that the promise cannot drift
from what is run. Views live where their operand lives; a buffer is reused once the last reader of
everything in it has run; outputs are allocated anew for every call, since results never alias a
workspace (CONTRACT B6).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Node
from ..ops.op import Structured, lookup
from .cost import node_cost

ALIGNMENT = 64
"""Buffer sizes are rounded up to cache lines, so that near-equal values share."""


@dataclass(frozen=True, slots=True)
class Layout:
    """`buffer[i]`: the shared buffer of node i, or -1 if it has none (input, view, constant, output).

    `sizes`: bytes of each buffer. `owned[i]`: node i is allocated anew for every call. `peak_bytes`
    counts buffers, owned values, and the largest temporary of any node.
    """

    buffer: tuple[int, ...]
    sizes: tuple[int, ...]
    owned: tuple[bool, ...]
    peak_bytes: int


def layout(graph: Graph) -> Layout:
    """The layout of an expanded graph."""
    count = len(graph.nodes)
    root = list(range(count))
    for i in range(graph.arity, count):
        node = graph.nodes[i]
        if lookup(node.op).view and node.operands:
            root[i] = root[node.operands[0].node]
    last = [-1] * count
    for i in range(graph.arity, count):
        for ref in graph.nodes[i].operands:
            last[root[ref.node]] = i
    outputs = {root[ref.node] for ref in graph.outputs}

    buffer, owned = [-1] * count, [False] * count
    sizes: list[int] = []
    free: dict[int, list[int]] = {}
    dying: list[list[int]] = [[] for _ in range(count)]
    for i in range(graph.arity, count):
        dying[max(last[i], i)].append(i)
    peak_temporary = owned_bytes = 0
    for i in range(graph.arity, count):
        node = graph.nodes[i]
        peak_temporary = max(peak_temporary, node_cost(graph, node).workspace + _inner_peak(node))
        if root[i] == i and not _is_constant(node):
            if i in outputs or _holds_graphs(node):
                owned[i] = True
                owned_bytes += sum(t.nbytes for t in node.types)
            else:
                buffer[i] = _take(free, sizes, -(-node.types[0].nbytes // ALIGNMENT) * ALIGNMENT)
        for dead in dying[i]:
            if buffer[dead] >= 0 and dead not in outputs:
                free.setdefault(sizes[buffer[dead]], []).append(buffer[dead])
    # Outputs that are inputs, constants, views or repeated are copied out at the end.
    owned_bytes += sum(graph.type_of(ref).nbytes for ref in graph.outputs)
    return Layout(tuple(buffer), tuple(sizes), tuple(owned), sum(sizes) + owned_bytes + peak_temporary)


def _take(free: dict[int, list[int]], sizes: list[int], nbytes: int) -> int:
    """The smallest free buffer that holds nbytes without wasting more than half, else a new one.

    `free`: buffers by size, last freed first (it is likely still in cache).
    """
    fitting = nbytes if free.get(nbytes) else min((s for s, held in free.items() if held and nbytes <= s <= 2 * nbytes), default=-1)
    if fitting >= 0:
        return free[fitting].pop()
    sizes.append(nbytes)
    return len(sizes) - 1


def _is_constant(node: Node) -> bool:
    return not node.operands and not _holds_graphs(node)


def _holds_graphs(node: Node) -> bool:
    return isinstance(lookup(node.op).derivative, Structured)


def _inner_peak(node: Node) -> int:
    """Bytes the graphs a node holds need while one of them runs."""
    return max((layout(g).peak_bytes for _, g in node.attributes if isinstance(g, Graph)), default=0)
