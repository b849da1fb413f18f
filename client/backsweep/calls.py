"""From a user's call to a request, and from its answer to what the user gets. No sockets.

A Signature is what a submitted function takes and gives; a Verb is one thing to ask of it. Trees
become named flat arrays on the way in, and blocks already joined become trees on the way out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, get_args

import numpy as np

from backsweep_engine.answer import Answer, NonFinite
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.plan.make import Ask, seed_name
from backsweep_engine.query import (
    SAMPLES,
    Check,
    Curvature,
    EmpiricalFisher,
    Fisher,
    GaussNewton,
    Gradient,
    Hessian,
    HessianDiagonal,
    Hvp,
    Jacobian,
    Judge,
    Jvp,
    Layout,
    Method,
    Query,
    Subject,
    Value,
    ValueAndGradient,
    Vjp,
    wrt_of,
)
from backsweep_engine.request import Request
from backsweep_engine.transforms.curvature import as_family
from backsweep_engine.transforms.derive import floating_outputs
from backsweep_engine.transforms.sparsity import Pattern
from backsweep_engine.transforms.through import named_values, values_called

from .trees import Tree, matched

Array = np.ndarray[Any, Any]


class NonFiniteWarning(RuntimeWarning):
    """An answer holds a NaN or infinity; the message names the node that made it first."""


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional input of the verbs: an argument of the function that is not bound."""

    name: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Signature:
    """What a submitted graph takes and gives. `bound`: arrays that travel by digest, by input name.

    `found`: what was found out about questions asked before, so that asking again costs next to nothing; at most MAX_FOUND entries.
    """

    graph: Graph
    arguments: tuple[Argument, ...]
    bound: Mapping[str, Array]
    output: Tree
    types: Mapping[str, Type] = field(init=False, repr=False, compare=False)
    bound_names: frozenset[str] = field(init=False, repr=False, compare=False)
    found: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "types", dict(zip(self.graph.input_names, self.graph.input_types, strict=True)))
        object.__setattr__(self, "bound_names", frozenset(self.bound))

    def type_of(self, name: str) -> Type:
        return self.types[name]

    def keep(self, key: Any, value: Any) -> Any:
        """Remembers what was found and gives it back."""
        if len(self.found) >= MAX_FOUND:
            self.found.clear()
        self.found[key] = value
        return value


MAX_FOUND = 256


class Asked(NamedTuple):
    """A verb with its seed and options: what `f.ask` takes, and what each method of `f` makes."""

    verb: str
    seed: Any = None
    options: Mapping[str, Any] = MappingProxyType({})


class Estimate(NamedTuple):
    """What was estimated from random samples, and the standard error of each entry (the error of the mean, from the samples' own spread)."""

    value: Any
    standard_error: Any


class Call(NamedTuple):
    """A request with its values. `bound`: the names among `values` that are sent once, by digest."""

    request: Request
    values: Mapping[str, Array]
    bound: frozenset[str]


# In.


def make_call(signature: Signature, inputs: Sequence[Any], asked: Sequence[Asked]) -> Call:
    """The request of a user's call; raises GraphError where the inputs or seeds do not fit."""
    if len(inputs) != len(signature.arguments):
        names = ", ".join(a.name for a in signature.arguments) or "none"
        raise GraphError("wrong number of inputs", reason="ARITY", got=str(len(inputs)), allowed=f"{len(signature.arguments)}: {names}")
    values: dict[str, Array] = dict(signature.bound)
    for argument, given in zip(signature.arguments, inputs, strict=True):
        if argument.tree.is_leaf and given is not None:
            values[argument.name] = as_input(given, signature.types[argument.name], argument.name)
            continue
        for path, leaf in zip(argument.tree.paths(argument.name), matched(given, argument.tree, argument.name), strict=True):
            values[path] = as_input(leaf, signature.types[path], path)
    keys: list[Any] = []
    asks = []
    for k, one in enumerate(asked):
        ask, seeds = _ask(signature, one)
        asks.append(ask)
        keys.append(id(ask))
        if seeds:
            values.update({seed_name(k, name): a for name, a in seeds.items()})
    # Equal questions are one Request, by which a transport finds their plan. It holds its asks, so their ids stay their own.
    key = ("request", *keys)
    request = signature.found.get(key)
    if request is None:
        request = signature.keep(key, Request(signature.graph, signature.types, tuple(asks)))
    return Call(request, values, signature.bound_names)


