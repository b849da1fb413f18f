"""Reductions, scans, order statistics and sequences: NumPy's signatures, and derivatives against closed forms.

The tests of the table cover each record by itself; here stands what they cannot know. `jacobian` asks
forward and reverse mode and expects one answer from both.
"""

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops import FACES
from backsweep_engine.ops.build import call
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from support.graphs import F32, F64, build
from support.run import Array, one, run

INF, NAN = math.inf, math.nan
EPS = float(np.finfo(np.float64).eps)

VALUES: dict[str, Any] = {
    "f": np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]]),
    "g": np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]], np.float32),
    "i": np.array([[3, -1, 2], [0, 5, -7]], np.int64),
    "j": np.array([[3, -1, 2], [1, 5, -7]], np.int32),
    "b": np.array([[True, False, True], [False, False, True]]),
    "row": np.array([1.0, 2.0, 4.0]),
    "cube": np.arange(24.0).reshape(2, 3, 4) ** 2 % 17,
    "holes": np.array([[1.0, NAN, 2.0], [NAN, NAN, NAN], [4.0, -1.0, NAN]]),
    "far": np.array([1.0, INF, -2.0, INF]),
    "long": np.sin(np.arange(20.0)),
    "s": np.array(2.5),
}


def same(expression: str) -> None:
    """Evaluates the expression on traced values and on the arrays. `np` is NumPy in both."""
    names = [name for name in VALUES if re.search(rf"\b{name}\b", expression)]
    f = eval(f"lambda {', '.join(names)}: {expression}", {"np": np})
    arrays = [VALUES[name] for name in names]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        wanted = f(*arrays)
    wanted = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    got = run(build(f, **{name: Type(VALUES[name].dtype, VALUES[name].shape) for name in names}), *arrays)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a.dtype, a.shape) == (np.asarray(b).dtype, np.shape(b))
        # Sums of a few dozen numbers in another order: some units in the last place of the largest.
        tolerance = 32 * np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


