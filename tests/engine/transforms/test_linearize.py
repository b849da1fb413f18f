"""linearize: the value as it was, and beside it a tangent that is linear and right."""

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import REALS, Structured, Tangent, Transposes, lookup
from backsweep_engine.transforms.linearize import linearize
from backsweep_engine.transforms.transpose import reached
from support.differences import along
from support.draw import directions, draw
from support.graphs import BOOL, F32, F64, I64, SCALAR, build, named
from support.run import function, one, run


@pytest.mark.parametrize("name", SCALAR)
def test_the_first_outputs_are_the_values_and_the_next_their_tangents(name: str) -> None:
    graph = named(name)
    joint = linearize(graph, range(graph.arity))
    x, v = draw(graph.input_types, (REALS,), 1), directions(graph.input_types, 1)
    y, dy = run(joint, *x, *v)
    assert y == one(graph, *x)
    (wanted,) = along(function(graph), x, v)
    # Rounding of the differences (support/differences.py); values and slopes here are below 100.
    assert abs(dy - wanted) <= 1e-10 * max(1.0, abs(float(wanted)))


@pytest.mark.parametrize("name", SCALAR)
def test_the_linear_program_is_linear(name: str) -> None:
    graph = named(name)
    joint = linearize(graph, range(graph.arity)).select([1])
    x = draw(graph.input_types, (REALS,), 1)
    u, v = directions(graph.input_types, 1), directions(graph.input_types, 2)
    both = one(joint, *x, *[2 * np.asarray(a) - np.asarray(b) for a, b in zip(u, v, strict=True)])
    apart = 2 * one(joint, *x, *u) - one(joint, *x, *v)
    assert abs(both - apart) <= 1e-13 * max(1.0, abs(float(both)))  # a few dozen roundings of slopes near 1 to 100
    assert one(joint, *x, *[np.zeros(t.shape) for t in graph.input_types]) == 0


@pytest.mark.parametrize("name", SCALAR)
def test_every_node_a_tangent_reaches_is_linear_by_its_record(name: str) -> None:
    joint = linearize(named(name), [0])
    moved = reached(joint, range(named(name).arity, joint.arity))
    for node, linear in zip(joint.nodes[joint.arity :], moved[joint.arity :], strict=True):
        rule = lookup(node.op).derivative
        assert not linear or isinstance(rule, (Transposes, Structured)) or (isinstance(rule, Tangent) and rule.linear), node.op


def test_only_floating_outputs_have_tangents_and_they_follow_in_order() -> None:
    graph = build(lambda x: (x > 0, np.sin(x), x.astype(np.int64), x), x=F64[2])
    joint = linearize(graph, [0])
    assert joint.output_names == ("0", "1", "2", "3", "tangent.1", "tangent.3")
    x, t = np.array([0.5, -2]), np.array([1.0, 3])
    *_, first, second = run(joint, x, t)
    np.testing.assert_allclose(first, np.cos(x) * t, rtol=1e-15)  # one rounding each
    assert second.tolist() == t.tolist()


def test_an_output_the_inputs_do_not_reach_has_a_zero_tangent() -> None:
    joint = linearize(build(lambda x, y: (np.sin(y), x), x=F64[2], y=F64[3]), [0])
    assert run(joint, np.ones(2), np.ones(3), np.ones(2))[2].tolist() == [0, 0, 0]
    assert joint.nodes[joint.outputs[2].node].op == "constant", "a zero tangent is symbolic"


def test_what_no_tangent_reaches_costs_nothing() -> None:
    graph = build(lambda x, y: x * np.exp(np.sin(np.cos(y))), x=F64[2], y=F64[2])
    assert linearize(graph, [0]).size == graph.size + 1


def test_integers_on_the_way_stop_the_tangent() -> None:
    graph = build(lambda x: x.astype(np.int64).astype(np.float64) + np.sign(x) + (x > 0) * x, x=F64[2])
    assert run(linearize(graph, [0]), np.array([2.5, -1]), np.array([10.0, 10]))[1].tolist() == [10, 0]


def test_a_tangent_keeps_the_dtype_of_its_value() -> None:
    graph = build(lambda x: x.astype(np.float64) * 2, x=F32[2])
    joint = linearize(graph, [0])
    assert joint.input_types[1] == F32[2] and joint.output_types[1] == F64[2]
    assert run(joint, np.ones(2, np.float32), np.ones(2, np.float32))[1].tolist() == [2, 2]


@pytest.mark.parametrize("type", [I64[2], BOOL[2]], ids=str)
def test_an_input_without_tangents_is_refused_by_name(type: object) -> None:
    with pytest.raises(GraphError, match="'n' has no derivative") as caught:
        linearize(build(lambda n: n, n=type), [0])  # type: ignore[arg-type]
    assert caught.value.reason == "NOT_DIFFERENTIABLE" and caught.value.node == 0


def test_names_of_tangents_of_tangents_stay_distinct() -> None:
    graph = linearize(build(lambda x: np.sin(x), x=F64[()]), [0])
    twice = linearize(graph, [0, 1])
    assert len(set(twice.input_names)) == 4


def test_a_partial_that_is_infinite_meets_a_zero_tangent_as_zero() -> None:
    joint = linearize(build(lambda x: call("sqrt", x), x=F64[2]), [0])
    assert run(joint, np.array([0.0, 4]), np.array([0.0, 1]))[1].tolist() == [0, 0.25]
