"""What a submitted function takes and gives: arguments as trees of the graph's inputs, and what is bound.

Nothing is asked here; questions.py says what may be, calls.py takes the values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Graph, Type
from backsweep_engine.transforms.rewrite import positions

from .dtypes import as_array, as_input
from .trees import Tree

Array = np.ndarray[Any, Any]

MAX_FOUND = 256


@dataclass(frozen=True, slots=True)
class Argument:
    """One positional input of the verbs: an argument of the function that is not bound."""

    name: str
    tree: Tree


@dataclass(frozen=True, slots=True)
class Signature:
    """What a submitted graph takes and gives. `bound`: arrays by input name, which no one changes; they travel by digest.

    `found`: what was found out about questions asked before, so that asking again costs next to nothing; at most MAX_FOUND
    entries. It is not pickled.
    """

    graph: Graph
    arguments: tuple[Argument, ...]
    bound: Mapping[str, Array]
    output: Tree
    types: Mapping[str, Type] = field(init=False, repr=False, compare=False)
    names: tuple[str, ...] = field(init=False, repr=False, compare=False)
    """the inputs that come with each call, in order"""
    found: dict[Any, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        types = dict(zip(self.graph.input_names, self.graph.input_types, strict=True))
        object.__setattr__(self, "types", types)
        object.__setattr__(self, "names", tuple([path for a in self.arguments for path in a.tree.paths(a.name)]))

    def __reduce__(self) -> tuple[Any, ...]:
        return Signature, (self.graph, self.arguments, self.bound, self.output)

    def type_of(self, name: str) -> Type:
        return self.types[name]

    def keep(self, key: Any, value: Any) -> Any:
        """Remembers what was found and gives it back."""
        if len(self.found) >= MAX_FOUND:
            self.found.clear()
        self.found[key] = value
        return value


class Asked(NamedTuple):
    """A verb with its seed and options: what `f.ask` takes, and what each method of `f` makes."""

    verb: str
    seed: Any = None
    options: Mapping[str, Any] = MappingProxyType({})


def wrt_arguments(signature: Signature, wrt: Any) -> tuple[tuple[Argument, ...], bool]:
    """The arguments to differentiate by, and whether the answer is theirs alone (no tuple round it).

    None: every argument that is not bound and floating.
    """
    if wrt is None:
        chosen = tuple(a for a in signature.arguments if all(signature.type_of(p).is_float for p in a.tree.paths(a.name)))
        return chosen, len(chosen) == 1
    names = (wrt,) if isinstance(wrt, (str, int)) else tuple(wrt)
    known: dict[Any, Argument] = {a.name: a for a in signature.arguments} | dict(enumerate(signature.arguments))
    known |= {name: Argument(name, Tree()) for name in signature.bound if name not in known}
    for name in names:
        if name not in known:
            allowed = ", ".join(k for k in known if isinstance(k, str))
            raise GraphError("no argument has this name", reason="MISSING_INPUT", got=repr(name), allowed=allowed)
    return tuple(known[name] for name in names), isinstance(wrt, (str, int))


def bound_to(graph: Graph, arrays: Mapping[str, Any]) -> dict[str, Array]:
    """What is bound to inputs: copies of their types, which no one changes."""
    types = dict(zip(graph.input_names, graph.input_types, strict=True))
    positions(graph, list(arrays))
    return {name: as_array(as_input(given, types[name], name), name) for name, given in arrays.items()}
