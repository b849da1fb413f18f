"""The cluster executor on a real Ray: the same bits as the local one, whatever dies meanwhile."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import threadpoolctl

from backsweep_engine.errors import BLOCK_FAILED, NO_CLUSTER, Cancelled, ClusterLost, Error, OverBudget
from backsweep_engine.execute.cluster import child, session
from backsweep_engine.execute.cluster.cluster import Cluster
from backsweep_engine.execute.executor import never
from backsweep_engine.execute.local import Local
from backsweep_engine.execute.native.machine import machine
from backsweep_engine.plan.plan import Axis, Tier
from support.lanes import LIGHT, light_plan, resident
from support.plans import Key, assert_same_bits, collected, jacobian_plan, jacobian_values
from support.rays import drivers, lanes_of
from support.waiting import wait_until

pytestmark = pytest.mark.cluster

SIZE = 600
LONG = jacobian_plan(SIZE, 30, products=60)
"""20 blocks of some 20 ms: long enough to lose a process in the middle."""
SHORT = jacobian_plan(SIZE, 100)
VALUES = jacobian_values(SIZE)


@pytest.fixture(scope="module", autouse=True)
def _one_blas_thread() -> Iterator[None]:
    """Lanes run one; the same bits are promised to a process that does too (CONTRACT B4)."""
    import scipy.linalg  # noqa: F401

    with threadpoolctl.threadpool_limits(1):
        yield


@pytest.fixture(scope="module")
def wanted() -> dict[Key, object]:
    return collected(Local().blocks(LONG, VALUES, never))


def collected_with_fault(cluster: Cluster, fault: Callable[[], None]) -> dict[Key, object]:
    """Runs LONG, and the fault after its third block."""

    def blocks() -> Iterator:
        for position, block in enumerate(cluster.blocks(LONG, VALUES, never)):
            yield block
            if position == 2:
                fault()

    return collected(blocks())


@pytest.mark.parametrize("given", [False, True], ids=["identity seeds", "given rows"])
def test_the_cluster_gives_the_bits_of_the_local_executor(cluster: Cluster, given: bool) -> None:
    plan = jacobian_plan(50, 7, given=given)
    values = jacobian_values(50)
    assert_same_bits(collected(cluster.blocks(plan, values, never)), collected(Local().blocks(plan, values, never)))


def test_a_plan_keeps_its_tier_on_the_lanes(cluster: Cluster) -> None:
    """Which tier a run is on is decided before where it runs, so its bits are the same here and there."""
    if machine() is None:
        pytest.skip("nothing compiles here")
    plan, values = jacobian_plan(50, 7, products=2), jacobian_values(50)
    native = plan.on(Tier.NATIVE)
    assert native.key != plan.key
    assert_same_bits(collected(cluster.blocks(native, values, never)), collected(Local().blocks(native, values, never)))


def test_arrays_from_the_cluster_are_owned_writable_and_c_ordered(cluster: Cluster) -> None:
    for block in cluster.blocks(SHORT, VALUES, never):
        flags = block.array.flags
        assert flags.owndata and flags.writeable and flags.c_contiguous


def test_a_job_survives_the_death_of_a_lane(cluster: Cluster, wanted: dict) -> None:
    (driver,) = (collected(cluster.blocks(SHORT, VALUES, never)), drivers(os.getpid()))[1]
    assert wait_until(lambda: len(lanes_of(driver)) == 2, 10)
    before = set(lanes_of(driver))
    assert_same_bits(collected_with_fault(cluster, lambda: os.kill(lanes_of(driver)[0], signal.SIGKILL)), wanted)
    assert drivers(os.getpid()) == [driver], "the driver was to stay"
    assert wait_until(lambda: len(lanes_of(driver)) == 2, 10), "the dead lane was not replaced"
    assert len(before & set(lanes_of(driver))) == 1


def test_a_job_survives_the_death_of_the_driver_and_its_processes_are_gone(cluster: Cluster, wanted: dict) -> None:
    collected(cluster.blocks(SHORT, VALUES, never))
    (driver,) = drivers(os.getpid())
    assert_same_bits(collected_with_fault(cluster, lambda: os.kill(driver, signal.SIGKILL)), wanted)
    assert session.members(driver) == []
    (other,) = drivers(os.getpid())
    assert other != driver


@pytest.mark.slow
def test_where_lost_work_may_be_done_here_nobody_waits_for_another_driver(cluster: Cluster, wanted: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_fallback_local", True)
    collected(cluster.blocks(SHORT, VALUES, never))
    (driver,) = drivers(os.getpid())
    found = []
    for block in cluster.blocks(LONG, VALUES, never):
        found.append(block)
        if len(found) == 4:
            os.kill(driver, signal.SIGKILL)
    assert_same_bits(collected(iter(found)), wanted)
    lanes = [block.lane >= 0 for block in found[1:]]
    assert lanes[0] and not all(lanes), "no block was done here"
    assert wait_until(lambda: cluster.started, 60)


ENDLESS = jacobian_plan(SIZE, 150, products=4000)
"""Blocks of more than 7 s, even at 100 GFLOP/s: whoever waits for one is seen to."""


def test_stop_ends_the_job_and_frees_the_lanes(cluster: Cluster) -> None:
    stopped = threading.Event()
    blocks = cluster.blocks(ENDLESS, VALUES, stopped.is_set)
    next(blocks)
    threading.Timer(0.3, stopped.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        collected(blocks)
    assert time.monotonic() - began < 3.0
    # Were the lanes not freed, this would wait for them.
    collected(cluster.blocks(SHORT, VALUES, never))
    assert time.monotonic() - began < 6.0


def test_closing_the_iterator_frees_the_lanes(cluster: Cluster) -> None:
    plan = replace(SHORT, sweeps=SHORT.sweeps + ENDLESS.sweeps)
    blocks = cluster.blocks(plan, VALUES, never)
    for _ in range(1 + SHORT.sweeps[0].blocks):
        next(blocks)
    time.sleep(0.3)  # now both lanes are at the long blocks
    blocks.close()
    began = time.monotonic()
    collected(cluster.blocks(SHORT, VALUES, never))
    assert time.monotonic() - began < 5.0


def test_several_threads_share_the_lanes(cluster: Cluster, wanted: dict) -> None:
    results: list[dict] = []
    threads = [threading.Thread(target=lambda: results.append(collected(cluster.blocks(LONG, VALUES, never)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(results) == 3
    for result in results:
        assert_same_bits(result, wanted)


def test_a_client_that_takes_nothing_is_not_flooded(cluster: Cluster) -> None:
    plan = jacobian_plan(SIZE, 10)  # 60 blocks
    blocks = cluster.blocks(plan, VALUES, never)
    for _ in range(2):
        next(blocks)
    time.sleep(0.5)
    (inbox,) = cluster._child._inboxes.values()
    assert 1 <= inbox.qsize() <= 4 * cluster.lanes
    assert len(collected(blocks)) == 59


def test_results_of_many_times_the_object_store_pass_through_it_with_a_slow_client(cluster: Cluster) -> None:
    plan = light_plan(24, 16 << 10)  # 384 MB through a store of 128
    waiting = []
    for position, block in enumerate(cluster.blocks(plan, LIGHT, never)):
        if position in (2, 3):
            time.sleep(0.5)
            (inbox,) = cluster._child._inboxes.values()
            waiting.append(inbox.qsize())
        assert block.axis is Axis.WHOLE or block.array.nbytes == 16 << 20
    assert position == 24
    assert max(waiting) <= cluster.lanes, "more was computed than a quarter of the store holds, or a block a lane"


@pytest.mark.slow
def test_ten_thousand_blocks_in_one_run_let_no_process_grow(cluster: Cluster) -> None:
    collected(cluster.blocks(light_plan(1000, 1), LIGHT, never))
    before = resident()
    for _ in cluster.blocks(light_plan(10_000, 1), LIGHT, never):
        pass
    grown = {name: (value - before.get(name, 0)) >> 10 for name, value in resident().items()}
    # A kilobyte kept of each block would be ten MiB; the list of blocks itself takes some.
    assert max(grown.values()) < 10, grown


def test_an_engine_error_of_a_block_is_the_one_local_raises_and_is_not_tried_again(cluster: Cluster) -> None:
    plan = jacobian_plan(50, 7, given=True)
    values = {**jacobian_values(50), "seeds": np.zeros((50, 49))}
    with pytest.raises(Error) as local:
        collected(Local().blocks(plan, values, never))
    with pytest.raises(Error) as remote:
        collected(cluster.blocks(plan, values, never))
    assert not isinstance(remote.value, ClusterLost)
    assert (type(remote.value), str(remote.value)) == (type(local.value), str(local.value))


@pytest.mark.slow
def test_no_process_and_no_folder_is_left_when_this_process_is_killed() -> None:
    code = (
        "from support.plans import *\n"
        "from backsweep_engine.execute.cluster.cluster import Cluster\n"
        "from backsweep_engine.execute.executor import never\n"
        "cluster = Cluster(lanes=1)\n"
        "while True:\n"
        "    for _ in cluster.blocks(jacobian_plan(50, 10), jacobian_values(50), never): print('block', flush=True)\n"
    )
    path = os.pathsep.join(p for p in sys.path if p)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": path}) as process:
        try:
            assert process.stdout is not None
            for _ in range(3):
                assert process.stdout.readline()
            (driver,) = drivers(process.pid)
            folder = Path(f"/proc/{driver}/cwd").readlink()
            assert len(session.members(driver)) > 3
        finally:
            process.kill()
    assert wait_until(lambda: not session.members(driver), 15), session.members(driver)
    assert not folder.exists()


def test_without_ray_the_error_says_what_to_install_and_fallback_local_computes(monkeypatch: pytest.MonkeyPatch, wanted: dict) -> None:
    monkeypatch.setattr(child, "NEEDED", ("no_such_ray",))
    with pytest.raises(ClusterLost) as caught:
        collected(Cluster().blocks(LONG, VALUES, never))
    assert caught.value.reason == NO_CLUSTER and "backsweep[ray]" in caught.value.hint
    assert_same_bits(collected(Cluster(fallback_local=True).blocks(LONG, VALUES, never)), wanted)


def test_a_block_that_a_lane_has_no_memory_for_is_done_by_another_and_where_none_has_is_over_budget(cluster: Cluster) -> None:
    plan, values = jacobian_plan(2400, 1200, products=2), jacobian_values(2400)
    collected(cluster.blocks(SHORT, VALUES, never))
    (driver,) = drivers(os.getpid())
    assert wait_until(lambda: len(lanes_of(driver)) == 2, 10)
    lanes = lanes_of(driver)
    try:
        short_of_memory(lanes[:1])
        found = list(cluster.blocks(plan, values, never))
        assert max(block.attempts for block in found) > 1
        assert_same_bits(collected(found), collected(Local().blocks(plan, values, never)))
        short_of_memory(lanes_of(driver))
        with pytest.raises(OverBudget, match="ran out of memory on 4 attempts"):
            collected(cluster.blocks(jacobian_plan(2400, 2400, products=2), values, never))
    finally:
        for pid in lanes_of(driver):
            resource.prlimit(pid, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


def short_of_memory(pids: list[int]) -> None:
    """These get 48 MB more than they have now (Ray itself wants some for threads); a block of the test above takes 92."""
    for pid in pids:
        (kibibytes,) = [int(line.split()[1]) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmData:")]
        resource.prlimit(pid, resource.RLIMIT_DATA, ((kibibytes << 10) + (48 << 20), resource.RLIM_INFINITY))


@pytest.mark.slow
def test_a_job_whose_lanes_end_again_and_again_fails_and_is_not_done_here_where_it_might_do_the_same(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_fallback_local", True)
    collected(cluster.blocks(SHORT, VALUES, never))
    (driver,) = drivers(os.getpid())
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.1):
            for pid in lanes_of(driver, at_work=True):
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        with pytest.raises(ClusterLost, match="failed on 4 attempts") as caught:
            collected(cluster.blocks(jacobian_plan(SIZE, 150, products=1000), VALUES, never))
    finally:
        over.set()
        killer.join()
    assert caught.value.reason == BLOCK_FAILED
    monkeypatch.undo()
    assert_same_bits(collected(cluster.blocks(SHORT, VALUES, never)), collected(Local().blocks(SHORT, VALUES, never)))


def test_a_closed_cluster_refuses_work_and_closing_again_does_nothing() -> None:
    cluster = Cluster()
    cluster.close()
    cluster.close()
    with pytest.raises(Error, match="closed"):
        collected(cluster.blocks(SHORT, VALUES, never))


def test_importing_the_cluster_imports_no_ray() -> None:
    code = "import sys, backsweep_engine.execute.cluster.cluster; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
