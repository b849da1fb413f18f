"""lift: what a loop need not do trip by trip is done for all trips at once, before the loop or behind it.

A trip over small arrays costs its kernel calls, not its flops. Of a body

- what depends on nothing that is carried is computed *ahead*: once if it is the same each trip, else batched
  over the trips, and given to the loop as slices (the gates' partials of a recurrent net's reverse sweep, say);
- what only the stacked results read is computed *behind*, batched over what the loop stacks for it;
- what is only added up, `total + f`, is no longer carried: f is stacked, and summed behind. (A weight's gradient, the sum of
  outer products h_t d_t', is then one matrix product: simplify/products.py.)
- what is carried unchanged is no longer carried.

The values are the same up to the order of sums. Loops whose number of trips is data are left as they are, and graphs
held by the body stay in it: what they keep small (a checkpoint's memory) must not be stacked. A lifted loop takes more memory:
plan/loops.py says whether that pays; nothing here reads a cost.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..graph import Builder, Graph, Node, Ref, Type
from ..ops.build import call
from ..ops.term import Term
from .batch import batch
from .rewrite import fresh, inline, reached, terms
from .simplify import simplify
from .structured.loop import Loop, loop_of, scanned
from .structured.rules import named

SMALL_BYTES = 4096
"""A broadcast of more than this is made in each trip: stacked, its copies would be real."""

_ADDED = {"add": 1, "subtract": -1}


def lifted(node: Node, ahead: bool = True, behind: bool = True) -> Graph | None:
    """The node of a loop as a graph, its operands in and its results out, with as much as can be outside of the loop; None if
    nothing is. `ahead`, `behind`: whether what differs from trip to trip is lifted that way.
    """
    parts = taken_apart(node, ahead, behind)
    return None if parts is None else put_together(parts)


@dataclass(frozen=True, slots=True)
class Parts:
    """A loop taken apart. Carries are `carried`, `unchanged`, or `sums`: of each what is added, and its sign.

    Of each node of the body: `varies`, it is not the same each trip; `moving`, it has to wait for what is carried; `inside`, it
    stays in the loop (what is carried among them). `results`: what is stacked, then what is summed.
    """

    node: Node
    loop: Loop
    carried: list[int]
    unchanged: list[int]
    sums: dict[int, list[tuple[Ref, int]]]
    varies: list[bool]
    moving: list[bool]
    inside: list[bool]
    results: list[Ref]

    @property
    def left(self) -> float:
        """How much of the body stays in the loop, by nodes."""
        arity = self.loop.body.arity
        return sum(self.inside[arity:]) / max(1, sum(bool(node.operands) for node in self.loop.body.nodes))

    def is_constant(self, ref: Ref) -> bool:
        node = self.loop.body.nodes[ref.node]
        return node.op != "input" and not node.operands

    def is_yielded(self, ref: Ref) -> bool:
        """Whether the loop stacks it where it is read outside: not another view of what it can stack."""
        node = self.loop.body.nodes[ref.node]
        same = node.op in ("reshape", "transpose") and self.inside[node.operands[0].node]
        return self.inside[ref.node] and not same

    def is_given(self, ref: Ref) -> bool:
        """Whether the loop is given it."""
        node = self.loop.body.nodes[ref.node]
        large = node.op == "broadcast" and node.types[0].nbytes > SMALL_BYTES
        return ref.node < self.loop.body.arity or not (self.moving[ref.node] or large or self.is_constant(ref))

    def behind(self) -> list[Ref]:
        """What the results are made of behind the loop."""
        return _sources(self.loop.body, self.results, lambda ref: self.is_yielded(ref) or self.is_given(ref))

    def made(self) -> list[Ref]:
        """What the loop carries on and yields."""
        return [*[self.loop.body.outputs[j] for j in self.carried], *[ref for ref in self.behind() if self.inside[ref.node]]]

    def into(self) -> list[Ref]:
        """What it is given besides what it carries."""
        return [ref for ref in _sources(self.loop.body, self.made(), self.is_given) if not self.inside[ref.node]]


def taken_apart(node: Node, ahead: bool, behind: bool) -> Parts | None:
    """None if nothing of the loop can be outside of it."""
    if node.op != "scan" or (loop := loop_of(node)).counted or loop.length < 2:
        return None
    body = loop.body
    unchanged, changing = ([j for j in range(loop.carries) if (body.outputs[j] == Ref(j)) is same] for same in (True, False))
    reads = Counter([*[ref for inner in body.nodes for ref in inner.operands], *body.outputs])
    sums = {j: found for j in changing if (found := _summands(body, j, reads)) is not None} if behind else {}
    carried = [j for j in changing if j not in sums]
    varies, moving = reached(body, [*changing, *loop.xs]), reached(body, changing)
    holds = [any(isinstance(value, Graph) for _, value in inner.attributes) for inner in body.nodes]
    for i in range(body.arity, len(body.nodes)):
        stays = varies[i] and (holds[i] or not ahead)
        moving[i] = moving[i] or stays or any(moving[ref.node] for ref in body.nodes[i].operands)
    results = [*[body.outputs[o] for o in loop.ys], *[ref for found in sums.values() for ref, _ in found]]
    wanted = _needed(body, results)
    inside = _needed(body, [body.outputs[j] for j in carried])
    for i in range(len(body.nodes) - 1, body.arity - 1, -1):
        inside[i] = moving[i] and (inside[i] or (wanted[i] and (holds[i] or not behind)))
        if inside[i]:
            for ref in body.nodes[i].operands:
                inside[ref.node] = True
    inside[: body.arity] = [False] * body.arity
    for j in carried:
        inside[j] = True
    parts = Parts(node, loop, carried, unchanged, sums, varies, moving, inside, results)
    return parts if unchanged or parts.left < 1 else None


def _needed(body: Graph, outputs: Sequence[Ref]) -> list[bool]:
    """The nodes these values are made by."""
    found = [False] * len(body.nodes)
    for ref in outputs:
        found[ref.node] = True
    for i in range(len(body.nodes) - 1, body.arity - 1, -1):
        if found[i]:
            for ref in body.nodes[i].operands:
                found[ref.node] = True
    return found


def _summands(body: Graph, j: int, reads: Mapping[Ref, int]) -> list[tuple[Ref, int]] | None:
    """What is added to carry j each trip, and its sign; None if more than that is done with it."""
    if not body.input_types[j].is_float or reads[Ref(j)] != 1:
        return None
    found: list[tuple[Ref, int]] = []
    pending, itself = [(body.outputs[j], 1)], 0
    while pending:
        ref, sign = pending.pop()
        node = body.nodes[ref.node]
        if ref == Ref(j):
            itself += sign
        elif node.op in _ADDED and reads[ref] == 1:
            pending += [(node.operands[1], sign * _ADDED[node.op]), (node.operands[0], sign)]
        else:
            found.append((ref, sign))
    return found if itself == 1 else None


def put_together(parts: Parts) -> Graph:
    """The loop's operands in, its results out, simplified."""
    loop, body = parts.loop, parts.loop.body
    builder = Builder()
    builder.origin = parts.node.origin
    given = [Term(builder, builder.input(name, _operand_type(loop, i))) for i, name in enumerate(body.input_names)]
    outside = [*parts.unchanged, *loop.xs, *loop.constants]
    known = {Ref(i): given[i] for i in outside}

    behind, made, into = parts.behind(), parts.made(), parts.into()
    yielded = made[len(parts.carried) :]
    ahead = [ref for ref in dict.fromkeys([*into, *behind]) if ref not in known and not parts.inside[ref.node]]
    before = batch(_cut(body, [Ref(i) for i in outside], ahead), [i in loop.xs for i in outside], loop.length, [parts.varies[r.node] for r in ahead])
    known.update(zip(ahead, inline(builder, before, [known[Ref(i)] for i in outside], keep_origin=False), strict=True))

    slices, stays = ([ref for ref in into if parts.varies[ref.node] is varies] for varies in (True, False))
    results: Sequence[Term] = []
    if made:
        inner = _cut(body, [*[Ref(j) for j in parts.carried], *slices, *stays], made)
        smaller = replace(loop, carries=len(parts.carried), slices=len(slices))
        results = scanned([], [given[j] for j in parts.carried], [known[r] for r in slices], [known[r] for r in stays], builder, inner, smaller)
        known.update(zip(yielded, results[len(parts.carried) :], strict=True))

    after = batch(_cut(body, behind, parts.results), [parts.varies[ref.node] for ref in behind], loop.length)
    stacks = inline(builder, after, [known[ref] for ref in behind], keep_origin=False)
    last = {j: given[j] for j in parts.unchanged} | dict(zip(parts.carried, results, strict=False))
    summands = iter(stacks[len(loop.ys) :])
    for j, found in parts.sums.items():
        last[j] = given[j]
        for _, sign in found:
            total = call("sum", next(summands), axes=(0,))
            last[j] = last[j] + total if sign > 0 else last[j] - total
    return simplify(named(builder, [*[last[j] for j in range(loop.carries)], *stacks[: len(loop.ys)]]))


