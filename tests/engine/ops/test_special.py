"""Special functions and activations far from where the table's draws go: mpmath judges value, slope and curvature.

Tolerances. SciPy's kernels are right to some units in the last place, and f(x) moves by x f'(x) eps
for a rounding of an inner operand: 1000 eps relative covers x x / 2 = 450 in the exponent of a normal
density at 30. ABSOLUTE names those whose derivative is a difference of parts the size of 1 (or of
the function itself) that saturate: there 40 eps of that size are allowed besides.
"""

import subprocess
import sys
from functools import cache
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special

import backsweep as bs
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.build import call
from backsweep_engine.transforms import derive
from support.exact import EXACT, exactly
from support.graphs import F32, F64, build
from support.run import Array, one

INF, NAN = np.inf, np.nan

WIDE = (-40.0, -8.0, -3.5, -1.0, -1e-3, 1e-8, 0.3, 1.0, 2.5, 6.0, 30.0)
ABOVE = (1e-10, 1e-3, 0.3, 1.0, 1.5, 2.7, 10.0, 300.0, 1e6)
BETWEEN = (1e-10, 0.3, 0.5001, 0.9, 1 - 1e-10)

POINTS: dict[str, tuple[float, ...]] = {
    "bessel_i": (-30.0, -2.0, 1e-3, 0.5, 2.0, 11.0, 100.0, 700.0),
    "bessel_ie": (-30.0, -2.0, 1e-3, 0.5, 2.0, 11.0, 100.0, 700.0),
    "bessel_j": (-30.0, -2.0, 1e-3, 0.5, 2.0, 11.0, 100.0),
    "bessel_k": (1e-3, 0.5, 2.0, 11.0, 100.0, 600.0),
    "bessel_ke": (1e-3, 0.5, 2.0, 11.0, 100.0, 700.0),
    "bessel_y": (1e-3, 0.5, 2.0, 30.0),
    "celu": WIDE,
    "digamma": ABOVE,
    "elu": WIDE,
    "entr": ABOVE,
    "erf": WIDE,
    "erfc": (-8.0, -1.0, -1e-3, 1e-8, 1.0, 6.0, 25.0),
    "erfcinv": (1e-30, 1e-10, 0.3, 1.2, 1.9999),
    "erfcx": (-20.0, -1.0, 1e-5, 1.0, 5.0, 100.0, 1e6),
    "erfinv": (-1 + 1e-9, -0.9, -0.1, 1e-9, 0.5, 0.999, 1 - 1e-12),
    "gamma": (*ABOVE[:-2], 170.0),
    "gammaln": ABOVE,
    "gelu": WIDE,
    "gelu_tanh": WIDE,
    "inverse_mills": (*WIDE, -1e4, -2.999, -3.001),
    "log_cosh": WIDE,
    "log_ndtr": (*WIDE, -1e4, -1e8, -2.999, -3.001),
    "log_sigmoid": WIDE,
    "logit": BETWEEN,
    "mean_excess": (*WIDE, -1e4, 1e4, -2.999, -3.001),
    "mish": WIDE,
    "multigammaln": (1.3, 2.0, 10.0, 1e5),
    "ndtr": WIDE,
    "ndtri": BETWEEN,
    "polygamma": ABOVE,
    "selu": WIDE,
    "silu": WIDE,
    "sinc": WIDE,
    "softsign": (*WIDE, 1e8, -1e12),
    "spherical_j": (-30.0, -2.0, -1e-4, 1e-8, 1e-3, 0.5, 2.0, 11.0, 100.0, 1e4),
    "truncated_variance": (*WIDE, -3.001),
}

VARIANTS: dict[str, tuple[dict[str, Any], ...]] = {
    "celu": ({"alpha": 0.5}, {"alpha": 2.0}),
    "elu": ({"alpha": 1.0}, {"alpha": 0.5}),
    "multigammaln": ({"dimension": 1}, {"dimension": 3}),
    "polygamma": ({"order": 1}, {"order": 2}, {"order": 5}),
} | {name: tuple({"order": n} for n in (0, 1, 7)) for name in POINTS if name.startswith("bessel") or name == "spherical_j"}

ABSOLUTE = {"celu", "elu", "inverse_mills", "log_cosh", "log_ndtr", "mean_excess", "mish", "selu", "sinc", "truncated_variance"}
OF_ITSELF = {"bessel_ie", "bessel_ke"}
TAILS = {"inverse_mills", "log_ndtr", "log_sigmoid", "mean_excess", "ndtr", "gelu", "truncated_variance"}


