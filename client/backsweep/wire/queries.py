"""Query <-> the engine's query records, with the seeds that travel inside a query.

What may be left open on the wire is filled in here: an empty `wrt`, a zero for "the server
chooses". Whether a query fits its graph is the engine's question: answer.prepare.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from backsweep.v1 import query_pb2 as pb
from backsweep_engine import query as ask
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Graph
from backsweep_engine.transforms.curvature import Family

from . import limits
from .arrays import Array, ArrayRef
from .attributes import repeated
from .bindings import Binding, decode_bindings, encode_binding
from .errors import NotBuiltYet
from .scan import refuse_unknown
from .verdicts import JUDGES, SUBJECTS, key_of

_MODES: dict[ask.Mode, pb.Mode] = {"auto": pb.MODE_AUTO, "forward": pb.MODE_FORWARD, "reverse": pb.MODE_REVERSE}
_MODE_OF = {int(number): mode for mode, number in _MODES.items()}
_FAMILIES: dict[Family, pb.Family] = {
    "normal": pb.FAMILY_NORMAL,
    "bernoulli": pb.FAMILY_BERNOULLI,
    "categorical": pb.FAMILY_CATEGORICAL,
    "poisson": pb.FAMILY_POISSON,
}
_FAMILY_OF = {int(number): family for family, number in _FAMILIES.items()}
_LAYOUTS: dict[ask.Layout, pb.Layout] = {"dense": pb.LAYOUT_DENSE, "sparse": pb.LAYOUT_SPARSE}
_LAYOUT_OF = {int(number): layout for layout, number in _LAYOUTS.items()}
_VERBS = [field.name for field in pb.Query.DESCRIPTOR.oneofs_by_name["ask"].fields]

Wrt = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and the seeds that came in it, by the name of the input or output they are for."""

    query: ask.Query
    seeds: Mapping[str, Binding] = field(default_factory=dict)


# Encoding.


def encode_query(query: ask.Query, seeds: Mapping[str, Array | ArrayRef] | None = None, batched: Container[str] = ()) -> pb.Query:
    """The message of a query. `seeds`: by input (tangents, a given gradient) or output (cotangents); `batched`: those that differ from point to point."""
    message = pb.Query(wrt=ask.wrt_of(query), block_rows=getattr(query, "block", 0))
    bindings = [encode_binding(Binding(name, value, name in batched)) for name, value in (seeds or {}).items()]
    match query:
        case ask.Value():
            message.value.SetInParent()
        case ask.Gradient():
            message.gradient.SetInParent()
        case ask.ValueAndGradient():
            message.value_and_gradient.SetInParent()
        case ask.Jvp():
            message.jvp.CopyFrom(pb.Jvp(tangents=bindings, many=query.many))
        case ask.Vjp():
            message.vjp.CopyFrom(pb.Vjp(cotangents=bindings, many=query.many))
        case ask.Hvp():
            message.hvp.CopyFrom(pb.Hvp(tangents=bindings, many=query.many))
        case ask.Jacobian():
            message.jacobian.mode = _MODES[query.mode]
            message.layout = _LAYOUTS[query.layout]
        case ask.Hessian():
            message.hessian.SetInParent()
            message.layout = _LAYOUTS[query.layout]
        case ask.HessianDiagonal():
            message.hessian_diagonal.CopyFrom(_encode_diagonal(query))
        case ask.GaussNewton():
            message.gauss_newton.CopyFrom(pb.GaussNewton(through=query.through, tangents=bindings, many=query.many))
        case ask.Fisher():
            message.fisher.CopyFrom(pb.Fisher(family=_FAMILIES[query.family], tangents=bindings, many=query.many))
        case ask.EmpiricalFisher():
            message.empirical_fisher.CopyFrom(pb.EmpiricalFisher(tangents=bindings, many=query.many))
        case ask.Check():
            message.check.CopyFrom(_encode_check(query, bindings))
    if isinstance(query, ask.Curvature) and not query.product:
        message.layout = pb.LAYOUT_DENSE
    return message


