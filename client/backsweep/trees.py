"""Trees of arrays: tuples, lists, dicts and namedtuples, nested in any way, with paths to their leaves.

A path reads as Python would: `p.layers[0].b` (entries of dicts and fields of namedtuples by dot).
Dicts are sorted by key, so that equal trees have equal paths. Anything else is a leaf; None is
refused, since it would leave a hole that two sides can read differently.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from backsweep_engine.errors import GraphError

MAX_DEPTH = 64
"""A container deeper than this most likely holds itself."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The structure of a tree without its leaves: hashable, equal for equal structures.

    `kind`: None for a leaf, else tuple, list, dict or a namedtuple class. `keys`: one step of a path
    per child, such as "[0]" or ".b".
    """

    kind: type | None = None
    keys: tuple[str, ...] = ()
    children: tuple[Tree, ...] = ()

    @property
    def is_leaf(self) -> bool:
        return self.kind is None

    @property
    def size(self) -> int:
        """Number of leaves."""
        return 1 if self.is_leaf else sum(child.size for child in self.children)

    def paths(self, root: str = "") -> list[str]:
        """The paths of the leaves, in their order."""
        if self.is_leaf:
            return [root]
        return [path for key, child in zip(self.keys, self.children, strict=True) for path in child.paths(root + key)]

    def unflatten(self, leaves: Iterable[Any]) -> Any:
        """The tree with these leaves; as many as `size`."""
        given = list(leaves)
        if self.kind is None and len(given) == 1:
            return given[0]
        if len(given) != self.size:
            raise ValueError(f"a tree of {self.size} leaves was given {len(given)}")
        return self._filled(iter(given))

    def _filled(self, leaves: Iterator[Any]) -> Any:
        if self.kind is None:
            return next(leaves)
        values = [child._filled(leaves) for child in self.children]
        if self.kind is dict:
            return {key[1:]: value for key, value in zip(self.keys, values, strict=True)}
        # A namedtuple is built from its fields, a list or tuple from a sequence.
        return self.kind(*values) if hasattr(self.kind, "_fields") else self.kind(values)

    def __str__(self) -> str:
        """As Python writes it, with * for a leaf."""
        if self.kind is None:
            return "*"
        if self.kind is tuple or self.kind is list:
            inner = ", ".join(map(str, self.children))
            return f"[{inner}]" if self.kind is list else f"({inner}{',' * (len(self.children) == 1)})"
        named = ", ".join(f"{key[1:]}: {child}" for key, child in zip(self.keys, self.children, strict=True))
        return f"{{{named}}}" if self.kind is dict else f"{self.kind.__name__}({named})"


LEAF = Tree()


def flatten(tree: Any, root: str = "") -> tuple[list[tuple[str, Any]], Tree]:
    """The leaves with their paths, which all begin with `root`, and the structure."""
    leaves: list[tuple[str, Any]] = []
    return leaves, _structure(tree, root, leaves, 0)


def _structure(value: Any, path: str, leaves: list[tuple[str, Any]], depth: int) -> Tree:
    if depth > MAX_DEPTH:
        raise _refused("a tree is nested too deep, or holds itself", path, allowed=f"{MAX_DEPTH} levels")
    if value is None:
        raise _refused("None cannot stand in a tree of arrays", path, got="None", hint="leave the entry out")
    kind: type
    if isinstance(value, dict):
        for key in value:
            if not (isinstance(key, str) and key.isidentifier()):
                raise _refused("a key of a dict cannot stand in a path", path, got=repr(key), allowed="strings that are Python identifiers")
        kind, keys, items = dict, [f".{key}" for key in sorted(value)], [value[key] for key in sorted(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        kind, keys, items = type(value), [f".{field}" for field in value._fields], list(value)
    elif isinstance(value, (tuple, list)):
        kind, keys, items = tuple if isinstance(value, tuple) else list, [f"[{i}]" for i in range(len(value))], list(value)
    else:
        leaves.append((path, value))
        return LEAF
    return Tree(kind, tuple(keys), tuple([_structure(item, path + key, leaves, depth + 1) for key, item in zip(keys, items, strict=True)]))


def _refused(message: str, path: str, **details: str) -> GraphError:
    return GraphError(f"{message}, at {path}" if path else message, name=path, **details)  # type: ignore[arg-type]  # all are texts


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The tree with the function applied to every leaf."""
    leaves, structure = flatten(tree)
    return structure.unflatten([function(leaf) for _, leaf in leaves])


