"""Type, Node, Graph and Builder: a computation as a straight list of nodes.

Illegal states cannot be written: a node names earlier nodes only, its types are known when it is
made, and a graph cannot be changed. Nothing here knows what an op means (that is ops/), so the
Builder takes the result types from its caller. No recursion on nodes anywhere: a chain of 20,000
is ordinary. Graphs nest (an attribute may be a Graph), at most MAX_NESTING deep.
"""

from __future__ import annotations

import hashlib
import struct
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, NamedTuple

import numpy as np

from .errors import GraphError
from .stopping import paced

OP_SET = 1
"""Version of the op table: the meaning of (op name, op_set) never changes."""

MAX_NESTING = 32
MAX_CONSTANT_BYTES = 1024
"""A larger array is an input with a digest, never a part of the graph."""

DTYPES = {name: np.dtype(name) for name in ("float64", "float32", "int64", "int32", "bool")}
_NAMES = {dtype: name for name, dtype in DTYPES.items()}
"""NumPy works a name out each time it is asked for it."""
FLOATS = (DTYPES["float64"], DTYPES["float32"])


@dataclass(frozen=True, slots=True)
class Type:
    """The static type of an array: a dtype of DTYPES and a shape of non-negative ints."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()
    size: int = field(init=False, compare=False, repr=False)
    """Number of elements."""
    nbytes: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.dtype not in _NAMES and self.dtype.name not in DTYPES:
            raise GraphError("dtype is not supported", reason="DTYPE", got=str(self.dtype), allowed=", ".join(DTYPES))
        if self.shape and min(self.shape) < 0:
            raise GraphError("a dimension is negative", reason="SHAPE", got=str(self.shape), allowed="dimensions >= 0")
        object.__setattr__(self, "size", prod(self.shape))
        object.__setattr__(self, "nbytes", self.size * self.dtype.itemsize)

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def is_float(self) -> bool:
        """Whether values of this type have tangents; integers and bools have none."""
        return self.dtype.kind == "f"

    def with_shape(self, shape: Iterable[int]) -> Type:
        return Type(self.dtype, tuple(shape))

    def __str__(self) -> str:
        return (_NAMES.get(self.dtype) or self.dtype.name) + (str(list(self.shape)) if self.shape else "")


class Ref(NamedTuple):
    """One result of one node: what operands and outputs are."""

    node: int
    result: int = 0


MOST_SHARED = 1 << 18
_FIRST: list[Ref] = []
_growing = threading.Lock()


def first(node: int) -> Ref:
    """The first result of a node. One object for all graphs: each pass would make as many again, and the collector walk them."""
    try:
        return _FIRST[node]
    except IndexError:
        pass
    if node >= MOST_SHARED:
        return Ref(node)
    with _growing:
        _FIRST.extend(map(Ref, range(len(_FIRST), min(MOST_SHARED, 2 * node + 256))))
    return _FIRST[node]


def results_of(node: int, count: int) -> tuple[Ref, ...]:
    """All results of a node."""
    return (first(node),) if count == 1 else tuple([Ref(node, r) for r in range(count)])


Attribute = Any
"""bool, int, float, str, tuple of ints, np.dtype, read-only np.ndarray of at most 1 KiB, or Graph."""


class Node(NamedTuple):
    """One application of an op. `origin`: the node of the submitted graph this one derives from."""

    op: str
    operands: tuple[Ref, ...]
    attributes: tuple[tuple[str, Attribute], ...]
    types: tuple[Type, ...]
    origin: int


@dataclass(frozen=True, eq=False)
class Graph:
    """A closed computation: the first `arity` nodes are its inputs (op `input`, attribute `name`).

    `outputs` may repeat and may be inputs. Output names are paths such as `p.layers[0].b`, or ""
    for the only output. `factors`: ops (of those the plan knows as such) whose results only multiply derivatives here, so that
    an absolute error of an epsilon in them is as good as a relative one. The plan says so; no transform hands it on.
    """

    nodes: tuple[Node, ...]
    arity: int
    outputs: tuple[Ref, ...]
    output_names: tuple[str, ...]
    op_set: int = OP_SET
    factors: frozenset[str] = frozenset()

    @cached_property
    def input_names(self) -> tuple[str, ...]:
        return tuple(dict(node.attributes)["name"] for node in self.nodes[: self.arity])

    @cached_property
    def input_types(self) -> tuple[Type, ...]:
        return tuple(node.types[0] for node in self.nodes[: self.arity])

    @cached_property
    def output_types(self) -> tuple[Type, ...]:
        return tuple(self.type_of(ref) for ref in self.outputs)

    def type_of(self, ref: Ref) -> Type:
        return self.nodes[ref.node].types[ref.result]

    def select(self, outputs: Sequence[int]) -> Graph:
        """The graph with only these outputs, all inputs, and the nodes those outputs need; itself where that is all of them."""
        if list(outputs) == list(range(len(self.outputs))):
            return self
        return _pruned(self.nodes, range(self.arity), [(self.output_names[o], self.outputs[o]) for o in outputs])[0]

    def rooted(self) -> Graph:
        """The same graph as one newly submitted: every node is its own origin."""
        nodes = tuple([Node(n.op, n.operands, n.attributes, n.types, i) for i, n in enumerate(self.nodes)])
        return Graph(nodes, self.arity, self.outputs, self.output_names, self.op_set)

    @cached_property
    def subgraphs(self) -> tuple[Graph, ...]:
        """The graphs held by this graph's nodes, in node order, one level down."""
        return tuple(v for node in self.nodes for _, v in node.attributes if isinstance(v, Graph))

    @cached_property
    def functions(self) -> tuple[Graph, ...]:
        """Every distinct graph held, at whatever depth, after those it holds itself and otherwise in node order; this one last.

        Reports name functions by their place here, which is the order in which encode_graph writes them.
        """
        found: dict[str, Graph] = {}
        for held in self.subgraphs:
            found |= {inner.fingerprint: found.get(inner.fingerprint, inner) for inner in held.functions}
        return (*found.values(), self)

    @cached_property
    def size(self) -> int:
        """Number of nodes without inputs, subgraphs included."""
        return len(self.nodes) - self.arity + sum(g.size for g in self.subgraphs)

    @cached_property
    def nesting(self) -> int:
        return max((1 + g.nesting for g in self.subgraphs), default=0)

    @cached_property
    def fingerprint(self) -> str:
        """Structural key (hex SHA-256): equal graphs with equal names, attributes and constants by bytes."""
        hasher = hashlib.sha256(f"{self.op_set} {self.arity}".encode())
        for node in paced(self.nodes):
            key = (node.op, node.operands, attributes_key(node.attributes), [str(t) for t in node.types])
            hasher.update(repr(key).encode())
        hasher.update(repr((self.outputs, self.output_names, *sorted(self.factors))).encode())
        return hasher.hexdigest()

    @cached_property
    def identity(self) -> str:
        """As `fingerprint`, and of the origins too: of graphs that have it in common one can stand for the other in every respect."""
        origins = (self.fingerprint, [node.origin for node in self.nodes], [held.identity for held in self.subgraphs])
        return hashlib.sha256(repr(origins).encode()).hexdigest()


