"""A request becomes what the engine takes: its blobs first, then inputs, seeds and queries by name."""

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep.wire import limits, requests
from backsweep.wire.arrays import Digest, array_ref, digest_of, encode_digest
from backsweep.wire.bindings import Binding, encode_binding
from backsweep.wire.queries import encode_query
from backsweep_engine import query as ask
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.plan.make import seed_name
from support.graphs import F64, build

GRAPH = build(lambda w, X: (X @ w).sum(), w=F64[3], X=F64[4, 3])
KEY = Digest(bytes(range(32)), 100)
DATA = np.ones((4, 3))
POINT = np.arange(3.0)


def compute(*queries: query_pb2.Query, **values: object) -> pb.ComputeRequest:
    bindings = [encode_binding(Binding(name, value)) for name, value in (values or {"w": POINT, "X": array_ref(DATA)}).items()]  # type: ignore[arg-type]
    return pb.ComputeRequest(graph=encode_digest(KEY), bindings=bindings, queries=queries or [encode_query(ask.Gradient(("w",)))])


def test_a_request_is_what_the_engine_takes() -> None:
    received = requests.decode_request(compute(encode_query(ask.Value()), encode_query(ask.Hvp(("w",)), {"w": POINT})), GRAPH)
    assert received.request.graph is GRAPH
    assert received.request.types == {"w": F64[3], "X": F64[4, 3]}
    assert [one.query for one in received.request.asks] == [ask.Value(), ask.Hvp(("w",))]
    assert received.request.asks[1].seeds == {"w": F64[3]}
    assert received.request.batched == frozenset()
    assert received.values.keys() == {"w", "X", seed_name(1, "w")}
    assert received.references == (array_ref(DATA),)
    assert np.array_equal(received.values["w"], POINT)


def test_an_input_that_is_a_blob_is_not_differentiated_by_itself() -> None:
    received = requests.decode_request(compute(query_pb2.Query(gradient=query_pb2.Gradient())), GRAPH)
    assert received.request.asks[0].query == ask.Gradient(("w",))


def test_batched_inputs_are_named() -> None:
    message = compute()
    message.bindings[0].CopyFrom(encode_binding(Binding("w", np.zeros((7, 3)), batched=True)))
    received = requests.decode_request(message, GRAPH)
    assert received.request.batched == {"w"} and received.request.types["w"] == F64[7, 3]


def test_every_blob_of_a_request_is_named_once_the_graph_first() -> None:
    seeds = {"w": array_ref(POINT)}
    message = compute(
        encode_query(ask.Jvp(("w",)), seeds),
        encode_query(ask.Hvp(("w",)), seeds),
        encode_query(ask.Vjp(("w",)), {"": array_ref(np.array(1.0))}),
        encode_query(ask.Check(("w",), "given"), {"w": array_ref(POINT + 1)}),
        encode_query(ask.GaussNewton(("w",), ("z",), product=True), {"w": array_ref(POINT + 2)}),
        encode_query(ask.Fisher(("w",), "normal", product=True), {"w": array_ref(POINT + 3)}),
        encode_query(ask.EmpiricalFisher(("w",), product=True), {"w": array_ref(POINT + 4)}),
        encode_query(ask.Value()),
    )
    arrays = [DATA, POINT, np.array(1.0), *[POINT + k for k in range(1, 5)]]
    assert requests.digests_of(message) == (KEY, *[digest_of(array.tobytes()) for array in arrays])


def test_a_request_without_a_graph_is_malformed() -> None:
    for message in (pb.ComputeRequest(), pb.RunRequest(), pb.ExplainRequest(), pb.DeriveRequest()):
        with pytest.raises(GraphError) as caught:
            requests.graph_of(message)
        assert (caught.value.reason, caught.value.name) == ("MALFORMED", "graph")


