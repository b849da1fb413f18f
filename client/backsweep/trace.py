"""NumPy code -> Graph: a function is run once on traced values, which write down what it does.

The graph has one input per leaf of each argument, named by its path, in the order of f's signature.
Lines of the user's code are kept beside the graph, never in it: equal computations are equal graphs
wherever they were written.
"""

from __future__ import annotations

import inspect
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from backsweep_engine import ops  # noqa: F401  # fills the table of ops
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import DTYPES, Builder, Graph, Ref
from backsweep_engine.ops.build import lift
from backsweep_engine.ops.term import TRACING, Term
from backsweep_engine.transforms.rewrite import Rewrite

from .dtypes import as_array, as_type
from .lines import blame, definition, locate, show
from .trees import Tree, flatten

Array = np.ndarray[Any, Any]
E = TypeVar("E", bound=Error)
_STATIC = (bool, int, float, str)


@dataclass(frozen=True, slots=True, eq=False)
class Traced:
    """A function as a graph, and what is needed to call it.

    `in_trees`: the structure of each argument given anew with every call, by name, in the order of
    f's signature; its inputs are called `tree.paths(name)`. `bound`: the arrays of all other inputs,
    by input name: arguments that were arrays (`X`), and larger arrays the function captured
    (`bound.0`). `out_tree`: the structure of the result. `sources`: the user's line for each node.
    """

    graph: Graph
    in_trees: Mapping[str, Tree]
    bound: Mapping[str, Array]
    out_tree: Tree
    sources: tuple[str, ...]

    def explain(self, error: E) -> E:
        """The error with the user's own line, where it names a node of this graph."""
        if error.node is not None and error.function is None and 0 <= error.node < len(self.sources):
            show(error, self.sources[error.node])
        return error


def trace(f: Callable[..., Any], arguments: Mapping[str, Any]) -> Traced:
    """The graph of f for arguments of these kinds, each of which may be a tree:

    types (bs.float64[30]) are inputs given with every call; arrays are inputs bound now, copied;
    Python bools, ints, floats and strings are passed to f as they are, and are part of the graph only
    by what f does with them. Arguments left out keep f's defaults. A warning says if f drew from np.random:
    what it drew is a constant of the graph.
    """
    builder = Builder(locate=locate)
    in_trees: dict[str, Tree] = {}
    bound: dict[str, Array] = {}
    try:
        signature = _signature(f)
        call = inspect.BoundArguments(signature, OrderedDict())
        for name in _ordered(f, signature, arguments):
            value, tree = _argument(name, arguments[name], builder, in_trees, bound)
            into = call.arguments if name in _named(signature) else call.arguments.setdefault(_rest(signature), {})
            into[name] = tree.unflatten(value)
    except GraphError as error:
        show(error, locate())
        raise
    undrawn = _generator()
    outputs, out_tree = run(f, call.args, call.kwargs, builder)
    if undrawn is not None and _generator() != undrawn:
        drawn = f"np.random was drawn from while {definition(f)} was traced: those numbers are constants of the graph"
        warnings.warn(f"{drawn}; draw them before, and pass them as an argument", RuntimeWarning, stacklevel=3)
    graph = builder.build(outputs)
    bound |= builder.bound
    graph, sources = _without_idle(graph, builder.sources, set(builder.bound))
    return Traced(graph, in_trees, {name: bound[name] for name in graph.input_names if name in bound}, out_tree, sources)


def run(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any], builder: Builder) -> tuple[list[tuple[str, Ref]], Tree]:
    """Calls f with `builder` as where its nodes go; its result's leaves by path, and their structure."""
    token = TRACING.set(builder)
    try:
        leaves, tree = flatten(_returned(f(*args, **kwargs)))
        if not leaves:
            raise GraphError("the function returns an empty tree", reason="NOT_TRACEABLE", got=str(tree), allowed="at least one array")
        return [(path, _result(path, leaf, builder).ref) for path, leaf in leaves], tree
    except Error as error:
        blame(error, f)
        raise
    except (TypeError, ValueError, AttributeError) as error:
        # NumPy's own words for `a[i] = x` with a traced x, SciPy's for arrays of two kinds, Python's for x.fill.
        refused = error.__cause__ if isinstance(error.__cause__, GraphError) else _mixed(error)
        if refused is None:
            raise
        blame(refused.with_traceback(error.__traceback__), f)
        raise refused from None
    finally:
        TRACING.reset(token)


def _generator() -> tuple[Any, ...] | None:
    """NumPy's global generator as it stands; None before it is first used, which imports it. Others' generators nobody can watch."""
    random = sys.modules.get("numpy.random")
    if random is None:
        return None
    state = random.get_state(legacy=False)
    return state["has_gauss"], state["gauss"], *[np.asarray(v).tobytes() for v in state["state"].values()]


def _mixed(error: Exception) -> GraphError | None:
    if not str(error).startswith("Multiple namespaces for array inputs") or "backsweep" not in str(error):
        return None
    return GraphError(
        "SciPy does not take traced values and NumPy arrays together",
        reason="NOT_TRACEABLE",
        hint="xp = x.__array_namespace__(); xp.asarray(a) makes a traced array of one of NumPy's; so does passing it as an argument",
    )


def inlined(builder: Builder, graph: Graph, operands: Sequence[Term], sources: Sequence[str]) -> list[Term]:
    """The graph's outputs on these operands, its nodes made nodes of `builder` with their own lines.

    `sources`: the lines of the graph that `graph` derives from.
    """
    rewrite = Rewrite(graph, builder)
    rewrite.values.extend((operand,) for operand in operands)
    before, source = builder.locate, ""
    builder.locate = lambda: source
    try:
        for node, values in rewrite.steps():
            source = sources[node.origin] if node.origin < len(sources) else ""
            builder.origin = None
            rewrite.values.append(rewrite.copy(node, values))
    finally:
        builder.locate, builder.origin = before, None
    return [rewrite.value(ref) for ref in graph.outputs]


