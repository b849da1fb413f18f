"""Suites for tests of `backsweep check`: models of the zoo saved to files, a suite of many cases over them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import backsweep as bs
from backsweep.cli import main
from backsweep.trees import flatten
from backsweep_engine.graph import DTYPES, Type

from .zoo import ZOO

_QUICK = ("rosenbrock", "beale", "powell singular", "wood", "log-sum-exp", "logistic regression", "poisson regression", "k-means")
"""Problems whose checks take milliseconds."""

HEAD = 'title = "a suite"\n\n'


def write_suite(folder: Path, text: str) -> Path:
    """The suite of these [[case]]s in the folder; its cases stand from line 3."""
    path = folder / "suite.toml"
    path.write_text(HEAD + text)
    return path


def save_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    np.savez(path, allow_pickle=False, **arrays)


def saved(folder: Path, name: str, f: Any, **arguments: Any) -> None:
    """The graph of f, `name`.graph, and its bound arrays, `name`.npz."""
    with bs.local() as service:
        function = service.submit(f, **arguments)
        function.save(folder / f"{name}.graph")
        save_arrays(folder / f"{name}.npz", function.signature.bound)


def zoo_suite(folder: Path, cases: int) -> Path:
    """That many cases: problems of the zoo in turn, each at points of other seeds, read from files."""
    text = []
    for k in range(cases):
        name = _QUICK[k % len(_QUICK)]
        problem, seed = ZOO[name], k // len(_QUICK)
        point, data = problem.make(problem.sizes[0], 0)
        file = name.replace(" ", "-")
        if seed == 0:
            types = {n: Type(DTYPES[np.asarray(x).dtype.name], np.shape(x)) for n, x in point.items()}
            saved(folder, file, problem.function, **types, **data)
        scale = 1 + 0.01 * seed
        save_arrays(folder / f"{file}-{seed}.npz", {path: scale * np.asarray(x) for n, tree in point.items() for path, x in flatten(tree, n)[0]})
        text.append(f'[[case]]\nname = "{name} {seed}"\ngraph = "{file}.graph"\nbind = "{file}.npz"\npoints = "{file}-{seed}.npz"\nseed = {seed}\n')
    return write_suite(folder, "\n".join(text))


def checked(suite: Path, *options: str) -> tuple[int, list[dict[str, Any]]]:
    """Runs `backsweep check` here, reports beside the suite: the exit status, and the lines of cases.jsonl."""
    out = suite.parent / "out"
    status = main(["check", str(suite), "--out", str(out), *options])
    lines = out / "cases.jsonl"
    return status, [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []


def statuses(lines: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {line["case"]: line["status"] for line in lines}


HOSTILE = '<script>alert(1)</script> & "quotes" \'</style>\x1b[31m\u202e'
"""A name from a stranger: markup, quotes, a terminal's escape, a reordering mark."""


