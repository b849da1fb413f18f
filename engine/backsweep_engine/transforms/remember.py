"""remembered: what was derived from a graph is kept as long as the graph lives.

Graphs are immutable, so what is made from one is a pure function of it (CONTRACT A13); the key is the
graph itself, since equal graphs may differ in their origins. A bound number of answers is kept for
each graph: a stranger may ask for the derivative by every subset of the inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from ..graph import Graph

P = ParamSpec("P")
R = TypeVar("R")

MOST = 8
"""Answers kept for each graph and function; the oldest goes first."""


def remembered(f: Callable[Concatenate[Graph, P], R]) -> Callable[Concatenate[Graph, P], R]:
    """Decorator of a pure function of a graph, whose other arguments are sequences of numbers (or hashable)."""
    known: WeakKeyDictionary[Graph, dict[Any, R]] = WeakKeyDictionary()

    @wraps(f)
    def recalled(graph: Graph, /, *args: P.args, **kwargs: P.kwargs) -> R:
        key = (tuple([_hashable(a) for a in args]), tuple([(name, _hashable(a)) for name, a in kwargs.items()]))
        answers = known.get(graph)
        if answers is not None and key in answers:
            return answers[key]
        answer = f(graph, *args, **kwargs)
        if answer is not graph:  # an answer that held its own key would never be let go
            answers = known.setdefault(graph, {})
            # Two threads may be here at once: a copy of the keys is looked through, and a key may be gone.
            for oldest in list(answers)[: max(0, len(answers) - MOST + 1)]:
                answers.pop(oldest, None)
            answers[key] = answer
        return answer

    return recalled


def _hashable(argument: Any) -> Any:
    return tuple(argument) if isinstance(argument, Sequence) and not isinstance(argument, (str, tuple)) else argument
