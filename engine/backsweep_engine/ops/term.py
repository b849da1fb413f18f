"""Term: a value of a graph under construction that behaves like an array.

Derivative rules and traced user code are both written on Terms, so both read like mathematics:
`1 - y * y`, `np.cos(x)`, `a.T @ c`. Promotion (NumPy 2, Python scalars weak) and broadcasting
happen here, once, as explicit cast and broadcast nodes. Term is final; what NumPy functions mean is
looked up in op.SPELLINGS, so a new op or spelling changes nothing in this file.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, MAX_CONSTANT_BYTES, Builder, Ref, Type
from .op import SPELLINGS, emit, lookup

FLOAT64 = DTYPES["float64"]
TRACING: ContextVar[Builder | None] = ContextVar("TRACING", default=None)
"""The builder of the function being traced: its new nodes go there even if all operands are captured."""

_DTYPE_OF_KIND = {"f": FLOAT64, "i": DTYPES["int64"], "b": DTYPES["bool"]}


class Term:
    """One value of a graph being built. Immutable; arithmetic on it adds nodes to its builder."""

    __slots__ = ("builder", "ref")

    def __init__(self, builder: Builder, ref: Ref) -> None:
        self.builder = builder
        self.ref = ref

    # What it is.

    @property
    def type(self) -> Type:
        return self.builder.type_of(self.ref)

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
        return elementwise("add", self, other)

    def __radd__(self, other: Any) -> Term:
        return elementwise("add", other, self)

    def __sub__(self, other: Any) -> Term:
        return elementwise("subtract", self, other)

    def __rsub__(self, other: Any) -> Term:
        return elementwise("subtract", other, self)

    def __mul__(self, other: Any) -> Term:
        return elementwise("multiply", self, other)

    def __rmul__(self, other: Any) -> Term:
        return elementwise("multiply", other, self)

    def __truediv__(self, other: Any) -> Term:
        return elementwise("divide", self, other)

    def __rtruediv__(self, other: Any) -> Term:
        return elementwise("divide", other, self)

    def __pow__(self, other: Any) -> Term:
        return _method(np.power, self, other)

    def __rpow__(self, other: Any) -> Term:
        return _method(np.power, other, self)

    def __matmul__(self, other: Any) -> Term:
        return _method(np.matmul, self, other)

    def __rmatmul__(self, other: Any) -> Term:
        return _method(np.matmul, other, self)

    def __neg__(self) -> Term:
        return elementwise("negative", self)

    def __pos__(self) -> Term:
        return self

    def __abs__(self) -> Term:
        return elementwise("abs", self)

    def __floordiv__(self, other: Any) -> Term:
        return _method(np.floor_divide, self, other)

    def __rfloordiv__(self, other: Any) -> Term:
        return _method(np.floor_divide, other, self)

    def __mod__(self, other: Any) -> Term:
        return _method(np.remainder, self, other)

    def __rmod__(self, other: Any) -> Term:
        return _method(np.remainder, other, self)

    def __and__(self, other: Any) -> Term:
        return _method(np.bitwise_and, self, other)

    def __rand__(self, other: Any) -> Term:
        return _method(np.bitwise_and, other, self)

    def __or__(self, other: Any) -> Term:
        return _method(np.bitwise_or, self, other)

    def __ror__(self, other: Any) -> Term:
        return _method(np.bitwise_or, other, self)

    def __invert__(self) -> Term:
        return _method(np.invert, self)

    def __lt__(self, other: Any) -> Term:
        return elementwise("less", self, other)

    def __le__(self, other: Any) -> Term:
        return elementwise("less_equal", self, other)

    def __gt__(self, other: Any) -> Term:
        return elementwise("less", other, self)

    def __ge__(self, other: Any) -> Term:
        return elementwise("less_equal", other, self)

    def __eq__(self, other: object) -> Term:  # type: ignore[override]  # as NumPy: elementwise
        return elementwise("equal", self, other)

    def __ne__(self, other: object) -> Term:  # type: ignore[override]  # as NumPy: elementwise
        return elementwise("not_equal", self, other)

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

    def astype(self, dtype: Any) -> Term:
        return cast(self, DTYPES[Type(np.dtype(dtype)).dtype.name])

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

    def dot(self, other: Any) -> Term:
        return _method(np.dot, self, other)

    def __getitem__(self, index: Any) -> Term:
        return _method(Term.__getitem__, self, index)

    def __iter__(self) -> Iterator[Term]:
        return (self[i] for i in range(len(self)))

    # NumPy's protocols.

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **options: Any) -> Any:
        if method != "__call__" or options:
            what = ", ".join(f"{k}=" for k in options) or f"{ufunc.__name__}.{method}"
            self._refuse(f"{what} cannot be traced", "write the plain call, e.g. np.add(x, y) or np.sum(x, axis)")
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
        self._refuse("a traced value cannot be assigned to", "build the array with np.where, np.concatenate or np.stack")

    def __getattr__(self, name: str) -> NoReturn:
        # An AttributeError, so that hasattr() keeps its meaning.
        raise AttributeError(f"a traced value has no .{name}: use the np function (np.{name}(x)), if backsweep traces it")

    def _refuse(self, message: str, hint: str) -> NoReturn:
        raise GraphError(message, reason="NOT_TRACEABLE", hint=hint, source=self.builder.locate() if self.builder.locate else "")


def _spelled(function: Any, *args: Any, **kwargs: Any) -> Any:
    spelling = SPELLINGS.get(function)
    if spelling is None:
        name = getattr(function, "__name__", str(function))
        terms = [a for a in args if isinstance(a, Term)]
        source = terms[0].builder.locate() if terms and terms[0].builder.locate else ""
        known = sorted({f"np.{f.__name__}" for f in SPELLINGS if f.__name__[:1] == name[:1]})
        raise GraphError(
            f"np.{name} is not among the functions backsweep traces",
            reason="NOT_TRACEABLE",
            allowed=", ".join(known[:8]),
            hint="write it with functions that are; the README lists them",
            source=source,
        )
    try:
        return spelling(*args, **kwargs)
    except GraphError as error:
        terms = [a for a in args if isinstance(a, Term)]
        raise error.located(source=_place(terms[0].builder) if terms else "") from None
    except TypeError as error:
        # A keyword the spelling does not take: say so in the user's words, not ours.
        if "argument" not in str(error):
            raise
        raise GraphError(f"np.{getattr(function, '__name__', function)}: {error}", reason="NOT_TRACEABLE") from None


def _method(function: Any, *args: Any, **kwargs: Any) -> Term:
    """A method or operator of Term that means what the NumPy function means."""
    result: Term = _spelled(function, *args, **kwargs)
    return result


# Building.


def _place(builder: Builder) -> str:
    """The user's line, if the builder knows it."""
    return builder.locate() if builder.locate else ""


