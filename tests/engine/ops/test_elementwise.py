"""NumPy's elementwise functions on traced values: NumPy judges the values, mpmath and closed forms the slopes, also far out and at kinks."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.transforms import derive
from support.exact import exactly
from support.graphs import F64, build
from support.run import one, run

INF, NAN = np.inf, np.nan

VALUES: dict[str, Any] = {
    "f": np.array([[1.5, -2.0, 0.25], [3.5, 0.5, -1.0]]),
    "u": np.array([[0.5, -0.75, 0.25], [0.125, 0.0, -0.99]]),
    "p": np.array([[1.5, 2.0, 1.25], [3.0, 1.5, 1.0]]),
    "g": np.array([[1.5, -2.5, 0.25], [3.0, 0.5, -1.0]], np.float32),
    "w": np.array([[NAN, -INF, 0.0], [-0.0, INF, -1.0]]),
    "h": np.array([[NAN, -INF, 0.0], [-0.0, INF, -1.0]], np.float32),
    "i": np.array([[3, -1, 2], [0, 5, -7]], np.int64),
    "j": np.array([[3, -1, 2], [1, 5, -7]], np.int32),
    "b": np.array([[True, False, True], [False, False, True]]),
    "c": np.array([[True, True, False], [False, True, True]]),
    "row": np.array([1.0, -2.0, 4.0]),
    "s": np.array(2.5),
}

EXPRESSIONS = """
np.log2(p); np.log10(p); np.exp2(f); np.exp2(i); np.cbrt(f); np.cbrt(g); np.hypot(f, row); np.hypot(3, f); np.logaddexp2(f, row); np.logaddexp2(w, w)
np.arcsin(u); np.arccos(u); np.arctan(w); np.arctan2(f, row); np.arctan2(w, 1); np.arctan2(j, 2); np.sinh(f); np.cosh(g); np.arcsinh(f); np.arccosh(p)
np.arctanh(u); np.asin(u); np.atan2(f, s); np.arcsin(f); np.arccosh(f); np.log2(f)
np.floor(f); np.ceil(g); np.trunc(w); np.rint(f); np.rint(j); np.floor(i); np.ceil(j); np.trunc(b); np.fix(f); np.round(f); np.round(f / 7, 2); np.round(g, 1)
np.round(f * 100, -1); np.round(i); np.round(j, 2); (f / 7).round(3); f.round(); np.around(f); np.modf(f); np.modf(w); np.modf(i)
f % row; f % 2; 2 % f; f // row; 7 // f; f // 0; f % 0.0; np.mod(f, 1.5); np.remainder(g, 2); np.fmod(f, row); np.fmod(w, 2); i % 3; i // j; j % j; i // 0
i % 2.5; np.floor_divide(j, 2); np.floor_divide(g, 0.5); np.fmod(j, 2); divmod(f, row); divmod(i, 4); divmod(2, f); np.divmod(f, -1.5)
np.float_power(p, 2); np.float_power(g, 2); np.float_power(f, 3); np.float_power(i, 2); np.float_power(2, f); np.float_power(p, row); np.float_power(j, -1.0)
np.clip(f, -1, 1); np.clip(f, row - 3, 2); np.clip(f, None, 1); np.clip(f, 0, None); np.clip(f, min=0); np.clip(f, max=0.5); np.clip(f, 2, 1); np.clip(g, 0, 1)
np.clip(g, 0.0, None); np.clip(i, 0, 2); np.clip(j, None, 2); np.clip(i, 0.5, 2); np.clip(w, -1, 1); f.clip(0, 1); f.clip(max=1); np.clip(2.0, f, row + 4)
np.clip(f, np.array([0.0, -1, 1]), 3)
np.isnan(w); np.isinf(w); np.isinf(h); np.isnan(i); np.isposinf(w); np.isneginf(h); np.signbit(w); np.isfinite(w); np.heaviside(f, 0.5); np.heaviside(w, row)
np.copysign(f, row); np.copysign(2, w); np.copysign(g, -0.0); np.fmax(w, f); np.fmin(f, w); np.fmax(w, w); np.fmax(i, j); np.fmin(g, 0); np.fmax(b, c)
np.logical_xor(b, c); b ^ c; b ^ True; True ^ b; np.logical_and(f, i); np.logical_or(f > 0, i); np.logical_not(f); np.logical_not(i); np.logical_xor(f, b)
np.logical_and(b, True); np.logical_or(0, f); np.bitwise_xor(b, c)
np.isclose(f, f + 1e-9); np.isclose(f, row); np.isclose(w, w); np.isclose(w, w, equal_nan=True); np.isclose(f, 0.25, rtol=0, atol=0.3); np.isclose(g, 3)
np.deg2rad(f); np.radians(g); np.rad2deg(f); np.degrees(i); np.fabs(f); np.fabs(i); np.positive(f); np.conjugate(f); np.conj(g); np.real(f); np.imag(f)
np.nan_to_num(w); np.nan_to_num(h); np.nan_to_num(w, nan=2.0, posinf=7, neginf=-8); np.nan_to_num(i); np.nan_to_num(w, posinf=1.0)
np.select([f > 1, f > 0], [f, 2 * f]); np.select([f > 1, b], [f, row], default=-1.0); np.select([b], [1], 0)
np.sinc(f); np.sinc(w * 0 + 1); np.sinc(g); np.sinc(i); np.i0(f); np.i0(g)
"""


@pytest.mark.parametrize("expression", [e.strip() for line in EXPRESSIONS.strip().splitlines() for e in line.split(";")])
def test_a_numpy_expression_means_the_same_on_a_traced_value(expression: str) -> None:
    words = expression.replace("(", " ").replace(")", " ").replace(",", " ").replace("[", " ").replace("]", " ").replace(".", " ").split()
    names = [name for name in VALUES if name in words]
    f = eval(f"lambda {', '.join(names)}: {expression}", {"np": np})
    arrays = [VALUES[name] for name in names]
    with np.errstate(all="ignore"):
        wanted = f(*arrays)
    wanted = list(wanted) if isinstance(wanted, tuple) else [wanted]
    got = run(build(f, **{name: Type(VALUES[name].dtype, VALUES[name].shape) for name in names}), *arrays)
    assert len(got) == len(wanted)
    for a, b in zip(got, wanted, strict=True):
        assert (a.dtype, a.shape) == (np.asarray(b).dtype, np.shape(b))
        # sinc and i0 are SciPy's kernels here: some units in the last place of 1.
        tolerance = 30 * np.finfo(a.dtype).eps if a.dtype.kind == "f" else 0
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


def slope(f: Callable[..., Any], x: float, dtype: str = "float64") -> float:
    """f'(x), asked in forward and in reverse mode."""
    graph = build(f, x=Type(np.dtype(dtype)))
    at, seed = np.asarray(x, dtype), np.ones((), dtype)
    forward, reverse = one(derive.jvp(graph, [0]), at, seed), one(derive.vjp(graph, [0]), at, seed)
    np.testing.assert_allclose(forward, reverse, rtol=4 * np.finfo(dtype).eps)
    return float(forward)