SIGNATURES = """
f.cumsum(1); f.cumprod(); f.var(0, ddof=1); f.std(axis=1, keepdims=True); b.any(0); f.all(); i.argmax(1); f.argmin(axis=0, keepdims=True); f.argsort(0)
np.cumsum(f); np.cumsum(f, 0); np.cumsum(cube, axis=-2); np.cumsum(j); np.cumsum(b, 1); np.cumsum(g, 1); np.cumsum(s); np.cumprod(f); np.cumprod(cube, -1)
np.cumprod(j, 0); np.cumprod(b); np.cumulative_sum(row); np.cumulative_sum(f, axis=1, include_initial=True); np.cumulative_prod(j, axis=-1)
np.cumulative_prod(f, axis=0, include_initial=True); np.add.accumulate(f); np.multiply.accumulate(f, 1); np.maximum.accumulate(f, axis=1)
np.maximum.accumulate(long); np.minimum.accumulate(long); np.minimum.accumulate(i); np.maximum.accumulate(b); np.any(b); np.any(b, 0); np.all(b, axis=1)
np.all(b, axis=(0, 1), keepdims=True); np.any(f); np.all(f, -1); np.any(i, axis=1, keepdims=True); np.all(cube, axis=(0, -1)); np.any(holes, 0)
np.count_nonzero(i); np.count_nonzero(cube, axis=(0, 2)); np.count_nonzero(b, 1, keepdims=True); np.argmax(f); np.argmax(cube, 1); np.argmin(cube, -1)
np.argmin(f, axis=0, keepdims=True); np.argmax(i, keepdims=True); np.argmax(b, 1); np.argmax(holes, 1); np.argmax(holes); np.argmax(s); np.var(f)
np.std(f); np.var(cube, 1); np.std(cube, axis=(0, -1), ddof=1); np.var(f, axis=0, keepdims=True); np.std(i); np.var(b); np.std(g, 1); np.var(g)
np.std(f, correction=1); np.var(f, ddof=6); np.std(f, 0, ddof=5); np.std(row, ddof=0.5); np.ptp(f); np.ptp(cube, 1); np.ptp(i, axis=-1)
np.ptp(g, 0, keepdims=True); np.average(f); np.average(f, 0); np.average(f, axis=(0, 1)); np.average(f, 1, weights=row); np.average(f, weights=np.abs(f))
np.average(i, 1, weights=row); np.average(i, axis=0); np.average(j, axis=1, weights=[1, 2, 3]); np.average(g, 1, [1, 2, 3])
np.average(f, 1, row, returned=True); np.average(f, 0, returned=True); np.average(cube, (0, 2), np.arange(8.).reshape(2, 4))
np.average(cube, (2, 0), np.arange(8.).reshape(4, 2)); np.average(f, 1, row, keepdims=True); np.nansum(holes); np.nansum(holes, 1); np.nansum(i, 0)
np.nanprod(holes, 0); np.nanmax(f, 1); np.nanmin(holes[::2], 1); np.nanmax(holes[::2], 1, keepdims=True); np.nanmean(holes[::2], axis=1); np.nanmean(holes)
np.nanmean(f, 0); np.nanvar(holes[::2], 1); np.nanstd(holes); np.nanstd(holes[::2], axis=1, ddof=1, keepdims=True); np.nanmax(i); np.amax(f, 0); np.amin(f)
np.linalg.norm(f); np.linalg.norm(row); np.linalg.norm(f, axis=0); np.linalg.norm(cube, axis=(0, 2)); np.linalg.norm(cube, axis=(2, 0), keepdims=True)
np.linalg.norm(f, 'fro'); np.linalg.norm(f, 1); np.linalg.norm(f, -1); np.linalg.norm(f, np.inf); np.linalg.norm(f, -np.inf)
np.linalg.norm(cube, 1, axis=(2, 0)); np.linalg.norm(cube, np.inf, (0, 2), keepdims=True); np.linalg.norm(row, 1); np.linalg.norm(row, np.inf)
np.linalg.norm(row, -np.inf); np.linalg.norm(row, 0); np.linalg.norm(row, 3); np.linalg.norm(row, 2.5); np.linalg.norm(row, 0.5); np.linalg.norm(row, -1.5)
np.linalg.norm(f, 2, axis=1); np.linalg.norm(f, 1, axis=-1, keepdims=True); np.linalg.norm(i); np.linalg.norm(g); np.linalg.norm(g, np.inf, 0)
np.linalg.norm(s); np.linalg.norm(cube); np.linalg.vector_norm(cube); np.linalg.vector_norm(cube, axis=1, ord=3)
np.linalg.vector_norm(f, keepdims=True, ord=np.inf); np.linalg.matrix_norm(cube); np.linalg.matrix_norm(cube, ord=1, keepdims=True); np.sort(f)
np.sort(f, 0); np.sort(f, axis=None); np.sort(cube, 1, kind='stable'); np.sort(j); np.sort(b); np.sort(holes); np.sort(far); np.argsort(f)
np.argsort(f, axis=None); np.argsort(cube, 0, stable=True); np.argsort(b, kind='stable'); np.argsort(holes, kind='stable'); np.median(f); np.median(f, 0)
np.median(cube, axis=(0, 2)); np.median(f, 1, keepdims=True); np.median(i); np.median(b); np.median(g); np.median(holes, 1); np.median(holes)
np.median(cube, keepdims=True); np.median(s); np.median(far); np.quantile(f, 0.3); np.quantile(f, 0.3, axis=0)
np.quantile(cube, [0.1, 0.5, 0.9], axis=(0, -1)); np.quantile(f, 1); np.quantile(f, 0); np.quantile(f, np.array([[0.25, 0.75]]), 1, keepdims=True)
np.quantile(g, 0.5); np.quantile(g, [0.5]); np.quantile(g, np.float64(0.5)); np.quantile(i, 0.2); np.quantile(holes, 0.4, 1); np.percentile(f, 30)
np.percentile(f, [25, 50, 75], 1); np.percentile(g, 10.0); np.percentile(cube, 99, axis=(1, 2)); np.diff(f); np.diff(f, axis=0); np.diff(long, 3)
np.diff(f, n=5); np.diff(f, 0); np.diff(i); np.diff(b); np.diff(f, prepend=0); np.diff(f, append=f); np.diff(f, axis=0, prepend=f, append=1.5)
np.diff(j, prepend=0); np.trapezoid(long); np.trapezoid(f, axis=0); np.trapezoid(f, dx=0.5); np.trapezoid(f, row); np.trapezoid(f, f, axis=0)
np.trapezoid(i); np.trapezoid(g, dx=2); np.trapezoid(cube, row, axis=1); np.trapezoid(row, row**2); np.convolve(long, row); np.convolve(row, long, 'same')
np.convolve(long, row, 'valid'); np.convolve(row, long, 'valid'); np.convolve(long, [1, 2], 'same'); np.convolve(row, 2); np.convolve(f[0], i[0])
np.convolve(i[0], j[0]); np.correlate(long, row); np.correlate(row, long); np.correlate(long, row, 'full'); np.correlate(row, long, 'same')
np.correlate(long, row[:2], 'same'); np.correlate(long[:6], row[:2], 'same'); np.correlate(row[:2], long[:5], 'same'); np.correlate(row, long[:4], 'full')
np.cross(f, row); np.cross(f, f[::-1]); np.cross(row, i); np.cross(cube, cube[:, ::-1], axis=1); np.cross(cube, np.ones((2, 4, 3)), axisa=1, axisc=0)
np.linalg.cross(f, row); np.cross(f[:, None], f[None]); np.linalg.norm(f, 2); np.linalg.norm(f, -2); np.linalg.norm(f, 'nuc')
np.linalg.norm(cube, 'nuc', axis=(2, 0), keepdims=True); np.linalg.matrix_norm(f, ord=2)
"""


