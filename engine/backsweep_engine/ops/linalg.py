"""What the names of np.linalg mean on traced values, and those of scipy.linalg, as bs.<name>.

As in NumPy a matrix may be a stack, axes before the matrices' broadcast, and integers are taken as
float64. Options that change how a result is computed but not what it is are refused, not ignored.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ..graph import DTYPES, FLOATS
from .build import broadcast, call, call_several, constant, promoted
from .matrices import together
from .op import face, require, spells
from .pieces import cut
from .shape import matrix_transpose, permute, reshape
from .stacked import column
from .term import Term

T = matrix_transpose


class Eigh(NamedTuple):
    eigenvalues: Term
    eigenvectors: Term


class QR(NamedTuple):
    Q: Term
    R: Term


class SVD(NamedTuple):
    U: Term
    S: Term
    Vh: Term


class Slogdet(NamedTuple):
    sign: Term
    logabsdet: Term


def _float(a: Any) -> Term:
    (term,) = promoted([a], FLOATS)
    return term


def _matrix(a: Any) -> Term:
    term = _float(a)
    require(term.ndim >= 2, "operand must be a matrix", got=term.type, allowed="[..., m, n]", hint="a vector as a matrix: v[:, None]")
    return term


def _refuse(condition: object, what: str, hint: str) -> None:
    require(not condition, f"{what} cannot be traced", reason="NOT_TRACEABLE", got=what, hint=hint)


# np.linalg


def _solved(a: Any, b: Any, name: str, **attributes: Any) -> Term:
    """b is a vector only if it has one axis, as in NumPy 2."""
    a, b = promoted([a, b], FLOATS)
    require(a.ndim >= 2 and b.ndim >= 1, "a solve needs a matrix and a right-hand side", got=f"{a.shape} and {b.shape}")
    y = call(name, *together([a, column(b) if b.ndim == 1 else b]), **attributes)
    return reshape(y, y.shape[:-1]) if b.ndim == 1 else y


@spells(np.linalg.solve)
def solve(a: Any, b: Any) -> Term:
    return _solved(a, b, "solve")


@spells(np.linalg.inv)
def inv(a: Term) -> Term:
    return call("inv", _float(a))


@spells(np.linalg.det)
def det(a: Term) -> Term:
    return call("det", _float(a))


@spells(np.linalg.slogdet)
def slogdet(a: Term) -> Slogdet:
    return Slogdet(*call_several(a.builder, "slogdet", _float(a)))


@spells(np.linalg.cholesky)
def cholesky(a: Term, /, *, upper: bool = False) -> Term:
    a = _matrix(a)
    return T(call("cholesky", T(a))) if upper else call("cholesky", a)


@spells(np.linalg.qr)
def qr(a: Term, mode: str = "reduced") -> Any:
    a = _matrix(a)
    *lead, m, n = a.shape
    _refuse(mode not in ("reduced", "r", "complete") or (mode == "complete" and m > n), f"qr with mode={mode!r}", "use mode='reduced' or 'r'")
    # The first m columns give Q; R of the others is Q' times them.
    zero = (0,) * len(lead)
    q, r = call_several(a.builder, "qr", cut(a, (*zero, 0, 0), (*lead, m, min(m, n))))
    if n > m:
        r = call("concat", r, call("matmul", T(q), cut(a, (*zero, 0, m), a.shape)), axis=a.ndim - 1)
    return r if mode == "r" else QR(q, r)


@spells(np.linalg.svd)
def svd(a: Term, full_matrices: bool = True, compute_uv: bool = True, hermitian: bool = False) -> Any:
    a = _matrix(a)
    _refuse(hermitian, "svd with hermitian=True", "leave it out, or use np.linalg.eigh")
    if not compute_uv:
        return call("svdvals", a)
    _refuse(full_matrices and a.shape[-1] != a.shape[-2], "svd with full_matrices=True of a matrix that is not square", "pass full_matrices=False")
    return SVD(*call_several(a.builder, "svd", a))


@spells(np.linalg.svdvals)
def svdvals(x: Term, /) -> Term:
    return call("svdvals", _matrix(x))


def _triangle(a: Any, UPLO: str) -> Term:
    require(UPLO in ("L", "U", "l", "u"), "UPLO says which triangle is read", reason="ATTRIBUTE", got=repr(UPLO), allowed="'L' or 'U'")
    a = _matrix(a)
    return T(a) if UPLO in "uU" else a


@spells(np.linalg.eigh)
def eigh(a: Term, UPLO: str = "L") -> Eigh:
    return Eigh(*call_several(a.builder, "eigh", _triangle(a, UPLO)))


@spells(np.linalg.eigvalsh)
def eigvalsh(a: Term, UPLO: str = "L") -> Term:
    return call("eigvalsh", _triangle(a, UPLO))


_UNSAID: Any = object()


@spells(np.linalg.pinv)
def pinv(a: Term, rcond: Any = None, hermitian: bool = False, *, rtol: Any = _UNSAID) -> Term:
    a = _matrix(a)
    _refuse(hermitian, "pinv with hermitian=True", "leave it out")
    _refuse(rcond is not None and rtol is not _UNSAID, "pinv with both rcond and rtol", "give one of them")
    if rtol is _UNSAID:
        rtol = 1e-15 if rcond is None else rcond
    elif rtol is None:
        rtol = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps)
    _refuse(np.ndim(rtol) != 0 or isinstance(rtol, Term), "pinv with several or traced tolerances", "give one number")
    return call("pinv", a, rtol=float(rtol))


class Lstsq(NamedTuple):
    solution: Term
    residuals: Term
    rank: int
    singular_values: Term


@spells(np.linalg.lstsq)
def lstsq(a: Any, b: Any, rcond: Any = None) -> Lstsq:
    """By QR, for matrices of full rank: the rank is taken to be that, and tolerances for it are refused."""
    a, b = promoted([a, b], FLOATS)
    _refuse(rcond not in (None, -1), "lstsq with a tolerance for the rank", "leave rcond out (full rank is taken for granted), or use np.linalg.pinv(a) @ b")
    require(a.ndim == 2 and b.ndim in (1, 2) and a.shape[0] == b.shape[0], "right-hand sides do not fit the matrix", got=f"{a.shape} and {b.shape}")
    right = column(b) if b.ndim == 1 else b
    x = call("lstsq", a, right)
    if a.shape[0] > a.shape[1]:
        residuals = call("sum", call("square", right - call("matmul", a, x)), axes=(0,))
    else:
        residuals = constant(a.builder, np.zeros((), a.dtype), (0,))
    return Lstsq(reshape(x, x.shape[:-1]) if b.ndim == 1 else x, residuals, min(a.shape), call("svdvals", a))


@spells(np.linalg.matrix_rank)
def matrix_rank(A: Term, tol: Any = None, hermitian: bool = False, *, rtol: Any = None) -> Term:
    a = _matrix(A)
    _refuse(hermitian, "matrix_rank with hermitian=True", "leave it out")
    s = call("svdvals", a)
    if tol is None:
        scale = max(a.shape[-2:]) * float(np.finfo(a.dtype).eps) if rtol is None else rtol
        tol = scale * call("max", s, axes=(s.ndim - 1,))
    tol = tol if isinstance(tol, Term) else constant(a.builder, tol, s.shape[:-1], a.dtype)
    return call("sum", (s > broadcast(column(tol), s.shape)).astype(DTYPES["int64"]), axes=(s.ndim - 1,))


@spells(np.linalg.cond)
def cond(x: Term, p: Any = None) -> Term:
    """The 2-norm condition number: the largest singular value over the smallest."""
    _refuse(p not in (None, 2, -2), f"cond with p={p!r}", "use p=None, 2 or -2; else np.linalg.norm(x, p) * np.linalg.norm(np.linalg.inv(x), p)")
    s = call("svdvals", _matrix(x))
    first, last = s[..., 0], s[..., -1]
    return last / first if p == -2 else first / last


@spells(np.linalg.tensorinv)
def tensorinv(a: Term, ind: int = 2) -> Term:
    a = _float(a)
    require(ind > 0, "ind must be positive", reason="ATTRIBUTE", got=ind, allowed="1 or more")
    front, back = a.shape[:ind], a.shape[ind:]
    size = int(np.prod(back))
    require(size * size == a.size, "the axes before and after ind have different sizes", got=a.shape, allowed=f"equal products at ind={ind}")
    return reshape(call("inv", reshape(a, (size, size))), (*back, *front))


@spells(np.linalg.tensorsolve)
def tensorsolve(a: Any, b: Any, axes: Any = None) -> Term:
    a, b = promoted([a, b], FLOATS)
    if axes is not None:
        moved = [k % a.ndim for k in axes]
        a = permute(a, [*[k for k in range(a.ndim) if k not in moved], *moved])
    result = a.shape[b.ndim :]
    size = int(np.prod(result))
    require(size == b.size and size * size == a.size, "the axes do not make a square matrix", got=f"{a.shape} and {b.shape}")
    return reshape(call("solve", reshape(a, (size, size)), reshape(b, (size, 1))), result)


# scipy.linalg


@face("solve_triangular")
def solve_triangular(a: Any, b: Any, trans: Any = 0, lower: bool = False, unit_diagonal: bool = False) -> Term:
    """x of a x = b for a triangular matrix (a' x = b with trans=1 or 'T'); the other triangle is not read. As scipy.linalg.solve_triangular."""
    require(trans in (0, 1, "N", "T"), "trans says whether the matrix is transposed", reason="ATTRIBUTE", got=repr(trans), allowed="0, 1, 'N', 'T'")
    return _solved(a, b, "triangular_solve", lower=bool(lower), transposed=trans in (1, "T"), unit_diagonal=bool(unit_diagonal))


@face("cho_solve")
def cho_solve(c_and_lower: tuple[Any, bool], b: Any) -> Term:
    """x of a x = b, given (Cholesky factor of a, whether it is the lower one). As scipy.linalg.cho_solve."""
    c, lower = c_and_lower
    return _solved(c, b, "cho_solve", lower=bool(lower))


@face("lu")
def lu(a: Any) -> tuple[Term, Term]:
    """(packed, p): a[p] = L U, with U and below its diagonal L (whose diagonal is 1) in one matrix. For bs.lu_solve."""
    a = _matrix(a)
    packed, p = call_several(a.builder, "lu", a)
    return packed, p


@face("lu_solve")
def lu_solve(lu_and_p: tuple[Any, Any], b: Any) -> Term:
    """x of a x = b, given what bs.lu(a) returned."""
    (packed, b), p = promoted([lu_and_p[0], b], FLOATS), lu_and_p[1]
    right = column(b) if b.ndim == 1 else b
    packed, right = together([packed, right])
    y = call("lu_solve", packed, broadcast(p, packed.shape[:-1]), right)
    return reshape(y, y.shape[:-1]) if b.ndim == 1 else y


@face("expm")
def expm(a: Any) -> Term:
    """The matrix exponential of a square matrix or a stack of them. As scipy.linalg.expm."""
    return call("expm", _float(a))


@face("solve_tridiagonal")
def solve_tridiagonal(lower: Any, diagonal: Any, upper: Any, b: Any) -> Term:
    """x of a x = b, a with these diagonals of lengths n - 1, n and n - 1; NaN where a is singular."""
    low, d, up, b = promoted([lower, diagonal, upper, b], FLOATS)
    require(min(t.ndim for t in (low, d, up, b)) >= 1, "diagonals must be vectors", got=f"{low.shape}, {d.shape}, {up.shape}")
    right = column(b) if b.ndim == 1 else b
    lead = np.broadcast_shapes(low.shape[:-1], d.shape[:-1], up.shape[:-1], right.shape[:-2])
    low, d, up = (broadcast(t, (*lead, t.shape[-1])) for t in (low, d, up))
    y = call("tridiagonal_solve", low, d, up, broadcast(right, (*lead, *right.shape[-2:])))
    return reshape(y, y.shape[:-1]) if b.ndim == 1 else y
