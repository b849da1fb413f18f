"""What `x.__array_namespace__()` answers: the Python array API, 2024.12, as far as the table of ops does it.

Code for any array library (SciPy's, with SCIPY_ARRAY_API=1) asks its arguments for their namespace and
takes every function from there. A name here means the NumPy function of that meaning, so there is one
spelling of each; a name that is not here is refused with the names that are. What makes an array works
while tracing only, and may be filled (`y = xp.zeros_like(x); y[0] = x[1]`), since nobody else has it.
"""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES
from . import bessel, compound  # noqa: F401  # whose faces are read here; all others when they are called
from .build import broadcast, cast, constant, lift
from .choice import dtype_of, where
from .op import FACES, NAMED_SPELLINGS, SPELLINGS, require
from .scatter import set_
from .term import TRACING, Term, owned, spelled

VERSION = "2024.12"
FLOAT64 = DTYPES["float64"]


class Namespace:
    """A set of names; `what` names it in errors."""

    __slots__ = ("__name__", "_offered", "_what")

    def __init__(self, name: str, what: str, offered: Mapping[str, Any]) -> None:
        self.__name__ = name
        self._what = what
        self._offered = offered

    def __getattr__(self, name: str) -> Any:
        if name in self._offered:
            return self._offered[name]
        if name.startswith("__"):
            raise AttributeError(name)
        # An AttributeError, so that hasattr() keeps its meaning; tracing shows what caused it.
        offered = ", ".join(n for n in sorted(self._offered) if not n.startswith("__"))
        refusal = GraphError(f"{self._what} has no {name}", reason="NOT_TRACEABLE", name=name, allowed=offered, hint="write it with functions that are there")
        raise AttributeError(f"{refusal.message}; it has {offered}") from refusal

    def __dir__(self) -> list[str]:
        return sorted(self._offered)

    def __repr__(self) -> str:
        return f"<{self.__name__}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("the namespace of traced values is not pickled")


def _builder() -> Any:
    builder = TRACING.get()
    require(builder is not None, "arrays of traced values are made while tracing only", reason="NOT_TRACEABLE", hint="call it in the function you submit")
    return builder


def _traced(value: Any) -> Any:
    """An argument as the spellings take it: if nothing is traced yet, a number or array as a constant."""
    return value if isinstance(value, Term) else lift(value, _builder())


def _as(function: Callable[..., Any], **renamed: str) -> Callable[..., Any]:
    """The NumPy function, its first argument made a traced value; keywords by the names the standard gives them."""

    def call(x: Any, /, *args: Any, **kwargs: Any) -> Any:
        given = {renamed.get(k, k): v for k, v in kwargs.items() if not (k in ("device", "copy") and v in (None, "cpu", True, False))}
        first = x if any(isinstance(a, Term) for a in (x, *args)) else [_traced(v) for v in x] if isinstance(x, (list, tuple)) else _traced(x)
        return owned(spelled(function, first, *args, **given), (first, *args))

    call.__name__ = call.__qualname__ = str(getattr(function, "__name__", function))
    return call


# Creation


def _shape(shape: Any) -> tuple[int, ...]:
    return (int(shape),) if isinstance(shape, (int, np.integer)) else tuple(int(n) for n in shape)


def _filled(value: Any, shape: Any, dtype: Any) -> Term:
    builder = _builder()
    term = lift(value, builder) if isinstance(value, Term) else constant(builder, value, dtype=dtype_of(dtype) if dtype is not None else None)
    wide = broadcast(term if dtype is None else cast(term, dtype_of(dtype)), _shape(shape))
    return Term(wide.builder, wide.ref, own=True)