def digits(name: str, x: float) -> int:
    """mpmath needs 320 for log(1 - 1e-198), which it is at 30."""
    return 320 if name in TAILS and abs(x) > 8 else {"bessel_y": 30, "erfcinv": 80}.get(name, 60)


@cache
def _derived(name: str, dtype: str, **attributes: Any) -> tuple[Graph, Graph, Graph, Graph]:
    """The function of a scalar, its jvp, vjp and hvp."""
    graph = build(lambda v: call(name, v, **attributes), v=Type(np.dtype(dtype)))
    return graph, derive.jvp(graph, [0]), derive.vjp(graph, [0]), derive.hvp(graph, [0])


def derivatives(name: str, x: float, dtype: str, **attributes: Any) -> list[float]:
    """The value, the slope (asked forward and in reverse) and the curvature at x."""
    graph, jvp, vjp, hvp = _derived(name, dtype, **attributes)
    at, seed = np.asarray(x, dtype), np.ones((), dtype)
    forward, reverse = one(jvp, at, seed), one(vjp, at, seed)
    # Reverse mode may add and multiply in another order.
    np.testing.assert_allclose(forward, reverse, rtol=20 * np.finfo(dtype).eps, atol=np.finfo(dtype).tiny)
    return [float(v) for v in (one(graph, at), forward, one(hvp, at, seed))]


@pytest.mark.parametrize("name,attributes", [(n, a) for n in POINTS for a in VARIANTS.get(n, ({},))], ids=str)
def test_value_slope_and_curvature_are_mpmath_s_far_out(name: str, attributes: dict[str, Any]) -> None:
    for x in POINTS[name]:
        wanted = [exactly(name, x, nth, digits(name, x), **attributes) for nth in range(3)]
        eps = float(np.finfo(float).eps)
        absolute = 1.0 if name in ABSOLUTE else abs(wanted[0]) if name in OF_ITSELF else 0.0
        got = derivatives(name, x, "float64", **attributes)
        for nth in range(3):
            allowed = 1000 * eps * abs(wanted[nth]) + 40 * eps * absolute + 1e-290
            assert abs(got[nth] - wanted[nth]) <= allowed, f"derivative {nth} at {x}: {got[nth]} is not {wanted[nth]}"


@pytest.mark.parametrize("name,attributes", [(n, VARIANTS.get(n, ({},))[0]) for n in POINTS], ids=str)
def test_float32_loses_no_more_than_its_digits(name: str, attributes: dict[str, Any]) -> None:
    eps = float(np.finfo(np.float32).eps)
    domain = TABLE[name].domain[0]
    for x in (float(np.float32(v)) for v in POINTS[name]):
        if not domain.low < x < domain.high or abs(x) > 700:
            continue
        wanted = [exactly(name, x, nth, digits(name, x), **attributes) for nth in range(3)]
        if any(abs(w) > 1e30 for w in wanted):
            continue
        absolute = 1.0 if name in ABSOLUTE else abs(wanted[0]) if name in OF_ITSELF else 0.0
        got = derivatives(name, x, "float32", **attributes)
        for nth in range(3):
            # Squares of an operand at 30 lose half the bits of an exponent; what is subnormal has fewer digits.
            allowed = 1000 * eps * abs(wanted[nth]) + 40 * eps * absolute + 1e-35
            assert abs(got[nth] - wanted[nth]) <= allowed, f"derivative {nth} at {x}: {got[nth]} is not {wanted[nth]}"


LARGEST = float(np.finfo(np.float32).max) / 2  # selu is 1.05 x


ACTIVATIONS = "silu gelu gelu_tanh mish elu celu selu log_sigmoid softsign log_cosh hard_swish leaky_relu"


@pytest.mark.parametrize("name", ACTIVATIONS.split())
def test_an_activation_is_finite_with_its_derivatives_for_every_float32(name: str) -> None:
    attributes = dict.fromkeys(TABLE[name].attributes, 1.0)
    for x in (1e4, 1e20, 1e38, LARGEST, -1e4, -1e20, -1e38, -LARGEST):
        value, slope, curvature = derivatives(name, x, "float32", **attributes)
        assert np.isfinite([value, slope, curvature]).all(), (x, value, slope, curvature)
        limit = {"log_sigmoid": min(x, 0.0), "softsign": np.sign(x), "log_cosh": abs(x), "leaky_relu": x, "elu": max(x, -1.0), "celu": max(x, -1.0)}
        if name in limit:
            assert value == pytest.approx(limit[name], rel=1e-3)
        elif name != "selu":
            assert value == pytest.approx(max(x, 0.0), rel=1e-6)


