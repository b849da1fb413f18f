"""Query <-> the engine's query records, with the seeds that travel inside a query.

A decoded query is checked against its graph as far as names and types go: what may be left open on
the wire (an empty `wrt`, a zero for "the server chooses") is filled in here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args

from backsweep.v1 import query_pb2 as pb
from backsweep_engine import query as ask
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.transforms.derive import require_scalar

from . import limits
from .arrays import Array, ArrayRef
from .bindings import Binding, common_length, decode_bindings, encode_binding, match_types
from .errors import NotBuiltYet
from .scan import refuse_unknown

Seeds = Mapping[str, Binding]
"""By `tangent.<input>`, `cotangent.<output>` or `gradient.<input>`."""

_MODES: dict[ask.Mode, pb.Mode] = {"auto": pb.MODE_AUTO, "forward": pb.MODE_FORWARD, "reverse": pb.MODE_REVERSE}
_MODE_OF = {number: mode for mode, number in _MODES.items()}


@dataclass(frozen=True, slots=True)
class Asked:
    """A query and the seeds that came in it. `seeds`: how many there are, None without `many`."""

    query: ask.Query
    seeds: Seeds = field(default_factory=dict)
    many: int | None = None


# Encoding.


def encode_query(query: ask.Query, seeds: Mapping[str, Array | ArrayRef | Binding] | None = None) -> pb.Query:
    """The message of a query. `seeds`: as `Seeds` names them; bare values are not batched."""
    message = pb.Query(wrt=ask.wrt_of(query))
    given = dict(seeds or {})
    match query:
        case ask.Value():
            message.value.SetInParent()
        case ask.Gradient():
            message.gradient.SetInParent()
        case ask.ValueAndGradient():
            message.value_and_gradient.SetInParent()
        case ask.Jvp():
            message.jvp.CopyFrom(pb.Jvp(tangents=_seeds(given, "tangent"), many=query.many))
        case ask.Vjp():
            message.vjp.CopyFrom(pb.Vjp(cotangents=_seeds(given, "cotangent"), many=query.many))
        case ask.Hvp():
            message.hvp.CopyFrom(pb.Hvp(tangents=_seeds(given, "tangent"), many=query.many))
        case ask.Jacobian():
            message.jacobian.mode = _MODES[query.mode]
        case ask.Hessian():
            message.hessian.SetInParent()
        case ask.HessianDiagonal():
            message.hessian_diagonal.SetInParent()
        case ask.Check():
            check = pb.Check(seed=query.seed, directions=query.directions, max_worst=query.max_worst)
            if query.given:
                check.given.CopyFrom(pb.GivenGradient(gradient=_seeds(given, "gradient")))
            else:
                check.own.SetInParent()
            message.check.CopyFrom(check)
    if isinstance(query, ask.Jacobian | ask.Hessian):
        message.layout = pb.LAYOUT_DENSE
    if isinstance(query, ask.Jacobian | ask.Hessian | ask.HessianDiagonal | ask.Check):
        message.block_rows = query.block
    return message


def _seeds(seeds: Mapping[str, Array | ArrayRef | Binding], kind: str) -> list[pb.Binding]:
    bindings = []
    for key, value in seeds.items():
        name = key.removeprefix(f"{kind}.")
        if name == key:
            raise GraphError("a seed does not belong to this query", reason="SURPLUS_INPUT", name=key, got=repr(key), allowed=f"{kind}.<name>")
        whole = Binding(name, value.value, value.batched) if isinstance(value, Binding) else Binding(name, value)
        bindings.append(encode_binding(whole))
    return bindings


# Decoding.


def decode_queries(messages: Sequence[pb.Query], graph: Graph, bindings: Mapping[str, Binding], points: int | None, *, types: bool = False) -> tuple[Asked, ...]:
    """The queries of a request, each checked; an error says which. `types`: as in Explain."""
    if not messages:
        raise GraphError("nothing is asked", name="queries", got="0", allowed=f"1 to {limits.MAX_QUERIES}")
    if len(messages) > limits.MAX_QUERIES:
        raise GraphError("too many queries", reason="TOO_LARGE", name="max_queries", got=str(len(messages)), allowed=f"1 to {limits.MAX_QUERIES}")
    asked = []
    for index, message in enumerate(messages):
        try:
            asked.append(decode_query(message, graph, bindings, points, types=types))
        except Error as error:
            raise error.located(query=index) from None
    return tuple(asked)


def decode_query(message: pb.Query, graph: Graph, bindings: Mapping[str, Binding], points: int | None = None, *, types: bool = False) -> Asked:
    """One query at a point: `bindings` say which inputs are bound, `points` how many points there are."""
    refuse_unknown(message)
    verb = message.WhichOneof("ask")
    if verb is None:
        raise GraphError("a query asks for nothing", name="ask", allowed=", ".join(f.name for f in pb.Query.DESCRIPTOR.oneofs_by_name["ask"].fields))
    if verb == "value":
        if message.wrt:
            raise GraphError("a value has no wrt", name="wrt", got=", ".join(message.wrt), allowed="none")
        return Asked(ask.Value())
    bound = {name for name, binding in bindings.items() if isinstance(binding.value, ArrayRef)}
    wrt = decode_wrt(message.wrt, graph, bound)
    if verb in _SCALAR or (verb == "check" and message.check.WhichOneof("subject") == "given"):
        require_scalar(graph, _SCALAR.get(verb, "a check of a given gradient"))
    if verb in ("jacobian", "hessian"):
        _require_layout(message.layout)
    return _DECODERS[verb](getattr(message, verb), _Place(graph, wrt, points, types, message.block_rows))


@dataclass(frozen=True, slots=True)
class _Place:
    """What a decoder needs beside its own message."""

    graph: Graph
    wrt: tuple[str, ...]
    points: int | None
    types: bool
    block: int

    @property
    def wrt_types(self) -> dict[str, Type]:
        inputs = dict(zip(self.graph.input_names, self.graph.input_types, strict=True))
        return {name: inputs[name] for name in self.wrt}

    @property
    def floating_outputs(self) -> dict[str, Type]:
        return {name: type for name, type in zip(self.graph.output_names, self.graph.output_types, strict=True) if type.is_float}


_SCALAR = {"gradient": "a gradient", "value_and_gradient": "a gradient", "hvp": "an hvp", "hessian": "a Hessian", "hessian_diagonal": "a Hessian"}


def decode_wrt(names: Sequence[str], graph: Graph, bound: Iterable[str] = ()) -> tuple[str, ...]:
    """The inputs to differentiate by; if none is named, the floating ones that are not `bound`."""
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    if not names:
        taken = set(bound)
        names = [name for name, type in types.items() if type.is_float and name not in taken]
        if not names:
            raise GraphError("there is no input to differentiate by", reason="MISSING_INPUT", name="wrt", hint="name a bound input in wrt to differentiate by it")
    seen: set[str] = set()
    for name in names:
        if name not in types:
            raise GraphError("wrt names no input", reason="SURPLUS_INPUT", name=name[:64], got=repr(name[:64]), allowed=", ".join(list(types)[:16]))
        if name in seen:
            raise GraphError("wrt names an input twice", reason="SURPLUS_INPUT", name=name, got=repr(name), allowed="each input once")
        if not types[name].is_float:
            raise GraphError(
                f"input {name!r} has no derivative",
                reason="NOT_DIFFERENTIABLE",
                node=graph.input_names.index(name),
                op="input",
                name=name,
                got=str(types[name]),
                allowed="float64 or float32",
            )
        seen.add(name)
    return tuple(names)


def _decode_seeds(kind: str, messages: Iterable[pb.Binding], wanted: dict[str, Type], many: bool, place: _Place) -> tuple[dict[str, Binding], int | None]:
    """Seeds by key, and how many there are of each."""
    bindings = decode_bindings(messages, types=place.types)
    for binding in bindings.values():
        if binding.batched and place.points is None:
            raise GraphError(f"{kind} {binding.name!r} is batched, no input is", name=binding.name, got="batched", allowed="not batched: there is one point")
    seeds = None
    if many:
        plain = [b for b in bindings.values() if not b.batched]
        batched = [b for b in bindings.values() if b.batched]
        lengths = [common_length(((b.type, b.name) for b in group), axis) for group, axis in ((plain, 0), (batched, 1))]
        known = {n for n in lengths if n is not None}
        if len(known) > 1:
            raise GraphError(f"the {kind}s differ in number", reason="SHAPE", got=" and ".join(map(str, sorted(known))), allowed="one number of seeds")
        seeds = known.pop() if known else 0
    match_types(wanted, bindings, place.points, seeds, kind)
    return {f"{kind}.{name}": binding for name, binding in bindings.items()}, seeds


def _jvp(message: pb.Jvp, place: _Place) -> Asked:
    seeds, many = _decode_seeds("tangent", message.tangents, place.wrt_types, message.many, place)
    return Asked(ask.Jvp(place.wrt, message.many), seeds, many)


def _vjp(message: pb.Vjp, place: _Place) -> Asked:
    seeds, many = _decode_seeds("cotangent", message.cotangents, place.floating_outputs, message.many, place)
    return Asked(ask.Vjp(place.wrt, message.many), seeds, many)


def _hvp(message: pb.Hvp, place: _Place) -> Asked:
    seeds, many = _decode_seeds("tangent", message.tangents, place.wrt_types, message.many, place)
    return Asked(ask.Hvp(place.wrt, message.many), seeds, many)


def _jacobian(message: pb.Jacobian, place: _Place) -> Asked:
    mode = _MODE_OF.get(message.mode)
    if mode is None:
        raise GraphError("the mode of a Jacobian is not set", name="mode", got="MODE_UNSPECIFIED", allowed=", ".join(get_args(ask.Mode)))
    return Asked(ask.Jacobian(place.wrt, mode, place.block))


def _check(message: pb.Check, place: _Place) -> Asked:
    for name, got, most in (("directions", message.directions, limits.MAX_DIRECTIONS), ("max_worst", message.max_worst, limits.MAX_WORST)):
        if got > most:
            raise GraphError(f"{name} of a check is over the limit", reason="TOO_LARGE", name=name, got=str(got), allowed=f"at most {most}")
    subject = message.WhichOneof("subject")
    if subject is None:
        raise GraphError("a check has no subject", name="subject", allowed="own or given")
    seeds: dict[str, Binding] = {}
    if subject == "given":
        seeds, _ = _decode_seeds("gradient", message.given.gradient, place.wrt_types, False, place)
    default = ask.Check(place.wrt)
    query = ask.Check(
        place.wrt, subject == "given", message.seed, message.directions or default.directions, message.max_worst or default.max_worst, place.block
    )
    return Asked(query, seeds)


_DECODERS: dict[str, Any] = {
    "gradient": lambda message, place: Asked(ask.Gradient(place.wrt)),
    "value_and_gradient": lambda message, place: Asked(ask.ValueAndGradient(place.wrt)),
    "jvp": _jvp,
    "vjp": _vjp,
    "hvp": _hvp,
    "jacobian": _jacobian,
    "hessian": lambda message, place: Asked(ask.Hessian(place.wrt, place.block)),
    "hessian_diagonal": lambda message, place: Asked(ask.HessianDiagonal(place.wrt, place.block)),
    "check": _check,
}


def _require_layout(layout: int) -> None:
    if layout == pb.LAYOUT_SPARSE:
        raise NotBuiltYet("matrices are not delivered sparse yet", name="layout", got="LAYOUT_SPARSE", allowed="LAYOUT_DENSE")
    if layout != pb.LAYOUT_DENSE:
        raise GraphError("the layout of a matrix is not set", name="layout", got="LAYOUT_UNSPECIFIED", allowed="LAYOUT_DENSE")
