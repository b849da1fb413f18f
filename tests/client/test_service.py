"""What a user holds: verbs with their shapes, trees, options, refusals and warnings; here in process."""

from __future__ import annotations

import copy
import os
import pickle
import time
import warnings
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import backsweep as bs

Layer = namedtuple("Layer", ["w", "b"])


@pytest.fixture(scope="module")
def service() -> Iterator[bs.Service]:
    with bs.local() as service:
        yield service


def quartic(x: Any, a: Any) -> Any:
    return np.sum(a * x**4)


X, A = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 3.0])


def test_the_verbs_of_a_scalar_function_give_its_closed_forms(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    g, d = 4 * A * X**3, 12 * A * X**2
    t = np.array([1.0, 0.0, -1.0])
    wanted = {
        "value": (f(X), A @ X**4),
        "gradient": (f.gradient(X), g),
        "jvp": (f.jvp(X, tangent=t), g @ t),
        "vjp": (f.vjp(X, cotangent=2.0), 2 * g),
        "hvp": (f.hvp(X, tangent=t), d * t),
        "jacobian": (f.jacobian(X), g),
        "hessian": (f.hessian(X), np.diag(d)),
        "hessian_diagonal": (f.hessian_diagonal(X), d),
        "many jvps": (f.jvp(X, tangent=np.eye(3)), g),
        "many hvps": (f.hvp(X, tangent=np.eye(3)), np.diag(d)),
    }
    for verb, (got, right) in wanted.items():
        np.testing.assert_allclose(got, right, rtol=1e-14, atol=1e-14, err_msg=verb)  # a few roundings of numbers near 100
        assert got.shape == np.shape(right), verb
    value, gradient = f.value_and_gradient(X)
    assert value == f(X) and np.array_equal(gradient, f.gradient(X))
    assert f.check(X).right


def test_ask_gives_several_answers_with_the_bits_of_one(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    value, gradient, product, hessian = f.ask(X, bs.value, bs.gradient, bs.hvp(A), bs.hessian)
    assert value == f(X)
    for got, alone in ((gradient, f.gradient(X)), (product, f.hvp(X, tangent=A)), (hessian, f.hessian(X))):
        np.testing.assert_array_equal(got, alone)


def network(p: Any, x: Any) -> Any:
    h = np.tanh(x @ p["first"].w + p["first"].b)
    return {"out": h @ p["last"], "size": np.sum(h * h)}


TYPES = {"first": Layer(bs.float64[2, 3], bs.float64[3]), "last": bs.float64[3]}
POINT = {"first": Layer(np.ones((2, 3)), np.zeros(3)), "last": np.arange(3.0)}


def test_trees_go_in_and_come_out_nested_output_over_input(service: bs.Service) -> None:
    f = service.submit(network, p=TYPES, x=np.ones((4, 2)))
    value = f(POINT)
    assert set(value) == {"out", "size"} and value["out"].shape == (4,)
    jacobian = f.jacobian(POINT)
    assert jacobian["out"]["first"].w.shape == (4, 2, 3) and jacobian["size"]["last"].shape == (3,)
    cotangent = {"out": np.ones(4), "size": 2.0}
    pulled = f.vjp(POINT, cotangent=cotangent)
    assert isinstance(pulled["first"], Layer)
    np.testing.assert_allclose(pulled["last"], jacobian["out"]["last"].sum(axis=0), rtol=1e-14)  # a sum of four
    pushed = f.jvp(POINT, tangent=POINT)
    np.testing.assert_allclose(pushed["size"], sum(np.sum(j * p) for j, p in zip(_leaves(jacobian["size"]), _leaves(POINT), strict=True)), rtol=1e-14)


def _leaves(tree: Any) -> list[Any]:
    return [tree["first"].w, tree["first"].b, tree["last"]]


def product(x: Any, y: Any) -> Any:
    return np.sum(x * y**2)


@pytest.mark.parametrize(
    ("wrt", "wanted"),
    [(None, ("x", "y")), ("x", "x"), ("y", "y"), (1, "y"), (("y", "x"), ("y", "x")), (("y",), ("y",))],
)
def test_wrt_chooses_what_derivatives_are_taken_by(service: bs.Service, wrt: Any, wanted: Any) -> None:
    f = service.submit(product, x=bs.float64[2], y=bs.float64[2])
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    right = {"x": y**2, "y": 2 * x * y}
    got = f.gradient(x, y, wrt=wrt)
    if isinstance(wanted, str):
        np.testing.assert_allclose(got, right[wanted], rtol=1e-15)
    else:
        assert len(got) == len(wanted)
        for g, name in zip(got, wanted, strict=True):
            np.testing.assert_allclose(g, right[name], rtol=1e-15)


def test_the_hessian_of_two_inputs_is_two_by_two_blocks(service: bs.Service) -> None:
    f = service.submit(product, x=bs.float64[2], y=bs.float64[2])
    x, y = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    (xx, xy), (yx, yy) = f.hessian(x, y)
    np.testing.assert_array_equal(xx, np.zeros((2, 2)))
    np.testing.assert_allclose(xy, np.diag(2 * y), rtol=1e-15)
    np.testing.assert_allclose(yx, xy.T, rtol=1e-15)
    np.testing.assert_allclose(yy, np.diag(2 * x), rtol=1e-15)


def test_integer_inputs_are_inputs_but_never_differentiated_by_default(service: bs.Service) -> None:
    f = service.submit(lambda x, n: np.sum(x * n), x=bs.float64[2], n=bs.int64[2])
    np.testing.assert_array_equal(f.gradient(np.ones(2), np.array([3, 4])), [3.0, 4.0])


ACCEPTED: list[tuple[Any, bool]] = [
    (np.ones(3), True),
    (np.ones(3, np.float32), True),
    (np.ones(3, np.int32), True),
    (np.ones(3, np.int64), True),  # NumPy calls int64 -> float64 safe
    (np.ones(3, np.bool_), True),
    ([1.0, 2.0, 3.0], True),
    (np.ones(3, np.complex128), False),
    (np.ones(3, np.longdouble), False),
    (np.array(["a", "b", "c"]), False),
]


@pytest.mark.parametrize(("value", "good"), ACCEPTED)
def test_an_input_is_taken_if_numpy_casts_it_safely(service: bs.Service, value: Any, good: bool) -> None:
    f = service.submit(lambda x: x * 2, x=bs.float64[3])
    if good:
        assert f(value).dtype == np.float64
    else:
        with pytest.raises(bs.GraphError, match="astype") as caught:
            f(value)
        assert caught.value.reason == "DTYPE"


def test_a_float64_array_is_no_float32_but_a_python_number_is(service: bs.Service) -> None:
    f = service.submit(lambda x: x * 2, x=bs.float32)
    assert f(1.5).dtype == np.float32
    with pytest.raises(bs.GraphError):
        f(np.float64(1.5))


REFUSED: dict[str, tuple[Callable[[bs.Function], Any], str]] = {
    "a missing input": (lambda f: f(), "ARITY"),
    "an input too many": (lambda f: f(X, A), "ARITY"),
    "a wrong shape": (lambda f: f(np.ones(4)), "SHAPE"),
    "an option that is not there": (lambda f: f.gradient(X, blok=3), "MALFORMED"),
    "wrt an argument that is not there": (lambda f: f.gradient(X, wrt="z"), "MISSING_INPUT"),
    "a tangent of a wrong shape": (lambda f: f.jvp(X, tangent=np.ones(2)), "SHAPE"),
    "a layout that is not there": (lambda f: f.jacobian(X, layout="banded"), "MALFORMED"),
    "a layout for what is no matrix": (lambda f: f.gradient(X, layout="sparse"), "MALFORMED"),
    "a method that is not there": (lambda f: f.hessian_diagonal(X, method="guess"), "MALFORMED"),
    "samples for what is no estimate": (lambda f: f.hessian_diagonal(X, samples=9), "MALFORMED"),
    "an estimate from one sample": (lambda f: f.hessian_diagonal(X, method="estimate", samples=1), "MALFORMED"),
    "a seed that is none": (lambda f: f.hessian_diagonal(X, method="estimate", seed=-1), "MALFORMED"),
    "deriving what is no verb": (lambda f: f.derive("grad"), "MALFORMED"),
    "asking what is no verb": (lambda f: f.ask(X, "gradient"), "MALFORMED"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_call_that_does_not_fit_says_what_was_got_and_what_is_allowed(service: bs.Service, case: str) -> None:
    call, reason = REFUSED[case]
    with pytest.raises(bs.Error) as caught:
        call(service.submit(quartic, x=bs.float64[3], a=A))
    assert caught.value.reason == reason
    assert caught.value.allowed or caught.value.hint


def test_answers_are_writable_and_the_callers_own(service: bs.Service) -> None:
    f = service.submit(lambda x: x, x=bs.float64[3])
    x = np.ones(3)
    y = f(x)
    y[0] = 5
    assert x[0] == 1 and f(x)[0] == 1


def test_what_is_bound_is_copied_when_it_is_submitted(service: bs.Service) -> None:
    a = A.copy()
    f = service.submit(quartic, x=bs.float64[3], a=a)
    before = f(X)
    a[:] = 0
    assert f(X) == before


def test_a_derivative_is_a_function_that_can_be_derived_again(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    g = f.derive("gradient")
    np.testing.assert_array_equal(g(X), f.gradient(X))
    np.testing.assert_allclose(g.jacobian(X), np.diag(12 * A * X**2), rtol=1e-14, atol=1e-14)  # a few roundings
    h = f.derive("hvp")
    np.testing.assert_array_equal(h(X, A), f.hvp(X, tangent=A))
    assert g.graph.size <= 5 * f.graph.size


def test_a_function_is_saved_and_loaded(service: bs.Service, tmp_path: Path) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    f.save(tmp_path / "f.graph")
    again = service.load(tmp_path / "f.graph", a=A)
    assert again.graph.fingerprint == f.graph.fingerprint
    np.testing.assert_array_equal(again.gradient(X), f.gradient(X))


def test_a_nan_comes_with_a_warning_that_names_node_and_line(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sum(np.sqrt(x)), x=bs.float64[2])
    with pytest.warns(bs.NonFiniteWarning, match=r"derivative of node 1 \(sqrt\) at test_service.py:\d+"):
        assert f.gradient(np.array([0.0, 4.0]))[0] == np.inf
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        f.gradient(np.ones(2))


def test_progress_counts_the_blocks_to_the_end(service: bs.Service) -> None:
    f = service.submit(lambda x: np.sin(x), x=bs.float64[10])
    seen: list[tuple[int, int]] = []
    f.jacobian(np.ones(10), block=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_no_block_width_changes_a_jacobian_beyond_rounding(service: bs.Service) -> None:
    f = service.submit(lambda x: np.tanh(x * np.sum(x)), x=bs.float64[20])
    x = np.linspace(-1, 1, 20)
    whole = f.jacobian(x)
    for block in (1, 7, 20):
        np.testing.assert_allclose(f.jacobian(x, block=block), whole, rtol=0, atol=1e-14)  # other widths round the last bits


def test_explain_prints_the_plan_with_its_promise(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    text = f.explain(X, verb="hessian", block=2)
    assert "promise" in text and "3 columns in 2 blocks of 2" in text


def test_explain_says_where_the_plan_runs_and_small_work_runs_here(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    assert f.explain(X, verb="hessian", block=1).endswith("runs on local")
    with bs.local(executor="auto", lanes=4) as chosen:
        g = chosen.submit(quartic, x=bs.float64[3], a=A)
        text = g.explain(X, verb="hessian", block=1)
        assert "runs on local: 3 blocks of " in text and "over 3 lanes" not in text and "over 4 lanes 6 s, Ray's start included" in text
        began = time.monotonic()
        assert np.array_equal(g.hessian(X, block=1), f.hessian(X, block=1))
        assert time.monotonic() - began < 4, "it waited for Ray, whose start takes 5 s at least"
        assert chosen.usage.workers == 1


def test_work_over_the_budget_is_refused() -> None:
    with bs.local(memory_bytes=1 << 20) as small:
        f = small.submit(lambda x: np.sum(np.outer(x, x)), x=bs.float64[10_000])
        with pytest.raises(bs.OverBudget) as caught:
            f(np.ones(10_000))
    assert caught.value.op and str(1 << 20) in caught.value.allowed


def blas_threads() -> set[int]:
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.mark.parametrize("threads, within", [(None, 2), (1, 1)])
def test_blas_has_the_threads_of_the_process_unless_the_service_is_given_its_own(threads: int | None, within: int) -> None:
    seen = []
    with threadpool_limits(2), bs.local(threads=threads) as service:
        service.submit(np.sin, x=bs.float64[3]).jacobian(X, block=1, progress=lambda done, total: seen.append(blas_threads()))
        assert blas_threads() == {2}
    assert seen and all(found == {within} for found in seen)


def test_a_timeout_cancels_the_work(service: bs.Service) -> None:
    f = service.submit(lambda x: np.tanh(x @ x), x=bs.float64[60, 60])
    with pytest.raises(bs.Cancelled):
        f.jacobian(np.ones((60, 60)), timeout=0.05)


def test_an_answer_that_could_not_be_held_is_refused_before_it_is_allocated(service: bs.Service) -> None:
    f = service.submit(lambda x: np.tanh(x @ x), x=bs.float64[300, 300])
    with pytest.raises(bs.OverBudget):  # 90,000 x 90,000 doubles are 60 GiB
        f.jacobian(np.ones((300, 300)))


def test_use_after_close_says_so() -> None:
    service = bs.local()
    f = service.submit(quartic, x=bs.float64[3], a=A)
    service.close()
    service.close()
    with pytest.raises(bs.Error, match="closed"):
        f(X)


def test_use_after_a_fork_says_so(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    forked = copy.copy(f)
    forked.service = copy.copy(service)
    forked.service._pid = os.getpid() + 1
    with pytest.raises(bs.Error, match="another process"):
        forked(X)


def test_a_service_and_its_functions_pickle(service: bs.Service) -> None:
    f = pickle.loads(pickle.dumps(service.submit(quartic, x=bs.float64[3], a=A)))
    np.testing.assert_allclose(f.gradient(X), 4 * A * X**3, rtol=1e-15)


def test_a_verdict_has_no_truth_value(service: bs.Service) -> None:
    f = service.submit(quartic, x=bs.float64[3], a=A)
    right = f.gradient(X)
    verdict = f.check(X, gradient=right)
    with pytest.raises(TypeError, match="right"):
        bool(verdict)
    verdict.raise_if_wrong()
    right[1] *= 1.001
    wrong = f.check(X, gradient=right)
    assert wrong.outcome is bs.Outcome.WRONG
    assert [(e.input, e.index) for e in wrong.worst] == [("x", (1,))]
    with pytest.raises(AssertionError, match=r"x\[1\]"):
        wrong.raise_if_wrong()


def test_a_check_looks_past_far_points_where_a_loop_does_not_end(service: bs.Service) -> None:
    W = 0.3 * np.random.default_rng(0).normal(size=(4, 4))

    def settled(x: Any) -> Any:
        body = lambda c: (np.tanh(W @ c[0] * (1 + x**2) + x), c[0], c[2] + 1)
        z, _, _ = bs.while_loop(lambda c: np.max(abs(c[0] - c[1])) > 1e-13, body, (x * 0 + 0.5, x * 0, 0), max_trips=49)
        return np.sum(z)

    assert service.submit(settled, x=bs.float64[4]).check(np.array([0.1, -0.2, 0.3, 0.0])).right
