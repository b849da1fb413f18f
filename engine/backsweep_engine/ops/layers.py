"""Layers of networks: normalisations, attention, dropout. Compound, one node each, with no rules of their own.

The records hold what is not elementwise; weights and biases are a product and a sum in the faces. No layer
has a state: statistics and masks are operands, so that equal calls are equal graphs.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..errors import GraphError
from ..graph import DTYPES, FLOATS, Type
from .build import broadcast, call, call_in, constant, lift, promoted
from .contract import spread
from .op import BOOL, POSITIVE, REALS, Cost, Example, Expansion, Kind, Op, elementwise_cost, face, register, require, require_axes, require_dtype
from .pointwise import lifted
from .shape import moveaxis, normal_axes, reshape, swapaxes
from .term import Term

FLOAT64 = DTYPES["float64"]
Ints = tuple[int, ...]
_ARRAY = Type(FLOAT64, (2, 4, 3))


# Normalisations


def _require_eps(eps: float) -> None:
    require(math.isfinite(eps) and eps > 0, "eps must be positive, or equal entries have no derivative", reason="ATTRIBUTE", got=eps)


def _mean(x: Term, axes: Ints) -> Term:
    return call("sum", x, axes=axes) / math.prod(x.shape[a] for a in axes)


def _over_size(x: Term, axes: Ints, eps: float) -> Term:
    """x over the root of its mean square."""
    return x / spread(call("sqrt", _mean(call("square", x), axes) + eps), x.shape, axes)


def _layer_norm(x: Term, axes: Ints, eps: float) -> Term:
    return _over_size(x - spread(_mean(x, axes), x.shape, axes), axes, eps)


def _along_infer(types: tuple[Type, ...], axes: Ints, eps: float) -> tuple[Type, ...]:
    require_dtype(types[0], FLOATS)
    require_axes(axes, types[0].rank)
    require(all(types[0].shape[a] for a in axes), "normalisation over no elements", got=types[0].shape)
    _require_eps(eps)
    return types


for _name, _rule, _summary in (
    ("layer_norm", _layer_norm, "deviations from the mean over axes, over the root of their mean square plus eps"),
    ("rms_norm", _over_size, "x over the root of its mean square along axes plus eps"),
):
    register(
        Op(
            name=_name,
            infer=_along_infer,
            apply=None,
            derivative=Expansion(_rule),
            batch=lambda mask, x, axes, eps, name=_name: call(name, x, axes=tuple(a + 1 for a in axes), eps=eps),
            cost=elementwise_cost(10),
            examples=(Example((_ARRAY,), {"axes": (1, 2), "eps": 1e-5}),),
            attributes={"axes": Kind.INTS, "eps": Kind.FLOAT},
            domain=(REALS,),
            summary=_summary,
        )
    )


def _channels(x: Type) -> int:
    require_dtype(x, FLOATS)
    require(x.rank >= 2, "normalisation needs rows and channels", got=x, allowed="[rows, channels, *places]")
    return x.shape[1]


def _group_infer(types: tuple[Type, ...], groups: int, eps: float) -> tuple[Type, ...]:
    channels = _channels(types[0])
    divides = groups >= 1 and channels % groups == 0
    require(divides, "groups do not divide the channels", reason="ATTRIBUTE", got=groups, allowed=f"divisors of {channels}")
    require(0 not in types[0].shape[1:], "normalisation over no elements", got=types[0].shape)
    _require_eps(eps)
    return types


def _group_norm(x: Term, groups: int, eps: float) -> Term:
    grouped = reshape(x, (x.shape[0], groups, math.prod(x.shape[1:]) // groups))
    return reshape(call("layer_norm", grouped, axes=(2,), eps=eps), x.shape)


def _instance_infer(types: tuple[Type, ...], eps: float) -> tuple[Type, ...]:
    return _group_infer(types, _channels(types[0]) or 1, eps)


def _more_rows(name: str, x: Term, *others: Term, **attributes: Any) -> Term:
    return reshape(call(name, reshape(x, (x.shape[0] * x.shape[1], *x.shape[2:])), *others, **attributes), x.shape)


register(
    Op(
        name="group_norm",
        infer=_group_infer,
        apply=None,
        derivative=Expansion(_group_norm),
        batch=lambda mask, x, **attributes: _more_rows("group_norm", x, **attributes),
        cost=elementwise_cost(10),
        examples=(Example((_ARRAY,), {"groups": 2, "eps": 1e-5}),),
        attributes={"groups": Kind.INT, "eps": Kind.FLOAT},
        domain=(REALS,),
        summary="layer_norm of each row over each group of channels and all places",
    )
)
register(
    Op(
        name="instance_norm",
        infer=_instance_infer,
        apply=None,
        derivative=Expansion(lambda x, eps: call("layer_norm", x, axes=tuple(range(2, x.ndim)), eps=eps)),
        batch=lambda mask, x, eps: _more_rows("instance_norm", x, eps=eps),
        cost=elementwise_cost(10),
        examples=(Example((_ARRAY,), {"eps": 1e-5}),),
        attributes={"eps": Kind.FLOAT},
        domain=(REALS,),
        summary="layer_norm of each row and channel over all places",
    )
)


def _batch_infer(types: tuple[Type, ...], eps: float) -> tuple[Type, ...]:
    x, *statistics = types
    channels = _channels(x)
    for t in statistics:
        require(t.dtype == x.dtype, "operands must have one dtype", reason="DTYPE", got=t, allowed=x.dtype.name)
        require(t.shape == (channels,), "statistics are one number for each channel", got=t, allowed=(channels,))
    _require_eps(eps)
    return (x,)


def _by_channel(x: Term, v: Term) -> Term:
    return broadcast(reshape(v, (v.size, *(1,) * (x.ndim - 2))), x.shape)


def _batch_norm(x: Term, mean: Term, variance: Term, eps: float) -> Term:
    return (x - _by_channel(x, mean)) / _by_channel(x, call("sqrt", variance + eps))


def _batch_norm_batch(mask: tuple[bool, ...], *operands: Term, eps: float) -> Term:
    """Batched arrays are more rows; with batched statistics all are more channels."""
    if not any(mask[1:]):
        return _more_rows("batch_norm", *operands, eps=eps)
    size = next(t.shape[0] for t, m in zip(operands, mask, strict=True) if m)
    x, *statistics = (t if m else broadcast(t, (size, *t.shape)) for t, m in zip(operands, mask, strict=True))
    beside = moveaxis(x, 0, 1)
    flat = reshape(beside, (beside.shape[0], size * beside.shape[2], *beside.shape[3:]))
    y = call("batch_norm", flat, *[reshape(s, (s.size,)) for s in statistics], eps=eps)
    return moveaxis(reshape(y, beside.shape), 1, 0)


register(
    Op(
        name="batch_norm",
        infer=_batch_infer,
        apply=None,
        derivative=Expansion(_batch_norm),
        batch=_batch_norm_batch,
        cost=elementwise_cost(4),
        examples=(Example((_ARRAY, Type(FLOAT64, (4,)), Type(FLOAT64, (4,))), {"eps": 1e-5}),),
        arity=3,
        attributes={"eps": Kind.FLOAT},
        domain=(REALS, REALS, POSITIVE),
        summary="each channel less its given mean, over the root of its given variance plus eps",
    )
)


# attention


def _attention_infer(types: tuple[Type, ...], causal: bool, scale: float) -> tuple[Type, ...]:
    require(len(types) in (3, 4), "attention needs queries, keys, values and perhaps a mask", reason="ARITY", got=len(types), allowed="3 or 4")
    q, k, v = types[:3]
    require_dtype(q, FLOATS)
    require(q.dtype == k.dtype == v.dtype, "operands must have one dtype", reason="DTYPE", got=f"{q}, {k}, {v}", allowed="equal dtypes")
    fits = 2 <= q.rank == k.rank == v.rank and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    fits = fits and q.shape[-1] == k.shape[-1] and k.shape[-2] == v.shape[-2] >= 1
    require(fits, "queries, keys and values do not fit", got=f"{q}, {k}, {v}", allowed="[..., n, d], [..., m, d], [..., m, e] with m at least 1")
    wanted = (*q.shape[:-1], k.shape[-2])
    for mask in types[3:]:
        require(mask.dtype in (BOOL, q.dtype), "the mask is of another dtype", reason="DTYPE", got=mask, allowed=f"bool, {q.dtype.name}")
        require(mask.shape == wanted, "the mask does not fit", got=mask, allowed=wanted)
    require(math.isfinite(scale), "the scale must be finite", reason="ATTRIBUTE", got=scale)
    return (q.with_shape((*q.shape[:-1], v.shape[-1])),)


def _attention(q: Term, k: Term, v: Term, mask: Term | None = None, *, causal: bool, scale: float) -> Term:
    scores = call("matmul", q * scale, swapaxes(k, -1, -2))
    seeing = mask is None  # then every query sees one key at least, the first
    if mask is not None and mask.dtype != BOOL:
        scores, mask = scores + mask, None
    if causal:
        n, m = scores.shape[-2:]
        row, column = (call_in(q.builder, "iota", size=size) for size in (n, m))
        earlier = broadcast(reshape(column, (1, m)) <= reshape(row, (n, 1)), scores.shape)
        mask = earlier if mask is None else call("logical_and", mask, earlier)
    last = (scores.ndim - 1,)
    if mask is None:
        return call("matmul", call("softmax", scores, axes=last), v)
    # Far below every score, yet finite: a query that may see nothing gets 0 from the second where, not 0 / 0.
    never = constant(q.builder, float(np.finfo(q.dtype).min) / 2, scores.shape, q.dtype)
    weights = call("softmax", call("where", mask, scores, never), axes=last)
    if seeing:
        return call("matmul", weights, v)
    return call("matmul", call("where", mask, weights, constant(q.builder, 0, scores.shape, q.dtype)), v)


def _attention_cost(types: tuple[Type, ...], results: tuple[Type, ...], **_: Any) -> Cost:
    q, k, v = types[:3]
    scores = math.prod(q.shape[:-1]) * k.shape[-2]
    return Cost(scores * (2 * q.shape[-1] + 2 * v.shape[-1] + 30), sum(t.nbytes for t in types + results) + 6 * scores * q.dtype.itemsize)


register(
    Op(
        name="attention",
        infer=_attention_infer,
        apply=None,
        derivative=Expansion(_attention),
        batch=lifted(lambda *x, **attributes: call("attention", *x, **attributes)),
        cost=_attention_cost,
        examples=(Example((Type(FLOAT64, (3, 2)), Type(FLOAT64, (3, 2)), Type(FLOAT64, (3, 2))), {"causal": True, "scale": 0.5}),),
        arity=None,
        attributes={"causal": Kind.BOOL, "scale": Kind.FLOAT},
        domain=(REALS, REALS, REALS),
        summary="softmax(scale q k') v; a mask is added (float) or says what is seen (bool); causal: no key after the query's place",
    )
)


# dropout


def _dropout_infer(types: tuple[Type, ...], rate: float) -> tuple[Type, ...]:
    x, kept = types
    require_dtype(x, FLOATS)
    require_dtype(kept, (BOOL,))
    require(x.shape == kept.shape, "operands must have one shape", got=f"{x} and {kept}", allowed="equal shapes")
    require(0 <= rate < 1, "the rate is a probability below 1", reason="ATTRIBUTE", got=rate, allowed="0 <= rate < 1")
    return (x,)


def _dropout(x: Term, kept: Term, rate: float) -> Term:
    return call("where", kept, x / (1 - rate), constant(x.builder, 0, x.shape, x.dtype))


register(
    Op(
        name="dropout",
        infer=_dropout_infer,
        apply=None,
        derivative=Expansion(_dropout),
        batch=lifted(lambda x, kept, rate: call("dropout", x, kept, rate=rate)),
        cost=elementwise_cost(2),
        examples=(Example((_ARRAY, Type(BOOL, (2, 4, 3))), {"rate": 0.25}),),
        arity=2,
        attributes={"rate": Kind.FLOAT},
        domain=(REALS, REALS),
        summary="x / (1 - rate) where the mask is true, 0 elsewhere",
    )
)


# Faces. Weight and bias are optional; arrays are positional, as everywhere.


def _affine(y: Term, weight: Any, bias: Any, shape: Ints, places: int) -> Term:
    """y weight + bias, both of `shape` and aligned `places` axes before the last."""
    for v, what in ((weight, "weight"), (bias, "bias")):
        if v is not None:
            require(v.shape == shape, f"the {what} does not fit", got=v.shape, allowed=shape)
    wide = (*shape, *(1,) * places)
    y = y if weight is None else y * reshape(weight, wide)
    return y if bias is None else y + reshape(bias, wide)


def _floats(*values: Any) -> list[Any]:
    """Promoted to one dtype, None left as it is."""
    given = iter(promoted([v for v in values if v is not None], FLOATS))
    return [None if v is None else next(given) for v in values]


@face("layer_norm")
def layer_norm(x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, *, eps: float = 1e-5) -> Term:
    """(x - mean) / sqrt(var + eps) over the last axes named, times weight, plus bias."""
    return _normalised("layer_norm", x, weight, bias, axis, eps)


@face("rms_norm")
def rms_norm(x: Any, weight: Any = None, bias: Any = None, axis: Any = -1, *, eps: float = 1e-5) -> Term:
    """x / sqrt(mean(x * x) + eps) over the last axes named, times weight, plus bias."""
    return _normalised("rms_norm", x, weight, bias, axis, eps)


def _normalised(name: str, x: Any, weight: Any, bias: Any, axis: Any, eps: float) -> Term:
    x, weight, bias = _floats(x, weight, bias)
    axes = normal_axes(axis, x.ndim)
    last = axes == tuple(range(x.ndim - len(axes), x.ndim))
    require(last or (weight is None and bias is None), "a weight is for the last axes", reason="ATTRIBUTE", got=axis, hint="multiply and add it yourself")
    return _affine(call(name, x, axes=axes, eps=float(eps)), weight, bias, tuple(x.shape[a] for a in axes), 0)


@face("group_norm")
def group_norm(x: Any, groups: int, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Term:
    """layer_norm of each row of [rows, channels, *places] over each group of channels; weight and bias by channel."""
    x, weight, bias = _floats(x, weight, bias)
    return _affine(call("group_norm", x, groups=groups, eps=float(eps)), weight, bias, x.shape[1:2], x.ndim - 2)


@face("instance_norm")
def instance_norm(x: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Term:
    """layer_norm of each row and channel of [rows, channels, *places]; weight and bias by channel."""
    x, weight, bias = _floats(x, weight, bias)
    return _affine(call("instance_norm", x, eps=float(eps)), weight, bias, x.shape[1:2], x.ndim - 2)


@face("batch_norm")
def batch_norm(x: Any, mean: Any, var: Any, weight: Any = None, bias: Any = None, *, eps: float = 1e-5) -> Term:
    """(x - mean) / sqrt(var + eps) by channel of [rows, channels, *places]; for training, pass x's own mean and variance."""
    x, mean, var, weight, bias = _floats(x, mean, var, weight, bias)
    return _affine(call("batch_norm", x, mean, var, eps=float(eps)), weight, bias, x.shape[1:2], x.ndim - 2)


