"""The harness itself: every workload at a tiny size against the derivative written by hand, and one run from end to end.

No time is asserted and no peer needed: it runs in CI, and as `make bench-smoke`.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bench.digest import differs, digest
from bench.process import Failed, Process
from bench.run import main
from bench.targets import RATIOS
from bench.tools import TOOLS
from bench.workloads import WORKLOADS


@pytest.mark.parametrize("name", WORKLOADS)
def test_backsweep_and_the_derivative_by_hand_have_one_digest(name: str) -> None:
    workload = WORKLOADS[name]
    made = {}
    for tool in ("hand", "backsweep"):
        prepared = TOOLS[tool].prepare(workload.programs[tool], workload.make(workload.sizes[1]))
        made[tool] = digest(prepared.flat(prepared.derivative()))
        for part in (prepared.value, prepared.program):
            assert part is None or np.all(np.isfinite(prepared.flat(part()) if part is prepared.value else 0))
    assert differs(made["backsweep"], made["hand"], workload.tolerance) == ""


def test_every_figure_is_of_a_workload() -> None:
    assert set(RATIOS) <= set(WORKLOADS)


@pytest.mark.parametrize("name", WORKLOADS)
def test_the_full_size_has_the_programs_of_the_tools_named(name: str) -> None:
    assert {"hand", "backsweep", "jax", "torch", "autograd"} <= set(WORKLOADS[name].programs) <= set(TOOLS)


def _off(answer: np.ndarray, **changes: float) -> np.ndarray:
    answer = answer.copy()
    for place, by in changes.items():
        answer[int(place.removeprefix("at"))] += by
    return answer


RIGHT = np.random.default_rng(3).standard_normal(1001)


@pytest.mark.parametrize(
    "wrong",
    [_off(RIGHT, at333=1e-6), _off(RIGHT, at5=1e-6, at701=-1e-6), _off(RIGHT, at9=np.nan), RIGHT[:-1], -RIGHT, 0 * RIGHT, RIGHT[::-1]],
    ids=["an-entry", "two-that-cancel", "a-nan", "one-missing", "the-sign", "nothing", "another-order"],
)
def test_a_digest_shows_what_is_wrong(wrong: np.ndarray) -> None:
    assert differs(digest(wrong), digest(RIGHT), 1e-9)


def test_a_digest_passes_rounding() -> None:
    assert differs(digest(RIGHT * (1 + 1e-12)), digest(RIGHT), 1e-9) == ""


def test_a_run_prints_a_line_and_writes_its_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiny", "--tools", "hand,backsweep", "--quick", "--rounds", "1", "--output", str(tmp_path)]) == 0
    assert "\ntiny gradient, d=3 " in capsys.readouterr().out
    (line,) = json.loads((tmp_path / "bench.json").read_text())["lines"]
    assert all(line["results"][tool]["seconds"]["derivative"][0] > 0 for tool in ("hand", "backsweep"))


@pytest.mark.parametrize("arguments", [["no such workload"], ["--tools", "abacus"]])
def test_an_unknown_name_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(arguments)
    assert "called abacus" in capsys.readouterr().err or arguments[0] == "no such workload"


def test_a_tool_that_fails_says_why_and_goes_on() -> None:
    with Process("hand") as process:
        with pytest.raises(Failed, match="KeyError"):
            process.ask("prepare", workload="no such workload", small=True)
        assert process.ask("start")["version"].startswith("NumPy")
        process.close()
        with pytest.raises(Failed, match="ended"):
            process.ask("start")
