"""Making values: applying ops to Terms, constants, captured arrays, promotion and broadcasting.

Promotion (NumPy 2, Python scalars weak) and broadcasting happen here, once, as explicit cast and
broadcast nodes: a graph has no implicit ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, MAX_CONSTANT_BYTES, Builder, Ref, Type, results_of
from .op import emit, lookup
from .refusals import SPARSE
from .term import TRACING, Term

FLOAT64 = DTYPES["float64"]
COMPLEX = "complex numbers are not traced: compute with the real and imaginary parts"


def call(name: str, *operands: Term, **attributes: Any) -> Term:
    """Applies an op of one result to Terms as they are (no promotion)."""
    (result,) = call_several(common_builder(operands), name, *operands, **attributes)
    return result


def call_in(builder: Builder, name: str, *operands: Term, **attributes: Any) -> Term:
    """The same in a given builder, for ops that may have no operands."""
    (result,) = call_several(builder, name, *operands, **attributes)
    return result


def call_several(builder: Builder, name: str, *operands: Term, **attributes: Any) -> tuple[Term, ...]:
    """Applies an op of any number of results."""
    try:
        node = emit(builder, name, [t.ref if t.builder is builder else adopt(t, builder) for t in operands], attributes)
    except GraphError as error:
        raise error.located(source=builder.place) from None
    return tuple([Term(builder, ref) for ref in results_of(node, len(builder.nodes[node].types))])


def common_builder(terms: Sequence[Any]) -> Builder:
    """The innermost builder among the Terms, or the one being traced within it: outer values are captured by it.

    So a branch of a cond that uses captured values only still does its work inside the branch.
    """
    builders = [t.builder for t in terms if type(t) is Term]
    if builders and builders.count(builders[0]) == len(builders) and TRACING.get() in (None, builders[0]):
        return builders[0]
    if not builders:
        listed = [v for v in terms if _holds_traced(v)]
        if listed:
            return common_builder([v for values in listed for v in values])
        raise GraphError("no traced value among the operands", reason="NOT_TRACEABLE")
    first = builders[0]
    innermost = first if all(b is first for b in builders) else max(builders, key=_depth)
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
            got=f"a value made at {term.builder.locations[term.ref.node] or 'an unknown line'}" + (f", used at {builder.place}" if builder.place else ""),
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
    return call_in(builder, "constant", value=array, shape=array.shape if shape is None else shape)


def lift(value: Any, builder: Builder) -> Term:
    """A number, an array or a list as a Term: small arrays become constants, larger ones bound inputs; lists may hold Terms."""
    if isinstance(value, Term):
        return Term(builder, adopt(value, builder))
    if isinstance(value, (list, tuple)) and any(map(_holds_traced, value)):
        return _rows(value, builder)
    array = np.asarray(value)
    if array.dtype.name not in DTYPES:
        raise GraphError(
            "a captured value has a dtype backsweep does not support",
            reason="DTYPE",
            got=str(array.dtype) if array.dtype != object else type(value).__name__,
            allowed=", ".join(DTYPES),
            hint=COMPLEX if array.dtype.kind == "c" else SPARSE if type(value).__module__.startswith("scipy.sparse") else "",
            source=builder.place,
        )
    array = array.astype(DTYPES[array.dtype.name], copy=False)  # in this machine's byte order
    if array.nbytes <= MAX_CONSTANT_BYTES:
        return constant(builder, array)
    return Term(builder, builder.bind(array))


def _holds_traced(value: Any) -> bool:
    return isinstance(value, Term) or (isinstance(value, (list, tuple)) and any(map(_holds_traced, value)))


def _rows(values: Sequence[Any], builder: Builder) -> Term:
    """A list as np.array reads it: its elements, of one shape, along a new first axis."""
    terms = promoted([v if isinstance(v, (int, float)) else lift(v, builder) for v in values])
    shapes = sorted({t.shape for t in terms})
    if len(shapes) > 1:
        got = " and ".join(map(str, shapes))
        raise GraphError("the elements of a list differ in shape", reason="SHAPE", got=got, allowed="one shape", source=builder.place)
    return call_in(builder, "concat", *[call_in(builder, "reshape", t, shape=(1, *t.shape)) for t in terms], axis=0)


def cast(x: Term, dtype: np.dtype[Any]) -> Term:
    if x.dtype == dtype:
        return x
    return call("cast", x, dtype=dtype)


def broadcast(x: Term, shape: tuple[int, ...]) -> Term:
    if x.shape == shape:
        return x
    return call("broadcast", x, shape=shape)


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
    dtypes = [v.type.dtype for v in values if type(v) is Term and v.builder is builder]
    if len(dtypes) == len(values) == dtypes.count(dtypes[0]) and dtypes[0].kind == "f":
        return list(values)
    # Python scalars are weak: they do not widen the dtype of arrays (NEP 50).
    weak = [isinstance(v, (int, float)) and not isinstance(v, np.generic) and not isinstance(v, bool) for v in values]
    strong = [v if w else lift(v, builder) for v, w in zip(values, weak, strict=True)]
    try:
        dtype = np.result_type(*[v if w else v.dtype for v, w in zip(strong, weak, strict=True)])
    except (TypeError, OverflowError) as error:
        raise GraphError("operands have no common dtype", reason="DTYPE", got=str(error), source=builder.place) from None
    if dtype.kind in "ib" and FLOAT64 in allowed and DTYPES["int64"] not in allowed:
        dtype = FLOAT64
    try:
        return [constant(builder, v, dtype=dtype) if w else cast(v, dtype) for v, w in zip(strong, weak, strict=True)]
    except OverflowError as error:
        raise GraphError("a number does not fit its dtype", reason="DTYPE", got=str(error), source=builder.place) from None


def elementwise(name: str, *values: Any) -> Term:
    """A pointwise op on anything array-like, promoted and broadcast as NumPy would."""
    types = [v.type for v in values if type(v) is Term]
    if len(types) == len(values) == types.count(types[0]) and types[0].is_float:
        return call(name, *values)  # the usual case in derivatives: nothing to promote
    terms = promoted(values, lookup(name).operand_dtypes)
    return call(name, *aligned(terms))


def aligned(terms: Sequence[Term]) -> list[Term]:
    """The terms broadcast to their common shape; a scalar constant becomes a constant of that shape."""
    shapes = [t.type.shape for t in terms]
    if shapes.count(shapes[0]) == len(shapes):
        return list(terms)
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        raise GraphError(
            "shapes cannot be broadcast together",
            reason="SHAPE",
            got=" and ".join(map(str, shapes)),
            allowed="equal, or 1, from the last axis on",
            source=terms[0].builder.place,
        ) from None
    return [_stretched(t, shape) for t in terms]


def _stretched(term: Term, shape: tuple[int, ...]) -> Term:
    node = term.builder.nodes[term.ref.node]
    if node.op == "constant" and term.shape != shape:
        return constant(term.builder, dict(node.attributes)["value"], shape)
    return broadcast(term, shape)
