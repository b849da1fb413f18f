"""Convolution, pooling and resizing: what the faces take, derivatives against loops and closed forms, refusals.

The tests of the table cover each record by itself; here stands what they cannot know. The loops of
support/windows.py are the judge; sums of a few dozen products in another order agree to CLOSE.
"""

import math
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from support import windows as loops
from support.graphs import F64, apply, build
from support.run import Array, one, run

CLOSE = {"rtol": 1e-13, "atol": 1e-13}


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


# What the faces take.

OPTIONS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {}),
    ({"stride": 2}, {"stride": (2, 2)}),
    ({"stride": (1, 3), "padding": 1}, {"stride": (1, 3), "low": (1, 1), "high": (1, 1)}),
    ({"padding": (2, 0)}, {"low": (2, 0), "high": (2, 0)}),
    ({"padding": ((1, 2), (0, 3))}, {"low": (1, 0), "high": (2, 3)}),
    ({"padding": "valid", "dilation": (2, 1)}, {"dilation": (2, 1)}),
    ({"padding": "same"}, {"low": (1, 0), "high": (1, 1)}),
    ({"padding": "same", "dilation": (1, 3)}, {"low": (1, 1), "high": (1, 2), "dilation": (1, 3)}),
    ({"padding": [3, 1], "stride": [2, 2], "dilation": [2, 2]}, {"low": (3, 1), "high": (3, 1), "stride": (2, 2), "dilation": (2, 2)}),
]
PLAIN = {"stride": (1, 1), "low": (0, 0), "high": (0, 0), "dilation": (1, 1)}


@pytest.mark.parametrize("given,meant", OPTIONS, ids=str)
@pytest.mark.parametrize("groups", [1, 2])
def test_conv2d_takes_its_options_as_pytorch_does(given: dict[str, Any], meant: dict[str, Any], groups: int) -> None:
    x, w, b = numbers(2, 4, 6, 5), numbers(4, 4 // groups, 3, 2, seed=1), numbers(4, seed=2)
    wanted = loops.conv(x, w, **(PLAIN | meant), groups=groups) + b[:, None, None]
    np.testing.assert_allclose(bs.conv2d(x, w, b, groups=groups, **given), wanted, **CLOSE)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize(
    "options", [{}, {"stride": 2}, {"padding": 1}, {"stride": 3, "padding": 1, "output_padding": 2}, {"dilation": 2, "groups": 2}], ids=str
)
def test_conv_transpose_is_the_loop_over_what_each_place_spreads(rank: int, options: dict[str, Any]) -> None:
    x, groups = numbers(2, 4, *(3, 2, 2)[:rank]), options.get("groups", 1)
    w, b = numbers(4, 3, *(2, 3, 2)[:rank], seed=1), numbers(3 * groups, seed=2)
    s, p, o, d = (options.get(k, v) for k, v in (("stride", 1), ("padding", 0), ("output_padding", 0), ("dilation", 1)))
    # PyTorch's documentation of ConvTranspose2d: the length of the result.
    size = tuple((n - 1) * s - 2 * p + d * (k - 1) + o + 1 for n, k in zip(x.shape[2:], w.shape[2:], strict=True))
    wanted = loops.conv_transpose(x, w, (s,) * rank, (p,) * rank, size, (d,) * rank, groups) + b.reshape(-1, *(1,) * rank)
    got = getattr(bs, f"conv_transpose{rank}d")(x, w, b, **options)
    np.testing.assert_allclose(got, wanted, **CLOSE)


def test_conv1d_is_numpy_s_correlate_and_conv3d_of_ones_sums_boxes() -> None:
    a, v = numbers(20), numbers(4, seed=1)
    np.testing.assert_allclose(bs.conv1d(a[None, None], v[None, None])[0, 0], np.correlate(a, v), **CLOSE)
    np.testing.assert_allclose(bs.conv1d(a[None, None], v[None, None], padding=3)[0, 0], np.correlate(a, v, "full"), **CLOSE)
    x = numbers(1, 1, 4, 4, 4)
    boxes = np.lib.stride_tricks.sliding_window_view(x[0, 0], (2, 2, 2)).sum((3, 4, 5))
    np.testing.assert_allclose(bs.conv3d(x, np.ones((1, 1, 2, 2, 2)))[0, 0], boxes, **CLOSE)


def test_integers_are_taken_as_floats_and_float32_stays() -> None:
    x, w = np.arange(10).reshape(1, 1, 10), np.array([[[1, 2]]])
    assert bs.conv1d(x, w).dtype == np.float64 and bs.max_pool(x, 2).dtype == np.float64
    single = bs.conv1d(x.astype(np.float32), w.astype(np.float32), np.ones(1, np.float32))
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single[0, 0], [3 * k + 3 for k in range(9)])
    assert bs.resize(x.astype(np.float32), (4,), "linear").dtype == np.float32


