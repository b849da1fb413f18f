"""What a person sees while a job runs: a bar on a terminal, a line a case in a log.

Names come from strangers: control characters are shown, never obeyed.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TextIO

from .results import Result, Status

_WIDTH = 24


def printable(text: str) -> str:
    """The text with everything a terminal might obey written as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


@dataclass(slots=True)
class Progress:
    """Writes to `out`. On a terminal only cases that are not right keep a line, above the bar."""

    out: TextIO
    total: int
    done: int = 0
    quiet: bool = False

    def case(self, result: Result, kept: bool) -> None:
        """One more case is finished; `kept`: its verdict was there from an earlier run."""
        self.done += 1
        if self.quiet:
            return
        terminal = self.out.isatty()
        line = f"[{self.done:>{len(str(self.total))}}/{self.total}] {result.status.value:<13} {printable(result.case.name)}"
        if kept:
            line += " (kept)"
        if result.status is not Status.RIGHT:
            line += f": {printable('; '.join(part.strip() for part in result.why.splitlines()))}"
        if not terminal:
            self.out.write(line + "\n")
        else:
            columns = shutil.get_terminal_size().columns
            if result.status is not Status.RIGHT:
                self.out.write(f"\r\033[K{line}\n")
            filled = _WIDTH * self.done // max(1, self.total)
            bar = f"[{'#' * filled}{'.' * (_WIDTH - filled)}] {self.done}/{self.total} {printable(result.case.name)}"
            self.out.write(f"\r\033[K{bar[: columns - 1]}" + ("\n" if self.done == self.total else ""))
        self.out.flush()
