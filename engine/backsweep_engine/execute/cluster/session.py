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

PREFIX = "bsw-"
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
    """Removes our folders that no living driver holds: what remains when both processes were killed at once."""
    import fcntl

    for folder in Path(root).glob(PREFIX + "*"):
        with contextlib.suppress(OSError):
            if folder.stat().st_uid != os.getuid():
                continue
            with open(folder / _LOCK) as file:  # a folder without a lock is just being made
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove(str(folder))


def members(session: int) -> list[int]:
    """Process ids of the session, zombies left out. Empty where there is no /proc."""
    found: list[int] = []
    if not sys.platform.startswith("linux"):
        return found
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit():
            continue
        try:
            text = Path(entry.path, "stat").read_text()
        except OSError:
            continue
        state, _, _, sid = text[text.rindex(")") + 2 :].split()[:4]
        if int(sid) == session and state != "Z":
            found.append(int(entry.name))
    return found


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
