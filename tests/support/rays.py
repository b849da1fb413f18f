"""The processes of a cluster's driver, seen from outside, and a check that none of them outlives it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backsweep_engine.execute.cluster import session
from backsweep_engine.execute.cluster.cluster import Cluster


def command(pid: int) -> bytes:
    """The process's command line; empty if it is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def drivers(parent: int) -> list[int]:
    """The driver processes `parent` has started and that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
        except OSError:
            continue
        state, owner = stat[stat.rindex(")") + 1 :].split()[:2]
        if int(owner) == parent and state != "Z" and b"backsweep_engine.execute.cluster.driver" in command(int(entry.name)).split(b"\0"):
            found.append(int(entry.name))
    return found


def lanes_of(driver: int, at_work: bool = False) -> list[int]:
    """The lanes of a driver; or those that compute a block now."""
    title = b"ray::Lane.compute" if at_work else b"ray::Lane"
    return [pid for pid in session.members(driver) if command(pid).startswith(title)]


@contextmanager
def leaving_nothing(cluster: Cluster) -> Iterator[Cluster]:
    """Closes the cluster in the end. No process of its driver's session may then live, no folder of it be there, and so no port be taken."""
    try:
        yield cluster
    finally:
        folders = {pid: Path(f"/proc/{pid}/cwd").readlink() for pid in drivers(os.getpid())}
        ours = {pid: folder for pid, folder in folders.items() if cluster._child is not None and str(folder) == cluster._child._folder}
        cluster.close()
    for driver, folder in ours.items():
        assert not session.members(driver), "a process of Ray outlived its cluster"
        assert not folder.exists(), "a folder of Ray outlived its cluster"
