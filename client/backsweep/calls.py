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
from .questions import Asking, asking
from .results import Giving, giving
from .signature import Array, Signature, wrt_arguments
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


@dataclass(frozen=True, slots=True)
class Points:
    """`count` points along a leading axis of these inputs of the graph."""

    names: frozenset[str]
    count: int


def posed(signature: Signature, inputs: Sequence[Any], asked: Verbs, batched: Any = False) -> tuple[Question, list[Array]]:
    """The question, the same object for equal ones, and the values of the call; raises GraphError where inputs or seeds do not fit.

    `batched`: which arguments hold many points along a leading axis: True for all, or a name or position, or several.
    """
    key: list[Any] = []
    if batched is False or batched is None:
        values = _taken(signature, inputs)
    else:
        points, values = _points(signature, inputs, batched)
        key.append(points)
    for verb, seed, options in asked:
        one = asking(signature, verb, seed is not None, options)
        key.append(one)
        if one.seeds:
            seeds = one.take(seed)
            values += seeds
            key.append(tuple([a.shape for a in seeds]))
    # By the askings themselves, which the question holds: another object cannot come to have the same key.
    found = tuple(key)
    question: Question | None = signature.found.get(found)
    if question is None:
        question = signature.keep(found, _question(signature, found))
    return question, values


def make_call(signature: Signature, inputs: Sequence[Any], asked: Verbs) -> Call:
    """The request of a user's call with all its values."""
    question, values = posed(signature, inputs, asked)
    return question.call(values)


def _taken(signature: Signature, inputs: Sequence[Any], batched: frozenset[str] = frozenset()) -> list[Array]:
    if len(inputs) != len(signature.arguments):
        names = ", ".join(a.name for a in signature.arguments) or "none"
        raise GraphError("wrong number of inputs", reason="ARITY", got=str(len(inputs)), allowed=f"{len(signature.arguments)}: {names}")
    given = inputs
    if not signature.flat or any(x is None for x in inputs):
        given = [leaf for a, tree in zip(signature.arguments, inputs, strict=True) for leaf in matched(tree, a.tree, a.name)]
    if batched:
        return [as_input(leaf, declared, name, leading=name in batched) for leaf, (name, declared) in zip(given, signature.leaves, strict=True)]
    return [as_input(leaf, declared, name) for leaf, (name, declared) in zip(given, signature.leaves, strict=True)]


def _points(signature: Signature, inputs: Sequence[Any], batched: Any) -> tuple[Points, list[Array]]:
    """The values of a call at many points."""
    arguments = signature.arguments if batched is True else wrt_arguments(signature, batched)[0]
    names = frozenset(path for a in arguments for path in a.tree.paths(a.name))
    bound = sorted(names & set(signature.bound))
    if bound or not names:
        got = ", ".join(bound) or "none"
        raise GraphError("only what comes with a call can be many points", name="batched", got=got, allowed=", ".join(a.name for a in signature.arguments))
    values = _taken(signature, inputs, names)
    counts = {}
    for (name, declared), value in zip(signature.leaves, values, strict=True):
        if name in names:
            if value.ndim == declared.rank:
                allowed = str((-1, *declared.shape)).replace("-1", "points", 1)
                raise GraphError(f"{name} has no axis of points", reason="SHAPE", name=name, got=str(value.shape), allowed=allowed)
            counts[name] = value.shape[0]
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise GraphError("batched inputs have different numbers of points", reason="SHAPE", name="batched", got=got, allowed="one number")
    return Points(names, next(iter(counts.values()))), values


def _question(signature: Signature, key: tuple[Any, ...]) -> Question:
    """Of askings, each followed by the shapes of its seeds if it has any; before them the points, if they are many."""
    asks: list[Ask] = []
    gives: list[Giving] = []
    names = [name for name, _ in signature.leaves]
    parts = iter(key)
    types, many_points = signature.types, frozenset[str]()
    if isinstance(key[0], Points):
        points = next(parts)
        many_points = points.names
        types = {n: t.with_shape((points.count, *t.shape)) if n in many_points else t for n, t in types.items()}
    for one in parts:
        assert isinstance(one, Asking)
        shapes = next(parts) if one.seeds else ()
        many = any(len(shape) > declared.rank for shape, (_, declared, _) in zip(shapes, one.seeds, strict=True))
        query = one.query(many)
        seeds = {name: Type(declared.dtype, shape) for shape, (name, declared, _) in zip(shapes, one.seeds, strict=True)}
        names += [seed_name(len(asks), name) for name in seeds]
        asks.append(Ask(query, seeds))
        gives.append(giving(one, query))
    return Question(signature, Request(signature.graph, types, tuple(asks), many_points), tuple(names), tuple(gives))


def result_bytes(call: Call) -> int:
    """Bytes of all answers, from the types alone: what decides between one reply and a stream."""
    graph, total = call.request.graph, 0
    points = next((call.request.types[name].shape[0] for name in call.request.batched), 1)
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
    return total * points
