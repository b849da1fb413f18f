"""simplify: each rewrite as text, before and after, and the same values by both."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.ops.build import call, constant, ones
from backsweep_engine.ops.op import REALS
from backsweep_engine.text import text
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.linearize import linearize
from backsweep_engine.transforms.matrices import identity
from backsweep_engine.transforms.simplify import RULES, simplify
from backsweep_engine.transforms.transpose import transpose
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
    "folded to one number": lambda x: x * constant(x.builder, np.arange(3.0)) ** 0,
    # arithmetic
    "-x + y": lambda x: -np.sin(x) + np.cos(x),
    "x - -y": lambda x: np.sin(x) - -np.cos(x),
    "-x - y": lambda x: -np.sin(x) - np.cos(x),
    "x + x": lambda x: np.sin(x) + np.sin(x),
    "2 x - 5 x": lambda x: 2 * x - x * 5,
    "2 (3 x)": lambda x: 2 * (x * 3),
    "4 ((0.5 x) y)": lambda x: 4 * ((0.5 * np.exp(x)) * x),
    "0.5 (y (0.5 x))": lambda x: 0.5 * (x * (0.5 * np.exp(x))),
    "x sin(y) cos(y)": lambda x: (np.exp(x) * np.sin(x)) * np.cos(x) + np.sin(x) * (np.cos(x) * np.exp(x)),
    "(-x) y": lambda x: -np.sin(x) * np.cos(x) + 1,
    "x (-y)": lambda x: np.sin(x) * -np.cos(x) + 1,
    "(2 x) (3 y)": lambda x: (2 * np.sin(x)) * (3 * np.cos(x)),
    "(0.5 x) (-0.5 y)": lambda x: (0.5 * np.sin(x)) * (-0.5 * np.cos(x)),
    "(2 x) broadcast(0.5 y)": lambda x: (2 * np.sin(x)) * np.broadcast_to(0.5 * x[0], (2, 3)),
    "broadcast(0.5 x) (0.5 y)": lambda x: np.broadcast_to(0.5 * x[0], (2, 3)) * (0.5 * np.sin(x)),
    "scale of multiples": lambda x: call("scale", 2 * np.exp(x), np.broadcast_to(-0.25 * x[0], (2, 3))),
    "scale of -t": lambda x: call("scale", np.exp(x), -x),
    "-x / y": lambda x: 1 - -np.sin(x) / np.cos(x),
    "x / -y": lambda x: 1 - np.sin(x) / -np.cos(x),
    "x / 4": lambda x: (x * 3) / 4,
    "-(x - y)": lambda x: -(np.sin(x) - np.cos(x)),
    "-(2 x)": lambda x: -(2 * x),
    "(-x) ** 2": lambda x: (-x) ** 2,
    "|x| ** 2": lambda x: abs(x) ** 2,
    **{f"x ** {k}": lambda x, k=k: call("integer_power", x, exponent=k) for k in (-1, 0, 1, 2, 3, 4)},
    "x ** 0.5": lambda x: x**0.5,
    "x ** 2.0": lambda x: x**2.0,
    "where it is known": lambda x: np.where(constant(x.builder, True, x.shape), x, np.sin(x)),
    "where of not": lambda x: np.where(~(x > 0), x, np.sin(x)),
    "where of where": lambda x: np.where(x > 0, np.where(x > 0, np.sin(x), x), np.where(x > 0, x, np.cos(x))),
    "where of negatives": lambda x: np.where(x > 0, -np.sin(x), -np.cos(x)),
    "where of a negative and 0": lambda x: 1 - np.where(x > 0, -np.sin(x), 0.0),
    # shapes
    "reshape of a broadcast": lambda x: np.broadcast_to(x, (4, 2, 3)).reshape(4, 1, 2, 3),
    "broadcast of a reshape": lambda x: np.broadcast_to(x.reshape(1, 2, 3), (4, 2, 3)),
    "reshape of a transpose": lambda x: x.T.reshape(3, 1, 2).reshape(3, 2).T,
    "transpose of a broadcast": lambda x: np.broadcast_to(x[0], (4, 3)).T,
    "transpose of an axis of length 1": lambda x: np.transpose(x.reshape(2, 1, 3), (1, 0, 2)).reshape(2, 3),
    "elementwise of transposes": lambda x: (np.sin(x.T) * 2 + x.T * np.broadcast_to(x[0], (2, 3)).T).T,
    "elementwise of broadcasts": lambda x: np.exp(np.broadcast_to(x[0], (4, 3))) * 2 + np.broadcast_to(x[1], (4, 3)),
    "a factor goes to the smaller": lambda x: 0.5 * (np.broadcast_to(np.sin(x[0]), (2, 3)) * x),
    "slice of a slice": lambda x: x[:, 1:][:, ::2],
    "slice of everything": lambda x: call("slice", x, start=(0, 0), stop=(2, 3), step=(1, 1)),
    "slice of a number": lambda x: x[:1] * constant(x.builder, 3.0, (2, 3))[:1],
    "slice of a concatenation": lambda x: np.concatenate([np.sin(x), np.cos(x)])[2:],
    "slice within a piece": lambda x: np.concatenate([np.sin(x), np.cos(x)])[3:],
    "slice of what was padded": lambda x: call("slice", _padded(x, 1, 2), start=(1, 0), stop=(3, 3), step=(1, 1)),
    "pad by nothing": lambda x: _padded(x, 0, 0),
    "one piece": lambda x: call("concat", x, axis=0),
    "empty pieces": lambda x: np.concatenate([x[:0], np.sin(x), x[:0]]),
    "pads that do not meet": lambda x: _padded(np.sin(x), 0, 2) + _padded(np.cos(x), 2, 0),
    "three pads that meet": lambda x: (_padded(np.sin(x), 4, 0) + _padded(np.cos(x), 2, 2)) + _padded(np.exp(x), 0, 4),
    "pads that meet in a longer sum": lambda x: (_padded(np.sin(x), 2, 4) + np.sum(x)) + _padded(np.cos(x), 4, 2),
    "pads the other way round": lambda x: _padded(np.sin(x), 2, 0) + _padded(np.cos(x), 0, 2),
    # sums and products
    "sum over an axis of length 1": lambda x: np.sum(x.reshape(2, 1, 3), axis=1),
    "sum of sums": lambda x: np.sum(np.sum(x, axis=0)),
    "sum of -x": lambda x: 1 - np.sum(-x),
    "sum of a transpose": lambda x: np.sum(x.T, axis=0),
    "sum of a transpose that stays one": lambda x: np.sum(np.transpose(np.sin(x).reshape(2, 3, 1) * np.cos(x[0]), (0, 2, 1)), axis=0),
    "sum of products": lambda x: np.sum(np.sin(x).reshape(2, 3, 1) @ np.cos(x).reshape(2, 1, 3), axis=0),
    "sum of some products": lambda x: np.sum(np.sin(x).reshape(2, 1, 3, 1) @ np.cos(x).reshape(2, 1, 1, 3), axis=(0, 3)),
    "sum of a broadcast": lambda x: np.sum(np.broadcast_to(x, (4, 2, 3)), axis=(0, 2)),
    "sum of a number": lambda x: x[0] * np.sum(constant(x.builder, 3.0, (5, 3)), axis=0),
    "sum of a multiple": lambda x: np.sum(2 * np.sin(x), axis=1),
    "max of a broadcast": lambda x: np.max(np.broadcast_to(x[0], (4, 3)), axis=0),
    "(3 A) @ B": lambda x: (3 * np.sin(x)) @ np.cos(x).T,
    "A @ (-B)": lambda x: 1 - np.sin(x) @ -np.cos(x).T,
    "sum of outer products": lambda x: np.outer(x[0], x[1]) + np.outer(x[1], x[0]),
    # diagonals
    "A @ identity": lambda x: x @ _identity(x, 3),
    "identity @ A": lambda x: _identity(x, 2) @ x,
    "diag @ A": lambda x: (_identity(x, 2) * np.sin(x[:, :1])) @ x,
    "A @ diag": lambda x: x @ (np.sin(x[0]) * _identity(x, 3)),
    "identity times a matrix": lambda x: (x.T @ x) * _identity(x, 3) @ x.T,
    "diag times diag": lambda x: ((x[0] * _identity(x, 3)) * (x[1] * _identity(x, 3))) @ x.T,
    "scaled identity": lambda x: x @ call("scale", np.broadcast_to(np.exp(x[0]), (3, 3)), _identity(x, 3)),
    "choice of the identity": lambda x: x @ np.where(np.broadcast_to(x[0] > 0, (3, 3)), _identity(x, 3), 0.0),
    "sum of diagonals": lambda x: x @ (x[0] * _identity(x, 3) + x[1] * _identity(x, 3)),
    "transpose of a diagonal": lambda x: x @ (x[0] * _identity(x, 3)).T,
    "rows of a diagonal": lambda x: np.sum(x[0] * _identity(x, 3), axis=1),
    "all of a diagonal": lambda x: np.sum(x[0] * _identity(x, 3)),
    # stable
    "log(exp x)": lambda x: np.log(np.exp(x)),
}

AS_MANY = {
    *("scale by a finite constant", "scale of a seed", "scale of -t", "log(sigmoid x)", "x + x", "-x - y", "A @ (-B)", "(3 A) @ B"),
    *("x ** -1", "x ** 0", "x ** 2", "x ** 3", "x ** 4", "a factor goes to the smaller", "sum of a broadcast", "sum of a multiple", "identity times a matrix"),
    *("sum of a transpose that stays one", "sum of some products"),
}
"""Rewrites to other nodes, cheaper or fewer in a larger graph, but here no fewer."""


def _identity(x: Any, n: int) -> Any:
    return identity(x.builder, F64[n])


def _padded(x: Any, low: int, high: int) -> Any:
    return call("pad", x, low=(low, 0), high=(high, 0), interior=(0, 0))


KEPT: dict[str, Callable[..., Any]] = {
    "0 * x": lambda x: 0 * x,
    "0 / x": lambda x: 0 / x,
    "x - x": lambda x: x - x,
    "x / x": lambda x: x / x,
    "scale by a possibly infinite partial": lambda x: call("scale", 1 / x, x),
    "scale by an infinite constant": lambda x: call("scale", constant(x.builder, np.inf, x.shape), x),
    "casts that round": lambda x: x.astype(np.float32).astype(np.float64),
    "log(2 + exp x)": lambda x: np.log(2 + np.exp(x)),
    "exp(log x)": lambda x: np.exp(np.log(x)),
    "x / 3": lambda x: x / 3,
    "a sum that a factor keeps from overflowing": lambda x: np.sum(0.1 * np.exp(x), axis=0),
    "a product of one multiple": lambda x: (0.1 * np.exp(x)) * np.sin(x),
    "pads that meet": lambda x: _padded(x, 1, 0) + _padded(x, 0, 1),
    "a matrix that is no diagonal": lambda x: x @ constant(x.builder, np.arange(9.0).reshape(3, 3)),
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
    assert (simple.size < graph.size) != (name in AS_MANY)
    assert text(simple) != text(graph)
    for x in (draw([F64[2, 3]], (REALS,), 0)[0], np.array([[0.0, 1, -1], [30, -30, 1e-300]])):
        for a, b in zip(run(graph, x), run(simple, x), strict=True):
            # "Never beyond rounding": four of them. Softplus rounds otherwise than log(1 + exp x), which loses the digits of a small exp x: 1e-16 absolute.
            np.testing.assert_allclose(b, a, rtol=9e-16, atol=4e-16)


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


def test_every_rule_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    fired = set()

    def watched(rule: Any) -> Any:
        def watching(node: Any, x: Any) -> Any:
            found = rule(node, x)
            if found is not None:
                fired.add(rule.__name__)
            return found

        return watching

    names = {rule.__name__ for rules in RULES.values() for rule, _ in rules}
    for op, rules in list(RULES.items()):
        monkeypatch.setitem(RULES, op, [(watched(rule), of) for rule, of in rules])
    for f in REWRITES.values():
        simplify(build(f, x=F64[2, 3]))
    assert names - fired == set()


def test_nothing_is_left_of_seeds_that_are_too_large_to_be_constants() -> None:
    n = 40
    types = {"v": F64[n], "A": F64[n, n]}
    kept = simplify(build(lambda v, A: (A @ _identity(v, n), (np.cos(v) * _identity(v, n)) @ A, np.sum(_identity(v, n) * A, axis=1)), **types))
    assert "pad" not in {node.op for node in kept.nodes} and "matmul" not in {node.op for node in kept.nodes}
    random = np.random.default_rng(0)
    v, A = random.normal(size=n), random.normal(size=(n, n))
    for got, wanted in zip(run(kept, v, A), (A, np.cos(v)[:, None] * A, np.diag(A)), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_a_diagonal_puts_the_right_zero_where_a_dense_product_makes_nan() -> None:
    graph = build(lambda x: x @ _identity(x, 3), x=F64[2, 3])
    x = np.array([[np.inf, 1.0, 2.0], [np.nan, 3.0, -np.inf]])
    np.testing.assert_array_equal(run(simplify(graph), x)[0], x)


STEPS: list[Callable[..., Any]] = [
    lambda a, b, u: a + b,
    lambda a, b, u: a - b,
    lambda a, b, u: -a,
    lambda a, b, u: a * b,
    lambda a, b, u: 2 * a,
    lambda a, b, u: a * -0.5,
    lambda a, b, u: a / (2 + b * b),
    lambda a, b, u: a / 4,
    lambda a, b, u: np.tanh(a),
    lambda a, b, u: np.sin(a + u),
    lambda a, b, u: a * u[:, None][:3],
    lambda a, b, u: np.where(a > b, a, -b),
    lambda a, b, u: (a @ b.T) / 3 @ a,
    lambda a, b, u: (a.T * 2).T,
    lambda a, b, u: np.sin(a.T).T + b,
    lambda a, b, u: np.broadcast_to(np.sum(a, axis=0), (3, 4)) / 3,
    lambda a, b, u: a - np.broadcast_to(np.max(b, axis=1)[:, None], (3, 4)),
    lambda a, b, u: np.outer(np.sum(a, axis=1), u) + np.outer(np.sum(b, axis=1), u),
    lambda a, b, u: np.concatenate([a[:1], b[1:]]),
    lambda a, b, u: np.concatenate([a, b])[2:5],
    lambda a, b, u: a.reshape(2, 6).reshape(4, 3).T,
    lambda a, b, u: a[:, ::-1] ** 3 / 8,
    lambda a, b, u: np.log1p(np.exp(a)),
]


def _drawn(seed: int) -> Any:
    """A function of twelve random steps on 3 x 4 matrices, kept near 1."""
    random = np.random.default_rng(seed)
    steps = [(STEPS[k], int(random.integers(100)), int(random.integers(100))) for k in random.integers(len(STEPS), size=12)]

    def f(x: Any, y: Any, u: Any) -> Any:
        pool = [x, y]
        for step, i, j in steps:
            pool.append(np.tanh(step(pool[-1 - i % 3 % len(pool)], pool[-1 - j % 4 % len(pool)], u)) * 2)
        return np.sum(pool[-1] * pool[-2])

    return build(f, x=F64[3, 4], y=F64[3, 4], u=F64[4])


@pytest.mark.parametrize("seed", range(60))
def test_values_and_gradients_of_random_graphs_stay(seed: int) -> None:
    graph = _drawn(seed)
    x = [a / 4 for a in draw(graph.input_types, (REALS,), seed)]
    # The plain transpose, of which nothing was simplified, against the derivative as it is given out.
    joint = linearize(graph, [0, 1, 2])
    plain = transpose(joint, [3, 4, 5], [1], ones)
    with np.errstate(all="ignore"):
        for a, b in zip(run(plain, *x), run(derive.value_and_gradient(graph, [0, 1, 2]), *x), strict=True):
            np.testing.assert_allclose(
                b, a, rtol=1e-11, atol=1e-11 * max(1.0, float(np.abs(a).max()))
            )  # some hundred roundings, and what a dozen steps make of them
