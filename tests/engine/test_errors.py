"""Errors: what a person reads, what a program tests, and that nothing is lost between processes."""

import copy
import pickle
from typing import Any

import pytest

from backsweep_engine import errors
from backsweep_engine.errors import Cancelled, ClusterLost, Error, Fault, GraphError, OverBudget

KINDS: list[tuple[type[Error], str]] = [
    (GraphError, "MALFORMED"),
    (OverBudget, "OVER_BUDGET"),
    (Cancelled, "CANCELLED"),
    (ClusterLost, "CLUSTER_LOST"),
    (Fault, "INTERNAL"),
    (Error, "INTERNAL"),
]

FULL: dict[str, Any] = {
    "reason": "SHAPE",
    "node": 7,
    "op": "matmul",
    "got": "a",
    "allowed": "b",
    "hint": "c",
    "window": "> %7",
    "source": "model.py:3",
    "function": 2,
    "name": "x",
    "query": 1,
}


def test_every_kind_is_listed_here() -> None:
    found = {v for v in vars(errors).values() if isinstance(v, type) and issubclass(v, Error)}
    assert found == {kind for kind, _ in KINDS}


@pytest.mark.parametrize("kind,reason", KINDS)
def test_each_class_has_the_reason_programs_test(kind: type[Error], reason: str) -> None:
    assert kind("message").reason == reason
    assert kind("message", reason="OTHER").reason == "OTHER"


@pytest.mark.parametrize("kind", [k for k, _ in KINDS])
@pytest.mark.parametrize("send", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy], ids=["pickle", "copy", "deepcopy"])
def test_an_error_crosses_processes_with_every_field(kind: type[Error], send: Any) -> None:
    error = kind("message", **FULL)
    other = send(error)
    assert type(other) is kind and vars(other) == vars(error) and str(other) == str(error) and other.args == error.args
    assert {name: getattr(other, name) for name in FULL} == FULL


def test_notes_do_not_stop_an_error_from_crossing() -> None:
    error = GraphError("message", node=1)
    error.add_note("seen at lane 3")
    assert pickle.loads(pickle.dumps(error)).node == 1


def test_the_text_says_what_where_and_what_to_do() -> None:
    assert str(GraphError("shapes differ")) == "shapes differ"
    assert str(GraphError("shapes differ", **FULL)) == (
        "shapes differ (node 7 of function 2, matmul)\n  got: a\n  allowed: b\n  hint: c\n  at: model.py:3\n> %7"
    )


def test_locating_fills_only_what_was_empty() -> None:
    error = GraphError("message", node=0, op="add")
    assert error.located(node=5, op="sum", window="w", source="s", function=0, name="n", query=0) is error
    assert (error.node, error.op, error.window, error.source, error.function, error.name, error.query) == (0, "add", "w", "s", 0, "n", 0)
    error.located(window="v", source="t", function=1, name="m", query=1)
    assert (error.window, error.source, error.function, error.name, error.query) == ("w", "s", 0, "n", 0)
