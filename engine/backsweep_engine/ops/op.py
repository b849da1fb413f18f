"""The record of an op, and the table of all records.

An op is one record in one file; everything else (jvp, vjp, hvp, decoding checks, batching, the op
table in the docs, its own tests) is derived from the record. The meaning of (name, op_set), kinks
included, never changes once released.

Rules are functions on Terms (term.py) and read like mathematics. Naming in rules: x, y operands;
y also the result where there is one; t a tangent; c a cotangent; p a partial.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, FLOATS, Attribute, Builder, Graph, Ref, Type

Attributes = Mapping[str, Attribute]
F = TypeVar("F", bound=Callable[..., Any])


class Kind(enum.Enum):
    """What an attribute of an op holds."""

    INT = "int"
    FLOAT = "float"
    BOOL = "bool"
    TEXT = "str"
    INTS = "tuple of int"
    DTYPE = "dtype"
    ARRAY = "constant array of at most 1 KiB"
    GRAPH = "graph"

    def admits(self, value: Attribute) -> bool:
        match self:
            case Kind.INT:
                return type(value) is int
            case Kind.FLOAT:
                return type(value) is float
            case Kind.BOOL:
                return type(value) is bool
            case Kind.TEXT:
                return type(value) is str
            case Kind.INTS:
                return type(value) is tuple and all(type(v) is int for v in value)
            case Kind.DTYPE:
                return isinstance(value, np.dtype) and value.name in DTYPES
            case Kind.ARRAY:
                return isinstance(value, np.ndarray) and value.dtype.name in DTYPES
            case Kind.GRAPH:
                return isinstance(value, Graph)


class Cost(NamedTuple):
    """What one application costs: floating-point operations, bytes moved, and bytes of temporaries.

    `copies`: bytes of further temporaries where an operand is not C-contiguous.
    """

    flops: int
    bytes: int
    workspace: int = 0
    copies: int = 0


@dataclass(frozen=True, slots=True)
class Partials:
    """Pointwise: rule(y, *x) gives one partial per operand (a Term, a number, or None for zero).

    `finite=False` says that the value or a partial may be infinite or NaN at finite operands (sqrt at
    0, exp of 1000). Partials of such an op, and of every op that reads its results, are applied by
    `scale`, which yields 0 where the tangent is exactly 0.
    """

    rule: Callable[..., tuple[Any, ...]]
    finite: bool = True


@dataclass(frozen=True, slots=True)
class Transposes:
    """Linear: rule(i, c, *x) gives the cotangent of operand i; that operand is passed as its Type.

    `operands`: the positions it is linear in (None: all). `jointly`: linear in all of them at once
    (add, concat); otherwise in each with the others fixed (multiply, matmul). `guarded`: the op that
    stands for it, as op(fixed, moving), where the fixed operand may be infinite or NaN.
    """

    rule: Callable[..., Any]
    operands: tuple[int, ...] | None = None
    jointly: bool = True
    guarded: str = ""


@dataclass(frozen=True, slots=True)
class Tangent:
    """Any other: rule(y, x, t) gives the tangent of y in other ops; t[i] is None where it is zero.

    y is a Term (a tuple of Terms for several results); x and t are tuples. `linear`: how a node is
    transposed that is reached through these operands only, in which the op is linear with the
    others fixed (a solve in its right-hand side); the tangent rule may then use the op itself.
    """

    rule: Callable[..., Any]
    linear: Transposes | None = None


@dataclass(frozen=True, slots=True)
class Expansion:
    """Compound: rule(*x) spells the op in other ops; it has no other rules and no kernel."""

    rule: Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Structured:
    """Holds graphs; its rules live in transforms/structured/, how it runs in execute/structured.py.

    runs(**attributes) -> what it does, one after the other: (how often at most, the graphs one of
    which is run). Graphs it holds without running them are not named.
    """

    runs: Callable[..., tuple[tuple[int, tuple[Graph, ...]], ...]]


@dataclass(frozen=True, slots=True)
class Zero:
    """Piecewise constant: no tangent ever passes."""


Derivative = Partials | Transposes | Tangent | Expansion | Structured | Zero


@dataclass(frozen=True, slots=True)
class Example:
    """Operand types and attributes the op accepts: shown in the docs, used by the tests of the table."""

    types: tuple[Type, ...]
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Domain:
    """The open interval on which an operand gives finite values and derivatives; `matrix`: or which matrices do."""

    low: float = -math.inf
    high: float = math.inf
    matrix: str = ""

    def __str__(self) -> str:
        return self.matrix or f"({self.low:g}, {self.high:g})"


REALS = Domain()
POSITIVE = Domain(0.0)
UNIT = Domain(-1.0, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operation. See the module and DESIGN for what is derived from it.

    name: on the wire, for ever. infer(types, **attributes) -> result types, raising GraphError.
    apply(*arrays, out=, **attributes): NumPy, fills `out` (a tuple of arrays for several results);
    a `view` op has no `out` and returns a view of its operand (one whose cost has copies: a copy of
    an operand that is not C-contiguous); None for Expansion and Structured.
    batch(mask, *x, **attributes): the op with one more axis in front of the operands masked True
    (all results gain it). cost(types in, types out, **attributes). domain: one per operand.
    pointwise: every element of the result depends on the same element of each operand, all of one shape.
    scalar: of a pointwise op, the same on Python's numbers (ops/scalars.py).
    kinks: where it is not differentiable and what is returned there. continuation(*arrays, **attributes): the analytic
    continuation on complex128, of operands some of which are complex; None where there is none. A judge
    evaluates it (check/continuation.py), nothing else. numpy: callables of NumPy whose
    calls on traced values mean this op with the operands as its arguments.
    """

    name: str
    infer: Callable[..., tuple[Type, ...]]
    apply: Callable[..., Any] | None
    derivative: Derivative
    batch: Callable[..., Any]
    cost: Callable[..., Cost]
    examples: tuple[Example, ...]
    arity: int | None = 1
    attributes: Mapping[str, Kind] = field(default_factory=dict)
    since: int = 1
    view: bool = False
    pointwise: bool = False
    scalar: Callable[..., Any] | None = None
    domain: tuple[Domain, ...] = ()
    kinks: str = ""
    continuation: Callable[..., Any] | None = None
    summary: str = ""
    numpy: tuple[Callable[..., Any], ...] = ()
    operand_dtypes: tuple[np.dtype[Any], ...] = FLOATS


