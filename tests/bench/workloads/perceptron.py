"""A multilayer perceptron, 784-256-128-10 with relu and cross-entropy: the gradient by its weights."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Workload


def make(batch: int, widths: tuple[int, ...]) -> Inputs:
    random = np.random.default_rng(0)
    point = {}
    for k, (n, m) in enumerate(pairwise(widths), 1):
        point |= {f"W{k}": random.standard_normal((n, m)) / np.sqrt(n), f"b{k}": 0.1 * random.standard_normal(m)}
    return Inputs(point, {"x": random.standard_normal((batch, widths[0])), "labels": random.integers(widths[-1], size=batch)})


def loss(xp: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, x: Any, labels: Any) -> Any:
    h = xp.relu(x @ W1 + b1)
    h = xp.relu(h @ W2 + b2)
    scores = h @ W3 + b3
    return xp.mean(xp.logsumexp(scores, 1) - scores[np.arange(len(labels)), labels])


def by_torch_loss(xp: Any, W1: Any, b1: Any, W2: Any, b2: Any, W3: Any, b3: Any, x: Any, labels: Any) -> Any:
    h = xp.relu(xp.addmm(b1, x, W1))
    h = xp.relu(xp.addmm(b2, h, W2))
    return xp.nn.functional.cross_entropy(xp.addmm(b3, h, W3), labels)


def gradient(W1: Array, b1: Array, W2: Array, b2: Array, W3: Array, b3: Array, x: Array, labels: Array) -> tuple[Array, ...]:
    rows = np.arange(len(x))
    h1 = np.maximum(x @ W1 + b1, 0)
    h2 = np.maximum(h1 @ W2 + b2, 0)
    p = h2 @ W3 + b3
    p = np.exp(p - p.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[rows, labels] -= 1
    p /= len(x)
    d2 = (p @ W3.T) * (h2 > 0)
    d1 = (d2 @ W2.T) * (h1 > 0)
    return x.T @ d1, d1.sum(0), h1.T @ d2, d2.sum(0), h2.T @ p, p.sum(0)


def _batch(size: int) -> Workload:
    return Workload(
        f"MLP gradient, batch {size}",
        lambda batch: make(batch, (784, 256, 128, 10) if batch == size else (5, 4, 3, 2)),
        (size, 6),
        {
            "hand": by_hand.derivative(gradient),
            "backsweep": by_backsweep.gradient(loss),
            "jax": by_jax.gradient(loss),
            "torch": by_torch.gradient(by_torch_loss),
            "autograd": by_autograd.gradient(loss),
        },
    )


WORKLOADS = (_batch(64), _batch(512))
