"""What the ops return where a derivative does not exist, a partial is infinite, or a plain formula overflows.

References are closed forms. `jacobian` asks forward and reverse mode and expects one answer from both.
"""

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest

from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops import compound
from backsweep_engine.ops.build import call
from backsweep_engine.transforms import derive
from support.graphs import F32, F64, I64, build
from support.run import one, run

INF, NAN = math.inf, math.nan


def scalar(f: Callable[..., Any], dtype: str = "float64") -> Graph:
    return build(f, x=Type(np.dtype(dtype)))


def slope(f: Callable[..., Any], x: float, dtype: str = "float64") -> float:
    """f'(x), asked in forward and in reverse mode."""
    graph = scalar(f, dtype)
    seed = np.ones((), dtype)
    at = np.asarray(x, dtype)
    forward, reverse = one(derive.jvp(graph, [0]), at, seed), one(derive.vjp(graph, [0]), at, seed)
    assert np.array_equal(forward, reverse, equal_nan=True), f"forward {forward}, reverse {reverse}"
    return float(forward)


def curvature(f: Callable[..., Any], x: float) -> float:
    return float(one(derive.hvp(scalar(f), [0]), np.asarray(x), np.ones(())))


def jacobian(graph: Graph, *x: Any) -> Any:
    """The matrix by the first input, from unit tangents and again from unit cotangents."""
    n, m = graph.input_types[0].size, graph.output_types[0].size
    eye = [np.eye(k).reshape(k, *t.shape).astype(t.dtype) for k, t in ((n, graph.input_types[0]), (m, graph.output_types[0]))]
    forward = np.stack([one(derive.jvp(graph, [0]), *x, e).ravel() for e in eye[0]], axis=1) if n else np.zeros((m, 0))
    reverse = np.stack([one(derive.vjp(graph, [0]), *x, e).ravel() for e in eye[1]])
    np.testing.assert_array_equal(np.isnan(forward), np.isnan(reverse))
    # Forward and reverse add the same products in another order: a few units in the last place.
    np.testing.assert_allclose(forward, reverse, rtol=1e-14, atol=1e-14)
    return forward


def relu(x: Any) -> Any:
    return call("relu", x)


