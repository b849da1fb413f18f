"""Compiled loops: what the NumPy tier computes, trip by trip; cancellable, bounded, and refused where they are large."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.trace import trace
from backsweep_engine.errors import Cancelled
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph, Ref
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, I64, build, scan, while_loop

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native import loop as loops
from backsweep_engine.execute.native.loop import compile_loop
from backsweep_engine.execute.native.small import compile_small

Array = np.ndarray[Any, Any]


def lotka(x: Any, y: Any, a: Any, b: Any) -> Any:
    """Runge and Kutta's fourth-order steps of the equations of Lotka and Volterra."""

    def slope(u: Any, v: Any) -> Any:
        return a * u - b * u * v, b * u * v - v

    def step(i: Any, s: Any) -> Any:
        h, (u, v) = 0.01, s
        k1 = slope(u, v)
        k2 = slope(u + h / 2 * k1[0], v + h / 2 * k1[1])
        k3 = slope(u + h / 2 * k2[0], v + h / 2 * k2[1])
        k4 = slope(u + h * k3[0], v + h * k3[1])
        return u + h / 6 * (k1[0] + 2 * k2[0] + 2 * k3[0] + k4[0]), v + h / 6 * (k1[1] + 2 * k2[1] + 2 * k3[1] + k4[1])

    u, v = bs.fori_loop(0, 60, step, (x, y))
    return u * u + v


def network(x: Any, A: Any) -> Any:
    """A state that is an array, through a small matrix."""
    return np.sum(bs.fori_loop(0, 40, lambda i, s: s + 0.05 * (np.tanh(A @ s) - s), x) ** 2)


def kalman(q: Any, y: Any) -> Any:
    """The log-likelihood of a filter for position and speed."""

    def step(carry: Any, seen: Any) -> Any:
        m, P, total = carry
        F = np.array([[1.0, 0.1], [0.0, 1.0]])
        m, P = F @ m, F @ P @ F.T + q * np.eye(2)
        s, r = P[0, 0] + 1, seen - m[0]
        return (m + P[:, 0] / s * r, P - np.outer(P[:, 0] / s, P[0]), total - (np.log(s) + r * r / s) / 2), r

    (_, _, total), _ = bs.scan(step, (np.zeros(2), np.eye(2), np.float64(0)), y)
    return total


def newton(x: Any) -> Any:
    return bs.while_loop(lambda y: np.abs(y * y - x) > 1e-12, lambda y: 0.5 * (y + x / y), x, max_trips=50)


def rows(w: Any, X: Any) -> Any:
    """Rows picked by the loop's index, from an array too large for registers."""
    return bs.fori_loop(0, 700, lambda i, s: np.tanh(s + X[i] @ w), np.float64(0))


def choice(x: Any) -> Any:
    return bs.fori_loop(0, 30, lambda i, s: bs.cond(s > 1, lambda v: v / 2, lambda v: v * 1.9 + 0.1, s), x)


def inner(x: Any) -> Any:
    return bs.fori_loop(0, 9, lambda i, s: bs.fori_loop(0, 5, lambda j, t: np.sin(t) + 0.1 * s, s), x)


LOOPS: dict[str, tuple[Callable[..., Any], dict[str, Any], tuple[str, ...]]] = {
    "Runge and Kutta": (lotka, {"x": 1.0, "y": 0.5, "a": 1.1, "b": 0.4}, ("x", "y", "a", "b")),
    "a network": (network, {"x": np.ones(4), "A": np.arange(16.0).reshape(4, 4) / 16 - 0.4}, ("x", "A")),
    "a filter": (kalman, {"q": 0.3, "y": np.sin(np.arange(50.0))}, ("q", "y")),
    "Newton's": (newton, {"x": 7.0}, ("x",)),
    "rows by index": (rows, {"w": np.array([0.2, -0.1, 0.4]), "X": np.cos(np.arange(2100.0)).reshape(700, 3)}, ("w",)),
    "a branch within": (choice, {"x": 0.4}, ("x",)),
    "a loop within": (inner, {"x": 0.4}, ("x",)),
    "checkpoints": (lambda x: bs.fori_loop(0, 30, lambda i, s: np.sin(s) * 1.1, x, checkpoint="sqrt"), {"x": 0.7}, ("x",)),
}


def traced(name: str) -> tuple[Graph, list[Array], list[int]]:
    f, values, wrt = LOOPS[name]
    graph = trace(f, {k: bs.float64[np.shape(v)] if np.shape(v) else bs.float64 for k, v in values.items()}).graph
    return graph, [np.asarray(values[n]) for n in graph.input_names], [graph.input_names.index(n) for n in wrt]


def every(graph: Graph) -> Graph:
    """The graph with all values as outputs."""
    refs = [Ref(i, r) for i, n in enumerate(graph.nodes) for r in range(len(n.types))]
    return Graph(graph.nodes, graph.arity, tuple(refs), tuple(map(str, range(len(refs)))))


def computed(code: Any, x: list[Array], types: Any) -> list[Array]:
    outputs = [np.full(t.shape, 7).astype(t.dtype) for t in types]
    assert code(x, outputs)
    return outputs


