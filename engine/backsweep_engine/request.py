"""A request, and what makes it sound: its bindings, its queries and their seeds fit the graph.

Everything is found from types alone, before anything is planned or allocated; every refusal names
the query, the input and what is allowed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .check.check import require_judge
from .errors import GraphError
from .graph import Graph, Type
from .plan.make import Ask
from .query import (
    Check,
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
    Value,
    ValueAndGradient,
    Vjp,
    wrt_of,
)
from .transforms.curvature import parameters, require_examples
from .transforms.derive import floating_outputs, require_scalar
from .transforms.rewrite import positions
from .transforms.through import cut_through

MAX_COORDINATES = 4096
"""Entries a check tries by themselves: each costs some 30 evaluations."""


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Queries at a point; equal only to itself, so that it can be a key. `types`: what is bound to each input, with the leading axis of `batched` ones."""

    graph: Graph
    types: Mapping[str, Type]
    asks: tuple[Ask, ...]
    batched: frozenset[str] = frozenset()


def require_sound(request: Request) -> int:
    """Raises GraphError unless the request fits its graph; returns how many points it has, 0 if it is not batched."""
    points = _points(request)
    for k, ask in enumerate(request.asks):
        try:
            _require_ask(request.graph, ask)
            if request.batched:
                _require_built(ask)
        except GraphError as error:
            raise error.located(query=k) from None
    return points


def _require_built(ask: Ask) -> None:
    """What may be asked at batched points so far."""
    dense = isinstance(ask.query, (Jacobian, Hessian)) and ask.query.layout == "dense"
    if not dense and not isinstance(ask.query, (Value, Gradient, ValueAndGradient, Jvp, Vjp, Hvp)) and not getattr(ask.query, "product", False):
        allowed = "values, gradients, products, dense Jacobians and Hessians"
        raise GraphError(
            "this is not built yet at batched points", reason="NOT_BUILT_YET", got=type(ask.query).__name__, allowed=allowed, hint="ask point by point"
        )
    if getattr(ask.query, "many", False):
        raise GraphError("many seeds at batched points are not built yet", reason="NOT_BUILT_YET", hint="ask seed by seed")


def _points(request: Request) -> int:
    """Checks the bindings against the graph; how many points a batched request has."""
    graph, sizes = request.graph, set()
    for name in graph.input_names:
        if name not in request.types:
            raise GraphError(f"input {name!r} has no binding", reason="MISSING_INPUT", allowed=", ".join(map(repr, graph.input_names)))
    for name, got in request.types.items():
        if name not in graph.input_names:
            raise GraphError(f"no input is called {name!r}", reason="SURPLUS_INPUT", got=repr(name), allowed=", ".join(map(repr, graph.input_names)))
        node = graph.input_names.index(name)
        declared = graph.input_types[node]
        if name in request.batched:
            if not got.shape:
                raise GraphError(f"batched input {name!r} has no leading axis", reason="SHAPE", node=node, got=str(got), allowed=f"[points, {declared}]")
            sizes.add(got.shape[0])
            got = got.with_shape(got.shape[1:])
        if got != declared:
            reason = "DTYPE" if got.dtype != declared.dtype else "SHAPE"
            hint = f"cast it: x.astype('{declared.dtype.name}')" if reason == "DTYPE" else ""
            raise GraphError(f"input {name!r} has the wrong type", reason=reason, node=node, got=str(got), allowed=str(declared), hint=hint)
    if len(sizes) > 1:
        raise GraphError("batched inputs have different numbers of points", reason="SHAPE", got=", ".join(map(str, sorted(sizes))), allowed="one number")
    return next(iter(sizes), 0)


def require_wrt(graph: Graph, wrt: Sequence[str]) -> None:
    """Checks that `wrt` names inputs that can be differentiated by, each once."""
    if not wrt:
        raise GraphError("nothing to differentiate with respect to", reason="MISSING_INPUT", allowed="the names of floating inputs", hint="name them in wrt")
    if len(set(wrt)) != len(wrt):
        raise GraphError("an input stands twice in wrt", reason="SURPLUS_INPUT", got=", ".join(wrt), allowed="each input once")
    for name in wrt:
        if name not in graph.input_names:
            raise GraphError(f"no input is called {name!r}", reason="SURPLUS_INPUT", got=repr(name), allowed=", ".join(map(repr, graph.input_names)))
        node = graph.input_names.index(name)
        if not graph.input_types[node].is_float:
            got = str(graph.input_types[node])
            raise GraphError(f"input {name!r} has no derivative", reason="NOT_DIFFERENTIABLE", node=node, got=got, allowed="float64 or float32")


