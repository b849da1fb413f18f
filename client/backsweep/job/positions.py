"""On which line of a TOML text each key stands: tomllib does not say.

Each statement is found by giving tomllib itself line after line until they parse: what a string, comment or array
is, is nowhere decided twice.
"""

from __future__ import annotations

import tomllib
from itertools import islice
from typing import Any

Path = tuple[str | int, ...]
"""Keys and, in arrays of tables, positions: ("case", 2, "judge")."""

MAX_TRIES = 500
"""Lines that may be the end of one statement; after one with more nothing is placed, since the search is quadratic."""

_ENDS = ("]", "}", '"""', "'''")
"""Without one of these no statement of several lines ends."""


def positions(text: str) -> dict[Path, int]:
    """Line, from 1, of every table and key of a text that tomllib accepts; within an inline table that of its statement."""
    found: dict[Path, int] = {}
    lines, at = text.splitlines(), 0
    table: Path = ()
    counts: dict[Path, int] = {}
    while at < len(lines):
        statement, end = _statement(lines, at)
        if end == at:
            break
        if statement and lines[at].lstrip().startswith("["):
            table = _header(statement, lines[at].lstrip().startswith("[["), counts)
            found.setdefault(table, at + 1)
        else:
            for path in _paths(statement):
                found.setdefault(table + path, at + 1)
        at = end
    return found


def _statement(lines: list[str], at: int) -> tuple[dict[str, Any], int]:
    """What the statement at this line sets, and the line after it; the same line if its end was not found."""
    ends = (end for end in range(at + 1, len(lines) + 1) if end == at + 1 or any(token in lines[end - 1] for token in _ENDS))
    for end in islice(ends, MAX_TRIES):
        try:
            return tomllib.loads("\n".join(lines[at:end])), end
        except tomllib.TOMLDecodeError:
            continue
    return {}, at


def _header(parsed: dict[str, Any], repeated: bool, counts: dict[Path, int]) -> Path:
    """The path of [a.b] or [[a.b]]; of an array's table the latest is meant."""
    path: Path = ()
    inside: Any = parsed
    while inside:
        (key, inside), *_ = inside.items()
        path += (key,)
        if isinstance(inside, list):
            inside = inside[0]
        last = not inside
        if last and repeated:
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (counts[path],)
    return path


def _paths(parsed: dict[str, Any]) -> list[Path]:
    paths: list[Path] = []
    for key, value in parsed.items():
        paths.append((key,))
        if isinstance(value, dict):
            paths += [(key, *rest) for rest in _paths(value)]
    return paths