def curvature(f: Callable[..., Any], x: float) -> float:
    return float(one(derive.hvp(build(f, x=F64[()]), [0]), np.asarray(x), np.ones(())))


WIDE = (-30.0, -2.5, -1e-3, 0.4, 3.0, 20.0)
POINTS: dict[str, tuple[float, ...]] = {
    "arccos": (-0.999, -0.3, 0.5, 1 - 1e-12),
    "arccosh": (1 + 1e-10, 1.5, 30.0),
    "arcsin": (-0.999, -0.3, 0.5, 1 - 1e-12),
    "arcsinh": (*WIDE, 1e10),
    "arctan": (*WIDE, 1e10),
    "arctanh": (-0.999, -0.3, 0.5, 1 - 1e-12),
    "cbrt": (*WIDE, -1e-20, 1e10),
    "cosh": WIDE,
    "exp2": WIDE,
    "log10": (1e-20, 0.3, 1.0, 1e10),
    "log2": (1e-20, 0.3, 1.0, 1e10),
    "sinh": WIDE,
}


@pytest.mark.parametrize("name", POINTS)
def test_slope_and_curvature_are_mpmath_s(name: str) -> None:
    f = getattr(np, name)
    for x in POINTS[name]:
        # 1 - x x near 1 is (1 - x)(1 + x) here, exact to a unit; a chain of five such operations and the kernel's own rounding.
        assert slope(f, x) == pytest.approx(exactly(name, x, 1), rel=1e-14)
        assert curvature(f, x) == pytest.approx(exactly(name, x, 2), rel=1e-13, abs=1e-300)


