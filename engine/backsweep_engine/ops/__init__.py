"""The op table: importing this package fills it. One file per family, one record per op."""

from . import compound, contract, control, einsum, implicit, indexing, pieces, pointwise, reductions, scatter, shape, special, window
from .op import FACES, SPELLINGS, TABLE, Op

__all__ = [
    "FACES",
    "SPELLINGS",
    "TABLE",
    "Op",
    "compound",
    "contract",
    "control",
    "einsum",
    "implicit",
    "indexing",
    "pieces",
    "pointwise",
    "reductions",
    "scatter",
    "shape",
    "special",
    "window",
]
