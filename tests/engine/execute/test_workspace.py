"""The pool: what programs that are not running keep is bounded."""

import gc

import numpy as np
import pytest

from backsweep_engine.execute import workspace
from backsweep_engine.execute.program import Program
from backsweep_engine.execute.workspace import Pool
from backsweep_engine.plan.memory import ALIGNMENT
from support.graphs import F64, build


def test_a_workspace_is_used_again_and_its_memory_is_aligned() -> None:
    pool = Pool(1000)
    first = pool.take()
    assert first.memory.nbytes == 1000 and first.memory.ctypes.data % ALIGNMENT == 0
    second = pool.take()
    assert not np.shares_memory(first.memory, second.memory)
    pool.give_back(first)
    assert pool.take() is first


def test_beyond_the_bound_nothing_is_kept_and_the_count_comes_out_even(monkeypatch: pytest.MonkeyPatch) -> None:
    gc.collect()  # what other tests left
    before = Pool._kept_bytes
    monkeypatch.setattr(workspace, "MAX_POOLED_BYTES", before + 50_000)
    program = Program(build(lambda x: np.cumsum(np.exp(x)) * 2, x=F64[10_000]))
    x = np.linspace(0, 1, 10_000)
    first = program.run([x])[0]
    assert Pool._kept_bytes == before
    np.testing.assert_array_equal(program.run([x])[0], first)
    small = Program(build(lambda x: np.cumsum(np.exp(x)) * 2, x=F64[1000]))
    small.run([x[:1000]])
    assert Pool._kept_bytes == before + small.layout.arena_bytes
    del small  # its memory goes at once, not when the collector comes
    assert Pool._kept_bytes == before


def test_numpys_warnings_are_off_in_its_context_alone() -> None:
    made = Pool(0).take()
    assert made.context.run(np.geterr) == {"divide": "ignore", "over": "ignore", "under": "ignore", "invalid": "ignore"}
    assert np.geterr()["divide"] == "warn"