def attributes_key(attributes: Iterable[tuple[str, Attribute]]) -> tuple[Any, ...]:
    """A hashable key that tells apart True, 1, 1.0, and 0.0 from -0.0."""
    return tuple([(name, *_attribute_key(value)) for name, value in attributes]) if attributes else ()


def _attribute_key(value: Attribute) -> tuple[Any, ...]:
    match value:
        case bool() | int() | str():
            return (type(value).__name__, value)
        case float():
            return ("float", struct.pack("<d", value))
        case tuple():
            return ("ints", value)
        case np.dtype():
            return ("dtype", value.name)
        case np.ndarray():
            return ("array", value.dtype.str, value.shape, value.tobytes())
        case Graph():
            return ("graph", value.fingerprint)
    raise GraphError("an attribute has a kind no graph can hold", reason="ATTRIBUTE", got=type(value).__name__)


class Builder:
    """Makes one Graph. Equal nodes are made once (hash-consing), and equal graphs held by them are one object, so that what is
    remembered of one loop's body holds for all its like; inputs may be added at any time.

    `parent`: the builder of the trace this one is nested in, whose values may be captured.
    `origin`: given to every new node while set; a transform sets it to the origin of the node it
    rewrites. Left None, nodes become their own origin when built (a newly submitted graph).
    `locate`: called for every new node; what it returns is kept beside the node, in `locations`
    while building and in `sources`, in the graph's own numbering, once built.
    """

    def __init__(self, *, parent: Builder | None = None, locate: Callable[[], str] | None = None) -> None:
        self.parent = parent
        self.locate = locate
        self.origin: int | None = None
        self.closed = False
        self.nodes: list[Node] = []
        self.locations: list[str] = []
        self.sources: tuple[str, ...] = ()
        self._known: defaultdict[str, dict[Any, int]] = defaultdict(dict)
        """by op: the node of these operands and, where it has any, attributes"""
        self._held: dict[str, Graph] = {}
        """by identity: the graphs held by nodes"""
        self._unknown = False
        """whether there are nodes that were taken and are not in `_known` yet"""
        self.bound: dict[str, np.ndarray[Any, Any]] = {}
        self._names: set[str] = set()
        self._inputs: list[int] = []
        self._captured: dict[Ref, Ref] = {}

    def input(self, name: str, type: Type) -> Ref:
        """A new input; names must be distinct."""
        if name in self._names:
            raise GraphError("two inputs have the same name", reason="MALFORMED", got=repr(name))
        self._names.add(name)
        self._inputs.append(len(self.nodes))
        return first(self._append(Node("input", (), (("name", name),), (type,), -1)))

    def add(self, op: str, operands: Sequence[Ref], attributes: Mapping[str, Attribute], infer: Callable[[], tuple[Type, ...]]) -> int:
        """The index of the node applying `op`; `infer` is asked for its types only if it is new."""
        pairs = tuple(sorted(attributes.items())) if attributes else ()
        refs = tuple(operands)
        if self._unknown:
            self._know()
        known, key = self._known[op], (refs, attributes_key(pairs)) if pairs else refs
        index = known.get(key)
        if index is None:
            types = infer()
            if refs and types == (theirs := self.nodes[refs[0].node].types):
                types = theirs  # most nodes have their operand's types: one tuple for all
            node = Node(op, refs, self._shared(pairs), types, -1 if self.origin is None else self.origin)
            index = known[key] = self._append(node)
        return index

    def again(self, node: Node, operands: tuple[Ref, ...]) -> int:
        """The index of the node applying a known node's op to other operands of the same types."""
        if self._unknown:
            self._know()
        op, before, attributes, types, its_origin = node
        known, key = self._known[op], (operands, attributes_key(attributes)) if attributes else operands
        index = known.get(key)
        if index is None:
            origin = -1 if self.origin is None else self.origin
            shared = self._shared(attributes) if attributes else attributes
            # A transform copies most nodes as they are: the same node is then shared by both graphs.
            if operands != before or origin != its_origin or shared is not attributes:
                node = Node(op, operands, shared, types, origin)
            index = known[key] = self._append(node)
        return index

    def _shared(self, attributes: tuple[tuple[str, Attribute], ...]) -> tuple[tuple[str, Attribute], ...]:
        """The attributes, with the first of equal graphs in the place of each."""
        for _, value in attributes:
            if isinstance(value, Graph) and self._held.setdefault(value.identity, value) is not value:
                return tuple([(name, self._held.setdefault(v.identity, v) if isinstance(v, Graph) else v) for name, v in attributes])
        return attributes

    def take(self, graph: Graph) -> None:
        """All nodes of a graph as they are. This builder's nodes are the graph's inputs, and nothing else."""
        assert len(self.nodes) == graph.arity
        taken = graph.nodes[graph.arity :]
        self.nodes.extend(taken)
        self.locations.extend([self.place] * len(taken))
        self._unknown = True

    def _know(self) -> None:
        """Nodes that were taken are found when something is added for the first time: most graphs end where they were taken."""
        self._unknown = False
        for i, node in enumerate(paced(self.nodes)):
            if node.op != "input":
                self._known[node.op].setdefault((node.operands, attributes_key(node.attributes)) if node.attributes else node.operands, i)

    def type_of(self, ref: Ref) -> Type:
        return self.nodes[ref.node].types[ref.result]

    def capture(self, outer: Ref) -> Ref:
        """The input of this builder that stands for a value of its parent."""
        assert self.parent is not None
        if outer not in self._captured:
            self._captured[outer] = self.input(f"captured.{len(self._captured)}", self.parent.type_of(outer))
        return self._captured[outer]

    def bind(self, array: np.ndarray[Any, Any]) -> Ref:
        """The input that stands for a captured array: copied now, sent later by digest, kept in `bound`."""
        if self.parent is not None:
            return self.capture(self.parent.bind(array))
        copy = np.array(array, order="C")
        copy.setflags(write=False)
        key = (copy.dtype.name, copy.shape, hashlib.sha256(copy.data).digest())
        known = self._known["input"]
        if key not in known:
            name = f"bound.{len(self.bound)}"
            known[key] = self.input(name, Type(copy.dtype, copy.shape)).node
            self.bound[name] = copy
        return first(known[key])

    @property
    def place(self) -> str:
        """The user's line that is running now, "" if nobody keeps track."""
        return self.locate() if self.locate else ""

    @property
    def captured(self) -> Iterator[tuple[Ref, Ref]]:
        """(value of the parent, input here), in the order they were captured."""
        return iter(self._captured.items())

    def _append(self, node: Node) -> int:
        if self.closed:
            raise GraphError(
                "a traced value was used after its trace had ended",
                reason="NOT_TRACEABLE",
                source=self.place,
                hint="return values from the traced function instead of keeping them in a variable outside it",
            )
        index = len(self.nodes)
        self.nodes.append(node)
        self.locations.append(self.locate() if self.locate else "")
        return index

    def build(self, outputs: Iterable[tuple[str, Ref]]) -> Graph:
        """The graph of what `outputs` need: inputs first, all of them kept; unused nodes dropped."""
        named = list(outputs)
        graph, order = _pruned(self.nodes, self._inputs, named)
        self.sources = tuple([self.locations[old] for old in order])
        self.closed = True
        return graph


