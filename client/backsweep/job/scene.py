"""The part of a graph that a report shows: all of a small one, else a window round the nodes that matter.

Values only: numbers, op names and types as text, and which nodes use which. How it is drawn stands in report/picture.py.
"""

from __future__ import annotations

from dataclasses import dataclass

from backsweep_engine.check.verdict import Verdict
from backsweep_engine.graph import Graph

MAX_SHOWN = 24
"""Nodes; more cannot be read at a glance."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A node. `operands`: those that are shown too. `hidden_operands`, `hidden_users`: how many are not."""

    number: int
    label: str
    type: str
    operands: tuple[int, ...]
    mark: str = ""
    hidden_operands: int = 0
    hidden_users: int = 0


@dataclass(frozen=True, slots=True)
class Scene:
    """`nodes` in the graph's order, of `total`."""

    nodes: tuple[Shown, ...]
    total: int


def scene(graph: Graph, verdict: Verdict) -> Scene | None:
    """The nodes a verdict names, marked, with their surroundings; None of a large graph if it names none."""
    marks = {b.place.node: "blamed" for b in verdict.blamed if b.place.node is not None and b.place.function is None}
    place = verdict.place
    if place is not None and place.node is not None and place.function is None:
        marks.setdefault(place.node, verdict.doubt.value if verdict.doubt else "here")
    marks = {node: mark for node, mark in marks.items() if node < len(graph.nodes)}
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
        nodes.append(Shown(number, label + out, type, shown, marks.get(number, ""), *hidden))
    return Scene(tuple(nodes), len(graph.nodes))


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
