"""Loops over arrays as code, against the body's own NumPy, trip by trip; and that they are what a plan runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops.build import call
from backsweep_engine.plan.memory import layout
from backsweep_engine.plan.plan import Tier
from backsweep_engine.plan.regions import FINE
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.graphs import BOOL, F32, F64, I64, build, scan, while_loop

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native.loop import compile_loop
from backsweep_engine.execute.native.machine import machine

Array = np.ndarray[Any, Any]
Body = Callable[..., Any]
RANDOM = np.random.default_rng(0)

LENGTH = 7


def recurrent(h: Any, c: Any, z: Any, U: Any) -> Any:
    """A long short-term memory, of a width that is no number of vectors."""
    n = len(h)
    z = z + h @ U
    gates = 1 / (1 + np.exp(-z[: 3 * n]))
    c = gates[:n] * c + gates[n : 2 * n] * np.tanh(z[3 * n :])
    h = gates[2 * n :] * np.tanh(c)
    return h, c, h, c


def filtered(m: Any, P: Any, seen: Any, A: Any, C: Any) -> Any:
    """The prediction and correction of many states by few observations that are seen one after the other."""
    m, P = A @ m + np.linspace(0, 1, len(m)), A @ P @ A.T + 1
    gain = P @ C / (C @ P @ C + 1)
    return m + gain * (seen - C @ m), P - np.outer(gain, C @ P), m


def attended(q: Any, K: Any, V: Any) -> Any:
    scores = K @ q
    e = np.exp(scores - np.max(scores))
    return q + (e / np.sum(e)) @ V, e


def picked(x: Any, on: Any, w: Any) -> Any:
    """Choices by bools, and what is computed in whole numbers."""
    y = np.where(on, x, np.where(x > 0.5, x * w, -x))
    return np.clip(y, -2, 2), (y > w).astype(np.int64) * 3, np.sum(on.astype(np.float64) * y)


def rearranged(X: Any, v: Any) -> Any:
    """Pieces, paddings, joins and turned arrays."""
    Y = np.concatenate([X[:, 5:], X[:, :5]], axis=1).T[::-1] * 0.5
    Z = np.pad(Y[2:-1], ((1, 2), (0, 0))) + Y.T + v[:, None]
    return np.concatenate([Z[1:], Z[:1] * 2]), np.stack([Z[0], Z[:, 0]]), Z.reshape(-1)[::3]


def summed(X: Any, w: Any) -> Any:
    Y = np.tanh(X) * w
    return Y - np.mean(Y, axis=1, keepdims=True), np.sum(Y, axis=0), np.max(Y), np.min(Y, axis=1), np.sum(Y[:, 3])


def stacked(X: Any, A: Any) -> Any:
    """Several matrices at once."""
    return np.tanh(np.matmul(X, A) * 0.1 + np.swapaxes(X, 1, 2)), np.matmul(np.swapaxes(A, 1, 2), X)


def counted_down(x: Any, n: Any, w: Any) -> Any:
    """A carry of another dtype, and one that stays."""
    return x * w + 0.1, n - 1, w * 1


def swapped(x: Any, y: Any, A: Any) -> Any:
    """What is carried changes places, and is stacked as it came."""
    return y, np.tanh(A @ x), x, y


N = 37

BODIES: dict[str, tuple[Body, list[Type], list[Type], list[Type]]] = {
    "a recurrent net": (recurrent, [F64[N], F64[N]], [F64[4 * N]], [F64[N, 4 * N]]),
    "a recurrent net in single precision": (recurrent, [F32[N], F32[N]], [F32[4 * N]], [F32[N, 4 * N]]),
    "a filter": (filtered, [F64[N], F64[N, N]], [F64[()]], [F64[N, N], F64[N]]),
    "attention": (attended, [F64[N]], [], [F64[101, N], F64[101, N]]),
    "choices": (picked, [F64[2000]], [BOOL[2000]], [F64[2000]]),
    "pieces": (rearranged, [F64[N, N]], [F64[N]], []),
    "sums": (summed, [F64[N, 60]], [], [F64[60]]),
    "stacks of products": (stacked, [F64[3, N, N]], [], [F64[3, N, N]]),
    "places that change": (swapped, [F64[N], F64[N]], [], [F64[N, N]]),
    "whole numbers": (counted_down, [F64[N, N], I64[5]], [], [F64[N, N]]),
}


def drawn(types: list[Type], length: int = 0) -> list[Array]:
    found = []
    for t in types:
        shape = (length, *t.shape) if length else t.shape
        values = RANDOM.normal(size=shape) * (0.1 if t.rank > 1 else 1)
        found.append(values > 0 if t.dtype.kind == "b" else (10 * values).astype(t.dtype) if t.dtype.kind == "i" else values.astype(t.dtype))
    return found


def by_hand(body: Body, carry: list[Array], xs: list[Array], stays: list[Array], reverse: bool, trips: int = LENGTH) -> list[Array]:
    """The loop in Python, on NumPy's arrays."""
    stacks: list[list[Array]] = [[] for _ in range(trips)]
    for t in reversed(range(trips)) if reverse else range(trips):
        y = [np.asarray(v) for v in body(*carry, *[x[t] for x in xs], *stays)]
        carry, stacks[t] = y[: len(carry)], y[len(carry) :]
    return [*carry, *[np.stack(s) for s in zip(*stacks, strict=True)]]


