"""Loops as ops: bs.scan, bs.fori_loop, bs.while_loop. The body is traced once, whatever the number of trips.

On plain arrays, outside a trace, they are plain Python loops. Values a body uses from outside become
operands of the loop. Memory of a reverse sweep: what is carried, once a trip; with checkpoint="sqrt",
about 2 sqrt(trips) times, for one more forward pass or two. How much is kept is told the engine as the attribute
`kept` of the loop's node, chosen here from bounds and bytes alone; how it is kept is the engine's.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.execute.structured import capped
from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.build import broadcast, call_several, cast, common_builder, lift
from backsweep_engine.ops.control import MAX_LEVELS
from backsweep_engine.ops.term import TRACING, Term

from .lines import locate, show
from .trace import run
from .trees import Tree, flatten, mapped

Function = Callable[..., Any]
Checkpoint = Literal["sqrt"] | int | None

MAX_TRIPS = 100_000
"""Of a loop whose number of trips is data and that states no bound: about a second of the shortest trips."""

TAPE_BYTES = 64 << 20
"""What a reverse sweep of such a loop aims to keep of what is carried, at most."""


def scan(f: Function, init: Any, xs: Any = None, length: int | None = None, *, reverse: bool = False, checkpoint: Checkpoint = None) -> tuple[Any, Any]:
    """The last carry and the stacked ys of `carry, y = f(carry, x)`, for x each slice of xs along its first axis.

    `xs`: a tree of arrays, or None with `length=`, the number of trips. f returns (carry, None) if there is
    nothing to stack. `reverse`: the last slice first; ys stand where their x does. `checkpoint`: how many of the
    carries a reverse sweep keeps ("sqrt", or a number); it computes the others again.
    """
    with _Shown():
        trips = _length(xs, length)
        kept = _kept(checkpoint, trips)
        parent = tracing(init, xs)
        if parent is None:
            return _plain_scan(f, init, xs, trips, reverse)
        loop = _Loop(parent, f, init, xs)
        return loop.add("scan", slices=len(loop.xs), length=trips, reverse=reverse, counted=False, kept=kept)


def fori_loop(lower: Any, upper: Any, f: Function, init: Any, *, max_trips: int | None = None, checkpoint: Checkpoint = None) -> Any:
    """The last carry of `carry = f(i, carry)` for i from lower to upper - 1.

    If a bound is a traced integer, more than `max_trips` trips (MAX_TRIPS if not given) are an error when the loop runs.
    `checkpoint`: as for scan. Without it and without max_trips, as for while_loop.
    """
    with _Shown():
        parent = tracing(init, (lower, upper))
        if parent is None:
            for i in range(operator.index(lower), operator.index(upper)):
                init = f(i, init)
            return init

        @wraps(f)
        def body(carry: Any, _: Any) -> Any:
            i, value = carry
            return (i + 1, f(i, value)), None

        start = cast(lift(_integer(lower), parent), np.dtype(np.int64))
        loop = _Loop(parent, body, (start, init), None)
        if not isinstance(lower, Term) and not isinstance(upper, Term):
            trips = max(0, operator.index(upper) - operator.index(lower))
            return loop.add("scan", slices=0, length=trips, reverse=False, counted=False, kept=_kept(checkpoint, trips))[0][1]
        count = cast(lift(_integer(upper), parent), np.dtype(np.int64)) - start
        most, kept = loop.bounded(max_trips, checkpoint)
        return loop.add("scan", [count], slices=0, length=most, reverse=False, counted=True, kept=kept)[0][1]


def while_loop(condition: Function, body: Function, init: Any, *, max_trips: int | None = None, checkpoint: Checkpoint = None) -> Any:
    """The carry after `carry = body(carry)` as long as condition(carry) holds.

    More than `max_trips` trips (MAX_TRIPS if not given) are an error (LOOP_CAP). Derivatives make as many trips as the
    loop did; a reverse sweep keeps what is carried for all of max_trips trips or, with `checkpoint`, as for scan. A loop
    without max_trips keeps about 2 sqrt(MAX_TRIPS) carries, or fewer, so that they fit TAPE_BYTES, for two to four more forward passes.
    """
    with _Shown():
        parent = tracing(init)
        if parent is None:
            trips, most = 0, _most(max_trips)
            while condition(init):
                if trips == most:
                    raise capped(f"the condition still holds after {trips} trips", most)
                init, trips = body(init), trips + 1
            return init

        @wraps(body)
        def step(carry: Any, _: Any) -> Any:
            return body(carry), None

        loop = _Loop(parent, step, init, None)
        asked = Builder(parent=parent, locate=locate)
        carried = [Term(asked, asked.input(path, term.type)) for path, term in loop.carry]
        for outer, _ in loop.inner.captured:
            asked.capture(outer)
        outputs, tree = run(condition, [loop.tree.unflatten(carried)], {}, asked)
        if not tree.is_leaf or asked.type_of(outputs[0][1]) != Type(np.dtype(bool)):
            raise _wrong("the condition is not one truth value", str(asked.type_of(outputs[0][1])), "a bool scalar, such as x > 0")
        for outer, _ in asked.captured:
            loop.inner.capture(outer)
        most, kept = loop.bounded(max_trips, checkpoint)
        return loop.add("while_loop", condition=asked.build(outputs), max_trips=most, kept=kept, first=1)[0]


class _Loop:
    """A body traced for what it is given: the nodes it makes, and the operands of the loop's own node."""

    def __init__(self, parent: Builder, f: Function, init: Any, xs: Any) -> None:
        self.parent = parent
        leaves, self.tree = flatten(init, "carry")
        weak = [isinstance(leaf, (int, float)) and not isinstance(leaf, (bool, np.generic)) for _, leaf in leaves]
        self.carry = [(path, lift(leaf, parent)) for path, leaf in leaves]
        entries: list[tuple[str, Any]] = []
        self.x_tree: Tree | None = None
        if xs is not None:
            entries, self.x_tree = flatten(xs, "x")
        self.xs = [(path, lift(leaf, parent)) for path, leaf in entries]
        types = self._trace(f, [False] * len(weak))
        if any(w and term.type != type for w, (_, term), type in zip(weak, self.carry, types, strict=True)):
            # A Python number has no type of its own: it takes the one the body makes of the number.
            types = self._trace(f, weak, [leaf for _, leaf in leaves])
            for k, ((path, term), type) in enumerate(zip(self.carry, types, strict=True)):
                if weak[k]:
                    self.carry[k] = (path, broadcast(cast(term, type.dtype), type.shape))
            types = self._trace(f, [False] * len(weak))
        for (path, term), type in zip(self.carry, types, strict=True):
            if term.type != type:
                raise _wrong(f"the body carries on another type than it is given, at {path}", f"{type}, given {term.type}", "equal types")

    def _trace(self, f: Function, weak: Sequence[bool], numbers: Sequence[Any] = ()) -> list[Type]:
        """The types of what the body carries on. Where `weak`, it is given the plain number."""
        self.inner = Builder(parent=self.parent, locate=locate)
        carried = [numbers[k] if weak[k] else Term(self.inner, self.inner.input(path, term.type)) for k, (path, term) in enumerate(self.carry)]
        slices = [Term(self.inner, self.inner.input(path, term.type.with_shape(term.shape[1:]))) for path, term in self.xs]

        @wraps(f)
        def pair(carry: Any, x: Any) -> Any:
            result = f(carry, x)
            if not (isinstance(result, tuple) and len(result) == 2):
                raise _wrong("the body does not return two things", type(result).__name__, "carry, y; y is None where there is nothing to stack")
            self.nothing = result[1] is None
            return (result[0], ()) if self.nothing else result

        x = None if self.x_tree is None else self.x_tree.unflatten(slices)
        self.outputs, tree = run(pair, [self.tree.unflatten(carried), x], {}, self.inner)
        if tree.children[0] != self.tree:
            raise _wrong("the body carries on another structure than it is given", str(tree.children[0]), str(self.tree))
        self.y_tree: Tree = tree.children[1]
        return [self.inner.type_of(ref) for _, ref in self.outputs[: len(self.carry)]]

    def bounded(self, max_trips: int | None, checkpoint: Checkpoint) -> tuple[int, tuple[int, ...]]:
        """The most trips of a loop whose number of trips is data, and of how many a reverse sweep keeps the carry."""
        most = _most(max_trips)
        if max_trips is None and checkpoint is None:
            return most, _within_tape(most, [term.type for _, term in self.carry])
        return most, _kept(checkpoint, most)

    def add(self, op: str, trips: Sequence[Term] = (), *, first: int = 0, **attributes: Any) -> tuple[Any, Any]:
        """The loop's node: its last carry and its stacked ys, from its result number `first` on."""
        captured = [Term(self.parent, outer) for outer, _ in self.inner.captured]
        operands = [*trips, *[term for _, term in (*self.carry, *self.xs)], *captured]
        body: Graph = self.inner.build(self.outputs)
        results = call_several(self.parent, op, *operands, body=body, carries=len(self.carry), **attributes)[first:]
        return self.tree.unflatten(results[: len(self.carry)]), None if self.nothing else self.y_tree.unflatten(results[len(self.carry) :])


