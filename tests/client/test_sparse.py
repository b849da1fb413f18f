"""Sparse matrices as users ask for them: one csr_array over the ravels, whose entries are those of closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_array, diags_array

import backsweep as bs
from support.bundle import by_hand, problem, submitted
from support.server import serving

RANDOM = np.random.default_rng(11)


@pytest.fixture(scope="module")
def service() -> Iterator[bs.Service]:
    with bs.local() as service:
        yield service


def chain(x: Any) -> Any:
    return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def chain_hessian(x: Any) -> Any:
    """Rosenbrock's: 1200 x**2 - 400 y + 2 for each that has a successor y, 200 for each that has a predecessor, -400 x beside."""
    diagonal = np.zeros(x.size)
    diagonal[:-1] += 1200 * x[:-1] ** 2 - 400 * x[1:] + 2
    diagonal[1:] += 200
    return diags_array([-400 * x[:-1], diagonal, -400 * x[:-1]], offsets=[-1, 0, 1]).tocsr()


def close(got: Any, wanted: Any, tolerance: float = 1e-13) -> None:
    """Within `tolerance` of the largest entry: sums of a few products."""
    assert got.shape == wanted.shape
    scale = max(1.0, abs(wanted).max())
    assert abs(got - wanted).max() <= tolerance * scale


def test_a_sparse_hessian_is_that_of_the_closed_form(service: bs.Service) -> None:
    x = RANDOM.normal(size=3000)
    found = service.submit(chain, x=bs.float64[3000]).hessian(x, layout="sparse")
    assert isinstance(found, csr_array) and found.nnz == 3 * 3000 - 2
    close(found, chain_hessian(x))
    assert (found != found.T).nnz == 0


def test_how_a_matrix_is_computed_does_not_change_what_is_returned(service: bs.Service) -> None:
    x = RANDOM.normal(size=900)
    f = service.submit(chain, x=bs.float64[900])
    assert "3 colours for 900 variables" in f.explain(x, verb="hessian")
    dense = f.hessian(x)
    assert isinstance(dense, np.ndarray) and dense.shape == (900, 900) and dense.flags.writeable
    close(dense, chain_hessian(x).toarray())


def test_a_bundle_adjustment_returns_its_jacobian_in_one_call(service: bs.Service) -> None:
    cameras, points, bound = problem()
    f = submitted(service, bound)
    found, wanted = f.jacobian(cameras, points, layout="sparse"), by_hand(cameras, points, **bound)
    assert found.shape == (63_686, 23_769) and found.nnz == wanted.nnz == 12 * 63_686
    np.testing.assert_array_equal(found.indices, wanted.indices)
    # Entries to 1e4, from some dozen operations each.
    np.testing.assert_allclose(found.data, wanted.data, rtol=0, atol=1e-10)
    assert "12 colours for 23769 columns (at least 12" in f.explain(cameras, points, verb="jacobian", layout="sparse")


def test_trees_of_inputs_and_outputs_make_one_matrix_over_all_ravels(service: bs.Service) -> None:
    def f(p: Any, s: Any) -> Any:
        return {"far": np.outer(p["a"], p["b"])[0], "near": (p["b"] * s, np.sum(p["a"] ** 2))}

    point = {"a": np.array([1.0, 2.0]), "b": np.array([3.0, 4.0, 5.0])}, 7.0
    g = service.submit(f, p={"a": bs.float64[2], "b": bs.float64[3]}, s=bs.float64)
    found = g.jacobian(*point, layout="sparse")
    a, b = point[0]["a"], point[0]["b"]
    wanted = np.zeros((3 + 3 + 1, 2 + 3 + 1))
    wanted[:3, 0], wanted[:3, 2:5] = b, np.eye(3) * a[0]
    wanted[3:6, 2:5], wanted[3:6, 5] = np.eye(3) * 7, b
    wanted[6, :2] = 2 * a
    close(found.toarray(), wanted)
    assert found.nnz == np.count_nonzero(wanted)


def test_float32_stays_float32(service: bs.Service) -> None:
    found = service.submit(lambda x: x**2, x=bs.float32[5]).jacobian(np.arange(5, dtype="float32"), layout="sparse")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found.toarray(), np.diag(2 * np.arange(5)))


def test_zeros_of_the_pattern_are_kept_so_that_it_is_the_same_at_every_point(service: bs.Service) -> None:
    f = service.submit(lambda x: x**2, x=bs.float64[3])
    for x in (np.zeros(3), np.ones(3)):
        found = f.jacobian(x, layout="sparse")
        assert found.indices.tolist() == [0, 1, 2] and found.nnz == 3


@pytest.mark.parametrize("size", [0, 1])
def test_empty_and_single_matrices_are_matrices(service: bs.Service, size: int) -> None:
    f = service.submit(lambda x: np.sin(x), x=bs.float64[size])
    found = f.jacobian(np.ones(size), layout="sparse")
    assert found.shape == (size, size)
    np.testing.assert_array_equal(found.toarray(), np.cos(1.0) * np.eye(size))


