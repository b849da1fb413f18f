"""Derivatives of functions, inside a traced function or on plain arrays: bs.gradient(f)(x, y).

f is traced into a graph of its own; values it takes from outside become inputs of that graph. The
transform is applied and the result inlined where it was asked for. There are no tangents with tags,
so derivatives nest to any depth and cannot be confused. Outside a trace the graph is run here, now.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.execute.program import program_of
from backsweep_engine.graph import Builder, Graph, Type
from backsweep_engine.ops.build import cast, common_builder, lift
from backsweep_engine.ops.term import TRACING, Term
from backsweep_engine.transforms import derive

from .jacobians import jacobian_graph
from .lines import locate, show
from .trace import inlined, run
from .trees import Tree, flatten, matched

Function = Callable[..., Any]
Wrt = int | str | Sequence[int | str]
"""By which arguments: a position, a name, or several of them (the result is then a tuple)."""


def gradient(f: Function, wrt: Wrt = 0) -> Function:
    """The function whose value is the gradient of f, a tree like the arguments `wrt`."""
    return _derivative(f, wrt, lambda part: part.like_wrt(part.value_of(derive.gradient(part.graph, part.wrt))))


def value_and_gradient(f: Function, wrt: Wrt = 0) -> Function:
    """The function whose value is (f, gradient of f)."""

    def compute(part: _Part) -> Any:
        value, *slopes = part.value_of(derive.value_and_gradient(part.graph, part.wrt))
        return part.out_tree.unflatten([value]), part.like_wrt(slopes)

    return _derivative(f, wrt, compute)


def jvp(f: Function, wrt: Wrt = 0) -> Function:
    """The function (*arguments, tangent=) whose value is J tangent, a tree like f's result."""

    def compute(part: _Part, tangent: Any) -> Any:
        part.require_floats()
        return part.out_tree.unflatten(part.value_of(derive.jvp(part.graph, part.wrt), part.shaped_as_wrt(tangent)))

    return _derivative(f, wrt, compute, "tangent")


def vjp(f: Function, wrt: Wrt = 0) -> Function:
    """The function (*arguments, cotangent=) whose value is cotangent J, a tree like the arguments `wrt`."""

    def compute(part: _Part, cotangent: Any) -> Any:
        part.require_floats()
        return part.like_wrt(part.value_of(derive.vjp(part.graph, part.wrt), part.shaped_as_result(cotangent)))

    return _derivative(f, wrt, compute, "cotangent")


def hvp(f: Function, wrt: Wrt = 0) -> Function:
    """The function (*arguments, tangent=) whose value is H tangent, a tree like the arguments `wrt`."""
    return _derivative(f, wrt, lambda part, tangent: part.like_wrt(part.value_of(derive.hvp(part.graph, part.wrt), part.shaped_as_wrt(tangent))), "tangent")


def jacobian(f: Function, wrt: Wrt = 0) -> Function:
    """The function whose value is the Jacobian: leaves of shape result + argument, trees nested result over argument."""

    def compute(part: _Part) -> Any:
        part.require_floats()
        entries = part.value_of(jacobian_graph(part.graph, part.wrt))
        width = len(part.wrt)
        return part.out_tree.unflatten([part.like_wrt(entries[i : i + width]) for i in range(0, len(entries), width)])

    return _derivative(f, wrt, compute)


def hessian(f: Function, wrt: Wrt = 0) -> Function:
    """The function whose value is the Hessian, the Jacobian of the gradient."""
    return jacobian(gradient(f, wrt), wrt)