EDGES: list[tuple[str, dict[str, Any], float, float, float]] = [
    ("gammaln", {}, 0.0, INF, -INF),
    ("gammaln", {}, -1.5, float(mpmath.log(abs(mpmath.gamma(-1.5)))), float(mpmath.digamma(-1.5))),
    ("digamma", {}, -1.5, float(mpmath.digamma(-1.5)), NAN),
    ("digamma", {}, -2.0, NAN, NAN),
    ("polygamma", {"order": 1}, -2.5, NAN, NAN),
    ("polygamma", {"order": 1}, -1e300, NAN, NAN),
    ("polygamma", {"order": 1}, 0.0, INF, -INF),
    ("erfinv", {}, 1.0, INF, INF),
    ("erfinv", {}, 1.5, NAN, NAN),
    ("erfcinv", {}, 0.0, INF, -INF),
    ("ndtri", {}, 0.0, -INF, INF),
    ("ndtri", {}, 2.0, NAN, NAN),
    ("logit", {}, 0.0, -INF, INF),
    ("logit", {}, -1.0, NAN, -0.5),
    ("entr", {}, 0.0, 0.0, INF),
    ("erf", {}, INF, 1.0, 0.0),
    ("erf", {}, -INF, -1.0, 0.0),
    ("ndtr", {}, -INF, 0.0, 0.0),
    ("log_ndtr", {}, INF, 0.0, 0.0),
    ("log_ndtr", {}, -INF, -INF, INF),
    ("mean_excess", {}, -INF, 0.0, 0.0),
    ("erfcx", {}, 1e300, float(1 / (np.sqrt(np.pi) * mpmath.mpf("1e300"))), 0.0),
    ("bessel_k", {"order": 0}, 0.0, INF, -INF),
    ("bessel_y", {"order": 1}, -1.0, NAN, NAN),
    ("bessel_ie", {"order": 0}, 0.0, 1.0, 0.0),
    ("bessel_ie", {"order": 1}, 0.0, 0.0, 0.5),
    ("bessel_ie", {"order": 3}, -1e12, -(1 - 35 / 8e12) / np.sqrt(2 * np.pi * 1e12), -0.5e-12 / np.sqrt(2 * np.pi * 1e12)),
    ("bessel_ke", {"order": 3}, 1e12, (1 + 35 / 8e12) * np.sqrt(np.pi / 2e12), -0.5e-12 * np.sqrt(np.pi / 2e12)),
    ("sinc", {}, 0.0, 1.0, 0.0),
    ("elu", {"alpha": 0.5}, 0.0, 0.0, 0.5),
    ("celu", {"alpha": 0.5}, 0.0, 0.0, 1.0),
    ("selu", {}, 0.0, 0.0, 1.0507009873554805 * 1.6732632423543772),
    ("leaky_relu", {"slope": 0.01}, 0.0, 0.0, 0.01),
    ("hard_tanh", {}, 1.0, 1.0, 1.0),
    ("hard_tanh", {}, 1.0 + 1e-9, 1.0, 0.0),
    ("hard_sigmoid", {}, -3.0, 0.0, 1 / 6),
    ("hard_sigmoid", {}, 4.0, 1.0, 0.0),
    ("relu6", {}, 0.0, 0.0, 1.0),
    ("softsign", {}, 0.0, 0.0, 1.0),
]


@pytest.mark.parametrize("name,attributes,x,value,wanted", EDGES, ids=[f"{e[0]}-{e[2]}" for e in EDGES])
def test_at_a_pole_a_kink_or_outside_its_domain_it_is_as_written_down(name: str, attributes: dict[str, Any], x: float, value: float, wanted: float) -> None:
    got = derivatives(name, x, "float64", **attributes)
    # The scaled Bessel functions' slope is a difference of two of their size: 1e-16 of it here.
    assert got[:2] == pytest.approx([value, wanted], rel=1e-14, abs=1e-20, nan_ok=True)


def test_sinc_has_its_second_derivative_at_0_where_the_plain_formula_has_none() -> None:
    assert derivatives("sinc", 0.0, "float64")[2] == pytest.approx(-(np.pi**2) / 3, rel=1e-15)


def gradient(name: str, *x: float) -> list[float]:
    graph = build(lambda a, b: call(name, a, b), a=F64[()], b=F64[()])
    return [float(one(derive.vjp(graph, [i]), *map(np.asarray, x), np.ones(()))) for i in (0, 1)]


