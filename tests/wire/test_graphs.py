"""A graph survives the wire, equal graphs are equal bytes, and what a client numbered stays numbered."""

import hashlib
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from backsweep.v1 import graph_pb2
from backsweep.wire.graphs import decode_functions, decode_graph, encode_graph
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Builder, Graph, Node, Ref, Type
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.op import emit
from support import blobs

FLOAT64 = np.dtype("float64")
EXAMPLES = [(op.name, k) for op in TABLE.values() for k in range(len(op.examples))]


def of_example(name: str, k: int) -> Graph:
    """A graph that applies an op to its k-th example."""
    builder, example = Builder(), TABLE[name].examples[k]
    operands = [builder.input(f"x{i}", type) for i, type in enumerate(example.types)]
    node = emit(builder, name, operands, dict(example.attributes))
    results = range(len(builder.nodes[node].types))
    return builder.build([(f"y{r}", Ref(node, r)) for r in results])


def chain(length: int) -> Graph:
    builder = Builder()
    x = builder.input("x", Type(FLOAT64, (3,)))
    for k in range(length):
        x = Ref(emit(builder, ("sin", "cos", "tanh")[k % 3], [x], {}))
    return builder.build([("", x)])


def nested(depth: int) -> Graph:
    """A graph of nesting depth `depth` as the wire counts (main is 1); by default the other branch is flat."""
    builder = Builder()
    p, x = builder.input("p", Type(np.dtype("bool"))), builder.input("x", Type(FLOAT64, (3,)))
    if depth == 1:
        return builder.build([("", Ref(emit(builder, "sin", [x], {})))])
    node = emit(builder, "cond", [p, p, x], {"then": nested(depth - 1), "otherwise": nested(1)})
    return builder.build([("", Ref(node))])


def doubled(levels: int) -> Graph:
    """Each level uses the one below twice: a few functions that stand for 2**levels."""
    graph = nested(1)
    for _ in range(levels):
        builder = Builder()
        p, x = builder.input("p", Type(np.dtype("bool"))), builder.input("x", Type(FLOAT64, (3,)))
        graph = builder.build([("", Ref(emit(builder, "cond", [p, p, x], {"then": graph, "otherwise": graph})))])
    return graph


@pytest.mark.parametrize("name, k", EXAMPLES)
def test_every_op_survives_the_wire(name: str, k: int) -> None:
    graph = of_example(name, k)
    decoded = decode_graph(encode_graph(graph))
    assert decoded.fingerprint == graph.fingerprint
    assert decoded.input_types == graph.input_types and decoded.output_types == graph.output_types


@pytest.mark.parametrize("name, k", EXAMPLES)
def test_equal_graphs_are_equal_bytes(name: str, k: int) -> None:
    blob = encode_graph(of_example(name, k))
    assert encode_graph(of_example(name, k)) == blob
    assert encode_graph(decode_graph(blob)) == blob


def test_values_that_compare_equal_stay_apart() -> None:
    builder = Builder()
    values = [np.array(v) for v in (0.0, -0.0, 1.0)] + [np.array(1), np.array(True), np.frombuffer(b"\x01\0\0\0\0\0\xf8\x7f", "<f8")[0:1]]
    nodes = [Ref(emit(builder, "constant", [], {"value": v, "shape": v.shape})) for v in values]
    graph = builder.build([(f"y{i}", ref) for i, ref in enumerate(nodes)])
    decoded = decode_graph(encode_graph(graph))
    found = [dict(decoded.nodes[ref.node].attributes)["value"] for ref in decoded.outputs]
    assert [(v.dtype, v.tobytes()) for v in found] == [(v.dtype, v.tobytes()) for v in values]
    assert not any(v.flags.writeable for v in found)


def test_a_chain_of_20000_nodes_is_read_in_a_second() -> None:
    blob = encode_graph(chain(20_000))
    before = time.process_time()
    graph = decode_graph(blob)
    assert time.process_time() - before < 1.0
    assert len(graph.nodes) == 20_001


