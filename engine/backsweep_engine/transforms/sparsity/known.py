"""What is known of a graph's values before it runs: those made of constants and bound arrays, and where others must be 0.

An index array or a mask that is bound decides a pattern as surely as a slice does. Which inputs were
looked at is remembered, since whatever is made of them holds for these arrays only (CONTRACT A4). The
work is bounded: what takes longer to compute is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...graph import Graph, Node, Ref
from ...ops.op import Partials, Structured, lookup
from . import trips

Array = np.ndarray[Any, Any]
Look = Callable[[int], Array | None]

MAX_ELEMENTS = 1 << 24
"""Of a value that is computed here."""

MAX_WORK = 1_000_000_000
"""Flops and bytes of all values together."""

MOVES = frozenset(("broadcast", "reshape", "transpose", "flip", "slice", "pad", "concat", "take", "update", "scatter_set", "tril", "triu", "where"))
"""Ops whose kernels only move elements (and fill with 0): run on positions they tell what each element is a copy of."""


class Known:
    """`fixed`: for each input whether it can be known; `look` gives it, or None. `spot`: the same for where it may be other than 0."""

    def __init__(self, graph: Graph, fixed: Sequence[bool], look: Look, spot: Look | None = None) -> None:
        self.graph = graph
        self._look, self._spot = look, spot
        self._work = MAX_WORK
        self._fixed: list[list[bool]] = [[f] for f in fixed]
        for node in graph.nodes[graph.arity :]:
            self._fixed.append(self._knowable(node))
        self._values: dict[int, tuple[Array | None, ...]] = {}
        self._spots: dict[Ref, Array | None] = {}
        self._hopes: dict[int, bool] = {}

    def is_fixed(self, ref: Ref) -> bool:
        """Whether the value can be known."""
        return self._fixed[ref.node][ref.result]

    def value(self, ref: Ref) -> Array | None:
        """The value, or None."""
        if not self.is_fixed(ref):
            return None
        for i in self._wanted(ref.node, lambda i: i not in self._values and any(self._fixed[i]), lambda i: True):
            self._values[i] = self._computed(i)
        return self._values[ref.node][ref.result]

    def _knowable(self, node: Node) -> list[bool]:
        op = lookup(node.op)
        fixed = [self.is_fixed(ref) for ref in node.operands]
        if any(t.size > MAX_ELEMENTS for t in node.types):
            return [False] * len(node.types)
        if node.op == "scan":
            return trips.fixed_results(node, fixed)
        runs = op.apply is not None and not isinstance(op.derivative, Structured)
        return [runs and all(fixed)] * len(node.types)

    def nonzero(self, ref: Ref) -> Array | None:
        """True where the value may be other than 0, of its shape; None: anywhere.

        A factor known to be 0 makes 0 (as `scale` has it), also of a value that may not be finite.
        """
        # First whether zeros can come of it at all: values are read only where that hangs on them.
        for i in self._wanted(ref.node, lambda i: i not in self._hopes, lambda i: self._tells(i)):
            self._hopes[i] = self._hope(i)
        for i in self._wanted(ref.node, lambda i: Ref(i) not in self._spots and self._hopes[i], lambda i: not any(self._fixed[i])):
            for r in range(len(self.graph.nodes[i].types)):
                self._spots[Ref(i, r)] = self._masked(Ref(i, r))
        return self._spots.get(ref)

    def _wanted(self, node: int, missing: Callable[[int], bool], through: Callable[[int], bool]) -> list[int]:
        """The node and all before it that are missing, in order; their operands are asked for `through` some only."""
        found, stack = set(), [node]
        while stack:
            i = stack.pop()
            if i not in found and missing(i):
                found.add(i)
                if through(i):
                    stack.extend(ref.node for ref in self.graph.nodes[i].operands)
        return sorted(found)

    def _computed(self, i: int) -> tuple[Array | None, ...]:
        if i < self.graph.arity:
            return (self._look(i),)
        node = self.graph.nodes[i]
        op, attributes = lookup(node.op), dict(node.attributes)
        operands = [self._values[ref.node][ref.result] if ref.node in self._values else None for ref in node.operands]
        nothing = (None,) * len(node.types)
        cost = op.cost(tuple([self.graph.type_of(ref) for ref in node.operands]), node.types, **attributes)
        self._work -= cost.flops + cost.bytes
        if self._work < 0:
            return nothing
        with np.errstate(all="ignore"):
            if node.op == "scan":
                wanted = [r for r, f in enumerate(self._fixed[i]) if f]
                if any(x is None for x, ref in zip(operands, node.operands, strict=True) if self.is_fixed(ref)):
                    return nothing
                return trips.results(node, wanted, operands)
            if any(x is None for x in operands):
                return nothing
            assert op.apply is not None
            results = op.apply(*operands, **attributes)
        return tuple(map(np.asarray, results)) if isinstance(results, tuple) else (np.asarray(results),)

    def _tells(self, i: int) -> bool:
        """Whether it is of an op that says where it is 0 by where its operands are."""
        node = self.graph.nodes[i]
        if i < self.graph.arity or any(self._fixed[i]) or len(node.types) > 1 or node.types[0].size > MAX_ELEMENTS:
            return False
        return node.op in _ZEROS or _keeps_zero(node.op)

    def _hope(self, i: int) -> bool:
        """Whether it may be known to be 0 somewhere, before any value is read."""
        node = self.graph.nodes[i]
        if i < self.graph.arity and not any(self._fixed[i]):
            return self._spot is not None
        if any(self._fixed[i]):
            return max(t.size for t in node.types) <= MAX_ELEMENTS
        if not self._tells(i):
            return False
        hopes = [self._hopes[ref.node] for ref in node.operands if self.graph.type_of(ref).is_float]
        return node.op in _MAKERS or (all(hopes) if node.op in ("add", "subtract") else any(hopes))

    def _masked(self, ref: Ref) -> Array | None:
        node = self.graph.nodes[ref.node]
        if ref.node < self.graph.arity and not self.is_fixed(ref):
            return None if self._spot is None else self._spot(ref.node)
        if any(self._fixed[ref.node]):
            value = self.value(ref)
            return None if value is None or value.all() else value != 0
        masks = [self._spots.get(operand) for operand in node.operands]
        self._work -= node.types[0].size
        if self._work < 0:
            return None
        return _ZEROS.get(node.op, _same)(self, ref, masks)

    def ones(self, ref: Ref) -> Array:
        return np.broadcast_to(np.True_, self.graph.type_of(ref).shape)


Masks = list[Array | None]


def _same(known: Known, ref: Ref, masks: Masks) -> Array | None:
    return masks[0]


def _both(known: Known, ref: Ref, masks: Masks) -> Array | None:
    a, b = masks
    return b if a is None else a if b is None else a & b


def _either(known: Known, ref: Ref, masks: Masks) -> Array | None:
    found = [m for m in masks if m is not None]
    return None if len(found) < len(masks) else np.logical_or.reduce(found)


def _moved(known: Known, ref: Ref, masks: Masks) -> Array | None:
    node = known.graph.nodes[ref.node]
    if node.op not in _MAKERS and all(m is None for m in masks):
        return None
    given: list[Array] = []
    for operand, mask in zip(node.operands, masks, strict=True):
        if known.graph.type_of(operand).is_float:
            given.append(known.ones(operand) if mask is None else mask)
        elif (value := known.value(operand)) is not None:
            given.append(value)
        else:
            return _either(known, ref, masks[1:]) if node.op == "where" else None
    op = lookup(node.op)
    assert op.apply is not None
    mask = np.asarray(op.apply(*given, **dict(node.attributes)))
    return None if mask.all() else mask


def _summed(known: Known, ref: Ref, masks: Masks) -> Array | None:
    return None if masks[0] is None else np.any(masks[0], axis=dict(known.graph.nodes[ref.node].attributes)["axes"])


def _put(known: Known, ref: Ref, masks: Masks) -> Array | None:
    node = known.graph.nodes[ref.node]
    index = known.value(node.operands[1])
    if index is None:
        return None
    counts = known.ones(node.operands[0]) if masks[0] is None else masks[0]
    apply = lookup("put_add").apply
    assert apply is not None
    return np.asarray(apply(counts.astype(np.int64), index, **dict(node.attributes))) > 0


_MAKERS = ("pad", "tril", "triu", "put_add")
"""These put zeros where nothing was."""

_ZEROS: dict[str, Callable[[Known, Ref, Masks], Array | None]] = {
    **dict.fromkeys(MOVES, _moved),
    **dict.fromkeys(("multiply", "scale"), _both),
    **dict.fromkeys(("add", "subtract"), _either),
    **dict.fromkeys(("negative", "cast"), _same),
    "sum": _summed,
    "put_add": _put,
}


def _keeps_zero(name: str) -> bool:
    """Whether a pointwise op of one operand takes 0 to 0."""
    op = lookup(name)
    if not isinstance(op.derivative, Partials) or op.arity != 1 or op.attributes or op.apply is None:
        return False
    with np.errstate(all="ignore"):
        return bool(op.apply(np.zeros(1))[0] == 0)