def call(name: str, *operands: Term, **attributes: Any) -> Term:
    """Applies an op of one result to Terms as they are (no promotion)."""
    return call_in(common_builder(operands), name, *operands, **attributes)


def call_in(builder: Builder, name: str, *operands: Term, **attributes: Any) -> Term:
    """The same in a given builder, for ops that may have no operands."""
    (result,) = call_several(builder, name, *operands, **attributes)
    return result


def call_several(builder: Builder, name: str, *operands: Term, **attributes: Any) -> tuple[Term, ...]:
    """Applies an op of any number of results."""
    try:
        node = emit(builder, name, [adopt(t, builder) for t in operands], attributes)
    except GraphError as error:
        raise error.located(source=builder.locate() if builder.locate else "") from None
    return tuple([Term(builder, Ref(node, i)) for i in range(len(builder.nodes[node].types))])


def common_builder(terms: Sequence[Any]) -> Builder:
    """The innermost builder among the Terms, or the one being traced within it: outer values are captured by it.

    So a branch of a cond that uses captured values only still does its work inside the branch.
    """
    builders = [t.builder for t in terms if isinstance(t, Term)]
    if not builders:
        raise GraphError("no traced value among the operands", reason="NOT_TRACEABLE")
    innermost = builders[0] if len(builders) == 1 else max(builders, key=_depth)
    inner = tracing = TRACING.get()
    while inner is not None and inner is not innermost:
        inner = inner.parent
    return innermost if tracing is None or inner is None else tracing


def _depth(builder: Builder) -> int:
    depth = 0
    while builder.parent is not None:
        builder, depth = builder.parent, depth + 1
    return depth


def adopt(term: Term, builder: Builder) -> Ref:
    """The value of `term` inside `builder`: its own, or captured through the builders between."""
    if term.builder is builder:
        return term.ref
    chain = [builder]
    while chain[-1].parent is not None and chain[-1] is not term.builder:
        chain.append(chain[-1].parent)
    if chain[-1] is not term.builder:
        raise GraphError(
            "a traced value of another trace was used here",
            reason="NOT_TRACEABLE",
            got=f"a value made at {term.builder.locations[term.ref.node] or 'an unknown line'}" + (f", used at {builder.locate()}" if builder.locate else ""),
            hint="pass it as an argument, or return it from the function that made it",
        )
    ref = term.ref
    for inner in reversed(chain[:-1]):
        ref = inner.capture(ref)
    return ref


