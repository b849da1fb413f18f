"""How a user writes types: bs.float64[30] is a vector of 30, bs.float64 alone a scalar."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from backsweep_engine.errors import GraphError
from backsweep_engine.graph import DTYPES, Type


@dataclass(frozen=True, slots=True)
class DType:
    """An element type; indexed by a shape it is the type of an array. NumPy takes it as a dtype too."""

    dtype: np.dtype[Any]

    def __getitem__(self, shape: Any) -> Type:
        sizes = shape if isinstance(shape, tuple) else (shape,)
        return Type(self.dtype, tuple([_size(n) for n in sizes]))

    def __repr__(self) -> str:
        return "bs." + ("bool_" if self.dtype.kind == "b" else self.dtype.name)


def _size(n: Any) -> int:
    if not isinstance(n, (bool, np.bool_)):
        try:
            size = operator.index(n)
        except TypeError:
            size = -1
        if size >= 0:
            return size
    raise GraphError(
        "a size in a type is not a number of elements",
        reason="SHAPE",
        got=repr(n),
        allowed="whole numbers >= 0",
        hint="shapes are fixed: a new shape is a new trace",
    )


float64 = DType(DTYPES["float64"])
float32 = DType(DTYPES["float32"])
int64 = DType(DTYPES["int64"])
int32 = DType(DTYPES["int32"])
bool_ = DType(DTYPES["bool"])


def as_type(value: Any) -> Type | None:
    """The type a user means by a Type, bs.float64, np.float64 or np.dtype("float64"); None if it is no type."""
    match value:
        case Type():
            return value
        case DType():
            return Type(value.dtype)
        case np.dtype():
            return Type(value.newbyteorder("="))
        case type() if issubclass(value, np.generic):
            return Type(np.dtype(value))
    return None


def as_array(value: Any, name: str) -> np.ndarray[Any, Any]:
    """A copy of an array-like that no one can change, native and C-contiguous; `name` is for the error."""
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise GraphError(
            f"{name} has a dtype backsweep does not support",
            reason="DTYPE",
            name=name,
            got=f"{type(value).__name__} of {array.dtype}",
            allowed=", ".join(DTYPES),
            hint=f"cast it: {name}.astype(np.float64)" if array.dtype.kind in "fiu" else "",
        )
    copy = np.array(array, array.dtype.newbyteorder("="), order="C")
    copy.setflags(write=False)
    return copy


def as_input(value: Any, declared: Type, name: str, *, leading: bool = False) -> np.ndarray[Any, Any]:
    """The value as an array of the declared type, if NumPy can cast it safely; Python numbers are weak.

    `leading`: one more axis in front is allowed (many seeds).
    """
    if type(value) is np.ndarray and value.dtype is declared.dtype and value.shape == declared.shape and value.flags.c_contiguous:
        return value
    if value is None:
        raise GraphError(f"None cannot stand in a tree of arrays, at {name}", name=name, got="None")
    array = np.asarray(value)
    weak = isinstance(value, (bool, int, float)) and not isinstance(value, np.generic)
    kinds = {"f": "fib", "i": "ib", "b": "b"}[declared.dtype.kind]
    if not (array.dtype.kind in kinds if weak else np.can_cast(array.dtype, declared.dtype, "safe")):
        raise GraphError(
            f"{name} cannot be cast safely",
            reason="DTYPE",
            got=str(array.dtype),
            allowed=f"what casts safely to {declared.dtype}",
            hint=f"write {name}.astype('{declared.dtype}')",
        )
    if array.shape != declared.shape and not (leading and array.shape[1:] == declared.shape and array.ndim):
        allowed = f"{declared.shape}" + (f" or (n, *{declared.shape})" if leading else "")
        raise GraphError(f"{name} has the wrong shape", reason="SHAPE", got=str(array.shape), allowed=allowed, hint="submit the function anew for other shapes")
    return np.ascontiguousarray(array, declared.dtype).reshape(array.shape)