TABLE: dict[str, Op] = {}
"""Every op of the op set by name; filled by importing the package `ops`."""

SPELLINGS: dict[Any, Callable[..., Any]] = {}
"""What a NumPy callable applied to Terms means: NumPy's function -> a function on Terms."""

NAMED_SPELLINGS: dict[str, Callable[..., Any]] = {}
"""The same for the ufuncs of scipy.special by their names, since SciPy is not imported to fill a table."""


HINTS: dict[Any, str] = {}
"""NumPy callables that cannot be traced, and what to write instead of a call."""

FACES: dict[str, Callable[..., Any]] = {}
"""What NumPy lacks and `bs.<name>` offers: a function on Terms by its public name."""

STATIC: dict[str, tuple[int, ...]] = {}
"""By the same name, the positions of arguments that are never inputs (an index may be a mask)."""


def AS_APPLIED(*x: Any, **attributes: Any) -> Any:
    """Stands for the kernel itself as an op's continuation: it computes on complex128 what it does on float64."""
    raise AssertionError("`register` puts the kernel in its place")


def BY_PARTS(*x: Any, **attributes: Any) -> Any:
    """Stands for the continuation of an op linear in all its floating operands at once: its kernel on real parts, and on imaginary ones."""
    raise AssertionError("`register` puts the kernel in its place")


