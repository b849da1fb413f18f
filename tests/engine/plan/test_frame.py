"""Gradients of stencils: paddings of one value as views of one, against NumPy on whole arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from backsweep_engine.execute.program import Program
from backsweep_engine.graph import Graph
from backsweep_engine.ops.op import verify
from backsweep_engine.plan.frame import frame
from backsweep_engine.plan.plan import Tier
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.expand import expand
from backsweep_engine.transforms.simplify import simplify
from support.graphs import F64, build

RANDOM = np.random.default_rng(0)


def _laplacian(u: Any) -> Any:
    return u[1:-1, 1:-1] * 4 - u[2:, 1:-1] - u[:-2, 1:-1] - u[1:-1, 2:] - u[1:-1, :-2]


def _laplacian_transposed(r: Any) -> Any:
    c = np.zeros((r.shape[0] + 2, r.shape[1] + 2))
    c[1:-1, 1:-1] += 4 * r
    for rows, columns in ((slice(2, None), slice(1, -1)), (slice(0, -2), slice(1, -1)), (slice(1, -1), slice(2, None)), (slice(1, -1), slice(0, -2))):
        c[rows, columns] -= r
    return c


def _forward(u: Any) -> Any:
    return (u[1:, 1:, 1:] - u[:-1, 1:, 1:]) * (u[1:, 1:, 1:] - u[1:, :-1, 1:]) * (u[1:, 1:, 1:] - u[1:, 1:, :-1])


def _forward_gradient(u: Any) -> Any:
    a, b, c = u[1:, 1:, 1:] - u[:-1, 1:, 1:], u[1:, 1:, 1:] - u[1:, :-1, 1:], u[1:, 1:, 1:] - u[1:, 1:, :-1]
    g = np.zeros_like(u)
    g[1:, 1:, 1:] += b * c + a * c + a * b
    g[:-1, 1:, 1:] -= b * c
    g[1:, :-1, 1:] -= a * c
    g[1:, 1:, :-1] -= a * b
    return g


STENCILS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], tuple[int, ...], int]] = {
    "five points": (lambda u: np.sum(_laplacian(u) ** 2) / 2, lambda u: _laplacian_transposed(_laplacian(u)), (130, 140), 4),
    "a small grid": (lambda u: np.sum(_laplacian(u) ** 2) / 2, lambda u: _laplacian_transposed(_laplacian(u)), (9, 11), 4),
    "differences in space": (lambda u: np.sum(_forward(u)), _forward_gradient, (30, 28, 32), 0),
    "far apart": (lambda u: np.sum(u[:4] * u[-4:]), lambda u: np.concatenate([u[-4:], np.zeros((32, 50)), u[:4]]), (40, 50), 0),
}
"""A function of a grid, its gradient by NumPy, the shape, and how many paddings become views."""


def _gradient(f: Callable[[Any], Any], shape: tuple[int, ...]) -> Graph:
    return expand(simplify(derive.gradient(build(f, u=F64[shape]), [0])))


def _views(graph: Graph) -> int:
    return sum(node.op == "slice" and graph.nodes[node.operands[0].node].op == "pad" for node in graph.nodes)


@pytest.mark.parametrize("name", STENCILS)
@pytest.mark.parametrize("tier", list(Tier))
def test_the_gradient_of_a_stencil_is_that_of_numpy(name: str, tier: Tier) -> None:
    f, gradient, shape, views = STENCILS[name]
    graph = _gradient(f, shape)
    other = frame(graph)
    verify(other)
    assert _views(other) == views
    u = RANDOM.normal(size=shape)
    (got,) = Program(other, tier).run([u])
    np.testing.assert_allclose(got, gradient(u), rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(Program(other).run([u])[0] == 0, Program(graph).run([u])[0] == 0)


def test_a_frame_leaves_every_bit_as_it_was() -> None:
    graph = _gradient(*STENCILS["five points"][::2])
    u = RANDOM.normal(size=(130, 140))
    np.testing.assert_array_equal(Program(frame(graph)).run([u])[0], Program(graph).run([u])[0])


def test_what_nothing_elementwise_reads_keeps_its_own_padding() -> None:
    graph = build(lambda u, v: np.pad(u, ((1, 0), (0, 1))) @ v + np.pad(u, ((0, 1), (1, 0))) @ v, u=F64[40, 40], v=F64[41, 41])
    assert frame(expand(graph)).fingerprint == expand(graph).fingerprint