def matched(tree: Any, like: Tree, root: str) -> list[Any]:
    """The leaves of a tree that must have the structure `like`; a list may stand for a tuple and back.

    Where `like` has a leaf, anything is one: a list of numbers may stand for an array.
    """
    if like.is_leaf:
        if tree is None:
            raise _refused("None cannot stand in a tree of arrays", root, got="None")
        return [tree]
    entries: dict[str, Any] = {}
    if isinstance(tree, dict):
        entries = {f".{key}": value for key, value in tree.items()}
    elif isinstance(tree, (tuple, list)):
        keys = getattr(tree, "_fields", None)
        entries = dict(zip([f".{key}" for key in keys] if keys else [f"[{i}]" for i in range(len(tree))], tree, strict=True))
    if entries.keys() != set(like.keys) or not isinstance(tree, (dict, tuple, list)):
        got = f"{type(tree).__name__} of {', '.join(map(repr, entries))}" if entries else type(tree).__name__
        raise GraphError(f"{root} has another structure than it must", reason="SHAPE", name=root, got=got, allowed=str(like))
    return [leaf for key, child in zip(like.keys, like.children, strict=True) for leaf in matched(entries[key], child, root + key)]


_STEP = re.compile(r"(?:^|\.)([^\W\d]\w*)|\[(0|[1-9][0-9]*)\]")


def from_paths(paths: Sequence[str]) -> Tree:
    """The structure that has these paths: "[i]" is an entry of a tuple, ".name" (or a first `name`) one of a dict.

    Its leaves are in the order of its own `paths()`, where a first name is written `.name`.
    """
    if len(set(paths)) != len(paths):
        twice = next(path for i, path in enumerate(paths) if path in paths[:i])
        raise GraphError("a path stands twice", got=repr(twice), name=twice)
    return _gathered([(path, _steps(path)) for path in paths], 0)


def _steps(path: str) -> list[str]:
    steps, at = [], 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None:
            raise GraphError("a name is not a path", got=repr(path), allowed="names and indices, as in p.layers[0].b", name=path)
        steps.append(f".{found[1]}" if found[1] else f"[{int(found[2])}]")
        at = found.end()
    return steps


def _gathered(entries: list[tuple[str, list[str]]], depth: int) -> Tree:
    """The structure below a common prefix of `depth` steps."""
    if depth > MAX_DEPTH:
        raise GraphError("a path is too long", got=f"{depth} steps", allowed=f"{MAX_DEPTH} steps")
    ends = [path for path, steps in entries if len(steps) == depth]
    if ends and len(entries) == 1:
        return LEAF
    groups: dict[str, list[tuple[str, list[str]]]] = {}
    for path, steps in entries:
        if not ends:
            groups.setdefault(steps[depth], []).append((path, steps))
    indexed = sum(key[0] == "[" for key in groups)
    count = len(groups)
    if ends or (indexed and set(groups) != {f"[{i}]" for i in range(count)}):
        got = ", ".join(repr(path) for path, _ in entries[:6])
        raise GraphError("paths do not make a tree", got=got, hint="an entry is a leaf, a tuple without gaps, or a dict")
    keys = [f"[{i}]" for i in range(count)] if indexed else sorted(groups)
    return Tree(tuple if indexed or not groups else dict, tuple(keys), tuple([_gathered(groups[key], depth + 1) for key in keys]))


def tree_of(outputs: int) -> Tree:
    """Outputs as the tuple of them, or the only one by itself."""
    return Tree() if outputs == 1 else from_paths([f"[{i}]" for i in range(outputs)])
