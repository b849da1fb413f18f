"""Entered: ops that hold graphs, as the complex step runs them, and which of their values may carry an imaginary part.

What runs is told by real parts: the condition of a cond, of a while_loop, the trips of a counted scan. Where the
point lies beside a change of that the function has a kink or a jump, which no one step sees: whoever enters one of these looks for
kinks by differences too (measure.py). A custom function is entered by its primal: its own vjp is what is judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import Cancelled
from ..execute.executor import Stop
from ..execute.scalars import capped
from ..graph import Graph, Node

Array = np.ndarray[Any, Any]
Values = list[Array]

DIRECT = {"checkpoint": "body", "custom": "primal"}
"""Ops that run a graph they hold, once, on their operands: by the attribute that holds it."""

ENTERED = frozenset((*DIRECT, "cond", "scan", "while_loop"))


def controls(node: Node) -> int:
    """How many of the first operands only say what runs: no derivative comes through them."""
    return 1 if node.op == "cond" else int(dict(node.attributes).get("counted", False))


@dataclass(frozen=True, slots=True)
class Held:
    """A graph that a node runs: which of its inputs move, and how many of its first outputs are carried on."""

    graph: Graph
    moving: tuple[bool, ...]
    carries: int = 0


def held(node: Node, operands: Sequence[bool], moved: Callable[[Graph, Sequence[bool]], Sequence[bool]]) -> list[Held]:
    """The graphs run on values of which `operands` move; moved(graph, inputs) says which of its outputs then do.

    What is carried moves if it does on any trip: the least fixed point.
    """
    attributes, given = dict(node.attributes), list(operands[controls(node) :])
    if node.op == "cond":
        return [Held(attributes[name], tuple(given)) for name in ("then", "otherwise")]
    if node.op in DIRECT:
        return [Held(attributes[DIRECT[node.op]], tuple(given))]
    body, carries = attributes["body"], attributes["carries"]
    while True:
        now = [a or b for a, b in zip(given, moved(body, given)[:carries], strict=False)]
        if now == given[:carries]:
            return [Held(body, tuple(given), carries)]
        given[:carries] = now


def entered(node: Node, operands: Sequence[Array], run: Callable[[Graph, Sequence[Array]], Values], stop: Stop) -> Values:
    """The results, where run(graph, inputs) runs a graph that the node holds."""
    attributes, given = dict(node.attributes), list(operands[controls(node) :])
    if node.op == "cond":
        return run(attributes["then" if np.real(operands[0]) else "otherwise"], given)
    if node.op in DIRECT:
        return run(attributes[DIRECT[node.op]], given)
    carries = attributes["carries"]
    stacks = node.types[carries + (node.op == "while_loop") :]
    if node.op == "scan":
        length, slices = attributes["length"], attributes["slices"]
        trips = int(np.real(operands[0])) if attributes["counted"] else length
        if trips > length:
            raise capped(f"{trips} trips", length)
        carry, xs, constants = given[:carries], given[carries : carries + slices], given[carries + slices :]
        yielded: dict[int, Values] = {}
        for i in range(trips - 1, -1, -1) if attributes["reverse"] else range(trips):
            _ask(stop)
            results = run(attributes["body"], [*carry, *[x[i] for x in xs], *constants])
            carry, yielded[i] = results[:carries], results[carries:]
        return [*carry, *_stacked(yielded, stacks)]
    carry, constants, yielded, trips = given[:carries], given[carries:], {}, 0
    while run(attributes["condition"], [np.real(x) for x in (*carry, *constants)])[0]:
        _ask(stop)
        if trips == attributes["max_trips"]:
            raise capped(f"the condition still holds after {trips} trips", trips)
        results = run(attributes["body"], [*carry, *constants])
        carry, yielded[trips] = results[:carries], results[carries:]
        trips += 1
    return [np.asarray(trips), *carry, *_stacked(yielded, stacks)]


def _stacked(yielded: dict[int, Values], types: Sequence[Any]) -> Values:
    """What each trip yielded, by its number, stacked; 0 for trips that were not made."""
    stacks = []
    for k, type in enumerate(types):
        complex_ = any(np.iscomplexobj(values[k]) for values in yielded.values())
        stack = np.zeros(type.shape, np.complex128 if complex_ else type.dtype)
        for i, values in yielded.items():
            stack[i] = values[k]
        stacks.append(stack)
    return stacks


def _ask(stop: Stop) -> None:
    if stop():
        raise Cancelled("the work was stopped")
