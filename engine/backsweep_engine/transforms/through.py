"""Values a query calls by name, and a graph cut at them: L(x) = l(z(x)).

A value has a name by the op `name`, or as an output. What a cut promises is checked here, from the
graph alone: that nothing else which depends on the wrt inputs reaches the scalar output.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import GraphError
from ..graph import Graph, Ref
from ..ops.op import Zero, lookup
from ..ops.term import Term
from .rewrite import Rewrite, fresh


def cut_through(graph: Graph, wrt: Sequence[int], through: Sequence[str]) -> tuple[Graph, Graph]:
    """x -> z and (x, z) -> l, for z the values `through` names: values called so (the op name), or outputs.

    Raises GraphError: NOT_THROUGH if one of them names no value or two, or if the output depends on a wrt
    input otherwise than through z; NOT_SCALAR if the other outputs are not one floating scalar.
    """
    z = values_called(graph, through)
    if not z or len(set(z)) < len(z):
        got = ", ".join(map(repr, through)) or "nothing"
        raise GraphError("through must name values, each once", reason="NOT_THROUGH", name="through", got=got, allowed=_names(graph))
    for name, ref in zip(through, z, strict=True):
        if not graph.type_of(ref).is_float:
            got = str(graph.type_of(ref))
            raise GraphError(f"{name!r} has no derivative", reason="NOT_DIFFERENTIABLE", node=ref.node, name=name, got=got, allowed="float64 or float32")
    rest = [ref for ref in graph.outputs if ref not in z]
    if len(rest) != 1 or graph.type_of(rest[0]).shape or not graph.type_of(rest[0]).is_float:
        raise GraphError(
            "a Gauss-Newton needs one floating scalar output beside what it goes through",
            reason="NOT_SCALAR",
            node=rest[0].node if rest else None,
            got=", ".join(str(graph.type_of(ref)) for ref in rest) or "no other output",
            allowed="one float64 or float32 scalar",
            hint="return the loss, or the loss and what it is computed from: return z, loss",
        )
    predict = Graph(graph.nodes, graph.arity, tuple(z), tuple(through), graph.op_set).select(range(len(z)))
    loss = _given(graph, z, through, rest[0])
    _require_no_other_way(loss, wrt, through)
    return predict, loss


def values_called(graph: Graph, names: Sequence[str]) -> list[Ref]:
    """The one value of each name; GraphError (NOT_THROUGH) if there is none, or more."""
    called = named_values(graph)
    return [_only(graph, called.get(name, []), name) for name in names]


def named_values(graph: Graph) -> dict[str, list[Ref]]:
    """The values of each name: by the op `name` in the graph's order, then outputs."""
    found: dict[str, list[Ref]] = {}
    for i, node in enumerate(graph.nodes):
        if node.op == "name":
            found.setdefault(dict(node.attributes)["label"], []).append(Ref(i))
    for name, ref in zip(graph.output_names, graph.outputs, strict=True):
        if ref not in (refs := found.setdefault(name, [])):
            refs.append(ref)
    return found


def _only(graph: Graph, found: Sequence[Ref], name: str) -> Ref:
    if len(found) == 1:
        return found[0]
    raise GraphError(
        f"{'several values are' if found else 'no value is'} called {name[:64]!r}",
        reason="NOT_THROUGH",
        node=found[1].node if found else None,
        name=name[:64],
        got=repr(name[:64]),
        allowed=_names(graph),
        hint="name it where it is computed, outside loops and branches: z = bs.name('logits', z); or return it beside the loss",
    )


def _names(graph: Graph) -> str:
    return ", ".join(repr(name) for name in named_values(graph) if name) or "the name of a value; none has one here"


def _given(graph: Graph, z: Sequence[Ref], names: Sequence[str], output: Ref) -> Graph:
    """The graph of `output` with the values z made further inputs."""
    rewrite = Rewrite(graph)
    rewrite.inputs()
    builder = rewrite.builder
    given = {ref: Term(builder, builder.input(n, graph.type_of(ref))) for ref, n in zip(z, fresh(names, "given", graph.input_names), strict=True)}

    def replaced(node: int, results: Sequence[Term]) -> tuple[Term, ...]:
        return tuple([given.get(Ref(node, r), y) for r, y in enumerate(results)])

    rewrite.values[:] = [replaced(i, results) for i, results in enumerate(rewrite.values)]
    for node, operands in rewrite.steps():
        rewrite.values.append(replaced(len(rewrite.values), rewrite.copy(node, operands)))
    return builder.build([("", rewrite.value(output).ref)])


def _require_no_other_way(loss: Graph, wrt: Sequence[int], through: Sequence[str]) -> None:
    """Raises unless the output has no derivative by the wrt inputs once z is given."""
    moved = [i in wrt for i in range(loss.arity)]
    for node in loss.nodes[loss.arity :]:
        passes = not isinstance(lookup(node.op).derivative, Zero)
        moved.append(passes and any(moved[ref.node] and loss.type_of(ref).is_float for ref in node.operands))
    at, first = loss.outputs[0].node, None
    if not moved[at]:
        return
    # Back along what moved, to the input and the first node that reads it.
    while at >= loss.arity:
        first, at = at, next(ref.node for ref in loss.nodes[at].operands if moved[ref.node] and loss.type_of(ref).is_float)
    name, past = loss.input_names[at], ", ".join(map(repr, through))
    raise GraphError(
        f"the output depends on {name!r} past {past}: this has no Gauss-Newton through it",
        reason="NOT_THROUGH",
        node=loss.nodes[at if first is None else first].origin,
        name=name[:64],
        got=f"a way from {name!r} to the output beside {past}",
        allowed=f"all ways through {past}",
        hint="name what this term reads too, p = bs.name('penalised', w), and add it to through; or leave the term out and add its Hessian to the answer",
    )
