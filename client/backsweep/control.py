"""Choices inside a graph: bs.cond. Only the branch taken does its work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Builder
from backsweep_engine.ops.build import call_several, common_builder
from backsweep_engine.ops.term import Term

from .lines import locate, show
from .trace import run


def cond(condition: Any, then: Callable[..., Any], otherwise: Callable[..., Any], *operands: Any) -> Any:
    """then(*operands) where the condition holds, else otherwise(*operands); both give like trees of like types.

    The branches may use values from outside as well; they become operands of the node. A condition
    known now (a plain bool) just calls its branch.
    """
    try:
        _require_bool(condition)
    except GraphError as error:
        show(error, locate())
        raise
    if not isinstance(condition, Term):
        return then(*operands) if condition else otherwise(*operands)
    parent = common_builder([condition])
    first, second = Builder(parent=parent, locate=locate), Builder(parent=parent, locate=locate)
    yes, tree = run(then, operands, {}, first)
    # Both graphs have the same inputs in the same order: what either of them captures.
    for outer, _ in first.captured:
        second.capture(outer)
    no, other = run(otherwise, operands, {}, second)
    for outer, _ in second.captured:
        first.capture(outer)
    if tree != other:
        raise _differ(f"{tree} and {other}", "", "make both return the same tuples, lists and dicts")
    for (path, a), (_, b) in zip(yes, no, strict=True):
        if first.type_of(a) != second.type_of(b):
            raise _differ(f"{first.type_of(a)} and {second.type_of(b)}", path, "cast (x.astype) or broadcast (np.broadcast_to) one; 0.0 is a float64 scalar")
    captured = [Term(parent, outer) for outer, _ in first.captured]
    return tree.unflatten(call_several(parent, "cond", condition, *captured, then=first.build(yes), otherwise=second.build(no)))


def _require_bool(condition: Any) -> None:
    value = condition if isinstance(condition, Term) else np.asarray(condition)
    if value.dtype.name != "bool" or value.shape:
        raise GraphError(
            "the condition is not one truth value",
            reason="DTYPE" if value.dtype.name != "bool" else "SHAPE",
            got=f"{value.dtype}{list(value.shape) or ''}",
            allowed="a bool scalar, such as x > 0",
            hint="use np.where to choose element by element" if value.shape else "",
        )


def _differ(got: str, path: str, hint: str) -> GraphError:
    error = GraphError(
        f"the branches give different results{f', at {path}' if path else ''}",
        reason="SHAPE",
        name=path,
        got=got,
        allowed="equal trees of equal types",
        hint=hint,
    )
    show(error, locate())
    return error
