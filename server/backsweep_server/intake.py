"""From a message to work that may begin: its blobs pinned, its graph decoded, the whole of it planned.

Decoding and planning are remembered by digest and question, since a client asks the same many times
over and they cost more than a small answer. What is kept is a pure function of its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.wire import limits
from backsweep.wire.arrays import ArrayRef, Digest, encode_digest, encode_type, from_bytes
from backsweep.wire.graphs import decode_functions, encode_graph
from backsweep.wire.requests import Message, decode_derive, decode_request, digests_of, graph_of
from backsweep_engine.execute.executor import Array
from backsweep_engine.graph import Graph
from backsweep_engine.plan.make import Budget
from backsweep_engine.request import Request, require_wrt
from backsweep_engine.stopping import Stop, stoppable
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.rewrite import positions
from backsweep_engine.work import Work, prepare

from .recent import Recent
from .store import Store

MOST_GRAPHS = 256
MOST_WORKS = 1024
NODE_BYTES = 1000
"""A node of a decoded graph or plan takes about this much."""

KEPT_GRAPH_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Taken:
    """A request found sound, with its values by their names in the plan.

    `received_bytes`: of the arrays in the call itself; a blob came once, however often it is used.
    `bound`: the blobs whose values the plan may have been shaped by.
    """

    tenant: str
    graph: Digest
    request: Request
    work: Work
    values: Mapping[str, Array]
    received_bytes: int
    bound: Mapping[str, ArrayRef]


@dataclass(slots=True)
class _Read:
    """Names of bound inputs whose values shaped plans; they only grow, so that a key made from more of them is as good."""

    names: frozenset[str] = frozenset()


def _digests(names: frozenset[str], bound: Mapping[str, ArrayRef]) -> tuple[tuple[str, Digest], ...]:
    return tuple((name, bound[name].digest) for name in sorted(names))


class Intake:
    """Takes requests in. `budget`: what one may need at its peak; also what remembered plans may hold in buffers, by a quarter."""

    def __init__(self, store: Store, budget: Budget) -> None:
        self._store = store
        self._budget = budget
        self._functions: Recent[tuple[Graph, ...]] = Recent(KEPT_GRAPH_BYTES, MOST_GRAPHS)
        self._works: Recent[Work] = Recent(budget.memory_bytes // 4, MOST_WORKS)
        self._read: Recent[_Read] = Recent(4 * MOST_WORKS, 4 * MOST_WORKS)

    @contextmanager
    def take(self, message: Message, tenant: str, stop: Stop) -> Iterator[Taken]:
        """Whatever is wrong with the request is raised here; its blobs stay while this is open. Cancelled when stop() says so."""
        digests = digests_of(message)
        with self._store.pinned(tenant, digests) as blobs:
            with stoppable(stop):
                graph = self._graph(tenant, digests[0], blobs[digests[0]])
            received = decode_request(message, graph)
            values = {name: from_bytes(v.type, blobs[v.digest]) if isinstance(v, ArrayRef) else v for name, v in received.values.items()}
            bound = {name: v for name, v in received.values.items() if name in received.bound and isinstance(v, ArrayRef)}
            with stoppable(stop):
                work = self.work(tenant, digests[0], received.request, bound, values)
            inline = sum(value.nbytes for value in received.values.values() if not isinstance(value, ArrayRef))
            yield Taken(tenant, digests[0], received.request, work, values, inline, bound)

    def work(self, tenant: str, digest: Digest, request: Request, bound: Mapping[str, ArrayRef], values: Mapping[str, Array]) -> Work:
        """The plan of a request; `digest` is that of its graph. It holds for the values of the bound arrays it was shaped by."""
        asks = tuple((ask.query, *ask.seeds.items()) for ask in request.asks)
        # By name: in which order a client binds its inputs is all the same.
        asked = (tenant, digest, tuple(sorted(request.types.items(), key=lambda item: item[0])), request.batched, asks, frozenset(bound))

        # Which arrays a plan reads may itself depend on their values: the names that ever were read for this question.
        read = self._read.get(asked, _Read, lambda _: 1)
        work = self._works.find((asked, _digests(read.names, bound)))
        if work is None:
            work = prepare(request, self._budget, {name: values[name] for name in bound})
            # A name that another thread adds meanwhile only makes this entry one that is not found.
            names = read.names = read.names | work.plan.read
            work = self._works.keep((asked, _digests(names, bound)), work, _weight(work))
        return work

    def alone(self, taken: Taken, query: int, stop: Stop) -> Work:
        """The plan of one query of a request by itself."""
        with stoppable(stop):
            return self.work(taken.tenant, taken.graph, replace(taken.request, asks=(taken.request.asks[query],)), taken.bound, taken.values)

    def derive(self, message: pb.DeriveRequest, tenant: str, stop: Stop) -> pb.DeriveResponse:
        """Stores a derivative as a graph."""
        with stoppable(stop):
            return self._derive(message, tenant)

    def _derive(self, message: pb.DeriveRequest, tenant: str) -> pb.DeriveResponse:
        digest = graph_of(message)
        with self._store.pinned(tenant, [digest]) as blobs:
            graph = self._graph(tenant, digest, blobs[digest])
            verb, wrt = decode_derive(message, graph)
            require_wrt(graph, wrt)
            derived = getattr(derive, verb)(graph, positions(graph, wrt)).rooted()
            stored = self._store.put(tenant, encode_graph(derived))
            before = self._nodes(tenant, digest, blobs[digest])
        with self._store.pinned(tenant, [stored]) as blobs:
            nodes = self._nodes(tenant, stored, blobs[stored])
        response = pb.DeriveResponse(graph=encode_digest(stored), nodes=nodes, nodes_before=before)
        for name, type in zip(derived.input_names, derived.input_types, strict=True):
            response.inputs.add(name=name, type=encode_type(type))
        for name, type in zip(derived.output_names, derived.output_types, strict=True):
            response.outputs.add(name=name, type=encode_type(type))
        return response

    def _graph(self, tenant: str, digest: Digest, blob: memoryview) -> Graph:
        return self._decoded(tenant, digest, blob)[-1]

    def _nodes(self, tenant: str, digest: Digest, blob: memoryview) -> int:
        """Inputs and all functions counted."""
        return sum(len(function.nodes) for function in self._decoded(tenant, digest, blob))

    def _decoded(self, tenant: str, digest: Digest, blob: memoryview) -> tuple[Graph, ...]:
        def decode() -> tuple[Graph, ...]:
            # No more is copied than shows that it is too large.
            return decode_functions(bytes(blob[: limits.MAX_GRAPH_BYTES + 1]))

        return self._functions.get((tenant, digest), decode, lambda functions: NODE_BYTES * sum(len(f.nodes) for f in functions))


def _weight(work: Work) -> int:
    """What a remembered plan holds: its nodes, and the buffers of its programs (patterns are counted in its peak)."""
    nodes = sum(len(graph.nodes) for graph in (work.plan.once, *[sweep.each for sweep in work.plan.sweeps]))
    return work.promise.peak_bytes + NODE_BYTES * nodes
