"""A loop's node taken apart, and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...graph import Builder, Graph, Node, Ref
from ...ops.build import call_several
from ...ops.term import Term
from ..rewrite import inline, reached
from .rules import Terms, copied_inputs, named


@dataclass(frozen=True, slots=True)
class Loop:
    """A loop's node taken apart. Positions are those of the body's inputs: what is carried, slices, what stays."""

    body: Graph
    carries: int
    slices: int
    length: int
    reverse: bool
    counted: bool
    kept: tuple[int, ...] = ()

    @property
    def xs(self) -> range:
        return range(self.carries, self.carries + self.slices)

    @property
    def constants(self) -> range:
        return range(self.carries + self.slices, self.body.arity)

    @property
    def ys(self) -> range:
        """Which outputs of the body are stacked."""
        return range(self.carries, len(self.body.outputs))

    def settled(self, flags: Sequence[bool], *, floats: bool = False) -> list[bool]:
        """The flagged inputs of the body, and every carry (every floating one) they reach in any number of trips."""
        found = list(flags)
        while True:
            reach = reached(self.body, [i for i, f in enumerate(found) if f])
            more = [j for j in range(self.carries) if not found[j] and reach[self.body.outputs[j].node] and not (floats and not self.is_float(j))]
            if not more:
                return found
            for j in more:
                found[j] = True

    def is_float(self, j: int) -> bool:
        return self.body.output_types[j].is_float


def loop_of(node: Node) -> Loop:
    return Loop(**dict(node.attributes))


def scanned(trips: Sequence[Term], carry: Sequence[Term], xs: Sequence[Term], stays: Sequence[Term], builder: Builder, body: Graph, like: Loop) -> Terms:
    """A scan as long as another that keeps as much; it runs the other way round if asked by `like`."""
    operands = [*trips, *carry, *xs, *stays]
    counts = {"carries": len(carry), "slices": len(xs), "length": like.length, "kept": like.kept}
    return call_several(builder, "scan", *operands, body=body, reverse=like.reverse, counted=bool(trips), **counts)


def stacking(loop: Loop, wanted: Sequence[int]) -> tuple[Graph, dict[int, int]]:
    """The body yielding what is carried in at these positions, too, and which of its outputs that is."""
    place = {o: k for k, o in enumerate(loop.body.outputs) if k in loop.ys}
    where: dict[int, int] = {}
    outputs = list(range(len(loop.body.outputs)))
    missing = [j for j in wanted if Ref(j) not in place]
    for j in wanted:
        where[j] = place[Ref(j)] if Ref(j) in place else len(outputs) + missing.index(j)
    if not missing:
        return loop.body, where
    builder, inputs = copied_inputs(loop.body)
    results = inline(builder, loop.body, inputs)
    return named(builder, [*results, *[inputs[j] for j in missing]]), where