def full(shape: Any, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Term:
    return _filled(fill_value, shape, dtype)


def full_like(x: Any, /, fill_value: Any, *, dtype: Any = None, device: Any = None) -> Term:
    return _filled(fill_value, x.shape, x.dtype if dtype is None else dtype)


def _of(value: int) -> tuple[Callable[..., Term], Callable[..., Term]]:
    def made(shape: Any, *, dtype: Any = None, device: Any = None) -> Term:
        return _filled(value, shape, FLOAT64 if dtype is None else dtype)

    def like(x: Any, /, *, dtype: Any = None, device: Any = None) -> Term:
        return _filled(value, x.shape, x.dtype if dtype is None else dtype)

    return made, like


def asarray(obj: Any, /, *, dtype: Any = None, device: Any = None, copy: bool | None = None) -> Term:
    term = _traced(obj)
    term = term if dtype is None else cast(term, dtype_of(dtype))
    return Term(term.builder, term.ref, own=True) if copy else term


def astype(x: Any, dtype: Any, /, *, copy: bool = True, device: Any = None) -> Term:
    return asarray(x, dtype=dtype, copy=copy)


def arange(start: Any, /, stop: Any = None, step: Any = 1, *, dtype: Any = None, device: Any = None) -> Term:
    numbers = (start, stop, step)
    static = not any(isinstance(v, Term) for v in numbers)
    require(static, "the bounds of arange cannot be traced: a shape depends on them", reason="NOT_TRACEABLE", hint="xp.linspace(a, b, n) takes traced ends")
    return asarray(np.arange(*((start,) if stop is None else (start, stop, step)), dtype=dtype))


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: Any = None, device: Any = None) -> Term:
    return asarray(np.eye(n_rows, n_cols, k, FLOAT64 if dtype is None else dtype))


# What differs from NumPy


def _sorted(name: str) -> Callable[..., Any]:
    def sort(x: Any, /, *, axis: int = -1, descending: bool = False, stable: bool = True) -> Any:
        x = _traced(x)
        require(not descending or x.dtype.kind == "f" or name == "sort", "descending places are of floating arrays", reason="NOT_TRACEABLE", got=x.dtype)
        if name == "argsort":
            # Of -x: equal entries keep their order.
            return spelled(np.argsort, -x if descending else x, axis)
        y = spelled(np.sort, x, axis)
        return spelled(np.flip, y, axis) if descending else y

    return sort


def clip(x: Any, /, min: Any = None, max: Any = None) -> Any:
    return spelled(np.clip, _traced(x), min, max)


def result_type(*arrays_and_dtypes: Any) -> Any:
    return SPELLINGS[np.result_type](*arrays_and_dtypes)


def can_cast(from_: Any, to: Any, /) -> bool:
    return bool(np.can_cast(from_.dtype if isinstance(from_, Term) else from_, to))


def finfo(type: Any, /) -> Any:
    return np.finfo(type.dtype if isinstance(type, Term) else type)


def iinfo(type: Any, /) -> Any:
    return np.iinfo(type.dtype if isinstance(type, Term) else type)


def broadcast_arrays(*arrays: Any) -> Any:
    return spelled(np.broadcast_arrays, *map(_traced, arrays))


def meshgrid(*arrays: Any, indexing: str = "xy") -> Any:
    return spelled(np.meshgrid, *map(_traced, arrays), indexing=indexing)


def choose(condition: Any, x1: Any, x2: Any, /) -> Term:
    return where(condition, x1, x2) if any(isinstance(v, Term) for v in (x1, x2)) else where(condition, _traced(x1), x2)


# The names

_SAME = """
abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_or bitwise_xor ceil conj copysign cos cosh divide equal exp expm1
floor floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log1p log2 log10 logaddexp logical_and logical_not
logical_or logical_xor maximum minimum multiply negative not_equal positive pow real reciprocal remainder round sign signbit sin sinh square sqrt
subtract tan tanh trunc
linspace tril triu broadcast_to
matmul matrix_transpose tensordot
expand_dims flip moveaxis permute_dims repeat reshape roll squeeze stack tile unstack
argmax argmin count_nonzero searchsorted take take_along_axis
cumulative_prod cumulative_sum diff max mean min prod std sum var all any
"""
_LINALG = """
cholesky cross det diagonal eigh eigvalsh inv matmul matrix_norm
matrix_power matrix_rank matrix_transpose outer pinv qr slogdet solve svd
svdvals tensordot trace vecdot vector_norm
"""

