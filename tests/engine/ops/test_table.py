"""Every op of the table against judges that share no rule with it: NumPy, differences, inner products, loops.

Tolerances. Differences are off by rounding, 2 eps |f| / h = 1e-13 |f| (support/differences.py); the
values here stay below 100, so DIFFERENCE = 1e-10 leaves a factor 10 and no wrong rule fits in it.
Forms that differ only in the order of a few dozen additions agree to ROUNDING, 200 units in the last place.
"""

import functools
import itertools
import math
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph, Type
from backsweep_engine.ops import TABLE
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.linearize import linearize
from backsweep_engine.transforms.rewrite import as_tuple, inline
from support.cases import Case, differentiable, every, single
from support.differences import along
from support.draw import directions
from support.exact import EXACT, on_arrays
from support.graphs import build
from support.matrices import LINEAR_ALGEBRA
from support.run import Array, function, run
from support.windows import WINDOWS

DIFFERENCE = 1e-10
ROUNDING = {np.dtype(d): 200 * float(np.finfo(d).eps) for d in ("float64", "float32")}

CASES, DIFFERENTIABLE, SINGLE = list(every()), differentiable(), single()
BOTH = DIFFERENTIABLE + SINGLE


def close(got: Array, wanted: Any, tolerance: float) -> None:
    """Within `tolerance` of the largest entry wanted, or of 1."""
    wanted = np.asarray(wanted)
    assert got.shape == wanted.shape
    scale = max(1.0, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=tolerance * scale)


def rounding(got: Array, wanted: Any) -> None:
    if got.dtype.kind == "f":
        close(got, wanted, ROUNDING[got.dtype])
    else:
        np.testing.assert_array_equal(got, wanted)


# Values.


def _put_add(x: Array, index: Array, axis: int, size: int) -> Array:
    lead, rest = x.shape[:axis], x.shape[axis + index.ndim :]
    result = np.zeros((*lead, size, *rest), x.dtype)
    for where in np.ndindex(index.shape):
        result[(slice(None),) * axis + (index[where],)] += x[(slice(None),) * axis + where]
    return result


def _pad(x: Array, low: Any, high: Any, interior: Any) -> Array:
    for axis in range(x.ndim):
        n = x.shape[axis]
        rows = [np.zeros((low[axis], *np.moveaxis(x, axis, 0).shape[1:]))]
        for i in range(n):
            rows += [np.moveaxis(x, axis, 0)[i : i + 1], np.zeros((interior[axis] if i < n - 1 else 0, *rows[0].shape[1:]))]
        rows += [np.zeros((high[axis], *rows[0].shape[1:]))]
        x = np.moveaxis(np.concatenate(rows).astype(x.dtype), 0, axis)
    return x


def _line(f: Any) -> Any:
    """f of a list, on each line along the axis."""
    return lambda x, axis: np.apply_along_axis(lambda v: np.array(f(v.tolist())), axis, x)


def _scan(f: Any) -> Any:
    """f of the entries up to each."""
    return lambda x, axis: np.stack([f(np.take(x, range(k + 1), axis), axis) for k in range(x.shape[axis])], axis) if x.shape[axis] else x


def _recurrence(a: Array, c: Array, axis: int) -> Array:
    a, b = np.moveaxis(a, axis, 0), np.moveaxis(c, axis, 0).copy()
    for k in range(1, len(b)):
        b[k] = a[k] * b[k - 1] + c.take(k, axis)
    return np.moveaxis(b, 0, axis)


def _convolve(a: Array, v: Array, valid: bool) -> Array:
    y = np.zeros((*a.shape[:-1], a.shape[-1] + v.shape[-1] - 1), a.dtype)
    for i, j in np.ndindex(a.shape[-1], v.shape[-1]):
        y[..., i + j] += a[..., i] * v[..., j]
    return y[..., v.shape[-1] - 1 : a.shape[-1]] if valid else y


def _top_k(x: Array, k: int, axis: int) -> tuple[Array, Array]:
    order = _line(lambda v: sorted(range(len(v)), key=lambda i: -v[i])[:k])(x, axis).astype(int)
    return np.take_along_axis(x, order, axis), order


def _scatter(write: Any) -> Any:
    """One element after the other."""

    def scattered(x: Array, index: Array, v: Array, axis: int) -> Array:
        y = x.copy()
        for where in np.ndindex(index.shape):
            spot = (slice(None),) * axis + (index[where],)
            y[spot] = write(y[spot], v[(slice(None),) * axis + where])
        return y

    return scattered


def _update(x: Array, v: Array, start: Any, step: Any) -> Array:
    y = x.copy()
    for where in np.ndindex(v.shape):
        y[tuple(a + k * s for a, k, s in zip(start, where, step, strict=True))] = v[where]
    return y


