"""A bundle adjustment of 49 cameras, 7,776 points and 31,843 observations (the size of a problem of Ladybug), its data
drawn from a seed, and its Jacobian written by hand.

`python -m support.bundle` prints what sparse derivatives cost on this machine, in process CPU time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import backsweep as bs

from .stencils import CAMERAS, OBSERVATIONS, POINTS, observations

Array = np.ndarray[Any, Any]


def residuals(cameras: Any, points: Any, camera: Any, point: Any, seen: Any) -> Any:
    """Projected less seen points. A camera is a rotation vector, a translation, a focal length and two coefficients of distortion."""
    c, x = cameras[camera], points[point]
    r, t, focal, k1, k2 = c[:, :3], c[:, 3:6], c[:, 6], c[:, 7], c[:, 8]
    angle = np.sqrt(np.sum(r * r, axis=1))[:, None]
    axis = r / angle
    turned = x * np.cos(angle) + np.cross(axis, x) * np.sin(angle) + axis * np.sum(axis * x, axis=1)[:, None] * (1 - np.cos(angle)) + t
    p = -turned[:, :2] / turned[:, 2:]
    n = np.sum(p * p, axis=1)
    return p * (focal * (1 + k1 * n + k2 * n * n))[:, None] - seen


def problem(seed: int = 0) -> tuple[Array, Array, dict[str, Array]]:
    """Cameras, points, and what is bound."""
    random = np.random.default_rng(seed)
    near = np.array([0, 0, 0, 0, 0, -8, 500, 0, 0.0])
    cameras = near + random.normal(size=(CAMERAS, 9)) * np.array([0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 1, 1e-3, 1e-3])
    camera, point = observations(seed)
    return cameras, random.normal(size=(POINTS, 3)), {"camera": camera, "point": point, "seen": random.normal(size=(OBSERVATIONS, 2))}


def _crossed(v: Array) -> Array:
    """[v] with [v] w = v x w, for each row of v."""
    zero = np.zeros(len(v))
    return np.stack([zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero], axis=1).reshape(-1, 3, 3)


def by_hand(cameras: Array, points: Array, camera: Array, point: Array, seen: Array) -> Any:
    """The Jacobian as a csr_array, from its blocks: a 2 x 9 and a 2 x 3 one for each observation.

    The derivative of a rotated vector by the rotation vector is -R [x] (r r' + (R' - I) [r]) / |r|**2
    (Gallego and Yezzi 2015, "A compact formula for the derivative of a 3-D rotation in exponential coordinates").
    """
    from scipy.sparse import csr_array

    c, x = cameras[camera], points[point]
    r, focal, k1, k2 = c[:, :3], c[:, 6, None, None], c[:, 7, None, None], c[:, 8, None, None]
    angle = np.linalg.norm(r, axis=1)[:, None, None]
    unit = _crossed(r / angle[:, 0])
    eye = np.eye(3)
    R = eye + np.sin(angle) * unit + (1 - np.cos(angle)) * (unit @ unit)
    by_r = -R @ _crossed(x) @ (r[:, :, None] * r[:, None, :] + (R.transpose(0, 2, 1) - eye) @ _crossed(r)) / angle**2
    P = (R @ x[:, :, None])[:, :, 0] + c[:, 3:6]
    p = -P[:, :2] / P[:, 2:]
    by_P = np.zeros((len(x), 2, 3))
    by_P[:, 0, 0] = by_P[:, 1, 1] = -1 / P[:, 2]
    by_P[:, :, 2] = P[:, :2] / P[:, 2:] ** 2
    n = np.sum(p * p, axis=1)[:, None, None]
    bent = 1 + k1 * n + k2 * n * n
    by_p = focal * (bent * np.eye(2) + 2 * (k1 + 2 * k2 * n) * p[:, :, None] * p[:, None, :])
    column = p[:, :, None]
    of_camera = np.concatenate([by_p @ by_P @ by_r, by_p @ by_P, bent * column, focal * n * column, focal * n * n * column], axis=2)
    entries = np.concatenate([of_camera, by_p @ by_P @ R], axis=2).reshape(-1, 12)
    columns = np.concatenate([camera[:, None] * 9 + np.arange(9), CAMERAS * 9 + point[:, None] * 3 + np.arange(3)], axis=1)
    return csr_array(
        (entries.reshape(-1), np.repeat(columns, 2, axis=0).reshape(-1), np.arange(2 * len(x) + 1) * 12), shape=(2 * len(x), CAMERAS * 9 + POINTS * 3)
    )


def submitted(service: bs.Service, bound: dict[str, Array]) -> bs.Function:
    return service.submit(residuals, cameras=bs.float64[CAMERAS, 9], points=bs.float64[POINTS, 3], **bound)


def _seconds(what: Callable[[], Any], times: int = 1) -> float:
    """The median CPU time of a call."""
    spent = []
    for _ in range(times):
        before = time.process_time()
        what()
        spent.append(time.process_time() - before)
    return float(np.median(spent))


def _figures() -> None:
    import scipy.sparse  # noqa: F401  # not counted

    cameras, points, bound = problem()
    with bs.local(threads=1) as service:
        f = submitted(service, bound)
        value = _seconds(lambda: f(cameras, points), 9)
        cold = _seconds(lambda: f.jacobian(cameras, points, layout="sparse"))
        warm = _seconds(lambda: f.jacobian(cameras, points, layout="sparse"), 9)
        hand = _seconds(lambda: by_hand(cameras, points, **bound), 9)
        print(f"bundle adjustment: Jacobian {cold:.3f} s the first time, then {warm:.3f} s; {warm / value:.1f} values, {warm / hand:.2f} of the one by hand")

        def chain(x: Any) -> Any:
            return np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)

        x = np.random.default_rng(0).normal(size=100_000)
        g = service.submit(chain, x=bs.float64[100_000])
        cold = _seconds(lambda: g.hessian(x, layout="sparse"))
        warm = _seconds(lambda: g.hessian(x, layout="sparse"), 9)
        print(f"tridiagonal Hessian of 100,000 variables: {cold:.3f} s the first time, then {warm:.4f} s")
    _pattern_figures()


def _pattern_figures() -> None:
    import resource

    from .graphs import F64, build
    from .patterns import rows_of

    def broyden(x: Any) -> Any:
        zero = np.zeros(1)
        return (3 - 2 * x) * x - np.concatenate([zero, x[:-1]]) - 2 * np.concatenate([x[1:], zero]) + 1

    for n in (10_000, 1_000_000):
        graph = build(broyden, x=F64[n])
        spent = _seconds(lambda graph=graph: rows_of(graph, (0,)).pattern(), 9 if n < 10**5 else 3)  # type: ignore[misc]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        print(f"tridiagonal pattern of {n:,} columns, its graph derived: {1000 * spent:.1f} ms; {peak} MiB at the peak of this process")


if __name__ == "__main__":
    _figures()
