"""Region kernels: NumPy's tier is what they must agree with, to rounding; arithmetic to the bit.

Sums are judged against exact ones (math.fsum), with the bound the module states.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled
from backsweep_engine.graph import Graph
from backsweep_engine.ops.build import call
from support.graphs import BOOL, F32, F64, I32, I64, build
from support.run import run

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native.region import compile_region
from backsweep_engine.execute.native.sums import BLOCK

Array = np.ndarray[Any, Any]


def pad(x: Any, low: int, high: int) -> Any:
    lead = (0,) * (x.ndim - 1)
    return call("pad", x, low=(*lead, low), high=(*lead, high), interior=(0,) * x.ndim)


def slope(x: Any) -> Any:
    """Rosenbrock's gradient, as it is derived: slices and paddings."""
    t = x[1:] - x[:-1] * x[:-1]
    return pad(-400 * x[:-1] * t - 2 * (1 - x[:-1]), 0, 1) + pad(200 * t, 1, 0)


REGIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "one row": (lambda x: np.tanh(x) * x + 1, {"x": F64[1003]}),
    "a short row": (lambda x: -x, {"x": F64[3]}),
    "one element": (lambda x: x * 2, {"x": F64[1, 1]}),
    "axes that join": (lambda x, y: x * y, {"x": F64[7, 11, 5], "y": F64[7, 11, 5]}),
    "a row for all rows": (lambda x, b: np.exp(x + b), {"x": F64[37, 13], "b": F64[13]}),
    "a column for all columns": (lambda x, b: np.exp(b) * x, {"x": F64[37, 13], "b": F64[37, 1]}),
    "rows and columns": (lambda a, b: a + b, {"a": F64[9, 1], "b": F64[1, 21]}),
    "a scalar": (lambda x, s: x * np.exp(s) + s, {"x": F64[50], "s": F64[()]}),
    "an axis of one": (lambda x, b: x - b, {"x": F64[6, 1, 9], "b": F64[6, 1, 1]}),
    "three outer axes": (lambda x, m, s: np.where(m, x * s, 0.0), {"x": F64[3, 4, 5, 9], "m": BOOL[5, 9], "s": F64[3, 1, 5, 1]}),
    "constants": (lambda x: x * np.array([1.0, 2, 3]) + 0.5, {"x": F64[10, 3]}),
    "several outputs": (lambda x: (np.sin(x), np.cos(x), x > 0), {"x": F64[77]}),
    "an input and a repeated output": (lambda x: (x, np.sin(x), np.sin(x)), {"x": F64[40]}),
    "float32": (lambda x, y: np.where(x < y, x / y, np.float32(2) * np.exp(y)), {"x": F32[100], "y": F32[100]}),
    "both floats": (lambda x, y: (x.astype(np.float64) * y, (x * 2).astype(np.float64)), {"x": F32[100], "y": F64[100]}),
    "integers": (lambda i, j: (i + j * 3, i > j, i.astype(np.float64)), {"i": I64[31], "j": I64[31]}),
    "narrow integers": (lambda i: (i * 2, i.astype(np.float64) / 3, i.astype(np.int64)), {"i": I32[31]}),
    "bools": (lambda p, q: (p & q, p | ~q, p.astype(np.float64)), {"p": BOOL[31], "q": BOOL[31]}),
    "shifted": (lambda x: x[1:] - x[:-1], {"x": F64[101]}),
    "shifted far": (lambda x: (x[40:] * x[:-40], np.sin(x)), {"x": F64[101]}),
    "shifted in rows": (lambda x: x[:, 2:] - 2 * x[:, 1:-1] + x[:, :-2], {"x": F64[8, 50]}),
    "padded": (slope, {"x": F64[100]}),
    "padded and short": (slope, {"x": F64[3]}),
    "a padded scalar": (lambda x, s: x * pad(np.broadcast_to(s, (20,)), 3, 7), {"x": F64[30], "s": F64[()]}),
    "a scalar over less than the row": (lambda x, s: (x[1:] * 2, np.broadcast_to(s, (20,)), pad(np.broadcast_to(s, (5,)), 0, 2)), {"x": F64[30], "s": F64[()]}),
    "shifted rows and a column": (lambda x, b: (x[:, 1:] + b) * pad(x[:, :-2], 1, 0), {"x": F64[5, 40], "b": F64[5, 1]}),
}

