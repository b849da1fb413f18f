"""Pointwise ops as machine code: at most 4 ulp from mpmath, NumPy's special values, at every width.

The judges are mpmath for size and NumPy's own kernels for what is no rounding at all.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np
import pytest

from backsweep_engine.graph import DTYPES, Type
from backsweep_engine.ops.op import TABLE
from support.exact import EXACT
from support.graphs import apply

pytest.importorskip("llvmlite", reason="the extra [native] is not installed")
from backsweep_engine.execute.native.machine import machine
from backsweep_engine.execute.native.region import compile_region
from backsweep_engine.execute.native.small import compile_small
from backsweep_engine.execute.native.table import RULES

WIDTHS = (512, 256, 128)
"""The first is this machine's, if it has none as wide its widest; the others are what other machines run."""
ONE_BY_ONE = 1
"""The scalar code, as of loops and small graphs."""

EVERY = [512, ONE_BY_ONE, pytest.param(256, marks=pytest.mark.slow), pytest.param(128, marks=pytest.mark.slow)]

COUNT = 61
"""Not a multiple of any vector's lanes."""

FLOATS = ("float64", "float32")

MORE_EXACT: dict[str, Callable[..., Any]] = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "scale": lambda x, y: x * y,
    "negative": lambda x: -x,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x * x,
    "sqrt": mp.sqrt,
    "power": mp.power,
    "integer_power": lambda x, exponent: x**exponent,
    "exp": mp.exp,
    "expm1": mp.expm1,
    "log": mp.log,
    "log1p": mp.log1p,
    "sin": mp.sin,
    "cos": mp.cos,
    "tan": mp.tan,
    "tanh": mp.tanh,
    "sigmoid": lambda x: 1 / (1 + mp.exp(-x)),
    "softplus": lambda x: mp.log1p(mp.exp(x)),
    "logaddexp": lambda x, y: mp.log(mp.exp(x) + mp.exp(y)),
    "relu": lambda x: max(x, mp.mpf(0)),
    "abs": abs,
    "sign": mp.sign,
    "maximum": max,
    "minimum": min,
    "floor": mp.floor,
    "ceil": mp.ceil,
    "trunc": lambda x: mp.sign(x) * mp.floor(abs(x)),
    "rint": mp.nint,
}

CLOSE = {
    **MORE_EXACT,
    **{name: f for name, f in EXACT.items() if name in RULES},
}
"""Ops whose results are judged by mpmath."""

WIDE = ("xlogy", "xlog1py", "entr")
"""Of float64 only."""

BITS = ("less", "less_equal", "equal", "not_equal", "isnan", "isinf", "isfinite", "signbit", "stop_gradient", "cast", "where")
LOGIC = ("logical_and", "logical_or", "logical_xor", "logical_not")

ATTRIBUTES: dict[str, list[dict[str, Any]]] = {"integer_power": [{"exponent": n} for n in (-3, -1, 0, 1, 3, 5, 7)]}

SPECIAL = (0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, np.inf, -np.inf, np.nan, 1e300, -1e300, 5e-324, -5e-324, 1e22, -745.5, 709.9, 710.5, 1e-320, 37.0, -40.0, 3.5)
HUGE = (1e5, 1e8, 1e15, 1e22, 1e100, 1e300)


def test_every_rule_is_judged() -> None:
    assert set(RULES) == set(CLOSE) | set(BITS) | set(LOGIC)
    assert set(RULES) <= set(TABLE)


