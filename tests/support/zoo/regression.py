"""Regression: polynomial least squares, logistic, Poisson; and log-sum-exp, which they lean on.

All convex with gradients and Hessians in closed form (McCullagh and Nelder, Generalized Linear
Models, 2.2 and 2.5: X'(mean - y) and X' diag(variance) X).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .problem import Arrays, Problem, logsumexp, sigmoid, softmax


def _logsumexp(x: Any) -> Any:
    top = np.max(x)
    return top + np.log(np.sum(np.exp(x - top)))


def _logsumexp_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    # Far from 0: exp(x) itself would overflow.
    return {"x": 1000 + np.random.default_rng([size, seed]).standard_normal(size)}, {}


def _logsumexp_exact(x: Any) -> tuple[Any, Arrays]:
    """The gradient is softmax."""
    return logsumexp(x)[0], {"x": softmax(x)}


def _logsumexp_hvp(tangent: Arrays, x: Any) -> Arrays:
    """H = diag(p) - p p'."""
    p, t = softmax(x), tangent["x"]
    return {"x": p * (t - p @ t)}


def _polynomial(c: Any, x: Any, y: Any) -> Any:
    fit = c[-1]
    for k in range(len(c) - 2, -1, -1):
        fit = fit * x + c[k]
    return np.sum((fit - y) ** 2) / 2


def _polynomial_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    random = np.random.default_rng([size, seed])
    x = np.linspace(-1, 1, 5 * size)
    return {"c": random.standard_normal(size)}, {"x": x, "y": np.cos(3 * x) + 0.1 * random.standard_normal(x.size)}


def _polynomial_exact(c: Any, x: Any, y: Any) -> tuple[Any, Arrays]:
    """V'(V c - y) with Vandermonde's matrix."""
    v = np.vander(x, c.size, increasing=True)
    r = v @ c - y
    return r @ r / 2, {"c": v.T @ r}


def _polynomial_hvp(tangent: Arrays, c: Any, x: Any, y: Any) -> Arrays:
    v = np.vander(x, c.size, increasing=True)
    return {"c": v.T @ (v @ tangent["c"])}


def _linear(size: int, seed: int) -> tuple[np.random.Generator, Any, Any]:
    random = np.random.default_rng([size, seed])
    features = random.standard_normal((6 * size, size))
    return random, features, random.standard_normal(size) / np.sqrt(size)


def _logistic(w: Any, X: Any, y: Any, ridge: float) -> Any:
    z = X @ w
    return np.mean(np.logaddexp(0, z) - y * z) + ridge * np.sum(w * w) / 2


def _logistic_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    random, X, w = _linear(size, seed)
    return {"w": w}, {"X": X, "y": (random.random(len(X)) < 0.5).astype(float), "ridge": 0.1}


def _logistic_exact(w: Any, X: Any, y: Any, ridge: float) -> tuple[Any, Arrays]:
    """X'(p - y) / n + ridge w."""
    p = sigmoid(X @ w)
    value = -np.mean(y * np.log(p) + (1 - y) * np.log(1 - p)) + ridge * (w @ w) / 2
    return value, {"w": X.T @ (p - y) / len(X) + ridge * w}


def _logistic_hvp(tangent: Arrays, w: Any, X: Any, y: Any, ridge: float) -> Arrays:
    p = sigmoid(X @ w)
    return {"w": X.T @ (p * (1 - p) * (X @ tangent["w"])) / len(X) + ridge * tangent["w"]}


def _poisson(w: Any, b: Any, X: Any, y: Any) -> Any:
    eta = X @ w + b
    return np.sum(np.exp(eta) - y * eta)


def _poisson_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    random, X, w = _linear(size, seed)
    return {"w": w, "b": np.array(0.3 * random.standard_normal())}, {"X": X, "y": random.poisson(2.0, len(X))}


def _poisson_exact(w: Any, b: Any, X: Any, y: Any) -> tuple[Any, Arrays]:
    """X'(mu - y), mu = exp(eta); the intercept is a column of ones."""
    eta = X @ w + b
    return np.sum(np.exp(eta)) - y @ eta, {"w": X.T @ (np.exp(eta) - y), "b": np.sum(np.exp(eta) - y)}


def _poisson_hvp(tangent: Arrays, w: Any, b: Any, X: Any, y: Any) -> Arrays:
    along = np.exp(X @ w + b) * (X @ tangent["w"] + tangent["b"])
    return {"w": X.T @ along, "b": np.sum(along)}


PROBLEMS = (
    # x - max(x) has lost 10 bits before anything else happens: 1000 against 1.
    Problem("log-sum-exp", _logsumexp, _logsumexp_make, _logsumexp_exact, (3, 40), _logsumexp_hvp, 1e-11),
    Problem("polynomial least squares", _polynomial, _polynomial_make, _polynomial_exact, (4, 12), _polynomial_hvp, single=1e-5),
    Problem("logistic regression", _logistic, _logistic_make, _logistic_exact, (3, 12), _logistic_hvp, single=1e-5),
    Problem("poisson regression", _poisson, _poisson_make, _poisson_exact, (3, 10), _poisson_hvp, single=1e-5),
)
