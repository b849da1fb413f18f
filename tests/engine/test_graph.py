"""Types, nodes, graphs and builders: what cannot be written, and what is the same."""

import pickle
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import MAX_NESTING, Builder, Graph, Node, Ref, Type, attributes_key
from backsweep_engine.ops.build import call, constant
from backsweep_engine.ops.op import emit, verify
from backsweep_engine.ops.term import Term
from support.graphs import BOOL, F32, F64, I64, build, cond, named
from support.run import run


@pytest.mark.parametrize("dtype", ["float16", "complex128", "uint8", "int8", "U3", "object", "datetime64[s]"])
def test_other_dtypes_are_no_type(dtype: str) -> None:
    with pytest.raises(GraphError) as caught:
        Type(np.dtype(dtype))
    assert caught.value.reason == "DTYPE"


def test_a_type_knows_its_sizes() -> None:
    assert (F32[2, 3].size, F32[2, 3].nbytes, F32[2, 3].rank, str(F32[2, 3])) == (6, 24, 2, "float32[2, 3]")
    assert (F64[()].size, F64[0, 5].nbytes, str(BOOL[()])) == (1, 0, "bool")
    assert F64[2**40, 2**40].nbytes == 2**83, "sizes do not wrap round"
    with pytest.raises(GraphError) as caught:
        F64[2, -1]
    assert caught.value.reason == "SHAPE"


def test_equal_nodes_are_one_and_attributes_are_told_apart_by_kind_and_bits() -> None:
    values: list[Any] = [True, 1, 1.0, 0, False, 0.0, -0.0, "1", (1,), np.dtype("int64"), np.array(1.0), np.array([1.0]), np.array(1), np.array(-0.0)]
    assert len({attributes_key([("a", v)]) for v in values}) == len(values)
    assert attributes_key([("a", np.float64("nan").item())]) == attributes_key([("a", float("nan"))])
    builder = Builder()
    x = builder.input("x", F64[2])
    assert emit(builder, "sin", [x], {}) == emit(builder, "sin", [x], {})
    ones = {constant(builder, v).ref for v in (0.0, -0.0, 0, False)}
    assert len(ones) == 4


def test_names_of_inputs_are_distinct() -> None:
    builder = Builder()
    builder.input("x", F64[2])
    with pytest.raises(GraphError, match="same name"):
        builder.input("x", F64[3])


def test_what_no_output_needs_is_dropped_and_every_input_stays_in_front() -> None:
    builder = Builder()
    x = Term(builder, builder.input("x", F64[2]))
    np.exp(x)
    y = np.sin(x)
    z = Term(builder, builder.input("z", F64[2]))  # an input may come late
    graph = builder.build([("a", (y * z).ref), ("b", z.ref)])
    assert [n.op for n in graph.nodes] == ["input", "input", "sin", "multiply"]
    assert graph.input_names == ("x", "z") and graph.output_names == ("a", "b")
    verify(graph)


def test_a_builder_is_closed_by_building() -> None:
    builder = Builder()
    x = Term(builder, builder.input("x", F64[2]))
    builder.build([("", x.ref)])
    with pytest.raises(GraphError, match="after its trace had ended"):
        np.sin(x)


def test_a_new_graph_s_nodes_are_their_own_origins_and_locations_follow_them() -> None:
    lines = iter(range(100))
    builder = Builder(locate=lambda: f"f.py:{next(lines)}")
    x = Term(builder, builder.input("x", F64[2]))
    np.cos(x)
    graph = builder.build([("", np.sin(x).ref)])
    assert [n.origin for n in graph.nodes] == [0, 1]
    assert builder.sources == ("f.py:0", "f.py:2")


def test_select_keeps_origins_inputs_and_only_what_is_needed() -> None:
    graph = build(lambda x, y: (np.sin(x), np.cos(y), x * y), x=F64[2], y=F64[2])
    part = graph.select([2, 0])
    assert part.output_names == ("2", "0") and part.arity == 2
    assert sorted(n.op for n in part.nodes[2:]) == ["multiply", "sin"]
    assert [graph.nodes[n.origin].op for n in part.nodes] == [n.op for n in part.nodes]
    assert graph.select([]).size == 0


