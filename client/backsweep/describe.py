"""A saved graph and the plan of a query, as text: what `backsweep describe` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from backsweep_engine.errors import Error, GraphError
from backsweep_engine.execute.spread import choose
from backsweep_engine.graph import Graph, Type
from backsweep_engine.plan.describe import bytes_text, describe
from backsweep_engine.plan.make import Ask, Budget
from backsweep_engine.plan.sweeps import product_graph
from backsweep_engine.query import (
    Curvature,
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    Gradient,
    Hessian,
    HessianDiagonal,
    Hvp,
    Jacobian,
    Jvp,
    Layout,
    Query,
    Value,
    ValueAndGradient,
    Vjp,
)
from backsweep_engine.request import Request
from backsweep_engine.text import summary, text
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.curvature import as_family
from backsweep_engine.transforms.derive import floating_outputs
from backsweep_engine.transforms.rewrite import positions
from backsweep_engine.work import prepare

from .wire.graphs import decode_graph

_DERIVED = {
    "gradient": derive.gradient,
    "value_and_gradient": derive.value_and_gradient,
    "jvp": derive.jvp,
    "vjp": derive.vjp,
    "jacobian": derive.vjp,
    "hvp": derive.hvp,
    "hessian": derive.hvp,
    "hessian_diagonal": derive.hvp,
}


def describe_file(
    path: Path,
    verb: str,
    wrt: Sequence[str] | None,
    block: int,
    memory_bytes: int,
    full: bool,
    layout: Layout = "dense",
    through: Sequence[str] = (),
    family: str = "",
    lanes: int = 2,
) -> str:
    """Raises Error if the file cannot be read or the query does not fit the graph. `through`: of gauss_newton; `family`: of fisher.

    `lanes`: of the executor auto, whose choice is told as it would be before Ray has started.
    """
    try:
        blob = path.read_bytes()
    except OSError as error:
        raise Error("the graph file cannot be read", reason="NO_FILE", got=str(path), hint=error.strerror or "") from None
    graph = decode_graph(blob)
    named = [f"  {name or '(output)'}: {type}" for name, type in zip(graph.output_names, graph.output_types, strict=True)]
    lines = ["inputs:", *[f"  {n}: {t}" for n, t in zip(graph.input_names, graph.input_types, strict=True)], "outputs:", *named]
    lines.append(f"graph: {summary(graph)}; {bytes_text(len(blob))} on the wire")
    if full:
        lines.append(text(graph))
    chosen = tuple(wrt) if wrt else tuple(n for n, t in zip(graph.input_names, graph.input_types, strict=True) if t.is_float)
    try:
        query, seeds = _query(graph, verb, chosen, block, tuple(through), family)
        if verb in _DERIVED or isinstance(query, Curvature):
            size = (product_graph(graph, query) if isinstance(query, Curvature) else _DERIVED[verb](graph, positions(graph, chosen))).size
            lines.append(f"derivative: {size} nodes, {size / max(1, graph.size):.1f} times the graph's {graph.size}")
        if isinstance(query, Jacobian | Hessian):
            query = replace(query, layout=layout)
        types = dict(zip(graph.input_names, graph.input_types, strict=True))
        work = prepare(Request(graph, types, (Ask(query, seeds),)), Budget(memory_bytes))
        lines += [f"plan of {verb} by {', '.join(chosen)}:", _indented(f"{describe(work.plan)}\nruns on {choose(work.plan, lanes, started=False)}")]
    except GraphError as error:
        # The graph itself is sound and shown; the query is what does not fit it.
        lines.append(f"no plan of {verb}: {error}")
    return "\n".join(lines)


def _indented(block: str) -> str:
    return "\n".join("  " + line for line in block.splitlines())


def _query(graph: Graph, verb: str, wrt: tuple[str, ...], block: int, through: tuple[str, ...], family: str) -> tuple[Query, dict[str, Type]]:
    """The query, and seeds of the types it wants."""
    tangents = {name: graph.input_types[graph.input_names.index(name)] for name in wrt if name in graph.input_names}
    match verb:
        case "value":
            return Value(), {}
        case "gradient":
            return Gradient(wrt), {}
        case "value_and_gradient":
            return ValueAndGradient(wrt), {}
        case "jvp":
            return Jvp(wrt), tangents
        case "vjp":
            return Vjp(wrt), {graph.output_names[o]: graph.output_types[o] for o in floating_outputs(graph)}
        case "hvp":
            return Hvp(wrt), tangents
        case "jacobian":
            return Jacobian(wrt, block=block), {}
        case "hessian":
            return Hessian(wrt, block=block), {}
        case "gauss_newton":
            return GaussNewton(wrt, through, block=block), {}
        case "fisher":
            return Fisher(wrt, as_family(family), block=block), {}
        case "empirical_fisher":
            return EmpiricalFisher(wrt, block=block), {}
    return HessianDiagonal(wrt, block=block), {}
