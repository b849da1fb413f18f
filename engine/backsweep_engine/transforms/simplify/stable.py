"""Rewrites that put the right number where the plain form overflows or loses its digits."""

from __future__ import annotations

from collections.abc import Sequence

from ...graph import Node
from ...ops.term import Term
from .rules import is_number, made, maker, operand, rule


@rule("log1p", of=["exp"])
def log1p_of_exp(node: Node, x: Sequence[Term]) -> Term | None:
    """log1p(exp x) = softplus x, for every x (the plain form overflows for large x)."""
    return made("softplus", operand(x[0])) if maker(x[0]).op == "exp" else None


@rule("log", of=["exp", "sigmoid", "add"])
def log_of_sums(node: Node, x: Sequence[Term]) -> Term | None:
    """log(exp x) = x, log(1 + exp x) = softplus x and log(sigmoid x) = -softplus(-x), for every x."""
    inner = maker(x[0])
    if inner.op == "exp":
        return operand(x[0])
    if inner.op == "sigmoid":
        return made("negative", made("softplus", made("negative", operand(x[0]))))
    if inner.op == "add":
        a, b = operand(x[0]), operand(x[0], 1)
        for one, other in ((a, b), (b, a)):
            if is_number(one, 1) and maker(other).op == "exp":
                return made("softplus", operand(other))
    return None
