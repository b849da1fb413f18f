"""name: a value called by a name, so that a query can speak of it (gauss_newton's `through`).

The name is an attribute, hence part of the graph. The op is the identity everywhere: derived graphs
are simplified without it, and its tangent is that of its operand, so no derivative repeats a name.
"""

from __future__ import annotations

from typing import Any

from ..graph import DTYPES, Type
from .build import call
from .op import ANY, AS_APPLIED, REALS, Example, Kind, Op, Tangent, Transposes, free, register, require

MAX_LABEL = 64
"""Characters of a name."""


def _infer(types: tuple[Type, ...], label: str) -> tuple[Type, ...]:
    fits = label.isascii() and label.isidentifier() and len(label) <= MAX_LABEL
    allowed = f"letters, digits and _, not first a digit, at most {MAX_LABEL}"
    require(fits, "this cannot be the name of a value", reason="ATTRIBUTE", got=repr(label[:MAX_LABEL]), allowed=allowed)
    return types


def _transposed(i: int, c: Any, x: Any, label: str) -> Any:
    return c


register(
    Op(
        name="name",
        infer=_infer,
        apply=lambda x, *, label: x.view(),
        derivative=Tangent(lambda y, x, t, label: t[0], linear=Transposes(_transposed)),
        continuation=AS_APPLIED,
        batch=lambda mask, x, label: call("name", x, label=label),
        cost=free,
        examples=(Example((Type(DTYPES["float64"], (3, 4)),), {"label": "z"}),),
        attributes={"label": Kind.TEXT},
        view=True,
        domain=(REALS,),
        summary="the operand, called by a name that queries may use",
        operand_dtypes=ANY,
    )
)
