"""What `backsweep check` does with its options: suite -> results -> files, and the exit status.

Here signals, files and streams are touched, and nowhere else in this package. Exit status: results.exit_status, and 3 for
everything that keeps a job from running as asked.
"""

from __future__ import annotations

import argparse
import fnmatch
import signal
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from backsweep_engine.errors import Error

from ..results import NonFiniteWarning
from ..service import Service
from .junit import junit
from .lines import json_lines
from .models import Models
from .progress import Progress, printable
from .reading import read_suite
from .report.page import page
from .results import Result, Status, exit_status, summary
from .run import Job
from .state import State, write_whole
from .suite import Case, Suite

COULD_NOT_RUN = 3

_GREETING_SECONDS = 30.0
"""For a server to answer at all, before any case is sent."""


def run(chosen: argparse.Namespace) -> int:
    """Checks every gradient of a suite: many models, points and judges as one job that can be stopped, continued and sharded."""
    try:
        suite = read_suite(chosen.suite)
        cases = _chosen(suite, chosen)
        if chosen.list:
            sys.stdout.write("".join(printable(case.name) + "\n" for case in cases))
            return 0
        return _run(suite, cases, chosen)
    except Error as error:
        sys.stderr.write(f"backsweep: {error}\n")
        return COULD_NOT_RUN
    except BrokenPipeError:
        # Nobody reads any more; whether all is right can then not be told to anyone.
        return COULD_NOT_RUN


def _chosen(suite: Suite, chosen: argparse.Namespace) -> list[Case]:
    """The cases selected, then every Nth of them."""
    patterns = chosen.select or ["*"]
    selected = [case for case in suite.cases if any(fnmatch.fnmatchcase(case.name, pattern) for pattern in patterns)]
    if not selected:
        some = ", ".join(printable(case.name) for case in suite.cases[:5])
        raise Error("no case has such a name", reason="SUITE", got=" ".join(patterns), allowed=f"{some} ...")
    index, count = chosen.shard
    return selected[index::count]


def _run(suite: Suite, cases: Sequence[Case], chosen: argparse.Namespace) -> int:
    for name, value in (("--lanes", chosen.lanes), ("--jobs", chosen.jobs)):
        if value is not None and not 1 <= value <= 4096:
            raise Error(f"{name} is out of range", reason="MALFORMED", got=str(value), allowed="1 to 4096")
    state = State(chosen.state or chosen.out / "state", reuse=not chosen.fresh)
    state.prepare()
    progress = Progress(sys.stderr, len(cases), quiet=chosen.quiet)
    jobs = chosen.jobs or (4 if chosen.connect else 2 * chosen.lanes if chosen.executor == "cluster" else 1)
    with _stopping() as stop, _service(chosen) as service, warnings.catch_warnings():
        # The verdict itself says what is not finite, and where.
        warnings.simplefilter("ignore", NonFiniteWarning)
        version = service.engine_version(timeout=_GREETING_SECONDS)
        job = Job(service, Models(service, suite.folder, chosen.allow_code), state, version, jobs, stop, chosen.fail_fast)
        results = job.run(cases, progress.case)
    _write(chosen.out, suite, results)
    sys.stdout.write(f"{summary(results)}\nreport: {chosen.out / 'report.html'}\n")
    if stop.is_set() and any(result.status is Status.NOT_RUN for result in results):
        sys.stderr.write("stopped: the same command continues where it was\n")
        return COULD_NOT_RUN
    return exit_status(results)


def _write(out: Path, suite: Suite, results: Sequence[Result]) -> None:
    for name, text in (
        ("junit.xml", junit(suite.title, results)),
        ("cases.jsonl", json_lines(results)),
        ("report.html", page(suite.title, suite.path.name, results)),
    ):
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise Error("a report cannot be written", reason="NO_FILE", got=str(out), hint=error.strerror or "") from None
        write_whole(out / name, text)


@contextmanager
def _service(chosen: argparse.Namespace) -> Iterator[Service]:
    if chosen.connect:
        from ..client import connect

        service = connect(chosen.connect, insecure=chosen.insecure)
    else:
        from ..inprocess import local

        service = local(executor=chosen.executor, lanes=chosen.lanes)
    with service:
        yield service


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Set by the first SIGINT or SIGTERM; the second does what it did before."""
    stop = threading.Event()
    before: dict[int, Any] = {}

    def on_signal(number: int, frame: Any) -> None:
        stop.set()
        signal.signal(number, before[number])

    with suppress(ValueError):  # not the main thread (a test): nothing to install
        for one in (signal.SIGINT, signal.SIGTERM):
            before[one] = signal.signal(one, on_signal)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
