"""What a port is: a program as it is published, what its submission met, and what was changed for it.

`published` is our own typing of the algorithm in the idiom of its source. `met`: the words of the hint
it is refused with, "" if it is answered as it stands. `ported` is the program with the fewest changes
(the published one where none are needed). Both run on plain NumPy arrays too, and give one value there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from support.differences import along

Array = np.ndarray[Any, Any]
Arrays = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """One program.

    make() -> (point, data): arguments to differentiate by, first in the signature, and the others. slope(**point, **data)
    -> the derivative by each of the point, from a closed form, or from values on NumPy arrays by differences or a complex
    step, with a relative error up to `tolerance`. `close`: how far `ported` may be from `published` (another integrator), relatively.
    """

    name: str
    source: str
    published: Callable[..., Any]
    met: str
    changed: str
    ported: Callable[..., Any]
    make: Callable[[], tuple[Arrays, Arrays]]
    slope: Callable[..., Arrays]
    tolerance: float = 1e-12
    close: float = 1e-12


def differences(f: Callable[..., Any]) -> Callable[..., Arrays]:
    """The gradient of a scalar function by its first argument, entry by entry, by the eighth-order differences of support.differences."""

    def slope(**arguments: Any) -> Arrays:
        (name, x), *rest = arguments.items()
        data = dict(rest)
        units = np.eye(x.size).reshape(x.size, *x.shape)
        found = [along(lambda y: [f(**{name: y}, **data)], [x], [unit])[0] for unit in units]
        return {name: np.array(found).reshape(x.shape)}

    return slope


def complex_step(f: Callable[..., Any]) -> Callable[..., Arrays]:
    """The gradient of a scalar function, analytic in its first argument, without differences (Squire and Trapp 1998)."""

    def slope(**arguments: Any) -> Arrays:
        (name, x), *rest = arguments.items()
        data = dict(rest)
        units = 1e-30j * np.eye(x.size).reshape(x.size, *x.shape)
        return {name: np.array([np.imag(f(**{name: x + unit}, **data)) / 1e-30 for unit in units]).reshape(x.shape)}

    return slope
