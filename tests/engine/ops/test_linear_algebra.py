"""Linear algebra beyond what the table's tests know: singular and tied matrices, closed forms, several results.

Judges: closed forms, SciPy, mpmath; what NumPy's names mean is in test_linalg_names.py. Tolerances are a few hundred units in the last
place times the condition of the case, which is below 100 unless a row says otherwise.
"""

import itertools
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.linalg as sl

from backsweep_engine.execute.nonfinite import culprit, finite_nodes
from backsweep_engine.ops import FACES
from backsweep_engine.ops.build import call
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from support.graphs import F32, F64, I64, build
from support.matrices import close, typed
from support.run import Array, one, run

RANDOM = np.random.default_rng(7)
A, B, C = (RANDOM.normal(size=(4, 4)) + 4 * np.eye(4) for _ in range(3))
SPD = A @ A.T
TALL, WIDE = RANDOM.normal(size=(5, 3)), RANDOM.normal(size=(3, 5))
STACK = RANDOM.normal(size=(2, 1, 3, 3)) + 3 * np.eye(3)
V, M = RANDOM.normal(size=4), RANDOM.normal(size=(4, 2))
CLOSE = 1e-12
LINALG: Any = np.linalg
"""Without its stubs, which refuse what is refused here on purpose and do not know tuples of traced values."""


def gradient(f: Callable[..., Any], x: Any) -> Array:
    return one(derive.gradient(build(f, x=typed(x)), [0]), x)


def hvp(f: Callable[..., Any], x: Any, t: Any) -> Array:
    return one(derive.hvp(build(f, x=typed(x)), [0]), x, t)


# What LAPACK gives up on.

SINGULAR, INDEFINITE, BROKEN = np.array([[1.0, 2], [2, 4]]), np.array([[1.0, 2], [2, 1]]), np.array([[np.nan, 1], [1, 2]])
GOOD = np.array([[4.0, 1], [1, 3]])
ONES = np.ones((3, 2, 1))

FAILING: list[tuple[str, Callable[..., Any], tuple[Array, ...]]] = [
    ("solve", lambda a: np.linalg.solve(a, ONES), (SINGULAR, BROKEN)),
    ("inv", np.linalg.inv, (SINGULAR, BROKEN)),
    ("slogdet", lambda a: np.linalg.slogdet(a)[1], (BROKEN, BROKEN)),
    ("cholesky", np.linalg.cholesky, (INDEFINITE, BROKEN)),
    ("eigh", lambda a: np.linalg.eigh(a)[1], (BROKEN, BROKEN)),
    ("eigvalsh", np.linalg.eigvalsh, (BROKEN, BROKEN)),
    ("svd", lambda a: np.linalg.svd(a)[0], (BROKEN, BROKEN)),
    ("svdvals", np.linalg.svdvals, (BROKEN, BROKEN)),
    ("svd of infinities, from which LAPACK may not return", lambda a: np.linalg.svd(a)[0], (np.full((2, 2), np.inf), np.full((2, 2), -np.inf))),
    ("pinv", np.linalg.pinv, (BROKEN, BROKEN)),
    ("qr", lambda a: np.linalg.qr(a)[1], (BROKEN, BROKEN)),
    ("cofactors", lambda a: call("cofactors", a), (BROKEN, BROKEN)),
    ("expm", FACES["expm"], (BROKEN, np.full((2, 2), np.inf))),
    ("solve_triangular", lambda a: FACES["solve_triangular"](a, ONES, lower=True), (np.array([[1.0, 9], [2, 0]]), np.zeros((2, 2)))),
    ("solve_tridiagonal", lambda a: FACES["solve_tridiagonal"](a[..., 1, :1], np.linalg.diagonal(a), a[..., 0, 1:], ONES), (SINGULAR, np.zeros((2, 2)))),
]


