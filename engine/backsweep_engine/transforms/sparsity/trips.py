"""The part of a loop that is known before it runs: an index that counts, say, beside what depends on the point.

A result of a scan is known if everything it is made of, over any number of trips, is. Such parts are
computed here, one trip after the other, without what else the loop does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph import Graph, Node, Ref
from ...ops.op import Structured, lookup
from ..structured.loop import Loop, loop_of

Array = np.ndarray[Any, Any]

MAX_TRIPS = 10_000


def fixed_results(node: Node, fixed: Sequence[bool]) -> list[bool]:
    """For each result of a scan whether it can be known, `fixed` saying which operands are."""
    loop = loop_of(node)
    given = fixed[loop.counted :]
    if loop.counted or loop.length > MAX_TRIPS:
        return [False] * len(node.types)
    return [_runs(loop, o) and all(given[i] for i in _inputs(loop, o)) for o in range(len(loop.body.outputs))]


def _inputs(loop: Loop, output: int) -> set[int]:
    """The inputs of the body that an output is made of, through what is carried."""
    body = loop.body
    found: set[int] = set()
    stack = [body.outputs[output].node] + ([output] if output < loop.carries else [])
    while stack:
        i = stack.pop()
        if i not in found:
            found.add(i)
            stack.extend(ref.node for ref in body.nodes[i].operands)
            if i < loop.carries:
                stack.append(body.outputs[i].node)
    return {i for i in found if i < body.arity}


def _runs(loop: Loop, output: int) -> bool:
    """Whether all the ops it is made of have kernels."""
    needed = sorted({j for j in _inputs(loop, output) if j < loop.carries} | {output})
    part = loop.body.select(needed)
    return all(lookup(n.op).apply is not None and not isinstance(lookup(n.op).derivative, Structured) for n in part.nodes[part.arity :])


def results(node: Node, wanted: Sequence[int], operands: Sequence[Array | None]) -> tuple[Array | None, ...]:
    """The wanted results; None in the place of the others. Operands they do not need may be None."""
    loop = loop_of(node)
    carried = sorted({j for o in wanted for j in _inputs(loop, o) if j < loop.carries})
    yielded = [o for o in wanted if o >= loop.carries]
    part = loop.body.select([*carried, *yielded])
    carry = list(operands[: loop.carries])
    stacks = {o: np.zeros(node.types[o].shape, node.types[o].dtype) for o in yielded}
    for trip in range(loop.length - 1, -1, -1) if loop.reverse else range(loop.length):
        slices = [None if (x := operands[i]) is None else x[trip] for i in loop.xs]
        found = _run(part, [*carry, *slices, *operands[loop.constants.start :]])
        for o, value in zip(yielded, found[len(carried) :], strict=True):
            stacks[o][trip] = value
        for j, value in zip(carried, found, strict=False):
            carry[j] = value
    return tuple([carry[o] if o < loop.carries and o in wanted else stacks.get(o) for o in range(len(node.types))])


def _run(graph: Graph, inputs: Sequence[Array | None]) -> list[Any]:
    values: dict[Ref, Any] = {Ref(i): x for i, x in enumerate(inputs) if x is not None}
    for i in range(graph.arity, len(graph.nodes)):
        node = graph.nodes[i]
        apply = lookup(node.op).apply
        assert apply is not None
        made = apply(*[values[ref] for ref in node.operands], **dict(node.attributes))
        for r, value in enumerate(made if isinstance(made, tuple) else (made,)):
            values[Ref(i, r)] = np.asarray(value)
    return [values[ref] for ref in graph.outputs]
