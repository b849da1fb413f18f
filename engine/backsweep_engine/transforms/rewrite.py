"""What every transform shares: walking a graph's nodes in order and building another from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..errors import GraphError
from ..graph import Builder, Graph, Node, Ref, Type, first, results_of
from ..ops.term import Term
from ..stopping import paced


class Rewrite:
    """A graph being made from another: a builder, and the new values of the old results."""

    def __init__(self, graph: Graph, builder: Builder | None = None) -> None:
        self.graph = graph
        self.builder = Builder() if builder is None else builder
        self.values: list[tuple[Term, ...]] = []

    def inputs(self, types: Sequence[Type] | None = None) -> None:
        """The old graph's inputs as inputs of the new one, of other types where given."""
        for name, type in zip(self.graph.input_names, types or self.graph.input_types, strict=True):
            self.values.append((Term(self.builder, self.builder.input(name, type)),))

    def steps(self) -> Iterator[tuple[Node, tuple[Term, ...]]]:
        """Each node after the inputs with its operands' new values; the caller appends its results to `values`.

        New nodes made meanwhile get the node's origin.
        """
        values, builder = self.values, self.builder
        for node in paced(self.graph.nodes[self.graph.arity :]):
            builder.origin = node.origin
            yield node, tuple([values[n][r] for n, r in node.operands])

    def copy(self, node: Node, operands: Sequence[Term]) -> tuple[Term, ...]:
        """The same op on the new operands."""
        return terms(self.builder, node, operands)

    def value(self, ref: Ref) -> Term:
        return self.values[ref.node][ref.result]

    def outputs(self) -> list[tuple[str, Ref]]:
        """The old outputs, by name, in the new graph."""
        return [(name, self.value(ref).ref) for name, ref in zip(self.graph.output_names, self.graph.outputs, strict=True)]


def terms(builder: Builder, node: Node, operands: Sequence[Term]) -> tuple[Term, ...]:
    """The results of the node's op applied to other operands of the same types."""
    index = builder.again(node, tuple([t.ref for t in operands]))
    if len(node.types) == 1:
        return (Term(builder, first(index)),)
    return tuple([Term(builder, ref) for ref in results_of(index, len(node.types))])


def inline(builder: Builder, graph: Graph, operands: Sequence[Term], *, keep_origin: bool = True) -> list[Term]:
    """The graph's nodes added to `builder` with its inputs replaced by `operands`; its outputs."""
    if keep_origin and len(builder.nodes) == graph.arity and all(t.builder is builder and t.ref == (i, 0) for i, t in enumerate(operands)):
        builder.take(graph)
        return [Term(builder, ref) for ref in graph.outputs]
    rewrite = Rewrite(graph, builder)
    rewrite.values.extend((t,) for t in operands)
    before = builder.origin
    for node, mapped in rewrite.steps():
        if not keep_origin:
            builder.origin = before
        rewrite.values.append(rewrite.copy(node, mapped))
    builder.origin = before
    return [rewrite.value(ref) for ref in graph.outputs]


def as_tuple(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def positions(graph: Graph, names: Sequence[str]) -> tuple[int, ...]:
    """The indices of inputs by name."""
    known = {name: i for i, name in enumerate(graph.input_names)}
    for name in names:
        if name not in known:
            raise GraphError("no input has this name", reason="MISSING_INPUT", got=repr(name), allowed=", ".join(map(repr, known)))
    return tuple(known[name] for name in names)


def reached(graph: Graph, inputs: Sequence[int]) -> list[bool]:
    """For each node, whether it depends on one of the inputs."""
    mask = [False] * len(graph.nodes)
    for i in inputs:
        mask[i] = True
    for i in paced(range(graph.arity, len(graph.nodes))):
        for n, _ in graph.nodes[i].operands:
            if mask[n]:
                mask[i] = True
                break
    return mask


def with_subgraphs(node: Node, change: Callable[[Graph], Graph]) -> Node:
    """The node with every graph it holds changed; its types must stay the same."""
    for _, value in node.attributes:
        if isinstance(value, Graph):
            break
    else:
        return node
    return node._replace(attributes=tuple((name, change(v) if isinstance(v, Graph) else v) for name, v in node.attributes))


def fresh(names: Sequence[str], prefix: str, taken: Sequence[str]) -> list[str]:
    """`prefix.name` for each name, primed until it is not taken (derivatives of derivatives)."""
    known, result = set(taken), []
    for name in names:
        new = f"{prefix}.{name}"
        while new in known:
            new += "'"
        known.add(new)
        result.append(new)
    return result
