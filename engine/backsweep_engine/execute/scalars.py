"""Small graphs on Python's numbers: whole ones, and the bodies of loops, as generated Python, where plan/scalars.py found it worth it.

A number that is read once stands in the expression that reads it; what no trip changes is computed
before the loop. Slices come in as columns of numbers and results go out as rows, CHUNK trips at a
time, so that lists never hold more than the plan promised and stop() is asked in between.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np

from ..errors import GraphError
from ..graph import Graph, Node, Type
from ..ops import scalars as on
from ..plan.scalars import CHUNK, ScalarLoop, Scalars
from .executor import Array, Run, Stop
from .source import Source, halt, names, unpacked

FEW_STACKED = 4
"""Numbers a trip puts out one by one; more go as a tuple."""

_CARRIED = re.compile(r"\bc[0-9]+\b")

MOST_ADDED = 16
"""Numbers put out that are added up to see whether they are finite: up to so many it is sooner than to look at the arrays."""

DEEPEST = 20
"""Expressions nest no deeper: the parser has its limits."""

TEXTS: dict[Any, tuple[str, Any]] = {
    operator.add: ("({0} + {1})", None),
    operator.sub: ("({0} - {1})", None),
    operator.mul: ("({0} * {1})", None),
    operator.neg: ("(-{0})", None),
    operator.lt: ("({0} < {1})", None),
    operator.le: ("({0} <= {1})", None),
    operator.eq: ("({0} == {1})", None),
    operator.ne: ("({0} != {1})", None),
    operator.and_: ("({0} & {1})", None),
    operator.or_: ("({0} | {1})", None),
    operator.xor: ("({0} ^ {1})", None),
    operator.not_: ("(not {0})", None),
    on.where: ("({1} if {0} else {2})", None),
    on.square: ("({0} * {0})", None),
    on.scale: ("({0} * {1} if {1} else {f}({0}, {1}))", None),
    on.divide: ("({0} / {1} if {1} else {f}({0}, {1}))", None),
    on.reciprocal: ("(1.0 / {0} if {0} else {f}({0}))", None),
    on.sqrt: ("({g}({0}) if {0} >= 0.0 else {f}({0}))", math.sqrt),
    on.exp: ("({g}({0}) if {0} < 709.0 else {f}({0}))", math.exp),
    on.log: ("({g}({0}) if {0} > 0.0 else {f}({0}))", math.log),
    on.sin: ("({g}({0}) if -1e300 < {0} < 1e300 else {f}({0}))", math.sin),
    on.cos: ("({g}({0}) if -1e300 < {0} < 1e300 else {f}({0}))", math.cos),
    on.maximum: ("({0} if {0} >= {1} or {0} != {0} else {1})", None),
    on.minimum: ("({0} if {0} <= {1} or {0} != {0} else {1})", None),
    on.relu: ("({0} if {0} > 0.0 or {0} != {0} else 0.0)", None),
}
"""What is quicker spelled out than called: the usual case first, {f} the function itself, {g} one that may raise in the others."""


class Runner(Protocol):
    def bind(self, memory: Array, warm: bool = ...) -> Run: ...


Straight = Callable[[Sequence[Array], Sequence[Array], Stop], bool]
"""A Run that says whether all it put out is known to be finite."""


def straight(graph: Graph, scalars: Scalars) -> Callable[[], Straight]:
    """What makes the function of a whole graph on Python's numbers."""
    source = Source()
    source.line(0, "def make():")
    source.line(1, "def run(inputs, outputs, stop):")
    source.line(2, unpacked("a", range(graph.arity), "inputs"))
    source.line(2, unpacked("o", range(len(graph.outputs)), "outputs"))
    given: list[str] = []
    for k, type in enumerate(graph.input_types):
        mine = [f"x{n}" for n in range(len(given), len(given) + type.size)]
        given += mine
        if type.shape == ():
            source.line(2, f"{mine[0]} = a{k}.item()")
        else:
            source.line(2, unpacked("", mine, f"a{k}.tolist()" if type.rank == 1 else f"a{k}.reshape(-1).tolist()"))
    text = _Text(source, scalars, given, "t", len(given))
    text.statements(2, fixed=True)
    text.statements(2, fixed=False)
    floating: list[str] = []
    for k, (type, numbers) in enumerate(zip(graph.output_types, scalars.outputs, strict=True)):
        mine = [f"r{k}_{j}" for j in range(len(numbers))]
        floating += mine if type.is_float else []
        if numbers:
            source.line(2, f"{names('', mine)}= {names('', [text.of(n) for n in numbers])}")
        source.line(2, f"o{k}.fill({mine[0]})" if type.shape == () else f"o{k}{'' if type.rank == 1 else '.reshape(-1)'}[...] = ({names('', mine)})")
    source.line(2, f"return {source.give(math.isfinite)}({' + '.join(floating) or '0.0'})" if len(floating) <= MOST_ADDED else "return False")
    source.line(1, "return run")
    return source.compiled()