@pytest.mark.parametrize("expression", [e.strip() for line in SIGNATURES.strip().splitlines() for e in line.split("; ")])
def test_a_numpy_call_means_the_same_on_a_traced_value(expression: str) -> None:
    same(expression)


def jacobian(graph: Graph, *x: Any, wrt: int = 0) -> Array:
    """The matrix by one input, from unit tangents and again, all at once, from unit cotangents."""
    n, m = graph.input_types[wrt].size, graph.output_types[0].size
    eye = [np.eye(k).reshape(k, *t.shape).astype(t.dtype) for k, t in ((n, graph.input_types[wrt]), (m, graph.output_types[0]))]
    forward = np.stack([one(derive.jvp(graph, [wrt]), *x, e).ravel() for e in eye[0]], axis=1)
    seeds = batch(derive.vjp(graph, [wrt]), [False] * len(x) + [True], m)
    reverse = one(seeds, *x, eye[1]).reshape(m, n)
    np.testing.assert_array_equal(np.isnan(forward), np.isnan(reverse))
    # Forward and reverse add the same products in another order: a few units in the last place.
    np.testing.assert_allclose(forward, reverse, rtol=1e-6 if forward.dtype == np.float32 else 1e-14, atol=1e-14)
    return forward


def hessian(graph: Graph, x: Array) -> Array:
    return np.stack([one(derive.hvp(graph, [0]), x, e.reshape(x.shape)).ravel() for e in np.eye(x.size)])


# Scans.


@pytest.mark.parametrize("zeros", [(), (0,), (2,), (1, 3), (0, 1, 2, 3, 4)])
def test_a_cumulative_product_with_zeros_has_exact_derivatives(zeros: tuple[int, ...]) -> None:
    x = np.array([2.0, -3.0, 0.5, 4.0, 1.5])
    x[list(zeros)] = 0
    wanted = [[math.prod(np.delete(x[: k + 1], j)) if j <= k else 0.0 for j in range(5)] for k in range(5)]
    np.testing.assert_allclose(jacobian(build(np.cumprod, x=F64[5]), x), wanted, rtol=4 * EPS, atol=0)
    second = [[math.prod(np.delete(x, [i, j])) if i != j else 0.0 for j in range(5)] for i in range(5)]
    np.testing.assert_allclose(hessian(build(lambda x: np.cumprod(x)[-1], x=F64[5]), x), second, rtol=4 * EPS, atol=0)


