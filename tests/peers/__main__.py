"""python -m peers [NAME ...]: the table of how far the engine and JAX are apart. Exit status 1 if they disagree."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_ENABLE_X64", "1")

from .report import main

sys.exit(main(sys.argv[1:]))
