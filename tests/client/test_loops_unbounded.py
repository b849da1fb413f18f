"""Loops whose number of trips is data and has no bound, or a tape of a given size: against closed forms and adjoints by hand."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep import loops
from backsweep.nesting import gradient, hessian, hvp, jacobian, jvp
from backsweep.trace import trace
from backsweep.wire.graphs import decode_graph, encode_graph
from backsweep_engine.errors import GraphError, OverBudget
from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support.run import one

RNG = np.random.default_rng(2)


def decay(x: Any, r: Any) -> Any:
    """x r**n for the first n that makes it less than 1, and n."""
    return bs.while_loop(lambda c: abs(c[0]) >= 1.0, lambda c: (c[0] * r, c[1] + 1), (x, 0))


@pytest.mark.parametrize("r", [0.5, 0.99, 0.999])
def test_a_loop_without_a_bound_has_the_derivatives_of_the_trips_it_made(r: float) -> None:
    """7, 459 and 4,603 trips: x r**n differentiates as a power does while n stays."""
    x = 100.0
    last, n = decay(x, r)
    assert last == pytest.approx(x * r**n, rel=1e-10) and n == int(np.ceil(np.log(x) / -np.log(r)))

    def f(x: Any, r: Any) -> Any:
        return decay(x, r)[0]

    slopes = (r**n, n * x * r ** (n - 1))
    np.testing.assert_allclose(gradient(f, (0, 1))(x, r), slopes, rtol=1e-9)
    np.testing.assert_allclose(jvp(f, (0, 1))(x, r, tangent=(0.5, -2.0)), 0.5 * slopes[0] - 2.0 * slopes[1], rtol=1e-9)
    mixed = n * r ** (n - 1)
    wanted = (-2.0 * mixed, 0.5 * mixed - 2.0 * n * (n - 1) * x * r ** (n - 2))
    np.testing.assert_allclose(hvp(f, (0, 1))(x, r, tangent=(0.5, -2.0)), wanted, rtol=1e-8)


def test_a_jacobian_and_a_hessian_run_over_a_loop_without_a_bound() -> None:
    """Newton's iteration for the roots of c: c**0.5, all derivatives of it, reverse mode twice among them."""

    def roots(c: Any) -> Any:
        return bs.while_loop(lambda x: np.max(abs(x * x - c)) > 1e-13 * np.max(c), lambda x: 0.5 * (x + c / x), c)

    c = np.array([2.0, 7.0, 9.5])
    np.testing.assert_allclose(jacobian(roots)(c), np.diag(0.5 * c**-0.5), rtol=1e-10, atol=1e-15)
    v = np.array([1.0, -2.0, 0.5])
    np.testing.assert_allclose(hessian(lambda c: np.sum(v * roots(c)))(c), np.diag(-0.25 * v * c**-1.5), rtol=1e-7, atol=1e-12)
    twice = gradient(lambda c: np.sum(v * gradient(lambda c: np.sum(v * roots(c)))(c)))(c)
    np.testing.assert_allclose(twice, -0.25 * v * v * c**-1.5, rtol=1e-7)


def test_rows_of_a_vmap_end_by_themselves() -> None:
    r = np.array([0.5, 0.9, 0.2])
    n = np.array([decay(100.0, s)[1] for s in r])

    def f(r: Any) -> Any:
        last, trips = bs.vmap(lambda s: decay(100.0, s))(r)
        return np.sum(last) + 0.0 * np.sum(trips)

    np.testing.assert_allclose(gradient(f)(r), n * 100.0 * r ** (n - 1), rtol=1e-11)


@pytest.mark.parametrize("checkpoint", [None, "sqrt", 3, 10**6])
@pytest.mark.parametrize("max_trips", [None, 12])
def test_a_loop_to_a_traced_bound_takes_checkpoint(max_trips: int | None, checkpoint: Any) -> None:
    """prod of (x + i) for i from 2 to n - 1: the derivative is its sum of 1 / (x + i)."""

    def f(n: Any, x: Any) -> Any:
        return bs.fori_loop(2, n, lambda i, c: c * (x + i), x * 0 + 1.0, max_trips=max_trips, checkpoint=checkpoint)

    graph = trace(f, {"n": bs.int64, "x": bs.float64}).graph
    first, second = derive.gradient(graph, [1]), derive.hvp(graph, [1])
    for n in (0, 2, 3, 9, 14):
        at = 0.3 + np.arange(2, n)
        value, s1, s2 = np.prod(at), np.sum(1 / at), np.sum(1 / at**2)
        assert one(graph, n, 0.3) == pytest.approx(value, rel=1e-13)
        assert one(first, n, 0.3) == pytest.approx(value * s1, rel=1e-12)
        assert one(second, n, 0.3, 2.0) == pytest.approx(2.0 * value * (s1**2 - s2), rel=1e-11, abs=1e-12)
    if max_trips is not None:
        for derived in (graph, first):
            with pytest.raises(GraphError) as caught:
                one(derived, 15, 0.3)
            assert (caught.value.reason, caught.value.got, caught.value.allowed) == ("LOOP_CAP", "13 trips", "at most 12")


# What is kept.


def kept_by(graph: Graph) -> tuple[int, tuple[int, ...]]:
    (node,) = [node for node in graph.nodes if node.op == "while_loop"]
    return dict(node.attributes)["max_trips"], dict(node.attributes)["kept"]


