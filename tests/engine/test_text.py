"""A graph as text: numbered, complete, equal for equal graphs."""

from collections.abc import Callable

import numpy as np

from backsweep_engine.text import summary, text, window
from backsweep_engine.transforms import derive
from support.graphs import BOOL, F64, SCALAR, build, cond, named


def test_every_kind_of_line() -> None:
    graph = build(
        lambda c, x: (cond(c, lambda v: (v.sum(0), v[0] > 0), lambda v: (v[0], v[1] > 0), x)[1], x.astype(np.float32) * np.float32(0.5), np.arange(9.0)),
        c=BOOL[()],
        x=F64[2, 3],
    )
    assert text(graph) == (
        "%0: bool = input name='c'\n"
        "%1: float64[2, 3] = input name='x'\n"
        "%2: (float64[3], bool[3]) = cond %0 %1\n"
        "  otherwise:\n"
        "    %0: float64[2, 3] = input name='x0'\n"
        "    %1: float64[1, 3] = slice %0 start=(0,0) step=(1,1) stop=(1,3)\n"
        "    %2: float64[3] = reshape %1 shape=(3)\n"
        "    %3: float64[1, 3] = slice %0 start=(1,0) step=(1,1) stop=(2,3)\n"
        "    %4: float64[3] = reshape %3 shape=(3)\n"
        "    %5: float64[3] = constant shape=(3) value=0\n"
        "    %6: bool[3] = less %5 %4\n"
        "    return %2 as 0, %6 as 1\n"
        "  then:\n"
        "    %0: float64[2, 3] = input name='x0'\n"
        "    %1: float64[3] = sum %0 axes=(0)\n"
        "    %2: float64[1, 3] = slice %0 start=(0,0) step=(1,1) stop=(1,3)\n"
        "    %3: float64[3] = reshape %2 shape=(3)\n"
        "    %4: float64[3] = constant shape=(3) value=0\n"
        "    %5: bool[3] = less %4 %3\n"
        "    return %1 as 0, %5 as 1\n"
        "%3: float32[2, 3] = cast %1 dtype=float32\n"
        "%4: float32[2, 3] = constant shape=(2,3) value=0.5\n"
        "%5: float32[2, 3] = multiply %3 %4\n"
        "%6: float64[9] = constant shape=(9) value=[0.0, 1.0, 2.0, ... 9 in all]\n"
        "return %2.1 as 0, %5 as 1, %6 as 2"
    ).replace("value=0\n", "value=0.0\n")


def test_the_derivatives_of_the_models_are_the_golden_ones(golden: Callable[[str, str], str]) -> None:
    """A change of any rule or rewrite that changes what is computed shows here, line by line."""
    verbs = {"gradient": derive.gradient, "hvp": derive.hvp}
    pages = [f"# {verb} of {name}\n{text(derived(named(name), [0]))}\n" for name in SCALAR for verb, derived in verbs.items()]
    now = "\n".join(pages)
    assert now == golden("derivatives.txt", now)


def test_equal_graphs_have_equal_text_and_different_ones_do_not() -> None:
    assert text(named("pieces")) == text(named("pieces"))
    assert len({text(named(name)) for name in SCALAR}) == len(SCALAR)


def test_a_window_marks_its_node_and_stays_inside_the_graph() -> None:
    graph = build(lambda x: np.sin(np.cos(np.tan(np.exp(x)))), x=F64[()])
    assert window(graph.nodes, 2, 1) == "  %1: float64 = exp %0\n> %2: float64 = tan %1\n  %3: float64 = cos %2"
    assert window(graph.nodes, 0, 1).splitlines()[0].startswith("> %0")
    assert window(graph.nodes, 4, 1).splitlines()[-1] == "> %4: float64 = sin %3"


def test_a_summary_counts_ops_most_frequent_first() -> None:
    assert summary(build(lambda x: np.sin(x) + np.sin(x + 1), x=F64[()])) == "5 nodes: add 2, sin 2, constant 1"
