"""What `backsweep check` may be asked for. Imports nothing of the package: every start of the command line pays for it."""

from __future__ import annotations

import argparse
from pathlib import Path


def options(parser: argparse.ArgumentParser) -> None:
    """What may be asked for."""
    parser.add_argument("suite", type=Path, metavar="SUITE", help="a TOML file; its form is in client/backsweep/job/suite.py")
    parser.add_argument("--out", type=Path, default=Path("backsweep-check"), metavar="DIR", help="for junit.xml, cases.jsonl, report.html (./backsweep-check)")
    parser.add_argument("--state", type=Path, metavar="DIR", help="where finished cases are kept, to continue from (default DIR of --out, then state)")
    parser.add_argument("--fresh", action="store_true", help="check everything again, whatever is kept")
    parser.add_argument("--connect", metavar="HOST:PORT", help="a server that computes (default: this process)")
    parser.add_argument("--insecure", action="store_true", help="with --connect: allow plaintext off loopback")
    parser.add_argument("--executor", choices=("local", "cluster"), default="local", help="without --connect: this process, or Ray workers (local)")
    parser.add_argument("--lanes", type=int, default=2, metavar="N", help="Ray workers of the cluster executor (default 2)")
    parser.add_argument("--jobs", type=int, metavar="N", help="cases at a time (default 1; 4 with --connect; twice the lanes with --executor cluster)")
    parser.add_argument("--shard", type=_shard, default=(0, 1), metavar="I/N", help="only every Nth case from the Ith, counted from 0: for an indexed job")
    parser.add_argument("--select", action="append", metavar="PATTERN", help="only cases whose name has this shell pattern; repeat for several")
    parser.add_argument("--fail-fast", action="store_true", help="stop at the first case that is not right")
    parser.add_argument("--list", action="store_true", help="print the names of the cases and check nothing")
    parser.add_argument("--allow-code", action="store_true", help="let the suite name functions, which run in this process: only for code you trust")
    parser.add_argument("--quiet", action="store_true", help="no line a case, only the summary")
    parser.epilog = "Exit status: 0 all right, 1 a gradient is wrong, 2 of one nothing can be told, 3 a case could not be run or the job was stopped."


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and len(text) < 20 and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: I/N with I from 0 to N - 1")
    return int(index), int(count)