def _pruned(nodes: Sequence[Node], inputs: Sequence[int], outputs: Sequence[tuple[str, Ref]]) -> tuple[Graph, list[int]]:
    """The inputs and what the outputs need, renumbered; and the old number of each new node."""
    live = [False] * len(nodes)
    for _, ref in outputs:
        live[ref.node] = True
    for i in paced(range(len(nodes) - 1, -1, -1)):
        if live[i]:
            for n, _ in nodes[i].operands:
                live[n] = True
    for i in inputs:
        live[i] = False  # placed first, used or not
    order = [*inputs, *[i for i in range(len(nodes)) if live[i]]]
    moved = [_NOWHERE] * len(nodes)
    kept = []
    still = True  # no node so far has another number than before
    for i, old in enumerate(paced(order)):
        node = nodes[old]
        moved[old] = first(i)
        still = still and i == old
        if not still or node.origin < 0:
            op, operands, attributes, types, origin = node
            refs = tuple([moved[n] if r == 0 else Ref(moved[n].node, r) for n, r in operands])
            if refs != operands or origin < 0:
                node = Node(op, refs, attributes, types, i if origin < 0 else origin)
        kept.append(node)
    refs = tuple([Ref(moved[n].node, r) for _, (n, r) in outputs])
    return Graph(tuple(kept), len(inputs), refs, tuple([name for name, _ in outputs])), order


_NOWHERE = Ref(-1)
