"""Runs that outlive a server, a connection or the client itself: nothing is lost, doubled or computed again without need."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.server import Server, free_port, serving

ROWS, COLUMNS, BLOCK = 20_000, 60, 2
TOTAL = COLUMNS // BLOCK


def low_rank(x: Any, B: Any, C: Any) -> Any:
    """A Jacobian of 9.6 MB from factors of 1.3."""
    return np.tanh(B @ (C @ x))


def factors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    return {"B": rng.normal(size=(ROWS, 8)), "C": rng.normal(size=(8, COLUMNS))}


def exact(x: np.ndarray) -> np.ndarray:
    """diag(1 - tanh^2(B C x)) B C."""
    B, C = factors().values()
    return np.asarray((1 - np.tanh(B @ (C @ x)) ** 2)[:, None] * (B @ C))


POINT = np.linspace(-0.1, 0.1, COLUMNS)
ASKED: dict[str, Any] = {"mode": "forward", "block": BLOCK}


@contextlib.contextmanager
def connected(address: str) -> Iterator[tuple[bs.Service, bs.Function]]:
    with bs.connect(address, timeout=120.0, patience=20.0) as service:
        yield service, service.submit(low_rank, x=bs.float64[COLUMNS], **factors())


def test_a_server_killed_in_a_run_and_started_again_is_asked_only_for_what_is_missing() -> None:
    listen = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as servers, connected(listen) as (service, f):
        first = servers.enter_context(serving(listen=listen, run_buffer_bytes=1 << 20))
        whole = f.jacobian(POINT, **ASKED)
        seen: list[int] = []

        def told(done: int, total: int) -> None:
            seen.append(done)
            if done == 10 and first.process.poll() is None:
                first.stop(signal.SIGKILL)
                servers.enter_context(serving(listen=listen))

        before = service.usage.blocks
        again = f.jacobian(POINT, **ASKED, progress=told)
    assert seen == [*range(1, TOTAL + 1), TOTAL]  # each once
    assert 0 < service.usage.blocks - before <= TOTAL - 10
    assert again.tobytes() == whole.tobytes()
    np.testing.assert_allclose(again, exact(POINT), rtol=0, atol=1e-14)


def test_a_run_that_loses_its_server_goes_on_at_another_of_several() -> None:
    with contextlib.ExitStack() as servers:
        two = [servers.enter_context(serving(run_buffer_bytes=1 << 20)) for _ in range(2)]
        with connected("ipv4:" + ",".join(server.address for server in two)) as (service, f):
            whole = f.jacobian(POINT, **ASKED)
            killed: list[int] = []

            def told(done: int, total: int) -> None:
                if done == 10 and not killed:
                    serving_it = next(k for k, server in enumerate(two) if " Run " in server.log())
                    two[serving_it].stop(signal.SIGKILL)
                    killed.append(serving_it)

            before = service.usage.blocks
            assert f.jacobian(POINT, **ASKED, progress=told).tobytes() == whole.tobytes()
            assert killed
            assert service.usage.blocks - before <= TOTAL - 10


def test_a_server_that_stops_sends_its_runs_on_to_the_next() -> None:
    listen = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as servers, connected(listen) as (_, f):
        first = servers.enter_context(serving(listen=listen, run_buffer_bytes=1 << 20, drain_seconds=2))
        whole = f.jacobian(POINT, **ASKED)

        def told(done: int, total: int) -> None:
            if done == 10 and first.process.poll() is None:
                first.stop(signal.SIGTERM)
                servers.enter_context(serving(listen=listen))

        assert f.jacobian(POINT, **ASKED, progress=told).tobytes() == whole.tobytes()


def test_what_another_plan_made_is_dropped_and_the_run_starts_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    to = tmp_path / "j.npy"
    with serving() as server, connected(server.address) as (service, f):
        left_by_a_kill(server.address, to)
        noted = json.loads(note_of(to).read_text())
        note_of(to).write_text(json.dumps({**noted, "plan_key": "00" * 32}))
        with caplog.at_level("WARNING", "backsweep"):
            np.testing.assert_allclose(f.jacobian(POINT, **ASKED, to=to), exact(POINT), rtol=0, atol=1e-14)
        assert service.usage.blocks == TOTAL
    assert "starts over: the blocks held are of another plan" in caplog.text


# To a file.

PROGRAM = f"""
import sys, time
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
import backsweep as bs
from test_runs import ASKED, COLUMNS, POINT, factors, low_rank
def told(done, total):
    print(done, flush=True)
    time.sleep(0.15)