def tracing(*trees: Any) -> Builder | None:
    """The builder of the trace this is called in, None outside of any."""
    terms = [leaf for tree in trees if tree is not None for _, leaf in flatten(tree)[0] if isinstance(leaf, Term)]
    return common_builder(terms) if terms else TRACING.get()


def _most(max_trips: Any) -> int:
    if max_trips is None:
        return MAX_TRIPS
    if isinstance(max_trips, bool) or not isinstance(max_trips, (int, np.integer)) or not 0 <= max_trips < 2**63:
        raise _wrong("max_trips is not a number of trips", repr(max_trips), "an int, 0 or more, or None")
    return int(max_trips)


def _kept(checkpoint: Checkpoint, length: int) -> tuple[int, ...]:
    """The attribute `kept` of a loop of at most `length` trips: of how many a reverse sweep keeps the carry, () for all."""
    if checkpoint is None:
        return ()
    if checkpoint == "sqrt":
        return (_root(length, 2),)
    if isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint >= 1:
        return (checkpoint,)
    raise _wrong("checkpoint is not a number of carries to keep", repr(checkpoint), "'sqrt', 1 or more, or None")


def _within_tape(length: int, carry: Sequence[Type]) -> tuple[int, ...]:
    """The same where nobody knows how many trips there will be: the fewest levels whose carries fit TAPE_BYTES, or as many as there may be."""
    nbytes = sum(type.nbytes for type in carry)
    levels = 2
    while levels <= MAX_LEVELS and levels * _root(length, levels) * nbytes > TAPE_BYTES:
        levels += 1
    return (_root(length, levels),) * (levels - 1)


