"""python -m peers [NAME ...]: the table of how far the engine and JAX are apart. Exit status 1 if they disagree.

`python -m peers checkers [SEEDS]`: the table of what other gradient checkers let pass (checkers.py). Without a name: both.
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

from .checkers import main as checkers
from .report import main

names = sys.argv[1:]
status = 0 if names[:1] == ["checkers"] else main(names)
if not names or names[0] == "checkers":
    checkers(*map(int, names[1:2]))
sys.exit(status)