def _encode_check(query: ask.Check, bindings: Sequence[pb.Binding]) -> pb.Check:
    message = pb.Check(
        seed=query.seed,
        directions=query.directions,
        max_worst=query.max_worst,
        judge=JUDGES[query.judge],
        coordinates=query.coordinates,
        blame=query.blame,
    )
    if query.subject == "given":
        message.given.CopyFrom(pb.GivenGradient(gradient=bindings))
    else:
        message.own.CopyFrom(pb.OwnDerivative(derivative=SUBJECTS[query.subject]))
    return message


# Decoding.


def decode_queries(messages: Sequence[pb.Query], graph: Graph, bound: Iterable[str] = (), *, types: bool = False) -> tuple[Asked, ...]:
    """The queries of a request; an error says which. `bound`: inputs that are blobs. `types`: as in Explain."""
    if not 1 <= len(messages) <= limits.MAX_QUERIES:
        reason = "TOO_LARGE" if messages else "MALFORMED"
        raise GraphError("the number of queries is wrong", reason=reason, name="max_queries", got=str(len(messages)), allowed=f"1 to {limits.MAX_QUERIES}")
    asked = []
    for index, message in enumerate(messages):
        try:
            asked.append(decode_query(message, graph, bound, types=types))
        except Error as error:
            raise error.located(query=index) from None
    return tuple(asked)


def decode_query(message: pb.Query, graph: Graph, bound: Iterable[str] = (), *, types: bool = False) -> Asked:
    """One query; see `decode_queries`."""
    refuse_unknown(message)
    verb = message.WhichOneof("ask")
    if verb is None:
        raise GraphError("a query asks for nothing", name="ask", allowed=", ".join(_VERBS))
    if verb == "value" and message.wrt:
        raise GraphError("a value has no wrt", name="wrt", got=", ".join(message.wrt)[:64], allowed="none")
    if verb in _CURVATURES and not getattr(message, verb).tangents:
        _require_dense(message.layout)
    wrt = decode_wrt(message.wrt, graph, bound)
    query, seeds = _DECODERS[verb](getattr(message, verb), wrt, message.block_rows)
    if isinstance(query, ask.Jacobian | ask.Hessian):
        query = replace(query, layout=_layout(message.layout))
    return Asked(query, decode_bindings(seeds, types=types))


def decode_wrt(names: Iterable[str], graph: Graph, bound: Iterable[str] = ()) -> Wrt:
    """The inputs to differentiate by; if none is named, the floating ones that are not `bound`."""
    named = tuple(names)
    if not named:
        taken = set(bound)
        return tuple(name for name, type in zip(graph.input_names, graph.input_types, strict=True) if type.is_float and name not in taken)
    if (twice := repeated(named)) is not None:
        raise GraphError("wrt names an input twice", reason="SURPLUS_INPUT", name=twice[:64], got=repr(twice[:64]), allowed="each input once")
    return named


Decoded = tuple[ask.Query, Iterable[pb.Binding]]


def _jacobian(message: pb.Jacobian, wrt: Wrt, block: int) -> Decoded:
    mode = _MODE_OF.get(message.mode)
    if mode is None:
        raise GraphError("the mode of a Jacobian is not set", name="mode", got="MODE_UNSPECIFIED", allowed=", ".join(get_args(ask.Mode)))
    return ask.Jacobian(wrt, mode, block), ()


def _gauss_newton(message: pb.GaussNewton, wrt: Wrt, block: int) -> Decoded:
    if len(message.through) > limits.MAX_THROUGH:
        got, allowed = str(len(message.through)), f"at most {limits.MAX_THROUGH}"
        raise GraphError("through names too many values", reason="TOO_LARGE", name="through", got=got, allowed=allowed)
    return ask.GaussNewton(wrt, tuple(message.through), bool(message.tangents), message.many, block), message.tangents


def _fisher(message: pb.Fisher, wrt: Wrt, block: int) -> Decoded:
    family = _FAMILY_OF.get(message.family)
    if family is None:
        raise GraphError("the family of a Fisher is not set", name="family", got="FAMILY_UNSPECIFIED", allowed=", ".join(_FAMILIES))
    return ask.Fisher(wrt, family, bool(message.tangents), message.many, block), message.tangents


