"""Ops that hold graphs: choices, loops, and functions with a derivative of their own.

Values from outside are explicit operands, never closures. Their rules for each transform live in
transforms/structured/, how they run in execute/structured.py. Linear ones only appear in derivatives.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, MAX_NESTING, Builder, Graph, Ref, Type
from .op import ANY, BOOL, REALS, Cost, Example, Kind, Op, Structured, emit, register, require, require_dtype

FLOAT64, INT64 = DTYPES["float64"], DTYPES["int64"]
_VECTOR = Type(FLOAT64, (3,))
Types = tuple[Type, ...]

MAX_LEVELS = 3
"""Of `kept`: each is one more forward pass of a reverse sweep, and some more scans in its graph."""


def _names(types: Sequence[Type]) -> str:
    return ", ".join(map(str, types)) or "nothing"


def _require_held(name: str, graph: Graph, inputs: Types) -> None:
    require(graph.input_types == inputs, f"the inputs of {name} are not the operands", got=_names(inputs), allowed=_names(graph.input_types))
    require(graph.nesting < MAX_NESTING, "graphs are nested too deep", reason="TOO_LARGE", got=graph.nesting + 1, allowed=MAX_NESTING)


def _require_count(name: str, count: int, most: int | None = None) -> None:
    allowed = "0 or more" if most is None else f"0 to {most}"
    require(count >= 0 and (most is None or count <= most), f"{name} is out of range", reason="ATTRIBUTE", got=count, allowed=allowed)


def _require_kept(kept: tuple[int, ...]) -> None:
    require(len(kept) <= MAX_LEVELS, "kept has too many levels", reason="ATTRIBUTE", got=len(kept), allowed=f"at most {MAX_LEVELS}")
    require(all(k >= 1 for k in kept), "kept is out of range", reason="ATTRIBUTE", got=kept, allowed="1 or more at each level")


def _held_cost(types: Types, results: Types, **_: Any) -> Cost:
    """Of the node itself: the results' copy, and operands made contiguous. The plan adds what its graphs cost."""
    return Cost(0, 2 * sum(t.nbytes for t in results), copies=sum(t.nbytes for t in types))


def _unreachable(*_: Any, **__: Any) -> Any:
    raise AssertionError("structured ops are batched by transforms/structured")


def _example(op: str, *more: str, types: Sequence[Type] = (_VECTOR,)) -> Graph:
    """The first op on all inputs, the others on what came before."""
    builder = Builder()
    values = [builder.input(f"x{i}", type) for i, type in enumerate(types)]
    for name in (op, *more):
        values = [Ref(emit(builder, name, values, {}))]
    return builder.build([("", values[0])])


# cond


def _cond_infer(types: Types, then: Graph, otherwise: Graph) -> Types:
    require(len(types) >= 1, "cond needs a condition", reason="ARITY", got=0, allowed="1 or more")
    require_dtype(types[0], (BOOL,))
    require(types[0].shape == (), "the condition must be a scalar", got=types[0], allowed="bool", hint="use where for arrays of conditions")
    for name, branch in (("then", then), ("otherwise", otherwise)):
        _require_held(f"branch {name}", branch, types[1:])
    require(
        then.output_types == otherwise.output_types,
        "the branches yield different types",
        got=f"{_names(then.output_types)} and {_names(otherwise.output_types)}",
        allowed="equal types",
    )
    return then.output_types


register(
    Op(
        name="cond",
        infer=_cond_infer,
        apply=None,
        derivative=Structured(lambda then, otherwise: ((1, (then, otherwise)),)),
        batch=_unreachable,
        cost=_held_cost,
        examples=(Example((Type(BOOL), _VECTOR), {"then": _example("sin"), "otherwise": _example("exp", "negative")}),),
        arity=None,
        attributes={"then": Kind.GRAPH, "otherwise": Kind.GRAPH},
        domain=(REALS, REALS),
        summary="the results of one of two graphs on the operands, as a scalar condition says",
        operand_dtypes=ANY,
    )
)


# scan


def _scan_infer(types: Types, body: Graph, carries: int, slices: int, length: int, reverse: bool, counted: bool, kept: tuple[int, ...]) -> Types:
    if counted:
        require(len(types) >= 1 and types[0] == Type(INT64), "the number of trips must be an integer", got=_names(types[:1]), allowed="int64")
    given = types[counted:]
    _require_count("carries", carries, len(given))
    _require_count("slices", slices, len(given) - carries)
    _require_count("length", length)
    _require_kept(kept)
    carry, xs, constants = given[:carries], given[carries : carries + slices], given[carries + slices :]
    for x in xs:
        require(x.shape[:1] == (length,), "an operand cannot be cut into slices", got=x, allowed=f"a first axis of length {length}")
    _require_held("the body", body, (*carry, *[x.with_shape(x.shape[1:]) for x in xs], *constants))
    ys = _require_carried(carry, body)
    return (*carry, *[y.with_shape((length, *y.shape)) for y in ys])


