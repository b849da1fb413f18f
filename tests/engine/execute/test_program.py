"""A Program: the graph's values, from buffers that are reused and never handed out."""

import gc
import threading
import weakref
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import Cancelled, Fault
from backsweep_engine.execute.program import FLOPS_BETWEEN_STOPS, Program, program_of
from backsweep_engine.graph import Graph, Node, Ref
from backsweep_engine.ops.op import REALS
from backsweep_engine.transforms import derive
from support.draw import draw
from support.graphs import BOOL, F64, SCALAR, build, cond, named
from support.run import run

ODD = {
    "an input": lambda x: x,
    "an input twice": lambda x: (x, x),
    "a value twice": lambda x: (np.sin(x), np.sin(x)),
    "a constant": lambda x: np.ones(4),
    "a broadcast constant": lambda x: x.sum() * 0 + np.broadcast_to(np.float64(2), (2, 2)),
    "a view of an input": lambda x: x.reshape(2, 2).T,
    "a view of a value": lambda x: np.sin(x)[::-1],
    "a view and its value": lambda x: (np.sin(x), np.sin(x).reshape(2, 2), np.sin(x)[1:3]),
    "a broadcast value": lambda x: np.broadcast_to(np.sum(x), (3, 3)),
    "a reshape of a transpose": lambda x: np.exp(x.reshape(2, 2)).T.reshape(4),
    "a value read after it is put out": lambda x: (np.sin(x), np.exp(np.sin(x)) * np.sin(x)),
    "the results of a cond": lambda x: cond(x[0] > 0, lambda v: (v, v), lambda v: (v[::-1], v), x),
    "a result of a cond twice": lambda x: (lambda y: (y, y, y[1:]))(cond(x[0] > 0, np.sin, np.cos, x)),
    "a view, and work after it": lambda x: (np.sin(x)[::-1], np.exp(np.cos(np.tan(x) * 2)) * 3 - 1),
    "nothing": lambda x: (),
}


