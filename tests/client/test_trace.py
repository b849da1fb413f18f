"""Tracing: what a function becomes, how arguments are read, and every refusal with the user's line."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest

from backsweep import dtypes as bs
from backsweep.lines import text as line_of
from backsweep.trace import Traced, trace
from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import program_of
from backsweep_engine.ops.op import verify
from backsweep_engine.text import text

rng = np.random.default_rng(0)
BIG = rng.normal(size=200)  # above 1 KiB: bound; small arrays are constants
SMALL = rng.normal(size=3)


class Layer(NamedTuple):
    W: Any
    b: Any


def values(traced: Traced, **points: Any) -> list[Any]:
    verify(traced.graph)
    arrays = {name: np.asarray(a) for name, a in points.items()} | dict(traced.bound)
    return program_of(traced.graph).run([np.ascontiguousarray(arrays[name]).reshape(np.shape(arrays[name])) for name in traced.graph.input_names])


def value(traced: Traced, **points: Any) -> Any:
    return traced.out_tree.unflatten(values(traced, **points))


def loss(w: Any, X: Any, y: Any, *, weight: Any = 0.5) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z) + weight * np.sum(w * w)


def test_a_plain_numpy_function_becomes_a_graph_with_its_values() -> None:
    w, X, y = rng.normal(size=4), rng.normal(size=(7, 4)), rng.random(7)
    traced = trace(loss, {"w": bs.float64[4], "X": X, "y": y})
    assert traced.graph.input_names == ("w", "X", "y")
    assert list(traced.in_trees) == ["w"]
    assert list(traced.bound) == ["X", "y"]
    assert np.isclose(value(traced, w=w), loss(w, X, y), rtol=1e-14)


def test_inputs_stand_in_the_order_of_the_signature_whatever_the_order_given() -> None:
    one = trace(loss, {"w": bs.float64[4], "X": bs.float64[7, 4], "y": bs.float64[7]})
    other = trace(loss, {"y": bs.float64[7], "X": bs.float64[7, 4], "w": bs.float64[4]})
    assert one.graph.fingerprint == other.graph.fingerprint
    assert list(other.in_trees) == ["w", "X", "y"]


def test_bound_arguments_are_copied() -> None:
    X = np.ones(4)
    traced = trace(lambda w, X: w * X, {"w": bs.float64, "X": X})
    X[:] = 7
    assert value(traced, w=2.0).tolist() == [2, 2, 2, 2]


def test_a_static_number_shapes_the_graph_and_is_no_input() -> None:
    def f(x: Any, power: int, scale: float, mode: str, deep: bool) -> Any:
        y = x**power * scale if mode == "up" else x
        return np.exp(y) if deep else y

    traced = trace(f, {"x": bs.float64, "power": 3, "scale": 2.0, "mode": "up", "deep": False})
    assert traced.graph.input_names == ("x",)
    assert value(traced, x=-2.0) == -16


def test_a_numpy_scalar_is_bound_like_an_array() -> None:
    traced = trace(lambda x, s: x * s, {"x": bs.float64, "s": np.float64(3)})
    assert list(traced.bound) == ["s"]
    assert value(traced, x=2.0) == 6


def test_left_out_arguments_keep_their_defaults() -> None:
    def f(x: Any, axis: int | None = None, *, keepdims: bool = True, extra: Any = SMALL) -> Any:
        return np.sum(x * extra, axis=axis, keepdims=keepdims)

    x = rng.normal(size=(2, 3))
    assert np.allclose(value(trace(f, {"x": bs.float64[2, 3]}), x=x), f(x))
    assert np.allclose(value(trace(f, {"x": bs.float64[2, 3], "keepdims": False, "axis": 1}), x=x), f(x, axis=1, keepdims=False))


def test_positional_only_keyword_only_and_open_keywords_are_filled_by_name() -> None:
    def f(a: Any, /, b: Any, *, c: Any, **rest: Any) -> Any:
        return a - b * c + rest["e"] - rest["d"]

    traced = trace(f, {"e": bs.float64, "d": bs.float64, "c": bs.float64, "b": bs.float64, "a": bs.float64})
    assert traced.graph.input_names == ("a", "b", "c", "d", "e")
    assert value(traced, a=1.0, b=2.0, c=3.0, d=4.0, e=6.0) == -3


@pytest.mark.parametrize(
    "f", [partial(loss, weight=0.25), type("Model", (), {"__call__": lambda self, w, X, y: loss(w, X, y)})()], ids=["partial", "callable object"]
)
def test_anything_callable_with_a_signature_is_traced(f: Callable[..., Any]) -> None:
    w, X, y = rng.normal(size=4), rng.normal(size=(7, 4)), rng.random(7)
    assert np.isclose(value(trace(f, {"w": bs.float64[4], "X": X, "y": y}), w=w), f(w, X, y))


# Trees.


def test_trees_in_and_out_are_named_by_paths() -> None:
    def f(p: Any, x: Any) -> Any:
        hidden = [np.tanh(layer.W @ x + layer.b) for layer in p["layers"]]
        return {"last": hidden[-1], "all": (hidden[0], Layer(x, 1.0))}

    layer = Layer(bs.float64[3, 3], bs.float64[3])
    traced = trace(f, {"p": {"layers": [layer, layer]}, "x": bs.float64[3]})
    assert traced.graph.input_names == ("p.layers[0].W", "p.layers[0].b", "p.layers[1].W", "p.layers[1].b", "x")
    assert traced.graph.output_names == (".all[0]", ".all[1].W", ".all[1].b", ".last")
    assert traced.in_trees["p"].paths("p") == list(traced.graph.input_names[:4])
    out = value(traced, **{name: np.ones(t.shape) for name, t in zip(traced.graph.input_names, traced.graph.input_types, strict=True)})
    assert isinstance(out["all"][1], Layer)
    assert np.allclose(out["last"], np.tanh(4.0))


def test_a_tree_of_arrays_is_bound_leaf_by_leaf() -> None:
    traced = trace(lambda w, d: w * d["a"][0] + d["k"], {"w": bs.float64, "d": {"a": [SMALL], "k": 2}})
    assert list(traced.bound) == ["d.a[0]"]
    assert np.allclose(value(traced, w=3.0), 3 * SMALL + 2)


RESULTS: dict[str, tuple[Callable[[Any], Any], Any]] = {
    "the input itself": (lambda x: x, 2.0),
    "the same value twice": (lambda x: (x, x), (2.0, 2.0)),
    "a Python number": (lambda x: 3, 3),
    "a constant array": (lambda x: SMALL, SMALL),
    "a large constant array": (lambda x: BIG, BIG),
    "a bool": (lambda x: x > 1, True),
    "a list": (lambda x: [x, [x + 1]], [2.0, [3.0]]),
}


@pytest.mark.parametrize("name", RESULTS)
def test_results_are_arrays_numbers_and_trees_of_them(name: str) -> None:
    f, expected = RESULTS[name]
    out = value(trace(f, {"x": bs.float64}), x=2.0)
    assert type(out) is type(expected) or not isinstance(expected, (tuple, list))
    assert np.all(out == expected) if not isinstance(expected, (tuple, list)) else str(np.array(out[0])) == str(expected[0])


# Captured arrays.


def test_a_large_captured_array_is_bound_once_and_a_small_one_is_a_constant() -> None:
    traced = trace(lambda x: np.sum(x * BIG) + np.sum(BIG.copy() * x) + np.sum(SMALL), {"x": bs.float64[200]})
    assert traced.graph.input_names == ("x", "bound.0")
    assert np.array_equal(traced.bound["bound.0"], BIG)
    assert np.isclose(value(traced, x=BIG), 2 * BIG @ BIG + SMALL.sum())


def test_a_captured_array_nothing_came_of_is_dropped_and_an_unused_argument_stays() -> None:
    def f(x: Any, X: Any, unused: Any) -> Any:
        np.sin(x) * BIG
        y = np.cos(x)
        return y * rng_free

    rng_free = np.arange(300.0)
    traced = trace(f, {"x": bs.float64, "X": np.ones(2), "unused": bs.float64[2]})
    assert traced.graph.input_names == ("x", "X", "unused", "bound.1")
    assert list(traced.bound) == ["X", "bound.1"]
    assert np.allclose(value(traced, x=1.0, unused=np.ones(2)), np.cos(1) * rng_free)
    assert [line_of(s) for s, n in zip(traced.sources, traced.graph.nodes, strict=True) if n.op == "cos"] == ["y = np.cos(x)"]
    assert all(node.origin == i for i, node in enumerate(traced.graph.nodes))


# Lines.


def test_every_node_knows_the_users_line_and_the_graph_does_not() -> None:
    def here(x: Any) -> Any:
        y = np.sin(x)
        return y * y

    def there(x: Any) -> Any:
        return np.sin(x) * np.sin(x)

    one, other = trace(here, {"x": bs.float64}), trace(there, {"x": bs.float64})
    assert [line_of(s) for s in one.sources[1:]] == ["y = np.sin(x)", "return y * y"]
    assert one.sources[1].startswith("test_trace.py:")
    assert one.graph.fingerprint == other.graph.fingerprint
    assert "test_trace" not in text(one.graph)


def test_an_engine_error_about_a_node_is_explained_with_the_users_line() -> None:
    traced = trace(lambda x: np.log(x), {"x": bs.float64})
    error = traced.explain(GraphError("something is wrong", node=1, op="log", window="  %1: float64 = log %0"))
    assert error.source == traced.sources[1]
    assert "np.log(x)" in str(error)
    assert "%1: float64" in str(error)
    assert traced.explain(GraphError("no node")).source == ""
    assert traced.explain(GraphError("in a branch", node=0, function=0)).source == ""


def test_a_traced_function_pickles() -> None:
    again = pickle.loads(pickle.dumps(trace(loss, {"w": bs.float64[4], "X": np.ones((7, 4)), "y": np.ones(7)})))
    assert again.in_trees["w"].is_leaf
    assert np.isfinite(value(again, w=np.ones(4)))


def test_a_long_function_is_traced_without_recursion() -> None:
    def f(x: Any) -> Any:
        for _ in range(5000):
            x = np.sin(x) * 1.0001
        return x

    assert len(trace(f, {"x": bs.float64}).graph.nodes) == 10_002


def test_numbers_drawn_while_tracing_are_told_to_be_constants() -> None:
    with pytest.warns(RuntimeWarning, match=r"np.random was drawn from while test_trace.py:\d+ was traced.*pass them as an argument"):
        traced = trace(lambda x: x * np.random.random(), {"x": bs.float64})  # noqa: NPY002  # what is warned of
    assert value(traced, x=2.0) == value(traced, x=2.0)
    trace(lambda x: x * SMALL, {"x": bs.float64})  # no warning: it would be an error here
