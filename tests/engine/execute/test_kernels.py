"""Kernels made ready have the bits of the op's own kernel."""

from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.kernels import SMALL_BYTES, kernel
from backsweep_engine.graph import Graph, Node
from backsweep_engine.ops.build import call
from backsweep_engine.ops.op import lookup
from support.cases import Case, every
from support.graphs import F64, apply, build

READY = ("slice", "reshape", "transpose", "broadcast", "pad", "matmul", "scale")


def last(graph: Graph) -> Node:
    return graph.nodes[-1]


def called(graph: Graph, operands: Any) -> Any:
    """What a program would put in the place of the result."""
    node = last(graph)
    run, positional = kernel(graph, node)
    if lookup(node.op).view:
        return run(*operands)
    out = np.full(node.types[0].shape, 7, node.types[0].dtype)
    run(*operands, out) if positional else run(*operands, out=out)
    return out


@pytest.mark.parametrize("case", [c for c in every() if c.op.name in READY], ids=str)
def test_a_kernel_made_ready_has_the_bits_of_the_op(case: Case) -> None:
    operands = case.draw()
    apply_op = case.op.apply
    assert apply_op is not None
    wanted = np.asarray(apply_op(*operands, **case.attributes))
    got = called(apply(case.op.name, case.types, case.attributes), operands)
    assert got.shape == wanted.shape and got.dtype == wanted.dtype and got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (), (5,), (1,)], ids=str)
def test_a_broadcast_by_strides_reads_what_is_there(shape: tuple[int, ...]) -> None:
    x = np.arange(float(np.prod(shape, dtype=int))).reshape(shape)
    graph = build(lambda x: call("broadcast", x, shape=(3, 5, 5)), x=F64[shape])
    np.testing.assert_array_equal(called(graph, [x]), np.broadcast_to(x, (3, 5, 5)))


def test_a_broadcast_of_what_is_not_contiguous() -> None:
    x = np.arange(12.0).reshape(3, 4).T
    graph = build(lambda x: call("broadcast", x, shape=(2, 4, 3)), x=F64[4, 3])
    np.testing.assert_array_equal(called(graph, [x]), np.broadcast_to(x, (2, 4, 3)))


@pytest.mark.parametrize("low,high", [((1, 2), (2, 1)), ((0, 3), (0, 0)), ((0, 0), (4, 0)), ((0, 0), (0, 0)), ((200, 0), (0, 200))], ids=str)
def test_a_large_padding_is_zero_all_round(low: tuple[int, int], high: tuple[int, int]) -> None:
    x = np.random.default_rng(0).normal(size=(100, 90))
    graph = build(lambda x: call("pad", x, low=low, high=high, interior=(0, 0)), x=F64[100, 90])
    np.testing.assert_array_equal(called(graph, [x]), np.pad(x, list(zip(low, high, strict=True))))


@pytest.mark.parametrize("n", [3, SMALL_BYTES // 8 + 1], ids=["few", "many"])
def test_scale_is_zero_where_the_tangent_is(n: int) -> None:
    p, t = np.ones(n), np.full(n, 2.0)
    p[:3], t[:3] = [np.inf, np.nan, 1e300], [0.0, 0.0, 1e300]
    graph = build(lambda p, t: call("scale", p, t), p=F64[n], t=F64[n])
    with np.errstate(all="ignore"):
        got = called(graph, [p, t])
    assert got[:2].tolist() == [0, 0] and got[2] == np.inf and set(got[3:].tolist()) <= {2.0}


def test_large_matrices_go_to_the_op_s_kernel() -> None:
    """Which takes any strides without a copy that no promise counts."""
    graph = build(lambda a, b: a @ b, a=F64[100, 100], b=F64[100, 100])
    assert kernel(graph, last(graph)) == (np.matmul, True)
