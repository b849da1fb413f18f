"""One life of the driver's process, seen from here: start it, talk with it, notice its end, clean up after it.

Two threads of its own: one starts the process, reads, and buries it; one writes. So a caller never blocks on the
channel, and the thread that started the process lives as long as the process does.
"""

from __future__ import annotations

import contextlib
import importlib.util
import logging
import os
import queue
import secrets
import site
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from ...errors import ClusterLost, Error
from ..executor import Array
from . import channel, session
from .messages import Beat, Done, Drop, Ended, Failed, Lost, Open, Ready, Resources, Settings, Taken

_log = logging.getLogger("backsweep.cluster")

_POLL_SECONDS = 1.0
_SILENT_POLLS = 20
"""Without a beat for so many polls in a row the driver is taken for hung. Polls, not a clock: while this process is
itself stopped none passes."""
_SEND_SECONDS = 60.0
_CLOSING_SECONDS = 10.0
_LOG_BYTES = 2000

NEEDED = ("ray", "threadpoolctl")
HINT = "pip install 'backsweep[ray]', or use the local executor"

Inbox = queue.SimpleQueue[tuple[Done | Ended | None, list[Array]]]
"""What a job is told, in order; None: the driver is gone."""


def missing() -> list[str]:
    """What must be installed and is not. Looks, imports nothing."""
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


class Child:
    """See the module. `ready` is set when lanes can work, `over` when the process has ended and `cause` says why."""

    def __init__(self, lanes: int, memory_bytes: int, address: str | None, resources: Resources, start_seconds: float, answer_seconds: float) -> None:
        self.ready = threading.Event()
        self.over = threading.Event()
        self.cause: Error = ClusterLost("the cluster's driver was lost", hint=HINT)
        self._folder = session.new_folder()
        self._settings = Settings(lanes, memory_bytes, address, resources, self._folder, start_seconds, answer_seconds, os.getpid())
        self._outbox: queue.SimpleQueue[tuple[object, Sequence[Array]] | None] = queue.SimpleQueue()
        self._inboxes: dict[int, Inbox] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._quiet = 0
        self._ours, self._theirs = channel.pair()
        # Timeouts are per Python object; the flag below them is shared, so both objects need one.
        self._reading = self._ours.dup()
        self._ours.settimeout(_SEND_SECONDS)
        self._reading.settimeout(_POLL_SECONDS)
        self._writer = threading.Thread(target=self._write, name="backsweep-cluster-write", daemon=True)
        self._reader = threading.Thread(target=self._live, name="backsweep-cluster-read", daemon=True)
        self._reader.start()

    # Jobs.

    def open(self, request: Open, arrays: Sequence[Array]) -> Inbox:
        inbox: Inbox = queue.SimpleQueue()
        with self._lock:
            if self.over.is_set():
                raise channel.Closed(self.cause.message)
            self._inboxes[request.job] = inbox
        self._outbox.put((request, arrays))
        return inbox

    def taken(self, job: int) -> None:
        self._outbox.put((Taken(job), ()))

    def drop(self, job: int) -> None:
        with self._lock:
            self._inboxes.pop(job, None)
        self._outbox.put((Drop(job), ()))

    def close(self) -> None:
        """Ends the process and everything it started; returns when they are gone."""
        self._closing = True
        self._hang_up()
        self._reader.join(2 * _CLOSING_SECONDS)

    # The threads.

    def _live(self) -> None:
        process = None
        try:
            session.sweep_leftovers(str(Path(self._folder).parent))
            with open(Path(self._folder) / "driver.log", "wb") as log:
                process = self._spawn(log.fileno())
            self._writer.start()
            self._outbox.put((self._settings, ()))
            while True:
                self._told(*channel.receive(self._reading, self._silence))
        except Error as cause:
            self.cause = cause
        except (channel.Closed, OSError) as error:
            why = "it was closed" if self._closing else f"its process ended ({error}){self._log()}"
            self.cause = ClusterLost(f"the cluster's driver was lost: {why}", hint=HINT)
        finally:
            if process is not None:
                self._bury(process)
            session.remove(self._folder)
            with self._lock:
                self.over.set()
                inboxes, self._inboxes = self._inboxes, {}
            for inbox in inboxes.values():
                inbox.put((None, []))
            self._outbox.put(None)
            self._reading.close()

    def _spawn(self, log: int) -> subprocess.Popen[bytes]:
        """-P and a folder of our own to stand in: neither the driver nor Ray's workers import modules from the user's folder."""
        command = [sys.executable, "-P", "-m", "backsweep_engine.execute.cluster.driver", str(self._theirs.fileno())]
        environment = environment_of(os.environ, own=self._settings.address is None)
        try:
            return subprocess.Popen(
                command,
                pass_fds=[self._theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=environment,
                start_new_session=True,
            )
        finally:
            self._theirs.close()

    def _told(self, message: object, arrays: list[Array]) -> None:
        self._quiet = 0
        match message:
            case Done(job) | Ended(job):
                with self._lock:
                    inbox = self._inboxes.get(job)
                if inbox is not None:
                    inbox.put((message, arrays))
            case Ready():
                self.ready.set()
            case Lost(lane, cause):
                _log.warning("lane %d was lost: %s; another is being started", lane, cause)
            case Beat():
                pass
            case Failed(cause):
                raise cause

    def _silence(self) -> None:
        """No beat while Ray starts: then the limit is the starting time."""
        self._quiet += 1
        limit = _SILENT_POLLS if self.ready.is_set() else max(1, self._settings.start_seconds / _POLL_SECONDS)
        if self._quiet >= limit:
            raise channel.Closed(f"no sign of life for {limit * _POLL_SECONDS:g} s")

    def _write(self) -> None:
        try:
            while (item := self._outbox.get()) is not None:
                channel.send(self._ours, *item)
        except channel.Closed:
            self._hang_up()  # the reader finds out and buries
        self._ours.close()

    def _hang_up(self) -> None:
        """Ends both directions, whoever is blocked in them; the driver reads it as the end."""
        with contextlib.suppress(OSError):  # it was ended before
            self._ours.shutdown(socket.SHUT_RDWR)

    def _bury(self, process: subprocess.Popen[bytes]) -> None:
        """The driver closes Ray by itself if it can; then whatever is left of its session is killed, before its id is free."""
        self._hang_up()
        if self._closing:
            waited = threading.Event()
            for _ in range(int(_CLOSING_SECONDS / 0.05)):
                if os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                    break
                waited.wait(0.05)
        session.kill(process.pid)
        process.wait()

    def _log(self) -> str:
        try:
            text = (Path(self._folder) / "driver.log").read_bytes()[-_LOG_BYTES:].decode(errors="replace").strip()
        except OSError:
            return ""
        return f"; its last words:\n{text}" if text else ""


def environment_of(inherited: Mapping[str, str], *, own: bool) -> dict[str, str]:
    """The driver's environment, complete before it imports Ray. `own`: a local Ray, for which we make a secret token."""
    environment = dict(inherited)
    environment.update(RAY_USAGE_STATS_ENABLED="0", OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", MKL_NUM_THREADS="1")
    if own:
        environment.pop("RAY_ADDRESS", None)
        # The last one makes a local Ray listen on loopback only; the node's address alone does not.
        environment.update(RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32), RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")
    paths = [str(Path(p).absolute()) for p in environment.get("PYTHONPATH", "").split(os.pathsep) if p]
    root = str(Path(__file__).resolve().parents[3])
    if root not in (*site.getsitepackages(), site.getusersitepackages()):
        paths.insert(0, root)  # a checkout: workers must find the same engine
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    return environment
