"""Networks: a small convolutional classifier and a block of a transformer."""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Arrays, Problem, logsumexp, softmax


def _convolutional(K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> Any:
    """Cross-entropy of convolve, relu, 2 x 2 max-pool, dense. images: (count, rows, columns, channels)."""
    high, wide = K.shape[:2]
    count, rows, columns, _ = images.shape
    rows, columns = rows - high + 1, columns - wide + 1
    z = b + sum(images[:, i : i + rows, j : j + columns] @ K[i, j] for i in range(high) for j in range(wide))
    pooled = np.max(np.maximum(z, 0).reshape(count, rows // 2, 2, columns // 2, 2, -1), axis=(2, 4))
    scores = pooled.reshape(count, -1) @ W + c
    scores = scores - np.max(scores, axis=1, keepdims=True)
    return np.mean(np.log(np.sum(np.exp(scores), axis=1)) - scores[np.arange(count), labels])


def _convolutional_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` images of 8 x 6 with 2 channels; 3 features, 3 classes."""
    random = np.random.default_rng([size, seed])
    point = {
        "K": 0.4 * random.standard_normal((3, 3, 2, 3)),
        "b": 0.3 * random.standard_normal(3),
        "W": 0.2 * random.standard_normal((3 * 2 * 3, 3)),
        "c": 0.5 * random.standard_normal(3),
    }
    return point, {"images": random.standard_normal((size, 8, 6, 2)), "labels": random.integers(3, size=size)}


def _convolutional_exact(K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> tuple[Any, Arrays]:
    """Backpropagation by hand (LeCun and others 1998, appendix): windows as rows, the largest of a pool gets all."""
    high, wide, _, features = K.shape
    windows = np.lib.stride_tricks.sliding_window_view(images, (high, wide), axis=(1, 2))  # (count, r, s, channels, high, wide)
    count, rows, columns = windows.shape[:3]
    z = np.einsum("nrscij,ijcf->nrsf", windows, K) + b
    h = np.where(z.real > 0, z, 0)
    blocks = h.reshape(count, rows // 2, 2, columns // 2, 2, features).transpose(0, 1, 3, 5, 2, 4).reshape(count, rows // 2, columns // 2, features, 4)
    first = np.argmax(blocks.real, axis=-1)[..., None]
    pooled = np.take_along_axis(blocks, first, -1)[..., 0]
    flat = pooled.reshape(count, -1)
    scores = flat @ W + c
    value = np.mean(logsumexp(scores)[:, 0] - scores[np.arange(count), labels])
    by_scores = (softmax(scores) - np.eye(len(c))[labels]) / count
    by_blocks = np.zeros(blocks.shape, blocks.dtype)
    np.put_along_axis(by_blocks, first, (by_scores @ W.T).reshape(pooled.shape)[..., None], -1)
    by_h = by_blocks.reshape(count, rows // 2, columns // 2, features, 2, 2).transpose(0, 1, 4, 2, 5, 3).reshape(h.shape)
    by_z = np.where(z.real > 0, by_h, 0)
    return value, {"K": np.einsum("nrscij,nrsf->ijcf", windows, by_z), "b": by_z.sum((0, 1, 2)), "W": flat.T @ by_scores, "c": by_scores.sum(0)}


def _attention(x: Any, Q: Any, K: Any, V: Any, O: Any, target: Any, heads: int) -> Any:
    """Causal attention of several heads, residual, layer norm; half the squared distance from the target."""
    count, width = x.shape
    each = width // heads

    def split(y: Any) -> Any:
        return y.reshape(count, heads, each).transpose(1, 0, 2)

    scores = split(x @ Q) @ np.swapaxes(split(x @ K), -1, -2) / np.sqrt(each)
    scores = np.where(np.arange(count)[:, None] >= np.arange(count), scores, -np.inf)
    weights = np.exp(scores - np.max(scores, axis=-1, keepdims=True))
    weights = weights / np.sum(weights, axis=-1, keepdims=True)
    y = x + (weights @ split(x @ V)).transpose(1, 0, 2).reshape(count, width) @ O
    y = y - np.mean(y, axis=-1, keepdims=True)
    y = y / np.sqrt(np.mean(y**2, axis=-1, keepdims=True) + 1e-5)
    return np.sum((y - target) ** 2) / 2


def _attention_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` tokens of width 6, two heads."""
    random = np.random.default_rng([size, seed])
    point = {"x": random.standard_normal((size, 6))} | {name: 0.6 * random.standard_normal((6, 6)) for name in "QKVO"}
    return point, {"target": random.standard_normal((size, 6)), "heads": 2}


def _attention_exact(x: Any, Q: Any, K: Any, V: Any, O: Any, target: Any, heads: int) -> tuple[Any, Arrays]:
    """The adjoint by hand, a head at a time.

    Softmax rows P: by_S = P (by_P - sum(by_P P)); layer norm y = d / s: by_d = (by_y - mean(by_y) - y mean(by_y y)) / s.
    """
    count, width = x.shape
    each = width // heads
    mask = np.tril(np.ones((count, count)))
    mixed = np.zeros(x.shape, np.result_type(x, Q, K, V, O))
    kept = []
    for k in range(heads):
        mine = slice(k * each, (k + 1) * each)
        q, key, v = x @ Q[:, mine], x @ K[:, mine], x @ V[:, mine]
        s = q @ key.T / np.sqrt(each)
        p = np.exp(s - s.real.max()) * mask
        p = p / p.sum(1, keepdims=True)
        mixed[:, mine] = p @ v
        kept.append((mine, q, key, v, p))
    d = x + mixed @ O
    d = d - d.mean(1, keepdims=True)
    s = np.sqrt((d * d).mean(1, keepdims=True) + 1e-5)
    y = d / s
    by_y = y - target
    by_d = (by_y - by_y.mean(1, keepdims=True) - y * (by_y * y).mean(1, keepdims=True)) / s
    by_mixed = by_d @ O.T
    by_x, by_Q, by_K, by_V = (by_d.copy(), *[np.zeros((width, width), by_d.dtype) for _ in range(3)])
    for mine, q, key, v, p in kept:
        by_p, by_v = by_mixed[:, mine] @ v.T, p.T @ by_mixed[:, mine]
        by_s = p * (by_p - (by_p * p).sum(1, keepdims=True)) / np.sqrt(each)
        by_q, by_key = by_s @ key, by_s.T @ q
        for by, weight, through in ((by_Q, Q, by_q), (by_K, K, by_key), (by_V, V, by_v)):
            by[:, mine] = x.T @ through
            by_x = by_x + through @ weight[:, mine].T
    return np.sum(by_y * by_y) / 2, {"x": by_x, "Q": by_Q, "K": by_K, "V": by_V, "O": mixed.T @ by_d}


PROBLEMS = (
    Problem("convolutional network", _convolutional, _convolutional_make, _convolutional_exact, (1, 4), single=1e-5),
    Problem("attention block", _attention, _attention_make, _attention_exact, (3, 8), single=2e-5),
)
