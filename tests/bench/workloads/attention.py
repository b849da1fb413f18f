"""A block of a transformer: causal attention of 4 heads over 128 tokens of width 64, residual, layer norm, squared distance."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Inputs, Workload


def make(count: int) -> Inputs:
    random = np.random.default_rng(0)
    width, heads = (64, 4) if count == 128 else (6, 2)
    point = {"x": random.standard_normal((count, width))} | {name: random.standard_normal((width, width)) / np.sqrt(width) for name in "QKVO"}
    return Inputs(point, {"target": random.standard_normal((count, width))}, static={"heads": heads})


def _split(y: Any, heads: int) -> Any:
    """(tokens, width) -> (heads, tokens, width of one)"""
    count, width = y.shape
    return y.reshape((count, heads, width // heads)).swapaxes(0, 1)


def loss(xp: Any, x: Any, Q: Any, K: Any, V: Any, O: Any, target: Any, heads: int) -> Any:
    """In NumPy's words."""
    count, width = x.shape
    scores = _split(x @ Q, heads) @ xp.swapaxes(_split(x @ K, heads), -1, -2) / (width // heads) ** 0.5
    scores = xp.where(np.arange(count)[:, None] >= np.arange(count), scores, -np.inf)
    weights = xp.exp(scores - xp.max(scores, axis=-1, keepdims=True))
    weights = weights / xp.sum(weights, axis=-1, keepdims=True)
    y = x + xp.reshape(xp.swapaxes(weights @ _split(x @ V, heads), 0, 1), (count, width)) @ O
    y = y - xp.mean(y, axis=-1, keepdims=True)
    y = y / xp.sqrt(xp.mean(y**2, axis=-1, keepdims=True) + 1e-5)
    return xp.sum((y - target) ** 2) / 2


def by_backsweep_layers(xp: Any, x: Any, Q: Any, K: Any, V: Any, O: Any, target: Any, heads: int) -> Any:
    import backsweep as bs

    mixed = bs.attention(_split(x @ Q, heads), _split(x @ K, heads), _split(x @ V, heads), causal=True)
    y = bs.layer_norm(x + np.reshape(np.swapaxes(mixed, 0, 1), x.shape) @ O, eps=1e-5)
    return np.sum((y - target) ** 2) / 2


def by_torch_layers(xp: Any, x: Any, Q: Any, K: Any, V: Any, O: Any, target: Any, heads: int) -> Any:
    mixed = xp.nn.functional.scaled_dot_product_attention(_split(x @ Q, heads), _split(x @ K, heads), _split(x @ V, heads), is_causal=True)
    y = xp.nn.functional.layer_norm(x + mixed.swapaxes(0, 1).reshape(x.shape) @ O, x.shape[-1:], eps=1e-5)
    return xp.sum((y - target) ** 2) / 2


WORKLOADS = (
    Workload(
        "attention block gradient, 128 tokens",
        make,
        (128, 4),
        {
            "hand": by_hand.of_zoo("attention block"),
            "backsweep": by_backsweep.gradient(by_backsweep_layers),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(by_torch_layers),
            "autograd": by_autograd.gradient(loss),
        },
    ),
)
