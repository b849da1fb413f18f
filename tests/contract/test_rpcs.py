"""Every rpc answers, through raw stubs and messages made by hand."""

import math
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import graph_pb2, query_pb2, types_pb2
from support import blobs, raw
from support.raw import SECONDS, Asking, floats, numbers, point

AT = (0.5, -1.0, 2.0)
X = np.array(AT)
GRADIENT = np.sin(X) + X * np.cos(X)
HESSIAN = np.diag(2 * np.cos(X) - X * np.sin(X))
V = np.array([1.0, 2.0, -1.0])
SEED = [raw.binding("x", floats(*V))]
SEEDS = [raw.binding("x", floats(*V, *(2 * V), shape=[2, 3]))]


def test_capabilities_tells_ops_limits_and_executors(ask: Asking) -> None:
    told = ask.stub.Capabilities(pb.CapabilitiesRequest(), timeout=SECONDS)
    names = [op.name for op in told.ops]
    assert names == sorted(names)
    assert {"add", "matmul", "cond", "relu"} <= set(names)
    kinds = {op.name: op.differentiability for op in told.ops}
    assert kinds["exp"] == pb.DIFFERENTIABILITY_SMOOTH
    assert kinds["relu"] == pb.DIFFERENTIABILITY_KINKS
    assert kinds["cond"] == pb.DIFFERENTIABILITY_AS_SUBGRAPHS
    assert (told.op_set_min, told.op_set_max) == (1, 1)
    assert (told.limits.budget_bytes, told.limits.store_bytes, told.limits.lease_seconds) == (256 << 20, 64 << 20, 600)
    assert [executor.name for executor in told.executors] == ["local"]
    assert told.platform
    assert told.engine_version
    assert set(told.queries) == {field.name for field in query_pb2.Query.DESCRIPTOR.oneofs_by_name["ask"].fields}
    assert "Session" not in told.rpcs


def test_a_blob_is_missing_until_it_is_uploaded_and_can_be_read_in_ranges(ask: Asking) -> None:
    data = bytes(range(256)) * 12_000  # three chunks
    named = raw.digest(data)
    asked = pb.FindMissingRequest(digests=[named, named])
    assert [d.sha256 for d in ask.stub.FindMissing(asked, timeout=SECONDS).missing] == [named.sha256]
    ask.upload(data)
    assert not ask.stub.FindMissing(asked, timeout=SECONDS).missing
    for offset, limit in ((0, 0), (5, 0), (5, 7), (1 << 20, 1 << 20), (len(data), 0), (3, 10**9)):
        parts = list(ask.stub.ReadBlob(pb.ReadBlobRequest(digest=named, offset_bytes=offset, limit_bytes=limit), timeout=SECONDS))
        wanted = data[offset : offset + limit] if limit else data[offset:]
        assert b"".join(part.data for part in parts) == wanted
        assert [part.offset_bytes for part in parts] == [offset + (k << 20) for k in range(len(parts))]
        assert all(len(part.data) <= 1 << 20 for part in parts)


def test_one_stream_uploads_several_blobs_also_empty_ones(ask: Asking) -> None:
    several = [b"first", b"", b"third" * 300_000]
    stored = ask.stub.Upload((chunk for data in several for chunk in raw.chunks(data)), timeout=SECONDS).stored
    assert [d.size_bytes for d in stored] == [len(data) for data in several]
    assert [d.sha256 for d in ask.stub.Upload(raw.chunks(several[0]), timeout=SECONDS).stored] == [stored[0].sha256]


C = np.cos(X)


def matrix(block: int = 0, **ask: Any) -> query_pb2.Query:
    return query_pb2.Query(block_rows=block, layout=query_pb2.LAYOUT_DENSE, **ask)


