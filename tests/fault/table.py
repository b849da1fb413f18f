"""The list of faults: what is done, to which job, what must come of it, and how long a wait it may cost.

A strike is done at the job's third result, from outside. Nodes are struck at two moments: while every lane computes, and while a lane of another
node fetches its inputs, which the node that is struck has too. The bounds are the project's: 2 s for a worker, 5 s for a node, 15 s for the driver;
an error comes within its bound of the strike. After each fault what was lost is put back and the job asked again: the same bits.
"""

from __future__ import annotations

import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from backsweep_engine.execute.cluster.queue import ATTEMPTS
from support.waiting import wait_until

from .job import Job
from .machines import Machines, Node, end, family, signal_all
from .scene import Scene

WORKER_SECONDS, NODE_SECONDS, DRIVER_SECONDS = 2.0, 5.0, 15.0
ANSWER = "answer"
INTERRUPTED = "interrupted"

LONG = Job(trips=64)
"""30 blocks, some 3 s of work in all: long enough to lose a process in the middle."""
WIDE = Job(trips=2, size=2400, block=1200)
"""2 blocks, each of which takes more than 46 MB of a lane's memory besides what it has."""
HEAVY = Job(trips=1, size=3600, block=200)
"""18 blocks; its matrix, which every node fetches, is 104 MB."""
VAST = Job(trips=1, size=4000, block=400)
"""Its matrix, 128 MB, is larger than the object store."""
ENDLESS = Job(trips=1500, block=300)
"""2 blocks of half a minute or more: lanes that were not freed would be missed."""
STAND_IN = {"BACKSWEEP_WITHOUT_CLUSTER": "local"}


def nothing(scene: Scene) -> None:
    """Of a fault that lies elsewhere."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike`: done to the running job, and `before`: to the scene before the job is asked. `expected`: ANSWER (with the same bits), or the
    reason of the error. `joined`: on a Ray of several nodes, else on the server's own. `relief`: done after the job, before what is gone is put
    back. `environment`: of a server of its own. `repeat`: the client may ask again where the error says so, as it does.
    """

    name: str
    bound_seconds: float
    strike: Callable[[Scene], None] = nothing
    before: Callable[[Scene], None] = nothing
    expected: str = ANSWER
    joined: bool = True
    job: Job = LONG
    timeout: float = 60.0
    repeat: bool = True
    relief: Callable[[Scene], None] = nothing
    environment: Mapping[str, str] = field(default_factory=dict)


ASKED_SECONDS = 0.5
"""In which a lane asks for its inputs, at the place of Ray's choice."""

Stroke = Callable[[Machines, Node], None]
"""What befalls a node."""


def _while_computing(stroke: Stroke) -> Callable[[Scene], None]:
    """Strikes a node while every lane computes, and so has its inputs."""

    def strike(scene: Scene) -> None:
        assert scene.machines is not None
        before = {lane: _cpu_ticks(lane) for lane in scene.lanes()}
        if not wait_until(lambda: all(_cpu_ticks(lane) >= ticks + 5 for lane, ticks in before.items()), 5):
            raise AssertionError("a lane was not at work when the fault was to be done")
        stroke(scene.machines, next(scene.machines.working()))

    return strike


def _hold_back(scene: Scene) -> None:
    """Stops the raylet of a node, so that its lane gets no inputs for now."""
    assert scene.machines is not None
    os.kill(next(scene.machines.working()).raylet, signal.SIGSTOP)


def _while_fetching(stroke: Stroke) -> Callable[[Scene], None]:
    """Strikes the node that has computed so far, when the lane of the one that was held back has just begun to fetch its inputs.

    The raylet of the former stands still from before that moment on, so that whoever asks it for an array waits.
    """

    def strike(scene: Scene) -> None:
        assert scene.machines is not None
        (held,) = [node for node in scene.machines.working() if _state(node.raylet) == "T"]
        struck = next(node for node in scene.machines.working() if node is not held)
        os.kill(struck.raylet, signal.SIGSTOP)
        os.kill(held.raylet, signal.SIGCONT)
        time.sleep(ASKED_SECONDS)
        stroke(scene.machines, struck)

    return strike


def _cpu_ticks(pid: int) -> int:
    """CPU time of a process, in hundredths of a second as a rule."""
    text = Path(f"/proc/{pid}/stat").read_text()
    return int(text[text.rindex(")") + 2 :].split()[11])


def _kill_worker(scene: Scene) -> None:
    os.kill(scene.lanes()[0], signal.SIGKILL)


def _kill_both_workers(scene: Scene) -> None:
    signal_all(scene.lanes(), signal.SIGKILL)


def _kill_raylet(_: Machines, node: Node) -> None:
    os.kill(node.raylet, signal.SIGKILL)


def _kill_node(machines: Machines, node: Node) -> None:
    machines.kill(node)


def _hang_node(_: Machines, node: Node) -> None:
    signal_all(node.processes(), signal.SIGSTOP)


def _stopped(scene: Scene) -> list[int]:
    assert scene.machines is not None
    return [pid for node in scene.machines.nodes for pid in node.processes() if _state(pid) == "T"]


def _state(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2]


def _go_on(scene: Scene) -> None:
    signal_all(_stopped(scene), signal.SIGCONT)


def _kill_hung(scene: Scene) -> None:
    end(_stopped(scene))


def _kill_driver(scene: Scene) -> None:
    os.kill(scene.driver, signal.SIGKILL)


def _kill_joined_gcs(scene: Scene) -> None:
    assert scene.machines is not None
    os.kill(scene.machines.gcs, signal.SIGKILL)


