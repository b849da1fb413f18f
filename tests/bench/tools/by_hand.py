"""Derivatives written by hand in NumPy: the reference of every digest, and what a program could cost without a tool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..workload import Inputs, Prepared

Program = Callable[[Inputs], Prepared]


def start() -> str:
    return f"NumPy {np.__version__}"


def derivative(f: Callable[..., Any]) -> Program:
    """f(*point, *data, *seeds) returns the derivative, as a tuple of one array per point argument or as one array."""

    def prepare(inputs: Inputs) -> Prepared:
        arrays = [*inputs.point.values(), *inputs.data.values(), *inputs.seeds]
        return Prepared(lambda: f(*arrays, **inputs.static))

    return prepare


def of_zoo(name: str) -> Program:
    """The derivative a problem of the zoo is judged by: a closed form or an adjoint, from the source named there."""
    from support.zoo import ZOO

    return derivative(lambda *arrays, **static: tuple(ZOO[name].exact(*arrays, **static)[1].values()))
