"""A tool's own process: python -m bench.child TOOL. Reads one JSON order a line, answers one JSON line.

    {"do": "start"}                               -> {"version", "import_seconds"} or {"absent"}
    {"do": "prepare", "workload", "small"}        -> {"first_seconds", "first_wall_seconds", "digest", "note", "parts"}
    {"do": "time", "part", "calls"}               -> {"seconds"}: CPU of that many calls of a part
    {"do": "memory"}                              -> {"bytes"}: the peak above what was held before `prepare` computed

All seconds but first_wall_seconds are process CPU time, every thread counted. An exception is answered {"error"}.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from .digest import digest
from .tools import TOOLS
from .workload import Prepared
from .workloads import WORKLOADS

PARTS = ("derivative", "value", "program")


class Child:
    """The orders, by name."""

    def __init__(self, tool: str) -> None:
        self.tool = TOOLS[tool]
        self.prepared: Prepared | None = None
        self.held = 0

    def start(self) -> dict[str, Any]:
        before = time.process_time()
        try:
            version = self.tool.start()
        except ImportError as error:
            return {"absent": str(error)}
        return {"version": version, "import_seconds": time.process_time() - before}

    def prepare(self, workload: str, small: bool) -> dict[str, Any]:
        chosen = WORKLOADS[workload]
        inputs = chosen.make(chosen.sizes[small])
        self.held = _resident(reset=True)
        wall, cpu = time.perf_counter(), time.process_time()
        self.prepared = self.tool.prepare(chosen.programs[self.tool.programs], inputs)
        answer = self.prepared.derivative()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        return {
            "first_seconds": cpu,
            "first_wall_seconds": wall,
            "bytes": self.memory()["bytes"],
            "digest": digest(self.prepared.flat(answer)),
            "note": self.prepared.note,
            "parts": [part for part in PARTS if getattr(self.prepared, part) is not None],
        }

    def time(self, part: str, calls: int) -> dict[str, Any]:
        call = getattr(self.prepared, part)
        times = range(calls)
        before = time.process_time_ns()
        for _ in times:
            call()
        return {"seconds": (time.process_time_ns() - before) * 1e-9}

    def memory(self) -> dict[str, Any]:
        return {"bytes": max(0, _peak() - self.held)}


def _status(field: str) -> int:
    """A field of Linux's account of this process, in bytes; 0 elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith(field)), 0)


def _resident(reset: bool) -> int:
    """The resident set now; the peak counts from here where the system lets us say so."""
    if reset:
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:
            return _peak()
    return _status("VmRSS:")


def _peak() -> int:
    return _status("VmHWM:")


def main(tool: str) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a tool prints must not look like an answer
    warnings.simplefilter("ignore")
    child = Child(tool)
    orders = {"start": child.start, "prepare": child.prepare, "time": child.time, "memory": child.memory}
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = orders[order.pop("do")](**order)
        except Exception as error:  # a tool that fails is a line of the table, not the end of the run
            answer = {"error": f"{type(error).__name__}: {error}".splitlines()[0][:200]}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main(sys.argv[1])