QUERIES: dict[str, tuple[query_pb2.Query, list[np.ndarray]]] = {
    "value": (raw.value(), [np.sum(np.sin(X) * X)]),
    "gradient": (raw.gradient(), [GRADIENT]),
    "value and gradient": (query_pb2.Query(value_and_gradient=query_pb2.ValueAndGradient()), [np.sum(np.sin(X) * X), GRADIENT]),
    "jvp": (query_pb2.Query(jvp=query_pb2.Jvp(tangents=SEED)), [GRADIENT @ V]),
    "vjp": (query_pb2.Query(vjp=query_pb2.Vjp(cotangents=[raw.binding("", floats(2.0, shape=[]))])), [2 * GRADIENT]),
    "hvp": (query_pb2.Query(hvp=query_pb2.Hvp(tangents=SEED)), [HESSIAN @ V]),
    "many jvps": (query_pb2.Query(jvp=query_pb2.Jvp(tangents=SEEDS, many=True)), [np.array([[GRADIENT @ V], [2 * GRADIENT @ V]])]),
    "many hvps": (query_pb2.Query(hvp=query_pb2.Hvp(tangents=SEEDS, many=True)), [np.stack([HESSIAN @ V, 2 * HESSIAN @ V])]),
    "jacobian": (raw.jacobian(), [GRADIENT[None]]),
    "hessian": (raw.hessian(), [HESSIAN]),
    "hessian in blocks": (raw.hessian(block=2), [HESSIAN]),
    "hessian diagonal": (query_pb2.Query(hessian_diagonal=query_pb2.HessianDiagonal()), [np.diag(HESSIAN)]),
    "gauss-newton product": (query_pb2.Query(gauss_newton=query_pb2.GaussNewton(through=["sines"], tangents=SEED)), [2 * C**2 * V]),
    "gauss-newton": (matrix(gauss_newton=query_pb2.GaussNewton(through=["sines"])), [np.diag(2 * C**2)]),
    "many gauss-newton products": (
        query_pb2.Query(gauss_newton=query_pb2.GaussNewton(through=["sines"], tangents=SEEDS, many=True)),
        [np.stack([2 * C**2 * V, 4 * C**2 * V])],
    ),
    "fisher product": (query_pb2.Query(fisher=query_pb2.Fisher(family=query_pb2.FAMILY_POISSON, tangents=SEED)), [np.exp(np.sin(X)) * C**2 * V]),
    "fisher in blocks": (matrix(2, fisher=query_pb2.Fisher(family=query_pb2.FAMILY_NORMAL)), [np.diag(C**2)]),
    "empirical fisher product": (query_pb2.Query(empirical_fisher=query_pb2.EmpiricalFisher(tangents=SEED)), [C**2 * V]),
    "empirical fisher": (matrix(empirical_fisher=query_pb2.EmpiricalFisher()), [np.diag(C**2)]),
}


def graph_for(name: str) -> graph_pb2.Graph:
    """sum(sin(x) x); for a Gauss-Newton two outputs, sin(x) and the sum of its squares; for a Fisher sin(x)."""
    if "gauss" in name:
        message = blobs.small()
        message.functions[0].CopyFrom(blobs.function([("x", blobs.type_of(3))], [(0, [0], 0), (1, [1, 1], 0), (2, [2], 1)], [("sines", 1), ("loss", 3)]))
        return message
    return raw.sines(3) if "fisher" in name else blobs.small()


@pytest.mark.parametrize("name", QUERIES)
def test_compute_and_run_answer_every_query_alike(ask: Asking, name: str) -> None:
    query, wanted = QUERIES[name]
    graph = ask.graph(graph_for(name))
    answer = ask.compute(graph, point(*AT), query)
    (result,) = answer.results
    arrays = list(result.arrays.arrays) if result.WhichOneof("answer") == "arrays" else [result.matrix.dense]
    for array, right in zip(arrays, wanted, strict=True):
        np.testing.assert_allclose(numbers(array), right, rtol=1e-14, atol=1e-15)
    assert answer.usage.executor == "local"
    assert answer.usage.blocks >= 1
    events = list(ask.stub.Run(run_request(graph, query), timeout=SECONDS))
    assert [event.WhichOneof("event") for event in (events[0], events[-1])] == ["accepted", "done"]
    (outline,) = events[0].accepted.outlines
    whole = {k: array.data for k, array in enumerate(arrays)}
    for part, outlined in enumerate(outline.parts):
        assert list(outlined.type.shape) == list(arrays[part].shape)
        if not outlined.in_blocks:
            done = events[-1].done.results[0]
            array = done.matrix.dense if done.HasField("matrix") else done.arrays.arrays[part]
            assert array.data == whole[part]
    chunks = [event.block for event in events if event.HasField("block")]
    if any(part.in_blocks for part in outline.parts):
        assert join(chunks, outline.parts[0], numbers(arrays[0]).dtype).tobytes() == whole[0]


