"""Graphs over vectors: what a sweep runs takes one vector a row and gives one vector a row.

Matrices run over the concatenated C-order ravels of outputs and inputs; here are the graphs whose
inputs and outputs are such ravels, made from graphs over arrays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from ..graph import DTYPES, Builder, Graph, Type
from ..ops.build import call, cast, zeros
from ..ops.pieces import cut
from ..ops.shape import reshape
from ..ops.term import Term
from ..transforms.rewrite import inline


def copied_inputs(graph: Graph) -> tuple[Builder, list[Term]]:
    builder = Builder()
    return builder, [Term(builder, builder.input(n, t)) for n, t in zip(graph.input_names, graph.input_types, strict=True)]


def every_output(graph: Graph, tangent: Graph) -> Graph:
    """A jvp graph with zeros for the outputs that are not floating, which have no tangent."""
    if all(t.is_float for t in graph.output_types):
        return tangent
    builder, terms = copied_inputs(tangent)
    moving = iter(inline(builder, tangent, terms))
    outputs = [next(moving) if t.is_float else zeros(builder, t) for t in graph.output_types]
    return builder.build([(name, y.ref) for name, y in zip(graph.output_names, outputs, strict=True)])


def common_dtype(types: Sequence[Type]) -> np.dtype[Any]:
    """float64 if any of them is, float32 if all that float are; one integer dtype stays itself, several are int64."""
    if types and all(t.dtype == types[0].dtype for t in types):
        return types[0].dtype
    if types and not any(t.is_float for t in types):
        return DTYPES["int64"]
    return DTYPES["float64"] if any(t.dtype != DTYPES["float32"] for t in types if t.is_float) else DTYPES["float32"]


def flattened(graph: Graph, dtype: np.dtype[Any]) -> Graph:
    """The graph with one output: the concatenated C-order ravel of all, in one dtype."""
    builder, terms = copied_inputs(graph)
    return builder.build([("", joined(builder, inline(builder, graph, terms), dtype).ref)])


def joined(builder: Builder, values: Sequence[Term], dtype: np.dtype[Any]) -> Term:
    flat = [reshape(cast(y, dtype), (y.size,)) for y in values]
    if not flat:
        return zeros(builder, Type(dtype, (0,)))
    return flat[0] if len(flat) == 1 else call("concat", *flat, axis=0)


def seeded(derived: Graph, arity: int, leaves: Sequence[Type], dtype: np.dtype[Any], weigh: Literal["", "dot", "times"] = "") -> Graph:
    """`derived` with its seeds (the inputs from `arity` on) cut from one vector over the ravel of `leaves`.

    Leaves that are not floating take their place in the vector but have no seed. `weigh`: instead of the
    outputs, their inner product with the seed ("dot"), or each times its element of the seed ("times").
    """
    builder = Builder()
    terms = [Term(builder, builder.input(n, t)) for n, t in zip(derived.input_names[:arity], derived.input_types[:arity], strict=True)]
    seed = Term(builder, builder.input("seed", Type(dtype, (sum(t.size for t in leaves),))))
    at = 0
    for leaf in leaves:
        if leaf.is_float:
            terms.append(reshape(cast(cut(seed, (at,), (at + leaf.size,)), leaf.dtype), leaf.shape))
        at += leaf.size
    vector = joined(builder, inline(builder, derived, terms), dtype)
    if weigh:
        vector = vector * seed
    if weigh == "dot":
        vector = reshape(call("sum", vector, axes=(0,)), (1,))
    return builder.build([("", vector.ref)])