def constant(builder: Builder, value: Any, shape: tuple[int, ...] | None = None, dtype: Any = None) -> Term:
    """A constant: `value` (at most 1 KiB) broadcast to `shape`."""
    array = np.array(value, dtype=dtype, order="C")
    array.setflags(write=False)
    result: Term = call_in(builder, "constant", value=array, shape=array.shape if shape is None else shape)
    return result


def lift(value: Any, builder: Builder) -> Term:
    """A number or array as a Term: small arrays become constants, larger ones bound inputs."""
    if isinstance(value, Term):
        return Term(builder, adopt(value, builder))
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise GraphError(
            "a captured value has a dtype backsweep does not support",
            reason="DTYPE",
            got=str(array.dtype) if array.dtype != object else type(value).__name__,
            allowed=", ".join(DTYPES),
            source=builder.locate() if builder.locate else "",
        )
    array = array.astype(DTYPES[array.dtype.name], copy=False)  # in this machine's byte order
    if array.nbytes <= MAX_CONSTANT_BYTES:
        return constant(builder, array)
    return Term(builder, builder.bind(array))


def cast(x: Term, dtype: np.dtype[Any]) -> Term:
    if x.dtype == dtype:
        return x
    result: Term = call("cast", x, dtype=dtype)
    return result


def broadcast(x: Term, shape: tuple[int, ...]) -> Term:
    if x.shape == shape:
        return x
    result: Term = call("broadcast", x, shape=shape)
    return result


def zeros(builder: Builder, type: Type) -> Term:
    return constant(builder, np.zeros((), type.dtype), type.shape)


def or_zeros(term: Term | None, builder: Builder, type: Type) -> Term:
    """A symbolic zero (None) made a value."""
    return zeros(builder, type) if term is None else term


def ones(builder: Builder, type: Type) -> Term:
    return constant(builder, np.ones((), type.dtype), type.shape)


def promoted(values: Sequence[Any], allowed: Sequence[np.dtype[Any]] = ()) -> list[Term]:
    """The values as Terms of one dtype by NumPy 2's rules, integers as float64 where only floats are allowed."""
    builder = common_builder(values)
    # Python scalars are weak: they do not widen the dtype of arrays (NEP 50).
    weak = [isinstance(v, (int, float)) and not isinstance(v, np.generic) and not isinstance(v, bool) for v in values]
    strong = [v if w else lift(v, builder) for v, w in zip(values, weak, strict=True)]
    try:
        dtype = np.result_type(*[v if w else v.dtype for v, w in zip(strong, weak, strict=True)])
    except (TypeError, OverflowError) as error:
        raise GraphError("operands have no common dtype", reason="DTYPE", got=str(error), source=_place(builder)) from None
    if dtype.kind in "ib" and FLOAT64 in allowed and DTYPES["int64"] not in allowed:
        dtype = FLOAT64
    try:
        return [constant(builder, v, dtype=dtype) if w else cast(v, dtype) for v, w in zip(strong, weak, strict=True)]
    except OverflowError as error:
        raise GraphError("a number does not fit its dtype", reason="DTYPE", got=str(error), source=_place(builder)) from None


def elementwise(name: str, *values: Any) -> Term:
    """A pointwise op on anything array-like, promoted and broadcast as NumPy would."""
    terms = promoted(values, lookup(name).operand_dtypes)
    result: Term = call(name, *aligned(terms))
    return result


def aligned(terms: Sequence[Term]) -> list[Term]:
    """The terms broadcast to their common shape; a scalar constant becomes a constant of that shape."""
    try:
        shape = np.broadcast_shapes(*[t.shape for t in terms])
    except ValueError:
        raise GraphError(
            "shapes cannot be broadcast together",
            reason="SHAPE",
            got=" and ".join(str(t.shape) for t in terms),
            allowed="equal, or 1, from the last axis on",
            source=terms[0].builder.locate() if terms[0].builder.locate else "",
        ) from None
    return [_stretched(t, shape) for t in terms]


def _stretched(term: Term, shape: tuple[int, ...]) -> Term:
    node = term.builder.nodes[term.ref.node]
    if node.op == "constant" and term.shape != shape:
        return constant(term.builder, dict(node.attributes)["value"], shape)
    return broadcast(term, shape)


def is_number(value: Any) -> bool:
    """Whether it is a Python or NumPy scalar rather than an array or Term."""
    return isinstance(value, numbers.Number) and not isinstance(value, complex)


Spelling = Callable[..., Any]
