"""Sparsity: from a linear graph to the pattern of its matrix.

The derivative of a graph is a linear graph (linearize, transpose), so there is one thing to look at:
which elements of the seed each element of the result can depend on. The Hessian's pattern is that of
the linear graph of its products; there is no second table. A pattern is a superset: what is not
known (an index that is data, an op without a rule) counts as reading everything.
"""

from __future__ import annotations

from .pattern import Pattern
from .propagate import Found, effort, find

__all__ = ["Found", "Pattern", "effort", "find"]
