"""The command: which workloads, which tools, how long; then the table as it comes, the picture and the JSON file."""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from . import table
from .picture import draw
from .rounds import Effort, measure
from .tools import TOOLS
from .workloads import WORKLOADS

BUILD = Path(__file__).resolve().parents[2] / "build" / "bench"

QUICK = Effort(rounds=3, turn_seconds=0.02, warm_seconds=0.1, most_seconds=2.0)


def main(arguments: Sequence[str]) -> int:
    """Exit status 1 if two tools' answers differ, or backsweep fails."""
    parser = argparse.ArgumentParser(prog="bench", description="Derivatives of backsweep and its peers: CPU time, first call, memory; ratios to the best peer.")
    parser.add_argument("workloads", nargs="*", help="parts of names; all if none is given")
    parser.add_argument("--tools", default=",".join(TOOLS), help="separated by commas (default: %(default)s)")
    parser.add_argument("--rounds", type=int, help=f"turns of each tool (default: {Effort().rounds})")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.rounds} short rounds: for orientation, not for claims")
    parser.add_argument("--output", type=Path, default=BUILD, help="the folder for bench.json, bench.png and bench.svg (default: build/bench)")
    given = parser.parse_args(arguments)
    tools = given.tools.split(",")
    unknown = sorted(set(tools) - set(TOOLS))
    chosen = [w for name, w in WORKLOADS.items() if not given.workloads or any(part.lower() in name.lower() for part in given.workloads)]
    if unknown or not chosen:
        parser.error(f"no tool is called {', '.join(unknown)}: {', '.join(TOOLS)}" if unknown else f"no workload has such a name: {'; '.join(WORKLOADS)}")
    effort = QUICK if given.quick else Effort()
    if given.rounds is not None:
        effort = Effort(max(1, given.rounds), effort.turn_seconds, effort.warm_seconds, effort.most_seconds)

    print(table.head(), flush=True)
    lines = []
    for workload in chosen:
        line = table.Line(workload, measure(workload, [t for t in TOOLS if t in tools], effort))
        lines.append(line)
        print(line, flush=True)
    print(table.foot(lines))
    given.output.mkdir(parents=True, exist_ok=True)
    written = given.output / "bench.json"
    machine = {"machine": platform.machine(), "system": platform.system(), "python": platform.python_version()}
    written.write_text(json.dumps({"platform": machine, "lines": [line.as_json() for line in lines], "summary": table.summary(lines)}, indent=1) + "\n")
    pictures = draw(lines, given.output)
    print("written:", *[path.name for path in (written, *pictures)], "" if pictures else "(no picture: no matplotlib or no peer)", file=sys.stderr)
    return 1 if any(line.wrong for line in lines) else 0