REDUCTIONS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "of all": (lambda x: np.sum(np.sin(x)), {"x": F64[10_007]}),
    "cheap, of all": (lambda x: np.sum(x * x), {"x": F64[100_003]}),
    "of rows": (lambda x: np.sum(x * x, axis=1), {"x": F64[37, 130]}),
    "of short rows": (lambda x, b: np.sum(x * b, axis=1), {"x": F64[37, 3], "b": F64[3]}),
    "of columns": (lambda x, b: np.sum(x * b, axis=0), {"x": F64[37, 13], "b": F64[37, 1]}),
    "of outer axes": (lambda x, b: np.sum(x * b, axis=(0, 2)), {"x": F64[5, 7, 9], "b": F64[7, 1]}),
    "of the middle": (lambda x: np.sum(x, axis=1), {"x": F64[5, 7, 9]}),
    "of many short rows": (lambda x, b: np.sum(x + b), {"x": F64[3000, 5], "b": F64[5]}),
    "float32": (lambda x: np.sum(x * x), {"x": F32[30_011]}),
    "of integers": (lambda i: np.sum(i * i), {"i": I64[1001]}),
    "extremes": (lambda x: (np.max(np.sin(x)), np.min(x, axis=0), np.max(x, axis=1)), {"x": F64[37, 13]}),
    "extremes of integers": (lambda i: (np.max(i), np.min(i, axis=0)), {"i": I32[7, 33]}),
    "beside values": (lambda x: (np.sum(x[1:] * x[:-1]), np.exp(x), np.max(x[1:])), {"x": F64[1001]}),
    "of a stretched scalar": (lambda x, s: (np.sum(x[1:]), np.sum(np.broadcast_to(s, (20,)))), {"x": F64[300], "s": F64[()]}),
    "of shifted rows": (lambda x: np.sum(np.abs(x[:, 1:] - x[:, :-1]), axis=1), {"x": F64[6, 55]}),
}

FUNCTIONS = ("sin", "cos", "exp", "tanh")


def inputs(graph: Graph, seed: int = 0) -> list[Array]:
    random = np.random.default_rng(seed)
    return [(random.integers(-9, 9, t.shape) > 0 if t.dtype.kind == "b" else random.normal(size=t.shape) * 5).astype(t.dtype) for t in graph.input_types]


def computed(graph: Graph, x: list[Array], width: int = 0) -> list[Array]:
    kernel = compile_region(graph, width)
    assert kernel is not None
    outputs = [np.full(t.shape, 7).astype(t.dtype) for t in graph.output_types]
    kernel(x, outputs)
    return outputs


@pytest.mark.parametrize("width", [512, 128])
@pytest.mark.parametrize("name", REGIONS)
def test_a_region_is_what_numpy_computes(name: str, width: int) -> None:
    f, types = REGIONS[name]
    graph = build(f, **types)
    x = inputs(graph)
    for got, want in zip(computed(graph, x, width), run(graph, *x), strict=True):
        if any(n.op in FUNCTIONS for n in graph.nodes):
            np.testing.assert_allclose(got, want, rtol=8 * np.finfo(want.dtype).eps if want.dtype.kind == "f" else 0)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("width", [512, 128])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_a_reduction_is_what_numpy_computes(name: str, width: int) -> None:
    f, types = REDUCTIONS[name]
    graph = build(f, **types)
    x = inputs(graph)
    for got, want in zip(computed(graph, x, width), run(graph, *x), strict=True):
        if want.dtype.kind == "f":
            # A sum of n terms of order 25 at most: NumPy's and ours are each within their bounds of the exact one.
            n = max(t.size for t in graph.input_types)
            np.testing.assert_allclose(got, want, rtol=8 * np.finfo(want.dtype).eps, atol=25 * math.sqrt(n) * 20 * np.finfo(want.dtype).eps)
        else:
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("n", [1, 7, 1000, 1_000_003])
@pytest.mark.parametrize("width, lanes", [(512, 8), (128, 2)])
def test_a_sum_is_within_its_stated_bound_of_the_exact_one(n: int, width: int, lanes: int) -> None:
    graph = build(lambda x: np.sum(x * 1.0), x=F64[1, n])
    x = np.random.default_rng(n).normal(size=(1, n)) * np.exp(np.random.default_rng(1).normal(size=(1, n)) * 5)
    (got,) = computed(graph, [x], width)
    bound = (BLOCK + n / (BLOCK * lanes) + 8) * np.finfo(float).eps * math.fsum(np.abs(x[0]))
    assert abs(float(got) - math.fsum(x[0])) <= bound


def test_an_element_has_the_same_bits_wherever_it_stands() -> None:
    """Vectors and the masked ends use one code."""
    f = lambda x: np.exp(np.sin(x)) / (1 + np.tanh(x))
    x = np.random.default_rng(0).normal(size=100)
    (whole,) = computed(build(f, x=F64[100]), [x])
    for n in (1, 5, 8, 13, 99):
        (part,) = computed(build(f, x=F64[n]), [x[:n].copy()])
        np.testing.assert_array_equal(part, whole[:n])