def _ask(signature: Signature, asked: Asked) -> tuple[Ask, dict[str, Array]]:
    """The engine's question, the same object for equal ones, and its seeds."""
    key: Any = ("ask", asked.verb, *asked.options.items())
    try:
        ask = signature.found.get(key)
    except TypeError:  # an option that cannot be hashed, such as a list of names
        key, ask = None, None
    if ask is not None and asked.seed is None:
        return ask, {}
    query, seeds = _query(signature, asked)
    if key is not None and asked.seed is not None:
        key = (*key, *[(name, a.shape) for name, a in seeds.items()])
        ask = signature.found.get(key)
    if ask is None:
        ask = Ask(query, {name: Type(a.dtype, a.shape) for name, a in seeds.items()})
        if key is not None:
            signature.keep(key, ask)
    return ask, seeds


def as_input(value: Any, declared: Type, name: str, *, leading: bool = False) -> Array:
    """The value as an array of the declared type, if NumPy can cast it safely; Python numbers are weak.

    `leading`: one more axis in front is allowed (many seeds).
    """
    if type(value) is np.ndarray and value.dtype is declared.dtype and value.shape == declared.shape and value.flags.c_contiguous:
        return value
    array = np.asarray(value)
    weak = isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)
    kinds = {"f": "fib", "i": "ib", "b": "b"}[declared.dtype.kind]
    if not (array.dtype.kind in kinds if weak else np.can_cast(array.dtype, declared.dtype, "safe")):
        raise GraphError(
            f"{name} cannot be cast safely",
            reason="DTYPE",
            got=str(array.dtype),
            allowed=f"what casts safely to {declared.dtype}",
            hint=f"write {name}.astype('{declared.dtype}')",
        )
    if array.shape != declared.shape and not (leading and array.shape[1:] == declared.shape and array.ndim):
        allowed = f"{declared.shape}" + (f" or (n, *{declared.shape})" if leading else "")
        raise GraphError(f"{name} has the wrong shape", reason="SHAPE", got=str(array.shape), allowed=allowed, hint="submit the function anew for other shapes")
    return np.ascontiguousarray(array, declared.dtype).reshape(array.shape)


def wrt_arguments(signature: Signature, wrt: Any) -> tuple[tuple[Argument, ...], bool]:
    """The arguments to differentiate by, and whether the answer is theirs alone (no tuple round it).

    None: every argument that is not bound and floating.
    """
    if wrt is None:
        floating: tuple[tuple[Argument, ...], bool] | None = signature.found.get("floating")
        if floating is None:
            chosen = tuple(a for a in signature.arguments if all(signature.type_of(p).is_float for p in a.tree.paths(a.name)))
            floating = signature.keep("floating", (chosen, len(chosen) == 1))
        return floating
    names = (wrt,) if isinstance(wrt, (str, int)) else tuple(wrt)
    known: dict[Any, Argument] = {a.name: a for a in signature.arguments} | dict(enumerate(signature.arguments))
    known |= {name: Argument(name, Tree()) for name in signature.bound if name not in known}
    for name in names:
        if name not in known:
            allowed = ", ".join(k for k in known if isinstance(k, str))
            raise GraphError("no argument has this name", reason="MISSING_INPUT", got=repr(name), allowed=allowed)
    return tuple(known[name] for name in names), isinstance(wrt, (str, int))


