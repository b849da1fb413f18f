"""A recurrent network: an LSTM of width 32 over 100 steps, its mean squared error's gradient by the weights.

Gates stand in the order forget, input, output, change.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Prepared, Workload


def make(steps: int) -> Inputs:
    random = np.random.default_rng(0)
    width, inputs = (32, 16) if steps == 100 else (3, 2)
    point = {
        "W": random.standard_normal((inputs, 4 * width)) / np.sqrt(inputs),
        "U": random.standard_normal((width, 4 * width)) / np.sqrt(width),
        "b": 0.3 * random.standard_normal(4 * width),
        "v": random.standard_normal(width) / np.sqrt(width),
    }
    return Inputs(point, {"x": random.standard_normal((steps, inputs)), "y": random.standard_normal(steps)})


def step(xp: Any, h: Any, c: Any, z: Any, U: Any, width: int) -> tuple[Any, Any]:
    z = z + h @ U
    gates = 1 / (1 + xp.exp(-z[: 3 * width]))
    c = gates[:width] * c + gates[width : 2 * width] * xp.tanh(z[3 * width :])
    return gates[2 * width :] * xp.tanh(c), c


def eager(xp: Any, W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> Any:
    width = len(v)
    h = c = np.zeros(width)
    drive = x @ W + b
    seen = []
    for t in range(len(x)):
        h, c = step(xp, h, c, drive[t], U, width)
        seen.append(h)
    return xp.mean((xp.stack(seen) @ v - y) ** 2)


def by_backsweep_scan(xp: Any, W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> Any:
    import backsweep as bs

    width = len(v)

    def one(carry: Any, z: Any) -> Any:
        h, c = step(xp, *carry, z, U, width)
        return (h, c), h

    _, seen = bs.scan(one, (np.zeros(width), np.zeros(width)), x @ W + b)
    return np.mean((seen @ v - y) ** 2)


def by_jax_scan(xp: Any, W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> Any:
    import jax

    width = len(v)

    def one(carry: Any, z: Any) -> Any:
        h, c = step(xp, *carry, z, U, width)
        return (h, c), h

    _, seen = jax.lax.scan(one, (xp.zeros(width), xp.zeros(width)), x @ W + b)
    return xp.mean((seen @ v - y) ** 2)


def _torch_layer(inputs: Inputs) -> Prepared:
    """torch.nn.LSTM, whose gates stand in the order input, forget, change, output."""
    import torch

    (W, U, b, v), (x, y), _ = by_torch.tensors(inputs)
    width = len(v)
    order = torch.cat([torch.arange(width) + width * k for k in (1, 0, 3, 2)])  # its own inverse
    layer = torch.nn.LSTM(W.shape[0], width).double()
    with torch.no_grad():
        layer.weight_ih_l0.copy_(W[:, order].T)
        layer.weight_hh_l0.copy_(U[:, order].T)
        layer.bias_ih_l0.copy_(b[order])
        layer.bias_hh_l0.zero_()
    layer.bias_hh_l0.requires_grad_(False)
    weights = [layer.weight_ih_l0, layer.weight_hh_l0, layer.bias_ih_l0, v]

    def loss() -> Any:
        return torch.mean((layer(x)[0] @ v - y) ** 2)

    def flat(answer: Any) -> Array:
        by_W, by_U, by_b, by_v = answer
        return by_torch.flat([by_W.T[:, order], by_U.T[:, order], by_b[order], by_v])

    return Prepared(lambda: torch.autograd.grad(loss(), weights), by_torch.valued(loss), flat=flat)


WORKLOADS = (
    Workload(
        "LSTM gradient, 100 steps",
        make,
        (100, 4),
        {
            "hand": by_hand.of_zoo("lstm"),
            "backsweep": by_backsweep.gradient(by_backsweep_scan),
            "jax": by_jax.gradient(by_jax_scan),
            "torch": _torch_layer,
            "autograd": by_autograd.gradient(eager),
        },
    ),
)
