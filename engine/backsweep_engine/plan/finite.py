"""A loop's body for the usual case: that the factors it is given are finite.

`scale(p, t)` is p t, but 0 where t is 0; that only differs where p is infinite or NaN, and looking costs as much as the
product of small arrays. What is given to all trips can be looked at once before the first: if it is finite, the
products may be plain. The values are those of the body itself, to the last bit; beside an infinity a zero may have its other sign.
Which body runs is told by the operands, so equal inputs still give equal bits.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..graph import Graph, Node
from ..ops.build import call
from ..transforms.remember import remembered
from ..transforms.rewrite import Rewrite
from .scalars import scalar_loop


@dataclass(frozen=True, slots=True)
class FiniteBody:
    """`graph`: of the body's own inputs and outputs. `factors`: the inputs that have to be finite in every trip."""

    graph: Graph
    factors: tuple[int, ...]


def finite_body(node: Node) -> FiniteBody | None:
    """Of a loop; None if it is given no factor, or runs on Python's numbers."""
    if node.op != "scan" or scalar_loop(node) is not None:
        return None
    attributes = dict(node.attributes)
    return _finite(attributes["body"], attributes["carries"])


@remembered
def _finite(body: Graph, carries: int) -> FiniteBody | None:
    factors = {node.operands[0].node for node in body.nodes[body.arity :] if node.op == "scale"} & set(range(carries, body.arity))
    if not factors:
        return None
    rewrite = Rewrite(body)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        plain = node.op == "scale" and node.operands[0].node in factors
        rewrite.values.append((call("multiply", *operands),) if plain else rewrite.copy(node, operands))
    return FiniteBody(rewrite.builder.build(rewrite.outputs()), tuple(sorted(factors)))
