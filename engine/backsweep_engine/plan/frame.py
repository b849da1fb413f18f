"""frame: paddings of one value by different amounts are views of one padding of it.

The gradient of a stencil, u[1:-1, 2:] - u[1:-1, :-2] say, adds up as many paddings of one value as the stencil has points, each an array to be
filled and copied into, and read again by an addition of its own. With a frame of zeros as wide as the widest of them each is a slice of
that, which costs nothing, and the additions are elementwise work that runs as one region. Of vectors regions do this
themselves (regions.py, padded_sums). Every value is that of before, to the last bit. Only a plan does this to what it runs (CONTRACT A10).
"""

from __future__ import annotations

import math

from ..graph import Graph, Node, Ref
from ..ops.build import call
from ..ops.op import lookup
from ..ops.pieces import cut
from ..ops.term import Term
from ..stopping import paced
from ..transforms.rewrite import Rewrite

Ints = tuple[int, ...]

WIDEST = 2
"""The framed value has at most one and 1/WIDEST times the elements of a padded one."""


def frame(graph: Graph) -> Graph:
    """The same values; the graph itself where there is nothing to do. Of an expanded graph."""
    found = _found(graph)
    if not found:
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    framed: dict[Ref, Term] = {}
    for i, (node, operands) in enumerate(rewrite.steps(), graph.arity):
        if i not in found:
            rewrite.values.append(rewrite.copy(node, operands))
            continue
        (ref,), (x,), (low, high) = node.operands, operands, found[i]
        if ref not in framed:
            framed[ref] = call("pad", x, low=low, high=high, interior=(0,) * x.ndim)
        start = tuple([wide - own for wide, own in zip(low, dict(node.attributes)["low"], strict=True)])
        stop = tuple([a + d for a, d in zip(start, node.types[0].shape, strict=True)])
        rewrite.values.append((cut(framed[ref], start, stop),))
    return rewrite.builder.build(rewrite.outputs())


def _found(graph: Graph) -> dict[int, tuple[Ints, Ints]]:
    """The paddings that become views, by node: how wide the frame is, before and behind."""
    pads: dict[Ref, list[int]] = {}
    for i, node in enumerate(paced(graph.nodes)):
        if node.op == "pad" and len(node.types[0].shape) > 1 and _only_adds_zeros(node):
            pads.setdefault(node.operands[0], []).append(i)
    if not pads:
        return {}
    elsewhere = {ref.node for ref in graph.outputs}
    """what is read by other than elementwise work"""
    for node in paced(graph.nodes[graph.arity :]):
        if not lookup(node.op).pointwise:
            elsewhere.update([ref.node for ref in node.operands])
    found: dict[int, tuple[Ints, Ints]] = {}
    for alike in pads.values():
        fit = [i for i in alike if i not in elsewhere]
        if len(fit) < 2:
            continue
        low, high = (tuple(map(max, zip(*[dict(graph.nodes[i].attributes)[side] for i in fit], strict=True))) for side in ("low", "high"))
        shape = graph.type_of(graph.nodes[fit[0]].operands[0]).shape
        size = math.prod([a + d + b for a, d, b in zip(low, shape, high, strict=True)])
        if all(WIDEST * size <= (WIDEST + 1) * graph.nodes[i].types[0].size for i in fit):
            found.update(dict.fromkeys(fit, (low, high)))
    return found


def _only_adds_zeros(node: Node) -> bool:
    attributes = dict(node.attributes)
    return not any(attributes["interior"]) and min((*attributes["low"], *attributes["high"])) >= 0