def graph_of(name: str, reverse: bool) -> Graph:
    body, carry, xs, stays = BODIES[name]
    types = [*carry, *[t.with_shape((LENGTH, *t.shape)) for t in xs], *stays]

    def f(*x: Any) -> Any:
        a, b = len(carry), len(carry) + len(xs)
        return scan(body, x[:a], x[a:b], x[b:], length=LENGTH, reverse=reverse)

    return expand(build(f, **{f"x{k}": t for k, t in enumerate(types)}))


def close(got: list[Array], want: list[Array]) -> None:
    for g, w in zip(got, want, strict=True):
        assert g.shape == w.shape
        if w.dtype.kind == "f":
            eps = np.finfo(w.dtype).eps
            np.testing.assert_allclose(g, w, rtol=4000 * eps, atol=4000 * eps * np.max(np.abs(w)))
        else:
            np.testing.assert_array_equal(g, w)


@pytest.mark.parametrize("reverse", [False, True], ids=["forward", "in reverse"])
@pytest.mark.parametrize("name", BODIES)
def test_a_loop_over_arrays_is_what_its_body_does_trip_by_trip(name: str, reverse: bool) -> None:
    body, carry, xs, stays = BODIES[name]
    graph = graph_of(name, reverse)
    node = graph.nodes[-1]
    types = [graph.type_of(r) for r in node.operands]
    assert compile_loop(node, types) is None, "this is a case for scalars"
    loop = compile_loop(node, types, arrays=True)
    assert loop is not None
    parts = drawn(carry), drawn(xs, LENGTH), drawn(stays)
    with np.errstate(all="ignore"):
        wanted = by_hand(body, *parts, reverse)
    for trips in (LENGTH, 1, 3):
        short = type(loop)(**{k: getattr(loop, k) for k in loop.__dataclass_fields__} | {"trips": trips})
        outputs = [np.full(t.shape, 7).astype(t.dtype) for t in node.types]
        assert short([x for part in parts for x in part], outputs)
        close(outputs, wanted)


@pytest.mark.parametrize("width", [128, 256])
@pytest.mark.parametrize("name", ["a recurrent net", "a filter", "sums"])
def test_narrower_vectors_do_as_well(name: str, width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    host = machine(width)
    if host is None or host.width != width:
        pytest.skip(f"this processor has no vectors of {width} bits")
    monkeypatch.setattr("backsweep_engine.execute.native.loop.machine", lambda: host)
    body, carry, xs, stays = BODIES[name]
    node = (graph := graph_of(name, False)).nodes[-1]
    loop = compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True)
    assert loop is not None
    parts = drawn(carry), drawn(xs, LENGTH), drawn(stays)
    outputs = [np.full(t.shape, 7).astype(t.dtype) for t in node.types]
    assert loop([x for part in parts for x in part], outputs)
    close(outputs, by_hand(body, *parts, False))


@pytest.mark.parametrize("name", [n for n, (_, carry, xs, stays) in BODIES.items() if all(t.is_float for t in (*carry, *xs, *stays))])
def test_programs_run_them_within_their_promise_and_as_the_other_tier_does(name: str) -> None:
    graph = graph_of(name, False)
    loss = expand(derive.gradient(_squared(graph), [0]))
    x = [a for part, length in zip(BODIES[name][1:], (0, LENGTH, 0), strict=True) for a in drawn(part, length)]
    for g in (graph, loss):
        native = Program(g, Tier.NATIVE, None)
        loops = list(native._loop_codes.values())
        assert loops and all(loops)
        close(native.run(x), Program(g).run(x))
    promised = layout(graph, False, FINE)
    held = max(unit.scratch[1] for unit in promised.units)
    node = graph.nodes[-1]
    loop = compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True)
    assert loop is not None and loop.scratch_bytes <= held


