"""simplify: each rewrite as text, before and after, and the same values by both."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.ops.build import call, constant
from backsweep_engine.ops.op import REALS
from backsweep_engine.text import text
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.simplify import RULES, simplify
from support.cases import Case, every
from support.draw import directions, draw
from support.graphs import BOOL, F64, SCALAR, build, cond, named
from support.run import run

REWRITES: dict[str, Callable[..., Any]] = {
    "x + 0": lambda x: x + 0,
    "0 + x": lambda x: 0 + x,
    "x + -y": lambda x: np.sin(x) + -np.cos(x),
    "x - 0": lambda x: x - 0,
    "0 - x": lambda x: 0 - x,
    "x * 1": lambda x: x * 1,
    "1 * x": lambda x: 1 * x,
    "x * -1": lambda x: x * -1,
    "x / 1": lambda x: x / 1,
    "--x": lambda x: np.negative(-x),
    "scale by 1": lambda x: call("scale", constant(x.builder, 1.0, x.shape), x),
    "scale of 0": lambda x: call("scale", np.exp(x), constant(x.builder, 0.0, x.shape)),
    "scale by a finite constant": lambda x: call("scale", constant(x.builder, 3.0, x.shape), x),
    "scale of a seed": lambda x: call("scale", np.exp(x), constant(x.builder, 2.0, x.shape)),
    "reshape twice": lambda x: x.reshape(6).reshape(3, 2),
    "reshape there and back": lambda x: x.reshape(6).reshape(2, 3),
    "broadcast twice": lambda x: np.broadcast_to(np.broadcast_to(x, (1, 2, 3)), (4, 2, 3)),
    "reshape to itself": lambda x: call("reshape", x, shape=(2, 3)),
    "broadcast to itself": lambda x: call("broadcast", x, shape=(2, 3)),
    "cast to itself": lambda x: call("cast", x, dtype=x.dtype),
    "transpose twice": lambda x: x.T.T,
    "transposes compose": lambda x: np.transpose(np.transpose(x.reshape(1, 2, 3), (1, 2, 0)), (1, 2, 0)),
    "transpose by nothing": lambda x: call("transpose", x, axes=(0, 1)),
    "where of one": lambda x: np.where(x > 0, x, x),
    "a name": lambda x: call("name", np.sin(x), label="z") * 2,
    "log1p(exp x)": lambda x: np.log1p(np.exp(x)),
    "log(1 + exp x)": lambda x: np.log(1 + np.exp(x)),
    "log(exp x + 1)": lambda x: np.log(np.exp(x) + 1),
    "log(sigmoid x)": lambda x: np.log(call("sigmoid", x)),
    "folded numbers": lambda x: x * (constant(x.builder, 2.0) * 3 + 1),
    "folded arrays": lambda x: x * np.sqrt(constant(x.builder, np.arange(3.0))),
    "folded at any size": lambda x: np.broadcast_to(np.exp(constant(x.builder, 0.0)), (1000, 2, 3)) * x,
}

KEPT: dict[str, Callable[..., Any]] = {
    "x * 0": lambda x: x * 0,
    "0 / x": lambda x: 0 / x,
    "x - x": lambda x: x - x,
    "x / x": lambda x: x / x,
    "scale by a possibly infinite partial": lambda x: call("scale", 1 / x, x),
    "scale by an infinite constant": lambda x: call("scale", constant(x.builder, np.inf, x.shape), x),
    "casts that round": lambda x: x.astype(np.float32).astype(np.float64),
    "log(2 + exp x)": lambda x: np.log(2 + np.exp(x)),
    "a constant too large to fold": lambda x: np.sum(constant(x.builder, np.arange(100.0).reshape(100, 1)) * constant(x.builder, np.arange(100.0))) * x,
}


def test_the_rewrites_are_the_golden_ones(golden: Callable[[str, str], str]) -> None:
    pages = []
    for name, f in REWRITES.items():
        graph = build(f, x=F64[2, 3])
        pages.append(f"# {name}\n{text(graph)}\n# becomes\n{text(simplify(graph))}\n")
    now = "\n".join(pages)
    assert now == golden("simplify.txt", now)


@pytest.mark.parametrize("name", REWRITES)
def test_a_rewrite_shrinks_the_graph_and_keeps_its_values(name: str) -> None:
    graph = build(REWRITES[name], x=F64[2, 3])
    simple = simplify(graph)
    assert simple.size < graph.size or name in ("scale by a finite constant", "scale of a seed", "log(sigmoid x)")
    assert text(simple) != text(graph)
    for x in (draw([F64[2, 3]], (REALS,), 0)[0], np.array([[0.0, 1, -1], [30, -30, 1e-300]])):
        for a, b in zip(run(graph, x), run(simple, x), strict=True):
            # "Never beyond rounding"; softplus rounds otherwise than log(1 + exp x), which loses the digits of a small exp x: 1e-16 absolute.
            np.testing.assert_allclose(b, a, rtol=4e-16, atol=4e-16)


@pytest.mark.parametrize("name", ["x + 0", "x * 1", "x / 1", "--x", "scale by 1", "where of one", "a name", "transpose twice", "x + -y"])
def test_identities_hold_for_infinities_and_nan(name: str) -> None:
    graph = build(REWRITES[name], x=F64[2, 3])
    x = np.array([[np.inf, -np.inf, np.nan], [1e308, 5e-324, -1.0]])
    np.testing.assert_array_equal(run(graph, x)[0], run(simplify(graph), x)[0])


@pytest.mark.parametrize("name", KEPT)
def test_what_is_no_identity_is_left_alone(name: str) -> None:
    graph = build(KEPT[name], x=F64[2, 3])
    assert text(simplify(graph)) == text(graph)


@pytest.mark.parametrize("name", ["log1p(exp x)", "log(1 + exp x)", "log(sigmoid x)"])
def test_a_stabilising_rewrite_puts_the_right_number_where_the_plain_form_overflowed(name: str) -> None:
    graph = build(REWRITES[name], x=F64[2, 3])
    x = np.array([[800.0, -800, 0], [1e300, -1e300, 40]])
    (got,) = run(simplify(graph), x)
    wanted = np.minimum(x, 0) - np.log1p(np.exp(-abs(x))) if name == "log(sigmoid x)" else np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))
    np.testing.assert_allclose(got, wanted, rtol=1e-15)


@pytest.mark.parametrize("case", [c for c in every() if c.types and c.op.apply is not None and len(c.results) == 1], ids=str)
def test_an_op_on_constants_is_folded_to_what_it_computes(case: Case) -> None:
    operands = case.draw()
    graph = build(lambda x: (call(case.op.name, *[constant(x.builder, a) for a in operands], **case.attributes), x), x=F64[()])
    simple = simplify(graph)
    assert {n.op for n in simple.nodes} <= {"input", "constant"}
    np.testing.assert_array_equal(run(simple, 0.0)[0], run(graph, 0.0)[0])


@pytest.mark.parametrize("name", SCALAR)
def test_simplifying_a_derivative_again_changes_nothing(name: str) -> None:
    for graph in (derive.gradient(named(name), [0]), derive.hvp(named(name), [0])):
        assert text(simplify(graph)) == text(graph)


@pytest.mark.parametrize("name", SCALAR)
def test_values_of_whole_graphs_stay(name: str) -> None:
    graph = batch(derive.hvp(named(name), [0]), [True] * (named(name).arity + 1), 2)
    x, v = draw(graph.input_types[:-1], (REALS,), 0), directions(graph.input_types[-1:], 0)
    for a, b in zip(run(graph, *x, *v), run(simplify(graph), *x, *v), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13)  # a few dozen roundings near 1


def test_graphs_held_are_simplified_too_and_inputs_outputs_and_names_stay() -> None:
    graph = build(lambda c, x, unused: (cond(c, lambda v: v * 1, lambda v: v + 0, x), x), c=BOOL[()], x=F64[2], unused=F64[3])
    simple = simplify(graph)
    assert [g.size for g in simple.subgraphs] == [0, 0]
    assert (simple.input_names, simple.output_names, simple.output_types) == (graph.input_names, graph.output_names, graph.output_types)


def test_every_rule_is_shown() -> None:
    shown = {n.op for f in REWRITES.values() for n in build(f, x=F64[2, 3]).nodes}
    assert set(RULES) <= shown