SLOPES: list[tuple[str, Callable[..., Any], float, float]] = [
    ("cbrt at 0", np.cbrt, 0.0, INF),
    ("arcsin at 1", np.arcsin, 1.0, INF),
    ("arcsin beyond 1", np.arcsin, 1.5, NAN),
    ("arccos at -1", np.arccos, -1.0, -INF),
    ("arccosh at 1", np.arccosh, 1.0, INF),
    ("arccosh far out", np.arccosh, 1e200, 1e-200),
    ("arcsinh far out", np.arcsinh, -1e200, 1e-200),
    ("arctanh at 1", np.arctanh, 1.0, INF),
    ("arctan far out", np.arctan, 1e200, 0.0),
    ("log2 at 0", np.log2, 0.0, INF),
    ("hypot with 0 at 0", lambda x: np.hypot(x, 0.0), 0.0, 0.0),
    ("hypot with 0", lambda x: np.hypot(x, 0.0), -2.0, -1.0),
    ("hypot of large numbers", lambda x: np.hypot(x, 3e200), 4e200, 0.8),
    ("hypot of tiny numbers", lambda x: np.hypot(x, 3e-200), 4e-200, 0.8),
    ("arctan2 of tiny numbers", lambda x: np.arctan2(x, 3e-200), 4e-200, 0.12e200),
    ("arctan2 of large numbers", lambda x: np.arctan2(x, 3e200), 4e200, 0.12e-200),
    ("arctan2 by its second operand", lambda x: np.arctan2(1.0, x), -1.0, -0.5),
    ("floor", np.floor, 1.0, 0.0),
    ("round", lambda x: np.round(x, 1), 1.04, 0.0),
    ("remainder", lambda x: x % 2.0, 3.0, 1.0),
    ("remainder at a multiple", lambda x: x % 2.0, 4.0, 1.0),
    ("remainder by the divisor", lambda x: 7.0 % x, 2.0, -3.0),
    ("remainder by a negative divisor", lambda x: 7.0 % x, -2.0, 4.0),
    ("fmod by the divisor", lambda x: np.fmod(-7.0, x), 2.0, 3.0),
    ("fmod by a divisor that divides badly", lambda x: np.fmod(1.0, x), 0.1, -9.0),
    ("remainder by 0", lambda x: 1.0 % x, 0.0, -INF),
    ("remainder of nothing by 0", lambda x: np.where(x == 0, 1.0, 1.0 % x), 0.0, 0.0),
    ("floor_divide", lambda x: x // 2.0, 3.0, 0.0),
    ("clip inside", lambda x: np.clip(x, -1, 1), 0.5, 1.0),
    ("clip at the upper bound", lambda x: np.clip(x, -1, 1), 1.0, 1.0),
    ("clip at the lower bound", lambda x: np.clip(x, -1, 1), -1.0, 1.0),
    ("clip outside", lambda x: np.clip(x, -1, 1), 1.5, 0.0),
    ("clip by the bound in force", lambda x: np.clip(5.0, 0.0, x), 1.0, 1.0),
    ("clip by the bound at it", lambda x: np.clip(1.0, 0.0, x), 1.0, 0.0),
    ("clip by the other bound", lambda x: np.clip(5.0, x, 2.0), 0.0, 0.0),
    ("clip between crossed bounds, by the upper", lambda x: np.clip(0.0, 2.0, x), 1.0, 1.0),
    ("clip between crossed bounds, by the lower", lambda x: np.clip(0.0, x, 1.0), 2.0, 0.0),
    ("fmax at a tie", lambda x: np.fmax(x, 2.0), 2.0, 0.5),
    ("fmax with NaN", lambda x: np.fmax(NAN, x), 2.0, 1.0),
    ("fmin with NaN", lambda x: np.fmin(x, NAN), 2.0, 1.0),
    ("heaviside at 0", lambda x: np.heaviside(x, 0.5), 0.0, 0.0),
    ("heaviside by its value at 0", lambda x: np.heaviside(0.0, x), 0.5, 1.0),
    ("copysign", lambda x: np.copysign(x, -1.0), -3.0, 1.0),
    ("copysign of -0.0", lambda x: np.copysign(x, -0.0), 3.0, -1.0),
    ("copysign at 0", lambda x: np.copysign(x, 1.0), 0.0, 0.0),
    ("copysign by the sign", lambda x: np.copysign(1.0, x), 2.0, 0.0),
    ("nan_to_num of a number", np.nan_to_num, 2.0, 1.0),
    ("nan_to_num of NaN", np.nan_to_num, NAN, 0.0),
    ("nan_to_num of infinity", np.nan_to_num, INF, 0.0),
    ("logaddexp2", lambda x: np.logaddexp2(x, 0.0), 0.0, 0.5),
    ("logaddexp2 far out", lambda x: np.logaddexp2(x, 0.0), 5000.0, 1.0),
    ("float_power of a negative base", lambda x: np.float_power(x, 3), -2.0, 12.0),
    ("deg2rad", np.deg2rad, 2.0, np.pi / 180),
    ("sinh where it is not taken", lambda x: np.where(x < 1, np.sinh(x), x), 1e4, 1.0),
    ("exp2 where it is not taken", lambda x: np.where(x < 1, np.exp2(x), x), 1e4, 1.0),
    ("arcsin where it is not taken", lambda x: np.where(x < 1, np.arcsin(x), x), 1.0, 1.0),
    ("select", lambda x: np.select([x > 1, x > 0], [np.sqrt(x - 1), 3 * x], 0.0), 1.0, 3.0),
]


@pytest.mark.parametrize("f,x,wanted", [row[1:] for row in SLOPES], ids=[row[0] for row in SLOPES])
def test_the_slope_at_a_kink_a_pole_or_far_out_is_the_one_written_down(f: Callable[..., Any], x: float, wanted: float) -> None:
    assert slope(f, x) == pytest.approx(wanted, rel=1e-15, nan_ok=True)  # closed forms, at most a few roundings apart


SINGLE: list[tuple[Callable[..., Any], float]] = [
    (np.arcsinh, 1e-30),
    (np.arccosh, 1e-30),
    (np.arctan, 0.0),
    (np.cbrt, 1e-20 / 3),
    (lambda x: np.hypot(x, 1e30), 0.5**0.5),
    (lambda x: np.arctan2(x, 1e30), 0.5e-30),
]


@pytest.mark.parametrize("f,wanted", SINGLE)
def test_float32_neither_overflows_nor_vanishes_before_its_result_does(f: Callable[..., Any], wanted: float) -> None:
    assert slope(f, 1e30, "float32") == pytest.approx(wanted, rel=1e-6)


def test_the_curvature_of_hypot_is_that_of_a_norm_and_0_at_0() -> None:
    assert curvature(lambda x: np.hypot(x, 3.0), 4.0) == pytest.approx(9 / 125, rel=1e-14)
    assert curvature(lambda x: np.hypot(x, 0.0), 0.0) == 0


def test_each_operand_of_clip_gets_the_slope_of_where_it_is_in_force() -> None:
    graph = build(lambda x, low, high: np.clip(x, low, high), x=F64[5], low=F64[5], high=F64[5])
    x, low, high = np.array([0.5, -2.0, 2.0, 1.0, 0.0]), np.array([0.0, -1.0, -1.0, 0.0, 2.0]), np.array([1.0, 1.0, 1.0, 1.0, 1.0])
    parts = [one(derive.vjp(graph, [i]), x, low, high, np.ones(5)).tolist() for i in range(3)]
    assert parts == [[1, 0, 0, 1, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 1]]


REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("integers rounded to tens", lambda f: np.round(f.astype(int), -1), "NOT_TRACEABLE"),
    ("an exclusive or of floats", lambda f: f ^ f, "DTYPE"),
    ("a remainder of bools", lambda f: (f > 0) % (f > 1), "DTYPE"),
    ("select with too few choices", lambda f: np.select([f > 0, f > 1], [f]), "SHAPE"),
    ("clip to complex", lambda f: np.clip(f, 0, 1j), "DTYPE"),
    ("shapes that do not broadcast", lambda f: np.hypot(f, np.ones(4)), "SHAPE"),
]


@pytest.mark.parametrize("f,reason", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_is_not_meant_is_refused_with_its_reason(f: Callable[..., Any], reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3])
    assert caught.value.reason == reason
