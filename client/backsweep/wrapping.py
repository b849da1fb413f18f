"""Functions made of functions: bs.vmap, bs.checkpoint, bs.custom_gradient.

In a trace the function is traced into a graph of its own, with the values it takes from outside as
operands. On plain arrays, outside a trace, it is simply called.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Builder, Graph, Ref, Type
from backsweep_engine.ops.build import call_several, cast, lift, zeros
from backsweep_engine.ops.term import Term
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.structured.rules import arranged

from .lines import locate, show
from .loops import tracing
from .trace import inlined, run
from .trees import Tree, flatten, matched

Function = Callable[..., Any]


def vmap(f: Function, in_axes: int | Sequence[int | None] | None = 0) -> Function:
    """f over a batch: every argument is cut along its axis in `in_axes` (None: every row gets all of it); results are stacked.

    `in_axes` is one for all arguments, or one for each. What all rows share is computed once.
    """

    @wraps(f)
    def over_rows(*args: Any) -> Any:
        try:
            axes: list[Any] = list(in_axes) if isinstance(in_axes, (tuple, list)) else [in_axes] * len(args)
            if len(axes) != len(args):
                raise GraphError("in_axes has not one entry for each argument", reason="ARITY", got=str(len(axes)), allowed=str(len(args)))
            flat = [flatten(arg, f"argument{k}") for k, arg in enumerate(args)]
            moved = [(path, _rows_first(leaf, axis), axis is not None) for (leaves, _), axis in zip(flat, axes, strict=True) for path, leaf in leaves]
            size = _rows([(path, np.shape(leaf)) for path, leaf, mapped in moved if mapped])
            return _mapped(f, moved, [tree for _, tree in flat], size)
        except GraphError as error:
            show(error, locate())
            raise

    return over_rows


def _rows_first(leaf: Any, axis: int | None) -> Any:
    array: Any = leaf if isinstance(leaf, Term) else np.asarray(leaf)
    return leaf if axis is None else np.moveaxis(array, axis, 0)


def _rows(shapes: list[tuple[str, tuple[int, ...]]]) -> int:
    if not shapes:
        raise GraphError("no argument is mapped", reason="MISSING_INPUT", name="in_axes", hint="give an axis to one argument at least")
    sizes = {shape[0] for _, shape in shapes}
    if len(sizes) > 1:
        raise GraphError(
            "the mapped axes differ in length", reason="SHAPE", got=", ".join(f"{path}: {shape[0]}" for path, shape in shapes), allowed="one length"
        )
    return sizes.pop()


def _mapped(f: Function, leaves: list[tuple[str, Any, bool]], trees: Sequence[Tree], size: int) -> Any:
    parent = tracing([leaf for _, leaf, _ in leaves])
    if parent is None:
        results = [flatten(f(*_args(trees, [leaf[k] if rows else leaf for _, leaf, rows in leaves]))) for k in range(size)]
        if not results:
            raise GraphError("nothing to map over", reason="SHAPE", got="0 rows", allowed="1 or more outside a trace")
        columns = zip(*[[leaf for _, leaf in entries] for entries, _ in results], strict=True)
        return results[0][1].unflatten([np.stack(column) for column in columns])
    inner = Builder(parent=parent, locate=locate)
    given: list[Any] = []
    operands: list[Term] = []
    for path, leaf, rows in leaves:
        if rows:
            operands.append(lift(leaf, parent))
            type = operands[-1].type
            given.append(Term(inner, inner.input(path, type.with_shape(type.shape[1:]))))
        else:
            given.append(leaf)
    outputs, tree = run(f, _args(trees, given), {}, inner)
    captured = [Term(parent, outer) for outer, _ in inner.captured]
    graph = inner.build(outputs)
    wide = batch(graph, [*[True] * len(operands), *[False] * len(captured)], size)
    return tree.unflatten(inlined(parent, wide, [*operands, *captured], inner.sources))


def _args(trees: Sequence[Tree], leaves: Sequence[Any]) -> list[Any]:
    given = iter(leaves)
    return [tree.unflatten([next(given) for _ in range(tree.size)]) for tree in trees]


def checkpoint(f: Function) -> Function:
    """f, of whose inside a derivative keeps nothing: it runs f again where it needs its values."""

    @wraps(f)
    def again(*args: Any, **kwargs: Any) -> Any:
        parent = tracing([args, kwargs])
        if parent is None:
            return f(*args, **kwargs)
        inner = Builder(parent=parent, locate=locate)
        outputs, tree = run(f, args, kwargs, inner)
        captured = [Term(parent, outer) for outer, _ in inner.captured]
        return tree.unflatten(call_several(parent, "checkpoint", *captured, body=inner.build(outputs)))

    return again


def custom_gradient(f: Function, vjp: Function) -> Function:
    """f with a derivative of its own: vjp(*arguments, result, cotangent) gives the cotangent of each argument.

    One tree like its argument for each (without the tuple if there is one argument). If vjp is linear in the
    cotangent by its structure, forward mode is its transpose; otherwise (a clipped gradient) only
    gradients, vjps and Jacobians in reverse mode can be had. What f uses besides its arguments has no derivative.
    """

    @wraps(f)
    def with_own(*args: Any) -> Any:
        parent = tracing(list(args))
        if parent is None:
            return f(*args)
        try:
            return _Custom(parent, f, vjp, args).add()
        except GraphError as error:
            show(error, locate())
            raise

    return with_own


class _Custom:
    """Both functions traced: the graphs of the op, on one list of operands."""

    def __init__(self, parent: Builder, f: Function, vjp: Function, args: Sequence[Any]) -> None:
        self.parent = parent
        self.flat = [flatten(arg, f"argument{k}") for k, arg in enumerate(args)]
        self.leaves = [(path, lift(leaf, parent)) for entries, _ in self.flat for path, leaf in entries]
        forward, back = Builder(parent=parent, locate=locate), Builder(parent=parent, locate=locate)
        outputs, self.tree = run(f, self._inputs(forward), {}, forward)
        self._require_constant(forward, f)

        given = self._inputs(back)
        results = [Term(back, back.input(f"result{path}", forward.type_of(ref))) for path, ref in outputs]
        # A result that is not floating has no cotangent: zeros stand in its place.
        seeds = [Term(back, back.input(f"cotangent{path}", y.type)) if y.type.is_float else None for (path, _), y in zip(outputs, results, strict=True)]
        full = [zeros(back, y.type) if c is None else c for c, y in zip(seeds, results, strict=True)]
        arguments = [*given, self.tree.unflatten(results), self.tree.unflatten(full)]
        found, tree = run(vjp, arguments, {}, back)
        self._require_constant(back, vjp)
        slopes = self._slopes(tree.unflatten([Term(back, ref) for _, ref in found]), back)

        # Both see the same operands: the leaves, then what either captures.
        for outer, _ in back.captured:
            forward.capture(outer)
        for outer, _ in forward.captured:
            back.capture(outer)
        order = dict(back.captured)
        captured = [outer for outer, _ in forward.captured]
        self.operands = [*[term for _, term in self.leaves], *[Term(parent, outer) for outer in captured]]
        slopes += [zeros(back, parent.type_of(outer)) for outer in captured if parent.type_of(outer).is_float]
        self.primal: Graph = forward.build(outputs)
        inputs = [*[t.ref for entry in given for _, t in flatten(entry)[0]], *[order[outer] for outer in captured]]
        inputs += [t.ref for t in (*results, *[c for c in seeds if c is not None])]
        names = [dict(back.nodes[ref.node].attributes)["name"] for ref in inputs]
        built = back.build([(str(k) if len(slopes) > 1 else "", c.ref) for k, c in enumerate(slopes)])
        self.vjp = arranged(built, [built.input_names.index(name) for name in names], range(len(slopes)))

    def add(self) -> Any:
        return self.tree.unflatten(call_several(self.parent, "custom", *self.operands, primal=self.primal, vjp=self.vjp))

    def _inputs(self, builder: Builder) -> list[Any]:
        return _args([tree for _, tree in self.flat], [Term(builder, builder.input(path, term.type)) for path, term in self.leaves])

    def _slopes(self, found: Any, back: Builder) -> list[Term]:
        """The cotangents the vjp gave, one for each floating leaf of the arguments."""
        several = (found,) if len(self.flat) == 1 else found
        if not isinstance(several, (tuple, list)) or len(several) != len(self.flat):
            raise GraphError(
                "the vjp does not give a cotangent for each argument", reason="ARITY", got=type(found).__name__, allowed=f"a tuple of {len(self.flat)}"
            )
        leaves = [leaf for k, (part, (_, tree)) in enumerate(zip(several, self.flat, strict=True)) for leaf in matched(part, tree, f"cotangent of argument{k}")]
        return [_like(lift(c, back), term.type, path) for c, (path, term) in zip(leaves, self.leaves, strict=True) if term.type.is_float]

    def _require_constant(self, builder: Builder, f: Function) -> None:
        for outer, _ in builder.captured:
            if self.parent.type_of(outer).is_float and not _is_bound(self.parent, outer):
                raise GraphError(
                    f"{getattr(f, '__name__', 'the function')} uses a traced value that is not among its arguments",
                    reason="NOT_TRACEABLE",
                    hint="pass it as an argument: its derivative would be lost",
                )


def _is_bound(builder: Builder, ref: Ref) -> bool:
    """Whether a value is an array bound when tracing, which no derivative is asked by."""
    while True:
        node = builder.nodes[ref.node]
        if node.op != "input":
            return False
        if builder.parent is None:
            return dict(node.attributes)["name"] in builder.bound
        outer = next((outer for outer, inner in builder.captured if inner == ref), None)
        if outer is None:
            return False
        builder, ref = builder.parent, outer


def _like(c: Term, type: Type, path: str) -> Term:
    if c.shape != type.shape or not c.type.is_float:
        raise GraphError(f"the vjp gives a cotangent of another shape, of {path}", reason="SHAPE", got=str(c.type), allowed=str(type))
    return cast(c, type.dtype)
