"""Newton's step and the kind of critical point, judged by forms whose Hessians are known, and by NumPy's own solver."""

from __future__ import annotations

import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import backsweep as bs

Layer = namedtuple("Layer", ["w", "b"])


@pytest.fixture(scope="module")
def service() -> Iterator[bs.Service]:
    with bs.local() as service:
        yield service


def form(x: Any, A: Any, b: Any) -> Any:
    return 0.5 * x @ (A @ x) - b @ x


def symmetric(eigenvalues: Any, seed: int = 0) -> Any:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(len(eigenvalues),) * 2))
    return (q * np.asarray(eigenvalues)) @ q.T


def submitted_form(service: bs.Service, A: Any, b: Any) -> bs.Function:
    return service.submit(form, x=bs.float64[len(b)], A=A, b=b)


def rosenbrock(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


# Eigenvalues -> kind; a null direction enters as 0.
FORMS = {
    "minimum": ([1.0, 2.0, 5.0, 0.1], "minimum"),
    "maximum": ([-1.0, -2.0, -5.0, -0.1], "maximum"),
    "saddle": ([1.0, -2.0, 3.0, 4.0], "saddle"),
    "balanced saddle": ([1.0, -1.0, 1.0, -1.0], "saddle"),
    "saddle with a null direction": ([1.0, -2.0, 0.0, 4.0], "saddle"),
    "valley": ([1.0, 0.0, 3.0, 4.0], "degenerate"),
    "ridge": ([-1.0, 0.0, -3.0, 0.0], "degenerate"),
    "bowl": ([3.0, 3.0, 3.0, 3.0], "minimum"),
    "dome": ([-3.0, -3.0, -3.0, -3.0], "maximum"),
    "flat": ([0.0, 0.0, 0.0, 0.0], "degenerate"),
}


@pytest.mark.parametrize("method", ["hessian", "lanczos"])
@pytest.mark.parametrize("name", FORMS)
def test_a_quadratic_form_has_the_kind_of_its_eigenvalues(service: bs.Service, name: str, method: Any) -> None:
    eigenvalues, kind = FORMS[name]
    spread = np.concatenate([np.repeat(eigenvalues, 5), eigenvalues])
    center = np.arange(1.0, 25.0) / 24
    A = symmetric(spread)
    found = bs.critical_point(submitted_form(service, A, A @ center), center, method=method)
    assert found.kind == kind and found.size == 24
    assert found.gradient_norm <= found.gradient_tolerance
    size = max(map(abs, eigenvalues))
    assert found.least == pytest.approx(min(eigenvalues), abs=1e-9 * size) and found.largest == pytest.approx(max(eigenvalues), abs=1e-9 * size)
    signs = tuple(6 * sum(e > 0 for e in np.array(eigenvalues) * s) for s in (1, -1))
    assert found.inertia == (None if method == "lanczos" else (*signs, 24 - sum(signs)))
    with pytest.raises(AttributeError):
        found.kind = "minimum"  # type: ignore[misc]


def test_a_point_that_is_not_critical_is_called_so_whatever_its_hessian(service: bs.Service) -> None:
    f = submitted_form(service, np.diag([1.0, 2.0]), np.zeros(2))
    assert bs.critical_point(f, np.array([1e-3, 0.0])).kind == "not critical"
    assert bs.critical_point(f, np.array([1e-3, 0.0]), gradient_tolerance=1e-2).kind == "minimum"
    slope = service.submit(lambda x: np.sum(x), x=bs.float64[3])
    assert bs.critical_point(slope, np.ones(3)).kind == "not critical"
    # The tolerance follows the units of f.
    for unit in (1e-12, 1e12):
        g = submitted_form(service, unit * np.diag([1.0, 2.0]), np.zeros(2))
        assert bs.critical_point(g, np.array([1e-3, 0.0])).kind == "not critical"
        assert bs.critical_point(g, np.array([1e-14, 0.0])).kind == "minimum"


def test_known_points_of_known_functions(service: bs.Service) -> None:
    found = bs.critical_point(service.submit(rosenbrock, x=bs.float64[2]), np.ones(2))
    exact = np.linalg.eigvalsh([[802.0, -400.0], [-400.0, 200.0]])  # its Hessian at (1, 1)
    assert (found.kind, found.inertia) == ("minimum", (2, 0, 0))
    np.testing.assert_allclose([found.least, found.largest], exact, rtol=1e-10)
    quartic = service.submit(lambda x: np.sum(x**4), x=bs.float64[3])
    assert bs.critical_point(quartic, np.zeros(3)).kind == "degenerate"
    assert bs.critical_point(quartic, np.zeros(3), method="lanczos").kind == "degenerate"
    monkey = service.submit(lambda x, y: x**3 - 3 * x * y**2, x=bs.float64, y=bs.float64)
    assert bs.critical_point(monkey, 0.0, 0.0).inertia == (0, 0, 2)
    hills = service.submit(lambda x: np.cos(x[0]) + np.cos(x[1]), x=bs.float64[2])
    kinds = {(0.0, 0.0): "maximum", (np.pi, np.pi): "minimum", (0.0, np.pi): "saddle"}
    assert {at: bs.critical_point(hills, np.array(at)).kind for at in kinds} == kinds


SENTENCES = {
    "minimum": "a minimum: the gradient's norm 0.0e+00 is within 3.0e-08, and the Hessian's 2 eigenvalues lie in [1.000e+00, 2.000e+00]: "
    "2 positive, 0 negative, 0 zero (within 8.9e-16)",
    "not critical": "not a critical point: the gradient's norm 1.0e+00 is above 3.0e-08, and the Hessian's 2 eigenvalues lie in [1.000e+00, 2.000e+00]: "
    "2 positive, 0 negative, 0 zero (within 8.9e-16)",
}


def test_the_record_reads_as_a_sentence(service: bs.Service) -> None:
    f = submitted_form(service, np.diag([1.0, 2.0]), np.zeros(2))
    for kind, x in {"minimum": np.zeros(2), "not critical": np.array([1.0, 0.0])}.items():
        assert str(bs.critical_point(f, x)) == SENTENCES[kind]
    many = submitted_form(service, np.diag(np.linspace(1, 2, 9)), np.zeros(9))
    assert "9 eigenvalues lie in [1.000e+00, 2.000e+00] (by Lanczos, good to" in str(bs.critical_point(many, np.zeros(9), method="lanczos"))


def test_more_entries_than_are_stored_are_left_to_lanczos(service: bs.Service) -> None:
    scale = np.linspace(1.0, 4.0, 3000)
    f = service.submit(lambda x, d: np.sum(d * (np.cosh(x) - 1)), x=bs.float64[3000], d=scale)
    found = bs.critical_point(f, np.zeros(3000))
    assert found.kind == "minimum" and found.inertia is None
    np.testing.assert_allclose([found.least, found.largest], [1.0, 4.0], rtol=1e-8)


@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_one_step_reaches_the_minimum_of_a_quadratic_form(service: bs.Service, method: Any) -> None:
    A, b = symmetric(np.linspace(1, 30, 12)), np.arange(12.0)
    x = np.random.default_rng(1).normal(size=12)
    step = bs.newton_step(submitted_form(service, A, b), x, method=method)
    np.testing.assert_allclose(x + step, np.linalg.solve(A, b), rtol=1e-8, atol=1e-9)
    damped = bs.newton_step(submitted_form(service, A, b), x, method=method, damping=2.5)
    np.testing.assert_allclose(damped, -np.linalg.solve(A + 2.5 * np.eye(12), A @ x - b), rtol=1e-8, atol=1e-9)


def test_damping_makes_an_indefinite_form_give_a_step(service: bs.Service) -> None:
    A, b = np.diag([1.0, -2.0]), np.ones(2)
    for method in ("cholesky", "cg"):
        step = bs.newton_step(submitted_form(service, A, b), np.zeros(2), method=method, damping=3.0)  # type: ignore[arg-type]
        np.testing.assert_allclose(step, [1 / 4, 1.0], rtol=1e-10)


def test_newtons_method_by_its_steps_finds_rosenbrocks_minimum(service: bs.Service) -> None:
    f = service.submit(rosenbrock, x=bs.float64[6])
    x = np.full(6, 1.2)
    for _ in range(12):
        x = x + bs.newton_step(f, x)
    np.testing.assert_allclose(x, np.ones(6), rtol=1e-12)
    assert bs.critical_point(f, x).kind == "minimum"


def fit(p: Any, c: Any, x: Any) -> Any:
    layer = p["layer"]
    return np.sum(np.logaddexp(0, x @ layer.w + layer.b)) + np.sum(layer.w**2) + (c - np.sum(layer.b)) ** 4 + np.sum(layer.b**2) + c**2


TYPES = {"layer": Layer(bs.float64[2, 3], bs.float64[3])}
POINT = {"layer": Layer(np.arange(6.0).reshape(2, 3) / 6, np.ones(3))}
DATA = np.array([[1.0, 2.0], [-1.0, 0.5], [0.3, 0.1]])


@pytest.mark.parametrize("wrt", [None, "p", "c", ("c", "p")], ids=str)
def test_a_step_is_a_tree_like_the_gradient(service: bs.Service, wrt: Any) -> None:
    f = service.submit(fit, p=TYPES, c=bs.float64, x=DATA)
    options = {} if wrt is None else {"wrt": wrt}
    step, gradient = bs.newton_step(f, POINT, 2.0, **options), f.gradient(POINT, 2.0, **options)
    other = bs.newton_step(f, POINT, 2.0, method="cg", **options)

    def leaves(tree: Any) -> list[Any]:
        if isinstance(tree, dict):
            return [x for key in sorted(tree) for x in leaves(tree[key])]
        return [x for part in tree for x in leaves(part)] if isinstance(tree, tuple) else [tree]

    assert [a.shape for a in leaves(step)] == [a.shape for a in leaves(gradient)]
    for a, b in zip(leaves(step), leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10)
    if wrt in (None, "p"):
        assert isinstance((step if wrt else step[0])["layer"], Layer)
    # H step = -g, by a Hessian-vector product of its own.
    for a, b in zip(leaves(f.hvp(POINT, 2.0, tangent=step, **options)), leaves(gradient), strict=True):
        np.testing.assert_allclose(a, -b, rtol=1e-9, atol=1e-10)


def test_a_bound_argument_may_be_what_the_step_is_by(service: bs.Service) -> None:
    f = service.submit(lambda x, c: np.sum((x - c) ** 2 * np.array([1.0, 5.0])), x=bs.float64[2], c=np.array([3.0, 4.0]))
    x = np.array([1.0, 7.0])
    for method in ("cholesky", "cg"):
        np.testing.assert_allclose(bs.newton_step(f, x, wrt="c", method=method), [-2.0, 3.0], rtol=1e-12)  # type: ignore[arg-type]
    assert bs.critical_point(f, np.array([3.0, 4.0]), wrt="c").kind == "minimum"
    assert bs.critical_point(f, x, wrt="c").kind == "not critical"


def test_float32_comes_and_goes_as_float32(service: bs.Service) -> None:
    A = np.diag(np.float32([1, 2, 4]))
    f = service.submit(form, x=bs.float32[3], A=A, b=np.ones(3, np.float32))
    for method in ("cholesky", "cg"):
        step = bs.newton_step(f, np.zeros(3, np.float32), method=method)  # type: ignore[arg-type]
        assert step.dtype == np.float32
        np.testing.assert_allclose(step, [1, 0.5, 0.25], rtol=1e-4)
    assert bs.critical_point(f, np.float32([1, 0.5, 0.25])).kind == "minimum"
    assert bs.critical_point(f, np.float32([1, 0.5, 0.25]), method="lanczos").kind == "minimum"


@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_an_indefinite_hessian_is_refused_with_the_curvature_found(service: bs.Service, method: Any) -> None:
    f = submitted_form(service, np.diag([1.0, 2.0, -3.0, 4.0]), np.array([0.0, 0.0, 1.0, 0.0]))
    with pytest.raises(bs.Error, match="not positive definite") as refused:
        bs.newton_step(f, np.zeros(4), method=method)
    assert refused.value.reason == "NOT_POSITIVE_DEFINITE"
    assert "curvature -3 " in refused.value.got and "x[2]" in refused.value.got
    assert "damping above 3" in refused.value.hint
    with pytest.raises(bs.Error, match="with damping 1 is not positive definite"):
        bs.newton_step(f, np.zeros(4), method=method, damping=1.0)


@pytest.mark.parametrize("method", ["cholesky", "cg"])
def test_a_singular_hessian_is_refused_though_rounding_hides_it(service: bs.Service, method: Any) -> None:
    f = service.submit(lambda x: np.exp(x[0] + x[1] + x[2]) + np.exp(-x[0] - x[1] - x[2]) + x[0] - x[1], x=bs.float64[3])
    with pytest.raises(bs.Error, match="not positive definite"):
        bs.newton_step(f, np.array([0.1, 0.2, 0.3]), method=method)


def refused_calls(service: bs.Service) -> dict[str, tuple[Any, str]]:
    f = submitted_form(service, np.eye(3), np.ones(3))
    stiff = submitted_form(service, symmetric(np.geomspace(1, 1e6, 30)), np.ones(30))
    close = submitted_form(service, symmetric(np.geomspace(1e-9, 1, 300)), np.zeros(300))
    vector = service.submit(lambda x: x * x, x=bs.float64[3])
    x = np.zeros(3)
    return {
        "a function not submitted": (lambda: bs.newton_step(rosenbrock, x), "MALFORMED"),  # type: ignore[arg-type]
        "method": (lambda: bs.newton_step(f, x, method="qr"), "MALFORMED"),  # type: ignore[arg-type]
        "method of a point": (lambda: bs.critical_point(f, x, method="qr"), "MALFORMED"),  # type: ignore[arg-type]
        "negative damping": (lambda: bs.newton_step(f, x, damping=-1.0), "MALFORMED"),
        "NaN damping": (lambda: bs.newton_step(f, x, damping=np.nan), "MALFORMED"),
        "a vector": (lambda: bs.newton_step(vector, x), "NOT_SCALAR"),
        "a vector's point": (lambda: bs.critical_point(vector, x), "NOT_SCALAR"),
        "shape": (lambda: bs.critical_point(f, np.zeros(4)), "SHAPE"),
        "number of inputs": (lambda: bs.newton_step(f), "ARITY"),
        "wrt": (lambda: bs.newton_step(f, x, wrt="y"), "MISSING_INPUT"),
        "no entries": (lambda: bs.newton_step(service.submit(lambda n: n + 1.0, n=bs.int64), 1), "MALFORMED"),
        "too few products": (lambda: bs.newton_step(stiff, np.zeros(30), method="cg", max_products=3), "NO_CONVERGENCE"),
        "extremes too close for Lanczos": (lambda: bs.critical_point(close, np.zeros(300), method="lanczos"), "NO_CONVERGENCE"),
    }


def test_what_cannot_be_answered_is_refused_with_its_reason(service: bs.Service) -> None:
    for name, (call, reason) in refused_calls(service).items():
        with pytest.raises(bs.Error) as refused:
            call()
        assert refused.value.reason == reason, name


@pytest.mark.parametrize("call", [bs.newton_step, bs.critical_point])
def test_a_point_that_is_not_finite_is_refused(service: bs.Service, call: Any) -> None:
    f = service.submit(lambda x: np.sum(np.log(x)), x=bs.float64[2])
    with pytest.warns(bs.NonFiniteWarning), pytest.raises(bs.Error) as refused:
        call(f, np.array([0.0, 1.0]))
    assert refused.value.reason == "NOT_FINITE"


def test_scipy_is_loaded_only_where_it_is_used() -> None:
    code = "import sys, backsweep as bs; bs.newton_step, bs.critical_point; assert 'scipy' not in sys.modules, 'scipy'"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
