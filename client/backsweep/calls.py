"""From a user's call to a request with its values. No sockets.

What is asked, as far as types say, is a Question, made at the first call and found again at the next; what
is left of a call is to take its values, and to hand out its answers (results.py). Of a question that was answered
before nothing is found again at all, where the values need no more than a look: that is composed.py's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from backsweep_engine.answer import Answer
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.plan.make import Ask, seed_name
from backsweep_engine.query import EmpiricalFisher, Fisher, GaussNewton, Hessian, HessianDiagonal, Jacobian, Jvp, Value, wrt_of
from backsweep_engine.request import Request

from .dtypes import as_input
from .questions import Asking, asking, hashable
from .results import Giving, giving, only
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

    `names`: of the values that come with each call, in order; `types`: their dtypes and shapes; `flat`: each is given by itself,
    as an input or a seed. `giving`: of each query's answer what the user gets; `plain`: each is an array as it stands.
    """

    signature: Signature
    request: Request
    names: tuple[str, ...]
    types: tuple[tuple[Any, tuple[int, ...]], ...]
    flat: bool
    giving: tuple[Giving, ...]

    @property
    def plain(self) -> bool:
        return all(giving is only for giving in self.giving)

    def results(self, answers: Sequence[Answer]) -> list[Any]:
        """What the user gets."""
        return [giving(answer) for giving, answer in zip(self.giving, answers, strict=True)]

    @property
    def bound(self) -> Mapping[str, Array]:
        return self.signature.bound

    def call(self, values: Sequence[Array]) -> Call:
        return Call(self.request, {**self.bound, **dict(zip(self.names, values, strict=True))}, frozenset(self.bound))


Verbs = Sequence[tuple[str, Any, Mapping[str, Any]]]
"""What is asked at one point: verb, seed, options."""


@dataclass(frozen=True, slots=True)
class Points:
    """`count` points along a leading axis of these inputs of the graph; none: one point."""

    names: frozenset[str] = frozenset()
    count: int = 0


def posed(signature: Signature, inputs: Sequence[Any], asked: Verbs) -> tuple[Question, Sequence[Array]]:
    """The question, the same object for equal ones, and the values of the call, C-contiguous and of its types; raises GraphError
    where inputs or seeds do not fit.

    The option `batched` of a verb is that of the point, and so of all: which arguments hold many points along a leading
    axis, True for all of them, or a name or position, or several.
    """
    asked = [(verb, seed, hashable(options)) for verb, seed, options in asked]
    key = tuple([(verb, seed is None, *options.items()) for verb, seed, options in asked])
    points = Points()
    batched = _batched_of(asked)
    if batched is not False:
        points, values = _many_points(signature, inputs, batched)
    else:
        values = _taken(signature, inputs)
    asked = [(verb, seed, {name: value for name, value in options.items() if name != "batched"}) for verb, seed, options in asked]
    askings = [asking(signature, verb, seed is not None, options) for verb, seed, options in asked]
    for one, (_, seed, _) in zip(askings, asked, strict=True):
        if one.seeds:
            values += one.take(seed)
    whole = (key, points, *[a.shape for a in values[len(signature.names) :]])
    question: Question | None = signature.found.get(whole)
    if question is None:
        question = signature.keep(whole, _question(signature, askings, values, points))
    return question, values


def make_call(signature: Signature, inputs: Sequence[Any], asked: Verbs) -> Call:
    """The request of a user's call with all its values."""
    question, values = posed(signature, inputs, asked)
    return question.call(values)


def _taken(signature: Signature, inputs: Sequence[Any], batched: frozenset[str] = frozenset()) -> list[Array]:
    if len(inputs) != len(signature.arguments):
        names = ", ".join(a.name for a in signature.arguments) or "none"
        raise GraphError("wrong number of inputs", reason="ARITY", got=str(len(inputs)), allowed=f"{len(signature.arguments)}: {names}")
    given = [leaf for a, tree in zip(signature.arguments, inputs, strict=True) for leaf in matched(tree, a.tree, a.name)]
    return [as_input(leaf, signature.types[name], name, leading=name in batched) for leaf, name in zip(given, signature.names, strict=True)]


def _many_points(signature: Signature, inputs: Sequence[Any], batched: Any) -> tuple[Points, list[Array]]:
    """The values of a call at many points."""
    arguments = signature.arguments if batched is True else wrt_arguments(signature, batched)[0]
    names = frozenset(path for a in arguments for path in a.tree.paths(a.name))
    bound = sorted(names & set(signature.bound))
    if bound or not names:
        got = ", ".join(bound) or "none"
        raise GraphError("only what comes with a call can be many points", name="batched", got=got, allowed=", ".join(a.name for a in signature.arguments))
    values = _taken(signature, inputs, names)
    counts = {}
    for name, value in zip(signature.names, values, strict=True):
        declared = signature.types[name]
        if name in names:
            if value.ndim == declared.rank:
                allowed = str((-1, *declared.shape)).replace("-1", "points", 1)
                raise GraphError(f"{name} has no axis of points", reason="SHAPE", name=name, got=str(value.shape), allowed=allowed)
            counts[name] = value.shape[0]
    if len(set(counts.values())) > 1:
        got = ", ".join(f"{count} of {name}" for name, count in counts.items())
        raise GraphError("batched inputs have different numbers of points", reason="SHAPE", name="batched", got=got, allowed="one number")
    return Points(names, next(iter(counts.values()))), values


def _batched_of(asked: Verbs) -> Any:
    """What verbs asked at one point say of it."""
    found = {options["batched"] for *_, options in asked if options.get("batched") is not None}
    if len(found) > 1:
        raise GraphError("verbs asked together are asked at the same points", name="batched", got=", ".join(sorted(map(repr, found))), allowed="one of them")
    return found.pop() if found else False


def _question(signature: Signature, askings: Sequence[Asking], values: Sequence[Array], points: Points) -> Question:
    """`values`: the inputs, then the seeds of each verb."""
    asks: list[Ask] = []
    gives: list[Giving] = []
    names = [*signature.names]
    each = set(points.names)
    for one in askings:
        shapes = [a.shape for a in values[len(names) : len(names) + len(one.seeds)]]
        seeds = {name: Type(declared.dtype, shape) for shape, (name, declared, _) in zip(shapes, one.seeds, strict=True)}
        longer = {name for shape, (name, declared, _) in zip(shapes, one.seeds, strict=True) if len(shape) > declared.rank}
        # At many points one more axis in front of a seed is theirs; at one, it is of many seeds.
        query = one.query(many=bool(longer) and not points.names)
        each |= {seed_name(len(asks), name) for name in longer if points.names}
        names += [seed_name(len(asks), name) for name in seeds]
        asks.append(Ask(query, seeds))
        gives.append(giving(one, query))
    flat = all(a.tree.is_leaf for a in signature.arguments) and all(one.flat for one in askings)
    types = {n: t.with_shape((points.count, *t.shape)) if n in points.names else t for n, t in signature.types.items()}
    request = Request(signature.graph, types, tuple(asks), frozenset(each))
    return Question(signature, request, tuple(names), tuple([(a.dtype, a.shape) for a in values]), flat, tuple(gives))


def result_bytes(call: Call) -> int:
    """Bytes of all answers, from the types alone: what decides between one reply and a stream."""
    graph, total = call.request.graph, 0
    points = next((call.request.types[name].shape[0] for name in call.request.batched if name in call.request.types), 1)
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
