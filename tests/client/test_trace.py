"""Tracing: what a function becomes, how arguments are read, and every refusal with the user's line."""

from __future__ import annotations

import math
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


# Refusals. Each raises on the line that bears the mark, and the message shows that line.


def _bool(x: Any) -> Any:
    return x if x > 0 else -x  # HERE


def _float(x: Any) -> Any:
    return float(x)  # HERE


def _int(x: Any) -> Any:
    return int(x)  # HERE


def _math(x: Any) -> Any:
    return math.sin(x)  # HERE


def _asarray(x: Any) -> Any:
    return np.asarray(x)  # HERE


def _array_of(x: Any) -> Any:
    return np.array([x, 1.0])  # HERE


def _assign(x: Any) -> Any:
    x[0] = 1.0  # HERE
    return x


def _stored(x: Any) -> Any:
    a = np.zeros(3)
    a[0] = x  # HERE
    return a


def _added_in_place(x: Any) -> Any:
    a = np.zeros(3)
    a += x  # HERE
    return a


def _out(x: Any) -> Any:
    return np.add(x, 1.0, out=np.zeros(3))  # HERE


def _index(x: Any) -> Any:
    return [x for _ in range(x)]  # HERE


def _indexed_array(x: Any) -> Any:
    return SMALL[x.astype(np.int64)]  # HERE


def _unknown(x: Any) -> Any:
    return np.vander(x)  # HERE


def _shapes(x: Any) -> Any:
    return x * np.ones(3) + np.ones(4)  # HERE


def _keyword(x: Any) -> Any:
    return np.sum(x, where=np.ones(1))  # HERE


def _item(x: Any) -> Any:
    return x.item()  # HERE


def _format(x: Any) -> Any:
    return f"{x:.3f}"  # HERE


def _spacing(x: Any) -> Any:
    return np.spacing(x)  # HERE


def _captured(x: Any) -> Any:
    return x * np.ones(3, np.complex128)  # HERE


def _in_a_callee(x: Any) -> Any:
    return _float(x)


REFUSALS: dict[Callable[..., Any], str] = {
    _bool: "np.where, or bs.cond",
    _float: "not a Python float",
    _int: "not a Python int",
    _math: "not a Python float",
    _asarray: "cannot become a NumPy array",
    _array_of: "np.stack",
    _assign: "cannot be assigned to",
    _stored: "cannot be stored in a NumPy array",
    _added_in_place: "out= cannot be traced",
    _out: "out= cannot be traced",
    _index: "Python index",
    _indexed_array: "np.take",
    _unknown: "np.vander is not among the functions",
    _shapes: "cannot be broadcast",
    _keyword: "where",
    _item: "not a Python number",
    _format: "no number to format",
    _spacing: "np.spacing",
    _captured: "complex128",
}


@pytest.mark.parametrize("f", REFUSALS, ids=lambda f: f.__name__.strip("_"))
def test_what_cannot_be_traced_is_refused_with_the_users_line(f: Callable[..., Any]) -> None:
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64})
    error = caught.value
    assert REFUSALS[f] in str(error)
    lines = [f.__code__.co_firstlineno + 1, f.__code__.co_firstlineno + 2]
    assert error.source in [f"test_trace.py:{n}" for n in lines]
    assert f"at: {error.source}" in str(error)
    assert "# HERE" in str(error)


def test_the_line_named_is_the_innermost_of_the_users() -> None:
    with pytest.raises(GraphError, match=r"return float\(x\)  # HERE"):
        trace(_in_a_callee, {"x": bs.float64})


LEAKED: list[Any] = []


def _leak(x: Any) -> Any:
    LEAKED[:] = [np.exp(x)]
    return x


RETURNS: dict[str, tuple[Callable[..., Any], str]] = {
    "None": (lambda x: None, "without `return`"),
    "None within": (lambda x: (x, None), "at [1]"),
    "nothing": (lambda x: [], "empty tree"),
    "a string": (lambda x: {"a": "no"}, "at .a"),
    "a function": (lambda x: math.sin, "got: builtin"),
    "a dict with a strange key": (lambda x: {"a b": x}, "'a b'"),
    "a value of another trace": (lambda x: LEAKED[0], "another trace"),
    "a use of a value of another trace": (lambda x: x + LEAKED[0], "trace had ended"),
}


@pytest.mark.parametrize("name", RETURNS)
def test_a_result_that_is_none_is_refused_with_the_functions_line(name: str) -> None:
    f, said = RETURNS[name]
    trace(_leak, {"x": bs.float64})
    with pytest.raises(GraphError) as caught:
        trace(f, {"x": bs.float64})
    assert said in str(caught.value)
    assert caught.value.source == f"test_trace.py:{f.__code__.co_firstlineno}"


def test_a_value_used_in_another_open_trace_names_both_lines() -> None:
    def outer(x: Any) -> Any:
        y = np.exp(x)
        return trace(lambda z: z + y, {"z": bs.float64})

    with pytest.raises(GraphError) as caught:
        trace(outer, {"x": bs.float64})
    first = outer.__code__.co_firstlineno
    assert caught.value.got == f"a value made at test_trace.py:{first + 1}, used at test_trace.py:{first + 2}"
    assert caught.value.source == f"test_trace.py:{first + 2}"


def test_other_errors_of_the_users_function_pass_unchanged() -> None:
    def f(x: Any) -> Any:
        return {}["missing"]

    with pytest.raises(KeyError):
        trace(f, {"x": bs.float64})


ARGUMENTS: dict[str, tuple[Callable[..., Any], dict[str, Any], str, str]] = {
    "missing": (loss, {"w": bs.float64}, "MISSING_INPUT", "loss needs the argument 'X', 'y'"),
    "surplus": (loss, {"w": bs.float64, "X": 1.0, "y": 1.0, "z": 1.0, "q": 2.0}, "SURPLUS_INPUT", "loss has no argument 'q', 'z'"),
    "None": (lambda x: x, {"x": None}, "MALFORMED", "None"),
    "an object": (lambda x: x, {"x": object()}, "NOT_TRACEABLE", "neither a type nor an array"),
    "types and values mixed": (lambda p: p, {"p": {"a": bs.float64, "b": SMALL}}, "NOT_TRACEABLE", "a value at p.b"),
    "a dtype that is not supported": (lambda x: x, {"x": [np.zeros(2, np.float16)]}, "DTYPE", "x[0].astype(np.float64)"),
    "starred arguments": (lambda *xs: xs, {"xs": bs.float64}, "NOT_TRACEABLE", "as one argument xs, a tuple or list"),
    "no signature": (max, {"x": bs.float64}, "NOT_TRACEABLE", "wrap it"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_do_not_fit_are_refused_by_name(name: str) -> None:
    f, arguments, reason, said = ARGUMENTS[name]
    with pytest.raises(GraphError) as caught:
        trace(f, arguments)
    assert caught.value.reason == reason
    assert said in str(caught.value)
    assert caught.value.source.startswith("test_trace.py:")