# Derivatives.


def test_the_gradients_of_conv_are_loops_too() -> None:
    options = {"stride": (2, 1), "low": (1, 2), "high": (0, 1), "dilation": (1, 2)}
    x, w = numbers(2, 4, 6, 5), numbers(2, 2, 3, 2, seed=1)
    graph = apply("conv", [F64[x.shape], F64[w.shape]], options | {"groups": 2})
    c = numbers(*graph.output_types[0].shape, seed=2)
    by_x, by_w = run(derive.vjp(graph, [0, 1]), x, w, c)
    size = {"size": x.shape[2:], "stride": (2, 1), "low": (1, 2), "dilation": (1, 2)}
    np.testing.assert_allclose(by_x, loops.conv_transpose(c, w, **size, groups=2), **CLOSE)
    wanted = np.zeros_like(w)
    for row, o, *at in np.ndindex(*c.shape):
        for k, where in loops.places(at, (3, 2), (2, 1), (1, 2), (1, 2), x.shape[2:]):
            wanted[(o, slice(None), *k)] += c[(row, o, *at)] * x[(row, slice(o * 2, o * 2 + 2), *where)]
    np.testing.assert_allclose(by_w, wanted, **CLOSE)


def test_tied_entries_of_a_window_share_its_derivative() -> None:
    graph = build(lambda x: np.sum(_max_pool(x, (2, 2), 1, 0)), x=F64[1, 1, 2, 3])
    x = np.array([[[[5.0, 5.0, 1.0], [0.0, 5.0, 5.0]]]])
    third = 1 / 3
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), x)[0, 0], [[third, 2 * third, 0], [0, 2 * third, third]], **CLOSE)


def test_padding_never_wins_a_maximum() -> None:
    x = np.array([[[-5.0, -7.0, -9.0]]])
    np.testing.assert_array_equal(bs.max_pool(x, 3, 1, 1)[0, 0], [-5, -5, -7])
    graph = build(lambda x: np.sum(_max_pool(x, 3, 1, 1)), x=F64[1, 1, 3])
    np.testing.assert_array_equal(one(derive.gradient(graph, [0]), x)[0, 0], [2, 1, 0])
    assert bs.max_pool(np.array([[[-math.inf, math.nan, 1.0]]]), 1)[0, 0].tolist()[0] == -math.inf
    assert np.isnan(bs.max_pool(np.array([[[1.0, math.nan, 1.0]]]), 2, 1)).all()


def _max_pool(x: Any, *options: Any) -> Any:
    return bs.max_pool(x, *options)


def test_avg_pool_divides_by_the_window_or_by_what_of_it_is_inside() -> None:
    x = np.array([[[2.0, 4.0, 6.0, 8.0]]])
    np.testing.assert_array_equal(bs.avg_pool(x, 2)[0, 0], [3, 7])
    np.testing.assert_array_equal(bs.avg_pool(x, 3, 1, 1)[0, 0], [2, 4, 6, 14 / 3])
    np.testing.assert_array_equal(bs.avg_pool(x, 3, 1, 1, count_include_pad=False)[0, 0], [3, 4, 6, 7])
    np.testing.assert_array_equal(bs.avg_pool(x[0, 0], (2,), 1), [3, 5, 7])
    graph = build(lambda x: np.sum(bs.avg_pool(x, 3, 1, 1, count_include_pad=False)), x=F64[1, 1, 4])
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), x)[0, 0], [5 / 6, 7 / 6, 7 / 6, 5 / 6], **CLOSE)


# resize


def test_resizing_by_lines_keeps_lines_and_corners() -> None:
    line = 3 * np.arange(5.0) - 1
    np.testing.assert_allclose(bs.resize(line, 9, "linear", align_corners=True), 3 * np.linspace(0, 4, 9) - 1, **CLOSE)
    # Middle upon middle: half a place beyond the ends the last entry stands.
    np.testing.assert_allclose(bs.resize(line, 10, "linear")[1:-1], 3 * (np.arange(1, 9) * 0.5 - 0.25) - 1, **CLOSE)
    assert bs.resize(line, 10, "linear")[[0, -1]].tolist() == [-1, 11]
    np.testing.assert_array_equal(bs.resize(line, (1,), "linear", align_corners=True), [-1])


