"""A Work ready to be called: what depends on types only is decided when it is made, a call does the rest.

A plan without sweeps is its `once` and what is recovered from it: a call runs it and looks over what came out. Of any
other plan the events are delivered and collected. Whoever edits it: nothing here computes or
chooses; what is slow and the same at every call belongs outside the inner functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from .answer import Answer, Collected, apart, deliver, notes_on, require_held
from .execute.executor import Array, Block, Executor, Stop, Values
from .execute.nonfinite import is_finite, look
from .plan.make import require_within
from .plan.plan import Axis
from .plan.recovery import Form, Recovery
from .query import Check
from .work import Work

Told = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""


Give = Callable[[Sequence[Answer]], list[Any]]
"""What is made of whole answers, one for each query."""

Ready = Callable[[Sequence[Array], Stop, Told | None], list[Any]]
"""`ready(values, stop, told)` -> what `give` made of the answers. May be called by several threads at once."""


def make_ready(work: Work, executor: Executor, names: Sequence[str], bound: Mapping[str, Array], give: Give, *, plain: bool = False) -> Ready:
    """`names`: of the values that come with each call, in order: inputs, and seeds by `seed_name`; `bound`: the other inputs,
    which nobody writes to. Values are C-contiguous arrays of the request's types. Raises OverBudget.

    `plain`: where each answer is one array without notes, `give` gives these arrays and need not be asked.
    """
    require_within(work.promise, work.budget)
    require_held(work)
    if work.plan.sweeps or any(isinstance(ask.query, Check) for ask in work.request.asks):
        return _delivering(work, executor, names, bound, give)
    once, pick, total = executor.once(work.plan), _picking(names, tuple(bound), work.plan.once.input_names), work.promise.blocks
    held, bound_ids, several = tuple(bound.values()), frozenset(map(id, bound.values())), len(names) + len(bound) > 1
    # Parts are in the order of queries, and within one in their own.
    parts = [[p.output for p in work.plan.parts if p.query == k] for k in range(len(work.request.asks))]
    recoveries = {r.query: _recovering(r, parts[r.query][0]) for r in work.plan.recoveries}
    noting = _delivering(work, executor, names, bound, give) if recoveries else None
    looks = [look(type.dtype, type.size) for type in work.plan.once.output_types]
    count = len(looks)
    plain = plain and not recoveries and parts == [[k] for k in range(count)]

    def ready(values: Sequence[Array], stop: Stop, told: Told | None) -> list[Any]:
        if several:
            values = _apart(values, names, bound, bound_ids)
        outputs, finite = once(values if pick is None else pick((*values, *held)), stop)
        if len(finite) < count:
            for k, finite_at in enumerate(looks):
                if k not in finite and not finite_at(outputs[k]):
                    if noting is not None:
                        return noting(values, stop, told)  # what is not finite may be of no entry
                    if told is not None:
                        told(total, total)
                    return give(_noted(work, {**bound, **dict(zip(names, values, strict=True))}, parts, outputs, stop))
        if told is not None:
            told(total, total)
        if plain:
            return outputs
        return give([recoveries[k](outputs) if k in recoveries else Answer(tuple([outputs[at] for at in part])) for k, part in enumerate(parts)])

    return ready


def _recovering(recovery: Recovery, at: int) -> Callable[[Sequence[Array]], Answer]:
    """What makes output `at` of `once`, of bands, the answer."""
    if recovery.form is Form.SPARSE:
        return lambda outputs: Answer((recovery.values(outputs[at]),), pattern=recovery.pattern)
    return lambda outputs: Answer((recovery.rows(recovery.values(outputs[at]), 0, recovery.type.shape[0]),))


def _apart(values: Sequence[Array], names: Sequence[str], bound: Mapping[str, Array], bound_ids: frozenset[int]) -> Sequence[Array]:
    """As `apart` does it: arrays that own their memory share it only if they are one, so that it need seldom be asked."""
    seen = set(bound_ids)
    for value in values:
        if not value.flags.owndata or id(value) in seen:
            found = apart({**bound, **dict(zip(names, values, strict=True))})
            return [found[name] for name in names]
        seen.add(id(value))
    return values


def _noted(work: Work, values: Values, parts: Sequence[Sequence[int]], outputs: Sequence[Array], stop: Stop) -> list[Answer]:
    """The answers with a note on each part that is not finite."""
    answers = []
    for query, part in enumerate(parts):
        bad = [(k, outputs[at]) for k, at in enumerate(part) if not is_finite(outputs[at])]
        notes = [note for k, array in bad for note in notes_on(work, values, Block(query, k, Axis.WHOLE, 0, 1, array), stop)]
        answers.append(Answer(tuple([outputs[at] for at in part]), notes=tuple(notes)))
    return answers


def _delivering(work: Work, executor: Executor, names: Sequence[str], bound: Mapping[str, Array], give: Give) -> Ready:
    def ready(values: Sequence[Array], stop: Stop, told: Told | None) -> list[Any]:
        collected = Collected(work)
        done, total = 0, work.promise.blocks
        for event in deliver(work, {**bound, **dict(zip(names, values, strict=True))}, executor, stop):
            collected.add(event)
            if isinstance(event, Block):
                done += event.stop > event.start
                if told is not None:
                    told(min(done, total), total)
        return give(collected.answers())

    return ready


def _picking(given: Sequence[str], bound: Sequence[str], wanted: Sequence[str]) -> Callable[[Sequence[Array]], Sequence[Array]] | None:
    """What takes the wanted, by name, out of the given and the bound; None where they are the given."""
    if tuple(given) == tuple(wanted):
        return None
    there = [*given, *bound]
    places = [there.index(name) for name in wanted]
    if len(places) == 1:
        return lambda arrays: (arrays[places[0]],)
    return itemgetter(*places) if places else lambda arrays: ()
