"""HTML and SVG elements as values. A str is text and is escaped; only what `tag` made is markup.

Rule: no other module writes an angle bracket. Attribute names are ours, their values are escaped too.
"""

from __future__ import annotations

import html
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Markup:
    """Text that is markup already."""

    text: str


Content = Markup | str
_VOID = ("input", "meta", "line", "circle", "rect", "path", "polyline")


def tag(name: str, /, *content: Content, **attributes: object) -> Markup:
    """An element. `class_` is class; in other names _ is -; None and False leave an attribute out, True writes it bare."""
    written = "".join(_attribute(key, value) for key, value in attributes.items() if value is not None and value is not False)
    if name in _VOID and not content:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(content).text}</{name}>")


def joined(content: Iterable[Content]) -> Markup:
    """One piece after the other."""
    return Markup("".join(part.text if isinstance(part, Markup) else _escaped(part) for part in content))


def _attribute(key: str, value: object) -> str:
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{_escaped(str(value))}"'


def _escaped(text: str) -> str:
    """Escaped, and with what a browser would not show, or show as something else (controls, reordering), made visible."""
    return html.escape("".join(c if c.isprintable() or c == "\n" else "\\x" + f"{ord(c):02x}" for c in text))


def number(value: float) -> str:
    """A figure as people read it."""
    return f"{value:.3g}"
