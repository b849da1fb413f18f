"""Blame: which node's own rule is wrong, when a derivative of ours is.

Each node between the wrt inputs and the outputs is made a graph of its own, its operands the values that
reach it at the point, and is checked like any graph: the check of a rule is the check. Nodes that read only
what no wrt input reaches are left out; operands that are integers are fixed. Where a loop or a choice is wrong the
graph it holds is gone through too, at the values of its first trip or of the branch it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..execute.nonfinite import walk
from ..graph import Builder, Graph, Node, Type, attributes_key
from ..ops.op import Expansion, lookup
from ..ops.term import Term
from ..query import Check
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached, terms
from .entered import DIRECT, ENTERED, controls, held
from .verdict import Blame, Outcome, Place, Verdict

Array = np.ndarray[Any, Any]
Checked = Callable[[Graph, Mapping[str, Array], Check], Verdict]

_MOST = 256
"""Nodes checked: the first ones; a rule is wrong wherever it is used."""


def blame(graph: Graph, point: Mapping[str, Array], query: Check, checked: Checked) -> tuple[tuple[Blame, ...], int]:
    """The nodes found wrong, at most `query.max_worst`, and how many were examined. `checked` is the check itself."""
    search = _Search(query, checked, {f.fingerprint: k for k, f in enumerate(graph.functions[:-1])})
    spelled = expand(graph)
    inputs = positions(spelled, query.wrt)
    search.through(graph, spelled, [i in inputs for i in range(spelled.arity)], [point[name] for name in spelled.input_names])
    return tuple(search.found), search.examined


@dataclass(slots=True)
class _Search:
    """`functions`: the number of each graph held, by its fingerprint."""

    query: Check
    checked: Checked
    functions: Mapping[str, int]
    found: list[Blame] = field(default_factory=list)
    examined: int = 0
    seen: set[Any] = field(default_factory=set)

    def through(self, submitted: Graph, spelled: Graph, inputs: Sequence[bool], values: Sequence[Array]) -> None:
        """Examines a graph, the main one or one held: `spelled` out of the submitted one. `inputs`: which of its inputs move."""
        moving = reached(spelled, [i for i, moves in enumerate(inputs) if moves])
        for i, operands, results in walk(spelled, values):
            node = spelled.nodes[i]
            if i < spelled.arity or not moving[i] or isinstance(lookup(node.op).derivative, Expansion) or len(self.found) >= (self.query.max_worst or 4):
                continue
            floating = [k for k, (x, ref) in enumerate(zip(operands, node.operands, strict=True)) if x.dtype.kind == "f" and moving[ref.node]]
            if not floating or not any(y.dtype.kind == "f" for y in results) or not self._is_new(i, node, submitted, operands):
                continue
            self.examined += 1
            verdict = self.checked(_alone(node, operands), {f"operand{k}": np.array(x) for k, x in enumerate(operands)}, _of(self.query, floating))
            if verdict.outcome is not Outcome.WRONG or not verdict.worst:
                continue
            if not self._inside(submitted, node, operands, results, [moving[ref.node] for ref in node.operands]):
                self.found.append(Blame(Place(node.origin, node.op, self.functions.get(submitted.fingerprint)), verdict.worst[0]))

    def _is_new(self, at: int, node: Node, submitted: Graph, operands: Sequence[Array]) -> bool:
        """The same op on arrays of the same types at many places is one rule: four places of it are enough."""
        key = (node.op, tuple(x.dtype for x in operands), tuple(x.shape for x in operands), attributes_key(node.attributes))
        if self.examined >= _MOST or sum(1 for k in self.seen if k[0] == key) >= 4:
            return False
        self.seen.add((key, submitted.fingerprint, at))
        return True

    def _inside(self, submitted: Graph, node: Node, operands: Sequence[Array], results: Sequence[Array], moving: Sequence[bool]) -> bool:
        """Whether a node was found in the graph that this one runs. A custom function's vjp is its own rule."""
        run = None if node.op == "custom" or node.op not in ENTERED else _first_run(node, operands, results)
        if run is None:
            return False
        name, values = run
        before = len(self.found)
        spelled = dict(node.attributes)[name]
        # What a compound op is spelled in stands nowhere in what was submitted.
        written = submitted.nodes[node.origin] if node.origin < len(submitted.nodes) else node
        held_graph = dict(written.attributes).get(name) if written.op == node.op else None
        if isinstance(held_graph, Graph) and expand(held_graph).fingerprint == spelled.fingerprint:
            inner = next(h for h in held(node, moving, _reached_outputs) if h.graph is spelled)
            self.through(held_graph, spelled, inner.moving, values)
        return len(self.found) > before


def _reached_outputs(graph: Graph, inputs: Sequence[bool]) -> list[bool]:
    moving = reached(graph, [i for i, moves in enumerate(inputs) if moves])
    return [moving[ref.node] for ref in graph.outputs]


def _first_run(node: Node, operands: Sequence[Array], results: Sequence[Array]) -> tuple[str, list[Array]] | None:
    """The attribute with the graph that the node runs, and its inputs on the first trip; None if it runs none."""
    attributes, given = dict(node.attributes), list(operands[controls(node) :])
    match node.op:
        case "cond":
            return ("then" if operands[0] else "otherwise"), given
        case "scan":
            trips = int(operands[0]) if attributes["counted"] else attributes["length"]
            first, last = attributes["carries"], attributes["carries"] + attributes["slices"]
            at = trips - 1 if attributes["reverse"] else 0
            return ("body", [*given[:first], *[np.asarray(x[at]) for x in given[first:last]], *given[last:]]) if trips > 0 else None
        case "while_loop":
            return ("body", given) if results[0] > 0 else None
    return DIRECT[node.op], given


def _of(query: Check, floating: list[int]) -> Check:
    return Check(tuple([f"operand{k}" for k in floating]), seed=query.seed, max_worst=1)


def _alone(node: Node, operands: list[Array]) -> Graph:
    """One node as a graph."""
    builder = Builder()
    inputs = [Term(builder, builder.input(f"operand{k}", Type(x.dtype, x.shape))) for k, x in enumerate(operands)]
    results = terms(builder, node, inputs)
    return builder.build([(str(r) if len(results) > 1 else "", y.ref) for r, y in enumerate(results)])