def _squared(graph: Graph) -> Graph:
    from backsweep_engine.ops.term import Term
    from backsweep_engine.transforms.rewrite import Rewrite

    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        rewrite.values.append(rewrite.copy(node, operands))
    outputs: list[Term] = [rewrite.values[ref.node][ref.result] for ref in graph.outputs]
    total: Any = 0
    for y in outputs:
        total = total + np.sum(y * y)
    return rewrite.builder.build([("", total.ref)])


def test_a_search_over_arrays_ends_where_its_condition_does() -> None:
    """Jacobi's method: x <- x - (A x - b) / diag A, until it hardly moves."""
    A = RANDOM.normal(size=(N, N)) / 40 + np.eye(N)
    b, d = RANDOM.normal(size=N), np.diag(A).copy()
    step = lambda x, A, b, d: (lambda r: (x - r / d, np.max(np.abs(r))))(A @ x - b)

    def f(x: Any, A: Any, b: Any, d: Any) -> Any:
        return while_loop(
            lambda x, moved, *_: moved > 1e-13, lambda x, moved, *stays: step(x, *stays), [x, call("sum", x * 0, axes=(0,)) + 1], [A, b, d], max_trips=200
        )

    graph = expand(build(f, x=F64[N], A=F64[N, N], b=F64[N], d=F64[N]))
    node = next(n for n in graph.nodes if n.op == "while_loop")
    loop = compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True)
    assert loop is not None and compile_loop(node, [graph.type_of(r) for r in node.operands]) is None
    outputs = [np.zeros(t.shape, t.dtype) for t in node.types]
    assert loop([np.zeros(N), np.array(1.0), A, b, d], outputs)
    x, moved, trips = np.zeros(N), 1.0, 0
    while moved > 1e-13:
        (x, moved), trips = step(x, A, b, d), trips + 1
    assert abs(int(outputs[0]) - trips) <= 1  # the last residual is rounding
    np.testing.assert_allclose(outputs[1], np.linalg.solve(A, b), rtol=1e-10, atol=1e-12)
    few = type(loop)(**{k: getattr(loop, k) for k in loop.__dataclass_fields__} | {"length": 5})
    assert not few([np.zeros(N), np.array(1.0), A, b, d], outputs), "it passes its bound"


@pytest.mark.parametrize("trips", [0, 3, LENGTH])
def test_a_counted_loop_yields_zeros_after_its_last_trip(trips: int) -> None:
    body = lambda x, A: (np.tanh(A @ x), x)
    graph = build(lambda n, x, A: scan(body, [x], [], [A], length=LENGTH, trips=n), n=I64[()], x=F64[N], A=F64[N, N])
    node = graph.nodes[-1]
    loop = compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True)
    assert loop is not None
    x, A = drawn([F64[N], F64[N, N]])
    outputs = [np.full(t.shape, 7.0) for t in node.types]
    assert loop([np.array(trips), x, A], outputs)
    wanted = np.zeros((LENGTH, N))
    for t in range(trips):
        wanted[t] = x
        x = np.tanh(A @ x)
    close(outputs, [x, wanted])


def test_stop_is_asked_between_calls() -> None:
    graph = build(lambda x, A: scan(lambda x, A: (np.tanh(A @ x),), [x], [], [A], length=10**6), x=F64[60], A=F64[60, 60])
    node = graph.nodes[-1]
    loop = compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True)
    assert loop is not None
    with pytest.raises(Cancelled):
        loop([np.zeros(60), np.zeros((60, 60))], [np.zeros(60)], iter([False, False, True]).__next__)


@pytest.mark.parametrize(
    "body",
    [lambda c: (np.linalg.inv(c),), lambda c: (c @ c * 1e-3,), lambda c: scan(lambda d: (d * 0.5,), [c], length=2)],
    ids=["an op without a rule", "a product for BLAS", "a loop within"],
)
def test_what_has_no_rule_is_left_to_numpy(body: Body) -> None:
    graph = expand(build(lambda x: scan(body, [x], length=3)[0], x=F64[120, 120]))
    node = next(n for n in graph.nodes if n.op == "scan")
    assert compile_loop(node, [graph.type_of(r) for r in node.operands], arrays=True) is None
