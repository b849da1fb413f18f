"""The server of the demo: a process of its own on a free port of loopback."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import backsweep as bs

START_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Started:
    """A server that is ready: where it listens, and its process id."""

    address: str
    pid: int


@contextmanager
def server(executor: str, said: Callable[[str], None] | None = None) -> Iterator[Started]:
    """The server, ended when the block ends, whatever happens. `said`: gets each line of its log, in a thread; without it only warnings are logged."""
    level = "warning" if said is None else "info"
    ours = {"BACKSWEEP_LISTEN": "127.0.0.1:0", "BACKSWEEP_EXECUTOR": executor, "BACKSWEEP_LANES": "2", "BACKSWEEP_LOG_LEVEL": level}
    log = None if said is None else subprocess.PIPE
    command = [sys.executable, "-m", "backsweep_server"]
    with subprocess.Popen(command, env={**os.environ, **ours}, stdout=subprocess.PIPE, stderr=log, text=True) as process:
        if said is not None:
            threading.Thread(target=_read, args=(process, said), daemon=True).start()
        try:
            assert process.stdout is not None
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            line = process.stdout.readline().split() if ready else []
            if line[:1] != ["ready"]:
                raise bs.Error("the server did not start", reason="NO_SERVER", got=" ".join(line), hint="run `backsweep serve` to see why")
            yield Started(line[1], process.pid)
        finally:
            process.terminate()
            try:
                process.wait(START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _read(process: subprocess.Popen[str], said: Callable[[str], None]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said(line.rstrip("\n"))
