"""What second derivatives say of a point: Newton's step, and the kind of critical point, with the evidence.

Functions over the verbs of a submitted scalar function, the same in process and over the wire: the
Hessian where it can be stored, Hessian-vector products where it cannot. SciPy is imported where used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from backsweep_engine.errors import Error, GraphError

from .calls import make_call
from .service import Function
from .signature import Array, Asked, wrt_arguments
from .trees import matched

Kind = Literal["minimum", "maximum", "saddle", "degenerate", "not critical"]

STORED = 1000
"""critical_point asks for the Hessian of up to this many entries of x; its eigenvalues take a second or so."""

LANCZOS_PRECISION = 1e-10
"""Of an extreme eigenvalue, relative to the largest."""

LANCZOS_BASIS = 40
LANCZOS_RESTARTS = 100

_NAMES = {
    "minimum": "a minimum",
    "maximum": "a maximum",
    "saddle": "a saddle",
    "degenerate": "a degenerate critical point",
    "not critical": "not a critical point",
}


@dataclass(frozen=True, slots=True)
class CriticalPoint:
    """The kind of a point, and why.

    A norm of the gradient up to `gradient_tolerance` counts as none, an eigenvalue of the Hessian of size up to
    `zero_tolerance` as zero. `inertia`: how many eigenvalues are (positive, negative, zero), or None where only the
    extremes were sought (Lanczos). "saddle": there are both signs. "degenerate": some are zero and the others have one
    sign, so second derivatives do not tell.
    """

    kind: Kind
    gradient_norm: float
    gradient_tolerance: float
    least: float
    largest: float
    zero_tolerance: float
    size: int
    inertia: tuple[int, int, int] | None

    def __str__(self) -> str:
        beside = "is above" if self.kind == "not critical" else "is within"
        if self.inertia is None:
            counts = f" (by Lanczos, good to {self.zero_tolerance:.1e})"
        else:
            counts = ": {} positive, {} negative, {} zero".format(*self.inertia) + f" (within {self.zero_tolerance:.1e})"
        many = "eigenvalue is" if self.size == 1 else f"{self.size} eigenvalues lie in"
        extent = f"{self.least:.3e}" if self.size == 1 else f"[{self.least:.3e}, {self.largest:.3e}]"
        return (
            f"{_NAMES[self.kind]}: the gradient's norm {self.gradient_norm:.1e} {beside} {self.gradient_tolerance:.1e}, "
            f"and the Hessian's {many} {extent}{counts}"
        )


def newton_step(
    f: Function,
    *inputs: Any,
    method: Literal["cholesky", "cg"] = "cholesky",
    wrt: Any = None,
    damping: float = 0.0,
    tolerance: float | None = None,
    max_products: int | None = None,
    timeout: float | None = None,
) -> Any:
    """-(H + damping I)^-1 g at a point, shaped like the gradient: add it to x for Newton's next point.

    "cholesky" factors the whole Hessian. "cg" asks only for Hessian-vector products, until the residual is below
    `tolerance` times the gradient (default eps ** (2/3)); more than `max_products` (default 10 n) are an error. Where H + damping I
    is not positive definite the step need not lead downhill: Error NOT_POSITIVE_DEFINITE, with the curvature found.
    Conjugate gradients find this only along directions they meet, those the gradient leads to.
    """
    if method not in ("cholesky", "cg"):
        raise GraphError("no such method", reason="MALFORMED", got=repr(method), allowed="'cholesky', 'cg'")
    if not 0 <= damping < np.inf:
        raise GraphError("damping cannot be this", reason="MALFORMED", name="damping", got=repr(damping), allowed="a finite number, at least 0")
    at = _Point(f, inputs, wrt, timeout)
    if method == "cholesky":
        g, h = at.gradient_and_hessian()
        return at.tree(_by_cholesky(at, g, h, damping))
    return at.tree(_by_cg(at, at.gradient(), damping, tolerance, max_products))


def critical_point(
    f: Function,
    *inputs: Any,
    method: Literal["auto", "hessian", "lanczos"] = "auto",
    wrt: Any = None,
    gradient_tolerance: float | None = None,
    timeout: float | None = None,
) -> CriticalPoint:
    """The kind of critical point x is, if it is one, from the gradient and the Hessian's eigenvalues.

    "hessian" counts them all; "lanczos" finds the extreme ones by Hessian-vector products, from a start drawn with a
    fixed seed, and so cannot exclude one it did not meet; "auto" is "hessian" up to STORED entries. `gradient_tolerance` is
    in units of the gradient; by default sqrt(eps) |H| max(1, |x|), what a step of x by sqrt(eps) of its size may change.
    """
    if method not in ("auto", "hessian", "lanczos"):
        raise GraphError("no such method", reason="MALFORMED", got=repr(method), allowed="'auto', 'hessian', 'lanczos'")
    at = _Point(f, inputs, wrt, timeout)
    inertia = None
    # Lanczos needs room for a basis; below it the whole Hessian is no more work.
    if method == "hessian" or at.size <= (STORED if method == "auto" else 2):
        g, h = at.gradient_and_hessian()
        eigenvalues = np.linalg.eigvalsh(h)
        least, largest = float(eigenvalues[0]), float(eigenvalues[-1])
        zero = at.rounding * max(abs(least), abs(largest))
        positive, negative = int(np.sum(eigenvalues > zero)), int(np.sum(eigenvalues < -zero))
        inertia = positive, negative, at.size - positive - negative
    else:
        g = at.gradient()
        least, largest, error = _extremes(at)
        zero = max(error, at.rounding * max(abs(least), abs(largest)))
    norm = float(np.linalg.norm(g))
    if gradient_tolerance is None:
        gradient_tolerance = float(np.sqrt(at.eps) * max(abs(least), abs(largest)) * max(1.0, float(np.linalg.norm(at.x))))
    kind: Kind = "degenerate"
    if norm > gradient_tolerance:
        kind = "not critical"
    elif least > zero:
        kind = "minimum"
    elif largest < -zero:
        kind = "maximum"
    elif least < -zero and largest > zero:
        kind = "saddle"
    return CriticalPoint(kind, norm, gradient_tolerance, least, largest, zero, at.size, inertia)


class _Point:
    """A function at a point, its derivatives by `wrt` as a flat vector and matrix in float64."""

    def __init__(self, f: Function, inputs: Sequence[Any], wrt: Any, timeout: float | None) -> None:
        if not isinstance(f, Function):
            raise GraphError("not a submitted function", reason="MALFORMED", got=type(f).__name__, hint="f = service.submit(...), then pass f")
        self._f, self._inputs, self._timeout = f, inputs, timeout
        self._options = {} if wrt is None else {"wrt": wrt}
        values = make_call(f.signature, inputs, []).values
        self._arguments, self._alone = wrt_arguments(f.signature, wrt)
        self._paths = [path for a in self._arguments for path in a.tree.paths(a.name)]
        self._types = [f.signature.type_of(path) for path in self._paths]
        self._ends = np.cumsum([type.size for type in self._types]).tolist()
        self.size = sum(type.size for type in self._types)
        if not self.size:
            raise GraphError("there is nothing to differentiate by", reason="MALFORMED", got="0 entries", hint="name floating inputs in wrt")
        self.x = np.concatenate([np.ravel(values[path]).astype(np.float64) for path in self._paths])
        # The coarsest of the types decides; one that is not floating is refused by the gradient.
        self.eps = max(float(np.finfo(t.dtype).eps) for t in self._types if t.is_float) if any(t.is_float for t in self._types) else 1.0
        self.rounding = self.size * self.eps

    def gradient(self) -> Array:
        return self._finite("gradient", self._flat(self._f.gradient(*self._inputs, timeout=self._timeout, **self._options)))

    def gradient_and_hessian(self) -> tuple[Array, Array]:
        asked = [Asked(verb, None, self._options) for verb in ("gradient", "hessian")]
        gradient, hessian = self._f.ask(*self._inputs, *asked, timeout=self._timeout)
        rows = [[tile.reshape(t.size, -1) for tile in self._leaves(row)] for t, row in zip(self._types, self._leaves(hessian), strict=True)]
        h = np.block(rows).astype(np.float64)
        return self._finite("gradient", self._flat(gradient)), self._finite("Hessian", (h + h.T) / 2)

    def hvp(self, v: Array) -> Array:
        length = float(np.linalg.norm(v)) or 1.0  # a unit vector neither overflows nor vanishes in float32
        product = self._f.hvp(*self._inputs, tangent=self.tree(v / length), timeout=self._timeout, **self._options)
        return self._finite("Hessian-vector product", length * self._flat(product))

    def tree(self, vector: Array) -> Any:
        """A flat vector as a gradient is shaped, in its types."""
        parts = (vector[e - t.size : e].astype(t.dtype).reshape(t.shape) for t, e in zip(self._types, self._ends, strict=True))
        trees = tuple(a.tree.unflatten([next(parts) for _ in range(a.tree.size)]) for a in self._arguments)
        return trees[0] if self._alone else trees

    def place(self, k: int) -> str:
        """The name of an entry of the flat vector, such as w[3]."""
        leaf = int(np.searchsorted(self._ends, k, side="right"))
        type = self._types[leaf]
        index = np.unravel_index(k - (self._ends[leaf] - type.size), type.shape) if type.shape else ()
        return self._paths[leaf] + (f"[{', '.join(map(str, index))}]" if type.shape else "")

    def _leaves(self, tree: Any) -> list[Any]:
        trees = (tree,) if self._alone else tree
        return [leaf for a, part in zip(self._arguments, trees, strict=True) for leaf in matched(part, a.tree, a.name)]

    def _flat(self, tree: Any) -> Array:
        return np.concatenate([np.ravel(leaf).astype(np.float64) for leaf in self._leaves(tree)])

    def _finite(self, what: str, array: Array) -> Array:
        if not np.all(np.isfinite(array)):
            raise Error(f"the {what} is not finite at this point", reason="NOT_FINITE", hint="the NonFiniteWarning names the node that made it first")
        return array


def _not_definite(at: _Point, curvature: float, v: Array, damping: float) -> Error:
    """`curvature`: that of the function itself along v, without the damping."""
    damped = f" with damping {damping:.3g}" if damping else ""
    return Error(
        f"the Hessian{damped} is not positive definite here, so Newton's step need not lead downhill",
        reason="NOT_POSITIVE_DEFINITE",
        got=f"curvature {curvature:.6g} of the function along a direction largest at {at.place(int(np.argmax(np.abs(v))))}",
        hint=f"damping above {max(-curvature, 0.0):.3g}, or another point; bs.critical_point tells the signs of the eigenvalues",
    )


def _by_cholesky(at: _Point, g: Array, h: Array, damping: float) -> Array:
    from scipy.linalg import cho_factor, cho_solve, eigh, lapack

    damped = h + damping * np.eye(at.size)
    try:
        factor = cho_factor(damped, lower=True)
    except np.linalg.LinAlgError:
        definite = False
    else:
        # A singular matrix may pass by rounding; its estimated condition tells.
        inverse_condition, _ = lapack.dpocon(factor[0], np.linalg.norm(damped, 1), uplo="L")
        definite = inverse_condition > at.rounding
    if not definite:
        eigenvalues, vectors = eigh(h, subset_by_index=[0, 0])
        raise _not_definite(at, float(eigenvalues[0]), vectors[:, 0], damping)
    step: Array = -cho_solve(factor, g)
    return step


def _by_cg(at: _Point, g: Array, damping: float, tolerance: float | None, max_products: int | None) -> Array:
    from scipy.sparse.linalg import cg

    size = 0.0  # of the curvatures met so far

    def product(v: Array) -> Array:
        nonlocal size
        hv = at.hvp(v)
        along = float(v @ hv) / float(v @ v)
        size = max(size, abs(along))
        if along + damping <= at.rounding * size:
            raise _not_definite(at, along, v, damping)
        return hv + damping * v

    rtol = at.eps ** (2 / 3) if tolerance is None else tolerance
    limit = 10 * at.size if max_products is None else max_products
    step, unfinished = cg(_operator(at, product), -g, rtol=rtol, atol=0.0, maxiter=limit)
    if unfinished:
        raise Error(
            "conjugate gradients did not settle",
            reason="NO_CONVERGENCE",
            got=f"{limit} Hessian-vector products",
            hint="a larger max_products or tolerance, damping, or method='cholesky'",
        )
    return np.asarray(step)


def _extremes(at: _Point) -> tuple[float, float, float]:
    """The least and the largest eigenvalue, and how far from them an eigenvalue may be."""
    start = np.random.default_rng(0).normal(size=at.size)
    first, error = _dominant(at, at.hvp, start)
    # Shifted by it, the other end is the dominant one, and converges relative to the spread even where it is zero.
    other, other_error = _dominant(at, lambda v: at.hvp(v) - first * v, start, abs(first))
    ends = sorted((first, first + other))
    return ends[0], ends[1], max(error, other_error)


def _dominant(at: _Point, product: Callable[[Array], Array], start: Array, scale: float = 0.0) -> tuple[float, float]:
    """The eigenvalue of largest size, and its residual: some eigenvalue is that near. `scale`: beside which it may be nothing."""
    from scipy.sparse.linalg import ArpackError, eigsh

    moved = float(np.linalg.norm(product(start)) / np.linalg.norm(start))
    if moved <= at.rounding * scale:  # a multiple of the identity is gone by its shift, and ARPACK takes no operator 0
        return 0.0, moved
    basis = min(at.size, LANCZOS_BASIS)
    try:
        values, vectors = eigsh(_operator(at, product), k=1, v0=start, ncv=basis, maxiter=LANCZOS_RESTARTS, tol=max(LANCZOS_PRECISION, at.eps))
    except ArpackError as error:
        raise Error(
            "Lanczos did not settle on the Hessian's extreme eigenvalues",
            reason="NO_CONVERGENCE",
            got=str(error),
            hint="method='hessian', if the Hessian can be stored",
        ) from None
    v = vectors[:, 0]
    return float(values[0]), float(np.linalg.norm(product(v) - values[0] * v))


def _operator(at: _Point, product: Callable[[Array], Array]) -> Any:
    from scipy.sparse.linalg import LinearOperator

    return LinearOperator((at.size, at.size), matvec=lambda v: product(np.ravel(v)), dtype=np.float64)