def waning(n: int, **options: Any) -> Graph:
    """A square's sum, n numbers carried, until less than 1e-3 is left."""

    def f(x: Any, r: Any) -> Any:
        return np.sum(bs.while_loop(lambda c: np.sum(c * c) > 1e-3, lambda c: np.sin(c) * r, x, **options))

    return trace(f, {"x": bs.float64[n], "r": bs.float64}).graph


def test_the_tape_is_chosen_from_bytes_alone_and_stands_in_the_graph() -> None:
    """A cap of 100,000 trips is 317 carries twice, 47 thrice, 18 four times: the fewest levels within 64 MiB."""
    assert loops.MAX_TRIPS == 100_000 and loops.TAPE_BYTES == 64 << 20
    for n, kept in ((1, (317,)), (13_000, (317,)), (14_000, (47, 47)), (59_000, (47, 47)), (60_000, (18, 18, 18)), (10**7, (18, 18, 18))):
        assert kept_by(waning(n)) == (100_000, kept)
    assert kept_by(waning(5, max_trips=40)) == (40, ())
    assert kept_by(waning(5, max_trips=40, checkpoint="sqrt")) == (40, (7,))
    assert kept_by(waning(5, checkpoint=9)) == (100_000, (9,))


def test_the_promise_is_of_the_tape_not_of_the_trips_allowed_and_is_kept() -> None:
    n = 13_000
    graph = waning(n)
    carry = 8 * n
    forward, reverse = derive.jvp(graph, [0, 1]), derive.gradient(graph, [0, 1])
    assert layout(expand(forward)).peak_bytes < 20 * carry
    assert 2 * 317 * carry < layout(expand(reverse)).peak_bytes < 4.5 * 317 * carry
    x, r = RNG.normal(size=n), 0.98
    program = Program(reverse)
    tracemalloc.start()
    by_x, by_r = program.run([x, np.array(r)])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= layout(expand(reverse)).peak_bytes + 300_000
    carries = [x]
    while np.sum(carries[-1] ** 2) > 1e-3:
        carries.append(np.sin(carries[-1]) * r)
    assert len(carries) > 317  # more than one segment
    c, total = np.ones(n), 0.0
    for y in carries[-2::-1]:
        total, c = total + np.sum(c * np.sin(y)), c * np.cos(y) * r
    np.testing.assert_allclose(by_x, c, rtol=1e-10)
    assert by_r == pytest.approx(total, rel=1e-10)


def test_a_tape_over_the_budget_is_refused_before_any_work_with_what_to_do() -> None:
    with bs.local() as service:
        f = service.submit(lambda x: np.sum(bs.while_loop(lambda c: np.sum(c) > 1, lambda c: np.sin(c), x)), x=bs.float64[10**7])
        with pytest.raises(OverBudget) as caught:
            f.gradient(np.ones(10**7))
        assert caught.value.op == "scan" and "checkpoint=" in caught.value.hint and "max_trips=" in caught.value.hint


# Passing the cap.


def test_a_loop_that_does_not_end_within_the_cap_is_named_with_its_line_by_server_and_here(server: Any) -> None:
    def endless(x: Any) -> Any:
        return bs.while_loop(lambda c: c > 0, lambda c: c * 1.0, x) + 1.0

    with bs.connect(server.address) as remote, bs.local() as local:
        f, g = (service.submit(endless, x=bs.float64) for service in (remote, local))
        for ask in (f, g, g.gradient):
            with pytest.raises(GraphError) as caught:
                ask(1.0)
            error = caught.value
            assert (error.reason, error.op, error.got) == ("LOOP_CAP", "while_loop", "the condition still holds after 100000 trips")
            assert error.allowed == "at most 100000" and "max_trips=" in error.hint and "test_loops_unbounded.py" in error.source
    with pytest.raises(GraphError) as caught:
        endless(1.0)
    assert (caught.value.reason, caught.value.allowed) == ("LOOP_CAP", "at most 100000")


def test_what_is_kept_travels_and_local_and_remote_answers_are_the_same_bits(server: Any) -> None:
    def f(x: Any, n: Any) -> Any:
        y = bs.while_loop(lambda c: np.sum(c * c) > 1.0, lambda c: np.sin(c) * 0.9, x)
        return np.sum(bs.fori_loop(0, n, lambda i, c: np.sin(c + i) * x, y, checkpoint=3))

    graph = trace(f, {"x": bs.float64[3], "n": bs.int64}).graph
    for one_graph in (graph, derive.gradient(graph, [0]), derive.hvp(graph, [0])):
        assert decode_graph(encode_graph(one_graph)).fingerprint == one_graph.fingerprint
    x, v = RNG.normal(size=3) * 4, RNG.normal(size=3)
    with bs.connect(server.address) as remote, bs.local() as local:
        a, b = (service.submit(f, x=bs.float64[3], n=bs.int64) for service in (remote, local))
        for ask in (
            lambda f: f(x, 7),
            lambda f: f.gradient(x, 7),
            lambda f: f.hvp(x, 7, tangent=v),
            lambda f: f.hessian(x, 7),
            lambda f: f.jvp(x, 7, tangent=v),
        ):
            assert np.asarray(ask(a)).tobytes() == np.asarray(ask(b)).tobytes()  # type: ignore[no-untyped-call]
        assert bool(a.check(x, 7).right) and bool(b.check(x, 7).right)
