"""einsum in every notation, and what is spelled in it: values and derivatives against NumPy, orders of pairs against trying all."""

from collections.abc import Callable
from itertools import combinations
from typing import Any

import numpy as np
import pytest

from backsweep_engine.errors import GraphError
from backsweep_engine.ops.einsum import EXACT, order_of_pairs
from backsweep_engine.plan.memory import layout
from backsweep_engine.transforms import derive
from backsweep_engine.transforms.batch import batch
from backsweep_engine.transforms.expand import expand
from support.expressions import listed, moves_as_numpy
from support.graphs import F32, F64, build
from support.run import one, run

SUMS = """
np.einsum('ij,jk->ik',f,square); np.einsum('ij,jk',f,square); np.einsum('ji',f); np.einsum('ij->',f); np.einsum('ii',square); np.einsum('ii->i',square)
np.einsum('ij->j',f); np.einsum('i,i',row,row); np.einsum('i,j',row,vector); np.einsum('i,j->ji',row,vector); np.einsum('...j,j',f,row)
np.einsum('...ij->...ji',cube); np.einsum('i...->...',cube); np.einsum('ijk,kl,jm->iml',cube,np.ones((4,2)),square)
np.einsum('bij,bjk->bik',cube,cube.transpose(0,2,1)); np.einsum('ijk,ljk->il',cube,cube); np.einsum('ijk,ilk->ijl',cube,cube)
np.einsum('ijk,lik->jl',cube,cube.transpose(1,0,2)[:, :2]); np.einsum('ni,n,nj->ij',f,f[:,0],f); np.einsum('ij,ij->ij',f,f); np.einsum('ij,ij->i',f,f)
np.einsum('ij,ij->',f,f); np.einsum('ij,ji->',f,f.T); np.einsum('iij->ij',np.ones((3,3,2))*s); np.einsum('iji->j',np.arange(18.).reshape(3,2,3)*s)
np.einsum('iii->i',np.arange(27.).reshape(3,3,3)*s); np.einsum('iii',np.arange(27.).reshape(3,3,3)*s); np.einsum('ij,jk->ik',s*np.ones((2,1)),square)
np.einsum('ij,ij->ij',f[:1],f); np.einsum('ij,i->j',f,s*np.ones(1)); np.einsum('...i,...i->...',cube,vector)
np.einsum('...ij,...jk->...ik',cube,np.ones((4,5))*s); np.einsum(f,[0,1],square,[1,2],[0,2]); np.einsum(f,[0,1],square,[1,2])
np.einsum(cube,[Ellipsis,1],[1,Ellipsis]); np.einsum(',ij',s,f); np.einsum('i->',row); np.einsum('',s); np.einsum('a,b,c,d,e->',row,vector,row,vector,row)
np.einsum('ab,bc,cd,de,ef,fg,gh->ah',f,square,square,square,square,square,square); np.einsum('ij,jk',i,i.T); np.einsum('ij,kj->ik',i,f)
np.einsum('abc,abd->cd',cube,cube); np.einsum('abc,acd->abd',cube,cube.transpose(0,2,1)); np.einsum('abc,bca->',cube,cube.transpose(1,2,0))
np.einsum('abc,bc->a',cube,cube[0]); np.einsum('cab,bc->a',cube.transpose(2,0,1),cube[0]); np.einsum('ij,jk,kl->il',f,square,f.T,optimize=True)
np.einsum('ij, jk -> ik',f,square); np.einsum('ij->ij',f); np.tensordot(cube,cube,3); np.tensordot(cube,cube,((0,1),(0,1)))
np.tensordot(cube,f,((0,1),(0,1))); np.tensordot(f,square,1); np.tensordot(f,row,0); np.tensordot(cube,cube,([2,1],[-1,1])); np.tensordot(f,f,axes=(0,0))
np.inner(f,f); np.inner(f,row); np.inner(cube,vector); np.inner(s,f); np.inner(row,row); np.dot(cube,np.ones((4,2))*s)
np.dot(f,cube[:, :, :].transpose(0,1,2)); np.dot(f,f.T); np.dot(cube,vector); np.dot(f[None],f.T); np.vdot(f,f); np.vecdot(cube,vector); np.vecdot(f,f)
np.linalg.vecdot(f,f,axis=0); np.matvec(f,row); np.vecmat(row,square); np.outer(f,row); np.linalg.outer(row,vector); np.linalg.tensordot(f,square,axes=1)
np.dot(i,2); np.inner(i,j); np.einsum('ij,jk->ik',f[:, :0],square[:0]); np.einsum('ii->i',square[:0,:0]); np.einsum('i,ij->j', row[:2], f)
"""


@pytest.mark.parametrize("expression", listed(SUMS))
def test_a_sum_of_products_is_numpy_s_and_has_its_derivative(expression: str) -> None:
    moves_as_numpy(expression)


def cheapest(terms: list[frozenset[int]], output: frozenset[int], sizes: dict[int, int]) -> int:
    """Every order tried."""
    if len(terms) == 1:
        return 0
    best = None
    for i, j in combinations(range(len(terms)), 2):
        rest = [t for k, t in enumerate(terms) if k not in (i, j)]
        both = terms[i] | terms[j]
        kept = both & frozenset().union(output, *rest)
        total = int(np.prod([sizes[label] for label in both], dtype=object)) + cheapest([*rest, kept], output, sizes)
        best = total if best is None else min(best, total)
    assert best is not None
    return best


