"""The server with Ray behind it: started when first needed, the same bits, ended with the server."""

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


def run(ask: Asking, block: int) -> list[pb.RunResponse]:
    request = pb.RunRequest(graph=ask.graph(raw.sines(N, 5)), bindings=BOUND, queries=[raw.jacobian(block)], run_id=bytes(15) + bytes([block]))
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
        assert server.stop() == 0
    assert there[0].accepted.executor == "cluster"
    assert (there[-1].done.usage.executor, there[-1].done.usage.blocks) == ("cluster", 6)
    assert there[0].accepted.plan_key == here[0].accepted.plan_key
    assert there[0].accepted.platform == here[0].accepted.platform
    assert chunks(there) == chunks(here)
