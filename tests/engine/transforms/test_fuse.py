"""fuse: loops made one have the same bits, stack nothing for each other and carry nothing for nobody."""

import random
import sys
from typing import Any

import numpy as np
import pytest

from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import REALS
from backsweep_engine.text import text
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.fuse import fuse
from backsweep_engine.transforms.simplify import simplify
from support.draw import directions, draw
from support.graphs import F64, I64, build, scan
from support.run import run


def _pendulum(start: Any, k: Any) -> Any:
    """Explicit Euler steps of a pendulum, each with its own drive, and its track."""
    drive = np.sin(np.arange(12.0) * k)
    angle, speed, _, track = scan(
        lambda a, v, i, d, k: (a + 0.1 * v, v - 0.1 * k * np.sin(a) + d, i + 1, a * v),
        [start[0], start[1], np.sum(start) * 0],
        [drive],
        [k],
    )
    return angle**2 + speed * np.sum(track[2:7])


def _counted(x: Any, n: Any) -> Any:
    (last, track) = scan(lambda y, c: (np.sin(y) * c, y), [x], stays=[x * 2], length=9, trips=n)
    return last * np.sum(track)


def _nested(x: Any) -> Any:
    def row(y: Any, r: Any) -> Any:
        (inner,) = scan(lambda z, r: np.cos(z) * r, [y], stays=[r], length=3)
        return inner, inner * r

    last, track = scan(row, [x], [x * np.arange(1.0, 5.0) / 3])
    return last + np.sum(track)


GRAPHS = {
    "pendulum": build(_pendulum, start=F64[2], k=F64[()]),
    "counted": build(_counted, x=F64[()], n=I64[()]),
    "nested": build(_nested, x=F64[()]),
}
VERBS = {"jvp": derive.value_and_jvp, "gradient": derive.value_and_gradient, "hvp": derive.hvp, "value": lambda graph, wrt: simplify(graph)}


def loops(graph: Graph) -> int:
    return sum(node.op == "scan" for node in graph.nodes)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("name", GRAPHS)
def test_a_fused_graph_has_the_bits_of_the_graph(name: str, verb: str) -> None:
    graph = GRAPHS[name]
    derived = VERBS[verb](graph, [0])
    x = draw(graph.input_types, (REALS,), 2) if name != "counted" else [np.array(0.7), np.array(5)]
    seeds = directions(derived.input_types[graph.arity :], 2)
    for a, b in zip(run(derived, *x, *seeds), run(fuse(derived), *x, *seeds), strict=True):
        assert a.tobytes() == b.tobytes()


def test_a_loop_and_its_tangent_are_one_loop_that_stacks_nothing() -> None:
    f = build(lambda x: scan(lambda y, x: np.sin(y) * x, [x], stays=[x], length=100)[0], x=F64[()])
    both = derive.value_and_jvp(f, [0])
    assert loops(both) == 2 and loops(fuse(both)) == 1
    (node,) = [node for node in fuse(both).nodes if node.op == "scan"]
    assert [type.shape for type in node.types] == [(), ()]  # what is carried, and its tangent
    body = dict(node.attributes)["body"]
    assert [inner.op for inner in body.nodes].count("sin") == 1  # computed for both


def test_loops_of_forward_and_reverse_are_fused_among_themselves() -> None:
    graph = GRAPHS["pendulum"]
    assert loops(derive.hvp(graph, [0])) > loops(fuse(derive.hvp(graph, [0]))) == 2


def test_what_nobody_reads_is_neither_carried_nor_stacked() -> None:
    def f(x: Any) -> Any:
        y, _, _, kept, _ = scan(lambda y, z, i: (np.sin(y), z * y, i + 1, y * 2, z), [x, x * 2, x * 0], length=6)
        return y, kept

    (node,) = [node for node in fuse(build(f, x=F64[()])).nodes if node.op == "scan"]
    assert [type.shape for type in node.types] == [(), (6,)]
    assert len(node.operands) == 1


