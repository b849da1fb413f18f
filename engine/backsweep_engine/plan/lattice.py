"""Colouring by place: the colour of a variable of a grid is a sum of multiples of its coordinates, modulo the number of colours.

The columns of a stencil all look alike, so whether two may share a seed is a matter of how far apart
they are: a colouring is right if it takes none of the distances within a row to 0. On the stencils of
finite differences that is a perfect tiling (5 colours for 5 points, 7 for 7), which no greedy order finds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..transforms.sparsity.pattern import Ints, Pattern

MAX_DISTANCES = 256
"""A pattern with more different ones is no stencil."""

MAX_TRIES = 20_000


def lattice(shared: Pattern, shape: Sequence[int], fewest: int, most: int) -> np.ndarray[Any, np.dtype[np.int32]] | None:
    """Colours of the variables of an array of this shape, `fewest` to `most` of them; None if there is no such colouring.

    `shared`: which columns share a row.
    """
    axes = [d for d in shape if d > 1]
    if not axes or len(axes) > 4:
        return None
    distances = _distances(shared, axes)
    if distances is None:
        return None
    tries = 0
    for count in range(max(fewest, 1), most + 1):
        for rest in itertools.product(range(count), repeat=len(axes) - 1):
            tries += 1
            if tries > MAX_TRIES:
                return None
            factors = np.array([*rest, 1])
            if ((distances @ factors) % count != 0).all():
                places = np.indices(axes).reshape(len(axes), -1)
                return ((factors @ places) % count).astype(np.int32)
    return None


def _distances(shared: Pattern, axes: Sequence[int]) -> Ints | None:
    """The different distances between columns that share a row, a coordinate for each axis, [distances, axes]; each in one direction."""
    above = shared.row_of() < shared.indices
    left, right = (np.stack(np.unravel_index(k[above], axes)) for k in (shared.row_of(), shared.indices))
    apart = right - left
    # Coordinates differ by less than the axis: one number stands for the distance.
    key = np.zeros(apart.shape[1], np.int64)
    for line, n in zip(apart, axes, strict=True):
        key = key * (2 * n) + (line + n)
    _, first = np.unique(key, return_index=True)
    return apart[:, first].T if first.size <= MAX_DISTANCES else None
