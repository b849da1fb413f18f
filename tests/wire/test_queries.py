"""Queries and their seeds survive the wire; what is left open is filled in; what is unset or unknown is refused."""

from collections.abc import Mapping
from typing import Any, get_args

import numpy as np
import pytest

from backsweep.v1 import query_pb2 as pb
from backsweep.v1 import types_pb2
from backsweep.wire.arrays import array_ref
from backsweep.wire.bindings import Binding, decode_binding, decode_bindings, encode_binding
from backsweep.wire.queries import decode_queries, decode_query, encode_query
from backsweep_engine import query as ask
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import Type
from backsweep_engine.transforms.curvature import Family
from support.graphs import F64, I64, build

GRAPH = build(lambda w, X, n: (X @ w).sum(), w=F64[3], X=F64[4, 3], n=I64[2])
VECTOR = np.arange(3.0)

QUERIES = [
    (ask.Value(), {}),
    (ask.Gradient(("w",)), {}),
    (ask.ValueAndGradient(("X", "w")), {}),
    (ask.Jvp(("w",)), {"w": VECTOR}),
    (ask.Jvp(("w",), many=True), {"w": np.zeros((5, 3))}),
    (ask.Vjp(("w",)), {"": np.array(1.0)}),
    (ask.Vjp(("w",), many=True), {"": np.ones(2)}),
    (ask.Hvp(("w", "X")), {"w": VECTOR, "X": array_ref(np.ones((4, 3)))}),
    (ask.Hvp(("w",), many=True), {"w": np.zeros((0, 3))}),
    (ask.Jacobian(("w",), "forward", 7), {}),
    (ask.Jacobian(("w",), "reverse"), {}),
    (ask.Jacobian(("w",), "auto"), {}),
    (ask.Hessian(("w",), 2**40), {}),
    (ask.Jacobian(("w",), "auto", 3, "sparse"), {}),
    (ask.Hessian(("w",), 0, "sparse"), {}),
    (ask.HessianDiagonal(("w",), 3), {}),
    (ask.GaussNewton(("w",), ("z", "[0]"), block=3), {}),
    (ask.GaussNewton(("w",), ("z",), product=True), {"w": VECTOR}),
    (ask.GaussNewton(("w",), ("z",), product=True, many=True, block=2), {"w": np.zeros((5, 3))}),
    (ask.Fisher(("w",), "bernoulli"), {}),
    *[(ask.Fisher(("w",), family, product=True), {"w": VECTOR}) for family in get_args(Family)],
    (ask.Fisher(("w", "X"), "normal", product=True, many=True), {"w": np.zeros((2, 3)), "X": array_ref(np.ones((2, 4, 3)))}),
    (ask.EmpiricalFisher(("w",), block=9), {}),
    (ask.EmpiricalFisher(("w",), product=True), {"w": VECTOR}),
    (ask.EmpiricalFisher(("w",), product=True, many=True), {"w": np.zeros((0, 3))}),
    (ask.HessianDiagonal(("w",), 3, "hvps"), {}),
    (ask.HessianDiagonal(("w",), 0, "estimate", 100_000, 2**64 - 1), {}),
    (ask.Check(("w",), seed=2**64 - 1, directions=1024, max_worst=64, block=5), {}),
    (ask.Check(("w",), "given", seed=0), {"w": VECTOR}),
    *[(ask.Check(("w",), subject, judge=judge, coordinates=True, blame=True), {}) for subject in get_args(ask.Subject)[2:] for judge in get_args(ask.Judge)],
]


@pytest.mark.parametrize("query, seeds", QUERIES, ids=lambda q: str(q)[:60])
def test_a_query_survives_the_wire(query: ask.Query, seeds: Mapping[str, Any]) -> None:
    message = pb.Query.FromString(encode_query(query, seeds).SerializeToString())
    asked = decode_query(message, GRAPH)
    assert asked.query == query
    assert asked.seeds.keys() == seeds.keys()
    for name, value in seeds.items():
        found = asked.seeds[name].value
        assert np.array_equal(found, value) if isinstance(found, np.ndarray) else found == value


def test_every_query_of_the_engine_and_of_the_proto_is_among_these() -> None:
    asked = {encode_query(query, seeds).WhichOneof("ask") for query, seeds in QUERIES}
    assert asked == {field.name for field in pb.Query.DESCRIPTOR.oneofs_by_name["ask"].fields}
    assert {type(query) for query, _ in QUERIES} == set(ask.Query.__args__)