def _root(length: int, degree: int) -> int:
    """The least k >= 1 with k ** degree >= length."""
    k: int = max(1, round(length ** (1 / degree)) - 1)
    while k**degree < length:
        k += 1
    return k


def _plain_scan(f: Function, init: Any, xs: Any, length: int, reverse: bool) -> tuple[Any, Any]:
    ys: list[Any] = []
    for i in range(length)[:: -1 if reverse else 1]:
        init, y = f(init, None if xs is None else mapped(_sliced(i), xs))
        ys.append(y)
    if reverse:
        ys.reverse()
    if not ys or ys[0] is None:
        return init, None
    rows = [[leaf for _, leaf in flatten(y)[0]] for y in ys]
    return init, flatten(ys[0])[1].unflatten([np.stack(column) for column in zip(*rows, strict=True)])


def _sliced(i: int) -> Function:
    return lambda a: np.asarray(a)[i]


def _length(xs: Any, length: int | None) -> int:
    """The number of trips, which all of xs agree on."""
    leaves = [] if xs is None else flatten(xs, "xs")[0]
    shapes = [(path, np.shape(leaf)) for path, leaf in leaves]
    for path, shape in shapes:
        if not shape or (length is not None and shape[0] != length):
            raise _wrong(f"{path} cannot be cut into slices", str(shape), "a first axis" if length is None else f"a first axis of length {length}")
        length = shape[0]
    if length is None:
        raise _wrong("the number of trips is not known", "neither xs nor length=", "a tree of arrays, or length=")
    if isinstance(length, Term):
        raise _wrong("the number of trips is traced", str(length), "an int", "use bs.fori_loop with max_trips=, or bs.while_loop")
    return operator.index(length)


def _integer(value: Any) -> Any:
    dtype = value.dtype if isinstance(value, Term) else np.asarray(value).dtype
    if dtype.kind != "i" or np.shape(value):
        raise _wrong("a bound of a loop is not an integer", f"{dtype}{list(np.shape(value)) or ''}", "an int, or a traced integer scalar")
    return value


def _wrong(message: str, got: str, allowed: str, hint: str = "") -> GraphError:
    return GraphError(message, reason="SHAPE", got=got, allowed=allowed, hint=hint)


class _Shown:
    """Names the user's line in a GraphError that passes."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if isinstance(error, GraphError):
            show(error, locate())
