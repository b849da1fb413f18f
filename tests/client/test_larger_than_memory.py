"""A Jacobian of 100,000 x 1,000 (0.8 GB) to the disk: the memory of whoever computes it stays under 600 MB.

For the figures: python -P tests/client/test_larger_than_memory.py (with engine, client, server and tests on PYTHONPATH).
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.server import serving

ROWS, COLUMNS = 100_000, 1_000
MOST_BYTES = 600_000_000
BUDGET = 256 << 20


def low_rank(x: Any, B: Any, C: Any) -> Any:
    return np.tanh(B @ (C @ x))


def factors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(4)
    return {"B": rng.normal(size=(ROWS, 8)), "C": rng.normal(size=(8, COLUMNS)) / 100}


def exact(x: np.ndarray, rows: slice) -> np.ndarray:
    B, C = factors().values()
    return np.asarray((1 - np.tanh(B[rows] @ (C @ x)) ** 2)[:, None] * (B[rows] @ C))


def memory(pid: int | str, what: str) -> int:
    """Bytes: VmHWM, the most that was resident; RssAnon, what is now without maps of files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{what}:"))


def right(j: np.ndarray, x: np.ndarray) -> None:
    assert j.shape == (ROWS, COLUMNS)
    for start in (0, 50_000, 99_000):
        rows = slice(start, start + 1000)
        np.testing.assert_allclose(j[rows], exact(x, rows), rtol=0, atol=1e-13)


def served(to: Path, mode: str, slow: float) -> tuple[int, float]:
    """The most resident bytes of the server, and seconds; `slow`: how long the client does nothing at one block of ten."""
    x = np.linspace(-1, 1, COLUMNS)

    def told(done: int, total: int) -> None:
        if slow and done % 10 == 1:
            time.sleep(slow)

    with serving(memory_bytes=BUDGET) as server, bs.connect(server.address) as service:
        f = service.submit(low_rank, x=bs.float64[COLUMNS], **factors())
        started = time.monotonic()
        right(f.jacobian(x, mode=mode, to=to, progress=told), x)
        return memory(server.process.pid, "VmHWM"), time.monotonic() - started


def in_process(to: Path) -> int:
    """By how much this process grew at most, looked at after each block, without the map itself."""
    x = np.linspace(-1, 1, COLUMNS)
    seen = [memory("self", "RssAnon")]
    with bs.local(memory_bytes=BUDGET) as service:
        f = service.submit(low_rank, x=bs.float64[COLUMNS], **factors())
        right(f.jacobian(x, mode="forward", to=to, progress=lambda done, total: seen.append(memory("self", "RssAnon"))), x)
    return max(seen) - seen[0]


@pytest.mark.slow
@pytest.mark.parametrize("slow", [0.0, 0.5], ids=["a client", "a slow client"])
def test_a_jacobian_larger_than_the_servers_memory_streams_to_the_disk_of(slow: float, tmp_path: Path) -> None:
    resident, _ = served(tmp_path / "j.npy", "forward", slow)
    assert resident < MOST_BYTES


@pytest.mark.slow
def test_a_jacobian_larger_than_memory_is_computed_to_the_disk_in_process(tmp_path: Path) -> None:
    assert in_process(tmp_path / "j.npy") < MOST_BYTES


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        for mode, slow in (("forward", 0.0), ("reverse", 0.0), ("forward", 0.5)):
            resident, seconds = served(Path(folder) / "j.npy", mode, slow)
            print(f"{mode}, client pauses {slow:g} s: server at most {resident / 1e6:.0f} MB resident, {seconds:.1f} s for {ROWS * COLUMNS * 8 / 1e6:.0f} MB")
        print(f"in process: {in_process(Path(folder) / 'j.npy') / 1e6:.0f} MB more than before, without the map")
