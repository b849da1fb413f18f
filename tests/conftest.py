"""What more than one folder of tests shares: a server, a cluster (Ray takes some seconds to start), and how the session is run."""

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


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """Not for the session: an idle Ray takes a twentieth of a core."""
    with leaving_nothing(Cluster(lanes=2, memory_bytes=128 << 20)) as cluster:
        yield cluster


LONG = ("test_runs.py", "test_process.py", "test_odes.py", "test_scan.py", "test_special.py", "test_stopping.py", "test_tape.py")
"""Files whose tests take long for their number, beside those that start Ray."""


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run in parallel, whole files go to one worker or another (`--dist loadfile`): the long ones first, so that none is left over at the end."""
    if not config.pluginmanager.hasplugin("xdist"):
        return
    tests = Counter(item.path for item in items)
    long = {item.path for item in items if item.path.name in LONG or item.get_closest_marker("cluster")}
    items.sort(key=lambda item: (item.path not in long, -tests[item.path], item.path))


def pytest_collection_finish() -> None:
    """Twenty thousand tests stay for the whole session: looking through them for cycles again and again took a third of it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)