@pytest.mark.parametrize("f,bad", [row[1:] for row in FAILING], ids=[row[0] for row in FAILING])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_a_matrix_lapack_gives_up_on_is_nan_and_the_others_of_its_stack_are_right(f: Callable[..., Any], bad: tuple[Array, ...], dtype: str) -> None:
    x = np.stack([bad[0], GOOD, bad[1]]).astype(dtype)
    graph, alone = build(f, x=typed(x)), build(f, x=typed(x))
    got, wanted = one(graph, x), one(alone, np.stack([GOOD] * 3).astype(dtype))
    np.testing.assert_array_equal(got[1], wanted[1])
    assert not np.isfinite(got[0]).all() and not np.isfinite(got[2]).all()
    # Derivatives neither raise nor reach the good one.
    down = one(derive.vjp(graph, [0]), x, np.ones(graph.output_types[0].shape, graph.output_types[0].dtype))
    assert np.isfinite(down[1]).all() and not np.isfinite(down[0]).all()


def test_the_singular_solve_is_named_as_the_one_that_made_nan() -> None:
    graph = build(lambda a, b: np.sum(np.exp(np.linalg.solve(a, b))), a=F64[2, 2], b=F64[2])
    inputs = [SINGULAR, np.ones(2)]
    assert graph.nodes[culprit(graph, finite_nodes(graph, inputs), graph.outputs[0])].op == "solve"
    several = build(lambda a: np.sum(np.linalg.slogdet(a)[1]), a=F64[2, 2])
    assert several.nodes[culprit(several, finite_nodes(several, [SINGULAR]), several.outputs[0])].op == "slogdet"


def test_the_second_derivative_at_equal_eigenvalues_names_what_made_it_nan() -> None:
    graph = derive.hvp(build(through_eigenvalues, x=F64[4, 4]), [0])
    node = graph.nodes[culprit(graph, finite_nodes(graph, [np.eye(4), TURN]), graph.outputs[0])]
    origin = build(through_eigenvalues, x=F64[4, 4]).nodes[node.origin]
    assert origin.op == "eigvalsh"


def test_the_determinant_has_exact_derivatives_at_singular_matrices() -> None:
    """det is a polynomial: its derivatives are sums of minors, whatever the rank."""
    for x in (np.zeros((3, 3)), np.outer([1.0, 2, 3], [1, 0, 1]), np.arange(1.0, 10).reshape(3, 3), np.diag([2.0, 0, 0])):
        t = np.array([[1.0, -2, 0.5], [0, 1, 3], [2, 2, -1]])
        minors = [[(-1) ** (i + j) * sl.det(np.delete(np.delete(x, i, 0), j, 1)) for j in range(3)] for i in range(3)]
        close(gradient(np.linalg.det, x), np.array(minors), 1e-13)
        # det(X + s T) is a cubic in s; the cofactors' change is the part of minors linear in s, exact in rationals.
        up, down = (np.array([[(-1) ** (i + j) * sl.det(np.delete(np.delete(x + s * t, i, 0), j, 1)) for j in range(3)] for i in range(3)]) for s in (1, -1))
        close(hvp(np.linalg.det, x, t), (up - down) / 2, 1e-12)


# Equal eigenvalues.

ORTHOGONAL = np.linalg.qr(RANDOM.normal(size=(4, 4)))[0]
TIED = ORTHOGONAL @ np.diag([1.0, 2, 2, 5]) @ ORTHOGONAL.T
TIED = (TIED + TIED.T) / 2
TURN = RANDOM.normal(size=(4, 4))
TURN = TURN + TURN.T


def through_eigenvalues(a: Any) -> Any:
    return np.sum(np.exp(np.linalg.eigvalsh(a)))


