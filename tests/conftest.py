"""What more than one folder of tests shares for the whole session: a server, and a cluster (Ray takes some seconds to start)."""

from collections.abc import Iterator

import pytest

from backsweep_engine.execute.cluster.cluster import Cluster
from support.raw import Asking, asking
from support.rays import leaving_nothing
from support.server import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server with a small budget, so that tests can go over it."""
    with serving(memory_bytes=256 << 20, store_bytes=64 << 20) as running:
        yield running


@pytest.fixture(scope="session")
def ask(server: Server) -> Iterator[Asking]:
    with asking(server.address) as asked:
        yield asked


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    with leaving_nothing(Cluster(lanes=2, memory_bytes=128 << 20)) as cluster:
        yield cluster


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run in parallel, all tests that need the shared Ray go to one worker, so that it is started once."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    for item in items:
        if item.get_closest_marker("cluster"):
            item.add_marker(pytest.mark.xdist_group("cluster"))
