"""Rules of ops that hold graphs, one record per op and one function per pass.

A rule receives the transform itself and applies it to the graphs the node holds; captured values
are explicit operands, so the rules need nothing but the node. To add a structured op: one record.
"""

from __future__ import annotations

from .choices import CHOICE
from .custom import CUSTOM, REVERSE_ONLY
from .rules import StructuredRules
from .scan import SCAN
from .while_loop import WHILE_LOOP

RULES: dict[str, StructuredRules] = {
    "cond": CHOICE,
    "checkpoint": CHOICE,
    "custom": CUSTOM,
    "reverse_only": REVERSE_ONLY,
    "scan": SCAN,
    "while_loop": WHILE_LOOP,
}

__all__ = ["RULES", "StructuredRules"]
