"""What a suite says, as frozen records. Its file:

    title = "nightly"                   seed = 7

    [defaults]                          # any key of a case but name and model
    judge = "central4"

    [[case]]
    name = "logistic regression"
    graph = "logistic.graph"            # or digest = "SHA256/SIZE", held by the server; or function = "module:name"
    bind = "logistic.npz"               # bound arrays, by input name
    points = ["start.npz", "end.npz"]   # or sample = {count = 3, domain = {w = "normal", s = [0.1, 2.0]}}
    gradient = "adjoint.graph"          # or .npz, one a point; or subject = "hvp"; left out: our own gradient
    judge = ["central4", "complex_step"]
    bound = 1e-6                        # a verdict "right" that excludes less cannot tell

A case of several points or judges is as many cases, `name/point/judge`. Paths are relative to the file. What may be
said, and how it is read, stands in reading.py.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

DOMAINS = ("normal", "positive", "unit", "simplex", "symmetric", "positive definite")
Domain = str | tuple[float, float]
"""A name of DOMAINS, or an interval; see points.py."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Points that are drawn: `count` of them, input by input from `domain` ("" stands for all not named)."""

    count: int = 1
    seed: int = 0
    domain: Mapping[str, Domain] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Spec:
    """One [[case]] as written. `place`: file:line of it. `problems`: why it cannot be run, each with file:line."""

    name: str
    place: str
    graph: str = ""
    digest: str = ""
    function: str = ""
    inputs: Mapping[str, Any] = field(default_factory=dict)
    bind: str = ""
    points: tuple[str, ...] = ()
    sample: Sample | None = None
    wrt: tuple[str, ...] = ()
    subject: str = "own"
    gradient: tuple[str, ...] = ()
    judge: tuple[str, ...] = ("central4",)
    seed: int = 0
    directions: int = 4
    max_worst: int = 4
    block: int = 0
    coordinates: bool = False
    blame: bool = True
    bound: float = math.inf
    timeout: float = 600.0
    problems: tuple[str, ...] = ()

    @property
    def model(self) -> str:
        """As written: the path, the digest or the function."""
        return self.graph or self.function or self.digest


@dataclass(frozen=True, slots=True)
class Case:
    """One check: a spec at its point number `point` by one judge. Names are unique in a suite."""

    name: str
    spec: Spec
    point: int
    judge: str


@dataclass(frozen=True, slots=True)
class Suite:
    title: str
    path: Path
    cases: tuple[Case, ...]

    @property
    def folder(self) -> Path:
        return self.path.parent