def _require_carried(carry: Types, body: Graph) -> Types:
    """The types of what the body yields beside what it carries on."""
    carried = body.output_types[: len(carry)]
    require(carried == carry, "the body carries on other types than it is given", got=_names(carried), allowed=_names(carry))
    require(body.outputs, "the body has no result", reason="ARITY", got=0, allowed="1 or more")
    return body.output_types[len(carry) :]


def _scan_example() -> Example:
    attributes = {
        "body": _example("add", "tanh", types=[_VECTOR, _VECTOR]),
        "carries": 1,
        "slices": 1,
        "length": 4,
        "reverse": False,
        "counted": False,
        "kept": (),
    }
    return Example((_VECTOR, Type(FLOAT64, (4, 3))), attributes)


register(
    Op(
        name="scan",
        infer=_scan_infer,
        apply=None,
        derivative=Structured(lambda body, length, **_: ((length, (body,)),)),
        batch=_unreachable,
        cost=_held_cost,
        examples=(_scan_example(),),
        arity=None,
        attributes={
            "body": Kind.GRAPH,
            "carries": Kind.INT,
            "slices": Kind.INT,
            "length": Kind.INT,
            "reverse": Kind.BOOL,
            "counted": Kind.BOOL,
            "kept": Kind.INTS,
        },
        domain=(REALS, REALS),
        summary="a loop: the body on what is carried, on one slice of each x (the last slice first if reverse) and on what stays; the last carry, and "
        "what each trip yields, stacked. Counted: an operand before the others says how many of the first slices are used; of the others 0 is yielded. "
        "Kept: of how many trips a reverse sweep keeps what is carried, at each level of a nest, computing the others again; if empty, of all",
        operand_dtypes=ANY,
    )
)


# while_loop


def _while_infer(types: Types, condition: Graph, body: Graph, carries: int, max_trips: int, kept: tuple[int, ...]) -> Types:
    _require_count("carries", carries, len(types))
    _require_count("max_trips", max_trips)
    _require_kept(kept)
    _require_held("the condition", condition, types)
    _require_held("the body", body, types)
    require(condition.output_types == (Type(BOOL),), "the condition must yield one truth value", got=_names(condition.output_types), allowed="bool")
    ys = _require_carried(types[:carries], body)
    return (Type(INT64), *types[:carries], *[y.with_shape((max_trips, *y.shape)) for y in ys])


def _while_example() -> Example:
    """Halved until it is at most 1."""
    scalar = Type(FLOAT64)
    ends, halves = Builder(), Builder()
    x, half = ends.input("x", scalar), halves.input("x", scalar)
    one = emit(ends, "constant", [], {"value": _number(1.0), "shape": ()})
    condition = ends.build([("", Ref(emit(ends, "less", [Ref(one), Ref(emit(ends, "abs", [x], {}))], {})))])
    factor = emit(halves, "constant", [], {"value": _number(0.5), "shape": ()})
    body = halves.build([("", Ref(emit(halves, "multiply", [half, Ref(factor)], {})))])
    return Example((scalar,), {"condition": condition, "body": body, "carries": 1, "max_trips": 9, "kept": ()})


def _number(value: float) -> Any:
    array = np.array(value)
    array.setflags(write=False)
    return array


register(
    Op(
        name="while_loop",
        infer=_while_infer,
        apply=None,
        derivative=Structured(lambda condition, body, max_trips, **_: ((max_trips + 1, (condition,)), (max_trips, (body,)))),
        batch=_unreachable,
        cost=_held_cost,
        examples=(_while_example(),),
        arity=None,
        attributes={"condition": Kind.GRAPH, "body": Kind.GRAPH, "carries": Kind.INT, "max_trips": Kind.INT, "kept": Kind.INTS},
        domain=(REALS,),
        summary="the body as long as the condition holds, both on what is carried and on what stays: how many trips, the last carry, and what each trip "
        "yields, stacked, 0 after the last. More than max_trips is an error (LOOP_CAP). Kept: as of scan",
        operand_dtypes=ANY,
    )
)


# checkpoint


def _checkpoint_infer(types: Types, body: Graph) -> Types:
    _require_held("the body", body, types)
    return body.output_types


