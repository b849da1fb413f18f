"""The 27 nonlinear regression sets of NIST's Statistical Reference Datasets: reads tests/zoo/nist/*.dat as NIST wrote them.

The certified values were found by NIST in multiple precision and are given to 11 digits. A file's
own header says on which of its lines everything stands; nothing else of the text is interpreted.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

FOLDER = Path(__file__).parents[1] / "zoo" / "nist"


@dataclass(frozen=True, slots=True)
class Dataset:
    """One set: p parameters, n observations, k predictors.

    starts: [2, p], the far one first. values, deviations: [p], certified; so is `squares`, the
    residual sum of squares, on `freedom` degrees of freedom. y: [n]; x: k arrays [n].
    """

    name: str
    starts: Array
    values: Array
    deviations: Array
    squares: float
    freedom: int
    y: Array
    x: tuple[Array, ...]


def names() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.dat"))


def read(name: str) -> Dataset:
    text = (FOLDER / f"{name}.dat").read_text("ascii")
    parameters = _numbers([line.partition("=")[2] for line in _lines(text, "Starting Values")])
    table = _numbers(_lines(text, "Data"))
    squares, scale, count = (float(_after(text, word)) for word in ("Residual Sum of Squares", "Residual Standard Deviation", "Number of Observations"))
    freedom = len(table) - len(parameters)  # not what the file says: Rat43's says 9, and its residual standard deviation is that of 11
    assert len(table) == count and abs(squares / freedom / scale**2 - 1) < 1e-9, f"{name}: {table.shape} and {parameters.shape} do not fit"
    y, *x = table.T
    first, second, values, deviations = parameters.T
    return Dataset(name, np.stack([first, second]), values, deviations, squares, freedom, y, tuple(x))


def _lines(text: str, what: str) -> list[str]:
    """The lines the header names: `Data  (lines 61 to 71)`, counted from 1."""
    found = re.search(rf"{what} +\(lines +(\d+) +to +(\d+)\)", text, re.IGNORECASE)
    assert found, f"no lines are given for {what}"
    return text.splitlines()[int(found[1]) - 1 : int(found[2])]


def _numbers(lines: list[str]) -> Array:
    return np.array([[float(word) for word in line.split()] for line in lines])


def _after(text: str, word: str) -> str:
    found = re.search(rf"{word}: +(\S+)", text)
    assert found, f"no {word}"
    return found[1]