def _ravel_index(*index: Array, dims: Any) -> Array:
    inside = [(i >= -n) & (i < n) for i, n in zip(index, dims, strict=True)]
    flat = np.ravel_multi_index([np.where(k, i % max(n, 1), 0) for k, i, n in zip(inside, index, dims, strict=True)], [max(n, 1) for n in dims])
    return np.where(np.all(inside, axis=0), flat, np.prod(dims))


def _einsum(*x: Array, labels: Any, output: Any) -> Array:
    names = iter(labels)
    return np.einsum(*[part for a in x for part in (a, [next(names) for _ in range(a.ndim)])], list(output))


INDEPENDENT: dict[str, Any] = {
    **LINEAR_ALGEBRA,
    **WINDOWS,
    "einsum": _einsum,
    "ravel_index": _ravel_index,
    "scatter_max": _scatter(np.maximum),
    "scatter_min": _scatter(np.minimum),
    "scatter_set": _scatter(lambda old, new: new),
    "searchsorted": lambda a, v, right: ((a[..., None, :] <= v[..., None]) if right else (a[..., None, :] < v[..., None])).sum(-1),
    "tril": lambda x, k: np.where(np.subtract.outer(np.arange(x.shape[-2]), np.arange(x.shape[-1])) >= -k, x, np.zeros((), x.dtype)),
    "triu": lambda x, k: np.where(np.subtract.outer(np.arange(x.shape[-2]), np.arange(x.shape[-1])) <= -k, x, np.zeros((), x.dtype)),
    "update": _update,
    "all": lambda x, axes: (~x).sum(axes) == 0,
    "any": lambda x, axes: x.sum(axes) > 0,
    "argmax": _line(lambda v: v.index(max(v))),
    "argmin": _line(lambda v: v.index(min(v))),
    "argsort": _line(lambda v: sorted(range(len(v)), key=v.__getitem__)),
    "convolve": _convolve,
    "cross": np.cross,
    "cummax": _scan(np.max),
    "cummin": _scan(np.min),
    "cumprod": _scan(lambda x, axis: np.prod(x, axis, dtype=x.dtype)),
    "cumsum": _scan(lambda x, axis: np.sum(x, axis, dtype=x.dtype)),
    "linear_recurrence": _recurrence,
    "median": lambda x, axes: np.median(x, axes),
    "norm": lambda x, axes, order: (abs(x) ** order).sum(axes) ** (1 / order),
    "ptp": lambda x, axes: x.max(axes) - x.min(axes),
    "quantile": lambda x, axes, q: np.quantile(x, q, axes),
    "sort": _line(sorted),
    "std": lambda x, axes, ddof: np.std(x, axes, ddof=ddof),
    "top_k": _top_k,
    "var": lambda x, axes, ddof: np.var(x, axes, ddof=ddof),
    "abs": lambda x: np.where(x < 0, -x, x),
    "broadcast": lambda x, shape: x + np.zeros(shape, x.dtype),
    "cast": lambda x, dtype: x.astype(dtype),
    "concat": lambda *x, axis: np.concatenate(x, axis),
    "cond": lambda c, x, then, otherwise: np.sin(x) if c else -np.exp(x),
    "constant": lambda value, shape: np.resize(value, shape) if value.ndim < 2 else value,
    "flip": lambda x, axes: x[tuple(slice(None, None, -1 if a in axes else 1) for a in range(x.ndim))],
    "integer_power": lambda x, exponent: np.prod([x**0] + [x] * exponent if exponent >= 0 else [1 / x] * -exponent, axis=0, dtype=x.dtype),
    "iota": lambda size: np.arange(size),
    "isfinite": lambda x: ~(np.isnan(x) | np.isinf(x)),
    "log_softmax": lambda x, axes: x - np.log(np.exp(x).sum(axes, keepdims=True)),
    "logsumexp": lambda x, axes: np.log(np.exp(x).sum(axes)),
    "matmul": lambda a, b: np.einsum("...ik,...kj->...ij", a, b),
    "max": lambda x, axes: np.apply_over_axes(np.max, x, axes).reshape([d for a, d in enumerate(x.shape) if a not in axes]),
    "min": lambda x, axes: np.apply_over_axes(np.min, x, axes).reshape([d for a, d in enumerate(x.shape) if a not in axes]),
    "name": lambda x, label: x,
    "pad": _pad,
    "prod": lambda x, axes: np.prod(x, axes, dtype=x.dtype),
    "put_add": _put_add,
    "relu": lambda x: x * (x > 0),
    "reshape": lambda x, shape: np.array(x.ravel().tolist(), x.dtype).reshape(shape),
    "scale": lambda p, t: p * t,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "slice": lambda x, start, stop, step: x[tuple(map(slice, start, stop, step))],
    "softmax": lambda x, axes: np.exp(x) / np.exp(x).sum(axes, keepdims=True),
    "softplus": lambda x: np.log(1 + np.exp(x)),
    "stop_gradient": lambda x: x,
    "sum": lambda x, axes: np.add.reduce(x, axes, dtype=x.dtype),
    "take": lambda x, index, axis: np.moveaxis(np.moveaxis(x, axis, 0)[index], range(index.ndim), range(axis, axis + index.ndim)),
    "transpose": lambda x, axes: np.einsum(x, list(range(x.ndim)), list(axes)),
}

