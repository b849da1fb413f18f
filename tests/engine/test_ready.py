"""A work made ready gives what its events collected give, bit for bit and with the same notes, call after call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from backsweep_engine.answer import Collected, deliver
from backsweep_engine.errors import OverBudget
from backsweep_engine.execute.executor import Block, Stop, Values, never
from backsweep_engine.execute.local import Local
from backsweep_engine.graph import Graph, Type
from backsweep_engine.plan.make import Ask, Budget, seed_name
from backsweep_engine.plan.plan import Plan
from backsweep_engine.query import Gradient, Hessian, Hvp, Jacobian, Query, Value, ValueAndGradient
from backsweep_engine.ready import make_ready
from backsweep_engine.request import Request
from backsweep_engine.work import Work, prepare
from support.graphs import F64, build

Array = np.ndarray[Any, Any]

LOSS = build(lambda x, a: np.sum(a * np.sqrt(x) * x), x=F64[4], a=F64[4])
SEVERAL = build(lambda x, a: (np.sqrt(x), a, np.sum(x * a)), x=F64[4], a=F64[4])
BANDS = build(lambda x, a: np.sqrt(x) * np.concatenate([x[1:], a[:1]]) + a, x=F64[4], a=F64[4])
X, A, T = np.array([1.0, 2.0, 0.5, 3.0]), np.array([1.0, -1.0, 2.0, 0.25]), np.array([0.5, 1.0, -1.0, 2.0])

CASES: dict[str, tuple[Graph, tuple[Query, ...]]] = {
    "a value": (LOSS, (Value(),)),
    "several outputs": (SEVERAL, (Value(),)),
    "a gradient": (LOSS, (Gradient(("x",)),)),
    "a gradient by what is bound": (LOSS, (Gradient(("a",)),)),
    "value and gradient": (LOSS, (ValueAndGradient(("x", "a")),)),
    "two questions": (LOSS, (Gradient(("x",)), Hvp(("x",)))),
    "the same twice": (LOSS, (Gradient(("x",)), Gradient(("x",)))),
    "a matrix in blocks": (LOSS, (Hessian(("x",), block=3),)),
    "a matrix in one block": (SEVERAL, (Jacobian(("x",), block=4),)),
    "a matrix of bands": (BANDS, (Jacobian(("x",), layout="sparse"),)),
    "a value and a matrix of bands": (BANDS, (Value(), Jacobian(("x",), layout="sparse"))),
    "a value and a matrix in blocks": (LOSS, (Value(), Hessian(("x",), block=2))),
}


def worked(graph: Graph, queries: tuple[Query, ...], budget: Budget | None = None) -> Work:
    asks = tuple([Ask(q, {"x": Type(T.dtype, T.shape)} if isinstance(q, Hvp) else {}) for q in queries])
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    return prepare(Request(graph, types, asks), budget or Budget(1 << 30))


def seeds(queries: tuple[Query, ...]) -> dict[str, Array]:
    return {seed_name(k, "x"): T for k, q in enumerate(queries) if isinstance(q, Hvp)}


@pytest.mark.parametrize("x", [X, np.array([1.0, 0.0, 2.0, -1.0])], ids=["finite", "not finite"])
@pytest.mark.parametrize("name", CASES)
def test_a_ready_work_answers_as_its_events_do(name: str, x: Array) -> None:
    graph, queries = CASES[name]
    work, given = worked(graph, queries), {"x": x, **seeds(queries)}
    collected = Collected(work)
    for event in deliver(work, {"a": A, **given}, Local(), never):
        collected.add(event)
    wanted = collected.answers()
    ready = make_ready(work, Local(), list(given), {"a": A}, list)
    for _ in range(3):
        found = ready(list(given.values()), never, None)
        assert [answer.notes for answer in found] == [answer.notes for answer in wanted]
        arrays = [array for answer in found for array in answer.arrays]
        for one, other in zip(arrays, [array for answer in wanted for array in answer.arrays], strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype and one.flags.writeable and one.flags.c_contiguous
        for k, one in enumerate(arrays):
            assert not any(np.shares_memory(one, other) for other in [*arrays[:k], A, x, T])
            one.fill(7.0)


def test_a_large_matrix_of_bands_comes_dense() -> None:
    x = np.linspace(1.0, 2.0, 600)
    work = worked(build(lambda x: x[1:] * x[:-1], x=F64[600]), (Jacobian(("x",)),))
    assert work.plan.recoveries and not work.plan.sweeps
    (found,) = make_ready(work, Local(), ["x"], {}, list)([x], never, None)
    np.testing.assert_array_equal(found.arrays[0], np.eye(599, 600) * x[1:, None] + np.eye(599, 600, 1) * x[:-1, None])
    assert found.arrays[0].flags.writeable and found.arrays[0].flags.owndata


def test_what_is_not_finite_and_of_no_entry_is_not_noted() -> None:
    graph = build(lambda x, a: np.concatenate([a[:1], x[:3]]) / a, x=F64[4], a=F64[4])
    work = worked(graph, (Jacobian(("x",), layout="sparse"),))
    assert work.plan.recoveries and not work.plan.sweeps
    for a, notes in ((np.array([0.0, 2.0, 4.0, 8.0]), 0), (np.array([1.0, 2.0, 0.0, 8.0]), 1)):
        (found,) = make_ready(work, Local(), ["x"], {"a": a}, list)([X], never, None)
        np.testing.assert_array_equal(found.arrays[0], 1 / a[1:] if notes == 0 else [0.5, np.inf, 0.125])
        assert len(found.notes) == notes


def test_a_work_over_the_budget_is_refused_when_it_is_made_ready() -> None:
    wide = build(lambda x: np.sum(np.outer(x, x)), x=F64[2000])
    types = {"x": Type(X.dtype, (2000,))}
    with pytest.raises(OverBudget):
        make_ready(prepare(Request(wide, types, (Ask(Value(), {}),)), Budget(1 << 20)), Local(), ["x"], {}, list)


class _Remote:
    """An Executor whose blocks are read-only, as arrays made over received bytes are."""

    lanes = 1

    def once(self, plan: Plan) -> Any:
        return Local().once(plan)

    def blocks(self, plan: Plan, values: Values, stop: Stop) -> Iterator[Block]:
        for block in Local().blocks(plan, values, stop):
            block.array.setflags(write=False)
            yield block

    def close(self) -> None: ...


def test_blocks_that_may_not_be_written_to_become_answers_that_may() -> None:
    work = worked(*CASES["a matrix in one block"])
    (answer,) = make_ready(work, _Remote(), ["x"], {"a": A}, list)([X], never, None)
    assert work.plan.sweeps and answer.arrays[0].flags.writeable