def test_a_cumulative_product_overflows_no_earlier_than_numpy_s() -> None:
    """A tree of products would meet 1e200 * 1e200 here."""
    x = np.array([1e-200, 1e-50, 1e200, 1e200])
    assert one(build(np.cumprod, x=F64[4]), x).tolist() == np.cumprod(x).tolist()
    last = one(derive.vjp(build(lambda x: np.cumprod(x)[-1], x=F64[4]), [0]), x, np.ones(()))
    np.testing.assert_allclose(last[2:], [1e-50, 1e-50], rtol=4 * EPS)
    assert np.isfinite(jacobian(build(lambda x: np.cumprod(x)[:3], x=F64[4]), np.array([0.0, 1.0, 1e200, 1e200]))).all()


def test_the_transpose_of_a_cumulative_sum_is_one_from_behind() -> None:
    graph = derive.vjp(build(lambda x: np.cumsum(x, 1), x=F64[2, 3]), [0])
    c = np.array([[1.0, 10, 100], [2, 20, 200]])
    assert one(graph, *([np.zeros((2, 3))] * (graph.arity - 1)), c).tolist() == [[111, 110, 100], [222, 220, 200]]
    assert np.array_equal(jacobian(build(np.cumsum, x=F64[4]), np.ones(4)), np.tri(4))


RUNNING: list[tuple[str, list[float], list[list[float]]]] = [
    ("cummax", [1, 1, 3, 2, 3], [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0.5, 0, 0.5]]),
    ("cummin", [2, 2, 2, 1, 5], [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 1, 0]]),
    ("cummax", [0, -1, -INF, 0, INF], [[1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [1, 0, 0, 0, 0], [0.5, 0, 0, 0.5, 0], [0, 0, 0, 0, 1]]),
]


@pytest.mark.parametrize("name,x,wanted", RUNNING, ids=[str(r[:2]) for r in RUNNING])
def test_entries_so_far_that_tie_share_evenly(name: str, x: list[float], wanted: list[list[float]]) -> None:
    graph = build(lambda x: FACES[name](x), x=F64[5])
    ufunc = {"cummax": np.maximum, "cummin": np.minimum}[name]
    assert one(graph, np.array(x)).tolist() == ufunc.accumulate(x).tolist()
    np.testing.assert_allclose(jacobian(graph, np.array(x)), wanted, rtol=2 * EPS)
    assert not hessian(build(lambda x: np.sum(FACES[name](x)), x=F64[5]), np.array(x)).any()


