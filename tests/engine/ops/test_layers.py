"""Normalisations, attention and dropout: what the faces take, derivatives against closed forms, extremes, refusals."""

import math
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.errors import GraphError
from backsweep_engine.transforms import derive
from support import windows as loops
from support.graphs import BOOL, F32, F64, I64, build
from support.run import Array, one, run

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).normal(size=shape)


X = numbers(2, 4, 3, 5)
ROW, WIDE = numbers(4, seed=1), numbers(3, 5, seed=2)


# Normalisations.


def test_a_normalised_array_has_mean_0_and_variance_1() -> None:
    for y, axes in ((bs.layer_norm(X, eps=1e-12), 3), (bs.instance_norm(X, eps=1e-12), (2, 3)), (bs.layer_norm(X, None, None, (0, 2), eps=1e-12), (0, 2))):
        np.testing.assert_allclose(y.mean(axes), 0, atol=1e-12)
        np.testing.assert_allclose(y.var(axes), 1, rtol=1e-10)
    y = bs.group_norm(X, 2, eps=1e-12).reshape(2, 2, 30)
    np.testing.assert_allclose(y.mean(2), 0, atol=1e-12)
    np.testing.assert_allclose((bs.rms_norm(X, eps=1e-12) ** 2).mean(-1), 1, rtol=1e-10)


def test_weights_and_biases_are_of_the_axes_normalised_or_of_the_channels() -> None:
    channel = ROW[:, None, None]
    plain = loops.layer_norm(X, (2, 3), 1e-5)
    np.testing.assert_allclose(bs.layer_norm(X, WIDE, -WIDE, (-2, -1)), plain * WIDE - WIDE, **CLOSE)
    np.testing.assert_allclose(bs.layer_norm(X, None, WIDE, (-2, -1)), plain + WIDE, **CLOSE)
    np.testing.assert_allclose(bs.instance_norm(X, ROW), plain * channel, **CLOSE)
    np.testing.assert_allclose(bs.group_norm(X, 2, ROW, ROW, eps=0.1), loops.group_norm(X, 2, 0.1) * channel + channel, **CLOSE)
    np.testing.assert_allclose(bs.group_norm(X, 4), bs.instance_norm(X), **CLOSE)
    np.testing.assert_allclose(bs.rms_norm(X, WIDE[0]), loops.WINDOWS["rms_norm"](X, (3,), 1e-5) * WIDE[0], **CLOSE)
    mean, variance = X.mean((0, 2, 3)), X.var((0, 2, 3))
    wanted = (X - mean[:, None, None]) / np.sqrt(variance + 0.01)[:, None, None]
    np.testing.assert_allclose(bs.batch_norm(X, mean, variance, eps=0.01), wanted, **CLOSE)
    np.testing.assert_allclose(bs.batch_norm(X, mean, variance, ROW, ROW, eps=0.01), wanted * channel + channel, **CLOSE)
    np.testing.assert_allclose(bs.batch_norm(X[:, :, 0, 0], mean, variance, eps=0.01), wanted[:, :, 0, 0], **CLOSE)


def test_the_gradient_of_layer_norm_is_its_closed_form() -> None:
    # With y the result and s the root, the cotangent is (c - mean c - y mean(c y)) / s (Ba, Kiros, Hinton 2016, section 3).
    x, c, eps = numbers(3, 7), numbers(3, 7, seed=1), 0.25
    graph = build(lambda x: bs.layer_norm(x, eps=0.25), x=F64[3, 7])
    y = loops.layer_norm(x, (1,), eps)
    s = np.sqrt(x.var(1, keepdims=True) + eps)
    wanted = (c - c.mean(1, keepdims=True) - y * (c * y).mean(1, keepdims=True)) / s
    np.testing.assert_allclose(one(derive.vjp(graph, [0]), x, c), wanted, **CLOSE)