def test_a_check_is_answered_with_a_verdict(ask: Asking) -> None:
    graph = ask.graph(blobs.small())
    own = query_pb2.Query(check=query_pb2.Check(own=query_pb2.OwnDerivative()))
    wrong = GRADIENT + np.array([0, 0.01, 0])
    given = query_pb2.Query(check=query_pb2.Check(given=query_pb2.GivenGradient(gradient=[raw.binding("x", floats(*wrong))])))
    right, refuted = ask.compute(graph, point(*AT), own, given).results
    assert right.verdict.outcome == query_pb2.OUTCOME_RIGHT
    assert refuted.verdict.outcome == query_pb2.OUTCOME_WRONG
    assert list(refuted.verdict.worst[0].index) == [1]


def test_several_queries_share_a_point_and_come_in_order(ask: Asking) -> None:
    answer = ask.compute(ask.graph(blobs.small()), point(*AT), raw.gradient(), raw.hessian(), raw.value())
    assert [result.WhichOneof("answer") for result in answer.results] == ["arrays", "matrix", "arrays"]
    np.testing.assert_allclose(numbers(answer.results[2].arrays.arrays[0]), np.sum(np.sin(X) * X))


def test_a_batch_of_points_is_one_call(ask: Asking) -> None:
    points = np.stack([X, 2 * X, 3 * X, 4 * X])
    bound = [raw.binding("x", floats(*points.ravel(), shape=points.shape), batched=True)]
    answer = ask.compute(ask.graph(blobs.small()), bound, raw.gradient())
    np.testing.assert_allclose(numbers(answer.results[0].arrays.arrays[0]), np.sin(points) + points * np.cos(points), rtol=1e-14)


def test_an_input_may_be_a_blob(ask: Asking) -> None:
    bound = [raw.binding("x", ask.array(X))]
    answer = ask.compute(ask.graph(blobs.small()), bound, raw.gradient("x"))
    np.testing.assert_allclose(numbers(answer.results[0].arrays.arrays[0]), GRADIENT, rtol=1e-14)


def test_nan_is_delivered_and_the_node_that_made_it_is_named(ask: Asking) -> None:
    message = blobs.small()
    message.ops[0] = "log"
    answer = ask.compute(ask.graph(message), point(0.5, -1.0, 2.0), raw.value(), raw.gradient())
    assert math.isnan(numbers(answer.results[0].arrays.arrays[0]))
    np.testing.assert_array_equal(np.isnan(numbers(answer.results[0].arrays.arrays[0])), True)
    (note,) = answer.results[0].non_finite
    assert (note.part, note.node, note.op, note.kind, note.in_derivative) == (0, 1, "log", query_pb2.NON_FINITE_KIND_NAN, False)


def test_a_note_names_the_input_its_array_is_of_and_none_for_a_matrix(ask: Asking) -> None:
    message = blobs.small()
    message.ops[0] = "log"
    answer = ask.compute(ask.graph(message), point(0.5, -1.0, 2.0), raw.gradient(), raw.jacobian())
    assert [[note.output for note in result.non_finite] for result in answer.results] == [["x"], [""]]


def test_explain_tells_the_plan_without_inputs(ask: Asking) -> None:
    told = ask.stub.Explain(pb.ExplainRequest(graph=ask.graph(blobs.small()), queries=[raw.gradient(), raw.hessian(block=1)]), timeout=SECONDS)
    assert [plan.executor for plan in told.plans] == ["local", "local"]
    assert [plan.promise.blocks for plan in told.plans] == [1, 3]
    assert told.within_budget
    assert told.budget_bytes == 256 << 20
    assert 0 < told.promise.peak_bytes < 1 << 20
    assert len(told.plan_key) == 32
    assert "3 blocks of 1" in told.plans[1].text


