"""CasADi: scalar graphs (SX) for small programs, matrix graphs (MX) for large ones; data are constants of the graph.

The ordinary call takes and gives CasADi's matrices. `program` is the call through a FunctionBuffer, into memory given before:
faster by most of an ordinary call's cost for small graphs, and no way anybody writes by default.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..workload import Array, Inputs, Prepared
from ..workload import flat as numbers

Program = Callable[[Inputs], Prepared]
Function = Callable[..., Any]


def start() -> str:
    import casadi

    return f"CasADi {casadi.__version__}"


def flat(answer: Any) -> Array:
    """Its matrices as NumPy's, in C order."""
    return numbers([a.full() for a in answer] if isinstance(answer, (tuple, list)) else answer.full())


def _program(f: Function, derive: Callable[..., list[Any]], kind: str, scalar: bool) -> Program:
    """derive(casadi, y, point symbols, seed symbols) -> expressions."""

    def prepare(inputs: Inputs) -> Prepared:
        import casadi as ca

        symbol = getattr(ca, kind).sym
        point = [symbol(name, *a.shape) for name, a in inputs.point.items()]
        seeds = [symbol(f"seed_{name}", *a.shape) for name, a in zip(inputs.point, inputs.seeds, strict=False)]
        y = partial(f, ca, **inputs.static)(*point, *[ca.DM(a) for a in inputs.data.values()])
        derivative = ca.Function("derivative", [*point, *seeds], derive(ca, y, point, seeds))
        value = ca.Function("value", point, [y])
        given = [ca.DM(a) for a in (*inputs.point.values(), *inputs.seeds)]
        values = given[: len(point)]
        buffered = buffered_call(derivative, [*inputs.point.values(), *inputs.seeds])
        return Prepared(lambda: derivative(*given), (lambda: value(*values)) if scalar else None, buffered, flat)

    return prepare


def buffered_call(function: Any, arrays: list[Array]) -> Callable[[], Any]:
    """The call of a casadi.Function on fixed memory; the arrays in CasADi's column-major order."""
    buffer, trigger = function.buffer()
    kept = [np.asfortranarray(a, float).ravel("F") for a in arrays]
    results = [np.zeros(function.nnz_out(i)) for i in range(function.n_out())]
    for i, array in enumerate(kept):
        buffer.set_arg(i, memoryview(array))
    for i, array in enumerate(results):
        buffer.set_res(i, memoryview(array))

    def call() -> Any:
        trigger()
        return buffer, kept, results  # what the trigger reads and writes stays alive

    return call


def gradient(f: Function, kind: str = "MX") -> Program:
    return _program(f, lambda ca, y, x, v: [ca.gradient(y, one) for one in x], kind, True)


def gradient_and_hvp(f: Function, kind: str = "MX") -> Program:
    def derive(ca: Any, y: Any, x: list[Any], v: list[Any]) -> list[Any]:
        slope = ca.gradient(y, x[0])
        return [slope, ca.jtimes(slope, x[0], v[0])]

    return _program(f, derive, kind, True)


def jacobian(f: Function, kind: str = "MX") -> Program:
    return _program(f, lambda ca, y, x, v: [ca.jacobian(y, x[0])], kind, False)


def hessian(f: Function, kind: str = "MX") -> Program:
    return _program(f, lambda ca, y, x, v: [ca.hessian(y, x[0])[0]], kind, False)
