"""Trees: what they are made of, how their leaves are called, and what is refused."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import pytest

from backsweep.trees import LEAF, Tree, flatten, from_paths, mapped, matched
from backsweep_engine.errors import GraphError


class Layer(NamedTuple):
    W: Any
    b: Any


MODEL = {"layers": [Layer(1, 2), Layer(3, 4)], "bias": (5,)}

TREES: dict[str, tuple[Any, list[str]]] = {
    "a leaf": (7, ["p"]),
    "a tuple": ((1, 2), ["p[0]", "p[1]"]),
    "a list": ([1, [2]], ["p[0]", "p[1][0]"]),
    "a dict, sorted by key": ({"b": 1, "a": 2}, ["p.a", "p.b"]),
    "a namedtuple, in field order": (Layer(1, 2), ["p.W", "p.b"]),
    "a model": (MODEL, ["p.bias[0]", "p.layers[0].W", "p.layers[0].b", "p.layers[1].W", "p.layers[1].b"]),
    "an empty dict": ({}, []),
    "a string": ("text", ["p"]),
}


@pytest.mark.parametrize("name", TREES)
def test_paths_read_as_python_and_leaves_make_the_tree_again(name: str) -> None:
    tree, paths = TREES[name]
    leaves, structure = flatten(tree, "p")
    assert [path for path, _ in leaves] == paths == structure.paths("p")
    rebuilt = structure.unflatten([leaf for _, leaf in leaves])
    assert rebuilt == tree
    assert type(rebuilt) is type(tree)
    assert structure.size == len(paths)


@pytest.mark.parametrize("name", TREES)
def test_a_structure_is_hashable_and_pickles(name: str) -> None:
    structure = flatten(TREES[name][0])[1]
    assert pickle.loads(pickle.dumps(structure)) == structure
    assert hash(structure) == hash(flatten(TREES[name][0])[1])


def test_the_root_of_a_bare_tree_is_empty() -> None:
    assert [path for path, _ in flatten(({"a": 1}, 2))[0]] == ["[0].a", "[1]"]
    assert [path for path, _ in flatten(3)[0]] == [""]


def test_namedtuples_come_back_as_themselves() -> None:
    doubled = mapped(lambda x: 2 * x, MODEL)
    assert doubled == {"layers": [Layer(2, 4), Layer(6, 8)], "bias": (10,)}
    assert isinstance(doubled["layers"][0], Layer)


def _loop() -> list[Any]:
    loop: list[Any] = []
    loop.append(loop)
    return loop


REFUSED: dict[str, tuple[Any, str]] = {
    "None": (None, "None"),
    "None within": ({"a": [None]}, "p.a[0]"),
    "a key that is no identifier": ({"a b": 1}, "'a b'"),
    "a key that is no string": ({1: 1}, "got: 1"),
    "a list in itself": (_loop(), "holds itself"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_path_can_name_is_refused(name: str) -> None:
    tree, said = REFUSED[name]
    with pytest.raises(GraphError) as caught:
        flatten(tree, "p")
    assert said in str(caught.value)


def test_as_many_leaves_as_there_are_places() -> None:
    with pytest.raises(ValueError, match="2 leaves was given 1"):
        flatten((1, 2))[1].unflatten([1])


FROM_PATHS: dict[str, tuple[list[str], Any]] = {
    "one result": ([""], 0),
    "a tuple": (["[0]", "[1]"], (0, 1)),
    "names become a dict": (["w", "b"], {"w": 0, "b": 1}),
    "dots too": ([".w", ".b"], {"w": 0, "b": 1}),
    "nested": (["p.layers[0].b", "p.layers[1].b", "x"], {"p": {"layers": ({"b": 0}, {"b": 1})}, "x": 2}),
    "order does not matter": (["[1]", "[0]"], (1, 0)),
    "more than ten entries": ([f"[{i}]" for i in range(12)], tuple(range(12))),
    "nothing": ([], ()),
}


@pytest.mark.parametrize("name", FROM_PATHS)
def test_a_structure_follows_from_its_paths(name: str) -> None:
    paths, expected = FROM_PATHS[name]
    structure = from_paths(paths)
    number = {"".join(f".{p}" if p[:1].isidentifier() else p for p in [path]): i for i, path in enumerate(paths)}
    assert structure.unflatten([number[path] for path in structure.paths()]) == expected


NO_TREE: dict[str, tuple[list[str], str]] = {
    "twice the same": (["a", "a"], "twice"),
    "a leaf and a container": (["a", "a.b"], "do not make a tree"),
    "a root and a name": (["", "w"], "do not make a tree"),
    "a gap": (["[0]", "[2]"], "do not make a tree"),
    "an index and a name": (["[0]", ".a"], "do not make a tree"),
    "no path": (["a..b"], "not a path"),
    "a number": (["bound.0"], "not a path"),
    "an index with a leading zero": (["[00]"], "not a path"),
    "an endless path": ([".a" * 100], "too long"),
}


@pytest.mark.parametrize("name", NO_TREE)
def test_paths_that_make_no_tree_are_refused(name: str) -> None:
    paths, said = NO_TREE[name]
    with pytest.raises(GraphError, match=said):
        from_paths(paths)


def test_a_tree_is_matched_by_structure_and_lists_stand_for_tuples() -> None:
    like = flatten(MODEL)[1]
    assert matched({"bias": [5], "layers": (Layer(1, 2), {"W": 3, "b": 4})}, like, "p") == [5, 1, 2, 3, 4]
    assert matched([1, 2], LEAF, "x") == [[1, 2]]
    assert matched((), Tree(tuple), "x") == []


MISMATCHES: dict[str, tuple[Any, str]] = {
    "a missing key": ({"layers": MODEL["layers"]}, "p has another structure"),
    "a surplus key": ({**MODEL, "more": 1}, "'.more'"),
    "a shorter list": ({**MODEL, "layers": [Layer(1, 2)]}, "p.layers has another structure"),
    "a leaf for a container": ({**MODEL, "bias": 5}, "got: int"),
    "None": ({**MODEL, "bias": (None,)}, "p.bias[0]"),
}


@pytest.mark.parametrize("name", MISMATCHES)
def test_a_tree_of_another_structure_is_refused_with_the_place(name: str) -> None:
    tree, said = MISMATCHES[name]
    with pytest.raises(GraphError) as caught:
        matched(tree, flatten(MODEL)[1], "p")
    assert said in str(caught.value)


def test_structures_print_as_python_writes_them() -> None:
    assert str(flatten(MODEL)[1]) == "{bias: (*,), layers: [Layer(W: *, b: *), Layer(W: *, b: *)]}"