def test_explain_tells_of_a_plan_over_the_budget_without_an_error(ask: Asking) -> None:
    told = ask.stub.Explain(pb.ExplainRequest(graph=ask.graph(raw.sines(40_000)), queries=[raw.jacobian(block=40_000)]), timeout=SECONDS)
    assert not told.within_budget
    assert not told.plans[0].within_budget
    assert told.promise.peak_bytes > 256 << 20
    assert told.plans[0].largest_op


DERIVATIVES = {
    pb.DERIVATIVE_GRADIENT: (["x"], 1),
    pb.DERIVATIVE_VALUE_AND_GRADIENT: (["x"], 2),
    pb.DERIVATIVE_JVP: (["x", "tangent"], 1),
    pb.DERIVATIVE_VJP: (["x", "cotangent"], 1),
    pb.DERIVATIVE_HVP: (["x", "tangent"], 1),
}


@pytest.mark.parametrize("kind", DERIVATIVES, ids=pb.Derivative.Name)
def test_derive_gives_a_graph_that_can_be_read_and_asked(ask: Asking, kind: pb.Derivative) -> None:
    inputs, outputs = DERIVATIVES[kind]
    derived = ask.stub.Derive(pb.DeriveRequest(graph=ask.graph(blobs.small()), derivative=kind), timeout=SECONDS)
    assert (len(derived.inputs), len(derived.outputs)) == (len(inputs), outputs)
    data = b"".join(part.data for part in ask.stub.ReadBlob(pb.ReadBlobRequest(digest=derived.graph), timeout=SECONDS))
    assert raw.digest(data).sha256 == derived.graph.sha256
    graph = graph_pb2.Graph.FromString(data)
    assert sum(len(function.inputs) + len(function.op) for function in graph.functions) == derived.nodes
    assert derived.nodes_before == 4
    bound = [raw.binding(one.name, floats(*(np.ones(3) if list(one.type.shape) == [3] else [1.0]), shape=one.type.shape)) for one in derived.inputs]
    answer = ask.compute(derived.graph, bound, raw.value())
    assert len(answer.results[0].arrays.arrays) == outputs


def test_a_derivative_can_be_derived_again(ask: Asking) -> None:
    gradient = ask.stub.Derive(pb.DeriveRequest(graph=ask.graph(blobs.small()), derivative=pb.DERIVATIVE_GRADIENT), timeout=SECONDS)
    twice = ask.stub.Derive(pb.DeriveRequest(graph=gradient.graph, derivative=pb.DERIVATIVE_JVP), timeout=SECONDS)
    bound = [raw.binding(twice.inputs[0].name, floats(*X)), raw.binding(twice.inputs[1].name, floats(*V))]
    answer = ask.compute(twice.graph, bound, raw.value())
    np.testing.assert_allclose(numbers(answer.results[0].arrays.arrays[0]), HESSIAN @ V, rtol=1e-14)


@pytest.mark.parametrize("service", ["", "backsweep.v1.BacksweepService"])
def test_health_is_served(ask: Asking, service: str) -> None:
    told = health_pb2_grpc.HealthStub(ask.channel).Check(health_pb2.HealthCheckRequest(service=service), timeout=SECONDS)
    assert told.status == health_pb2.HealthCheckResponse.SERVING


def test_reflection_lists_the_services(ask: Asking) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(ask.channel)
    (told,) = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=SECONDS)
    assert {service.name for service in told.list_services_response.service} >= {"backsweep.v1.BacksweepService", "grpc.health.v1.Health"}


def run_request(graph: types_pb2.Digest, query: query_pb2.Query) -> pb.RunRequest:
    return pb.RunRequest(graph=graph, bindings=point(*AT), queries=[query], run_id=np.random.default_rng().bytes(16))


def join(chunks: list[pb.BlockChunk], part: pb.Part, dtype: np.dtype) -> np.ndarray:
    """The whole part; each of these blocks is one chunk."""
    array = np.full(tuple(part.type.shape), np.nan, dtype)
    for chunk in chunks:
        block = np.frombuffer(chunk.data, dtype).reshape(tuple(chunk.shape))
        if chunk.axis == pb.AXIS_COLUMN:
            array[:, chunk.start : chunk.stop] = block
        elif chunk.axis == pb.AXIS_WHOLE:
            array[...] = block
        else:
            array[chunk.start : chunk.stop] = block
    return array
