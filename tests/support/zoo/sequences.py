"""Sequences: the loss of an LSTM, the likelihoods of a hidden Markov model and of a Kalman filter."""

from __future__ import annotations

from typing import Any

import numpy as np

import backsweep as bs

from .problem import Arrays, Problem, sigmoid, softmax


def _lstm(W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> Any:
    """Mean squared error of h_t v against y_t; gates in the order forget, input, output, change."""
    width = len(v)
    h = c = np.zeros(width)
    loss = 0.0
    for t in range(len(x)):
        z = x[t] @ W + h @ U + b
        f, i, o = (1 / (1 + np.exp(-z[k * width : (k + 1) * width])) for k in range(3))
        c = f * c + i * np.tanh(z[3 * width :])
        h = o * np.tanh(c)
        loss = loss + (h @ v - y[t]) ** 2
    return loss / len(x)


def _lstm_loop(W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> Any:
    width = len(v)

    def step(carry: Any, at: Any) -> Any:
        h, c = carry
        z = at[0] @ W + h @ U + b
        f, i, o = (bs.sigmoid(z[k * width : (k + 1) * width]) for k in range(3))
        c = f * c + i * np.tanh(z[3 * width :])
        h = o * np.tanh(c)
        return (h, c), (h @ v - at[1]) ** 2

    _, errors = bs.scan(step, (np.zeros(width), np.zeros(width)), (x, y))
    return np.mean(errors)


def _lstm_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` steps."""
    random = np.random.default_rng([size, seed])
    width, inputs = 3, 2
    point = {
        "W": 0.7 * random.standard_normal((inputs, 4 * width)),
        "U": 0.7 * random.standard_normal((width, 4 * width)),
        "b": 0.3 * random.standard_normal(4 * width),
        "v": random.standard_normal(width),
    }
    return point, {"x": random.standard_normal((size, inputs)), "y": random.standard_normal(size)}


def _lstm_exact(W: Any, U: Any, b: Any, v: Any, x: Any, y: Any) -> tuple[Any, Arrays]:
    """Backpropagation through time by hand: Hochreiter and Schmidhuber 1997, in full (not truncated)."""
    steps, width = len(x), len(v)
    kind = np.result_type(W, U, b, v)
    h, c, tape, loss = np.zeros(width, kind), np.zeros(width, kind), [], 0.0
    for t in range(steps):
        z = (x[t] @ W + h @ U + b).reshape(4, width)
        f, i, o, g = sigmoid(z[0]), sigmoid(z[1]), sigmoid(z[2]), np.tanh(z[3])
        new = f * c + i * g
        tape.append((h, c, f, i, o, g, np.tanh(new)))
        c, h = new, o * np.tanh(new)
        loss = loss + (h @ v - y[t]) ** 2 / steps
    dW, dU, db, dv = np.zeros(W.shape, kind), np.zeros(U.shape, kind), np.zeros(b.shape, kind), np.zeros(width, kind)
    dh, dc = np.zeros(width, kind), np.zeros(width, kind)
    for t in reversed(range(steps)):
        h, c, f, i, o, g, s = tape[t]
        error = 2 * (o * s @ v - y[t]) / steps
        dv += error * o * s
        dh = dh + error * v
        dc = dc + dh * o * (1 - s * s)
        dz = np.concatenate([dc * c * f * (1 - f), dc * g * i * (1 - i), dh * s * o * (1 - o), dc * i * (1 - g * g)])
        dW += np.outer(x[t], dz)
        dU += np.outer(h, dz)
        db += dz
        dh, dc = U @ dz, dc * f
    return loss, {"W": dW, "U": dU, "b": db, "v": dv}


def _markov(start: Any, move: Any, emit: Any, seen: Any) -> Any:
    """log p(seen) by the forward algorithm; the three arguments are logits."""
    alpha = start - bs.logsumexp(start)
    move = move - bs.logsumexp(move, axis=1, keepdims=True)
    emitted = (emit - bs.logsumexp(emit, axis=1, keepdims=True))[:, seen]
    alpha = alpha + emitted[:, 0]
    for t in range(1, len(seen)):
        alpha = bs.logsumexp(alpha[:, None] + move, axis=0) + emitted[:, t]
    return bs.logsumexp(alpha)


def _markov_loop(start: Any, move: Any, emit: Any, seen: Any) -> Any:
    move = bs.log_softmax(move, axis=1)
    emitted = bs.log_softmax(emit, axis=1)[:, seen]

    def step(alpha: Any, emitted: Any) -> Any:
        return bs.logsumexp(alpha[:, None] + move, axis=0) + emitted, None

    alpha, _ = bs.scan(step, bs.log_softmax(start) + emitted[:, 0], emitted[:, 1:].T, checkpoint="sqrt")
    return bs.logsumexp(alpha)


def _markov_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` observations of 3 states with 4 symbols."""
    random = np.random.default_rng([size, seed])
    point = {"start": random.standard_normal(3), "move": random.standard_normal((3, 3)), "emit": random.standard_normal((3, 4))}
    return point, {"seen": random.integers(4, size=size)}


def _markov_exact(start: Any, move: Any, emit: Any, seen: Any) -> tuple[Any, Arrays]:
    """Expected counts by scaled forward-backward (Rabiner 1989, III.A and V.A), less what the softmax takes.

    d log p / d log a_ij is the expected number of moves from i to j, and so for the others (Fisher's identity).
    """
    pi, a, b = softmax(start), softmax(move), softmax(emit)
    steps = len(seen)
    alpha: list[Any] = []
    scale: list[Any] = []
    for t in range(steps):
        now = (pi if t == 0 else alpha[-1] @ a) * b[:, seen[t]]
        scale.append(now.sum())
        alpha.append(now / scale[-1])
    beta = np.ones(3, a.dtype)
    moves, symbols = np.zeros(a.shape, a.dtype), np.zeros(b.shape, b.dtype)
    for t in reversed(range(steps)):
        state = alpha[t] * beta
        symbols[:, seen[t]] += state
        if t:
            ahead = b[:, seen[t]] * beta / scale[t]
            moves += np.outer(alpha[t - 1], ahead) * a
            beta = a @ ahead
    return np.sum(np.log(scale)), {
        "start": state - pi,
        "move": moves - moves.sum(1, keepdims=True) * a,
        "emit": symbols - symbols.sum(1, keepdims=True) * b,
    }


def _kalman(A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    """log p(y) of x' = A x + noise of variances q, y = c x + noise of variance r."""
    n = len(log_q)
    Q, r = np.exp(log_q) * np.eye(n), np.exp(log_r)
    m, P = np.zeros(n), np.eye(n)
    total = 0.0
    for t in range(len(y)):
        Pc = P @ c
        s = c @ Pc + r
        e = y[t] - c @ m
        total = total - (np.log(2 * np.pi * s) + e**2 / s) / 2
        m = A @ (m + Pc * (e / s))
        P = A @ (P - np.outer(Pc, Pc) / s) @ A.T + Q
    return total


def _kalman_loop(A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> Any:
    """The same with several observations at a time: y = C x, rows of c."""
    n, seen = len(log_q), y.shape[1]

    def step(t: Any, carry: Any) -> Any:
        m, P, total = carry
        S = c @ P @ c.T + np.exp(log_r) * np.eye(seen)
        e = y[t] - c @ m
        gain = np.linalg.solve(S, c @ P).T
        total = total - (seen * np.log(2 * np.pi) + np.linalg.slogdet(S)[1] + e @ np.linalg.solve(S, e)) / 2
        return A @ (m + gain @ e), A @ (P - gain @ c @ P) @ A.T + np.exp(log_q) * np.eye(n), total

    return bs.fori_loop(0, len(y), step, (np.zeros(n), np.eye(n), 0.0))[2]


def _kalman_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """`size` states, 4 observations for each."""
    random = np.random.default_rng([size, seed])
    A = 0.8 * np.eye(size) + 0.2 * random.standard_normal((size, size)) / np.sqrt(size)
    point = {"A": A, "log_q": 0.3 * random.standard_normal(size) - 1, "log_r": np.array(0.2 * random.standard_normal())}
    return point, {"c": 1 + random.random(size), "y": random.standard_normal(4 * size)}


def _several_make(size: int, seed: int) -> tuple[Arrays, Arrays]:
    """The same, two observations at a time."""
    random = np.random.default_rng([size, seed, 2])
    return _kalman_make(size, seed)[0], {"c": random.standard_normal((2, size)), "y": random.standard_normal((4 * size, 2))}


def _kalman_exact(A: Any, log_q: Any, log_r: Any, c: Any, y: Any) -> tuple[Any, Arrays]:
    """Sensitivity equations: mean and covariance are carried forward with their derivatives by every parameter.

    Gupta and Mehra, Computational aspects of maximum likelihood estimation, IEEE Trans. Automatic Control
    19 (1974). The parameters, along the first axis: A in C order, log q, log r.
    """
    n = len(log_q)
    C, y = np.reshape(c, (-1, n)), np.reshape(y, (len(y), -1))
    k, count = n * n, n * n + n + 1
    kind = np.result_type(A, log_q, log_r)
    dA, dQ, dR = np.zeros((count, n, n)), np.zeros((count, n, n), kind), np.zeros((count, len(C), len(C)), kind)
    dA[np.arange(k), np.arange(k) // n, np.arange(k) % n] = 1
    dQ[k + np.arange(n), np.arange(n), np.arange(n)] = np.exp(log_q)
    dR[-1] = np.exp(log_r) * np.eye(len(C))
    m, P, dm, dP = np.zeros(n, kind), np.eye(n).astype(kind), np.zeros((count, n), kind), np.zeros((count, n, n), kind)
    total, slope = 0.0, np.zeros(count, kind)
    for seen in y:
        S, dS = C @ P @ C.T + dR[-1], C @ dP @ C.T + dR
        e, de = seen - C @ m, -dm @ C.T
        inverse = np.linalg.inv(S)
        w = inverse @ e
        total = total - (len(C) * np.log(2 * np.pi) + np.log(np.linalg.det(S)) + e @ w) / 2
        slope -= (np.trace(inverse @ dS, axis1=1, axis2=2) + 2 * de @ w - w @ (dS @ w).T) / 2
        gain = P @ C.T @ inverse
        dgain = (dP @ C.T - gain @ dS) @ inverse
        kept, dkept = m + gain @ e, dm + dgain @ e + de @ gain.T
        left, dleft = P - gain @ C @ P, dP - dgain @ C @ P - gain @ C @ dP
        m, dm = A @ kept, dA @ kept + dkept @ A.T
        P = A @ left @ A.T + np.diag(np.exp(log_q))
        dP = dA @ left @ A.T + A @ dleft @ A.T + A @ left @ np.swapaxes(dA, 1, 2) + dQ
    return total, {"A": slope[:k].reshape(n, n), "log_q": slope[k:-1], "log_r": slope[-1]}


PROBLEMS = (
    Problem("lstm", _lstm, _lstm_make, _lstm_exact, (2, 6), single=1e-5),
    Problem("hidden markov model", _markov, _markov_make, _markov_exact, (4, 15), single=1e-5),
    Problem("kalman filter", _kalman, _kalman_make, _kalman_exact, (2, 3)),
    Problem("lstm by scan", _lstm_loop, _lstm_make, _lstm_exact, (3, 40), single=1e-5),
    Problem("hidden markov model by scan", _markov_loop, _markov_make, _markov_exact, (4, 60), single=2e-5),
    Problem("kalman filter by fori_loop", _kalman_loop, _several_make, _kalman_exact, (2, 5), single=2e-5),
)
