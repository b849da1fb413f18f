"""The table of rules, filled: importing it reads every module that holds rules."""

from __future__ import annotations

from . import choices, maths  # noqa: F401  # they fill it
from .lanes import RULES, write

__all__ = ["RULES", "write"]
