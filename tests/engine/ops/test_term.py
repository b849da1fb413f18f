"""A Term behaves as the NumPy array it stands for: the same function on both gives the same dtype, shape and numbers."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Builder, Type
from backsweep_engine.ops.build import call
from backsweep_engine.ops.term import Term
from support.expressions import VALUES, same_as_numpy
from support.graphs import BOOL, F32, F64, I32, I64, build
from support.run import run

PROMOTION = """
f + 1; f + 1.5; f + True; g + 1; g + 1.5; g * 2; 2 * g; g / 3; g ** 2; g ** 2.0; g ** 0.5; 2.0 ** g; g + np.float64(1); g + np.float32(1)
g + np.int64(1); f + g; g + i; g + j; g + b; f + i; i + j; i + b; j + b; i + 1; j + 1; i + 1.5; j * 2.0; b + 1; b + 1.5; b * f; b * j; b + b; b * c
b + True; i / 2; j / 2; i / j; j / j; b / 2; b / b; i / i; 1 / j; i - j; -i; -j; abs(j); abs(i); i * i; i ** 2; j ** 2; j ** 3; i ** 1; i ** 0
j ** 2.0; s + n; f + n; g + n; n + 1; n + 1.0; n * g; s * g; g - s; np.float64(2) * g; np.float32(2) * f; np.arange(3) * g
np.arange(3, dtype=np.int32) + j; np.sin(i); np.sin(j); np.sqrt(abs(j)); np.exp(g); np.tanh(n); np.logaddexp(i, 0); np.logaddexp(g, 0.5); np.sign(j)
np.sign(g); np.square(j); np.square(i); np.maximum(f, 0); np.maximum(i, 2); np.maximum(j, 0.5); np.maximum(g, 0.0); np.minimum(b, c); np.maximum(b, c)
np.maximum(i, j); np.absolute(g); np.negative(j); f > 0; f > i; i >= j; g == g; g != 0.5; b == c; b < c; f <= row; 0 < f; 1 == i; (f > 0) & b; b | c
~b; b & True; np.logical_and(b, c); np.logical_not(b); np.isfinite(f); np.isfinite(g); np.isfinite(j); np.sum(b); np.sum(j); np.sum(g); np.mean(i)
np.mean(b); np.mean(g); np.prod(j); np.prod(b); np.max(b); np.min(b); np.where(b, f, g); np.where(b, 1, 0); np.where(b, 1.0, 0.0); np.where(b, g, 0)
np.where(b, i, 0.5); np.where(b, j, i); np.where(f > 0, g, 1.5); np.where(b, b, c); i @ j.T; j @ j.T; g @ g.T; f @ g.T; f @ i.T; np.dot(i, 2)
np.outer(i, j); np.concatenate([i, f]); np.stack([j, i]); np.concatenate([b, j]); np.hstack([g, i]); f.astype(np.float32); f.astype("int64")
i.astype(float); b.astype(int); f.astype(bool); g.astype(np.int32); i.max(); j.min(); j.sum(); b.sum(); i.mean(); j.prod(); np.divide(i, j)
np.reciprocal(g); np.add(i, 1.0); np.multiply(b, b); np.add(b, b); np.subtract(j, 1); np.power(i, 2); np.power(p, j); np.power(p, 2.5); p ** f
"""


@pytest.mark.parametrize("expression", [e.strip() for line in PROMOTION.strip().splitlines() for e in line.split(";")])
def test_the_dtype_is_the_one_numpy_2_gives(expression: str) -> None:
    same_as_numpy(expression)


FUNCTIONS = """
f + row; column * f; column + row; s * cube; f + s; row[:, None] * row; f - f[0]; f / column; np.maximum(column, row); f * np.ones((4, 1, 3))
np.arange(6.).reshape(2, 3) - f; np.sum(cube); np.sum(cube, 0); np.sum(cube, axis=-1); np.sum(cube, axis=(0, 2))
np.sum(cube, axis=(-1, 0), keepdims=True); np.sum(cube, keepdims=True); np.sum(cube, axis=()); np.mean(cube); np.mean(cube, 1)
np.mean(cube, axis=(0, 1), keepdims=True); np.mean(f, axis=()); np.max(cube); np.max(cube, 2); np.max(cube, axis=(0, 1), keepdims=True); np.min(f, 0)
np.min(f, axis=-1, keepdims=True); np.prod(f); np.prod(f, 0); np.prod(f, axis=(0, 1), keepdims=True); np.max(f, axis=()); f.sum(0)
f.sum(axis=1, keepdims=True); cube.mean((0, 2)); f.max(-1); f.min(0, keepdims=True); f.prod(1); np.sum(s); np.max(s); np.mean(s); np.sum(i, 0)
np.prod(i, 1); np.max(i, 0); np.reshape(f, -1); np.reshape(f, (3, -1)); np.reshape(f, (3, 2)); f.reshape(3, 2); f.reshape((6,)); f.reshape(-1)
f.reshape(1, -1, 2); cube.reshape(-1, 4); f.reshape(np.int64(6)); f.reshape(np.int64(3), -1); np.reshape(f, [2, 3]); np.ravel(cube); f.ravel()
f.flatten(); s.reshape(1); s.reshape(1, 1); s.ravel(); row.reshape(3, 1, 1); f.T; cube.T; s.T; row.T; np.transpose(cube)
np.transpose(cube, (1, 0, 2)); np.transpose(cube, (-1, 0, 1)); cube.transpose(2, 0, 1); cube.transpose((0, 2, 1)); cube.transpose(); cube.mT
np.matrix_transpose(f); np.swapaxes(cube, 0, -1); np.swapaxes(cube, 1, 1); np.moveaxis(cube, 0, -1); np.moveaxis(cube, -1, 0)
np.moveaxis(cube, (0, 1), (2, 0)); np.moveaxis(cube, [2, 0], [0, 1]); np.squeeze(column); np.squeeze(column, 1); np.squeeze(column, axis=(-1,))
quad.squeeze(1); quad.squeeze(); np.expand_dims(f, 0); np.expand_dims(f, -1); np.expand_dims(f, (0, 2)); np.expand_dims(f, np.int64(1))
np.expand_dims(s, 0); np.broadcast_to(row, (2, 3)); np.broadcast_to(s, 4); np.broadcast_to(s, (2, 1)); np.flip(cube); np.flip(f, 0)
np.flip(cube, (0, -1)); np.concatenate([f, f]); np.concatenate((f, p), axis=1); np.concatenate([f, column], -1); np.concatenate([f, row], axis=None)
np.concatenate([row, np.zeros(2)]); np.concatenate([f]); np.stack([f, p]); np.stack([f, p], axis=-1); np.stack([f, p], 1); np.stack([s, s])
np.stack([s, 1.0, 2]); np.hstack([f, column]); np.hstack([row, vector]); np.hstack([s, row]); np.vstack([f, row]); np.vstack([row, row])
np.vstack([s, s]); np.where(b, f, p); np.where(b, row, 0.0); np.where(column > 0, f, row); np.where(True, f, p); np.where(b[0], s, f)
np.outer(row, vector); np.outer(f, row); np.outer(row, np.arange(2)); np.dot(row, row); np.dot(f, row); np.dot(f, f.T); np.dot(s, f); np.dot(2.0, f)
np.dot(row, square); row.dot(row); f.dot(row); np.inner(row, row); np.vdot(row, row); row @ row; f @ row; row @ square; f @ square; square @ f.T
cube @ vector; cube @ np.ones((4, 2)); f @ np.ones((5, 3, 2)); row @ np.ones((5, 3, 2)); quad @ np.ones(6); quad @ np.ones((6, 2))
quad @ np.ones((3, 6, 2)); cube[:, None] @ np.ones((1, 5, 4, 2)); np.ones((2, 2)) @ f; np.matmul(f, row); cube @ cube.mT
np.ones((2, 3, 5)).transpose(0, 2, 1) @ cube; np.take(f, 1, 0); np.take(f, np.array([2, 0]), axis=1); np.take(f, np.array([[0, 5], [1, -1]]))
np.take(cube, np.array([1, -1]), 1); np.ones_like(f); np.zeros_like(g); f * np.ones_like(f); np.shape(cube)[1] * f; np.ndim(f) * f; np.size(f) * f
len(f) * f; list(f); sum(f); [r for r in f]; np.broadcast_arrays(f, row, s); +f; f.copy(); f.size + f; f.ndim + f; f.shape[0] + f; long + 1
long * np.arange(300.0); np.arange(300.0) @ long; np.sum(long * np.linspace(0, 1, 300)); np.concatenate([long, np.arange(200.)])
long[np.arange(299, -1, -1)]; f ** 3; p ** -1; p ** 0.5; p ** row; 2 ** f; f ** 0; f ** 1; np.float64(2.5) ** f; f ** np.int64(2)
p ** np.float32(0.5); row - 2 * row / (1 + row) ** 2; np.greater(f, 0); np.greater_equal(f, row); np.not_equal(f, 0.5); np.less(1, f); np.equal(i, j)
np.ones(3, '>f8') * f; np.ones(300, '>f8') * long; np.float64(1.5) - s; np.array(2.0) * f; np.ones(3) == row; np.ones(3) > row; np.ones(3) - row
np.ones(3) / row; np.ones(3) ** row; np.transpose(row); np.ravel(s); np.hstack([s, s]); np.concatenate([i, j], axis=np.int64(1))
np.sum(f, axis=np.int64(0)); np.swapaxes(f, np.int64(0), 1)
"""


@pytest.mark.parametrize("expression", [e.strip() for line in FUNCTIONS.strip().splitlines() for e in line.split(";")])
def test_a_numpy_expression_means_the_same_on_a_traced_value(expression: str) -> None:
    same_as_numpy(expression)


INDICES = """
0; -1; 1, 2; -1, -1; 0, 1, 2; ...; :; 1:; :1; ::2; ::-1; :, ::-1; :, ::-2; :, 1:3; :, -2:; :, 5:; :, 2:1; :, -9:9; ..., 0; ..., ::3; 0, ...; 0, ..., 1
1:, :, ::-1; None; None, 0; :, None; ..., None; 0, None, 1; :, None, 1, None; None, ..., None; np.int64(1); 1, np.int32(2); :, 3:0:-1; :, 0:3:-1
:, :, 3::-2; 2:; 5:2; [0, 1, 1]; [-1, 0]; np.array([1, 0, 1]); np.array([[0, 1], [1, 0]]); :, [0, 2]; :, [2, 0, -1]; ..., [3, 0]
:, np.array([[0, 1], [2, -3]]); :, :, [0, 1]; None, [0, 1]; [0, 1], None; [True, False]; :, [True, False, True]
..., np.array([True, False, False, True]); :, np.array([False] * 3); []; :, np.array([], int); np.array([0], np.uint8); (0, 1),; 1:, [0, 2]
::-1, [0, 2]; [1, 0], 1:; [1, 0], ..., 0; 0, [0, 2]; 0, :, [0, 3]; :, 0, [1, 2]; [0, 1], :, 0; :, [0, 2], 1; 0, None, [0, 2]; 0, [[0, 1], [2, 0]]
1, :, [[0, 1], [2, 0]]; [1], 0, 0; :, 1, [True, False, True, True]; np.array(1); :, np.array(2); 0, :, np.array(1); np.array(0), :, [1, 2]
slice(None), slice(1, None, 2); (slice(0, 2), Ellipsis, None)
"""


@pytest.mark.parametrize("index", [e.strip() for line in INDICES.strip().splitlines() for e in line.split(";")])
def test_every_form_of_index_means_what_it_means_in_numpy(index: str) -> None:
    same_as_numpy(f"cube[{index}]")


def test_a_traced_index_takes_from_the_axis_it_stands_on() -> None:
    x, at = VALUES["cube"], np.array([[1, 0], [-1, 2]])
    for f in (lambda a, i: a[:, i], lambda a, i: np.take(a, i, axis=1)):
        (got,) = run(build(f, a=F64[2, 3, 4], i=I64[2, 2]), x, at)
        np.testing.assert_array_equal(got, x[:, at])


REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("bool()", lambda f: bool(f[0, 0] > 0), "np.where"),
    ("if", lambda f: f if f.sum() > 0 else -f, "np.where"),
    ("and", lambda f: (f > 0) and f, "np.where"),
    ("chained comparison", lambda f: 0 < f < 1, "np.where"),
    ("max() of Python", lambda f: max(f[0, 0], f[0, 1]), "np.where"),
    ("float()", lambda f: float(f[0, 0]), "x.astype"),
    ("int()", lambda f: int(f[0, 0]), "Python argument"),
    ("range()", lambda f: range(f[0, 0]), "x[i]"),
    ("slice bound", lambda f: f[: f[0, 0]], "x[i]"),
    ("np.asarray", lambda f: np.asarray(f), "np functions"),
    ("np.array of a list", lambda f: np.array([f[0, 0], f[0, 1]]), "np functions"),
    ("assignment", lambda f: f.__setitem__(0, 1.0), "np.where"),
    ("assignment into an array", lambda f: np.zeros((2, 3)).__setitem__(0, f[0]), "np functions"),
    ("+= on an array", lambda f: np.zeros((2, 3)).__iadd__(f), "h = h + x"),
    ("out=", lambda f: np.add(f, 1, out=np.zeros((2, 3))), "h = h + x"),
    ("ufunc.reduce", lambda f: np.hypot.reduce(f), "functools.reduce"),
    ("ufunc.accumulate", lambda f: np.hypot.accumulate(f), "itertools.accumulate"),
    ("where= of a ufunc", lambda f: np.add(f, 1, where=True), "np.where(mask, np.add(...), otherwise)"),
    ("unknown function", lambda f: np.nancumsum(f), "README"),
    ("unknown ufunc", lambda f: np.nextafter(f, f), "README"),
    ("unknown keyword", lambda f: np.var(f, mean=3.0), "leave it out"),
    ("dtype of a variance", lambda f: np.var(f, dtype=np.float32), "x.astype(dtype)"),
    ("one-armed where", lambda f: np.where(f > 0), "np.where(condition, x, y)"),
    ("Fortran order", lambda f: np.reshape(f, -1, order="F"), ""),
    ("traced mask", lambda f: f[f > 0], "bs.segment_sum"),
    ("two ellipses", lambda f: f[..., 0, ...], ""),
    ("float index", lambda f: f[1.5], ""),
    ("too many indices", lambda f: f[0, 0, 0], ""),
]


@pytest.mark.parametrize("f,hint", [r[1:] for r in REFUSED], ids=[r[0] for r in REFUSED])
def test_what_a_traced_value_cannot_do_is_refused_with_what_to_write(f: Callable[..., Any], hint: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3])
    assert caught.value.reason == "NOT_TRACEABLE"
    assert hint in caught.value.hint


MISTAKEN: list[tuple[str, Callable[..., Any], str]] = [
    ("shapes do not broadcast", lambda f: f + np.ones(4), "SHAPE"),
    ("inner axes differ", lambda f: f @ f, "SHAPE"),
    ("scalar @", lambda f: f @ 2.0, "SHAPE"),
    ("index too large", lambda f: f[2], "SHAPE"),
    ("index far below", lambda f: f[-3], "SHAPE"),
    ("index array too large", lambda f: f[[0, 2]], "SHAPE"),
    ("mask of another length", lambda f: f[[True, False, True]], "SHAPE"),
    ("axis outside of sum", lambda f: np.sum(f, axis=2), "ATTRIBUTE"),
    ("axis twice", lambda f: np.sum(f, axis=(0, -2)), "ATTRIBUTE"),
    ("axis outside of swapaxes", lambda f: np.swapaxes(f, 0, 2), "ATTRIBUTE"),
    ("axis outside of moveaxis", lambda f: np.moveaxis(f, 0, 2), "ATTRIBUTE"),
    ("axis outside of moveaxis of a scalar", lambda f: np.moveaxis(np.sum(f), 0, 0), "ATTRIBUTE"),
    ("axis outside of transpose", lambda f: np.transpose(f, (0, 3)), "ATTRIBUTE"),
    ("too few axes of transpose", lambda f: np.transpose(f, (0,)), "ATTRIBUTE"),
    ("axis outside of concatenate", lambda f: np.concatenate([f, f], axis=2), "ATTRIBUTE"),
    ("axis outside of stack", lambda f: np.stack([f, f], axis=4), "ATTRIBUTE"),
    ("axis outside of take", lambda f: np.take(f, 0, axis=2), "ATTRIBUTE"),
    ("concatenated scalars", lambda f: np.concatenate([f[0, 0], f[0, 1]]), "ATTRIBUTE"),
    ("stacked shapes differ", lambda f: np.stack([f, f[0]]), "SHAPE"),
    ("squeezed axis is longer", lambda f: np.squeeze(f, 0), "SHAPE"),
    ("reshape of another size", lambda f: f.reshape(4, -1), "SHAPE"),
    ("two unknown lengths", lambda f: f.reshape(-1, -1), "SHAPE"),
    ("broadcast to less", lambda f: np.broadcast_to(f, (3,)), "SHAPE"),
    ("max of nothing", lambda f: np.max(f[:0]), "SHAPE"),
    ("complex number", lambda f: f + 1j, "DTYPE"),
    ("text", lambda f: f + "a", "DTYPE"),
    ("None", lambda f: f == None, "DTYPE"),  # noqa: E711
    ("half precision", lambda f: f * np.ones(3, np.float16), "DTYPE"),
    ("object array", lambda f: f * np.array([1, None, 2]), "DTYPE"),
    ("float as a condition", lambda f: np.where(f, f, f), "DTYPE"),
    ("difference of bools", lambda f: (f > 0) - (f < 0), "DTYPE"),
    ("negative of a bool", lambda f: -(f > 0), "DTYPE"),
    ("and of floats", lambda f: f & f, "DTYPE"),
    ("integer to the integer", lambda f: f.astype(int) ** f.astype(int), "DTYPE"),
    ("integer to a negative", lambda f: f.astype(int) ** -1, "ATTRIBUTE"),
    ("cast to complex", lambda f: f.astype(complex), "DTYPE"),
    ("a Python int too large", lambda f: f.astype(np.int32) + 2**40, "DTYPE"),
    ("an exponent beyond any float", lambda f: f**10**400, "ATTRIBUTE"),
]


@pytest.mark.parametrize("f,reason", [r[1:] for r in MISTAKEN], ids=[r[0] for r in MISTAKEN])
def test_a_mistake_is_a_graph_error_with_its_reason(f: Callable[..., Any], reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3])
    assert caught.value.reason == reason


def test_a_refusal_names_the_user_s_line() -> None:
    builder = Builder(locate=lambda: "model.py:12")
    a = Term(builder, builder.input("a", F64[3]))
    for f in (lambda: bool(a), lambda: a + np.ones(4), lambda: np.nextafter(a, a), lambda: call("reshape", a, shape=(2,)), lambda: np.add(a, 1j)):
        with pytest.raises(GraphError) as caught:
            f()
        assert caught.value.source == "model.py:12"


def test_the_unknown_function_s_error_lists_known_ones_of_a_like_name() -> None:
    with pytest.raises(GraphError, match=r"np\.linalg\.eigvals is not among") as caught:
        build(lambda f: np.linalg.eigvals(f), f=F64[3, 3])
    assert caught.value.allowed == "np.linalg.eigvalsh"
    with pytest.raises(GraphError, match=r"np\.nancumsum is not among") as caught:
        build(lambda f: np.nancumsum(f), f=F64[3])
    assert "np.cumsum" in caught.value.allowed


def test_a_value_of_another_trace_is_refused_with_both_places() -> None:
    one, other = Builder(locate=lambda: "a.py:1"), Builder(locate=lambda: "b.py:2")
    a, b = Term(one, one.input("x", F64[2])), Term(other, other.input("x", F64[2]))
    with pytest.raises(GraphError, match="another trace") as caught:
        a + b
    assert "a.py:1" in str(caught.value) and "b.py:2" in str(caught.value)


def test_an_outer_value_is_captured_once_by_a_nested_trace() -> None:
    outer = Builder()
    a = Term(outer, outer.input("a", F64[2]))
    inner = Builder(parent=outer)
    y = Term(inner, inner.input("y", F64[2]))
    z = y * a + a
    assert z.builder is inner
    assert [ref for ref, _ in inner.captured] == [a.ref]


def test_small_arrays_are_constants_and_larger_ones_are_bound_once() -> None:
    builder = Builder()
    a = Term(builder, builder.input("a", F64[128]))
    b = a + np.arange(128.0)
    assert not builder.bound
    wide = np.arange(129.0)
    c = b[0] * wide + wide.copy()
    assert list(builder.bound) == ["bound.0"] and c.shape == (129,)
    wide[0] = 5
    assert builder.bound["bound.0"][0] == 0, "captured when traced, not when run"


def test_equal_expressions_are_one_node_and_python_numbers_keep_their_bits() -> None:
    graph = build(lambda f: (np.sin(f) * 0.1 + np.sin(f), f + 0.0, f + -0.0), f=F64[2])
    assert [n.op for n in graph.nodes].count("sin") == 1
    assert len({graph.outputs[1], graph.outputs[2]}) == 2


@pytest.mark.parametrize("type", [F64[2], F32[2], I64[2], I32[2], BOOL[2]], ids=str)
def test_every_dtype_of_the_contract_passes_through(type: Type) -> None:
    a = np.array([1, 0], type.dtype)
    (got,) = run(build(lambda v: v[::-1], v=type), a)
    assert got.dtype == type.dtype and got.tolist() == a[::-1].tolist()
    assert set(DTYPES) == {"float64", "float32", "int64", "int32", "bool"}