def gallery(folder: Path) -> Path:
    """A suite with a case of every kind, hard ones to draw among them; see `EXPECTED`."""
    wrong_sine = bs.custom_gradient(lambda x: np.sin(x), lambda x, y, c: c * np.cos(x) * np.where(x > 0, -1.0, 1.0))
    saved(folder, "smooth", lambda x, a: np.sum(np.exp(np.sin(a * x))), x=bs.float64[5], a=np.linspace(0.5, 2.0, 5))
    saved(folder, "faulty", lambda x: np.sum(np.tanh(wrong_sine(x)) ** 2), x=bs.float64[4])

    def long(x: Any) -> Any:
        for k in range(30):
            x = x + 0.1 * np.sin(x + k)
        x = wrong_sine(x)
        for _ in range(20):
            x = np.tanh(x) + 0.5 * x
        return np.sum(x)

    saved(folder, "long", long, x=bs.float64[3])
    saved(folder, "loop", lambda x: np.sum(bs.fori_loop(0, 3, lambda i, y: 0.5 * y + np.tanh(wrong_sine(y)), x)), x=bs.float64[4])
    saved(folder, "kink", lambda x: np.sum(np.abs(x)), x=bs.float64[3])
    saved(folder, "pole", lambda x: np.sum(np.log(x)), x=bs.float64[3])
    saved(folder, "lost", lambda x: 1e12 + np.sum(1e-6 * np.sin(x)), x=bs.float64[3])
    saved(folder, "adjoint", lambda x, a: a * np.cos(a * x) * np.exp(np.sin(a * x)), x=bs.float64[5], a=bs.float64[5])
    saved(folder, "stranger", lambda x, b: x * b, x=bs.float64[5], b=bs.float64[5])
    x = np.linspace(-1.0, 1.0, 5)
    a = np.linspace(0.5, 2.0, 5)
    gradient = a * np.cos(a * x) * np.exp(np.sin(a * x))
    gradient[3] *= 1.01
    save_arrays(folder / "x.npz", {"x": x})
    save_arrays(folder / "short.npz", {"x": x[:3]})
    save_arrays(folder / "nan.npz", {"x": np.array([0.0, 1.0, np.nan, 2.0, np.inf])})
    save_arrays(folder / "off.npz", {"x": gradient})
    save_arrays(folder / "edge.npz", {"x": np.array([0.0, 1.0, -2.0])})
    smooth = 'graph = "smooth.graph"\nbind = "smooth.npz"\n'
    cases = [
        f'name = "smooth"\n{smooth}points = "x.npz"\njudge = ["central4", "complex_step", "taylor"]',
        f'name = "adjoint by hand"\n{smooth}points = "x.npz"\ngradient = "adjoint.graph"',
        f'name = "one entry off"\n{smooth}points = "x.npz"\ngradient = "off.npz"',
        'name = "faulty rule"\ngraph = "faulty.graph"\nsample = {count = 2, seed = 3, domain = {x = [0.2, 2.0]}}',
        'name = "faulty rule of a long graph"\ngraph = "long.graph"\nsample = {domain = [0.5, 1.0]}',
        'name = "at a kink"\ngraph = "kink.graph"\npoints = "edge.npz"',
        'name = "no finite value"\ngraph = "pole.graph"\npoints = "edge.npz"',
        'name = "cancelled"\ngraph = "lost.graph"',
        f'name = "asks for more"\n{smooth}points = "x.npz"\nbound = 1e-30',
        f'name = {json.dumps(HOSTILE)}\n{smooth}points = "x.npz"',
        f'name = "typo in a key"\n{smooth}points = "x.npz"\njuge = "taylor"',
        'name = "no such model"\ngraph = "nowhere.graph"',
        f'name = "point too short"\n{smooth}points = "short.npz"',
        f'name = "point not finite"\n{smooth}points = "nan.npz"',
        f'name = "another gradient"\n{smooth}points = "x.npz"\ngradient = "stranger.graph"',
        'name = "faulty rule in a loop"\ngraph = "loop.graph"\nsample = {domain = [0.5, 1.0]}',
    ]
    return write_suite(folder, "\n\n".join(f"[[case]]\n{case}" for case in cases) + "\n")


EXPECTED = {
    "smooth/central4": "right",
    "smooth/complex_step": "right",
    "smooth/taylor": "right",
    "adjoint by hand": "right",
    "one entry off": "wrong",
    "faulty rule/0": "wrong",
    "faulty rule/1": "wrong",
    "faulty rule of a long graph": "wrong",
    "at a kink": "cannot tell",
    "no finite value": "cannot tell",
    "cancelled": "cannot tell",
    "asks for more": "cannot tell",
    HOSTILE: "right",
    "typo in a key": "could not run",
    "no such model": "could not run",
    "point too short": "could not run",
    "point not finite": "could not run",
    "another gradient": "could not run",
    "faulty rule in a loop": "wrong",
}
"""What `gallery` comes to, by the mathematics and by what its cases are."""
