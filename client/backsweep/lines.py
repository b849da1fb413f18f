"""Which line of the user's own code is at work: for errors, and for the side table of a trace.

A line is named as people name it, `model.py:12`. What stands there is read only when an error is
shown. Nothing here ever enters a graph.
"""

from __future__ import annotations

import linecache
import os
import sys
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from inspect import unwrap
from types import FrameType
from typing import Any

import numpy as np

import backsweep_engine
from backsweep_engine.errors import Error

_HERE = os.path.dirname(os.path.abspath(__file__))
_SCIPY = find_spec("scipy")  # found, not imported
_LIBRARIES = (__file__, backsweep_engine.__file__, np.__file__, _SCIPY.origin if _SCIPY and _SCIPY.origin else __file__)
_OURS = tuple(os.path.dirname(os.path.abspath(file)) + os.sep for file in _LIBRARIES)
_USERS = os.path.join(_HERE, "demo") + os.sep
"""The demo ships in this package but is written as a user would write it."""

_PLACES: dict[str, tuple[str, int]] = {}
"""The full path and number of each line named so far: two files of one name are told apart."""


@cache
def _is_users(filename: str) -> bool:
    return filename.startswith(_USERS) or not filename.startswith(_OURS)


@cache
def _name(filename: str, number: int) -> str:
    place = (filename, number)
    short = f"{os.path.basename(filename)}:{number}"
    name = short if _PLACES.setdefault(short, place) == place else f"{filename}:{number}"
    _PLACES[name] = place
    return name


def locate() -> str:
    """The line of the innermost frame outside backsweep, its engine, NumPy and SciPy."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if _is_users(frame.f_code.co_filename):
            return _name(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back
    return ""


def outside() -> int:
    """The `stacklevel` by which the caller's warnings point at that line."""
    level, frame = 1, sys._getframe(1)
    while not _is_users(frame.f_code.co_filename) and frame.f_back is not None:
        level, frame = level + 1, frame.f_back
    return level


def text(source: str) -> str:
    """What stands at a line that `locate` named, without indentation; "" if it cannot be read."""
    place = _PLACES.get(source)
    return linecache.getline(*place).strip() if place else ""


def definition(f: Callable[..., Any]) -> str:
    """The line where a function is defined, "" for one not written in Python."""
    code = getattr(unwrap(f), "__code__", None)
    return _name(code.co_filename, code.co_firstlineno) if code else ""


def blame(error: Error, f: Callable[..., Any]) -> None:
    """Fills in where in f the error arose: the innermost user line its traceback passed, else f's definition.

    A line the error already names stands.
    """
    trace, innermost = error.__traceback__, definition(f)
    while trace is not None:
        if _is_users(trace.tb_frame.f_code.co_filename):
            innermost = _name(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        trace = trace.tb_next
    show(error, innermost)


def show(error: Error, source: str) -> None:
    """Names the line in the error, unless it names one, and shows what stands there, above what it shows already."""
    error.source = error.source or source
    line = text(error.source)
    if line and line not in error.window:
        error.window = f"    {line}" + (f"\n{error.window}" if error.window else "")