def test_an_estimate_without_a_number_of_samples_has_the_usual_one() -> None:
    asked = decode_query(pb.Query(wrt=["w"], hessian_diagonal=pb.HessianDiagonal(estimate=pb.DiagonalEstimate(seed=5))), GRAPH)
    assert asked.query == ask.HessianDiagonal(("w",), 0, "estimate", ask.SAMPLES, 5)


def test_a_blob_of_the_point_is_told_from_one_that_is_bound() -> None:
    for of_point in (False, True):
        message = encode_binding(Binding("X", array_ref(np.ones((4, 3))), of_point=of_point))
        assert decode_binding(pb.Binding.FromString(message.SerializeToString())).of_point is of_point


def test_no_wrt_is_every_floating_input_that_is_not_a_blob() -> None:
    message = pb.Query(gradient=pb.Gradient())
    assert decode_query(message, GRAPH).query == ask.Gradient(("w", "X"))
    assert decode_query(message, GRAPH, bound=["X"]).query == ask.Gradient(("w",))
    assert decode_query(message, GRAPH, bound=["X", "w"]).query == ask.Gradient(())  # the engine refuses it: MISSING_INPUT


def test_zeros_of_a_check_mean_that_the_server_chooses() -> None:
    default = ask.Check(("w",))
    asked = decode_query(pb.Query(wrt=["w"], check=pb.Check(own=pb.OwnDerivative())), GRAPH)
    assert asked.query == default and default.directions > 0


def binding(name: str = "w", **fields: Any) -> pb.Binding:
    return pb.Binding(input=name, **(fields or {"inline": types_pb2.Array(dtype=types_pb2.DATA_TYPE_FLOAT64, shape=[3], data=bytes(24))}))


WRONG = [
    ("asks for nothing", pb.Query(wrt=["w"]), "MALFORMED", "ask"),
    ("asks for a value by an input", pb.Query(wrt=["w"], value=pb.Value()), "MALFORMED", "wrt"),
    ("names an input twice in wrt", pb.Query(wrt=["w", "X", "w"], gradient=pb.Gradient()), "SURPLUS_INPUT", "w"),
    ("has no mode for a Jacobian", pb.Query(jacobian=pb.Jacobian(), layout=pb.LAYOUT_DENSE), "MALFORMED", "mode"),
    ("has an unknown mode", pb.Query.FromString(b"\x72\x02\x08\x09\x18\x01"), "UNKNOWN_FIELD", "mode"),
    ("has no layout for a Jacobian", pb.Query(jacobian=pb.Jacobian(mode=pb.MODE_AUTO)), "MALFORMED", "layout"),
    ("has no layout for a Hessian", pb.Query(hessian=pb.Hessian()), "MALFORMED", "layout"),
    ("has no layout for a Gauss-Newton matrix", pb.Query(gauss_newton=pb.GaussNewton(through=["z"])), "MALFORMED", "layout"),
    ("has no layout for a Fisher matrix", pb.Query(fisher=pb.Fisher(family=pb.FAMILY_NORMAL)), "MALFORMED", "layout"),
    ("has no layout for an empirical Fisher matrix", pb.Query(empirical_fisher=pb.EmpiricalFisher()), "MALFORMED", "layout"),
    ("wants a sparse Fisher", pb.Query(fisher=pb.Fisher(family=pb.FAMILY_NORMAL), layout=pb.LAYOUT_SPARSE), "NOT_BUILT_YET", "layout"),
    ("has no family for a Fisher", pb.Query(fisher=pb.Fisher(tangents=[binding()])), "MALFORMED", "family"),
    ("has an unknown family", pb.Query.FromString(b"\xaa\x01\x02\x08\x09\x18\x01"), "UNKNOWN_FIELD", "family"),
    ("goes through too many values", pb.Query(gauss_newton=pb.GaussNewton(through=["z"] * 65, tangents=[binding()])), "TOO_LARGE", "through"),
    (
        "wants an estimate from too many samples",
        pb.Query(hessian_diagonal=pb.HessianDiagonal(estimate=pb.DiagonalEstimate(samples=100_001))),
        "TOO_LARGE",
        "samples",
    ),
    ("has an unknown layout", pb.Query(hessian=pb.Hessian(), layout=9), "UNKNOWN_FIELD", "layout"),  # type: ignore[arg-type]
    ("has an unknown field", pb.Query.FromString(b"\x42\x00\xf8\x01\x01"), "UNKNOWN_FIELD", "Query"),
    ("has a check without subject", pb.Query(check=pb.Check()), "MALFORMED", "subject"),
    ("is of no derivative of ours", pb.Query(check=pb.Check(own=pb.OwnDerivative(derivative=pb.SUBJECT_GIVEN))), "MALFORMED", "derivative"),
    ("has too many directions", pb.Query(check=pb.Check(own=pb.OwnDerivative(), directions=1025)), "TOO_LARGE", "directions"),
    ("wants too many entries named", pb.Query(check=pb.Check(own=pb.OwnDerivative(), max_worst=65)), "TOO_LARGE", "max_worst"),
    ("has one tangent twice", pb.Query(jvp=pb.Jvp(tangents=[binding(), binding()])), "SURPLUS_INPUT", "w"),
    ("has a tangent without value", pb.Query(jvp=pb.Jvp(tangents=[pb.Binding(input="w")])), "MALFORMED", "w"),
    ("has a tangent with a type alone", pb.Query(jvp=pb.Jvp(tangents=[binding(type=types_pb2.Type(dtype=types_pb2.DATA_TYPE_FLOAT64))])), "MALFORMED", "w"),
    ("has a tangent in chunks", pb.Query(hvp=pb.Hvp(tangents=[binding(chunked=pb.ChunkedArray(transfer=1))])), "NOT_BUILT_YET", "w"),
    ("has a tangent of no dtype", pb.Query(jvp=pb.Jvp(tangents=[binding(inline=types_pb2.Array())])), "DTYPE", "w"),
    (
        "has a tangent that does not fill its shape",
        pb.Query(jvp=pb.Jvp(tangents=[binding(inline=types_pb2.Array(dtype=types_pb2.DATA_TYPE_FLOAT64))])),
        "SHAPE",
        "w",
    ),
    (
        "has a given gradient of a wrong digest",
        pb.Query(check=pb.Check(given=pb.GivenGradient(gradient=[binding(blob=types_pb2.ArrayRef(dtype=types_pb2.DATA_TYPE_BOOL))]))),
        "MALFORMED",
        "w",
    ),
]