def _by_parts(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def continuation(*x: Any, **attributes: Any) -> Any:
        fixed = [np.asarray(v).dtype.kind in "iub" for v in x]
        real, imaginary = ([v if f else np.array(part(v), order="C") for v, f in zip(x, fixed, strict=True)] for part in (np.real, np.imag))
        y = np.asarray(kernel(*real, **attributes), np.complex128)
        y.imag = kernel(*imaginary, **attributes)
        return y

    return continuation


def register(op: Op) -> Op:
    if op.name in TABLE:
        raise AssertionError(f"op {op.name} is registered twice")
    if op.continuation is AS_APPLIED:
        op = replace(op, continuation=op.apply)
    if op.continuation is BY_PARTS:
        assert op.apply is not None, op.name
        op = replace(op, continuation=_by_parts(op.apply))
    TABLE[op.name] = op
    return op


def lookup(name: str) -> Op:
    op = TABLE.get(name)
    if op is None:
        raise GraphError("unknown op", reason="UNKNOWN_OP", op=name, got=repr(name[:64]), hint="Capabilities lists the ops of this server")
    return op


def spells(*functions: Callable[..., Any]) -> Callable[[F], F]:
    """Decorator: calls of these NumPy functions on traced values go to the decorated function."""

    def mark(spelling: F) -> F:
        for function in functions:
            SPELLINGS[function] = spelling
        return spelling

    return mark


def face(name: str, *, static: tuple[int, ...] = ()) -> Callable[[F], F]:
    """Decorator: the function on Terms is offered to users as `bs.<name>`; its docstring is what they read.

    `static`: the positions of arguments that are an index or a structure: arrays there are no inputs on plain arrays.
    """

    def mark(function: F) -> F:
        FACES[name] = function
        STATIC[name] = static
        return function

    return mark


def check(op: Op, types: tuple[Type, ...], attributes: Attributes) -> tuple[Type, ...]:
    """The result types of an application, or a GraphError that says what is wrong with it."""
    if op.arity is not None and len(types) != op.arity:
        raise GraphError("wrong number of operands", reason="ARITY", op=op.name, got=str(len(types)), allowed=str(op.arity))
    if (attributes or op.attributes) and attributes.keys() != op.attributes.keys():
        names = ", ".join(op.attributes) or "none"
        raise GraphError("wrong attributes", reason="ATTRIBUTE", op=op.name, got=", ".join(sorted(attributes)) or "none", allowed=names)
    for name, kind in op.attributes.items():
        if not kind.admits(attributes[name]):
            raise GraphError(f"attribute {name} is of the wrong kind", reason="ATTRIBUTE", op=op.name, got=type(attributes[name]).__name__, allowed=kind.value)
    try:
        return op.infer(types, **attributes)
    except GraphError as error:
        raise error.located(op=op.name) from None


def emit(builder: Builder, name: str, operands: Iterable[Ref], attributes: Attributes) -> int:
    """Adds (or finds) the node of `builder` that applies the op `name`; returns its index."""
    op = lookup(name)
    refs, nodes = tuple(operands), builder.nodes
    return builder.add(name, refs, attributes, lambda: check(op, tuple([nodes[n].types[r] for n, r in refs]), attributes))


def verify(graph: Graph) -> None:
    """Infers every node anew, subgraphs included, and compares: what each transform's result must pass."""
    for i, node in enumerate(graph.nodes):
        if (node.op == "input") != (i < graph.arity):
            raise GraphError("an input stands among the other nodes", reason="MALFORMED", node=i)
        if node.op == "input":
            continue
        for ref in node.operands:
            if not 0 <= ref.node < i:
                raise GraphError("a node names a later one", reason="ORDER", node=i, op=node.op, got=str(ref.node), allowed=f"0 to {i - 1}")
            if not 0 <= ref.result < len(graph.nodes[ref.node].types):
                raise GraphError("an operand names a result its node does not have", reason="ORDER", node=i, op=node.op, got=str(ref.result))
        attributes = dict(node.attributes)
        types = check(lookup(node.op), tuple(graph.type_of(r) for r in node.operands), attributes)
        if types != node.types:
            raise GraphError("a node's types are not what its op yields", reason="MALFORMED", node=i, op=node.op, got=str(node.types), allowed=str(types))
        for value in attributes.values():
            if isinstance(value, Graph):
                verify(value)
    for ref in graph.outputs:
        if not (0 <= ref.node < len(graph.nodes) and 0 <= ref.result < len(graph.nodes[ref.node].types)):
            raise GraphError("an output names a node that is not there", reason="ORDER", got=str(tuple(ref)))


# Parts that records are put together from.


def elementwise_cost(flops: int, copies: int = 0, masks: int = 0) -> Callable[..., Cost]:
    """`flops` for each element of the results; every operand read once, every result written once.

    `copies`, `masks`: temporaries of the kernel, as large as the result and a bool for each element.
    """

    def cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Attribute) -> Cost:
        size, nbytes = sum([t.size for t in results]), sum([t.nbytes for t in results])
        return Cost(flops * size, sum([t.nbytes for t in types]) + nbytes, copies * nbytes + masks * size)

    return cost


def free(types: tuple[Type, ...], results: tuple[Type, ...], **_: Attribute) -> Cost:
    """The cost of a view."""
    return Cost(0, 0)


def require(condition: object, message: str, *, reason: str = "SHAPE", got: object = "", allowed: object = "", hint: str = "") -> None:
    if not condition:
        raise GraphError(message, reason=reason, got=str(got), allowed=str(allowed), hint=hint)


def require_dtype(type: Type, allowed: tuple[np.dtype[Any], ...]) -> None:
    if type.dtype not in allowed:
        names = ", ".join(d.name for d in allowed)
        require(False, "operand has the wrong dtype", reason="DTYPE", got=type, allowed=names, hint="cast it first (x.astype)")


def require_same(types: tuple[Type, ...]) -> None:
    if types.count(types[0]) != len(types):
        require(
            False,
            "operands must have one dtype and one shape",
            reason="SHAPE" if len({t.dtype for t in types}) == 1 else "DTYPE",
            got=" and ".join(map(str, types)),
            allowed="equal types",
            hint="insert broadcast and cast nodes; a graph has no implicit ones",
        )


def require_axes(axes: tuple[int, ...], rank: int) -> None:
    require(
        all(0 <= a < rank for a in axes) and list(axes) == sorted(set(axes)),
        "axes must be distinct, sorted and within the rank",
        reason="ATTRIBUTE",
        got=axes,
        allowed=f"0 to {rank - 1}" if rank else "none for a scalar",
    )


INTEGERS = (DTYPES["int64"], DTYPES["int32"])
NUMBERS = FLOATS + INTEGERS
BOOL = DTYPES["bool"]
ANY = (*NUMBERS, BOOL)