def test_nodes_keep_the_numbers_of_the_client_though_equal_ones_are_there_twice() -> None:
    message = blobs.small()
    message.functions[0].CopyFrom(blobs.function([("x", blobs.type_of(3))], [(0, [0], 0), (0, [0], 0), (1, [1, 2], 0), (0, [0], 0)], [("", 3)]))
    graph = decode_graph(message.SerializeToString())
    assert [node.op for node in graph.nodes] == ["input", "sin", "sin", "multiply", "sin"]
    assert [node.origin for node in graph.nodes] == [0, 1, 2, 3, 4]
    assert graph.nodes[3] == Node("multiply", (Ref(1), Ref(2)), (), (Type(FLOAT64, (3,)),), 3)


def test_equal_subgraphs_are_one_function() -> None:
    message = graph_pb2.Graph.FromString(encode_graph(nested(3)))
    assert len(message.functions) == 3
    assert [f.operand_node[:] for f in message.functions] == [[1], [0, 0, 1], [0, 0, 1]]


def test_functions_come_in_order_and_main_last() -> None:
    functions = decode_functions(blobs.branching().SerializeToString())
    assert [f.nodes[-1].op for f in functions] == ["sin", "exp", "cond"]
    held = dict(functions[2].nodes[2].attributes)
    assert held["then"] is functions[0] and held["otherwise"] is functions[1]


def test_nesting_of_32_is_taken_and_33_is_not_written() -> None:
    assert decode_graph(encode_graph(nested(32))).nesting == 31
    with pytest.raises(GraphError) as caught:
        encode_graph(nested(33))
    assert (caught.value.reason, caught.value.name, caught.value.got) == ("TOO_LARGE", "max_nesting", "33")


def test_nesting_of_33_is_not_taken_either() -> None:
    message = graph_pb2.Graph.FromString(encode_graph(nested(32)))
    # One more level, like the last, which names the level before it.
    held = graph_pb2.AttributeRecord()
    held.CopyFrom(message.attributes[-1])
    held.value[1].function = len(message.functions) - 1
    message.attributes.append(held)
    message.functions.append(message.functions[-1])
    message.functions[-1].attribute[0] = len(message.attributes)
    with pytest.raises(GraphError) as caught:
        decode_graph(message.SerializeToString())
    assert (caught.value.reason, caught.value.name, caught.value.got, caught.value.node) == ("TOO_LARGE", "max_nesting", "33", 2)


def test_functions_that_use_each_other_twice_count_twice_each_time() -> None:
    assert decode_graph(encode_graph(doubled(16))).nesting == 16
    with pytest.raises(GraphError) as caught:
        decode_graph(encode_graph(doubled(25)))
    assert (caught.value.reason, caught.value.name) == ("TOO_LARGE", "expanded nodes")


def test_what_cannot_be_sent_is_refused_before_it_is_sent() -> None:
    builder = Builder()
    x = builder.input("x" * 257, Type(FLOAT64))
    with pytest.raises(GraphError) as caught:
        encode_graph(builder.build([("", x)]))
    assert (caught.value.reason, caught.value.node) == ("TOO_LARGE", 0)


def test_a_graph_over_the_limit_of_nodes_is_not_written() -> None:
    with pytest.raises(GraphError) as caught:
        encode_graph(chain(100_000))
    assert (caught.value.reason, caught.value.name, caught.value.got) == ("TOO_LARGE", "max_nodes", "100001")


def test_the_bytes_of_a_graph_are_those_of_sha256sum(tmp_path: Path) -> None:
    # Golden: a change of these bytes makes every stored graph a stranger. `sha256sum` of the file gives the same.
    blob = encode_graph(decode_graph(blobs.small().SerializeToString(deterministic=True)))
    golden = "701ad4a29ee342c1f61659eeaab7a8dac4a7f2ef1bbf2fb56175259a8f14a058"
    assert hashlib.sha256(blob).hexdigest() == golden
    (tmp_path / "graph").write_bytes(blob)
    done = subprocess.run(["sha256sum", tmp_path / "graph"], capture_output=True, text=True, check=True)
    assert done.stdout.split()[0] == golden