@dataclass(frozen=True, slots=True)
class _Part:
    """One function, called once, as a graph: its first inputs are the leaves of the arguments `wrt`.

    `parent`: the builder of the trace it is called in, None outside; `operands`: the values of the
    graph's inputs there (Terms), or arrays. `names`, `trees`: the arguments `wrt`; `single`: whether
    just one was asked for, without a tuple.
    """

    graph: Graph
    parent: Builder | None
    operands: tuple[Any, ...]
    names: tuple[str, ...]
    trees: tuple[Tree, ...]
    single: bool
    out_tree: Tree
    sources: tuple[str, ...]

    @property
    def wrt(self) -> tuple[int, ...]:
        return tuple(range(sum(tree.size for tree in self.trees)))

    def value_of(self, graph: Graph, more: Sequence[Any] = ()) -> list[Any]:
        """The outputs of a graph derived from this one, here and now or as nodes of the parent."""
        if self.parent is not None:
            return inlined(self.parent, graph, [*self.operands, *more], self.sources)
        return [array[()] for array in program_of(graph).run([*self.operands, *more])]  # [()]: as NumPy, scalars for rank 0

    def like_wrt(self, leaves: Sequence[Any]) -> Any:
        given = iter(leaves)
        trees = tuple([tree.unflatten([next(given) for _ in range(tree.size)]) for tree in self.trees])
        return trees[0] if self.single else trees

    def shaped_as_wrt(self, tangent: Any) -> list[Any]:
        parts = (tangent,) if self.single else tuple(tangent)
        if len(parts) != len(self.trees):
            raise GraphError("a tangent is needed for each argument", reason="ARITY", got=str(len(parts)), allowed=", ".join(self.names))
        leaves = [leaf for part, tree, name in zip(parts, self.trees, self.names, strict=True) for leaf in matched(part, tree, f"tangent of {name}")]
        return self._seeds(leaves, self.graph.input_types)

    def shaped_as_result(self, cotangent: Any) -> list[Any]:
        return self._seeds(matched(cotangent, self.out_tree, "cotangent"), self.graph.output_types)

    def _seeds(self, leaves: Sequence[Any], types: Sequence[Type]) -> list[Any]:
        return [_seed(leaf, type, self.parent) for leaf, type in zip(leaves, types, strict=False)]

    def require_floats(self) -> None:
        for name, ref, type in zip(self.graph.output_names, self.graph.outputs, self.graph.output_types, strict=True):
            if not type.is_float:
                raise GraphError("a result of the function has no derivative", reason="NOT_DIFFERENTIABLE", node=ref.node, name=name, got=str(type))


def _seed(leaf: Any, type: Type, parent: Builder | None) -> Any:
    """A tangent or cotangent as a value of this type."""
    value = leaf if isinstance(leaf, Term) else np.asarray(leaf, type.dtype if isinstance(leaf, (int, float)) and not isinstance(leaf, np.generic) else None)
    if value.shape != type.shape or not np.can_cast(value.dtype, type.dtype, "safe"):
        raise GraphError("a tangent or cotangent has another type than its value", reason="SHAPE", got=f"{value.dtype}{list(value.shape)}", allowed=str(type))
    if parent is not None:
        return cast(lift(value, parent), type.dtype)
    return np.ascontiguousarray(value, type.dtype).reshape(type.shape)


def _derivative(f: Function, wrt: Wrt, compute: Callable[..., Any], seed: str = "") -> Function:
    @wraps(f)
    def derived(*args: Any, **kwargs: Any) -> Any:
        seeds = {seed: kwargs.pop(seed)} if seed in kwargs else {}
        if seed and not seeds:
            raise GraphError(f"{seed}= is missing", reason="MISSING_INPUT", name=seed, source=locate())
        part = _part(f, wrt, args, kwargs)
        try:
            return compute(part, **seeds)
        except GraphError as error:
            # A node of the inner graph means nothing to the caller; its line does.
            node, error.node = error.node, None
            show(error, (part.sources[node] if node is not None and node < len(part.sources) else "") or locate())
            raise

    signature = _signature(f)
    if signature is not None:
        if seed in signature.parameters:
            raise GraphError(
                f"the function has an argument {seed} of its own", reason="NOT_TRACEABLE", name=seed, source=locate(), hint="wrap it: lambda x: f(x, ...)"
            )
        more = [inspect.Parameter(seed, inspect.Parameter.KEYWORD_ONLY)] if seed else []
        variable = [p for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD]
        derived.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[*[p for p in signature.parameters.values() if p not in variable], *more, *variable], return_annotation=inspect.Signature.empty
        )
    return derived


