"""Computer vision: the reprojection errors of bundle adjustment.

As in ADBench (Srajer, Kukelova and Fitzgibbon 2018): a camera is a rotation vector (3), a centre (3), a
focal length, a principal point (2) and two radial distortions; an observation has a weight of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Array, Arrays, Problem


def _reprojection(cameras: Any, points: Any, weights: Any, camera_of: Any, point_of: Any, seen: Any) -> Any:
    """Weighted errors (observations, 2), then 1 - w^2 of each weight, as one vector."""
    camera = cameras[camera_of]
    turn, centre, focal, principal, radial = camera[:, :3], camera[:, 3:6], camera[:, 6:7], camera[:, 7:9], camera[:, 9:]
    away = points[point_of] - centre
    square = np.sum(turn**2, axis=1, keepdims=True)
    # Rodrigues' formula, and its limit where there is no rotation.
    angle = np.sqrt(np.where(square > 0, square, 1.0))
    axis = turn / angle
    along = np.sum(axis * away, axis=1, keepdims=True)
    rotated = away * np.cos(angle) + np.cross(axis, away) * np.sin(angle) + axis * along * (1 - np.cos(angle))
    inside = np.where(square > 0, rotated, away + np.cross(turn, away))
    flat = inside[:, :2] / inside[:, 2:]
    far = np.sum(flat**2, axis=1, keepdims=True)
    shown = flat * (1 + radial[:, :1] * far + radial[:, 1:] * far**2) * focal + principal
    return np.concatenate([(weights[:, None] * (shown - seen)).ravel(), 1 - weights**2])


def _reprojection_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` cameras, the first without rotation; 2 points for each camera, each point seen by every camera."""
    random = np.random.default_rng([size, seed])
    count = 2 * size
    turn = 0.5 * random.standard_normal((size, 3))
    turn[0] = 0
    centre = np.array([0.0, 0, -6]) + 0.3 * random.standard_normal((size, 3))
    lens = np.array([2.0, 0.1, -0.1, 0.1, 0.02]) + 0.01 * random.standard_normal((size, 5))
    point = {
        "cameras": np.concatenate([turn, centre, lens], axis=1),
        "points": random.standard_normal((count, 3)),
        "weights": 1 + 0.2 * random.standard_normal(size * count),
    }
    camera_of, point_of = np.repeat(np.arange(size), count), np.tile(np.arange(count), size)
    return point, {"camera_of": camera_of, "point_of": point_of, "seen": random.standard_normal((size * count, 2))}


def _hat(x: Array) -> Array:
    """The matrix of the cross product with x."""
    return np.array([[0, -x[2], x[1]], [x[2], 0, -x[0]], [-x[1], x[0], 0]])


def _turned(r: Array, x: Array) -> tuple[Array, Array]:
    """The rotation matrix R of a rotation vector r, and d (R x) / d r.

    R = I + sin t [k] + (1 - cos t) [k]^2; d (R x) / d r = -R [x] (r r' + (R' - I) [r]) / t^2, which is -[x]
    at 0 (Gallego and Yezzi, A compact formula for the derivative of a 3-D rotation, J. Math. Imaging and
    Vision 51, 2015).
    """
    t = np.linalg.norm(r)
    if t == 0:
        return np.eye(3), -_hat(x)
    k = _hat(r / t)
    R = np.eye(3) + np.sin(t) * k + (1 - np.cos(t)) * k @ k
    return R, -R @ _hat(x) @ (np.outer(r, r) + (R.T - np.eye(3)) @ _hat(r)) / t**2


def _reprojection_exact(cameras: Any, points: Any, weights: Any, camera_of: Any, point_of: Any, seen: Any) -> tuple[Any, Arrays]:
    """The Jacobian by hand, an observation at a time, by the chain rule through the projection."""
    count = len(seen)
    errors = np.zeros((count, 2))
    by_camera, by_point, by_weight = np.zeros((count, 2, *cameras.shape)), np.zeros((count, 2, *points.shape)), np.zeros((count, 2, count))
    for e, (i, j) in enumerate(zip(camera_of, point_of, strict=True)):
        focal, principal, (k1, k2), w = cameras[i, 6], cameras[i, 7:9], cameras[i, 9:], weights[e]
        away = points[j] - cameras[i, 3:6]
        R, by_turn = _turned(cameras[i, :3], away)
        x, y, z = R @ away
        flat = np.array([x / z, y / z])
        far = flat @ flat
        grown = 1 + k1 * far + k2 * far**2
        errors[e] = focal * grown * flat + principal - seen[e]
        by_flat = focal * (grown * np.eye(2) + np.outer(flat, 2 * (k1 + 2 * k2 * far) * flat))
        by_inside = w * by_flat @ np.array([[1 / z, 0, -x / z**2], [0, 1 / z, -y / z**2]])
        by_camera[e, :, i, :3] = by_inside @ by_turn
        by_camera[e, :, i, 3:6] = -by_inside @ R
        by_camera[e, :, i, 6] = w * grown * flat
        by_camera[e, :, i, 7:9] = w * np.eye(2)
        by_camera[e, :, i, 9:] = w * focal * np.outer(flat, [far, far**2])
        by_point[e, :, j] = by_inside @ R
        by_weight[e, :, e] = errors[e]
    value = np.concatenate([(weights[:, None] * errors).ravel(), 1 - weights**2])
    stacked = [
        np.concatenate([part.reshape(2 * count, *part.shape[2:]), tail])
        for part, tail in (
            (by_camera, np.zeros((count, *cameras.shape))),
            (by_point, np.zeros((count, *points.shape))),
            (by_weight, np.diag(-2 * weights)),
        )
    ]
    return value, dict(zip(("cameras", "points", "weights"), stacked, strict=True))


PROBLEMS = (Problem("bundle adjustment", _reprojection, _reprojection_make, _reprojection_exact, (2, 4)),)
