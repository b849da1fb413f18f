"""batch: one more axis in front of some inputs, carried through the graph.

Every value is tracked for whether it has the axis, so a value that all rows share is computed once
and kept once (1/50 of the memory at 50 rows, measured).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..graph import Graph, Type
from ..ops.build import broadcast
from ..ops.op import Structured, lookup
from .rewrite import Rewrite, as_tuple
from .structured import RULES


def batch(graph: Graph, mask: Sequence[bool], size: int, wide: Sequence[bool] | None = None) -> Graph:
    """`graph` over `size` rows of the inputs masked True, the others shared. Every output has the axis,
    or, where `wide` is given, those it names; the others must not depend on the rows.
    """
    rewrite = Rewrite(graph)
    rewrite.inputs([Type(t.dtype, (size, *t.shape)) if m else t for t, m in zip(graph.input_types, mask, strict=True)])
    batched = list(mask)
    for node, operands in rewrite.steps():
        flags = tuple([batched[ref.node] for ref in node.operands])
        batched.append(any(flags))
        op = lookup(node.op)
        if not any(flags):
            rewrite.values.append(rewrite.copy(node, operands))
        elif isinstance(op.derivative, Structured):
            rewrite.values.append(RULES[node.op].batch(node, operands, flags, size, batch))
        else:
            rewrite.values.append(as_tuple(op.batch(flags, *operands, **dict(node.attributes))))
    outputs = []
    for name, ref, w in zip(graph.output_names, graph.outputs, wide or [True] * len(graph.outputs), strict=True):
        value = rewrite.value(ref)
        outputs.append((name, (broadcast(value, (size, *value.shape)) if w and not batched[ref.node] else value).ref))
    return rewrite.builder.build(outputs)
