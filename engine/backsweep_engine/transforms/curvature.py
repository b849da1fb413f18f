"""Curvature products as graphs: Gauss-Newton, the Fisher information, the empirical Fisher.

All are J' B J t: J the Jacobian by the wrt inputs of some values z of the graph, B symmetric and cheap.
One composition serves the three, L'(B(L t)) with L the linear program of z, and they differ in B
alone; whoever adds one adds its B. No matrix is made here: the plan sweeps the product over seeds.

The results are public graphs: inputs of `graph`, then a tangent per wrt input -> one array per wrt input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from ..errors import GraphError
from ..graph import Builder, Graph
from ..ops.build import aligned, call, promoted
from ..ops.term import Term
from . import derive
from .expand import expand
from .linearize import linearize
from .rewrite import inline
from .simplify import simplify
from .through import cut_through

Family = Literal["normal", "bernoulli", "categorical", "poisson"]

Weighing = Callable[[Sequence[Term], Sequence[Term], Sequence[Term]], Sequence[Any]]
"""(inputs, z, J t) -> B J t, a Term for each z."""


def _sandwich(predict: Graph, wrt: Sequence[int], weigh: Weighing) -> Graph:
    """J' B J t for J the Jacobian of all outputs of `predict`, which are floating."""
    push, pull = linearize(simplify(predict), wrt), derive.vjp(predict, wrt)
    builder = Builder()
    terms = [Term(builder, builder.input(n, t)) for n, t in zip(push.input_names, push.input_types, strict=True)]
    inputs, count = terms[: predict.arity], len(predict.outputs)
    values = inline(builder, push, terms)
    builder.origin = predict.nodes[predict.outputs[0].node].origin
    weighed = weigh(inputs, values[:count], values[count:])
    products = inline(builder, pull, [*inputs, *weighed])
    # B may be spelled in compound ops; what plans count and run has none.
    return simplify(expand(builder.build([(name, y.ref) for name, y in zip(pull.output_names, products, strict=True)])))


# Gauss-Newton.


def gauss_newton(graph: Graph, wrt: Sequence[int], through: Sequence[str]) -> Graph:
    """G t for L(x) = l(z(x)), with G = J_z' H_l J_z: z the values `through` names, H_l the Hessian of l by them.

    Positive semi-definite wherever l is convex in z (Schraudolph, Fast Curvature Matrix-Vector
    Products, Neural Computation 14, 2002; Martens, New Insights and Perspectives on the Natural
    Gradient Method, JMLR 21, 2020). Raises as `cut_through`.
    """
    predict, loss = cut_through(graph, wrt, through)
    hvp = derive.hvp(loss, range(graph.arity, loss.arity))
    return _sandwich(predict, wrt, lambda inputs, z, u: inline(inputs[0].builder, hvp, [*inputs, *z, *u]))


# The Fisher information.


def _bernoulli(z: Term, u: Term) -> Any:
    # sigma(-z) is 1 - sigma(z) without its cancellation.
    return call("sigmoid", z) * call("sigmoid", -z) * u


def _categorical(z: Any, u: Any) -> Any:
    """(diag(p) - p p') u along the last axis. It does not see a constant in u: taken from the likeliest class, nothing cancels where p nears 1."""
    p = call("softmax", z, axes=(z.ndim - 1,))
    u = u - np.take_along_axis(u, np.argmax(z, axis=-1, keepdims=True), axis=-1)
    return p * (u - np.sum(p * u, axis=-1, keepdims=True))


def _normal(z: Sequence[Term], u: Sequence[Term]) -> list[Any]:
    # By the mean 1 / s^2, by log s 2, and nothing between them; `scale` since exp may be infinite.
    return [call("scale", call("exp", -2 * z[1]), u[0]), 2 * u[1]] if len(z) == 2 else list(u)


INFORMATION: dict[Family, Callable[[Sequence[Term], Sequence[Term]], list[Any]]] = {
    "normal": _normal,
    "bernoulli": lambda z, u: [_bernoulli(z[0], u[0])],
    "categorical": lambda z, u: [_categorical(z[0], u[0])],
    "poisson": lambda z, u: [call("scale", call("exp", z[0]), u[0])],
}
"""I(z) u, the Fisher information of one observation by its parameters z, for each family."""


