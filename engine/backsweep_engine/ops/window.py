"""Windows that slide over the last axes, and what is made of them: convolution and its transpose (pooling: pool.py).

Both are compound. Windows are gathered axis by axis, so that a kernel of k x k costs 2k slices instead
of k * k, and a convolution is one matmul over all of them (im2col). Every step is linear, so
derivatives of any order stay as small: they scatter the windows back by as many pads and additions.

Layout as in PyTorch: x [rows, channels, *places], w [results, channels / groups, *kernel], and for the
transpose w [channels, results / groups, *kernel]. `low` and `high` are zeros before and after each axis.
Like everyone's, conv does not turn the kernel round: np.convolve does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial, reduce
from typing import Any

import numpy as np

from ..graph import DTYPES, FLOATS, Type
from .build import call, promoted
from .op import REALS, Cost, Example, Expansion, Kind, Op, face, register, require, require_dtype
from .pieces import cut
from .shape import moveaxis, permute, reshape
from .term import Term

FLOAT64 = DTYPES["float64"]
Ints = tuple[int, ...]
MOST = 1024
"""Kernel lengths, added up: an expansion has a few nodes for each. Longer kernels are for np.convolve."""


# Along one axis.


def _span(k: int, dilation: int) -> int:
    return (k - 1) * dilation + 1


def count(places: Ints, kernel: Ints, stride: Ints, low: Ints, high: Ints, dilation: Ints) -> Ints:
    """How many windows there are along each axis."""
    require(1 <= len(kernel) <= 3, "windows have 1, 2 or 3 axes", got=len(kernel), allowed="1 to 3")
    require(len(places) == len(kernel), "the array has too few axes for these windows", got=places, allowed=f"{len(kernel)} axes")
    given = (stride, low, high, dilation)
    require(all(len(v) == len(kernel) for v in given), "windows need one entry per axis", reason="ATTRIBUTE", got=given, allowed=f"{len(kernel)} each")
    require(min(kernel) >= 1 and sum(kernel) <= MOST, "the kernel is empty or too long", reason="ATTRIBUTE", got=kernel, allowed=f"1 to {MOST} in all")
    require(min(*stride, *dilation) >= 1, "stride and dilation must be positive", reason="ATTRIBUTE", got=(stride, dilation), allowed="1 or more")
    require(min(*low, *high) >= 0, "padding must not be negative", reason="ATTRIBUTE", got=(low, high), allowed="0 or more")
    room = tuple(n + a + b - _span(k, d) for n, a, b, k, d in zip(places, low, high, kernel, dilation, strict=True))
    require(min(room) >= 0, "the kernel is longer than the padded array", got=f"{kernel} over {places}", hint="pad more, or dilate less")
    return tuple(n // s + 1 for n, s in zip(room, stride, strict=True))


def _along(x: Term, axis: int, start: int, stop: int, step: int = 1) -> Term:
    def put(v: int, rest: Ints) -> Ints:
        return (*rest[:axis], v, *rest[axis + 1 :])

    return cut(x, put(start, (0,) * x.ndim), put(stop, x.shape), put(step, (1,) * x.ndim))


def padded(x: Term, low: Ints, high: Ints) -> Term:
    """Zeros (False) before and after the last axes."""
    rest = (0,) * (x.ndim - len(low))
    return call("pad", x, low=(*rest, *low), high=(*rest, *high), interior=(0,) * x.ndim) if any((*low, *high)) else x


def shifts(x: Term, axis: int, k: int, stride: int, dilation: int) -> list[Term]:
    """What stands first in the windows along an axis, what second ..."""
    n = (x.shape[axis] - _span(k, dilation)) // stride + 1
    return [_along(x, axis, i * dilation, i * dilation + (n - 1) * stride + 1, stride) for i in range(k)]


def windows(x: Term, at: int, kernel: Ints, stride: Ints, dilation: Ints) -> Term:
    """[*before, *rest, *places] as [*before, *kernel, *rest, *windows], the kernel's axes beginning at `at`."""
    for a, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
        # The new axis comes before the slices: what is reshaped is then contiguous and not copied.
        x = reshape(x, (*x.shape[: at + a], 1, *x.shape[at + a :]))
        parts = shifts(x, x.ndim - len(kernel) + a, k, s, d)
        x = parts[0] if k == 1 else call("concat", *parts, axis=at + a)
    return x


