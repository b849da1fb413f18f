"""The part of a graph that a report shows: all of a small one, else a window round the nodes that matter.

Values only: numbers, op names and types as text, and which nodes use which. How it is drawn stands in report/picture.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backsweep_engine.check.verdict import Verdict
from backsweep_engine.graph import Graph

MAX_SHOWN = 24
"""Nodes; more cannot be read at a glance."""

MAX_SCENES = 4

_HOLDS = "holds"


@dataclass(frozen=True, slots=True)
class Shown:
    """A node. `operands`: those that are shown too. `hidden_operands`, `hidden_users`: how many are not. `holds`: the graph that is at issue."""

    number: int
    label: str
    type: str
    operands: tuple[int, ...]
    mark: str = ""
    holds: bool = False
    hidden_operands: int = 0
    hidden_users: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """`nodes` in the graph's order, of `total`. `holder`: of a graph that a node holds, which one, in words; "" of the main one."""

    nodes: tuple[Shown, ...]
    total: int
    holder: str = ""


def scenes(graph: Graph, verdict: Verdict) -> tuple[Scene, ...]:
    """The main graph, then every graph held in which the verdict names a node, each with its marks: at most MAX_SCENES.

    A large main graph is left out where nothing in it is marked.
    """
    functions = graph.functions
    marks: dict[int, dict[int, str]] = {len(functions) - 1: {}}
    named = [(b.place, "blamed") for b in verdict.blamed]
    if verdict.place is not None:
        named.append((verdict.place, verdict.doubt.value if verdict.doubt else "here"))
    holders = _holders(functions)
    for place, mark in named:
        at = len(functions) - 1 if place.function is None else place.function
        if place.node is not None and at < len(functions) and place.node < len(functions[at].nodes):
            marks.setdefault(at, {}).setdefault(place.node, mark)
            _mark_holders(at, holders, marks)
    found = []
    for at in sorted(marks, reverse=True)[:MAX_SCENES]:
        held = [f"the {name} of node {node} ({functions[by].nodes[node].op})" + _inside(by, functions) for by, node, name in holders.get(at, ())]
        drawn = _scene(functions[at], marks[at], f"Function {at}, {held[0]}" if held else "")
        if drawn is not None:
            found.append(drawn)
    return tuple(found)


Holders = dict[int, list[tuple[int, int, str]]]
"""By the number of a function, who holds it: (function, node, attribute)."""


def _holders(functions: Sequence[Graph]) -> Holders:
    numbers = {f.fingerprint: k for k, f in enumerate(functions)}
    found: Holders = {}
    for by, function in enumerate(functions):
        for i, node in enumerate(function.nodes):
            for name, value in node.attributes:
                if isinstance(value, Graph):
                    found.setdefault(numbers[value.fingerprint], []).append((by, i, name))
    return found


def _mark_holders(at: int, holders: Holders, marks: dict[int, dict[int, str]]) -> None:
    """What holds the function, and what holds that; functions come after those they hold, so this ends."""
    for by, node, _ in holders.get(at, ()):
        if node not in marks.setdefault(by, {}):
            marks[by][node] = f"{_HOLDS} function {at}"
            _mark_holders(by, holders, marks)


def _inside(by: int, functions: Sequence[Graph]) -> str:
    return "" if by == len(functions) - 1 else f" of function {by}"


def _scene(graph: Graph, marks: dict[int, str], holder: str) -> Scene | None:
    """The nodes marked, with their surroundings; None of a large graph if there are none."""
    if len(graph.nodes) > MAX_SHOWN and not marks:
        return None
    operands = [sorted({ref.node for ref in node.operands}) for node in graph.nodes]
    users: list[list[int]] = [[] for _ in operands]
    for number, used in enumerate(operands):
        for node in used:
            users[node].append(number)
    kept = _window(operands, users, sorted(marks)[:4]) if len(graph.nodes) > MAX_SHOWN else set(range(len(graph.nodes)))
    outputs = {ref.node for ref in graph.outputs}
    nodes = []
    for number in sorted(kept):
        at = graph.nodes[number]
        label = str(dict(at.attributes)["name"]) if at.op == "input" else at.op
        type = ", ".join(map(str, at.types))
        shown = tuple([n for n in operands[number] if n in kept])
        out = " (output)" if number in outputs else ""
        hidden = len(operands[number]) - len(shown), sum(n not in kept for n in users[number])
        nodes.append(Shown(number, label + out, type, shown, marks.get(number, ""), marks.get(number, "").startswith(_HOLDS), *hidden))
    return Scene(tuple(nodes), len(graph.nodes), holder)


def _window(operands: list[list[int]], users: list[list[int]], centre: list[int]) -> set[int]:
    """The nearest MAX_SHOWN nodes by edges in either direction, breadth first."""
    kept, edge = set(centre), list(centre)
    while edge and len(kept) < MAX_SHOWN:
        following = []
        for number in edge:
            # Not through an input or constant: everything else that reads it is far away.
            for near in (*operands[number], *(users[number][:4] if operands[number] or number in centre else ())):
                if near not in kept and len(kept) < MAX_SHOWN:
                    kept.add(near)
                    following.append(near)
        edge = following
    return kept
