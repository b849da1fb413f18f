"""x.__array_namespace__() offers the array API 2024.12 as far as the table goes: names, values, dtypes, filling, refusals."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES
from backsweep_engine.ops.namespace import NAMESPACE
from backsweep_engine.ops.term import TRACING, Term
from support.graphs import BOOL, F32, F64, I64, build
from support.run import run

Function = Callable[..., Any]

_STANDARD = """
e inf nan newaxis pi arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril triu zeros zeros_like astype
broadcast_arrays broadcast_to can_cast finfo iinfo isdtype result_type bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64
complex64 complex128 abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift bitwise_or bitwise_right_shift
bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor floor_divide greater greater_equal hypot imag isfinite isinf isnan less
less_equal log log10 log1p log2 logaddexp logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal
positive pow real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc take take_along_axis matmul matrix_transpose
tensordot vecdot concat expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack argmax argmin count_nonzero nonzero
searchsorted where unique_all unique_counts unique_inverse unique_values argsort sort cumulative_prod cumulative_sum max mean min prod std sum var all
any diff __array_api_version__ __array_namespace_info__ linalg fft
"""
_LACKING = "from_dlpack bitwise_left_shift bitwise_right_shift nextafter nonzero unique_all unique_counts unique_inverse unique_values fft"
_LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm matrix_power matrix_rank matrix_transpose outer pinv qr slogdet solve svd svdvals
tensordot trace vecdot vector_norm
"""
STANDARD = _STANDARD.split()
"""The Python array API standard, 2024.12, "API specification"."""
LACKING = set(_LACKING.split())
"""Bits, memory and shapes that depend on values; complex numbers."""
LINALG = _LINALG.split()


def traced(f: Function, *arrays: Any) -> list[Any]:
    """f of the namespace and traced arrays, traced as the client traces: with a builder at work."""

    def at_work(*terms: Term) -> Any:
        token = TRACING.set(terms[0].builder)
        try:
            return f(terms[0].__array_namespace__(), *terms)
        finally:
            TRACING.reset(token)

    types = {np.dtype(np.float64): F64, np.dtype(np.float32): F32, np.dtype(np.int64): I64, np.dtype(bool): BOOL}
    given = [np.asarray(a) for a in arrays]
    return run(build(at_work, **{f"x{i}": types[a.dtype][a.shape] for i, a in enumerate(given)}), *given)


def test_every_name_of_the_standard_is_offered_or_known_to_be_lacking() -> None:
    assert {name for name in STANDARD if not hasattr(NAMESPACE, name)} == LACKING
    assert all(hasattr(NAMESPACE.linalg, name) for name in LINALG)
    assert set(dir(NAMESPACE)) <= {*STANDARD, "special"}


F, P = np.array([[1.5, -2.0, 0.25], [3.0, 0.5, -1.0]]), np.array([[1.5, 2.0, 0.25], [3.0, 0.5, 1.0]])
SPD = np.array([[2.0, 0.5], [0.5, 1.0]])
I, B = np.array([[3, 1, 2], [0, 5, 7]]), np.array([[True, False, True], [False, False, True]])

ONE = """
abs acos asin asinh atan atanh ceil conj cos cosh exp expm1 floor imag isfinite isinf isnan log log10 log1p log2 negative positive real reciprocal
round sign signbit sin sinh sqrt square tan tanh trunc matrix_transpose flip squeeze argmax argmin count_nonzero argsort sort max mean min prod std
sum var all any diff tril triu
"""

TWO = """
add atan2 copysign divide equal floor_divide greater greater_equal hypot less less_equal logaddexp maximum minimum multiply not_equal remainder
subtract logical_and logical_or logical_xor
"""

OF_A_MATRIX = """
det eigvalsh inv matrix_rank pinv svdvals trace
"""

