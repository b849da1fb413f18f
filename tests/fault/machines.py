"""A Ray of several nodes on loopback, seen from outside: what runs where, and signals to it.

All of it is one session of processes (host.py leads it), so that nothing survives `close`. A node is its raylet and what descends from it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backsweep_engine.execute.cluster import session
from support.rays import command
from support.waiting import wait_until

ANSWER_SECONDS = 60.0
CPUS = (0, 1, 1)
"""Of each node: the head, where drivers live, has no place for lanes."""


def children(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = entry.read_text()
        except OSError:
            continue
        state, parent = text[text.rindex(")") + 2 :].split()[:2]
        if int(parent) == pid and state not in "ZX":
            found.append(int(entry.parent.name))
    return found


def family(pid: int) -> list[int]:
    """The process and all that descends from it."""
    found = [pid]
    for one in found:
        found += children(one)
    return found


def lanes_among(pids: list[int]) -> list[int]:
    return [pid for pid in pids if command(pid).startswith(b"ray::Lane")]


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end(pids: list[int]) -> None:
    """SIGKILL, and waits until they are dead: a busy machine takes a while over it."""
    signal_all(pids, signal.SIGKILL)
    if not wait_until(lambda: not any(session.alive(pid) for pid in pids), 10):
        raise AssertionError(f"processes {[pid for pid in pids if session.alive(pid)]} do not die")


def listening(pids: list[int]) -> dict[str, int]:
    """The TCP sockets these processes listen on: port by inode, since a port that was given back may be another program's at once."""
    sockets: set[str] = set()
    for pid in pids:
        try:
            sockets |= {os.readlink(entry) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        except OSError:
            continue
    inodes = {name[8:-1] for name in sockets if name.startswith("socket:[")}
    return {inode: port for inode, port in open_sockets().items() if inode in inodes}


@dataclass(slots=True)
class Node:
    """`raylet`: its process. `others`: of the head, the daemons beside it, by name."""

    raylet: int
    others: dict[str, list[int]] = field(default_factory=dict)

    def processes(self) -> list[int]:
        return family(self.raylet) + [pid for pids in self.others.values() for pid in pids]

    def lanes(self) -> list[int]:
        return lanes_among(family(self.raylet))


class Machines:
    """Running from its making until `close`. `folder`: where Ray writes."""

    def __init__(self, folder: Path) -> None:
        self._token = secrets.token_hex(32)
        self._folder = folder
        (folder / "ray").mkdir()  # Ray notes there which cluster is the newest
        self._begin(port=0)

    def _begin(self, port: int) -> None:
        self.nodes: list[Node] = []
        self.address = ""
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "fault.host", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, **self.environment()},
            cwd=self._folder,
            start_new_session=True,
        )
        try:
            for cpus in CPUS:
                self.add(cpus)
        except BaseException:
            self.close()
            raise

    def environment(self) -> dict[str, str]:
        """What whoever joins must have too."""
        return {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self._token,
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # so it listens on loopback only
            "RAY_TMPDIR": str(self._folder),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }

    @property
    def head(self) -> Node:
        return self.nodes[0]

    @property
    def gcs(self) -> int:
        (pid,) = self.head.others["gcs_server"]
        return pid

    def add(self, cpus: int = 1) -> Node:
        told = self._ask(f"add {cpus}")
        self.address = told.pop("address")
        (raylet,) = told.pop("raylet")
        node = Node(raylet, told)
        self.nodes.append(node)
        return node

    def state(self) -> dict[str, Any]:
        """See host.py. Needs a living GCS."""
        return self._ask("state")

    def working(self) -> Iterator[Node]:
        """The nodes with a living raylet that have lanes, the head apart."""
        return (node for node in self.nodes[1:] if session.alive(node.raylet) and node.lanes())

    def lanes(self) -> list[int]:
        return lanes_among(session.members(self._process.pid))

    def kill(self, node: Node) -> None:
        """As a machine that loses power: all of it at once."""
        pids = node.processes()
        signal_all(pids, signal.SIGSTOP)  # so that none has time to notice the others' end
        end(pids)

    def mend(self) -> None:
        """A new node for each that is gone."""
        for node in list(self.nodes[1:]):
            if not session.alive(node.raylet):
                end(node.processes()[1:])
                self.nodes.remove(node)
                self.add()

    def kill_all(self) -> None:
        """The whole of it, as `kill` does."""
        pids = session.members(self._process.pid)
        signal_all(pids, signal.SIGSTOP)
        end(pids)

    def revive(self) -> None:
        """A new cluster at the address of the one before, which is ended."""
        port = int(self.address.rpartition(":")[2])
        if left := self.close():
            raise AssertionError(f"the cluster before left {left}")
        self._begin(port)

    def close(self) -> list[str]:
        """Ends all of it; what is then still there."""
        ports = listening(session.members(self._process.pid))
        session.kill(self._process.pid)
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()
        left: Callable[[], list[int]] = lambda: session.members(self._process.pid)
        wait_until(lambda: not left() and not open_sockets().keys() & ports, 10)
        return [f"process {pid}" for pid in left()] + [f"port {ports[inode]}" for inode in open_sockets() if inode in ports]

    def _ask(self, line: str) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        stdin.write(line + "\n")
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], ANSWER_SECONDS)
        answer = stdout.readline() if ready else ""
        if not answer:
            raise AssertionError(f"the host of Ray's nodes did not answer `{line}` within {ANSWER_SECONDS:g} s")
        told: dict[str, Any] = json.loads(answer)
        return told


def open_sockets() -> dict[str, int]:
    """All TCP sockets that are listened on here: port by inode."""
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]]
    return {words[9]: int(words[1].rpartition(":")[2], 16) for words in lines if words[3] == "0A"}