class ScalarRunner:
    """Runs a loop's node on Python's numbers; `arrays` where its counters could leave int64."""

    def __init__(self, node: Node, loop: ScalarLoop, arrays: Runner) -> None:
        self._node = node
        self._loop = loop
        self._arrays = arrays

    def bind(self, memory: Array, warm: bool = True) -> Run:
        # The code of a node is written once; its memory is for the other runner, which is seldom needed.
        attributes, loop = dict(self._node.attributes), self._loop
        carries, graph = attributes["carries"], attributes["body"]
        slices = attributes.get("slices", 0)
        longest = attributes["length"] if self._node.op == "scan" else attributes["max_trips"]
        steps = [abs(step) * longest for step in loop.counters.values()]
        other: list[Run] = []
        state_types, stacked = graph.output_types[:carries], graph.output_types[carries:]
        scan = self._node.op == "scan"

        def run(operands: Sequence[Array], outs: Sequence[Array], stop: Stop) -> None:
            x = operands[1:] if scan and attributes["counted"] else operands
            state = _numbers(x[:carries])
            if any(abs(state[k]) + span >= 2**62 for k, span in zip(loop.counters, steps, strict=True)):
                if not other:
                    other.append(self._arrays.bind(memory, warm))
                other[0](operands, outs, stop)
                return
            constants = _numbers(x[carries + slices :])
            if scan:
                trips = int(operands[0]) if attributes["counted"] else longest
                if trips > longest:
                    raise capped(f"{trips} trips", longest)
                state = self._scan(x[carries : carries + slices], trips, attributes["reverse"], state, constants, outs[carries:], stacked, stop)
                last = outs[:carries]
            else:
                trips, state = self._while(longest, state, constants, outs[1 + carries :], stacked, stop)
                outs[0].fill(trips)
                last = outs[1 : 1 + carries]
            at = 0
            for out, type in zip(last, state_types, strict=True):
                out[...] = np.array(state[at : at + type.size], type.dtype).reshape(type.shape)
                at += type.size

        return run

    def _scan(
        self, xs: Sequence[Array], trips: int, reverse: bool, state: Any, constants: Any, stacks: Sequence[Array], types: Sequence[Type], stop: Stop
    ) -> Any:
        flat = [a.reshape(len(a), -1) for a in xs]
        for stack in stacks:
            if trips < len(stack):
                stack.fill(0)
        for start in range(0, max(trips, 0), CHUNK):
            if stop():
                halt()
            end = min(start + CHUNK, trips)
            rows = slice(trips - end, trips - start) if reverse else slice(start, end)
            columns = [c for a in flat for c in (a[rows][::-1] if reverse else a[rows]).T.tolist()]
            found: list[Any] = []
            state = self._code(state, constants, zip(*columns, strict=True) if columns else range(end - start), found)
            _stack(stacks, types, rows, reverse, found)
        return state

    def _while(self, longest: int, state: Any, constants: Any, stacks: Sequence[Array], types: Sequence[Type], stop: Stop) -> tuple[int, Any]:
        for stack in stacks:
            stack.fill(0)
        trips = 0
        while True:
            if stop():
                halt()
            most = min(CHUNK, longest - trips)
            found: list[Any] = []
            state, ran, ended = self._code(state, constants, range(most), found)
            _stack(stacks, types, slice(trips, trips + ran), False, found)
            trips += ran
            if ended:
                return trips, state
            if trips == longest:
                raise capped(f"the condition still holds after {trips} trips", longest)

    @cached_property
    def _code(self) -> Callable[..., Any]:
        return _written(self._node, self._loop).compiled()()  # type: ignore[no-any-return]


