"""Ends every process of a driver's session, and removes what dead ones left in the temporary directory.

The driver leads a session of its own. Ray's daemons share its process group, Ray's workers have groups of their own; all of
them stay in the session, which a process group kill would miss.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

PREFIX = "bswray-"
_LOCK = "lock"


def new_folder() -> str:
    """A temporary directory with a short name: Ray puts sockets deep inside, and a socket's path has 107 bytes."""
    root = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix=PREFIX, dir=root if len(root) < 24 else "/tmp")


def hold(folder: str) -> object:
    """Marks the folder as in use for as long as the returned file is open; a lock, since process ids differ between containers."""
    import fcntl

    file = open(Path(folder) / _LOCK, "w")  # noqa: SIM115  # kept open on purpose
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return file


def remove(folder: str) -> None:
    # Twice: a process that is just ending may write a last log line meanwhile.
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)


def sweep_leftovers(root: str) -> None:
    """Ends and removes what no living driver holds: it remains when a driver and its parent were killed at once.

    Processes are known by the folder they stand in: after their leader is gone, a session's number may mean another.
    """
    import fcntl

    for folder in Path(root).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            with open(folder / _LOCK) as file:  # a folder without a lock is just being made
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                for pid in _processes():
                    with contextlib.suppress(OSError):
                        if os.readlink(f"/proc/{pid}/cwd") == str(folder):
                            os.kill(pid, signal.SIGKILL)
                remove(str(folder))


def members(session: int) -> list[int]:
    """Process ids of the session, dead ones left out. Empty where there is no /proc."""
    return [pid for pid in _processes() if (stat := _stat(pid)) is not None and stat.session == session]


def drivers(parent: int) -> list[int]:
    """Process ids of the drivers the process started: each leads the session named after it."""
    word = b"backsweep_engine.execute.cluster.driver"
    return [pid for pid in _processes() if (stat := _stat(pid)) is not None and stat.parent == parent and word in _command(pid)]


def lanes(session: int) -> list[int]:
    """Process ids of the lanes among a session: Ray names its workers."""
    return [pid for pid in members(session) if _command(pid)[:1] == [b"ray::Lane"]]


def daemons(parent: int) -> list[int]:
    """Process ids of the parent's children without which its Ray cannot go on."""
    return [pid for pid in _processes() if (stat := _stat(pid)) is not None and stat.parent == parent and stat.name in ("raylet", "gcs_server")]


def raylets(socket: str) -> list[int]:
    """Process ids of the raylets that listen on this Unix socket; it stands in their command line."""
    word = b"--raylet_socket_name=" + os.fsencode(socket)
    return [pid for pid in _processes() if word in _command(pid)]


def alive(pid: int) -> bool:
    return _stat(pid) is not None


def kill(session: int, spare: int = 0) -> None:
    """SIGKILL to the session and to the process group of its leader, except to process `spare`.

    The leader must not have been waited for yet: until then its process id cannot mean another session.
    """
    for _ in range(3):  # a process may be forking while the list is read
        pids = [pid for pid in members(session) if pid != spare]
        for pid in pids:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not pids:
            break
    if not spare:
        with contextlib.suppress(OSError):
            os.killpg(session, signal.SIGKILL)


class _Stat(NamedTuple):
    name: str
    parent: int
    session: int


def _processes() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit()] if sys.platform.startswith("linux") else []


def _command(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def _stat(pid: int) -> _Stat | None:
    """None for a process that is gone or dead. The name stands in parentheses and may hold any character."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (OSError, UnicodeDecodeError):
        return None
    name, rest = text[text.index("(") + 1 : text.rindex(")")], text[text.rindex(")") + 2 :].split()
    return None if rest[0] in "ZX" else _Stat(name, int(rest[1]), int(rest[3]))