def close(got: list[Array], want: list[Array]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.dtype == w.dtype and g.shape == w.shape and g.flags.c_contiguous
        if w.dtype.kind == "f":
            np.testing.assert_allclose(g, w, rtol=1e-12, atol=1e-13 * np.max(np.abs(w), initial=1))
        else:
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("name", LOOPS)
def test_values_and_gradients_in_one_call_are_what_numpy_computes(name: str) -> None:
    graph, x, wrt = traced(name)
    for derived in (graph, derive.gradient(graph, wrt)):
        small = compile_small(derived)
        assert small is not None
        close(computed(small, x, derived.output_types), Program(derived).run(x))


@pytest.mark.parametrize("trips", [1, 7, 10**6])
@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_in_calls_of_any_length_is_what_numpy_computes(name: str, trips: int) -> None:
    graph, x, wrt = traced(name)
    graph = expand(derive.gradient(graph, wrt))
    values = dict(zip(every(graph).outputs, Program(every(graph)).run(x), strict=True))
    found = 0
    for i, node in enumerate(graph.nodes):
        compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
        if compiled is None:
            assert node.op not in ("scan", "while_loop")
            continue
        found += 1
        short = type(compiled)(**{k: getattr(compiled, k) for k in compiled.__dataclass_fields__} | {"trips": trips})
        close(computed(short, [values[r] for r in node.operands], node.types), [values[Ref(i, r)] for r in range(len(node.types))])
    assert found


def node_of(graph: Graph, op: str) -> Any:
    return next(n for n in graph.nodes if n.op == op)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("trips", [0, 3, 6])
def test_a_counted_scan_yields_zeros_after_its_last_trip(trips: int, reverse: bool) -> None:
    f = lambda n, x, v: scan(lambda c, a: (c * 0.5 + a, c), [x], [v], reverse=reverse, trips=n)
    graph = build(f, n=I64[()], x=F64[()], v=F64[6])
    x = [np.array(trips), np.array(0.3), np.arange(6.0)]
    want = Program(graph).run(x)
    small, node = compile_small(graph), node_of(graph, "scan")
    compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
    assert small is not None and compiled is not None
    close(computed(small, x, graph.output_types), want)
    close(computed(compiled, x, node.types), want)


def test_a_loop_past_its_bound_is_left_to_numpy_which_says_so() -> None:
    counted = build(lambda n, x: scan(lambda c: (c * 0.5,), [x], length=4, trips=n)[0], n=I64[()], x=F64[()])
    endless = build(lambda x: while_loop(lambda c: c < 0.5, lambda c: (c + 1,), [x], max_trips=9)[1], x=F64[()])
    for graph, x in ((counted, [np.array(5), np.array(1.0)]), (endless, [np.array(-99.0)])):
        small, node = compile_small(graph), next(n for n in graph.nodes if n.op in ("scan", "while_loop"))
        compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
        assert small is not None and compiled is not None
        assert not small(x, [np.empty(t.shape, t.dtype) for t in graph.output_types])
        assert not compiled(x, [np.empty(t.shape, t.dtype) for t in node.types])
    small = compile_small(endless)
    assert small is not None
    close(computed(small, [np.array(-8.5)], endless.output_types), [np.array(0.5)])


def test_a_while_loop_may_end_exactly_at_its_bound() -> None:
    graph = build(lambda x: while_loop(lambda c: c < 9, lambda c: (c + 1, c), [x], max_trips=9), x=F64[()])
    node = node_of(graph, "while_loop")
    compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
    assert compiled is not None
    close(computed(compiled, [np.array(0.0)], node.types)[1:], [np.array(9.0), np.arange(9.0)])


def test_stop_is_asked_between_calls() -> None:
    graph = build(lambda x: scan(lambda c: (np.sin(c) + 0.1,), [x], length=5_000_000)[0], x=F64[()])
    node = node_of(graph, "scan")
    compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
    assert compiled is not None and compiled.trips * 15 <= loops.CALL_WORK
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 3

    with pytest.raises(Cancelled):
        compiled([np.array(0.0)], [np.empty(())], stop)
    assert asked == 3


@pytest.mark.parametrize(
    "body",
    [lambda c: (c @ c.T * 1e-3,), lambda c: (np.linalg.svdvals(c[:2, :2])[0] + c,), lambda c: (c + 1,)],
    ids=["a large product", "an op without a rule", "much that is carried"],
)
def test_a_loop_that_is_not_small_dense_work_is_none(body: Callable[..., Any]) -> None:
    graph = build(lambda x: scan(body, [x], length=3)[0], x=F64[30, 30])
    node = node_of(graph, "scan")
    assert compile_loop(node, [graph.type_of(r) for r in node.operands]) is None


def test_a_loop_that_only_moves_elements_can_be_stopped_too() -> None:
    """It has no flops, but a call of all its trips would take minutes."""
    turned = lambda c: (c[::-1],)
    for f in (lambda x: scan(turned, [x], length=10**12)[0], lambda x: scan(lambda c: scan(turned, [c], length=10**6), [x], length=10**6)[0]):
        graph = build(f, x=F64[2])
        assert compile_small(graph) is None
        node = node_of(graph, "scan")
        compiled = compile_loop(node, [graph.type_of(r) for r in node.operands])
        assert compiled is not None
        with pytest.raises(Cancelled):
            compiled([np.zeros(2)], [np.zeros(2)], iter([False, True]).__next__)
