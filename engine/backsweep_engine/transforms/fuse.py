"""fuse: loops that run side by side made one, and results of loops that nobody reads left out.

A tangent loop is given what the loop before it stacked, trip by trip. As one loop the two need no stack, and
what both compute is computed once: forward mode then keeps nothing of a long loop. Only a plan does this
to what it will run: of a fused loop the linear part could not be transposed alone.

Which loops go together is settled first (`Order`), on the node numbers alone; the graph is then built once, whatever
the number of loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..graph import Builder, Graph, Node, Ref
from ..ops.build import call_several
from ..ops.term import Term
from ..stopping import paced
from .remember import remembered
from .rewrite import Rewrite, fresh, inline, terms, with_subgraphs
from .structured.loop import Loop, loop_of
from .structured.rules import absent, named, used


@remembered
def fuse(graph: Graph) -> Graph:
    """The same values and bits; graphs held are fused too."""
    if not graph.subgraphs:
        return graph
    return _read_only(_together(_within(graph)))


def _within(graph: Graph) -> Graph:
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        rewrite.values.append(rewrite.copy(with_subgraphs(node, fuse), operands))
    return rewrite.builder.build(rewrite.outputs())


_NOTHING = -1
"""Stands where a loop was that is one with another now: no other node moves for it."""


class Order:
    """The nodes of a graph in an order in which they can be computed, while loops are made one.

    Loops that are one stand in the place of their `head`; the others are gone. `members`: by head, the loops that are one, in the
    order in which a trip computes them.
    """

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.order = list(range(len(graph.nodes)))
        self.place = list(self.order)
        """where in `order` a node stands; of a loop that is gone, nothing that holds"""
        self.loops = {k: loop_of(node) for k, node in enumerate(graph.nodes) if node.op == "scan"}
        self.members = {k: [k] for k in self.loops}
        self._heads: dict[int, int] = {}

    def head(self, k: int) -> int:
        return self._heads.get(k, k)

    def needs(self, k: int) -> set[int]:
        """What must stand before this node: heads of loops, and other nodes."""
        return {self.head(n) for m in self.members.get(k, (k,)) for n, _ in self.nodes[m].operands if self.head(n) != k}

    def first_before(self, j: int) -> tuple[int, list[int]] | None:
        """The first loop of which this one is given slices it stacks and nothing else, over the same trips; and what is to be moved before it."""
        givers = {self.head(ref.node) for m in self.members[j] for ref in self._slices(m) if ref.node in self.loops} - {j}
        for i in sorted(givers, key=self.place.__getitem__):
            if self._alike(i, j) and (ahead := self._ahead(i, j)) is not None:
                return i, ahead
        return None

    def join(self, i: int, j: int, ahead: Sequence[int]) -> None:
        """Makes the loop j one with i, in the place of i; what j needs besides comes before it. Only what stands between them is moved."""
        start, stop, moved = self.place[i], self.place[j] + 1, {j, *ahead, _NOTHING}
        between = [*ahead, *[k for k in self.order[start:stop] if k not in moved]]
        for at, k in enumerate(between, start):
            self.place[k] = at
        self.order[start:stop] = between + [_NOTHING] * (stop - start - len(between))
        for m in self.members[j]:
            self._heads[m] = i
        self.members[i] += self.members.pop(j)

    def _slices(self, m: int) -> tuple[Ref, ...]:
        loop = self.loops[m]
        return self.nodes[m].operands[loop.counted :][loop.carries : loop.carries + loop.slices]

    def _alike(self, i: int, j: int) -> bool:
        """Whether they make the same trips, and whatever j is given of i are slices that i stacks."""
        first, second = self.loops[i], self.loops[j]
        if (first.length, first.reverse, first.counted) != (second.length, second.reverse, second.counted):
            return False
        if first.counted and self.nodes[i].operands[0] != self.nodes[j].operands[0]:
            return False
        for m in self.members[j]:
            loop, operands = self.loops[m], self.nodes[m].operands
            slices = range(loop.counted + loop.carries, loop.counted + loop.carries + loop.slices)
            if any(self.head(n) == i and (k not in slices or r < self.loops[n].carries) for k, (n, r) in enumerate(operands)):
                return False
        return True

    def _ahead(self, i: int, j: int) -> list[int] | None:
        """What stands behind i and is needed for j; None if some of it needs i in its turn."""
        found: set[int] = set()
        waiting = list(self.needs(j) - {i})
        while waiting:
            k = waiting.pop()
            if self.place[k] > self.place[i] and k not in found:
                found.add(k)
                more = self.needs(k)
                if i in more:
                    return None
                waiting += more
        return sorted(found, key=self.place.__getitem__)


def _together(graph: Graph) -> Graph:
    order = Order(graph)
    for j in [*order.loops]:
        # What is one with an earlier loop may by that be given slices of another one.
        while (found := order.first_before(j)) is not None:
            i, ahead = found
            order.join(i, j, ahead)
            j = i
    return _built(graph, order) if len(order.members) < len(order.loops) else graph


def _built(graph: Graph, order: Order) -> Graph:
    rewrite = Rewrite(graph)
    rewrite.inputs()
    values, builder = rewrite.values, rewrite.builder
    values += [()] * (len(graph.nodes) - graph.arity)
    for k in paced([k for k in order.order[graph.arity :] if k != _NOTHING]):
        node = graph.nodes[k]
        builder.origin = node.origin
        if len(order.members.get(k, ())) > 1:
            for m, results in zip(order.members[k], _fused(graph, order.members[k], values, builder), strict=True):
                values[m] = results
        else:
            values[k] = terms(builder, node, [values[n][r] for n, r in node.operands])
    return builder.build(rewrite.outputs())


def _fused(graph: Graph, members: Sequence[int], values: Sequence[tuple[Term, ...]], outer: Builder) -> list[tuple[Term, ...]]:
    """The results of each of the loops, computed by one. A loop is given slices of those before it only."""
    loops = {m: loop_of(graph.nodes[m]) for m in members}
    builder = Builder()
    names = iter(fresh([name for loop in loops.values() for name in loop.body.input_names], "fused", ()))
    known: dict[tuple[str, Ref], Term] = {}
    operands: dict[str, list[Term]] = {"carry": [], "slice": [], "stay": []}
    # Inputs are made in the order the loop wants them: all that is carried, all slices, all that stays.
    inputs = {m: [absent(builder)] * loop.body.arity for m, loop in loops.items()}
    for kind, given in operands.items():
        for m, loop in loops.items():
            for k in {"carry": range(loop.carries), "slice": loop.xs, "stay": loop.constants}[kind]:
                (n, r), name = graph.nodes[m].operands[loop.counted + k], next(names)
                if kind == "slice" and n in loops:
                    continue  # what that one yields in this trip
                value = values[n][r]
                if kind == "carry" or (kind, value.ref) not in known:
                    known[kind, value.ref] = Term(builder, builder.input(name, loop.body.input_types[k]))
                    given.append(value)
                inputs[m][k] = known[kind, value.ref]
    yielded: dict[int, list[Term]] = {}
    for m, loop in loops.items():
        for k in loop.xs:
            n, r = graph.nodes[m].operands[loop.counted + k]
            if n in loops:
                inputs[m][k] = yielded[n][r]
        yielded[m] = inline(builder, loop.body, inputs[m])
    carried = [y for m, loop in loops.items() for y in yielded[m][: loop.carries]]
    body = named(builder, [*carried, *[y for m, loop in loops.items() for y in yielded[m][loop.carries :]]])
    first = loops[members[0]]
    trips = [values[n][r] for n, r in graph.nodes[members[0]].operands[: first.counted]]
    one = replace(first, body=body, carries=len(carried), slices=len(operands["slice"]))
    results = iter(_scan(outer, [*trips, *[value for given in operands.values() for value in given]], one))
    lasts = [[next(results) for _ in range(loop.carries)] for loop in loops.values()]
    return [(*last, *[next(results) for _ in loop.ys]) for last, loop in zip(lasts, loops.values(), strict=True)]


def _scan(builder: Builder, operands: Sequence[Term], loop: Loop) -> tuple[Term, ...]:
    counts = {"carries": loop.carries, "slices": loop.slices, "length": loop.length, "kept": loop.kept}
    return call_several(builder, "scan", *operands, body=loop.body, reverse=loop.reverse, counted=loop.counted, **counts)


def _read_only(graph: Graph) -> Graph:
    """Loops that carry and stack only what comes to be read, and are given only what they use."""
    read = {ref for node in graph.nodes for ref in node.operands} | set(graph.outputs)
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for at, (node, operands) in enumerate(rewrite.steps(), graph.arity):
        loop = loop_of(node) if node.op == "scan" else None
        wanted = _wanted(loop, [o for o in range(len(node.types)) if Ref(at, o) in read]) if loop else []
        if loop is None or not wanted or len(wanted) == len(node.types):
            rewrite.values.append(rewrite.copy(node, operands))
        else:
            rewrite.values.append(_thinner(node, operands, loop, wanted))
    return rewrite.builder.build(rewrite.outputs())


def _wanted(loop: Loop, read: Sequence[int]) -> list[int]:
    """The outputs of the body that are read, and what is carried for their sake."""
    found = list(read)
    while True:
        needed = used(loop.body.select(found))
        more = [j for j in range(loop.carries) if needed[j] and j not in found]
        if not more:
            return sorted(found)
        found += more


def _thinner(node: Node, operands: Sequence[Term], loop: Loop, wanted: Sequence[int]) -> tuple[Term, ...]:
    selected = loop.body.select(wanted)
    needed = used(selected)
    # What is carried is an input even if no trip looks at it: it may be the result of no trip at all.
    inputs = [k for k in range(loop.body.arity) if (k in wanted if k < loop.carries else needed[k])]
    builder = Builder()
    terms = {k: Term(builder, builder.input(selected.input_names[k], selected.input_types[k])) for k in inputs}
    body = named(builder, inline(builder, selected, [terms.get(k, absent(builder)) for k in range(selected.arity)]))
    smaller = replace(loop, body=body, carries=sum(k < loop.carries for k in inputs), slices=sum(k in loop.xs for k in inputs))
    results = _scan(operands[0].builder, [*operands[: loop.counted], *[operands[loop.counted + k] for k in inputs]], smaller)
    place = {o: k for k, o in enumerate(wanted)}
    # The place of a result nobody reads is never read either.
    return tuple([results[place[o]] if o in place else absent(operands[0].builder) for o in range(len(node.types))])