def _signature(f: Callable[..., Any]) -> inspect.Signature:
    try:
        signature = inspect.signature(f)
    except (TypeError, ValueError):
        raise GraphError(
            "the arguments of this function cannot be read",
            reason="NOT_TRACEABLE",
            got=getattr(f, "__name__", type(f).__name__),
            hint="wrap it: lambda x: np.exp(x)",
        ) from None
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            raise GraphError(
                f"arguments are given by name, so *{parameter.name} cannot be filled",
                reason="NOT_TRACEABLE",
                source=definition(f),
                hint=f"take them as one argument {parameter.name}, a tuple or list",
            )
    return signature


def _named(signature: inspect.Signature) -> list[str]:
    return [p.name for p in signature.parameters.values() if p.kind is not p.VAR_KEYWORD]


def _rest(signature: inspect.Signature) -> str:
    """The name of the function's **parameter, "" if it has none."""
    return next((p.name for p in signature.parameters.values() if p.kind is p.VAR_KEYWORD), "")


def _ordered(f: Callable[..., Any], signature: inspect.Signature, arguments: Mapping[str, Any]) -> list[str]:
    """The names of the arguments in the order of f's signature; those of its **parameter last, by name."""
    known = _named(signature)
    name = getattr(f, "__name__", "the function")
    surplus = sorted(set(arguments) - set(known))
    if surplus and not _rest(signature):
        raise GraphError(
            f"{name} has no argument {', '.join(map(repr, surplus))}", reason="SURPLUS_INPUT", name=surplus[0], allowed=", ".join(known) or "no arguments"
        )
    missing = [n for n in known if n not in arguments and signature.parameters[n].default is inspect.Parameter.empty]
    if missing:
        raise GraphError(
            f"{name} needs the argument {', '.join(map(repr, missing))}",
            reason="MISSING_INPUT",
            name=missing[0],
            got=", ".join(arguments) or "no arguments",
            hint=f"give its type, {missing[0]}=bs.float64[...], or an array to bind",
        )
    return [n for n in known if n in arguments] + surplus


def _argument(name: str, value: Any, builder: Builder, in_trees: dict[str, Tree], bound: dict[str, Array]) -> tuple[list[Any], Tree]:
    """What f gets for the leaves of one argument, whose inputs are made here."""
    leaves, tree = flatten(value, name)
    types = [as_type(leaf) for _, leaf in leaves]
    if any(types):
        if not all(types):
            path = next(path for (path, _), type in zip(leaves, types, strict=True) if type is None)
            raise GraphError(
                f"argument {name} mixes types and values", reason="NOT_TRACEABLE", name=name, got=f"a value at {path}", hint="make them two arguments"
            )
        in_trees[name] = tree
        return [Term(builder, builder.input(path, type)) for (path, _), type in zip(leaves, types, strict=True) if type], tree
    given: list[Any] = []
    for path, leaf in leaves:
        if isinstance(leaf, _STATIC) and not isinstance(leaf, np.generic):
            given.append(leaf)
            continue
        if not (hasattr(leaf, "__array__") or hasattr(leaf, "__array_interface__")):
            raise GraphError(
                f"argument {path} is neither a type nor an array",
                reason="NOT_TRACEABLE",
                name=path,
                got=type(leaf).__name__,
                allowed="bs.float64[...], an array, a number or a string; trees of them: tuples, lists, dicts, namedtuples",
                hint="bind anything else before: functools.partial",
            )
        array = bound[path] = as_array(leaf, path)
        type_ = as_type(array.dtype)
        assert type_ is not None
        given.append(Term(builder, builder.input(path, type_.with_shape(array.shape))))
    return given, tree


def _returned(result: Any) -> Any:
    if result is None:
        raise GraphError("the function returns None", reason="NOT_TRACEABLE", allowed="an array or a tree of arrays", hint="does it end without `return`?")
    return result


def _result(path: str, leaf: Any, builder: Builder) -> Term:
    if not isinstance(leaf, Term) and np.asarray(leaf).dtype.name not in DTYPES:
        raise GraphError(
            f"the function returns something that is no array{f', at {path}' if path else ''}",
            reason="NOT_TRACEABLE",
            name=path,
            got=type(leaf).__name__,
            allowed=f"arrays and numbers of {', '.join(DTYPES)}, and trees of them",
        )
    return lift(leaf, builder)


def _without_idle(graph: Graph, sources: tuple[str, ...], captured: set[str]) -> tuple[Graph, tuple[str, ...]]:
    """The graph without captured arrays that nothing came of; arguments stay, used or not."""
    used = {ref.node for node in graph.nodes for ref in node.operands} | {ref.node for ref in graph.outputs}
    idle = {i for i, name in enumerate(graph.input_names) if name in captured and i not in used}
    if not idle:
        return graph, sources
    source = ""
    builder = Builder(locate=lambda: source)
    operands = []
    for i, (name, type) in enumerate(zip(graph.input_names, graph.input_types, strict=True)):
        source = sources[i]
        # The place of an idle input is never read.
        operands.append(Term(builder, Ref(-1) if i in idle else builder.input(name, type)))
    outputs = inlined(builder, graph, operands, sources)
    return builder.build([(name, term.ref) for name, term in zip(graph.output_names, outputs, strict=True)]), builder.sources
