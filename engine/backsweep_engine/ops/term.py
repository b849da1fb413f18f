"""Term: a value of a graph under construction that behaves like an array.

Derivative rules and traced user code are both written on Terms, so both read like mathematics:
`1 - y * y`, `np.cos(x)`, `a.T @ c`. Term is final: its operators and methods mean what NumPy's
functions mean, and that is looked up in op.SPELLINGS, so a new op or spelling changes nothing here.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, Builder, Ref, Type
from .op import HINTS, NAMED_SPELLINGS, SPELLINGS

FLOAT64 = DTYPES["float64"]
TRACING: ContextVar[Builder | None] = ContextVar("TRACING", default=None)
"""The builder of the function being traced: its new nodes go there even if all operands are captured."""


class Term:
    """One value of a graph being built. Immutable; arithmetic on it adds nodes to its builder."""

    __slots__ = ("builder", "ref")

    def __init__(self, builder: Builder, ref: Ref) -> None:
        self.builder = builder
        self.ref = ref

    # What it is.

    @property
    def type(self) -> Type:
        node, result = self.ref
        return self.builder.nodes[node].types[result]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.type.dtype

    @property
    def ndim(self) -> int:
        return self.type.rank

    @property
    def size(self) -> int:
        return self.type.size

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("len() of a traced scalar")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"<traced {self.type}>"

    # Arithmetic.

    def __add__(self, other: Any) -> Term:
        return _method(np.add, self, other)

    def __radd__(self, other: Any) -> Term:
        return _method(np.add, other, self)

    def __sub__(self, other: Any) -> Term:
        return _method(np.subtract, self, other)

    def __rsub__(self, other: Any) -> Term:
        return _method(np.subtract, other, self)

    def __mul__(self, other: Any) -> Term:
        return _method(np.multiply, self, other)

    def __rmul__(self, other: Any) -> Term:
        return _method(np.multiply, other, self)

    def __truediv__(self, other: Any) -> Term:
        return _method(np.divide, self, other)

    def __rtruediv__(self, other: Any) -> Term:
        return _method(np.divide, other, self)

    def __pow__(self, other: Any) -> Term:
        return _method(np.power, self, other)

    def __rpow__(self, other: Any) -> Term:
        return _method(np.power, other, self)

    def __matmul__(self, other: Any) -> Term:
        return _method(np.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Term:
        return _method(np.matmul, other, self)

    def __neg__(self) -> Term:
        return _method(np.negative, self)

    def __pos__(self) -> Term:
        return self

    def __abs__(self) -> Term:
        return _method(np.absolute, self)

    def __floordiv__(self, other: Any) -> Term:
        return _method(np.floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Term:
        return _method(np.floor_divide, other, self)

    def __mod__(self, other: Any) -> Term:
        return _method(np.remainder, self, other)

    def __rmod__(self, other: Any) -> Term:
        return _method(np.remainder, other, self)

    def __divmod__(self, other: Any) -> Any:
        return _spelled(np.divmod, self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return _spelled(np.divmod, other, self)

    def __and__(self, other: Any) -> Term:
        return _method(np.bitwise_and, self, other)

    def __rand__(self, other: Any) -> Term:
        return _method(np.bitwise_and, other, self)

    def __or__(self, other: Any) -> Term:
        return _method(np.bitwise_or, self, other)

    def __ror__(self, other: Any) -> Term:
        return _method(np.bitwise_or, other, self)

    def __xor__(self, other: Any) -> Term:
        return _method(np.bitwise_xor, self, other)

    def __rxor__(self, other: Any) -> Term:
        return _method(np.bitwise_xor, other, self)

    def __invert__(self) -> Term:
        return _method(np.invert, self)

    def __lt__(self, other: Any) -> Term:
        return _method(np.less, self, other)

    def __le__(self, other: Any) -> Term:
        return _method(np.less_equal, self, other)

    def __gt__(self, other: Any) -> Term:
        return _method(np.less, other, self)

    def __ge__(self, other: Any) -> Term:
        return _method(np.less_equal, other, self)

    def __eq__(self, other: object) -> Term:  # type: ignore[override]  # as NumPy: elementwise
        return _method(np.equal, self, other)

    def __ne__(self, other: object) -> Term:  # type: ignore[override]  # as NumPy: elementwise
        return _method(np.not_equal, self, other)

    __hash__ = object.__hash__

    # Shape and reductions: methods NumPy arrays have.

    @property
    def T(self) -> Term:
        return _method(np.transpose, self)

    @property
    def mT(self) -> Term:
        return _method(np.matrix_transpose, self)

    def transpose(self, *axes: Any) -> Term:
        return _method(np.transpose, self, axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes or None)

    def reshape(self, *shape: Any) -> Term:
        return _method(np.reshape, self, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)

    def ravel(self) -> Term:
        return self.reshape(-1)

    def flatten(self) -> Term:
        return self.reshape(-1)

    def squeeze(self, axis: Any = None) -> Term:
        return _method(np.squeeze, self, axis)

    def swapaxes(self, axis1: int, axis2: int) -> Term:
        return _method(np.swapaxes, self, axis1, axis2)

    def take(self, indices: Any, axis: Any = None) -> Term:
        return _method(np.take, self, indices, axis)

    def repeat(self, repeats: Any, axis: Any = None) -> Term:
        return _method(np.repeat, self, repeats, axis)

    def trace(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
        return _method(np.trace, self, offset, axis1, axis2)

    def diagonal(self, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Term:
        return _method(np.diagonal, self, offset, axis1, axis2)

    def astype(self, dtype: Any) -> Term:
        return _method(np.astype, self, dtype)

    def clip(self, min: Any = None, max: Any = None) -> Term:
        return _method(np.clip, self, min, max)

    def round(self, decimals: int = 0) -> Term:
        return _method(np.round, self, decimals)

    def copy(self) -> Term:
        return self

    def sum(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.sum, self, axis=axis, keepdims=keepdims)

    def mean(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.mean, self, axis=axis, keepdims=keepdims)

    def prod(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.prod, self, axis=axis, keepdims=keepdims)

    def max(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.max, self, axis=axis, keepdims=keepdims)

    def min(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.min, self, axis=axis, keepdims=keepdims)

    def var(self, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Term:
        return _method(np.var, self, axis=axis, ddof=ddof, keepdims=keepdims)

    def std(self, axis: Any = None, *, ddof: float = 0, keepdims: bool = False) -> Term:
        return _method(np.std, self, axis=axis, ddof=ddof, keepdims=keepdims)

    def any(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.any, self, axis=axis, keepdims=keepdims)

    def all(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.all, self, axis=axis, keepdims=keepdims)

    def argmax(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.argmax, self, axis=axis, keepdims=keepdims)

    def argmin(self, axis: Any = None, *, keepdims: bool = False) -> Term:
        return _method(np.argmin, self, axis=axis, keepdims=keepdims)

    def argsort(self, axis: Any = -1) -> Term:
        return _method(np.argsort, self, axis)

    def cumsum(self, axis: Any = None) -> Term:
        return _method(np.cumsum, self, axis)

    def cumprod(self, axis: Any = None) -> Term:
        return _method(np.cumprod, self, axis)

    def dot(self, other: Any) -> Term:
        return _method(np.dot, self, other)

    def __getitem__(self, index: Any) -> Term:
        return _method(Term.__getitem__, self, index)

    def __iter__(self) -> Iterator[Term]:
        return (self[i] for i in range(len(self)))

    # NumPy's protocols.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        function = ufunc if method == "__call__" else getattr(ufunc, method)  # np.maximum.accumulate is a name of its own
        if function is not ufunc and function in SPELLINGS and "out" not in options:
            return _spelled(function, *inputs, **options)
        if method == "__call__" and list(options) == ["out"]:
            self._refuse("out= cannot be traced: a NumPy array holds numbers, not traced values", "write h = h + x instead of h += x")
        if method != "__call__" or options:
            what = ", ".join(f"{k}=" for k in options) or f"{ufunc.__name__}.{method}"
            self._refuse(f"{what} cannot be traced", HINTS.get(function, "write the plain call, e.g. np.add(x, y) or np.sum(x, axis)"))
        return _spelled(ufunc, *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return _spelled(function, *args, **kwargs)

    # What a traced value cannot do: it has no number yet.

    def __bool__(self) -> bool:
        self._refuse("a traced value has no truth value", "use np.where, or bs.cond for whole branches")

    def __float__(self) -> float:
        self._refuse("a traced value is not a Python float", "keep it traced; use x.astype or np functions")

    def __int__(self) -> int:
        self._refuse("a traced value is not a Python int", "keep it traced, or pass the number as a Python argument")

    def __index__(self) -> int:
        self._refuse("a traced value cannot be a Python index", "index with x[i] (take), or pass the number as a Python argument")

    def __round__(self, digits: int = 0) -> Term:
        return _method(np.round, self, digits)

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse("a traced value has no number to format", "print it without a format: its type is shown")
        return repr(self)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        self._refuse("a traced value cannot become a NumPy array", "use np functions on it directly; np.stack joins several, np.take(a, i) indexes by one")

    def item(self, *_: Any) -> NoReturn:
        self._refuse("a traced value is not a Python number", "keep it traced, and read the number from the result")

    tolist = item

    def __setitem__(self, index: Any, value: Any) -> NoReturn:
        self._refuse("a traced value cannot be assigned to", "bs.set(x, index, value) returns the new array; np.where and np.stack build one")

    def __getattr__(self, name: str) -> NoReturn:
        # An AttributeError, so that hasattr() keeps its meaning.
        raise AttributeError(f"a traced value has no .{name}: use the np function (np.{name}(x)), if backsweep traces it")

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise GraphError(message, reason="NOT_TRACEABLE", hint=hint, source=self.builder.place)


def _spelled(function: Any, *args: Any, **kwargs: Any) -> Any:
    spelling = SPELLINGS.get(function) or (NAMED_SPELLINGS.get(function.__name__) if _is_scipy_s(function) else None)
    if spelling is None:
        name = getattr(function, "__name__", str(function))
        module, table = ("scipy.special", NAMED_SPELLINGS) if _is_scipy_s(function) else ("np", {f.__name__: f for f in SPELLINGS})
        terms = [a for a in args if isinstance(a, Term)]
        source = terms[0].builder.place if terms else ""
        known = sorted(f"{module}.{f}" for f in table if f[:1] == name[:1] and f != "accumulate")
        raise GraphError(
            f"{module}.{name} is not among the functions backsweep traces",
            reason="NOT_TRACEABLE",
            allowed=", ".join(known[:8]),
            hint=HINTS.get(function, "write it with functions that are; the README lists them"),
            source=source,
        )
    try:
        return spelling(*args, **kwargs)
    except GraphError as error:
        terms = [a for a in args if isinstance(a, Term)]
        raise error.located(source=terms[0].builder.place if terms else "") from None
    except TypeError as error:
        # A keyword the spelling does not take: say so in the user's words, not ours.
        if "argument" not in str(error):
            raise
        raise GraphError(f"np.{getattr(function, '__name__', function)}: {error}", reason="NOT_TRACEABLE") from None


def _is_scipy_s(function: Any) -> bool:
    """Whether it is a ufunc of scipy.special; the caller who has one has imported that, so we need not."""
    special = sys.modules.get("scipy.special")
    return isinstance(function, np.ufunc) and special is not None and getattr(special, function.__name__, None) is function


def _method(function: Any, *args: Any, **kwargs: Any) -> Term:
    """A method or operator of Term that means what the NumPy function means."""
    result: Term = _spelled(function, *args, **kwargs)
    return result
