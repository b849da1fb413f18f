"""What is told of NumPy's BLAS, against what threadpoolctl tells of it."""

from __future__ import annotations

from typing import Any

import pytest
import threadpoolctl

from backsweep_engine.ops.blas import WITHOUT_PACKING, small_as_they_stand, threads


@pytest.fixture
def library() -> dict[str, Any]:
    loaded = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas" and "numpy" in lib["filepath"]]
    if not loaded:
        pytest.skip("NumPy brought no BLAS of its own")
    return loaded[0]


def test_whether_small_products_are_packed_follows_from_the_kernels_the_library_chose(library: dict[str, Any]) -> None:
    assert small_as_they_stand() == (library["internal_api"] == "openblas" and library["architecture"].encode() in WITHOUT_PACKING)


def test_its_threads_are_those_it_has_now(library: dict[str, Any]) -> None:
    for count in (1, 2, 1):
        with threadpoolctl.threadpool_limits(count):
            now = next(lib for lib in threadpoolctl.threadpool_info() if lib["filepath"] == library["filepath"])
            assert threads() == (now["num_threads"] if library["internal_api"] == "openblas" else 0)