def test_a_result_is_the_callers_own(service: bs.Service) -> None:
    f = service.submit(chain, x=bs.float64[50])
    x = RANDOM.normal(size=50)
    first = f.hessian(x, layout="sparse")
    kept = first.toarray()
    first.data[:] = 0
    first.indices[:] = 0
    first.indptr[:] = 0
    np.testing.assert_array_equal(f.hessian(x, layout="sparse").toarray(), kept)


# Patterns and the values they were told by.


def _gathered(x: Any, index: Any) -> Any:
    return x[index] ** 2


@pytest.mark.parametrize("remote", [False, True])
def test_other_bound_indices_have_other_patterns(remote: bool) -> None:
    x = RANDOM.normal(size=6)
    with serving(executor="local") as server, bs.connect(server.address) if remote else bs.local() as service:
        f = service.submit(_gathered, x=bs.float64[6], index=np.array([5, 0, 3]))
        for index in ([5, 0, 3], [1, 1, 2], [4, 2, 0], [5, 0, 3]):
            g = f.bind(index=np.array(index))
            wanted = np.zeros((3, 6))
            wanted[np.arange(3), index] = 2 * x[index]
            found = g.jacobian(x, layout="sparse")
            assert found.nnz == 3
            close(found.toarray(), wanted)


def test_an_array_changed_after_it_was_bound_changes_nothing_and_another_has_its_own_pattern(service: bs.Service) -> None:
    x, index = RANDOM.normal(size=6), np.array([5, 0, 3])
    f = service.submit(_gathered, x=bs.float64[6], index=index).bind(index=index)
    before = f.jacobian(x, layout="sparse").toarray()
    index[:] = [1, 2, 4]
    np.testing.assert_array_equal(f.jacobian(x, layout="sparse").toarray(), before)
    other = f.bind(index=index).jacobian(x, layout="sparse").toarray()
    assert np.flatnonzero(before.any(axis=0)).tolist() == [0, 3, 5] and np.flatnonzero(other.any(axis=0)).tolist() == [1, 2, 4]


def test_an_index_given_with_the_point_does_not_shape_the_pattern(service: bs.Service) -> None:
    x = RANDOM.normal(size=6)
    f = service.submit(_gathered, x=bs.float64[6], index=bs.int64[3])
    for index in ([5, 0, 3], [1, 1, 2]):
        found = f.jacobian(x, np.array(index), layout="sparse")
        assert found.nnz == 18
        wanted = np.zeros((3, 6))
        wanted[np.arange(3), index] = 2 * x[index]
        close(found.toarray(), wanted)


def test_what_is_differentiated_by_does_not_shape_the_pattern_though_it_is_bound(service: bs.Service) -> None:
    a = np.array([3.0, 1.0, 2.0])
    f = service.submit(lambda x, a: np.sort(a) * x, x=bs.float64[3], a=a)
    found = f.jacobian(np.ones(3), wrt="a", layout="sparse")
    assert found.nnz == 9
    np.testing.assert_array_equal(found.toarray(), np.eye(3)[[1, 2, 0]])


def test_a_large_index_of_the_point_goes_by_digest_and_shapes_no_pattern_either() -> None:
    """Over the limit of inline arrays it travels as a blob; bits and patterns stay those of a small one, local and remote."""
    n = 300_000
    index = np.arange(n) % 3
    f: dict[str, Any] = {"x": bs.float64[3], "index": bs.int64[n]}

    def sums(x: Any, index: Any) -> Any:
        return np.sum(np.sin(x)[index].reshape(3, -1), axis=1)

    with serving(executor="local") as server, bs.connect(server.address) as remote, bs.local() as local:
        found = [s.submit(sums, **f).jacobian(np.ones(3), index, layout="sparse") for s in (local, remote)]
    assert found[0].nnz == found[1].nnz == 9
    assert found[0].data.tobytes() == found[1].data.tobytes()


# A vjp of one's own: nothing says that what is derived from it is symmetric, or linear.


def test_a_hessian_that_is_not_symmetric_is_recovered_as_it_is(service: bs.Service) -> None:
    n = 40
    lopsided = bs.custom_gradient(lambda x: np.sum(x), lambda x, y, c: c * np.concatenate([x[1:] ** 2, x[:1] * 0]))
    f = service.submit(lambda x: lopsided(x) * 1.0, x=bs.float64[n])
    x = RANDOM.normal(size=n)
    found = f.hessian(x, layout="sparse")
    close(found.toarray(), np.diag(2 * x[1:], k=1))


def test_a_vjp_that_is_not_linear_is_swept_row_by_row(service: bs.Service) -> None:
    clipped = bs.custom_gradient(lambda x: x * 1.0, lambda x, y, c: np.clip(c, -0.5, 0.5))
    f = service.submit(lambda x: 3 * clipped(x), x=bs.float64[4])
    found = f.jacobian(np.ones(4), layout="sparse")
    np.testing.assert_array_equal(found.toarray(), f.jacobian(np.ones(4)))