PAIRS: list[tuple[str, float, float, float, float]] = [
    ("xlogy", 0.0, 0.0, -INF, 0.0),
    ("xlogy", 0.0, 2.0, np.log(2), 0.0),
    ("xlogy", 3.0, 2.0, np.log(2), 1.5),
    ("xlog1py", 0.0, -1.0, -INF, 0.0),
    ("xlog1py", 2.0, 1.0, np.log(2), 1.0),
    ("rel_entr", 0.0, 2.0, -INF, 0.0),
    ("kl_div", 0.0, 2.0, -INF, 1.0),
    ("kl_div", 2.0, 2.0, 0.0, 0.0),
    ("huber", 0.5, 1.0, 0.5, 0.0),
    ("huber", 1.0, 1.0, 1.0, 0.0),
    ("huber", -3.0, 1.0, -1.0, 2.0),
    ("huber", 1e200, 2.0, 2.0, 1e200),
    ("huber", 1.0, -1.0, 0.0, 0.0),
    ("smooth_l1", -3.0, 2.0, -1.0, -0.5),
    ("pseudo_huber", 1e200, 2.0, 2.0, 1e200),
    ("pseudo_huber", 0.0, 2.0, 0.0, 0.0),
    ("beta", 2.0, 3.0, -13 / 144, -7 / 144),
    ("betaln", 2.0, 3.0, -13 / 12, -7 / 12),
]


@pytest.mark.parametrize("name,x,y,first,second", PAIRS, ids=[str(p[:3]) for p in PAIRS])
def test_the_partials_of_a_function_of_two_are_the_closed_ones(name: str, x: float, y: float, first: float, second: float) -> None:
    assert gradient(name, x, y) == pytest.approx([first, second], rel=1e-13, abs=1e-15)


def test_x_log_x_at_0_has_the_value_0_and_the_slope_minus_infinity() -> None:
    graph = build(lambda x: call("xlogy", x, x), x=F64[2])
    x = np.array([0.0, 1.0])
    assert one(graph, x).tolist() == [0, 0]
    assert one(derive.vjp(graph, [0]), x, np.ones(2)).tolist() == [-INF, 1]
    assert one(derive.vjp(graph, [0]), x, np.array([0.0, 1.0])).tolist() == [0, 1], "a cotangent of 0 stays 0"


def test_the_hessian_of_xlogy_at_x_0_is_symmetric() -> None:
    graph = build(lambda v: call("xlogy", v[0], v[1]), v=F64[2])
    hessian = [one(derive.hvp(graph, [0]), np.array([0.0, 2.0]), e).tolist() for e in np.eye(2)]
    assert hessian == [[0, 0.5], [0.5, 0]]


# SciPy's ufuncs on traced values.

UFUNCS = """
expit logit log_expit erf erfc erfcx erfinv erfcinv ndtr ndtri log_ndtr gammaln gamma psi digamma entr exp2 exp10 cbrt log1p expm1 i0 i0e i1 i1e j0 j1 y0 y1
k0 k0e k1 k1e
"""
PAIRED = "xlogy xlog1py rel_entr kl_div beta betaln huber pseudo_huber"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", (UFUNCS + PAIRED).split())
def test_a_ufunc_of_scipy_means_the_same_on_a_traced_value(name: str, dtype: str) -> None:
    ufunc = getattr(scipy.special, name)
    x = [np.linspace(0.1, 0.9, 5, dtype=dtype), np.linspace(0.3, 0.7, 5, dtype=dtype)][: ufunc.nin]
    types = [Type(a.dtype, a.shape) for a in x]
    got = one(build(lambda *v: ufunc(*v), **{f"x{i}": t for i, t in enumerate(types)}), *x)
    np.testing.assert_allclose(got, ufunc(*x), rtol=50 * np.finfo(dtype).eps)
    assert got.dtype == ufunc(*x).dtype


@pytest.mark.parametrize("name", ["iv", "ive", "jv", "yv", "kv", "kve"])
def test_scipy_s_bessel_functions_take_a_whole_order(name: str) -> None:
    ufunc, x = getattr(scipy.special, name), np.linspace(0.1, 3, 5)
    for order in (0, 1, 3, 2.0):
        np.testing.assert_allclose(one(build(lambda v, n=order: ufunc(n, v), v=F64[5]), x), ufunc(order, x), rtol=1e-13)
    for bad in (0.5, -1, 101):
        with pytest.raises(GraphError, match="order"):
            build(lambda v, n=bad: ufunc(n, v), v=F64[5])


