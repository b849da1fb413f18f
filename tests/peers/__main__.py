"""python -m peers [NAME ...]: the table of how far the engine and JAX are apart. Exit status 1 if they disagree.

`python -m peers checkers [SEEDS] [CPU_SECONDS]`: the table of what other gradient checkers let pass (rounds.py). Without a name: both.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

from .report import main
from .rounds import main as checkers

names = sys.argv[1:]
status = 0 if names[:1] == ["checkers"] else main(names)
if not names or names[0] == "checkers":
    checkers(*map(int, names[1:3]))
sys.exit(status)