@face("attention")
def attention(q: Any, k: Any, v: Any, mask: Any = None, *, causal: bool = False, scale: float | None = None) -> Term:
    """softmax(q k' / sqrt(d)) v; a mask of bools is True where a key is seen (a query that sees none gets 0), one of floats is added."""
    q, k, v, added = _floats(q, k, v, None if mask is None or _is_bool(mask) else mask)
    require(min(q.ndim, k.ndim, v.ndim) >= 2, "queries, keys and values are matrices", got=f"{q.type}, {k.type}, {v.type}", allowed="[..., places, width]")
    seen = None if mask is None else lift(mask, q.builder) if added is None else added
    require(seen is None or seen.ndim >= 2, "the mask is a matrix", got=seen, allowed="[..., queries, keys]")
    stacks = [x.shape[:-2] for x in (q, k, v, seen) if x is not None]
    try:
        lead = np.broadcast_shapes(*stacks)
    except ValueError:
        raise GraphError("stacks cannot be broadcast together", reason="SHAPE", got=" and ".join(map(str, stacks))) from None
    operands = [broadcast(x, (*lead, *x.shape[-2:])) for x in (q, k, v)]
    if seen is not None:
        operands.append(broadcast(seen, (*lead, q.shape[-2], k.shape[-2])))
    size = 1 / math.sqrt(max(q.shape[-1], 1)) if scale is None else float(scale)
    return call("attention", *operands, causal=bool(causal), scale=size)


def _is_bool(mask: Any) -> bool:
    return bool((mask.dtype if isinstance(mask, Term) else np.asarray(mask).dtype) == BOOL)


@face("dropout")
def dropout(x: Any, mask: Any, rate: float) -> Term:
    """x / (1 - rate) where the mask is True, 0 elsewhere; the mask is drawn by the caller."""
    (x,) = promoted([x], FLOATS)
    mask = broadcast(lift(mask, x.builder), x.shape)
    return call("dropout", x, mask, rate=float(rate))
