"""A job whose worker is killed, and one that is stopped and continued: the report is whole, and the same."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from backsweep_engine.execute.cluster import session
from support.suites import zoo_suite

REPORTS = ("cases.jsonl", "junit.xml", "report.html")
SECONDS = 400.0
"""For a job on a machine that is busy; most take a few seconds."""


def begin(suite: Path, *options: str) -> subprocess.Popen[str]:
    """`backsweep check` in a process of its own, one BLAS thread, reports beside the suite."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BACKSWEEP_")} | {"OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", "import sys; from backsweep.cli import main; sys.exit(main())", "check", str(suite), "--out", str(suite.parent / "out")]
    return subprocess.Popen([*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def after(lines: int, job: subprocess.Popen[str], then: Callable[[], None]) -> tuple[int, str]:
    """Lets the job say so many lines, does `then`, and waits for its end: the exit status and all it said on stderr."""
    assert job.stderr is not None
    try:
        said = "".join(job.stderr.readline() for _ in range(lines))
        then()
        _, rest = job.communicate(timeout=SECONDS)
        return job.returncode, said + rest
    finally:
        job.kill()
        job.wait()


def whole(suite: Path, *options: str) -> int:
    return after(0, begin(suite, *options), lambda: None)[0]


def reports(suite: Path) -> dict[str, str]:
    return {name: (suite.parent / "out" / name).read_text() for name in REPORTS}


@pytest.mark.parametrize(
    ("cases", "number"),
    [(64, signal.SIGTERM), pytest.param(64, signal.SIGINT, marks=pytest.mark.slow), pytest.param(200, signal.SIGINT, marks=pytest.mark.slow)],
    ids=["64-SIGTERM", "64-SIGINT", "200-SIGINT"],
)
def test_a_job_that_is_stopped_and_continued_gives_the_report_of_one_that_was_not(cases: int, number: signal.Signals, tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    suite = zoo_suite(tmp_path / "a", cases)
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    other = tmp_path / "b" / suite.name

    job = begin(suite)
    status, said = after(cases // 8, job, lambda: job.send_signal(number))
    assert status == 3 and "Traceback" not in said
    assert "stopped: the same command continues where it was" in said
    found = [json.loads(line)["status"] for line in reports(suite)["cases.jsonl"].splitlines()]
    finished = found.count("right")
    assert len(found) == cases and cases // 8 <= finished < cases and found.count("not run") == cases - finished

    status, said = after(0, begin(suite), lambda: None)
    assert status == 0 and said.count("(kept)") == finished
    assert whole(other) == 0
    assert reports(suite) == reports(other)


@pytest.mark.slow
@pytest.mark.cluster
def test_two_hundred_cases_on_ray_survive_the_death_of_a_worker(tmp_path: Path) -> None:
    suite = zoo_suite(tmp_path, 200)
    job = begin(suite, "--executor", "cluster", "--lanes", "2")
    killed: list[int] = []

    def kill() -> None:
        (driver,) = drivers(job.pid)
        deadline = time.monotonic() + 30
        while not killed and time.monotonic() < deadline:
            for pid in session.members(driver):
                if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::Lane"):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break

    status, said = after(100, job, kill)
    assert killed and status == 0, said[-2000:]
    lines = [json.loads(line) for line in reports(suite)["cases.jsonl"].splitlines()]
    assert [line["status"] for line in lines] == ["right"] * 200 and len({line["case"] for line in lines}) == 200
    assert reports(suite)["report.html"].count("<details") == 200


def drivers(parent: int) -> list[int]:
    """The processes of the cluster's drivers that this process started."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                command, stat = (entry / "cmdline").read_bytes(), (entry / "stat").read_text()
            except OSError:
                continue
            if b"cluster.driver" in command and int(stat.rpartition(")")[2].split()[1]) == parent:
                found.append(int(entry.name))
    return found