INDEPENDENT |= {
    "checkpoint": lambda x, body: np.exp(np.sin(x)),
    "custom": lambda x, primal, vjp: np.sin(x),
    "scan": lambda x, u, **_: functools.reduce(lambda c, v: np.tanh(c + v), u, x),
    "while_loop": lambda x, **_: ((n := max(0, math.ceil(math.log2(abs(x))))), x / 2**n),
}
INDEPENDENT |= {name: on_arrays(name) for name in EXACT if not any(isinstance(f, np.ufunc) for f in TABLE[name].numpy)}


def every_dtype() -> list[Case]:
    """Each case in every dtype its op takes."""
    found = {}
    for case in CASES:
        for dtype in ("float64", "float32", "int64", "int32", "bool"):
            other = case.retyped(float64=dtype) if any(t.is_float for t in case.types) else case.retyped(int64=dtype, bool=dtype)
            for one in (case, other):
                if one is not None:
                    found[f"{one}"] = one
    return list(found.values())


@pytest.mark.parametrize("case", every_dtype(), ids=str)
def test_the_value_is_numpy_s(case: Case) -> None:
    numpy = INDEPENDENT.get(case.op.name) or next(f for f in case.op.numpy if isinstance(f, np.ufunc) or f is np.where)
    operands = case.draw()
    wanted = numpy(*operands, **case.attributes)
    for got, y in zip(run(case.graph(), *operands), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        rounding(got, y)


@pytest.mark.parametrize("case", [c for c in every_dtype() if c.op.apply is not None], ids=str)
def test_apply_fills_out_with_the_same_bits_and_leaves_its_operands(case: Case) -> None:
    operands = case.draw()
    before = [x.copy() for x in operands]
    assert case.op.apply is not None
    results = [np.asarray(y) for y in as_tuple(case.op.apply(*operands, **case.attributes))]
    assert [Type(y.dtype, y.shape) for y in results] == list(case.results)
    if case.op.view:
        (plain,) = results
        assert not operands or isinstance(case.op.apply(*operands, **case.attributes), np.ndarray)
        assert not operands or plain.size == 0 or np.shares_memory(plain, operands[0])
    else:
        outs = tuple(np.full(y.shape, 7, y.dtype) for y in results)
        case.op.apply(*operands, out=outs if len(outs) > 1 else outs[0], **case.attributes)
        assert [y.tobytes() for y in outs] == [np.ascontiguousarray(y).tobytes() for y in results]
    for x, y in zip(operands, before, strict=True):
        np.testing.assert_array_equal(x, y)


# First derivatives.


def jvp_of(case: Case) -> Graph:
    joint = linearize(case.graph(), case.floating)
    return joint.select(range(len(case.results), len(joint.outputs)))


def moving(case: Case, seed: int) -> tuple[list[Array | None], list[Array]]:
    """A direction with None for integer operands, and without them."""
    v = directions(case.types, seed)
    return v, [d for d in v if d is not None]


def exact(case: Case) -> list[Array]:
    """Operands that float32 holds exactly, so that the float64 judge is asked about the same point."""
    return [np.asarray(x, np.float32).astype(x.dtype) if x.dtype.kind == "f" else x for x in case.draw()]


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("case", DIFFERENTIABLE, ids=str)
def test_the_tangent_is_the_limit_of_differences(case: Case, seed: int) -> None:
    x = case.draw(seed)
    v, given = moving(case, seed)
    # A cast is judged in float64: rounded to float32 the judge has no digits left.
    judge = case.retyped(float32="float64") or case
    f = function(judge.graph())
    wanted = [d for d, t in zip(along(f, x, v), case.results, strict=True) if t.is_float]
    if case.op.name == "stop_gradient":
        wanted = [np.zeros_like(d) for d in wanted]
    got = run(jvp_of(case), *x, *given)
    assert len(got) == len(wanted)
    for a, b, type in zip(got, wanted, [t for t in case.results if t.is_float], strict=True):
        close(a, b, DIFFERENCE if type.dtype == np.float64 else ROUNDING[type.dtype])


@pytest.mark.parametrize("case", SINGLE, ids=str)
def test_a_float32_tangent_is_the_float64_one_rounded(case: Case) -> None:
    x = exact(case)
    _, given = moving(case, 0)
    double = case.retyped(float32="float64")
    assert double is not None
    wanted = run(jvp_of(double), *[a.astype(np.float64) if a.dtype == np.float32 else a for a in x], *[d.astype(np.float64) for d in given])
    for got, y in zip(run(jvp_of(case), *x, *given), wanted, strict=True):
        assert got.dtype == np.float32
        close(got, y, ROUNDING[got.dtype])


@pytest.mark.parametrize("case", BOTH, ids=str)
def test_transpose_and_tangent_are_adjoint(case: Case) -> None:
    x = case.draw()
    _, v = moving(case, 3)
    tangents = run(jvp_of(case), *x, *v)
    u = [np.asarray(d, y.dtype) for d, y in zip(directions([Type(np.dtype(np.float64), y.shape) for y in tangents], 4), tangents, strict=True)]
    cotangents = run(derive.vjp(case.graph(), case.floating), *x, *u)
    left = [np.vdot(a, b) for a, b in zip(u, tangents, strict=True)]
    right = [np.vdot(a, b) for a, b in zip(cotangents, v, strict=True)]
    size = sum(np.abs(a * b).sum() for a, b in zip(cotangents, v, strict=True))
    dtype = np.dtype(np.float32) if any(a.dtype == np.float32 for a in (*x, *u)) else np.dtype(np.float64)
    assert abs(sum(left) - sum(right)) <= ROUNDING[dtype] * max(1.0, size)


# Rows.


def masks(arity: int) -> list[tuple[bool, ...]]:
    return [m for m in itertools.product([True, False], repeat=arity) if any(m)]


@functools.lru_cache(1)  # the masks of a case come one after the other
def flavours(case: Case) -> tuple[Graph, ...]:
    """Its graph, and the graph's tangent."""
    return (case.graph(), jvp_of(case)) if case.floating else (case.graph(),)


@pytest.mark.parametrize("case,mask", [(c, m) for c in CASES + SINGLE for m in masks(len(c.types))], ids=str)
def test_a_batch_is_the_loop_over_its_rows(case: Case, mask: tuple[bool, ...]) -> None:
    rows = 3
    wide = Case(case.op, tuple(Type(t.dtype, (rows, *t.shape)) if m else t for t, m in zip(case.types, mask, strict=True)), case.attributes)
    x = wide.draw()
    for flavour in flavours(case):
        given, flags = list(x), list(mask)
        if flavour.arity > len(x):
            given += moving(wide, 0)[1]
            flags += [mask[i] for i in case.floating]
        got = run(batch(flavour, flags, rows), *given)
        loop = [run(flavour, *[a[k] if m else a for a, m in zip(given, flags, strict=True)]) for k in range(rows)]
        assert len(got) == len(loop[0])
        for whole, *parts in zip(got, *loop, strict=True):
            rounding(whole, np.stack(parts))


# Second derivatives.


def weighted(case: Case) -> Graph:
    """x -> the sum of all results, each entry weighted differently."""
    graph = case.graph()

    def f(*x: Term) -> Any:
        total: Any = 0.0
        for y in inline(x[0].builder, graph, x):
            weights = np.linspace(1, 2, y.size).reshape(y.shape).astype(y.dtype if y.dtype.kind == "f" else np.float64)
            total = total + np.sum(y * weights)
        return total

    return build(f, **{f"x{i}": t for i, t in enumerate(case.types)})


@pytest.mark.parametrize("case", [c for c in BOTH if any(t.is_float for t in c.results)], ids=str)
def test_the_hvp_is_the_limit_of_differences_of_the_gradient_and_symmetric(case: Case) -> None:
    graph = weighted(case)
    x = exact(case)
    (v, given), (_, other) = moving(case, 5), moving(case, 6)
    second = derive.hvp(graph, case.floating)
    got, turned = run(second, *x, *given), run(second, *x, *other)
    judge = case.retyped(float32="float64") or case
    gradient = function(derive.gradient(weighted(judge), judge.floating))
    widened = [[None if a is None else a.astype(np.float64) if a.dtype.kind == "f" else a for a in arrays] for arrays in (x, v)]
    wanted = along(gradient, [a for a in widened[0] if a is not None], widened[1])
    single = any(t.dtype == np.float32 for t in case.types + case.results)
    size = 1.0
    for a, b in zip(got, wanted, strict=True):
        # Differences of a gradient lose a little more than those of a value: its terms are larger than their sum.
        close(a, b, 10 * (ROUNDING[np.dtype(np.float32)] if single else DIFFERENCE))
        size = max(size, float(np.abs(a).max(initial=0)) * a.size)
    there, back = (sum(float(np.vdot(a, b)) for a, b in zip(p, q, strict=True)) for p, q in ((other, got), (given, turned)))
    assert abs(there - back) <= 10 * size * ROUNDING[np.dtype(np.float32 if single else np.float64)]
