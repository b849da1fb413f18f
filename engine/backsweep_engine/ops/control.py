"""Ops that hold graphs. Their rules for each pass live in transforms/structured.py."""

from __future__ import annotations

from typing import Any

from ..graph import DTYPES, FLOATS, MAX_NESTING, Builder, Graph, Ref, Type
from .op import ANY, BOOL, REALS, Cost, Example, Kind, Op, Structured, emit, register, require, require_dtype


def _cond_infer(types: tuple[Type, ...], then: Graph, otherwise: Graph) -> tuple[Type, ...]:
    require(len(types) >= 1, "cond needs a condition", reason="ARITY", got=0, allowed="1 or more")
    require_dtype(types[0], (BOOL,))
    require(types[0].shape == (), "the condition must be a scalar", got=types[0], allowed="bool", hint="use where for arrays of conditions")
    for name, branch in (("then", then), ("otherwise", otherwise)):
        require(branch.input_types == types[1:], f"the inputs of branch {name} are not the operands", got=_names(types[1:]), allowed=_names(branch.input_types))
        require(branch.nesting < MAX_NESTING, "graphs are nested too deep", reason="TOO_LARGE", got=branch.nesting + 1, allowed=MAX_NESTING)
    require(
        then.output_types == otherwise.output_types,
        "the branches yield different types",
        got=f"{_names(then.output_types)} and {_names(otherwise.output_types)}",
        allowed="equal types",
    )
    return then.output_types


def _names(types: tuple[Type, ...]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def _cond_cost(types: tuple[Type, ...], results: tuple[Type, ...], then: Graph, otherwise: Graph) -> Cost:
    # The branches' own costs are added by the plan, which prices nested graphs; here the results' copy, and operands made contiguous.
    return Cost(0, 2 * sum(t.nbytes for t in results), copies=sum(t.nbytes for t in types))


def _example_branch(op: str, *more: str) -> Graph:
    builder = Builder()
    x = builder.input("x", Type(FLOATS[0], (3,)))
    for name in (op, *more):
        x = Ref(emit(builder, name, [x], {}))
    return builder.build([("", x)])


register(
    Op(
        name="cond",
        infer=_cond_infer,
        apply=None,
        derivative=Structured(),
        batch=lambda mask, *x, **_: _unreachable(),
        cost=_cond_cost,
        examples=(Example((Type(BOOL), Type(DTYPES["float64"], (3,))), {"then": _example_branch("sin"), "otherwise": _example_branch("exp", "negative")}),),
        arity=None,
        attributes={"then": Kind.GRAPH, "otherwise": Kind.GRAPH},
        domain=(REALS, REALS),
        summary="the results of one of two graphs on the operands, as a scalar condition says",
        operand_dtypes=ANY,
    )
)


def _unreachable() -> Any:
    raise AssertionError("structured ops are batched by transforms/structured.py")
