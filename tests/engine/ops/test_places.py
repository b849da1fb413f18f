"""Reading and writing x[index] for every index NumPy takes: values and derivatives against NumPy's own assignment."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.ops import indexing
from backsweep_engine.ops.build import call
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from support.expressions import listed
from support.graphs import BOOL, F32, F64, I32, I64, build
from support.run import Array, one, run

X = np.arange(120.0).reshape(2, 3, 4, 5) / 8

INDICES = listed("""
[0,1],:,[1,2]; :,[0,1],[1,2]; [[0],[1]],[0,2,1]; 0,:,[1,2]; 0,[1,2],:,[3,4]; :,0,[1,2]; [0,1],None,[1,2]; None,[0,1],[1,2]; ...,[0,1],[1,2]
[0,1],...,[1,2]; PAIR; :,GRID; PAIR,:,[0]; TABLE; True; False; :,True; 0,True; [0,1],True; ...,False; np.False_; TABLE,0; TABLE,:,[0,1,2]; X>5
np.array([-1,-2]),::-1,1:3,np.array([[0],[-5]]); 1,[0],2,3; :,[0,1],::-2,0; ::-1,[0,1],::-2,0; [],[]; np.ix_([0,1],[2,0]); np.ix_([0,1],[2,0],[3])
...,1,[0,1]; [0,1],1,...; [0,1],:,1; 0,0,0,0; 0,0,0,[0]; 1,::-1,3:1:-1; :,:,5:; :,[2],5:; np.array(1),[0,1]; np.array(True),[0,1],[0]; [1,1,0]; :,[0,2,0,2]
[0,0],[1,1]; [0,0],:,[1,1]; 1,:,::2,[4,4]; (); ...; None; np.uint8(1),[0,2]; np.zeros((0,2),int),:,[3,1]; [[[1]]],[[0,2]]; GRID[0,:2],...,[0,3,0,3,0][:1]
""")
NAMES: dict[str, Any] = {
    "np": np,
    "X": X,
    "PAIR": np.array([True, False]),
    "GRID": np.arange(12).reshape(3, 4) % 3 == 1,
    "TABLE": np.array([[True, False, True], [False, True, False]]),
}


class _Index:
    def __getitem__(self, index: Any) -> Any:
        return index


def parsed(index: str) -> Any:
    return eval(f"take[{index}]" if index != "()" else "take[()]", {**NAMES, "take": _Index()})


def quarters(shape: tuple[int, ...], seed: int) -> Array:
    """Numbers whose sums are exact."""
    return np.random.default_rng(seed).integers(-20, 21, shape) / 4


def adjoint(graph: Any, x: list[Array], t: list[Array], wanted: Array) -> None:
    """The tangent is the one wanted, and the transpose belongs to it."""
    wrt = list(range(len(x)))
    np.testing.assert_array_equal(one(derive.jvp(graph, wrt), *x, *t), wanted)
    u = quarters(wanted.shape, 9)
    back = run(derive.vjp(graph, wrt), *x, u)
    assert sum(float(np.vdot(a, b)) for a, b in zip(back, t, strict=True)) == float(np.vdot(u, wanted))


@pytest.mark.parametrize("text", INDICES)
def test_reading_is_numpy_s_and_its_transpose_adds(text: str) -> None:
    index = parsed(text)
    graph = build(lambda x: x[index], x=F64[X.shape])
    got, wanted = one(graph, X), X[index]
    assert got.shape == np.shape(wanted)
    np.testing.assert_array_equal(got, wanted)
    u, added = quarters(got.shape, 1), np.zeros_like(X)
    np.add.at(added, index, u)
    np.testing.assert_array_equal(one(derive.vjp(graph, [0]), X, u), added)


def assigned(x: Array, index: Any, v: Array) -> Array:
    y = x.copy()
    y[index] = v
    return y


def at(ufunc: Any) -> Callable[..., Array]:
    def changed(x: Array, index: Any, v: Array) -> Array:
        y = x.copy()
        ufunc.at(y, index, v)
        return y

    return changed


WRITES: dict[str, tuple[Any, Callable[..., Array]]] = {
    "set": (bs.set, assigned),
    "add_at": (bs.add_at, at(np.add)),
    "max_at": (bs.max_at, at(np.maximum)),
    "min_at": (bs.min_at, at(np.minimum)),
}


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("text", INDICES)
def test_writing_is_numpy_s_on_a_copy(text: str, name: str) -> None:
    index = parsed(text)
    ours, numpy = WRITES[name]
    v = quarters(np.shape(X[index]), 2)
    graph = build(lambda x, v: ours(x, index, v), x=F64[X.shape], v=F64[v.shape])
    wanted = numpy(X, index, v)
    np.testing.assert_array_equal(one(graph, X, v), wanted)
    np.testing.assert_array_equal(ours(X, index, v), wanted)  # on plain arrays, masks and all
    if name in ("set", "add_at"):
        t = [quarters(X.shape, 3), quarters(v.shape, 4)]
        adjoint(graph, [X, v], t, numpy(t[0], index, t[1]))


def test_of_values_written_to_one_place_the_last_stays_and_has_the_derivative() -> None:
    graph = build(lambda x, v: bs.set(x, [0, 2, 0, 2, 0], v), x=F64[3], v=F64[5])
    x, v = np.zeros(3), np.arange(1.0, 6)
    assert one(graph, x, v).tolist() == [5, 0, 4]
    dx, dv = run(derive.vjp(graph, [0, 1]), x, v, np.array([1.0, 10, 100]))
    assert dx.tolist() == [0, 10, 0] and dv.tolist() == [0, 0, 0, 100, 1]
    for layout in (np.asfortranarray, lambda a: a[::-1, ::-1][::-1, ::-1]):
        # Whatever the indices' layout in memory, the last in C order.
        index = layout(np.array([[0, 1], [1, 0]]))
        graph = build(lambda x, v, i=index: bs.set(x, i, v), x=F64[2], v=F64[2, 2])
        assert one(graph, np.zeros(2), np.array([[1.0, 2], [3, 4]])).tolist() == [4, 3]


def test_a_traced_index_out_of_range_reads_nan_and_writes_nothing() -> None:
    x, i, v = np.array([1.0, 2, 3]), np.array([0, 3, -3, -4]), np.array([10.0, 20, 30, 40])
    read = build(lambda x, i: x[i], x=F64[3], i=I64[4])
    np.testing.assert_array_equal(one(read, x, i), [1, np.nan, 1, np.nan])
    for f, wanted in ((bs.set, [30, 2, 3]), (bs.add_at, [41, 2, 3]), (bs.max_at, [30, 2, 3]), (bs.min_at, [1, 2, 3])):
        graph = build(lambda x, i, v, f=f: f(x, i, v), x=F64[3], i=I64[4], v=F64[4])
        assert one(graph, x, i, v).tolist() == wanted
        dx, dv = run(derive.vjp(graph, [0, 2]), x, i, v, np.ones(3))
        assert np.isfinite(dx).all() and dv[1] == dv[3] == 0
    two = build(lambda x, i, j: x[i, j], x=F64[2, 3], i=I64[4], j=I32[4])
    np.testing.assert_array_equal(one(two, np.arange(6.0).reshape(2, 3), [1, -2, 2, 0], np.array([-1, 0, 0, 3], np.int32)), [5, 0, np.nan, np.nan])


TRACED: list[Callable[..., Any]] = [
    lambda x, i, j: x[i, j],
    lambda x, i, j: x[i, :, j],
    lambda x, i, j: x[:, i, 1:, j],
    lambda x, i, j: x[0, i, :, j],
    lambda x, i, j: x[i[0], :, j[0, 0]],
    lambda x, i, j: x[[i[0], 0]],
    lambda x, i, j: x[:, :, i, [0, 1, 2]],
    lambda x, i, j: x[1, i, ::-1],
    lambda x, i, j: x[i[1]],
]


@pytest.mark.parametrize("number", range(len(TRACED)))
def test_traced_indices_mean_what_known_ones_mean_and_batch(number: int) -> None:
    f = TRACED[number]
    i, j = np.array([0, 1, -1]), np.array([[1], [-2]])
    graph = build(f, x=F64[X.shape], i=I64[3], j=I64[2, 1])
    wanted = f(X, i, j)
    np.testing.assert_array_equal(one(graph, X, i, j), wanted)
    rows = [(i, j), (i[::-1].copy(), j * 0), (i * 0 - 1, j + 1)]
    got = one(batch(graph, [False, True, True], 3), X, np.stack([a for a, _ in rows]), np.stack([b for _, b in rows]))
    np.testing.assert_array_equal(got, np.stack([f(X, a, b) for a, b in rows]))


@pytest.mark.parametrize(
    "x,entries,shares",
    [
        (1.0, [1.0, 0.0, 1.0], [1 / 3, 1 / 3, 0, 1 / 3]),
        (2.0, [1.0, 2, 0], [0.5, 0, 0.5, 0]),
        (0.0, [1.0, 2, 2], [0, 0, 0.5, 0.5]),
        (3.0, [1.0, 2, 2], [1, 0, 0, 0]),
    ],
)
def test_what_ties_for_the_maximum_shares_evenly(x: float, entries: list[float], shares: list[float]) -> None:
    for sign, f in ((1, bs.max_at), (-1, bs.min_at)):
        graph = build(lambda x, v, f=f: f(x, [0, 0, 0], v), x=F64[1], v=F64[3])
        dx, dv = run(derive.vjp(graph, [0, 1]), np.array([sign * x]), sign * np.array(entries), np.ones(1))
        assert [*dx, *dv] == shares


def test_segments() -> None:
    x, ids = np.arange(8.0).reshape(4, 2), np.array([2, 0, 2, 5])
    np.testing.assert_array_equal(bs.segment_sum(x, ids, 3), [[2, 3], [0, 0], [4, 6]])
    np.testing.assert_array_equal(bs.segment_max(x, ids, 3), [[2, 3], [-np.inf] * 2, [4, 5]])
    np.testing.assert_array_equal(bs.segment_min(x, ids, 3), [[2, 3], [np.inf] * 2, [0, 1]])
    np.testing.assert_array_equal(bs.segment_sum(x, np.array([[0, 1], [1, 1], [0, 0], [2, 0]]), 2), [0 + 4 + 5 + 7, 1 + 2 + 3])
    graph = build(lambda x, i: bs.segment_sum(np.exp(x), i, 3), x=F64[4, 2], i=I64[4])
    u = quarters((3, 2), 5)
    np.testing.assert_array_equal(one(derive.vjp(graph, [0]), x / 8, ids, u), np.exp(x / 8) * np.concatenate([u, np.zeros((3, 2))])[ids])


def test_put_and_put_along_axis_are_numpy_s_on_a_copy() -> None:
    x = quarters((3, 4), 6)
    for index, values in (([0, 5, -1], [1.0, 2.0]), (np.array([[3, 3], [0, 1]]), 7.0), ([2], np.arange(3.0)), ([], 1.0)):
        y = x.copy()
        np.put(y, np.asarray(index, int), values)
        np.testing.assert_array_equal(bs.put(x, index, values), y)
        np.testing.assert_array_equal(one(build(lambda x, i=index, v=values: bs.put(x, i, v), x=F64[3, 4]), x), y)
    for index, values, axis in ((np.array([[1], [2], [0]]), 9.0, 1), (np.array([[0, 2, 1, 1]]), quarters((1, 4), 1), 0), (np.array([5, 0]), [1.0, 2], None)):
        y = x.copy()
        np.put_along_axis(y, index, values, axis)
        np.testing.assert_array_equal(bs.put_along_axis(x, index, values, axis), y)


def test_values_are_broadcast_and_cast_as_in_an_assignment() -> None:
    x = np.zeros((2, 3), np.float32)
    for value in (1, 2.5, np.float64(1 / 3), np.ones((1, 1, 3)), np.arange(3), np.array([True, False, True])):
        wanted = assigned(x, 0, np.squeeze(value))
        got = one(build(lambda x, v=value: bs.set(x, 0, v), x=F32[2, 3]), x)
        assert got.dtype == np.float32
        np.testing.assert_array_equal(got, wanted)
    assert bs.set(np.zeros(3, int), 1, True).tolist() == [0, 1, 0]


def test_many_elements_are_added_in_the_order_of_few() -> None:
    random = np.random.default_rng(0)
    for shape, axis, size, count in (((3000, 5), 0, 40, 3000), ((6, 2000), 1, 30, 2000), ((5, 700, 3), 1, 9, 700), ((9000,), 0, 7, 9000)):
        for dtype, index_dtype in (("float64", np.int64), ("float32", np.int32), ("int64", np.int64)):
            x = (random.normal(size=shape) * 100).astype(dtype)
            index = random.integers(-size - 3, size + 3, count).astype(index_dtype)  # negative ones, and some out of range
            assert x.size >= indexing.ADD_AT
            wanted = np.zeros((*shape[:axis], size, *shape[axis + 1 :]), x.dtype)
            good = (index >= -size) & (index < size)
            lead = (slice(None),) * axis
            np.add.at(wanted, (*lead, index[good]), x[(*lead, good)])
            graph = build(lambda x, i, a=axis, s=size: call("put_add", x, i, axis=a, size=s), x=Type(x.dtype, shape), i=Type(index.dtype, index.shape))
            np.testing.assert_array_equal(one(graph, x, index), wanted)


REFUSED: list[tuple[str, Callable[..., Any], str, str]] = [
    ("traced mask", lambda f, m: f[m], "NOT_TRACEABLE", "bs.segment_sum"),
    ("many values under a traced mask", lambda f, m: bs.set(f, m, f[0, :2]), "NOT_TRACEABLE", "np.where"),
    ("values that do not fit the rows of a traced mask", lambda f, m: bs.set(f, m[:, 0], f[0, :2]), "SHAPE", ""),
    ("traced mask of another shape", lambda f, m: bs.set(f, m[:, :2], 0.0), "SHAPE", ""),
    ("traced mask among others", lambda f, m: f[0, m[0]], "NOT_TRACEABLE", "bs.segment_sum"),
    ("traced float", lambda f, m: f[f[0]], "NOT_TRACEABLE", "astype"),
    ("known float", lambda f, m: f[np.array([0.5])], "NOT_TRACEABLE", ""),
    ("text", lambda f, m: f["a"], "NOT_TRACEABLE", ""),
    ("too many", lambda f, m: f[0, 0, [0]], "NOT_TRACEABLE", ""),
    ("mask of too many axes", lambda f, m: f[np.ones((2, 3, 1), bool)], "NOT_TRACEABLE", ""),
    ("mask of another shape", lambda f, m: f[np.ones((3, 2), bool)], "SHAPE", ""),
    ("indices that do not broadcast", lambda f, m: f[[0, 1], [0, 1, 2]], "SHAPE", ""),
    ("masks that do not broadcast", lambda f, m: f[[True, True], [True, True, True]], "SHAPE", ""),
    ("out of range", lambda f, m: f[[0, 1], [0, 3]], "SHAPE", ""),
    ("far below", lambda f, m: f[[0], [-4]], "SHAPE", ""),
    ("values that do not fit", lambda f, m: bs.set(f, 0, np.ones(2)), "SHAPE", ""),
    ("float into integers", lambda f, m: bs.set(f.astype(int), 0, 0.5), "DTYPE", "astype"),
    ("traced float into integers", lambda f, m: bs.add_at(f.astype(int), 0, f[0]), "DTYPE", "astype"),
    ("put", lambda f, m: np.put(f, [0], 1.0), "NOT_TRACEABLE", "bs.put"),
    ("putmask", lambda f, m: np.putmask(f, m, 1.0), "NOT_TRACEABLE", "np.where"),
    ("add.at", lambda f, m: np.add.at(f, 0, 1.0), "NOT_TRACEABLE", "bs.add_at"),
    ("assignment", lambda f, m: f.__setitem__(0, 1.0), "NOT_TRACEABLE", "bs.set"),
    ("fill_diagonal", lambda f, m: np.fill_diagonal(f, 1.0), "NOT_TRACEABLE", "bs.set"),
    ("copyto", lambda f, m: np.copyto(f, 1.0), "NOT_TRACEABLE", "np.where"),
    ("segments of another shape", lambda f, m: bs.segment_sum(f, np.arange(3), 3), "SHAPE", ""),
    ("float segments", lambda f, m: bs.segment_sum(f, f, 3), "DTYPE", ""),
    ("index of another rank", lambda f, m: np.take_along_axis(f, np.zeros(3, int), 0), "SHAPE", ""),
]


@pytest.mark.parametrize("f,reason,hint", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_names_no_place_is_refused_with_what_to_write(f: Callable[..., Any], reason: str, hint: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3], m=BOOL[2, 3])
    assert caught.value.reason == reason
    assert hint in caught.value.hint


def test_writes_serve_a_trace_from_end_to_end() -> None:
    with bs.local() as service:
        f = service.submit(lambda x, v: np.sum(bs.set(x, (slice(None), [0, 0, 3]), v) ** 2), x=bs.float64[3, 4], v=bs.float64[3, 3])
        x, v = quarters((3, 4), 7), quarters((3, 3), 8)
        dx, dv = f.gradient(x, v)
        np.testing.assert_array_equal(dx, 2 * x * [0, 1, 1, 0])
        np.testing.assert_array_equal(dv, 2 * v * [0, 1, 1])
        assert f.check(x, v).right
        drawn = service.submit(lambda i: bs.add_at(np.zeros(4), (i,), 1.0), i=bs.int64[5])
        assert drawn(np.array([0, 2, 2, -1, 9])).tolist() == [1, 0, 2, 1]
