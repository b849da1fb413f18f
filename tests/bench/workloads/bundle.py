"""The Jacobian of bundle adjustment, 6000 observations of 1000 points by 49 cameras, as ADBench's (Srajer and others 2018).

An observation depends on the 11 numbers of its camera, 3 of its point and its weight: the answer is (observations, 2, 15), the
Jacobian's blocks. The first sweep of every tool gathers those 15; CasADi is given them gathered.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tools import by_autograd, by_backsweep, by_casadi, by_hand, by_jax, by_torch
from ..workload import Array, Inputs, Prepared, Workload


def make(count: int) -> Inputs:
    random = np.random.default_rng(0)
    cameras, points = (49, 1000) if count == 6000 else (2, 3)
    turn, centre = 0.5 * random.standard_normal((cameras, 3)), np.array([0.0, 0, -6]) + 0.3 * random.standard_normal((cameras, 3))
    lens = np.array([2.0, 0.1, -0.1, 0.1, 0.02]) + 0.01 * random.standard_normal((cameras, 5))
    point = {
        "cameras": np.concatenate([turn, centre, lens], axis=1),
        "points": random.standard_normal((points, 3)),
        "weights": 1 + 0.2 * random.standard_normal(count),
    }
    data = {"camera_of": random.integers(cameras, size=count), "point_of": random.integers(points, size=count), "seen": random.standard_normal((count, 2))}
    return Inputs(point, data)


def residual(xp: Any, p: Any, seen: Any) -> tuple[Any, Any]:
    """Of one observation, p[0] to p[14] its rotation vector, centre, focal length, principal point, distortions, point and weight.

    Rodrigues' formula; no camera here is without rotation.
    """
    r0, r1, r2, c0, c1, c2, focal, u0, u1, k1, k2, x0, x1, x2, w = (p[k] for k in range(15))
    angle = xp.sqrt(r0 * r0 + r1 * r1 + r2 * r2)
    a0, a1, a2 = r0 / angle, r1 / angle, r2 / angle
    d0, d1, d2 = x0 - c0, x1 - c1, x2 - c2
    cosine, sine = xp.cos(angle), xp.sin(angle)
    along = (a0 * d0 + a1 * d1 + a2 * d2) * (1 - cosine)
    y0 = d0 * cosine + (a1 * d2 - a2 * d1) * sine + a0 * along
    y1 = d1 * cosine + (a2 * d0 - a0 * d2) * sine + a1 * along
    y2 = d2 * cosine + (a0 * d1 - a1 * d0) * sine + a2 * along
    f0, f1 = y0 / y2, y1 / y2
    far = f0 * f0 + f1 * f1
    grown = (1 + k1 * far + k2 * far * far) * focal
    return w * (f0 * grown + u0 - seen[0]), w * (f1 * grown + u1 - seen[1])


def gathered(xp: Any, cameras: Any, points: Any, weights: Any, camera_of: Any, point_of: Any) -> Any:
    return xp.concatenate([cameras[camera_of], points[point_of], weights[:, None]], 1)


def by_backsweep_blocks(xp: Any, cameras: Any, points: Any, weights: Any, camera_of: Any, point_of: Any, seen: Any) -> Any:
    import backsweep as bs

    one = bs.jacobian(lambda p, seen: np.stack(residual(xp, p, seen)))
    return bs.vmap(one)(gathered(xp, cameras, points, weights, camera_of, point_of), seen)


def by_jax_blocks(xp: Any, cameras: Any, points: Any, weights: Any, camera_of: Any, point_of: Any, seen: Any) -> Any:
    import jax

    one = jax.jacrev(lambda p, seen: xp.stack(residual(xp, p, seen)))
    return jax.vmap(one)(gathered(xp, cameras, points, weights, camera_of, point_of), seen)


def _torch_blocks(inputs: Inputs) -> Prepared:
    """Two backward passes: no observation's row depends on another's numbers."""
    import torch

    xp = by_torch.names()
    (cameras, points, weights), (camera_of, point_of, seen), _ = by_torch.tensors(inputs)

    def blocks() -> Any:
        with torch.no_grad():
            p = gathered(xp, cameras, points, weights, camera_of, point_of)
        p.requires_grad_()
        rows = residual(xp, p.T, seen.T)
        ones = torch.ones_like(rows[0])
        return torch.stack([torch.autograd.grad(row, p, ones, retain_graph=True)[0] for row in rows], 1)

    return Prepared(blocks, flat=by_torch.flat)


def _autograd_blocks(inputs: Inputs) -> Prepared:
    from autograd import make_vjp

    xp = by_autograd.names()
    cameras, points, weights = inputs.point.values()
    camera_of, point_of, seen = inputs.data.values()

    def blocks() -> Any:
        p = gathered(np, cameras, points, weights, camera_of, point_of)
        product, rows = make_vjp(lambda p: xp.stack(residual(xp, p.T, seen.T)))(p)
        return np.stack([product(seed) for seed in np.repeat(np.eye(2)[:, :, None], rows.shape[1], 2)], 1)

    return Prepared(blocks)


def _casadi_blocks(inputs: Inputs) -> Prepared:
    import casadi as ca

    cameras, points, weights = inputs.point.values()
    camera_of, point_of, seen = inputs.data.values()
    count = len(seen)
    p, s = ca.SX.sym("p", 15), ca.SX.sym("s", 2)
    blocks = ca.Function("blocks", [p, s], [ca.jacobian(ca.vertcat(*residual(ca, p, s)), p)]).map(count)
    given = [gathered(np, cameras, points, weights, camera_of, point_of).T, seen.T]
    made = [ca.DM(a) for a in given]

    def flat(answer: Any) -> Array:
        return answer.full().reshape(2, count, 15).swapaxes(0, 1).ravel()

    return Prepared(lambda: blocks(*made), program=by_casadi.buffered_call(blocks, given), flat=flat)


def _hat(x: Array) -> Array:
    """The matrices of the cross products with x, (n, 3) -> (n, 3, 3)."""
    zero = np.zeros(len(x))
    return np.stack([zero, -x[:, 2], x[:, 1], x[:, 2], zero, -x[:, 0], -x[:, 1], x[:, 0], zero], 1).reshape(-1, 3, 3)


def blocks(cameras: Array, points: Array, weights: Array, camera_of: Array, point_of: Array, seen: Array) -> Array:
    """By hand, the chain rule through the projection; the rotation's own derivative once a camera.

    d (R x) / d r = -R [x] (r r' + (R' - I) [r]) / t^2 (Gallego and Yezzi, J. Math. Imaging and Vision 51, 2015).
    """
    r = cameras[:, :3]
    t = np.linalg.norm(r, axis=1)[:, None, None]
    k = _hat(r) / t
    turns = np.eye(3) + np.sin(t) * k + (1 - np.cos(t)) * k @ k
    inner = (r[:, :, None] * r[:, None, :] + (turns.swapaxes(1, 2) - np.eye(3)) @ _hat(r)) / t**2
    R, camera, w = turns[camera_of], cameras[camera_of], weights[:, None]
    away = points[point_of] - camera[:, 3:6]
    y = (R @ away[:, :, None])[:, :, 0]
    f = y[:, :2] / y[:, 2:]
    focal, k1, k2 = camera[:, 6:7], camera[:, 9:10], camera[:, 10:]
    far = np.sum(f * f, 1, keepdims=True)
    grown = 1 + k1 * far + k2 * far**2
    by_f = (w * focal)[:, :, None] * (grown[:, :, None] * np.eye(2) + f[:, :, None] * (2 * (k1 + 2 * k2 * far) * f)[:, None, :])
    by_y = np.concatenate([by_f, -np.sum(by_f * f[:, None, :], 2, keepdims=True)], 2) / y[:, None, 2:]
    by_away = by_y @ R
    J = np.empty((len(seen), 2, 15))
    J[:, :, :3] = -by_away @ _hat(away) @ inner[camera_of]
    J[:, :, 3:6] = -by_away
    J[:, :, 6] = w * grown * f
    J[:, :, 7:9] = w[:, :, None] * np.eye(2)
    J[:, :, 9] = w * focal * f * far
    J[:, :, 10] = J[:, :, 9] * far
    J[:, :, 11:14] = by_away
    J[:, :, 14] = focal * grown * f + camera[:, 7:9] - seen
    return J


WORKLOADS = (
    Workload(
        "bundle adjustment Jacobian",
        make,
        (6000, 5),
        {
            "hand": by_hand.derivative(blocks),
            "backsweep": by_backsweep.derivative(by_backsweep_blocks),
            "jax": by_jax.derivative(by_jax_blocks),
            "torch": _torch_blocks,
            "autograd": _autograd_blocks,
            "casadi": _casadi_blocks,
        },
        scalar=False,
    ),
)
