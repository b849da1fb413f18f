"""The batch job as a person and CI run it: what becomes of every kind of case, what is kept, and the exit status."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.cli import main
from backsweep.job.lines import verdict_from, verdict_json
from backsweep.wire.arrays import digest_from, digest_of
from support.server import Server
from support.suites import EXPECTED, checked, gallery, save_arrays, saved, statuses, write_suite, zoo_suite

REPORTS = ("cases.jsonl", "junit.xml", "report.html")

Shown = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def suite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The gallery, checked once."""
    path = gallery(tmp_path_factory.mktemp("gallery"))
    assert main(["check", str(path), "--out", str(path.parent / "out"), "--quiet"]) == 1
    return path


def lines_of(suite: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (suite.parent / "out" / "cases.jsonl").read_text().splitlines()]


def reports(folder: Path) -> dict[str, str]:
    return {name: (folder / name).read_text() for name in REPORTS}


def copied(suite: Path, folder: Path) -> Path:
    """The same suite without what it found."""
    shutil.copytree(suite.parent, folder, ignore=shutil.ignore_patterns("out"))
    return folder / suite.name


def test_every_kind_of_case_comes_to_what_it_is(suite: Path) -> None:
    assert statuses(lines_of(suite)) == EXPECTED


SAID = [
    ("one entry off", "smooth"),
    ("typo in a key", "suite.toml:66: unknown key 'juge'; did you mean 'judge'?"),
    ("no such model", "suite.toml:68: there is no such model\n  got: nowhere.graph"),
    ("point too short", "x has the wrong shape\n  got: (3,)\n  allowed: (5,)"),
    ("point not finite", "the point is not finite\n  got: x[2] = nan, and 1 more"),
    ("another gradient", "suite.toml:84: the gradient takes an input that its function does not\n  got: 'b'"),
    ("at a kink", "a kink of node 1 (abs)"),
    ("no finite value", "node 1 (log) made the first such value"),
    ("asks for more", "the suite asks for 1e-30"),
]


@pytest.mark.parametrize(("case", "said"), SAID)
def test_a_case_says_why(case: str, said: str, suite: Path) -> None:
    (line,) = [line for line in lines_of(suite) if line["case"] == case]
    assert said in line["why"] or said in line["model"]


def test_the_worst_entry_and_the_blamed_node_are_named(suite: Path) -> None:
    verdicts = {line["case"]: verdict_from(line["verdict"]) for line in lines_of(suite) if "verdict" in line}
    (worst,) = verdicts["one entry off"].worst
    assert worst.place == "x[3]" and worst.ratio == pytest.approx(1.01)
    assert [b.place.op for b in verdicts["faulty rule/0"].blamed] == ["custom"]


def test_a_verdict_comes_back_from_its_json_as_it_was() -> None:
    with bs.local() as service:
        f = service.submit(lambda x: np.sum(np.abs(x) ** 1.5), x=bs.float64[4])
        for options in ({}, {"judge": "taylor"}, {"coordinates": True}, {"gradient": np.array([1.0, np.nan, 0, -np.inf])}):
            verdict = f.check(np.array([1.0, 2.0, 0.0, -1.0]), **options)  # type: ignore[arg-type]
            again = verdict_from(json.loads(json.dumps(verdict_json(verdict), allow_nan=False)))
            assert repr(again) == repr(verdict)  # repr: NaN is not itself


def test_a_second_run_finds_everything_kept_and_writes_the_same(suite: Path, capsys: Shown) -> None:
    before = reports(suite.parent / "out")
    assert checked(suite)[0] == 1
    assert capsys.readouterr().err.count("(kept)") == sum(status != "could not run" for status in EXPECTED.values())
    assert reports(suite.parent / "out") == before


def test_what_decides_a_case_decides_whether_it_is_kept(tmp_path: Path, capsys: Shown) -> None:
    saved(tmp_path, "f", lambda x, a: np.sum(a * x**2), x=bs.float64[3], a=np.ones(3))
    save_arrays(tmp_path / "x.npz", {"x": np.ones(3)})
    save_arrays(tmp_path / "g.npz", {"x": 2 * np.ones(3)})
    case = '[[case]]\nname = "f"\ngraph = "f.graph"\nbind = "f.npz"\npoints = "x.npz"\n'
    plain = write_suite(tmp_path, case)

    def kept(text: str = case) -> bool:
        plain.write_text(text)
        assert checked(plain)[0] == 0
        return "(kept)" in capsys.readouterr().err

    assert [kept(), kept(), kept(case + "timeout = 9\nbound = 1e-3\n")] == [False, True, True]
    for line in ('judge = "central2"', "seed = 1", "directions = 5", 'subject = "jvp"', 'gradient = "g.npz"'):
        assert [kept(f"{case}{line}\n"), kept(f"{case}{line}\n")] == [False, True], line
    save_arrays(tmp_path / "x.npz", {"x": 2 * np.ones(3)})
    assert not kept()
    save_arrays(tmp_path / "f.npz", {"a": 2 * np.ones(3)})
    assert [kept(), kept()] == [False, True]
    for file in (tmp_path / "out" / "state").iterdir():
        file.write_text(file.read_text()[:40])
    assert not kept(), "what is cut off counts as not there"