def _query(signature: Signature, asked: Asked) -> tuple[Query, dict[str, Array]]:
    """The engine's query, and its seeds by input or output name."""
    options = dict(asked.options)
    arguments, alone = wrt_arguments(signature, options.pop("wrt", None))
    _require_among("layout", options.get("layout", "dense"), get_args(Layout))
    wrt = tuple(path for a in arguments for path in a.tree.paths(a.name))
    seeds: dict[str, Array] = {}
    many = False
    if asked.verb in ("jvp", "hvp") or (asked.verb in (*_CURVATURES, "check") and asked.seed is not None):
        trees = (asked.seed,) if alone else _tuple_of(asked.seed, len(arguments), asked.verb)
        for argument, tree in zip(arguments, trees, strict=True):
            label = "gradient" if asked.verb == "check" else "tangent"
            for path, leaf in zip(argument.tree.paths(argument.name), matched(tree, argument.tree, label), strict=True):
                seeds[path] = as_input(leaf, signature.type_of(path), f"{label} of {path}", leading=asked.verb != "check")
        many = any(a.ndim > signature.type_of(p).rank for p, a in seeds.items())
    if asked.verb == "vjp":
        graph = signature.graph
        leaves = matched(asked.seed, signature.output, "cotangent")
        for o in floating_outputs(graph):
            seeds[graph.output_names[o]] = as_input(leaves[o], graph.output_types[o], "cotangent", leading=True)
        many = any(a.ndim > graph.output_types[o].rank for o, a in zip(floating_outputs(graph), seeds.values(), strict=True))
    match asked.verb:
        case "value":
            return Value(), seeds
        case "gradient":
            return Gradient(wrt), seeds
        case "value_and_gradient":
            return ValueAndGradient(wrt), seeds
        case "jvp":
            return Jvp(wrt, many, options.get("block", 0)), seeds
        case "vjp":
            return Vjp(wrt, many, options.get("block", 0)), seeds
        case "hvp":
            return Hvp(wrt, many, options.get("block", 0)), seeds
        case "jacobian":
            return Jacobian(wrt, options.get("mode", "auto"), options.get("block", 0), options.get("layout", "dense")), seeds
        case "hessian":
            return Hessian(wrt, options.get("block", 0), options.get("layout", "dense")), seeds
        case "hessian_diagonal":
            return _diagonal(wrt, options), seeds
        case "gauss_newton":
            return GaussNewton(wrt, through_of(signature, options.get("through", ())), asked.seed is not None, many, options.get("block", 0)), seeds
        case "fisher":
            return Fisher(wrt, as_family(options.get("family")), asked.seed is not None, many, options.get("block", 0)), seeds
        case "empirical_fisher":
            return EmpiricalFisher(wrt, asked.seed is not None, many, options.get("block", 0)), seeds
        case "check":
            return _check(wrt, asked, options), seeds
    raise GraphError("no such verb", reason="MALFORMED", got=asked.verb)


def _diagonal(wrt: tuple[str, ...], options: Mapping[str, Any]) -> HessianDiagonal:
    method = options.get("method", "exact")
    _require_among("method", method, get_args(Method))
    estimate = method == "estimate"
    for name in ("samples", "seed"):
        if name in options and not estimate:
            raise GraphError(f"{name}= is for an estimate", reason="MALFORMED", got=f"method={method!r}", allowed="method='estimate'")
    return HessianDiagonal(wrt, options.get("block", 0), method, options.get("samples", SAMPLES) if estimate else 0, options.get("seed", 0))


