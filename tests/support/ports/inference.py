"""Ports of statistical programs: a fit, a Gaussian process, a Kalman filter, a hierarchical model."""

from __future__ import annotations

from typing import Any

import numpy as np

import backsweep as bs

from .port import Array, Arrays, Port, differences

# An enzyme's reaction fitted


def _enzyme(x: Any, u: Any, y: Any) -> Any:
    return x[0] * (u**2 + x[1] * u) / (u**2 + x[2] * u + x[3]) - y


def _enzyme_slope(x: Array, u: Array, y: Array) -> Arrays:
    """The Jacobian the documentation derives by hand."""
    J = np.empty((u.size, x.size))
    den = u**2 + x[2] * u + x[3]
    num = u**2 + x[1] * u
    J[:, 0] = num / den
    J[:, 1] = x[0] * u / den
    J[:, 2] = -x[0] * num * u / den**2
    J[:, 3] = -x[0] * num / den**2
    return {"x": J}


def _enzyme_make() -> tuple[Arrays, Arrays]:
    u = np.array([4.0, 2.0, 1.0, 5.0e-1, 2.5e-1, 1.67e-1, 1.25e-1, 1.0e-1, 8.33e-2, 7.14e-2, 6.25e-2])
    y = np.array([1.957e-1, 1.947e-1, 1.735e-1, 1.6e-1, 8.44e-2, 6.27e-2, 4.56e-2, 3.42e-2, 3.23e-2, 2.35e-2, 2.46e-2])
    return {"x": np.array([0.19, 0.19, 0.12, 0.14])}, {"u": u, "y": y}


# The log marginal likelihood of a Gaussian process


def _process_published(theta: Any, X: Any, y: Any) -> Any:
    from scipy.linalg import cho_solve, cholesky

    sf2, length, sn2 = np.exp(theta)
    sqdist = np.sum(X**2, 1)[:, None] + np.sum(X**2, 1) - 2 * X @ X.T
    K = sf2 * np.exp(-0.5 * sqdist / length**2) + sn2 * np.eye(len(X))
    L = cholesky(K, lower=True)
    alpha = cho_solve((L, True), y)
    return -0.5 * y @ alpha - np.log(np.diag(L)).sum() - len(X) / 2 * np.log(2 * np.pi)


def _process_ported(theta: Any, X: Any, y: Any) -> Any:
    sf2, length, sn2 = np.exp(theta)
    sqdist = np.sum(X**2, 1)[:, None] + np.sum(X**2, 1) - 2 * X @ X.T
    K = sf2 * np.exp(-0.5 * sqdist / length**2) + sn2 * np.eye(len(X))
    L = np.linalg.cholesky(K)
    alpha = bs.cho_solve((L, True), y)
    return -0.5 * y @ alpha - np.log(np.diag(L)).sum() - len(X) / 2 * np.log(2 * np.pi)


def _process_slope(theta: Array, X: Array, y: Array) -> Arrays:
    """Equation 5.9 of the book: tr((a a' - K^-1) dK / dtheta) / 2 with a = K^-1 y; theta is logarithmic."""
    sf2, length, sn2 = np.exp(theta)
    apart = ((X[:, None] - X[None]) ** 2).sum(-1)
    signal = sf2 * np.exp(-0.5 * apart / length**2)
    inverse = np.linalg.inv(signal + sn2 * np.eye(len(X)))
    a = inverse @ y
    moved = [signal, signal * apart / length**2, sn2 * np.eye(len(X))]
    return {"theta": np.array([np.trace((np.outer(a, a) - inverse) @ d) / 2 for d in moved])}


def _process_make() -> tuple[Arrays, Arrays]:
    X = np.random.default_rng(1).uniform(-2, 2, (12, 2))
    return {"theta": np.array([0.2, -0.1, -1.5])}, {"X": X, "y": np.sin(X[:, 0]) * X[:, 1]}


# A Kalman filter estimates a constant voltage


def _voltage_published(noise: Any, z: Any) -> Any:
    Q, R = np.exp(noise)
    n = len(z)
    xhat, P, xhatminus, Pminus, K = (np.zeros(n) for _ in range(5))
    xhat[0], P[0] = 0.0, 1.0
    for k in range(1, n):
        xhatminus[k] = xhat[k - 1]
        Pminus[k] = P[k - 1] + Q
        K[k] = Pminus[k] / (Pminus[k] + R)
        xhat[k] = xhatminus[k] + K[k] * (z[k] - xhatminus[k])
        P[k] = (1 - K[k]) * Pminus[k]
    return np.mean((z[1:] - xhatminus[1:]) ** 2 / (Pminus[1:] + R) + np.log(Pminus[1:] + R))


