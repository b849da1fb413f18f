"""python -m bench [WORKLOAD ...]: the table, its picture and its figures as JSON."""

from __future__ import annotations

import sys

from .run import main

sys.exit(main(sys.argv[1:]))