def _kill_own(name: str) -> Callable[[Scene], None]:
    return lambda scene: os.kill(scene.daemon(name), signal.SIGKILL)


def _kill_own_ray(scene: Scene) -> None:
    signal_all([pid for pid in family(scene.driver) if pid != scene.driver], signal.SIGKILL)


def _poison(scene: Scene) -> None:
    """From now on a lane that takes 24 MB more than one has now is killed, as the kernel does it: every lane that is at a block of WIDE."""
    most = max(_data_bytes(lane) for lane in scene.lanes()) + (24 << 20)

    def kill() -> None:
        while not scene.calm.wait(0.05):
            signal_all([lane for lane in scene.lanes() if _data_bytes(lane) > most], signal.SIGKILL)

    scene.calm.clear()
    threading.Thread(target=kill, daemon=True).start()


def _calm(scene: Scene) -> None:
    scene.calm.set()


def _interrupt(scene: Scene) -> None:
    raise KeyboardInterrupt


def _kill_all(scene: Scene) -> None:
    assert scene.machines is not None
    scene.machines.kill_all()


def _revive(scene: Scene) -> None:
    assert scene.machines is not None
    scene.machines.revive()


def _kill_all_and_revive(scene: Scene) -> None:
    _kill_all(scene)
    _revive(scene)


def _data_bytes(pid: int) -> int:
    """What RLIMIT_DATA limits."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0  # it is gone
    return next((int(line.split()[1]) for line in lines if line.startswith("VmData:")), 0) << 10


def _lanes_short_of_memory(count: int) -> Callable[[Scene], None]:
    """So many lanes may have 32 MB more than now: larger allocations then fail, as on a full machine. A lane that ends is replaced by one without limit."""

    def limit(scene: Scene) -> None:
        for lane in scene.lanes()[:count]:
            resource.prlimit(lane, resource.RLIMIT_DATA, (_data_bytes(lane) + (32 << 20), resource.RLIM_INFINITY))

    return limit


def _memory_again(scene: Scene) -> None:
    for lane in scene.lanes():
        resource.prlimit(lane, resource.RLIMIT_DATA, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


FAULTS: tuple[Fault, ...] = (
    Fault("a worker is killed", WORKER_SECONDS, _kill_worker),
    # No lane is left: a process has to start before the next result, as where the only node of a service is lost.
    Fault("both workers are killed", NODE_SECONDS, _kill_both_workers),
    *(
        Fault(f"{what} while {when}", NODE_SECONDS, moment(stroke), before=before, job=job, relief=relief)
        for when, moment, before, job in (
            ("every lane computes", _while_computing, nothing, LONG),
            ("another fetches inputs", _while_fetching, _hold_back, LONG),
            ("another fetches 100 MB", _while_fetching, _hold_back, HEAVY),
        )
        for what, stroke, relief in (
            ("the raylet of a node is killed", _kill_raylet, nothing),
            ("a node is killed", _kill_node, nothing),
            ("a node hangs and goes on", _hang_node, _go_on),
            ("a node hangs and is killed", _hang_node, _kill_hung),
        )
    ),
    Fault("the client is interrupted", WORKER_SECONDS, _interrupt, expected=INTERRUPTED),
    Fault("the deadline expires", WORKER_SECONDS, expected="DEADLINE", job=ENDLESS, timeout=5.0),
    Fault("the driver is killed", DRIVER_SECONDS, _kill_driver),
    # Four lanes have to start, one after the other.
    Fault("a block kills every lane that takes it", DRIVER_SECONDS, before=_poison, job=WIDE, expected="BLOCK_FAILED", relief=_calm),
    # In this order: a lane that once did a wide block keeps its memory.
    Fault(
        "a block runs out of memory on every lane",
        ATTEMPTS * WORKER_SECONDS,
        before=_lanes_short_of_memory(2),
        job=WIDE,
        expected="OVER_BUDGET",
        relief=_memory_again,
    ),
    Fault("a block runs out of memory on one lane", WORKER_SECONDS, before=_lanes_short_of_memory(1), job=WIDE, relief=_memory_again),
    Fault("the GCS of the cluster is killed", DRIVER_SECONDS, _kill_joined_gcs, relief=_kill_all_and_revive),
    Fault("the cluster is gone", DRIVER_SECONDS, _kill_all, expected="CLUSTER_LOST", repeat=False, relief=_revive),
    Fault("the cluster is gone and comes back", DRIVER_SECONDS, _kill_all_and_revive),
    Fault("the cluster is gone, and the server may stand in", DRIVER_SECONDS, _kill_all, relief=_revive, environment=STAND_IN),
    Fault("a worker of the server's own Ray is killed", WORKER_SECONDS, _kill_worker, joined=False),
    Fault("the driver of the server's own Ray is killed", DRIVER_SECONDS, _kill_driver, joined=False),
    Fault("the GCS of the server's own Ray is killed", DRIVER_SECONDS, _kill_own("gcs_server"), joined=False),
    Fault("the raylet of the server's own Ray is killed", DRIVER_SECONDS, _kill_own("raylet"), joined=False),
    Fault("all of the server's own Ray but its driver is killed", DRIVER_SECONDS, _kill_own_ray, joined=False),
    Fault("the object store is smaller than the inputs", NODE_SECONDS, joined=False, job=VAST),
    Fault(
        "the object store is full, and the disk too",
        NODE_SECONDS,
        joined=False,
        job=VAST,
        expected="OVER_BUDGET",
        environment={"RAY_local_fs_capacity_threshold": "0"},
    ),
)
