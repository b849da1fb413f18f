"""One cluster for all tests that need one: Ray takes some seconds to start."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backsweep_engine.execute.cluster.cluster import Cluster


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    cluster = Cluster(lanes=2, memory_bytes=128 << 20)
    yield cluster
    cluster.close()
