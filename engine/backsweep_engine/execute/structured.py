"""How ops that hold graphs run: one function per op, from a node to what runs it.

A Runner takes the operands, C-contiguous, and gives the results as arrays that alias neither them nor
each other. Loops ask stop() before every trip and hold, beside their stacked results, what one
trip holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ..errors import Cancelled, GraphError
from ..graph import Graph, Node, Type
from .executor import Array, Stop

Runner = Callable[[Sequence[Array], Stop], list[Array]]


class Program(Protocol):
    def run(self, inputs: Sequence[Array], stop: Stop = ...) -> list[Array]: ...


ProgramOf = Callable[[Graph], Program]


def runner(node: Node, program_of: ProgramOf) -> Runner:
    """What runs a node that holds graphs."""
    # `kept` is for those who derive the loop; it says nothing of how it runs.
    attributes = {name: value for name, value in node.attributes if name != "kept"}
    return _RUNNERS[node.op](program_of=program_of, types=node.types, **attributes)


def _cond(*, then: Graph, otherwise: Graph, program_of: ProgramOf, types: Sequence[Type]) -> Runner:
    programs = program_of(otherwise), program_of(then)
    return lambda x, stop: programs[bool(x[0])].run(x[1:], stop)


def _body(*, body: Graph, program_of: ProgramOf, types: Sequence[Type]) -> Runner:
    return program_of(body).run


def _custom(*, primal: Graph, vjp: Graph, program_of: ProgramOf, types: Sequence[Type]) -> Runner:
    return program_of(primal).run


def _scan(*, body: Graph, carries: int, slices: int, length: int, reverse: bool, counted: bool, program_of: ProgramOf, types: Sequence[Type]) -> Runner:
    program = program_of(body)

    def run(operands: Sequence[Array], stop: Stop) -> list[Array]:
        trips, x = (int(operands[0]), operands[1:]) if counted else (length, operands)
        if trips > length:
            raise capped(f"{trips} trips", length)
        carry, xs, constants = list(x[:carries]), x[carries : carries + slices], x[carries + slices :]
        stacks = [(np.empty if trips == length else np.zeros)(t.shape, t.dtype) for t in types[carries:]]
        for i in range(trips - 1, -1, -1) if reverse else range(trips):
            _ask(stop)
            results = program.run([*carry, *[a[i, ...] for a in xs], *constants], stop)
            for stack, y in zip(stacks, results[carries:], strict=True):
                stack[i] = y
            carry = results[:carries]
        return [*(carry if trips > 0 else map(np.array, carry)), *stacks]

    return run


def _while_loop(*, condition: Graph, body: Graph, carries: int, max_trips: int, program_of: ProgramOf, types: Sequence[Type]) -> Runner:
    holds, program = program_of(condition), program_of(body)

    def run(x: Sequence[Array], stop: Stop) -> list[Array]:
        carry, constants, trips = list(x[:carries]), x[carries:], 0
        stacks = [np.zeros(t.shape, t.dtype) for t in types[1 + carries :]]
        while bool(holds.run([*carry, *constants], stop)[0]):
            _ask(stop)
            if trips == max_trips:
                raise capped(f"the condition still holds after {trips} trips", max_trips)
            results = program.run([*carry, *constants], stop)
            for stack, y in zip(stacks, results[carries:], strict=True):
                stack[trips] = y
            carry, trips = results[:carries], trips + 1
        return [np.array(trips, np.int64), *(carry if trips else map(np.array, carry)), *stacks]

    return run


def _ask(stop: Stop) -> None:
    if stop():
        raise Cancelled("the work was stopped")


def capped(got: str, most: int) -> GraphError:
    """That a loop makes more trips than its bound, which is `most`."""
    return GraphError(
        "a loop did not end within its bound",
        reason="LOOP_CAP",
        got=got,
        allowed=f"at most {most}",
        hint="allow more (max_trips=; of an odeint, max_steps=), or make the condition end",
    )


_RUNNERS: dict[str, Callable[..., Runner]] = {
    "cond": _cond,
    "scan": _scan,
    "while_loop": _while_loop,
    "checkpoint": _body,
    "custom": _custom,
}
