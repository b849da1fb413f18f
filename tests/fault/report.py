"""The table of `make fault-report`: every fault, what came of it, and what each scene left behind. Also written as JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import backsweep as bs

from .run import FIRST_SECONDS, Outcome, Stage
from .table import ANSWER, FAULTS, Fault

BUILD = Path(__file__).resolve().parents[2] / "build"
WIDTH = max(len(fault.name) for fault in FAULTS)


def report(words: Sequence[str]) -> int:
    """Runs the faults whose name holds one of the words (none: all). Exit status 0 if all are right, 1 if one is not, 2 if none has such a name."""
    chosen = [fault for fault in FAULTS if not words or any(word in fault.name for word in words)]
    if not chosen:
        print(f"no fault has {' or '.join(words)} in its name; the faults are:", *(f"  {fault.name}" for fault in FAULTS), sep="\n", file=sys.stderr)
        return 2
    began = time.monotonic()
    print("A Jacobian in blocks is asked through the client; at its third result something is done to the service. Times in seconds.\n")
    print(f"     {'fault':<{WIDTH}}  {'outcome':<13} {'same bits':<9} {'longest wait':>12} {'bound':>6} {'next job':>9}  left behind", flush=True)
    outcomes, left = _run(chosen)
    wrong = len(chosen) - sum(outcome.right for outcome in outcomes)
    right = not wrong and not left
    print(f"\nAfter the servers, their Rays and their nodes were ended, there was left: {', '.join(left) or 'no process, lane, object, folder or port'}.")
    said = f"{wrong} WRONG" if wrong else "all right" if right else "SOMETHING WAS LEFT"
    print(f"{len(chosen)} faults in {time.monotonic() - began:.0f} s: {said}")
    _write(outcomes, left, right)
    return 0 if right else 1


def _run(faults: Iterable[Fault]) -> tuple[list[Outcome], list[str]]:
    """Their outcomes, each printed as it comes, and what the scenes left behind. A fault that could not be done has none, and counts as wrong."""
    stage, outcomes, left = Stage(), [], []
    try:
        for fault in faults:
            try:
                left += stage.ready_for(fault)
                outcomes.append(stage.do(fault))
            except (AssertionError, OSError, bs.Error) as error:
                print(f"FAIL {fault.name:<{WIDTH}}  could not be done: {error}", flush=True)
            else:
                print(line(outcomes[-1]), flush=True)
    finally:
        left += stage.close()
    return outcomes, left


def line(outcome: Outcome) -> str:
    fault = outcome.fault
    bits = {True: "yes", False: "NO", None: "-"}[outcome.same_bits]
    text = (
        f"{'ok  ' if outcome.right else 'FAIL'} {fault.name:<{WIDTH}}  {outcome.got:<13} {bits:<9} {outcome.wait_seconds:>12.2f} {fault.bound_seconds:>6g} "
        f"{outcome.again_seconds:>9.2f}  {', '.join(outcome.left) or '-'}"
    )
    if outcome.got != fault.expected:
        text += f"\n     expected {fault.expected}" + (f"; got: {outcome.message}" if outcome.got != ANSWER else "")
    if outcome.again_seconds > FIRST_SECONDS:
        text += f"\n     the next job's first result is to come within {FIRST_SECONDS:g} s"
    return text


def _write(outcomes: Sequence[Outcome], left: Sequence[str], right: bool) -> None:
    rows: list[dict[str, Any]] = [
        {
            "fault": outcome.fault.name,
            "expected": outcome.fault.expected,
            "outcome": outcome.got,
            "message": outcome.message,
            "same_bits": outcome.same_bits,
            "longest_wait_seconds": round(outcome.wait_seconds, 3),
            "bound_seconds": outcome.fault.bound_seconds,
            "next_job_seconds": round(outcome.again_seconds, 3),
            "left": list(outcome.left),
            "right": outcome.right,
        }
        for outcome in outcomes
    ]
    BUILD.mkdir(exist_ok=True)
    (BUILD / "faults.json").write_text(json.dumps({"right": right, "left": list(left), "cores": os.cpu_count(), "faults": rows}, indent=1) + "\n")
    print(f"written: {(BUILD / 'faults.json').relative_to(BUILD.parent)}")