@cache
def _points(name: str, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Arguments within the op's domain: of every size, many of order 1, and next to its ends."""
    random = np.random.default_rng(len(name))
    columns = []
    op = TABLE[name]
    for domain in [op.domain[min(i, len(op.domain) - 1)] for i in range(op.arity or 1)]:
        plain = random.normal(scale=3, size=COUNT)
        sized = np.exp2(random.uniform(-60, 9, COUNT)) * random.choice([-1, 1], COUNT)
        x = np.where(np.arange(COUNT) % 3 == 0, sized, plain)
        if np.isfinite(domain.high) and np.isfinite(domain.low):
            x = domain.low + (domain.high - domain.low) * random.uniform(size=COUNT)
        elif np.isfinite(domain.low):
            x = domain.low + np.abs(x)
        columns.append(x.astype(dtype))
    return tuple(columns)


@cache
def _code(name: str, dtypes: tuple[str, ...], width: int, **attributes: Any) -> Callable[..., Any]:
    """The op on COUNT elements, compiled once."""
    graph = apply(name, [Type(DTYPES[d], (COUNT,)) for d in dtypes], attributes)
    kernel = compile_small(graph) if width == ONE_BY_ONE else compile_region(graph, width)
    assert kernel is not None

    def run(x: Sequence[np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
        out = np.empty(COUNT, graph.output_types[0].dtype)
        kernel(x, [out])
        return out

    return run


def _computed(name: str, width: int, x: Sequence[np.ndarray[Any, Any]], attributes: dict[str, Any]) -> np.ndarray[Any, Any]:
    """The op on arrays of any length, COUNT elements at a time, the last ones filled up with the first."""
    code = _code(name, tuple(a.dtype.name for a in x), width, **attributes)
    pieces = -(-len(x[0]) // COUNT)
    filled = [np.resize(a, pieces * COUNT).reshape(pieces, COUNT) for a in x]
    return np.concatenate([code(rows) for rows in zip(*filled, strict=True)])[: len(x[0])]


@cache
def _exact(name: str, dtype: str, which: int) -> list[Any]:
    """As mpmath says, from the arguments as they are in that dtype."""
    attributes = ATTRIBUTES.get(name, [{}])[which]
    with mp.workdps(60):
        return [CLOSE[name](*[mp.mpf(float(v)) for v in row], **attributes) for row in zip(*_points(name, dtype), strict=True)]


def _ulps(got: np.ndarray[Any, Any], exact: list[Any], grain: np.ndarray[Any, Any]) -> float:
    """The largest distance in units of the last place of the exact value, or of `grain` where that is larger."""
    info = np.finfo(got.dtype)
    worst = 0.0
    with mp.workdps(60):
        for y, e, g in zip(got.tolist(), exact, grain.tolist(), strict=True):
            if abs(e) > mp.mpf(float(info.max)):
                assert np.isinf(y), (y, e)
                continue
            size = max(abs(float(e)), g, float(info.tiny))
            ulp = float(np.spacing(np.array(size, got.dtype)))
            worst = max(worst, float(abs(mp.mpf(y) - e)) / ulp)
    return worst


@pytest.mark.parametrize("width", EVERY)
@pytest.mark.parametrize("name", CLOSE)
def test_a_function_is_within_four_ulp(name: str, width: int) -> None:
    for dtype in FLOATS[: 1 if name in WIDE else 2]:
        for which, attributes in enumerate(ATTRIBUTES.get(name, [{}])):
            x = _points(name, dtype)
            got = _computed(name, width, x, attributes)
            # A logarithm of a sum crosses zero between its operands: there their last place counts.
            grain = np.maximum(*map(np.abs, x)) if name.startswith("logaddexp") else np.zeros(COUNT)
            assert _ulps(got, _exact(name, dtype, which), grain) <= 4, (dtype, attributes)


def _applied(name: str, x: tuple[np.ndarray[Any, Any], ...], attributes: dict[str, Any]) -> np.ndarray[Any, Any]:
    kernel = TABLE[name].apply
    assert kernel is not None
    with np.errstate(all="ignore"):
        return np.asarray(kernel(*x, **attributes))


@pytest.mark.parametrize("width", EVERY)
@pytest.mark.parametrize("name", CLOSE)
def test_special_values_are_those_of_numpy(name: str, width: int) -> None:
    for dtype in FLOATS[: 1 if name in WIDE else 2]:
        with np.errstate(over="ignore"):
            values = np.array(SPECIAL).astype(dtype)
        arity = TABLE[name].arity or 1
        x = tuple(a.ravel() for a in np.meshgrid(*[values] * arity)) if arity < 3 else tuple(np.roll(values, k) for k in range(3))
        for attributes in ATTRIBUTES.get(name, [{}]):
            got, want = _computed(name, width, x, attributes), _applied(name, x, attributes)
            odd = ~np.isfinite(want) | (want == 0)
            # A result beside the least or largest number may be rounded to it or past it.
            info = np.finfo(dtype)
            border = (np.abs(want) <= 4 * info.smallest_subnormal) & (np.abs(got) <= 4 * info.smallest_subnormal)
            np.testing.assert_array_equal(np.where(odd & ~border, got, 0), np.where(odd & ~border, want, 0), err_msg=f"{dtype} {attributes}")
            fine = ~odd & ~border & (np.abs(want) > info.tiny)
            np.testing.assert_allclose(got[fine], want[fine], rtol=16 * info.eps, err_msg=f"{dtype} {attributes}")


SIGNED = (
    "negative",
    "multiply",
    "divide",
    "reciprocal",
    "sqrt",
    "sin",
    "tan",
    "tanh",
    "arcsin",
    "arctan",
    "sinh",
    "arcsinh",
    "arctanh",
    "expm1",
    "log1p",
    "cbrt",
    "erf",
)
SIGNED_TOO = ("floor", "ceil", "trunc", "rint", "copysign", "softsign", "arctan2")


@pytest.mark.parametrize("width", EVERY)
@pytest.mark.parametrize("name", SIGNED + SIGNED_TOO)
def test_zeros_keep_their_sign(name: str, width: int) -> None:
    zeros = np.array([0.0, -0.0, 0.0, -0.0])
    x = (zeros, np.array([1.0, 1.0, -1.0, -1.0]))[: TABLE[name].arity]
    if name == "reciprocal":
        x = (np.array([np.inf, -np.inf, np.inf, -np.inf]),)
    np.testing.assert_array_equal(np.signbit(_computed(name, width, x, {})), np.signbit(_applied(name, x, {})))


@pytest.mark.parametrize("width", EVERY)
@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_of_any_size_are_reduced_exactly(name: str, width: int) -> None:
    x = np.array([s * v * k for v in HUGE for s in (1, -1) for k in (1.0, 1.1, 1.7)])
    got = _computed(name, width, (x,), {})
    with mp.workdps(400):
        exact = [MORE_EXACT[name](mp.mpf(v)) for v in x.tolist()]
    assert _ulps(got, exact, np.zeros(len(x))) <= 4


WHOLE = ("add", "subtract", "multiply", "negative", "square", "abs", "sign", "maximum", "minimum", "fmax", "fmin", "clip")
TYPED = [(name, d.name) for name in (*WHOLE, *BITS, *LOGIC) for d in TABLE[name].operand_dtypes]


@pytest.mark.parametrize("width", EVERY)
@pytest.mark.parametrize("name, dtype", TYPED)
def test_integers_bools_and_predicates_have_numpys_bits(name: str, dtype: str, width: int) -> None:
    op = TABLE[name]
    random = np.random.default_rng(3)
    array = random.integers(-5, 6, COUNT).astype(dtype)
    if dtype.startswith("int"):
        array[:4] = np.iinfo(dtype).min, np.iinfo(dtype).max, 0, -1
    if array.dtype.kind == "f":
        array[:5] = np.nan, np.inf, -np.inf, -0.0, 1e30
    x = tuple(np.roll(array, 7 * k) for k in range(op.arity or 1))
    if name == "where":
        x = (random.integers(0, 2, COUNT).astype(bool), *x[1:])
    for target in DTYPES.values() if name == "cast" else [None]:
        attributes = {"dtype": target} if target else {}
        got, want = _computed(name, width, x, attributes), _applied(name, x, attributes)
        assert got.dtype == want.dtype
        np.testing.assert_array_equal(got, want, err_msg=str(attributes))


@pytest.mark.parametrize("name", WIDE)
def test_what_would_pass_four_ulp_in_float32_is_left_to_numpy(name: str) -> None:
    assert compile_region(apply(name, [Type(DTYPES["float32"], (COUNT,))] * (TABLE[name].arity or 1), {})) is None


def test_machines_of_other_widths_are_narrower_ones() -> None:
    widest = machine()
    assert widest is not None
    assert [machine(w).width for w in WIDTHS] == [min(w, widest.width) for w in WIDTHS]  # type: ignore[union-attr]


def test_our_exp_is_within_one_ulp() -> None:
    """What is composed of it relies on that; where it is libmvec's or libm's, nothing is promised but four."""
    host = machine()
    assert host is not None
    if not host.fused:
        pytest.skip("no fused products here: exp is libm's")
    random = np.random.default_rng(5)
    x = np.concatenate([random.uniform(-745, 709.7, 600), random.normal(size=600), random.uniform(-745, -708, 100), np.exp2(random.uniform(-60, 0, 100))])
    with mp.workdps(60):
        exact = [mp.exp(mp.mpf(v)) for v in x.tolist()]
    assert _ulps(_computed("exp", 512, (x,), {}), exact, np.zeros(len(x))) <= 1
