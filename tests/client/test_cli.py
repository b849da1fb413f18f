"""The command line as a person meets it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import backsweep as bs
from backsweep.cli import main


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    with bs.local() as service:
        f = service.submit(lambda w, X: np.sum(np.tanh(X @ w)), w=bs.float64[4], X=np.ones((6, 4)))
        f.save(tmp_path / "f.graph")
    return tmp_path / "f.graph"


def test_describe_shows_inputs_outputs_ops_derivative_and_plan(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(graph), "--query", "hessian", "--wrt", "w", "--block", "2"]) == 0
    shown = capsys.readouterr().out
    for part in ("w: float64[4]", "X: float64[6, 4]", "(output): float64", "matmul 1", "derivative: ", "4 columns in 2 blocks of 2", "promise: "):
        assert part in shown, part


def test_describe_says_where_the_plan_would_run_and_why(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(graph), "--query", "hessian", "--wrt", "w", "--block", "2", "--lanes", "3"]) == 0
    assert re.search(r"runs on local: 2 blocks of [\d.e-]+ s in all, by their costs; over 3 lanes 6 s, Ray's start included$", capsys.readouterr().out.strip())
    assert main(["describe", str(graph)]) == 0
    assert capsys.readouterr().out.strip().endswith("runs on local: it is not cut into several blocks")


def test_describe_tells_the_colours_and_the_pattern_of_a_sparse_matrix(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(graph), "--query", "hessian", "--wrt", "w", "--layout", "sparse"]) == 0
    shown = capsys.readouterr().out
    assert "colours for" in shown or "a column each" in shown
    assert "delivered sparse" in shown and "positions of" in shown


def test_describe_prints_every_node_when_asked(graph: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", str(graph), "--text"]) == 0
    assert re.search(r"%\d+: float64\[6\] = tanh %\d+", capsys.readouterr().out)


def test_describe_shows_the_plan_of_a_curvature(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with bs.local() as service:
        f = service.submit(lambda w, X: np.sum(np.exp(bs.name("z", X @ w))), w=bs.float64[4], X=np.ones((6, 4)))
        f.save(tmp_path / "f.graph")
        service.submit(lambda w, X: X @ w, w=bs.float64[4], X=np.ones((6, 4))).save(tmp_path / "z.graph")
    for file, options, said in (
        ("f.graph", ["gauss_newton", "--through", "z"], "the Gauss-Newton matrix by its products"),
        ("f.graph", ["gauss_newton"], "no plan of gauss_newton"),
        ("z.graph", ["fisher", "--family", "poisson"], "the Fisher information by its products"),
        ("z.graph", ["fisher"], "no such family"),
        ("z.graph", ["empirical_fisher"], "the empirical Fisher by its products"),
    ):
        assert main(["describe", str(tmp_path / file), "--wrt", "w", "--query", *options]) == 0
        shown = capsys.readouterr().out
        assert said in shown
        assert ("derivative: " in shown and "4 columns in 1 block of 4" in shown) or "no plan" in shown


WRONG = [
    (["describe", "nowhere.graph"], "cannot be read"),
    (["describe", "{broken}"], "backsweep: "),
    (["describe", "{graph}", "--wrt", "z"], "no plan of gradient"),
]


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_what_cannot_be_described_is_said_in_a_line_without_a_traceback(
    arguments: list[str], said: str, graph: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "broken.graph").write_bytes(b"no graph at all")
    status = main([a.format(graph=graph, broken=tmp_path / "broken.graph") for a in arguments])
    shown = capsys.readouterr()
    assert said in shown.err + shown.out and "Traceback" not in shown.err
    assert status == (0 if "no plan" in said else 1)


@pytest.mark.parametrize("command", ["", "serve", "describe", "check", "demo"])
def test_help_says_what_each_command_and_option_does(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([*([command] if command else []), "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: backsweep" in shown and len(shown.splitlines()) > 5


def test_serve_becomes_a_server_that_a_signal_ends() -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("BACKSWEEP_")} | {"BACKSWEEP_NOTICE_SECONDS": "0"}
    command = [sys.executable, "-c", "from backsweep.cli import main; main()", "serve", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            word, address = server.stdout.readline().split()
            assert word == "ready"
            with bs.connect(address, timeout=30.0) as service:
                f = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
                np.testing.assert_array_equal(f.gradient(np.ones(3)), 2 * np.ones(3))
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) == 0
        finally:
            server.kill()


def test_the_demo_holds_every_comparison_without_ray(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "--executor", "local"]) == 0
    shown = capfd.readouterr().out
    assert "every comparison held" in shown and "FAIL" not in shown
    for part in ("value", "gradient", "jvp", "vjp", "hvp (5 vectors", "hessian", "jacobian", "right:", "wrong:", "a minimum"):
        assert part in shown, part


@pytest.mark.slow
@pytest.mark.cluster
def test_the_demo_sends_at_least_eight_blocks_over_two_workers(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["demo"]) == 0
    shown = capfd.readouterr().out
    blocks = re.search(r"(\d+) blocks over 2 workers", shown)
    assert blocks and int(blocks[1]) >= 8 and "every comparison held" in shown
