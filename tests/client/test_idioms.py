"""NumPy as people write it: each idiom is an answer, or an error of ours that says what to write, at the user's line."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scipy import integrate, interpolate, linalg, optimize, signal, sparse, spatial, special, stats

import backsweep as bs
from backsweep_engine.errors import GraphError

Function = Callable[..., Any]
RNG = np.random.default_rng(0)
X = np.array([0.3, 1.2, 0.7, 1.5])
SPD = np.eye(4)

ANSWERED: dict[str, Function] = {
    "a list beside a traced array": lambda x: np.concatenate([[x[0], 1.0], x]),
    "a matrix from rows": lambda x: np.block([[np.cos(x[0]), -np.sin(x[0])], [np.sin(x[0]), 1.0]]) @ x[:2],
    "rows of lists beside a traced one": lambda x: np.vstack([[x[0], 1.0], x[:2]]),
    "a list in a condition": lambda x: np.where(x[:2] > 0.5, [x[2], x[3]], x[:2]),
    "a list appended": lambda x: np.append(x, [x[0], 2.0]),
    "traced times a list of traced": lambda x: x[:2] @ [x[2], x[3]],
    "sum with a mask": lambda x: np.sum(x, where=x > 0.5),
    "mean with a mask": lambda x: np.mean(x, where=np.array([True, False, True, True])),
    "sum with a dtype": lambda x: np.sum(x, 0, np.float64),
    "sum with an initial value": lambda x: np.sum(x, initial=2.0),
    "max with an initial value": lambda x: np.max(x, initial=1.3),
    "max with a mask": lambda x: np.max(x, initial=0.0, where=x < 1.0),
    "prod with a mask": lambda x: np.prod(x, where=x > 0.5),
    "cumsum with a dtype": lambda x: np.cumsum(x, dtype=np.float64),
    "real part and conjugate": lambda x: x.real * x.conj() + x.imag,
    "a copy to keep": lambda x: copy.deepcopy({"a": x})["a"] * copy.copy(x),
    "a polynomial of np.poly1d": lambda x: np.poly1d([1.0, -2.0, 3.0])(x),
    "a polynomial of np.polynomial": lambda x: np.polynomial.polynomial.polyval(x, [1.0, 2.0, 3.0]),
    "a Chebyshev series": lambda x: np.polynomial.chebyshev.chebval(x, [1.0, 2.0, 3.0]),
    "gauss quadrature with traced ends": lambda x: np.sum(
        np.polynomial.legendre.leggauss(5)[1] * np.exp((x[1] - x[0]) / 2 * np.polynomial.legendre.leggauss(5)[0] + (x[0] + x[1]) / 2)
    ),
    "a grid between traced ends": lambda x: np.trapezoid(np.sin(np.linspace(x[0], x[1], 20)), np.linspace(x[0], x[1], 20)),
    "a sum of products of a generator": lambda x: sum(a * b for a, b in zip(x, x[::-1], strict=True)),
    "SciPy's ufunc on arrays of both kinds": lambda x: special.xlogy(x, X),
    "a fixed quadrature of SciPy": lambda x: integrate.fixed_quad(lambda t: np.exp(-t * x[0]), 0.0, 1.0, n=5)[0],
}


@pytest.mark.parametrize("name", ANSWERED)
def test_what_people_write_is_answered_with_numpy_s_value_and_checks(name: str) -> None:
    f = ANSWERED[name]
    with bs.local() as service:
        function = service.submit(f, x=bs.float64[4])
        np.testing.assert_allclose(function(X), f(X), rtol=1e-13)
        function.check(X).raise_if_wrong()


def test_what_stands_under_a_traced_mask_is_replaced_by_one_value() -> None:
    with bs.local() as service:
        f = service.submit(lambda x: bs.add_at(bs.set(x, x > 1.0, 0.5 * x[0]), x < 0.5, 2.0), x=bs.float64[4])
        np.testing.assert_allclose(f(X), [2.3, 0.15, 0.7, 0.15])
        np.testing.assert_array_equal(f.jacobian(X), [[1, 0, 0, 0], [0.5, 0, 0, 0], [0, 0, 1, 0], [0.5, 0, 0, 0]])
        rows = service.submit(lambda x, v: bs.set(x, x[:, 0] > 0, v), x=bs.float64[2, 2], v=bs.float64[2])
        np.testing.assert_array_equal(rows(np.array([[1.0, 2.0], [-1.0, 3.0]]), np.array([8.0, 9.0])), [[8, 9], [-1, 3]])


def _stored(x: Any) -> Any:
    h = np.zeros(4)
    h[0] = x[0]
    return h


def _stored_in_part(x: Any) -> Any:
    h = np.zeros(4)
    h[:2] = x[:2]
    return h


def _stored_at(x: Any) -> Any:
    h = np.zeros(4)
    h[np.arange(2)] = x[:2]
    return h


def _added_at(x: Any) -> Any:
    h = np.zeros(4)
    h[1] += x[0]
    return h


def _added_in_part(x: Any) -> Any:
    h = np.zeros(4)
    h[:2] += x[:2]
    return h


def _shuffled(x: Any) -> Any:
    RNG.permutation(x)
    return x


REFUSED: dict[str, tuple[Function, str]] = {
    "an element stored": (_stored, "bs.set(h, index, value)"),
    "a part stored": (_stored_in_part, "bs.set(h, index, value)"),
    "indices stored": (_stored_at, "bs.set(h, index, value)"),
    "an element added to": (_added_at, "bs.add_at(h, index, value)"),
    "a part added to": (_added_in_part, "bs.add_at(h, index, x)"),
    "np.array of a list": (lambda x: np.array([x[0], x[1]]), "np.stack([a, b])"),
    "np.array of rows": (lambda x: np.array([[x[0], 1.0], [0.0, x[1]]]), "np.block([[a, b], [c, d]])"),
    "np.asarray": (lambda x: np.asarray(x, dtype=float), "np functions take it as it is"),
    "np.sum of a list": (lambda x: np.sum([x[0], x[1]]), "np.sum(np.stack([...]))"),
    "np.max of a list": (lambda x: np.max([x[0], x[1]]), "np.max(np.stack([...]))"),
    "np.linalg.norm of a list": (lambda x: np.linalg.norm([x[0], x[1]]), "np.linalg.norm(np.stack([...]))"),
    "np.stack of rows": (lambda x: np.stack([[x[0], 0.0], [1.0, x[1]]]), "np.block([[a, b], [c, d]])"),
    "np.full": (lambda x: np.full(3, x[0]), "np.broadcast_to(x, shape)"),
    "np.full_like of an array": (lambda x: np.full_like(X, x[0]), "np.broadcast_to(value, shape)"),
    "np.arange": (lambda x: np.arange(x[0]), "np functions take it as it is"),
    "np.r_": (lambda x: np.r_[x, x], "np.concatenate([a, b])"),
    "np.vectorize": (lambda x: np.vectorize(lambda v: v * v)(x), "bs.vmap"),
    "np.frompyfunc": (lambda x: np.frompyfunc(lambda v: v * v, 1, 1)(x), "bs.vmap"),
    "np.ndenumerate": (lambda x: [v for _, v in np.ndenumerate(x)], "range(len(x))"),
    "np.polyfit": (lambda x: np.polyfit(np.arange(4.0), x, 1), "np.linalg.lstsq(np.vander(x, degree + 1), y)[0]"),
    "np.roots": (lambda x: np.roots(x), "bs.root"),
    "np.geomspace": (lambda x: np.geomspace(x[0], x[1], 3), "np.exp(np.linspace(np.log(a), np.log(b), n))"),
    "coefficients of np.polynomial": (lambda x: np.polynomial.Polynomial(x)(2.0), "np.polyval(c[::-1], x)"),
    "np.polynomial.Polynomial of traced": (lambda x: np.polynomial.Polynomial([1.0, 2.0])(x), "np.polyval(c[::-1], x)"),
    "np.fft": (lambda x: np.fft.rfft(x), "np.convolve"),
    "complex numbers": (lambda x: np.exp(1j * x), "real and imaginary parts"),
    "a cast to complex": (lambda x: x.astype(complex), "real and imaginary parts"),
    "np.angle": (lambda x: np.angle(x), "np.arctan2(y, x)"),
    "np.linalg.eig": (lambda x: np.linalg.eig(np.outer(x, x)), "np.linalg.eigh"),
    "np.random of a traced mean": (lambda x: np.random.default_rng(0).normal(x), "random numbers are drawn before"),
    "a permutation drawn": (_shuffled, "random numbers are drawn before"),
    "divide with where= and out=": (lambda x: np.divide(1.0, x, out=np.zeros(4), where=x != 0), "np.where(mask, np.divide(...), otherwise)"),
    "an option that is not taken": (lambda x: np.var(x, where=x > 0.5), "np.where(mask, f(x), otherwise)"),
    "max() of two": (lambda x: max(x[0], x[1]), "np.maximum(a, b)"),
    "a chain of comparisons": (lambda x: x if 0 < x[0] < 1 else -x, "(a < x) & (x < b)"),
    "sorted()": (lambda x: np.stack(sorted(x)), "np.sort(x)"),
    "math.sqrt": (lambda x: math.sqrt(x[0]), "np.sin(x) for math.sin(x)"),
    "range()": (lambda x: list(range(x[0])), "as a Python argument"),
    "x.sort()": (lambda x: x.sort(), "np.sort(x)"),
    "x.fill()": (lambda x: x.fill(0.0), "np.full_like(x, value)"),
    "x.flat": (lambda x: list(x.flat), "x.ravel()"),
    "x.searchsorted": (lambda x: x.searchsorted(1.0), "np.searchsorted(x)"),
    "JAX's x.at": (lambda x: x.at[0].set(1.0), "bs.set(x, i, v)"),
    "an attribute nobody knows": (lambda x: x.foo, "use the np function"),
    "np.nanmedian": (lambda x: np.nanmedian(x), "np.median"),
    "np.savetxt": (lambda x: np.savetxt("x", x), "save the result"),
    "a mask set by an assignment": (lambda x: x.__setitem__(x > 1, 0.0), "bs.set(x, index, value)"),
    "many values under a traced mask": (lambda x: bs.set(x, x > 1, x[:2]), "np.where(mask, values, x)"),
    # SciPy, which makes NumPy arrays unless SCIPY_ARRAY_API is set before it is imported.
    "scipy.special.softmax": (lambda x: special.softmax(x), "bs.softmax"),
    "scipy.special.logsumexp": (lambda x: special.logsumexp(x), "bs.logsumexp"),
    "scipy.special.comb": (lambda x: special.comb(x, 2), "scipy.special is not traced"),
    "scipy.special.hankel1": (lambda x: special.hankel1(0, x), "the README lists them"),
    "scipy.linalg.cholesky": (lambda x: linalg.cholesky(np.outer(x, x) + SPD), "np.linalg.cholesky"),
    "scipy.linalg.solve_triangular": (lambda x: linalg.solve_triangular(SPD, x), "bs.solve_triangular"),
    "scipy.linalg.cho_factor": (lambda x: linalg.cho_factor(np.outer(x, x) + SPD), "bs.cho_solve"),
    "scipy.linalg.toeplitz": (lambda x: linalg.toeplitz(x), "np.take(c, abs(i - j))"),
    "scipy.stats": (lambda x: stats.norm.logpdf(x), "write out the density"),
    "scipy.optimize.rosen": (lambda x: optimize.rosen(x), "SCIPY_ARRAY_API=1"),
    "scipy.optimize.minimize": (lambda x: optimize.minimize(lambda z: (z - x) ** 2, X).x, "bs.root"),
    "scipy.optimize.brentq": (lambda x: optimize.brentq(lambda z: z - x[0], 0, 2), "bs.root"),
    "scipy.integrate.solve_ivp": (lambda x: integrate.solve_ivp(lambda t, y: -y, (0, 1), x).y, "bs.scan"),
    "scipy.integrate.quad": (lambda x: integrate.quad(lambda t: t * x[0], 0, 1)[0], "np.trapezoid"),
    "scipy.interpolate": (lambda x: interpolate.interp1d(np.arange(4.0), x)(2.5), "np.interp"),
    "scipy.signal.lfilter": (lambda x: signal.lfilter([1.0], [1.0, 0.5], x), "bs.linear_recurrence"),
    "scipy.spatial.distance": (lambda x: spatial.distance.cdist(x[:, None], x[:, None]), "np.linalg.norm"),
    "a sparse matrix times traced": (lambda x: sparse.csr_array(SPD) @ x, "bs.segment_sum(A.data * x[A.col], A.row, A.shape[0])"),
    "traced times a sparse matrix": (lambda x: x @ sparse.csr_array(SPD), "bs.segment_sum"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_traced_says_what_to_write_at_the_user_s_line(name: str) -> None:
    f, hint = REFUSED[name]
    with bs.local() as service, pytest.raises(GraphError) as caught:
        service.submit(f, x=bs.float64[4])
    assert hint in caught.value.hint
    file, _, line = caught.value.source.rpartition(":")
    assert file == "test_idioms.py"
    assert f.__code__.co_firstlineno <= int(line) <= f.__code__.co_firstlineno + 3


def test_the_product_hinted_at_for_a_sparse_matrix_is_that_product() -> None:
    A = sparse.coo_array(sparse.random(4, 4, 0.5, random_state=0))
    with bs.local() as service:
        f = service.submit(lambda x: bs.segment_sum(A.data * x[A.col], A.row, A.shape[0]), x=bs.float64[4])
        np.testing.assert_allclose(f(X), A @ X, rtol=1e-15)
        np.testing.assert_allclose(f.jacobian(X), A.toarray(), rtol=1e-15)


def test_an_error_of_the_user_s_own_passes_as_it_is() -> None:
    with bs.local() as service:
        for f, error in ((lambda x: X.nothing, AttributeError), (lambda x: int("a"), ValueError), (lambda x: len(3), TypeError)):
            with pytest.raises(error):
                service.submit(f, x=bs.float64[4])


def test_an_array_made_outside_a_loop_is_not_filled_inside_it() -> None:
    def f(x: Any) -> Any:
        y = x.__array_namespace__().zeros_like(x)

        def body(i: Any, carry: Any) -> Any:
            y[0] = carry
            return carry + 1

        return bs.fori_loop(0, 3, body, x[0]) + y

    with bs.local() as service, pytest.raises(GraphError, match="outside a branch or loop") as caught:
        service.submit(f, x=bs.float64[4])
    assert "carry it" in caught.value.hint


def test_hasattr_keeps_its_meaning_on_a_traced_value() -> None:
    seen: list[bool] = []
    with bs.local() as service:
        service.submit(lambda x: seen.extend([hasattr(x, "shape"), hasattr(x, "sort"), hasattr(x.__array_namespace__(), "fft")]) or x, x=bs.float64)
    assert seen == [True, False, False]
