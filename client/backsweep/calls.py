"""From a user's call to a request with its values. No sockets.

What is asked, as far as types say, is a Question, made at the first call and found again at the next; what
is left of a call is to take its values, and to hand out its answers (results.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.plan.make import Ask, seed_name
from backsweep_engine.query import EmpiricalFisher, Fisher, GaussNewton, Hessian, HessianDiagonal, Jacobian, Jvp, Value, wrt_of
from backsweep_engine.request import Request

from .dtypes import as_input
from .questions import SEEDED, asking, hashable
from .results import Giving, giving
from .signature import Array, Signature
from .trees import matched


class Call(NamedTuple):
    """A request with its values. `bound`: the names among `values` that are sent once, by digest."""

    request: Request
    values: Mapping[str, Array]
    bound: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """What is asked of a signature, as far as types say; equal only to itself, so that a transport can keep by it what it found.

    `names`: of the values that come with each call, in order. `giving`: of each query's answer what the user gets.
    """

    signature: Signature
    request: Request
    names: tuple[str, ...]
    giving: tuple[Giving, ...]

    @property
    def bound(self) -> Mapping[str, Array]:
        return self.signature.bound

    def call(self, values: Sequence[Array]) -> Call:
        return Call(self.request, {**self.bound, **dict(zip(self.names, values, strict=True))}, frozenset(self.bound))


Verbs = Sequence[tuple[str, Any, Mapping[str, Any]]]
"""What is asked at one point: verb, seed, options."""


def posed(signature: Signature, inputs: Sequence[Any], asked: Verbs) -> tuple[Question, list[Array]]:
    """The question, the same object for equal ones, and the values of the call; raises GraphError where inputs or seeds do not fit."""
    values = _taken(signature, inputs)
    key: list[Any] = []
    try:
        for verb, seed, options in asked:
            key.append(verb)
            if options:
                key += options.items()
            if seed is not None or verb in SEEDED:
                one = asking(signature, verb, seed is not None, options)
                seeds = one.take(seed)
                values += seeds
                # By the asking itself, which the question holds: no other object can come to have the same key.
                key += (one, *[a.shape for a in seeds])
        question: Question | None = signature.found.get(tuple(key))
    except TypeError:  # an option is a list, or it is the user's own
        plain = [(verb, seed, hashable(options)) for verb, seed, options in asked]
        if all(one[2] == other[2] for one, other in zip(plain, asked, strict=True)):
            raise
        return posed(signature, inputs, plain)
    if question is None:
        question = signature.keep(tuple(key), _question(signature, asked, values))
    return question, values


def make_call(signature: Signature, inputs: Sequence[Any], asked: Verbs) -> Call:
    """The request of a user's call with all its values."""
    question, values = posed(signature, inputs, asked)
    return question.call(values)


def _taken(signature: Signature, inputs: Sequence[Any]) -> list[Array]:
    if len(inputs) != len(signature.arguments):
        names = ", ".join(a.name for a in signature.arguments) or "none"
        raise GraphError("wrong number of inputs", reason="ARITY", got=str(len(inputs)), allowed=f"{len(signature.arguments)}: {names}")
    if not signature.flat:
        inputs = [leaf for a, tree in zip(signature.arguments, inputs, strict=True) for leaf in matched(tree, a.tree, a.name)]
    return [*map(as_input, inputs, signature.declared, signature.names)]


def _question(signature: Signature, asked: Verbs, values: Sequence[Array]) -> Question:
    """`values`: the inputs, then the seeds of each verb."""
    asks: list[Ask] = []
    gives: list[Giving] = []
    names = [*signature.names]
    for verb, seed, options in asked:
        one = asking(signature, verb, seed is not None, options)
        shapes = [a.shape for a in values[len(names) : len(names) + len(one.seeds)]]
        seeds = {name: Type(declared.dtype, shape) for shape, (name, declared, _) in zip(shapes, one.seeds, strict=True)}
        query = one.query(many=any(len(shape) > declared.rank for shape, (_, declared, _) in zip(shapes, one.seeds, strict=True)))
        names += [seed_name(len(asks), name) for name in seeds]
        asks.append(Ask(query, seeds))
        gives.append(giving(one, query))
    return Question(signature, Request(signature.graph, signature.types, tuple(asks)), tuple(names), tuple(gives))


def result_bytes(call: Call) -> int:
    """Bytes of all answers, from the types alone: what decides between one reply and a stream."""
    graph, total = call.request.graph, 0
    for ask in call.request.asks:
        rows = sum(t.size for t in graph.output_types)
        columns = sum(graph.input_types[graph.input_names.index(n)].size for n in wrt_of(ask.query))
        many = next((t.shape[0] for t in ask.seeds.values()), 1) if getattr(ask.query, "many", False) else 1
        match ask.query:
            case Jacobian():
                total += 8 * rows * columns
            case Hessian() | GaussNewton(product=False) | Fisher(product=False) | EmpiricalFisher(product=False):
                total += 8 * columns * columns
            case Value() | Jvp():
                total += 8 * rows * many
            case HessianDiagonal(method="estimate"):
                total += 16 * columns
            case _:
                total += 8 * (columns * many + rows)
    return total
