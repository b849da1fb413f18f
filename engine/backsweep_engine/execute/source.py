"""Source: generated Python, line by line, and of which node each line is.

Rules for whoever writes into it. Integers name everything: no string of a client's graph ever
becomes source. What a line needs beside its local names is `given` to the source as an object.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple

from ..errors import Cancelled, Fault
from ..graph import Node

_LINE = re.compile(r"[a-z0-9_ =!&|^+*/<>,.:()\[\]-]*", re.IGNORECASE)
"""All characters that generated source consists of: no quote, no backslash, no line break."""


class Place(NamedTuple):
    """Whose line it is: the submitted node it derives from. `inside`: what it runs has lines of its own that tell more."""

    origin: int
    op: str
    structured: bool = False
    inside: bool = False


def place_of(node: Node, structured: bool = False) -> Place:
    return Place(node.origin, node.op, structured)


def halt() -> None:
    raise Cancelled("the work was stopped")


class Source:
    """Lines of one function `make`, which returns what they define."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._places: list[Place | None] = []
        self._given: dict[str, Any] = {"halt": halt}
        self._known: dict[int, str] = {}

    def line(self, depth: int, text: str, place: Place | None = None) -> None:
        if not _LINE.fullmatch(text):
            raise Fault("generated source holds a character it must not")
        self._lines.append("    " * depth + text)
        self._places.append(place)

    def give(self, value: Any) -> str:
        """The name of an object in the source."""
        name = self._known.get(id(value))
        if name is None:
            name = self._known[id(value)] = f"g{len(self._known)}"
            self._given[name] = value  # which also keeps it alive, so that its id stays its own
        return name

    def compiled(self) -> Callable[..., Any]:
        """The function `make`."""
        space = {**self._given, "__places__": tuple(self._places)}
        exec(compile("\n".join(self._lines), "<backsweep>", "exec", dont_inherit=True), space)
        make: Callable[..., Any] = space["make"]
        return make


def names(prefix: str, numbers: Any) -> str:
    """`prefix1, prefix2, ` with a comma behind the last, as in a tuple of any length."""
    return "".join(f"{prefix}{n}, " for n in numbers)


def unpacked(prefix: str, numbers: Any, source: str) -> str:
    """The assignment of a sequence to names."""
    left = names(prefix, numbers)
    return f"{left}= {source}" if left else f"() = {source}"


def place_in(traceback: TracebackType | None) -> Place | None:
    """The outermost place a traceback passed through in generated source; of a region the node within."""
    found: Place | None = None
    while traceback is not None:
        frame = traceback.tb_frame
        places = frame.f_globals.get("__places__")
        place = places[traceback.tb_lineno - 1] if places is not None else frame.f_locals.get("place") if frame.f_code.co_name == "interpreted" else None
        if place is not None:
            found = place
            if not place.inside:
                return found
        traceback = traceback.tb_next
    return found