def test_resizing_to_the_nearest_repeats_and_leaves_out() -> None:
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(bs.resize(x, (4, 6)), x.repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(bs.resize(np.arange(7.0), 3), [0, 2, 4])
    np.testing.assert_array_equal(bs.resize(x, (2, 3), "linear"), x)


def test_the_gradient_of_resize_adds_up_to_the_places_there_are() -> None:
    for method in ("nearest", "linear"):
        graph = build(lambda x, method=method: np.sum(bs.resize(x, (7, 5), method)), x=F64[2, 3, 4])
        got = one(derive.gradient(graph, [0]), numbers(2, 3, 4))
        np.testing.assert_allclose(got.sum((1, 2)), [35, 35], **CLOSE)


# Size.


def nodes(graph: Graph) -> int:
    return len(expand(graph).nodes)


def test_a_convolution_and_its_derivatives_grow_with_the_sides_of_the_kernel_not_its_area() -> None:
    def sizes(k: int) -> list[int]:
        attributes = PLAIN | {"groups": 1}
        graph = apply("conv", [F64[1, 1, 40, 40], F64[1, 1, k, k]], attributes)
        total = build(lambda x, w: np.sum(np.tanh(bs.conv2d(x, w))), x=F64[1, 1, 40, 40], w=F64[1, 1, k, k])
        return [nodes(graph), nodes(derive.vjp(graph, [0, 1])), nodes(derive.hvp(total, [0, 1]))]

    # 16 positions more along the two axes, 128 in the area: a slice each, a pad and an addition each on the way back.
    for a, b, each in zip(sizes(4), sizes(12), (1, 4, 6), strict=True):
        assert b - a <= 16 * each


# Refusals.

X, W = F64[2, 4, 6, 5], F64[4, 2, 3, 2]
REFUSED: dict[str, Any] = {
    "wrong rank": lambda x, w: bs.conv1d(x, w),
    "channels do not fit": lambda x, w: bs.conv2d(x, w),
    "groups do not divide": lambda x, w: bs.conv2d(x, w, groups=3),
    "no groups": lambda x, w: bs.conv2d(x, w, groups=0),
    "too long a kernel": lambda x, w: bs.conv2d(x, w, groups=2, dilation=9),
    "no stride": lambda x, w: bs.conv2d(x, w, groups=2, stride=0),
    "negative padding": lambda x, w: bs.conv2d(x, w, groups=2, padding=-1),
    "too many strides": lambda x, w: bs.conv2d(x, w, groups=2, stride=(1, 1, 1)),
    "a float stride": lambda x, w: bs.conv2d(x, w, groups=2, stride=1.5),
    "a float window": lambda x, w: bs.max_pool(x, 1.5),
    "a float padding": lambda x, w: bs.max_pool(x, 2, 1, 0.5),
    "a float length": lambda x, w: bs.resize(x, 2.5),
    "same with a stride": lambda x, w: bs.conv2d(x, w, groups=2, stride=2, padding="same"),
    "unknown padding": lambda x, w: bs.conv2d(x, w, groups=2, padding="full"),
    "a pair and a number": lambda x, w: bs.conv2d(x, w, groups=2, padding=((1, 2), 3)),
    "a long bias": lambda x, w: bs.conv2d(x, w, np.ones(3), groups=2),
    "a transpose's channels": lambda x, w: bs.conv_transpose2d(x[:, :3], w),
    "a transpose cut away": lambda x, w: bs.conv_transpose2d(x, w, padding=9),
    "padding wider than the window": lambda x, w: bs.max_pool(x, 2, 1, 2),
    "a window between the entries": lambda x, w: bs.max_pool(x[:, :, :1], (2, 1), 1, (1, 0), (2, 1)),
    "more axes than three": lambda x, w: bs.max_pool(x, (1, 1, 1, 1)),
    "no axes": lambda x, w: bs.max_pool(x, ()),
    "more axes than there are": lambda x, w: bs.avg_pool(x[0, 0, 0], (2, 2)),
    "an empty window": lambda x, w: bs.avg_pool(x, 0),
    "an endless window": lambda x, w: bs.avg_pool(x, (1, 2000), 1, (0, 1999)),
    "resized to nothing": lambda x, w: bs.resize(x, (0,)),
    "resized by more axes": lambda x, w: bs.resize(x, (2, 2, 2, 2, 2)),
    "unknown method": lambda x, w: bs.resize(x, (2,), "cubic"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_when_it_is_traced(what: str) -> None:
    with pytest.raises(GraphError):
        build(REFUSED[what], x=X, w=W)
