"""`make demo-fault`, as a user sees it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

SECONDS = 180.0


def test_the_demo_kills_a_worker_tells_what_the_server_saw_and_shows_the_same_bits() -> None:
    command = [sys.executable, "-c", "import sys; from backsweep.cli import main; sys.exit(main(sys.argv[1:]))", "demo", "--fault"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    killed = re.search(r"kill -9 (\d+)", run.stdout)
    assert killed, run.stdout
    for told in (r"lane \d was lost", r"rows \d+ to \d+ were begun 2 times", "same bits as the undisturbed run: yes", f"process {killed[1]} was replaced by"):
        assert re.search(told, run.stdout), (told, run.stdout)
    assert run.stderr == ""
