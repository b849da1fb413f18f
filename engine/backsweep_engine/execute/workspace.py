"""Workspaces: what one running call of a program has to itself, and the pool of those that are idle.

What all pools together keep is bounded: a workspace beyond it goes back to the system after its call.
"""

from __future__ import annotations

import contextvars
import functools
import threading
from dataclasses import dataclass

import numpy as np

from ..plan.memory import ALIGNMENT
from .executor import Array, Run

MAX_POOLED_BYTES = 256 << 20
"""Of the workspaces that all programs keep."""


LARGE_RESULTS = 1 << 20
"""Bytes of results from which it matters that the memory of earlier ones is there."""

LARGE_TEMPORARIES = 128 << 10
"""The same of what a kernel allocates and frees in every call: from here on glibc asks the system for each, until it is taught."""


@functools.cache
def keep_freed_memory() -> None:
    """Teaches the C library that blocks of up to 32 MB come and go: it then keeps up to 64 MB of what is freed.

    glibc raises its limits by itself (M_MMAP_THRESHOLD, and M_TRIM_THRESHOLD to twice that) when it frees such a block, up to
    32 MB; one that is never touched will do. Until then every call that returns two arrays of 8 MB takes their pages anew
    from the system (1.8 ms, where the work itself takes 1.4; measured). Other C libraries ignore it.
    """
    np.empty((32 << 20) - (16 << 10), np.uint8)


@dataclass(slots=True)
class Workspace:
    """What one running call has to itself: memory, the function bound to it, and a context with NumPy's warnings off.

    `marks`: what `run` leaves beside the outputs, a number for each bound of one (norms.py).
    """

    memory: Array
    context: contextvars.Context
    marks: Array
    run: Run | None = None
    warm: bool = False


class Pool:
    """The idle workspaces of one program. What all pools together keep is bounded by MAX_POOLED_BYTES."""

    _lock = threading.Lock()
    _kept_bytes = 0

    def __init__(self, nbytes: int, marks: int = 0) -> None:
        self._nbytes = nbytes
        self._marks = marks
        self._idle: list[Workspace] = []

    def take(self) -> Workspace:
        try:
            return self._idle.pop()
        except IndexError:
            pass
        with Pool._lock:
            Pool._kept_bytes += self._nbytes
        block = np.empty(self._nbytes + ALIGNMENT, np.uint8)
        start = -block.__array_interface__["data"][0] % ALIGNMENT
        # A context of its own is entered three times as fast as np.errstate.
        context = contextvars.Context()
        context.run(np.seterr, all="ignore")
        return Workspace(block[start : start + self._nbytes], context, np.empty(self._marks))

    def give_back(self, workspace: Workspace) -> None:
        if Pool._kept_bytes <= MAX_POOLED_BYTES:
            self._idle.append(workspace)
        else:
            with Pool._lock:
                Pool._kept_bytes -= self._nbytes

    def __del__(self) -> None:
        # No lock: the collector may run this in a thread that holds it; nobody else has this pool now.
        Pool._kept_bytes -= self._nbytes * len(self._idle)