def test_training_through_the_statistics_of_the_batch_is_layer_norm_over_it() -> None:
    f = build(lambda x: bs.batch_norm(x, np.mean(x, (0, 2)), np.var(x, (0, 2))), x=F64[3, 2, 4])
    g = build(lambda x: bs.layer_norm(x, None, None, (0, 2)), x=F64[3, 2, 4])
    x, c = numbers(3, 2, 4), numbers(3, 2, 4, seed=1)
    for one_, other in zip(run(derive.vjp(f, [0]), x, c), run(derive.vjp(g, [0]), x, c), strict=True):
        np.testing.assert_allclose(one_, other, **CLOSE)


def test_equal_entries_are_normalised_to_0_with_a_finite_derivative() -> None:
    graph = build(lambda x: bs.layer_norm(x, eps=0.25), x=F64[4])
    np.testing.assert_array_equal(one(graph, np.full(4, 3.0)), 0)
    np.testing.assert_allclose(one(derive.vjp(graph, [0]), np.full(4, 3.0), np.array([1.0, 0, 0, 0])), [1.5, -0.5, -0.5, -0.5], **CLOSE)


def test_far_from_0_the_deviations_keep_their_digits() -> None:
    x = 2.0**40 + np.arange(4.0)
    np.testing.assert_allclose(bs.layer_norm(x), loops.layer_norm(np.arange(4.0), 0, 1e-5), **CLOSE)


# Attention.


def test_equal_scores_give_the_mean_and_causal_ones_the_running_mean() -> None:
    q, k, v = np.zeros((3, 2)), numbers(3, 2), numbers(3, 4, seed=1)
    np.testing.assert_allclose(bs.attention(q, k, v), np.tile(v.mean(0), (3, 1)), **CLOSE)
    np.testing.assert_allclose(bs.attention(q, k, v, causal=True), np.cumsum(v, 0) / np.arange(1, 4)[:, None], **CLOSE)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("mask", ["", "bool", "float"])
def test_attention_is_the_loop_over_queries_and_keys(causal: bool, mask: str) -> None:
    q, k, v = numbers(2, 3, 4, 5), numbers(3, 6, 5, seed=1), numbers(6, 2, seed=2)
    given = {"": None, "bool": numbers(4, 6, seed=3) > -0.5, "float": numbers(3, 4, 6, seed=3)}[mask]
    wide = [np.broadcast_to(x, (2, 3, *x.shape[-2:])) for x in (q, k, v)] + ([] if given is None else [np.broadcast_to(given, (2, 3, 4, 6))])
    wanted = loops.attention(*wide, causal=causal, scale=1 / math.sqrt(5))
    got = bs.attention(q, k, v, causal=causal) if given is None else bs.attention(q, k, v, given, causal=causal)
    np.testing.assert_allclose(got, wanted, **CLOSE)


def test_a_query_that_sees_nothing_gets_0_and_gives_none() -> None:
    seen = np.array([[True, False], [False, False]])
    graph = build(lambda q, k, v, m: np.sum(bs.attention(q, k, v, m)), q=F64[2, 3], k=F64[2, 3], v=F64[2, 2], m=BOOL[2, 2])
    q, k, v = numbers(2, 3), numbers(2, 3, seed=1), numbers(2, 2, seed=2)
    np.testing.assert_allclose(bs.attention(q, k, v, seen), [v[0], [0, 0]], **CLOSE)
    by_q, by_k, by_v = run(derive.gradient(graph, [0, 1, 2]), q, k, v, seen)
    np.testing.assert_array_equal(by_q, 0)
    np.testing.assert_array_equal(by_k, 0)
    np.testing.assert_array_equal(by_v, [[1, 1], [0, 0]])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_large_scores_pick_one_key_without_overflow(dtype: Any) -> None:
    q, k = np.array([[1e4]], dtype), np.array([[1.0], [2.0], [-3.0]], dtype)
    v = np.array([[1.0], [5.0], [7.0]], dtype)
    got = bs.attention(q, k, v)
    assert got.dtype == dtype and got.tolist() == [[5.0]]
    assert bs.attention(q, k, v, np.array([[True, False, True]])).tolist() == [[1.0]]
    assert bs.attention(q, k, v, np.array([[0.0, -math.inf, 0.0]], dtype)).tolist() == [[1.0]]