# Diagonals.


def test_the_diagonal_is_exact_by_every_exact_method(service: bs.Service) -> None:
    x = RANDOM.normal(size=800)
    f = service.submit(chain, x=bs.float64[800])
    wanted = chain_hessian(x).diagonal()
    assert "2 colours for 800 variables" in f.explain(x, verb="hessian_diagonal")
    for method in ("exact", "hvps"):
        close(f.hessian_diagonal(x, method=method), wanted)


def test_a_diagonal_is_not_taken_for_granted_where_the_hessian_is_dense(service: bs.Service) -> None:
    x = RANDOM.normal(size=300)
    f = service.submit(lambda x: np.sum(x) ** 2 * np.sum(x**2), x=bs.float64[300])
    s, q = np.sum(x), np.sum(x**2)
    close(f.hessian_diagonal(x), 2 * q + 8 * s * x + 2 * s**2)


def test_a_diagonal_by_several_inputs_has_their_shapes(service: bs.Service) -> None:
    a, b = RANDOM.normal(size=(40, 20)), RANDOM.normal(size=700)
    f = service.submit(lambda a, b: np.sum(a**4) + np.sum(np.sin(b)) + np.sum(a[0, :5] * b[:5]), a=bs.float64[40, 20], b=bs.float64[700])
    found = f.hessian_diagonal(a, b)
    close(found[0], 12 * a**2)
    close(found[1], -np.sin(b))


def test_an_estimate_comes_with_a_standard_error_that_is_right(service: bs.Service) -> None:
    """Of many entries about a fifth lies outside 1.3 standard errors, and their mean square is 1."""
    n = 2000
    x = RANDOM.normal(size=n)
    f = service.submit(chain, x=bs.float64[n])
    value, error = f.hessian_diagonal(x, method="estimate", samples=200, seed=3)
    apart = (value - chain_hessian(x).diagonal()) / error
    assert 0.9 < np.mean(apart**2) < 1.1
    assert 0.15 < np.mean(np.abs(apart) > 1.3) < 0.24
    again = f.hessian_diagonal(x, method="estimate", samples=200, seed=3)
    assert again.value.tobytes() == value.tobytes()
    assert f.hessian_diagonal(x, method="estimate", samples=200, seed=4).value.tobytes() != value.tobytes()


def test_an_estimate_of_a_diagonal_hessian_is_exact_and_says_so(service: bs.Service) -> None:
    x = RANDOM.normal(size=50)
    found = service.submit(lambda x: np.sum(x**4), x=bs.float64[50]).hessian_diagonal(x, method="estimate", samples=5)
    close(found.value, 12 * x**2)
    assert found.standard_error.max() <= 1e-13 * 12 * np.max(x**2)


# Asked together, and of a server.


def test_sparse_matrices_stand_beside_other_answers(service: bs.Service) -> None:
    x = RANDOM.normal(size=200)
    f = service.submit(chain, x=bs.float64[200])
    value, hessian, dense = f.ask(x, bs.value, bs.hessian(layout="sparse"), bs.hessian)
    assert float(value) == float(f(x))
    np.testing.assert_array_equal(hessian.toarray(), dense)


def test_a_large_sparse_matrix_comes_from_a_server_as_a_stream_with_progress() -> None:
    n = 100_000
    x, seen = RANDOM.normal(size=n), []
    with serving(executor="local") as server, bs.connect(server.address) as remote, bs.local(threads=1) as local:
        found = remote.submit(chain, x=bs.float64[n]).hessian(x, layout="sparse", progress=lambda done, total: seen.append((done, total)))
        wanted = local.submit(chain, x=bs.float64[n]).hessian(x, layout="sparse")
    for name in ("data", "indices", "indptr"):
        assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes()
    assert seen and seen[-1][0] == seen[-1][1]
    close(found, chain_hessian(x))


def test_a_pattern_that_does_not_fit_is_refused_before_work() -> None:
    with bs.local(memory_bytes=1 << 20) as small:
        f = small.submit(lambda x: x * np.sum(x), x=bs.float64[2000])
        with pytest.raises(bs.OverBudget) as caught:
            f.jacobian(np.ones(2000), layout="sparse")
    assert "4000000 positions" in caught.value.got and caught.value.hint


def test_a_nan_in_a_sparse_matrix_is_told_with_the_node_that_made_it(service: bs.Service) -> None:
    x = np.ones(700)
    x[5] = -1
    f = service.submit(lambda x: np.sqrt(x), x=bs.float64[700])
    with pytest.warns(bs.NonFiniteWarning, match="sqrt"):
        found = f.jacobian(x, layout="sparse")
    assert np.isnan(found.data).tolist() == (x < 0).tolist()
