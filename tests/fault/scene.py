"""Where faults strike: a server with two lanes, on a Ray of several nodes that it joined, or on one that it started itself.

Everything writes below one folder of the scene, so that what is left can be told from what others have.
"""

from __future__ import annotations

import shutil
import tempfile
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import backsweep as bs
from backsweep_engine.execute.cluster import session
from support.server import Server, serving
from support.waiting import wait_until

from .machines import Machines, children, command, family, lanes_among, listening, open_sockets

LANES = 2
STORE_BYTES = 100 << 20
MEND_SECONDS = 40.0


class Scene:
    """Lives until `close`, which says what was left behind. `machines` is None where the server starts its own Ray."""

    def __init__(self, joined: bool, environment: Mapping[str, str] | None = None) -> None:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="bswf-", dir="/tmp"))  # short: Ray puts sockets inside
        self.machines: Machines | None = None
        self.calm = threading.Event()
        """set: what a fault does over and over stops"""
        try:
            ours = {"TMPDIR": str(self.folder), **(environment or {})}
            settings: dict[str, object] = {"executor": "cluster", "lanes": LANES, "cluster_memory_bytes": STORE_BYTES, "max_detach_seconds": 0}
            if joined:
                self.machines = Machines(self.folder)
                settings["cluster_address"] = self.machines.address
                ours |= self.machines.environment()
            self.server: Server = self._stack.enter_context(serving(ours, **settings))
            self.service = self._stack.enter_context(bs.connect(self.server.address))
        except BaseException:
            self.close()
            raise

    @property
    def driver(self) -> int:
        """The driver's process."""
        (found,) = self.drivers()
        return found

    def drivers(self) -> list[int]:
        return [pid for pid in children(self.server.process.pid) if b"backsweep_engine.execute.cluster.driver" in command(pid)]

    def lanes(self) -> list[int]:
        if self.machines is not None:
            return self.machines.lanes()
        return [lane for driver in self.drivers() for lane in lanes_among(session.members(driver))]

    def daemon(self, name: str) -> int:
        """A daemon of the Ray that the server started: raylet or gcs_server."""
        (found,) = [pid for pid in children(self.driver) if name in command(pid).split(b"\0")[0].decode()]
        return found

    def unlike_before(self) -> list[str]:
        """What is not as it was before a fault, though a job was asked since: lanes that are dead are replaced in time."""
        wait_until(lambda: len(self.drivers()) == 1 and len(self.lanes()) == LANES, MEND_SECONDS)
        counts = {"driver": (len(self.drivers()), 1), "lane": (len(self.lanes()), LANES), "folder": (len(self._folders()), 1)}
        return [f"{got} {name}s" for name, (got, wanted) in counts.items() if got != wanted]

    def _folders(self) -> list[Path]:
        """Of drivers."""
        return list(self.folder.glob("bswray-*"))

    def close(self) -> list[str]:
        """Ends the server, then Ray; what is left of either."""
        self.calm.set()
        left: list[str] = []
        server = getattr(self, "server", None)
        pids = family(server.process.pid) if server is not None else []
        pids += [pid for driver in (self.drivers() if server is not None else []) for pid in session.members(driver)]
        ports = listening(pids)
        self._stack.close()
        wait_until(lambda: not any(session.alive(pid) for pid in pids), 10)
        left += [f"process {pid} {command(pid)[:60].decode(errors='replace')}" for pid in pids if session.alive(pid)]
        if self.machines is not None:
            try:
                left += self._held(self.machines)
            except (AssertionError, OSError) as error:  # its host is gone or silent; what it started is ended all the same
                left.append(str(error))
            left += self.machines.close()
        left += [f"port {ports[inode]}" for inode in open_sockets() if inode in ports]
        left += [f"folder {path}" for path in self._folders()]
        shutil.rmtree(self.folder, ignore_errors=True)
        return left

    def _held(self, machines: Machines) -> list[str]:
        """What Ray still holds though its driver is gone."""
        if not session.alive(machines.gcs):
            return []
        wait_until(lambda: not machines.lanes() and not any(machines.state().values()), 15)
        return [f"lane {pid}" for pid in machines.lanes()] + [f"{value:g} {name}" for name, value in machines.state().items() if value]
