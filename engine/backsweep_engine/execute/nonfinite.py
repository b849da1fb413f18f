"""Which node first made a NaN or infinity: found by a second, checked run, never in the fast path.

The run keeps, for every node, only whether its value is finite. Then the non-finite output is
walked back: as long as an operand is not finite either, it is to blame rather than its reader.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from ..graph import Graph, Node, Ref
from ..ops.op import Structured, lookup
from ..transforms.rewrite import as_tuple
from .executor import Array
from .norms import MANY, sum_of_squares
from .program import alone

FEW = 16
"""Up to so many entries are added up faster as Python's numbers than by BLAS."""


def look(dtype: np.dtype[Any], size: int) -> Callable[[Array], bool]:
    """`is_finite` for arrays of a type: which way is quickest for it is told once."""
    isfinite, vdot = math.isfinite, np.vdot
    if dtype.kind != "f":
        return lambda array: True
    # A sum (of squares) is quick, and finite only if every entry is; where it overflows a second look decides.
    # (np.vdot says nothing of an overflow; the method dot warns.)
    if size <= FEW:
        return lambda array: isfinite(sum((array if array.ndim == 1 else array.reshape(-1)).tolist())) or _all_finite(array)
    if size <= MANY:
        return lambda array: isfinite(vdot(array, array)) or _all_finite(array)
    squares = sum_of_squares(size)

    def in_parts(array: Array) -> bool:
        with np.errstate(all="ignore"):
            return isfinite(squares(array)) or _all_finite(array)

    return in_parts


def is_finite(array: Array) -> bool:
    return look(array.dtype, array.size)(array)


def _all_finite(array: Array) -> bool:
    return bool(np.isfinite(array).all())


def walk(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[int, list[Array], list[Array]]]:
    """Node after node of an expanded graph, inputs included: its number, its operands and its results at these inputs.

    A value is let go of once its last reader has run.
    """
    last = [-1] * len(graph.nodes)
    for i, node in enumerate(graph.nodes):
        for ref in node.operands:
            last[ref.node] = i
    values: list[Any] = [None] * len(graph.nodes)
    for i, node in enumerate(graph.nodes):
        operands = [values[ref.node][ref.result] for ref in node.operands]
        values[i] = [inputs[i]] if i < graph.arity else _applied(graph, node, operands)
        yield i, operands, values[i]
        for ref in node.operands:
            if last[ref.node] == i:
                values[ref.node] = None


def walked_bytes(graph: Graph) -> int:
    """What `walk` holds at the most beside the inputs. It fuses nothing and cuts nothing, so it may be far more than a plan promised."""
    root = list(range(len(graph.nodes)))
    last = list(root)
    for i, node in enumerate(graph.nodes):
        if node.operands and lookup(node.op).view:
            root[i] = root[node.operands[0].node]
        for ref in node.operands:
            last[root[ref.node]] = i
    for ref in graph.outputs:
        last[root[ref.node]] = len(graph.nodes)
    held = most = 0
    ends: dict[int, int] = {}
    for i in range(graph.arity, len(graph.nodes)):
        if root[i] == i:
            own = sum(t.nbytes for t in graph.nodes[i].types)
            held += own
            ends[last[i]] = ends.get(last[i], 0) + own
        most = max(most, held)
        held -= ends.pop(i, 0)
    return most


@np.errstate(all="ignore")
def _applied(graph: Graph, node: Node, operands: Sequence[Array]) -> list[Array]:
    op, attributes = lookup(node.op), dict(node.attributes)
    if isinstance(op.derivative, Structured):
        return alone(graph, node).run([np.asarray(x, order="C") for x in operands])
    assert op.apply is not None, f"{node.op} should have been expanded"
    return [np.asarray(y) for y in as_tuple(op.apply(*operands, **attributes))]


def finite_nodes(graph: Graph, inputs: Sequence[Array]) -> list[bool]:
    """For each node of an expanded graph, whether all its values are finite at these inputs."""
    return [all(is_finite(y) for y in results) for _, _, results in walk(graph, inputs)]


def culprit(graph: Graph, finite: Sequence[bool], output: Ref) -> int:
    """The node that made the non-finite value of `output`: itself not finite, from finite operands."""
    at = output.node
    while True:
        worse = next((ref.node for ref in graph.nodes[at].operands if not finite[ref.node]), None)
        if worse is None:
            return at
        at = worse