def _overlaid(c: Term, at: int, kernel: Ints, stride: Ints, dilation: Ints) -> Term:
    """The transpose of windows: what all windows hold, added where they lie."""
    for a in reversed(range(len(kernel))):
        axis = c.ndim - len(kernel) + a
        n, k, s, d = c.shape[axis], kernel[a], stride[a], dilation[a]

        def laid(i: int, c: Term = c, axis: int = axis, a: int = a, n: int = n, k: int = k, s: int = s, d: int = d) -> Term:
            widths = ((i * d, (k - 1 - i) * d, s - 1) if j == axis else (0, 0, 0) for j in range(c.ndim))
            low, high, interior = zip(*widths, strict=True)
            return call("pad", _along(c, at + a, i, i + 1), low=low, high=high, interior=interior)

        c = reduce(lambda x, y: x + y, [laid(i) for i in range(k)])
        c = reshape(c, (*c.shape[: at + a], *c.shape[at + a + 1 :]))
    return c


# conv and conv_transpose


def _first_two(x: Term) -> Term:
    return permute(x, (1, 0, *range(2, x.ndim)))


def _conv_types(types: tuple[Type, ...], groups: int, channels: int) -> tuple[Type, Type]:
    """Checks x and w: axis `channels` of w holds the results, or the channels of the transpose."""
    x, w = types
    require_dtype(x, FLOATS)
    require(x.dtype == w.dtype, "operands must have one dtype", reason="DTYPE", got=f"{x} and {w}", allowed="equal dtypes")
    require(x.rank == w.rank and 3 <= x.rank <= 5, "convolution needs equal ranks of 3 to 5", got=f"{x} and {w}", allowed="[rows, channels, *places]")
    require(groups >= 1 and w.shape[0] % groups == 0, "groups do not divide the kernel", reason="ATTRIBUTE", got=groups, allowed=f"divisors of {w.shape[0]}")
    wanted = w.shape[1] * groups if channels else w.shape[0]
    require(x.shape[1] == wanted, "channels do not fit the kernel", got=f"{x} and {w}", allowed=f"{wanted} channels")
    return x, w


def _conv_infer(types: tuple[Type, ...], stride: Ints, low: Ints, high: Ints, dilation: Ints, groups: int) -> tuple[Type, ...]:
    x, w = _conv_types(types, groups, 1)
    return (x.with_shape((x.shape[0], w.shape[0], *count(x.shape[2:], w.shape[2:], stride, low, high, dilation))),)