@pytest.mark.parametrize("name", ODD)
def test_outputs_are_owned_distinct_and_survive_the_next_call(name: str) -> None:
    graph = build(ODD[name], x=F64[4])
    program = Program(graph)
    x = np.array([1.0, 2, 3, 4])
    first = program.run([x])
    kept = [a.copy() for a in first]
    if "cond" not in name:
        wanted = ODD[name](x)
        for a, b in zip(kept, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-15)  # NumPy's own kernels; views may pick other loops
    for i, a in enumerate(first):
        assert a.flags.c_contiguous and a.flags.writeable and not np.shares_memory(a, x)
        assert not any(np.shares_memory(a, b) for b in first[:i])
        a.fill(7)  # what a caller does with its results is no business of the program's
    second = program.run([x])
    for a, b in zip(second, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    third = program.run([-x])
    for a, b, c in zip(second, kept, third, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.shares_memory(a, c)


@pytest.mark.parametrize("name", SCALAR)
def test_a_second_run_in_used_buffers_has_the_same_bits(name: str) -> None:
    graph = derive.hvp(named(name), [0])
    program = Program(graph)
    x, other = (draw(graph.input_types, (REALS,), seed) for seed in (0, 1))
    first = [a.tobytes() for a in program.run(x)]
    program.run(other)
    assert [a.tobytes() for a in program.run(x)] == first
    assert [a.tobytes() for a in Program(graph).run(x)] == first


def test_buffers_are_shared_by_values_that_do_not_live_together() -> None:
    def chain(x: Any) -> Any:
        for _ in range(50):
            x = np.sin(x) + 1
        return np.sum(x)

    assert Program(build(chain, x=F64[1000])).layout.arena_bytes < 2.1 * 8000, "a sum over its operand, and one place more"


def test_no_operand_is_overwritten_while_it_is_read() -> None:
    """Many values alive at once, each read again at the end."""

    def f(x: Any) -> Any:
        layers = [x]
        for k in range(12):
            layers.append(np.sin(layers[-1] * (k + 1)) + layers[k // 2])
        return [layers[k] * layers[-1 - k] for k in range(13)]

    x = np.linspace(-1, 1, 100)
    graph = build(f, x=F64[100])
    for a, b in zip(run(graph, x), f(x), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-15)  # NumPy's sine on aligned and unaligned arrays


def test_two_threads_at_once_do_not_see_each_other() -> None:
    graph = derive.gradient(named("chain"), [0])
    wide = build(lambda x: np.sin(np.cos(x) * x) @ np.exp(x), x=F64[20_000])
    for program, length in ((Program(graph), 6), (Program(wide), 20_000)):
        inputs = [np.linspace(-k, k, length) for k in range(1, 5)]
        wanted = [program.run([x])[0].tobytes() for x in inputs]
        wrong: list[int] = []

        def work(k: int, program: Program = program, inputs: Any = inputs, wanted: Any = wanted, wrong: list[int] = wrong) -> None:
            wrong.extend(k for _ in range(30) if program.run([inputs[k]])[0].tobytes() != wanted[k])

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not wrong


def test_stop_is_asked_before_heavy_work_and_raises_cancelled() -> None:
    n = 200  # one product is 1.6e7 flops, more than may pass between two questions
    assert 2 * n**3 > FLOPS_BETWEEN_STOPS
    graph = build(lambda a: a @ a @ a @ a, a=F64[n, n])
    asked = []

    def stop() -> bool:
        asked.append(len(asked))
        return len(asked) == 3

    program = Program(graph)
    a = np.eye(n)
    with pytest.raises(Cancelled):
        program.run([a], stop)
    assert len(asked) == 3
    assert program.run([a], lambda: False)[0].tolist() == a.tolist(), "its workspace is whole again"


def test_light_work_adds_up_to_a_question() -> None:
    def chain(x: Any) -> Any:
        for _ in range(40):
            x = np.cumsum(x)
        return x

    asked: list[int] = []
    Program(build(chain, x=F64[3_000_000])).run([np.zeros(3_000_000)], lambda: bool(asked.append(1)))
    each = 3_000_000  # flops of one sum, by its record
    assert len(asked) == 1 + 40 // (FLOPS_BETWEEN_STOPS // each + 1), "one as the program is bound to its memory"


def test_stop_is_asked_inside_branches() -> None:
    graph = build(lambda c, a: cond(c, lambda v: v @ v, lambda v: v, a), c=BOOL[()], a=F64[200, 200])
    asked: list[int] = []
    run_ = Program(graph).run
    run_([np.array(True), np.eye(200)], lambda: bool(asked.append(1)))
    inside = len(asked)
    run_([np.array(False), np.eye(200)], lambda: bool(asked.append(1)))
    assert (inside, len(asked) - inside) == (2, 1)


def test_warnings_are_silent_and_infinity_is_an_answer() -> None:
    graph = build(lambda x: (np.log(x), 1 / x, np.exp(1000 * x)), x=F64[3])
    log, inverse, big = run(graph, np.array([0.0, -1, 1]))
    assert log[0] == -np.inf and np.isnan(log[1]) and inverse[0] == np.inf and big[2] == np.inf


def test_a_kernel_that_fails_is_our_fault_and_names_its_node() -> None:
    wrong = Graph(
        (
            Node("input", (), (("name", "x"),), (F64[2],), 0),
            Node("cumsum", (Ref(0),), (("axis", 3),), (F64[2],), 5),
        ),
        1,
        (Ref(1),),
        ("",),
    )
    with pytest.raises(Fault) as caught:
        Program(wrong).run([np.ones(2)])
    assert caught.value.node == 5 and caught.value.op == "cumsum"


def test_a_program_lives_as_long_as_its_graph() -> None:
    graph = named("chosen")
    first = program_of(graph)
    assert program_of(graph) is first
    gone = [weakref.ref(first), *map(weakref.ref, graph.subgraphs)]
    del graph, first
    gc.collect()
    assert all(ref() is None for ref in gone)


def test_inputs_of_rank_zero_and_size_zero() -> None:
    graph = build(lambda s, e: (s * 2, np.sum(e), e + s, np.concatenate([e, np.ones(2)])), s=F64[()], e=F64[0])
    assert [a.tolist() for a in run(graph, 3.0, np.zeros(0))] == [6, 0, [], [1, 1]]
