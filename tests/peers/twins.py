"""TWINS: what JAX calls an op of the table, op name -> function(*operands, **attributes).

One entry an op; an op that is not here is reported as having no peer. An entry says the op in JAX's own
words (jnp, jax.nn, jax.scipy, lax), or where JAX has no name for it by its textbook definition: a formula
copied from the engine would judge nothing. The attribute graphs of structured ops arrive as JAX
functions from arrays to lists of arrays.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import arrays, loops, matrices, pointwise, windows

TWINS: dict[str, Callable[..., Any]] = pointwise.TWINS | arrays.TWINS | matrices.TWINS | loops.TWINS | windows.TWINS
