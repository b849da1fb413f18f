"""What more than one folder of tests shares for the whole session: a server, and a cluster (Ray takes some seconds to start)."""

import gc
from collections import Counter
from collections.abc import Iterator

import pytest
import scipy.linalg  # noqa: F401  # loads SciPy's own BLAS, so that it is limited too
import threadpoolctl

from backsweep_engine.execute.cluster.cluster import Cluster
from support.raw import Asking, asking
from support.rays import leaving_nothing
from support.server import Server, serving

COLLECT_AFTER = (20_000, 10, 50)
"""New objects between two looks for cycles, as in a server: graphs have none."""


@pytest.fixture(scope="session", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """As in servers and lanes. Two in each of two processes on two cores wait for each other: small products then take four times as long."""
    with threadpoolctl.threadpool_limits(1):
        yield


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


def _group(item: pytest.Item) -> str:
    """A file's tests share its servers, traced functions and derived graphs; all that need Ray share one Ray."""
    return "cluster" if item.get_closest_marker("cluster") else item.nodeid.partition("::")[0]


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in this hook too
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run in parallel, each group is one worker's. What needs Ray comes first, since it takes long, then group by group as they grow smaller."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    tests = Counter(map(_group, items))
    items.sort(key=lambda item: (_group(item) != "cluster", -tests[_group(item)], _group(item)))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_finish() -> None:
    """Twenty thousand tests stay for the whole session: looking through them for cycles again and again took a third of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
