"""The model of the demo in plain NumPy, and its derivatives written by hand.

Logistic regression: z = X w, loss = mean(log(1 + exp z) - y z) + penalty/2 |w|^2. With the
probabilities p = 1 / (1 + exp(-z)) and n examples:

    gradient    X' (p - y) / n + penalty w
    Hessian     X' diag(p (1 - p)) X / n + penalty I
    Jacobian    of the per-example losses: row i is (p_i - y_i) X_i
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, np.dtype[np.float64]]

PENALTY = 1e-3


def losses(w: Any, X: Any, y: Any) -> Any:
    """The loss of each example, without the penalty."""
    z = X @ w
    return np.logaddexp(0, z) - y * z


def loss(w: Any, X: Any, y: Any) -> Any:
    """Mean cross-entropy plus penalty/2 |w|^2."""
    return np.mean(losses(w, X, y)) + PENALTY / 2 * np.sum(w * w)


def _probabilities(w: Array, X: Array) -> Array:
    return 1 / (1 + np.exp(-(X @ w)))


def gradient(w: Array, X: Array, y: Array) -> Array:
    return X.T @ (_probabilities(w, X) - y) / len(y) + PENALTY * w


def hessian(w: Array, X: Array) -> Array:
    p = _probabilities(w, X)
    return (X.T * (p * (1 - p))) @ X / len(X) + PENALTY * np.eye(len(w))


def jacobian(w: Array, X: Array, y: Array) -> Array:
    return (_probabilities(w, X) - y)[:, None] * X
