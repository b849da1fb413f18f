"""The methods of NumPy's ufuncs: reduce, accumulate, outer. What is not here is refused by name (refusals.py).

accumulate of add, multiply, maximum and minimum stands with the scans.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import elementwise, pointwise, reductions  # noqa: F401  # whose ufuncs have an outer
from .build import common_builder, lift
from .compound import logsumexp
from .op import HINTS, SPELLINGS, require
from .shape import reshape
from .term import Term, spelled


def _reduce(whole: Callable[..., Any]) -> Callable[..., Term]:
    """As ufunc.reduce: over the first axis unless told otherwise, where the function reduces over all."""

    def reduce(array: Any, axis: Any = 0, dtype: Any = None, out: Any = None, keepdims: bool = False, **options: Any) -> Term:
        require(out is None, "out= cannot be traced", reason="NOT_TRACEABLE", got="out=", hint="take the result: y = f(x)")
        x = lift(array, common_builder((array,)))
        given = options | ({} if dtype is None else {"dtype": dtype})
        result: Term = whole(x, axis if x.ndim else None, keepdims=keepdims, **given)
        return result

    return reduce


for _ufunc, _whole in {
    np.add: SPELLINGS[np.sum],
    np.multiply: SPELLINGS[np.prod],
    np.maximum: SPELLINGS[np.max],
    np.minimum: SPELLINGS[np.min],
    np.logical_and: SPELLINGS[np.all],
    np.logical_or: SPELLINGS[np.any],
    np.logaddexp: logsumexp,
}.items():
    SPELLINGS[_ufunc.reduce] = _reduce(_whole)


def _outer(ufunc: np.ufunc) -> Callable[..., Any]:
    """ufunc(a[i], b[j]) for all pairs of entries, a's axes before b's."""

    def outer(a: Any, b: Any) -> Any:
        builder = common_builder((a, b))
        a, b = lift(a, builder), lift(b, builder)
        return spelled(ufunc, reshape(a, (*a.shape, *(1,) * b.ndim)), b)

    return outer


for _binary in [f for f in SPELLINGS if isinstance(f, np.ufunc) and f.nin == 2 and f.signature is None]:
    SPELLINGS[_binary.outer] = _outer(_binary)

HINTS[np.subtract.reduce] = "2 * x[0] - np.sum(x)"
HINTS[np.divide.reduce] = "x[0] / np.prod(x[1:])"
