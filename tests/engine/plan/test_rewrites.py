"""What a plan does to the graphs it runs, as golden text: one small example of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backsweep_engine.graph import Graph
from backsweep_engine.plan.frame import frame
from backsweep_engine.plan.refine import refine
from backsweep_engine.plan.shift import shift
from backsweep_engine.plan.strips import stripped
from backsweep_engine.plan.turn import turn
from backsweep_engine.text import text
from backsweep_engine.transforms.expand import expand
from support.graphs import F64, build


def _strips(graph: Graph) -> Graph:
    strips = stripped(graph)
    assert strips is not None
    return strips.graph


EXAMPLES: dict[str, tuple[Callable[[Graph], Graph], Callable[..., Any], list[tuple[int, ...]]]] = {
    "frame": (frame, lambda r, s: np.pad(r, ((2, 0), (1, 1))) - np.pad(r, ((0, 2), (1, 1))) + np.pad(s, ((1, 1), (1, 1))), [(40, 50), (40, 50)]),
    "refine": (refine, lambda a, b, m: np.sum((a @ b - m).reshape(600, 5, 64) ** 2, 2), [(600, 7), (7, 320), (320,)]),
    "shift": (shift, lambda x, w, s: x @ w + s, [(600, 7), (7, 320), (320,)]),
    "turn": (lambda graph: turn(refine(graph)), lambda x, w, m: np.sum((x @ w - m).reshape(2400, 9, 5) ** 2, 2), [(2400, 5), (5, 45), (45,)]),
    "strips": (_strips, lambda x, w: x.T @ np.tanh(x @ w), [(5000, 120), (120,)]),
    "strips, with a rest": (_strips, lambda x, w: (lambda z: (z, x.T @ z))(np.tanh(x @ w)), [(4999, 120), (120,)]),
}


def test_what_plans_run_is_the_golden_text(golden: Callable[[str, str], str]) -> None:
    pages = []
    for name, (rewrite, f, shapes) in EXAMPLES.items():
        graph = expand(build(f, **{f"x{i}": F64[shape] for i, shape in enumerate(shapes)}))
        pages.append(f"# {name}\n{text(graph)}\n# becomes\n{text(rewrite(graph))}\n")
    now = "\n".join(pages)
    assert now == golden("plan_rewrites.txt", now)
