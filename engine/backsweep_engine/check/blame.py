"""Blame: which node's own rule is wrong, when a derivative of ours is.

Each node between the wrt inputs and the outputs is made a graph of its own, its operands the values that
reach it at the point, and is checked like any graph: the check of a rule is the check. Nodes that read only
what no wrt input reaches are left out; operands that are integers are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..execute.nonfinite import walk
from ..graph import Builder, Graph, Node, Type
from ..ops.op import Expansion, lookup
from ..ops.term import Term
from ..query import Check
from ..transforms.expand import expand
from ..transforms.rewrite import positions, reached, terms
from .verdict import Blame, Outcome, Place, Verdict

Array = np.ndarray[Any, Any]
Checked = Callable[[Graph, Mapping[str, Array], Check], Verdict]

_MOST = 256
"""Nodes checked: the first ones; a rule is wrong wherever it is used."""


def blame(graph: Graph, point: Mapping[str, Array], query: Check, checked: Checked) -> tuple[tuple[Blame, ...], int]:
    """The nodes found wrong, at most `query.max_worst`, and how many were examined. `checked` is the check itself."""
    spelled = expand(graph)
    moving = reached(spelled, positions(spelled, query.wrt))
    found: list[Blame] = []
    examined = 0
    seen: set[Any] = set()
    for i, operands, results in walk(spelled, [point[name] for name in spelled.input_names]):
        node = spelled.nodes[i]
        if i < spelled.arity or not moving[i] or isinstance(lookup(node.op).derivative, Expansion):
            continue
        floating = [k for k, (x, ref) in enumerate(zip(operands, node.operands, strict=True)) if x.dtype.kind == "f" and moving[ref.node]]
        if not floating or not any(y.dtype.kind == "f" for y in results):
            continue
        # The same op on arrays of the same types at many places is one rule: four places of it are enough.
        key = (node.op, tuple(x.dtype for x in operands), tuple(x.shape for x in operands), repr([a for a in node.attributes if not isinstance(a[1], Graph)]))
        places = sum(1 for k in seen if k[0] == key)
        if examined >= _MOST or places >= 4:
            continue
        seen.add((key, i))
        examined += 1
        verdict = checked(_alone(node, operands), {f"operand{k}": np.array(x) for k, x in enumerate(operands)}, _of(query, floating))
        if verdict.outcome is Outcome.WRONG and verdict.worst:
            found.append(Blame(Place(node.origin, node.op), verdict.worst[0]))
            if len(found) >= (query.max_worst or 4):
                break
    return tuple(found), examined


def _of(query: Check, floating: list[int]) -> Check:
    return Check(tuple([f"operand{k}" for k in floating]), seed=query.seed, max_worst=1)


def _alone(node: Node, operands: list[Array]) -> Graph:
    """One node as a graph."""
    builder = Builder()
    inputs = [Term(builder, builder.input(f"operand{k}", Type(x.dtype, x.shape))) for k, x in enumerate(operands)]
    results = terms(builder, node, inputs)
    return builder.build([(str(r) if len(results) > 1 else "", y.ref) for r, y in enumerate(results)])
