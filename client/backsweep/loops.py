"""Loops as ops: bs.scan, bs.fori_loop, bs.while_loop. The body is traced once, whatever the number of trips.

On plain arrays, outside a trace, they are plain Python loops. Values a body uses from outside become
operands of the loop. Memory of a reverse sweep: what is carried, once a trip; with checkpoint="sqrt",
about 2 sqrt(trips) times, for one more forward pass.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Literal

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.build import broadcast, call_several, cast, common_builder, lift
from backsweep_engine.ops.term import TRACING, Term

from .lines import locate, show
from .trace import run
from .trees import Tree, flatten, mapped

Function = Callable[..., Any]
Checkpoint = Literal["sqrt"] | int | None


def scan(f: Function, init: Any, xs: Any = None, length: int | None = None, *, reverse: bool = False, checkpoint: Checkpoint = None) -> tuple[Any, Any]:
    """The last carry and the stacked ys of `carry, y = f(carry, x)`, for x each slice of xs along its first axis.

    `xs`: a tree of arrays, or None with `length=`, the number of trips. f returns (carry, None) if there is
    nothing to stack. `reverse`: the last slice first; ys stand where their x does. `checkpoint`: how many of the
    carries a reverse sweep keeps ("sqrt", or a number); it computes the others again.
    """
    with _Shown():
        trips = _length(xs, length)
        if checkpoint is not None:
            return _segmented(f, init, xs, trips, reverse, _kept(checkpoint, trips))
        parent = tracing(init, xs)
        if parent is None:
            return _plain_scan(f, init, xs, trips, reverse)
        loop = _Loop(parent, f, init, xs)
        return loop.add("scan", slices=len(loop.xs), length=trips, reverse=reverse, counted=False)


def fori_loop(lower: Any, upper: Any, f: Function, init: Any, *, max_trips: int | None = None, checkpoint: Checkpoint = None) -> Any:
    """The last carry of `carry = f(i, carry)` for i from lower to upper - 1.

    If a bound is a traced integer, `max_trips` is needed: more trips are an error when the loop runs.
    `checkpoint`: as for scan.
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
        if not isinstance(lower, Term) and not isinstance(upper, Term):
            trips = max(0, operator.index(upper) - operator.index(lower))
            if checkpoint is not None:
                return _segmented(body, (start, init), None, trips, False, _kept(checkpoint, trips))[0][1]
            loop = _Loop(parent, body, (start, init), None)
            return loop.add("scan", slices=0, length=trips, reverse=False, counted=False)[0][1]
        if max_trips is None:
            raise GraphError("a loop to a traced bound needs its own bound", reason="NOT_TRACEABLE", name="max_trips", hint="add max_trips=, the most trips")
        if checkpoint is not None:
            raise GraphError("a loop to a traced bound keeps every carry", reason="NOT_BUILT_YET", name="checkpoint", hint="leave out checkpoint=")
        count = cast(lift(_integer(upper), parent), np.dtype(np.int64)) - start
        loop = _Loop(parent, body, (start, init), None)
        return loop.add("scan", [count], slices=0, length=operator.index(max_trips), reverse=False, counted=True)[0][1]


def while_loop(condition: Function, body: Function, init: Any, *, max_trips: int) -> Any:
    """The carry after `carry = body(carry)` as long as condition(carry) holds; more than max_trips trips are an error.

    A derivative keeps what is carried for max_trips trips, and runs as many trips as the loop did.
    """
    with _Shown():
        parent = tracing(init)
        if parent is None:
            trips = 0
            while condition(init):
                if trips == max_trips:
                    raise GraphError("a loop did not end within its bound", reason="LOOP_CAP", got=f"the condition holds after {trips} trips", source=locate())
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
        return loop.add("while_loop", condition=asked.build(outputs), max_trips=operator.index(max_trips), first=1)[0]


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


def _segmented(f: Function, init: Any, xs: Any, length: int, reverse: bool, kept: int) -> tuple[Any, Any]:
    """A scan of scans: the outer one keeps a carry for each inner one, which keeps its own while it is at work."""
    inner = -(-length // max(1, kept))
    if inner <= 1 or inner == length:
        return scan(f, init, xs, length, reverse=reverse)
    outer = length // inner
    whole = outer * inner

    def segment(carry: Any, x: Any) -> Any:
        return scan(f, carry, x, inner, reverse=reverse)

    def rest(carry: Any) -> tuple[Any, Any]:
        return scan(f, carry, None if xs is None else mapped(lambda a: a[whole:], xs), length - whole, reverse=reverse)

    cut = None if xs is None else mapped(lambda a: np.reshape(a[:whole], (outer, inner, *a.shape[1:])), xs)
    last = None
    if reverse and whole < length:
        init, last = rest(init)
    carry, ys = scan(segment, init, cut, outer, reverse=reverse)
    if not reverse and whole < length:
        carry, last = rest(carry)
    if ys is None:
        return carry, None
    leaves, tree = flatten(ys)
    flat = [np.reshape(y, (whole, *y.shape[2:])) for _, y in leaves]
    if last is not None:
        flat = [np.concatenate([y, z]) for y, (_, z) in zip(flat, flatten(last)[0], strict=True)]
    return carry, tree.unflatten(flat)


def _kept(checkpoint: Checkpoint, length: int) -> int:
    if checkpoint == "sqrt":
        return math.isqrt(max(0, length - 1)) + 1
    if isinstance(checkpoint, int) and not isinstance(checkpoint, bool) and checkpoint >= 1:
        return checkpoint
    raise _wrong("checkpoint is not a number of carries to keep", repr(checkpoint), "'sqrt', 1 or more, or None")


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
