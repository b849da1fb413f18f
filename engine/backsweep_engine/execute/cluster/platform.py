"""The numeric platform: equal strings, equal plans and equal inputs give equal bits (CONTRACT B4).

Threads are not in it: lanes run one BLAS thread always, and whoever wants the same bits from this
process pins its own (the server does at start).
"""

from __future__ import annotations

import functools
import sys
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ..native.machine import machine


@functools.cache
def numeric_platform() -> str:
    """CPU features NumPy dispatches on, NumPy and SciPy versions, BLAS builds with the kernels they chose, what compiles, engine version."""
    import scipy.linalg  # noqa: F401  # loads SciPy's own BLAS, so that it is seen (and pinned) below
    import threadpoolctl

    config = np.show_config(mode="dicts")
    assert config is not None
    simd = config["SIMD Extensions"]
    built = config["Build Dependencies"]["blas"]
    loaded = [lib for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
    # Another package may have brought a BLAS of its own (torch, say), which we do not call.
    ours = [lib for lib in loaded if "numpy" in lib["filepath"] or "scipy" in lib["filepath"]] or loaded
    kernels = sorted({f"{lib['internal_api']} {lib['version']} {lib.get('architecture', '?')}" for lib in ours})
    features = sorted({*simd.get("baseline", ()), *simd.get("found", ())})
    try:
        engine = version("backsweep")
    except PackageNotFoundError:
        engine = "source"
    words = (sys.platform, f"numpy {np.__version__}", f"scipy {version('scipy')}", f"blas {built['name']} {built['version']}", *kernels)
    native = machine()
    return "; ".join((*words, native.name if native else "no native tier", f"backsweep {engine}", " ".join(features)))


def pin_threads() -> None:
    """One BLAS thread in this process, whatever it began with (a reused Ray worker keeps its first count)."""
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    threadpoolctl.threadpool_limits(1)