def test_nan_and_infinity_pass_through_reductions() -> None:
    graph = build(lambda x: (np.sum(x, axis=1), np.max(x, axis=1), np.min(x, axis=1)), x=F64[4, 30])
    x = np.zeros((4, 30))
    x[0, 17], x[1, 3], x[2, 29], x[3, [0, 1]] = np.nan, np.inf, -np.inf, [np.inf, -np.inf]
    for got, want in zip(computed(graph, [x]), run(graph, x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_a_sum_of_minus_zeros_is_as_numpys() -> None:
    graph = build(lambda x: np.sum(x, axis=1), x=F64[2, 20])
    x = np.full((2, 20), -0.0)
    assert not np.signbit(run(graph, x)[0] + 0).any()
    np.testing.assert_array_equal(computed(graph, [x])[0], [0, 0])


def test_inputs_that_lie_in_rows_of_a_larger_array_are_read_there() -> None:
    graph = build(lambda x, y, z: (x * y + z, np.sum(x - z, 0)), x=F64[37, 29], y=F64[37, 29], z=F64[37, 1])
    around = [np.random.default_rng(k).normal(size=(40, 60)) for k in range(2)]
    x, y, z = around[0][1:38, 3:32], around[1][3:40, 31:60], around[1][::1, 7:8][:37]
    kernel = compile_region(graph, given=[x.strides, y.strides, z.strides])
    assert kernel is not None
    outputs = [np.empty((37, 29)), np.empty(29)]
    kernel.apart([x, y, z], outputs)
    np.testing.assert_allclose(outputs[0], x * y + z, rtol=1e-15)
    np.testing.assert_allclose(outputs[1], np.sum(x - z, 0), rtol=1e-13, atol=1e-13)
    assert compile_region(graph, given=[x.T.copy().T.strides, y.strides, z.strides]) is None, "walked in strides"


def test_inputs_may_overlap_outputs_and_need_not_be_contiguous() -> None:
    double = compile_region(build(lambda x: x * 2 + 1, x=F64[64]))
    shifted = compile_region(build(lambda x: x[1:] - x[:-1], x=F64[65]))
    assert double is not None and shifted is not None
    x = np.arange(65.0)
    y = x[:64].copy()
    double([y], [y])
    np.testing.assert_array_equal(y, x[:64] * 2 + 1)
    y = x.copy()
    double([y[:64]], [y[1:]])
    np.testing.assert_array_equal(y[1:], x[:64] * 2 + 1)
    y = x * x
    shifted([y], [y[:64]])
    np.testing.assert_array_equal(y[:64], np.diff(x * x))
    wide, out = np.arange(128.0), np.empty(64)
    double([wide[::2]], [out])
    np.testing.assert_array_equal(out, wide[::2] * 2 + 1)
    raw = np.zeros(64 * 8 + 1, np.uint8)
    odd = raw[1:].view(np.float64)
    odd[:] = x[:64]
    double([odd], [out])
    np.testing.assert_array_equal(out, x[:64] * 2 + 1)


def test_nothing_is_written_beside_the_outputs() -> None:
    for n in (1, 5, 8, 31):
        kernel = compile_region(build(lambda x: (np.exp(x), x > 0, np.sum(x, axis=0)), x=F64[2, n]))
        assert kernel is not None
        room = [np.full((4, n), 9.0), np.full((4, n), True), np.full((3, n), 9.0)]
        kernel([np.ones((2, n))], [room[0][1:3], room[1][1:3], room[2][1]])
        assert (room[0][[0, 3]] == 9).all() and room[1].all() and (room[2][[0, 2]] == 9).all()


def test_stop_is_asked_between_calls_of_bounded_work() -> None:
    graph = build(lambda x: np.sum(np.sin(np.exp(np.tanh(x)))), x=F64[2_000_000])
    kernel = compile_region(graph)
    assert kernel is not None
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 4

    with pytest.raises(Cancelled):
        kernel([np.ones(2_000_000)], [np.empty(())], stop)
    assert asked == 4 < len(kernel.calls)


REFUSED: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "a product of matrices": (lambda x: x @ x, {"x": F64[4, 4]}),
    "work after a sum": (lambda x: x / np.sum(x), {"x": F64[4]}),
    "a scalar": (lambda x: x * 2, {"x": F64[()]}),
    "nothing": (lambda x: x * 2, {"x": F64[0]}),
    "a transpose": (lambda x: x.T * 2, {"x": F64[4, 3]}),
    "every second element": (lambda x: x[::2] * 2, {"x": F64[8]}),
    "a slice across rows": (lambda x: x[1:] * 2, {"x": F64[8, 3]}),
    "an output smaller than the rest": (lambda x, b: (x + b, b * 2), {"x": F64[8, 3], "b": F64[3]}),
    "an op without a rule": (lambda x: call("gammaln", x), {"x": F64[8]}),
    "a loop": (lambda x: call("softmax", x, axes=(0,)), {"x": F64[8]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_region_is_none(name: str) -> None:
    f, types = REFUSED[name]
    assert compile_region(build(f, **types)) is None
