"""Logging: the logger `backsweep.server`, one line for each rpc.

    Compute OK 0.6 ms, 412 bytes in, 311 out
    Compute OVER_BUDGET 1.1 ms, 412 bytes in, 0 out: the work does not fit the memory budget

Nothing of what is asked or answered is logged: names, values and addresses stay out.
"""

from __future__ import annotations

import logging
import sys

log = logging.getLogger("backsweep.server")

OURS = "INTERNAL"


def start(level: str) -> None:
    """Log lines go to stderr: stdout carries the ready line alone."""
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("backsweep").setLevel(level.upper())


def rpc_line(name: str, reason: str, seconds: float, received: int, sent: int, text: str) -> None:
    """One rpc has ended. `reason`: OK, or that of its error."""
    level = logging.WARNING if reason == OURS else logging.INFO
    if log.isEnabledFor(level):
        log.log(level, "%s %s %.1f ms, %d bytes in, %d out%s", name, reason, seconds * 1e3, received, sent, f": {text}" if text else "")