def test_loops_that_look_at_the_results_of_one_another_stay_apart() -> None:
    def f(x: Any) -> Any:
        last, track = scan(lambda y: (np.sin(y), y), [x], length=5)
        (after,) = scan(lambda y, s: y * s, [last], [track])  # begins where the first one ended
        (turned,) = scan(lambda y, s: y + s, [x], [track], reverse=True)
        (longer,) = scan(lambda y, s: y - s, [x], [np.concatenate([track, track])])
        return after, turned, longer

    graph = build(f, x=F64[()])
    assert loops(fuse(graph)) == loops(graph) == 4
    for a, b in zip(run(graph, np.array(0.3)), run(fuse(graph), np.array(0.3)), strict=True):
        assert a == b


def test_a_graph_without_loops_is_left_as_it_is() -> None:
    graph = build(lambda x: np.sin(x) + x, x=F64[3])
    assert fuse(graph) is graph
    looped = fuse(GRAPHS["pendulum"])
    assert text(fuse(looped)) == text(looped)


def _drawn(seed: int) -> Graph:
    """Loops that are given slices, ends and sums of one another, as it comes."""
    chance = random.Random(seed)

    def f(x: Any) -> Any:
        ends, stacks = [x], []
        for _ in range(chance.randint(3, 9)):
            slices = chance.choices(stacks, k=chance.choice((0, 1, 1, 2))) if stacks else []
            if slices and chance.random() < 0.2:
                slices[0] = np.sin(slices[0])
            start = np.sum(chance.choice(stacks)) / 5 if stacks and chance.random() < 0.15 else chance.choice((x, x / 2, *ends))
            stays = [chance.choice(ends)] if chance.random() < 0.3 else []
            end, *more = scan(
                lambda y, *given: (np.sin(y + sum(given)), np.cos(y), y * 0.5 - sum(given)), [start], slices, stays, length=5, reverse=chance.random() < 0.25
            )
            ends.append(end)
            stacks += more
        return sum(ends) + sum(np.sum(stack) for stack in stacks[::2])

    return build(f, x=F64[()])


@pytest.mark.parametrize("seed", range(12))
def test_loops_that_lean_on_one_another_in_any_way_keep_their_bits(seed: int) -> None:
    graph = _drawn(seed)
    both = derive.value_and_jvp(graph, [0])
    assert loops(fuse(both)) < loops(both)
    for f, given in ((graph, []), (both, [np.array(1.5)])):
        for a, b in zip(run(f, np.array(0.3), *given), run(fuse(f), np.array(0.3), *given), strict=True):
            assert a.tobytes() == b.tobytes()


def test_a_row_of_loops_each_given_what_the_last_one_stacked_is_one_loop() -> None:
    def f(x: Any) -> Any:
        track = scan(lambda y: (np.sin(y), y), [x], length=6)[1]
        for _ in range(9):
            track = scan(lambda y, s: (np.sin(y) * s, y + s), [x], [track])[1]
        return track

    graph = build(f, x=F64[()])
    assert (loops(graph), loops(fuse(graph))) == (10, 1)
    assert run(graph, np.array(0.7))[0].tobytes() == run(fuse(graph), np.array(0.7))[0].tobytes()


def _calls(pairs: int) -> int:
    """Calls of functions it takes to fuse so many loops with their tangents."""
    f = build(lambda x: sum(scan(lambda y, x: np.sin(y) * x, [x * (k + 1.0)], stays=[x], length=10)[0] for k in range(pairs)), x=F64[()])
    both, seen = derive.value_and_jvp(f, [0]), 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal seen
        seen += event == "call"

    sys.setprofile(count)
    try:
        fused = fuse(both)
    finally:
        sys.setprofile(None)
    assert (loops(both), loops(fused)) == (2 * pairs, pairs)
    return seen


def test_four_times_the_loops_take_four_times_the_calls() -> None:
    assert _calls(40) < 4.5 * _calls(10)