register(
    Op(
        name="checkpoint",
        infer=_checkpoint_infer,
        apply=None,
        derivative=Structured(lambda body: ((1, (body,)),)),
        batch=_unreachable,
        cost=_held_cost,
        examples=(Example((_VECTOR,), {"body": _example("sin", "exp")}),),
        arity=None,
        attributes={"body": Kind.GRAPH},
        domain=(REALS,),
        summary="the graph on the operands; its derivative computes what it needs of the values inside again instead of keeping them",
        operand_dtypes=ANY,
    )
)


# custom and reverse_only: a function with a vjp of its own


def floats(types: Sequence[Type]) -> Types:
    return tuple(t for t in types if t.is_float)


def _require_vjp(types: Types, primal: Graph, vjp: Graph) -> None:
    _require_held("the function", primal, types)
    _require_held("the vjp", vjp, (*types, *primal.output_types, *floats(primal.output_types)))
    wanted = floats(types)
    require(vjp.output_types == wanted, "the vjp must yield a cotangent for each floating operand", got=_names(vjp.output_types), allowed=_names(wanted))


def _custom_infer(types: Types, primal: Graph, vjp: Graph) -> Types:
    _require_vjp(types, primal, vjp)
    return primal.output_types


def _own_vjp(*after: str) -> Graph:
    """cos(x) times the cotangent, and what comes after."""
    builder = Builder()
    x, _, value = (builder.input(name, _VECTOR) for name in ("x", "y", "c"))
    value = Ref(emit(builder, "multiply", [value, Ref(emit(builder, "cos", [x], {}))], {}))
    for name in after:
        value = Ref(emit(builder, name, [value], {}))
    return builder.build([("", value)])


register(
    Op(
        name="custom",
        infer=_custom_infer,
        apply=None,
        derivative=Structured(lambda primal, vjp: ((1, (primal,)),)),
        batch=_unreachable,
        cost=_held_cost,
        examples=(Example((_VECTOR,), {"primal": _example("sin"), "vjp": _own_vjp()}),),
        arity=None,
        attributes={"primal": Kind.GRAPH, "vjp": Kind.GRAPH},
        domain=(REALS,),
        summary="the graph primal on the operands, with a derivative of its own: vjp, on the operands, the results and their cotangents. Where vjp is "
        "linear in these by its structure, forward mode is its transpose; otherwise there is reverse mode only",
        operand_dtypes=ANY,
    )
)


def _reverse_only_infer(types: Types, primal: Graph, vjp: Graph, flaw: str) -> Types:
    count = primal.arity + len(primal.outputs)
    require(len(types) >= count, "operands are missing", reason="ARITY", got=len(types), allowed=f"{count} or more")
    given = types[: primal.arity]
    _require_vjp(given, primal, vjp)
    require(types[primal.arity : count] == primal.output_types, "results must follow the operands", got=_names(types[primal.arity : count]))
    require(types[count:] == floats(given), "tangents must follow the results", got=_names(types[count:]), allowed=_names(floats(given)))
    return floats(primal.output_types)


def refusal(flaw: str) -> GraphError:
    """Why a derivative by forward mode cannot be had. `flaw`: the op of the vjp that is not linear in the cotangent."""
    return GraphError(
        "a function with its own vjp has no derivative in forward mode: the vjp is not linear in the cotangent",
        reason="NOT_DIFFERENTIABLE",
        op="custom",
        got=f"{flaw} of the cotangent",
        hint="ask for a gradient, a vjp or a Jacobian in reverse mode, or write the vjp in operations linear in the cotangent",
    )


def _refused(types: Types, results: Types, flaw: str, **_: Any) -> NoReturn:
    raise refusal(flaw)


register(
    Op(
        name="reverse_only",
        infer=_reverse_only_infer,
        apply=None,
        derivative=Structured(lambda primal, vjp, flaw: ()),
        batch=_unreachable,
        cost=_refused,
        examples=(Example((_VECTOR, _VECTOR, _VECTOR), {"primal": _example("sin"), "vjp": _own_vjp("tanh"), "flaw": "tanh"}),),
        arity=None,
        attributes={"primal": Kind.GRAPH, "vjp": Kind.GRAPH, "flaw": Kind.TEXT},
        domain=(REALS, REALS, REALS),
        summary="stands for the forward derivative of a custom function whose vjp is not linear: operands, results, tangents. It can be transposed, not run",
        operand_dtypes=ANY,
    )
)


def runs_forward(graph: Graph) -> bool:
    """Whether no custom function stands in the way of running a graph of forward mode."""
    return all(node.op != "reverse_only" for node in graph.nodes) and all(map(runs_forward, graph.subgraphs))
