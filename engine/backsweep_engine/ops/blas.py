"""Which BLAS NumPy calls: whether it multiplies small matrices as they stand, and on how many threads it works now.

It is asked by the names OpenBLAS exports, as threadpoolctl does, but at a tenth of a microsecond; of any other library nothing is
known. Whoever edits this: what is told here decides bits. The kernels stand in the numeric platform (execute/cluster/platform.py), and
whoever promises bits runs one thread (CONTRACT B4).
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from importlib import import_module
from typing import Any

WITHOUT_PACKING = frozenset((b"SkylakeX", b"Cooperlake", b"SapphireRapids"))
"""OpenBLAS's kernels for AVX-512, AMD's processors among them: those for others pack small products too."""


@functools.cache
def small_as_they_stand() -> bool:
    """Whether small matrices are multiplied without packing them, where they lie."""
    name = _exported("get_corename")
    if name is None:
        return False
    name.restype = ctypes.c_char_p
    return name() in WITHOUT_PACKING


@functools.cache
def _threads() -> Callable[[], int]:
    found = _exported("get_num_threads")
    return (lambda: 0) if found is None else found


def threads() -> int:
    """On how many threads a large product is computed, as of now; 0 where that is not known."""
    return _threads()()


def _exported(name: str) -> Any:
    """A function of the OpenBLAS that NumPy is linked to, None where it is linked to another."""
    try:
        library = ctypes.PyDLL(import_module("numpy._core._multiarray_umath").__file__)
    except (ImportError, OSError, TypeError):
        return None
    # With the names of NumPy's own wheels, of a system's library, and both with 64-bit integers.
    for spelled in (f"scipy_openblas_{name}64_", f"scipy_openblas_{name}", f"openblas_{name}64_", f"openblas_{name}"):
        if hasattr(library, spelled):
            return getattr(library, spelled)
    return None
