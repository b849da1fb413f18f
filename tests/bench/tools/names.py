"""The names of a tool's functions, and under NumPy's name what the tool calls otherwise."""

from __future__ import annotations

from typing import Any


class Names:
    """`module`'s attributes, but for those given."""

    def __init__(self, module: Any, **others: Any) -> None:
        self._module = module
        self._others = others

    def __getattr__(self, name: str) -> Any:
        return self._others[name] if name in self._others else getattr(self._module, name)