def test_the_scale_is_one_over_the_root_of_the_width_or_what_is_given() -> None:
    q, k, v = numbers(3, 4), numbers(2, 4, seed=1), numbers(2, 1, seed=2)
    np.testing.assert_allclose(bs.attention(q, k, v, scale=0.5), bs.attention(q, k, v), **CLOSE)
    np.testing.assert_allclose(bs.attention(q, k, v, scale=0.0), np.full((3, 1), v.mean()), **CLOSE)


# Dropout.


def test_dropout_keeps_what_the_mask_says_and_its_expectation() -> None:
    x, kept = np.array([1.0, math.inf, 3.0]), np.array([True, False, True])
    assert bs.dropout(x, kept, 0.5).tolist() == [2.0, 0.0, 6.0]
    assert bs.dropout(np.ones((2, 3)), kept, rate=0.75).tolist() == [[4.0, 0.0, 4.0]] * 2
    graph = build(lambda x, m: np.sum(bs.dropout(x, m, 0.2)), x=F64[3], m=BOOL[3])
    np.testing.assert_allclose(one(derive.gradient(graph, [0]), np.zeros(3), kept), [1.25, 0, 1.25], **CLOSE)


# Refusals.

REFUSED: dict[str, Any] = {
    "no eps": lambda x, m: bs.layer_norm(x, eps=0.0),
    "eps that is no number": lambda x, m: bs.layer_norm(x, eps=math.nan),
    "a weight of other axes": lambda x, m: bs.layer_norm(x, np.ones(4)),
    "a weight for the first axes": lambda x, m: bs.layer_norm(x, np.ones(2), None, 0),
    "over nothing": lambda x, m: bs.layer_norm(x[:, :, :0]),
    "an axis that is not there": lambda x, m: bs.rms_norm(x, None, None, 3),
    "groups that do not divide": lambda x, m: bs.group_norm(x, 3),
    "no groups": lambda x, m: bs.group_norm(x, 0),
    "no channels": lambda x, m: bs.instance_norm(x[0, 0]),
    "an instance of nothing": lambda x, m: bs.instance_norm(x[:, :, :0]),
    "statistics of the rows": lambda x, m: bs.batch_norm(x, np.ones(2), np.ones(2)),
    "queries wider than keys": lambda x, m: bs.attention(x, x[:, :, :2], x),
    "more keys than values": lambda x, m: bs.attention(x, x, x[:, :3]),
    "no keys": lambda x, m: bs.attention(x, x[:, :0], x[:, :0]),
    "a vector of queries": lambda x, m: bs.attention(x[0, 0], x, x),
    "a mask that does not fit": lambda x, m: bs.attention(x, x, x, m),
    "a mask of a vector": lambda x, m: bs.attention(x, x, x, m[0, 0]),
    "stacks that differ": lambda x, m: bs.attention(x, np.ones((3, 4, 3)), x),
    "a mask of integers": lambda x, m: bs.dropout(x, np.ones((2, 4, 3), np.int64), 0.5),
    "everything dropped": lambda x, m: bs.dropout(x, m, 1.0),
    "a negative rate": lambda x, m: bs.dropout(x, m, -0.5),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_does_not_fit_is_refused_when_it_is_traced(what: str) -> None:
    with pytest.raises(GraphError):
        build(REFUSED[what], x=F64[2, 4, 3], m=BOOL[2, 4, 3])


def test_float32_stays_and_integers_become_float64() -> None:
    def types(x: Any) -> Any:
        return [bs.layer_norm(x), bs.group_norm(x, 2), bs.attention(x, x, x), bs.batch_norm(x, x[0, :, 0], x[0, :, 0])]

    for given, wanted in ((F32[2, 2, 3], np.float32), (I64[2, 2, 3], np.float64)):
        assert {t.dtype for t in build(types, x=given).output_types} == {np.dtype(wanted)}