SLOPES: list[tuple[str, Callable[..., Any], float, float]] = [
    ("relu at 0", relu, 0.0, 0.0),
    ("relu at -0", relu, -0.0, 0.0),
    ("relu above 0", relu, 1e-300, 1.0),
    ("abs at 0", abs, 0.0, 0.0),
    ("abs below 0", abs, -1e-300, -1.0),
    ("sign", np.sign, 0.0, 0.0),
    ("maximum with itself", lambda x: np.maximum(x, x), 2.0, 1.0),
    ("maximum at a tie with a constant", lambda x: np.maximum(x, 2.0), 2.0, 0.5),
    ("minimum at a tie with a constant", lambda x: np.minimum(2.0, x), 2.0, 0.5),
    ("where the root is not taken at 0", lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
    ("where the root is not taken below 0", lambda x: np.where(x > 0, np.sqrt(x), 0.0), -1.0, 0.0),
    ("where the logarithm is not taken", lambda x: np.where(x > 0, np.log(x), x), 0.0, 1.0),
    ("where the quotient is not taken", lambda x: np.where(x != 0, np.sin(x) / x, 1.0), 0.0, 0.0),
    ("sqrt at 0", np.sqrt, 0.0, INF),
    ("reciprocal at 0", lambda x: 1 / x, 0.0, -INF),
    ("log at 0", np.log, 0.0, INF),
    ("log1p at -1", np.log1p, -1.0, INF),
    ("x ** 0", lambda x: x**0, 0.0, 0.0),
    ("x ** 1", lambda x: x**1, 0.0, 1.0),
    ("x ** 2", lambda x: x**2, 0.0, 0.0),
    ("x ** 3", lambda x: x**3, -2.0, 12.0),
    ("x ** -1", lambda x: x**-1, -2.0, -0.25),
    ("x ** 0.0", lambda x: x**0.0, 0.0, 0.0),
    ("x ** 1.0", lambda x: x**1.0, 0.0, 1.0),
    ("x ** 2.0", lambda x: x**2.0, 0.0, 0.0),
    ("x ** 2.0 below 0", lambda x: x**2.0, -3.0, -6.0),
    ("x ** 0.5", lambda x: x**0.5, 0.0, INF),
    ("0.0 ** x", lambda x: 0.0**x, 2.0, 0.0),
    ("0.0 ** x at 0", lambda x: 0.0**x, 0.0, 0.0),
    ("2.0 ** x", lambda x: 2.0**x, 3.0, 8 * math.log(2)),
    ("x ** x at 1", lambda x: x**x, 1.0, 1.0),
    ("tanh far out", np.tanh, 400.0, 0.0),
    ("exp overflowed", np.exp, 1000.0, INF),
    ("expm1 far below", np.expm1, -1000.0, 0.0),
    ("stop_gradient", lambda x: x * call("stop_gradient", x), 3.0, 3.0),
]


@pytest.mark.parametrize("f,x,wanted", [row[1:] for row in SLOPES], ids=[row[0] for row in SLOPES])
def test_the_slope_at_a_kink_or_a_pole_is_the_one_written_down(f: Callable[..., Any], x: float, wanted: float) -> None:
    assert slope(f, x) == pytest.approx(wanted, rel=1e-15, nan_ok=True)  # closed forms, at most two roundings apart


CURVATURES: list[tuple[str, Callable[..., Any], float, float]] = [
    ("where the root is not taken", lambda x: np.where(x > 0, np.sqrt(x), 0.0), 0.0, 0.0),
    ("where the quotient is not taken", lambda x: np.where(x != 0, 1 / x, x * x), 0.0, 2.0),
    ("relu squared", lambda x: relu(x) ** 2, 0.0, 0.0),
    ("x ** 2", lambda x: x**2, 0.0, 2.0),
    ("x ** 1", lambda x: x**1, 0.0, 0.0),
    ("x ** 2.0", lambda x: x**2.0, 0.0, 2.0),
    ("x ** 3", lambda x: x**3, 0.0, 0.0),
    ("x ** 1.0", lambda x: x**1.0, 0.0, 0.0),
    ("x ** 4", lambda x: x**4, -1.0, 12.0),
    ("softplus far out", lambda x: call("softplus", x), 1000.0, 0.0),
    ("sigmoid far out", lambda x: call("sigmoid", x), -1000.0, 0.0),
    ("logaddexp with 0", lambda x: np.logaddexp(x, 0), 0.0, 0.25),
    ("1 / x", lambda x: 1 / x, -2.0, -0.25),
]


@pytest.mark.parametrize("f,x,wanted", [row[1:] for row in CURVATURES], ids=[row[0] for row in CURVATURES])
def test_the_second_derivative_at_a_kink_is_finite_where_it_exists(f: Callable[..., Any], x: float, wanted: float) -> None:
    assert curvature(f, x) == pytest.approx(wanted, rel=1e-15)


@pytest.mark.parametrize("op", ["maximum", "minimum"])
def test_two_equal_operands_get_half_each(op: str) -> None:
    graph = build(lambda x, y: call(op, x, y), x=F64[3], y=F64[3])
    x, y = np.array([1.0, 2, 3]), np.array([1.0, 5, 0])
    dx, dy = run(derive.vjp(graph, [0, 1]), x, y, np.ones(3))
    first = {"maximum": [0.5, 0, 1], "minimum": [0.5, 1, 0]}[op]
    assert dx.tolist() == first and dy.tolist() == [1 - a for a in first]


@pytest.mark.parametrize("op,entries", [("max", [3.0, 3, 1, 3]), ("min", [1.0, 1, 3, 1])])
def test_entries_that_tie_share_evenly(op: str, entries: list[float]) -> None:
    graph = build(lambda x: call(op, x, axes=(0,)), x=F64[4])
    third = 1 / 3
    assert jacobian(graph, np.array(entries)).tolist() == [[third, third, 0, third]]


@pytest.mark.parametrize("zeros", [0, 1, 2, 3])
@pytest.mark.parametrize("n", [3, 4, 7])
def test_the_product_of_entries_with_zeros_has_exact_derivatives(n: int, zeros: int) -> None:
    x = np.arange(2.0, 2 + n)
    x[:zeros] = 0
    graph = build(np.prod, x=F64[n])
    wanted = [math.prod(np.delete(x, i)) for i in range(n)]
    assert jacobian(graph, x)[0].tolist() == wanted
    for j in range(n):
        row = [0.0 if i == j else math.prod(np.delete(x, [i, j])) for i in range(n)]
        assert one(derive.hvp(graph, [0]), x, np.eye(n)[j]).tolist() == row


def test_a_quotient_s_partials_are_those_of_its_operands() -> None:
    graph = build(lambda x, y: x / y, x=F64[5], y=F64[5])
    x, y = np.array([0.0, 1.0, -3.0, 1e300, 1.0]), np.array([2.0, -4.0, 5.0, 1e-300, 0.0])
    dx, dy = run(derive.vjp(graph, [0, 1]), x, y, np.ones(5))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(dx, 1 / y)
        np.testing.assert_array_equal(dy, -(x / y) / y)


# Far out. The reference is mpmath at 50 digits.

FAR = (-INF, -1000.0, -750.0, -40.0, 0.0, 40.0, 750.0, 1000.0, INF)


def exactly(f: Callable[[Any], Any], x: float) -> float:
    with mpmath.workdps(500):
        return float(f(mpmath.mpf(x)))


FORMULAS: dict[str, tuple[Callable[..., Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "sigmoid": (lambda x: call("sigmoid", x), lambda x: 1 / (1 + mpmath.exp(-x)), lambda x: mpmath.exp(-abs(x)) / (1 + mpmath.exp(-abs(x))) ** 2),
    "softplus": (lambda x: call("softplus", x), lambda x: mpmath.log(1 + mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "logaddexp": (lambda x: np.logaddexp(0, x), lambda x: mpmath.log(1 + mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "log1p(exp)": (lambda x: np.log1p(np.exp(x)), lambda x: mpmath.log(1 + mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "log(1 + exp)": (lambda x: np.log(1 + np.exp(x)), lambda x: mpmath.log(1 + mpmath.exp(x)), lambda x: 1 / (1 + mpmath.exp(-x))),
    "log(sigmoid)": (lambda x: np.log(call("sigmoid", x)), lambda x: -mpmath.log(1 + mpmath.exp(-x)), lambda x: 1 / (1 + mpmath.exp(x))),
    "tanh": (np.tanh, mpmath.tanh, lambda x: 1 / mpmath.cosh(x) ** 2),
}


@pytest.mark.parametrize("x", [x for x in FAR if math.isfinite(x)])
@pytest.mark.parametrize("name", FORMULAS)
def test_saturating_functions_and_their_slopes_are_right_far_out(name: str, x: float) -> None:
    f, value, derivative = FORMULAS[name]
    # The kernels are NumPy's exp, log1p, tanh: a few units in the last place; what is subnormal has fewer digits.
    # tanh' is (1 - y)(1 + y), whose first factor keeps the absolute error of y; it is 0 from x = 20 on.
    if name not in ("log1p(exp)", "log(1 + exp)", "log(sigmoid)"):  # stable when derived, as they stand they overflow
        assert float(one(scalar(f), x)) == pytest.approx(exactly(value, x), rel=1e-14, abs=1e-307)
    assert slope(f, x) == pytest.approx(exactly(derivative, x), rel=1e-14, abs=1e-16 if name == "tanh" else 1e-307)


@pytest.mark.parametrize("name,at_minus,at_plus", [("sigmoid", 0, 0), ("softplus", 0, 1), ("logaddexp", 0, 1), ("log1p(exp)", 0, 1), ("tanh", 0, 0)])
def test_slopes_at_infinity_are_their_limits(name: str, at_minus: float, at_plus: float) -> None:
    assert slope(FORMULAS[name][0], -INF) == at_minus
    assert slope(FORMULAS[name][0], INF) == at_plus


def test_logaddexp_of_equal_infinities_has_the_right_value_and_no_slope() -> None:
    graph = build(np.logaddexp, x=F64[2], y=F64[2])
    x = np.array([-INF, INF])
    assert one(graph, x, x).tolist() == [-INF, INF]
    assert np.isnan(one(derive.vjp(graph, [0]), x, x, np.ones(2))).all()


ROWS: list[tuple[list[float], float, list[float]]] = [
    ([1000.0, 1000.0], 1000 + math.log(2), [0.5, 0.5]),
    ([-1000.0, -1000.0], -1000 + math.log(2), [0.5, 0.5]),
    ([1000.0, -1000.0], 1000.0, [1.0, 0.0]),
    ([0.0, -INF], 0.0, [1.0, 0.0]),
    ([INF, 1.0], INF, [NAN, 0.0]),
    ([-INF, -INF], -INF, [NAN, NAN]),
]


@pytest.mark.parametrize("row,total,shares", ROWS, ids=[str(r[0]) for r in ROWS])
def test_logsumexp_and_softmax_neither_overflow_nor_hide_what_is_undefined(row: list[float], total: float, shares: list[float]) -> None:
    x = np.array(row)
    assert float(one(build(compound.logsumexp, x=F64[2]), x)) == pytest.approx(total, rel=1e-15)
    np.testing.assert_array_equal(one(build(compound.softmax, x=F64[2]), x), shares)
    if math.isfinite(total):
        np.testing.assert_array_equal(jacobian(build(compound.logsumexp, x=F64[2]), x)[0], shares)
        wanted = np.diag(shares) - np.outer(shares, shares)
        np.testing.assert_array_equal(jacobian(build(compound.softmax, x=F64[2]), x), wanted)
        np.testing.assert_array_equal(jacobian(build(compound.log_softmax, x=F64[2]), x), np.eye(2) - np.array(shares))


@pytest.mark.parametrize("x,value,wanted", [(100.0, 100.0, 1.0), (-100.0, math.exp(-100), math.exp(-100)), (0.0, math.log(2), 0.5)])
def test_float32_overflows_no_earlier_than_its_result(x: float, value: float, wanted: float) -> None:
    f = lambda v: np.log1p(np.exp(v))
    # float32 has 24 bits; exp(-100) is subnormal there and has 7 of them left.
    loose = 1e-2 if x == -100 else 1e-6
    assert float(one(scalar(lambda v: call("softplus", v), "float32"), np.float32(x))) == pytest.approx(value, rel=loose)
    assert slope(f, x, "float32") == pytest.approx(wanted, rel=loose)
    assert slope(lambda v: call("softplus", v), x, "float32") == pytest.approx(wanted, rel=loose)
    assert slope(lambda v: call("sigmoid", v), 200.0, "float32") == 0


def test_a_float32_overflow_is_delivered_as_infinity() -> None:
    assert one(build(lambda x: x * x, x=F32[2]), np.array([1e30, 1], np.float32)).tolist() == [INF, 1]


# Indices.


def test_take_counts_negative_indices_from_the_end_and_marks_those_out_of_range() -> None:
    graph = build(lambda x, i: call("take", x, i, axis=0), x=F64[3], i=I64[5])
    index = np.array([0, -1, -3, 3, -4])
    x = np.array([1.0, 2, 4])
    np.testing.assert_array_equal(one(graph, x, index), [1, 4, 1, NAN, NAN])
    integers = build(lambda x, i: call("take", x, i, axis=0), x=I64[3], i=I64[5])
    assert one(integers, np.array([1, 2, 4]), index).tolist() == [1, 4, 1, 0, 0]
    cotangent = np.array([1.0, 10, 100, 1000, 10000])
    assert one(derive.vjp(graph, [0]), x, index, cotangent).tolist() == [101, 0, 10]


def test_put_add_drops_what_is_out_of_range_and_its_transpose_reads_zero_there() -> None:
    graph = build(lambda x, i: call("put_add", x, i, axis=0, size=3), x=F64[5], i=I64[5])
    index, x = np.array([0, -1, 0, 3, -4]), np.array([1.0, 10, 100, 1000, 10000])
    assert one(graph, x, index).tolist() == [101, 0, 10]
    assert one(derive.vjp(graph, [0]), x, index, np.array([1.0, 2, 4])).tolist() == [1, 4, 1, 0, 0]
    assert jacobian(graph, x, index).tolist() == [[1, 0, 1, 0, 0], [0, 0, 0, 0, 0], [0, 1, 0, 0, 0]]


def test_an_index_out_of_range_in_a_batch_stays_out_of_range_in_its_own_row() -> None:
    from backsweep_engine.transforms.batch import batch

    graph = build(lambda x, i: call("take", x, i, axis=0), x=F64[2], i=I64[2])
    x, index = np.array([[1.0, 2], [3, 4]]), np.array([[2, -1], [-3, 0]])
    np.testing.assert_array_equal(one(batch(graph, [True, True], 2), x, index), [[NAN, 2], [NAN, 3]])
    put = build(lambda x, i: call("put_add", x, i, axis=0, size=2), x=F64[2], i=I64[2])
    np.testing.assert_array_equal(one(batch(put, [True, True], 2), x, index), [[0, 2], [4, 0]])


UNTAKEN: dict[str, tuple[Callable[..., Any], list[float], list[float]]] = {
    "a product with a logarithm": (lambda x: np.where(x > 0, np.log(x) * x, x * x), [0.0, -1.0, 2.0], [0.0, -2.0, 1 + math.log(2)]),
    "a sine of a logarithm": (lambda x: np.where(x > 0, np.sin(np.log(x)), x), [0.0, -1.0, 1.0], [1.0, 1.0, 1.0]),
    "an exponential of a reciprocal": (lambda x: np.where(x > 0, np.exp(1 / x), x), [0.0, -2.0, 1.0], [1.0, 1.0, -math.e]),
    "an exponential that overflows": (lambda x: np.where(x < 700, np.exp(x) * x, 0.0), [1.0, 1000.0, 0.0], [2 * math.e, 0.0, 1.0]),
    "a sum of squares of square roots": (lambda x: np.where(x > 0, np.sqrt(x) ** 2 + np.tanh(np.sqrt(x)), 3 * x), [-1.0, -4.0, 0.0], [3.0, 3.0, 3.0]),
}


@pytest.mark.parametrize("name", UNTAKEN)
def test_a_branch_that_is_not_taken_passes_nothing_forward_or_reverse(name: str) -> None:
    f, at, slopes = UNTAKEN[name]
    got = jacobian(build(f, x=F64[3]), np.array(at))
    np.testing.assert_allclose(got, np.diag(slopes), rtol=1e-15, atol=0)


def test_elements_that_are_cut_off_pass_nothing() -> None:
    graph = build(lambda x: np.sum((np.log(x) * x)[1:]), x=F64[3])
    got = jacobian(graph, np.array([-1.0, 1.0, math.e]))
    np.testing.assert_allclose(got, [[0.0, 1.0, 2.0]], rtol=1e-15)


def test_one_element_without_a_derivative_spoils_only_its_own_row_and_column() -> None:
    got = jacobian(build(lambda x: np.sqrt(x) * x, x=F64[3]), np.array([1.0, 4.0, -1.0]))
    np.testing.assert_array_equal(np.isnan(got), np.diag([False, False, True]))
    np.testing.assert_allclose(np.diag(got)[:2], [1.5, 3.0], rtol=1e-15)