# As the standard calls them: arrays positional, options by keyword. NumPy 2 is such a namespace itself.
CALLS: dict[str, tuple[Function, tuple[Any, ...]]] = {
    **{name: (lambda xp, x, name=name: getattr(xp, name)(x), (P / 4,)) for name in ONE.split()},
    **{name: (lambda xp, x, y, name=name: getattr(xp, name)(x, y), (F, P)) for name in TWO.split()},
    **{name: (lambda xp, x, y, name=name: getattr(xp, name)(x, y), (B, ~B)) for name in ("bitwise_and", "bitwise_or", "bitwise_xor")},
    "acosh": (lambda xp, x: xp.acosh(x + 1), (P,)),
    "bitwise_invert": (lambda xp, x: xp.bitwise_invert(x), (B,)),
    "logical_not": (lambda xp, x: xp.logical_not(x), (B,)),
    "pow": (lambda xp, x, y: xp.pow(x, y), (P, F)),
    "clip": (lambda xp, x: xp.clip(x, -1.0, 1.0), (F,)),
    "clip below": (lambda xp, x: xp.clip(x, min=0.5), (F,)),
    "sum with all options": (lambda xp, x: xp.sum(x, axis=0, dtype=xp.float64, keepdims=True), (I,)),
    "sum of float32 in float64": (lambda xp, x: xp.sum(x, dtype=xp.float64), (F.astype(np.float32),)),
    "prod over axes": (lambda xp, x: xp.prod(x, axis=(0, 1)), (F,)),
    "std with a correction": (lambda xp, x: xp.std(x, axis=1, correction=1.0), (F,)),
    "mean that keeps its axis": (lambda xp, x: xp.mean(x, axis=-1, keepdims=True), (F,)),
    "cumulative_sum": (lambda xp, x: xp.cumulative_sum(x, axis=1, include_initial=True), (F,)),
    "cumulative_prod": (lambda xp, x: xp.cumulative_prod(x, axis=0, dtype=xp.float64), (I,)),
    "sort downwards": (lambda xp, x: xp.flip(xp.sort(x, axis=0), axis=0), (F,)),
    "astype": (lambda xp, x: xp.astype(x, xp.int32), (F,)),
    "asarray of numbers": (lambda xp, x: x + xp.asarray([1.0, 2.0, 3.0]), (F,)),
    "asarray of float32": (lambda xp, x: xp.asarray(x, dtype=xp.float32), (F,)),
    "zeros": (lambda xp, x: xp.zeros((2, 3)) + x, (F,)),
    "ones of int64": (lambda xp, x: xp.ones(3, dtype=xp.int64) + x, (I,)),
    "full with a traced value": (lambda xp, x: xp.full((2, 2), x[0, 0]), (F,)),
    "full_like": (lambda xp, x: xp.full_like(x, 2) * x, (F,)),
    "eye": (lambda xp, x: x @ xp.eye(3, k=1), (F,)),
    "arange": (lambda xp, x: x * xp.arange(1.0, 4.0), (F,)),
    "linspace": (lambda xp, x: xp.linspace(x[0, 0], 4.0, 5), (F,)),
    "meshgrid": (lambda xp, x, y: xp.meshgrid(x[0], y[1], indexing="ij"), (F, P)),
    "broadcast_arrays": (lambda xp, x, y: xp.broadcast_arrays(x, y[:1]), (F, P)),
    "broadcast_to": (lambda xp, x: xp.broadcast_to(x[0], (2, 3)), (F,)),
    "concat": (lambda xp, x, y: xp.concat([x, y], axis=1), (F, P)),
    "concat of all": (lambda xp, x, y: xp.concat((x, y), axis=None), (F, P)),
    "stack": (lambda xp, x, y: xp.stack([x, y], axis=-1), (F, P)),
    "unstack": (lambda xp, x: xp.unstack(x, axis=1), (F,)),
    "expand_dims": (lambda xp, x: xp.expand_dims(x, axis=1), (F,)),
    "moveaxis": (lambda xp, x: xp.moveaxis(x, 0, 1), (F,)),
    "permute_dims": (lambda xp, x: xp.permute_dims(x, (1, 0)), (F,)),
    "repeat": (lambda xp, x: xp.repeat(x, 2, axis=0), (F,)),
    "reshape": (lambda xp, x: xp.reshape(x, (-1,)), (F,)),
    "roll": (lambda xp, x: xp.roll(x, 1, axis=1), (F,)),
    "tile": (lambda xp, x: xp.tile(x, (2, 1)), (F,)),
    "take": (lambda xp, x: xp.take(x, xp.asarray([1, 0]), axis=1), (F,)),
    "take_along_axis": (lambda xp, x, i: xp.take_along_axis(x, i % 2, axis=0), (F, I)),
    "searchsorted": (lambda xp, x: xp.searchsorted(xp.sort(x[0]), x[1], side="right"), (F,)),
    "where": (lambda xp, b, x: xp.where(b, x, 0.0), (B, F)),
    "matmul": (lambda xp, x, y: xp.matmul(x, y.T), (F, P)),
    "tensordot": (lambda xp, x, y: xp.tensordot(x, y, axes=2), (F, P)),
    "vecdot": (lambda xp, x, y: xp.vecdot(x, y, axis=0), (F, P)),
    "diff": (lambda xp, x: xp.diff(x, axis=0, n=1), (F,)),
    "constants": (lambda xp, x: x * xp.pi + xp.e, (F,)),
    "linalg.cholesky": (lambda xp, a: xp.linalg.cholesky(a, upper=True), (SPD,)),
    "linalg.cross": (lambda xp, x, y: xp.linalg.cross(x, y), (F, P)),
    "linalg.diagonal": (lambda xp, a: xp.linalg.diagonal(a, offset=1), (SPD,)),
    "linalg.eigh": (lambda xp, a: xp.linalg.eigh(a).eigenvalues, (SPD,)),
    "linalg.matrix_norm": (lambda xp, a: xp.linalg.matrix_norm(a, ord="nuc"), (SPD,)),
    "linalg.matrix_power": (lambda xp, a: xp.linalg.matrix_power(a, 3), (SPD,)),
    "linalg.slogdet": (lambda xp, a: xp.linalg.slogdet(a).logabsdet, (SPD,)),
    "linalg.solve": (lambda xp, a: xp.linalg.solve(a, a[0]), (SPD,)),
    "linalg.svd": (lambda xp, a: xp.linalg.svd(a, full_matrices=False).S, (SPD,)),
    "linalg.vector_norm": (lambda xp, x: xp.linalg.vector_norm(x, axis=1, keepdims=True, ord=3), (F,)),
    **{f"linalg.{name}": (lambda xp, a, name=name: getattr(xp.linalg, name)(a), (SPD,)) for name in OF_A_MATRIX.split()},
}