def _part(f: Function, wrt: Wrt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> _Part:
    """f traced with its arguments `wrt` as inputs; the others are passed to it as they are."""
    call: dict[int | str, Any] = dict(enumerate(args))
    call.update(kwargs)
    try:
        keys, names = _chosen(f, wrt, args, kwargs)
        flat = [flatten(call[key], name) for key, name in zip(keys, names, strict=True)]
        leaves = [(path, _differentiable(path, leaf)) for entries, _ in flat for path, leaf in entries]
    except GraphError as error:
        show(error, locate())
        raise
    parent = TRACING.get()
    if parent is None and any(isinstance(leaf, Term) for _, leaf in leaves):
        parent = common_builder([leaf for _, leaf in leaves])
    builder = Builder(parent=parent, locate=locate)
    inputs = [Term(builder, builder.input(path, Type(leaf.dtype, leaf.shape))) for path, leaf in leaves]
    given = iter(inputs)
    for key, (entries, tree) in zip(keys, flat, strict=True):
        call[key] = tree.unflatten([next(given) for _ in entries])
    outputs, out_tree = run(f, [call[i] for i in range(len(args))], {name: call[name] for name in kwargs}, builder)
    graph = builder.build(outputs)
    operands: list[Any]
    if parent is not None:
        operands = [*[lift(leaf, parent) for _, leaf in leaves], *[Term(parent, outer) for outer, _ in builder.captured]]
    else:
        operands = [*[np.ascontiguousarray(leaf).reshape(leaf.shape) for _, leaf in leaves], *builder.bound.values()]
    single = isinstance(wrt, (int, str))
    return _Part(graph, parent, tuple(operands), names, tuple([tree for _, tree in flat]), single, out_tree, builder.sources)


def _differentiable(path: str, leaf: Any) -> Any:
    value = leaf if isinstance(leaf, Term) else np.asarray(leaf)
    if value.dtype.name not in ("float64", "float32"):
        raise GraphError(
            f"there is no derivative by {path}",
            reason="NOT_DIFFERENTIABLE",
            name=path,
            got=type(leaf).__name__ if value.dtype == object else f"{value.dtype}{list(value.shape) or ''}",
            allowed="float64 or float32",
            hint="write a float (2.0, x.astype(np.float64)), or name other arguments in wrt=",
        )
    return value if isinstance(value, Term) else value.astype(value.dtype.newbyteorder("="), copy=False)


def _signature(f: Function) -> inspect.Signature | None:
    try:
        return inspect.signature(f)
    except (TypeError, ValueError):
        return None


def _chosen(f: Function, wrt: Wrt, args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[list[int | str], tuple[str, ...]]:
    """Where the arguments `wrt` stand in the call (position or keyword), and what they are called."""
    signature = _signature(f)
    parameters = list(signature.parameters.values()) if signature else []
    positional = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    more = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), "x")
    names = [positional[i] if i < len(positional) else f"{more}[{i - len(positional)}]" for i in range(max(len(args), len(positional)))]
    keys: list[int | str] = []
    for entry in (wrt,) if isinstance(wrt, (int, str)) else tuple(wrt):
        name = entry if isinstance(entry, str) else names[entry] if 0 <= entry < len(names) else f"number {entry}"
        key: int | str = name if name in kwargs else names.index(name) if name in names else -1
        if key in keys:
            raise GraphError(f"argument {name} stands twice in wrt", reason="SURPLUS_INPUT", name=name)
        if key == -1 or (isinstance(key, int) and key >= len(args)):
            raise GraphError(f"the call has no argument {name} to differentiate by", reason="MISSING_INPUT", name=name, allowed=", ".join([*names, *kwargs]))
        keys.append(key)
    if not keys:
        raise GraphError("wrt names no argument", reason="MISSING_INPUT", allowed=", ".join(names))
    return keys, tuple([key if isinstance(key, str) else names[key] for key in keys])