@pytest.mark.parametrize("values", [np.linalg.eigvalsh, lambda a: np.linalg.eigh(a).eigenvalues], ids=["eigvalsh", "eigh"])
@pytest.mark.parametrize("x", [TIED, np.eye(4), np.zeros((4, 4)), np.diag([1.0, 1, 2, 2])], ids=["computed", "identity", "zero", "two pairs"])
def test_at_equal_eigenvalues_the_first_derivative_of_a_symmetric_function_is_right(x: Array, values: Callable[..., Any]) -> None:
    """d tr exp(A) = tr(exp(A) dA); the gradient is by the lower triangle, of which all but the diagonal counts twice."""
    wanted = sl.expm(x)
    f = lambda a: np.sum(np.exp(values(a)))
    close(gradient(f, x), np.tril(wanted) + np.tril(wanted, -1), 1e-11)
    close(one(derive.jvp(build(f, x=F64[4, 4]), [0]), x, TURN), np.sum(wanted * TURN), 1e-11)


@pytest.mark.parametrize("x", [TIED, np.eye(4), np.diag([1.0, 1, 2, 2])], ids=["computed", "identity", "two pairs"])
def test_at_equal_eigenvalues_the_second_derivative_is_nan(x: Array) -> None:
    assert np.isnan(hvp(through_eigenvalues, x, TURN)).any()


def test_at_distinct_eigenvalues_the_second_derivative_is_right() -> None:
    """d exp(A) is Frechet's derivative."""
    x = np.diag([1.0, 2, 3, 4]) + 0.1 * TURN
    wanted = sl.expm_frechet(x, TURN, compute_expm=False)
    close(hvp(through_eigenvalues, x, TURN), np.tril(wanted) + np.tril(wanted, -1), 1e-10)


def test_a_direction_that_does_not_turn_tied_eigenvectors_has_a_second_derivative() -> None:
    t = np.diag([1.0, 2, 3, 4])
    close(hvp(through_eigenvalues, np.eye(4), t), np.e * t, 1e-12)


def test_equal_singular_values() -> None:
    nuclear = lambda a: np.sum(np.linalg.svdvals(a))
    x = 3 * ORTHOGONAL
    close(gradient(nuclear, x), ORTHOGONAL, 1e-13)  # the polar factor
    close(gradient(lambda a: np.sum(np.linalg.svd(a).S), x), ORTHOGONAL, 1e-13)
    assert np.isnan(hvp(nuclear, x, TURN)).any()


# Closed forms.

CLOSED: list[tuple[str, Callable[..., Any], Array, Callable[[Array], Array]]] = [
    ("log det", lambda a: np.linalg.slogdet(a)[1], A, lambda a: np.linalg.inv(a).T),
    ("log |det|, negative", lambda a: np.linalg.slogdet(a)[1], A[::-1].copy(), lambda a: np.linalg.inv(a).T),
    ("det", np.linalg.det, A, lambda a: np.linalg.det(a) * np.linalg.inv(a).T),
    ("trace of the inverse", lambda a: np.trace(np.linalg.inv(a)), A, lambda a: -np.linalg.matrix_power(np.linalg.inv(a), 2).T),
    ("trace of a power", lambda a: np.trace(np.linalg.matrix_power(a, 5)), A, lambda a: 5 * np.linalg.matrix_power(a, 4).T),
    ("trace of expm", lambda a: np.trace(FACES["expm"](a)), A / 4, lambda a: sl.expm(a).T),
    ("log det by Cholesky", lambda a: 2 * np.sum(np.log(np.linalg.diagonal(np.linalg.cholesky((a + a.T) / 2)))), SPD, lambda a: np.linalg.inv(a)),
    ("log det by QR", lambda a: np.sum(np.log(abs(np.linalg.diagonal(np.linalg.qr(a).R)))), A, lambda a: np.linalg.inv(a).T),
    ("log det by LU", lambda a: np.sum(np.log(abs(np.linalg.diagonal(FACES["lu"](a)[0])))), A[::-1].copy(), lambda a: np.linalg.inv(a).T),
    ("log det by SVD", lambda a: np.sum(np.log(np.linalg.svdvals(a))), A, lambda a: np.linalg.inv(a).T),
    ("a projector is constant", lambda a: np.sum(M[:3] * (np.linalg.qr(a).Q.T @ np.linalg.qr(a).Q @ M[:3])), TALL, np.zeros_like),
    ("the squares of an SVD", lambda a: np.sum((lambda u, s, v: (u * s) @ v)(*LINALG.svd(a, False)) ** 2), WIDE, lambda a: 2 * a),
    ("the squares of a QR", lambda a: np.sum((lambda q, r: q @ r)(*LINALG.qr(a)) ** 2), WIDE, lambda a: 2 * a),
    ("the largest singular value", lambda a: np.linalg.svdvals(a)[0], WIDE, lambda a: np.outer(sl.svd(a)[0][:, 0], sl.svd(a)[2][0])),
]


