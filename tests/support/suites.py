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
