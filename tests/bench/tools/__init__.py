"""The tools: how each is started, and how a workload's program for it is made ready.

A workload's program for a tool is made by the tool's module (`by_jax.gradient(loss)` ...) and is a function from Inputs to
Prepared; of backsweep it is a record, because it is asked in two tiers. A function written for several tools takes their names
(exp, sum, logsumexp ...) as its first argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from ..workload import Inputs, Prepared
from . import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch


def _called(program: Callable[[Inputs], Prepared], inputs: Inputs) -> Prepared:
    return program(inputs)


@dataclass(frozen=True, slots=True)
class Tool:
    """`start` imports it and returns its version, or raises ImportError; `prepare` makes one of its programs ready.

    `of`: whose programs it takes. `settle_seconds`: CPU of calls after which it is as fast as it gets, if it compiles behind them.
    """

    name: str
    start: Callable[[], str]
    prepare: Callable[[Any, Inputs], Prepared] = _called
    of: str = ""
    peer: bool = False
    settle_seconds: float = 0.0

    @property
    def programs(self) -> str:
        return self.of or self.name


TOOLS = {
    tool.name: tool
    for tool in (
        Tool("hand", by_hand.start),
        Tool("backsweep", partial(by_backsweep.start, "numpy"), partial(by_backsweep.prepare, "numpy")),
        Tool("native", partial(by_backsweep.start, "native"), partial(by_backsweep.prepare, "native"), of="backsweep", settle_seconds=1.0),
        Tool("jax", by_jax.start, peer=True),
        Tool("torch", by_torch.start, peer=True),
        Tool("autograd", by_autograd.start, peer=True),
        Tool("casadi", by_casadi.start, peer=True),
    )
}

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "NPROC": "1",  # the size of XLA's pools
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "JAX_ENABLE_X64": "1",
    "PYTHONHASHSEED": "0",
}
"""Of every tool's process: one thread, double precision, and what is left to chance the same every time."""