@pytest.mark.parametrize("f,x,wanted", [row[1:] for row in CLOSED], ids=[row[0] for row in CLOSED])
def test_gradients_are_the_closed_forms(f: Callable[..., Any], x: Array, wanted: Callable[[Array], Array]) -> None:
    close(gradient(f, x), wanted(x), 1e-11)


def test_the_least_squares_solution_moves_as_the_normal_equations_say() -> None:
    """x = (A'A)^-1 A'b: dx = (A'A)^-1 (dA' r - A' dA x), r = b - A x."""
    b, t = RANDOM.normal(size=5), RANDOM.normal(size=(5, 3))
    graph = build(lambda a, b: np.linalg.lstsq(a, b)[0], a=F64[5, 3], b=F64[5])
    x = sl.lstsq(TALL, b)[0]
    close(one(derive.jvp(graph, [0]), TALL, b, t), sl.solve(TALL.T @ TALL, t.T @ (b - TALL @ x) - TALL.T @ t @ x), 1e-11)


def test_the_pseudo_inverse_of_constant_rank_moves_within_it() -> None:
    """On u v' it is v u' / (|u|^2 |v|^2), a closed form of its own."""
    f = lambda u, v: np.linalg.pinv(u[:, None] * v, rtol=1e-10)
    g = lambda u, v: v[:, None] * u / (np.sum(u * u) * np.sum(v * v))
    u, v, c = V, TALL[:, 0], RANDOM.normal(size=(5, 4))
    for got, wanted in zip(*(run(derive.vjp(build(h, u=F64[4], v=F64[5]), [0, 1]), u, v, c) for h in (f, g)), strict=True):
        close(got, wanted, 1e-11)


@pytest.mark.parametrize("size", [1e-300, 1e-8, 1.0, 1e8, 1e300])
def test_the_exponential_s_derivative_is_linear_at_every_size_of_the_direction(size: float) -> None:
    t = TURN / 4
    f = build(FACES["expm"], x=F64[4, 4])
    got = one(derive.jvp(f, [0]), A / 4, t * size)
    close(got / size, sl.expm_frechet(A / 4, t, compute_expm=False), 1e-12)


def test_the_exponential_of_extremes() -> None:
    angle = np.array([[0.0, -1], [1, 0]])
    for theta in (1e-9, 1.0, 50.0, 1000.0):
        wanted = np.array([[np.cos(theta), -np.sin(theta)], [np.sin(theta), np.cos(theta)]])
        close(one(build(FACES["expm"], x=F64[2, 2]), theta * angle), wanted, 1e-15 * max(theta, 10) * 10)
    assert np.isinf(one(build(FACES["expm"], x=F64[1, 1]), np.array([[800.0]])))
    close(one(build(FACES["expm"], x=F64[2, 2]), np.array([[0.0, 1e6], [0, 0]])), np.array([[1.0, 1e6], [0, 1]]))
    assert one(build(FACES["expm"], x=F32[2, 2]), np.zeros((2, 2), np.float32)).dtype == np.float32


