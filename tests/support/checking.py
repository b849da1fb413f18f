"""For tests of the check: graphs from functions on Terms, verdicts in one call, an executor that shuffles."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from backsweep_engine import ops  # noqa: F401  fills the table
from backsweep_engine.check.check import check
from backsweep_engine.check.verdict import Verdict
from backsweep_engine.execute.executor import Block, Executor, Stop, Values, never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import DTYPES, Builder, Graph, Type
from backsweep_engine.ops.term import Term
from backsweep_engine.plan.make import Budget
from backsweep_engine.plan.plan import Plan
from backsweep_engine.query import Check, Judge, Subject

Array = np.ndarray[Any, Any]


def graph_of(f: Callable[..., Any], point: Mapping[str, Array]) -> Graph:
    """The graph of f at inputs of these types; f returns a Term, or a dict of them. Made once per f and types."""
    return _graph(f, tuple((name, Type(DTYPES[x.dtype.name], x.shape)) for name, x in point.items()))


@lru_cache(maxsize=256)
def _graph(f: Callable[..., Any], types: tuple[tuple[str, Type], ...]) -> Graph:
    builder = Builder()
    inputs = {name: Term(builder, builder.input(name, type)) for name, type in types}
    outputs = f(**inputs)
    named = outputs if isinstance(outputs, dict) else {"": outputs}
    return builder.build([(name, y.ref) for name, y in named.items()])


def verdict_of(
    f: Callable[..., Any] | Graph,
    point: Mapping[str, Array],
    given: Mapping[str, Array] | None = None,
    *,
    wrt: tuple[str, ...] = ("x",),
    seed: int = 0,
    executor: Executor | None = None,
    stop: Stop = never,
    block: int = 0,
    directions: int = 4,
    max_worst: int = 4,
    subject: Subject = "own",
    judge: Judge = "central4",
    coordinates: bool = False,
    blame: bool = False,
) -> Verdict:
    """The verdict on our own derivative of f by `wrt` at the point, or on the gradient given."""
    graph = f if isinstance(f, Graph) else graph_of(f, point)
    query = Check(wrt, subject if given is None else "given", seed, directions, max_worst, block, judge, coordinates, blame)
    return check(graph, point, query, given or {}, executor or Local(), stop, Budget())


class Shuffled:
    """An executor of `lanes` that gives blocks in an order of its own, each once."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        self.plans: list[Plan] = []

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        self.plans.append(plan)
        blocks = list(Local().blocks(plan, values, stop))
        for lane in range(self.lanes):
            yield from blocks[lane :: self.lanes][::-1]

    def close(self) -> None:
        """Nothing is held."""