@pytest.mark.parametrize("seed", range(30))
def test_the_order_of_pairs_is_the_cheapest_of_all(seed: int) -> None:
    random = np.random.default_rng(seed)
    sizes = {label: int(random.integers(1, 9)) for label in range(6)}
    terms = [frozenset(random.choice(6, random.integers(0, 4), replace=False).tolist()) for _ in range(random.integers(1, EXACT))]
    output = frozenset(label for t in terms for label in t if random.random() < 0.3)
    terms = [frozenset(label for label in t if label in output or sum(label in other for other in terms) > 1) for t in terms]
    pairs, total = order_of_pairs(terms, output, sizes)
    assert total == cheapest(terms, output, sizes) and len(pairs) == len(terms) - 1


def test_a_long_chain_of_matrices_takes_the_vector_first() -> None:
    n = 40
    graph = build(lambda A, v: np.einsum("ab,bc,cd,de,ef,fg,gh,h->a", *[A] * 7, v), A=F64[n, n], v=F64[n])
    assert max(t.size for node in expand(graph).nodes for t in node.types) == n * n
    A, v = np.random.default_rng(0).normal(size=(2, n, n)) / 6
    np.testing.assert_allclose(one(graph, A, v[0]), A @ (A @ (A @ (A @ (A @ (A @ (A @ v[0])))))), rtol=1e-12, atol=1e-14)


def test_matrices_are_multiplied_where_they_lie() -> None:
    """No operand of an ordinary product is copied to be transposed."""
    products = {"ij,jk->ik": ((3, 4), (4, 5)), "ji,jk->ik": ((4, 3), (4, 5)), "ij,kj->ki": ((3, 4), (5, 4)), "bihd,bjhd->bhij": ((2, 3, 4, 5), (2, 6, 4, 5))}
    for subscripts, (x, y) in products.items():
        graph = expand(build(lambda x, y, s=subscripts: np.einsum(s, x, y), x=F64[x], y=F64[y]))
        assert not any(layout(graph).copied)


def test_the_second_derivative_of_a_quadratic_form_is_its_matrix() -> None:
    graph = build(lambda x, A: np.einsum("i,ij,j->", x, A, x), x=F64[4], A=F64[4, 4])
    A, x = np.arange(16.0).reshape(4, 4), np.ones(4)
    hessian = np.stack([one(derive.hvp(graph, [0]), x, A, row) for row in np.eye(4)])
    np.testing.assert_array_equal(hessian, A + A.T)


def test_rows_of_some_operands() -> None:
    graph = build(lambda x, y: np.einsum("ij,jk->ki", x, y), x=F64[2, 3], y=F64[3, 2])
    x, y = np.arange(18.0).reshape(3, 2, 3), np.arange(6.0).reshape(3, 2)
    got = one(batch(graph, [True, False], 3), x, y)
    np.testing.assert_array_equal(got, np.stack([(a @ y).T for a in x]))


def test_float32_stays_float32_and_integers_integers() -> None:
    (got,) = run(build(lambda x: np.einsum("i,i", x, 2 * x), x=F32[3]), np.ones(3, np.float32))
    assert got.dtype == np.float32 and got == 6


REFUSED: list[tuple[str, Callable[..., Any], str]] = [
    ("too few operands", lambda f: np.einsum("ij,jk", f), "ATTRIBUTE"),
    ("too few labels", lambda f: np.einsum("i->i", f), "SHAPE"),
    ("too many labels", lambda f: np.einsum("ijk", f), "SHAPE"),
    ("lengths differ", lambda f: np.einsum("ij,ij", f, f.T), "SHAPE"),
    ("a diagonal of no square", lambda f: np.einsum("ii", f), "SHAPE"),
    ("a diagonal stretched", lambda f: np.einsum("ii->i", f[:1]), "SHAPE"),
    ("an unknown output", lambda f: np.einsum("ij->k", f), "ATTRIBUTE"),
    ("an output twice", lambda f: np.einsum("ij->ii", f), "ATTRIBUTE"),
    ("no ellipsis in the output", lambda f: np.einsum("...j->j", f), "ATTRIBUTE"),
    ("other signs", lambda f: np.einsum("i1->i", f), "ATTRIBUTE"),
    ("two ellipses", lambda f: np.einsum("......", f), "ATTRIBUTE"),
    ("bools", lambda f: np.einsum("ij->", f > 0), "DTYPE"),
    ("dtype=", lambda f: np.einsum("ij->", f, dtype=np.float32), "NOT_TRACEABLE"),
    ("einsum_path", lambda f: np.einsum_path("ij->", f), "NOT_TRACEABLE"),
    ("tensordot of too many axes", lambda f: np.tensordot(f, f, 3), "ATTRIBUTE"),
    ("tensordot of unequal axes", lambda f: np.tensordot(f, f, 1), "SHAPE"),
    ("tensordot of unpaired axes", lambda f: np.tensordot(f, f, ((0,), (0, 1))), "ATTRIBUTE"),
    ("tensordot outside", lambda f: np.tensordot(f, f, ((2,), (0,))), "ATTRIBUTE"),
    ("dot", lambda f: np.dot(f, f), "SHAPE"),
    ("inner", lambda f: np.inner(f, f.T), "SHAPE"),
    ("vdot", lambda f: np.vdot(f, f[0]), "SHAPE"),
    ("vecdot", lambda f: np.vecdot(f, f[:, :2]), "SHAPE"),
]


@pytest.mark.parametrize("f,reason", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_fits_no_sum_is_refused_with_its_reason(f: Callable[..., Any], reason: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3])
    assert caught.value.reason == reason