def _operand_type(loop: Loop, i: int) -> Type:
    type = loop.body.input_types[i]
    return type.with_shape((loop.length, *type.shape)) if i in loop.xs else type


def _sources(body: Graph, outputs: Sequence[Ref], ends: Callable[[Ref], bool]) -> list[Ref]:
    """The values these come from, found by going back from each until one `ends` it. In the body's order."""
    found, seen, pending = set(), set(outputs), list(outputs)
    while pending:
        ref = pending.pop()
        if ends(ref):
            found.add(ref)
            continue
        for operand in body.nodes[ref.node].operands:
            if operand not in seen:
                seen.add(operand)
                pending.append(operand)
    return sorted(found)


def _cut(body: Graph, inputs: Sequence[Ref], outputs: Sequence[Ref]) -> Graph:
    """Of the body what makes these values of those."""
    builder = Builder()
    names = [body.input_names[ref.node] if ref.node < body.arity else "" for ref in inputs]
    lifted_names = iter(fresh([f"{ref.node}.{ref.result}" for ref in inputs], "lifted", body.input_names))
    values: dict[Ref, Term] = {}
    for ref, name, other in zip(inputs, names, lifted_names, strict=True):
        values[ref] = Term(builder, builder.input(name or other, body.type_of(ref)))
    needed = [False] * len(body.nodes)
    for ref in outputs:
        needed[ref.node] |= ref not in values
    for i in range(len(body.nodes) - 1, -1, -1):
        if needed[i]:
            for ref in body.nodes[i].operands:
                needed[ref.node] |= ref not in values
    for i in range(body.arity, len(body.nodes)):
        if needed[i]:
            builder.origin = body.nodes[i].origin
            for r, y in enumerate(terms(builder, body.nodes[i], [values[ref] for ref in body.nodes[i].operands])):
                values.setdefault(Ref(i, r), y)
    return named(builder, [values[ref] for ref in outputs])