def test_inline_arrays_share_two_mebibytes_seeds_counted() -> None:
    half = limits.MAX_INLINE_BYTES // 16
    graph = build(lambda x: (x * x).sum(), x=F64[half])
    whole = compute(encode_query(ask.Hvp(("x",)), {"x": np.zeros(half)}), x=np.zeros(half))
    requests.decode_request(whole, graph)
    more = compute(encode_query(ask.Hvp(("x",)), {"x": np.zeros(half + 1)}), x=np.zeros(half))
    with pytest.raises(GraphError) as caught:
        requests.decode_request(more, graph)
    assert (caught.value.reason, caught.value.name, caught.value.got) == ("TOO_LARGE", "max_inline_bytes", f"{limits.MAX_INLINE_BYTES + 8} bytes")


def test_an_input_bound_twice_is_surplus() -> None:
    message = compute()
    message.bindings.add().CopyFrom(message.bindings[0])
    with pytest.raises(GraphError) as caught:
        requests.decode_request(message, GRAPH)
    assert (caught.value.reason, caught.value.name) == ("SURPLUS_INPUT", "w")


def test_explain_takes_types_and_inputs_left_out() -> None:
    message = pb.ExplainRequest(graph=encode_digest(KEY), queries=[encode_query(ask.Gradient(("w",)))])
    assert requests.decode_request(message, GRAPH).request.types == {"w": F64[3], "X": F64[4, 3]}
    message.bindings.add().CopyFrom(encode_binding(Binding("w", Type(np.dtype("float64"), (3,)))))
    received = requests.decode_request(message, GRAPH)
    assert received.request.types["w"] == F64[3] and not received.values
    with pytest.raises(GraphError) as caught:
        requests.decode_request(compute(w=F64[3], X=DATA), GRAPH)
    assert (caught.value.reason, caught.value.name) == ("MALFORMED", "w")


@pytest.mark.parametrize("name", list(requests.DERIVATIVES))
def test_what_to_derive_survives_the_wire(name: requests.Derivative) -> None:
    message = pb.DeriveRequest(graph=encode_digest(KEY), derivative=requests.DERIVATIVES[name], wrt=["X"])
    assert requests.decode_derive(message, GRAPH) == (name, ("X",))
    message.ClearField("wrt")
    assert requests.decode_derive(message, GRAPH) == (name, ("w", "X"))


@pytest.mark.parametrize("number, reason", [(0, "MALFORMED"), (99, "UNKNOWN_FIELD")])
def test_a_derivative_that_is_none_is_refused(number: int, reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        requests.decode_derive(pb.DeriveRequest(derivative=number), GRAPH)  # type: ignore[arg-type]
    assert caught.value.reason == reason


def test_every_derivative_of_the_proto_is_served() -> None:
    assert set(requests.DERIVATIVES.values()) == set(pb.Derivative.values()) - {0}


def test_a_run_id_is_16_bytes() -> None:
    assert requests.decode_run_id(bytes(16)) == bytes(16)
    for wrong in (b"", bytes(15), bytes(17)):
        with pytest.raises(GraphError):
            requests.decode_run_id(wrong)


def test_seconds_are_finite_and_at_most_the_servers() -> None:
    assert requests.decode_seconds("max_seconds", 5.0, 60.0) == 5.0
    assert requests.decode_seconds("max_seconds", 500.0, 60.0) == 60.0
    assert requests.decode_seconds("max_seconds", 0.0, 60.0, zero=60.0) == 60.0
    assert requests.decode_seconds("detach_seconds", 0.0, 60.0) == 0.0
    for wrong in (-1.0, float("nan"), float("inf")):
        with pytest.raises(GraphError) as caught:
            requests.decode_seconds("max_seconds", wrong, 60.0)
        assert (caught.value.reason, caught.value.name) == ("MALFORMED", "max_seconds")


def test_a_reference_of_another_size_is_refused_before_the_blob_is_looked_for() -> None:
    message = compute()
    message.bindings[1].blob.shape[0] = 5
    with pytest.raises(GraphError) as caught:
        requests.digests_of(message)
    assert caught.value.reason == "SHAPE"