def _empirical_fisher(message: pb.EmpiricalFisher, wrt: Wrt, block: int) -> Decoded:
    return ask.EmpiricalFisher(wrt, bool(message.tangents), message.many, block), message.tangents


def _check(message: pb.Check, wrt: Wrt, block: int) -> Decoded:
    for name, got, most in (("directions", message.directions, limits.MAX_DIRECTIONS), ("max_worst", message.max_worst, limits.MAX_WORST)):
        if got > most:
            raise GraphError(f"{name} of a check is over the limit", reason="TOO_LARGE", name=name, got=str(got), allowed=f"at most {most}")
    chosen = message.WhichOneof("subject")
    if chosen is None:
        raise GraphError("a check has no subject", name="subject", allowed="own or given")
    subject: ask.Subject | None = "given" if chosen == "given" else key_of(SUBJECTS, message.own.derivative or pb.SUBJECT_OWN)
    if subject is None or (subject == "given" and chosen == "own"):
        own = ", ".join(name for name in SUBJECTS if name != "given")
        raise GraphError("a check is of no derivative of ours", name="derivative", got=str(message.own.derivative), allowed=own)
    default = ask.Check(wrt)
    query = ask.Check(
        wrt,
        subject,
        message.seed,
        message.directions or default.directions,
        message.max_worst or default.max_worst,
        block,
        key_of(JUDGES, message.judge) or default.judge,
        message.coordinates,
        message.blame,
    )
    return query, message.given.gradient


def _layout(number: int) -> ask.Layout:
    layout = _LAYOUT_OF.get(number)
    if layout is None:
        raise GraphError("the layout of a matrix is not set", name="layout", got="LAYOUT_UNSPECIFIED", allowed="LAYOUT_DENSE, LAYOUT_SPARSE")
    return layout


def _encode_diagonal(query: ask.HessianDiagonal) -> pb.HessianDiagonal:
    match query.method:
        case "hvps":
            return pb.HessianDiagonal(each_product=pb.EachProduct())
        case "estimate":
            return pb.HessianDiagonal(estimate=pb.DiagonalEstimate(samples=query.samples, seed=query.seed))
    return pb.HessianDiagonal()


def _diagonal(message: pb.HessianDiagonal, wrt: Wrt, block: int) -> Decoded:
    match message.WhichOneof("method"):
        case "each_product":
            return ask.HessianDiagonal(wrt, block, "hvps"), ()
        case "estimate":
            samples = message.estimate.samples or ask.SAMPLES
            if samples > limits.MAX_SAMPLES:
                raise GraphError(
                    "an estimate has too many samples", reason="TOO_LARGE", name="samples", got=str(samples), allowed=f"at most {limits.MAX_SAMPLES}"
                )
            return ask.HessianDiagonal(wrt, block, "estimate", samples, message.estimate.seed), ()
    return ask.HessianDiagonal(wrt, block), ()


_DECODERS: dict[str, Callable[[Any, Wrt, int], Decoded]] = {
    "value": lambda message, wrt, block: (ask.Value(), ()),
    "gradient": lambda message, wrt, block: (ask.Gradient(wrt), ()),
    "value_and_gradient": lambda message, wrt, block: (ask.ValueAndGradient(wrt), ()),
    "jvp": lambda message, wrt, block: (ask.Jvp(wrt, message.many, block), message.tangents),
    "vjp": lambda message, wrt, block: (ask.Vjp(wrt, message.many, block), message.cotangents),
    "hvp": lambda message, wrt, block: (ask.Hvp(wrt, message.many, block), message.tangents),
    "jacobian": _jacobian,
    "hessian": lambda message, wrt, block: (ask.Hessian(wrt, block), ()),
    "hessian_diagonal": _diagonal,
    "gauss_newton": _gauss_newton,
    "fisher": _fisher,
    "empirical_fisher": _empirical_fisher,
    "check": _check,
}
_CURVATURES = ("gauss_newton", "fisher", "empirical_fisher")


def _require_dense(layout: int) -> None:
    """A curvature matrix has no pattern to deliver it by."""
    if _layout(layout) != "dense":
        raise NotBuiltYet("curvature matrices are not delivered sparse yet", name="layout", got="LAYOUT_SPARSE", allowed="LAYOUT_DENSE")
