"""Points: files of strangers, and what is drawn from a seed and a domain."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backsweep.job.arrays import read_npz
from backsweep.job.points import drawn, require_finite
from backsweep.job.suite import DOMAINS
from backsweep_engine.errors import Error, GraphError
from backsweep_engine.graph import DTYPES, Type

F = DTYPES["float64"]


def test_arrays_come_back_as_they_were_saved(tmp_path: Path) -> None:
    arrays = {
        "w": np.arange(6.0).reshape(2, 3).T,
        "p.layers[0].b": np.float32([1.5]),
        "n": np.int64(3),
        "mask": np.array([True, False]),
        "big": np.arange(3, dtype=">f8"),
    }
    np.savez_compressed(tmp_path / "a.npz", allow_pickle=False, **arrays)
    found = read_npz(tmp_path, "a.npz")
    assert list(found) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype.newbyteorder("=") and found[name].shape == array.shape


def _npy(header: str, data: bytes = b"") -> bytes:
    text = header.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + data


def _zip(member: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("w.npy", member)
    return file.getvalue()


def _pickled() -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([{}], dtype=object))
    return _zip(file.getvalue())


HOSTILE: list[tuple[str, bytes]] = [
    ("nothing", b""),
    ("text", b"w = 1"),
    ("cut off", _zip(_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (3,)}\n", bytes(24)))[:-30]),
    ("larger than its bytes", _zip(_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}\n", bytes(24)))),
    ("negative", _zip(_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (-3,)}\n", bytes(24)))),
    ("header that is code", _zip(_npy("{'descr': '<f8', 'fortran_order': False, 'shape': (__import__('os').getpid(),)}\n"))),
    ("pickle", _pickled()),
    ("text array", _zip(_npy("{'descr': '<U3', 'fortran_order': False, 'shape': (1,)}\n", bytes(12)))),
    ("no npy", _zip(b"hello")),
]


@pytest.mark.parametrize(("what", "data"), HOSTILE, ids=[what for what, _ in HOSTILE])
def test_a_file_that_holds_no_arrays_is_refused_by_name(what: str, data: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.npz").write_bytes(data)
    with pytest.raises(GraphError, match=r"bad\.npz"):
        read_npz(tmp_path, "bad.npz")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Error, match=r"cannot be read\n  got: none.npz"):
        read_npz(tmp_path, "none.npz")


# What holds of a draw from each domain: from the definition of the domain.
HOLDS: dict[str, Any] = {
    "normal": lambda a: abs(a.mean()) < 0.2 and abs(a.std() - 1) < 0.2,
    "positive": lambda a: (a > 0).all(),
    "unit": lambda a: (a >= 0).all() and (a < 1).all(),
    "simplex": lambda a: (a > 0).all() and np.allclose(a.sum(axis=-1), 1),
    "symmetric": lambda a: (a == a.T).all(),
    "positive definite": lambda a: np.allclose(a, a.T) and np.linalg.eigvalsh(a).min() >= 1 - 1e-9,
}


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_draw_lies_in_its_domain_and_depends_on_seed_point_and_name_alone(domain: str) -> None:
    type = Type(F, (20, 20))
    array = drawn(type, domain, 1, 2, "w")
    assert HOLDS[domain](array) and array.shape == (20, 20) and array.dtype == F
    np.testing.assert_array_equal(array, drawn(type, domain, 1, 2, "w"))
    for other in (drawn(type, domain, 2, 2, "w"), drawn(type, domain, 1, 3, "w"), drawn(type, domain, 1, 2, "v")):
        assert not np.array_equal(array, other)


def test_intervals_bound_floats_and_integers() -> None:
    floats, whole = drawn(Type(F, (500,)), (-2.0, 3.0), 0, 0, "x"), drawn(Type(DTYPES["int32"], (500,)), (-2, 3), 0, 0, "x")
    assert -2 <= floats.min() < -1.9 and 2.9 < floats.max() < 3
    assert set(whole.tolist()) == {-2, -1, 0, 1, 2, 3} and whole.dtype == np.int32
    assert drawn(Type(DTYPES["bool"], (50,)), "normal", 0, 0, "x").dtype == bool
    single = drawn(Type(DTYPES["float32"]), "normal", 0, 0, "x")
    assert single.shape == () and single.dtype == np.float32


@pytest.mark.parametrize(("type", "domain"), [(Type(DTYPES["int64"], (3,)), "normal"), (Type(F, (3, 2)), "positive definite"), (Type(F), "symmetric")])
def test_a_domain_that_does_not_fit_its_input_is_refused(type: Type, domain: str) -> None:
    with pytest.raises(GraphError, match="got: k: "):
        drawn(type, domain, 0, 0, "k")


def test_the_first_entry_that_is_not_finite_is_named() -> None:
    with pytest.raises(GraphError, match=r"got: w\[1, 0\] = nan, and 1 more"):
        require_finite(np.array([[0.0, 1.0], [np.nan, -np.inf]]), "w")
    require_finite(np.array([1, 2]), "n")
