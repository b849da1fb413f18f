"""Every error of a request: its status, reason and place, and a server that goes on afterwards.

A row is (what is wrong, how to ask for it, status, reason, what the metadata must hold). A metadata
value that ends in * is a beginning.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import graph_pb2, query_pb2, types_pb2
from support import blobs, raw
from support.raw import SECONDS, Asking, floats, point, refusal

Change = Callable[[graph_pb2.Graph], object]
Row = tuple[Callable[[Asking], Any], str, str, dict[str, str]]

AT = (0.5, -1.0, 2.0)


def changed(change: Change, graph: Callable[[], graph_pb2.Graph] = blobs.small) -> Callable[[Asking], Any]:
    """Compute on a graph after a change to its message."""

    def ask(asked: Asking) -> Any:
        message = graph()
        change(message)
        return asked.compute(asked.graph(message), point(*AT), raw.gradient())

    return ask


def blob(data: bytes) -> Callable[[Asking], Any]:
    """Compute on a graph of these bytes."""
    return lambda asked: asked.compute(asked.upload(data), point(*AT), raw.gradient())


def small(*queries: query_pb2.Query, bindings: list[query_pb2.Binding] | None = None) -> Callable[[Asking], Any]:
    """Compute on the small graph."""
    return lambda asked: asked.compute(asked.graph(blobs.small()), point(*AT) if bindings is None else bindings, *(queries or (raw.gradient(),)))


def sines(*queries: query_pb2.Query, n: int = 3) -> Callable[[Asking], Any]:
    """Compute on a graph with a vector output."""
    return lambda asked: asked.compute(asked.graph(raw.sines(n)), [raw.binding("x", floats(*np.ones(n)))], *queries)


def run(**fields: Any) -> Callable[[Asking], Any]:
    def ask(asked: Asking) -> Any:
        request = pb.RunRequest(graph=asked.graph(blobs.small()), bindings=point(*AT), queries=[raw.gradient()], run_id=bytes(16))
        request.MergeFrom(pb.RunRequest(**fields))
        return asked.stub.Run(request, timeout=SECONDS)

    return ask


def upload(*chunks: pb.UploadRequest) -> Callable[[Asking], Any]:
    return lambda asked: asked.stub.Upload(iter(chunks), timeout=SECONDS)


def set_first(column: str, value: int) -> Change:
    return lambda g: getattr(g.functions[0], column).__setitem__(0, value)


def unknown_field(message: Any) -> Any:
    """The message with a field no server knows."""
    return type(message).FromString(message.SerializeToString() + b"\xf8\x3f\x01")


DATA = b"some bytes"
NAMED = raw.digest(DATA)
SIZE = {"got": "15 bytes", "allowed": "24 bytes*"}
TANGENT = query_pb2.Query(jvp=query_pb2.Jvp())
INTEGERS = types_pb2.Array(dtype=types_pb2.DATA_TYPE_INT64, shape=[3], data=bytes(24))
TYPE_ALONE = [query_pb2.Binding(input="x", type=blobs.type_of(3))]

GRAPHS: dict[str, Row] = {
    "unknown op": (changed(lambda g: g.ops.__setitem__(0, "sinn")), "INVALID_ARGUMENT", "UNKNOWN_OP", {"node": "1", "op": "sinn", "got": "*sinn*"}),
    "wrong arity": (changed(lambda g: g.ops.__setitem__(0, "add")), "INVALID_ARGUMENT", "ARITY", {"node": "1", "op": "add", "got": "1", "allowed": "2"}),
    "no such result": (changed(set_first("operand_result", 1)), "INVALID_ARGUMENT", "ARITY", {"node": "1"}),
    "missing attribute": (changed(lambda g: g.functions[0].attribute.__setitem__(2, 0)), "INVALID_ARGUMENT", "ATTRIBUTE", {"node": "3", "op": "sum"}),
    "wrong dtype for an op": (
        changed(lambda g: setattr(g.functions[0].inputs[0].type, "dtype", types_pb2.DATA_TYPE_BOOL)),
        "INVALID_ARGUMENT",
        "DTYPE",
        {"node": "1", "op": "sin", "got": "bool*", "allowed": "float*"},
    ),
    "wrong shape for an op": (
        changed(lambda g: None, lambda: two_shapes()),
        "INVALID_ARGUMENT",
        "SHAPE",
        {"node": "2", "op": "multiply", "got": "float64[3] and float64"},
    ),
    "negative length": (changed(lambda g: g.functions[0].inputs[0].type.shape.__setitem__(0, -3)), "INVALID_ARGUMENT", "SHAPE", {"name": "x"}),
    "a node names a later one": (changed(set_first("operand_node", 2)), "INVALID_ARGUMENT", "ORDER", {"node": "1", "got": "2", "allowed": "*0*"}),
    "a node names itself": (changed(set_first("operand_node", 1)), "INVALID_ARGUMENT", "ORDER", {"node": "1"}),
    "a function names itself": (
        changed(lambda g: setattr(g.attributes[0].value[0], "function", 2), blobs.branching),
        "INVALID_ARGUMENT",
        "ORDER",
        {},
    ),
    "columns of unequal length": (changed(lambda g: g.functions[0].operand_count.append(1)), "INVALID_ARGUMENT", "MALFORMED", {}),
    "op_set of the future": (changed(lambda g: setattr(g, "op_set", 2)), "INVALID_ARGUMENT", "OP_SET", {"got": "2", "allowed": "1*"}),
    "no functions": (changed(lambda g: g.ClearField("functions")), "INVALID_ARGUMENT", "MALFORMED", {"allowed": "*"}),
    "truncated bytes": (blob(blobs.small().SerializeToString()[:-5]), "INVALID_ARGUMENT", "MALFORMED", {}),
    "bytes that are no graph": (blob(b"\xff" * 100), "INVALID_ARGUMENT", "MALFORMED", {}),
    "unknown field": (blob(unknown_field(blobs.small()).SerializeToString()), "INVALID_ARGUMENT", "UNKNOWN_FIELD", {}),
    "oversized graph": (blob(bytes(5 << 20)), "RESOURCE_EXHAUSTED", "TOO_LARGE", {"allowed": "*4194304*"}),
    "too many nodes": (blob(raw.sines(1, 100_001).SerializeToString()), "RESOURCE_EXHAUSTED", "TOO_LARGE", {"allowed": "*100000*"}),
}

REQUESTS: dict[str, Row] = {
    "no graph": (lambda ask: ask.stub.Compute(pb.ComputeRequest(), timeout=SECONDS), "INVALID_ARGUMENT", "MALFORMED", {"name": "graph"}),
    "a digest that is none": (
        lambda ask: ask.compute(types_pb2.Digest(sha256=b"short", size_bytes=1), []),
        "INVALID_ARGUMENT",
        "MALFORMED",
        {"got": "5 bytes"},
    ),
    "missing input": (small(bindings=[]), "INVALID_ARGUMENT", "MISSING_INPUT", {"allowed": "'x'"}),
    "surplus input": (small(bindings=[*point(*AT), raw.binding("z", floats(1.0))]), "INVALID_ARGUMENT", "SURPLUS_INPUT", {"got": "'z'", "allowed": "'x'"}),
    "an input bound twice": (small(bindings=point(*AT) * 2), "INVALID_ARGUMENT", "SURPLUS_INPUT", {"name": "x"}),
    "wrong dtype": (small(bindings=[raw.binding("x", INTEGERS)]), "INVALID_ARGUMENT", "DTYPE", {"node": "0", "got": "int64[3]", "allowed": "float64[3]"}),
    "wrong shape": (small(bindings=point(1.0, 2.0)), "INVALID_ARGUMENT", "SHAPE", {"node": "0", "got": "float64[2]", "allowed": "float64[3]"}),
    "truncated array": (
        small(bindings=[raw.binding("x", types_pb2.Array(dtype=1, shape=[3], data=bytes(15)))]),
        "INVALID_ARGUMENT",
        "SHAPE",
        {"name": "x", **SIZE},
    ),
    "oversized array": (
        small(bindings=[raw.binding("x", types_pb2.Array(dtype=1, shape=[3], data=bytes(25)))]),
        "INVALID_ARGUMENT",
        "SHAPE",
        {"got": "25 bytes"},
    ),
    "no dtype": (small(bindings=[raw.binding("x", types_pb2.Array(shape=[3], data=bytes(24)))]), "INVALID_ARGUMENT", "DTYPE", {"name": "x"}),
    "a dtype of the future": (small(bindings=[raw.binding("x", types_pb2.Array(dtype=6, shape=[3], data=bytes(6)))]), "INVALID_ARGUMENT", "DTYPE", {}),  # type: ignore[arg-type]
    "a type alone": (small(bindings=TYPE_ALONE), "INVALID_ARGUMENT", "MALFORMED", {"name": "x", "hint": "*Explain*"}),
    "a binding of the future": (small(bindings=[unknown_field(point(*AT)[0])]), "INVALID_ARGUMENT", "UNKNOWN_FIELD", {}),
    "too many inline bytes": (small(bindings=[raw.binding("x", floats(*np.ones(270_000)))]), "RESOURCE_EXHAUSTED", "TOO_LARGE", {"name": "max_inline_bytes"}),
    "a message over gRPC's limit": (small(bindings=[raw.binding("x", floats(*np.ones(600_000)))]), "RESOURCE_EXHAUSTED", "", {}),
}

QUERIES: dict[str, Row] = {
    "nothing asked": (lambda ask: ask.compute(ask.graph(blobs.small()), point(*AT)), "INVALID_ARGUMENT", "MALFORMED", {"name": "max_queries"}),
    "an empty query": (small(query_pb2.Query()), "INVALID_ARGUMENT", "MALFORMED", {"query": "0"}),
    "a query of the future": (small(raw.gradient(), unknown_field(raw.gradient())), "INVALID_ARGUMENT", "UNKNOWN_FIELD", {"query": "1"}),
    "too many queries": (small(*[raw.value()] * 65), "RESOURCE_EXHAUSTED", "TOO_LARGE", {"name": "max_queries", "got": "65"}),
    "gradient of a vector": (sines(raw.gradient()), "INVALID_ARGUMENT", "NOT_SCALAR", {"node": "2", "got": "float64[3]", "hint": "*jacobian*"}),
    "hessian of a vector": (sines(raw.hessian()), "INVALID_ARGUMENT", "NOT_SCALAR", {"node": "2"}),
    "a Gauss-Newton through its only output": (
        small(query_pb2.Query(layout=query_pb2.LAYOUT_DENSE, gauss_newton=query_pb2.GaussNewton(through=[""]))),
        "INVALID_ARGUMENT",
        "NOT_SCALAR",
        {"query": "0"},
    ),
    "a Gauss-Newton through no value": (
        small(query_pb2.Query(layout=query_pb2.LAYOUT_DENSE, gauss_newton=query_pb2.GaussNewton(through=["z"]))),
        "INVALID_ARGUMENT",
        "NOT_THROUGH",
        {"query": "0", "name": "z", "hint": "*bs.name*"},
    ),
    "a Fisher of no logits": (
        small(query_pb2.Query(layout=query_pb2.LAYOUT_DENSE, fisher=query_pb2.Fisher(family=query_pb2.FAMILY_CATEGORICAL))),
        "INVALID_ARGUMENT",
        "SHAPE",
        {"node": "3", "got": "float64"},
    ),
    "an empirical Fisher of a sum": (
        small(query_pb2.Query(layout=query_pb2.LAYOUT_DENSE, empirical_fisher=query_pb2.EmpiricalFisher())),
        "INVALID_ARGUMENT",
        "SHAPE",
        {"node": "3", "hint": "*per example*"},
    ),
    "wrt an unknown input": (small(raw.gradient("z")), "INVALID_ARGUMENT", "SURPLUS_INPUT", {"got": "'z'", "allowed": "'x'"}),
    "wrt an input twice": (small(raw.gradient("x", "x")), "INVALID_ARGUMENT", "SURPLUS_INPUT", {"name": "x"}),
    "wrt a bool": (
        lambda ask: ask.compute(
            ask.graph(blobs.branching()),
            [raw.binding("p", types_pb2.Array(dtype=types_pb2.DATA_TYPE_BOOL, data=b"\1")), *point(*AT)],
            query_pb2.Query(wrt=["p"], layout=query_pb2.LAYOUT_DENSE, jacobian=query_pb2.Jacobian(mode=query_pb2.MODE_AUTO)),
        ),
        "INVALID_ARGUMENT",
        "NOT_DIFFERENTIABLE",
        {"got": "bool", "allowed": "float64*"},
    ),
    "a missing tangent": (small(TANGENT), "INVALID_ARGUMENT", "MISSING_INPUT", {"allowed": "'x'"}),
    "a tangent of another shape": (small(query_pb2.Query(jvp=query_pb2.Jvp(tangents=point(1.0)))), "INVALID_ARGUMENT", "SHAPE", {"got": "float64[1]"}),
    "a surplus tangent": (
        small(query_pb2.Query(jvp=query_pb2.Jvp(tangents=[*point(*AT), raw.binding("z", floats(1.0))]))),
        "INVALID_ARGUMENT",
        "SURPLUS_INPUT",
        {"got": "'z'"},
    ),
    "a jacobian without a mode": (sines(raw.jacobian(mode=query_pb2.MODE_UNSPECIFIED)), "INVALID_ARGUMENT", "MALFORMED", {"name": "mode", "query": "0"}),
    "a matrix without a layout": (small(query_pb2.Query(hessian=query_pb2.Hessian())), "INVALID_ARGUMENT", "MALFORMED", {"name": "layout"}),
    "a sparse matrix that is not sparse enough": (
        lambda ask: refused_before_work(ask, raw.jacobian(block=40_000, layout=query_pb2.LAYOUT_SPARSE)),
        "RESOURCE_EXHAUSTED",
        "OVER_BUDGET",
        {"name": "layout", "got": "*positions*", "allowed": f"{256 << 20} bytes", "hint": "*bind*"},
    ),
    "an estimate from one sample": (
        small(query_pb2.Query(hessian_diagonal=query_pb2.HessianDiagonal(estimate=query_pb2.DiagonalEstimate(samples=1)))),
        "INVALID_ARGUMENT",
        "MALFORMED",
        {"name": "samples", "got": "1"},
    ),
    "too many samples": (
        small(query_pb2.Query(hessian_diagonal=query_pb2.HessianDiagonal(estimate=query_pb2.DiagonalEstimate(samples=100_001)))),
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        {"name": "samples", "got": "100001"},
    ),
    "a check of nothing": (small(query_pb2.Query(check=query_pb2.Check())), "INVALID_ARGUMENT", "MALFORMED", {"name": "subject"}),
    "too many directions": (
        small(query_pb2.Query(check=query_pb2.Check(own=query_pb2.OwnDerivative(), directions=2000))),
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        {"name": "directions", "got": "2000"},
    ),
    "over the budget": (
        lambda ask: refused_before_work(ask, raw.jacobian(block=40_000)),
        "RESOURCE_EXHAUSTED",
        "OVER_BUDGET",
        {"op": "*", "got": "*bytes*", "allowed": f"{256 << 20} bytes", "hint": "*"},
    ),
    "results too large for Compute": (sines(raw.jacobian(), n=600), "RESOURCE_EXHAUSTED", "RESULT_TOO_LARGE", {"got": "2880000 bytes", "hint": "*Run*"}),
}

BLOBS: dict[str, Row] = {
    "digest mismatch": (
        upload(pb.UploadRequest(digest=raw.digest(DATA), data=b"other byte")),
        "INVALID_ARGUMENT",
        "DIGEST_MISMATCH",
        {"allowed": NAMED.sha256.hex()},
    ),
    "more bytes than the digest says": (upload(pb.UploadRequest(digest=NAMED, data=DATA + b"!")), "INVALID_ARGUMENT", "MALFORMED", {"allowed": "10"}),
    "fewer bytes than the digest says": (
        upload(pb.UploadRequest(digest=raw.digest(b"0123456789a"), data=DATA)),
        "INVALID_ARGUMENT",
        "MALFORMED",
        {"got": "10 bytes"},
    ),
    "a chunk out of order": (upload(pb.UploadRequest(digest=NAMED, offset_bytes=3, data=DATA)), "INVALID_ARGUMENT", "MALFORMED", {"got": "3", "allowed": "0"}),
    "a chunk without a digest": (upload(pb.UploadRequest(data=DATA)), "INVALID_ARGUMENT", "MALFORMED", {"name": "digest"}),
    "a chunk over 1 MiB": (upload(pb.UploadRequest(digest=NAMED, data=bytes((1 << 20) + 1))), "RESOURCE_EXHAUSTED", "TOO_LARGE", {"name": "max_chunk_bytes"}),
    "a blob larger than the store": (
        upload(pb.UploadRequest(digest=types_pb2.Digest(sha256=bytes(32), size_bytes=1 << 40), data=DATA)),
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        {"name": "max_blob_bytes", "got": f"{1 << 40} bytes"},
    ),
    "a negative size": (upload(pb.UploadRequest(digest=types_pb2.Digest(sha256=bytes(32), size_bytes=-1))), "INVALID_ARGUMENT", "MALFORMED", {"got": "-1"}),
    "too many digests": (
        lambda ask: ask.stub.FindMissing(pb.FindMissingRequest(digests=[NAMED] * 1001), timeout=SECONDS),
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        {"name": "max_find_missing"},
    ),
    "an offset past the end": (
        lambda ask: ask.stub.ReadBlob(pb.ReadBlobRequest(digest=NAMED, offset_bytes=11), timeout=SECONDS),
        "INVALID_ARGUMENT",
        "MALFORMED",
        {"name": "offset_bytes"},
    ),
    "a range of no blob": (lambda ask: ask.stub.ReadBlob(pb.ReadBlobRequest(), timeout=SECONDS), "INVALID_ARGUMENT", "MALFORMED", {"name": "digest"}),
}

OTHERS: dict[str, Row] = {
    "derive nothing": (lambda ask: derive(ask), "INVALID_ARGUMENT", "MALFORMED", {"name": "derivative"}),
    "derive by an unknown input": (
        lambda ask: derive(ask, derivative=pb.DERIVATIVE_JVP, wrt=["z"]),
        "INVALID_ARGUMENT",
        "SURPLUS_INPUT",
        {"got": "'z'"},
    ),
    "derive the gradient of a vector": (
        lambda ask: ask.stub.Derive(pb.DeriveRequest(graph=ask.graph(raw.sines(2)), derivative=pb.DERIVATIVE_GRADIENT), timeout=SECONDS),
        "INVALID_ARGUMENT",
        "NOT_SCALAR",
        {"got": "float64[2]"},
    ),
    "a run_id of 15 bytes": (run(run_id=bytes(15)), "INVALID_ARGUMENT", "MALFORMED", {"name": "run_id"}),
    "seconds that are no number": (run(max_seconds=float("nan")), "INVALID_ARGUMENT", "MALFORMED", {"name": "max_seconds"}),
    "negative seconds": (run(detach_seconds=-1.0), "INVALID_ARGUMENT", "MALFORMED", {"name": "detach_seconds"}),
    "blocks of another plan": (run(have=pb.Have(plan_key=bytes(32), platform="x")), "FAILED_PRECONDITION", "PLAN_CHANGED", {"name": "have"}),
    "more ranges than may be held": (
        run(have=pb.Have(ranges=[pb.BlockRange()] * 10_001)),
        "RESOURCE_EXHAUSTED",
        "TOO_LARGE",
        {"name": "have", "got": "10001", "allowed": "at most 10000"},
    ),
    "a run that is not there": (
        lambda ask: ask.stub.CancelRun(pb.CancelRunRequest(run_id=bytes(16)), timeout=SECONDS),
        "NOT_FOUND",
        "RUN_UNKNOWN",
        {"name": "run_id"},
    ),
    "sessions": (lambda ask: ask.stub.Session(iter([]), timeout=SECONDS), "UNIMPLEMENTED", "NOT_BUILT_YET", {"hint": "*Compute*"}),
    "an rpc that is not there": (lambda ask: ask.channel.unary_unary("/backsweep.v1.BacksweepService/Nothing")(b"", timeout=SECONDS), "UNIMPLEMENTED", "", {}),
}

ROWS = [(kind, name) for kind in ("graphs", "requests", "queries", "blobs", "others") for name in globals()[kind.upper()]]


def two_shapes() -> graph_pb2.Graph:
    """x times its own sum, without a broadcast."""
    message = blobs.small()
    message.ops[:] = ["sum", "multiply"]
    message.functions[0].CopyFrom(blobs.function([("x", blobs.type_of(3))], [(0, [0], 1), (1, [0, 1], 0)], [("", 2)]))
    return message


def derive(ask: Asking, **fields: Any) -> Any:
    return ask.stub.Derive(pb.DeriveRequest(graph=ask.graph(blobs.small()), **fields), timeout=SECONDS)


def refused_before_work(ask: Asking, query: query_pb2.Query) -> Iterator[pb.RunResponse]:
    """Results of 12 GiB: refused at once, or the machine would notice."""
    request = pb.RunRequest(
        graph=ask.graph(raw.sines(40_000)), bindings=[raw.binding("x", ask.array(np.ones(40_000)))], run_id=b"0123456789abcdef", queries=[with_wrt(query)]
    )
    stream: Iterator[pb.RunResponse] = ask.stub.Run(request, timeout=5.0)
    return stream


def with_wrt(query: query_pb2.Query) -> query_pb2.Query:
    query.wrt.append("x")
    return query


@pytest.mark.parametrize("kind, name", ROWS)
def test_a_bad_request_is_refused_with_status_reason_and_place_and_the_server_goes_on(ask: Asking, kind: str, name: str) -> None:
    call, status, reason, metadata = globals()[kind.upper()][name]
    refused = refusal(lambda: call(ask))
    assert (refused.code, refused.reason) == (status, reason), refused
    for key, wanted in metadata.items():
        assert matches(refused.metadata.get(key, ""), wanted), refused
    if reason:
        assert refused.message
        assert not any(word in str(refused) for word in ("Traceback", "numpy.", "site-packages", ".py")), refused
    assert ask.gradient(*AT) == GRADIENT


GRADIENT = [float(np.sin(x) * 1 + np.cos(x) * x) for x in AT]


def matches(got: str, wanted: str) -> bool:
    pieces = wanted.split("*")
    return got == wanted or (len(pieces) > 1 and bool(got) and got.startswith(pieces[0]) and all(piece in got for piece in pieces))
