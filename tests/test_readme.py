"""The README is true: its program runs, its list of functions is the table's."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.ops import FACES, SPELLINGS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def program() -> str:
    """The indented block under "## Use"."""
    section = README.split("## Use\n")[1].split("## ")[0]
    return "\n".join(line[4:] for line in section.splitlines() if line.startswith("    ") or not line.strip())


def test_the_first_program_of_the_readme_is_short_and_runs(tmp_path: Path) -> None:
    lines = [line for line in program().splitlines() if line.strip()]
    assert len(lines) <= 12
    (tmp_path / "first.py").write_text(program(), encoding="utf-8")
    done = subprocess.run([sys.executable, "first.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "(30, 30)" in done.stdout and "right" in done.stdout


def blocks(after: str) -> list[str]:
    """The indented blocks from these words on."""
    found: list[list[str]] = [[]]
    for line in README.split(after)[1].splitlines():
        if line.startswith("    "):
            found[-1].append(line[4:])
        elif found[-1]:
            found.append([])
    return ["\n".join(lines) + "\n" for lines in found if lines]


def test_the_suite_of_the_readme_runs_as_it_is_written(tmp_path: Path) -> None:
    saving, suite, *_ = blocks("`backsweep check` checks every gradient of a suite")
    (tmp_path / "first.py").write_text(f"{program()}\n{saving}", encoding="utf-8")
    (tmp_path / "suite.toml").write_text(suite, encoding="utf-8")
    begin = [sys.executable, "-c", "import sys; from backsweep.cli import main; sys.exit(main())", "check", "suite.toml"]
    for command in [sys.executable, "first.py"], begin:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    assert "6 cases: 6 right" in done.stdout + done.stderr
    assert {path.name for path in (tmp_path / "backsweep-check").iterdir()} >= {"junit.xml", "cases.jsonl", "report.html"}


LISTS = {
    "these functions of NumPy:": lambda: {
        f.__name__ for f in SPELLINGS if hasattr(np, f.__name__) and (isinstance(f, np.ufunc) or getattr(np, f.__name__) is f)
    },
    "Of `np.linalg`:": lambda: {f.__name__ for f in SPELLINGS if getattr(np.linalg, f.__name__, None) is f and getattr(np, f.__name__, None) is not f},
    "What NumPy lacks is in `bs`:": lambda: {*FACES, "stop_gradient"},
}


@pytest.mark.parametrize("heading", LISTS)
def test_the_readme_lists_what_is_traced_and_nothing_else(heading: str) -> None:
    listed = re.findall(r"`(\w+)`", README.split(heading)[1].split("\n\n")[1])
    assert listed == sorted(set(listed))
    assert set(listed) == LISTS[heading]()


def test_every_public_name_can_be_had() -> None:
    for name in bs.__all__:
        assert getattr(bs, name) is not None
