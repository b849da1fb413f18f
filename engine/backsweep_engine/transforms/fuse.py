"""fuse: loops that run side by side made one, and results of loops that nobody reads left out.

A tangent loop is given what the loop before it stacked, trip by trip. As one loop the two need no stack, and
what both compute is computed once: forward mode then keeps nothing of a long loop. Only a plan does this
to what it will run: of a fused loop the linear part could not be transposed alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ..graph import Builder, Graph, Node, Ref
from ..ops.build import call_several
from ..ops.term import Term
from .remember import remembered
from .rewrite import Rewrite, fresh, inline, reached, with_subgraphs
from .structured.loop import Loop, loop_of
from .structured.rules import absent, named, used


@remembered
def fuse(graph: Graph) -> Graph:
    """The same values and bits; graphs held are fused too."""
    if not graph.subgraphs:
        return graph
    changed = _within(graph)
    while (pair := _pair(changed)) is not None:
        changed = _fused(changed, *pair)
    return _read_only(changed)


def _within(graph: Graph) -> Graph:
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        rewrite.values.append(rewrite.copy(with_subgraphs(node, fuse), operands))
    return rewrite.builder.build(rewrite.outputs())


def _pair(graph: Graph) -> tuple[int, int] | None:
    """Two loops of the same trips, the second of which is given slices the first one stacks and nothing else of it."""
    for j in range(graph.arity, len(graph.nodes)):
        if graph.nodes[j].op != "scan":
            continue
        second = loop_of(graph.nodes[j])
        operands = graph.nodes[j].operands
        for i in sorted({ref.node for ref in operands[second.counted :][second.carries : second.carries + second.slices]}):
            if graph.nodes[i].op == "scan" and _alike(graph, i, j):
                return i, j
    return None


def _alike(graph: Graph, i: int, j: int) -> bool:
    first, second = loop_of(graph.nodes[i]), loop_of(graph.nodes[j])
    same = (first.length, first.reverse, first.counted) == (second.length, second.reverse, second.counted)
    if not same or (first.counted and graph.nodes[i].operands[0] != graph.nodes[j].operands[0]):
        return False
    behind = reached(graph, [i])
    slices = range(second.counted + second.carries, second.counted + second.carries + second.slices)
    return all(not behind[ref.node] or (k in slices and _stacked(first, i, ref)) for k, ref in enumerate(graph.nodes[j].operands))


def _stacked(loop: Loop, at: int, ref: Ref) -> bool:
    return ref.node == at and ref.result >= loop.carries


def _fused(graph: Graph, i: int, j: int) -> Graph:
    """The graph with the loops at i and j as one, in the place of the first; what the second needs besides comes before it."""
    ahead = _needed(graph, i, [ref for ref in graph.nodes[j].operands if ref.node != i])
    order = [*range(graph.arity, i), *ahead, i, *[k for k in range(i + 1, len(graph.nodes)) if k != j and k not in set(ahead)]]
    builder = Builder()
    values: dict[int, tuple[Term, ...]] = {}
    for k in range(graph.arity):
        values[k] = (Term(builder, builder.input(graph.input_names[k], graph.input_types[k])),)
    for k in order:
        node = graph.nodes[k]
        builder.origin = node.origin
        if k == i:
            values[i], values[j] = _both(graph, i, j, values, builder)
            continue
        index = builder.again(node, tuple([values[n][r].ref for n, r in node.operands]))
        values[k] = tuple([Term(builder, Ref(index, r)) for r in range(len(node.types))])
    return builder.build([(name, values[n][r].ref) for name, (n, r) in zip(graph.output_names, graph.outputs, strict=True)])


def _needed(graph: Graph, after: int, refs: Sequence[Ref]) -> list[int]:
    """The nodes behind `after` these values come from."""
    found, waiting = set(), [ref.node for ref in refs]
    while waiting:
        k = waiting.pop()
        if k > after and k not in found:
            found.add(k)
            waiting += [ref.node for ref in graph.nodes[k].operands]
    return sorted(found)


def _both(graph: Graph, i: int, j: int, values: dict[int, tuple[Term, ...]], outer: Builder) -> tuple[tuple[Term, ...], tuple[Term, ...]]:
    first, second = loop_of(graph.nodes[i]), loop_of(graph.nodes[j])
    given = [graph.nodes[k].operands[loop.counted :] for k, loop in ((i, first), (j, second))]
    builder = Builder()
    names = iter(fresh([*first.body.input_names, *second.body.input_names], "fused", ()))
    known: dict[tuple[str, Ref], Term] = {}
    operands: dict[str, list[Ref]] = {"carry": [], "slice": [], "stay": []}
    ordered: dict[str, list[Term]] = {"carry": [], "slice": [], "stay": []}
    # Inputs are made in the order the loop wants them: all that is carried, all slices, all that stays.
    terms: list[list[Term]] = [[absent(builder)] * first.body.arity, [absent(builder)] * second.body.arity]
    for kind in operands:
        for which, loop in enumerate((first, second)):
            for k in {"carry": range(loop.carries), "slice": loop.xs, "stay": loop.constants}[kind]:
                ref, name = given[which][k], next(names)
                if kind == "slice" and which and ref.node == i:
                    continue  # what the first one yields in this trip
                if kind == "carry" or (kind, ref) not in known:
                    known[kind, ref] = Term(builder, builder.input(name, loop.body.input_types[k]))
                    operands[kind].append(ref)
                    ordered[kind].append(known[kind, ref])
                terms[which][k] = known[kind, ref]
    ours = inline(builder, first.body, terms[0])
    for k in second.xs:
        if given[1][k].node == i:
            terms[1][k] = ours[given[1][k].result]
    theirs = inline(builder, second.body, terms[1])
    a, b = first.carries, second.carries
    body = named(builder, [*ours[:a], *theirs[:b], *ours[a:], *theirs[b:]])
    trips = graph.nodes[i].operands[: first.counted]
    refs = [*trips, *operands["carry"], *operands["slice"], *operands["stay"]]
    loop = replace(first, body=body, carries=a + b, slices=len(operands["slice"]))
    results = _scan(outer, [values[n][r] for n, r in refs], loop)
    stacks = len(ours) - a
    return (*results[:a], *results[a + b : a + b + stacks]), (*results[a : a + b], *results[a + b + stacks :])


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
