"""What the requests of Compute, Run, Explain and Derive share: a graph, a point, queries.

Two steps, because a graph is a blob: first the digests a request needs, then, with the graph at
hand, everything else it says.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.plan.make import Ask, seed_name
from backsweep_engine.plan.plan import Axis
from backsweep_engine.request import Request

from . import limits
from .arrays import Array, ArrayRef, Digest, decode_array_ref, decode_digest
from .bindings import Binding, decode_bindings
from .blocks import AXES, AXIS_OF
from .queries import decode_queries, decode_wrt

Derivative = Literal["gradient", "value_and_gradient", "jvp", "vjp", "hvp"]
Message: TypeAlias = pb.ComputeRequest | pb.RunRequest | pb.ExplainRequest

DERIVATIVES: dict[Derivative, pb.Derivative] = {
    "gradient": pb.DERIVATIVE_GRADIENT,
    "value_and_gradient": pb.DERIVATIVE_VALUE_AND_GRADIENT,
    "jvp": pb.DERIVATIVE_JVP,
    "vjp": pb.DERIVATIVE_VJP,
    "hvp": pb.DERIVATIVE_HVP,
}


@dataclass(frozen=True, slots=True)
class Received:
    """A request as the engine takes it, and the values it needs by their names in the plan: arrays or blobs.

    `bound`: the inputs whose values a sparsity pattern may be told by.
    """

    request: Request
    values: Mapping[str, Array | ArrayRef]
    bound: frozenset[str] = frozenset()

    @property
    def references(self) -> tuple[ArrayRef, ...]:
        """Every value that is a blob."""
        return tuple(value for value in self.values.values() if isinstance(value, ArrayRef))


def digests_of(message: Message) -> tuple[Digest, ...]:
    """Every blob the request needs, each once, its graph first: what must be there before `decode_request`."""
    needed = {graph_of(message): None}
    for binding in _messages(message):
        if binding.WhichOneof("value") == "blob":
            needed[decode_array_ref(binding.blob).digest] = None
    return tuple(needed)


def graph_of(message: Message | pb.DeriveRequest) -> Digest:
    """The digest of the graph a request is about."""
    if not message.HasField("graph"):
        raise GraphError("the request names no graph", name="graph", allowed="a digest")
    return decode_digest(message.graph)


def decode_request(message: Message, graph: Graph) -> Received:
    """The whole request, right in itself; whether it fits the graph says answer.prepare.

    In Explain inputs may be left out: they are taken as bound to values of their types.
    """
    explain = isinstance(message, pb.ExplainRequest)
    bindings = decode_bindings(message.bindings, types=explain)
    bound = [name for name, binding in bindings.items() if isinstance(binding.value, ArrayRef)]
    asked = decode_queries(message.queries, graph, bound, types=explain)
    # Seeds are numbered by their query, so that two queries may have seeds of one name.
    seeds = {seed_name(k, name): binding for k, one in enumerate(asked) for name, binding in one.seeds.items()}
    _require_inline([*bindings.values(), *seeds.values()])
    types = {name: binding.type for name, binding in bindings.items()}
    if explain:
        types = dict(zip(graph.input_names, graph.input_types, strict=True)) | types
    asks = tuple(Ask(one.query, {name: binding.type for name, binding in one.seeds.items()}) for one in asked)
    request = Request(graph, types, asks, frozenset(name for name, binding in bindings.items() if binding.batched))
    fixed = frozenset(name for name in bound if not bindings[name].of_point and not bindings[name].batched)
    return Received(request, {name: b.value for name, b in (bindings | seeds).items() if not isinstance(b.value, Type)}, fixed)


def decode_derive(message: pb.DeriveRequest, graph: Graph) -> tuple[Derivative, tuple[str, ...]]:
    """What to derive, and by which inputs."""
    for name, number in DERIVATIVES.items():
        if number == message.derivative:
            return name, decode_wrt(message.wrt, graph)
    unset = message.derivative == pb.DERIVATIVE_UNSPECIFIED
    raise GraphError(
        "no such derivative", reason="MALFORMED" if unset else "UNKNOWN_FIELD", name="derivative", got=str(message.derivative), allowed=", ".join(DERIVATIVES)
    )


def decode_run_id(run_id: bytes) -> bytes:
    if len(run_id) != limits.RUN_ID_BYTES:
        raise GraphError("a run_id is not 16 bytes", name="run_id", got=f"{len(run_id)} bytes", allowed=f"{limits.RUN_ID_BYTES} random bytes")
    return run_id


def decode_seconds(name: str, seconds: float, most: float, *, zero: float = 0.0) -> float:
    """A duration of a request, at most the server's; `zero` is what 0 means."""
    if not math.isfinite(seconds) or seconds < 0:
        raise GraphError(f"{name} is not a number of seconds", name=name, got=str(seconds), allowed="finite, 0 or more")
    return min(seconds or zero, most)


@dataclass(frozen=True, slots=True)
class HeldRange:
    """A range of a part; `axis` None: one this side does not know."""

    query: int
    part: int
    axis: Axis | None
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Have:
    """What a client holds of a run, made under this plan on this platform. `patterns`: (query, part)."""

    plan_key: bytes
    platform: str
    ranges: tuple[HeldRange, ...] = ()
    patterns: tuple[tuple[int, int], ...] = ()


def encode_have(have: Have) -> pb.Have:
    message = pb.Have(plan_key=have.plan_key, platform=have.platform)
    for r in have.ranges:
        message.ranges.add(query=r.query, part=r.part, axis=AXES[r.axis] if r.axis else 0, start=r.start, stop=r.stop)
    for query, part in have.patterns:
        message.patterns.add(query=query, part=part)
    return message


def decode_have(message: pb.RunRequest) -> Have | None:
    """None where the client holds nothing. Whether the ranges fit the answer says who knows the plan."""
    if not message.HasField("have"):
        return None
    have = message.have
    count = len(have.ranges) + len(have.patterns)
    if count > limits.MAX_HAVE_RANGES:
        allowed = f"at most {limits.MAX_HAVE_RANGES}"
        raise GraphError("too many ranges are held", reason="TOO_LARGE", name="have", got=str(count), allowed=allowed, hint="name fewer: the rest comes again")
    ranges = tuple(HeldRange(r.query, r.part, AXIS_OF.get(r.axis), r.start, r.stop) for r in have.ranges)
    return Have(have.plan_key, have.platform, ranges, tuple((r.query, r.part) for r in have.patterns))


def _require_inline(bindings: Iterable[Binding]) -> None:
    size = sum(binding.inline_bytes for binding in bindings)
    if size > limits.MAX_INLINE_BYTES:
        raise GraphError(
            "the inline arrays of the request are too large together",
            reason="TOO_LARGE",
            name="max_inline_bytes",
            got=f"{size} bytes",
            allowed=f"at most {limits.MAX_INLINE_BYTES}",
            hint="upload the larger ones, and bind them by digest",
        )


def _messages(message: Message) -> Iterator[query_pb2.Binding]:
    yield from message.bindings
    for query in message.queries:
        match query.WhichOneof("ask"):
            case "jvp":
                yield from query.jvp.tangents
            case "vjp":
                yield from query.vjp.cotangents
            case "hvp":
                yield from query.hvp.tangents
            case "gauss_newton":
                yield from query.gauss_newton.tangents
            case "fisher":
                yield from query.fisher.tangents
            case "empirical_fisher":
                yield from query.empirical_fisher.tangents
            case "check":
                yield from query.check.given.gradient
