"""Term: a value of a graph under construction that behaves like an array.

Derivative rules and traced user code are both written on Terms, so both read like mathematics:
`1 - y * y`, `np.cos(x)`, `a.T @ c`. Term is final: its operators and methods mean what NumPy's
functions mean, and that is looked up in op.SPELLINGS, so a new op or spelling changes nothing here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, Builder, Ref, Type
from . import refusals
from .op import NAMED_SPELLINGS, SPELLINGS, TABLE

FLOAT64 = DTYPES["float64"]
TRACING: ContextVar[Builder | None] = ContextVar("TRACING", default=None)
"""The builder of the function being traced: its new nodes go there even if all operands are captured."""


class Term:
    """One value of a graph being built; arithmetic on it adds nodes to its builder.

    Immutable, unless `own`: an array that code for any array library has made for itself (xp.zeros_like;
    namespace.py) may be assigned to, and then stands for the value with the part set. No view of it follows.
    """

    __slots__ = ("builder", "own", "ref")

    def __init__(self, builder: Builder, ref: Ref, own: bool = False) -> None:
        self.builder = builder
        self.ref = ref
        self.own = own

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

    @property
    def device(self) -> str:
        return "cpu"

    @property
    def real(self) -> Term:
        return self

    @property
    def imag(self) -> Term:
        return _method(np.imag, self)

    def conj(self) -> Term:
        return self

    conjugate = conj

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
        return spelled(np.divmod, self, other)

    def __rdivmod__(self, other: Any) -> Any:
        return spelled(np.divmod, other, self)

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
        return Term(self.builder, self.ref, self.own)

    def __deepcopy__(self, memo: Any) -> Term:
        return self.copy()

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
            return spelled(function, *inputs, **options)
        if method == "__call__" and options.keys() == {"axis"}:
            return spelled(ufunc, *inputs, **options)  # of a product of vectors: np.vecdot
        if method != "__call__" or options:
            self._refuse(*refusals.ufunc_call(ufunc, method, options))
        return spelled(ufunc, *inputs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return spelled(function, *args, **kwargs)

    def __array_namespace__(self, *, api_version: str | None = None) -> Any:
        return spelled(Term.__array_namespace__, api_version)

    # What a traced value cannot do: it has no number yet.

    def __bool__(self) -> bool:
        raise refusals.conversion("a traced value has no truth value", refusals.BRANCH, self.builder.place)

    def __float__(self) -> float:
        raise refusals.conversion("a traced value is not a Python float", "np.sin(x) for math.sin(x), x.astype(np.float64) for float(x)", self.builder.place)

    def __int__(self) -> int:
        raise refusals.conversion("a traced value is not a Python int", "x.astype(np.int64), or pass the number as a Python argument", self.builder.place)

    def __index__(self) -> int:
        self._refuse(
            "a traced value cannot be a Python index", "x[i] and np.take(a, i) index by one; a range, a slice or a shape needs the number as a Python argument"
        )

    def __round__(self, digits: int = 0) -> Term:
        return _method(np.round, self, digits)

    def __format__(self, spec: str) -> str:
        if spec:
            self._refuse("a traced value has no number to format", "print it without a format: its type is shown")
        return repr(self)

    def __array__(self, *_: Any, **__: Any) -> NoReturn:
        raise refusals.conversion("a traced value cannot become a NumPy array", "", self.builder.place)

    def item(self, *_: Any) -> NoReturn:
        self._refuse("a traced value is not a Python number", "keep it traced, and read the number from the result")

    tolist = item

    def __setitem__(self, index: Any, value: Any) -> None:
        if not self.own:
            hint = "x = bs.set(x, index, value) returns the new array, bs.add_at(x, index, value) for x[index] += value; np.where replaces under a mask"
            self._refuse("a traced value cannot be assigned to", hint)
        changed = _method(Term.__setitem__, self, index, value)
        if changed.builder is not self.builder:
            self._refuse("an array made outside a branch or loop cannot be assigned to inside it", "carry it through the loop, or return it from the branch")
        self.ref = changed.ref

    def __getattr__(self, name: str) -> NoReturn:
        # An AttributeError, so that hasattr() keeps its meaning; tracing shows what caused it.
        if name.startswith("__"):
            raise AttributeError(name)
        refusal = refusals.attribute(name)
        raise AttributeError(f"{refusal.message}: {refusal.hint}") from refusal

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise GraphError(message, reason="NOT_TRACEABLE", hint=hint, source=self.builder.place)


def spelled(function: Any, *args: Any, **kwargs: Any) -> Any:
    """What the NumPy function means on these arguments, traced values among them."""
    spelling = SPELLINGS.get(function) or (NAMED_SPELLINGS.get(function.__name__) if refusals.is_scipy_s(function) else None)
    try:
        if spelling is None:
            raise refusals.unknown(function)
        return spelling(*args, **kwargs)
    except GraphError as error:
        refusal = error
    except TypeError as error:
        if spelling is None or "argument" not in str(error):
            raise
        refusal = refusals.argument(function, spelling, error)  # in the words of NumPy's function, not ours
    raise refusal.located(source=next((a.builder.place for a in args if isinstance(a, Term)), ""))


def owned(result: Any, given: Sequence[Any]) -> Any:
    """The result, `own` unless it is a view of what was given: then it belongs to whoever asked for it."""
    if not isinstance(result, Term):
        return result
    ref, arguments = result.ref, {v.ref for v in given if isinstance(v, Term)}
    while ref not in arguments and (node := result.builder.nodes[ref.node]).operands and TABLE[node.op].view:
        ref = node.operands[0]
    fresh = ref not in arguments and result.builder.nodes[ref.node].op != "input"
    return Term(result.builder, result.ref, own=True) if fresh else result


def _method(function: Any, *args: Any, **kwargs: Any) -> Term:
    """A method or operator of Term that means what the NumPy function means."""
    result: Term = spelled(function, *args, **kwargs)
    for a in args:
        if type(a) is Term and a.own:
            return owned(result, args)  # type: ignore[no-any-return]  # code that owns an array computes with arrays of its own
    return result
