"""A call asked again: by what the first one found, with the bits, the errors and the ownership of the first."""

from __future__ import annotations

import pickle
import subprocess
import sys
import textwrap
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep.inprocess import MOST_DONE
from backsweep_engine.execute import hot

X, Y, A = np.array([1.0, -2.0, 0.5]), np.array([0.25, 3.0, -1.0]), np.array([1.0, 2.0, 3.0])
AGAIN = 40
"""Calls after which a plan has become hot, where it can."""


@pytest.fixture(scope="module")
def service() -> Iterator[bs.Service]:
    with bs.local() as service:
        yield service


def quartic(x: Any, y: Any, a: Any) -> Any:
    return np.sum(a * x**4 * y)


@pytest.fixture(scope="module")
def f(service: bs.Service) -> bs.Function:
    return service.submit(quartic, x=bs.float64[3], y=bs.float64[3], a=A)


Asking = Callable[[bs.Function, Any, Any], Any]

G, D = 4 * A * X**3 * Y, 12 * A * X**2 * Y
VERBS: dict[str, tuple[Asking, Any]] = {
    "value": (lambda f, x, y: f(x, y), A @ (X**4 * Y)),
    "gradient": (lambda f, x, y: f.gradient(x, y, wrt="x"), G),
    "gradient by both": (lambda f, x, y: np.concatenate(f.gradient(x, y)), np.concatenate([G, A * X**4])),
    "value and gradient": (lambda f, x, y: f.value_and_gradient(x, y, wrt="x")[1], G),
    "jvp": (lambda f, x, y: f.jvp(x, y, tangent=A, wrt="x"), G @ A),
    "vjp": (lambda f, x, y: f.vjp(x, y, cotangent=2.0, wrt="x"), 2 * G),
    "hvp": (lambda f, x, y: f.hvp(x, y, tangent=A, wrt="x"), D * A),
    "many hvps": (lambda f, x, y: f.hvp(x, y, tangent=np.eye(3), wrt="x"), np.diag(D)),
    "ask": (lambda f, x, y: np.stack(f.ask(x, y, bs.gradient(wrt="x"), bs.hvp(A, wrt="x"))), np.stack([G, D * A])),
    "jacobian": (lambda f, x, y: f.jacobian(x, y, wrt="x"), G),
    "hessian": (lambda f, x, y: f.hessian(x, y, wrt="x"), np.diag(D)),
}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_asked_again_and_again_gives_its_closed_form(f: bs.Function, verb: str) -> None:
    ask, wanted = VERBS[verb]
    for _ in range(AGAIN):
        np.testing.assert_allclose(ask(f, X, Y), wanted, rtol=1e-14, atol=1e-14)  # a few roundings of numbers near 100


