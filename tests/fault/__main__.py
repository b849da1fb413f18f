"""python -m fault [WORD ...]: the report, of the faults with one of the words in their names."""

from __future__ import annotations

import signal
import sys

from .report import report

signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))  # so that what was started is ended
sys.exit(report(sys.argv[1:]))
