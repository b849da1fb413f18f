"""What may be asked of a graph: one frozen record per verb.

`wrt` names inputs of the graph, in the order answers come; every one of them must be floating.
Seeds (tangents, cotangents) are arrays and travel beside the query, keyed by the names `seeds`
gives. Matrices run over the concatenated C-order ravels of the outputs (rows) and of the `wrt`
inputs (columns). `block`: rows (seeds, or columns of a matrix) per block, 0 to let the plan choose.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .transforms.curvature import Family

Mode = Literal["auto", "forward", "reverse"]
Layout = Literal["dense", "sparse"]
"""How a matrix is delivered; how it is computed is another matter."""
Method = Literal["exact", "hvps", "estimate"]
Subject = Literal["own", "given", "jvp", "vjp", "jacobian", "hvp", "hessian"]
Judge = Literal["central2", "central4", "central6", "richardson", "complex_step", "taylor"]

SAMPLES = 64
"""Of an estimate, unless the caller says how many."""


@dataclass(frozen=True, slots=True)
class Value:
    """The outputs themselves."""


@dataclass(frozen=True, slots=True)
class Gradient:
    """The gradient of the only output, a floating scalar: one array per wrt input, of its shape."""

    wrt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ValueAndGradient:
    """Part 0 is the value, the other parts the gradient."""

    wrt: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Jvp:
    """J t for a tangent t shaped like wrt: one array per output. `many`: a leading axis of tangents."""

    wrt: tuple[str, ...]
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Vjp:
    """c J for a cotangent c shaped like the floating outputs: one array per wrt input."""

    wrt: tuple[str, ...]
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Hvp:
    """H t for a scalar graph: one array per wrt input. `many`: a leading axis of tangents."""

    wrt: tuple[str, ...]
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Jacobian:
    """The matrix of all partial derivatives."""

    wrt: tuple[str, ...]
    mode: Mode = "auto"
    block: int = 0
    layout: Layout = "dense"


@dataclass(frozen=True, slots=True)
class Hessian:
    """The matrix of second partial derivatives of a scalar graph."""

    wrt: tuple[str, ...]
    block: int = 0
    layout: Layout = "dense"


@dataclass(frozen=True, slots=True)
class HessianDiagonal:
    """Its diagonal, one array per wrt input.

    `method`: "exact", by a colouring or by n HVPs, whichever costs less; "hvps", by n HVPs; "estimate"
    (Hutchinson's, of `samples` products with random signs drawn from `seed`: Bekas, Kokiopoulou and Saad
    2007), followed by as many arrays of its standard errors.
    """

    wrt: tuple[str, ...]
    block: int = 0
    method: Method = "exact"
    samples: int = 0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class GaussNewton:
    """G = J_z' H_l J_z of a scalar graph L(x) = l(z(x)), z the values `through` names.

    `product`: G t for a tangent, one array per wrt input (`many`: a leading axis of tangents); else the matrix.
    """

    wrt: tuple[str, ...]
    through: tuple[str, ...]
    product: bool = False
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Fisher:
    """F = J' I(z) J for a graph that gives the parameters z of a family; `product` and `many` as in GaussNewton."""

    wrt: tuple[str, ...]
    family: Family
    product: bool = False
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class EmpiricalFisher:
    """J' J for a graph that gives a log-likelihood per example; `product` and `many` as in GaussNewton."""

    wrt: tuple[str, ...]
    product: bool = False
    many: bool = False
    block: int = 0


@dataclass(frozen=True, slots=True)
class Check:
    """Whether a derivative is right: a Verdict.

    `subject`: "own", our gradient of a scalar graph and its jvp, or jvp and vjp of any other; "given", a gradient the
    client supplies (a seed per wrt input); or one of our own derivatives by itself: "jvp", "vjp", "jacobian",
    "hvp", "hessian" (the last two also for symmetry). `judge`: central differences of order 2, 4 or 6, Richardson's
    extrapolation, the complex step, or Taylor remainders. `seed` draws the `directions` probe directions;
    `coordinates`: every entry is tried by itself too. At most `max_worst` entries are named. `blame`: if it is wrong, each
    node's own rule is checked.
    """

    wrt: tuple[str, ...]
    subject: Subject = "own"
    seed: int = 0
    directions: int = 4
    max_worst: int = 4
    block: int = 0
    judge: Judge = "central4"
    coordinates: bool = False
    blame: bool = False


Curvature = GaussNewton | Fisher | EmpiricalFisher
"""Asked as a product with a tangent, or as a matrix."""

Query = Value | Gradient | ValueAndGradient | Jvp | Vjp | Hvp | Jacobian | Hessian | HessianDiagonal | Curvature | Check


def wrt_of(query: Query) -> tuple[str, ...]:
    return () if isinstance(query, Value) else query.wrt