@pytest.mark.parametrize("name", CALLS)
def test_a_function_is_that_of_numpy_s_namespace(name: str) -> None:
    f, arrays = CALLS[name]
    wanted = f(np, *arrays)
    several = list(wanted) if isinstance(wanted, (tuple, list)) else [wanted]
    got = traced(f, *arrays)
    assert len(got) == len(several)
    for a, b in zip(got, several, strict=True):
        assert (a.dtype, a.shape) == (np.asarray(b).dtype, np.shape(b))
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


def test_sorting_downwards_keeps_the_order_of_equals() -> None:
    x = np.array([1.0, 3.0, 1.0, 3.0, 2.0])
    (got,) = traced(lambda xp, x: xp.sort(x, descending=True), x)
    np.testing.assert_array_equal(got, [3, 3, 2, 1, 1])
    (got,) = traced(lambda xp, x: xp.argsort(x, descending=True), x)
    np.testing.assert_array_equal(got, [1, 3, 4, 0, 2])


def test_an_array_the_namespace_made_is_filled_like_one_of_numpy_s() -> None:
    def f(xp: Any, x: Any) -> Any:
        y = xp.zeros_like(x)
        y[0] = x[1] * x[1]
        y[1:] = 2 * x[1:]
        y[-1] += x[0]
        y[y > 5] = 5.0
        z = xp.asarray(x, copy=True)
        z[::2] = y[1]
        w = y * 2
        w[0] = -1.0
        return y, z, w, x

    x = np.array([1.0, 2.0, 3.0])
    for got, wanted in zip(traced(f, x), f(np, x.copy()), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_is_seen_of_an_argument_is_not_assigned_to() -> None:
    views: list[Function] = [
        lambda xp, x: x,
        lambda xp, x: xp.asarray(x),
        lambda xp, x: xp.reshape(x, (-1,)),
        lambda xp, x: xp.permute_dims(x, (1, 0)),
        lambda xp, x: xp.zeros_like(x)[0],
        lambda xp, x: x + 1,
    ]
    for view in views:
        with pytest.raises(GraphError, match="cannot be assigned to") as caught:
            traced(lambda xp, x, view=view: view(xp, x).__setitem__(0, 1.0), np.ones((2, 3)))
        assert "bs.set" in caught.value.hint


def test_the_namespace_says_what_it_is() -> None:
    info = NAMESPACE.__array_namespace_info__()
    assert info.capabilities() == {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None}
    assert info.dtypes(kind="real floating") == {"float32": np.dtype("float32"), "float64": np.dtype("float64")}
    assert set(info.dtypes()) == set(DTYPES)
    assert info.default_dtypes() == {"real floating": np.dtype("float64"), "integral": np.dtype("int64"), "indexing": np.dtype("int64")}
    assert (info.devices(), info.default_device()) == (["cpu"], "cpu")
    assert NAMESPACE.finfo(np.float32).eps == np.finfo(np.float32).eps
    assert NAMESPACE.iinfo(np.int32).max == 2**31 - 1
    assert NAMESPACE.isdtype(NAMESPACE.int64, "integral") and not NAMESPACE.isdtype(NAMESPACE.float32, ("bool", "complex floating"))
    assert NAMESPACE.can_cast(NAMESPACE.int32, NAMESPACE.float64)
    assert NAMESPACE.result_type(NAMESPACE.int32, NAMESPACE.float32, 1.0) == np.float64
    assert math.isinf(NAMESPACE.inf) and NAMESPACE.newaxis is None


def test_one_namespace_serves_every_trace_and_version() -> None:
    seen: list[Any] = []
    for version in (None, "2022.12", "2023.12", "2024.12"):
        build(lambda x, v=version: seen.append(x.__array_namespace__(api_version=v)) or x, x=F64[2])
    assert seen == [NAMESPACE] * 4
    with pytest.raises(GraphError, match="version"):
        build(lambda x: x.__array_namespace__(api_version="2031.12"), x=F64[2])


@pytest.mark.parametrize("name", sorted(LACKING - {"fft"}))
def test_a_name_that_is_not_offered_says_what_is(name: str) -> None:
    with pytest.raises(AttributeError, match=f"has no {name}; it has .*take_along_axis") as caught:
        getattr(NAMESPACE, name)
    assert isinstance(caught.value.__cause__, GraphError)
    assert "zeros_like" in caught.value.__cause__.allowed


def test_arrays_are_made_while_tracing_only() -> None:
    with pytest.raises(GraphError, match="while tracing only"):
        NAMESPACE.zeros(3)


@pytest.mark.parametrize(
    "f, said", [(lambda xp, x: xp.zeros(3, dtype=xp.uint8), "dtype"), (lambda xp, x: xp.arange(x[0]), "bounds of arange cannot be traced")]
)
def test_what_traced_arrays_cannot_be_is_refused(f: Function, said: str) -> None:
    with pytest.raises(GraphError, match=said):
        traced(f, np.ones(2))


def test_the_namespace_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(NAMESPACE)
