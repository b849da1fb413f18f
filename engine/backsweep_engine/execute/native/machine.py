"""What this machine can run, and text made into code: the only module that imports llvmlite.

A machine is the width of its vectors and where its vector functions are. The widths 512 and 256 are
used where the processor has them (AVX-512, AVX2), and glibc's libmvec, whose functions are within
4 ulp; elsewhere vectors are of 128 bits and their functions libm's, element by element. Code is
freed with the last reference to it.
"""

from __future__ import annotations

import ctypes
import functools
import sys
import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .assembly import DATA, ITEMS, Assembly

# glibc's names: the letter of the instruction set, lanes of float64, and one v for each operand.
_LETTERS = {512: "e", 256: "d", 128: "b"}
_MATHS = ("libm.so.6", "libSystem.dylib", "libm.so")

Call = Callable[..., int]
"""(id of a tuple of arrays, counters ...) -> an integer. The tuple must outlive the call; nothing is checked."""


@dataclass(frozen=True, slots=True)
class Code:
    """A function and what keeps its memory. `free` lets other threads run meanwhile, `held` does not and is quicker to enter."""

    free: Call
    held: Call
    engine: Any


@dataclass(frozen=True, slots=True, eq=False)
class Machine:
    """`width`: bits of a vector. `name`: what makes its bits, for the numeric platform."""

    width: int
    name: str
    processor: str
    features: str
    fused: bool
    """whether a product and a sum can be rounded once; only what says `fma` is"""
    vectors: Any
    scalars: Any

    def vector_function(self, function: str, operands: int, lanes: int, dtype: np.dtype[Any]) -> bool:
        """Whether there is a vector function; if so its symbol, as `symbol` spells it, is known to the compiler."""
        if self.vectors is None or lanes * dtype.itemsize * 8 != self.width:
            return False
        theirs = f"_ZGV{_LETTERS[self.width]}N{lanes}{'v' * operands}_{function}{'f' if dtype.itemsize == 4 else ''}"
        return self._known(self.vectors, theirs, symbol(function, lanes, dtype))

    def scalar_function(self, function: str, dtype: np.dtype[Any]) -> bool:
        return self._known(self.scalars, function + ("f" if dtype.itemsize == 4 else ""), symbol(function, 1, dtype))

    def _known(self, library: Any, theirs: str, ours: str) -> bool:
        import llvmlite.binding as llvm

        try:
            address = ctypes.cast(getattr(library, theirs), ctypes.c_void_p).value
        except AttributeError:
            return False
        llvm.add_symbol(ours, address)
        return True

    def compile(self, assembly: Assembly, *, straight: bool = False) -> Code:
        """The code of a finished text. `straight`: let LLVM pair scalar operations into vectors."""
        import llvmlite.binding as llvm

        with _compiling:
            target = llvm.Target.from_default_triple().create_target_machine(cpu=self.processor, features=self.features, opt=2, jit=True)
            module = llvm.parse_assembly(assembly.text(self.width))
            module.triple, module.data_layout = llvm.get_process_triple(), str(target.target_data)
            module.verify()
            tuning = llvm.create_pipeline_tuning_options(speed_level=2)
            tuning.loop_vectorization = tuning.loop_unrolling = tuning.loop_interleaving = False
            tuning.slp_vectorization = straight
            builder = llvm.create_pass_builder(target, tuning)
            builder.getModulePassManager().run(module, builder)
            engine = llvm.create_mcjit_compiler(module, target)
            engine.finalize_object()
            _engines[id(engine)] = engine
            address = engine.get_function_address("k")
        arguments = [ctypes.c_void_p, *[ctypes.c_int64] * len(assembly.counters)]
        return Code(ctypes.CFUNCTYPE(ctypes.c_int64, *arguments)(address), ctypes.PYFUNCTYPE(ctypes.c_int64, *arguments)(address), engine)


_compiling = threading.Lock()
"""LLVM's global context is one."""

_engines: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()


def let_go() -> None:
    """At the end of the process code goes with it: llvmlite, first imported while it ended, would free it after its own modules are gone."""
    for engine in list(_engines.values()):
        engine.detach()


def symbol(function: str, lanes: int, dtype: np.dtype[Any]) -> str:
    """Our own name of a function, of which LLVM knows nothing, so that it rewrites no call of it."""
    return f"bs_{function}_{lanes}_{dtype.itemsize}"


@functools.cache
def machine(width: int = 0) -> Machine | None:
    """This machine, with vectors of at most `width` bits (0: the widest); None if nothing can be compiled here."""
    if not _layout_holds():
        return None
    try:
        import llvmlite
        import llvmlite.binding as llvm

        llvm.initialize_native_target()
        llvm.initialize_native_asmprinter()
        llvm.check_jit_execution()
    except (ImportError, OSError, RuntimeError):
        return None
    features = llvm.get_host_cpu_features()
    has = [512 if features.get("avx512f") and features.get("avx512dq") else 0, 256 if features.get("avx2") else 0, 128]
    widest = next(w for w in has if w and (not width or w <= width))
    scalars = _library(*_MATHS)
    if scalars is None:
        return None
    processor = llvm.get_host_cpu_name()
    vectors = _library("libmvec.so.1") if sys.platform == "linux" and llvm.get_process_triple().startswith("x86_64") else None
    name = f"llvmlite {llvmlite.__version__} {processor} {widest} {_glibc()} {'libmvec' if vectors else 'libm'}"
    return Machine(widest, name, processor, features.flatten(), bool(features.get("fma")), vectors, scalars)


def _library(*names: str) -> Any:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


def _glibc() -> str:
    import platform

    return " ".join(platform.libc_ver()).strip() or "libc"


def _layout_holds() -> bool:
    """Whether this interpreter keeps a tuple's items and an array's address where the code looks for them."""
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8:
        return False
    arrays: tuple[np.ndarray[Any, Any], ...] = (np.empty(3), np.empty((2, 2), np.float32)[1:])
    for position, array in enumerate(arrays):
        owner = ctypes.c_int64.from_address(id(arrays) + ITEMS + 8 * position).value
        if owner != id(array) or ctypes.c_int64.from_address(owner + DATA).value != array.__array_interface__["data"][0]:
            return False
    return True
