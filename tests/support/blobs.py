"""Graphs as messages, made by hand: what a client that is not ours would send."""

from __future__ import annotations

from collections.abc import Sequence

from backsweep.v1 import graph_pb2, types_pb2

FLOAT64 = types_pb2.DATA_TYPE_FLOAT64


def type_of(*shape: int, dtype: types_pb2.DataType = FLOAT64) -> types_pb2.Type:
    return types_pb2.Type(dtype=dtype, shape=shape)


def function(
    inputs: Sequence[tuple[str, types_pb2.Type]],
    nodes: Sequence[tuple[int, Sequence[int], int]],
    outputs: Sequence[tuple[str, int]],
) -> graph_pb2.Function:
    """Nodes are (op index, operand nodes, attribute record); only first results are named."""
    operands = [operand for _, read, _ in nodes for operand in read]
    return graph_pb2.Function(
        inputs=[graph_pb2.Input(name=name, type=type) for name, type in inputs],
        op=[op for op, _, _ in nodes],
        operand_count=[len(read) for _, read, _ in nodes],
        operand_node=operands,
        operand_result=[0] * len(operands),
        attribute=[attribute for _, _, attribute in nodes],
        output_name=[name for name, _ in outputs],
        output_node=[node for _, node in outputs],
        output_result=[0] * len(outputs),
    )


def small() -> graph_pb2.Graph:
    """sum(sin(x) * x) of a vector of three."""
    axes = graph_pb2.AttributeRecord(name=["axes"], value=[graph_pb2.AttributeValue(ints=graph_pb2.Ints(values=[0]))])
    return graph_pb2.Graph(
        op_set=1,
        ops=["sin", "multiply", "sum"],
        attributes=[axes],
        functions=[function([("x", type_of(3))], [(0, [0], 0), (1, [1, 0], 0), (2, [2], 1)], [("", 3)])],
    )


def branching() -> graph_pb2.Graph:
    """cond(p, sin(x), exp(x)): two functions named by the third."""
    branches = graph_pb2.AttributeRecord(name=["otherwise", "then"], value=[graph_pb2.AttributeValue(function=1), graph_pb2.AttributeValue(function=0)])
    main = function([("p", type_of(dtype=types_pb2.DATA_TYPE_BOOL)), ("x", type_of(3))], [(2, [0, 1], 1)], [("", 2)])
    inner = [function([("x", type_of(3))], [(op, [0], 0)], [("", 1)]) for op in (0, 1)]
    return graph_pb2.Graph(op_set=1, ops=["sin", "exp", "cond"], attributes=[branches], functions=[*inner, main])


def record(**values: graph_pb2.AttributeValue) -> graph_pb2.AttributeRecord:
    return graph_pb2.AttributeRecord(name=sorted(values), value=[values[name] for name in sorted(values)])
