"""The list of faults: what is done, to which job, what must come of it, and how long a wait it may cost.

A strike is done at the job's third result, from outside. The bounds are the project's: 2 s for a worker, 5 s for a node, 15 s for the driver;
an error comes within its bound of the strike. After each fault what was lost is put back and the job asked again: the same bits.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .job import Job
from .machines import family, signal_all
from .scene import Scene

WORKER_SECONDS, NODE_SECONDS, DRIVER_SECONDS = 2.0, 5.0, 15.0
ANSWER = "answer"
INTERRUPTED = "KeyboardInterrupt"

LONG = Job(trips=64)
"""30 blocks, some 3 s of work in all: long enough to lose a process in the middle."""
ENDLESS = Job(trips=100_000)
"""A block takes minutes: lanes that were not freed would be missed."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`strike`: done to the running job. `expected`: ANSWER (with the same bits), or the reason of the error. `joined`: on a Ray of several nodes,
    else on the server's own. `relief`: done after the job, before what is gone is put back. `environment`: of a server of its own.
    """

    name: str
    strike: Callable[[Scene], None]
    bound_seconds: float
    expected: str = ANSWER
    joined: bool = True
    job: Job = LONG
    timeout: float = 60.0
    relief: Callable[[Scene], None] = lambda scene: None
    environment: Mapping[str, str] = field(default_factory=dict)
    ends_scene: bool = False


def _a_node(scene: Scene) -> list[int]:
    """The processes of a node with a lane at work."""
    assert scene.machines is not None
    return next(scene.machines.working()).processes()


def _kill_worker(scene: Scene) -> None:
    os.kill(scene.lanes()[0], signal.SIGKILL)


def _kill_both_workers(scene: Scene) -> None:
    signal_all(scene.lanes(), signal.SIGKILL)


def _kill_raylet(scene: Scene) -> None:
    os.kill(_a_node(scene)[0], signal.SIGKILL)


def _kill_node(scene: Scene) -> None:
    assert scene.machines is not None
    scene.machines.kill(next(scene.machines.working()))


def _hang_node(scene: Scene) -> None:
    signal_all(_a_node(scene), signal.SIGSTOP)


def _stopped(scene: Scene) -> list[int]:
    assert scene.machines is not None
    return [pid for node in scene.machines.nodes for pid in node.processes() if _state(pid) == "T"]


def _state(pid: int) -> str:
    text = Path(f"/proc/{pid}/stat").read_text()
    return text[text.rindex(")") + 2]


def _go_on(scene: Scene) -> None:
    signal_all(_stopped(scene), signal.SIGCONT)


def _kill_hung(scene: Scene) -> None:
    signal_all(_stopped(scene), signal.SIGKILL)


def _kill_driver(scene: Scene) -> None:
    os.kill(scene.driver, signal.SIGKILL)


def _kill_joined_gcs(scene: Scene) -> None:
    assert scene.machines is not None
    os.kill(scene.machines.gcs, signal.SIGKILL)


def _kill_own(name: str) -> Callable[[Scene], None]:
    return lambda scene: os.kill(scene.daemon(name), signal.SIGKILL)


def _kill_own_ray(scene: Scene) -> None:
    signal_all([pid for pid in family(scene.driver) if pid != scene.driver], signal.SIGKILL)


def _interrupt(scene: Scene) -> None:
    raise KeyboardInterrupt


def _nothing(scene: Scene) -> None:
    """The fault is in the environment, or in the job."""


FAULTS: tuple[Fault, ...] = (
    Fault("a worker is killed", _kill_worker, WORKER_SECONDS),
    Fault("both workers are killed", _kill_both_workers, WORKER_SECONDS),
    Fault("the raylet of a node is killed", _kill_raylet, NODE_SECONDS),
    Fault("a node is killed", _kill_node, NODE_SECONDS),
    Fault("a node hangs and goes on", _hang_node, NODE_SECONDS, relief=_go_on),
    Fault("a node hangs and is killed", _hang_node, NODE_SECONDS, relief=_kill_hung),
    Fault("the client is interrupted", _interrupt, WORKER_SECONDS, expected=INTERRUPTED),
    Fault("the deadline expires", _nothing, WORKER_SECONDS, expected="DEADLINE", job=ENDLESS, timeout=3.0),
    Fault("the driver is killed", _kill_driver, DRIVER_SECONDS),
    Fault("the GCS of the cluster is killed", _kill_joined_gcs, DRIVER_SECONDS, ends_scene=True),
    Fault("a worker of the server's own Ray is killed", _kill_worker, WORKER_SECONDS, joined=False),
    Fault("the driver of the server's own Ray is killed", _kill_driver, DRIVER_SECONDS, joined=False),
    Fault("the GCS of the server's own Ray is killed", _kill_own("gcs_server"), DRIVER_SECONDS, joined=False),
    Fault("the raylet of the server's own Ray is killed", _kill_own("raylet"), DRIVER_SECONDS, joined=False),
    Fault("all of the server's own Ray but its driver is killed", _kill_own_ray, DRIVER_SECONDS, joined=False),
)