def _require_among(name: str, value: Any, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise GraphError(f"there is no such {name}", reason="MALFORMED", name=name, got=repr(value)[:80], allowed=", ".join(map(repr, allowed)))


def _check(wrt: tuple[str, ...], asked: Asked, options: dict[str, Any]) -> Check:
    given = asked.seed is not None
    subjects = tuple(s for s in get_args(Subject) if s != "given")
    for name, allowed in (("judge", get_args(Judge)), ("subject", subjects)):
        if options.get(name, allowed[0]) not in allowed:
            raise GraphError(f"no such {name} of a check", reason="MALFORMED", name=name, got=repr(options[name]), allowed=", ".join(allowed))
    if given and "subject" in options:
        raise GraphError("a check of a gradient that is given has no other subject", reason="MALFORMED", name="subject", got=repr(options["subject"]))
    return Check(wrt, **{"subject": "given" if given else "own", **options})


_CURVATURES = ("gauss_newton", "fisher", "empirical_fisher")


def through_of(signature: Signature, through: Any) -> tuple[str, ...]:
    """The names of values, as the engine knows them: a part of the output stands for all its leaves.

    An entry is a name given by bs.name, a path of the output, an entry of a dict by its key, or a position in a tuple.
    """
    if not isinstance(through, (str, int, tuple, list)):
        raise GraphError("through must name values", reason="NOT_THROUGH", name="through", got=type(through).__name__, allowed="a name, or a tuple of them")
    outputs, called = signature.graph.output_names, named_values(signature.graph)
    names: list[str] = []
    for entry in (through,) if isinstance(through, (str, int)) else through:
        path = f"[{entry}]" if isinstance(entry, int) else str(entry)
        parts = [o for o in outputs if o and (o == path or o.startswith((f"{path}.", f"{path}[")))]
        if not parts and path not in called:
            parts = [o for o in outputs if o == f".{path}" or o.startswith((f".{path}.", f".{path}["))]
        names += parts or [path]
    values_called(signature.graph, names)
    return tuple(names)


def _tuple_of(tree: Any, count: int, verb: str) -> tuple[Any, ...]:
    if not isinstance(tree, (tuple, list)) or len(tree) != count:
        raise GraphError(f"{verb} by {count} arguments needs a tuple of {count}", reason="SHAPE", got=type(tree).__name__, allowed=f"a tuple of {count}")
    return tuple(tree)


# Out.


def finish(signature: Signature, asked: Asked, query: Query, answer: Answer) -> Any:
    """What the user gets for one query."""
    arguments, alone = wrt_arguments(signature, asked.options.get("wrt"))
    parts = list(answer.arrays)

    def by_arguments(leaves: Sequence[Any]) -> Any:
        """Leaves in wrt order as the arguments' trees."""
        if alone and arguments[0].tree.is_leaf:
            return leaves[0]
        given = iter(leaves)
        trees = tuple(a.tree.unflatten([next(given) for _ in range(a.tree.size)]) for a in arguments)
        return trees[0] if alone else trees

    match query:
        case Check():
            return answer.verdict
        case Value():
            return signature.output.unflatten(parts)
        case ValueAndGradient():
            return parts[0], by_arguments(parts[1:])
        case Gradient():
            return by_arguments(parts)
        case HessianDiagonal():
            count = len(query.wrt)
            value = by_arguments(parts[:count])
            return Estimate(value, by_arguments(parts[count:])) if query.method == "estimate" else value
        case Jvp():
            types = signature.graph.output_types
            return signature.output.unflatten(_cut(parts[0], types) if query.many else parts)
        case Vjp() | Hvp() | GaussNewton(product=True) | Fisher(product=True) | EmpiricalFisher(product=True):
            types = tuple(signature.type_of(name) for name in query.wrt)
            return by_arguments(_cut(parts[0], types) if query.many else parts)
    square = isinstance(query, Hessian | Curvature)
    rows = [signature.type_of(n) for n in wrt_of(query)] if square else list(signature.graph.output_types)
    columns = [signature.type_of(name) for name in wrt_of(query)]
    if answer.pattern is not None:
        return as_csr(answer.pattern, parts[0])
    grid = [by_arguments(leaves) for leaves in _tiles(parts[0], rows, columns)]
    return by_arguments(grid) if square else signature.output.unflatten(grid)


def as_csr(pattern: Pattern, values: Array) -> Any:
    """A scipy.sparse.csr_array over the ravels; zeros of the pattern are kept."""
    from scipy.sparse import csr_array

    # Copies: the pattern is kept with the plan, and the array is the caller's own.
    return csr_array((values, pattern.indices.copy(), pattern.indptr.copy()), shape=(pattern.rows, pattern.columns))


def _cut(matrix: Array, types: Sequence[Type]) -> list[Array]:
    """The columns of a (seeds, n) matrix as one (seeds, *shape) array per type."""
    ends = np.cumsum([t.size for t in types]).tolist()
    return [np.array(matrix[:, e - t.size : e], t.dtype, order="C").reshape((-1, *t.shape)) for t, e in zip(types, ends, strict=True)]


def _tiles(matrix: Array, rows: Sequence[Type], columns: Sequence[Type]) -> list[list[Array]]:
    """A matrix over ravels as leaves of shape row.shape + column.shape."""
    if len(rows) == len(columns) == 1:
        return [[matrix.reshape(rows[0].shape + columns[0].shape)]]
    tiles, top = [], 0
    for r in rows:
        line, left = [], 0
        for c in columns:
            tile = np.array(matrix[top : top + r.size, left : left + c.size], order="C")
            line.append(tile.reshape(r.shape + c.shape))
            left += c.size
        tiles.append(line)
        top += r.size
    return tiles


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


def describe_note(note: NonFinite, source: str) -> str:
    """One sentence of what was not finite, with the user's own line where it is known."""
    word = {"nan": "NaN", "inf": "infinity"}[note.kind]
    if note.node is None:
        return f"the answer holds a {word} that came in with a seed"
    if note.op == "input":
        return f"the answer holds a {word} that came in with the point"
    what = f"the derivative of node {note.node} ({note.op})" if note.in_derivative else f"node {note.node} ({note.op})"
    return f"the answer holds a {word}, first made by {what}" + (f" at {source}" if source else "")