def capped(got: str, most: int) -> GraphError:
    """That a loop makes more trips than its bound, which is `most`."""
    return GraphError(
        "a loop did not end within its bound",
        reason="LOOP_CAP",
        got=got,
        allowed=f"at most {most}",
        hint="allow more (max_trips=; of an odeint, max_steps=), or make the condition end",
    )


def _numbers(arrays: Iterable[Array]) -> list[Any]:
    return [number for a in arrays for number in a.ravel().tolist()]


def _stack(stacks: Sequence[Array], types: Sequence[Type], rows: slice, reverse: bool, found: list[Any]) -> None:
    """The numbers of some trips, trip after trip, to their rows."""
    width = sum(t.size for t in types)
    if not width or not found:
        return
    even = all(t.dtype == types[0].dtype for t in types)
    table = None
    if even:
        table = np.empty((len(found) // width, width), types[0].dtype)
        table.reshape(-1)[:] = found  # in a third of the time np.array takes, which looks at every number first
    at = 0
    for stack, type in zip(stacks, types, strict=True):
        columns = table[:, at : at + type.size] if table is not None else np.array([found[k::width] for k in range(at, at + type.size)], type.dtype).T
        into = stack.reshape(len(stack), -1)[rows]
        into[...] = columns[::-1] if reverse else columns
        at += type.size


def _written(node: Node, loop: ScalarLoop) -> Source:
    attributes = dict(node.attributes)
    graph, carries = attributes["body"], attributes["carries"]
    sizes = [t.size for t in graph.input_types]
    a = sum(sizes[:carries])
    b = a + sum(sizes[carries : carries + attributes.get("slices", 0)])
    given = [*[f"c{k}" for k in range(a)], *[f"x{k}" for k in range(b - a)], *[f"k{k}" for k in range(sum(sizes) - b)]]
    source = Source()
    source.line(0, "def make():")
    source.line(1, "def loop(state, constants, rows, found):")
    few = sum(len(y) for y in loop.body.outputs[carries:]) <= FEW_STACKED
    source.line(2, f"put = found.{'append' if few else 'extend'}")
    source.line(2, unpacked("c", range(a), "state"))
    source.line(2, unpacked("k", range(sum(sizes) - b), "constants"))
    parts = [_Text(source, part, given, prefix, b) for part, prefix in ((loop.condition, "h"), (loop.body, "t")) if part is not None]
    for part in parts:
        part.statements(2, fixed=True)
    if loop.condition is None:
        source.line(2, f"for {names('x', range(b - a)) or 'i'} in rows:")
    else:
        source.line(2, "i = -1")
        source.line(2, "for i in rows:")
        parts[0].statements(3, fixed=False)
        source.line(3, f"if not {parts[0].of(loop.condition.outputs[0][0])}: return ({names('c', range(a))}), i, {source.give(True)}")
    body = parts[-1]
    body.statements(3, fixed=False)
    stacked = [body.of(n) for y in loop.body.outputs[carries:] for n in y]
    for text in stacked if few else [f"({names('', stacked)})"]:
        source.line(3, f"put({text})")
    carried = [(f"c{k}", body.of(n)) for k, n in enumerate(n for y in loop.body.outputs[:carries] for n in y)]
    moved = [(name, text) for name, text in carried if name != text]
    # What no other is made of may change at once; the others change together, as a tuple, which takes longer.
    reads = [set(_CARRIED.findall(text)) for _, text in moved]
    count = Counter([name for words in reads for name in words])
    rest = []
    for (name, text), words in zip(moved, reads, strict=True):
        if count[name] == (name in words):
            source.line(3, f"{name} = {text}")
        else:
            rest.append((name, text))
    if rest:
        source.line(3, f"{names('', [name for name, _ in rest])}= {names('', [text for _, text in rest])}")
    if not stacked and not moved:
        source.line(3, "pass")
    after = f"({names('c', range(a))})"
    if loop.condition is None:
        source.line(2, f"return {after}")
    else:
        parts[0].statements(2, fixed=False)
        ended = f"not {parts[0].of(loop.condition.outputs[0][0])}"
        source.line(2, f"return {after}, i + 1, {ended}")
    source.line(1, "return loop")
    return source


class _Text:
    """The operations of a graph as expressions and assignments."""

    def __init__(self, source: Source, scalars: Scalars, given: Sequence[str], prefix: str, varying: int) -> None:
        self._source, self._scalars, self._prefix = source, scalars, prefix
        inputs, operations = scalars.inputs, scalars.operations
        self._reads = [0] * (inputs + len(operations))
        # A number that is put out is read then, but once each trip; one more read keeps a name for it.
        for numbers in scalars.outputs:
            for n in numbers:
                self._reads[n] += 1
        for k in range(len(operations) - 1, -1, -1):
            if self._reads[inputs + k]:
                for n in operations[k].operands:
                    self._reads[n] += 1
        self._varies = [k < varying for k in range(inputs)]
        for operation in operations:
            self._varies.append(any(self._varies[n] for n in operation.operands))
        self._texts: list[str] = list(given)
        self._depths = [0] * inputs
        self._lines: list[tuple[bool, str]] = []
        for k in range(len(operations)):
            self._write(k)

    def of(self, number: int) -> str:
        """The expression of a number."""
        return self._texts[number]

    def statements(self, depth: int, fixed: bool) -> None:
        """The assignments: those that no trip changes, or the others."""
        for varies, text in self._lines:
            if varies is not fixed:
                self._source.line(depth, text)

    def _write(self, k: int) -> None:
        number = self._scalars.inputs + k
        call, operands, _ = self._scalars.operations[k]
        if not operands:
            self._texts.append(self._constant(call))
            self._depths.append(0)
            return
        known = call.func if isinstance(call, partial) and not call.keywords else call
        text, fast = TEXTS.get(known, ("", None))
        if not text:
            text = "{f}(" + ", ".join("{" + str(i) + "}" for i in range(len(operands))) + ")"
        # What stands twice in the text has to have a name.
        given = [self._named(n) if text.count("{" + str(i) + "}") > 1 else self._texts[n] for i, n in enumerate(operands)]
        name = {"f": self._source.give(call)} if "{f}" in text else {}
        written = text.format(*given, **name, **({"g": self._source.give(fast)} if fast else {}))
        deep = 1 + max(self._depths[n] for n in operands)
        self._texts.append(written)
        self._depths.append(deep)
        # What is read once stands where it is read, unless a loop would then compute it anew each trip.
        hoisted = not self._varies[number]
        if self._reads[number] > 1 or deep >= DEEPEST or (hoisted and self._reads[number]):
            self._named(number)

    def _named(self, number: int) -> str:
        if self._depths[number]:
            name = f"{self._prefix}{number}"
            self._lines.append((self._varies[number], f"{name} = {self._texts[number]}"))
            self._texts[number], self._depths[number] = name, 0
        return self._texts[number]

    def _constant(self, value: Any) -> str:
        if isinstance(value, float) and math.isfinite(value):
            return f"({value!r})" if math.copysign(1.0, value) < 0 else repr(value)
        return self._source.give(value)
