"""Views and pieces. Normal form: one reshape, broadcast or transpose where there were several, and transposes as late as possible.

A transpose is moved out of elementwise work (which then runs over contiguous memory) towards matrix products,
which take it as it is. All identities hold for every value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...graph import Node
from ...ops.op import TABLE, Partials
from ...ops.term import Term
from .rules import attribute, full, made, maker, operand, rule, scalar

Ints = tuple[int, ...]


def reshaped(x: Term, shape: Ints) -> Term:
    return x if x.shape == shape else made("reshape", x, shape=shape)


def permuted(x: Term, axes: Sequence[int]) -> Term:
    return x if list(axes) == list(range(len(axes))) else made("transpose", x, axes=tuple(axes))


def spread(x: Term, shape: Ints) -> Term:
    return x if x.shape == shape else made("broadcast", x, shape=shape)


@rule("reshape", "broadcast", "cast")
def to_its_own_type(node: Node, x: Sequence[Term]) -> Term | None:
    """A reshape, broadcast or cast to the type it has is nothing."""
    return x[0] if x[0].type == node.types[0] else None


@rule("name")
def name(node: Node, x: Sequence[Term]) -> Term | None:
    """name(x) = x: what is asked of a value by its name is found in the submitted graph."""
    return x[0]


@rule("reshape", of=["reshape", "broadcast", "transpose"])
def reshape(node: Node, x: Sequence[Term]) -> Term | None:
    """Of two reshapes the last stands; axes of length 1 come and go before a broadcast or a transpose."""
    shape, inner = node.types[0].shape, maker(x[0])
    if inner.op == "reshape":
        return reshaped(operand(x[0]), shape)
    wide = x[0].shape
    if [d for d in wide if d != 1] != [d for d in shape if d != 1]:
        return None
    if inner.op == "broadcast":
        source = operand(x[0])
        lengths = (1,) * (len(wide) - source.ndim) + source.shape
        long = iter([lengths[a] for a, d in enumerate(wide) if d != 1])
        return spread(reshaped(source, tuple([1 if d == 1 else next(long) for d in shape])), shape)
    if inner.op == "transpose" and 0 not in shape and x[0].size > 1:
        # The axes of length 1 go last before the transpose, and from there to where they are wanted.
        source, axes = operand(x[0]), [a for a in attribute(inner, "axes") if operand(x[0]).shape[a] != 1]
        long, short = iter([sorted(axes).index(a) for a in axes]), iter(range(len(axes), len(shape)))
        flat = reshaped(source, (*[d for d in source.shape if d != 1], *[1] * (len(shape) - len(axes))))
        return permuted(flat, [next(short) if d == 1 else next(long) for d in shape])
    return None


@rule("broadcast", of=["broadcast", "reshape"])
def broadcast(node: Node, x: Sequence[Term]) -> Term | None:
    """Of two broadcasts the last stands; leading axes of length 1 need no reshape before it."""
    inner, shape = maker(x[0]), node.types[0].shape
    if inner.op == "broadcast":
        return spread(operand(x[0]), shape)
    if inner.op == "reshape" and inner.types[0].shape == (1,) * (x[0].ndim - (source := operand(x[0])).ndim) + source.shape:
        return spread(source, shape)
    return None


@rule("transpose")
def transpose(node: Node, x: Sequence[Term]) -> Term | None:
    """Permutations compose; the identity is nothing; one that moves only axes of length 1 is a reshape; of what is equal along them, a broadcast."""
    axes, inner = attribute(node, "axes"), maker(x[0])
    if inner.op == "transpose":
        before = attribute(inner, "axes")
        return permuted(operand(x[0]), [before[a] for a in axes])
    long = [a for a in axes if x[0].shape[a] != 1]
    if long == sorted(long):
        return reshaped(x[0], node.types[0].shape)
    if inner.op == "broadcast":
        source = operand(x[0])
        aligned = reshaped(source, (1,) * (x[0].ndim - source.ndim) + source.shape)
        return spread(permuted(aligned, axes), node.types[0].shape)
    return None


# Broadcasts and transposes out of elementwise work.


def broadcast_last(node: Node, x: Sequence[Term]) -> Term | None:
    """f(broadcast(x), broadcast(y)) = broadcast(f(x, y)): elementwise work is done before its operands are stretched."""
    shape = node.types[0].shape
    lengths = [_unstretched(t) for t in x]
    common = tuple(map(max, *lengths)) if len(x) > 1 else lengths[0]
    if common == shape or 0 in shape:
        return None
    small = [_shrunk(t, own, common) for t, own in zip(x, lengths, strict=True)]
    return spread(made(node.op, *small, **dict(node.attributes)), shape)


def _unstretched(x: Term) -> Ints:
    """The shape x was broadcast from, with axes of length 1 in front."""
    if scalar(x) is not None:
        return (1,) * x.ndim
    if maker(x).op != "broadcast":
        return x.shape
    source = operand(x)
    return (1,) * (x.ndim - source.ndim) + source.shape


def _shrunk(x: Term, own: Ints, common: Ints) -> Term:
    value = scalar(x)
    if value is not None:
        return full(x.builder, value, common, x.dtype)
    return spread(reshaped(operand(x), own), common) if maker(x).op == "broadcast" else x


def _reoriented(x: Term, axes: Ints) -> Term | None:
    """x with its axes permuted, where that costs nothing: what was transposed that way, or is equal along all of them but some."""
    if scalar(x) is not None:
        return full(x.builder, scalar(x), tuple(x.shape[a] for a in axes), x.dtype)
    op = maker(x).op
    if op == "transpose":
        back = permuted(x, axes)
        return back if maker(back).op != "transpose" else None
    return permuted(x, axes) if op == "broadcast" and operand(x).size < x.size else None


def transpose_last(node: Node, x: Sequence[Term]) -> Term | None:
    """f(x.T, y.T) = f(x, y).T; numbers and what is broadcast along the axes may stand beside."""
    if len(node.types[0].shape) < 2:
        return None
    turned = next((t for t in x if maker(t).op == "transpose"), None)
    if turned is None:
        return None
    axes = attribute(maker(turned), "axes")
    back = tuple(int(a) for a in np.argsort(axes))
    straight: list[Term] = []
    for t in x:
        moved = _reoriented(t, back)
        if moved is None:
            return None
        straight.append(moved)
    return permuted(made(node.op, *straight, **dict(node.attributes)), axes)


def is_elementwise(name: str) -> bool:
    """Whether every element of the result depends on the same element of each operand, and there are operands."""
    op = TABLE[name]
    return name in _LINEAR or (op.arity is not None and isinstance(op.derivative, Partials))


_LINEAR = frozenset(("add", "subtract", "multiply", "negative", "scale", "where", "cast"))
for _f, _of in ((broadcast_last, "broadcast"), (transpose_last, "transpose")):
    rule(*sorted(name for name in TABLE if is_elementwise(name)), of=[_of])(_f)


# Pieces.


@rule("slice")
def piece(node: Node, x: Sequence[Term]) -> Term | None:
    """A slice of a slice is one; of what is the same everywhere, less of it; of what was concatenated or padded, the piece itself."""
    start, stop, step = (attribute(node, name) for name in ("start", "stop", "step"))
    inner = maker(x[0])
    if scalar(x[0]) is not None:
        return full(x[0].builder, scalar(x[0]), node.types[0].shape, x[0].dtype)
    if inner.op == "slice":
        first, stride = attribute(inner, "start"), attribute(inner, "step")
        begin = tuple(f + a * s for f, a, s in zip(first, start, stride, strict=True))
        steps = tuple(s * t for s, t in zip(stride, step, strict=True))
        end = tuple(b + (n - 1) * s + 1 if n else b for b, n, s in zip(begin, node.types[0].shape, steps, strict=True))
        return made("slice", operand(x[0]), start=begin, stop=end, step=steps)
    if inner.op == "pad" and (start, step) == (attribute(inner, "low"), tuple(k + 1 for k in attribute(inner, "interior"))):
        return operand(x[0]) if operand(x[0]).shape == node.types[0].shape else None
    if inner.op == "concat":
        return _of_concat(inner, x[0], start, stop, step)
    if node.types[0] == x[0].type and not any(start) and set(step) <= {1}:
        return x[0]
    return None


def _of_concat(inner: Node, joined: Term, start: Ints, stop: Ints, step: Ints) -> Term | None:
    axis, at = attribute(inner, "axis"), 0
    for k in range(len(inner.operands)):
        part = operand(joined, k)
        end = at + part.shape[axis]
        if at <= start[axis] < stop[axis] <= end:
            begin, last = (tuple(v - at if a == axis else v for a, v in enumerate(ends)) for ends in (start, stop))
            if not any(begin) and last == part.shape and set(step) <= {1}:
                return part
            return made("slice", part, start=begin, stop=last, step=step)
        at = end
    return None


@rule("pad")
def no_padding(node: Node, x: Sequence[Term]) -> Term | None:
    """Zeros added nowhere."""
    return x[0] if node.types[0] == x[0].type else None


@rule("concat")
def of_one(node: Node, x: Sequence[Term]) -> Term | None:
    """One piece is the whole; empty ones count for nothing."""
    filled = [t for t in x if t.size]
    if not filled or len(filled) == len(x) > 1:
        return None
    return filled[0] if len(filled) == 1 else made("concat", *filled, axis=attribute(node, "axis"))


@rule("add", of=["pad"])
def apart(node: Node, x: Sequence[Term]) -> Term | None:
    """Two arrays padded with zeros, one beginning where the other one ends, are concatenated, also within a longer sum: x + 0 = x."""
    joined = _side_by_side(x[0], x[1])
    if joined is not None:
        return joined
    for k, more in ((0, x[1]), (1, x[0])):
        if maker(x[k]).op == "add" and maker(more).op == "pad":
            for i in (0, 1):
                joined = _side_by_side(operand(x[k], i), more)
                if joined is not None:
                    return made("add", operand(x[k], 1 - i), joined)
    return None


def _side_by_side(x: Term, y: Term) -> Term | None:
    """x + y, both padded along one axis, the same, with what is not 0 in the one next to that in the other."""
    if maker(x).op != "pad" or maker(y).op != "pad":
        return None
    pads: list[Any] = [{name: attribute(maker(t), name) for name in ("low", "high", "interior")} for t in (x, y)]
    axes = [c for c in range(x.ndim) if any((p["low"][c], p["high"][c]) != (0, 0) for p in pads)]
    if len(axes) != 1 or any(any(p["interior"]) for p in pads):
        return None
    (axis,) = axes
    ((low, a), (high, b)) = sorted(((p["low"][axis], operand(t)) for p, t in zip(pads, (x, y), strict=True)), key=lambda part: part[0])
    if low < 0 or low + a.shape[axis] != high or high + b.shape[axis] > x.shape[axis] or not (a.size and b.size):
        return None
    both = made("concat", *_pieces(a, axis), *_pieces(b, axis), axis=axis)
    around = [tuple([n if c == axis else 0 for c in range(x.ndim)]) for n in (low, x.shape[axis] - high - b.shape[axis])]
    return both if both.type == x.type else made("pad", both, low=around[0], high=around[1], interior=(0,) * x.ndim)


def _pieces(x: Term, axis: int) -> list[Term]:
    node = maker(x)
    return [operand(x, k) for k in range(len(node.operands))] if node.op == "concat" and attribute(node, "axis") == axis else [x]