def test_the_fingerprint_is_of_structure_names_and_constants() -> None:
    graphs = [
        build(lambda x: np.sin(x) * 2.0, x=F64[2]),
        build(lambda x: np.sin(x) * 2, x=F64[2]),
        build(lambda x: np.sin(x) * 3.0, x=F64[2]),
        build(lambda x: np.cos(x) * 2.0, x=F64[2]),
        build(lambda x: np.sin(x) * 2.0, x=F64[3]),
        build(lambda x: np.sin(x) * 2.0, x=F32[2]),
        build(lambda y: np.sin(y) * 2.0, y=F64[2]),
        build(lambda x: (np.sin(x) * 2.0,), x=F64[2]),
        build(lambda x: np.sin(x) + 0.0, x=F64[2]),
        build(lambda x: np.sin(x) + -0.0, x=F64[2]),
    ]
    # Beside a float64, 2 and 2.0 are the same constant.
    assert len({g.fingerprint for g in graphs}) == len(graphs) - 1
    assert build(lambda x: np.sin(x) * 2.0, x=F64[2]).fingerprint == graphs[0].fingerprint


def test_the_fingerprint_sees_into_graphs_held_and_does_not_see_origins() -> None:
    one, other = (build(lambda c, x, f=f: cond(c, f, np.sin, x), c=BOOL[()], x=F64[2]) for f in (np.cos, np.tan))
    assert one.fingerprint != other.fingerprint
    moved = Graph(tuple(n._replace(origin=9) for n in one.nodes), one.arity, one.outputs, one.output_names)
    assert moved.fingerprint == one.fingerprint


def test_a_graph_crosses_processes() -> None:
    graph = named("chosen")
    other = pickle.loads(pickle.dumps(graph))
    assert other.fingerprint == graph.fingerprint and other.nesting == 1
    np.testing.assert_array_equal(run(other, np.ones(6)), run(graph, np.ones(6)))
    assert pickle.loads(pickle.dumps(graph)).fingerprint == graph.fingerprint, "also after it has run"


def test_nesting_is_bounded() -> None:
    def deeper(levels: int) -> Graph:
        graph = build(lambda x: x, x=F64[()])
        for _ in range(levels):
            held = graph
            graph = build(lambda x: call("cond", x > 0, x, then=held, otherwise=held), x=F64[()])  # noqa: B023  # called at once
        return graph

    assert deeper(MAX_NESTING).nesting == MAX_NESTING
    with pytest.raises(GraphError, match="nested too deep") as caught:
        deeper(MAX_NESTING + 1)
    assert caught.value.reason == "TOO_LARGE"


def forged(*nodes: Node, arity: int = 1, outputs: tuple[Ref, ...] = (Ref(1),)) -> Graph:
    return Graph((Node("input", (), (("name", "x"),), (F64[2],), 0), *nodes), arity, outputs, ("",) * len(outputs))


def sine(*operands: Ref, type: Type = F64[2]) -> Node:
    return Node("sin", operands, (), (type,), 1)


FORGED: dict[str, tuple[Graph, str]] = {
    "a later node": (forged(sine(Ref(2)), sine(Ref(0))), "ORDER"),
    "itself": (forged(sine(Ref(1))), "ORDER"),
    "a negative node": (forged(sine(Ref(-1))), "ORDER"),
    "a result that is not there": (forged(sine(Ref(0, 1))), "ORDER"),
    "a negative result": (forged(sine(Ref(0, -1))), "ORDER"),
    "an output that is not there": (forged(sine(Ref(0)), outputs=(Ref(5),)), "ORDER"),
    "a negative output": (forged(sine(Ref(0)), outputs=(Ref(-1),)), "ORDER"),
    "a type that is not inferred": (forged(sine(Ref(0), type=F64[3])), "MALFORMED"),
    "an unknown op": (forged(Node("sine", (Ref(0),), (), (F64[2],), 1)), "UNKNOWN_OP"),
    "an input among the others": (forged(Node("input", (), (("name", "y"),), (F64[2],), 1)), "MALFORMED"),
    "no input where one is said to be": (forged(sine(Ref(0)), arity=2), "MALFORMED"),
    "a wrong number of operands": (forged(sine(Ref(0), Ref(0))), "ARITY"),
    "a wrong dtype": (forged(Node("logical_not", (Ref(0),), (), (BOOL[2],), 1)), "DTYPE"),
    "a wrong held graph": (
        forged(
            Node("constant", (), (("shape", ()), ("value", np.array(True))), (BOOL[()],), 1),
            Node("cond", (Ref(1), Ref(0)), (("otherwise", forged(sine(Ref(1)))), ("then", forged(sine(Ref(1))))), (F64[2],), 2),
            outputs=(Ref(2),),
        ),
        "ORDER",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_verify_finds_every_state_a_builder_cannot_make(name: str) -> None:
    graph, reason = FORGED[name]
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert caught.value.reason == reason


def test_integers_have_no_tangent_and_floats_do() -> None:
    assert [t.is_float for t in (F64[2], F32[2], I64[2], BOOL[2])] == [True, True, False, False]