@pytest.mark.parametrize("shape,axis", [((600,), 0), ((7, 3), 0), ((3, 700), 1), ((5, 9), 0), ((2, 9, 2), 1)])
def test_a_linear_recurrence_solves_its_bidiagonal_system(shape: tuple[int, ...], axis: int) -> None:
    """b = (I - S A)^-1 c, S the shift by one: with the inverse L, db/dc = L and db/da[k] = L[:, k] b[k-1]."""
    random = np.random.default_rng(0)
    a, c = random.uniform(-1, 1, shape), random.uniform(-1, 1, shape)
    graph = build(lambda a, c: FACES["linear_recurrence"](a, c, axis), a=F64[shape], c=F64[shape])
    u = random.uniform(-1, 1, shape)
    b, (da, dc) = one(graph, a, c), run(derive.vjp(graph, [0, 1]), a, c, u)
    lanes = [np.moveaxis(x, axis, 0).reshape(shape[axis], -1).T for x in (a, c, u, b, da, dc)]
    for a1, c1, u1, b1, da1, dc1 in zip(*lanes, strict=True):
        system = np.eye(len(a1)) - np.diag(a1[1:], -1)
        np.testing.assert_allclose(b1, np.linalg.solve(system, c1), rtol=1e-12, atol=1e-13)
        cotangent = np.linalg.solve(system.T, u1)
        np.testing.assert_allclose(dc1, cotangent, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(da1, cotangent * np.array([0, *b1[:-1]]), rtol=1e-12, atol=1e-13)


# Norms and spread.

ORDERS: list[tuple[Any, float]] = [(None, 2.0), (1, 1.0), (np.inf, INF), (3, 3.0), (1.5, 1.5)]


@pytest.mark.parametrize("order,p", ORDERS, ids=str)
def test_the_derivative_of_a_norm_at_0_is_0_forward_reverse_and_twice(order: Any, p: float) -> None:
    graph = build(lambda x: np.linalg.norm(x, order), x=F64[3])
    # All entries attain the largest magnitude, abs'(0) = 0 says the rest.
    assert jacobian(graph, np.zeros(3)).tolist() == [[0, 0, 0]]
    assert hessian(graph, np.zeros(3)).tolist() == np.zeros((3, 3)).tolist()
    rows = build(lambda x: np.linalg.norm(x, order, axis=1), x=F64[2, 2])
    assert np.isfinite(jacobian(rows, np.array([[0.0, 0.0], [3.0, 4.0]]))).all()


@pytest.mark.parametrize("p", [1.5, 2.0, 3.0, 7.0])
def test_the_derivatives_of_a_p_norm_are_the_closed_ones(p: float) -> None:
    """With u = |x| / y: gradient sign(x) u**(p-1), Hessian (p-1)/y (diag u**(p-2) - g g')."""
    x = np.array([3.0, -4.0, 0.5, 2.0])
    graph = build(lambda x: np.linalg.norm(x, p), x=F64[4])
    y = float((abs(x) ** p).sum() ** (1 / p))
    g = np.sign(x) * (abs(x) / y) ** (p - 1)
    assert float(one(graph, x)) == pytest.approx(y, rel=4 * EPS)
    np.testing.assert_allclose(jacobian(graph, x)[0], g, rtol=1e-14)
    np.testing.assert_allclose(hessian(graph, x), (p - 1) / y * (np.diag((abs(x) / y) ** (p - 2)) - np.outer(g, g)), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("scale", [1e308, 1e200, 1.0, 1e-200, 1e-308, 5e-324])
@pytest.mark.parametrize("p", [2.0, 3.0])
def test_a_norm_neither_overflows_nor_underflows(p: float, scale: float) -> None:
    x = np.array([0.3, -0.4, 0.5]) * scale if scale > 1e-320 else np.array([3.0, -4.0, 12.0]) * scale
    graph = build(lambda x: np.linalg.norm(x, p), x=F64[3])
    with mpmath.workdps(40):
        exact = mpmath.root(sum(abs(mpmath.mpf(float(v))) ** p for v in x), p)
        wanted = float(exact)
        slopes = [float(mpmath.sign(float(v)) * (abs(mpmath.mpf(float(v))) / exact) ** (p - 1)) for v in x]
    assert abs(float(one(graph, x)) - wanted) <= max(4 * EPS * wanted, 5e-324)
    # Below 1e-307 the value itself is rounded to few digits, and the quotient x / y with it.
    np.testing.assert_allclose(jacobian(graph, x)[0], slopes, rtol=1e-14 if scale > 1e-300 else 0.05)


def test_a_float32_norm_and_deviation_overflow_no_earlier_than_their_results() -> None:
    x = np.array([3e30, -4e30, 0, 0], np.float32)
    assert float(one(build(np.linalg.norm, x=F32[4]), x)) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(jacobian(build(np.linalg.norm, x=F32[4]), x)[0], [0.6, -0.8, 0, 0], rtol=1e-6)
    assert float(one(build(np.std, x=F32[4]), x)) == pytest.approx(float(np.std(x.astype(float))), rel=1e-6)


@pytest.mark.parametrize("x,wanted", [([INF, 1.0], INF), ([-INF, INF], INF), ([NAN, 1.0], NAN), ([INF, NAN], NAN), ([0.0, -0.0], 0.0)])
def test_a_norm_of_what_is_not_finite_is_numpy_s(x: list[float], wanted: float) -> None:
    np.testing.assert_array_equal(one(build(np.linalg.norm, x=F64[2]), np.array(x)), wanted)


def test_a_deviation_of_equal_entries_has_derivative_0() -> None:
    graph = build(np.std, x=F64[4])
    assert jacobian(graph, np.full(4, 3.0)).tolist() == [[0, 0, 0, 0]]
    assert not hessian(graph, np.full(4, 3.0)).any()


@pytest.mark.parametrize("ddof", [0, 1, 0.5])
def test_the_derivatives_of_var_and_std_are_the_closed_ones(ddof: float) -> None:
    x = np.array([1.0, 4.0, -2.0, 0.5])
    n, d = 4, x - x.mean()
    graph = build(lambda x: np.var(x, ddof=ddof), x=F64[4])
    np.testing.assert_allclose(jacobian(graph, x)[0], 2 * d / (n - ddof), rtol=1e-14)
    np.testing.assert_allclose(hessian(graph, x), 2 / (n - ddof) * (np.eye(n) - 1 / n), rtol=1e-14)
    graph = build(lambda x: np.std(x, ddof=ddof), x=F64[4])
    np.testing.assert_allclose(jacobian(graph, x)[0], d / (n - ddof) / np.std(x, ddof=ddof), rtol=1e-14)


def test_reductions_that_leave_nan_out_have_no_derivative_there() -> None:
    x = np.array([1.0, NAN, 4.0, NAN])
    known = np.array([1.0, 0, 1, 0])
    slopes = {np.nansum: known, np.nanmean: known / 2, np.nanprod: [4, 0, 1, 0], np.nanmax: [0, 0, 1, 0], np.nanmin: [1, 0, 0, 0], np.nanvar: [-1.5, 0, 1.5, 0]}
    slopes[np.nanstd] = [-0.5, 0, 0.5, 0]
    for function, wanted in slopes.items():
        np.testing.assert_allclose(jacobian(build(function, x=F64[4]), x)[0], wanted, rtol=1e-15, err_msg=function.__name__)


# Order.


@pytest.mark.parametrize("x", [[3.0, 1.0, 2.0], [1.0, 0.0, 1.0], [INF, -1.0, -INF], [2.0, NAN, 1.0]], ids=str)
def test_the_derivative_of_sort_is_the_stable_permutation(x: list[float]) -> None:
    order = np.argsort(x, kind="stable")
    assert np.array_equal(jacobian(build(np.sort, x=F64[3]), np.array(x)), np.eye(3)[order])


TOP: list[tuple[list[float], int, list[int]]] = [
    ([1.0, 3.0, 2.0], 2, [1, 2]),
    ([2.0, 1.0, 2.0, 2.0], 2, [0, 2]),
    ([1.0, NAN, INF], 2, [1, 2]),
    ([0.0, -0.0], 2, [0, 1]),
    ([5.0], 0, []),
]


@pytest.mark.parametrize("x,k,places", TOP, ids=str)
def test_top_k_gives_the_largest_first_and_of_equal_ones_the_first(x: list[float], k: int, places: list[int]) -> None:
    values, found = run(build(lambda x: FACES["top_k"](x, k), x=F64[len(x)]), np.array(x))
    assert found.tolist() == places
    np.testing.assert_array_equal(values, np.array(x)[places])
    if k:
        assert np.array_equal(jacobian(build(lambda x: FACES["top_k"](x, k)[0], x=F64[len(x)]), np.array(x)), np.eye(len(x))[places])


def test_top_k_of_integers_reaches_the_smallest_integer() -> None:
    x = np.array([np.iinfo(np.int64).min, 0, np.iinfo(np.int64).max])
    values, places = run(build(lambda x: FACES["top_k"](x, 3), x=Type(np.dtype(np.int64), (3,))), x)
    assert values.tolist() == x[::-1].tolist() and places.tolist() == [2, 1, 0]


def test_the_derivative_of_a_quantile_is_shared_by_its_two_neighbours() -> None:
    x = np.array([5.0, 1.0, 4.0, 2.0, 9.0])
    weights = {0.0: [0, 1, 0, 0, 0], 0.3: [0, 0, 0.2, 0.8, 0], 0.5: [0, 0, 1, 0, 0], 0.9: [0.4, 0, 0, 0, 0.6], 1.0: [0, 0, 0, 0, 1]}
    got = jacobian(build(lambda x: np.quantile(x, list(weights)), x=F64[5]), x)
    np.testing.assert_allclose(got, list(weights.values()), rtol=1e-14, atol=1e-15)
    assert jacobian(build(np.median, x=F64[4]), x[:4]).tolist() == [[0, 0, 0.5, 0.5]]
    assert jacobian(build(np.median, x=F64[3]), np.array([2.0, 1.0, 2.0])).tolist() == [[1, 0, 0]]  # of equal entries the first comes first


@pytest.mark.parametrize("q,wanted", [(0.0, 1.0), (0.25, 1e308), (0.5, INF), (0.75, INF), (1.0, INF)])
def test_a_quantile_between_huge_or_infinite_entries_is_their_mean(q: float, wanted: float) -> None:
    """NumPy gives NaN between infinities, and overflows where it takes differences of both signs."""
    assert float(one(build(lambda x: np.quantile(x, q), x=F64[5]), np.array([INF, 1.0, INF, 1e308, INF]))) == wanted
    assert float(one(build(np.median, x=F64[2]), np.array([1e308, 1.5e308]))) == pytest.approx(1.25e308)


# Sequences.


@pytest.mark.parametrize("mode", ["full", "same", "valid"])
@pytest.mark.parametrize("n,m", [(5, 3), (3, 5), (4, 4), (1, 3), (6, 2)])
def test_the_derivative_of_a_convolution_is_its_toeplitz_matrix(n: int, m: int, mode: str) -> None:
    random = np.random.default_rng(1)
    a, v = random.uniform(-1, 1, n), random.uniform(-1, 1, m)
    for function in (np.convolve, np.correlate):
        graph = build(lambda a, v, f=function: f(a, v, mode), a=F64[n], v=F64[m])
        np.testing.assert_allclose(jacobian(graph, a, v), np.stack([function(e, v, mode) for e in np.eye(n)], axis=1), atol=1e-15)
        np.testing.assert_allclose(jacobian(graph, a, v, wrt=1), np.stack([function(a, e, mode) for e in np.eye(m)], axis=1), atol=1e-15)


NODES, HEIGHTS = np.array([0.0, 1.0, 3.0, 4.0]), np.array([1.0, -1.0, 2.0, 0.5])


@pytest.mark.parametrize("ends", [{}, {"left": -7.0, "right": 9.0}], ids=["constant", "given"])
def test_interp_is_numpy_s_with_the_slopes_of_its_pieces(ends: dict[str, float]) -> None:
    x = np.array([-1.0, 0.0, 0.5, 1.0, 2.0, 3.5, 4.0, 5.0, NAN, INF, -INF])
    graph = build(lambda x, xp, fp: np.interp(x, xp, fp, **ends), x=F64[11], xp=F64[4], fp=F64[4])
    np.testing.assert_allclose(one(graph, x, NODES, HEIGHTS), np.interp(x, NODES, HEIGHTS, **ends), rtol=1e-15)
    slopes = np.diag(jacobian(graph, x, NODES, HEIGHTS))
    np.testing.assert_allclose(slopes, [0, -2, -2, 1.5, 1.5, -1.5, 0, 0, 0, 0, 0], rtol=1e-15)
    by_height = jacobian(graph, x, NODES, HEIGHTS, wrt=2)
    hats = np.stack([np.interp(x, NODES, e, **dict.fromkeys(ends, 0.0)) for e in np.eye(4)], axis=1)
    np.testing.assert_allclose(by_height, np.where(np.isnan(x)[:, None], 0, hats), atol=1e-15)
    # A node moved to the right moves the graph beside it by minus the slope there, times its hat.
    inner = jacobian(graph, x, NODES, HEIGHTS, wrt=1)[[2, 4, 5]]
    np.testing.assert_allclose(inner, -np.array([[-2], [1.5], [-1.5]]) * hats[[2, 4, 5]], rtol=1e-14, atol=1e-15)


@pytest.mark.parametrize("nodes,heights", [([1.0], [5.0]), ([0.0, 1.0, 1.0, 2.0], [0.0, 1.0, 3.0, 4.0])], ids=["one", "coinciding"])
def test_interp_of_one_node_and_of_nodes_that_coincide(nodes: list[float], heights: list[float]) -> None:
    x = np.array([0.5, 1.0, 1.5])
    graph = build(lambda x: np.interp(x, np.array(nodes), np.array(heights)), x=F64[3])
    np.testing.assert_allclose(one(graph, x), np.interp(x, nodes, heights))
    assert np.isfinite(jacobian(graph, x)).all()


# Refusals.

REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("a traced quantile", lambda f: np.quantile(f, f[0, 0]), "NOT_TRACEABLE"),
    ("another method of quantiles", lambda f: np.quantile(f, 0.5, method="hazen"), "NOT_TRACEABLE"),
    ("a quantile above 1", lambda f: np.quantile(f, 1.5), "ATTRIBUTE"),
    ("a NaN quantile", lambda f: np.quantile(f, NAN), "ATTRIBUTE"),
    ("too many quantiles", lambda f: np.quantile(f, np.linspace(0, 1, 500)), "ATTRIBUTE"),
    ("the median of nothing", lambda f: np.median(f[:0]), "SHAPE"),
    ("more than there are", lambda f: FACES["top_k"](f, 4), "ATTRIBUTE"),
    ("the place of a maximum of nothing", lambda f: np.argmax(f[:0]), "SHAPE"),
    ("a complex cumulative sum", lambda f: np.cumsum(f, dtype=complex), "DTYPE"),
    ("axis outside of cumsum", lambda f: np.cumsum(f, 2), "ATTRIBUTE"),
    ("cumulative_sum of a matrix without an axis", lambda f: np.cumulative_sum(f), "ATTRIBUTE"),
    ("reduce of another ufunc", lambda f: np.hypot.reduce(f), "NOT_TRACEABLE"),
    ("accumulate of another ufunc", lambda f: np.logaddexp.accumulate(f), "NOT_TRACEABLE"),
    ("an order of neither vectors nor matrices", lambda f: np.linalg.norm(f[None], 1), "ATTRIBUTE"),
    ("an unknown order of a matrix norm", lambda f: np.linalg.norm(f, 3), "ATTRIBUTE"),
    ("Frobenius norm of a vector", lambda f: np.linalg.norm(f[0], "fro"), "ATTRIBUTE"),
    ("weights that do not fit", lambda f: np.average(f, 0, np.ones(3)), "SHAPE"),
    ("weights without an axis", lambda f: np.average(f, weights=np.ones(3)), "SHAPE"),
    ("the range of bools", lambda f: np.ptp(f > 0), "DTYPE"),
    ("cross product of two entries", lambda f: np.cross(f[:, :2], f[:, :2]), "SHAPE"),
    ("convolution of matrices", lambda f: np.convolve(f, f), "SHAPE"),
    ("unknown mode", lambda f: np.convolve(f[0], f[1], "half"), "ATTRIBUTE"),
    ("empty convolution", lambda f: np.convolve(f[0], f[1, :0]), "SHAPE"),
    ("differences of a negative order", lambda f: np.diff(f, -1), "ATTRIBUTE"),
    ("interpolation with a period", lambda f: np.interp(f, NODES, HEIGHTS, period=4.0), "NOT_TRACEABLE"),
    ("nodes without values", lambda f: np.interp(f, NODES, HEIGHTS[:3]), "SHAPE"),
]


@pytest.mark.parametrize("f,reason", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_cannot_be_is_refused_with_its_reason(f: Callable[..., Any], reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3])
    assert caught.value.reason == reason, caught.value


@pytest.mark.parametrize("order", [0.5, INF, NAN, -1.0])
def test_a_norm_of_no_order_is_refused(order: float) -> None:
    with pytest.raises(GraphError, match="order"):
        build(lambda x: call("norm", x, axes=(0,), order=order), x=F64[3])
