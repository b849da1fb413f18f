"""shift: a thin product and what is added along all its rows or columns, as one product.

a b + s 1' = [a s] [b; 1]: with one column more a thin product takes as long (its time is that of writing its result), where
the addition alone reads and writes all of it once more. Every value is computed once, as before, to rounding. Only a plan does this to what
it runs (CONTRACT A10).
"""

from __future__ import annotations

from ..graph import Graph, Node, Ref
from ..ops.build import call, constant
from ..ops.shape import reshape
from ..ops.term import Term
from ..ops.thin import THIN, slice_of
from ..stopping import paced
from ..transforms.rewrite import Rewrite
from .rows import lengths

MUCH = 4
"""The result has at least so many rows and columns for each column of a: the factors are copied."""


def shift(graph: Graph) -> Graph:
    """The same values; the graph itself where there is nothing to do. Of an expanded graph."""
    found = _found(graph)
    if not found:
        return graph
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for i, (node, operands) in enumerate(rewrite.steps(), graph.arity):
        if i in found:
            product, place = found[i]
            rewrite.values.append((_shifted(node, operands[place], [rewrite.value(ref) for ref in graph.nodes[product].operands]),))
        else:
            rewrite.values.append(rewrite.copy(node, operands))
    return rewrite.builder.build(rewrite.outputs())


def _found(graph: Graph) -> dict[int, tuple[int, int]]:
    """The sums that become products, by node: the product each is made of, and which operand is added."""
    readers = [0] * len(graph.nodes)
    for ref in (*[ref for node in paced(graph.nodes) for ref in node.operands], *graph.outputs):
        readers[ref.node] += 1
    found = {}
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        if node.op not in ("add", "subtract"):
            continue
        for place in (1, 0) if node.op == "add" else (1,):
            n = node.operands[1 - place].node
            alone = readers[n] == 1
            if graph.nodes[n].op == "reshape":
                n = graph.nodes[n].operands[0].node
                alone = alone and readers[n] == 1
            if alone and i not in found and _fits(graph, graph.nodes[n], node, node.operands[place]):
                found[i] = n, place
    return found


def _fits(graph: Graph, product: Node, node: Node, added: Ref) -> bool:
    if product.op != "matmul" or graph.nodes[added.node].op != "broadcast":
        return False
    a, b = (graph.type_of(ref) for ref in product.operands)
    if not any(slice_of(a, b)) or a.shape[1] >= THIN or min(a.shape[0], b.shape[1]) < MUCH * a.shape[1]:
        return False
    (m, n), shape = product.types[0].shape, node.types[0].shape
    stretched = lengths(graph.type_of(graph.nodes[added.node].operands[0]).shape, len(shape))
    return (stretched == (*shape[:-1], 1) and shape[-1] == n) or (stretched == (1, *shape[1:]) and shape[0] == m)


def _shifted(node: Node, added: Term, factors: list[Term]) -> Term:
    (a, b), shape = factors, node.types[0].shape
    (m, _), n = a.shape, b.shape[1]
    source = Term(a.builder, a.builder.nodes[added.ref.node].operands[0])
    along_rows = lengths(source.shape, len(shape))[-1] == 1
    s = reshape(source, (m, 1) if along_rows else (1, n))
    s = call("negative", s) if node.op == "subtract" else s
    ones = constant(a.builder, 1, (1, n) if along_rows else (m, 1), a.dtype)
    left, right = (s, ones) if along_rows else (ones, s)
    return reshape(call("matmul", call("concat", a, left, axis=1), call("concat", b, right, axis=0)), shape)
