"""How ops that hold graphs run: one Runner per op.

A Runner is bound to memory of its own, and then is a function of the operands, C-contiguous, and of
the arrays its results are written to, which alias neither the operands nor each other. Loops ask
stop() before every trip; a carry goes to and fro between its result and one more place, so a trip
allocates nothing that lasts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, Protocol

import numpy as np

from ..graph import Graph, Node, Type
from ..plan.memory import Layout, places
from ..plan.scalars import scalar_loop
from .executor import Array, Run, Stop
from .scalars import ScalarRunner, capped
from .source import halt


class Program(Protocol):
    @property
    def layout(self) -> Layout: ...

    def bind(self, memory: Array, warm: bool = ...) -> Run: ...


ProgramOf = Callable[[Graph], Program]


class Runner(Protocol):
    def bind(self, memory: Array, warm: bool = ...) -> Run:
        """`memory`: bytes, as many as the layout says. `warm`: by generated code, not interpreted."""
        ...


def runner(node: Node, program_of: ProgramOf) -> Runner:
    """What runs a node that holds graphs."""
    # `kept` is for those who derive the loop; it says nothing of how it runs.
    attributes = {name: value for name, value in node.attributes if name != "kept"}
    made: Runner = _RUNNERS[node.op](program_of, node.types, **attributes)
    loop = scalar_loop(node) if node.op in ("scan", "while_loop") else None
    return made if loop is None else ScalarRunner(node, loop, made)


class _Choice:
    def __init__(self, program_of: ProgramOf, types: Sequence[Type], then: Graph, otherwise: Graph) -> None:
        self._programs = program_of(otherwise), program_of(then)

    def bind(self, memory: Array, warm: bool = True) -> Run:
        bound: dict[bool, Run] = {}

        def run(x: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            which = bool(x[0])
            if which not in bound:
                bound[which] = self._programs[which].bind(memory, warm)
            bound[which](x[1:], outs, stop)

        return run


def _body(program_of: ProgramOf, types: Sequence[Type], body: Graph) -> Runner:
    return program_of(body)


def _custom(program_of: ProgramOf, types: Sequence[Type], primal: Graph, vjp: Graph) -> Runner:
    return program_of(primal)


class _Scan:
    def __init__(self, program_of: ProgramOf, types: Sequence[Type], body: Graph, carries: int, slices: int, length: int, reverse: bool, counted: bool) -> None:
        self._program = program_of(body)
        self._types = types[:carries]
        self._slices, self._length, self._reverse, self._counted = slices, length, reverse, counted

    def bind(self, memory: Array, warm: bool = True) -> Run:
        carries, slices, length, counted = len(self._types), self._slices, self._length, self._counted
        other, rest = _carried(memory, self._types)
        body = self._program.bind(rest)

        def run(operands: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            trips, x = (int(operands[0]), operands[1:]) if counted else (length, operands)
            if trips > length:
                raise capped(f"{trips} trips", length)
            carry, xs, constants = x[:carries], x[carries : carries + slices], x[carries + slices :]
            last, stacks = outs[:carries], outs[carries:]
            if trips < length:
                for stack in stacks:
                    stack.fill(0)
            turns = zip(range(trips - 1, -1, -1), _rows(xs, trips, self._reverse), _rows(stacks, trips, self._reverse), strict=False)
            for left, row, stacked in turns:
                if stop():
                    halt()
                # The last trip writes to the results themselves.
                into = other if left % 2 else last
                body((*carry, *row, *constants), (*into, *stacked), stop)
                carry = into
            if trips <= 0:
                _copy(carry, last)

        return run


class _While:
    def __init__(self, program_of: ProgramOf, types: Sequence[Type], condition: Graph, body: Graph, carries: int, max_trips: int) -> None:
        self._condition, self._program = program_of(condition), program_of(body)
        self._types, self._max_trips = types[1 : 1 + carries], max_trips

    def bind(self, memory: Array, warm: bool = True) -> Run:
        carries, max_trips = len(self._types), self._max_trips
        other, rest = _carried(memory, self._types)
        condition, body = self._condition.bind(rest), self._program.bind(rest)
        holds = np.empty((), bool)

        def run(x: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            last, stacks, constants = outs[1 : 1 + carries], outs[1 + carries :], x[carries:]
            for stack in stacks:
                stack.fill(0)
            carry, into, after, trips = x[:carries], last, other, 0
            while True:
                condition([*carry, *constants], [holds], stop)
                if not holds:
                    break
                if stop():
                    halt()
                if trips == max_trips:
                    raise capped(f"the condition still holds after {trips} trips", max_trips)
                body([*carry, *constants], [*into, *[stack[trips, ...] for stack in stacks]], stop)
                carry, into, after, trips = into, after, into, trips + 1
            if carry is not last:
                _copy(carry, last)
            outs[0].fill(trips)

        return run


def _carried(memory: Array, types: Sequence[Type]) -> tuple[list[Array], Array]:
    """A second place for what is carried, and the rest of the memory."""
    *starts, end = places(types)
    return [memory[at : at + t.nbytes].view(t.dtype).reshape(t.shape) for at, t in zip(starts, types, strict=True)], memory[end:]


def _rows(arrays: Sequence[Array], trips: int, reverse: bool) -> Iterable[tuple[Array, ...]]:
    """What each trip is given of the slices, or writes of the stacks. An array of numbers would yield copies of them."""
    if not arrays:
        return repeat(())
    turned = [a[: max(0, trips)][::-1] if reverse else a for a in arrays]
    return zip(*[a if a.ndim > 1 else map(a.__getitem__, zip(range(len(a)), repeat(...), strict=False)) for a in turned], strict=False)


def _copy(values: Sequence[Array], outs: Sequence[Array]) -> None:
    for value, out in zip(values, outs, strict=True):
        np.copyto(out, value)


_RUNNERS: dict[str, Callable[..., Any]] = {
    "cond": _Choice,
    "scan": _Scan,
    "while_loop": _While,
    "checkpoint": _body,
    "custom": _custom,
}