def fisher(graph: Graph, wrt: Sequence[int], family: Family) -> Graph:
    """F t with F = E[s s'] = J' I(z) J: s the score by the wrt inputs of one observation at every z the graph
    gives, in expectation under the model itself, summed over the observations.

    The graph's output z and I(z), of one observation: normal: the mean, with unit variance, 1; or two
    outputs, mean and log of the standard deviation (broadcast together), diag(exp(-2 log_scale), 2);
    bernoulli: the logit, p (1 - p); categorical: logits along the last axis, diag(p) - p p'; poisson: the
    log of the rate, the rate. (Amari, Natural Gradient Works Efficiently in Learning, Neural
    Computation 10, 1998; Martens 2020.) Raises as `parameters`.
    """
    return _sandwich(parameters(graph, family), wrt, lambda inputs, z, u: INFORMATION[family](z, u))


def as_family(name: object) -> Family:
    """The family of this name, or GraphError (MALFORMED)."""
    for family in INFORMATION:
        if name == family:
            return family
    raise GraphError("no such family", reason="MALFORMED", name="family", got=repr(name)[:64], allowed=", ".join(INFORMATION))


def parameters(graph: Graph, family: Family) -> Graph:
    """The graph of the family's parameters z, those of a pair broadcast together. Raises GraphError if its outputs are none."""
    _require_floats(graph, f"the Fisher of {as_family(family)}")
    count, most = len(graph.outputs), 2 if family == "normal" else 1
    if not 1 <= count <= most:
        allowed = "the mean, or the mean and log_scale" if most == 2 else "one, the logits" if family != "poisson" else "one, the log of the rate"
        raise GraphError(f"the outputs are not the parameters of {family}", reason="SHAPE", got=f"{count} outputs", allowed=allowed)
    if family == "categorical" and (not graph.output_types[0].shape or not graph.output_types[0].shape[-1]):
        got, node = str(graph.output_types[0]), graph.outputs[0].node
        raise GraphError("a categorical needs logits along the last axis", reason="SHAPE", node=node, got=got, allowed="[..., classes], at least one")
    return _pair(graph) if count == 2 else graph


def _pair(graph: Graph) -> Graph:
    """Mean and log_scale: by these names if the outputs have any (entries of a dict come sorted), else in their order."""
    last = [name.rpartition(".")[2] for name in graph.output_names]
    named = set(last) == {"mean", "log_scale"}
    if not named and any(name.isidentifier() for name in last):
        got = ", ".join(map(repr, graph.output_names))
        raise GraphError("which output is the mean?", reason="SHAPE", got=got, allowed="mean and log_scale, or a tuple of them", hint="return mean, log_scale")
    builder = Builder()
    terms = [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]
    outputs = inline(builder, graph, terms)
    builder.origin = graph.nodes[graph.outputs[0].node].origin
    given = [outputs[last.index("mean")], outputs[last.index("log_scale")]] if named else outputs
    mean, log_scale = aligned(promoted(given))
    if mean.shape != given[0].shape:
        shapes = f"{list(given[0].shape)} and {list(given[1].shape)}"
        raise GraphError("log_scale does not broadcast to the mean", reason="SHAPE", got=shapes, allowed="an observation for each entry of the mean")
    return builder.build([("mean", mean.ref), ("log_scale", log_scale.ref)])


# The empirical Fisher.


def empirical_fisher(graph: Graph, wrt: Sequence[int]) -> Graph:
    """J' J t: the sum over examples of g g' t, for g the gradient of one example's log-likelihood, as observed.

    It is not the Fisher: there the labels are drawn from the model, here they are the data's. The two agree
    only where the model is right and at its optimum; elsewhere this one need not resemble any curvature
    (Kunstner, Hennig and Balles, Limitations of the Empirical Fisher Approximation, NeurIPS 2019).
    """
    require_examples(graph)
    return _sandwich(graph, wrt, lambda inputs, z, u: u)


def require_examples(graph: Graph) -> None:
    """Raises GraphError unless the graph gives a number per example."""
    if len(graph.outputs) != 1 or graph.output_types[0].rank != 1:
        raise GraphError(
            "an empirical Fisher needs the log-likelihood of each example",
            reason="SHAPE",
            node=graph.outputs[0].node if graph.outputs else None,
            got=", ".join(map(str, graph.output_types)) or "no output",
            allowed="one float64 or float32 vector",
            hint="return one number per example, not their sum",
        )
    _require_floats(graph, "an empirical Fisher")


def _require_floats(graph: Graph, verb: str) -> None:
    for ref, type in zip(graph.outputs, graph.output_types, strict=True):
        if not type.is_float:
            raise GraphError(f"{verb} needs floating outputs", reason="NOT_DIFFERENTIABLE", node=ref.node, got=str(type), allowed="float64 or float32")