with bs.local() if sys.argv[1] == "local" else bs.connect(sys.argv[1]) as service:
    service.submit(low_rank, x=bs.float64[COLUMNS], **factors()).jacobian(POINT, **ASKED, to=sys.argv[2], progress=told)
"""


def note_of(to: Path) -> Path:
    return to.with_name(f"{to.name}.part.json")


def left_by_a_kill(address: str, to: Path) -> int:
    """How many blocks a client that was killed noted."""
    child = subprocess.Popen([sys.executable, "-P", "-c", PROGRAM, address, str(to)], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout is not None
        end = time.monotonic() + 60
        while not note_of(to).exists() and time.monotonic() < end and child.poll() is None:
            assert child.stdout.readline()
        child.kill()
    finally:
        child.kill()
        child.communicate(timeout=20)
    assert not to.exists()
    noted = json.loads(note_of(to).read_text())["ranges"]
    return sum(-(-(stop - start) // BLOCK) for start, stop in noted)


@pytest.mark.parametrize("restarted", [False, True], ids=["the server that it asked", "another server"])
def test_a_client_killed_in_a_run_goes_on_from_its_file_at(restarted: bool, tmp_path: Path) -> None:
    to = tmp_path / "j.npy"
    listen = f"127.0.0.1:{free_port()}"
    with contextlib.ExitStack() as servers:
        first = servers.enter_context(serving(listen=listen))
        noted = left_by_a_kill(listen, to)
        assert 0 < noted < TOTAL
        if restarted:
            first.stop(signal.SIGKILL)
            servers.enter_context(serving(listen=listen))
        with connected(listen) as (service, f):
            j = f.jacobian(POINT, **ASKED, to=to)
            sent = service.usage.bytes_down
            if restarted:
                assert service.usage.blocks == TOTAL - noted
            assert sent < (TOTAL - noted) * BLOCK * ROWS * 8 + 100_000
            assert np.array_equal(j, f.jacobian(POINT, **ASKED))
    assert j.flags.f_contiguous and not j.flags.writeable
    assert [path.name for path in tmp_path.iterdir()] == ["j.npy"]


def test_a_process_killed_at_its_own_work_goes_on_from_its_file(tmp_path: Path) -> None:
    to = tmp_path / "j.npy"
    noted = left_by_a_kill("local", to)
    assert 0 < noted < TOTAL
    with bs.local() as service:
        f = service.submit(low_rank, x=bs.float64[COLUMNS], **factors())
        j = f.jacobian(POINT, **ASKED, to=to)
        assert service.usage.blocks == TOTAL - noted
        assert np.array_equal(j, f.jacobian(POINT, **ASKED))
    assert [path.name for path in tmp_path.iterdir()] == ["j.npy"]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(memory_bytes=256 << 20) as server:
        yield server


@pytest.fixture(params=["in process", "served"])
def service(request: pytest.FixtureRequest, server: Server) -> Iterator[bs.Service]:
    with bs.local() if request.param == "in process" else bs.connect(server.address) as service:
        yield service


SHAPES = {
    "columns": (lambda x: np.tanh(np.outer(x, np.arange(1.0, 40.0)) @ np.ones(39)), {"mode": "forward", "block": 7}),
    "rows": (lambda x: np.tanh(np.outer(x, np.arange(1.0, 40.0)) @ np.ones(39)), {"mode": "reverse", "block": 7}),
    "of a matrix": (lambda x: np.outer(np.sin(x), x), {"block": 5}),
    "of nothing": (lambda x: x[:0], {}),
    "of a scalar": (lambda x: np.sum(x**2), {}),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_matrix_in_a_file_is_the_one_in_memory_over_the_ravels(shape: str, service: bs.Service, tmp_path: Path) -> None:
    function, options = SHAPES[shape]
    f = service.submit(function, x=bs.float64[30])
    x = np.linspace(0.1, 1, 30)
    memory = f.jacobian(x, **options)
    file = f.jacobian(x, **options, to=tmp_path / "j.npy")
    assert file.shape == (memory.size // 30, 30)
    assert np.array_equal(file, memory.reshape(file.shape))
    assert np.array_equal(np.load(tmp_path / "j.npy"), file)
    assert [path.name for path in tmp_path.iterdir()] == ["j.npy"]


def test_every_matrix_verb_goes_to_a_file(service: bs.Service, tmp_path: Path) -> None:
    f = service.submit(lambda x: np.sum(bs.name("z", np.sin(x)) ** 2), x=bs.float64[12])
    g = service.submit(lambda x: np.tanh(x), x=bs.float64[12])
    x = np.linspace(0.1, 1, 12)
    asked = {
        "hessian": lambda **to: f.hessian(x, **to),
        "gauss_newton": lambda **to: f.gauss_newton(x, through="z", **to),
        "fisher": lambda **to: g.fisher(x, family="bernoulli", **to),
        "empirical_fisher": lambda **to: g.empirical_fisher(x, **to),
    }
    for verb, ask in asked.items():
        assert np.array_equal(ask(to=tmp_path / f"{verb}.npy"), ask()), verb


def test_a_sparse_matrix_goes_to_an_npz(service: bs.Service, tmp_path: Path) -> None:
    from scipy.sparse import load_npz

    f = service.submit(lambda x: np.sin(x[1:]) * x[:-1], x=bs.float64[50])
    j = f.jacobian(np.linspace(0, 1, 50), layout="sparse", to=tmp_path / "j.npz")
    assert np.array_equal(load_npz(tmp_path / "j.npz").toarray(), j.toarray()) and j.nnz == 98


def test_a_nan_in_a_file_is_told_with_its_node_also_when_gone_on_with(service: bs.Service, tmp_path: Path) -> None:
    f = service.submit(lambda x: np.sqrt(x) * np.ones(20), x=bs.float64[20])
    x = np.zeros(20)
    calls = 0

    def told(done: int, total: int) -> None:
        nonlocal calls
        calls += 1
        if calls == 12:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"mode": "forward", "block": 1, "to": tmp_path / "j.npy"}
    with pytest.raises(KeyboardInterrupt):
        f.jacobian(x, **options, progress=told)
    assert note_of(tmp_path / "j.npy").exists()
    with pytest.warns(bs.NonFiniteWarning, match="sqrt"):
        j = f.jacobian(x, **options)
    assert np.isinf(np.diag(j)).all()


REFUSED = {
    "another ending": ({"to": "j.txt"}, "MALFORMED"),
    "a sparse matrix in a .npy": ({"to": "j.npy", "layout": "sparse"}, "MALFORMED"),
    "a folder that is not there": ({"to": "nowhere/j.npy"}, "NOT_WRITABLE"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_a_file_is_refused_for(sentence: str, service: bs.Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options, reason = REFUSED[sentence]
    f = service.submit(lambda x: np.sin(x), x=bs.float64[3])
    with pytest.raises(bs.Error) as caught:
        f.jacobian(np.ones(3), **options)
    assert (caught.value.reason, caught.value.name) == (reason, "to")
    assert not list(tmp_path.iterdir())


def test_two_at_once_do_not_write_one_file(tmp_path: Path) -> None:
    to = tmp_path / "j.npy"
    with bs.local() as service:
        f = service.submit(lambda x: np.sin(x) * np.ones((40, 1)), x=bs.float64[10])
        errors: list[bs.Error] = []

        def told(done: int, total: int) -> None:
            with pytest.raises(bs.Error) as caught:
                f.jacobian(np.zeros(10), to=to)
            errors.append(caught.value)

        f.jacobian(np.ones(10), mode="forward", block=5, to=to, progress=told)
    assert errors and all(error.reason == "NOT_WRITABLE" for error in errors)
