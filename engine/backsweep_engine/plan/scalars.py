"""Scalars: a small graph as operations on single numbers, for loops whose body is worth it.

Each value becomes an array of the numbers of its entries. Ops that only move entries (views, concat,
pad, take at constant indices) are run, by their own kernels, on these arrays of numbers, and leave no
operation behind; pointwise ops leave one an entry, through the record's `scalar`; sums and products
of matrices a chain of them. Entries computed twice are one number. Whether that pays is told by
static costs, measured here: the choice is the plan's (CONTRACT B3).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from ..graph import DTYPES, Graph, Node, Type, attributes_key
from ..ops.op import lookup

Array = np.ndarray[Any, Any]

MAX_ENTRIES = 4000
"""Of all values of a graph together, and of operations: beyond it the code would be long and the gain small."""

SECONDS_OF_OPERATION, SECONDS_OF_CALL = 0.009e-6, 0.06e-6
"""An operator on Python floats, and a call of a function on one."""

SECONDS_IN, SECONDS_OUT = 0.03e-6, 0.045e-6
"""A number of a slice, from its array to a trip, and one that is stacked."""

SECONDS_OF_KERNEL, SECONDS_IN_LOOP = 0.3e-6, 0.45e-6
"""A kernel of NumPy on a few numbers; and in a loop, with its share of what a trip takes to hand over its slices."""

SECONDS_OF_ARRAY, SECONDS_OF_ENTRY = 0.1e-6, 0.012e-6
"""From an array to Python's numbers or back."""

MAX_OPERATIONS = 600
"""Of a graph that is no loop's body: what runs once is not worth the compiler's time for more."""

CHUNK = 256
"""Trips of a loop between two questions to stop(), and between arrays and lists of Python's numbers."""

BYTES_OF_NUMBER = 80
"""A Python float and its places in lists and arrays, at most."""

FLOAT64, INT64, BOOL = DTYPES["float64"], DTYPES["int64"], DTYPES["bool"]
_OPERATORS = frozenset((operator.add, operator.sub, operator.mul, operator.neg, operator.lt, operator.le, operator.eq, operator.ne))


