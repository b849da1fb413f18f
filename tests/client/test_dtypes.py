"""How types are written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from backsweep import dtypes as bs
from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Type

F8 = DTYPES["float64"]

WRITTEN: dict[str, tuple[Any, Type]] = {
    "a vector": (bs.float64[30], Type(F8, (30,))),
    "a matrix": (bs.float32[569, 31], Type(DTYPES["float32"], (569, 31))),
    "a NumPy size": (bs.int64[np.int64(3)], Type(DTYPES["int64"], (3,))),
    "a scalar": (bs.int32, Type(DTYPES["int32"])),
    "a scalar by its shape": (bs.bool_[()], Type(DTYPES["bool"])),
    "a shape": (bs.float64[np.zeros((2, 3)).shape], Type(F8, (2, 3))),
    "NumPy's class": (np.float64, Type(F8)),
    "NumPy's dtype": (np.dtype(">f8"), Type(F8)),
    "the engine's": (Type(F8, (1,)), Type(F8, (1,))),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_types_are_written_with_their_shape_in_brackets(name: str) -> None:
    written, expected = WRITTEN[name]
    assert bs.as_type(written) == expected


@pytest.mark.parametrize("value", [1.0, "float64", float, np.zeros(3), None])
def test_values_are_no_types(value: Any) -> None:
    assert bs.as_type(value) is None


@pytest.mark.parametrize("size", [-1, 2.0, True, None, slice(3), "3"])
def test_a_size_that_is_no_count_is_refused(size: Any) -> None:
    with pytest.raises(GraphError, match="shapes are fixed"):
        bs.float64[size]


def test_numpy_takes_them_as_dtypes() -> None:
    assert np.zeros(2, bs.float32).dtype == np.float32
    assert repr(bs.bool_) == "bs.bool_"


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.complex128, object, "U3"])
def test_arrays_of_other_dtypes_are_refused_by_name(dtype: Any) -> None:
    with pytest.raises(GraphError, match="X has a dtype"):
        bs.as_array(np.zeros(3, dtype), "X")


def test_arrays_are_copied_native_and_read_only() -> None:
    given = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    array = bs.as_array(given, "X")
    given[0, 0] = 9
    assert array.dtype.isnative
    assert array.flags.c_contiguous
    assert not array.flags.writeable
    assert array.tolist() == [[0, 1, 2], [3, 4, 5]]
