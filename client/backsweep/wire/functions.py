"""Reading the functions of a parsed graph, node by node, with every rule of proto/ for them.

No recursion and no work that grows faster than the blob: what a node yields is inferred once for
each (op, attributes, operand types), and the functions a node names count as often as they are used.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NoReturn

from backsweep.v1 import graph_pb2 as pb
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Node, Ref, Type
from backsweep_engine.ops import TABLE, Op
from backsweep_engine.ops.op import check
from backsweep_engine.stopping import paced
from backsweep_engine.text import window

from . import limits
from .arrays import checked_type, decode_type
from .attributes import FunctionRef, Pairs, checked_name, checked_text, decode_record, repeated

_MAX_WINDOW = 2000
"""Characters: a node may have a million operands."""


@dataclass(frozen=True, slots=True)
class _Record:
    """An attribute record with its graphs looked up, and the indices of their functions."""

    pairs: Pairs = ()
    functions: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Yield:
    """The types of a node's results, and the reader's numbers for them."""

    types: tuple[Type, ...]
    numbers: tuple[int, ...]


class Reader:
    """The functions read so far, and what their nodes share: ops, records, types already inferred."""

    def __init__(self, message: pb.Graph) -> None:
        self.graphs: list[Graph] = []
        self._op_set = message.op_set
        self._names = _op_names(message.ops)
        self._ops = [_served(name, message.op_set) for name in self._names]
        self._messages = message.attributes
        self._records: dict[int, _Record] = {0: _Record()}
        self._depths: list[int] = []
        self._sizes: list[int] = []
        self._inferred: dict[tuple[int, ...], _Yield] = {}
        self._numbers: dict[Type, int] = {}
        self._types: list[Type] = []

    def read(self, message: pb.Function) -> None:
        """Reads the next function and appends it to `graphs`."""
        _check_columns(message)
        nodes: list[Node] = []
        yields: list[_Yield] = []
        for i, (name, type) in enumerate(_inputs(message)):
            nodes.append(Node("input", (), (("name", name),), (type,), i))
            yields.append(self._yield((type,)))
        depth, size = 1, len(message.inputs) + len(message.op)
        operands, results, at = list(message.operand_node), list(message.operand_result), 0
        for op, count, attribute in paced(list(zip(message.op, message.operand_count, message.attribute, strict=True))):
            refs = tuple(map(Ref, operands[at : at + count], results[at : at + count]))
            at += count
            try:
                yielded = self._node(op, attribute, refs, yields)
                record = self._records[attribute]
                if record.functions:
                    depth = max(depth, 1 + max(self._depths[f] for f in record.functions))
                    size += sum(self._sizes[f] for f in record.functions)
                    require_nesting(depth)
                    _require_size(size)
            except GraphError as error:
                raise self._located(error, nodes, op, attribute, refs) from None
            nodes.append(Node(self._names[op], refs, record.pairs, yielded.types, len(nodes)))
            yields.append(yielded)
        outputs = _outputs(message, nodes)
        self.graphs.append(Graph(tuple(nodes), len(message.inputs), outputs, tuple(message.output_name), self._op_set))
        self._depths.append(depth)
        self._sizes.append(size)

    def finish(self) -> None:
        """Checks what no node used: it must be right as well."""
        for name, op in zip(self._names, self._ops, strict=True):
            if op is None:
                raise _unknown(name)
        for index in range(len(self._messages)):
            if index + 1 not in self._records:
                self._record(index + 1)

    def _node(self, op: int, attribute: int, refs: tuple[Ref, ...], yields: Sequence[_Yield]) -> _Yield:
        if op >= len(self._ops):
            raise GraphError("a node's op is not in the list of ops", name="op", got=str(op), allowed=f"an index below {len(self._ops)}")
        served = self._ops[op]
        if served is None:
            raise _unknown(self._names[op])
        if attribute > len(self._messages):
            raise GraphError("a node's attribute record is not there", name="attribute", got=str(attribute), allowed=f"0 to {len(self._messages)}")
        if attribute not in self._records:
            self._record(attribute)
        latest = max(refs).node if refs else -1
        if latest >= len(yields):
            allowed = f"0 to {len(yields) - 1}" if yields else "none: it is the first node"
            raise GraphError("a node names a later node or itself", reason="ORDER", got=str(latest), allowed=allowed, hint="write a node after those it reads")
        try:
            key = (op, attribute, *[yields[node].numbers[result] for node, result in refs])
        except IndexError:
            wrong = next(ref for ref in refs if ref.result >= len(yields[ref.node].types))
            _no_such_result(wrong, len(yields[wrong.node].types))
        known = self._inferred.get(key)
        if known is None:
            types = tuple([self._types[number] for number in key[2:]])
            results = check(served, types, dict(self._records[attribute].pairs))
            known = self._inferred[key] = self._yield(tuple([checked_type(type.dtype, type.shape) for type in results]))
        return known

    def _yield(self, types: tuple[Type, ...]) -> _Yield:
        for type in types:
            if type not in self._numbers:
                self._numbers[type] = len(self._types)
                self._types.append(type)
        return _Yield(types, tuple([self._numbers[type] for type in types]))

    def _record(self, index: int) -> None:
        """Reads an attribute record where it is first used: its faults are those of that node."""
        pairs = decode_record(self._messages[index - 1])
        functions = tuple(value.index for _, value in pairs if isinstance(value, FunctionRef))
        for function in functions:
            if function >= len(self.graphs):
                raise GraphError(
                    "an attribute names a function that is not earlier",
                    reason="ORDER",
                    got=str(function),
                    allowed=f"0 to {len(self.graphs) - 1}" if self.graphs else "none: it is the first function",
                    hint="write a function before those that use it",
                )
        found = tuple((name, self.graphs[value.index] if isinstance(value, FunctionRef) else value) for name, value in pairs)
        self._records[index] = _Record(found, functions)

    def _located(self, error: GraphError, nodes: list[Node], op: int, attribute: int, refs: tuple[Ref, ...]) -> GraphError:
        name = self._names[op] if op < len(self._names) else f"op {op}"
        pairs = self._records[attribute].pairs if attribute in self._records else ()
        shown = window([*nodes, Node(name, refs[:16], pairs, (), len(nodes))], len(nodes))
        return error.located(node=len(nodes), op=name, window=shown[:_MAX_WINDOW])


# The parts of a function.


def _op_names(names: Iterable[str]) -> list[str]:
    checked = [checked_name(name, "an op") for name in names]
    if (twice := repeated(checked)) is not None:
        raise GraphError("an op is listed twice", op=twice, name="ops", got=twice, allowed="each op once")
    if "input" in checked:
        raise GraphError("input is listed as an op", op="input", name="ops", got="input", hint="inputs are Function.inputs")
    return checked


def _served(name: str, op_set: int) -> Op | None:
    op = TABLE.get(name)
    return op if op is not None and op.since <= op_set else None


def _unknown(name: str) -> GraphError:
    near = difflib.get_close_matches(name, TABLE, n=5)
    return GraphError("unknown op", reason="UNKNOWN_OP", op=name, got=name, allowed=", ".join(near), hint="Capabilities lists the ops of this server")


def _check_columns(message: pb.Function) -> None:
    n, operands, outputs = len(message.op), len(message.operand_node), len(message.output_name)
    columns = (
        ("operand_count", len(message.operand_count), n, "as many as op"),
        ("attribute", len(message.attribute), n, "as many as op"),
        ("operand_node", operands, sum(message.operand_count), "the sum of operand_count"),
        ("operand_result", len(message.operand_result), operands, "as many as operand_node"),
        ("output_node", len(message.output_node), outputs, "as many as output_name"),
        ("output_result", len(message.output_result), outputs, "as many as output_name"),
    )
    for name, got, want, why in columns:
        if got != want:
            raise GraphError(f"the column {name} is of the wrong length", name=name, got=str(got), allowed=f"{want}: {why}")


def _inputs(message: pb.Function) -> list[tuple[str, Type]]:
    names = [entry.name for entry in message.inputs]
    check_input_names(names)
    types = []
    for i, (name, entry) in enumerate(zip(names, message.inputs, strict=True)):
        try:
            if not entry.HasField("type"):
                raise GraphError("an input has no type")
            types.append(decode_type(entry.type))
        except GraphError as error:
            raise error.located(node=i, op="input", name=name) from None
    return list(zip(names, types, strict=True))


def _outputs(message: pb.Function, nodes: Sequence[Node]) -> tuple[Ref, ...]:
    check_output_names(message.output_name)
    refs = tuple(map(Ref, message.output_node, message.output_result))
    for name, ref in zip(message.output_name, refs, strict=True):
        if ref.node >= len(nodes):
            raise GraphError("an output names a node that is not there", name=name, got=str(ref.node), allowed=f"an index below {len(nodes)}")
        if ref.result >= len(nodes[ref.node].types):
            _no_such_result(ref, len(nodes[ref.node].types), name)
    return refs


def _no_such_result(ref: Ref, results: int, name: str = "") -> NoReturn:
    raise GraphError(
        "a node does not have the result that is named", reason="ARITY", name=name, got=f"result {ref.result} of node {ref.node}", allowed=f"0 to {results - 1}"
    )


# Rules that hold for what is written as well.


def check_input_names(names: Sequence[str]) -> None:
    for i, name in enumerate(names):
        try:
            if not checked_text(name, limits.MAX_NAME_BYTES, "the name of an input"):
                raise GraphError("an input has no name", hint="name it")
        except GraphError as error:
            raise error.located(node=i, op="input", name=name[:64]) from None
    if (twice := repeated(names)) is not None:
        raise GraphError("two inputs have the same name", node=len(names) - 1 - names[::-1].index(twice), op="input", name=twice, got=repr(twice))


def check_output_names(names: Sequence[str]) -> None:
    if not names:
        raise GraphError("a function has no output", name="output_name", got="0", allowed="at least one")
    for name in names:
        checked_text(name, limits.MAX_NAME_BYTES, "the name of an output")
        if not name and len(names) > 1:
            raise GraphError("one of several outputs has no name", name="output_name", got="''", allowed="the empty name for an only output")
    if (twice := repeated(names)) is not None:
        raise GraphError("two outputs have the same name", name=twice, got=repr(twice))


def require_nesting(depth: int) -> None:
    if depth > limits.MAX_NESTING:
        raise GraphError("functions are nested too deep", reason="TOO_LARGE", name="max_nesting", got=str(depth), allowed=f"at most {limits.MAX_NESTING}")


def _require_size(nodes: int) -> None:
    if nodes > limits.MAX_EXPANDED_NODES:
        raise GraphError(
            "the graph is too large once every function is counted for each use",
            reason="TOO_LARGE",
            name="expanded nodes",
            got=str(nodes),
            allowed=f"at most {limits.MAX_EXPANDED_NODES}",
        )
