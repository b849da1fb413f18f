"""Bands: the matrix of a linear graph as a few vectors, where each of its elements reads few of the seed's, in known places.

A value that depends on the seed is held as bands: element i is the sum over the bands of `by[i]` times one element of the
seed, `of[i]`. Ops that move elements move both, the numbers in the graph and the places here; factors multiply the
numbers; sums add where the places are the same, and else are more bands. Of a stencil so much is left that one would
write by hand: no seeds, and nothing is computed for a place where nothing can be. What is not here (an op that adds
along an axis, an index that is data, a loop) makes no bands, and such a graph is swept.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..graph import Builder, Graph, Node, Ref, Type
from ..ops.build import call, constant, ones, zeros
from ..ops.op import lookup
from ..ops.shape import reshape
from ..ops.term import Term
from ..stopping import paced
from .rewrite import inline, reached, terms
from .simplify import simplify
from .sparsity import effort

Ints = np.ndarray[Any, np.dtype[np.int64]]

MAX_BANDS = 16
"""Of one value. With more there is little left to win over seeds."""

MAX_EFFORT = 4_000_000
"""Elements of all values that depend on the seed. What is larger is swept, in blocks that can be shared out."""


@dataclass(frozen=True, slots=True, eq=False)
class Band:
    """`of`: the place in the seed, from 1, of each element, 0 where there is none; shaped like the value, as are the two others.

    `by`: the factors, anything where there is none (so that a constant stays one when it is padded); `padded`: the same, 0 there.
    """

    of: Ints
    by: Term
    padded: Term


@dataclass(frozen=True, slots=True)
class Banded:
    """`graph`: its inputs but the seed -> the bands, ravelled one after the other, equal ones once. `of`: (bands, rows), the column
    of each entry from 1, or 0; `places`: of each band, which of those of the graph it is.
    """

    graph: Graph
    of: Ints
    places: tuple[int, ...]


def banded(graph: Graph, at: int) -> Banded | None:
    """The matrix of `graph`, a linear one with one output, a vector, by input number `at`; None where it is not made of few bands."""
    moving = [i == at for i in range(graph.arity)]
    builder, mask = Builder(), reached(graph, [at])
    known = all(node.op in RULES for i, node in enumerate(graph.nodes) if mask[i] and i >= graph.arity)
    if not known or effort(graph, moving) > MAX_EFFORT:
        return None
    values: dict[Ref, Term] = {}
    bands: dict[Ref, list[Band]] = {}
    for i, node in enumerate(paced(graph.nodes)):
        if i == at:
            bands[Ref(i)] = [_seed(builder, node.types[0])]
        elif i < graph.arity:
            values[Ref(i)] = Term(builder, builder.input(graph.input_names[i], node.types[0]))
        elif mask[i]:
            builder.origin = node.origin
            found = RULES[node.op](builder, node, [bands.get(ref) or values[ref] for ref in node.operands])
            if found is None or len(found) > MAX_BANDS:
                return None
            bands[Ref(i)] = found
        else:
            builder.origin = node.origin
            for r, y in enumerate(terms(builder, node, [values[ref] for ref in node.operands])):
                values[Ref(i, r)] = y
    held = bands.get(graph.outputs[0])
    if held is None:
        return None
    of = np.stack([band.of.reshape(-1) for band in held])
    ordered = np.sort(of, axis=0)
    if ((ordered[1:] == ordered[:-1]) & (ordered[1:] > 0)).any():
        return None  # an entry would be in two parts
    size = graph.output_types[0].size
    graph = simplify(builder.build([(str(k), reshape(band.by, (size,)).ref) for k, band in enumerate(held)]))
    kept = list(dict.fromkeys(graph.outputs))
    builder, inputs = Builder(), []
    for name, type in zip(graph.input_names, graph.input_types, strict=True):
        inputs.append(Term(builder, builder.input(name, type)))
    flat = inline(builder, graph.select([graph.outputs.index(ref) for ref in kept]), inputs)
    whole = flat[0] if len(flat) == 1 else call("concat", *flat, axis=0)
    return Banded(builder.build([("", whole.ref)]), of, tuple([kept.index(ref) for ref in graph.outputs]))


def _seed(builder: Builder, type: Type) -> Band:
    one = ones(builder, type)
    return Band(np.arange(1, type.size + 1).reshape(type.shape), one, one)


# Rules: the bands of a node by those of its operands, which are Terms where they do not depend on the seed. None: it has none.

Operand = Term | list[Band]
Rule = Callable[[Builder, Node, Sequence[Operand]], list[Band] | None]


def _moved(builder: Builder, node: Node, operands: Sequence[Operand]) -> list[Band] | None:
    """Elements change places; new ones are 0."""
    (bands,) = operands
    assert isinstance(bands, list)

    def on(x: Term) -> Term:
        number = _uniform(x)
        return _applied(builder, node, [x]) if number is None else constant(builder, np.asarray(number, x.dtype), node.types[0].shape)

    return [Band(_placed(node, [band.of]), on(band.by), _applied(builder, node, [band.padded])) for band in bands]


def _joined(builder: Builder, node: Node, operands: Sequence[Operand]) -> list[Band] | None:
    """Band by band, each as far as an operand has so many."""
    sources = [x.type if isinstance(x, Term) else x[0].by.type for x in operands]
    found = []
    for k in range(max(len(x) for x in operands if isinstance(x, list))):
        given = [x[k] if isinstance(x, list) and k < len(x) else None for x in operands]
        filled = [zeros(builder, t) for t in sources]
        of = [np.zeros(t.shape, np.int64) if band is None else band.of for band, t in zip(given, sources, strict=True)]
        uniform = {_uniform(band.by) for band in given if band is not None}
        by = _applied(builder, node, [z if band is None else band.by for band, z in zip(given, filled, strict=True)])
        if len(uniform) == 1 and None not in uniform:
            by = constant(builder, np.asarray(uniform.pop(), node.types[0].dtype), node.types[0].shape)
        padded = _applied(builder, node, [z if band is None else band.padded for band, z in zip(given, filled, strict=True)])
        found.append(Band(_placed(node, of), by, padded))
    return found


def _scaled(builder: Builder, node: Node, operands: Sequence[Operand]) -> list[Band] | None:
    """Linear in the one operand that moves, the others fixed, element by element."""
    places = [k for k, x in enumerate(operands) if isinstance(x, list)]
    if len(places) != 1:
        return None

    def on(x: Term) -> Term:
        return _applied(builder, node, [x if isinstance(y, list) else y for y in operands])

    (bands,) = [x for x in operands if isinstance(x, list)]
    return [Band(band.of, on(band.by), on(band.padded)) for band in bands]


def _added(builder: Builder, node: Node, operands: Sequence[Operand]) -> list[Band] | None:
    left, right = operands
    found = list(left) if isinstance(left, list) else []
    for band in right if isinstance(right, list) else ():
        if node.op == "subtract":
            band = Band(band.of, call("negative", band.by), call("negative", band.padded))
        # With the band it agrees with in most places, and where it does not, one of the two has nothing.
        agreeing = [(int(((b.of == band.of) & (b.of > 0)).sum()), -k) for k, b in enumerate(found) if _agree(b.of, band.of)]
        if not agreeing:
            found.append(band)
            continue
        k = -max(agreeing)[1]
        other = found[k]
        padded = call("add", other.padded, band.padded)
        by = call("add", other.by, band.by) if np.array_equal(other.of, band.of) else padded
        found[k] = Band(np.maximum(other.of, band.of), by, padded)
    return found


def _agree(a: Ints, b: Ints) -> bool:
    return a is b or bool(((a == b) | (a == 0) | (b == 0)).all())


def _applied(builder: Builder, node: Node, operands: Sequence[Term]) -> Term:
    return terms(builder, node, operands)[0]


def _placed(node: Node, of: Sequence[Ints]) -> Ints:
    """The op's own kernel, which only moves elements or puts 0, on places."""
    apply = lookup(node.op).apply
    assert apply is not None
    return np.asarray(apply(*of, **dict(node.attributes)))


def _uniform(x: Term) -> Any:
    """The one number of a constant; None of anything else."""
    node = x.builder.nodes[x.ref.node]
    value = dict(node.attributes)["value"] if node.op == "constant" else None
    return value.item() if value is not None and value.size == 1 else None


RULES: dict[str, Rule] = {
    **dict.fromkeys(("broadcast", "reshape", "transpose", "flip", "slice", "pad"), _moved),
    "concat": _joined,
    **dict.fromkeys(("negative", "cast", "multiply", "scale"), _scaled),
    **dict.fromkeys(("add", "subtract"), _added),
}