def test_several_cases_at_a_time_make_the_same_report(suite: Path, tmp_path: Path) -> None:
    again = copied(suite, tmp_path / "again")
    assert checked(again, "--jobs", "5")[0] == 1
    assert reports(again.parent / "out") == reports(suite.parent / "out")


def test_shards_share_out_the_cases_and_their_state_makes_the_whole_report(tmp_path: Path) -> None:
    (tmp_path / "whole").mkdir()
    whole = zoo_suite(tmp_path / "whole", 7)
    parts = copied(whole, tmp_path / "parts")
    assert checked(whole)[0] == 0
    state = ["--state", str(tmp_path / "state")]
    seen = [case for n in range(3) for case in statuses(checked(parts, *state, "--shard", f"{n}/3")[1])]
    assert sorted(seen) == sorted(statuses(lines_of(whole))) and len(set(seen)) == 7
    assert checked(parts, *state, "--shard", "8/9") == (0, []), "a shard may be empty"
    assert checked(parts, *state)[0] == 0
    assert reports(parts.parent / "out") == reports(whole.parent / "out")


EXITS = [
    (["--select", "smooth*"], 0),
    (["--select", "smooth*", "--select", "at a kink"], 2),
    (["--select", "at a kink", "--select", "no such model"], 3),
    (["--select", "no such model", "--select", "one entry off", "--select", "at a kink"], 1),
    (["--select", "nothing of this name"], 3),
    (["--shard", "3/3"], 3),
    (["--no-such-option"], 3),
    (["--jobs", "0"], 3),
    (["--connect", "example.org:1"], 3),
    (["--out", "/dev/null/x"], 3),
]


@pytest.mark.parametrize(("options", "status"), EXITS)
def test_the_exit_status_says_the_worst(options: list[str], status: int, suite: Path, capsys: Shown) -> None:
    assert main(["check", str(suite), "--out", str(suite.parent / "exits"), *options]) == status
    assert "Traceback" not in capsys.readouterr().err


