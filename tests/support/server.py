"""A real server: its own process on loopback, started when first needed, ended and reaped whatever happens."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

START_SECONDS = 60.0
"""A busy machine takes a few."""
STOP_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server that said it is ready."""

    address: str
    process: subprocess.Popen[str]
    stderr: IO[str]

    def log(self) -> str:
        """What it has logged so far."""
        self.stderr.seek(0)
        return self.stderr.read()

    def cpu_seconds(self) -> float:
        """What it has worked so far: that it is at work on a request shows nowhere else."""
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return sum(map(int, stat[stat.rindex(")") + 1 :].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signals, waits and reaps: the exit status."""
        self.process.send_signal(number)
        return self.process.wait(STOP_SECONDS)


def free_port() -> int:
    """Of loopback, for a server that is started again where another was."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(environment: Mapping[str, str] | None = None, **settings: object) -> Iterator[Server]:
    """A server with these settings: `max_streams=2` becomes BACKSWEEP_MAX_STREAMS. `environment`: what else it is to find there."""
    with tempfile.TemporaryFile("w+") as stderr:
        process = begin(stderr, environment, **settings)
        try:
            yield Server(_ready(process, stderr), process, stderr)
        finally:
            if process.poll() is None:
                process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(STOP_SECONDS)
            assert process.stdout is not None
            process.stdout.close()


def begin(stderr: IO[str], environment: Mapping[str, str] | None = None, **settings: object) -> subprocess.Popen[str]:
    """The process, which may not be ready."""
    ours = {f"BACKSWEEP_{name.upper()}": str(value) for name, value in {"listen": "127.0.0.1:0", "notice_seconds": "0.1", **settings}.items()}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("BACKSWEEP_")}
    command = [sys.executable, "-m", "backsweep_server"]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stderr, text=True, env={**inherited, **(environment or {}), **ours}
    )


def _ready(process: subprocess.Popen[str], stderr: IO[str]) -> str:
    stdout = process.stdout
    assert stdout is not None
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(stdout.readline()), daemon=True)  # readline itself knows no timeout
    reader.start()
    reader.join(START_SECONDS)
    words = lines[0].split() if lines else []
    if len(words) != 2 or words[0] != "ready":
        stderr.seek(0)
        raise AssertionError(f"the server said {words} and not `ready HOST:PORT`; on stderr: {stderr.read()}")
    return words[1]
