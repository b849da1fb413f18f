"""The parent's end of a tool's process: orders go down a pipe, answers come back within a time."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

from .tools import ENVIRONMENT

PATIENCE_SECONDS = 120.0


class Failed(Exception):
    """The tool could not do it; the text says why."""


class Process:
    """One tool, started. Use it in a `with` statement: the process ends with it."""

    def __init__(self, tool: str) -> None:
        self.tool = tool
        command = [sys.executable, "-P", "-m", "bench.child", tool]
        # -P leaves the folder out of the path, where a workload could be imported for a library.
        path = os.pathsep.join([os.path.dirname(os.path.dirname(os.path.abspath(__file__))), *filter(None, [os.environ.get("PYTHONPATH")])])
        environment = {**os.environ, **ENVIRONMENT, "PYTHONPATH": path}
        self._child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """The answer to an order. Raises Failed if the tool fails at it, dies or takes longer than PATIENCE_SECONDS."""
        assert self._child.stdin is not None and self._child.stdout is not None
        if self._child.poll() is not None:
            raise Failed(f"its process ended ({self._child.returncode})")
        try:
            self._child.stdin.write(json.dumps({"do": do, **order}).encode() + b"\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            raise Failed(f"its process ended ({self._child.wait()})") from None
        with selectors.DefaultSelector() as selector:
            selector.register(self._child.stdout, selectors.EVENT_READ)
            if not selector.select(PATIENCE_SECONDS):
                self.close()
                raise Failed(f"over {PATIENCE_SECONDS:.0f} s")
        line = self._child.stdout.readline()
        if not line:
            raise Failed(f"its process ended ({self._child.wait()})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer

    def close(self) -> None:
        self._child.kill()
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