class Operation(NamedTuple):
    """Number `len(inputs) + position` is call(*numbers). A constant has no operands and is `call` itself."""

    call: Any
    operands: tuple[int, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Scalars:
    """`inputs`: how many numbers the graph's inputs are, in order, each raveled. `operations` follow them.
    `outputs`: the numbers of each output, raveled. `seconds`: a static estimate of one evaluation.
    """

    inputs: int
    operations: tuple[Operation, ...]
    outputs: tuple[tuple[int, ...], ...]
    seconds: float


def scalar_graph(graph: Graph) -> Scalars | None:
    """A whole graph on single numbers, if that pays though its arrays are taken apart and put together again."""
    found = scalars(graph)
    if found is None or len(found.operations) > MAX_OPERATIONS:
        return None
    if any(o.dtype == INT64 and o.call in (operator.add, operator.sub) for o in found.operations):
        return None  # outside of a loop nobody looks whether a counter overflows
    types = (*graph.input_types, *graph.output_types)
    seconds = found.seconds + sum(SECONDS_OF_ARRAY + t.size * SECONDS_OF_ENTRY for t in types)
    return found if seconds < SECONDS_OF_KERNEL * _kernels(graph) else None


@dataclass(frozen=True, slots=True)
class ScalarLoop:
    """A loop's body, and a while_loop's condition, on single numbers. `counters`: the inputs that are int64 and carried, each
    moved by the same step every trip. `chunk_bytes`: what CHUNK trips hold as Python objects.
    """

    body: Scalars
    condition: Scalars | None
    counters: dict[int, int]
    chunk_bytes: int
    seconds: float


def scalar_loop(node: Node) -> ScalarLoop | None:
    """A scan or while_loop on single numbers; None if it is none, or NumPy is quicker."""
    attributes = dict(node.attributes)
    graph, carries = attributes["body"], attributes["carries"]
    body, condition = scalars(graph), None
    if body is None:
        return None
    if "condition" in attributes:
        condition = scalars(attributes["condition"])
        if condition is None:
            return None
    counters = {}
    carried = [n for y in body.outputs[:carries] for n in y]
    types = [t for t in graph.input_types[:carries] for _ in range(t.size)]
    for k, (after, type) in enumerate(zip(carried, types, strict=True)):
        if type.dtype == INT64:
            step = _step(body, k, after)
            if step is None:
                return None
            counters[k] = step
    slices = graph.input_types[carries : carries + attributes.get("slices", 0)]
    given, stacked = sum(t.size for t in slices), sum(t.size for t in graph.output_types[carries:])
    seconds = body.seconds + (condition.seconds if condition else 0.0) + given * SECONDS_IN + stacked * SECONDS_OUT
    if seconds > SECONDS_IN_LOOP * (_kernels(graph) + 1):
        return None
    return ScalarLoop(body, condition, counters, CHUNK * (given + stacked) * BYTES_OF_NUMBER, seconds)


def _step(body: Scalars, number: int, after: int) -> int | None:
    """How far a carried integer moves in a trip; None if otherwise than by a constant."""
    if after == number:
        return 0
    operation = body.operations[after - body.inputs] if after >= body.inputs else None
    if operation is None or operation.call not in (operator.add, operator.sub) or operation.operands[0] != number:
        return None
    step: int = body.operations[operation.operands[1] - body.inputs].call
    return step if operation.call is operator.add else -step


class _Unfit(Exception):
    """The graph is none for single numbers."""


_found: WeakKeyDictionary[Graph, Scalars | None] = WeakKeyDictionary()


def scalars(graph: Graph) -> Scalars | None:
    """The graph on single numbers; None if an op or a dtype has no such form, or it is too large, or NumPy is quicker."""
    if graph not in _found:
        _found[graph] = _scalars(graph)
    return _found[graph]


def _scalars(graph: Graph) -> Scalars | None:
    if len(graph.nodes) - graph.arity > 2 * MAX_ENTRIES:
        return None  # told without a look at so many; of a node without operands no entry counts
    most = SECONDS_IN_LOOP * (_kernels(graph) + 1)
    entries = sum(n.types[0].size for n in graph.nodes[graph.arity :] if lookup(n.op).pointwise)
    if entries * SECONDS_OF_OPERATION > 2 * most:
        return None  # told at once; entries may also turn out to be computed already
    try:
        found = _Writer().written(graph)
    except _Unfit:
        return None
    return found if found.seconds <= most else None


def _kernels(graph: Graph) -> int:
    """How many kernels NumPy would run."""
    inner = sum(_kernels(dict(n.attributes)["body" if n.op == "checkpoint" else "primal"]) for n in graph.nodes if n.op in ("checkpoint", "custom"))
    return inner + sum(n.op != "input" and bool(n.operands) and not lookup(n.op).view for n in graph.nodes)


class _Writer:
    def __init__(self) -> None:
        self.inputs = 0
        self.operations: list[Operation] = []
        self.known: dict[Any, int] = {}
        self.dtypes: list[np.dtype[Any]] = []
        self.seconds = 0.0

    def written(self, graph: Graph) -> Scalars:
        if sum(t.size for t in graph.input_types) > MAX_ENTRIES:
            raise _Unfit
        inputs = []
        for type in graph.input_types:
            if type.dtype not in (FLOAT64, INT64, BOOL):
                raise _Unfit
            inputs.append(self.inputs + np.arange(type.size).reshape(type.shape))
            self.inputs += type.size
            self.dtypes += [type.dtype] * type.size
        outputs = self.graph(graph, inputs)
        return Scalars(self.inputs, tuple(self.operations), tuple([tuple(y.ravel().tolist()) for y in outputs]), self.seconds)

    def graph(self, graph: Graph, inputs: Sequence[Array]) -> list[Array]:
        values: list[Sequence[Array]] = [(x,) for x in inputs]
        entries = 0
        for i in range(graph.arity, len(graph.nodes)):
            node = graph.nodes[i]
            entries += sum(t.size for t in node.types)
            if entries > MAX_ENTRIES or len(self.operations) > MAX_ENTRIES:
                raise _Unfit
            values.append(self.node(graph, node, [values[ref.node][ref.result] for ref in node.operands]))
        return [values[ref.node][ref.result] for ref in graph.outputs]

    def node(self, graph: Graph, node: Node, x: Sequence[Array]) -> Sequence[Array]:
        """The numbers of a node's results."""
        op, attributes = lookup(node.op), dict(node.attributes)
        if node.op in ("checkpoint", "custom"):
            return self.graph(attributes["body" if node.op == "checkpoint" else "primal"], x)
        if node.op == "constant":
            value = np.broadcast_to(attributes["value"], attributes["shape"])
            return (self.each(lambda v: self.constant(v, node.types[0].dtype), node.types[0], value),)
        if node.op == "cast":
            return (self.each(partial(self.cast, dtype=node.types[0].dtype), node.types[0], *x),)
        if op.pointwise and op.scalar is not None:
            call = partial(op.scalar, **attributes) if attributes else op.scalar
            key = (op.name, attributes_key(node.attributes))
            return (self.each(lambda *n: self.apply(call, n, node.types[0].dtype, key), node.types[0], *x),)
        if node.op == "sum":
            return (self.folded(x[0], attributes["axes"], operator.add, node.types[0]),)
        if node.op in ("max", "min"):
            return (self.folded(x[0], attributes["axes"], lookup("maximum" if node.op == "max" else "minimum").scalar, node.types[0]),)
        if node.op == "matmul":
            return (self.product(x[0], x[1], node.types[0]),)
        moved = self.moved(node, x)
        if moved is None:
            raise _Unfit
        return (moved,)

    def moved(self, node: Node, x: Sequence[Array]) -> Array | None:
        op, attributes = lookup(node.op), dict(node.attributes)
        assert op.apply is not None or not op.view
        if (op.view or node.op == "concat") and op.apply is not None:
            return np.asarray(op.apply(*x, **attributes))
        if node.op == "pad" and op.apply is not None:
            # What is not there is 0: numbers are told from it by being 1 more.
            padded = op.apply(x[0] + 1, **attributes)
            return np.where(padded == 0, self.constant(0.0, node.types[0].dtype), padded - 1)
        if node.op == "take" and op.apply is not None:
            index = self.each(self.constant_value, Type(INT64, x[1].shape), x[1])
            size = x[0].shape[attributes["axis"]]
            if index.size and (index.min() < -size or index.max() >= size):
                raise _Unfit
            return np.asarray(op.apply(x[0], index, **attributes))
        return None

    def each(self, rule: Callable[..., int], type: Type, *x: Array) -> Array:
        return np.array([rule(*entries) for entries in zip(*[a.ravel().tolist() for a in x], strict=True)], np.int64).reshape(type.shape)

    def apply(self, call: Any, numbers: tuple[int, ...], dtype: np.dtype[Any], key: Any = None) -> int:
        """The number of call(*numbers): one there is, or a new one."""
        kinds = {self.dtypes[n] for n in numbers}
        compares = call in (operator.lt, operator.le, operator.eq, operator.ne) or dtype == BOOL
        chooses = key is not None and key[0] == "where"
        if INT64 in kinds and not compares and not chooses and not self.counts(call, numbers):
            raise _Unfit  # Python's integers do not wrap
        if dtype not in (FLOAT64, BOOL) and not (dtype == INT64 and INT64 in kinds):
            raise _Unfit
        if dtype == FLOAT64 and BOOL in kinds and not chooses:
            raise _Unfit
        if dtype == BOOL and not chooses and kinds == {BOOL} and call in (operator.add, operator.mul, operator.sub, operator.neg):
            raise _Unfit  # NumPy's "or" and "and"
        return self.number((call if key is None else key, numbers), Operation(call, numbers, dtype))

    def counts(self, call: Any, numbers: tuple[int, ...]) -> bool:
        """Whether it moves an input by a constant, as a counter: execute/scalars.py sees that it cannot overflow."""
        a, b = (*numbers, -1)[:2]
        return call in (operator.add, operator.sub) and a < self.inputs and b >= self.inputs and not self.operations[b - self.inputs].operands

    def number(self, key: Any, operation: Operation) -> int:
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = len(self.dtypes)
            self.operations.append(operation)
            if operation.operands:
                self.seconds += SECONDS_OF_OPERATION if operation.call in _OPERATORS else SECONDS_OF_CALL
            self.dtypes.append(operation.dtype)
        return found

    def constant(self, value: Any, dtype: np.dtype[Any]) -> int:
        if dtype not in (FLOAT64, INT64, BOOL):
            raise _Unfit
        plain = np.asarray(value, dtype)
        return self.number(("constant", dtype.name, plain.tobytes()), Operation(plain.item(), (), dtype))

    def constant_value(self, number: int) -> int:
        operation = self.operations[number - self.inputs] if number >= self.inputs else None
        if operation is None or operation.operands:
            raise _Unfit
        return int(operation.call)

    def cast(self, number: int, dtype: np.dtype[Any]) -> int:
        before = self.dtypes[number]
        if before == dtype:
            return number
        if dtype != FLOAT64 and not (dtype == INT64 and before == BOOL):
            raise _Unfit
        return self.number(("cast", dtype.name, number), Operation(float if dtype == FLOAT64 else int, (number,), dtype))

    def folded(self, x: Array, axes: tuple[int, ...], call: Any, type: Type) -> Array:
        """A reduction, entry after entry."""
        if type.dtype != FLOAT64:
            raise _Unfit
        kept = [a for a in range(x.ndim) if a not in axes]
        rows = np.transpose(x, (*kept, *axes)).reshape(type.size, -1).tolist() if x.size else [[] for _ in range(type.size)]
        return np.array([self.chain(row, call) for row in rows], np.int64).reshape(type.shape)

    def chain(self, numbers: Sequence[int], call: Any) -> int:
        if not numbers:
            return self.constant(0.0, FLOAT64)
        total = numbers[0]
        for n in numbers[1:]:
            total = self.apply(call, (total, n), FLOAT64)
        return total

    def product(self, a: Array, b: Array, type: Type) -> Array:
        if type.dtype != FLOAT64:
            raise _Unfit
        result = np.empty(type.shape, np.int64)
        for place in np.ndindex(*type.shape):
            *lead, i, j = place
            row, column = a[(*lead, i)].tolist(), b[(*lead, slice(None), j)].tolist()
            if len(self.operations) > MAX_ENTRIES:
                raise _Unfit
            products = [self.apply(operator.mul, (p, q), FLOAT64) for p, q in zip(row, column, strict=True)]
            result[place] = self.chain(products, operator.add)
        return result
