"""A running Ray cluster joined by its address, and the errors of one that is not there or runs other versions."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from backsweep_engine.errors import NO_CLUSTER, VERSION_SKEW, ClusterLost
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from support.head import head
from support.plans import assert_same_bits, collected, jacobian_plan, jacobian_values
from support.rays import leaving_nothing

pytestmark = pytest.mark.cluster

PLAN, VALUES = jacobian_plan(50, 7), jacobian_values(50)
LANES_SEEN = "import sys, backsweep_engine.execute.cluster.lane; print(*sorted({name.partition('.')[0] for name in sys.modules}))"


@pytest.fixture(scope="module")
def joined() -> Iterator[dict[str, str]]:
    with head() as environment:
        yield environment


@pytest.fixture
def joining(joined: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in joined.items():
        monkeypatch.setenv(name, value)


def refusal(environment: dict[str, str]) -> list[str]:
    """Reason, got, allowed and hint of what a process of its own is told that runs PLAN there."""
    code = """
        from support.plans import *
        from backsweep_engine.errors import ClusterLost
        from backsweep_engine.execute.cluster.cluster import Cluster
        from backsweep_engine.execute.executor import never
        cluster = Cluster()
        try:
            collected(cluster.blocks(jacobian_plan(50, 7), jacobian_values(50), never))
        except ClusterLost as lost:
            print(lost.reason, lost.got, lost.allowed, lost.hint, sep="\\n")
        finally:
            cluster.close()
    """
    path = os.pathsep.join([environment.get("PYTHONPATH", ""), *[p for p in sys.path if p]])
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env={**os.environ, **environment, "PYTHONPATH": path}, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.usefixtures("joining")
def test_ray_address_joins_a_cluster_which_gives_the_bits_of_the_local_executor() -> None:
    with threadpoolctl.threadpool_limits(1):
        wanted = collected(Local().blocks(PLAN, VALUES, never))
        with leaving_nothing(Cluster(lane_cpus=0.5, lane_memory_bytes=50 << 20)) as cluster:
            assert_same_bits(collected(cluster.blocks(PLAN, VALUES, never)), wanted)


def test_an_address_with_no_cluster_is_an_error_of_its_own_within_seconds() -> None:
    cluster = Cluster(address="127.0.0.1:1")
    began = time.monotonic()
    with pytest.raises(ClusterLost) as caught:
        collected(cluster.blocks(PLAN, VALUES, never))
    assert time.monotonic() - began < 20  # 4 of them waiting; the rest is a process that imports Ray
    cluster.close()
    assert (caught.value.reason, caught.value.got) == (NO_CLUSTER, "127.0.0.1:1")
    assert "connection refused" in caught.value.message and "6379" in caught.value.hint


def test_what_is_no_address_is_refused_and_not_asked() -> None:
    cluster = Cluster(address="ray://head:10001")
    with pytest.raises(ClusterLost) as caught:
        collected(cluster.blocks(PLAN, VALUES, never))
    cluster.close()
    assert (caught.value.reason, caught.value.got, caught.value.allowed) == (NO_CLUSTER, "ray://head:10001", "HOST:PORT or auto")


def test_a_cluster_of_another_ray_is_refused_with_both_versions(joined: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import ray\nray.__version__ = '1.2.3'\n")
    reason, got, allowed, hint = refusal({**joined, "PYTHONPATH": str(tmp_path)})
    assert reason == VERSION_SKEW and "one image" in hint
    assert "Ray 1.2.3" in allowed and got.startswith("Ray ") and "1.2.3" not in got
    assert f"Python {sys.version.split()[0]}" in got


def test_lanes_on_another_kind_of_machine_are_refused_with_what_differs(joined: dict[str, str]) -> None:
    config = np.show_config(mode="dicts")
    assert config is not None
    features = config["SIMD Extensions"].get("found", [])
    if not features:
        pytest.skip("this machine has no CPU feature NumPy could do without")
    reason, got, _, _ = refusal({**joined, "NPY_DISABLE_CPU_FEATURES": " ".join(features)})
    assert reason == VERSION_SKEW
    assert set(features) <= set(got.split()), "the lanes have the features that are disabled here"


def test_a_worker_imports_the_engine_and_neither_the_client_nor_the_server_nor_grpc() -> None:
    seen = subprocess.run([sys.executable, "-c", LANES_SEEN], capture_output=True, text=True, timeout=60, check=True).stdout.split()
    assert "backsweep_engine" in seen and "ray" in seen
    assert not {"backsweep", "backsweep_server", "grpc", "llvmlite"} & set(seen)