def test_hilbert_s_matrix_by_mpmath() -> None:
    """Condition 5e5 at n = 5: what is lost is the condition's, no more."""
    x = sl.hilbert(5)
    with mpmath.workdps(40):
        exact = mpmath.matrix(x.tolist()) ** -1
        inverse, logarithm = np.array(exact.tolist(), float), float(mpmath.log(mpmath.det(mpmath.matrix(x.tolist()))))
    eps = np.finfo(float).eps
    assert abs(one(build(np.linalg.inv, x=F64[5, 5]), x) / inverse - 1).max() < 100 * 5e5 * eps
    assert abs(one(build(lambda a: np.linalg.slogdet(a)[1], x=F64[5, 5]), x) - logarithm) < 100 * 5e5 * eps
    assert abs(gradient(lambda a: np.linalg.slogdet(a)[1], x) / inverse.T - 1).max() < 100 * 5e5 * eps


def test_log_det_does_not_overflow_where_det_does() -> None:
    x = np.diag(np.full(200, 1e3)).astype(np.float32)
    graph = build(lambda a: np.linalg.slogdet(a)[1], x=F32[200, 200])
    assert one(graph, x) == pytest.approx(200 * np.log(1e3), rel=1e-6)
    close(one(derive.gradient(graph, [0]), x), np.eye(200, dtype=np.float32) / np.float32(1e3), 1e-6)


# Several results of one node; what is shared is factorised once.


def test_results_of_one_node_go_out_alone_together_and_twice_and_never_alias() -> None:
    def f(a: Any) -> Any:
        (w, v), (_, r) = np.linalg.eigh(a), np.linalg.qr(a)
        return v, w, v, np.sum(np.linalg.svd(a)[1] * r[0])

    graph = build(f, a=F64[4, 4])
    assert [n.op for n in graph.nodes].count("eigh") == 1
    first, again = run(graph, SPD), run(graph, A @ SPD @ A.T)
    w, v = np.linalg.eigh(SPD)
    for got, wanted in zip(first, (v, w, v, np.sum(np.linalg.svd(SPD)[1] * np.linalg.qr(SPD)[1][0])), strict=True):
        close(got, wanted)
    assert not any(np.shares_memory(x, y) for x, y in itertools.combinations([*first, *again], 2))


def test_many_right_hand_sides_of_one_matrix_are_one_solve() -> None:
    for name, attributes in (("solve", {}), ("triangular_solve", {"lower": True, "transposed": False, "unit_diagonal": False})):
        graph = build(lambda a, b, name=name, attributes=attributes: call(name, a, b, **attributes), a=F64[4, 4], b=F64[4, 1])
        wide = batch(graph, [False, True], 50)
        (solve,) = [n for n in wide.nodes if n.op == name]
        assert solve.types[0] == F64[4, 50]


def test_the_forward_and_the_reverse_solve_of_a_gradient_are_all_it_solves() -> None:
    graph = derive.gradient(build(lambda a, b: np.sum(np.linalg.solve(a, b) ** 2), a=F64[4, 4], b=F64[4]), [0, 1])
    assert [n.op for n in graph.nodes].count("solve") == 2


def test_eigenvectors_that_nobody_differentiates_cost_no_derivative() -> None:
    graph = derive.gradient(build(through_eigenvalues, x=F64[4, 4]), [0])
    assert "divide" not in [n.op for n in graph.nodes]


def test_an_order_of_rows_out_of_range_gives_nan_and_reads_nothing_astray() -> None:
    graph = build(lambda a, p, b: call("lu_solve", a, p, b), a=F64[2, 2, 2], p=I64[2, 2], b=F64[2, 2, 1])
    packed = np.stack([np.eye(2)] * 2)
    got = one(graph, packed, np.array([[0, 2], [1, 0]]), np.arange(4.0).reshape(2, 2, 1))
    assert np.isnan(got[0]).any() and got[1].ravel().tolist() == [3, 2]