def _require_curvature(graph: Graph, query: Curvature) -> None:
    """Checks that the graph is one that has this curvature, for its own reasons."""
    if query.many and not query.product:
        raise GraphError("many tangents are asked for and none is given", reason="MISSING_INPUT", allowed="the tangents, or a matrix without many")
    match query:
        case GaussNewton():
            cut_through(graph, positions(graph, query.wrt), query.through)
        case Fisher():
            parameters(graph, query.family)
        case EmpiricalFisher():
            require_examples(graph)


def _require_check(graph: Graph, query: Check) -> None:
    """Checks that what the check asks for can be had."""
    if query.subject in ("hvp", "hessian"):
        require_scalar(graph, f"a check of the {query.subject}")
    entries = sum(graph.input_types[i].size for i in positions(graph, query.wrt))
    if query.coordinates and entries > MAX_COORDINATES:
        allowed, hint = f"at most {MAX_COORDINATES}", "name fewer inputs in wrt, or leave it to the directions: no single entry hides in them"
        raise GraphError("too many entries to try each by itself", reason="TOO_LARGE", name="coordinates", got=str(entries), allowed=allowed, hint=hint)
    require_judge(graph, query)


def _require_ask(graph: Graph, ask: Ask) -> None:
    """Checks one query: its wrt inputs, whether the graph is scalar where it must be, and its seeds."""
    query = ask.query
    wrt = wrt_of(query)
    if not isinstance(query, Value):
        require_wrt(graph, wrt)
    if isinstance(query, (Gradient, ValueAndGradient, Hvp, Hessian, HessianDiagonal)) or (isinstance(query, Check) and query.subject == "given"):
        require_scalar(graph, type(query).__name__)
    if isinstance(query, Check):
        _require_check(graph, query)
    if isinstance(query, Curvature):
        _require_curvature(graph, query)
    if isinstance(query, HessianDiagonal) and query.method == "estimate":
        _require_estimate(query)
    expected: dict[str, Type] = {}
    if isinstance(query, (Jvp, Hvp)) or (isinstance(query, Check) and query.subject == "given") or (isinstance(query, Curvature) and query.product):
        expected = {name: graph.input_types[graph.input_names.index(name)] for name in wrt}
    elif isinstance(query, Vjp):
        expected = {graph.output_names[o]: graph.output_types[o] for o in floating_outputs(graph)}
    counts = set()
    for name, wanted in expected.items():
        seed = ask.seeds.get(name)
        if seed is None:
            raise GraphError(f"seed {name!r} is missing", reason="MISSING_INPUT", allowed=", ".join(map(repr, expected)))
        if getattr(query, "many", False):
            if not seed.shape:
                raise GraphError(f"seed {name!r} has no leading axis", reason="SHAPE", got=str(seed), allowed=f"[seeds, {wanted}]")
            counts.add(seed.shape[0])
            seed = seed.with_shape(seed.shape[1:])
        if seed != wanted:
            raise GraphError(f"seed {name!r} has the wrong type", reason="DTYPE" if seed.dtype != wanted.dtype else "SHAPE", got=str(seed), allowed=str(wanted))
    if len(counts) > 1:
        raise GraphError("the seeds differ in number", reason="SHAPE", got=", ".join(map(str, sorted(counts))), allowed="one number")
    for name in ask.seeds:
        if name not in expected:
            raise GraphError(f"no seed is called {name!r}", reason="SURPLUS_INPUT", got=repr(name), allowed=", ".join(map(repr, expected)) or "none")


def _require_estimate(query: HessianDiagonal) -> None:
    """Two samples at least, since one has no spread, and a seed of 64 bits."""
    if query.samples < 2:
        raise GraphError(
            "an estimate needs two samples at least",
            name="samples",
            got=str(query.samples),
            allowed="2 or more",
            hint="its standard error is told by their spread",
        )
    if not 0 <= query.seed < 2**64:
        raise GraphError("a seed is out of range", name="seed", got=str(query.seed), allowed="0 to 2**64 - 1")
