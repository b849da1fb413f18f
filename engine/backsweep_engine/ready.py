"""A Work ready to be called: what depends on types only is decided when it is made, a call does the rest.

A plan without sweeps is its `once` and nothing more: a call runs it and looks over what came out. Of any
other plan the events are delivered and collected. Whoever edits it: nothing here computes or
chooses; what is slow and the same at every call belongs in `__init__`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from .answer import Answer, Collected, Work, apart, deliver, notes_on, require_held
from .execute.executor import Array, Block, Executor, Stop, Values
from .execute.nonfinite import is_finite
from .plan.make import require_within
from .plan.plan import Axis
from .query import Check

Told = Callable[[int, int], None]
"""Called with (blocks done, blocks in all)."""


class Ready:
    """`ready(values, stop, told)` -> whole answers, one for each query. May be called by several threads at once.

    `names`: of the values that come with each call, in order: inputs, and seeds by `seed_name`; `bound`: the other inputs,
    which nobody writes to. Values are C-contiguous arrays of the request's types. Raises OverBudget when it is made.
    """

    __slots__ = ("_bound", "_bound_ids", "_executor", "_names", "_once", "_parts", "_pick", "_several", "_work")

    def __init__(self, work: Work, executor: Executor, names: Sequence[str], bound: Mapping[str, Array]) -> None:
        require_within(work.promise, work.budget)
        require_held(work)
        self._work, self._executor = work, executor
        self._names, self._bound = tuple(names), dict(bound)
        plan = work.plan
        whole = not plan.sweeps and not any(isinstance(ask.query, Check) for ask in work.request.asks)
        self._once = executor.once(plan) if whole else None
        # Parts are in the order of queries, and within one in their own.
        self._parts = [[p.output for p in plan.parts if p.query == k] for k in range(len(work.request.asks))]
        self._pick = _picking(self._names, tuple(self._bound), plan.once.input_names)
        self._several = len(self._names) + len(self._bound) > 1
        self._bound_ids = frozenset(map(id, self._bound.values()))

    def __call__(self, values: Sequence[Array], stop: Stop, told: Told | None = None) -> list[Answer]:
        if self._once is None:
            return self._delivered(values, stop, told)
        if self._several:
            values = self._apart(values)
        inputs = values if self._pick is None else self._pick((*values, *self._bound.values()))
        outputs = self._once(inputs, stop)
        if told is not None:
            told(self._work.promise.blocks, self._work.promise.blocks)
        for output in outputs:
            if not is_finite(output):
                return self._noted(values, outputs, stop)
        return [Answer(tuple([outputs[k] for k in part])) for part in self._parts]

    def _apart(self, values: Sequence[Array]) -> Sequence[Array]:
        """As `apart` does it: arrays that own their memory share it only if they are one, so that it need seldom be asked."""
        seen = set(self._bound_ids)
        for value in values:
            if not value.flags.owndata or id(value) in seen:
                found = apart({**self._bound, **dict(zip(self._names, values, strict=True))})
                return [found[name] for name in self._names]
            seen.add(id(value))
        return values

    def _all(self, values: Sequence[Array]) -> Values:
        return {**self._bound, **dict(zip(self._names, values, strict=True))}

    def _noted(self, values: Sequence[Array], outputs: Sequence[Array], stop: Stop) -> list[Answer]:
        """The answers with a note on each part that is not finite."""
        work, answers = self._work, []
        for query, part in enumerate(self._parts):
            bad = [(k, outputs[at]) for k, at in enumerate(part) if not is_finite(outputs[at])]
            notes = [note for k, array in bad for note in notes_on(work, self._all(values), Block(query, k, Axis.WHOLE, 0, 1, array), stop)]
            answers.append(Answer(tuple([outputs[at] for at in part]), notes=tuple(notes)))
        return answers

    def _delivered(self, values: Sequence[Array], stop: Stop, told: Told | None) -> list[Answer]:
        work = self._work
        collected = Collected(work)
        done, total = 0, work.promise.blocks
        for event in deliver(work, self._all(values), self._executor, stop):
            collected.add(event)
            if isinstance(event, Block):
                done += event.stop > event.start
                if told is not None:
                    told(min(done, total), total)
        return collected.answers()


def _picking(given: Sequence[str], bound: Sequence[str], wanted: Sequence[str]) -> Callable[[Sequence[Array]], Sequence[Array]] | None:
    """What takes the wanted, by name, out of the given and the bound; None where they are the given."""
    if tuple(given) == tuple(wanted):
        return None
    there = [*given, *bound]
    places = [there.index(name) for name in wanted]
    if len(places) == 1:
        return lambda arrays: (arrays[places[0]],)
    return itemgetter(*places) if places else lambda arrays: ()