@pytest.mark.parametrize("message, reason, name", [pytest.param(*rest, id=sentence) for sentence, *rest in WRONG])
def test_a_query_is_refused_that(message: pb.Query, reason: str, name: str) -> None:
    right = pb.Query(value=pb.Value())
    with pytest.raises(Error) as caught:
        decode_queries([right, pb.Query.FromString(message.SerializeToString())], GRAPH)
    assert (caught.value.reason, caught.value.name, caught.value.query) == (reason, name, 1)


@pytest.mark.parametrize("number, reason", [(0, "MALFORMED"), (65, "TOO_LARGE")])
def test_a_request_has_1_to_64_queries(number: int, reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        decode_queries([pb.Query(value=pb.Value())] * number, GRAPH)
    assert (caught.value.reason, caught.value.got, caught.value.query) == (reason, str(number), None)
    assert len(decode_queries([pb.Query(value=pb.Value())] * 64, GRAPH)) == 64


# Bindings.


@pytest.mark.parametrize("value", [VECTOR, array_ref(VECTOR), Type(np.dtype("int32"), (2, 0))], ids=["array", "blob", "type"])
@pytest.mark.parametrize("batched", [False, True])
def test_a_binding_survives_the_wire(value: Any, batched: bool) -> None:
    message = pb.Binding.FromString(encode_binding(Binding("p.layers[0].b", value, batched)).SerializeToString())
    back = decode_binding(message, types=True)
    assert (back.name, back.batched, back.type) == ("p.layers[0].b", batched, Binding("", value).type)
    assert back.inline_bytes == (24 if isinstance(value, np.ndarray) else 0)


def test_the_name_in_a_binding_is_bounded() -> None:
    with pytest.raises(GraphError) as caught:
        decode_bindings([binding("x" * 257)])
    assert caught.value.reason == "TOO_LARGE" and len(caught.value.name) == 256


def test_an_unknown_field_in_a_binding_names_the_input() -> None:
    message = binding()
    message.MergeFromString(b"\x78\x01")
    with pytest.raises(GraphError) as caught:
        decode_bindings([message])
    assert caught.value.reason == "UNKNOWN_FIELD"


def test_a_seed_may_differ_from_point_to_point() -> None:
    message = encode_query(ask.Vjp(("x",)), {"": np.zeros((7, 3))}, batched=[""])
    asked = decode_query(pb.Query.FromString(message.SerializeToString()), GRAPH)
    assert asked.seeds[""].batched and asked.seeds[""].type.shape == (7, 3)
