"""Whole small graphs as one function: they must be what the NumPy tier computes, whatever the op."""

from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import TABLE
from backsweep_engine.transforms import derive
from support.draw import draw
from support.graphs import F32, F64, I64, SCALAR, apply, build, cond, named
from support.run import run

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native.small import FILLED, FINITE, MAX_LOOKED_AT, Small, compile_small

Array = np.ndarray[Any, Any]

EXAMPLES = [(name, k) for name, op in TABLE.items() for k in range(len(op.examples))]

COMPILED = 130
"""Ops of the table, at least, that must be compiled: a bound that falls when a rule is lost."""


def computed(small: Small, graph: Graph, x: list[Array]) -> list[Array]:
    outputs = [np.full(t.shape, 7).astype(t.dtype) for t in graph.output_types]
    assert small(x, outputs)
    return outputs


def agree(graph: Graph, x: list[Array], rtol: float) -> bool:
    """Whether the graph is compiled; if so its results are the NumPy tier's to `rtol` of their largest entry."""
    small = compile_small(graph)
    if small is None:
        return False
    got = computed(small, graph, x)
    for g, w in zip(got, run(graph, *x), strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape
        if w.dtype.kind == "f":
            scale = np.max(np.abs(w[np.isfinite(w)]), initial=0)
            np.testing.assert_allclose(g, w, rtol=rtol, atol=rtol * scale)
        else:
            np.testing.assert_array_equal(g, w)
    return True


def test_every_op_that_is_compiled_is_what_numpy_computes() -> None:
    compiled = set()
    for name, k in EXAMPLES:
        op = TABLE[name]
        example = op.examples[k]
        if name in ("reverse_only", "random"):
            continue
        graph = apply(name, example.types, example.attributes)
        x = draw(example.types, op.domain, 0)
        if agree(graph, x, 64 * np.finfo(float).eps):
            compiled.add(name)
    assert len(compiled) >= COMPILED, sorted(set(TABLE) - compiled)


@pytest.mark.parametrize("name", SCALAR)
def test_values_gradients_and_hvps_are_what_numpy_computes(name: str) -> None:
    graph = named(name)
    x = [a + 0.05 for a in draw(graph.input_types, (), 1)]  # off their symmetric grid, on which sums cancel
    assert agree(graph, x, 1e-14)
    assert agree(derive.gradient(graph, [0]), x, 1e-14)
    assert agree(derive.hvp(graph, [0]), [*x, x[0] / 2], 1e-13)


def test_arithmetic_has_numpys_bits() -> None:
    f = lambda x, y: (x * y - x / y + np.sqrt(np.abs(x)), np.where(x < y, x, -y), np.maximum(x, y)[::-1].reshape(2, 3).T)
    graph = build(f, x=F64[6], y=F64[6])
    x = [np.random.default_rng(k).normal(size=6) for k in (0, 1)]
    small = compile_small(graph)
    assert small is not None
    for got, want in zip(computed(small, graph, x), run(graph, *x), strict=True):
        np.testing.assert_array_equal(got, want)


def test_both_branches_of_a_cond_are_taken() -> None:
    graph = build(lambda x: cond(x[0] > 0, lambda v: (v * 2, np.exp(v)), lambda v: (v[::-1], v), x), x=F64[3])
    for sign in (1.0, -1.0):
        assert agree(graph, [sign * np.arange(1.0, 4.0)], 1e-15)


def test_an_index_out_of_range_reads_nothing_astray() -> None:
    graph = build(lambda x, i: (x[i], x.astype(np.int64)[i]), x=F64[4, 2], i=I64[3])
    x = np.arange(8.0).reshape(4, 2)
    for index in ([0, 3, 1], [-1, -4, 2], [4, -5, 10**18], [-(10**18), 0, 0]):
        assert agree(graph, [x, np.array(index)], 0)


def test_what_is_written_by_index_is_added_where_it_is_in_range() -> None:
    graph = derive.vjp(build(lambda x, i: x[i] * 2, x=F64[4, 2], i=I64[5]), [0])
    for index in ([0, 3, 1, 3, 3], [-1, -4, 2, 9, -9]):
        assert agree(graph, [np.arange(8.0).reshape(4, 2), np.array(index), np.arange(1.0, 11.0).reshape(5, 2)], 1e-15)


def test_arrays_too_large_to_take_apart_are_read_where_they_are() -> None:
    graph = build(lambda x, i: np.sum(x[i] * x[7, 1]) + np.sum(x[20:22]), x=F64[900, 3], i=I64[()])
    assert agree(graph, [np.random.default_rng(0).normal(size=(900, 3)), np.array(899)], 1e-14)


@pytest.mark.parametrize(
    "graph",
    [
        build(lambda x: np.sin(x) * 2, x=F64[5000]),
        build(lambda x: x @ x, x=F64[100, 100]),
        build(lambda x: np.linalg.svdvals(x), x=F64[3, 3]),
    ],
    ids=["many elements", "a large product", "an op without a rule"],
)
def test_what_is_not_small_is_none(graph: Graph) -> None:
    assert compile_small(graph) is None


def test_a_text_has_no_name_of_the_clients() -> None:
    """Integers name everything: a hostile input name changes nothing."""
    evil = '"; call void @system()'
    graph = build(lambda x: x * 2, **{evil: F64[2]})
    assert agree(graph, [np.ones(2)], 0)


def test_float32_stays_float32() -> None:
    graph = derive.gradient(build(lambda x: np.sum(np.tanh(x) * x), x=F32[7]), [0])
    assert agree(graph, [np.linspace(-2, 2, 7, dtype=np.float32)], 4 * float(np.finfo(np.float32).eps))


@pytest.mark.parametrize("size", [3, MAX_LOOKED_AT - 1, MAX_LOOKED_AT])
@pytest.mark.parametrize(("entry", "said"), [(0.25, FINITE), (-1.0, FILLED), (np.inf, FILLED), (np.nan, FILLED), (1e300, FINITE)])
def test_what_is_said_to_be_finite_is(size: int, entry: float, said: int) -> None:
    """Of one output and a scalar together; 1e300 twice: a sum that overflows says nothing of its terms."""
    graph = build(lambda x: (np.sqrt(x) * np.sqrt(x), np.sqrt(x[1])), x=F64[size])
    small = compile_small(graph)
    assert small is not None
    for at in range(size - 1):
        x = np.full(size, 2.0)
        x[at : at + 2] = entry
        outputs = [np.empty(size), np.empty(())]
        got = small([x], outputs)
        assert got == (said if size < MAX_LOOKED_AT else FILLED)
        assert (got == FINITE) <= all(np.isfinite(y).all() for y in outputs)
