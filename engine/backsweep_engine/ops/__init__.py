"""The op table: importing this package fills it. One file per family, one record per op."""

from . import compound, contract, control, indexing, pieces, pointwise, shape
from .op import SPELLINGS, TABLE, Op

__all__ = ["SPELLINGS", "TABLE", "Op", "compound", "contract", "control", "indexing", "pieces", "pointwise", "shape"]
