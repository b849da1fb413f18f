"""Choice, casts and gradient stops: elementwise ops whose operands or results differ in dtype, so that they are no rows of pointwise.py."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from ..graph import DTYPES, Type
from .build import COMPLEX, aligned, call, cast, common_builder, constant, lift, promoted
from .op import ANY, AS_APPLIED, BOOL, REALS, Example, Kind, Op, Transposes, Zero, elementwise_cost, register, require, require_dtype, require_same, spells
from .pointwise import EXAMPLE_SHAPE, FLOAT64, Array, lifted
from .scalars import SCALARS
from .term import Term

# Choice. The tangent of the branch not taken is 0, whatever its derivative would be.


def _where_infer(types: tuple[Type, ...]) -> tuple[Type, ...]:
    require_dtype(types[0], (BOOL,))
    require_same(types[1:])
    require(types[0].shape == types[1].shape, "condition and branches must have one shape", got=types[0], allowed=types[1])
    return (types[1],)


def _where(condition: Array, x: Array, y: Array, out: Array = None) -> Array:
    if out is None:
        return np.where(condition, x, y)
    np.copyto(out, y)
    np.copyto(out, x, where=condition)
    return out


def _where_transpose(i: int, c: Term, condition: Term, x: Any, y: Any) -> Term:
    nothing = constant(c.builder, 0, c.shape, c.dtype)
    return call("where", condition, nothing, c) if i == 2 else call("where", condition, c, nothing)


register(
    Op(
        name="where",
        infer=_where_infer,
        apply=_where,
        derivative=Transposes(_where_transpose, operands=(1, 2)),
        continuation=AS_APPLIED,
        batch=lifted(partial(call, "where")),
        cost=elementwise_cost(1),
        examples=(Example((Type(BOOL, EXAMPLE_SHAPE), Type(FLOAT64, EXAMPLE_SHAPE), Type(FLOAT64, EXAMPLE_SHAPE))),),
        arity=3,
        pointwise=True,
        scalar=SCALARS["where"],
        domain=(REALS, REALS, REALS),
        summary="x where the condition holds, else y",
        numpy=(np.where,),
        operand_dtypes=ANY,
    )
)


@spells(np.where)
def where(condition: Any, x: Any = None, y: Any = None) -> Term:
    """As np.where with three arguments."""
    hint = "use np.where(condition, x, y), or indices known when tracing"
    require(x is not None and y is not None, "where(condition) alone has no static shape", reason="NOT_TRACEABLE", hint=hint)
    x, y, _ = promoted([x, y, condition])
    return call("where", *aligned([lift(condition, common_builder((x, y))), x, y]))


# Casts and gradient stops.


def _cast(x: Array, out: Array = None, *, dtype: np.dtype[Any]) -> Array:
    if out is None:
        return x.astype(dtype)
    np.copyto(out, x, casting="unsafe")
    return out


register(
    Op(
        name="cast",
        infer=lambda types, dtype: (Type(dtype, types[0].shape),),
        apply=_cast,
        derivative=Transposes(lambda i, c, x, dtype: c.astype(x.dtype)),
        continuation=lambda x, *, dtype: x,
        batch=lambda mask, x, dtype: call("cast", x, dtype=dtype),
        cost=elementwise_cost(1),
        examples=(Example((Type(FLOAT64, EXAMPLE_SHAPE),), {"dtype": DTYPES["float32"]}),),
        attributes={"dtype": Kind.DTYPE},
        pointwise=True,
        domain=(REALS,),
        summary="the operand in another dtype (floats to integers truncate towards zero)",
        operand_dtypes=ANY,
    )
)


def dtype_of(dtype: Any) -> np.dtype[Any]:
    """A dtype as NumPy's functions are given one, if a traced value can have it."""
    wanted = np.dtype(dtype)
    hint = COMPLEX if wanted.kind == "c" else ""
    require(wanted.name in DTYPES, "a traced value cannot have this dtype", reason="DTYPE", got=wanted, allowed=", ".join(DTYPES), hint=hint)
    return DTYPES[wanted.name]


@spells(np.astype)
def astype(x: Term, dtype: Any) -> Term:
    return cast(x, dtype_of(dtype))


register(
    Op(
        name="stop_gradient",
        infer=lambda types: types,
        apply=lambda x: x.view(),
        derivative=Zero(),
        continuation=np.real,
        batch=lambda mask, x: call("stop_gradient", x),
        cost=elementwise_cost(0),
        examples=(Example((Type(FLOAT64, EXAMPLE_SHAPE),)),),
        view=True,
        domain=(REALS,),
        summary="the operand, as a constant of every derivative",
        operand_dtypes=ANY,
    )
)
