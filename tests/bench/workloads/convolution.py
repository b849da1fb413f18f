"""A convolutional network: 32 images of 28 x 28, 16 features of 5 x 5, relu, 2 x 2 max-pool, dense, cross-entropy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Inputs, Workload


def make(count: int) -> Inputs:
    random = np.random.default_rng(0)
    side, channels, width, features, classes = (28, 1, 5, 16, 10) if count == 32 else (6, 2, 3, 3, 2)
    dense = ((side - width + 1) // 2) ** 2 * features
    point = {
        "K": random.standard_normal((width, width, channels, features)) / width,
        "b": 0.3 * random.standard_normal(features),
        "W": random.standard_normal((dense, classes)) / np.sqrt(dense),
        "c": 0.5 * random.standard_normal(classes),
    }
    return Inputs(point, {"images": random.standard_normal((count, side, side, channels)), "labels": random.integers(classes, size=count)})


def cross_entropy(xp: Any, scores: Any, labels: Any) -> Any:
    return xp.mean(xp.logsumexp(scores, 1) - scores[np.arange(len(labels)), labels])


def by_shifts(xp: Any, K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> Any:
    """In NumPy's words only: a product for each place of the kernel."""
    width, (count, side, _, _) = K.shape[0], images.shape
    side = side - width + 1
    z = b + sum(images[:, i : i + side, j : j + side] @ K[i, j] for i in range(width) for j in range(width))
    pooled = xp.max(xp.reshape(xp.relu(z), (count, side // 2, 2, side // 2, 2, -1)), axis=(2, 4))
    return cross_entropy(xp, xp.reshape(pooled, (count, -1)) @ W + c, labels)


def by_backsweep_layers(xp: Any, K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> Any:
    import backsweep as bs

    z = bs.conv2d(np.transpose(images, (0, 3, 1, 2)), np.transpose(K, (3, 2, 0, 1)), b)
    pooled = np.transpose(bs.max_pool(bs.relu(z), 2), (0, 2, 3, 1))
    return cross_entropy(xp, np.reshape(pooled, (len(labels), -1)) @ W + c, labels)


def by_jax_layers(xp: Any, K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> Any:
    from jax import lax

    z = xp.relu(lax.conv_general_dilated(images, K, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")) + b)
    pooled = lax.reduce_window(z, -xp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    return cross_entropy(xp, xp.reshape(pooled, (len(labels), -1)) @ W + c, labels)


def by_torch_layers(xp: Any, K: Any, b: Any, W: Any, c: Any, images: Any, labels: Any) -> Any:
    z = xp.nn.functional.conv2d(images.permute(0, 3, 1, 2), K.permute(3, 2, 0, 1), b)
    pooled = xp.nn.functional.max_pool2d(xp.relu(z), 2).permute(0, 2, 3, 1)
    return xp.nn.functional.cross_entropy(pooled.reshape(len(labels), -1) @ W + c, labels)


WORKLOADS = (
    Workload(
        "conv net gradient, batch 32",
        make,
        (32, 2),
        {
            "hand": by_hand.of_zoo("convolutional network"),
            "backsweep": by_backsweep.gradient(by_backsweep_layers),
            "jax": by_jax.gradient(by_jax_layers),
            "torch": by_torch.gradient(by_torch_layers),
            "autograd": by_autograd.gradient(by_shifts),
        },
    ),
)