_SPECIAL: Mapping[str, Any] = ChainMap(
    {
        **{name: FACES[name] for name in ("logsumexp", "softmax", "log_softmax")},
        "multigammaln": lambda a, d: FACES["multigammaln"](a, dimension=d),
        "polygamma": lambda n, x: FACES["polygamma"](x, n),
        "sinc": SPELLINGS[np.sinc],
    },
    NAMED_SPELLINGS,
)

_MADE = {name: _of(value) for name, value in {"zeros": 0, "ones": 1, "empty": 0}.items()}
_DTYPES = "int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128"
_KINDS = {
    "bool": "bool",
    "signed integer": "int32 int64",
    "unsigned integer": "",
    "integral": "int32 int64",
    "real floating": "float32 float64",
    "complex floating": "",
    "numeric": "int32 int64 float32 float64",
}


def _dtypes(*, device: Any = None, kind: Any = None) -> dict[str, np.dtype[Any]]:
    kinds = tuple(_KINDS) if kind is None else (kind,) if isinstance(kind, str) else kind
    names = " ".join(_KINDS[k] for k in kinds).split()
    return {name: DTYPES[name] for name in names}


_INFO = Namespace(
    "backsweep array namespace info",
    "the description of traced values",
    {
        "capabilities": lambda: {"boolean indexing": False, "data-dependent shapes": False, "max dimensions": None},
        "default_device": lambda: "cpu",
        "default_dtypes": lambda *, device=None: dict(zip(("real floating", "integral", "indexing"), (FLOAT64, DTYPES["int64"], DTYPES["int64"]), strict=True)),
        "devices": lambda: ["cpu"],
        "dtypes": _dtypes,
    },
)

NAMESPACE = Namespace(
    "backsweep array namespace",
    "the array namespace of traced values",
    {
        **{name: _as(getattr(np, name)) for name in _SAME.split()},
        "concat": _as(np.concatenate),
        "vecdot": _as(np.linalg.vecdot),
        "bitwise_invert": _as(np.invert),
        **{name: made for name, (made, _) in _MADE.items()},
        **{f"{name}_like": like for name, (_, like) in _MADE.items()},
        **{f.__name__: f for f in (full, full_like, asarray, astype, arange, eye, clip, result_type, can_cast, finfo, iinfo, broadcast_arrays, meshgrid)},
        "sort": _sorted("sort"),
        "argsort": _sorted("argsort"),
        "where": choose,
        "isdtype": np.isdtype,
        **{name: np.dtype(name) for name in _DTYPES.split()},
        "bool": DTYPES["bool"],
        "e": math.e,
        "inf": math.inf,
        "nan": math.nan,
        "newaxis": None,
        "pi": math.pi,
        "linalg": Namespace("backsweep linalg", "the linear algebra of traced values", {name: _as(getattr(np.linalg, name)) for name in _LINALG.split()}),
        # No part of the standard yet; SciPy looks here for its ufuncs (scipy.special with SCIPY_ARRAY_API=1).
        "special": Namespace("backsweep special", "the special functions of traced values", _SPECIAL),
        "__array_api_version__": VERSION,
        "__array_namespace_info__": lambda: _INFO,
    },
)


def _namespace(api_version: str | None) -> Namespace:
    known = api_version is None or api_version in ("2021.12", "2022.12", "2023.12", VERSION)
    require(known, "this version of the array API is not offered", reason="ATTRIBUTE", got=api_version, allowed=f"up to {VERSION}")
    return NAMESPACE


SPELLINGS[Term.__array_namespace__] = _namespace
SPELLINGS[Term.__setitem__] = set_
