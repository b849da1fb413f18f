"""A call asked again, as one function: a look at its values, then the transport's run, which ends in what the user gets.

It is put together once for each question, of what each layer has for it. Whoever edits it: what is here is paid at every call,
and a small gradient takes less time than one look-up too many; what does not fit is answered None and goes the way of `posed`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

from numpy import ndarray

from backsweep_engine.answer import Answer
from backsweep_engine.ready import Give

from .calls import Question
from .lines import outside
from .results import NonFiniteWarning, describe_note
from .transport import Answering, Progress

Composed = Callable[[Sequence[Any], Sequence[Any], float | None, Progress | None], list[Any] | None]
"""`composed(inputs, seeds, timeout, progress)` -> what the user gets for each query, or None where the values may be of another question."""


def composed(question: Question, answering: Answering) -> Composed:
    """Most calls bring what the last one brought: arrays of the very types, one for each input and seed, which need no more than a look."""
    arity = len(question.signature.names)
    seeded = len(question.types) - arity
    # With their places: to walk two sequences side by side takes longer than all that is asked of one value.
    wanted = [(k, dtype, shape) for k, (dtype, shape) in enumerate(question.types)]

    def call(inputs: Sequence[Any], seeds: Sequence[Any], timeout: float | None, progress: Progress | None) -> list[Any] | None:
        if len(inputs) != arity or len(seeds) != seeded:
            return None
        values = (*inputs, *seeds) if seeds else inputs
        for k, dtype, shape in wanted:
            value = values[k]
            if type(value) is not ndarray or value.dtype is not dtype or value.shape != shape or not value.flags.c_contiguous:
                return None
        return answering(values, timeout, progress)

    return call


def gives(results: Give, verbs: Sequence[str], sources: Sequence[str]) -> Give:
    """`results`, after a warning of what is not finite in the answers. `sources`: the user's line of each node."""

    def give(answers: Sequence[Answer]) -> list[Any]:
        for verb, answer in zip(verbs, answers, strict=True):
            if answer.notes:
                note = answer.notes[0]
                warnings.warn(f"{verb}: {describe_note(note, source_of(sources, note.node))}", NonFiniteWarning, stacklevel=outside())
        return results(answers)

    return give


def source_of(sources: Sequence[str], node: int | None) -> str:
    """The user's line that made a node, where it is known."""
    return sources[node] if node is not None and node < len(sources) else ""
