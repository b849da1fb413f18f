"""Every way a graph can be wrong has its own error: reason, place, what was got and what is allowed."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from backsweep.v1 import graph_pb2, types_pb2
from backsweep.wire.graphs import decode_graph
from backsweep_engine.errors import GraphError
from support import blobs

Graph = graph_pb2.Graph
Value = graph_pb2.AttributeValue
BOOL = types_pb2.DATA_TYPE_BOOL


@dataclass(frozen=True, slots=True)
class Wrong:
    """A change that makes a right graph wrong, and what must be said about it."""

    sentence: str
    change: Callable[[Graph], object]
    reason: str
    node: int | None = None
    op: str = ""
    name: str = ""
    got: str | None = None
    allowed: str | None = None
    function: int | None = None
    base: Callable[[], Graph] = blobs.small


def main(graph: Graph) -> graph_pb2.Function:
    return graph.functions[-1]


def set_at(column: str, index: int, value: int) -> Callable[[Graph], None]:
    """Sets an entry of a column of main."""

    def change(graph: Graph) -> None:
        getattr(main(graph), column)[index] = value

    return change


def axes(value: Value) -> Callable[[Graph], None]:
    """Makes the attribute `axes` of the sum this value."""

    def change(graph: Graph) -> None:
        graph.attributes[0].value[0].CopyFrom(value)

    return change


def constant(array: types_pb2.Array) -> Callable[[Graph], None]:
    """Makes the graph one constant."""

    def change(graph: Graph) -> None:
        record = blobs.record(value=Value(constant=array), shape=Value(ints=graph_pb2.Ints(values=array.shape)))
        graph.CopyFrom(Graph(op_set=1, ops=["constant"], attributes=[record], functions=[blobs.function([], [(0, [], 1)], [("", 0)])]))

    return change


def stretched(*shape: int) -> Callable[[Graph], None]:
    """Makes the graph the constant 0 broadcast to a shape."""

    def change(graph: Graph) -> None:
        constant(types_pb2.Array(dtype=blobs.FLOAT64, data=bytes(8)))(graph)
        graph.attributes[0].value[0].ints.values.extend(shape)

    return change


def inputs(*pairs: tuple[str, types_pb2.Type]) -> Callable[[Graph], None]:
    """Makes the graph the sum of the first of these inputs."""

    def change(graph: Graph) -> None:
        main(graph).CopyFrom(blobs.function(pairs, [(0, [0], 0)], [("", len(pairs))]))

    return change


def outputs(*pairs: tuple[str, int]) -> Callable[[Graph], None]:
    def change(graph: Graph) -> None:
        for column in ("output_name", "output_node", "output_result"):
            main(graph).ClearField(column)  # type: ignore[arg-type]
        main(graph).output_name.extend(name for name, _ in pairs)
        main(graph).output_node.extend(node for _, node in pairs)
        main(graph).output_result.extend(0 for _ in pairs)

    return change


def branch(column: str, value: int) -> Callable[[Graph], None]:
    """Sets the first entry of a column of function 1 of the branching graph."""

    def change(graph: Graph) -> None:
        getattr(graph.functions[1], column)[0] = value

    return change


def names(function: int) -> Callable[[Graph], None]:
    """Makes the cond name this function as its first branch."""

    def change(graph: Graph) -> None:
        graph.attributes[0].value[0].function = function

    return change


def no_type(graph: Graph) -> None:
    main(graph).inputs[0].ClearField("type")


X = ("x", blobs.type_of(3))

WRONG = [
    # The graph as a whole.
    Wrong("op_set 0 is not served", lambda g: setattr(g, "op_set", 0), "OP_SET", name="op_set", got="0", allowed="1 to 1"),
    Wrong("a newer op_set is not served", lambda g: setattr(g, "op_set", 2), "OP_SET", name="op_set", got="2"),
    Wrong("main is missing", lambda g: g.ClearField("functions"), "MALFORMED", name="functions", got="0"),
    Wrong("an op is listed twice", lambda g: g.ops.append("sin"), "MALFORMED", name="ops", op="sin"),
    Wrong("input is listed as an op", lambda g: g.ops.append("input"), "MALFORMED", name="ops", op="input"),
    Wrong("the name of an op has a capital", lambda g: g.ops.append("Sin"), "MALFORMED", name="Sin"),
    Wrong("the name of an op is empty", lambda g: g.ops.append(""), "MALFORMED"),
    Wrong("the name of an op ends in a newline", lambda g: g.ops.append("sin\n"), "MALFORMED"),
    Wrong("the name of an op is too long", lambda g: g.ops.append("a" * 65), "MALFORMED"),
    # Ops.
    Wrong("an op is unknown", lambda g: g.ops.__setitem__(0, "sine"), "UNKNOWN_OP", node=1, op="sine", got="sine"),
    Wrong("an op that no node uses is unknown", lambda g: g.ops.append("frobnicate"), "UNKNOWN_OP", op="frobnicate"),
    Wrong("an op is not in the list", set_at("op", 1, 3), "MALFORMED", node=2, name="op", got="3", allowed="an index below 3"),
    # Operands.
    Wrong("an operand is missing", lambda g: main(g).CopyFrom(blobs.function([X], [(1, [0], 0)], [("", 1)])), "ARITY", 1, "multiply", got="1", allowed="2"),
    Wrong("an operand is too many", lambda g: main(g).CopyFrom(blobs.function([X], [(0, [0, 0], 0)], [("", 1)])), "ARITY", 1, "sin", got="2", allowed="1"),
    Wrong("a node names a later node", set_at("operand_node", 1, 3), "ORDER", 2, "multiply", got="3", allowed="0 to 1"),
    Wrong("a node names itself", set_at("operand_node", 1, 2), "ORDER", 2, "multiply", got="2", allowed="0 to 1"),
    Wrong("a node names one far behind the end", set_at("operand_node", 1, 2**32 - 1), "ORDER", 2, "multiply", got=str(2**32 - 1)),
    Wrong("the first node names itself", lambda g: main(g).CopyFrom(blobs.function([], [(0, [0], 0)], [("", 0)])), "ORDER", 0, "sin", got="0"),
    Wrong("an operand is a result that is not there", set_at("operand_result", 0, 1), "ARITY", 1, "sin", got="result 1 of node 0", allowed="0 to 0"),
    Wrong("dtypes of operands differ", inputs(("x", blobs.type_of(3, dtype=BOOL))), "DTYPE", 1, "sin", got="bool[3]"),
    Wrong(
        "shapes of operands differ",
        lambda g: main(g).CopyFrom(blobs.function([X, ("y", blobs.type_of(4))], [(1, [0, 1], 0)], [("", 2)])),
        "SHAPE",
        2,
        "multiply",
        got="float64[3] and float64[4]",
    ),
    # Columns.
    Wrong("a count of operands is missing", lambda g: main(g).operand_count.pop(), "MALFORMED", name="operand_count", got="2"),
    Wrong("an attribute index is missing", lambda g: main(g).attribute.pop(), "MALFORMED", name="attribute", got="2"),
    Wrong("an operand is missing in its column", lambda g: main(g).operand_node.pop(), "MALFORMED", name="operand_node", got="3"),
    Wrong("an operand too many in its column", lambda g: main(g).operand_node.append(0), "MALFORMED", name="operand_node", got="5"),
    Wrong("a result is missing in its column", lambda g: main(g).operand_result.pop(), "MALFORMED", name="operand_result", got="3"),
    Wrong("the counts of operands say more than there are", set_at("operand_count", 0, 2**32 - 1), "MALFORMED", name="operand_node", got="4"),
    Wrong("an output has no node", lambda g: main(g).output_node.pop(), "MALFORMED", name="output_node", got="0"),
    Wrong("an output has no result", lambda g: main(g).output_result.pop(), "MALFORMED", name="output_result", got="0"),
    # Attributes.
    Wrong("an attribute record is not there", set_at("attribute", 2, 2), "MALFORMED", 3, "sum", name="attribute", got="2", allowed="0 to 1"),
    Wrong("an attribute is missing", set_at("attribute", 2, 0), "ATTRIBUTE", 3, "sum", got="none", allowed="axes"),
    Wrong("an attribute is surplus", set_at("attribute", 0, 1), "ATTRIBUTE", 1, "sin", got="axes", allowed="none"),
    Wrong("an attribute is of another kind", axes(Value(integer=0)), "ATTRIBUTE", 3, "sum"),
    Wrong("an attribute has a value the op does not take", axes(Value(ints=graph_pb2.Ints(values=[1]))), "ATTRIBUTE", 3, "sum", got="(1,)"),
    Wrong("an attribute has no value", axes(Value()), "ATTRIBUTE", 3, "sum", name="axes"),
    Wrong("an attribute is of an unknown dtype", axes(Value(dtype=99)), "DTYPE", 3, "sum", name="axes", got="99"),  # type: ignore[arg-type]
    Wrong("an attribute is of no dtype", axes(Value(dtype=0)), "DTYPE", 3, "sum", name="axes", got="DATA_TYPE_UNSPECIFIED"),  # type: ignore[arg-type]
    Wrong("a record has a name more", lambda g: g.attributes[0].name.append("b"), "MALFORMED", 3, "sum"),
    Wrong("a record has a value more", lambda g: g.attributes[0].value.add(integer=1), "MALFORMED", 3, "sum"),
    Wrong("the name of an attribute is not one", lambda g: g.attributes[0].name.__setitem__(0, "a-b"), "MALFORMED", 3, "sum", name="a-b"),
    Wrong(
        "the names of a record are not sorted",
        lambda g: g.attributes[0].CopyFrom(graph_pb2.AttributeRecord(name=["b", "a"], value=[Value(), Value()])),
        "MALFORMED",
        3,
    ),
    Wrong(
        "a name of a record is there twice",
        lambda g: g.attributes[0].CopyFrom(graph_pb2.AttributeRecord(name=["a", "a"], value=[Value(), Value()])),
        "MALFORMED",
        3,
    ),
    Wrong("a record that no node uses has no value", lambda g: g.attributes.append(blobs.record(a=Value())), "ATTRIBUTE", name="a"),
    Wrong("a text is too long", axes(Value(text="é" * 129)), "TOO_LARGE"),
    # Results.
    Wrong("a result has 2**63 bytes", stretched(2**60), "SHAPE", 0, "constant", got="float64[1152921504606846976]"),
    Wrong("a result has 33 axes", stretched(*[1] * 33), "SHAPE", 0, "constant", got="33"),
    # Constants.
    Wrong("a constant is too large", constant(types_pb2.Array(dtype=1, shape=[129], data=bytes(1032))), "TOO_LARGE", name="max_constant_bytes", got="1032"),  # type: ignore[arg-type]
    Wrong("the bytes of a constant do not fill its shape", constant(types_pb2.Array(dtype=1, shape=[2], data=bytes(15))), "SHAPE", 0, "constant", name="value"),  # type: ignore[arg-type]
    Wrong("a length of a constant is negative", constant(types_pb2.Array(dtype=1, shape=[-1])), "SHAPE", 0, "constant", name="value"),  # type: ignore[arg-type]
    Wrong("a bool of a constant is neither 0 nor 1", constant(types_pb2.Array(dtype=5, shape=[2], data=b"\1\2")), "MALFORMED", 0, "constant", got="byte 2"),  # type: ignore[arg-type]
    # Inputs.
    Wrong("an input has no name", inputs(("", blobs.type_of(3))), "MALFORMED", 0, "input"),
    Wrong("an input has too long a name", inputs(("é" * 129, blobs.type_of(3))), "TOO_LARGE"),
    Wrong("two inputs have one name", inputs(X, ("y", blobs.type_of()), X), "MALFORMED", 2, "input", name="x"),
    Wrong("an input has no type", no_type, "MALFORMED", 0, "input", name="x"),
    Wrong("an input has no dtype", inputs(("x", types_pb2.Type())), "DTYPE", 0, "input", name="x", got="DATA_TYPE_UNSPECIFIED"),
    Wrong("an input is of a reserved dtype", inputs(("x", types_pb2.Type(dtype=6))), "DTYPE", 0, "input", name="x", got="6"),  # type: ignore[arg-type]
    Wrong("a length of an input is negative", inputs(("x", blobs.type_of(3, -1))), "SHAPE", 0, "input", name="x", got="(3, -1)"),
    Wrong("an input has 2**63 bytes", inputs(("x", blobs.type_of(2**30, 2**30))), "SHAPE", 0, "input", name="x"),
    Wrong("an input is empty but too long", inputs(("x", blobs.type_of(0, 2**62))), "SHAPE", 0, "input", name="x"),
    # Outputs.
    Wrong("there is no output", outputs(), "MALFORMED", name="output_name", got="0"),
    Wrong("two outputs have one name", outputs(("a", 1), ("a", 2)), "MALFORMED", name="a"),
    Wrong("one of several outputs has no name", outputs(("a", 1), ("", 2)), "MALFORMED", name="output_name"),
    Wrong("an output is a node that is not there", outputs(("a", 4)), "MALFORMED", name="a", got="4", allowed="an index below 4"),
    Wrong("an output is a result that is not there", set_at("output_result", 0, 1), "ARITY", got="result 1 of node 3", allowed="0 to 0"),
    Wrong("an output has too long a name", outputs(("a" * 257, 3)), "TOO_LARGE"),
    # Functions.
    Wrong("a function is named by itself", names(2), "ORDER", 2, "cond", got="2", allowed="0 to 1", base=blobs.branching),
    Wrong("a function that is not there is named", names(2**32 - 1), "ORDER", 2, "cond", got=str(2**32 - 1), base=blobs.branching),
    Wrong("a fault in a function names it", branch("operand_node", 5), "ORDER", 1, "exp", function=1, got="5", base=blobs.branching),
    Wrong("branches have other inputs than the operands", lambda g: g.functions[0].inputs[0].type.shape.append(2), "SHAPE", 2, "cond", base=blobs.branching),
    Wrong("branches yield different types", lambda g: g.functions[0].output_node.__setitem__(0, 7), "MALFORMED", function=0, got="7", base=blobs.branching),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.sentence)
def test_a_graph_is_refused_when(wrong: Wrong) -> None:
    message = wrong.base()
    decode_graph(message.SerializeToString())  # right before the change
    wrong.change(message)
    with pytest.raises(GraphError) as caught:
        decode_graph(message.SerializeToString())
    error = caught.value
    assert (error.reason, error.node, error.function) == (wrong.reason, wrong.node, wrong.function)
    assert error.op == wrong.op or not wrong.op
    assert error.name == wrong.name or not wrong.name
    assert wrong.got in (None, error.got) and wrong.allowed in (None, error.allowed)
    assert (error.__cause__ is None and error.__suppress_context__) or error.__context__ is None


def test_near_names_are_offered_for_an_unknown_op() -> None:
    message = blobs.small()
    message.ops[1] = "multipli"
    with pytest.raises(GraphError) as caught:
        decode_graph(message.SerializeToString())
    assert "multiply" in caught.value.allowed.split(", ")


def test_an_error_shows_the_nodes_round_the_fault() -> None:
    message = blobs.small()
    main(message).operand_node[1] = 3
    with pytest.raises(GraphError) as caught:
        decode_graph(message.SerializeToString())
    assert caught.value.window.splitlines() == [
        "  %0: float64[3] = input name='x'",
        "  %1: float64[3] = sin %0",
        "> %2: () = multiply %3 %0",
    ]


def test_a_wide_node_does_not_make_a_wide_error() -> None:
    message = blobs.small()
    wide = blobs.function([X], [(0, [0] * 500_000, 0)], [("", 1)])
    main(message).CopyFrom(wide)
    with pytest.raises(GraphError) as caught:
        decode_graph(message.SerializeToString())
    assert (caught.value.reason, len(caught.value.window) < 2001) == ("ARITY", True)


def test_an_empty_name_is_right_for_an_only_output() -> None:
    message = blobs.small()
    assert decode_graph(message.SerializeToString()).output_names == ("",)


def test_outputs_may_repeat_and_may_be_inputs() -> None:
    message = blobs.small()
    outputs(("a", 0), ("b", 3), ("c", 3))(message)
    assert [ref.node for ref in decode_graph(message.SerializeToString()).outputs] == [0, 3, 3]
