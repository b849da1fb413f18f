"""What is written instead exists: every function a hint names is traced, or makes no use of traced values."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.ops import refusals
from backsweep_engine.ops.op import FACES, HINTS, SPELLINGS
from backsweep_engine.ops.refusals import qualified

UNTRACED = {"np.zeros", "np.eye", "np.arange", "np.triu_indices", "np.polynomial.legendre.leggauss", "np.polynomial", "np.float64", "np.int64", "np.inf"}
"""Of positions and constants, which are known when tracing."""
NAMED = {"np.matrix", "np.c_", "np.full"}
"""Named as what is not traced."""


def hints() -> Iterator[tuple[str, str]]:
    tables = {name: table for name, table in vars(refusals).items() if isinstance(table, dict) and name.startswith("_")}
    for name, table in tables.items():
        yield from ((f"{name} {key}", text) for key, text in table.items() if isinstance(text, str))
    yield from ((f"HINTS {qualified(function)}", text) for function, text in HINTS.items())
    yield from ((name, text) for name, text in vars(refusals).items() if isinstance(text, str) and not name.startswith("__"))


@pytest.mark.parametrize("where, text", list(hints()), ids=lambda v: v if len(v) < 40 else "")
def test_every_function_a_hint_names_is_traced(where: str, text: str) -> None:
    traced = set(map(qualified, SPELLINGS)) | UNTRACED | NAMED
    named = {name.rstrip(".") for name in re.findall(r"\bnp\.[\w.]+", text)}
    assert {n for n in named if n not in traced and f"np.linalg.{n[3:]}" not in traced} == set()
    assert {name for name in re.findall(r"\bbs\.(\w+)", text) if name not in FACES and name not in bs.__all__} == set()


def test_names_are_written_as_users_write_them() -> None:
    from scipy import special

    names = [np.sum, np.linalg.inv, np.add, np.add.reduce, special.erf, np.fft.fft, np.linalg.eig]
    assert [qualified(f) for f in names] == ["np.sum", "np.linalg.inv", "np.add", "np.add.reduce", "scipy.special.erf", "np.fft.fft", "np.linalg.eig"]