def test_a_scalar_and_a_mixed_call_promote_as_in_scipy() -> None:
    x = np.array([0.5, 2.0], np.float32)
    assert one(build(lambda v: scipy.special.xlogy(2, v), v=F32[2]), x).dtype == np.float32
    np.testing.assert_allclose(one(build(lambda v: scipy.special.xlogy(np.arange(2.0), v), v=F32[2]), x), scipy.special.xlogy(np.arange(2.0), x), rtol=1e-15)
    np.testing.assert_allclose(one(build(lambda v: scipy.special.huber(1.5, v), v=F64[2]), np.array([1.0, 9.0])), scipy.special.huber(1.5, [1.0, 9.0]))


def test_a_ufunc_of_scipy_that_is_not_traced_is_named_with_those_that_are() -> None:
    with pytest.raises(GraphError, match=r"scipy\.special\.ellipk is not among") as caught:
        build(lambda x: scipy.special.ellipk(x), x=F64[2])
    assert caught.value.reason == "NOT_TRACEABLE" and "scipy.special.erf" in caught.value.allowed


def test_a_ufunc_of_somebody_else_s_is_refused() -> None:
    with pytest.raises(GraphError, match="not among"):
        build(lambda x: np.frompyfunc(lambda v: v, 1, 1)(x), x=F64[2])


def test_tracing_and_planning_special_functions_load_no_scipy() -> None:
    program = (
        "import sys, numpy as np; from backsweep_engine.graph import *; from backsweep_engine.ops import FACES; from backsweep_engine.ops.term import Term;"
        "from backsweep_engine.transforms import derive; b = Builder(); x = Term(b, b.input('x', Type(DTYPES['float64'], (3,))));"
        "y = FACES['gammaln'](np.sinc(FACES['erf'](x))); derive.hvp(b.build([('', np.sum(y).ref)]), [0]);"
        "print(any(m.startswith('scipy') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "False"


# Faces.

FACED: dict[str, tuple[Any, Any]] = {
    "elu": (lambda x: bs.elu(x, alpha=2), lambda x: np.where(x > 0, x, 2 * np.expm1(x))),
    "leaky_relu": (lambda x: bs.leaky_relu(x, slope=0.2), lambda x: np.where(x > 0, x, 0.2 * x)),
    "huber": (lambda x: bs.huber(x, 0.5), lambda x: scipy.special.huber(0.5, x)),
    "huber by default": (lambda x: bs.huber(x), lambda x: scipy.special.huber(1, x)),
    "polygamma": (lambda x: bs.polygamma(abs(x), 2), lambda x: scipy.special.polygamma(2, abs(x))),
    "digamma": (lambda x: bs.polygamma(abs(x), 0), lambda x: scipy.special.digamma(abs(x))),
    "multigammaln": (lambda x: bs.multigammaln(abs(x) + 1, dimension=3), lambda x: np.array([scipy.special.multigammaln(v, 3) for v in abs(x) + 1])),
    "bessel_j": (lambda x: bs.bessel_j(x, 3), lambda x: scipy.special.jv(3, x)),
    "i0e": (lambda x: bs.i0e(x), scipy.special.i0e),
    "i1e": (lambda x: bs.i1e(x), scipy.special.i1e),
    "gelu": (lambda x: bs.gelu(x), lambda x: x * scipy.special.ndtr(x)),
    "xlogy": (lambda x: bs.xlogy(x, 2.0), lambda x: scipy.special.xlogy(x, 2.0)),
}


@pytest.mark.parametrize("name", FACED)
def test_a_face_gives_on_arrays_what_it_gives_when_traced(name: str) -> None:
    f, numpy = FACED[name]
    x: Array = np.array([-2.0, -0.3, 0.4, 1.7])
    np.testing.assert_allclose(f(x), numpy(x), rtol=1e-13)
    np.testing.assert_allclose(one(build(f, x=F64[4]), x), numpy(x), rtol=1e-13)


def test_a_face_refuses_what_it_does_not_take() -> None:
    x = np.ones(3)
    for f in (lambda: bs.elu(x, beta=1.0), lambda: bs.celu(x, alpha=0.0), lambda: bs.polygamma(x, -1), lambda: bs.bessel_i(x, 1000), lambda: bs.gelu(x, x)):
        with pytest.raises(bs.GraphError):
            f()


def test_every_formula_of_the_judge_belongs_to_an_op() -> None:
    assert set(EXACT) <= set(TABLE)
    assert set(POINTS) <= set(EXACT)
