"""The derivatives of a graph as graphs: compositions of linearize and transpose.

A graph is simplified before it is derived: what a rewrite stabilises (log1p(exp x)) has a stable
derivative too. gradient = transpose at 1; vjp = transpose of linearize; hvp = jvp of the gradient. The results are
public graphs: they hold ops of the table only and can be derived again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from ..errors import GraphError
from ..graph import Builder, Graph, Type
from ..ops.build import ones
from ..ops.term import Term
from .linearize import linearize
from .remember import remembered
from .simplify import simplify
from .transpose import transpose


def floating_outputs(graph: Graph) -> list[int]:
    return [i for i, type in enumerate(graph.output_types) if type.is_float]


@remembered
def value_and_jvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs of `graph` and a tangent per wrt input -> outputs, then J t, one per floating output."""
    return simplify(linearize(simplify(graph), wrt))


@remembered
def jvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs of `graph` and a tangent per wrt input -> J t, one per floating output."""
    both = value_and_jvp(graph, wrt)
    return both.select(range(len(graph.outputs), len(both.outputs)))


def _value_and_vjp(graph: Graph, wrt: Sequence[int], seed: Callable[[Builder, Type], Term] | None = None) -> Graph:
    joint = linearize(simplify(graph), wrt)
    linear = range(graph.arity, joint.arity)
    # An output the wrt inputs do not reach has a zero tangent, which is no linear node: it is kept out.
    flipped = transpose(joint, linear, range(len(graph.outputs), len(joint.outputs)), seed)
    last = len(flipped.outputs)
    return simplify(flipped.select([*range(len(graph.outputs)), *range(last - len(wrt), last)]))


@remembered
def value_and_vjp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs and a cotangent per floating output -> outputs, then c J, one per wrt input."""
    return _value_and_vjp(graph, wrt)


@remembered
def vjp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs and a cotangent per floating output -> c J, one per wrt input."""
    both = value_and_vjp(graph, wrt)
    return both.select(range(len(graph.outputs), len(both.outputs)))


def require_scalar(graph: Graph, verb: str) -> None:
    """A gradient needs one floating scalar output."""
    if len(graph.outputs) != 1 or not graph.output_types[0].is_float or graph.output_types[0].shape:
        raise GraphError(
            f"{verb} needs a graph with one floating scalar output",
            reason="NOT_SCALAR",
            node=graph.outputs[0].node if graph.outputs else None,
            got=", ".join(map(str, graph.output_types)) or "no output",
            allowed="one float64 or float32 scalar",
            hint="ask for the jacobian or a vjp, or reduce the output (np.sum, np.mean)",
        )


@remembered
def value_and_gradient(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs -> the value, then the gradient by each wrt input."""
    require_scalar(graph, "a gradient")
    both = _value_and_vjp(graph, wrt, ones)
    # Several outputs of a public graph have distinct names, none of them empty.
    value, *gradients = both.output_names
    value = value or "value"
    while value in gradients:
        value += "'"
    return replace(both, output_names=(value, *gradients))


@remembered
def gradient(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs -> the gradient by each wrt input."""
    both = value_and_gradient(graph, wrt)
    return both.select(range(1, len(both.outputs)))


@remembered
def hvp(graph: Graph, wrt: Sequence[int]) -> Graph:
    """Inputs and a tangent per wrt input -> H t, one per wrt input."""
    require_scalar(graph, "an hvp")
    slope = gradient(graph, wrt)  # simplified as it is: a second time would find what the first one found
    both = linearize(slope, wrt)
    return simplify(both.select(range(len(slope.outputs), len(both.outputs))))
