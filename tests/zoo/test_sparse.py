"""The zoo's second derivatives and Jacobians by patterns: sparse matrices of real programs, judged by derivatives from elsewhere.

A pattern that left out an entry would show here as a wrong product.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backsweep as bs
from support.zoo import ZOO, Problem

SERVICE = bs.local()
LARGEST = 600
"""Of variables: the Hessian of a network has more, all of it full."""


def _problem(name: str) -> tuple[Problem, dict[str, Any], dict[str, Any], bs.Function]:
    problem = ZOO[name]
    point, data = problem.make(problem.sizes[0], 0)
    return problem, point, data, SERVICE.submit(problem.function, **{k: bs.float64[np.shape(x)] for k, x in point.items()}, **data)


def _scalar(problem: Problem) -> bool:
    point, data = problem.make(problem.sizes[0], 0)
    return np.ndim(problem.exact(**point, **data)[0]) == 0


def _count(name: str) -> int:
    return sum(np.size(x) for x in ZOO[name].make(ZOO[name].sizes[0], 0)[0].values())


SCALAR = [name for name, problem in ZOO.items() if _scalar(problem) and _count(name) <= LARGEST]
VECTOR = [name for name, problem in ZOO.items() if not _scalar(problem)]


@pytest.mark.parametrize("name", SCALAR)
def test_a_sparse_hessian_times_a_vector_is_the_product_derived_by_hand(name: str) -> None:
    problem, point, data, f = _problem(name)
    random = np.random.default_rng(5)
    tangent = {k: random.standard_normal(np.shape(x)) for k, x in point.items()}
    wanted = np.concatenate([np.ravel(part) for part in problem.second(point, data, tangent).values()])
    hessian = f.hessian(*point.values(), layout="sparse")
    got = hessian @ np.concatenate([np.ravel(t) for t in tangent.values()])
    np.testing.assert_allclose(got, wanted, rtol=0, atol=10 * problem.tolerance * max(1e-300, abs(hessian).max()) * np.sqrt(got.size))


@pytest.mark.parametrize("mode", ["auto", "forward", "reverse"])
@pytest.mark.parametrize("name", VECTOR)
def test_a_sparse_jacobian_is_the_one_derived_by_hand(name: str, mode: str) -> None:
    problem, point, data, f = _problem(name)
    value, derivative = problem.exact(**point, **data)
    wanted = np.concatenate([np.reshape(d, (np.size(value), -1)) for d in derivative.values()], axis=1)
    got = f.jacobian(*point.values(), mode=mode, layout="sparse").toarray()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=problem.tolerance * np.max(np.abs(wanted)))