def test_list_names_the_cases_and_checks_nothing(suite: Path, tmp_path: Path, capsys: Shown) -> None:
    assert main(["check", str(suite), "--list", "--select", "smooth*", "--out", str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out == "smooth/central4\nsmooth/complex_step\nsmooth/taylor\n"
    assert not (tmp_path / "none").exists()


def test_fail_fast_stops_at_the_first_case_that_is_not_right(suite: Path, tmp_path: Path) -> None:
    status, lines = checked(copied(suite, tmp_path / "fast"), "--fail-fast")
    order = list(EXPECTED)
    assert status == 1
    assert statuses(lines) == {case: EXPECTED[case] if k <= order.index("one entry off") else "not run" for k, case in enumerate(order)}


def test_names_of_strangers_do_nothing_to_a_terminal(suite: Path, capsys: Shown) -> None:
    checked(suite)
    shown = capsys.readouterr()
    assert "\x1b" not in shown.err + shown.out and "\\x1b[31m\\u202e" in shown.err


def test_a_server_gives_the_verdicts_this_process_gives(suite: Path, server: Server, tmp_path: Path) -> None:
    status, lines = checked(copied(suite, tmp_path / "served"), "--connect", server.address)
    assert status == 1 and statuses(lines) == EXPECTED


def test_a_graph_the_server_holds_is_checked_by_its_digest(server: Server, tmp_path: Path) -> None:
    saved(tmp_path, "f", lambda x: np.sum(np.sin(x)), x=bs.float64[3])
    blob = (tmp_path / "f.graph").read_bytes()
    with bs.connect(server.address) as service:
        service.load(tmp_path / "f.graph")(np.ones(3))  # the call uploads it
        assert service.fetch(str(digest_of(blob))).graph.fingerprint == service.load(tmp_path / "f.graph").graph.fingerprint
    digests = [str(digest_of(blob)), "0" * 64 + "/10", "abc", str(digest_of(blob)).partition("/")[0] + "/9"]
    suite = write_suite(tmp_path, "\n".join(f'[[case]]\nname = "{k}"\ndigest = "{digest}"\n' for k, digest in enumerate(digests)))
    status, lines = checked(suite, "--connect", server.address)
    assert status == 3 and list(statuses(lines).values()) == ["right", *["could not run"] * 3]
    assert "suite.toml:7: the server holds no such graph" in lines[1]["why"] and "this is no digest" in lines[2]["why"]
    status, lines = checked(suite)
    assert status == 3 and "a digest names a graph that a server holds" in lines[0]["why"]


def test_functions_run_only_if_the_person_at_the_command_line_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_models.py").write_text(
        "import numpy as np\nfrom pathlib import Path\nPath(__file__).with_name('ran').touch()\n"
        "def loss(p, y): return np.sum((p['w'] @ p['w'].T - y) ** 2)\ndef bad(p): raise KeyError('mine')\n"
    )
    save_arrays(tmp_path / "y.npz", {"y": np.eye(2)})
    types = 'inputs = {p = {w = "float64[2, 3]"}}\n'
    cases = [f'function = "my_models:loss"\nbind = "y.npz"\n{types}', f'function = "my_models:bad"\n{types}', f'function = "my_models:none"\n{types}']
    cases += ['function = "my_models:loss"\ninputs = {p = "float65"}', f'function = "no_such_module:f"\n{types}', f'function = "loss"\n{types}']
    suite = write_suite(tmp_path, "\n".join(f'[[case]]\nname = "{k}"\n{case}' for k, case in enumerate(cases)))
    status, lines = checked(suite)
    assert status == 3 and not (tmp_path / "ran").exists() and "--allow-code" in lines[0]["why"]
    path = list(sys.path)
    try:
        status, lines = checked(suite, "--allow-code")
    finally:
        sys.modules.pop("my_models", None)
    assert list(statuses(lines).values()) == ["right", *["could not run"] * 5] and sys.path == path
    for line, said in zip(lines[1:], ("KeyError", "AttributeError", "this is no type", "ModuleNotFoundError", "module:name"), strict=True):
        assert said in line["why"]


def test_a_case_that_takes_longer_than_it_may_could_not_run(tmp_path: Path) -> None:
    saved(tmp_path, "f", lambda x: np.sum(np.sin(x)), x=bs.float64[3])
    suite = write_suite(tmp_path, '[[case]]\nname = "f"\ngraph = "f.graph"\ntimeout = 1e-9\n')
    status, (line,) = checked(suite)
    assert status == 3 and line["why"] == "suite.toml:3: not finished within its timeout, 1e-09 s"


def test_the_command_line_starts_without_what_only_a_check_needs() -> None:
    """Every other command would pay for it."""
    code = "import sys; from backsweep.cli import main; main(['check', '--help'])"
    told = subprocess.run([sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, timeout=60)
    assert "backsweep.job.options" in told.stderr and "--fail-fast" in told.stdout
    for module in ("backsweep.job.command", "google.protobuf", "scipy", "grpc"):
        assert module not in told.stderr, module


def test_broken_files_are_named_and_the_rest_runs(tmp_path: Path) -> None:
    saved(tmp_path, "f", lambda x, a: np.sum(a * np.sin(x)), x=bs.float64[3], a=np.ones(3))
    (tmp_path / "bad.graph").write_bytes(b"\x0a\xff no graph")
    (tmp_path / "bad.npz").write_bytes(b"PK no arrays")
    (tmp_path / "big.graph").write_bytes(bytes((4 << 20) + 1))
    f = 'graph = "f.graph"\nbind = "f.npz"\n'
    cases = [f, 'graph = "bad.graph"', 'graph = "big.graph"', 'graph = "f.graph"\nbind = "bad.npz"', f'{f}points = "bad.npz"', f'{f}points = "f.npz"']
    cases += [
        f'{f}gradient = "bad.npz"',
        f'{f}gradient = "bad.graph"',
        f'{f}wrt = "b"',
        f'{f}wrt = "a"',
        f'{f}sample = {{domain = {{b = "unit"}}}}',
        'graph = "."',
    ]
    suite = write_suite(tmp_path, "\n".join(f'[[case]]\nname = "{k}"\n{case}\n' for k, case in enumerate(cases)))
    status, lines = checked(suite)
    assert status == 3
    assert [line["case"] for line in lines if line["status"] == "right"] == ["0", "9"]
    for line in lines:
        assert line["status"] == "right" or line["why"].startswith(line["at"] + ": "), line
        assert "fault in backsweep" not in line["why"] and str(tmp_path) not in line["why"], line


def test_on_a_terminal_only_what_is_not_right_keeps_a_line(suite: Path) -> None:
    leader, follower = pty.openpty()
    environment = {**os.environ, "COLUMNS": "80", "LINES": "24"}
    command = [sys.executable, "-c", "import sys; from backsweep.cli import main; sys.exit(main())", "check", str(suite), "--out", str(suite.parent / "out")]
    shown = b""
    with subprocess.Popen([*command, "--select", "smooth*", "--select", "at a kink"], stdout=subprocess.DEVNULL, stderr=follower, env=environment) as job:
        os.close(follower)
        with contextlib.suppress(OSError), open(leader, "rb", buffering=0) as terminal:  # a terminal whose last writer is gone is an error
            while part := terminal.read(4096):
                shown += part
        assert job.wait(60) == 2
    lines = [line.rpartition("\r\x1b[K")[2] for line in shown.decode().split("\n")]
    assert lines[0].startswith("[4/4] cannot tell   at a kink") and lines[1].startswith(f"[{'#' * 24}] 4/4") and lines[2:] == [""]


@pytest.mark.parametrize("text", ["", "abc", "0" * 64, "0" * 63 + "/1", "0" * 64 + "/-1", "0" * 64 + "/" + "1" * 20, "A" * 64 + "/1", "0" * 64 + "/1/2"])
def test_what_is_no_digest_is_refused_before_a_server_is_asked(text: str) -> None:
    digest = digest_of(b"abc")
    assert digest_from(str(digest)) == digest
    with pytest.raises(bs.GraphError, match="this is no digest"):
        digest_from(text)
