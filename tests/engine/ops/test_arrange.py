"""Rearrangements, triangles, diagonals and positions mean what NumPy means, and have its derivatives."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import backsweep as bs
from backsweep_engine.errors import GraphError
from support.expressions import VALUES, listed, moves_as_numpy, same_as_numpy
from support.graphs import BOOL, F64, I64, build
from support.run import one

MOVES = """
np.repeat(f,2); np.repeat(f,2,axis=0); np.repeat(f,[1,0,3],axis=1); np.repeat(f,[2],axis=-1); np.repeat(s,3); np.repeat(cube,3,1); np.repeat(row,0)
np.repeat(f,[1,2,0,1,2,0]); np.tile(f,2); np.tile(f,(2,1)); np.tile(f,(2,1,3)); np.tile(row,(2,2)); np.tile(s,3); np.tile(f,()); np.tile(f,(0,1))
np.resize(f,(4,2)); np.resize(f,(2,2)); np.resize(row,7); np.roll(f,1); np.roll(f,-2,axis=1); np.roll(f,(1,2),axis=(0,1)); np.roll(f,5,(0,1)); np.roll(f,0,0)
np.roll(cube,-7); np.roll(f,(1,1),1); np.rot90(f); np.rot90(f,2); np.rot90(f,3); np.rot90(f,-1); np.rot90(f,4); np.rot90(cube,1,(1,2)); np.rot90(cube,1,(2,0))
np.fliplr(f); np.flipud(f); np.fliplr(cube); np.rollaxis(cube,2); np.rollaxis(cube,0,3); np.rollaxis(cube,1,-1); np.pad(f,1); np.pad(f,(1,2))
np.pad(f,((1,0),(0,2))); np.pad(f,1,constant_values=3.); np.pad(f,((1,2),(3,0)),constant_values=((1,2),(3,4))); np.pad(f,{-1:(1,2)})
np.pad(i,1,constant_values=7); np.pad(f,2,'edge'); np.pad(f,((1,2),(0,3)),mode='edge'); np.pad(f,((1,1),(2,2)),'reflect'); np.pad(row,5,'reflect')
np.pad(row,(7,4),'symmetric'); np.pad(f,(2,3),'symmetric'); np.pad(row,(2,9),'wrap'); np.pad(f,1,'wrap'); np.pad(f[:, :1],2,'reflect'); np.pad(f,0)
np.pad(row,(0,20),'reflect'); np.array_split(f,2,axis=1); np.array_split(vector,3); np.array_split(vector,[1,3]); np.array_split(vector,[3,1])
np.array_split(vector,[-1,9]); np.split(vector,2); np.split(cube,[1],axis=2); np.hsplit(f,3); np.hsplit(vector,2); np.vsplit(f,2); np.dsplit(cube,2)
np.unstack(f); np.unstack(f,axis=1); np.delete(f,1,axis=1); np.delete(f,[0,2],1); np.delete(f,[0,-1]); np.delete(f,slice(0,2),1)
np.delete(vector,[True,False,False,True]); np.delete(cube,[],0); np.delete(row,[0,1,2]); np.insert(f,1,9.,axis=1); np.insert(f,[0,2],9.,axis=1)
np.insert(f,[1,1],np.ones((2,2)),axis=1); np.insert(row,2,5.); np.insert(f,1,row,axis=0); np.insert(f,1,[7.,8.],axis=1); np.insert(f,[1],[[7.],[8.]],axis=1)
np.insert(row,[0,3],[1.,2.]); np.insert(f,3,4.); np.insert(row,1,vector); np.insert(row,slice(0,2),[5.,6.]); np.insert(f,-1,s,1); np.append(f,row)
np.append(f,f,axis=0); np.column_stack([row,row]); np.column_stack([f,f[:,0]]); np.dstack([f,f]); np.dstack([row,row]); np.dstack([s,s])
np.block([[f,f],[f,f]]); np.block([row,s]); np.block([[f],[row]]); np.block([[np.ones((2,2)),f],[1.,row,2.]]); np.block(f); np.block([[[cube]]])
np.atleast_1d(s); np.atleast_1d(s,f); np.atleast_2d(row); np.atleast_2d(s); np.atleast_3d(row); np.atleast_3d(f); np.atleast_3d(cube); np.atleast_3d(s)
np.atleast_2d(cube); np.meshgrid(row,vector); np.meshgrid(row,vector,indexing='ij'); np.meshgrid(row,vector,s,sparse=True); np.meshgrid(row,np.arange(2.))
np.meshgrid(row); np.full_like(f,2)+f; np.full_like(f,s); np.full_like(i,2.7)+i; np.zeros_like(f,dtype=int)+i; np.ones_like(f,shape=(3,))*row
np.zeros_like(f,np.int32,shape=3)+row; np.ones(2,np.result_type(i,f))*s; np.take(f,k,1,mode='clip'); np.take_along_axis(f,k,1)
np.take_along_axis(f,np.array([[0],[2]]),-1); np.take_along_axis(f,np.array([5,0]),None); np.take_along_axis(row,np.array([2,0]),0)
np.take_along_axis(f,k[:, :1],1)
np.tril(square); np.triu(square,1); np.tril(cube,-1); np.triu(row); np.triu(cube,-5); np.tril(f,9); np.tril(i); np.triu(b); np.diag(row); np.diag(row,2)
np.diag(row,-1); np.diag(square); np.diag(f,1); np.diag(f,-1); np.diagflat(f); np.diagflat(s,1); np.diag(vector[:0]); np.diag(vector[:0],2)
np.choose(k,[f,2*f,1.5]); np.choose(np.array([2,0,1]),[row,row+1,f]); np.choose(k+5,[f,2*f],mode='clip'); np.choose(k-7,[f,2*f],mode='wrap')
np.compress([True,False],f,axis=0); np.compress([0,1,1],f); np.extract(np.array([[1,0,1],[0,0,1]]),f); np.take(f,k-9,1,mode='wrap')
np.take_along_axis(f,k[:1]%2,0)
"""


@pytest.mark.parametrize("expression", listed(MOVES))
def test_a_rearrangement_is_numpy_s_and_moves_with_its_operands(expression: str) -> None:
    moves_as_numpy(expression)


POSITIONS = """
np.isin(k, [0, 2]); np.isin(k, k[0, :2], invert=True); np.isin(f, row); np.isin(2.0, row); f[np.ix_([1, 0], [True, False, True])]; f[np.ix_([1, 0], k[0])]
square[np.diag_indices_from(square)]; square[np.tril_indices_from(square)]; f[np.triu_indices_from(f, 1)]; np.copy(f)
f * np.iscomplexobj(f); f * np.isrealobj(f)
np.ravel_multi_index((k,k),(3,3)); np.searchsorted(row,f); np.searchsorted(row,f,'right'); np.searchsorted(row,2.0); np.searchsorted(np.array([1.,2.,4.]),f)
np.searchsorted(row,1,side='right'); np.searchsorted(row,vector,sorter=np.array([0,1,2])); np.searchsorted(np.arange(5),i); np.digitize(f,np.array([-1.,0,2]))
np.digitize(f,np.array([2.,0,-1])); np.digitize(f,np.array([2.,0,-1]),right=True); np.digitize(f,row,right=True); np.unravel_index(k,(3,4))
np.unravel_index(k,5); np.remainder(k,2)
"""


@pytest.mark.parametrize("expression", listed(POSITIONS))
def test_positions_are_numpy_s(expression: str) -> None:
    same_as_numpy(expression)


def test_evenly_spaced_positions_are_views() -> None:
    rolled = (lambda x: np.roll(x, 3), lambda x: np.pad(x, 2, "reflect"), lambda x: np.pad(x, (3, 1), "edge"))
    for f in (*rolled, lambda x: np.delete(x, 2), lambda x: np.tile(x, 2)):
        graph = build(f, x=F64[8])
        assert not {"take", "put_add"} & {node.op for node in graph.nodes}


def test_one_hot() -> None:
    index = np.array([[0, 2], [-1, 3]])
    np.testing.assert_array_equal(bs.one_hot(index, 3), [[[1, 0, 0], [0, 0, 1]], [[0, 0, 0], [0, 0, 0]]])
    assert bs.one_hot(index, 3, dtype=np.float32).dtype == np.float32
    assert one(build(lambda i: bs.one_hot(i, 2, dtype=int), i=I64[2, 2]), index).dtype == np.int64


def test_choose_and_take_mark_what_is_out_of_range() -> None:
    graph = build(lambda i: np.choose(i, [np.array([1.0, 2, 3]), 4.0]), i=I64[3])
    np.testing.assert_array_equal(one(graph, [0, 1, 2]), [1, 4, np.nan])


REFUSED: list[tuple[str, Callable[..., Any], str, str]] = [
    ("one-armed where", lambda f, m: np.where(m), "NOT_TRACEABLE", "np.where(condition, x, y)"),
    ("nonzero", lambda f, m: np.nonzero(f), "NOT_TRACEABLE", "np.where"),
    ("flatnonzero", lambda f, m: np.flatnonzero(m), "NOT_TRACEABLE", "np.where"),
    ("argwhere", lambda f, m: np.argwhere(m), "NOT_TRACEABLE", "np.where"),
    ("unique", lambda f, m: np.unique(f), "NOT_TRACEABLE", "bs.segment_sum"),
    ("setdiff1d", lambda f, m: np.setdiff1d(f, f), "NOT_TRACEABLE", "np.isin"),
    ("bincount", lambda f, m: np.bincount(f[0].astype(int), f[1]), "NOT_TRACEABLE", "bs.segment_sum"),
    ("allclose", lambda f, m: np.allclose(f, f), "NOT_TRACEABLE", "np.isclose"),
    ("array_equal", lambda f, m: np.array_equal(f, f), "NOT_TRACEABLE", "np.all"),
    ("compress by a traced mask", lambda f, m: np.compress(m[0], f, 1), "NOT_TRACEABLE", "Python argument"),
    ("traced counts", lambda f, m: np.repeat(f, f[0].astype(int), 1), "NOT_TRACEABLE", "Python argument"),
    ("traced shift", lambda f, m: np.roll(f, f[0, 0].astype(int)), "NOT_TRACEABLE", "Python argument"),
    ("traced split", lambda f, m: np.split(f, f[0].astype(int)), "NOT_TRACEABLE", "Python argument"),
    ("traced pad", lambda f, m: np.pad(f, f[0, 0].astype(int)), "NOT_TRACEABLE", "Python argument"),
    ("padded by a mean", lambda f, m: np.pad(f, 1, "mean"), "NOT_TRACEABLE", ""),
    ("odd reflection", lambda f, m: np.pad(f, 1, "reflect", reflect_type="odd"), "NOT_TRACEABLE", ""),
    ("negative pad", lambda f, m: np.pad(f, -1), "ATTRIBUTE", ""),
    ("pad of another rank", lambda f, m: np.pad(f, ((1, 1),) * 3), "ATTRIBUTE", ""),
    ("empty axis padded", lambda f, m: np.pad(f[:0], 1, "edge"), "SHAPE", "constant"),
    ("negative counts", lambda f, m: np.repeat(f, -1), "ATTRIBUTE", ""),
    ("too few counts", lambda f, m: np.repeat(f, [1, 2], 1), "SHAPE", ""),
    ("negative tiles", lambda f, m: np.tile(f, -1), "ATTRIBUTE", ""),
    ("unequal parts", lambda f, m: np.split(f, 2, 1), "SHAPE", "np.array_split"),
    ("no parts", lambda f, m: np.array_split(f, 0), "ATTRIBUTE", ""),
    ("deleted outside", lambda f, m: np.delete(f, 7, 1), "SHAPE", ""),
    ("inserted outside", lambda f, m: np.insert(f, 7, 0.0, 1), "SHAPE", ""),
    ("inserted values do not fit", lambda f, m: np.insert(f, [0, 1], np.ones((2, 3)), 1), "SHAPE", ""),
    ("uneven block", lambda f, m: np.block([[f], f]), "SHAPE", ""),
    ("axis outside of roll", lambda f, m: np.roll(f, 1, 2), "ATTRIBUTE", ""),
    ("axis outside of repeat", lambda f, m: np.repeat(f, 1, 2), "ATTRIBUTE", ""),
    ("axis outside of split", lambda f, m: np.split(f, 1, 2), "ATTRIBUTE", ""),
    ("dsplit of a matrix", lambda f, m: np.dsplit(f, 1), "ATTRIBUTE", ""),
    ("diag of three axes", lambda f, m: np.diag(f[None]), "SHAPE", ""),
    ("tril of a scalar", lambda f, m: np.tril(f[0, 0]), "SHAPE", ""),
    ("searched in two axes", lambda f, m: np.searchsorted(f, 1.0), "SHAPE", ""),
    ("unknown side", lambda f, m: np.searchsorted(f[0], 1.0, "middle"), "ATTRIBUTE", ""),
    ("bins up and down", lambda f, m: np.digitize(f, [0.0, 2, 1]), "ATTRIBUTE", ""),
    ("one hot of floats", lambda f, m: bs.one_hot(f, 3), "DTYPE", ""),
    ("Fortran order of an index", lambda f, m: np.unravel_index(f[0].astype(int), (2, 3), "F"), "NOT_TRACEABLE", ""),
]


@pytest.mark.parametrize("f,reason,hint", [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_traced_or_is_wrong_has_its_reason_and_a_hint(f: Callable[..., Any], reason: str, hint: str) -> None:
    with pytest.raises(GraphError) as caught:
        build(f, f=F64[2, 3], m=BOOL[2, 3])
    assert caught.value.reason == reason
    assert hint in caught.value.hint


def test_arrays_like_a_traced_one_are_numpy_s_own() -> None:
    for f in (np.zeros_like, np.ones_like, lambda x: np.full_like(x, 2)):
        made = []
        build(lambda x, f=f: (made.append(f(x)), x)[1], x=F64[2, 3])  # noqa: B023
        assert isinstance(made[0], np.ndarray) and made[0].shape == VALUES["f"].shape
