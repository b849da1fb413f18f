"""What a trace refuses, with the user's line, and what to write instead. Each function raises on the line marked HERE."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep import dtypes as bs
from backsweep.trace import trace
from backsweep_engine.errors import GraphError

SMALL = np.random.default_rng(0).normal(size=3)


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
    return np.nancumsum(x)  # HERE


def _shapes(x: Any) -> Any:
    return x * np.ones(3) + np.ones(4)  # HERE


def _keyword(x: Any) -> Any:
    return np.var(x, where=np.ones(1))  # HERE


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
    _unknown: "np.nancumsum is not among the functions",
    _shapes: "cannot be broadcast",
    _keyword: "np.var: where= is not traced",
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
    assert error.source in [f"test_refusals.py:{n}" for n in lines]
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
    assert caught.value.source == f"test_refusals.py:{f.__code__.co_firstlineno}"


def test_a_value_used_in_another_open_trace_names_both_lines() -> None:
    def outer(x: Any) -> Any:
        y = np.exp(x)
        return trace(lambda z: z + y, {"z": bs.float64})

    with pytest.raises(GraphError) as caught:
        trace(outer, {"x": bs.float64})
    first = outer.__code__.co_firstlineno
    assert caught.value.got == f"a value made at test_refusals.py:{first + 1}, used at test_refusals.py:{first + 2}"
    assert caught.value.source == f"test_refusals.py:{first + 2}"


def test_other_errors_of_the_users_function_pass_unchanged() -> None:
    def f(x: Any) -> Any:
        return {}["missing"]

    with pytest.raises(KeyError):
        trace(f, {"x": bs.float64})


def loss(w: Any, X: Any, y: Any) -> Any:
    return np.sum(X @ w - y)


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
    assert caught.value.source.startswith("test_refusals.py:")