def _conv(x: Term, w: Term, stride: Ints, low: Ints, high: Ints, dilation: Ints, groups: int) -> Term:
    found = windows(padded(_first_two(x), low, high), 1, w.shape[2:], stride, dilation)  # [channels, *kernel, rows, *windows]
    results, rest = w.shape[0], found.shape[w.ndim - 1 :]
    terms = math.prod(w.shape[1:])
    y = call("matmul", reshape(w, (groups, results // groups, terms)), reshape(found, (groups, terms, math.prod(rest))))
    return _first_two(reshape(y, (results, *rest)))


def _conv_batch(name: str, mask: tuple[bool, ...], x: Term, w: Term, groups: int, **other: Any) -> Term:
    """Batched arrays are more rows, batched kernels more results of each group, both together more groups."""
    kernels = 1 if name == "conv_transpose" else 0
    if not mask[1]:
        size, rows = x.shape[:2]
        y = call(name, reshape(x, (size * rows, *x.shape[2:])), w, groups=groups, **other)
        return reshape(y, (size, rows, *y.shape[1:]))
    size = w.shape[0]
    if not mask[0]:
        # [size, groups, a, b, ...] with its size before the results, which are a, or b of the transpose.
        split = reshape(w, (size, groups, w.shape[1] // groups, *w.shape[2:]))
        split = moveaxis(split, 0, 2 if kernels else 1)
        first, second = (w.shape[1], size * w.shape[2]) if kernels else (size * w.shape[1], w.shape[2])
        y = call(name, x, reshape(split, (first, second, *w.shape[3:])), groups=groups, **other)
        y = reshape(y, (y.shape[0], groups, size, y.shape[1] // (groups * size), *y.shape[2:]))
        y = moveaxis(y, 2, 0)
        return reshape(y, (size, y.shape[1], y.shape[2] * y.shape[3], *y.shape[4:]))
    x = _first_two(x)
    y = call(
        name,
        reshape(x, (x.shape[0], size * x.shape[2], *x.shape[3:])),
        reshape(w, (size * w.shape[1], *w.shape[2:])),
        groups=size * groups,
        **other,
    )
    return _first_two(reshape(y, (y.shape[0], size, y.shape[1] // size, *y.shape[2:])))


def _conv_cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    x, w = types
    found = math.prod(w.shape[2:]) * max(x.nbytes, results[0].nbytes)
    return Cost(2 * max(results[0].size, x.size) * math.prod(w.shape[1:]), 2 * found + w.nbytes + results[0].nbytes)


WINDOW = {"stride": Kind.INTS, "low": Kind.INTS, "high": Kind.INTS, "dilation": Kind.INTS}

register(
    Op(
        name="conv",
        infer=_conv_infer,
        apply=None,
        derivative=Expansion(_conv),
        batch=partial(_conv_batch, "conv"),
        cost=_conv_cost,
        examples=(
            Example(
                (Type(FLOAT64, (2, 2, 4, 3)), Type(FLOAT64, (2, 2, 3, 2))),
                {"stride": (2, 1), "low": (1, 0), "high": (1, 1), "dilation": (1, 2), "groups": 1},
            ),
        ),
        arity=2,
        attributes={**WINDOW, "groups": Kind.INT},
        domain=(REALS, REALS),
        summary="each channel's windows times its kernel, summed over the channels of a group (1 to 3 axes)",
    )
)


def _transposed_infer(types: tuple[Type, ...], stride: Ints, low: Ints, size: Ints, dilation: Ints, groups: int) -> tuple[Type, ...]:
    x, w = _conv_types(types, groups, 0)
    places, kernel = x.shape[2:], w.shape[2:]
    given = (stride, low, size, dilation)
    require(all(len(v) == len(kernel) for v in given), "windows need one entry per axis", reason="ATTRIBUTE", got=given, allowed=f"{len(kernel)} each")
    require(min(kernel) >= 1 and sum(kernel) <= MOST, "the kernel is empty or too long", reason="ATTRIBUTE", got=kernel, allowed=f"1 to {MOST} in all")
    require(min(*stride, *dilation) >= 1, "stride and dilation must be positive", reason="ATTRIBUTE", got=(stride, dilation), allowed="1 or more")
    require(min(places) >= 1, "there is nothing to convolve", got=x)
    whole = _whole(places, kernel, stride, dilation)
    inside = all(0 <= a < n for a, n in zip(low, whole, strict=True)) and min(size) >= 1
    require(inside, "the result lies outside", reason="ATTRIBUTE", got=(low, size), allowed=f"0 <= low < {whole}, size >= 1")
    return (x.with_shape((x.shape[0], w.shape[1] * groups, *size)),)


def _whole(places: Ints, kernel: Ints, stride: Ints, dilation: Ints) -> Ints:
    """How far the windows around all places reach."""
    return tuple((n - 1) * s + _span(k, d) for n, k, s, d in zip(places, kernel, stride, dilation, strict=True))


def _transposed(x: Term, w: Term, stride: Ints, low: Ints, size: Ints, dilation: Ints, groups: int) -> Term:
    rows, places, kernel = x.shape[0], x.shape[2:], w.shape[2:]
    part, results = w.shape[0] // groups, w.shape[1] * groups
    kernels = permute(reshape(w, (groups, part, math.prod(w.shape[1:]))), (0, 2, 1))
    held = call("matmul", kernels, reshape(_first_two(x), (groups, part, rows * math.prod(places))))
    y = _overlaid(reshape(held, (results, *kernel, rows, *places)), 1, kernel, stride, dilation)  # [results, rows, *whole]
    stop = tuple(min(a + n, d) for a, n, d in zip(low, size, y.shape[2:], strict=True))
    y = cut(y, (0, 0, *low), (*y.shape[:2], *stop))
    missing = tuple(n - d for n, d in zip(size, y.shape[2:], strict=True))
    return _first_two(padded(y, (0,) * len(low), missing))


register(
    Op(
        name="conv_transpose",
        infer=_transposed_infer,
        apply=None,
        derivative=Expansion(_transposed),
        batch=partial(_conv_batch, "conv_transpose"),
        cost=_conv_cost,
        examples=(
            Example(
                (Type(FLOAT64, (2, 2, 2, 3)), Type(FLOAT64, (2, 1, 3, 2))),
                {"stride": (2, 1), "low": (1, 0), "size": (4, 5), "dilation": (1, 2), "groups": 1},
            ),
        ),
        arity=2,
        attributes={"stride": Kind.INTS, "low": Kind.INTS, "size": Kind.INTS, "dilation": Kind.INTS, "groups": Kind.INT},
        domain=(REALS, REALS),
        summary="the transpose of conv: each place times the kernel, added where the windows lie; `size` places from `low` on",
    )
)


# Faces


def each(value: Any, rank: int, what: str) -> Ints:
    """One number for every axis, or one for all."""
    given = tuple(value) if isinstance(value, (tuple, list)) else (value,) * rank
    fits = len(given) == rank and all(isinstance(v, (int, np.integer)) for v in given)
    require(fits, f"{what} is one integer, or one for each axis", reason="ATTRIBUTE", got=value, allowed=f"{rank} integers")
    return tuple(int(v) for v in given)


def sides(padding: Any, kernel: Ints, stride: Ints, dilation: Ints) -> tuple[Ints, Ints]:
    """Zeros before and after: numbers, pairs of them, "valid" (none) or "same" (as many results as places)."""
    rank = len(kernel)
    if isinstance(padding, str):
        require(padding in ("same", "valid"), "unknown padding", reason="ATTRIBUTE", got=padding, allowed="same, valid, or numbers")
        require(padding == "valid" or max(stride) == 1, "same padding has no stride", reason="ATTRIBUTE", got=stride, allowed="1")
        total = [_span(k, d) - 1 if padding == "same" else 0 for k, d in zip(kernel, dilation, strict=True)]
        return tuple(n // 2 for n in total), tuple(n - n // 2 for n in total)
    if isinstance(padding, (tuple, list)) and any(isinstance(p, (tuple, list)) for p in padding):
        require(all(isinstance(p, (tuple, list)) and len(p) == 2 for p in padding), "padding is numbers or pairs", reason="ATTRIBUTE", got=padding)
        low, high = zip(*padding, strict=True)
        return each(low, rank, "padding"), each(high, rank, "padding")
    both = each(padding, rank, "padding")
    return both, both


def _biased(y: Term, bias: Term | None) -> Term:
    if bias is None:
        return y
    require(bias.shape == y.shape[1:2], "the bias is one number for each result", got=bias.shape, allowed=y.shape[1:2])
    return y + reshape(bias, (1, bias.size, *(1,) * (y.ndim - 2)))


def _operands(rank: int, x: Any, w: Any, bias: Any) -> tuple[Term, Term, Term | None]:
    x, w, *rest = promoted([x, w] if bias is None else [x, w, bias], FLOATS)
    require(x.ndim == w.ndim == rank + 2, f"convolution over {rank} axes", got=f"{x.type} and {w.type}", allowed=f"rank {rank + 2}: [rows, channels, *places]")
    return x, w, rest[0] if rest else None


def _conv_face(rank: int) -> Callable[..., Term]:
    def conv(x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1) -> Term:
        x, w, bias = _operands(rank, x, w, bias)
        stride, dilation = each(stride, rank, "stride"), each(dilation, rank, "dilation")
        low, high = sides(padding, w.shape[2:], stride, dilation)
        return _biased(call("conv", x, w, stride=stride, low=low, high=high, dilation=dilation, groups=groups), bias)

    return conv


def _transposed_face(rank: int) -> Callable[..., Term]:
    def conv_transpose(
        x: Any, w: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1, dilation: Any = 1
    ) -> Term:
        x, w, bias = _operands(rank, x, w, bias)
        stride, dilation = each(stride, rank, "stride"), each(dilation, rank, "dilation")
        low, more = each(padding, rank, "padding"), each(output_padding, rank, "output_padding")
        require(min(*stride, *dilation) >= 1, "stride and dilation must be positive", reason="ATTRIBUTE", got=(stride, dilation), allowed="1 or more")
        size = tuple(n - 2 * a + b for n, a, b in zip(_whole(x.shape[2:], w.shape[2:], stride, dilation), low, more, strict=True))
        return _biased(call("conv_transpose", x, w, stride=stride, low=low, size=size, dilation=dilation, groups=groups), bias)

    return conv_transpose


for _rank in (1, 2, 3):
    for _name, _make, _what in (("conv", _conv_face, "Convolution"), ("conv_transpose", _transposed_face, "The transpose of convolution")):
        _face = _make(_rank)
        _face.__name__ = _face.__qualname__ = f"{_name}{_rank}d"
        _face.__doc__ = f"{_what} over {_rank} axes, laid out and called as PyTorch's {_name}{_rank}d."
        face(f"{_name}{_rank}d")(_face)
