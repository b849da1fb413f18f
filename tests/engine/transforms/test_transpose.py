"""transpose: for a graph y = A t, the graph c -> c A."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Fault
from backsweep_engine.graph import Graph
from backsweep_engine.ops.build import call, lift
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms.transpose import reached, transpose
from support.graphs import F64, build, cond
from support.run import Array, one, run

W = np.arange(12.0).reshape(3, 4) - 5


def held(t: Term, value: Any) -> Term:
    return lift(np.asarray(value), t.builder)


LINEAR: dict[str, Callable[..., Any]] = {
    "matmul": lambda t: W @ t,
    "matmul from the right": lambda t: t @ W.T,
    "fan-out": lambda t: t[1:] * 2 - t[:-1] + np.sum(t),
    "moves": lambda t: np.concatenate([t[::-1], t[::2]]).reshape(2, 3).T,
    "broadcast": lambda t: np.broadcast_to(t[:, None], (4, 2)) * np.arange(8.0).reshape(4, 2),
    "gather": lambda t: t[np.array([0, 0, 3, -1])],
    "scatter": lambda t: call("put_add", t, held(t, [0, 2, 2, 1]), axis=0, size=3),
    "select": lambda t: np.where(np.array([True, False, True, True]), t, -3 * t[0]),
    "scale": lambda t: call("scale", held(t, [2.0, 0, -1, 3]), t),
    "stack": lambda t: np.stack([t, t * 0.5, 2.0 * t[::-1]], axis=1),
    "unused": lambda t: np.ones(3),
    "identity": lambda t: t,
    "cond taken": lambda t: cond(held(t, True), lambda v: 2 * v, lambda v: v[::-1], t),
    "cond not taken": lambda t: cond(held(t, False), lambda v: 2 * v, lambda v: v[::-1] + 0 * v, t),
    "nested cond": lambda t: cond(held(t, True), lambda v: cond(held(v, False), lambda u: u, lambda u: 3 * u[::-1], v), lambda v: v, t),
}


def matrix(graph: Graph, n: int) -> Array:
    """Column k is the (concatenated, raveled) answer to unit vector k."""
    columns = [np.concatenate([y.ravel() for y in run(graph, row)]) for row in np.eye(n)]
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("name", LINEAR)
def test_the_transpose_s_matrix_is_the_transposed_matrix(name: str) -> None:
    f = LINEAR[name]
    graph = build(f, t=F64[4])
    flipped = transpose(graph, [0], [0])
    flipped = flipped.select([len(flipped.outputs) - 1])
    (type,) = flipped.input_types
    backwards = np.stack([one(flipped, row.reshape(type.shape)) for row in np.eye(type.size)], axis=1)
    affine = np.concatenate([y.ravel() for y in run(graph, np.zeros(4))])[:, None]  # "unused" yields its constant
    assert backwards.tolist() == (matrix(graph, 4) - affine).T.tolist()


@pytest.mark.parametrize("name", [n for n in LINEAR if n != "unused"])
def test_transposing_twice_gives_the_same_map(name: str) -> None:
    graph = build(LINEAR[name], t=F64[4])
    twice = transpose(transpose(graph, [0], [0]), [0], [0])
    t = np.array([1.0, -2, 3, 5])
    assert one(twice, t).tolist() == one(graph, t).tolist()


def test_other_inputs_come_first_and_outputs_they_alone_make_are_kept() -> None:
    graph = build(lambda a, t, b: (np.sin(a), a * t, b[:2] * t + t), a=F64[2], t=F64[2], b=F64[3])
    flipped = transpose(graph, [1], [1, 2])
    assert flipped.input_names == ("a", "b", "cotangent.1", "cotangent.2")
    assert flipped.output_names == ("0", "t")
    a, b, c, d = np.array([1.0, 2]), np.array([3.0, 4, 5]), np.array([1.0, 10]), np.array([1.0, 1])
    value, ct = run(flipped, a, b, c, d)
    assert value.tolist() == np.sin(a).tolist()
    assert ct.tolist() == (a * c + b[:2] * d + d).tolist()


def test_a_value_used_several_times_or_put_out_twice_gathers_all_its_cotangents() -> None:
    graph = build(lambda t: (t, t, t + t), t=F64[2])
    one_, two, three = np.array([1.0, 2]), np.array([10.0, 20]), np.array([100.0, 200])
    assert one(transpose(graph, [0], [0, 1, 2]), one_, two, three).tolist() == [211, 422]


def test_an_input_that_reaches_no_output_gets_zeros_of_its_type() -> None:
    graph = build(lambda t, u: 2 * t, t=F64[2], u=F64[3, 1])
    assert run(transpose(graph, [0, 1], [0]), np.ones(2))[1].tolist() == [[0], [0], [0]]


def test_reached_marks_what_depends_on_the_inputs_and_nothing_else() -> None:
    graph = build(lambda a, t: np.sin(a) * t, a=F64[2], t=F64[2])
    assert reached(graph, [1]) == [False, True, False, True]


@pytest.mark.parametrize("f", [np.sin, lambda t: t * t, lambda t: np.ones(2) / t, lambda t: call("scale", t, t)], ids=["sin", "t * t", "1 / t", "scale"])
def test_what_is_not_linear_is_our_fault_and_names_the_op(f: Callable[..., Any]) -> None:
    graph = build(f, t=F64[2])
    with pytest.raises(Fault) as caught:
        transpose(graph, [0], [0])
    assert caught.value.op == graph.nodes[-1].op and caught.value.reason == "INTERNAL"
