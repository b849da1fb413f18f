"""Ports of learning programs: a network from scratch, a policy's gradient, an image without its blur."""

from __future__ import annotations

from typing import Any

import numpy as np

from .port import Array, Arrays, Port

# A network of two layers


def _network(W: Any, b: Any, W2: Any, b2: Any, X: Any, y: Any) -> Any:
    num_examples, reg = X.shape[0], 1e-3
    hidden_layer = np.maximum(0, np.dot(X, W) + b)
    scores = np.dot(hidden_layer, W2) + b2
    exp_scores = np.exp(scores)
    probs = exp_scores / np.sum(exp_scores, axis=1, keepdims=True)
    correct_logprobs = -np.log(probs[range(num_examples), y])
    data_loss = np.sum(correct_logprobs) / num_examples
    reg_loss = 0.5 * reg * np.sum(W * W) + 0.5 * reg * np.sum(W2 * W2)
    return data_loss + reg_loss


def _network_slope(W: Array, b: Array, W2: Array, b2: Array, X: Array, y: Array) -> Arrays:
    """Backpropagation as the notes write it out."""
    n, reg = len(X), 1e-3
    hidden = np.maximum(0, X @ W + b)
    scores = np.exp(hidden @ W2 + b2)
    dscores = scores / scores.sum(1, keepdims=True)
    dscores[range(n), y] -= 1
    dscores /= n
    dhidden = dscores @ W2.T
    dhidden[hidden <= 0] = 0
    return {"W": X.T @ dhidden + reg * W, "b": dhidden.sum(0, keepdims=True), "W2": hidden.T @ dscores + reg * W2, "b2": dscores.sum(0, keepdims=True)}


def _network_make() -> tuple[Arrays, Arrays]:
    random = np.random.default_rng(4)
    W, W2 = random.normal(size=(2, 7)), random.normal(size=(7, 3))
    return {"W": W, "b": random.normal(size=(1, 7)), "W2": W2, "b2": np.zeros((1, 3))}, {"X": random.normal(size=(20, 2)), "y": random.integers(0, 3, 20)}


# The value of a policy in the short corridor, whose second place turns actions round


def _corridor_published(theta: Any) -> Any:
    h = np.exp(theta - np.max(theta))
    left, right = h / np.sum(h)
    P = np.array([[left, right, 0.0], [right, 0.0, left], [0.0, left, 0.0]])
    v = np.linalg.solve(np.eye(3) - P, -np.ones(3))
    return v[0]


def _corridor_ported(theta: Any) -> Any:
    h = np.exp(theta - np.max(theta))
    left, right = h / np.sum(h)
    P = np.block([[left, right, 0.0], [right, 0.0, left], [0.0, left, 0.0]])
    v = np.linalg.solve(np.eye(3) - P, -np.ones(3))
    return v[0]


def _corridor_slope(theta: Array) -> Arrays:
    """v = 2 (p - 2) / (p (1 - p)) with p the probability of right, and dp / dtheta = p (1 - p) (-1, 1)."""
    p = 1 / (1 + np.exp(theta[0] - theta[1]))
    slope = 2 / (p * (1 - p)) - 2 * (p - 2) * (1 - 2 * p) / (p * (1 - p)) ** 2
    return {"theta": slope * p * (1 - p) * np.array([-1.0, 1.0])}


# Deblurring with total variation


def _deblur_published(f: Any, y: Any, h: Any) -> Any:
    blurred = np.real(np.fft.ifft2(np.fft.fft2(f) * np.fft.fft2(h)))
    gx, gy = np.roll(f, -1, axis=0) - f, np.roll(f, -1, axis=1) - f
    return 0.5 * np.sum((y - blurred) ** 2) + 0.02 * np.sum(np.sqrt(1e-4 + gx**2 + gy**2))


def _deblur_ported(f: Any, y: Any, h: Any) -> Any:
    blurred = sum(h[i, j] * np.roll(f, (i, j), axis=(0, 1)) for i in range(len(h)) for j in range(len(h)))
    gx, gy = np.roll(f, -1, axis=0) - f, np.roll(f, -1, axis=1) - f
    return 0.5 * np.sum((y - blurred) ** 2) + 0.02 * np.sum(np.sqrt(1e-4 + gx**2 + gy**2))


def _deblur_slope(f: Array, y: Array, h: Array) -> Arrays:
    """h turned round convolved with the residual, less the divergence of the normalised gradient, as the tour derives them."""
    transfer = np.fft.fft2(h)
    residual = np.real(np.fft.ifft2(np.fft.fft2(f) * transfer)) - y
    gx, gy = np.roll(f, -1, axis=0) - f, np.roll(f, -1, axis=1) - f
    size = np.sqrt(1e-4 + gx**2 + gy**2)
    gx, gy = gx / size, gy / size
    divergence = gx - np.roll(gx, 1, axis=0) + gy - np.roll(gy, 1, axis=1)
    return {"f": np.real(np.fft.ifft2(np.conj(transfer) * np.fft.fft2(residual))) - 0.02 * divergence}


def _deblur_make() -> tuple[Arrays, Arrays]:
    random = np.random.default_rng(6)
    h = np.zeros((8, 8))
    h[:2, :2] = 0.2
    h[0, 0] = 0.4
    return {"f": random.normal(size=(8, 8))}, {"y": random.normal(size=(8, 8)), "h": h}


PORTS = (
    Port(
        "network of two layers",
        "Stanford's CS231n notes, Putting it together: minimal neural network case study (Andrej Karpathy)",
        _network,
        "",
        "nothing",
        _network,
        _network_make,
        _network_slope,
    ),
    Port(
        "short corridor",
        "Sutton and Barto (2018), Reinforcement Learning, example 13.1",
        _corridor_published,
        "np.block([[a, b], [c, d]])",
        "np.array of rows by np.block",
        _corridor_ported,
        lambda: ({"theta": np.array([0.3, 0.6])}, {}),
        _corridor_slope,
    ),
    Port(
        "total variation",
        "Peyré's Numerical Tours, Image deconvolution using variational method (total variation, periodic)",
        _deblur_published,
        "np.convolve",
        "the product of transforms by a sum of rolled images, one for each entry of the kernel",
        _deblur_ported,
        _deblur_make,
        _deblur_slope,
    ),
)
