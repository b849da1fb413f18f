"""What can be told without computing: the plan of a request, and what this server can do."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from backsweep.v1 import backsweep_pb2 as pb
from backsweep.v1 import query_pb2
from backsweep.wire import limits
from backsweep.wire.answers import encode_promise
from backsweep.wire.arrays import NUMBER_OF
from backsweep.wire.blocks import encode_outline, outlined
from backsweep_engine import ops
from backsweep_engine.execute.cluster.platform import numeric_platform
from backsweep_engine.graph import OP_SET
from backsweep_engine.ops.op import Op, Structured, Zero
from backsweep_engine.plan.describe import describe
from backsweep_engine.stopping import Stop
from backsweep_engine.work import Work

from .delivery import plan_key
from .executors import Executors
from .intake import Intake, Taken
from .settings import Settings

SERVED = ("Capabilities", "FindMissing", "Upload", "ReadBlob", "Explain", "Derive", "Compute", "Run", "CancelRun")


def explain(taken: Taken, intake: Intake, executors: Executors, stop: Stop) -> pb.ExplainResponse:
    """The plan and its promise, of each query alone and of all together."""
    work = taken.work
    return pb.ExplainResponse(
        plans=[_query_plan(intake.alone(taken, query, stop), executors) for query in range(len(work.request.asks))],
        promise=encode_promise(work.promise),
        budget_bytes=work.budget.memory_bytes,
        within_budget=_within(work),
        plan_key=plan_key(work),
        platform=numeric_platform(),
    )


def _query_plan(alone: Work, executors: Executors) -> pb.QueryPlan:
    choice = executors.choice(alone)
    return pb.QueryPlan(
        promise=encode_promise(alone.promise),
        text=f"{describe(alone.plan)}\nruns on {choice}",
        outline=encode_outline(outlined(alone.outlines)[0]),
        executor=choice.executor,
        within_budget=_within(alone),
        largest_op=alone.promise.largest_op,
    )


def _within(work: Work) -> bool:
    return work.promise.peak_bytes <= work.budget.memory_bytes


def capabilities(settings: Settings, executors: Executors) -> pb.CapabilitiesResponse:
    """Ops, limits, executors."""
    return pb.CapabilitiesResponse(
        op_set_min=1,
        op_set_max=OP_SET,
        ops=[pb.OpRecord(name=op.name, since=op.since, differentiability=_differentiability(op)) for _, op in sorted(ops.TABLE.items())],
        limits=_limits(settings),
        executors=executors.described(),
        engine_version=_engine_version(),
        platform=numeric_platform(),
        dtypes=list(NUMBER_OF.values()),
        queries=[field.name for field in query_pb2.Query.DESCRIPTOR.oneofs_by_name["ask"].fields],
        rpcs=SERVED,
    )


def _limits(settings: Settings) -> pb.Limits:
    return pb.Limits(
        max_graph_bytes=limits.MAX_GRAPH_BYTES,
        max_nodes=limits.MAX_NODES,
        max_nesting=limits.MAX_NESTING,
        max_constant_bytes=limits.MAX_CONSTANT_BYTES,
        max_blob_bytes=settings.store_bytes,
        max_inline_bytes=limits.MAX_INLINE_BYTES,
        max_result_bytes=limits.MAX_RESULT_BYTES,
        max_chunk_bytes=limits.MAX_CHUNK_BYTES,
        max_queries=limits.MAX_QUERIES,
        max_find_missing=limits.MAX_FIND_MISSING,
        budget_bytes=settings.memory_bytes,
        store_bytes=settings.store_bytes,
        max_streams=settings.max_streams,
        max_call_seconds=settings.max_call_seconds,
        max_run_seconds=settings.max_seconds,
        max_detach_seconds=settings.max_detach_seconds,
        lease_seconds=settings.lease_seconds,
    )


def _differentiability(op: Op) -> pb.Differentiability:
    match op.derivative:
        case Zero():
            return pb.DIFFERENTIABILITY_ZERO
        case Structured():
            return pb.DIFFERENTIABILITY_AS_SUBGRAPHS
    return pb.DIFFERENTIABILITY_KINKS if op.kinks else pb.DIFFERENTIABILITY_SMOOTH


def _engine_version() -> str:
    try:
        return version("backsweep")
    except PackageNotFoundError:
        return "source"
