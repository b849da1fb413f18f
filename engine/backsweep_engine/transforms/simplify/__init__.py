"""simplify: the same values by fewer, cheaper and more stable nodes. No meaning hangs on it.

Where both forms are finite a rewrite changes nothing beyond rounding; each says the domain on which
its identity holds. Stabilising rewrites may put the right finite value where the plain form
overflowed, never an infinity where it was finite. Common subexpressions go by themselves, since builders are hash-consed.

The rules stand by family, each a function named after what it matches: arithmetic, shapes, products (sums
and matrix products), diagonals (identity seeds), stable; constants are folded in rules. A new rule needs its
identity and domain in its docstring and an entry in tests/engine/transforms/test_simplify.py, which shows it in
the golden text.
"""

from __future__ import annotations

from ...graph import Graph
from ..remember import remembered
from ..rewrite import Rewrite, with_subgraphs
from . import arithmetic, diagonals, products, shapes, stable  # noqa: F401  # they fill RULES
from .rules import RULES, simpler

__all__ = ["RULES", "simplify"]


@remembered
def simplify(graph: Graph) -> Graph:
    """One forward pass: every node is made from simplified operands, then matched against the rules."""
    rewrite = Rewrite(graph)
    rewrite.inputs()
    for node, operands in rewrite.steps():
        node = with_subgraphs(node, simplify)
        found = simpler(node, operands)
        rewrite.values.append(rewrite.copy(node, operands) if found is None else (found,))
    return rewrite.builder.build(rewrite.outputs())
