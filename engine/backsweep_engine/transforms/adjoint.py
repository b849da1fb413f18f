"""adjoint: a graph whose derivative is another graph, a hand-written gradient, in place of its own.

The values stay those of the graph, node by node; its results then pass an op `custom` that gives them back
unchanged and sends cotangents to the inputs through the gradient graph. So a gradient graph is checked as any derivative is.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ..errors import GraphError
from ..graph import Builder, Graph, Type
from ..ops.build import call, call_several, zeros
from ..ops.term import Term
from .derive import floating_outputs
from .rewrite import inline


def with_adjoint(graph: Graph, adjoint: Graph, wrt: Sequence[str], bound: Collection[str] = ()) -> Graph:
    """`graph` with `adjoint` as its derivative by the inputs `wrt`.

    `adjoint` takes inputs of the graph, by name (and `bound` ones of its own, which become inputs of the result), and
    gives the gradient of a scalar graph, one output for each of wrt; or it takes after them the cotangents of the floating
    outputs and gives c J. Raises GraphError where it takes or gives anything else.
    """
    floating = floating_outputs(graph)
    shared, seeds = _inputs(graph, adjoint, set(bound), len(floating))
    _require_outputs(graph, adjoint, wrt)
    if not seeds and (len(graph.outputs) != 1 or graph.output_types[0].shape or not graph.output_types[0].is_float):
        allowed = f"after the inputs, {len(floating)} cotangents"
        raise GraphError("the gradient of a function that is not scalar needs cotangents", reason="NOT_SCALAR", got="none", allowed=allowed)
    builder = Builder()
    names = [*graph.input_names, *[n for n in shared if n not in graph.input_names]]
    known = dict(zip(graph.input_names, graph.input_types, strict=True)) | dict(zip(adjoint.input_names, adjoint.input_types, strict=True))
    # The graph's own nodes keep their numbers where nothing is bound besides: a doubt is told as a node of what was submitted.
    inputs = {name: Term(builder, builder.input(name, known[name])) for name in names}
    results = inline(builder, graph, [inputs[name] for name in graph.input_names])
    operands = [*inputs.values(), *[results[o] for o in floating]]
    custom = call_several(builder, "custom", *operands, primal=_same(operands, len(names)), vjp=_vjp(adjoint, names, operands, wrt, shared, seeds))
    for o, y in zip(floating, custom, strict=True):
        results[o] = y
    return builder.build([(name, y.ref) for name, y in zip(graph.output_names, results, strict=True)])


def _inputs(graph: Graph, adjoint: Graph, bound: set[str], floating: int) -> tuple[list[str], list[str]]:
    """The adjoint's inputs that are the graph's or bound, and those that are cotangents: the last ones."""
    foreign = [name for name in adjoint.input_names if name not in graph.input_names and name not in bound]
    types = dict(zip(adjoint.input_names, adjoint.input_types, strict=True))
    wanted = [graph.output_types[o] for o in floating_outputs(graph)]
    if foreign and (len(foreign) != floating or [types[name] for name in foreign] != wanted):
        allowed = ", ".join(map(repr, graph.input_names))
        raise GraphError(
            "the gradient takes an input that its function does not", reason="SURPLUS_INPUT", name=foreign[0], got=repr(foreign[0]), allowed=allowed
        )
    for name, type in zip(graph.input_names, graph.input_types, strict=True):
        if types.get(name, type) != type:
            raise GraphError(
                "the gradient takes an input of another type than its function", reason="SHAPE", name=name, got=str(types[name]), allowed=str(type)
            )
    return [name for name in adjoint.input_names if name not in foreign], foreign


def _require_outputs(graph: Graph, adjoint: Graph, wrt: Sequence[str]) -> None:
    known = dict(zip(graph.input_names, graph.input_types, strict=True))
    if len(adjoint.outputs) != len(wrt):
        raise GraphError(
            "the gradient does not have one output for each input", reason="ARITY", got=str(len(adjoint.outputs)), allowed=", ".join(map(repr, wrt))
        )
    for name, type in zip(wrt, adjoint.output_types, strict=True):
        if type != known[name]:
            raise GraphError(f"the gradient by {name} has another type than {name}", reason="SHAPE", name=name, got=str(type), allowed=str(known[name]))


def _same(operands: Sequence[Term], skipped: int) -> Graph:
    """The operands after the first `skipped`, unchanged."""
    builder = Builder()
    inputs = [builder.input(f"x{i}", t.type) for i, t in enumerate(operands)]
    return builder.build([(str(i), ref) for i, ref in enumerate(inputs[skipped:])])


def _vjp(adjoint: Graph, names: Sequence[str], operands: Sequence[Term], wrt: Sequence[str], shared: Sequence[str], seeds: Sequence[str]) -> Graph:
    """On the operands, the results and their cotangents: the adjoint's answer for wrt, zeros for all else that is floating."""
    builder = Builder()
    types: list[Type] = [t.type for t in operands]
    inputs = [Term(builder, builder.input(f"x{i}", type)) for i, type in enumerate(types)]
    passed = types[len(names) :]
    _ = [builder.input(f"y{i}", type) for i, type in enumerate(passed)]
    cotangents = [Term(builder, builder.input(f"c{i}", type)) for i, type in enumerate(passed)]
    given = dict(zip(names, inputs, strict=False)) | dict(zip(seeds, cotangents, strict=False))
    found = inline(builder, adjoint, [given[name] for name in adjoint.input_names], keep_origin=False)
    slopes = dict(zip(wrt, found if seeds else [_times(g, cotangents[0]) for g in found], strict=True))
    outputs = [slopes[n] if n in slopes else zeros(builder, t) for n, t in zip([*names, *[""] * len(passed)], types, strict=True) if t.is_float]
    return builder.build([(str(i) if len(outputs) > 1 else "", y.ref) for i, y in enumerate(outputs)])


def _times(g: Term, c: Term) -> Term:
    scaled: Term = g * call("broadcast", c.astype(g.dtype), shape=g.shape)
    return scaled
