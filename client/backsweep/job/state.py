"""Finished cases, kept under the digest of all that decides them, so that a job continues where it was.

A file a case, written aside and then renamed: one that is there is whole, whoever was killed when, and several
shards may share a folder. What cannot be read counts as not there. Only verdicts are kept: what could not be run is tried again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from backsweep_engine.check.verdict import Verdict
from backsweep_engine.errors import Error

from ..calls import Call
from ..wire.arrays import to_bytes
from ..wire.graphs import encode_graph
from .lines import verdict_from, verdict_json

_FORM = b"backsweep check 2"
"""Changed whenever what is kept means something else."""


def key_of(call: Call, engine_version: str) -> str:
    """SHA-256 of graph, query, engine version and every array, by name: points, bound ones and a gradient given."""
    digest = hashlib.sha256()

    def add(part: bytes | memoryview) -> None:
        size = memoryview(part).nbytes
        digest.update(size.to_bytes(8, "little"))
        digest.update(part)

    for part in (_FORM, engine_version.encode(), encode_graph(call.request.graph), repr([ask.query for ask in call.request.asks]).encode()):
        add(part)
    for name, array in sorted(call.values.items()):
        add(f"{name} {array.dtype.name} {array.shape}".encode())
        add(to_bytes(array))
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class State:
    """A folder of verdicts by key. `reuse`: False finds nothing (everything is checked again) but keeps what is new."""

    folder: Path
    reuse: bool = True

    def prepare(self) -> None:
        """Makes the folder; Error if nothing can be kept there, before any work."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except OSError as error:
            raise Error("finished cases cannot be kept", reason="NO_FILE", got=str(self.folder), hint=error.strerror or "") from None

    def get(self, key: str) -> Verdict | None:
        if not self.reuse:
            return None
        with contextlib.suppress(OSError, ValueError):
            return verdict_from(json.loads((self.folder / f"{key}.json").read_text()))
        return None

    def put(self, key: str, verdict: Verdict) -> None:
        write_whole(self.folder / f"{key}.json", json.dumps(verdict_json(verdict), allow_nan=False))


def write_whole(path: Path, text: str) -> None:
    """Writes a file that is either the old one or the new one, never a part; Error if it cannot."""
    try:
        handle, aside = tempfile.mkstemp(dir=path.parent, prefix=".", suffix=".part")
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(aside, 0o644)
            os.replace(aside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(aside)
            raise
    except OSError as error:
        raise Error("a file cannot be written", reason="NO_FILE", got=str(path), hint=error.strerror or "") from None
