"""Graph <-> blob: packed columns, functions before those that use them, main last.

Decoding keeps the client's numbering: node i of the blob is node i of the Graph, so that errors
name what the client wrote; nothing is merged or dropped. Equal graphs give equal bytes. The order
of checks is sizes, bytes, names, then node by node; the first fault is reported.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError

from backsweep.v1 import graph_pb2 as pb
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import OP_SET, Graph, attributes_key

from .arrays import encode_type
from .attributes import Pairs, checked_name, encode_record
from .functions import Reader, check_input_names, check_output_names, require_nesting
from .scan import scan_graph

# Encoding.


def encode_graph(graph: Graph) -> bytes:
    """The blob of a graph; each distinct subgraph once. GraphError if it is over a limit of the wire."""
    message = pb.Graph(op_set=graph.op_set)
    _Writer(message).function(graph)
    blob: bytes = message.SerializeToString(deterministic=True)
    scan_graph(blob)  # the limits: a derived graph can be over one, and a client's own is refused before it travels
    return blob


class _Writer:
    """Appends functions to a message, giving ops, records and subgraphs their indices."""

    def __init__(self, message: pb.Graph) -> None:
        self.message = message
        self.ops: dict[str, int] = {}
        self.records: dict[object, int] = {(): 0}
        self.functions: dict[str, int] = {}

    def function(self, graph: Graph) -> int:
        """The index of the function of this graph. Recursion is on nesting, which is at most 32."""
        known = self.functions.get(graph.fingerprint)
        if known is not None:
            return known
        require_nesting(graph.nesting + 1)
        check_input_names(graph.input_names)
        check_output_names(graph.output_names)
        body = graph.nodes[graph.arity :]
        records = [self._record(node.attributes) for node in body]  # before this function: subgraphs come earlier
        written = self.message.functions.add()
        for name, type in zip(graph.input_names, graph.input_types, strict=True):
            written.inputs.add(name=name, type=encode_type(type))
        written.op.extend([self._op(node.op) for node in body])
        written.operand_count.extend([len(node.operands) for node in body])
        written.operand_node.extend([ref.node for node in body for ref in node.operands])
        written.operand_result.extend([ref.result for node in body for ref in node.operands])
        written.attribute.extend(records)
        written.output_name.extend(graph.output_names)
        written.output_node.extend([ref.node for ref in graph.outputs])
        written.output_result.extend([ref.result for ref in graph.outputs])
        self.functions[graph.fingerprint] = index = len(self.functions)
        return index

    def _op(self, name: str) -> int:
        if name not in self.ops:
            self.ops[name] = len(self.ops)
            self.message.ops.append(checked_name(name, "an op"))
        return self.ops[name]

    def _record(self, attributes: Pairs) -> int:
        key = attributes_key(attributes)
        if key not in self.records:
            # Encoding first: a subgraph in it may add records of its own.
            record = encode_record(attributes, self.function)
            self.message.attributes.append(record)
            self.records[key] = len(self.message.attributes)
        return self.records[key]


# Decoding.


def decode_graph(blob: bytes) -> Graph:
    """The graph of a blob, or a GraphError that names what is wrong with it and where."""
    return decode_functions(blob)[-1]


def decode_functions(blob: bytes) -> tuple[Graph, ...]:
    """Every function of a blob by its index, main last: what reports name functions by."""
    scan_graph(blob)
    try:
        message = pb.Graph.FromString(blob)
    except DecodeError:
        raise GraphError("the graph's bytes do not parse", got=f"{len(blob)} bytes", hint="send the bytes of a serialised backsweep.v1.Graph") from None
    if not 1 <= message.op_set <= OP_SET:
        raise GraphError("the graph is of an op_set that is not served", reason="OP_SET", name="op_set", got=str(message.op_set), allowed=f"1 to {OP_SET}")
    if not message.functions:
        raise GraphError("the graph has no function", name="functions", got="0", allowed="at least one: the last is main")
    reader = Reader(message)
    for index, function in enumerate(message.functions):
        try:
            reader.read(function)
        except GraphError as error:
            main = index == len(message.functions) - 1
            raise error.located(function=None if main else index) from None
    reader.finish()
    return tuple(reader.graphs)
