"""The server with Ray behind it: started when first needed, the same bits, ended with the server."""

import time

import numpy as np
import pytest

from backsweep.v1 import backsweep_pb2 as pb
from support import raw
from support.raw import Asking, asking, floats
from support.server import serving

pytestmark = pytest.mark.cluster

N = 60
BOUND = [raw.binding("x", floats(*np.linspace(-1, 1, N)))]
RAY_STARTS_SECONDS = 90.0


def run(ask: Asking, block: int, have: pb.Have | None = None) -> list[pb.RunResponse]:
    request = pb.RunRequest(graph=ask.graph(raw.sines(N, 5)), bindings=BOUND, queries=[raw.jacobian(block)], run_id=bytes(15) + bytes([block]), have=have)
    return list(ask.stub.Run(request, timeout=RAY_STARTS_SECONDS))


def chunks(events: list[pb.RunResponse]) -> dict[int, bytes]:
    return {event.block.start: event.block.data for event in events if event.HasField("block")}


def executors(ask: Asking) -> list[tuple[str, int]]:
    told = ask.stub.Capabilities(pb.CapabilitiesRequest(), timeout=raw.SECONDS)
    return [(one.name, one.lanes) for one in told.executors]


def test_blocks_go_over_the_cluster_and_small_work_stays_here(ask: Asking) -> None:
    here = run(ask, 10)
    with serving(executor="cluster", lanes=2) as server, asking(server.address) as clustered:
        assert executors(clustered) == [("cluster", 0), ("local", 1)]
        assert run(clustered, N)[-1].done.usage.executor == "local"
        assert executors(clustered) == [("cluster", 0), ("local", 1)]
        there = run(clustered, 10)
        assert executors(clustered)[0] == ("cluster", 2)
        # Begun in one process, gone on with on lanes.
        held = [pb.BlockRange(axis=pb.AXIS_COLUMN, start=10, stop=40)]
        rest = run(clustered, 10, pb.Have(plan_key=here[0].accepted.plan_key, platform=here[0].accepted.platform, ranges=held))
        assert server.stop() == 0
    assert there[0].accepted.executor == "cluster"
    assert (there[-1].done.usage.executor, there[-1].done.usage.blocks) == ("cluster", 6)
    assert there[0].accepted.plan_key == here[0].accepted.plan_key
    assert there[0].accepted.platform == here[0].accepted.platform
    assert chunks(there) == chunks(here)
    assert (rest[-1].done.usage.executor, rest[-1].done.usage.blocks) == ("cluster", 3)
    assert chunks(rest) == {start: data for start, data in chunks(here).items() if not 10 <= start < 40}


def explained(ask: Asking, block: int) -> pb.QueryPlan:
    request = pb.ExplainRequest(graph=ask.graph(raw.sines(N, 5)), bindings=BOUND, queries=[raw.jacobian(block)])
    return ask.stub.Explain(request, timeout=raw.SECONDS).plans[0]


def test_auto_starts_no_ray_for_small_work_and_says_why() -> None:
    with serving(executor="auto", lanes=2) as server, asking(server.address) as auto:
        assert executors(auto) == [("local", 1), ("cluster", 0)]
        plan = explained(auto, 10)
        assert plan.executor == "local"
        assert "runs on local: 6 blocks of " in plan.text and "over 2 lanes " in plan.text and "Ray's start included" in plan.text
        events = run(auto, 10)
        assert (events[0].accepted.executor, events[-1].done.usage.executor, events[-1].done.usage.workers) == ("local", "local", 1)
        assert executors(auto) == [("local", 1), ("cluster", 0)], "it started Ray"


def test_explain_says_where_and_why_of_every_executor(ask: Asking) -> None:
    assert explained(ask, 10).text.endswith("runs on local: this server has no lanes")
    with serving(executor="cluster") as server, asking(server.address) as clustered:
        assert explained(clustered, 10).text.endswith("runs on cluster: what is cut into blocks goes to the lanes, as set")
        assert explained(clustered, N).text.endswith("runs on local: it is not cut into several blocks")


@pytest.mark.slow
def test_without_a_cluster_work_is_refused_or_done_here_as_set(ask: Asking) -> None:
    gone = "127.0.0.1:1"
    with serving(executor="cluster", cluster_address=gone) as server, asking(server.address) as clustered:
        began = time.monotonic()
        refused = raw.refusal(lambda: run(clustered, 10))
        assert time.monotonic() - began < 30  # 4 s of them are the waiting for an answer
        assert (refused.code, refused.reason, refused.metadata["got"]) == ("UNAVAILABLE", "NO_CLUSTER", gone)
        assert "6379" in refused.metadata["hint"]
        assert run(clustered, N)[-1].HasField("done"), "what needs no lane is answered"
    with serving(executor="cluster", cluster_address=gone, without_cluster="local") as server, asking(server.address) as clustered:
        there = run(clustered, 10)
        assert chunks(there) == chunks(run(ask, 10))
        assert (there[-1].done.usage.executor, there[-1].done.usage.workers) == ("local", 1)
