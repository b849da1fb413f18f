"""From a verb and its options to the engine's query: what may be asked of a signature, by types alone.

A verb is asked with or without a seed (tangents, a cotangent, a gradient to check); with how many seeds is
known only when they come, and then says the rest. Whoever adds an option adds it to OPTIONS.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.query import (
    SAMPLES,
    Check,
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
)
from backsweep_engine.transforms.curvature import as_family
from backsweep_engine.transforms.derive import floating_outputs
from backsweep_engine.transforms.through import named_values, values_called

from .dtypes import as_input
from .signature import Argument, Array, Signature, wrt_arguments
from .trees import matched

CURVATURES = ("gauss_newton", "fisher", "empirical_fisher")

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "value": (),
    "gradient": (),
    "value_and_gradient": (),
    "jvp": ("block",),
    "vjp": ("block",),
    "hvp": ("block",),
    "jacobian": ("mode", "block", "layout"),
    "hessian": ("block", "layout"),
    "hessian_diagonal": ("block", "method", "samples", "seed"),
    "gauss_newton": ("through", "block"),
    "fisher": ("family", "block"),
    "empirical_fisher": ("block",),
    "check": ("seed", "directions", "max_worst", "block", "judge", "subject", "coordinates", "blame"),
}
"""What each verb knows beside `wrt`, `timeout` and `progress`."""


@dataclass(frozen=True, slots=True, eq=False)
class Asking:
    """A verb with its options, asked of a signature. `options`: without wrt. `alone`: the answer is one argument's, no tuple of them.

    `seeds`: (name, type, what it is called in errors) of each seed. `seeded`: a seed was given.
    """

    signature: Signature
    verb: str
    options: Mapping[str, Any]
    seeded: bool
    arguments: tuple[Argument, ...]
    alone: bool
    seeds: tuple[tuple[str, Type, str], ...]

    @property
    def flat(self) -> bool:
        """Whether a seed is one array by itself, or there is none."""
        tree = self.signature.output if self.verb == "vjp" else self.arguments[0].tree if self.alone else None
        return not self.seeds or (tree is not None and tree.is_leaf)

    @property
    def wrt(self) -> tuple[str, ...]:
        return tuple(path for a in self.arguments for path in a.tree.paths(a.name))

    def take(self, seed: Any) -> list[Array]:
        """The seeds as arrays, one for each of `seeds`; raises GraphError where they do not fit."""
        if self.verb == "vjp":
            every = matched(seed, self.signature.output, "cotangent")
            leaves = [every[o] for o in floating_outputs(self.signature.graph)]
        else:
            trees = (seed,) if self.alone else _tuple_of(seed, len(self.arguments), self.verb)
            label = "gradient" if self.verb == "check" else "tangent"
            leaves = [leaf for a, tree in zip(self.arguments, trees, strict=True) for leaf in matched(tree, a.tree, label)]
        leading = self.verb != "check"
        return [as_input(leaf, declared, label, leading=leading) for leaf, (_, declared, label) in zip(leaves, self.seeds, strict=True)]

    def query(self, many: bool) -> Query:
        """The engine's; `many`: the seeds have one more axis in front."""
        wrt, options = self.wrt, self.options
        block = options.get("block", 0)
        match self.verb:
            case "value":
                return Value()
            case "gradient":
                return Gradient(wrt)
            case "value_and_gradient":
                return ValueAndGradient(wrt)
            case "jvp":
                return Jvp(wrt, many, block)
            case "vjp":
                return Vjp(wrt, many, block)
            case "hvp":
                return Hvp(wrt, many, block)
            case "jacobian":
                return Jacobian(wrt, options.get("mode", "auto"), block, options.get("layout", "dense"))
            case "hessian":
                return Hessian(wrt, block, options.get("layout", "dense"))
            case "hessian_diagonal":
                return _diagonal(wrt, options)
            case "gauss_newton":
                return GaussNewton(wrt, through_of(self.signature, options.get("through", ())), self.seeded, many, block)
            case "fisher":
                return Fisher(wrt, as_family(options.get("family")), self.seeded, many, block)
            case "empirical_fisher":
                return EmpiricalFisher(wrt, self.seeded, many, block)
        return _check(wrt, self.seeded, options)


def asking(signature: Signature, verb: str, seeded: bool, options: Mapping[str, Any]) -> Asking:
    """The verb with these options, the same object for equal ones; raises GraphError if it has no such option. An option that is None is not given.

    Raises TypeError where an option cannot be hashed: see `hashable`.
    """
    key = ("asking", verb, seeded, *options.items())
    found: Asking | None = signature.found.get(key)
    if found is None:
        found = signature.keep(key, _asking(signature, verb, seeded, options))
    return found


def hashable(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with lists as tuples; raises GraphError for what else cannot be hashed, and so is no option's value."""
    found = {name: tuple(value) if isinstance(value, list) else value for name, value in options.items()}
    for name, value in found.items():
        try:
            hash(value)
        except TypeError:
            raise GraphError("this cannot be the value of an option", reason="MALFORMED", name=name, got=type(value).__name__) from None
    return found


def _asking(signature: Signature, verb: str, seeded: bool, options: Mapping[str, Any]) -> Asking:
    if verb not in OPTIONS:
        raise GraphError("no such verb", reason="MALFORMED", got=verb)
    for name in options:
        if name not in ("wrt", *OPTIONS[verb]):
            raise GraphError("no such option", reason="MALFORMED", got=name, allowed=", ".join(("wrt", *OPTIONS[verb], "timeout", "progress")))
    given = {name: value for name, value in options.items() if value is not None}
    arguments, alone = wrt_arguments(signature, given.pop("wrt", None))
    _require_among("layout", given.get("layout", "dense"), get_args(Layout))
    seeds: list[tuple[str, Type, str]] = []
    if verb in ("jvp", "hvp") or (verb in (*CURVATURES, "check") and seeded):
        label = "gradient" if verb == "check" else "tangent"
        seeds = [(path, signature.type_of(path), f"{label} of {path}") for a in arguments for path in a.tree.paths(a.name)]
    elif verb == "vjp":
        graph = signature.graph
        seeds = [(graph.output_names[o], graph.output_types[o], "cotangent") for o in floating_outputs(graph)]
    return Asking(signature, verb, given, seeded, arguments, alone, tuple(seeds))


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


def _check(wrt: tuple[str, ...], given: bool, options: Mapping[str, Any]) -> Check:
    subjects = tuple(s for s in get_args(Subject) if s != "given")
    for name, allowed in (("judge", get_args(Judge)), ("subject", subjects)):
        if options.get(name, allowed[0]) not in allowed:
            raise GraphError(f"no such {name} of a check", reason="MALFORMED", name=name, got=repr(options[name]), allowed=", ".join(allowed))
    if given and "subject" in options:
        raise GraphError("a check of a gradient that is given has no other subject", reason="MALFORMED", name="subject", got=repr(options["subject"]))
    return Check(wrt, **{"subject": "given" if given else "own", **options})


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
