"""What a workload is: inputs by size, and a program for each tool that computes one derivative."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True)
class Inputs:
    """Arrays by argument name, in the order of the function's arguments: `point` first, which is differentiated by.

    `seeds`: tangents, one per point argument. `static`: numbers that are part of the program, given by keyword.
    """

    point: Mapping[str, Array]
    data: Mapping[str, Array] = field(default_factory=dict)
    seeds: tuple[Array, ...] = ()
    static: Mapping[str, Any] = field(default_factory=dict)


def flat(answer: Any) -> Array:
    """An answer's numbers as one vector, leaf after leaf in C order."""
    if isinstance(answer, (tuple, list)):
        return np.concatenate([flat(leaf) for leaf in answer])
    return np.asarray(answer, float).ravel()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A workload ready to be called in one tool; every call computes to the end.

    `value`: the function alone, where it is scalar. `program`: the derivative without the tool's Python interface.
    `flat`: an answer as one vector, the same in every tool. `note`: what a reader of the figure must know.
    """

    derivative: Callable[[], Any]
    value: Callable[[], Any] | None = None
    program: Callable[[], Any] | None = None
    flat: Callable[[Any], Array] = flat
    note: str = ""


@dataclass(frozen=True, slots=True)
class Workload:
    """One row of the table.

    make(size) -> its inputs, by seed 0. `sizes`: for the table and for the smoke run. `programs`: by tool; what each holds
    is that tool's business (tools/). `scalar`: counts for the gradient-to-value ratio. `tolerance`: of digests, relative.
    """

    name: str
    make: Callable[[int], Inputs]
    sizes: tuple[int, int]
    programs: Mapping[str, Any]
    scalar: bool = True
    tolerance: float = 1e-9
