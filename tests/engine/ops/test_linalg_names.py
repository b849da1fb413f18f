"""What the names of np.linalg and scipy.linalg mean on traced values: what they mean on arrays, or a refusal in our words."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.linalg as sl

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import Type
from backsweep_engine.ops import FACES
from backsweep_engine.ops.build import call
from support.graphs import F64, I64, build
from support.matrices import close, exponential, typed
from support.run import Array, run

RANDOM = np.random.default_rng(7)
A, B = (RANDOM.normal(size=(4, 4)) + 4 * np.eye(4) for _ in range(2))
SPD = A @ A.T
TALL, WIDE = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(3, 5))
STACK = RANDOM.normal(size=(2, 1, 3, 3)) + 3 * np.eye(3)
V, M = RANDOM.normal(size=4), RANDOM.normal(size=(4, 2))
LINALG: Any = np.linalg
"""Without its stubs, which refuse what is refused here on purpose."""


def traced(f: Callable[..., Any], *x: Any) -> list[Array]:
    return run(build(f, **{f"x{i}": typed(a) for i, a in enumerate(x)}), *x)


# Values by NumPy's names.

CALLS: list[tuple[str, Callable[..., Any], tuple[Any, ...]]] = [
    ("solve a vector", np.linalg.solve, (A, V)),
    ("solve a matrix", np.linalg.solve, (A, M)),
    ("solve a stack for one matrix", np.linalg.solve, (STACK, RANDOM.normal(size=(3, 2)))),
    ("solve a stack for a vector", lambda a, b: np.linalg.solve(a, b), (STACK, RANDOM.normal(size=3))),
    ("solve one matrix for a stack", np.linalg.solve, (STACK[0, 0], RANDOM.normal(size=(2, 3, 1)))),
    ("solve integers", np.linalg.solve, (np.array([[2, 1], [0, 3]]), np.array([1, 2]))),
    ("inv", np.linalg.inv, (STACK,)),
    ("det", np.linalg.det, (STACK,)),
    ("det of integers", np.linalg.det, (np.array([[2, 1], [0, 3]]),)),
    ("slogdet", lambda a: tuple(np.linalg.slogdet(a)), (-STACK,)),
    ("slogdet by name", lambda a: np.linalg.slogdet(a).logabsdet, (A,)),
    ("cholesky", np.linalg.cholesky, (SPD,)),
    ("cholesky reads the lower triangle", np.linalg.cholesky, (np.tril(SPD),)),
    ("cholesky, upper", lambda a: np.linalg.cholesky(a, upper=True), (np.triu(SPD),)),
    ("qr, tall", lambda a: tuple(np.linalg.qr(a)), (TALL,)),
    ("qr, wide", lambda a: tuple(np.linalg.qr(a)), (WIDE,)),
    ("qr, R only", lambda a: np.linalg.qr(a, mode="r"), (WIDE,)),
    ("qr, complete and square", lambda a: np.linalg.qr(a, "complete").Q, (A,)),
    ("svd, square", lambda a: tuple(np.linalg.svd(a)), (STACK,)),
    ("svd, tall", lambda a: tuple(np.linalg.svd(a, False)), (TALL,)),
    ("svd, wide", lambda a: np.linalg.svd(a, full_matrices=False).Vh, (WIDE,)),
    ("svd, values", lambda a: np.linalg.svd(a, compute_uv=False), (WIDE,)),
    ("svdvals", np.linalg.svdvals, (TALL,)),
    ("eigh", lambda a: tuple(np.linalg.eigh(a)), (SPD,)),
    ("eigh, U", lambda a: np.linalg.eigh(a, "U").eigenvalues, (np.triu(SPD),)),
    ("eigvalsh", np.linalg.eigvalsh, (np.tril(SPD),)),
    ("eigvalsh, U", lambda a: np.linalg.eigvalsh(a, UPLO="U"), (np.triu(SPD),)),
    ("pinv", np.linalg.pinv, (TALL,)),
    ("pinv of lower rank", lambda a: np.linalg.pinv(a, rtol=1e-10), (np.outer(V, V),)),
    ("pinv, rcond", lambda a: np.linalg.pinv(a, 0.5), (WIDE,)),
    ("pinv, rtol None", lambda a: LINALG.pinv(a, rtol=None), (WIDE,)),
    *[(f"matrix_power {n}", lambda a, n=n: np.linalg.matrix_power(a, n), (STACK / 3,)) for n in (-3, -1, 0, 1, 2, 3, 10)],
    ("kron", np.kron, (A, M)),
    ("kron of vectors", np.kron, (V, M[:, 0])),
    ("kron of a vector and a matrix", np.kron, (V, M)),
    ("kron of cubes", np.kron, (STACK[:, 0], M[None, :2])),
    ("kron with a scalar", lambda a: np.kron(a, 2.0), (M,)),
    ("trace", np.trace, (A,)),
    ("trace off the diagonal", lambda a: np.trace(a, 1), (WIDE,)),
    ("trace of a stack", lambda a: np.trace(a, axis1=-2, axis2=3), (STACK,)),
    ("trace over first axes", lambda a: np.trace(a, -1, 2, 0), (STACK,)),
    ("trace of integers", np.trace, (np.array([[2, 1], [0, 3]], np.int32),)),
    ("linalg.trace", lambda a: np.linalg.trace(a, offset=-1), (STACK,)),
    ("diagonal", lambda a: np.diagonal(a, -2), (TALL,)),
    ("diagonal beyond", lambda a: np.diagonal(a, 7), (TALL,)),
    ("diagonal of chosen axes", lambda a: np.diagonal(a, 0, 3, 0), (STACK,)),
    ("linalg.diagonal", lambda a: np.linalg.diagonal(a, offset=1), (STACK,)),
    ("lstsq", lambda a, b: np.linalg.lstsq(a, b, rcond=None)[:2], (TALL, RANDOM.normal(size=(5, 2)))),
    ("lstsq of a vector", lambda a, b: np.linalg.lstsq(a, b)[0], (TALL, RANDOM.normal(size=5))),
    ("lstsq, least norm", lambda a, b: np.linalg.lstsq(a, b)[0], (WIDE, RANDOM.normal(size=3))),
    ("lstsq, singular values", lambda a, b: np.linalg.lstsq(a, b)[3], (WIDE, RANDOM.normal(size=3))),
    ("multi_dot", lambda a, b, c: np.linalg.multi_dot([a, b, c]), (TALL, WIDE, TALL)),
    ("multi_dot with vectors", lambda a, b, c: np.linalg.multi_dot([a, b, c, a]), (V, A, B)),
    ("multi_dot of two", lambda a, b: np.linalg.multi_dot([a, b]), (TALL, WIDE)),
    ("matrix_transpose", np.linalg.matrix_transpose, (STACK,)),
    ("linalg.matmul", np.linalg.matmul, (STACK, STACK)),
    ("cond", np.linalg.cond, (STACK,)),
    ("cond -2", lambda a: np.linalg.cond(a, -2), (A,)),
    ("matrix_rank", np.linalg.matrix_rank, (np.stack([np.ones((3, 3)), np.eye(3), np.zeros((3, 3))]),)),
    ("matrix_rank, tol", lambda a: np.linalg.matrix_rank(a, 1e6), (A,)),
    ("tensorinv", lambda a: np.linalg.tensorinv(a, 1), (RANDOM.normal(size=(6, 2, 3)),)),
    ("tensorsolve", np.linalg.tensorsolve, (RANDOM.normal(size=(2, 3, 6)), RANDOM.normal(size=(2, 3)))),
    ("tensorsolve, axes", lambda a, b: np.linalg.tensorsolve(a, b, axes=(0, 2)), (RANDOM.normal(size=(2, 6, 3)), RANDOM.normal(size=6))),
]


@pytest.mark.parametrize("f,x", [row[1:] for row in CALLS], ids=[row[0] for row in CALLS])
def test_numpy_s_names_mean_what_numpy_does(f: Callable[..., Any], x: tuple[Any, ...]) -> None:
    wanted = f(*x)
    for got, value in zip(traced(f, *x), wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
        assert got.dtype == np.asarray(value).dtype
        close(got, value)


L, BAND = np.linalg.cholesky(SPD), (RANDOM.normal(size=3), V + 5, RANDOM.normal(size=3))


def _triangular(t: Any, low: bool, unit: bool) -> tuple[Callable[..., Any], Callable[..., Any]]:
    ours = lambda a, b: FACES["solve_triangular"](a, b, t, low, unit)
    return ours, lambda a, b: sl.solve_triangular(a, b, trans=t, lower=low, unit_diagonal=unit)


def _banded(low: Array, d: Array, up: Array, b: Array) -> Array:
    return np.asarray(sl.solve(np.diag(d) + np.diag(low, -1) + np.diag(up, 1), b))


FACED: list[tuple[str, tuple[Any, ...], Callable[..., Any], Callable[..., Any]]] = [
    *[(f"solve_triangular {s}", (A, b), *_triangular(*s)) for s in itertools.product((0, 1, "N", "T"), (True, False), (True, False)) for b in (V, M)],
    ("cho_solve", (L, V), lambda c, b: FACES["cho_solve"]((c, True), b), lambda c, b: sl.cho_solve((c, True), b)),
    ("cho_solve, upper", (L.T.copy(), M), lambda c, b: FACES["cho_solve"]((c, False), b), lambda c, b: sl.cho_solve((c, False), b)),
    ("lu_solve", (A[::-1], M), lambda a, b: FACES["lu_solve"](FACES["lu"](a), b), lambda a, b: sl.lu_solve(sl.lu_factor(a), b)),
    ("lu_solve of a vector", (A[[2, 0, 3, 1]], V), lambda a, b: FACES["lu_solve"](FACES["lu"](a), b), sl.solve),
    ("expm", (STACK,), FACES["expm"], lambda a: np.array([exponential(x) for x in a.reshape(-1, 3, 3)]).reshape(a.shape)),
    ("block_diag", (M, V, A), FACES["block_diag"], sl.block_diag),
    ("solve_tridiagonal", (*BAND, V), FACES["solve_tridiagonal"], _banded),
    ("solve_tridiagonal for columns", (*BAND, M), FACES["solve_tridiagonal"], _banded),
]


@pytest.mark.parametrize("x,f,wanted", [row[1:] for row in FACED], ids=[row[0] for row in FACED])
def test_scipy_s_names_mean_what_scipy_does(x: tuple[Any, ...], f: Callable[..., Any], wanted: Callable[..., Any]) -> None:
    (got,) = traced(f, *x)
    close(got, wanted(*x))


REFUSED: list[tuple[str, Callable[..., Any], tuple[Type, ...], str]] = [
    ("solve of a wide matrix", np.linalg.solve, (F64[3, 4], F64[3]), "square"),
    ("solve with too short a side", np.linalg.solve, (F64[3, 3], F64[4]), "right-hand sides"),
    ("stacks that do not fit", np.linalg.solve, (F64[2, 3, 3], F64[4, 3, 1]), "broadcast"),
    ("solve of a vector", np.linalg.solve, (F64[3], F64[3]), "matrix"),
    ("inv of a vector", np.linalg.inv, (F64[3],), "square"),
    ("det of a wide matrix", np.linalg.det, (F64[2, 3],), "square"),
    ("cholesky of a vector", np.linalg.cholesky, (F64[3],), "matrix"),
    ("full svd of a tall matrix", np.linalg.svd, (F64[4, 3],), "full_matrices"),
    ("hermitian svd", lambda a: np.linalg.svd(a, hermitian=True), (F64[3, 3],), "hermitian"),
    ("complete qr", lambda a: np.linalg.qr(a, "complete"), (F64[4, 3],), "complete"),
    ("raw qr", lambda a: np.linalg.qr(a, "raw"), (F64[4, 3],), "raw"),
    ("eigh of another triangle", lambda a: LINALG.eigh(a, "X"), (F64[3, 3],), "UPLO"),
    ("eig", np.linalg.eig, (F64[3, 3],), "not among"),
    ("lstsq with a tolerance", lambda a, b: np.linalg.lstsq(a, b, 1e-3), (F64[4, 3], F64[4]), "tolerance"),
    ("matrix_power of a fraction", lambda a: LINALG.matrix_power(a, 0.5), (F64[3, 3],), "integer"),
    ("matrix_power too high", lambda a: np.linalg.matrix_power(a, 10**9), (F64[3, 3],), "out of range"),
    ("pinv, two tolerances", lambda a: np.linalg.pinv(a, 1e-3, rtol=1e-3), (F64[3, 3],), "both"),
    ("pinv, negative tolerance", lambda a: np.linalg.pinv(a, -1e-3), (F64[3, 3],), "rtol"),
    ("multi_dot of one", lambda a: np.linalg.multi_dot([a]), (F64[3, 3],), "fewer than two"),
    ("multi_dot of a cube", lambda a: np.linalg.multi_dot([a, a]), (F64[3, 3, 3],), "matrices"),
    ("cond by another norm", lambda a: np.linalg.cond(a, 1), (F64[3, 3],), "cond"),
    ("trans=2", lambda a: FACES["solve_triangular"](a, a, 2), (F64[3, 3],), "trans"),
    ("diagonals of other lengths", FACES["solve_tridiagonal"], (F64[3], F64[3], F64[3], F64[3]), "diagonals"),
    ("trace of a vector", np.trace, (F64[3],), "two axes"),
    ("tensorinv that is not square", np.linalg.tensorinv, (F64[2, 3, 4],), "sizes"),
    ("lu of integers as an op", lambda a: call("lu", a), (I64[3, 3],), "dtype"),
]


@pytest.mark.parametrize("f,types,word", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_is_refused_in_our_words(f: Callable[..., Any], types: tuple[Type, ...], word: str) -> None:
    with pytest.raises(GraphError, match=word):
        build(f, **{f"x{i}": t for i, t in enumerate(types)})
