"""A Ray cluster of one node on loopback, that others join by its address: a session of processes of its own, ended whatever happens."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backsweep_engine.execute.cluster import session

START_SECONDS = 60.0


@contextmanager
def head(cpus: int = 2) -> Iterator[dict[str, str]]:
    """The environment of whoever joins it: RAY_ADDRESS, and the token without which it lets nobody in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    joining = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_USAGE_STATS_ENABLED": "0"}
    joining["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # loopback only; who joins would else look for a node at this machine's other address
    paths = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    own = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="bshead-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        command = [sys.executable, "-P", "-m", "ray.scripts.scripts", "start", "--head", "--block", f"--port={port}", "--node-ip-address=127.0.0.1"]
        command += [f"--num-cpus={cpus}", f"--object-store-memory={100 << 20}", "--include-dashboard=false", f"--temp-dir={folder}/r"]
        with open(Path(folder) / "log", "w+b") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env={**os.environ, **joining, **own, **paths}, start_new_session=True
            )
            try:
                _answers(process, Path(folder) / "log")
                yield {**joining, "RAY_ADDRESS": f"127.0.0.1:{port}"}
            finally:
                session.kill(process.pid)
                process.wait(10)


def _answers(process: subprocess.Popen[bytes], log: Path) -> None:
    """Until `ray start` says that its node runs; a port is open earlier."""
    deadline = time.monotonic() + START_SECONDS
    while b"Ray runtime started" not in (said := log.read_bytes()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise AssertionError(f"Ray did not start: {said.decode(errors='replace')}")
        time.sleep(0.1)