def _voltage_ported(noise: Any, z: Any) -> Any:
    Q, R = np.exp(noise)
    n = len(z)
    xhat, P, xhatminus, Pminus, K = (np.zeros(n) for _ in range(5))
    xhat[0], P[0] = 0.0, 1.0
    for k in range(1, n):
        xhatminus = bs.set(xhatminus, k, xhat[k - 1])
        Pminus = bs.set(Pminus, k, P[k - 1] + Q)
        K = bs.set(K, k, Pminus[k] / (Pminus[k] + R))
        xhat = bs.set(xhat, k, xhatminus[k] + K[k] * (z[k] - xhatminus[k]))
        P = bs.set(P, k, (1 - K[k]) * Pminus[k])
    return np.mean((z[1:] - xhatminus[1:]) ** 2 / (Pminus[1:] + R) + np.log(Pminus[1:] + R))


# Eight schools


def _schools_published(q: Any, y: Any, sigma: Any) -> Any:
    from scipy import stats

    mu, log_tau, eta = q[0], q[1], q[2:]
    theta = mu + np.exp(log_tau) * eta
    logp = stats.norm.logpdf(mu, 0, 5) + stats.cauchy.logpdf(np.exp(log_tau), 0, 5) + log_tau
    return logp + np.sum(stats.norm.logpdf(eta)) + np.sum(stats.norm.logpdf(y, theta, sigma))


def _schools_ported(q: Any, y: Any, sigma: Any) -> Any:
    def normal(x: Any, loc: Any = 0.0, scale: Any = 1.0) -> Any:
        return -0.5 * ((x - loc) / scale) ** 2 - np.log(scale) - 0.5 * np.log(2 * np.pi)

    mu, log_tau, eta = q[0], q[1], q[2:]
    theta = mu + np.exp(log_tau) * eta
    logp = normal(mu, 0, 5) - np.log(np.pi * 5 * (1 + (np.exp(log_tau) / 5) ** 2)) + log_tau
    return logp + np.sum(normal(eta)) + np.sum(normal(y, theta, sigma))


def _schools_slope(q: Array, y: Array, sigma: Array) -> Arrays:
    """By hand: with r = (y - theta) / sigma^2, by mu sum r - mu / 25, by eta tau r - eta, by log tau the rest."""
    mu, tau, eta = q[0], np.exp(q[1]), q[2:]
    r = (y - mu - tau * eta) / sigma**2
    by_log_tau = tau * np.sum(r * eta) + 1 - 2 * tau**2 / (25 + tau**2)
    return {"q": np.array([np.sum(r) - mu / 25, by_log_tau, *(tau * r - eta)])}


def _schools_make() -> tuple[Arrays, Arrays]:
    y = np.array([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
    sigma = np.array([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])
    return {"q": np.random.default_rng(3).normal(size=10)}, {"y": y, "sigma": sigma}


PORTS = (
    Port(
        "enzyme reaction",
        "SciPy tutorial, scipy.optimize, Example of solving a fitting problem",
        _enzyme,
        "",
        "nothing",
        _enzyme,
        _enzyme_make,
        _enzyme_slope,
    ),
    Port(
        "gaussian process",
        "Rasmussen and Williams (2006), Gaussian Processes for Machine Learning, algorithm 2.1, with scipy.linalg as in common tutorials",
        _process_published,
        "np.linalg.cholesky",
        "scipy.linalg's cholesky and cho_solve by np.linalg.cholesky and bs.cho_solve",
        _process_ported,
        _process_make,
        _process_slope,
        tolerance=1e-11,  # an inverse of condition 100 in the closed form
    ),
    Port(
        "kalman filter",
        "SciPy Cookbook, KalmanFiltering (Andrew Straw), after Welch and Bishop's introduction",
        _voltage_published,
        "bs.set(h, index, value)",
        "each a[k] = value by a = bs.set(a, k, value)",
        _voltage_ported,
        lambda: ({"noise": np.array([-6.0, -3.0])}, {"z": -0.37727 + 0.1 * np.random.default_rng(2).normal(size=12)}),
        differences(_voltage_published),
        tolerance=1e-9,
    ),
    Port(
        "eight schools",
        "Stan's and PyMC's case study, after Gelman et al., Bayesian Data Analysis, section 5.5 (not centred)",
        _schools_published,
        "write out the density",
        "scipy.stats.norm and cauchy by their densities",
        _schools_ported,
        _schools_make,
        _schools_slope,
    ),
)