@pytest.mark.parametrize("verb", VERBS)
def test_what_was_handed_out_is_the_callers_own_and_stays_what_it_was(f: bs.Function, verb: str) -> None:
    ask, wanted = VERBS[verb]
    x, y = X.copy(), Y.copy()
    first = ask(f, x, y)
    kept = first.copy()
    for _ in range(AGAIN):
        ask(f, x + 1, y)
    np.testing.assert_array_equal(first, kept)
    assert first.flags.writeable and not np.shares_memory(first, x) and not np.shares_memory(first, f.signature.bound["a"])
    first[...] = np.nan
    np.testing.assert_allclose(ask(f, x, y), wanted, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(x, X)


def test_an_output_that_is_an_input_is_a_copy(service: bs.Service) -> None:
    same = service.submit(lambda x: (x, x), x=bs.float64[3])
    x = X.copy()
    for _ in range(AGAIN):
        one, other = same(x)
        assert not np.shares_memory(one, x) and not np.shares_memory(one, other)
        one[:] = 0
        np.testing.assert_array_equal(other, X)


ILL_FITTING: dict[str, tuple[tuple[Any, ...], str]] = {
    "another shape": ((np.ones(4), Y), "SHAPE"),
    "more axes": ((np.ones((3, 1)), Y), "SHAPE"),
    "complex numbers": ((X + 1j, Y), "DTYPE"),
    "text": ((np.array(["a", "b", "c"]), Y), "DTYPE"),
    "nothing": ((None, Y), ""),
    "too few": ((X,), "ARITY"),
    "too many": ((X, Y, A), "ARITY"),
}


@pytest.mark.parametrize("case", ILL_FITTING)
def test_what_does_not_fit_is_refused_as_at_the_first_call(service: bs.Service, f: bs.Function, case: str) -> None:
    given, reason = ILL_FITTING[case]
    fresh = service.submit(quartic, x=bs.float64[3], y=bs.float64[3], a=A)
    f.gradient(X, Y)
    told = []
    for function in (fresh, f):
        with pytest.raises(bs.GraphError) as caught:
            function.gradient(*given)
        told.append((caught.value.reason, str(caught.value)))
    assert told[0] == told[1] and (not reason or told[0][0] == reason)
    np.testing.assert_allclose(f.gradient(X, Y, wrt="x"), G, rtol=1e-14)


FITTING: dict[str, Callable[[], Any]] = {
    "a list": lambda: [1.0, -2.0, 0.5],
    "float32": lambda: X.astype(np.float32),
    "another byte order": lambda: X.astype(">f8"),
    "every second of six": lambda: np.repeat(X, 2)[::2],
    "a subclass": lambda: X.view(np.recarray),
    "read-only": lambda: np.frombuffer(X.tobytes()),
}


@pytest.mark.parametrize("case", FITTING)
def test_what_can_be_cast_safely_is_taken_with_the_same_bits(f: bs.Function, case: str) -> None:
    wanted = f.gradient(X, Y, wrt="x")
    np.testing.assert_array_equal(f.gradient(FITTING[case](), Y, wrt="x"), wanted)


def test_one_array_given_twice_has_the_bits_of_two(service: bs.Service) -> None:
    product = service.submit(lambda x, y: np.sum((x.T @ y) ** 2), x=bs.float64[40, 30], y=bs.float64[40, 30])
    x = np.random.default_rng(0).normal(size=(40, 30))
    wanted = product.gradient(x, x.copy())
    for given in ((x, x), (x, x[:]), (x[:], x)):
        for one, other in zip(product.gradient(*given), wanted, strict=True):
            np.testing.assert_array_equal(one, other)


def test_seeds_may_be_one_or_many_from_call_to_call(f: bs.Function) -> None:
    for count in (0, 2, 0, 5, 2):
        tangent = np.tile(A, (count, 1)) if count else A
        np.testing.assert_allclose(f.hvp(X, Y, tangent=tangent, wrt="x"), np.tile(D * A, (count, 1)) if count else D * A, rtol=1e-14)


def test_many_threads_get_each_its_own_answers(f: bs.Function) -> None:
    wrong: list[Any] = []

    def work(k: int) -> None:
        x = X * (k + 1)
        for _ in range(200):
            gradient, product = f.ask(x, Y, bs.gradient(wrt="x"), bs.hvp(A, wrt="x"))
            if not (np.allclose(gradient, 4 * A * x**3 * Y, rtol=1e-13) and np.allclose(product, 12 * A * x**2 * Y * A, rtol=1e-13)):
                wrong.append((k, gradient, product))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong and not any(thread.is_alive() for thread in threads)


def test_a_function_asked_often_moves_to_the_native_tier_and_agrees() -> None:
    pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
    x = np.linspace(-1, 1, 5)
    with bs.local() as service:
        function = service.submit(lambda x: np.sum(np.exp(np.sin(x)) * x), x=bs.float64[5])
        cold = [function.gradient(x) for _ in range(hot.HOT_CALLS)]
        hot._waiting.join()
        native = [function.gradient(x) for _ in range(2)]
        executor: Any = service._transport._executor  # type: ignore[attr-defined]
        assert [heat.tier for heat in executor._heat.values()] == [hot.Tier.NATIVE]
    for one, other in zip(cold, [cold[0]] * len(cold), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(native[0], native[1])
    np.testing.assert_allclose(native[0], cold[0], rtol=1e-14)


def test_progress_ends_with_all_blocks_of_a_plan_without_a_sweep(f: bs.Function) -> None:
    for _ in range(2):
        seen: list[tuple[int, int]] = []
        f.gradient(X, Y, progress=lambda done, total: seen.append((done, total)))  # noqa: B023
        assert seen[-1] == (1, 1)


def test_a_timeout_stops_a_call_asked_before(service: bs.Service) -> None:
    slow = service.submit(lambda x, n: bs.fori_loop(0, n, lambda _, s: np.tanh(s @ s), x), x=bs.float64[100, 100], n=bs.int64)
    x = np.eye(100)
    slow(x, 1)
    with pytest.raises(bs.Cancelled):
        slow(x, 90_000, timeout=0.05)
    assert slow(x, 1)[0, 0] == pytest.approx(np.tanh(1.0), rel=1e-15)


def test_every_answer_with_a_nan_warns_with_the_line_and_no_other_does(service: bs.Service) -> None:
    root = service.submit(lambda x: np.sum(np.sqrt(x)), x=bs.float64[2])
    for _ in range(AGAIN):
        with pytest.warns(bs.NonFiniteWarning, match=r"gradient: .*derivative of node 1 \(sqrt\) at test_calls.py:\d+") as caught:
            root.gradient(np.array([0.0, 4.0]))
        assert caught[0].filename == __file__
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            root.gradient(np.ones(2))
    with pytest.warns(bs.NonFiniteWarning, match="^gradient: .*") as caught:
        root.ask(np.array([0.0, 4.0]), bs.value, bs.gradient)
    assert len(caught) == 1 and caught[0].filename == __file__


def test_a_function_pickles_with_what_it_found_left_behind(f: bs.Function) -> None:
    f.gradient(X, Y)
    again = pickle.loads(pickle.dumps(f))
    assert not again.signature.found
    np.testing.assert_array_equal(again.gradient(X, Y, wrt="x"), f.gradient(X, Y, wrt="x"))


def test_use_after_close_says_so_though_it_was_asked_before() -> None:
    with bs.local() as service:
        function = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
        function.gradient(X)
    with pytest.raises(bs.Error, match="closed"):
        function.gradient(X)


def test_use_in_a_forked_child_says_so_though_it_was_asked_before() -> None:
    program = """
        import os, numpy as np, backsweep as bs
        service = bs.local()
        f = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
        f.gradient(np.ones(3))
        child = os.fork()
        if not child:
            try:
                f.gradient(np.ones(3))
            except bs.Error as error:
                os._exit(17 if error.reason == "FORKED" else 1)
            os._exit(2)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), f.gradient(np.ones(3)).tolist())
    """
    done = subprocess.run([sys.executable, "-P", "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split(maxsplit=1) == ["17", "[2.0, 2.0, 2.0]\n"]


def test_what_is_bound_is_copied_and_must_fit(f: bs.Function) -> None:
    y = Y.copy()
    g = f.bind(y=y)
    wanted = g.gradient(X)
    y[:] = 7
    np.testing.assert_array_equal(g.gradient(X), wanted)
    np.testing.assert_array_equal(f.bind(y=y).gradient(X), f.gradient(X, y, wrt="x"))
    for given, reason in (({"y": np.ones(4)}, "SHAPE"), ({"y": Y + 1j}, "DTYPE"), ({"z": Y}, "MISSING_INPUT")):
        with pytest.raises(bs.GraphError) as caught:
            f.bind(**given)
        assert caught.value.reason == reason


OPTIONS: dict[str, tuple[Callable[[bs.Function], Any], str]] = {
    "one no verb has": (lambda f: f.gradient(X, Y, block=3), "block"),
    "one no verb has, in ask": (lambda f: f.ask(X, Y, bs.gradient(mode="forward")), "mode"),
    "one that cannot be hashed": (lambda f: f.jacobian(X, Y, block={}), "dict"),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_are_none_are_refused(f: bs.Function, case: str) -> None:
    ask, got = OPTIONS[case]
    for _ in range(2):
        with pytest.raises(bs.GraphError) as caught:
            ask(f)
        assert caught.value.reason == "MALFORMED" and caught.value.got == got


def test_names_may_be_a_list_or_a_tuple(f: bs.Function) -> None:
    for one, other in zip(f.gradient(X, Y, wrt=["y", "x"]), f.gradient(X, Y, wrt=("y", "x")), strict=True):
        np.testing.assert_array_equal(one, other)


def test_usage_counts_every_call() -> None:
    with bs.local() as service:
        function = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
        for _ in range(5):
            function.gradient(X)
        assert (service.usage.calls, service.usage.blocks, service.usage.workers) == (5, 5, 1) and service.usage.seconds > 0


def test_usage_adds_up_calls_of_different_plans() -> None:
    with bs.local() as service:
        function = service.submit(lambda x: np.sum(x**3), x=bs.float64[3])
        for _ in range(2):
            function.gradient(X)
            assert service.usage.blocks in (1, 5)
            function.hessian(X, block=1)
        assert (service.usage.calls, service.usage.blocks, service.usage.workers) == (4, 8, 1)


def test_usage_counts_every_call_of_every_thread() -> None:
    each, count = MOST_DONE // 2 + 3, 5
    with bs.local() as service:
        function = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
        seen: list[int] = []

        def work() -> None:
            for k in range(each):
                function.gradient(X)
                if k % 100 == 0:
                    seen.append(service.usage.calls)

        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert (service.usage.calls, service.usage.blocks) == (each * count, each * count) and max(seen) <= each * count


def test_what_was_asked_last_does_not_answer_what_is_asked_now(f: bs.Function) -> None:
    gradient = (G, A * X**4)
    for _ in range(2):
        assert f.check(X, Y, gradient=gradient).right is True
        assert f.check(X, Y, gradient=(G + 1, gradient[1])).right is False
        assert f.check(X, Y).right is True
        np.testing.assert_allclose(f.ask(X, Y, bs.jvp(A, wrt="x"), bs.gradient(wrt="x"))[0], G @ A, rtol=1e-14)
        np.testing.assert_allclose(f.ask(X, Y, bs.gradient(wrt="x"), bs.hvp(A, wrt="x"))[1], D * A, rtol=1e-14)
        f.hvp(X, Y, tangent=(A, A))
        with pytest.raises(bs.GraphError):
            f.hvp(X, Y, A, tangent=A)
        with pytest.raises(bs.GraphError):
            f.hvp(X, Y, A, A, tangent=None)


def test_a_function_nobody_holds_is_gone_with_what_it_found(service: bs.Service) -> None:
    function = service.submit(lambda x: np.sum(x * x), x=bs.float64[3])
    for _ in range(3):
        function.gradient(X)
        function.ask(X, bs.value, bs.gradient)
    gone = weakref.ref(function)
    del function
    assert gone() is None
